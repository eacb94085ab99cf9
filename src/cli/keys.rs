//! The keys of a session: those in the key folder, in tokens, in other programs, and those given for one run.

use std::path::PathBuf;

use super::file;
use super::report::Failure;
use super::session::Session;
use crate::config::{ExternalSettings, TokenSettings};
use crate::env;
use crate::keystore::passphrase::secret_variable;
use crate::keystore::{FileKeyStore, JoinedKeyStore, KeyStore, LayeredKeyStore, MemoryKeyStore};

/// A key store, and where it is for people and programs: `folder`, `token LABEL` or `signer NAME`.
pub struct KeyPlace {
    /// Where.
    pub shown: String,
    /// The store.
    pub store: Box<dyn KeyStore>,
}

impl Session {
    /// The key folder of this machine.
    pub fn key_store(&self) -> FileKeyStore {
        FileKeyStore::new(self.folders.home.join("keys"))
    }

    /// Every key store that the settings name. Nothing is opened yet.
    ///
    /// # Errors
    /// Exit 2 where this program cannot use one of them.
    pub fn key_places(&self) -> Result<Vec<KeyPlace>, Failure> {
        let mut places = vec![KeyPlace { shown: "folder".to_owned(), store: Box::new(self.key_store()) }];
        for token in self.settings.pkcs11.iter().flatten() {
            places.push(KeyPlace { shown: format!("token {}", token.token), store: self.open_token(token)? });
        }
        for signer in self.settings.external.iter().flatten() {
            places.push(KeyPlace { shown: format!("signer {}", signer.name), store: self.open_signer(signer)? });
        }
        Ok(places)
    }

    /// The keys of this machine, wherever they are kept.
    ///
    /// # Errors
    /// Those of [`Session::key_places`].
    pub fn kept_keys(&self) -> Result<Box<dyn KeyStore>, Failure> {
        let others = self.key_places()?.into_iter().skip(1).map(|place| place.store).collect();
        Ok(Box::new(JoinedKeyStore::new(Box::new(self.key_store()), others)))
    }

    /// The keys of this machine for a look at them: where a token or program does not answer, this is said, and the
    /// key folder is all there is.
    pub fn known_keys(&self) -> Box<dyn KeyStore> {
        let kept = self.kept_keys().and_then(|kept| match self.key_store().list().and_then(|_| kept.list()) {
            Ok(_) => Ok(kept),
            Err(error) => Err(error.into()),
        });
        kept.unwrap_or_else(|failure| {
            self.console.talk.warn(format_args!("only the key folder is looked at: {}", failure.message));
            Box::new(self.key_store())
        })
    }

    /// The keys of this machine, behind those that `--key` and `BOLTSEAL_KEY` give for this run. The latter are
    /// unlocked here, so that nothing is asked once requests have begun.
    ///
    /// # Errors
    /// Exit 30 where a given key cannot be used.
    pub fn signing_keys(&self) -> Result<Box<dyn KeyStore>, Failure> {
        self.signing_keys_from(&self.options.keys.files)
    }

    /// As [`Session::signing_keys`], with these files instead of those of `--key`.
    ///
    /// # Errors
    /// Exit 30 where a given key cannot be used.
    pub fn signing_keys_from(&self, files: &[PathBuf]) -> Result<Box<dyn KeyStore>, Failure> {
        let given = MemoryKeyStore::new();
        let mut any = false;
        for path in files {
            given.load(&file::read(path)?, &path.display().to_string(), None, &self.passphrases)?;
            any = true;
        }
        if let Some(secret) = secret_variable(&*self.environment, env::KEY)? {
            given.load(&secret.value, &secret.from, None, &self.passphrases)?;
            any = true;
        }
        let kept = self.kept_keys()?;
        Ok(if any { Box::new(LayeredKeyStore::new(Box::new(given), kept)) } else { kept })
    }

    /// The token with this label.
    ///
    /// # Errors
    /// Exit 2 where the settings name none such.
    pub fn token(&self, label: &str) -> Result<Box<dyn KeyStore>, Failure> {
        let tokens = self.settings.pkcs11.as_deref().unwrap_or_default();
        let Some(token) = tokens.iter().find(|token| token.token == label) else {
            let named: Vec<_> = tokens.iter().map(|token| format!("`{}`", token.token)).collect();
            let named = if named.is_empty() { "no token".to_owned() } else { named.join(", ") };
            return Err(Failure::usage(format!("`{label}` is not in the settings, which name {named}"))
                .hint("a `[[pkcs11]]` in `config.toml` says which module the token is reached by"));
        };
        self.open_token(token)
    }

    #[cfg(feature = "hsm")]
    // As without the feature.
    #[allow(clippy::unnecessary_wraps)]
    fn open_token(&self, token: &TokenSettings) -> Result<Box<dyn KeyStore>, Failure> {
        let place = crate::keystore::Place {
            module: token.module.clone(),
            token: token.token.clone(),
            deadline: token.deadline,
            optional: token.optional,
        };
        let pins = std::sync::Arc::clone(&self.passphrases);
        Ok(Box::new(crate::keystore::Pkcs11KeyStore::new(place, pins)))
    }

    #[cfg(not(feature = "hsm"))]
    // As with the feature.
    #[allow(clippy::unused_self)]
    fn open_token(&self, token: &TokenSettings) -> Result<Box<dyn KeyStore>, Failure> {
        Err(Failure::usage(format!(
            "the settings name the token `{}`, and this boltseal speaks no PKCS#11",
            token.token
        ))
        .hint("use one built with it: `cargo install boltseal --features hsm`"))
    }

    #[cfg(unix)]
    // As on other systems.
    #[allow(clippy::unnecessary_wraps)]
    fn open_signer(&self, signer: &ExternalSettings) -> Result<Box<dyn KeyStore>, Failure> {
        let program = crate::keystore::Program::new(
            &signer.program,
            signer.arguments.iter().cloned(),
            &*self.environment,
            &signer.env,
            signer.deadline,
        );
        Ok(Box::new(crate::keystore::ExternalKeyStore::new(&signer.name, program)))
    }

    #[cfg(not(unix))]
    #[allow(clippy::unused_self)]
    fn open_signer(&self, signer: &ExternalSettings) -> Result<Box<dyn KeyStore>, Failure> {
        Err(Failure::usage(format!("external signers such as `{}` need a Unix system", signer.name)))
    }
}
