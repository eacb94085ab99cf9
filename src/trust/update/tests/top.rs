//! Timestamp, snapshot and targets: TUF 5.4 to 5.6, for a plain client.

use serde_json::json;

use crate::trust::error::Error;
use crate::trust::role::{RoleKind, RoleName, Version};
use crate::trust::simulator::{Client, LATER, NOW, PAST, Simulator, file};
use crate::trust::update::{Notice, Step, Update};

const TIMESTAMP: RoleName = RoleName::Top(RoleKind::Timestamp);
const SNAPSHOT: RoleName = RoleName::Top(RoleKind::Snapshot);
const TARGETS: RoleName = RoleName::TARGETS;

fn version(number: u64) -> Version {
    Version::new(number).unwrap()
}

/// A repository and a client that has seen its first state.
fn seen() -> (Simulator, Client) {
    let mut simulator = Simulator::plain();
    let mut client = Client::plain(&simulator);
    client.refresh(&mut simulator).unwrap();
    simulator.take_requests();
    client.take_log();
    (simulator, client)
}

#[test]
fn a_first_refresh_asks_for_the_next_root_and_each_role_once_in_order() {
    let mut simulator = Simulator::plain();
    let mut client = Client::plain(&simulator);
    client.refresh(&mut simulator).unwrap();
    assert_eq!(simulator.requests, ["2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"]);
    assert_eq!(client.log, ["timestamp 1", "snapshot 1", "targets 1"]);
}

#[test]
fn with_nothing_new_only_the_next_root_and_the_timestamp_are_asked_for() {
    let (mut simulator, mut client) = seen();
    client.refresh(&mut simulator).unwrap();
    assert_eq!(simulator.requests, ["2.root.json", "timestamp.json"]);
    assert_eq!(client.take_log(), [""; 0]);
}

#[test]
fn without_consistent_snapshots_names_carry_no_version() {
    let mut simulator = Simulator::plain();
    simulator.edit("root")["consistent_snapshot"] = false.into();
    simulator.put("root");
    let mut client = Client::plain(&simulator);
    client.refresh(&mut simulator).unwrap();
    assert_eq!(simulator.requests, ["2.root.json", "timestamp.json", "snapshot.json", "targets.json"]);
}

#[test]
fn bytes_are_persisted_as_they_came() {
    let mut simulator = Simulator::plain();
    for name in ["timestamp.json", "1.snapshot.json", "1.targets.json"] {
        let text = String::from_utf8(simulator.file(name).to_vec()).unwrap();
        simulator.files.insert(name.to_owned(), format!("\n {text}\t ").into());
    }
    let mut client = Client::plain(&simulator);
    client.refresh(&mut simulator).unwrap();
    assert_eq!(client.files["timestamp.json"], simulator.file("timestamp.json"));
    assert_eq!(client.files["snapshot.json"], simulator.file("1.snapshot.json"));
    assert_eq!(client.files["targets.json"], simulator.file("1.targets.json"));
}

#[test]
fn unknown_members_are_part_of_what_is_signed() {
    let mut simulator = Simulator::plain();
    for role in ["root", "timestamp", "snapshot", "targets"] {
        simulator.edit(role)["unknown"] = json!({"a": [1, null, "\u{1F600}"]});
    }
    simulator.edit("root")["roles"]["root"]["unknown"] = "x".into();
    simulator.publish(&["root", "targets", "snapshot", "timestamp"]);
    let mut client = Client::plain(&simulator);
    client.refresh(&mut simulator).unwrap();
    assert_eq!(client.remembered(), ["root 2", "snapshot 2", "targets 2", "timestamp 2"]);

    simulator.publish(&["timestamp"]);
    let changed = String::from_utf8(simulator.file("timestamp.json").to_vec()).unwrap().replace("null", "true");
    simulator.files.insert("timestamp.json".to_owned(), changed.into());
    let unsigned = Error::Unsigned { role: TIMESTAMP, have: 0, need: 1, by: None };
    assert_eq!(client.refresh(&mut simulator).unwrap_err(), unsigned);
}

#[test]
fn a_lower_timestamp_is_a_rollback() {
    let (mut simulator, mut client) = seen();
    let old = simulator.file("timestamp.json");
    simulator.publish(&["timestamp"]);
    client.refresh(&mut simulator).unwrap();
    simulator.files.insert("timestamp.json".to_owned(), old);
    let error = client.refresh(&mut simulator).unwrap_err();
    assert_eq!(error, Error::Rollback { role: TIMESTAMP, have: version(2), got: version(1) });
    assert_eq!(client.remembered(), ["root 1", "snapshot 1", "targets 1", "timestamp 2"]);
}

#[test]
fn other_bytes_under_the_same_timestamp_version_change_nothing_and_are_told() {
    let (mut simulator, mut client) = seen();
    simulator.edit("timestamp")["meta"]["snapshot.json"]["version"] = 100.into();
    simulator.put("timestamp");
    let trusted = client.refresh(&mut simulator).unwrap();
    assert_eq!(trusted.notices, [Notice::Rival { role: TIMESTAMP, version: version(1) }]);
    assert_eq!(trusted.timestamp.snapshot().version, version(1));
    assert_eq!(simulator.requests, ["2.root.json", "timestamp.json"]);
    assert_eq!(client.take_log(), [""; 0]);
}

#[test]
fn a_timestamp_that_promises_a_lower_snapshot_is_a_rollback_and_is_not_persisted() {
    for hashes in [false, true] {
        let (mut simulator, mut client) = seen();
        simulator.hashes = hashes;
        simulator.publish(&["snapshot", "timestamp"]);
        client.refresh(&mut simulator).unwrap();
        simulator.edit("snapshot")["version"] = 1.into();
        simulator.put("snapshot");
        simulator.publish(&["timestamp"]);
        let error = client.refresh(&mut simulator).unwrap_err();
        assert_eq!(error, Error::Rollback { role: SNAPSHOT, have: version(2), got: version(1) });
        assert_eq!(client.remembered(), ["root 1", "snapshot 2", "targets 1", "timestamp 2"]);
    }
}

#[test]
fn an_expiry_that_equals_the_instant_of_the_run_has_passed() {
    for (role, persisted) in [
        ("root", &[][..]),
        ("timestamp", &[][..]),
        ("snapshot", &["timestamp 1"][..]),
        ("targets", &["timestamp 1", "snapshot 1"][..]),
    ] {
        let mut simulator = Simulator::plain();
        simulator.edit(role)["expires"] = NOW.into();
        simulator.put(role);
        let mut client = Client::plain(&simulator);
        let error = client.refresh(&mut simulator).unwrap_err();
        let role: RoleKind = role.parse().unwrap();
        assert_eq!(error, Error::Expired { role: role.into(), at: NOW.parse().unwrap() });
        assert_eq!(client.log, persisted, "{role}");
    }
}

#[test]
fn a_repository_that_stands_still_is_refused_once_its_timestamp_expires() {
    let (mut simulator, mut client) = seen();
    client.at(LATER);
    for role in ["root", "snapshot", "targets"] {
        simulator.edit(role)["expires"] = "2030-01-01T00:00:00Z".into();
    }
    simulator.put("root");
    client.roots.insert(1, simulator.file("1.root.json"));
    let error = client.refresh(&mut simulator).unwrap_err();
    assert_eq!(error, Error::Expired { role: TIMESTAMP, at: LATER.parse().unwrap() });
}

#[test]
fn expired_memory_still_serves_as_a_floor() {
    let (mut simulator, mut client) = seen();
    simulator.edit("timestamp")["expires"] = "2027-01-05T00:00:00Z".into();
    simulator.edit("snapshot")["expires"] = "2027-01-05T00:00:00Z".into();
    simulator.publish(&["targets", "snapshot", "timestamp"]);
    client.refresh(&mut simulator).unwrap();
    client.at("2027-01-10T00:00:00Z");

    let mut rolled_back = simulator.clone();
    rolled_back.edit("timestamp")["expires"] = LATER.into();
    rolled_back.edit("timestamp")["version"] = 1.into();
    rolled_back.put("timestamp");
    let error = client.clone().refresh(&mut rolled_back).unwrap_err();
    assert_eq!(error, Error::Rollback { role: TIMESTAMP, have: version(2), got: version(1) });

    let mut lowered = simulator.clone();
    for role in ["snapshot", "timestamp"] {
        lowered.edit(role)["expires"] = LATER.into();
    }
    lowered.edit("snapshot")["meta"]["targets.json"]["version"] = 1.into();
    lowered.publish(&["snapshot", "timestamp"]);
    let error = client.clone().refresh(&mut lowered).unwrap_err();
    assert_eq!(error, Error::Rollback { role: TARGETS, have: version(2), got: version(1) });

    for role in ["snapshot", "timestamp"] {
        simulator.edit(role)["expires"] = LATER.into();
    }
    simulator.publish(&["snapshot", "timestamp"]);
    client.refresh(&mut simulator).unwrap();
    assert_eq!(client.remembered(), ["root 1", "snapshot 3", "targets 2", "timestamp 3"]);
}

#[test]
fn no_listed_role_may_go_down_or_vanish_from_the_snapshot() {
    for hashes in [false, true] {
        let (mut simulator, mut client) = seen();
        simulator.hashes = hashes;
        simulator.edit("snapshot")["meta"]["signer.json"] = json!({"version": 5});
        simulator.publish(&["snapshot", "timestamp"]);
        client.refresh(&mut simulator).unwrap();
        let signer = RoleName::delegated("signer").unwrap();

        let mut lowered = simulator.clone();
        lowered.edit("snapshot")["meta"]["signer.json"]["version"] = 4.into();
        lowered.publish(&["snapshot", "timestamp"]);
        let error = client.clone().refresh(&mut lowered).unwrap_err();
        assert_eq!(error, Error::Rollback { role: signer.clone(), have: version(5), got: version(4) });

        simulator.edit("snapshot")["meta"].as_object_mut().unwrap().remove("signer.json");
        simulator.publish(&["snapshot", "timestamp"]);
        let error = client.refresh(&mut simulator).unwrap_err();
        assert!(matches!(error, Error::Contradiction { role, .. } if role == signer));
        assert_eq!(client.remembered(), ["root 1", "snapshot 2", "targets 1", "timestamp 3"]);
    }
}

#[test]
fn a_listed_file_of_another_name_form_does_not_stop_the_next_snapshot() {
    let (mut simulator, mut client) = seen();
    simulator.edit("snapshot")["meta"]["odd"] = json!({"version": 1});
    for _ in 0..2 {
        simulator.publish(&["snapshot", "timestamp"]);
        client.refresh(&mut simulator).unwrap();
    }
    assert_eq!(client.remembered(), ["root 1", "snapshot 3", "targets 1", "timestamp 3"]);
}

#[test]
fn the_snapshot_in_memory_is_a_floor_also_without_its_timestamp() {
    let (mut simulator, mut client) = seen();
    let old = simulator.clone();
    simulator.publish(&["snapshot", "timestamp"]);
    client.refresh(&mut simulator).unwrap();
    client.files.remove("timestamp.json");
    let error = client.refresh(&mut old.clone()).unwrap_err();
    assert_eq!(error, Error::Rollback { role: SNAPSHOT, have: version(2), got: version(1) });
}

#[test]
fn hashes_and_lengths_are_checked_before_anything_is_parsed() {
    for (role, above) in [("snapshot", "timestamp"), ("targets", "snapshot")] {
        let mut simulator = Simulator::plain();
        simulator.hashes = true;
        simulator.publish(&["targets", "snapshot", "timestamp"]);
        Client::plain(&simulator).refresh(&mut simulator).unwrap();
        let length = simulator.file(&format!("2.{role}.json")).len();

        for (member, wrong) in [
            ("length", json!(length - 1)),
            ("length", json!(length + 1)),
            ("hashes", json!({"sha256": "00".repeat(32)})),
        ] {
            let mut simulator = simulator.clone();
            simulator.files.insert(format!("2.{role}.json"), "not JSON".repeat(100).into());
            simulator.edit(above)["meta"][format!("{role}.json")][member] = wrong;
            let mut order = vec![above];
            order.extend((above == "snapshot").then_some("timestamp"));
            simulator.publish(&order);
            let error = Client::plain(&simulator).refresh(&mut simulator).unwrap_err();
            let role: RoleKind = role.parse().unwrap();
            // Longer than promised is over the cap of the request already.
            let over = matches!(&error, Error::Malformed { reason, .. } if reason.contains("may be read"));
            assert!(over || matches!(&error, Error::Contradiction { role: r, .. } if *r == role.into()), "{error}");
        }
    }
}

#[test]
fn hashes_of_unknown_algorithms_only_are_refused_and_beside_a_known_one_ignored() {
    let mut simulator = Simulator::plain();
    simulator.hashes = true;
    simulator.publish(&["targets"]);
    let known = simulator.signed["snapshot"]["meta"]["targets.json"]["hashes"].clone();
    simulator.edit("snapshot")["meta"]["targets.json"]["hashes"] = json!({"md99": "00"});
    simulator.publish(&["snapshot", "timestamp"]);
    let error = Client::plain(&simulator).refresh(&mut simulator).unwrap_err();
    assert!(matches!(error, Error::Contradiction { role: TARGETS, .. }));

    let mut both = known;
    both["md99"] = "00".into();
    simulator.edit("snapshot")["meta"]["targets.json"]["hashes"] = both;
    simulator.publish(&["snapshot", "timestamp"]);
    Client::plain(&simulator).refresh(&mut simulator).unwrap();
}

#[test]
fn a_file_has_exactly_the_version_that_its_parent_promises() {
    for role in ["snapshot", "targets"] {
        for offset in [0, 2] {
            let (mut simulator, mut client) = seen();
            simulator.publish(&["targets", "snapshot", "timestamp"]);
            let mut other = simulator.signed[role].clone();
            other["version"] = (1 + offset).into();
            let bytes = file(&other, &simulator.signers[role]);
            simulator.files.insert(format!("2.{role}.json"), bytes);
            let error = client.refresh(&mut simulator).unwrap_err();
            let kind: RoleKind = role.parse().unwrap();
            assert!(matches!(error, Error::Contradiction { role, .. } if role == kind.into()));
        }
    }
}

#[test]
fn a_role_that_is_not_there_ends_the_run_and_keeps_what_was_verified_before() {
    for (role, remembered) in [
        ("timestamp", ["root 1", "snapshot 1", "targets 1", "timestamp 1"]),
        ("snapshot", ["root 1", "snapshot 1", "targets 1", "timestamp 2"]),
        ("targets", ["root 1", "snapshot 2", "targets 1", "timestamp 2"]),
    ] {
        let (mut simulator, mut client) = seen();
        simulator.publish(&["targets", "snapshot", "timestamp"]);
        simulator.files.retain(|name, _| *name != format!("2.{role}.json") && *name != format!("{role}.json"));
        let kind: RoleKind = role.parse().unwrap();
        assert_eq!(client.refresh(&mut simulator).unwrap_err(), Error::Missing { role: kind.into() });
        assert_eq!(client.remembered(), remembered);
    }
}

#[test]
fn a_failure_is_not_absence() {
    for (file, role) in [
        ("2.root.json", RoleKind::Root),
        ("timestamp.json", RoleKind::Timestamp),
        ("1.snapshot.json", RoleKind::Snapshot),
        ("1.targets.json", RoleKind::Targets),
    ] {
        let mut simulator = Simulator::plain();
        simulator.failing.insert(file.to_owned());
        let error = Client::plain(&simulator).refresh(&mut simulator).unwrap_err();
        assert_eq!(error, Error::Unavailable { role: role.into(), reason: "500".to_owned() });
    }
}

#[test]
fn more_bytes_than_asked_for_are_refused_whoever_fetched_them() {
    for (file, role) in [
        ("2.root.json", RoleKind::Root),
        ("timestamp.json", RoleKind::Timestamp),
        ("1.snapshot.json", RoleKind::Snapshot),
        ("1.targets.json", RoleKind::Targets),
    ] {
        let mut simulator = Simulator::plain();
        let mut client = Client::plain(&simulator);
        let limits = &mut client.rules.limits;
        (limits.root, limits.timestamp, limits.snapshot, limits.targets) = (5_000, 5_000, 5_000, 5_000);
        let mut long = simulator.files.get(file).unwrap_or(&simulator.files["1.root.json"]).to_vec();
        long.resize(5_001, b' ');
        simulator.files.insert(file.to_owned(), long.into());
        let error = client.refresh(&mut simulator).unwrap_err();
        assert!(matches!(error, Error::Malformed { role: r, .. } if r == role.into()), "{file}");
    }
}

#[test]
fn a_promised_length_never_raises_the_cap() {
    let mut simulator = Simulator::plain();
    simulator.edit("timestamp")["meta"]["snapshot.json"]["length"] = u64::MAX.into();
    simulator.put("timestamp");
    let client = Client::plain(&simulator);
    let mut update = Update::begin(client.rules.clone(), &[simulator.file("1.root.json")], []).unwrap();
    let cap = loop {
        match update.step() {
            Step::Fetch(request) if request.role == SNAPSHOT => break request.max,
            Step::Fetch(request) => update.answer(simulator.fetch(&request.file_name())).unwrap(),
            Step::Recall(_) => update.answer(crate::trust::update::Answer::Absent).unwrap(),
            _ => {}
        }
    };
    assert_eq!(cap, client.rules.limits.snapshot);
}

#[test]
fn rotated_targets_keys_make_the_file_be_fetched_again() {
    let (mut simulator, mut client) = seen();
    simulator.set_keys("targets", &[14], 1);
    simulator.publish(&["root", "targets", "snapshot", "timestamp"]);
    client.refresh(&mut simulator).unwrap();
    assert_eq!(client.remembered(), ["root 2", "snapshot 2", "targets 2", "timestamp 2"]);
}

#[test]
fn damaged_memory_does_not_stop_a_plain_client() {
    for file in ["timestamp.json", "snapshot.json", "targets.json"] {
        let (mut simulator, mut client) = seen();
        client.files.insert(file.to_owned(), "{".into());
        client.refresh(&mut simulator).unwrap();
        assert_eq!(client.remembered(), ["root 1", "snapshot 1", "targets 1", "timestamp 1"]);
    }
}

#[test]
fn memory_that_has_expired_is_not_trusted_as_current() {
    let (mut simulator, mut client) = seen();
    simulator.edit("targets")["expires"] = PAST.into();
    let expired = file(&simulator.signed["targets"], &[4]);
    client.files.insert("targets.json".to_owned(), expired.clone());
    simulator.files.insert("1.targets.json".to_owned(), expired);
    let error = client.refresh(&mut simulator).unwrap_err();
    assert_eq!(error, Error::Expired { role: TARGETS, at: PAST.parse().unwrap() });
}

#[test]
fn the_timestamp_describes_the_snapshot_and_nothing_else() {
    for meta in [json!({}), json!({"snapshot.json": {"version": 1}, "targets.json": {"version": 1}})] {
        let mut simulator = Simulator::plain();
        simulator.edit("timestamp")["meta"] = meta;
        simulator.put("timestamp");
        let error = Client::plain(&simulator).refresh(&mut simulator).unwrap_err();
        assert!(matches!(error, Error::Malformed { role: TIMESTAMP, .. }));
    }
}

#[test]
fn a_snapshot_signed_by_the_timestamp_key_is_no_timestamp() {
    let (mut simulator, mut client) = seen();
    simulator.set_keys("snapshot", &[3, 2], 1);
    simulator.publish(&["root"]);
    let mut fake = simulator.signed["snapshot"].clone();
    fake["meta"] = json!({"snapshot.json": {"version": 1}});
    fake["version"] = 2.into();
    simulator.files.insert("timestamp.json".to_owned(), file(&fake, &[3, 2]));
    let error = client.refresh(&mut simulator).unwrap_err();
    assert!(matches!(error, Error::Malformed { role: TIMESTAMP, .. }));
    assert_eq!(client.remembered()[0], "root 2");
}
