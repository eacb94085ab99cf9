//! One token and the sessions with it. Everything here may block, and runs on the token's thread.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error as Failure, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::AuthPin;
use sha2::{Digest, Sha256};

use super::{Place, label, point};
use crate::keystore::{Algorithm, Error, KeyInfo};

/// Most keys of one token that are looked at.
const MAX_KEYS: usize = 1000;

/// Modules stay loaded until the process ends: the standard knows one initialisation for each process, and unloading
/// one under somebody else's session would crash.
static MODULES: Mutex<BTreeMap<PathBuf, Pkcs11>> = Mutex::new(BTreeMap::new());

/// The token's name for people.
pub(super) fn shown(place: &Place) -> String {
    format!("token `{}`", place.token.escape_debug())
}

/// A key of the token.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) info: KeyInfo,
    algorithm: Algorithm,
    /// `CKA_ID`, which both halves of a pair share.
    pair: Vec<u8>,
}

/// What a login takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// It is done, or never needed.
    Nothing,
    /// The PIN.
    Pin,
    /// Somebody types the PIN at the token itself.
    Pad,
}

/// A token, opened when it is first needed.
pub(super) struct Token {
    place: Place,
    session: Option<Session>,
    /// A wrong PIN was tried, and none is tried again.
    refused: bool,
}

impl Token {
    pub(super) fn new(place: Place) -> Self {
        Self { place, session: None, refused: false }
    }

    fn device(&self, message: impl Into<String>) -> Error {
        Error::Device { name: shown(&self.place), message: message.into() }
    }

    /// An error of the module. The session is given up: after most of them it is of no more use.
    fn failed(&mut self, failure: &Failure) -> Error {
        self.session = None;
        self.device(words(failure))
    }

    fn module(&self) -> Result<Pkcs11, Error> {
        module(&self.place.module).map_err(|reason| self.device(reason))
    }

    /// The slot that holds the token; none where it is absent.
    fn slot(&mut self, module: &Pkcs11) -> Result<Result<(Slot, TokenInfo), Vec<String>>, Error> {
        let slots = module.get_slots_with_token().map_err(|failure| self.failed(&failure))?;
        let mut found = Vec::new();
        let mut others = Vec::new();
        for slot in slots {
            // A reader next to ours that fails is no concern of ours.
            let Ok(info) = module.get_token_info(slot) else { continue };
            if info.label() == self.place.token {
                found.push((slot, info));
            } else if info.token_initialized() {
                others.push(info.label().to_owned());
            }
        }
        if found.len() > 1 {
            return Err(self.device(format!("{} tokens have this label", found.len())));
        }
        Ok(found.pop().ok_or(others))
    }

    fn present(&mut self) -> Result<(Pkcs11, Slot, TokenInfo), Error> {
        let module = self.module()?;
        match self.slot(&module)? {
            Ok((slot, info)) => Ok((module, slot, info)),
            Err(others) if others.is_empty() => Err(self.device("it is not plugged in, and no other token is")),
            Err(others) => {
                let others: Vec<_> = others.iter().take(8).map(|label| format!("`{}`", label.escape_debug())).collect();
                Err(self.device(format!("it is not plugged in; tokens that are: {}", others.join(", "))))
            }
        }
    }

    pub(super) fn is_present(&mut self) -> Result<bool, Error> {
        let module = self.module()?;
        Ok(self.slot(&module)?.is_ok())
    }

    /// Opens the session that stays.
    fn open(&mut self) -> Result<&Session, Error> {
        if self.session.is_none() {
            let (module, slot, _) = self.present()?;
            self.session = Some(module.open_ro_session(slot).map_err(|failure| self.failed(&failure))?);
        }
        Ok(self.session.as_ref().expect("it was opened above"))
    }

    /// Does something in the session that stays.
    fn within<T>(&mut self, act: impl FnOnce(&Session) -> Result<T, Failure>) -> Result<T, Error> {
        let result = act(self.open()?);
        result.map_err(|failure| self.failed(&failure))
    }

    /// Does something in a session that may write. It is logged in as the one that stays is.
    fn writing<T>(&mut self, act: impl FnOnce(&Session) -> Result<T, Failure>) -> Result<T, Error> {
        self.open()?;
        let (module, slot, _) = self.present()?;
        let result = module.open_rw_session(slot).and_then(|session| act(&session));
        result.map_err(|failure| self.failed(&failure))
    }

    /// What is needed before private keys can be used.
    pub(super) fn need(&mut self) -> Result<Need, Error> {
        let state = self.within(Session::get_session_info)?.session_state();
        if matches!(state, SessionState::RoUser | SessionState::RwUser) {
            return Ok(Need::Nothing);
        }
        let (_, _, info) = self.present()?;
        if !info.login_required() {
            return Ok(Need::Nothing);
        }
        if self.refused {
            return Err(Error::WrongPin(self.place.token.escape_debug().to_string()));
        }
        if info.user_pin_locked() {
            return Err(self.device("its PIN is locked: its maker's tools unlock it"));
        }
        if info.user_pin_final_try() {
            return Err(self.device("one more wrong PIN would lock it: log in once with its maker's tools"));
        }
        Ok(if info.protected_authentication_path() { Need::Pad } else { Need::Pin })
    }

    /// Tries a PIN, or has it typed at the token.
    pub(super) fn login(&mut self, pin: Option<&AuthPin>) -> Result<(), Error> {
        if self.refused {
            return Err(Error::WrongPin(self.place.token.escape_debug().to_string()));
        }
        match self.open()?.login(UserType::User, pin) {
            Ok(()) | Err(Failure::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            Err(Failure::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _)) => {
                self.refused = true;
                Err(Error::WrongPin(self.place.token.escape_debug().to_string()))
            }
            Err(failure) => Err(self.failed(&failure)),
        }
    }

    /// Every key that we can sign with, in the order of their ids. Keys of other kinds are none of ours.
    pub(super) fn list(&mut self) -> Result<Vec<Entry>, Error> {
        let wanted = [
            AttributeType::KeyType,
            AttributeType::EcParams,
            AttributeType::EcPoint,
            AttributeType::Label,
            AttributeType::Id,
        ];
        let public = [Attribute::Class(ObjectClass::PUBLIC_KEY), Attribute::Token(true)];
        let objects = self.within(|session| {
            let handles: Vec<_> = session.iter_objects(&public)?.take(MAX_KEYS + 1).collect::<Result<_, _>>()?;
            handles.into_iter().map(|handle| session.get_attributes(handle, &wanted)).collect::<Result<Vec<_>, _>>()
        })?;
        if objects.len() > MAX_KEYS {
            return Err(self.device(format!("it holds more than {MAX_KEYS} keys")));
        }
        let mut entries = Vec::new();
        for attributes in objects {
            entries.extend(self.entry(&attributes)?);
        }
        entries.sort_by(|a, b| a.info.id.cmp(&b.info.id));
        entries.dedup_by(|later, earlier| later.info.id == earlier.info.id);
        Ok(entries)
    }

    /// A key by the attributes of its public half; none where it is of a kind that we do not sign with.
    fn entry(&self, attributes: &[Attribute]) -> Result<Option<Entry>, Error> {
        let (mut parameters, mut bytes, mut name, mut pair) = (&[][..], &[][..], &[][..], Vec::new());
        for attribute in attributes {
            match attribute {
                Attribute::EcParams(value) => parameters = value,
                Attribute::EcPoint(value) => bytes = value,
                Attribute::Label(value) => name = value,
                Attribute::Id(value) => pair.clone_from(value),
                _ => {}
            }
        }
        let Some(algorithm) = point::algorithm(parameters) else { return Ok(None) };
        let name = String::from_utf8_lossy(name);
        let unusable = |message: String| Error::Unusable {
            path: format!("{} in {}", name.escape_debug(), shown(&self.place)),
            message,
        };
        let public = point::key(algorithm, bytes).map_err(unusable)?;
        let (purpose, collection) = label::decode(&name).map_err(unusable)?;
        let info = KeyInfo { id: public.id(), public, purpose, collection, encrypted: true };
        Ok(Some(Entry { info, algorithm, pair }))
    }

    /// Makes a pair whose private half is sensitive and cannot be taken out.
    pub(super) fn generate(&mut self, algorithm: Algorithm, label: &str, pair: &[u8]) -> Result<Entry, Error> {
        let named = |attributes: &[Attribute]| {
            let name = [Attribute::Label(label.as_bytes().to_vec()), Attribute::Id(pair.to_vec())];
            [attributes, &name].concat()
        };
        let private = named(&[
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
        ]);
        let (mechanism, curves) = match algorithm {
            Algorithm::P256 => (Mechanism::EccKeyPairGen, &[point::P256][..]),
            Algorithm::Ed25519 => (Mechanism::EccEdwardsKeyPairGen, &[point::ED25519, point::ED25519_BY_NAME][..]),
        };
        let attributes = self.writing(|session| {
            let mut made = Err(Failure::NotSupported);
            for curve in curves {
                let public = named(&[
                    Attribute::Token(true),
                    Attribute::Private(false),
                    Attribute::Verify(true),
                    Attribute::EcParams(curve.to_vec()),
                ]);
                made = session.generate_key_pair(&mechanism, &public, &private);
                if !matches!(&made, Err(Failure::Pkcs11(reason, _)) if is_about_the_curve(*reason)) {
                    break;
                }
            }
            let wanted = [AttributeType::EcParams, AttributeType::EcPoint, AttributeType::Label, AttributeType::Id];
            session.get_attributes(made?.0, &wanted)
        })?;
        self.entry(&attributes)?.ok_or_else(|| self.device("it made a key on another curve than it was asked for"))
    }

    /// # Errors
    /// [`Error::Unusable`] where the private half is not here.
    pub(super) fn holds_private(&mut self, entry: &Entry) -> Result<(), Error> {
        self.private(entry).map(drop)
    }

    fn private(&mut self, entry: &Entry) -> Result<ObjectHandle, Error> {
        let template = template(ObjectClass::PRIVATE_KEY, entry);
        let handles = self.within(|session| session.find_objects(&template))?;
        match handles[..] {
            [handle] => Ok(handle),
            _ => Err(Error::Unusable {
                path: format!("{} in {}", entry.info.label(), shown(&self.place)),
                message: format!("it has {} private halves, and one is needed", handles.len()),
            }),
        }
    }

    pub(super) fn sign(&mut self, entry: &Entry, message: &[u8]) -> Result<Vec<u8>, Error> {
        let key = self.private(entry)?;
        match entry.algorithm {
            Algorithm::Ed25519 => {
                let pure = Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Ed25519));
                self.within(|session| session.sign(&pure, key, message))
            }
            Algorithm::P256 => {
                // The token signs the hash and gives the two numbers side by side; TUF wants them in ASN.1.
                let hash = Sha256::digest(message);
                let numbers = self.within(|session| session.sign(&Mechanism::Ecdsa, key, &hash))?;
                let signature = p256::ecdsa::Signature::from_slice(&numbers)
                    .map_err(|_| self.device("what it answered is no ECDSA signature"))?;
                Ok(signature.to_der().as_bytes().to_vec())
            }
        }
    }

    /// Removes both halves, the private one first: what is left after a failure in between signs nothing.
    pub(super) fn remove(&mut self, entry: &Entry) -> Result<(), Error> {
        let templates = [ObjectClass::PRIVATE_KEY, ObjectClass::PUBLIC_KEY].map(|class| template(class, entry));
        let key = entry.info.public.clone();
        let halves = templates.map(|template| self.within(|session| session.find_objects(&template)));
        let [private, public] = halves;
        let (private, public) = (private?, public?);
        if private.len() > 1 || public.len() > 1 {
            let message = "several keys share its `CKA_ID`: remove it with the token's own tools".to_owned();
            return Err(Error::Unusable { path: format!("key {}", key.id().short()), message });
        }
        self.writing(|session| private.into_iter().chain(public).try_for_each(|half| session.destroy_object(half)))
    }

    /// Whether the private half can be read or taken out.
    #[cfg(test)]
    pub(super) fn is_exposed(&mut self, entry: &Entry) -> Result<bool, Error> {
        let key = self.private(entry)?;
        let wanted = [AttributeType::Sensitive, AttributeType::Extractable];
        let found = self.within(|session| session.get_attributes(key, &wanted))?;
        Ok(found != [Attribute::Sensitive(true), Attribute::Extractable(false)])
    }
}

fn template(class: ObjectClass, entry: &Entry) -> [Attribute; 4] {
    let kind = match entry.algorithm {
        Algorithm::P256 => KeyType::EC,
        Algorithm::Ed25519 => KeyType::EC_EDWARDS,
    };
    [Attribute::Class(class), Attribute::Token(true), Attribute::KeyType(kind), Attribute::Id(entry.pair.clone())]
}

/// Whether a token means that it knows the curve by another name.
fn is_about_the_curve(reason: RvError) -> bool {
    matches!(
        reason,
        RvError::CurveNotSupported
            | RvError::DomainParamsInvalid
            | RvError::AttributeValueInvalid
            | RvError::TemplateInconsistent
    )
}

fn module(path: &Path) -> Result<Pkcs11, String> {
    let mut modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(module) = modules.get(path) {
        return Ok(module.clone());
    }
    let module = Pkcs11::new(path).map_err(|failure| match failure {
        Failure::LibraryLoading(why) => {
            format!("`{}` cannot be loaded: {}", path.display(), why.to_string().escape_debug())
        }
        other => words(&other),
    })?;
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(Failure::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
        Err(failure) => return Err(format!("`{}` cannot be started: {}", path.display(), words(&failure))),
    }
    modules.insert(path.to_owned(), module.clone());
    Ok(module)
}

/// A module's error in words, with the standard's name for those who know it.
fn words(failure: &Failure) -> String {
    let Failure::Pkcs11(reason, _) = failure else { return failure.to_string().escape_debug().to_string() };
    let words = match reason {
        RvError::TokenNotPresent | RvError::DeviceRemoved | RvError::SlotIdInvalid => "it was removed",
        RvError::SessionHandleInvalid | RvError::SessionClosed => "it closed the session",
        RvError::UserNotLoggedIn => "it wants its PIN again, as it does for keys that want it for every signature",
        RvError::PinExpired => "its PIN has expired: its maker's tools change it",
        RvError::PinLocked => "its PIN is locked: its maker's tools unlock it",
        RvError::MechanismInvalid => "it does not know the algorithm",
        RvError::CurveNotSupported | RvError::DomainParamsInvalid => "it does not know the curve",
        RvError::TokenWriteProtected => "it is write-protected",
        RvError::DeviceMemory => "it is full",
        RvError::FunctionCanceled => "the question at the token was not answered",
        _ => return format!("it failed with {reason:?}"),
    };
    format!("{words} ({reason:?})")
}
