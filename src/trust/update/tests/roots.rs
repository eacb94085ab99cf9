//! The walk over roots and the rotation of keys: TUF 5.2 and 5.3.

use serde_json::json;

use crate::trust::error::Error;
use crate::trust::role::{RoleKind, RoleName, Version};
use crate::trust::simulator::{Client, LATER, PAST, Simulator, file, id, key, signature};
use crate::trust::update::{Profile, Rules, Update};

const ROOT: RoleName = RoleName::Top(RoleKind::Root);
const TIMESTAMP: RoleName = RoleName::Top(RoleKind::Timestamp);

fn version(number: u64) -> Version {
    Version::new(number).unwrap()
}

/// Root keys, threshold, who signs, and whether that version is to be accepted.
type Case<'a> = (&'a [u8], u32, &'a [u8], bool);

/// Publishes one root per case, the first of which the client is given, and refreshes.
fn walk(cases: &[Case<'_>]) -> (Result<(), Error>, u64) {
    let mut simulator = Simulator::plain();
    for (at, (keys, threshold, signers, _)) in cases.iter().enumerate() {
        simulator.set_keys("root", keys, *threshold);
        simulator.signers.insert("root".to_owned(), signers.to_vec());
        simulator.edit("root")["version"] = (at + 1).into();
        simulator.put("root");
    }
    let mut client = Client::plain(&simulator);
    let outcome = client.refresh(&mut simulator).map(drop);
    (outcome, *client.roots.keys().last().unwrap())
}

#[test]
fn root_rotations_that_meet_the_old_and_the_new_threshold_are_followed() {
    let five = &[10, 11, 12, 13, 14][..];
    let one_new = &[10, 11, 13, 14, 15][..];
    for cases in [
        &[(&[10][..], 1, &[10][..], true), (&[11], 1, &[11, 10], true), (&[11], 1, &[11], true)][..],
        &[(&[10], 1, &[12, 10, 13], true), (&[11], 1, &[12, 11, 10, 13], true), (&[11], 1, &[12, 11, 13], true)],
        &[(five, 3, &[10, 12, 14], true), (five, 3, &[10, 14, 11], true), (five, 3, &[10, 11, 13], true)],
        &[(five, 3, &[10, 12, 14], true), (one_new, 3, &[10, 14, 11], true)],
        &[(five, 3, &[10, 12, 14], true), (one_new, 3, &[10, 12, 14, 15], true), (one_new, 3, &[10, 14, 15], true)],
        &[
            (five, 3, &[10, 12, 14], true),
            (&[15, 16, 17, 18, 19], 3, &[10, 12, 14, 15, 16, 17], true),
            (&[15, 16, 17, 18, 19], 3, &[15, 16, 17], true),
        ],
        &[(&[11, 12, 13], 1, &[11], true), (&[11, 12, 13], 2, &[11, 12], true)],
        &[(&[11, 12, 13], 2, &[11, 12], true), (&[11, 12, 13], 1, &[11, 12], true), (&[11, 12], 1, &[11], true)],
        &[(&[11], 1, &[11], true), (&[11, 12], 2, &[11, 12], true)],
    ] {
        assert_eq!(walk(cases), (Ok(()), cases.len() as u64), "{cases:?}");
    }
}

#[test]
fn a_root_that_misses_the_old_or_the_new_threshold_is_refused_and_the_one_before_kept() {
    let five = &[10, 11, 12, 13, 14][..];
    let one_new = &[10, 11, 13, 14, 15][..];
    let old = Some("the previous root's keys");
    for (cases, have, need, by) in [
        ([(&[10][..], 1, &[10][..], true), (&[11], 1, &[11, 12, 13], false)], 0, 1, old),
        ([(&[10], 1, &[10], true), (&[11], 1, &[10, 12, 13], false)], 0, 1, None),
        ([(five, 3, &[10, 12, 14], true), (one_new, 3, &[10, 12, 14], false)], 2, 3, None),
        ([(five, 3, &[10, 12, 14], true), (one_new, 3, &[10, 14, 15], false)], 2, 3, old),
        ([(&[11, 12, 13], 1, &[11], true), (&[11, 12, 13], 2, &[12], false)], 1, 2, None),
        ([(&[11, 12, 13], 2, &[11, 12], true), (&[11, 12, 13], 1, &[11], false)], 1, 2, old),
    ] {
        assert_eq!(walk(&cases), (Err(Error::Unsigned { role: ROOT, have, need, by }), 1), "{cases:?}");
    }
}

#[test]
fn every_root_on_the_way_is_verified_and_persisted_and_may_have_expired() {
    let mut simulator = Simulator::plain();
    let mut client = Client::plain(&simulator);
    simulator.edit("root")["expires"] = PAST.into();
    simulator.publish(&["root", "root"]);
    simulator.edit("root")["expires"] = LATER.into();
    simulator.publish(&["root"]);
    client.refresh(&mut simulator).unwrap();
    assert_eq!(client.log, ["root 2", "root 3", "root 4", "timestamp 1", "snapshot 1", "targets 1"]);
    assert_eq!(simulator.requests[..4], ["2.root.json", "3.root.json", "4.root.json", "5.root.json"]);
}

#[test]
fn the_last_root_must_not_have_expired_and_is_persisted_all_the_same() {
    let mut simulator = Simulator::plain();
    let mut client = Client::plain(&simulator);
    simulator.edit("root")["expires"] = PAST.into();
    simulator.publish(&["root"]);
    let error = client.refresh(&mut simulator).unwrap_err();
    assert_eq!(error, Error::Expired { role: ROOT, at: PAST.parse().unwrap() });
    assert_eq!(simulator.requests, ["2.root.json", "3.root.json"]);
    assert_eq!(client.remembered(), ["root 2"]);
}

#[test]
fn the_next_root_has_exactly_the_next_version() {
    for wrong in [1, 3, u64::MAX] {
        let mut simulator = Simulator::plain();
        let mut client = Client::plain(&simulator);
        simulator.edit("root")["version"] = wrong.into();
        let bytes = file(&simulator.signed["root"], &[1]);
        simulator.files.insert("2.root.json".to_owned(), bytes);
        let error = client.refresh(&mut simulator).unwrap_err();
        assert_eq!(error, Error::Rollback { role: ROOT, have: version(1), got: version(wrong) });
        assert_eq!(client.log, [""; 0]);
    }
}

#[test]
fn a_failed_root_leaves_the_trusted_one_and_the_next_run_starts_from_it() {
    let mut simulator = Simulator::plain();
    let mut client = Client::plain(&simulator);
    simulator.set_keys("root", &[11], 1);
    simulator.publish(&["root"]);
    let good = file(&simulator.signed["root"], &[1, 11]);
    assert!(client.refresh(&mut simulator).is_err());
    assert_eq!(client.remembered(), ["root 1"]);
    simulator.files.insert("2.root.json".to_owned(), good);
    client.refresh(&mut simulator).unwrap();
    assert_eq!(client.remembered()[0], "root 2");
}

#[test]
fn a_trusted_root_that_does_not_verify_itself_stops_everything_before_the_first_request() {
    let simulator = Simulator::plain();
    let rules = Client::plain(&simulator).rules;
    let mut no_version = simulator.signed["root"].clone();
    no_version.as_object_mut().unwrap().remove("version");
    for bytes in [file(&simulator.signed["root"], &[9]), file(&no_version, &[1]), "{}".into(), "".into()] {
        let error = Update::begin(rules.clone(), &[bytes], []).unwrap_err();
        assert!(matches!(error, Error::Damaged { role: ROOT, .. }));
    }
    assert!(matches!(Update::begin(rules, &[], []).unwrap_err(), Error::NotPinned { .. }));
}

#[test]
fn a_hidden_rotation_behind_a_failing_server_is_an_error() {
    let mut simulator = Simulator::plain();
    let mut client = Client::plain(&simulator);
    simulator.publish(&["root", "root"]);
    simulator.failing.insert("3.root.json".to_owned());
    let error = client.refresh(&mut simulator).unwrap_err();
    assert!(matches!(error, Error::Unavailable { role: ROOT, .. }));
    assert_eq!(client.remembered(), ["root 2"]);
}

#[test]
fn the_walk_ends_at_its_cap_with_the_root_that_it_has() {
    let mut simulator = Simulator::plain();
    let mut client = Client::plain(&simulator);
    client.rules.limits.root_rotations = 3;
    simulator.publish(&["root"; 5]);
    client.refresh(&mut simulator).unwrap();
    assert_eq!(simulator.requests[..4], ["2.root.json", "3.root.json", "4.root.json", "timestamp.json"]);
    assert_eq!(client.remembered()[0], "root 4");
    simulator.edit("root")["expires"] = PAST.into();
    simulator.publish(&["root"]);
    client.rules.limits.root_rotations = 1;
    client.refresh(&mut simulator).unwrap();
    assert_eq!(client.remembered()[0], "root 5");
}

#[test]
fn a_root_persisted_at_the_cap_is_persisted_also_when_it_has_expired() {
    let mut simulator = Simulator::plain();
    let mut client = Client::plain(&simulator);
    client.rules.limits.root_rotations = 1;
    simulator.edit("root")["expires"] = PAST.into();
    simulator.publish(&["root"]);
    assert!(matches!(client.refresh(&mut simulator).unwrap_err(), Error::Expired { .. }));
    assert_eq!(client.remembered(), ["root 2"]);
}

#[test]
fn after_the_highest_root_version_no_further_root_is_asked_for() {
    let mut simulator = Simulator::plain();
    simulator.edit("root")["version"] = u64::MAX.into();
    simulator.put("root");
    let rules = Rules { profile: Profile::Plain, ..Client::plain(&simulator).rules };
    let mut client = Client::plain(&simulator);
    client.rules = rules;
    client.roots = [(u64::MAX, simulator.file("root.json"))].into();
    client.refresh(&mut simulator).unwrap();
    assert_eq!(simulator.requests, ["timestamp.json", "1.snapshot.json", "1.targets.json"]);
}

#[test]
fn versions_driven_up_are_recovered_from_by_rotating_the_keys() {
    for (rotated, high) in
        [(&["timestamp"][..], "timestamp"), (&["snapshot", "timestamp"], "snapshot"), (&["snapshot"], "targets")]
    {
        let mut simulator = Simulator::plain();
        let mut client = Client::plain(&simulator);
        simulator.edit(high)["version"] = (u64::MAX - 1).into();
        simulator.publish(&["targets", "snapshot", "timestamp"]);
        client.refresh(&mut simulator).unwrap();

        simulator.edit(high)["version"] = 4.into();
        simulator.publish(&["targets", "snapshot", "timestamp"]);
        assert!(matches!(client.clone().refresh(&mut simulator).unwrap_err(), Error::Rollback { .. }), "{high}");

        for (role, seed) in rotated.iter().zip(20..) {
            simulator.set_keys(role, &[seed], 1);
        }
        simulator.publish(&["root", "targets", "snapshot", "timestamp"]);
        client.take_log();
        client.refresh(&mut simulator).unwrap();
        assert_eq!(client.take_log()[..3], ["-timestamp", "-snapshot", "root 2"], "{high}");
        let expected = format!("{high} {}", simulator.version(high));
        assert!(client.remembered().contains(&expected), "{high} {:?}", client.remembered());
    }
}

#[test]
fn rotation_is_judged_against_the_last_root_seen_so_a_restart_reopens_no_rollback() {
    let mut simulator = Simulator::plain();
    let mut client = Client::plain(&simulator);
    simulator.set_keys("timestamp", &[20], 1);
    simulator.publish(&["root", "timestamp", "timestamp"]);
    let old = simulator.file("timestamp.json");
    simulator.publish(&["timestamp"]);
    client.refresh(&mut simulator).unwrap();
    assert_eq!(client.take_log()[..2], ["-timestamp", "-snapshot"]);

    simulator.files.insert("timestamp.json".to_owned(), old);
    let error = client.refresh(&mut simulator).unwrap_err();
    assert_eq!(error, Error::Rollback { role: TIMESTAMP, have: version(4), got: version(3) });
    assert_eq!(client.take_log(), [""; 0]);
}

#[test]
fn adding_a_key_or_rotating_other_roles_keeps_the_floors() {
    let mut simulator = Simulator::plain();
    let mut client = Client::plain(&simulator);
    simulator.publish(&["timestamp"]);
    client.refresh(&mut simulator).unwrap();
    client.take_log();
    simulator.set_keys("timestamp", &[2, 20], 1);
    simulator.set_keys("targets", &[21], 1);
    simulator.publish(&["root", "targets", "snapshot"]);
    simulator.edit("timestamp")["version"] = 1.into();
    simulator.put("timestamp");
    let error = client.refresh(&mut simulator).unwrap_err();
    assert_eq!(error, Error::Rollback { role: TIMESTAMP, have: version(2), got: version(1) });
    assert_eq!(client.take_log(), ["root 2"]);
}

#[test]
fn the_same_key_under_another_id_counts_as_rotated() {
    let mut simulator = Simulator::image();
    let mut client = Client::image();
    client.refresh(&mut simulator).unwrap();
    let root = simulator.edit("root");
    root["keys"].as_object_mut().unwrap().remove(&id(2));
    root["keys"]["other"] = serde_json::to_value(key(2)).unwrap();
    root["roles"]["timestamp"]["keyids"] = json!(["other"]);
    simulator.publish(&["root", "timestamp"]);
    let signed = simulator.signed["timestamp"].clone();
    let mut entry = signature(2, &signed);
    entry["keyid"] = "other".into();
    let bytes = json!({"signed": signed, "signatures": [entry]}).to_string();
    simulator.files.insert("timestamp.json".to_owned(), bytes.into());
    client.refresh(&mut simulator).unwrap();
    assert_eq!(client.remembered(), ["root 2", "snapshot 1", "targets 1", "timestamp 2"]);
}

#[test]
fn every_role_needs_its_threshold_of_distinct_listed_keys() {
    for role in ["timestamp", "snapshot", "targets"] {
        for (keys, threshold, signers, have) in [
            (&[30][..], 1, &[31, 32][..], Some(0)),
            (&[30, 31, 33, 34, 35], 3, &[30, 32, 34], Some(2)),
            (&[30, 31, 33, 34, 35], 3, &[30, 34], Some(2)),
            (&[30, 31], 6, &[30, 31], Some(2)),
            (&[30], 1, &[33, 30, 34], None),
            (&[30, 31, 32, 33, 34], 3, &[31, 32, 33], None),
        ] {
            let mut simulator = Simulator::plain();
            let mut client = Client::plain(&simulator);
            simulator.set_keys(role, keys, threshold);
            simulator.signers.insert(role.to_owned(), signers.to_vec());
            simulator.publish(&["root", "targets", "snapshot", "timestamp"]);
            let outcome = client.refresh(&mut simulator).map(drop);
            let kind: RoleKind = role.parse().unwrap();
            let expected = have.map_or(Ok(()), |have| {
                Err(Error::Unsigned { role: kind.into(), have, need: threshold as usize, by: None })
            });
            assert_eq!(outcome, expected, "{role} {keys:?} {signers:?}");
        }
    }
}

#[test]
fn an_invalid_surplus_signature_does_not_hurt() {
    let mut simulator = Simulator::plain();
    let mut client = Client::plain(&simulator);
    simulator.set_keys("timestamp", &[2, 20], 1);
    simulator.publish(&["root", "timestamp"]);
    let signed = simulator.signed["timestamp"].clone();
    for bad in ["", "zz", "00", &"ab".repeat(64)] {
        let signatures = json!([{"keyid": id(2), "sig": bad}, signature(20, &signed)]);
        let bytes = json!({"signed": signed, "signatures": signatures}).to_string();
        simulator.files.insert("timestamp.json".to_owned(), bytes.into());
        client.clone().refresh(&mut simulator).unwrap();
    }
    client.refresh(&mut simulator).unwrap();
}
