//! Registries that ask who is there: TLS by a private authority, passwords, bearer tokens, credential helpers.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use crate::image::Image;
use crate::machine::Machine;
use crate::servers::{PASSWORD, Registry, USER};

/// Arguments with options after the verb.
fn with(verb: &str, options: &[OsString], image: &str) -> Vec<OsString> {
    let mut arguments = vec![OsString::from(verb)];
    arguments.extend_from_slice(options);
    arguments.push(image.into());
    arguments
}

#[test]
fn tls_by_a_private_authority_and_a_password_work_by_flag_and_by_folder() {
    let registry = Registry::tls_password();
    let (name, image) = (registry.image("acme/app"), registry.image("acme/app:1.0"));
    let signed = Image::with_text("behind a door");
    signed.push(&registry, "acme/app", "1.0");
    let owner = Machine::fresh();
    owner.clients.login(&registry.host(), USER, PASSWORD);
    let by_flag = [OsString::from("--ca"), registry.ca().into()];
    let init = owner.run(with("init", &by_flag, &name)).ok();
    owner.run(with("sign", &by_flag, &image)).ok();

    let reader = Machine::trusting(&init);
    reader.clients.login(&registry.host(), USER, PASSWORD);
    reader.run(with("verify", &by_flag, &image)).ok().stdout_has(&signed.digest());

    let folder = reader.work().join("certs.d");
    fs::create_dir_all(folder.join(registry.host())).expect("a folder in our folder is made");
    fs::copy(registry.ca(), folder.join(registry.host()).join("ca.crt")).expect("a file in our folder is written");
    let by_folder = [OsString::from("--certs-dir"), folder.into()];
    reader.run(with("verify", &by_folder, &image)).ok();
    reader.run(with("pull", &by_folder, &image).into_iter().chain(["--to".into(), "oci:images:1.0".into()])).ok();
}

#[test]
fn a_stranger_s_certificate_and_a_wrong_password_are_told_apart() {
    let registry = Registry::tls_password();
    let image = registry.image("acme/app:1.0");
    Image::with_text("behind a door").push(&registry, "acme/app", "1.0");
    let owner = Machine::fresh();
    owner.clients.login(&registry.host(), USER, PASSWORD);
    let authority = [OsString::from("--ca"), registry.ca().into()];
    let init = owner.run(with("init", &authority, &registry.image("acme/app"))).ok();
    owner.run(with("sign", &authority, &image)).ok();

    let reader = Machine::trusting(&init);
    reader.run(["verify", "--tls", &image]).code(20).says("certificate");
    reader.run(with("verify", &authority, &image)).code(21);
    reader.clients.login(&registry.host(), USER, "another password");
    reader.run(with("verify", &authority, &image)).code(21);
    // Plain HTTP to a door that speaks TLS: never a silent change of scheme.
    reader.clients.login(&registry.host(), USER, PASSWORD);
    reader.run(["verify", &image]).code(20).says("tls");
    reader.run(with("verify", &authority, &image)).ok();
}

#[test]
fn bearer_tokens_are_fetched_with_the_login_and_without() {
    let registry = Registry::tokens();
    let owner = Machine::fresh();
    owner.clients.login(&registry.host(), USER, PASSWORD);
    for repository in ["acme/app", "public/app"] {
        let image = Image::with_text(repository);
        image.push(&registry, repository, "1.0");
        let init = owner.run(["init", &registry.image(repository)]).ok();
        let tag = registry.image(&format!("{repository}:1.0"));
        owner.run(["sign", &tag]).ok();
        let reader = Machine::trusting(&init);
        let anonymous = reader.run(["verify", &tag]);
        if repository.starts_with("public/") {
            anonymous.ok();
        } else {
            anonymous.code(21);
            reader.clients.login(&registry.host(), USER, PASSWORD);
            reader.run(["verify", &tag]).ok().stdout_has(&image.digest());
        }
    }
}

#[test]
fn tokens_are_never_kept_on_disk() {
    let registry = Registry::tokens();
    let owner = Machine::fresh();
    owner.clients.login(&registry.host(), USER, PASSWORD);
    Image::with_text("an image").push(&registry, "acme/app", "1.0");
    owner.run(["init", &registry.image("acme/app")]).ok();
    owner.run(["sign", &registry.image("acme/app:1.0")]).ok();
    let mut folders = vec![owner.home()];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("our folder is read") {
            let path = entry.expect("our folder is read").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            files += 1;
            let bytes = fs::read(&path).expect("our file is read");
            let text = String::from_utf8_lossy(&bytes);
            assert!(!text.contains("eyJ0eXAiOiJKV1Qi") && !text.contains(PASSWORD), "{}", path.display());
        }
    }
    assert!(files > 0);
}

#[test]
fn podman_s_login_counts_too() {
    let registry = Registry::tokens();
    let owner = Machine::fresh();
    owner.clients.login(&registry.host(), USER, PASSWORD);
    Image::with_text("an image").push(&registry, "acme/app", "1.0");
    let init = owner.run(["init", &registry.image("acme/app")]).ok();
    owner.run(["sign", &registry.image("acme/app:1.0")]).ok();

    let reader = Machine::trusting(&init);
    let runtime = reader.work().join("runtime");
    fs::create_dir_all(runtime.join("containers")).expect("a folder in our folder is made");
    let login = owner.clients.docker_config().join("config.json");
    fs::copy(login, runtime.join("containers/auth.json")).expect("a file in our folder is written");
    let image = registry.image("acme/app:1.0");
    reader.run_with(&[("XDG_RUNTIME_DIR", runtime.as_os_str())], ["verify", &image]).ok();
}

#[test]
fn a_credential_helper_is_asked_and_not_waited_for_without_end() {
    let registry = Registry::tokens();
    let owner = Machine::fresh();
    owner.clients.login(&registry.host(), USER, PASSWORD);
    Image::with_text("an image").push(&registry, "acme/app", "1.0");
    let init = owner.run(["init", &registry.image("acme/app")]).ok();
    let image = registry.image("acme/app:1.0");
    owner.run(["sign", &image]).ok();

    let reader = Machine::trusting(&init);
    let bin = reader.work().join("helpers");
    fs::create_dir(&bin).expect("a folder in our folder is made");
    let helper = |name: &str, script: &str| {
        let path = bin.join(format!("docker-credential-{name}"));
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a file in our folder is written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("our file can be made executable");
        let config = serde_json::json!({ "credHelpers": { registry.host(): name } });
        fs::write(reader.clients.docker_config().join("config.json"), config.to_string())
            .expect("a file in our folder is written");
    };
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").expect("there is a PATH"));
    let verify = || reader.run_with(&[("PATH", OsStr::new(&path))], ["verify", &image]);

    helper("works", &format!(r#"echo '{{"Username":"{USER}","Secret":"{PASSWORD}"}}'"#));
    verify().ok();
    helper("hangs", "exec sleep 300");
    let begun = Instant::now();
    verify().fails().says("helper");
    assert!(begun.elapsed() < Duration::from_secs(120));
}
