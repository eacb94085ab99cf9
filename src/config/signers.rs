//! Keys that live elsewhere than in the key folder, as `config.toml` names them.
//!
//! ```toml
//! [[pkcs11]]                                    # a token: needs a boltseal built with the feature `hsm`
//! token    = "release"                          # its label
//! module   = "/usr/lib/softhsm/libsofthsm2.so"  # its maker's module
//! deadline = "30s"                              # longest time of one call
//! optional = true                               # not plugged in: no keys, instead of an error
//!
//! [[external]]                                  # a program that speaks `boltseal.signer/v1`
//! name     = "kms"
//! command  = ["/usr/local/bin/kms-signer", "--key", "release"]
//! deadline = "10s"                              # longest time of one request
//! env      = ["AWS_PROFILE", "AWS_REGION"]      # variables that it may see beside the usual few
//! ```

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Error;
use super::table::Field;

/// Longest time of a call into a token where nothing says it: time to touch it, and to type a PIN at it.
const TOKEN_DEADLINE: Duration = Duration::from_secs(30);
/// Longest time of a request to a program where nothing says it.
const EXTERNAL_DEADLINE: Duration = Duration::from_secs(10);
/// Longest deadline: who waits longer sees a hang.
const MAX_DEADLINE: Duration = Duration::from_secs(600);
/// Longest label of a token, in bytes, by the standard.
const MAX_LABEL: usize = 32;

/// A PKCS#11 token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its label.
    pub token: String,
    /// The module of its maker.
    pub module: PathBuf,
    /// Longest time of one call.
    pub deadline: Duration,
    /// Whether its absence is no error.
    pub optional: bool,
}

/// A program that signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct External {
    /// What it is called here.
    pub name: String,
    /// The program, by an absolute path.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Longest time of one request.
    pub deadline: Duration,
    /// The variables that it may see beside the usual few.
    pub env: Vec<String>,
}

/// Reads `[[pkcs11]]`.
pub(super) fn tokens(field: &Field<'_>) -> Result<Vec<Token>, Error> {
    let mut tokens: Vec<Token> = Vec::new();
    for entry in field.list()? {
        let table = entry.table(&["token", "module", "deadline", "optional"])?;
        let label = table.required("token")?;
        let token = label.text()?.to_owned();
        if token.is_empty() || token.len() > MAX_LABEL || token.trim_end() != token {
            return Err(
                label.invalid(format!("expected the label of a token: 1 to {MAX_LABEL} bytes, no space at its end"))
            );
        }
        if tokens.iter().any(|other| other.token == token) {
            return Err(label.invalid(format!("`{}` stands twice", token.escape_debug())));
        }
        tokens.push(Token {
            token,
            module: absolute(&table.required("module")?)?,
            deadline: table.field("deadline").map_or(Ok(TOKEN_DEADLINE), |field| deadline(&field))?,
            optional: table.field("optional").map_or(Ok(false), |field| field.flag())?,
        });
    }
    Ok(tokens)
}

/// Reads `[[external]]`.
pub(super) fn externals(field: &Field<'_>) -> Result<Vec<External>, Error> {
    let mut externals: Vec<External> = Vec::new();
    for entry in field.list()? {
        let table = entry.table(&["name", "command", "deadline", "env"])?;
        let name_field = table.required("name")?;
        let name = name_field.text()?.to_owned();
        if !(1..=64).contains(&name.len()) || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
            return Err(name_field.invalid("expected a name of letters, digits, `-`, `_` and `.`"));
        }
        if externals.iter().any(|other| other.name == name) {
            return Err(name_field.invalid(format!("`{name}` stands twice")));
        }
        let command = table.required("command")?;
        let words = command.list()?;
        let Some((program, arguments)) = words.split_first() else {
            return Err(command.invalid("the list is empty: expected a program and its arguments"));
        };
        externals.push(External {
            name,
            program: absolute(program)?,
            arguments: arguments.iter().map(|word| Ok(word.text()?.to_owned())).collect::<Result<_, Error>>()?,
            deadline: table.field("deadline").map_or(Ok(EXTERNAL_DEADLINE), |field| deadline(&field))?,
            env: table.field("env").map_or(Ok(Vec::new()), |field| field.texts(variable))?,
        });
    }
    Ok(externals)
}

/// What a file says must not depend on the folder in which the program is started, nor on a search path.
fn absolute(field: &Field<'_>) -> Result<PathBuf, Error> {
    let path = Path::new(field.text()?);
    if path.is_absolute() { Ok(path.to_owned()) } else { Err(field.invalid("expected an absolute path")) }
}

/// A variable's name. Ours hold passphrases, and are nobody else's.
fn variable(field: &Field<'_>) -> Result<String, Error> {
    let name = field.text()?;
    if ["BOLTSEAL_", "DOCKER_CONTENT_TRUST_"].iter().any(|ours| name.starts_with(ours)) {
        return Err(field.invalid(format!("`{}` may hold a passphrase, which no program gets", name.escape_debug())));
    }
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(field.invalid("expected the name of a variable"));
    }
    Ok(name.to_owned())
}

/// A number with `s` or `m`.
fn deadline(field: &Field<'_>) -> Result<Duration, Error> {
    let text = field.text()?;
    let parse = |digits: &str| digits.parse::<u64>().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()));
    let seconds = match (text.strip_suffix('s'), text.strip_suffix('m')) {
        (Some(digits), _) => parse(digits),
        (_, Some(digits)) => parse(digits).and_then(|minutes| minutes.checked_mul(60)),
        _ => None,
    };
    let span = seconds.map(Duration::from_secs);
    span.filter(|span| !span.is_zero() && *span <= MAX_DEADLINE)
        .ok_or_else(|| field.invalid(format!("`{}` is no deadline: expected `1s` to `10m`", text.escape_debug())))
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::*;

    fn parse(text: &str) -> Result<Settings, Error> {
        Settings::parse("c.toml", text)
    }

    #[test]
    fn tokens_and_programs_are_read() {
        let settings = parse(
            r#"
[[pkcs11]]
token = "release"
module = "/usr/lib/m.so"
[[pkcs11]]
token = "YubiKey PIV"
module = "/usr/lib/m.so"
deadline = "2m"
optional = true
[[external]]
name = "kms"
command = ["/usr/bin/signer", "--flag", "--flag"]
deadline = "5s"
env = ["AWS_REGION"]
"#,
        )
        .unwrap();
        let module: PathBuf = "/usr/lib/m.so".into();
        let (first, second) = (Duration::from_secs(30), Duration::from_secs(120));
        assert_eq!(
            settings.pkcs11.unwrap(),
            [
                Token { token: "release".to_owned(), module: module.clone(), deadline: first, optional: false },
                Token { token: "YubiKey PIV".to_owned(), module, deadline: second, optional: true },
            ]
        );
        let external = External {
            name: "kms".to_owned(),
            program: "/usr/bin/signer".into(),
            arguments: vec!["--flag".to_owned(); 2],
            deadline: Duration::from_secs(5),
            env: vec!["AWS_REGION".to_owned()],
        };
        assert_eq!(settings.external.unwrap(), [external]);
    }

    #[test]
    fn what_is_wrong_is_told_with_line_and_field() {
        let token = |rest: &str| format!("[[pkcs11]]\ntoken = \"t\"\nmodule = \"/m.so\"\n{rest}");
        let external = |rest: &str| format!("[[external]]\nname = \"n\"\ncommand = [\"/s\"]\n{rest}");
        for (text, message) in [
            ("[[pkcs11]]\nmodule = \"/m.so\"".to_owned(), "`pkcs11.token`: the field is missing"),
            (token("[[pkcs11]]\ntoken = \"t\"\nmodule = \"/m.so\""), "line 5, `pkcs11.token`: `t` stands twice"),
            (token("pin = \"1234\""), "line 4, `pkcs11.pin`: unknown field"),
            (token("deadline = \"0s\""), "`pkcs11.deadline`: `0s` is no deadline: expected `1s` to `10m`"),
            (token("deadline = \"11m\""), "is no deadline"),
            (token("deadline = \"+5s\""), "is no deadline"),
            ("[[pkcs11]]\ntoken = \"t \"\nmodule = \"/m\"".to_owned(), "expected the label of a token"),
            ("[[pkcs11]]\ntoken = \"t\"\nmodule = \"m.so\"".to_owned(), "`pkcs11.module`: expected an absolute path"),
            ("[[external]]\nname = \"n\"\ncommand = []".to_owned(), "`external.command`: the list is empty"),
            ("[[external]]\nname = \"n\"\ncommand = [\"signer\"]".to_owned(), "expected an absolute path"),
            ("[[external]]\nname = \"n\"\ncommand = \"/s\"".to_owned(), "expected a list, found a text"),
            ("[[external]]\nname = \"a b\"\ncommand = [\"/s\"]".to_owned(), "expected a name of letters"),
            (external("env = [\"BOLTSEAL_PASSPHRASE\"]"), "`BOLTSEAL_PASSPHRASE` may hold a passphrase"),
            (external("env = [\"A=B\"]"), "expected the name of a variable"),
            (external("[[external]]\nname = \"n\"\ncommand = [\"/s\"]"), "`n` stands twice"),
        ] {
            let error = parse(&text).unwrap_err().to_string();
            assert!(error.contains(message), "{text}: {error}");
        }
    }
}
