//! The architecture's rules, read from the source: arrows point down, and what must be said once is said once.

use std::fs;
use std::path::{Path, PathBuf};

/// A source file without its tests: path below `src`, and text.
struct Source {
    path: String,
    code: String,
    whole: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    for path in files(&root, "rs") {
        let whole = fs::read_to_string(&path).unwrap();
        let path = path.strip_prefix(&root).unwrap().display().to_string();
        // Unit tests stand in a `tests` module at the end of a file or in files of their own.
        let is_test = path.contains("/tests") || path.ends_with("suite.rs") || path.starts_with("trust/simulator");
        let tests = whole.find("\n#[cfg(test)]").filter(|at| whole[*at..].contains("use super::"));
        let code = &whole[..tests.unwrap_or(whole.len())];
        let code = if is_test { String::new() } else { without_comments(code) };
        sources.push(Source { path, code, whole });
    }
    assert!(sources.len() > 80, "the source was not found");
    sources
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn without_comments(code: &str) -> String {
    code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// Where the code of some files holds one of these words.
fn offences(inside: impl Fn(&str) -> bool, words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources().into_iter().filter(|source| inside(&source.path)) {
        for word in words.iter().filter(|word| source.code.contains(**word)) {
            found.push(format!("{}: {word}", source.path));
        }
    }
    found
}

fn is_in(room: &str) -> impl Fn(&str) -> bool + use<'_> {
    move |path| path.starts_with(&format!("{room}/")) || path == format!("{room}.rs")
}

#[track_caller]
fn none(offences: &[String]) {
    assert!(offences.is_empty(), "{offences:#?}");
}

#[test]
fn the_core_does_no_input_or_output_and_reads_no_clock() {
    let forbidden = [
        "tokio",
        "reqwest",
        "hyper",
        "std::fs",
        "TcpStream",
        "TcpListener",
        "UdpSocket",
        "ToSocketAddrs",
        "std::io",
        "std::process",
        "std::env",
        "SystemTime",
        "Instant::now",
        "Timestamp::now",
        "getrandom",
        "async ",
        ".await",
        "crate::registry",
        "crate::store",
        "crate::keystore",
        "crate::ops",
        "crate::cli",
        "crate::config",
        "crate::gate",
        "crate::clock",
        "crate::env",
    ];
    for room in ["trust", "image"] {
        none(&offences(is_in(room), &forbidden));
    }
    none(&offences(is_in("image"), &["crate::trust"]));
}

#[test]
fn arrows_point_down() {
    none(&offences(is_in("ops"), &["crate::cli", "crate::gate"]));
    for adapter in ["registry", "keystore", "store", "clock", "notary"] {
        none(&offences(is_in(adapter), &["crate::ops", "crate::cli", "crate::gate"]));
    }
    none(&offences(is_in("config"), &["crate::ops", "crate::cli", "crate::gate"]));
    none(&offences(is_in("gate"), &["crate::cli"]));
}

#[test]
fn one_place_compares_signatures_with_a_threshold_and_makes_what_is_verified() {
    let elsewhere = |path: &str| path != "trust/threshold.rs";
    none(
        &offences(elsewhere, &["Verified { envelope", ".verifies("])
            .into_iter()
            .filter(|said| {
                // The keys themselves, and a key file that proves that it is whole.
                !said.starts_with("trust/key.rs") && !said.starts_with("keystore/")
            })
            .collect::<Vec<_>>(),
    );
    let threshold = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/trust/threshold.rs")).unwrap();
    assert_eq!(threshold.matches("Ok(Verified {").count(), 1);
    assert_eq!(threshold.matches("< need").count(), 1);
}

#[test]
fn one_encoder_makes_the_canonical_form() {
    let makers: Vec<_> = sources().into_iter().filter(|source| source.code.contains("fn canonicali")).collect();
    let names: Vec<_> = makers.iter().map(|source| source.path.as_str()).collect();
    assert!(names.iter().all(|name| ["trust/json.rs", "trust/canonical.rs"].contains(name)), "{names:?}");
    none(&offences(|path| path != "trust/canonical.rs", &["fn encode(value: &Value)"]));
}

#[test]
fn one_place_writes_to_standard_output() {
    let elsewhere = |path: &str| path != "cli/output.rs";
    none(
        &offences(elsewhere, &["println!", "print!(", "io::stdout", "stdout()"])
            .into_iter()
            .filter(|said| {
                // Diagnostics go to standard error, and programs that are run have an output of their own.
                !said.contains("eprint") && !said.contains(".stdout(")
            })
            .collect::<Vec<_>>(),
    );
}

#[test]
fn one_place_reads_the_time() {
    none(&offences(|path| path != "clock.rs", &["Timestamp::now", "SystemTime::now", "Zoned::now"]));
}

#[test]
fn nothing_is_left_to_do_and_nothing_has_a_name_without_a_meaning() {
    let marks = [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["XX", "X"].concat()];
    let macros = [["to", "do!("].concat(), ["unimple", "mented!("].concat(), ["db", "g!("].concat()];
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for path in [files(&root.join("src"), "rs"), files(&root.join("tests"), "rs")].concat() {
        let name = path.display().to_string();
        let text = fs::read_to_string(&path).unwrap();
        for word in marks.iter().chain(&macros).filter(|word| text.contains(word.as_str())) {
            found.push(format!("{name}: {word}"));
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if ["util", "utils", "helpers", "misc", "common", "prelude", "mod"].contains(&stem.as_str()) {
            found.push(name);
        }
    }
    none(&found);
}

#[test]
fn unsafe_code_is_forbidden_and_globs_are_not_used() {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    assert!(manifest.contains("unsafe_code = \"forbid\""));
    let globs: Vec<String> = sources()
        .into_iter()
        .filter(|source| source.code.lines().any(|line| line.trim_start().starts_with("use ") && line.contains("::*;")))
        .map(|source| source.path)
        .collect();
    none(&globs);
}

#[test]
fn every_file_says_what_it_promises() {
    let silent: Vec<String> = sources()
        .into_iter()
        .filter(|source| !source.whole.starts_with("//! ") && !source.path.contains("/tests"))
        .map(|source| source.path)
        .collect();
    none(&silent);
}

#[test]
fn every_attack_in_the_threat_page_names_a_test_that_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/threats.md")).unwrap();
    let tests: String = [files(&root.join("src"), "rs"), files(&root.join("tests"), "rs")]
        .concat()
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let mut named = 0;
    let mut missing = Vec::new();
    for row in page.lines().filter(|line| line.starts_with('|') && !line.starts_with("|--")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let last = cells.last().copied().unwrap_or_default();
        if last == "test" || last == "tests" {
            continue;
        }
        let names: Vec<&str> = last.split('`').skip(1).step_by(2).collect();
        if names.is_empty() {
            missing.push(format!("no test: {row}"));
        }
        for name in names {
            named += 1;
            if !tests.contains(&format!("fn {name}(")) {
                missing.push(name.to_owned());
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(named > 60, "the page names {named} tests only");
}
