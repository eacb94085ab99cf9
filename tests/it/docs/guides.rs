//! The guides do what they say: blocks marked `sh run` are run, in order, in one shell.

use std::path::Path;

use boltseal::config::{Settings, policy};
use clap::Parser;

use super::book::{blocks, page, pages};
use super::scene::{NAME, Scene};

/// The blocks of a page that are run, joined.
fn script(path: &str) -> String {
    let script: String =
        blocks(&page(path)).into_iter().filter(|block| block.info == "sh run").map(|block| block.text).collect();
    assert!(!script.is_empty(), "{path} has nothing to run");
    script
}

#[test]
fn the_guide_to_the_first_signature_signs_moves_and_takes_back() {
    let scene = Scene::new();
    let printed = scene.machine("publisher").script(&script("docs/guides/first-signature.md"));
    assert!(printed.contains(&format!("  {NAME}:1.0\n")), "{printed}");
    assert!(printed.contains(&format!("{NAME}@sha256:")), "{printed}");
}

#[test]
fn the_guide_for_servers_verifies_what_another_machine_signed() {
    let scene = Scene::new();
    let publisher = scene.machine("publisher");
    publisher.done(&["init", NAME]);
    publisher.done(&["sign", &format!("{NAME}:1.0"), &format!("{NAME}:2.0")]);
    let server = scene.machine("server");
    let root = publisher.script("boltseal key list | awk '$2 == \"root\" { print $1 }'");
    std::fs::write(server.work().join("root-id"), root).unwrap();
    let printed = server.script(&script("docs/guides/verify-on-servers.md"));
    assert!(printed.contains(&format!("{NAME}@sha256:")), "{printed}");
}

#[test]
fn the_guide_to_keys_backs_up_restores_and_rotates() {
    let scene = Scene::new();
    let publisher = scene.machine("publisher");
    publisher.done(&["init", NAME]);
    publisher.done(&["sign", &format!("{NAME}:1.0")]);
    publisher.script(&script("docs/guides/keys.md"));
}

#[test]
fn every_policy_and_every_setting_on_a_page_is_one() {
    let mut read = 0;
    for path in pages() {
        for block in blocks(&std::fs::read_to_string(&path).unwrap()) {
            if block.info != "toml" {
                continue;
            }
            // A policy says which version of its language it is in; lines to be added to one need not say it again.
            let added = block.text.starts_with("[[mirror]]") || block.text.starts_with("[[scope]]");
            let wrong = if added || block.text.starts_with("version = ") {
                let head = if added { "version = 1\n" } else { "" };
                policy::parse(Path::new("/etc/boltseal/policy.toml"), &format!("{head}{}", block.text)).err()
            } else {
                Settings::parse("/etc/boltseal/config.toml", &block.text).err()
            };
            assert!(wrong.is_none(), "{}: {wrong:?}", path.display());
            read += 1;
        }
    }
    assert!(read > 1);
}

#[test]
fn the_guide_to_air_gaps_carries_an_image_in() {
    let scene = Scene::new();
    let publisher = scene.machine("publisher");
    publisher.done(&["init", NAME]);
    publisher.done(&["sign", &format!("{NAME}:1.0")]);
    let printed = publisher.script(&script("docs/guides/air-gap.md"));
    assert!(printed.contains(&format!("  {NAME}:1.0\n")), "{printed}");
}

#[test]
fn the_unit_starts_a_watch_that_the_program_understands() {
    let unit = page("docs/systemd/boltseal-refresh.service");
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let words = line.split(' ');
    assert!(words.clone().any(|word| word == "--watch"), "{line}");
    boltseal::cli::Cli::try_parse_from(words).unwrap();
    let passphrase = unit.lines().find_map(|line| line.strip_prefix("Environment=BOLTSEAL_ONLINE_")).unwrap();
    assert!(passphrase.starts_with("PASSPHRASE_FILE="), "{passphrase}");
}
