//! `ARCHITECTURE.md` against the source: arrows, pure rooms, and the names it names.

use std::fs;
use std::path::{Path, PathBuf};

use super::book::{page, top};

/// What each room may use of the crate, itself aside. `cli` may use everything.
const ROOMS: [(&str, &[&str]); 9] = [
    ("image", &[]),
    ("trust", &["image"]),
    ("clock", &[]),
    ("env", &[]),
    ("store", &["image", "trust"]),
    ("registry", &["image", "trust", "clock"]),
    ("keystore", &["image", "trust", "clock", "env"]),
    ("config", &["image", "trust", "store", "env"]),
    ("ops", &["image", "trust", "registry", "keystore", "store", "clock", "config", "env"]),
];

/// The source files of a room, or all files below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.with_extension("rs")];
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.retain(|path| path.exists());
    assert!(!found.is_empty(), "{}", folder.display());
    found
}

/// The lines of a file that are code.
fn code(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).map(str::to_owned).collect()
}

/// What code uses of the crate: the words after `crate::`.
fn used(line: &str) -> impl Iterator<Item = &str> {
    let word = |rest: &'_ str| rest.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(rest.len());
    line.split("crate::").skip(1).map(move |rest| &rest[..word(rest)])
}

#[test]
fn every_room_uses_only_what_lies_below_it() {
    for (room, allowed) in ROOMS {
        for path in sources(&top().join("src").join(room)) {
            for line in code(&path) {
                // `pub(crate)` names no room.
                for other in used(&line).filter(|other| !other.is_empty() && *other != room) {
                    assert!(allowed.contains(&other), "{}: {line}", path.display());
                }
            }
        }
    }
    assert_eq!(used("use crate::ops::error; crate::cli::x").collect::<Vec<_>>(), ["ops", "cli"]);
}

#[test]
fn the_core_knows_no_files_network_async_or_clock() {
    const BANNED: [&str; 11] = [
        "tokio",
        "reqwest",
        "std::fs",
        "std::io",
        "std::time",
        "std::env",
        "TcpStream",
        "async ",
        ".await",
        "SystemTime",
        "Timestamp::now",
    ];
    for room in ["trust", "image"] {
        for path in sources(&top().join("src").join(room)) {
            for line in code(&path) {
                let found = BANNED.iter().find(|banned| line.contains(**banned));
                assert_eq!(found, None, "{}: {line}", path.display());
            }
        }
    }
}

#[test]
fn only_the_command_line_speaks() {
    const SPEAKERS: [&str; 3] = ["cli/output.rs", "cli/talk.rs", "cli/prompt.rs"];
    let mut writers = Vec::new();
    for path in sources(&top().join("src")) {
        let speaks = |line: &String| {
            ["print!(", "println!(", "io::stdout().", "io::stdout())", "stderr().lock"]
                .iter()
                .any(|call| line.contains(call))
        };
        if code(&path).iter().any(speaks) {
            writers.push(path.strip_prefix(top().join("src")).unwrap().display().to_string());
        }
    }
    assert!(writers.iter().any(|writer| writer == "cli/output.rs"));
    writers.retain(|writer| !SPEAKERS.contains(&writer.as_str()));
    assert_eq!(writers, Vec::<String>::new());
}

#[test]
fn every_file_and_test_that_the_page_names_is_there() {
    let page = page("ARCHITECTURE.md");
    let all: String = ["src", "tests"]
        .iter()
        .flat_map(|folder| sources(&top().join(folder)))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let mut tests = 0;
    let outside_fences = page.split("```").step_by(2).collect::<String>();
    for name in outside_fences.split('`').skip(1).step_by(2) {
        let is_path = name.contains('/') || ["rs", "toml", "md"].iter().any(|end| name.ends_with(&format!(".{end}")));
        if is_path {
            assert!(["", "src"].iter().any(|folder| top().join(folder).join(name).exists()), "{name} is not there");
        } else if name.matches('_').count() > 3 {
            assert!(all.contains(&format!("fn {name}(")), "no test is called {name}");
            tests += 1;
        } else if let Some((_, function)) =
            name.rsplit_once("::").filter(|(_, word)| word.starts_with(char::is_lowercase))
        {
            assert!(all.contains(&format!("fn {function}")), "no function is called {name}");
        }
    }
    assert!(tests > 15, "{tests}");
    for (room, _) in ROOMS.iter().chain([&("cli", &[][..])]) {
        assert!(
            page.contains(&format!("**`src/{room}`**")) || page.contains(&format!("**`src/{room}.rs`**")),
            "{room}"
        );
    }
}
