//! `docs/format.md` against the files that it shows, and the files against the core.

use std::collections::BTreeMap;
use std::fs;

use boltseal::image::manifest::OCI_MANIFEST;
use boltseal::image::{Digest, ImageName};
use boltseal::registry::head::Head;
use boltseal::trust::envelope::{Envelope, Metadata};
use boltseal::trust::intent::{Absorbed, Intent};
use boltseal::trust::limits::Limits;
use boltseal::trust::pin::Pin;
use boltseal::trust::root::Root;
use boltseal::trust::threshold;
use boltseal::trust::update::{Answer, Breadth, Expiry, Profile, Rules, Step, Trusted, Update};
use boltseal::trust::{RoleKind, RoleName};
use bytes::Bytes;
use jiff::SignedDuration;
use serde_json::Value;

use super::book::{blocks, page, top};

/// What stands for something left out.
const ELLIPSIS: &str = "…";
const OP: &str = "006b013274edc3eafa1edd0f6a2863fa";

fn file(name: &str) -> Bytes {
    fs::read(top().join("tests/vectors/format").join(name)).unwrap_or_else(|e| panic!("{name}: {e}")).into()
}

fn name() -> ImageName {
    "registry.example.com/acme/app".parse().unwrap()
}

/// Whether `real` is what is shown, up to what is left out.
fn shows(shown: &Value, real: &Value) -> bool {
    match (shown, real) {
        (Value::String(shown), Value::String(real)) => match shown.strip_suffix(ELLIPSIS) {
            Some(beginning) => real.starts_with(beginning),
            None => shown == real,
        },
        (Value::Object(shown), Value::Object(real)) => {
            let members = shown.iter().filter(|(name, _)| *name != ELLIPSIS);
            let complete = shown.contains_key(ELLIPSIS) || shown.len() == real.len();
            complete && members.into_iter().all(|(name, shown)| real.get(name).is_some_and(|real| shows(shown, real)))
        }
        (Value::Array(shown), Value::Array(real)) => {
            let mut rest = real.iter();
            let mut skipping = false;
            for item in shown {
                if item == ELLIPSIS {
                    skipping = true;
                } else if !(if skipping {
                    rest.any(|real| shows(item, real))
                } else {
                    rest.next().is_some_and(|real| shows(item, real))
                }) {
                    return false;
                } else {
                    skipping = false;
                }
            }
            skipping || rest.next().is_none()
        }
        (shown, real) => shown == real,
    }
}

#[test]
fn the_files_on_the_page_are_the_files_in_the_folder() {
    let mut shown = 0;
    for block in blocks(&page("docs/format.md")) {
        let Some(name) = block.info.strip_prefix("json ") else { continue };
        let on_page: Value = serde_json::from_str(&block.text).unwrap_or_else(|e| panic!("{name}: {e}"));
        let real: Value = serde_json::from_slice(&file(name)).unwrap();
        assert!(shows(&on_page, &real), "{name} is another file than the page shows");
        shown += 1;
    }
    assert_eq!(shown, 8);
    let table = [
        (r#"{"a":"x…"}"#, r#"{"a":"y"}"#),
        (r#"{"a":1}"#, r#"{"a":1,"b":2}"#),
        ("[1]", "[1,2]"),
        (r#"["…",3]"#, "[1,2]"),
    ];
    for (shown, real) in table {
        assert!(!shows(&serde_json::from_str(shown).unwrap(), &serde_json::from_str(real).unwrap()), "{shown}");
    }
}

/// Runs the client of images over the files, on a day in their life.
fn trusted(wanted: &[String]) -> Trusted {
    let root = Envelope::<Root>::parse_untrusted(&RoleKind::Root.into(), file("1.root.json")).unwrap();
    let rules = Rules {
        profile: Profile::Image {
            name: name(),
            pins: vec![Pin::of(root.unverified())],
            max_timestamp_life: SignedDuration::from_hours(30 * 24),
            signers: None,
        },
        limits: Limits::default(),
        now: "2026-11-22T00:00:00Z".parse().unwrap(),
        expiry: Expiry::Enforce,
        breadth: Breadth::Wanted,
    };
    let mut update = Update::begin(rules, &[], wanted.iter().cloned()).unwrap();
    loop {
        let answer = match update.step() {
            Step::Fetch(request) => match request.file_name().as_str() {
                "2.root.json" => Answer::Absent,
                name => Answer::Found(file(name)),
            },
            Step::Recall(_) => Answer::Absent,
            Step::Done => break,
            Step::Persist { .. } | Step::Forget(_) | Step::ForgetRoots => continue,
        };
        update.answer(answer).unwrap();
    }
    update.finish().unwrap()
}

#[test]
fn the_files_verify_and_say_what_the_page_says() {
    let path = |rest: &str| format!("{}{rest}", name());
    let trusted = trusted(&[path(":1.0"), path(":2.0")]);
    let found = |rest: &str| trusted.found[&path(rest)].as_ref();
    let current = found(":1.0").unwrap().target.hashes.sha256().unwrap();
    assert!(found(":2.0").is_none());
    let entry = trusted.targets.target(&name().digest_path(&current)).unwrap();
    assert!(entry.custom.as_ref().unwrap().get().contains(r#""tags":["1.0"]"#));
    let binding = trusted.timestamp.binding().unwrap();
    assert!(binding.absorbed.as_ref().unwrap().fits(&file("absorbed.json")));
}

#[test]
fn the_head_lists_the_files_and_its_predecessors() {
    let head = Head::parse(OCI_MANIFEST, &file("head.json")).unwrap();
    let names = [
        "timestamp.json",
        "1882442396324139.snapshot.json",
        "1.root.json",
        "1882442395275563.targets.json",
        "absorbed.json",
    ];
    assert_eq!(head.files().map(|layer| layer.name.as_str()).collect::<Vec<_>>(), names);
    for layer in head.files() {
        assert_eq!(layer.open(layer.inline.clone().unwrap(), 4096).unwrap(), file(&layer.name), "{}", layer.name);
    }
    // `prev` is the digest of the timestamp that the predecessor listed.
    let former: Vec<_> = head.former().filter(|layer| layer.name == "timestamp.json").collect();
    let prev = trusted(&[]).timestamp.binding().unwrap().prev.clone().unwrap();
    assert_eq!(former.iter().map(|layer| layer.digest.hex()).collect::<Vec<_>>(), [prev]);
}

#[test]
fn the_intent_counts_and_is_absorbed() {
    let manifest: Value = serde_json::from_slice(&file("intent-manifest.json")).unwrap();
    let digests: Vec<_> =
        ["intent.json", "1882442395275563.targets.json"].map(|name| Digest::of(&file(name)).to_string()).into();
    let listed = manifest["layers"].as_array().unwrap().iter().map(|layer| layer["digest"].as_str().unwrap());
    assert_eq!(listed.collect::<Vec<_>>(), digests);
    let trusted = trusted(&[]);
    let envelope = Envelope::<Intent>::parse_untrusted(&RoleName::TARGETS, file("intent.json")).unwrap();
    let authority = trusted.root.authority(RoleKind::Targets);
    let intent = threshold::verify(&RoleName::TARGETS, envelope, &[authority]).unwrap();
    assert_eq!(intent.op.to_string(), OP);
    assert_eq!(intent.op.expires(), intent.expires());
    assert!(intent.base < trusted.targets.version() && intent.above >= trusted.targets.version());
    let absorbed = Absorbed::parse(&file("absorbed.json")).unwrap();
    assert!(absorbed.contains(&intent.op));
    assert_eq!(absorbed.encode(), file("absorbed.json"));
}

#[test]
fn key_ids_and_canonical_bytes_are_made_as_the_page_says() {
    let root: Value = serde_json::from_slice(&file("1.root.json")).unwrap();
    let keys: BTreeMap<String, Value> = serde_json::from_value(root["signed"]["keys"].clone()).unwrap();
    for (id, key) in keys {
        let public = key["keyval"]["public"].as_str().unwrap();
        let canonical = format!(r#"{{"keytype":"ed25519","keyval":{{"public":"{public}"}},"scheme":"ed25519"}}"#);
        assert_eq!(Digest::of(canonical.as_bytes()).hex(), id);
    }
    for name in [
        "1.root.json",
        "timestamp.json",
        "1882442396324139.snapshot.json",
        "1882442395275563.targets.json",
        "intent.json",
    ] {
        let bytes = file(name);
        let raw =
            serde_json::from_slice::<BTreeMap<&str, &serde_json::value::RawValue>>(&bytes).unwrap()["signed"].get();
        let parsed: Value = serde_json::from_str(raw).unwrap();
        assert_eq!(boltseal::trust::canonical::encode(&parsed), raw.as_bytes(), "{name}");
    }
}
