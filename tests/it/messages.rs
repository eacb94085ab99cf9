//! The program against a hostile registry: the exit code, a sentence that says what came, and advice.

use boltseal::image::ImageName;

use crate::support::machine::Net;
use crate::support::program::Program;
use crate::support::registry::{Busy, TestRegistry};
use crate::support::scene::push;

/// A registry with a collection that the program made, and whose `1.0` it signed.
async fn signed() -> (TestRegistry, Program, ImageName) {
    let registry = TestRegistry::start();
    let name: ImageName = format!("{}/acme/app", registry.host()).parse().unwrap();
    let net = Net::new();
    push(&*net.repository(&name), "1.0", "one").await;
    let program = Program::new();
    program.run(&["init", &name.to_string()]).ok();
    program.run(&["sign", &format!("{name}:1.0")]).ok();
    (registry, program, name)
}

#[tokio::test]
async fn rollback_and_vanished_trust_data_are_14_and_say_whom_to_ask() {
    let (registry, program, name) = signed().await;
    let image = format!("{name}:1.0");
    let old = registry.repo("acme/app").snapshot();
    program.run(&["revoke", &image]).ok();
    program.run(&["verify", &image]).fails(11, "hint: ");
    registry.repo("acme/app").restore(old);
    program.run(&["verify", &image]).fails(14, "rolled back");
    program.run(&["sign", &image]).fails(14, "hint: ");
    registry.repo("acme/app").remove_tag("trust.tuf");
    program.run(&["verify", &image]).fails(14, "vanished");
    assert_eq!(program.run(&["resolve", &image]).fails(14, "vanished").stdout, "");
}

#[tokio::test]
async fn a_moved_tag_resolves_to_the_signed_digest_and_is_15_beside_the_registry() {
    let (registry, program, name) = signed().await;
    let image = format!("{name}:1.0");
    let before = program.run(&["resolve", &image]).ok().stdout;
    push(&*Net::new().repository(&name), "1.0", "evil").await;
    assert_eq!(program.run(&["resolve", &image]).ok().stdout, before);
    program.run(&["verify", "--registry", &image]).fails(15, "is signed as");
    drop(registry);
}

#[tokio::test]
async fn registries_that_refuse_limit_or_are_gone_have_codes_of_their_own() {
    let (registry, program, name) = signed().await;
    let image = format!("{name}:1.0");
    registry.with(|m| m.refuse_all = true);
    program.run(&["verify", &image]).fails(21, "docker login");
    registry.with(|m| m.refuse_all = false);
    registry.with(|m| m.busy = Some(Busy { requests: 100, status: 429, retry_after: Some("3600".into()) }));
    program.run(&["verify", &image]).fails(22, "try again");
    registry.with(|m| m.busy = None);
    program.run(&["verify", &image]).ok();
    drop(registry);
    program.run(&["verify", &image]).fails(20, "cannot be reached");
}

#[tokio::test]
async fn a_stranger_to_the_policy_or_another_root_is_refused_with_what_to_do() {
    let (registry, program, name) = signed().await;
    let image = format!("{name}:1.0");
    let stranger = Program::new();
    stranger.run(&["verify", &image]).fails(16, "trust add");
    let other = "ab".repeat(32);
    stranger.run(&["trust", "add", &name.to_string(), "--root-key", &other]).ok();
    stranger.run(&["verify", &image]).fails(12, "pinned");
    assert!(program.home().join("data").is_dir());
    drop(registry);
}
