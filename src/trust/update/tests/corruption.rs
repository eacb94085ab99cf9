//! Each defect in each role: refused for the right reason, and nothing of it persisted.

use std::sync::LazyLock;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::trust::envelope::BINDING;
use crate::trust::error::Error;
use crate::trust::simulator::{Client, NOW, PAST, Simulator, file, id, key, signature};

const ROLES: [&str; 5] = ["root", "timestamp", "snapshot", "targets", "alice"];

/// What a refusal must be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Malformed,
    Unsigned,
    Expired,
    Collection,
    /// A version other than the one that was due.
    Version,
}

fn fault(error: &Error) -> Option<(Fault, String)> {
    let (fault, role) = match error {
        Error::Malformed { role, .. } => (Fault::Malformed, role),
        Error::Unsigned { role, .. } => (Fault::Unsigned, role),
        Error::Expired { role, .. } => (Fault::Expired, role),
        Error::WrongCollection { role, .. } => (Fault::Collection, role),
        Error::Rollback { role, .. } | Error::Contradiction { role, .. } => (Fault::Version, role),
        _ => return None,
    };
    Some((fault, role.to_string()))
}

/// A client that has seen version 1 of everything, and a repository at version 2.
fn stage() -> (Simulator, Client) {
    static STAGE: LazyLock<(Simulator, Client)> = LazyLock::new(set_up);
    STAGE.clone()
}

fn set_up() -> (Simulator, Client) {
    let mut simulator = Simulator::image();
    simulator.delegate("targets", "alice", 5, &["*"], false);
    simulator.add_target("alice", "a", b"a");
    simulator.publish(&["alice"]);
    for role in ["targets", "snapshot", "timestamp"] {
        simulator.put(role);
    }
    let mut client = Client::image();
    assert!(client.run(&mut simulator, &["a"]).unwrap().found["a"].is_some());
    simulator.publish(&["root", "alice", "targets", "snapshot", "timestamp"]);
    (simulator, client)
}

fn seed(role: &str) -> u8 {
    1 + u8::try_from(ROLES.iter().position(|name| *name == role).unwrap()).unwrap()
}

/// Serves `bytes` in place of version 2 of a role and runs the client.
fn refused(role: &str, bytes: Bytes, name: &str, expected: Fault) {
    let (mut simulator, mut client) = stage();
    let before = client.remembered();
    let file = if role == "timestamp" { "timestamp.json".to_owned() } else { format!("2.{role}.json") };
    simulator.files.insert(file, bytes);
    let error = client.run(&mut simulator, &["a"]).map(drop).unwrap_err();
    assert_eq!(fault(&error), Some((expected, role.to_owned())), "{name} in {role}: {error}");
    let kept = |list: &[String]| list.iter().find(|file| file.starts_with(&format!("{role} "))).cloned();
    assert_eq!(kept(&client.remembered()), kept(&before), "{name} in {role}");
}

/// The `signed` part of version 2.
fn signed(role: &str) -> Value {
    stage().0.signed[role].clone()
}

/// A defect of a role's content.
type Edit = fn(&mut Value);

#[test]
fn the_undamaged_stage_is_accepted() {
    let (mut simulator, mut client) = stage();
    client.run(&mut simulator, &["a"]).unwrap();
    assert_eq!(client.remembered(), ["root 2", "alice 2", "snapshot 2", "targets 2", "timestamp 2"]);
}

#[test]
fn signatures_that_do_not_cover_what_is_said_count_for_nothing() {
    for role in ROLES {
        let (signed, seed) = (signed(role), seed(role));
        let good = signature(seed, &signed);
        let sig = good["sig"].as_str().unwrap();
        let flipped = format!("{}{}", &sig[..126], if sig.ends_with("00") { "01" } else { "00" });
        let mut changed = signed.clone();
        changed["spec_version"] = "1.0.35".into();
        let mut key_replaced = signed.clone();
        key_replaced["keys"] = json!({id(99): serde_json::to_value(key(99)).unwrap()});
        let mut foreign = signature(99, &signed);
        foreign["keyid"] = id(seed).into();
        for (name, signed, signatures) in [
            ("a change in signed", &changed, json!([good])),
            ("a member added to signed", &key_replaced, json!([good])),
            ("a bit of the signature", &signed, json!([{"keyid": id(seed), "sig": flipped}])),
            ("half a signature", &signed, json!([{"keyid": id(seed), "sig": &sig[..64]}])),
            ("no hex", &signed, json!([{"keyid": id(seed), "sig": format!("zz{}", &sig[2..])}])),
            ("another key", &signed, json!([signature(99, &signed)])),
            ("another key under the id", &signed, json!([foreign])),
            ("the signature of another role", &signed, json!([signature(seed % 5 + 1, &signed)])),
            ("no signature", &signed, json!([])),
        ] {
            // The root is also held against its own keys, which a replacement cannot spell.
            if role == "root" && name == "a member added to signed" {
                continue;
            }
            let bytes = json!({"signed": signed, "signatures": signatures}).to_string();
            refused(role, bytes.into(), name, Fault::Unsigned);
        }
    }
}

#[test]
fn a_root_whose_keys_are_replaced_without_the_old_ones_is_refused() {
    let mut signed = signed("root");
    signed["keys"][id(99)] = serde_json::to_value(key(99)).unwrap();
    signed["roles"]["root"]["keyids"] = json!([id(99)]);
    refused("root", file(&signed, &[99]), "keys replaced", Fault::Unsigned);
    signed["roles"]["root"]["keyids"] = json!([id(1)]);
    signed["roles"]["timestamp"]["keyids"] = json!([id(99)]);
    refused("root", file(&signed, &[99, 2, 3, 4]), "timestamp key replaced", Fault::Unsigned);
}

#[test]
fn a_file_that_parsers_could_read_in_two_ways_is_malformed() {
    for role in ROLES {
        let (signed, seed) = (signed(role), seed(role));
        let one = signature(seed, &signed);
        let text = signed.to_string();
        let twice = |with: &str| format!("{{{with},{}", &text[1..]);
        let envelope =
            |signed: &str, signatures: &Value| format!("{{\"signed\":{signed},\"signatures\":{signatures}}}");
        let mut wrong = one.clone();
        wrong["sig"] = "00".into();
        for (name, bytes) in [
            ("a signature twice", envelope(&text, &json!([one, one]))),
            ("two signatures of one id", envelope(&text, &json!([wrong, one]))),
            ("a member twice", envelope(&twice("\"version\":1"), &json!([one]))),
            ("an unknown member twice", envelope(&twice("\"x\":1,\"x\":1"), &json!([one]))),
            ("a member twice by an escape", envelope(&twice("\"v\\u0065rsion\":1"), &json!([one]))),
            ("signed twice", format!("{{\"signed\":{{}},\"signed\":{text},\"signatures\":[{one}]}}")),
            ("signatures twice", format!("{{\"signed\":{text},\"signatures\":[],\"signatures\":[{one}]}}")),
            (
                "an unknown envelope member twice",
                format!("{{\"x\":1,\"signed\":{text},\"signatures\":[{one}],\"x\":1}}"),
            ),
            (
                "a member of a signature twice",
                format!("{{\"signed\":{text},\"signatures\":[{{\"x\":1,\"x\":2,{}]}}", &one.to_string()[1..]),
            ),
            ("a fraction", envelope(&twice("\"x\":1.0"), &json!([one]))),
            ("an exponent", envelope(&twice("\"x\":1e3"), &json!([one]))),
            ("minus nought", envelope(&twice("\"x\":-0"), &json!([one]))),
            ("a number beyond 64 bits", envelope(&twice("\"x\":18446744073709551616"), &json!([one]))),
            ("a lone surrogate", envelope(&twice("\"x\":\"\\ud800\""), &json!([one]))),
            ("a byte order mark", format!("\u{FEFF}{}", envelope(&text, &json!([one])))),
            ("more after the end", envelope(&text, &json!([one])) + "{}"),
            (
                "a depth bomb",
                envelope(&twice(&format!("\"x\":{}{}", "[".repeat(100_000), "]".repeat(100_000))), &json!([one])),
            ),
            ("an unclosed depth bomb", format!("{{\"x\":{}", "[".repeat(100_000))),
            ("a hundred thousand signatures", envelope(&text, &json!(vec![json!({"keyid": "x", "sig": ""}); 100_000]))),
            ("a long signature", envelope(&text, &json!([{"keyid": "x", "sig": "00".repeat(2_000)}]))),
            ("null", "null".to_owned()),
            ("a list", "[]".to_owned()),
            ("nothing", String::new()),
            ("no signed", json!({"signatures": [one]}).to_string()),
            ("no signatures", json!({"signed": signed}).to_string()),
            ("null signatures", envelope(&text, &json!(null))),
            ("signatures of the wrong shape", envelope(&text, &json!({"keyid": "x"}))),
            ("signed as text", json!({"signed": text, "signatures": [one]}).to_string()),
        ] {
            // Beyond the cap of the role is malformed too, so that both ways are one word here.
            refused(role, bytes.into(), name, Fault::Malformed);
        }
        let mut latin = file(&signed, &[seed]).to_vec();
        latin[5] = 0xE9;
        refused(role, latin.into(), "no UTF-8", Fault::Malformed);
    }
}

#[test]
fn a_truncated_file_is_malformed() {
    for role in ROLES {
        let bytes = file(&signed(role), &[seed(role)]);
        for at in (1..bytes.len()).step_by(bytes.len() / 12) {
            refused(role, bytes.slice(..at), "truncated", Fault::Malformed);
        }
    }
}

#[test]
fn a_wrong_content_is_refused_also_when_the_right_keys_signed_it() {
    for role in ROLES {
        let edits: [(&str, Edit, Fault); 28] = [
            ("version text", |s| s["version"] = "2".into(), Fault::Malformed),
            ("version 0", |s| s["version"] = 0.into(), Fault::Malformed),
            ("version -1", |s| s["version"] = (-1).into(), Fault::Malformed),
            ("version null", |s| s["version"] = json!(null), Fault::Malformed),
            ("version list", |s| s["version"] = json!([2]), Fault::Malformed),
            ("no version", |s| drop(s.as_object_mut().unwrap().remove("version")), Fault::Malformed),
            ("no type", |s| drop(s.as_object_mut().unwrap().remove("_type")), Fault::Malformed),
            ("type in capitals", |s| s["_type"] = s["_type"].as_str().unwrap().to_uppercase().into(), Fault::Malformed),
            ("unknown type", |s| s["_type"] = "mirrors".into(), Fault::Malformed),
            ("no spec", |s| drop(s.as_object_mut().unwrap().remove("spec_version")), Fault::Malformed),
            ("spec 2", |s| s["spec_version"] = "2.0.0".into(), Fault::Malformed),
            ("spec 0", |s| s["spec_version"] = "0.9.9".into(), Fault::Malformed),
            ("spec 10", |s| s["spec_version"] = "10.0.0".into(), Fault::Malformed),
            ("spec words", |s| s["spec_version"] = "one".into(), Fault::Malformed),
            ("spec number", |s| s["spec_version"] = 1.into(), Fault::Malformed),
            ("spec long", |s| s["spec_version"] = "1.0.0.0".into(), Fault::Malformed),
            ("no expiry", |s| drop(s.as_object_mut().unwrap().remove("expires")), Fault::Malformed),
            ("expiry offset", |s| s["expires"] = "2027-01-20T00:00:00+00:00".into(), Fault::Malformed),
            ("expiry fraction", |s| s["expires"] = "2027-01-20T00:00:00.5Z".into(), Fault::Malformed),
            ("expiry number", |s| s["expires"] = 1_900_000_000.into(), Fault::Malformed),
            ("expiry day", |s| s["expires"] = "2027-02-30T00:00:00Z".into(), Fault::Malformed),
            ("expired", |s| s["expires"] = PAST.into(), Fault::Expired),
            ("expiring now", |s| s["expires"] = NOW.into(), Fault::Expired),
            ("no collection", |s| drop(s.as_object_mut().unwrap().remove(BINDING)), Fault::Collection),
            ("other collection", |s| s[BINDING]["collection"] = "evil.example/acme/app".into(), Fault::Collection),
            (
                "collection in capitals",
                |s| s[BINDING]["collection"] = "REGISTRY.example.com/acme/app".into(),
                Fault::Collection,
            ),
            ("collection null", |s| s[BINDING] = json!(null), Fault::Collection),
            ("collection number", |s| s[BINDING]["collection"] = 1.into(), Fault::Malformed),
        ];
        for (name, edit, expected) in edits {
            let mut content = signed(role);
            edit(&mut content);
            // Roots on the way may have expired; the last one, which this is, is persisted and then refused.
            if role == "root" && expected == Fault::Expired {
                continue;
            }
            refused(role, file(&content, &[seed(role)]), name, expected);
        }
    }
}

#[test]
fn a_version_that_is_not_due_is_refused_also_when_the_right_keys_signed_it() {
    for (role, versions) in [
        ("root", &[1, 3, 1 << 53, u64::MAX][..]),
        ("snapshot", &[1, 3, (1 << 53) + 1, u64::MAX]),
        ("targets", &[1, 3, u64::MAX]),
        ("alice", &[1, 3, u64::MAX]),
    ] {
        for version in versions {
            let mut content = signed(role);
            content["version"] = (*version).into();
            refused(role, file(&content, &[seed(role)]), "version", Fault::Version);
        }
    }
    let (mut simulator, mut client) = stage();
    client.run(&mut simulator, &[]).unwrap();
    simulator.files.insert(
        "timestamp.json".to_owned(),
        file(
            &{
                let mut content = signed("timestamp");
                content["version"] = 1.into();
                content
            },
            &[2],
        ),
    );
    assert!(matches!(client.run(&mut simulator, &[]).unwrap_err(), Error::Rollback { .. }));
}

#[test]
fn a_role_does_not_pass_for_another() {
    for role in ROLES {
        for other in ROLES.into_iter().filter(|other| *other != role) {
            // As published, with its own signature, and signed by the keys of the role whose place it takes.
            let content = signed(other);
            let same_type = [role, other].iter().all(|name| ["targets", "alice"].contains(name));
            let expected = if same_type { Fault::Unsigned } else { Fault::Malformed };
            refused(role, file(&content, &[seed(other)]), other, expected);
            if !same_type {
                refused(role, file(&content, &[seed(role)]), other, Fault::Malformed);
            }
        }
    }
}

#[test]
fn a_threshold_of_nothing_and_keys_that_are_not_distinct_make_a_file_malformed() {
    let edits: [(&str, &str, Edit); 15] = [
        ("root", "threshold 0", |s| s["roles"]["timestamp"]["threshold"] = 0.into()),
        ("root", "threshold -1", |s| s["roles"]["root"]["threshold"] = (-1).into()),
        ("root", "threshold 2^32", |s| s["roles"]["root"]["threshold"] = (1_u64 << 32).into()),
        ("root", "no threshold", |s| drop(s["roles"]["root"].as_object_mut().unwrap().remove("threshold"))),
        ("root", "role missing", |s| drop(s["roles"].as_object_mut().unwrap().remove("targets"))),
        ("root", "role null", |s| s["roles"]["snapshot"] = json!(null)),
        ("root", "key id twice", |s| s["roles"]["root"]["keyids"] = json!([id(1), id(1)])),
        ("root", "two ids of one key", |s| s["keys"]["other"] = s["keys"][id(1)].clone()),
        ("root", "31 bytes", |s| s["keys"][id(1)]["keyval"]["public"] = "00".repeat(31).into()),
        ("root", "key null", |s| s["keys"][id(1)] = json!(null)),
        ("root", "keys list", |s| s["keys"] = json!([])),
        ("targets", "threshold 0", |s| s["delegations"]["roles"][0]["threshold"] = 0.into()),
        ("targets", "two ids of one key", |s| s["delegations"]["keys"]["x"] = s["delegations"]["keys"][id(5)].clone()),
        ("targets", "empty hashes", |s| s["targets"]["x"] = json!({"length": 1, "hashes": {}})),
        ("timestamp", "no snapshot", |s| s["meta"] = json!({})),
    ];
    for (role, name, edit) in edits {
        let mut content = signed(role);
        edit(&mut content);
        refused(role, file(&content, &[seed(role)]), name, Fault::Malformed);
    }
}

#[test]
fn spelling_alone_does_not_matter_while_the_signature_covers_the_canonical_form() {
    let (mut simulator, mut client) = stage();
    for role in ROLES {
        let content = signed(role);
        let pretty = serde_json::to_string_pretty(&content).unwrap().replace("1.0.34", "\\u0031.0.34");
        let reversed: Vec<_> = content.as_object().unwrap().iter().rev().collect();
        let mut members: Vec<_> = reversed.iter().map(|(name, value)| format!("{}:{value}", json!(name))).collect();
        members.rotate_left(1);
        for spelling in [pretty, format!("{{ {} }}", members.join(" ,\n"))] {
            let entry = signature(seed(role), &content);
            let bytes = format!("\n{{\"unknown\": [1], \"signatures\": [{entry}], \"signed\":\t{spelling}}} ");
            let name = if role == "timestamp" { "timestamp.json".to_owned() } else { format!("2.{role}.json") };
            simulator.files.insert(name, bytes.into());
        }
    }
    assert!(client.run(&mut simulator, &["a"]).unwrap().found["a"].is_some());
    assert_eq!(client.remembered(), ["root 2", "alice 2", "snapshot 2", "targets 2", "timestamp 2"]);
}

#[test]
fn well_formed_json_of_any_shape_in_any_slot_is_answered_without_a_panic() {
    fn slots(value: &Value, at: &str, out: &mut Vec<String>) {
        out.push(at.to_owned());
        match value {
            Value::Object(members) => members.iter().for_each(|(name, member)| {
                slots(member, &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), out);
            }),
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(index, item)| slots(item, &format!("{at}/{index}"), out));
            }
            _ => {}
        }
    }
    let shapes = [
        json!(null),
        json!(true),
        json!(-1),
        json!(0),
        json!(u64::MAX),
        json!(""),
        json!("x"),
        json!([]),
        json!([1]),
        json!({}),
        json!({"x": null}),
    ];
    let (simulator, client) = stage();
    let mut accepted = 0;
    for role in ROLES {
        let content = simulator.signed[role].clone();
        let mut all = Vec::new();
        slots(&content, "", &mut all);
        for slot in all {
            for shape in &shapes {
                let mut changed = content.clone();
                *changed.pointer_mut(&slot).unwrap() = shape.clone();
                let (mut simulator, mut client) = (simulator.clone(), client.clone());
                let name = if role == "timestamp" { "timestamp.json".to_owned() } else { format!("2.{role}.json") };
                simulator.files.insert(name, file(&changed, &[seed(role)]));
                accepted += usize::from(client.run(&mut simulator, &["a"]).is_ok());
            }
        }
    }
    // Some slots may hold anything, such as the paths of somebody else's delegation; most may not.
    assert!(accepted < 200, "{accepted}");
}
