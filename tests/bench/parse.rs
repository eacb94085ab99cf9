//! How long the core takes to parse and check a flat targets file of 10,000 entries, about 1.4 MB.
//!
//! One line, the median in milliseconds. Meant for an optimised build: `tests/bench/run` makes one.

#![allow(clippy::print_stdout, reason = "a line is what this program is for")]

use std::fmt::Write as _;
use std::time::Instant;

use boltseal::trust::envelope::Envelope;
use boltseal::trust::key::Key;
use boltseal::trust::role::RoleName;
use boltseal::trust::targets::Targets;
use boltseal::trust::threshold::{Authority, Keys, RoleKeys, verify};
use bytes::Bytes;
use ring::signature::{Ed25519KeyPair, KeyPair};
use sha2::{Digest, Sha256};

const ENTRIES: usize = 10_000;
const RUNS: usize = 51;

fn main() {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("any seed is a key");
    let public = pair.public_key().as_ref().try_into().expect("a public key has 32 bytes");
    let key = Key::ed25519(public).expect("ring's key is a key");
    let file = targets(&pair, &key);
    let role: RoleKeys = serde_json::from_value(serde_json::json!({ "keyids": [key.id().as_str()], "threshold": 1 }))
        .expect("the role is well-formed");
    let keys = Keys::from_iter([key]);
    let authority = Authority { keys: &keys, role: &role, whose: None };
    let name = RoleName::TARGETS;

    let mut times: Vec<f64> = (0..RUNS)
        .map(|_| {
            let bytes = file.clone();
            let begun = Instant::now();
            let envelope = Envelope::<Targets>::parse_untrusted(&name, bytes).expect("the file is well-formed");
            let targets = verify(&name, envelope, &[authority]).expect("the signature is good");
            let elapsed = begun.elapsed();
            assert_eq!(targets.len(), ENTRIES);
            elapsed.as_secs_f64() * 1000.0
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("parse and check {ENTRIES} entries, {} bytes: {:.1} ms", file.len(), times[RUNS / 2]);
}

/// A signed file in canonical form, as a publisher writes it.
fn targets(pair: &Ed25519KeyPair, key: &Key) -> Bytes {
    let mut entries = String::new();
    for number in 0..ENTRIES {
        let hash = hex::encode(Sha256::digest(number.to_be_bytes()));
        let comma = if number == 0 { "" } else { "," };
        // Canonical form sorts by name: the number has a fixed width.
        write!(
            entries,
            r#"{comma}"registry.example.com/acme/app:v{number:05}":{{"hashes":{{"sha256":"{hash}"}},"length":1470}}"#
        )
        .expect("a string grows");
    }
    let signed = format!(
        r#"{{"_type":"targets","expires":"2036-01-01T00:00:00Z","spec_version":"1.0.34","targets":{{{entries}}},"version":1048577,"x-boltseal":{{"collection":"registry.example.com/acme/app"}}}}"#
    );
    let signature = hex::encode(pair.sign(signed.as_bytes()));
    Bytes::from(format!(
        r#"{{"signatures":[{{"keyid":"{}","sig":"{signature}"}}],"signed":{signed}}}"#,
        key.id().as_str()
    ))
}
