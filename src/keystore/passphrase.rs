//! Passphrases from variables, files and a prompt.
//!
//! - In this order: the variable of the key's purpose, `BOLTSEAL_PASSPHRASE`, Docker Content Trust's variable. Each
//!   may be `<NAME>_FILE` instead, a file whose one trailing line end does not count; both at once are an error. A
//!   variable set to nothing counts as given.
//! - A wrong passphrase from a variable is final; a prompt is tried three times.
//! - What was typed is kept for the run, one for root keys, one for each signer and one for all other keys, so that a
//!   command with five keys asks twice, as Docker Content Trust does.
//! - Keys are unlocked side by side; a person is asked one thing at a time.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use zeroize::Zeroizing;

use super::folder::read_private;
use super::format::MAX_KEY_FILE;
use super::sealed::check_length;
use super::{Error, KeyInfo, MIN_PASSPHRASE, Passphrase, Passphrases, Pins, Purpose};
use crate::env::{self, Environment};

/// How often a prompt is answered wrongly before we give up.
const PROMPTS: u32 = 3;

/// Asks a person.
pub trait Prompt: Send + Sync {
    /// The answer to a question, not echoed; none where there is no terminal.
    fn passphrase(&self, question: &str) -> Option<Passphrase>;
}

/// Nobody to ask.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPrompt;

impl Prompt for NoPrompt {
    fn passphrase(&self, _question: &str) -> Option<Passphrase> {
        None
    }
}

/// Passphrases from the environment, then from a prompt.
pub struct EnvPassphrases {
    environment: Box<dyn Environment>,
    prompt: Box<dyn Prompt>,
    typed: Mutex<HashMap<Group, Passphrase>>,
    /// Held while a person is asked.
    asking: Mutex<()>,
}

/// Keys that share what was typed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Group {
    Root,
    Signer(String),
    Repository,
}

impl Group {
    fn of(purpose: Option<&Purpose>) -> Self {
        match purpose {
            Some(Purpose::Root) => Self::Root,
            Some(Purpose::Signer(name)) => Self::Signer(name.clone()),
            _ => Self::Repository,
        }
    }

    fn question(&self, collection: Option<&str>) -> String {
        let of = collection.map_or(String::new(), |name| format!(" of {}", name.escape_debug()));
        match self {
            Self::Root => "new root passphrase".to_owned(),
            Self::Signer(name) => format!("new passphrase for the keys of signer {}", name.escape_debug()),
            Self::Repository => format!("new repository passphrase for the keys{of}"),
        }
    }
}

impl EnvPassphrases {
    /// Reads variables from `environment` ([`env::process`] outside tests) and asks `prompt` for the rest.
    pub fn new(environment: impl Environment + 'static, prompt: impl Prompt + 'static) -> Self {
        Self {
            environment: Box::new(environment),
            prompt: Box::new(prompt),
            typed: Mutex::default(),
            asking: Mutex::default(),
        }
    }

    /// The first variable that is set, by its name, and its value.
    fn first(&self, names: &[String]) -> Result<Option<(String, Passphrase)>, Error> {
        for name in names {
            if let Some(Secret { from, value }) = secret_variable(&*self.environment, name)? {
                let text = std::str::from_utf8(&value)
                    .map_err(|_| Error::Variable { variable: from.clone(), message: "it is not UTF-8".to_owned() })?;
                return Ok(Some((from, Zeroizing::new(text.to_owned()))));
            }
        }
        Ok(None)
    }

    /// One attempt at an existing key.
    fn attempt(&self, label: &str, names: &[String], group: Option<&Group>, attempt: u32) -> Result<Passphrase, Error> {
        if let Some((name, passphrase)) = self.first(names)? {
            return if attempt == 0 {
                Ok(passphrase)
            } else {
                Err(Error::WrongPassphrase(format!("{label} (from `{name}`)")))
            };
        }
        let _one_question = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        let known = group.and_then(|group| self.typed().get(group).cloned());
        if let (0, Some(known)) = (attempt, known) {
            return Ok(known);
        }
        if attempt >= PROMPTS {
            return Err(Error::WrongPassphrase(label.to_owned()));
        }
        let question = match attempt {
            0 => format!("passphrase for {label}"),
            _ => format!("that passphrase is wrong; passphrase for {label}"),
        };
        let answer = self.prompt.passphrase(&question).ok_or_else(|| Error::NoPassphrase(label.to_owned()))?;
        if let Some(group) = group {
            self.typed().insert(group.clone(), answer.clone());
        }
        Ok(answer)
    }

    /// Asks for a new passphrase until it is long enough and typed twice alike.
    fn ask_new(&self, question: &str, label: &str) -> Result<Passphrase, Error> {
        let ask = |text: &str| self.prompt.passphrase(text).ok_or_else(|| Error::NoPassphrase(label.to_owned()));
        let mut failure = None;
        for _ in 0..PROMPTS {
            let answer = ask(&match &failure {
                None => format!("{question} ({MIN_PASSPHRASE} characters or more)"),
                Some(error) => format!("{error}; {question}"),
            })?;
            if let Err(error) = check_length(&answer, label) {
                failure = Some(error);
                continue;
            }
            if *ask(&format!("repeat the {question}"))? == *answer {
                return Ok(answer);
            }
            failure = Some(Error::Differ(label.to_owned()));
        }
        Err(failure.unwrap_or_else(|| Error::NoPassphrase(label.to_owned())))
    }

    fn typed(&self) -> MutexGuard<'_, HashMap<Group, Passphrase>> {
        self.typed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Passphrases for EnvPassphrases {
    fn at_hand(&self, key: &KeyInfo) -> bool {
        let purpose = key.purpose.as_ref();
        // A variable that cannot be used is an error without a question.
        !matches!(self.first(&variables(purpose)), Ok(None)) || self.typed().contains_key(&Group::of(purpose))
    }

    fn unlock(&self, key: &KeyInfo, attempt: u32) -> Result<Passphrase, Error> {
        let purpose = key.purpose.as_ref();
        self.attempt(&key.label(), &variables(purpose), Some(&Group::of(purpose)), attempt)
    }

    fn choose(&self, purpose: &Purpose, collection: Option<&str>) -> Result<Passphrase, Error> {
        let label = format!("the {purpose} key");
        if let Some((name, passphrase)) = self.first(&variables(Some(purpose)))? {
            check_length(&passphrase, &format!("{label} (from `{name}`)"))?;
            return Ok(passphrase);
        }
        let group = Group::of(Some(purpose));
        let known = self.typed().get(&group).filter(|known| check_length(known, &label).is_ok()).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let answer = self.ask_new(&group.question(collection), &label)?;
        self.typed().insert(group, answer.clone());
        Ok(answer)
    }

    fn open(&self, source: &str, purpose: Option<&Purpose>, attempt: u32) -> Result<Passphrase, Error> {
        let mut names = vec![env::IMPORT_PASSPHRASE.to_owned()];
        names.extend(variables(purpose));
        // What opens somebody's file says nothing of the keys here: it is not kept.
        self.attempt(&format!("`{source}`"), &names, None, attempt)
    }

    fn replace(&self, key: &KeyInfo) -> Result<Passphrase, Error> {
        let label = key.label();
        if let Some((name, passphrase)) = self.first(&[env::NEW_PASSPHRASE.to_owned()])? {
            check_length(&passphrase, &format!("{label} (from `{name}`)"))?;
            return Ok(passphrase);
        }
        self.ask_new(&format!("new passphrase for {label}"), &label)
    }
}

impl Pins for EnvPassphrases {
    fn pin(&self, token: &str) -> Result<Passphrase, Error> {
        if let Some((_, pin)) = self.first(&[env::token_pin(token), env::PKCS11_PIN.to_owned()])? {
            return Ok(pin);
        }
        let _one_question = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = token.escape_debug();
        let answer = self.prompt.passphrase(&format!("PIN of token `{shown}`"));
        answer.ok_or_else(|| Error::NoPin(shown.to_string()))
    }
}

impl fmt::Debug for EnvPassphrases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnvPassphrases").finish_non_exhaustive()
    }
}

/// The variables that hold the passphrase of keys of a purpose, the first that is set counts.
fn variables(purpose: Option<&Purpose>) -> Vec<String> {
    let own = match purpose {
        Some(Purpose::Root) => Some(env::ROOT_PASSPHRASE.to_owned()),
        Some(Purpose::Targets) => Some(env::TARGETS_PASSPHRASE.to_owned()),
        Some(Purpose::Snapshot) => Some(env::SNAPSHOT_PASSPHRASE.to_owned()),
        Some(Purpose::Timestamp) => Some(env::TIMESTAMP_PASSPHRASE.to_owned()),
        Some(Purpose::Online) => Some(env::ONLINE_PASSPHRASE.to_owned()),
        Some(Purpose::Signer(name)) => Some(env::signer_passphrase(name)),
        None => None,
    };
    let docker = match purpose {
        Some(Purpose::Root) => env::DCT_ROOT_PASSPHRASE,
        _ => env::DCT_REPOSITORY_PASSPHRASE,
    };
    own.into_iter().chain([env::PASSPHRASE.to_owned(), docker.to_owned()]).collect()
}

/// A secret from the environment.
pub struct Secret {
    /// The variable that it came from: `NAME` or `NAME_FILE`.
    pub from: String,
    /// The secret.
    pub value: Zeroizing<Vec<u8>>,
}

/// A secret given as `NAME`, or as a file in `NAME_FILE`; none where neither is set.
///
/// # Errors
/// [`Error::Variable`] where both are set; [`Error::Io`] where the file cannot be read.
pub fn secret_variable(environment: &dyn Environment, name: &str) -> Result<Option<Secret>, Error> {
    let file = env::file_of(name);
    match (environment.variable(name), environment.variable(&file)) {
        (Some(_), Some(_)) => {
            Err(Error::Variable { variable: name.to_owned(), message: format!("`{file}` is set too") })
        }
        (Some(value), None) => {
            Ok(Some(Secret { from: name.to_owned(), value: Zeroizing::new(value.into_encoded_bytes()) }))
        }
        (None, Some(path)) => Ok(Some(Secret { from: file, value: read_secret_file(Path::new(&path))? })),
        (None, None) => Ok(None),
    }
}

/// The content of a file without one trailing line end.
fn read_secret_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut bytes = read_private(path, MAX_KEY_FILE)?;
    let kept = bytes.strip_suffix(b"\n").map(|rest| rest.strip_suffix(b"\r").unwrap_or(rest)).map(<[u8]>::len);
    if let Some(kept) = kept {
        bytes.truncate(kept);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::sync::Arc;

    use super::*;
    use crate::keystore::suite::Script;
    use crate::keystore::{Algorithm, Error, KeyStore, MemoryKeyStore};

    fn environment(pairs: &[(&str, &str)]) -> impl Environment + 'static {
        let pairs: HashMap<String, OsString> =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
        move |name: &str| pairs.get(name).cloned()
    }

    fn from(pairs: &[(&str, &str)]) -> EnvPassphrases {
        EnvPassphrases::new(environment(pairs), NoPrompt)
    }

    fn typed(answers: &[&'static str]) -> (EnvPassphrases, Arc<Script>) {
        let script = Arc::new(Script::new(answers.iter().copied()));
        (EnvPassphrases::new(environment(&[]), Arc::clone(&script)), script)
    }

    #[test]
    fn the_variable_of_the_purpose_comes_before_the_common_one_and_dockers_comes_last() {
        let signer = Purpose::Signer("release-bot".to_owned());
        let all = [
            ("BOLTSEAL_ROOT_PASSPHRASE", "of the root"),
            ("BOLTSEAL_TARGETS_PASSPHRASE", "of targets"),
            ("BOLTSEAL_SNAPSHOT_PASSPHRASE", "of snapshot"),
            ("BOLTSEAL_TIMESTAMP_PASSPHRASE", "of timestamp"),
            ("BOLTSEAL_ONLINE_PASSPHRASE", "of online"),
            ("BOLTSEAL_SIGNER_RELEASE_BOT_PASSPHRASE", "of the bot"),
            ("BOLTSEAL_PASSPHRASE", "of them all"),
            ("DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE", "dockers root"),
            ("DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE", "dockers repository"),
        ];
        let purposes =
            [Purpose::Root, Purpose::Targets, Purpose::Snapshot, Purpose::Timestamp, Purpose::Online, signer];
        for (at, purpose) in purposes.iter().enumerate() {
            let ask = |pairs: &[(&str, &str)]| from(pairs).choose(purpose, None).map(|found| found.to_string());
            assert_eq!(ask(&all).unwrap(), all[at].1);
            assert_eq!(ask(&all[6..]).unwrap(), "of them all");
            let last = if *purpose == Purpose::Root { "dockers root" } else { "dockers repository" };
            assert_eq!(ask(&all[7..]).unwrap(), last);
            assert_eq!(ask(&[]), Err(Error::NoPassphrase(format!("the {purpose} key"))));
        }
    }

    #[test]
    fn a_file_stands_for_a_variable_without_its_last_line_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let name = path.to_str().unwrap();
        for (content, expected) in [
            ("from a file\n", "from a file"),
            ("from a file\r\n", "from a file"),
            ("from a file\n\n", "from a file\n"),
            ("  spaced  ", "  spaced  "),
        ] {
            std::fs::write(&path, content).unwrap();
            let found = from(&[("BOLTSEAL_PASSPHRASE_FILE", name)]).choose(&Purpose::Root, None).unwrap();
            assert_eq!(*found, expected);
        }
        let both = from(&[("BOLTSEAL_PASSPHRASE", "x"), ("BOLTSEAL_PASSPHRASE_FILE", name)]);
        assert_eq!(
            both.choose(&Purpose::Root, None).unwrap_err().to_string(),
            "`BOLTSEAL_PASSPHRASE` cannot be used: `BOLTSEAL_PASSPHRASE_FILE` is set too"
        );
        let missing = from(&[("BOLTSEAL_PASSPHRASE_FILE", "/nowhere/at/all")]).choose(&Purpose::Root, None);
        assert!(matches!(missing, Err(Error::Io { action: "read", .. })), "{missing:?}");
        std::fs::write(&path, vec![b'x'; MAX_KEY_FILE + 1]).unwrap();
        let huge = from(&[("BOLTSEAL_PASSPHRASE_FILE", name)]).choose(&Purpose::Root, None);
        assert!(matches!(huge, Err(Error::Io { .. })));
        std::fs::write(&path, b"\xff\xfe").unwrap();
        let binary = from(&[("BOLTSEAL_PASSPHRASE_FILE", name)]).choose(&Purpose::Root, None);
        assert!(matches!(binary, Err(Error::Variable { .. })));
    }

    #[test]
    fn a_variable_set_to_nothing_is_a_passphrase_too_short_for_a_new_key() {
        let empty = from(&[("BOLTSEAL_PASSPHRASE", "")]);
        let error = empty.choose(&Purpose::Root, None).unwrap_err();
        assert_eq!(error, Error::TooShort("the root key (from `BOLTSEAL_PASSPHRASE`)".to_owned()));
        assert_eq!(*empty.open("cosign.key", None, 0).unwrap(), "");
    }

    #[test]
    fn a_wrong_passphrase_from_a_variable_is_final_and_names_key_and_variable() {
        let store = MemoryKeyStore::new();
        let info = store
            .generate(Algorithm::Ed25519, Purpose::Root, None, &from(&[("BOLTSEAL_PASSPHRASE", "right one")]))
            .unwrap();
        let script = Arc::new(Script::new(["right one"]));
        let wrong = EnvPassphrases::new(environment(&[("BOLTSEAL_ROOT_PASSPHRASE", "wrong one")]), Arc::clone(&script));
        let error = store.unlock(&info.id, &wrong).unwrap_err();
        let label = format!("root key {} (from `BOLTSEAL_ROOT_PASSPHRASE`)", info.id.short());
        assert_eq!(error, Error::WrongPassphrase(label));
        assert_eq!(*script.asked.lock().unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_prompt_is_tried_three_times() {
        let store = MemoryKeyStore::new();
        let info = store
            .generate(Algorithm::Ed25519, Purpose::Targets, None, &from(&[("BOLTSEAL_PASSPHRASE", "right one")]))
            .unwrap();
        let (third, _) = typed(&["wrong", "wrong again", "right one"]);
        store.unlock(&info.id, &third).unwrap();
        // What was right is kept for the run.
        store.unlock(&info.id, &third).unwrap();
        let (never, script) = typed(&["1", "2", "3", "right one"]);
        assert_eq!(store.unlock(&info.id, &never).unwrap_err(), Error::WrongPassphrase(info.label()));
        assert_eq!(script.asked.lock().unwrap().len(), 3);
        assert_eq!(store.unlock(&info.id, &from(&[])).unwrap_err(), Error::NoPassphrase(info.label()));
    }

    #[test]
    fn new_keys_ask_for_a_root_and_a_repository_passphrase_once_each() {
        let (passphrases, script) =
            typed(&["root secret", "root secret", "repository", "repository", "amys secret", "amys secret"]);
        let name = Some("h.x/app");
        let chosen = |purpose: &Purpose| passphrases.choose(purpose, name).unwrap().to_string();
        assert_eq!(chosen(&Purpose::Root), "root secret");
        for purpose in [Purpose::Targets, Purpose::Snapshot, Purpose::Timestamp, Purpose::Online] {
            assert_eq!(chosen(&purpose), "repository");
        }
        assert_eq!(chosen(&Purpose::Root), "root secret");
        assert_eq!(chosen(&Purpose::Signer("amy".to_owned())), "amys secret");
        assert_eq!(
            *script.asked.lock().unwrap(),
            [
                "new root passphrase (8 characters or more)",
                "repeat the new root passphrase",
                "new repository passphrase for the keys of h.x/app (8 characters or more)",
                "repeat the new repository passphrase for the keys of h.x/app",
                "new passphrase for the keys of signer amy (8 characters or more)",
                "repeat the new passphrase for the keys of signer amy",
            ]
        );
    }

    #[test]
    fn a_new_passphrase_is_long_enough_and_typed_twice_alike() {
        let (corrected, _) = typed(&["short", "long enough", "long enouhg", "long enough", "long enough"]);
        assert_eq!(*corrected.choose(&Purpose::Root, None).unwrap(), "long enough");
        let (never, _) = typed(&["long enough", "a", "long enough", "b", "long enough", "c"]);
        assert_eq!(never.choose(&Purpose::Root, None), Err(Error::Differ("the root key".to_owned())));
        let (short, _) = typed(&["a", "b", "c"]);
        assert_eq!(short.choose(&Purpose::Root, None), Err(Error::TooShort("the root key".to_owned())));
    }

    #[test]
    fn a_changed_passphrase_is_never_the_old_one_taken_again_silently() {
        let store = MemoryKeyStore::new();
        let old = [("BOLTSEAL_PASSPHRASE", "the old one")];
        let info = store.generate(Algorithm::Ed25519, Purpose::Root, None, &from(&old)).unwrap();
        assert_eq!(store.change_passphrase(&info.id, &from(&old)), Err(Error::NoPassphrase(info.label())));
        let both = from(&[old[0], ("BOLTSEAL_NEW_PASSPHRASE", "the new one")]);
        store.change_passphrase(&info.id, &both).unwrap();
        store.unlock(&info.id, &from(&[("BOLTSEAL_PASSPHRASE", "the new one")])).unwrap();
    }

    #[test]
    fn a_pin_is_never_the_passphrase_of_a_key_nor_another_tokens() {
        let all = [
            ("BOLTSEAL_PKCS11_PIN_MY_TOKEN", "1111"),
            ("BOLTSEAL_PKCS11_PIN", "2222"),
            ("BOLTSEAL_PASSPHRASE", "of the keys"),
        ];
        assert_eq!(*from(&all).pin("my token").unwrap(), "1111");
        assert_eq!(*from(&all).pin("other").unwrap(), "2222");
        assert_eq!(from(&all[2..]).pin("other"), Err(Error::NoPin("other".to_owned())));
        let (asked, script) = typed(&["3333"]);
        assert_eq!(*asked.pin("a\u{1b}b").unwrap(), "3333");
        assert_eq!(*script.asked.lock().unwrap(), ["PIN of token `a\\u{1b}b`"]);
    }

    #[test]
    fn what_is_at_hand_needs_no_person() {
        let store = MemoryKeyStore::new();
        let variable = from(&[("BOLTSEAL_ROOT_PASSPHRASE", "right one"), ("BOLTSEAL_ONLINE_PASSPHRASE", "right one")]);
        let make = |purpose| store.generate(Algorithm::Ed25519, purpose, None, &variable).unwrap();
        let (root, online) = (make(Purpose::Root), make(Purpose::Online));
        assert!(variable.at_hand(&root));
        let (typed, _) = typed(&["right one"]);
        assert!(!typed.at_hand(&online));
        store.unlock(&online.id, &typed).unwrap();
        assert_eq!((typed.at_hand(&online), typed.at_hand(&root)), (true, false));
    }

    #[test]
    fn debug_shows_no_passphrase() {
        assert_eq!(format!("{:?}", from(&[("BOLTSEAL_PASSPHRASE", "secret one")])), "EnvPassphrases { .. }");
    }
}
