//! The rig itself: servers and clients work together without Boltseal.
//!
//! These are the negative controls too: what a plain client accepts here, Boltseal must refuse in the scenarios.

use std::fs;

use serde_json::Value;

use crate::clients::Clients;
use crate::http::Peer;
use crate::image::{Dialect, Image, tag_digest};
use crate::process::run;
use crate::servers::{Containerd, Dockerd, PASSWORD, Registry, USER};

#[test]
fn every_client_pulls_from_an_open_registry_what_was_pushed() {
    let registry = Registry::open();
    let clients = Clients::fresh();
    let image = Image::with_text("hello");
    image.push(&registry, "acme/app", "1.0");
    let name = registry.image("acme/app:1.0");
    let by_digest = registry.image(&format!("acme/app@{}", image.digest()));

    let seen =
        run(clients.skopeo().args(["inspect", "--tls-verify=false", "--raw"]).arg(format!("docker://{name}"))).ok();
    assert_eq!(crate::image::digest(seen.stdout().as_bytes()), image.digest());

    run(clients.podman().args(["pull", "--tls-verify=false", &by_digest])).ok();
    run(clients.podman().args(["images", "--digests", "--no-trunc"])).ok().stdout_has(&image.digest());

    let docker = Dockerd::start();
    run(docker.docker(&clients.docker_config()).args(["pull", &name])).ok().stdout_has(&image.digest());

    let containerd = Containerd::start();
    run(containerd.ctr().args(["images", "pull", "--plain-http", &by_digest])).ok();
    run(containerd.ctr().args(["images", "list"])).ok().stdout_has(&image.digest());
}

#[test]
fn a_registry_with_tls_and_a_password_serves_only_who_knows_both() {
    let registry = Registry::tls_password();
    let clients = Clients::fresh();
    let image = Image::with_text("hello");
    let layout = tempfile::tempdir().expect("a temporary folder is made");
    image.write_layout(layout.path(), "1.0");
    let from = format!("oci:{}:1.0", layout.path().display());
    let name = registry.image("acme/app:1.0");
    let to = format!("docker://{name}");
    let certificates = clients.cert_dir(&registry.ca());
    let push = || {
        let mut command = clients.skopeo();
        command.args(["copy", "--preserve-digests", "--dest-cert-dir"]).arg(&certificates).args([&from, &to]);
        command
    };

    run(&push()).fails();
    clients.login(&registry.host(), USER, "another password");
    run(&push()).fails();
    clients.login(&registry.host(), USER, PASSWORD);
    run(clients.skopeo().args(["copy", &from, &to])).fails().says("certificate");
    run(&push()).ok();

    run(clients.podman().args(["pull", "--cert-dir"]).arg(&certificates).arg(&name)).ok();
    run(clients.podman().args(["images", "--digests", "--no-trunc"])).ok().stdout_has(&image.digest());

    let docker = Dockerd::start();
    run(docker.docker(&clients.docker_config()).args(["pull", &name])).ok().stdout_has(&image.digest());

    let containerd = Containerd::start();
    let mut pull = containerd.ctr();
    pull.args(["images", "pull", "--user", &format!("{USER}:{PASSWORD}"), "--hosts-dir"]);
    run(pull.arg(clients.hosts_dir(&registry.host(), &registry.ca())).arg(&name)).ok();
}

#[test]
fn a_registry_with_tokens_serves_only_who_was_given_one() {
    let registry = Registry::tokens();
    let clients = Clients::fresh();
    let image = Image::with_text("hello");
    let layout = tempfile::tempdir().expect("a temporary folder is made");
    image.write_layout(layout.path(), "1.0");
    let from = format!("oci:{}:1.0", layout.path().display());
    let push = |repository: &str| {
        let mut command = clients.skopeo();
        command.args(["copy", "--preserve-digests", "--dest-tls-verify=false", &from]);
        command.arg(format!("docker://{}", registry.image(&format!("{repository}:1.0"))));
        command
    };

    run(&push("acme/app")).fails();
    clients.login(&registry.host(), USER, "another password");
    run(&push("acme/app")).fails();
    clients.login(&registry.host(), USER, PASSWORD);
    run(&push("acme/app")).ok();
    run(&push("public/app")).ok();
    assert!(registry.tokens_asked() > 0);

    let docker = Dockerd::start();
    let private = registry.image("acme/app:1.0");
    run(docker.docker(&clients.docker_config()).args(["pull", &private])).ok().stdout_has(&image.digest());

    let stranger = Clients::fresh();
    run(docker.docker(&stranger.docker_config()).args(["pull", &private])).fails();
    run(docker.docker(&stranger.docker_config()).args(["pull", &registry.image("public/app:1.0")])).ok();
    run(stranger.podman().args(["pull", "--tls-verify=false", &private])).fails();
    run(clients.podman().args(["pull", "--tls-verify=false", &private])).ok();

    let containerd = Containerd::start();
    let user = format!("{USER}:{PASSWORD}");
    run(containerd.ctr().args(["images", "pull", "--plain-http", &private])).fails();
    run(containerd.ctr().args(["images", "pull", "--plain-http", "--user", &user, &private])).ok();
}

#[test]
fn a_plain_client_follows_a_tag_wherever_the_registry_points_it() {
    let registry = Registry::open();
    let clients = Clients::fresh();
    let (signed, other) = (Image::with_text("signed"), Image::with_text("other"));
    signed.push(&registry, "acme/app", "1.0");
    other.push(&registry, "acme/app", "1.0");
    assert_eq!(tag_digest(&registry, "acme/app", "1.0"), Some(other.digest()));

    let docker = Dockerd::start();
    let pull = run(docker.docker(&clients.docker_config()).args(["pull", &registry.image("acme/app:1.0")])).ok();
    pull.stdout_has(&other.digest());
}

#[test]
fn images_keep_their_bytes_in_both_dialects_and_as_an_index() {
    let registry = Registry::open();
    let clients = Clients::fresh();
    let images = [
        Image::docker("one"),
        Image::index(Dialect::Oci, &["amd64", "arm64", "s390x"], "two"),
        Image::index(Dialect::Docker, &["amd64", "arm64"], "three"),
    ];
    for (number, image) in images.iter().enumerate() {
        let tag = number.to_string();
        image.push(&registry, "acme/app", &tag);
        assert_eq!(tag_digest(&registry, "acme/app", &tag), Some(image.digest()));
        for child in image.children() {
            assert_eq!(tag_digest(&registry, "acme/app", &child.digest()), Some(child.digest()));
        }
        let name = format!("docker://{}", registry.image(&format!("acme/app:{tag}")));
        let raw = run(clients.skopeo().args(["inspect", "--raw", "--tls-verify=false", &name])).ok();
        let manifest: Value = serde_json::from_str(raw.stdout()).expect("a manifest is JSON");
        assert_eq!(manifest["mediaType"], image.media_type());
        run(clients.podman().args(["pull", "--tls-verify=false", &registry.image(&format!("acme/app:{tag}"))])).ok();
    }
}

#[test]
fn the_access_log_counts_requests_and_the_bytes_of_their_answers() {
    for registry in [Registry::open(), Registry::tls_password(), Registry::tokens()] {
        Image::with_text("hello").push(&registry, "acme/app", "1.0");
        let mark = registry.mark();
        let accept = [("Accept", "application/vnd.oci.image.manifest.v1+json")];
        let got = registry.request("GET", "/v2/acme/app/manifests/1.0", &accept, b"");
        let etag = got.header("etag").expect("a registry sends an ETag").to_owned();
        registry.request("HEAD", "/v2/acme/app/manifests/1.0", &accept, b"");
        let again = [accept[0], ("If-None-Match", etag.as_str())];
        registry.request("GET", "/v2/acme/app/manifests/1.0", &again, b"");

        let traffic = registry.since(&mark);
        assert_eq!(traffic.requests(), 3, "{traffic:?}");
        assert_eq!(traffic.bytes(), got.body.len() as u64, "{traffic:?}");
        let statuses: Vec<_> =
            traffic.exchanges.iter().map(|exchange| (exchange.method.as_str(), exchange.status)).collect();
        assert_eq!(statuses, [("GET", 200), ("HEAD", 200), ("GET", 304)]);
        assert!(traffic.exchanges.iter().all(|exchange| exchange.path == "/v2/acme/app/manifests/1.0"));
        assert_eq!(registry.since(&registry.mark()).requests(), 0);
    }
}

#[test]
fn a_registry_can_be_set_back_to_an_earlier_state_and_nobody_notices() {
    let mut registry = Registry::open();
    let (old, new) = (Image::with_text("old"), Image::with_text("new"));
    old.push(&registry, "acme/app", "1.0");
    let before = registry.snapshot();
    new.push(&registry, "acme/app", "1.0");
    assert_eq!(tag_digest(&registry, "acme/app", "1.0"), Some(new.digest()));
    registry.restore(&before);
    assert_eq!(tag_digest(&registry, "acme/app", "1.0"), Some(old.digest()));
}

#[test]
fn garbage_collection_removes_what_has_no_tag_when_told_to() {
    let mut registry = Registry::open();
    let (old, new) = (Image::with_text("old"), Image::with_text("new"));
    old.push(&registry, "acme/app", "1.0");
    new.push(&registry, "acme/app", "1.0");
    registry.collect_garbage(false);
    assert_eq!(tag_digest(&registry, "acme/app", &old.digest()), Some(old.digest()));
    registry.collect_garbage(true);
    assert_eq!(tag_digest(&registry, "acme/app", &old.digest()), None);
    assert_eq!(tag_digest(&registry, "acme/app", "1.0"), Some(new.digest()));
}

#[test]
fn a_server_ends_with_the_test_that_started_it() {
    // How many processes have the text in their command line.
    let running = |text: &str| {
        let processes = fs::read_dir("/proc").expect("the kernel lists processes");
        let lines = processes.filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok());
        lines.filter(|line| String::from_utf8_lossy(line).contains(text)).count()
    };
    let registry = Registry::open();
    let containerd = Containerd::start();
    let (host, address) = (registry.host(), containerd.address().display().to_string());
    assert!(running(&address) > 0);
    // The thread that started the servers is gone without ending them, as after a crash.
    let thread = std::thread::spawn(|| {
        let registry = Registry::open();
        let host = registry.host();
        std::mem::forget(registry);
        host
    });
    let orphan = thread.join().expect("the thread ends");
    drop(registry);
    drop(containerd);
    assert!(Peer::plain(&host).try_request("GET", "/v2/", &[], b"").is_none());
    assert_eq!(running(&address), 0);
    let gone = || Peer::plain(&orphan).try_request("GET", "/v2/", &[], b"").is_none();
    assert!(crate::process::wait_until(std::time::Duration::from_secs(5), gone));
    assert!(!fs::exists(&address).expect("a path can be looked at"));
}
