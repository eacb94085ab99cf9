//! `pull` by engines: which one, what it is told, what it is refused, and what its users then have.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::Value;

use crate::image::{Dialect, Image};
use crate::machine::Machine;
use crate::process::{Ran, run};
use crate::scene::{REPOSITORY, Scene};
use crate::servers::{Containerd, Dockerd, PASSWORD, Registry, USER};

/// A machine whose engines are scripts: each logs its command line, then runs its line.
struct Scripted {
    machine: Machine,
    bin: PathBuf,
}

impl Scripted {
    fn new(machine: Machine, engines: &[(&str, &str)]) -> Self {
        let bin = machine.work().join("bin");
        fs::create_dir(&bin).expect("a folder in our folder is made");
        for (name, line) in engines {
            let file = bin.join(name);
            let script = format!("#!/bin/sh\necho \"{name} $*\" >>'{}/log'\n{line}\n", bin.display());
            fs::write(&file, script).expect("a file in our folder is written");
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("our file gets its mode");
        }
        Self { machine, bin }
    }

    fn run(&self, environment: &[(&str, &str)], arguments: &[&str]) -> Ran {
        let path = std::env::var("PATH").expect("there is a PATH");
        let path = format!("{}:{path}", self.bin.display());
        let mut command = self.machine.boltseal(arguments);
        run(command.env("PATH", path).envs(environment.iter().copied()))
    }

    /// The command lines of the engines so far.
    fn log(&self) -> String {
        fs::read_to_string(self.bin.join("log")).unwrap_or_default()
    }
}

/// An engine that does what it is told: its look-up of digests finds what was pulled.
const WORKS: &str = r#"case "$1" in pull) echo "talk of the engine" ;; image) cat "$(dirname "$0")/log" ;; esac"#;

/// Changes the mode of the one scope in a machine's policy.
fn set_mode(machine: &Machine, mode: &str) {
    let policy = fs::read_to_string(machine.policy()).expect("the pin is in the user's policy");
    assert!(policy.contains("mode = \"enforce\""), "{policy}");
    fs::write(machine.policy(), policy.replace("mode = \"enforce\"", mode)).expect("our file is written");
}

#[test]
fn the_engine_is_told_the_digest_and_then_the_tag_and_stdout_carries_data_alone() {
    let scene = Scene::signed();
    let scripted = Scripted::new(scene.reader(), &[("docker", WORKS)]);
    let (tag, digest) = (scene.tag("1.0"), scene.by_digest());
    let pulled = scripted.run(&[], &["pull", "--with", "docker", &tag]).ok();
    assert_eq!(pulled.stdout(), digest);
    pulled
        .stderr_has("talk of the engine")
        .stderr_has(&format!("Pull (1 of 1): {tag}@{}", scene.image.digest()))
        .stderr_has(&format!("Tagging {digest} as {tag}"));
    let inspect = format!("docker image inspect --format {{{{json .RepoDigests}}}} {tag}");
    assert_eq!(scripted.log(), format!("docker pull {digest}\ndocker tag {digest} {tag}\n{inspect}\n"));

    let json = scripted.run(&[], &["pull", "--with", "docker", "--output", "json", &tag]).ok();
    let json: Value = serde_json::from_str(json.stdout()).expect("json output is JSON");
    assert_eq!(json["schema"], "boltseal.pull/v1");
    let result = &json["results"][0];
    assert_eq!(
        (&result["verified"], &result["allow"], &result["engine"]),
        (&true.into(), &true.into(), &"docker".into())
    );
    assert_eq!(result["digest"], scene.image.digest());
    assert_eq!((&result["pulled"], &result["tagged"]), (&digest.into(), &tag.into()));
}

#[test]
fn the_first_engine_that_answers_is_used_unless_one_is_named() {
    let scene = Scene::signed();
    let silent = "exit 1";
    let scripted = Scripted::new(scene.reader(), &[("docker", silent), ("podman", WORKS), ("ctr", silent)]);
    let tag = scene.tag("1.0");
    scripted.run(&[], &["pull", &tag]).ok().stderr_has("using podman: no docker daemon answers");
    scripted.run(&[("BOLTSEAL_ENGINE", "docker")], &["pull", &tag]).code(1).stderr_has("exit status 1");
    let named = [("BOLTSEAL_ENGINE", "ctr")];
    scripted.run(&named, &["pull", "--with", "podman", &tag]).ok();
    let nowhere = [("BOLTSEAL_ENGINE", "nerdctl")];
    scripted.run(&nowhere, &["pull", &tag]).code(1).stderr_has("nerdctl is not installed");
    scripted.run(&[("BOLTSEAL_ENGINE", "rkt")], &["pull", &tag]).code(2);

    let scripted =
        Scripted::new(scene.reader(), &[("docker", silent), ("podman", silent), ("nerdctl", silent), ("ctr", silent)]);
    scripted.run(&[], &["pull", &tag]).code(1).stderr_has("no containerd daemon answers").stderr_has("hint: ");
    assert!(!scripted.log().contains("pull"), "{}", scripted.log());
}

#[test]
fn an_unsigned_image_reaches_no_engine() {
    let scene = Scene::signed();
    Image::with_text("unsigned").push(&scene.registry, REPOSITORY, "2.0");
    let scripted = Scripted::new(scene.reader(), &[("docker", WORKS)]);
    let json = scripted.run(&[], &["pull", "--with", "docker", "--output", "json", &scene.tag("2.0")]).code(11);
    let json: Value = serde_json::from_str(json.stdout()).expect("json output is JSON");
    assert_eq!((&json["results"][0]["allow"], &json["results"][0]["pulled"]), (&false.into(), &Value::Null));
    let unsigned = format!("{}@{}", scene.name(), Image::with_text("unsigned").digest());
    scripted.run(&[], &["pull", "--with", "docker", &unsigned]).code(11);
    assert_eq!(scripted.log(), "");
}

#[test]
fn under_audit_an_unsigned_image_is_told_of_and_pulled_by_its_tag() {
    let scene = Scene::signed();
    Image::with_text("unsigned").push(&scene.registry, REPOSITORY, "2.0");
    let scripted = Scripted::new(scene.reader(), &[("docker", WORKS)]);
    set_mode(&scripted.machine, "mode = \"audit\"");
    let tag = scene.tag("2.0");
    let pulled =
        scripted.run(&[], &["pull", "--with", "docker", &tag]).ok().stderr_has("warning: ").stderr_has("audit");
    assert_eq!(pulled.stdout(), tag);
    assert_eq!(scripted.log(), format!("docker pull {tag}\n"));
    // What is signed is pulled by its digest all the same.
    scripted.run(&[], &["pull", "--with", "docker", &scene.tag("1.0")]).ok();
    assert!(scripted.log().contains(&scene.by_digest()), "{}", scripted.log());
}

#[test]
fn content_trust_is_switched_off_only_where_the_policy_allows_that() {
    let scene = Scene::signed();
    let scripted = Scripted::new(scene.reader(), &[("docker", WORKS)]);
    let tag = scene.tag("1.0");
    let pull = ["pull", "--with", "docker", &tag];
    scripted.run(&[("DOCKER_CONTENT_TRUST", "0")], &pull).code(16).stderr_has("allow_override");
    assert_eq!(scripted.log(), "");
    for on in ["1", "true", "maybe", ""] {
        scripted.run(&[("DOCKER_CONTENT_TRUST", on)], &pull).ok().stdout_has(&scene.image.digest());
    }
    set_mode(&scripted.machine, "mode = \"enforce\"\nallow_override = true");
    fs::remove_file(scripted.bin.join("log")).expect("the engine was run");
    let mark = scene.registry.mark();
    let pulled = scripted.run(&[("DOCKER_CONTENT_TRUST", "false")], &pull).ok();
    pulled.stderr_has("nothing was verified");
    assert_eq!(scripted.log(), format!("docker pull {tag}\n"));
    assert_eq!(scene.registry.since(&mark).requests(), 0);
}

#[test]
fn an_engine_that_fails_is_told_from_a_registry_that_changed_the_image() {
    let scene = Scene::signed();
    let scripted = Scripted::new(scene.reader(), &[("docker", "[ \"$1\" != pull ] || exit 3")]);
    let pull = ["pull", "--with", "docker", &scene.tag("1.0")];
    let failed = scripted.run(&[], &pull).code(1);
    failed.clone().stderr_has("`docker` failed").stderr_has("exit status 3").stderr_has("hint: ");
    assert_eq!(failed.stdout(), "");
    let path = format!("/v2/{REPOSITORY}/manifests/{}", scene.image.digest());
    let mut changed = scene.registry.request("GET", &path, &[("Accept", scene.image.media_type())], b"");
    changed.body.push(b' ');
    scene.registry.falsify(&scene.image.digest(), &changed.body);
    scripted.run(&[], &pull).code(15);
}

#[test]
fn an_engine_that_tags_something_else_is_noticed() {
    let scene = Scene::signed();
    let scripted = Scripted::new(scene.reader(), &[("docker", "[ \"$1\" != image ] || echo '[]'")]);
    let pulled = scripted.run(&[], &["pull", "--with", "docker", &scene.tag("1.0")]).code(15);
    assert_eq!(pulled.stdout(), "");
}

#[test]
fn a_layout_is_no_source_for_an_engine() {
    let machine = Machine::fresh();
    Image::with_text("in a folder").write_layout(&machine.work().join("images"), "1.0");
    let name = "registry.example.com/acme/app";
    machine.run(["init", "oci:images", "--name", name]).ok();
    machine.run(["sign", "oci:images:1.0", "--name", name]).ok();
    let pull = ["pull", "oci:images:1.0", "--name", name];
    machine.run(pull.iter().chain(&["--with", "podman"])).code(2).stderr_has("--to oci:FOLDER");
    machine.run(pull.iter().chain(&["--to", "oci:copy"])).ok().stdout_has(name);
    machine.run(pull.iter().chain(&["--to", "oci:copy:trust.tuf"])).code(2);
}

#[test]
fn docker_keeps_a_signed_digest_without_a_tag_and_a_mirrored_image_under_its_own_name() {
    let scene = Scene::signed();
    let docker = Dockerd::start();
    let reader = scene.reader();
    let host = docker.host();
    let pull =
        |image: &str| reader.run_with(&[("DOCKER_HOST", OsStr::new(&host))], ["pull", "--with", "docker", image]);
    let list = || run(docker.docker(&reader.clients.docker_config()).args(["images", "--digests", "--no-trunc"])).ok();
    pull(&scene.by_digest()).ok();
    let images = list().stdout_has(&scene.image.digest());
    assert!(images.stdout().contains("<none>") && !images.stdout().contains(" 1.0 "), "{images}");

    let mirror = Registry::open();
    Image::with_text("the signed image").push(&mirror, "cache/app", "1.0");
    let policy = fs::read_to_string(reader.policy()).expect("the pin is in the user's policy");
    let location = mirror.image("cache/app");
    let mirrored = format!("{policy}\n[[mirror]]\nlocation = \"{location}\"\nof = \"{}\"\n", scene.name());
    fs::write(reader.policy(), mirrored).expect("our file is written");
    // A mirror has the trust data too.
    let source = format!("docker://{}:trust.tuf", scene.name());
    let target = format!("docker://{location}:trust.tuf");
    let plain = ["--src-tls-verify=false", "--dest-tls-verify=false"];
    run(reader.clients.skopeo().arg("copy").args(plain).args([&source, &target])).ok();
    pull(&scene.tag("1.0")).ok().stderr_has(&format!("Tagging {location}@{}", scene.image.digest()));
    let mut inspect = docker.docker(&reader.clients.docker_config());
    inspect.args(["image", "inspect", "--format", "{{json .RepoTags}}", &scene.tag("1.0")]);
    assert_eq!(run(&inspect).ok().stdout(), format!("[\"{}\"]", scene.tag("1.0")));
}

#[test]
fn podman_is_told_of_the_private_ca_and_ctr_s_lack_of_logins_is_explained() {
    let registry = Registry::tls_password();
    let owner = Machine::fresh();
    owner.clients.login(&registry.host(), USER, PASSWORD);
    let image = Image::with_text("behind a password");
    image.push(&registry, REPOSITORY, "1.0");
    let ca = registry.ca();
    let ca = ca.to_str().expect("our paths are text");
    owner.run(["init", "--ca", ca, &registry.image(REPOSITORY)]).ok();
    let tag = registry.image("acme/app:1.0");
    owner.run(["sign", "--ca", ca, &tag]).ok();
    let environment = owner.clients.podman_environment();
    let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_os_str())).collect();
    owner.run_with(&environment, ["pull", "--ca", ca, "--with", "podman", &tag]).ok().stdout_has(&image.digest());

    let containerd = Containerd::start();
    let address = containerd.address();
    let environment = [("CONTAINERD_ADDRESS", address.as_os_str())];
    owner.run_with(&environment, ["pull", "--ca", ca, "--with", "ctr", &tag]).code(1).stderr_has("no logins");
}

#[test]
fn podman_and_containerd_get_their_platform_of_a_signed_index() {
    let scene = Scene::with(Image::index(Dialect::Oci, &["amd64", "arm64"], "many platforms"));
    let reader = scene.reader();
    let environment = reader.clients.podman_environment();
    let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_os_str())).collect();
    reader.run_with(&environment, ["pull", "--with", "podman", &scene.tag("1.0")]).ok();
    let mut inspect = reader.clients.podman();
    run(inspect.args(["image", "inspect", "--format", "{{.RepoDigests}}", &scene.tag("1.0")]))
        .ok()
        .stdout_has(&scene.image.digest());

    let containerd = Containerd::start();
    let address = containerd.address();
    let environment = [("CONTAINERD_ADDRESS", address.as_os_str()), ("CONTAINERD_SNAPSHOTTER", OsStr::new("native"))];
    let pull = || reader.run_with(&environment, ["pull", "--with", "ctr", &scene.tag("1.0")]);
    pull().ok();
    // The tag is there already.
    pull().ok();
}

#[test]
fn the_quickstart_tells_its_story_on_a_registry() {
    let registry = Registry::open();
    let told = Machine::fresh().run(["quickstart", "--registry", &registry.host()]).ok();
    told.says("refused, exit 15").says("refused, exit 14");
    Machine::fresh().run(["quickstart", "--registry", "127.0.0.1:1"]).code(1);
}
