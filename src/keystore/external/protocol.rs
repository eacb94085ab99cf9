//! `boltseal.signer/v1`: what is asked, and how answers are read. Nothing in an answer is believed unchecked.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::process::{Ran, misfortune};
use crate::image::ImageName;
use crate::keystore::{KeyInfo, Purpose};
use crate::trust::Key;
use crate::trust::key::Material;

const PROTOCOL: &str = "boltseal.signer/v1";
/// Most keys of one signer: each is looked at in every run.
const MAX_KEYS: usize = 200;
/// Longest handle, in bytes: it is sent back with each request.
const MAX_HANDLE: usize = 1024;
/// Longest sentence of a program that goes into an error, in characters.
const MAX_SENTENCE: usize = 300;

/// A key that a program offers.
#[derive(Debug, Clone)]
pub(super) struct Offer {
    pub(super) info: KeyInfo,
    /// The program's own name for it.
    handle: Option<String>,
}

/// What a program is asked.
pub(super) enum Request<'a> {
    Keys,
    Sign { offer: &'a Offer, message: &'a [u8] },
}

impl Request<'_> {
    /// One line of JSON.
    pub(super) fn encode(&self) -> Vec<u8> {
        let body = match self {
            Self::Keys => json!({"protocol": PROTOCOL, "request": "keys"}),
            Self::Sign { offer, message } => json!({
                "protocol": PROTOCOL,
                "request": "sign",
                "key": offer.info.id.as_str(),
                "handle": offer.handle,
                "public_pem": offer.info.public.to_public_pem(),
                "algorithm": offer.info.public.algorithm(),
                "message": STANDARD.encode(message),
            }),
        };
        format!("{body}\n").into_bytes()
    }
}

#[derive(Deserialize)]
struct Keys {
    keys: Vec<Offered>,
}

#[derive(Deserialize)]
struct Offered {
    public_pem: String,
    purpose: Option<String>,
    collection: Option<String>,
    handle: Option<String>,
}

/// The answer of a run that went well: a JSON object without an `error`.
pub(super) fn answer(ran: &Ran) -> Result<Value, String> {
    let value: Option<Value> = serde_json::from_slice(&ran.output).ok().filter(Value::is_object);
    let error = value.as_ref().and_then(|value| value.get("error"));
    if let Some(error) = error {
        let sentence = error.as_str().unwrap_or("it reports an error that is no text");
        return Err(sentence.chars().take(MAX_SENTENCE).flat_map(char::escape_debug).collect());
    }
    if let Some(misfortune) = misfortune(ran.status) {
        return Err(misfortune);
    }
    value.ok_or_else(|| "its answer is no JSON object".to_owned())
}

/// The keys of an answer, in the order of their ids.
pub(super) fn offers(answer: Value) -> Result<Vec<Offer>, String> {
    let answer: Keys = serde_json::from_value(answer).map_err(|error| format!("it lists no keys: {error}"))?;
    if answer.keys.len() > MAX_KEYS {
        return Err(format!("it lists {} keys, and at most {MAX_KEYS} are looked at", answer.keys.len()));
    }
    let mut offers = Vec::new();
    for (number, offered) in (1..).zip(answer.keys) {
        offers.push(offer(offered).map_err(|reason| format!("key {number} that it lists cannot be used: {reason}"))?);
    }
    offers.sort_by(|a, b| a.info.id.cmp(&b.info.id));
    match offers.windows(2).find(|pair| pair[0].info.id == pair[1].info.id) {
        Some(pair) => Err(format!("it lists key {} twice", pair[0].info.id.short())),
        None => Ok(offers),
    }
}

fn offer(offered: Offered) -> Result<Offer, String> {
    let public = Key::from_public_pem(&offered.public_pem)?;
    if !matches!(public.material(), Material::Ed25519(_) | Material::P256(_)) {
        return Err("it is neither Ed25519 nor P-256".to_owned());
    }
    let purpose: Option<Purpose> = offered.purpose.as_deref().map(str::parse).transpose()?;
    if let Some(collection) = &offered.collection {
        let name: ImageName =
            collection.parse().map_err(|error| format!("its collection is no image name: {error}"))?;
        if name.to_string() != *collection {
            return Err(format!("its collection is spelled otherwise than `{name}`"));
        }
        if purpose == Some(Purpose::Root) {
            return Err("a root key belongs to no collection".to_owned());
        }
    }
    if offered.handle.as_ref().is_some_and(|handle| handle.len() > MAX_HANDLE) {
        return Err(format!("its handle is longer than {MAX_HANDLE} bytes"));
    }
    let id = public.id();
    let info = KeyInfo { id, public, purpose, collection: offered.collection, encrypted: false };
    Ok(Offer { info, handle: offered.handle })
}

/// The signature of an answer.
pub(super) fn signature(answer: &Value) -> Result<Vec<u8>, String> {
    let text = answer.get("signature").and_then(Value::as_str).ok_or("its answer has no text `signature`")?;
    STANDARD.decode(text).map_err(|_| "its signature is no base64".to_owned())
}
