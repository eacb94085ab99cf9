//! The program as a process: what it prints, and what it exits with.

// The helpers of tests are as free to stop at the first surprise as the tests are.
#![allow(clippy::unwrap_used)]

use std::io::{PipeReader, PipeWriter};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The program in an empty home, with nobody at a terminal and no variable that changes what it says.
fn boltseal(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_boltseal"));
    command.args(arguments).env_clear().env("HOME", home).env("BOLTSEAL_HOME", home.join("home")).stdin(Stdio::null());
    command
}

fn home() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn run(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// A pipe that nobody reads.
fn broken_pipe() -> PipeWriter {
    let (reader, writer): (PipeReader, PipeWriter) = std::io::pipe().unwrap();
    drop(reader);
    writer
}

#[test]
fn every_case_in_the_folder_prints_what_it_says() {
    trycmd::TestCases::new()
        .env("COLUMNS", "100")
        .env("HOME", "/nonexistent")
        .env("BOLTSEAL_HOME", "/nonexistent/home")
        .env("CI", "1")
        .case("tests/cmd/*.trycmd")
        .run();
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let home = home();
    for arguments in [&["completions", "bash"][..], &["--help"], &["key", "list", "--output", "json"]] {
        let (code, _, stderr) = run(boltseal(home.path(), arguments).stdout(broken_pipe()));
        assert_eq!((code, stderr.as_str()), (0, ""), "{arguments:?}");
    }
}

#[test]
fn a_reader_that_goes_away_does_not_change_a_failure() {
    let home = home();
    let (code, _, _) = run(boltseal(home.path(), &["verify", "--nonsense", "--output", "json"]).stdout(broken_pipe()));
    assert_eq!(code, 2);
    let (code, ..) = run(boltseal(home.path(), &["key", "generate"]).stdout(broken_pipe()).stderr(broken_pipe()));
    assert_eq!(code, 30);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_never_exit_0() {
    let home = home();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let (code, _, stderr) = run(boltseal(home.path(), &["completions", "bash"]).stdout(full));
    assert_eq!(code, 1);
    assert!(stderr.starts_with("error: cannot write to standard output"), "{stderr}");
}

#[test]
fn without_a_terminal_nothing_is_asked() {
    let home = home();
    let (code, stdout, stderr) = run(&mut boltseal(home.path(), &["key", "generate"]));
    assert_eq!((code, stdout.as_str()), (30, ""));
    assert!(stderr.starts_with("error: no passphrase for the root key\nhint: "), "{stderr}");

    let (_, id, _) = run(boltseal(home.path(), &["key", "generate"]).env("BOLTSEAL_PASSPHRASE", "long enough"));
    let (code, _, stderr) = run(&mut boltseal(home.path(), &["key", "remove", id.trim()]));
    assert_eq!(code, 2);
    assert!(stderr.contains("expected `--yes`"), "{stderr}");
}

#[test]
fn off_a_terminal_nothing_is_coloured() {
    let home = home();
    for arguments in [&["--help"][..], &["verfy"], &["verify", "UPPER"], &["key", "export", "zz"]] {
        let (_, stdout, stderr) = run(boltseal(home.path(), arguments).env("TERM", "xterm-256color"));
        assert!(!stdout.contains('\x1b') && !stderr.contains('\x1b'), "{arguments:?}: {stdout}{stderr}");
    }
}

#[test]
fn a_failure_in_json_is_a_document_on_standard_output_and_a_sentence_on_standard_error() {
    let home = home();
    for (arguments, code) in
        [(&["key", "generate", "--output", "json"][..], "key"), (&["verify", "--output=json"], "usage")]
    {
        let (_, stdout, stderr) = run(&mut boltseal(home.path(), arguments));
        let document: serde_json::Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!(document["schema"], "boltseal.error/v1");
        assert_eq!(document["error"]["code"], code);
        assert!(stderr.starts_with("error: "), "{stderr}");
    }
}

#[test]
fn json_by_the_settings_counts_for_failures_too() {
    let home = home();
    let settings = home.path().join(".config/boltseal");
    std::fs::create_dir_all(&settings).unwrap();
    std::fs::write(settings.join("config.toml"), "output = \"json\"\n").unwrap();
    let (code, stdout, _) = run(&mut boltseal(home.path(), &["key", "generate"]));
    assert_eq!(code, 30);
    assert!(stdout.starts_with(r#"{"schema":"boltseal.error/v1""#), "{stdout}");
    let (_, stdout, _) = run(&mut boltseal(home.path(), &["key", "list", "--output", "text"]));
    assert_eq!(stdout, "");
}

#[test]
fn broken_settings_stop_a_verb_that_acts_and_not_the_help() {
    let home = home();
    let settings = home.path().join(".config/boltseal");
    std::fs::create_dir_all(&settings).unwrap();
    std::fs::write(settings.join("config.toml"), "enigne = \"docker\"\n").unwrap();
    let (code, _, stderr) = run(&mut boltseal(home.path(), &["key", "list"]));
    assert_eq!(code, 1);
    assert!(stderr.contains("config.toml` line 1, `enigne`"), "{stderr}");
    for arguments in [&["completions", "fish"][..], &["man"], &["--version"]] {
        assert_eq!(run(&mut boltseal(home.path(), arguments)).0, 0, "{arguments:?}");
    }
}

#[test]
fn every_verb_has_a_manual_page() {
    let home = home();
    let folder = home.path().join("man/man1");
    let (code, ..) = run(&mut boltseal(home.path(), &["man", "--to", folder.to_str().unwrap()]));
    assert_eq!(code, 0);
    for page in ["boltseal", "boltseal-verify", "boltseal-key", "boltseal-key-rotate", "boltseal-trust-add"] {
        let text = std::fs::read_to_string(folder.join(format!("{page}.1"))).unwrap();
        assert!(text.contains(".SH SYNOPSIS"), "{page}");
    }
    let (_, stdout, _) = run(&mut boltseal(home.path(), &["man", "key", "rotate"]));
    assert_eq!(stdout, std::fs::read_to_string(folder.join("boltseal-key-rotate.1")).unwrap());
    assert_eq!(run(&mut boltseal(home.path(), &["man", "nonsense"])).0, 2);
}

#[test]
fn every_shell_has_completions_that_know_the_verbs() {
    let home = home();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, stdout, _) = run(&mut boltseal(home.path(), &["completions", shell]));
        assert_eq!(code, 0, "{shell}");
        for word in ["resolve", "rotate", "trust-repository"] {
            assert!(stdout.contains(word), "{shell} {word}");
        }
    }
}

#[test]
fn keys_are_made_listed_moved_and_removed() {
    let home = home();
    let with = |arguments: &[&str]| {
        run(boltseal(home.path(), arguments)
            .env("BOLTSEAL_PASSPHRASE", "correct horse")
            .env("BOLTSEAL_NEW_PASSPHRASE", "battery staple"))
    };
    let (code, id, _) = with(&["key", "generate", "--algorithm", "p256"]);
    let id = id.trim();
    assert_eq!((code, id.len()), (0, 64));
    assert!(
        with(&["key", "list"]).1.contains(&format!("{id}  root     ecdsa-p256  folder   -")),
        "{}",
        with(&["key", "list"]).1
    );

    let backup = home.path().join("backup.json");
    let backup = backup.to_str().unwrap();
    assert_eq!(with(&["key", "export", "--all", "--to", backup]).0, 0);
    let (code, _, stderr) = with(&["key", "export", "--all", "--to", backup]);
    assert_eq!(code, 2, "a backup is never written over: {stderr}");

    assert_eq!(with(&["key", "passwd", &id[..8]]).0, 0);
    let (code, _, stderr) = with(&["key", "passwd", &id[..8]]);
    assert_eq!(code, 30, "the former passphrase is void");
    assert!(stderr.contains(&id[..12]), "the error names the key: {stderr}");

    assert_eq!(with(&["key", "remove", id, "--yes"]).0, 0);
    assert_eq!(with(&["key", "export", id, "--public"]).0, 30);
    assert_eq!(with(&["key", "import", backup]).1.trim(), id);
    assert!(with(&["key", "export", id]).1.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
}

#[test]
fn pins_are_added_listed_refused_and_removed() {
    let home = home();
    let with = |arguments: &[&str]| run(&mut boltseal(home.path(), arguments));
    let (a, b) = ("a".repeat(64), "b".repeat(64));
    let (code, _, stderr) = with(&["trust", "add", "h.example/app"]);
    assert_eq!(code, 2, "{stderr}");

    assert_eq!(with(&["trust", "add", "h.example/app", "--root-key", &a]).0, 0);
    let (code, stdout, _) = with(&["trust", "list", "--output", "json"]);
    let listed: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let scope = &listed["scopes"][0];
    assert_eq!((code, &scope["images"][0], &scope["root"]["keys"][0]), (0, &"h.example/app".into(), &a.clone().into()));

    let (code, _, stderr) = with(&["trust", "add", "h.example/app", "--root-key", &b]);
    assert_eq!(code, 16, "another root is not taken silently: {stderr}");
    assert_eq!(with(&["trust", "add", "h.example/app", "--root-key", &b, "--replace"]).0, 0);
    assert!(with(&["trust", "list"]).1.contains(&b));

    assert_eq!(with(&["trust", "remove", "h.example/app"]).0, 0);
    assert_eq!(with(&["trust", "list"]).1, "");
    assert_eq!(with(&["trust", "remove", "h.example/app"]).0, 1);
}

#[test]
fn a_pin_goes_to_the_policy_file_that_is_named() {
    let home = home();
    let file = home.path().join("team.toml");
    let policy = file.to_str().unwrap();
    let id = "c".repeat(64);
    let pinned =
        run(&mut boltseal(home.path(), &["trust", "add", "h.example/**", "--root-key", &id, "--policy", policy]));
    assert_eq!(pinned.0, 0, "{}", pinned.2);
    assert!(std::fs::read_to_string(&file).unwrap().contains(&id));
    assert_eq!(run(&mut boltseal(home.path(), &["trust", "list"])).1, "", "the user's own policy is untouched");
}

#[test]
fn nothing_but_the_writers_touches_the_standard_streams() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let allowed = |needle: &str, file: &Path| match needle {
        "io::stdout" => file.ends_with("cli/output.rs"),
        "io::stderr" => {
            ["cli/talk.rs", "cli/prompt.rs", "cli/log.rs", "ops/engine/program.rs"].iter().any(|f| file.ends_with(f))
        }
        _ => false,
    };
    for file in sources(&root) {
        let text = std::fs::read_to_string(&file).unwrap();
        for needle in ["println!", "print!(", "io::stdout", "io::stderr"] {
            assert!(!text.contains(needle) || allowed(needle, &file), "{} has {needle}", file.display());
        }
    }
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

#[test]
fn a_log_is_written_only_where_it_is_asked_for() {
    let home = home();
    let (code, _, stderr) = run(boltseal(home.path(), &["key", "list"]).env("BOLTSEAL_LOG", "not=a=filter"));
    assert_eq!(code, 2);
    assert!(stderr.contains("`BOLTSEAL_LOG` holds no log filters"), "{stderr}");
    let (code, _, stderr) = run(&mut boltseal(home.path(), &["key", "list", "--quiet"]));
    assert_eq!((code, stderr.as_str()), (0, ""));
}
