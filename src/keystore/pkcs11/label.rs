//! What a key is for, in its label: `boltseal:targets:registry.example.com/acme/app`.

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use crate::image::ImageName;
use crate::keystore::Purpose;

const PREFIX: &str = "boltseal:";
/// A signer's name may hold a colon, which ends the purpose here.
const ESCAPED: &AsciiSet = &CONTROLS.add(b':').add(b'%');

/// The label of a new key.
///
/// # Errors
/// A reason where the purpose would not come back as it is.
pub(super) fn encode(purpose: &Purpose, collection: Option<&str>) -> Result<String, String> {
    let text = purpose.text();
    text.parse::<Purpose>()?;
    let collection = collection.map(|name| format!(":{name}")).unwrap_or_default();
    Ok(format!("{PREFIX}{}{collection}", utf8_percent_encode(&text, ESCAPED)))
}

/// What a label says; nothing where it is not one of ours.
///
/// # Errors
/// A reason where it begins as ours do and is none.
pub(super) fn decode(label: &str) -> Result<(Option<Purpose>, Option<String>), String> {
    let Some(rest) = label.strip_prefix(PREFIX) else { return Ok((None, None)) };
    let (purpose, collection) = match rest.split_once(':') {
        Some((purpose, collection)) => (purpose, Some(collection)),
        None => (rest, None),
    };
    let purpose = percent_decode_str(purpose).decode_utf8().map_err(|_| "its purpose is not UTF-8".to_owned())?;
    if let Some(collection) = collection {
        let name: Option<ImageName> = collection.parse().ok();
        if name.is_none_or(|name| name.to_string() != collection) {
            return Err(format!("`{}` in its label is no image name", collection.escape_debug()));
        }
    }
    Ok((Some(purpose.parse()?), collection.map(str::to_owned)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_says_what_was_written_into_it() {
        let signer = |name: &str| Purpose::Signer(name.to_owned());
        for (purpose, collection, label) in [
            (Purpose::Root, None, "boltseal:root"),
            (Purpose::Targets, Some("h.x:5000/app"), "boltseal:targets:h.x:5000/app"),
            (signer("amy"), None, "boltseal:signer%3Aamy"),
            (signer("a:b%é"), Some("h.x/app"), "boltseal:signer%3Aa%3Ab%25%C3%A9:h.x/app"),
        ] {
            assert_eq!(encode(&purpose, collection).unwrap(), label);
            assert_eq!(decode(label), Ok((Some(purpose), collection.map(str::to_owned))));
        }
        assert!(encode(&signer("two words"), None).is_err());
    }

    #[test]
    fn a_label_of_others_says_nothing_and_a_damaged_one_is_refused() {
        for foreign in ["", "PIV AUTH", "boltsealed"] {
            assert_eq!(decode(foreign), Ok((None, None)), "{foreign}");
        }
        for damaged in ["boltseal:", "boltseal:tarjets", "boltseal:targets:", "boltseal:targets:alpine", "boltseal:%ff"]
        {
            assert!(decode(damaged).is_err(), "{damaged}");
        }
    }
}
