//! `docs/cli.md` against the program.

use std::collections::{BTreeMap, BTreeSet};

use boltseal::cli::Cli;
use boltseal::cli::report::Exit;
use clap::CommandFactory;
use serde_json::Value;

use super::book::{blocks, first_cells, page, sections};
use super::scene::{NAME, Scene};
use super::schema::Schemas;

fn manual() -> String {
    page("docs/cli.md")
}

/// Every verb that does something, with its own options.
fn verbs() -> BTreeMap<String, BTreeSet<String>> {
    fn walk(command: &clap::Command, path: &str, found: &mut BTreeMap<String, BTreeSet<String>>) {
        let shown = |verb: &&clap::Command| verb.get_name() != "help" && !verb.is_hide_set();
        let verbs: Vec<_> = command.get_subcommands().filter(shown).collect();
        if verbs.is_empty() {
            found.insert(path.to_owned(), options(command.get_arguments().filter(|option| !option.is_global_set())));
        }
        for verb in verbs {
            walk(verb, &format!("{path} {}", verb.get_name()), found);
        }
    }
    let mut found = BTreeMap::new();
    walk(&Cli::command(), "boltseal", &mut found);
    found
}

fn options<'a>(arguments: impl Iterator<Item = &'a clap::Arg>) -> BTreeSet<String> {
    let named = arguments.filter_map(clap::Arg::get_long).filter(|name| !["help", "version"].contains(name));
    named.map(|name| format!("--{name}")).collect()
}

fn documented(text: &str) -> BTreeSet<String> {
    let words = first_cells(text).into_iter().filter(|cell| cell.starts_with("--"));
    words.filter_map(|cell| cell.split(' ').next().map(str::to_owned)).collect()
}

#[test]
fn every_verb_and_option_is_documented_and_no_other() {
    let manual = manual();
    let headings = sections(&manual, "###");
    let found: BTreeMap<_, _> =
        headings.iter().map(|(heading, text)| (heading.trim_matches('`').to_owned(), documented(text))).collect();
    assert_eq!(found, verbs());
}

#[test]
fn every_global_option_is_documented_and_no_other() {
    let manual = manual();
    let table = &sections(&manual, "##").into_iter().find(|(heading, _)| *heading == "Global options").unwrap().1;
    let command = Cli::command();
    assert_eq!(documented(table), options(command.get_arguments().filter(|option| option.is_global_set())));
}

#[test]
fn every_exit_code_is_documented_with_its_word() {
    let manual = manual();
    for exit in Exit::ALL {
        let row = format!("\n| {} | `{}` | ", exit.code(), exit.word());
        assert_eq!(manual.matches(&row).count(), 1, "{row}");
    }
}

#[test]
fn every_variable_is_documented_and_none_is_made_up() {
    let manual = manual();
    let table = &sections(&manual, "##").into_iter().find(|(heading, _)| *heading == "Environment").unwrap().1;
    let documented: BTreeSet<_> = first_cells(table).into_iter().collect();
    let source = include_str!("../../../src/env.rs");
    let read: BTreeSet<_> = source
        .lines()
        .filter_map(|line| line.strip_prefix("pub const ")?.split('"').nth(1).map(str::to_owned))
        .chain(["BOLTSEAL_SIGNER_<NAME>_PASSPHRASE".to_owned()])
        .collect();
    assert!(read.len() > 15, "{read:?}");
    assert_eq!(read.difference(&documented).collect::<Vec<_>>(), Vec::<&String>::new(), "not documented");
    let ours = |name: &&String| name.starts_with("BOLTSEAL_");
    let made_up: Vec<_> = documented.difference(&read).filter(ours).collect();
    assert_eq!(made_up, Vec::<&String>::new(), "not read");
}

/// The documented schemas by name. A block may serve several.
fn schemas() -> Schemas {
    let mut schemas = Schemas::default();
    for block in blocks(&manual()) {
        let Some(names) = block.info.strip_prefix("json schema ") else { continue };
        let schema: Value = serde_json::from_str(&block.text).unwrap_or_else(|e| panic!("{names}: {e}"));
        for name in names.split(' ') {
            assert!(schemas.0.insert(name.to_owned(), schema.clone()).is_none(), "{name} is documented twice");
        }
    }
    schemas
}

#[test]
fn every_document_that_the_program_writes_is_as_its_schema_says() {
    let schemas = schemas();
    let scene = Scene::new();
    let machine = scene.machine("publisher");
    let tag = |tag: &str| format!("{NAME}:{tag}");
    let (one, two, none) = (tag("1.0"), tag("2.0"), tag("none"));
    let mut met = BTreeSet::new();
    let mut ask = |arguments: &[&str]| {
        let output = machine.boltseal(&[arguments, &["--output", "json"]].concat());
        let text = String::from_utf8(output.stdout).unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(text.lines().count(), 1, "{arguments:?}: {text}{said}");
        let document: Value = serde_json::from_str(&text).unwrap();
        let name = document["schema"].as_str().unwrap().to_owned();
        schemas.check(&name, &document).unwrap_or_else(|e| panic!("{arguments:?}: {e}\n{document}"));
        met.insert(name);
        (output.status.code().unwrap(), document)
    };

    assert_eq!(ask(&["verify", &one]).0, 16);
    let made = ask(&["init", NAME]).1;
    assert_eq!(ask(&["init", NAME]).0, 1);
    ask(&["sign", &one, &two, "--annotation", "commit=4b825dc"]);
    ask(&["sign", &one]);
    assert_eq!(ask(&["verify", &one, &none]).0, 11);
    scene.move_tag("1.0", "2.0");
    assert_eq!(ask(&["verify", "--registry", &one]).0, 15);
    let former = ask(&["resolve", &one]).1["results"][0]["digest"].as_str().unwrap().to_owned();
    ask(&["sign", &one]);
    let superseded = ask(&["verify", &format!("{one}@{former}")]).1;
    assert!(superseded["results"][0]["superseded"].is_string(), "{superseded}");
    ask(&["pull", &one, "--to", "oci:copy"]);
    assert_eq!(ask(&["pull", &none, "--to", "oci:copy"]).0, 11);
    assert_eq!(ask(&["export", NAME, "tuf"]).0, 0);
    let signer = ask(&["key", "generate", "--purpose", "signer:alice"]).1["key"]["id"].as_str().unwrap().to_owned();
    machine.done(&["key", "export", &signer, "--public", "--to", "alice.pub"]);
    ask(&["signer", "add", NAME, "alice", "--key", "alice.pub", "--tags", "2.*"]);
    ask(&["sign", &two, "--as", "alice"]);
    ask(&["signer", "list", NAME]);
    ask(&["signer", "remove", NAME, "alice"]);
    ask(&["copy", &two, "oci:elsewhere"]);
    ask(&["bundle", NAME, "all.tar"]);
    ask(&["inspect", NAME]);
    ask(&["inspect", NAME, "--history"]);
    assert!(!ask(&["copy", NAME, "oci:copy"]).1["images"].as_array().unwrap().is_empty());
    ask(&["bundle", NAME, "app.tar"]);
    ask(&["export", NAME, "tuf"]);
    assert_eq!(ask(&["status", NAME, "registry.example.com/other"]).0, 16);
    assert_eq!(ask(&["refresh", NAME, "registry.example.com/other"]).0, 16);
    assert!(ask(&["revoke", &one]).1["still_held"].is_string());
    ask(&["key", "rotate", NAME, "timestamp"]);
    let key = ask(&["key", "generate"]).1["key"]["id"].as_str().unwrap().to_owned();
    let root = made["root_key"].as_str().unwrap();
    ask(&["trust", "add", "registry.example.com/acme/**", "--root-key", root]);
    ask(&["trust", "list"]);
    ask(&["trust", "remove", "registry.example.com/acme/**"]);
    machine.done(&["key", "export", &key, "--to", "key.pem"]);
    ask(&["key", "remove", &key, "--yes"]);
    ask(&["key", "import", "key.pem", "--purpose", "root"]);
    ask(&["key", "list"]);
    ask(&["key", "passwd", &key]);
    ask(&["quickstart"]);
    assert_eq!(ask(&["verify", "--no-such-option"]).0, 2);

    let unmet: Vec<_> = schemas.0.keys().filter(|name| !met.contains(*name)).collect();
    // The parts that others share, and what needs a new passphrase beside the present one.
    assert_eq!(unmet, ["boltseal.defs/v1", "boltseal.key_passwd/v1"]);
}
