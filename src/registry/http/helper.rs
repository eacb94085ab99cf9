//! Credential helpers: `docker-credential-<name> get`, the host on stdin, JSON on stdout.
//!
//! - A helper that does not end in time is killed; what it prints is capped.
//! - It says "credentials not found" where it has none: that means anonymous. Every other failure is an error.

use std::ffi::OsStr;
use std::process::Stdio;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use zeroize::Zeroizing;

use super::credentials::Credential;
use super::failure::safe;
use super::limits::{Limits, shown_bytes, shown_time};

/// What docker's helpers answer where they have nothing for a host.
const NOT_FOUND: &str = "credentials not found";

/// Asks the helper `name` for the credentials of `host`.
///
/// # Errors
/// A sentence that names the helper.
pub(super) async fn ask(
    name: &str,
    host: &str,
    search_path: Option<&OsStr>,
    limits: &Limits,
) -> Result<Option<Credential>, String> {
    let valid = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if !valid {
        return Err(format!("`{}` is not the name of a credential helper", safe(name)));
    }
    let program = format!("docker-credential-{name}");
    match tokio::time::timeout(limits.helper, run(&program, host, search_path, limits.helper_bytes)).await {
        Err(_) => Err(format!("the credential helper `{program}` did not answer within {}", shown_time(limits.helper))),
        Ok(answer) => answer.map_err(|why| format!("the credential helper `{program}` {why}")),
    }
}

async fn run(program: &str, host: &str, search_path: Option<&OsStr>, max: u64) -> Result<Option<Credential>, String> {
    let mut command = Command::new(program);
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    if let Some(path) = search_path {
        command.env("PATH", path);
    }
    let mut child = command.spawn().map_err(|e| format!("cannot be run: {e}"))?;
    let mut stdin = child.stdin.take().expect("stdin was piped above");
    // A helper that knows its host by other means may close its input unread.
    let _ = stdin.write_all(format!("{host}\n").as_bytes()).await;
    drop(stdin);
    let mut stdout = child.stdout.take().expect("stdout was piped above").take(max + 1);
    let mut text = Zeroizing::new(Vec::with_capacity(4096));
    stdout.read_to_end(&mut text).await.map_err(|e| format!("broke off: {e}"))?;
    if text.len() as u64 > max {
        return Err(format!("printed more than {}", shown_bytes(max)));
    }
    let status = child.wait().await.map_err(|e| format!("broke off: {e}"))?;
    if status.success() {
        return parse(&text).map(Some);
    }
    let words = String::from_utf8_lossy(&text);
    if words.to_ascii_lowercase().contains(NOT_FOUND) {
        return Ok(None);
    }
    // A helper that fails after it printed an answer must not put the secret into a message.
    let words = if words.contains('{') { String::new() } else { safe(&words) };
    Err(format!("failed ({status}): {words}").trim_end_matches([' ', ':']).to_owned())
}

fn parse(text: &[u8]) -> Result<Credential, String> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        #[serde(default)]
        username: String,
        secret: Zeroizing<String>,
    }
    // The parser's own message could quote the secret.
    let answer: Answer =
        serde_json::from_slice(text).map_err(|_| "answered something other than credentials".to_owned())?;
    Ok(if answer.username == "<token>" {
        Credential::IdentityToken(answer.secret)
    } else {
        Credential::Password { user: answer.username, password: answer.secret }
    })
}
