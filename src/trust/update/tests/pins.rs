//! What the image client asks for beyond a plain one: pins, the collection, the timestamp's life, signers.

use serde_json::json;

use crate::trust::envelope::BINDING;
use crate::trust::error::Error;
use crate::trust::role::{RoleKind, RoleName, Version};
use crate::trust::simulator::{Client, LATER, Simulator, file, pin};

const ROOT: RoleName = RoleName::Top(RoleKind::Root);

fn version(number: u64) -> Version {
    Version::new(number).unwrap()
}

/// Publishes a root with other root keys, signed by the old ones too, which sign no later one.
fn rotate_root(simulator: &mut Simulator, seeds: &[u8]) {
    let old = simulator.signers["root"].clone();
    simulator.set_keys("root", seeds, 1);
    simulator.signers.insert("root".to_owned(), old.into_iter().chain(seeds.iter().copied()).collect());
    simulator.publish(&["root"]);
    simulator.signers.insert("root".to_owned(), seeds.to_vec());
}

#[test]
fn a_first_run_starts_at_the_pinned_root() {
    let mut simulator = Simulator::image();
    let mut client = Client::image();
    client.refresh(&mut simulator).unwrap();
    assert_eq!(simulator.requests[..3], ["1.root.json", "2.root.json", "timestamp.json"]);
    assert_eq!(client.take_log(), ["root 1", "timestamp 1", "snapshot 1", "targets 1"]);
}

#[test]
fn a_first_run_walks_up_to_the_lowest_root_that_meets_the_pin() {
    let mut simulator = Simulator::image();
    rotate_root(&mut simulator, &[11]);
    rotate_root(&mut simulator, &[12]);
    let mut client = Client::pinned(vec![pin(&[11], 1, 1)]);
    client.refresh(&mut simulator).unwrap();
    assert_eq!(client.roots.keys().copied().collect::<Vec<_>>(), [2, 3]);

    let mut later = Client::pinned(vec![pin(&[12], 1, 3)]);
    simulator.take_requests();
    later.refresh(&mut simulator).unwrap();
    assert_eq!(simulator.requests[0], "3.root.json");
}

#[test]
fn a_root_that_does_not_meet_the_pin_is_refused_with_nothing_persisted() {
    for (name, pins) in [
        ("another key", vec![pin(&[9], 1, 1)]),
        ("too few pinned keys", vec![pin(&[1, 9], 2, 1)]),
        ("too low a version", vec![pin(&[1], 1, 2)]),
        ("one of two pins", vec![pin(&[1], 1, 1), pin(&[9], 1, 1)]),
        ("a key of another role", vec![pin(&[4], 1, 1)]),
        ("no pin", vec![]),
    ] {
        let mut simulator = Simulator::image();
        let mut client = Client::pinned(pins);
        let error = client.refresh(&mut simulator).unwrap_err();
        assert!(matches!(error, Error::NotPinned { .. }), "{name}: {error}");
        assert_eq!(client.log, [""; 0], "{name}");
    }
}

#[test]
fn a_pinned_key_that_did_not_sign_the_root_meets_nothing() {
    let mut simulator = Simulator::image();
    simulator.set_keys("root", &[11, 1], 1);
    simulator.signers.insert("root".to_owned(), vec![11]);
    simulator.put("root");
    assert!(matches!(Client::image().refresh(&mut simulator).unwrap_err(), Error::NotPinned { .. }));
}

#[test]
fn a_pin_is_also_held_to_the_roots_own_threshold() {
    let mut simulator = Simulator::image();
    simulator.set_keys("root", &[1, 11], 2);
    simulator.signers.insert("root".to_owned(), vec![1]);
    simulator.put("root");
    let error = Client::image().refresh(&mut simulator).unwrap_err();
    assert_eq!(error, Error::Unsigned { role: ROOT, have: 1, need: 2, by: None });
}

#[test]
fn every_pin_is_met_by_some_root_on_the_way() {
    let mut simulator = Simulator::image();
    rotate_root(&mut simulator, &[11]);
    let mut client = Client::pinned(vec![pin(&[1], 1, 1), pin(&[11], 1, 1)]);
    client.refresh(&mut simulator).unwrap();
    assert_eq!(client.log[..2], ["root 1", "root 2"]);
    simulator.take_requests();
    client.refresh(&mut simulator).unwrap();
    assert_eq!(simulator.requests, ["3.root.json", "timestamp.json"]);
}

#[test]
fn roots_in_memory_that_no_pin_leads_to_are_replaced() {
    let mut simulator = Simulator::image();
    let mut client = Client::image();
    simulator.publish(&["root"]);
    client.refresh(&mut simulator).unwrap();
    client.take_log();

    let mut anew = Simulator::image();
    anew.set_keys("root", &[21], 1);
    anew.set_keys("timestamp", &[22], 1);
    anew.put("root");
    anew.put("timestamp");
    client.pin(vec![pin(&[21], 1, 1)]);
    client.refresh(&mut anew).unwrap();
    assert_eq!(client.take_log()[..4], ["-timestamp", "-snapshot", "-roots", "root 1"]);
    assert_eq!(client.roots.len(), 1);
}

#[test]
fn a_further_pin_does_not_open_the_way_back_to_an_older_root() {
    let mut simulator = Simulator::image();
    simulator.set_keys("root", &[1, 11], 1);
    simulator.signers.insert("root".to_owned(), vec![1]);
    simulator.publish(&["root", "root"]);
    let old = simulator.clone();
    simulator.publish(&["root"]);
    let mut client = Client::image();
    client.refresh(&mut simulator).unwrap();
    client.take_log();

    client.pin(vec![pin(&[1], 1, 1), pin(&[11], 1, 1)]);
    let before = client.roots.clone();
    assert!(matches!(client.refresh(&mut simulator).unwrap_err(), Error::NotPinned { .. }));
    assert_eq!((client.take_log(), &client.roots), (vec![], &before));

    let mut hidden = old;
    hidden.signers.insert("root".to_owned(), vec![1, 11]);
    hidden.put("root");
    let error = client.refresh(&mut hidden).unwrap_err();
    assert_eq!(error, Error::Rollback { role: ROOT, have: version(4), got: version(3) });
    assert_eq!((client.take_log(), &client.roots), (vec![], &before));

    simulator.signers.insert("root".to_owned(), vec![1, 11]);
    simulator.publish(&["root"]);
    client.refresh(&mut simulator).unwrap();
    assert_eq!(*client.roots.keys().last().unwrap(), 5);
}

#[test]
fn metadata_of_another_collection_or_of_none_is_refused_and_never_persisted() {
    for (role, persisted) in [("root", 0), ("timestamp", 1), ("snapshot", 2), ("targets", 3)] {
        for binding in [None, Some(json!({"collection": "registry.example.com/acme/other"}))] {
            let mut simulator = Simulator::image();
            let signed = simulator.edit(role);
            match binding {
                Some(binding) => signed[BINDING] = binding,
                None => drop(signed.as_object_mut().unwrap().remove(BINDING)),
            }
            simulator.put(role);
            let mut client = Client::image();
            let error = client.refresh(&mut simulator).unwrap_err();
            let kind: RoleKind = role.parse().unwrap();
            assert!(matches!(error, Error::WrongCollection { role, .. } if role == kind.into()));
            assert_eq!(client.log.len(), persisted);
        }
    }
}

#[test]
fn a_delegated_role_is_bound_to_the_collection_as_well() {
    let mut simulator = Simulator::image();
    simulator.delegate("targets", "alice", 50, &["*"], false);
    simulator.edit("alice")[BINDING] = json!({"collection": "registry.example.com/acme/other"});
    simulator.publish(&["alice", "targets", "snapshot", "timestamp"]);
    let error = Client::image().run(&mut simulator, &["a"]).unwrap_err();
    assert!(matches!(error, Error::WrongCollection { role: RoleName::Delegated(_), .. }));
}

#[test]
fn a_root_key_that_is_also_an_online_key_is_refused() {
    for online in ["timestamp", "snapshot"] {
        let mut simulator = Simulator::image();
        simulator.set_keys(online, &[1, 30], 1);
        simulator.put("root");
        assert!(matches!(Client::image().refresh(&mut simulator).unwrap_err(), Error::Malformed { role: ROOT, .. }));
    }
}

#[test]
fn a_timestamp_may_not_run_longer_than_the_policy_lets_it() {
    let mut simulator = Simulator::image();
    simulator.edit("timestamp")["expires"] = "2027-01-31T00:00:00Z".into();
    simulator.put("timestamp");
    Client::image().refresh(&mut simulator).unwrap();
    simulator.edit("timestamp")["expires"] = "2027-01-31T00:00:01Z".into();
    simulator.put("timestamp");
    let mut client = Client::image();
    let at = "2027-01-31T00:00:01Z".parse().unwrap();
    assert_eq!(client.refresh(&mut simulator).unwrap_err(), Error::TooLongLived { at, days: 30 });
    assert_eq!(client.remembered(), ["root 1"]);
}

#[test]
fn damaged_memory_is_told_and_not_passed_over() {
    for (name, role) in [("timestamp.json", RoleKind::Timestamp), ("snapshot.json", RoleKind::Snapshot)] {
        let mut simulator = Simulator::image();
        let mut client = Client::image();
        client.refresh(&mut simulator).unwrap();
        simulator.publish(&["snapshot", "timestamp"]);
        client.files.insert(name.to_owned(), file(&simulator.signed[role.as_str()], &[9]));
        let error = client.refresh(&mut simulator).unwrap_err();
        assert!(matches!(error, Error::Damaged { role: r, .. } if r == role.into()));
    }
    let mut simulator = Simulator::image();
    let mut client = Client::image();
    simulator.publish(&["root", "root"]);
    client.refresh(&mut simulator).unwrap();
    client.roots.remove(&2);
    assert!(matches!(client.refresh(&mut simulator).unwrap_err(), Error::Damaged { role: ROOT, .. }));
}

#[test]
fn only_the_signers_that_count_answer() {
    let mut simulator = Simulator::image();
    simulator.delegate("targets", "revoked", 49, &["gone"], true);
    simulator.delegate("targets", "alice", 50, &["*"], false);
    simulator.delegate("targets", "bob", 51, &["*"], false);
    simulator.add_target("alice", "a", b"of alice");
    simulator.add_target("bob", "a", b"of bob");
    simulator.add_target("bob", "gone", b"of bob");
    simulator.publish(&["revoked", "alice", "bob", "targets", "snapshot", "timestamp"]);
    for (client, signer) in [
        (Client::image(), Some("alice")),
        (Client::image().only(&["bob"]), Some("bob")),
        (Client::image().only(&["carol"]), None),
        (Client::image().only(&["targets"]), None),
    ] {
        let trusted = client.clone().run(&mut simulator, &["a", "gone"]).unwrap();
        assert_eq!(trusted.found["a"].as_ref().map(|found| found.signer.as_str()), signer);
        assert!(trusted.found["gone"].is_none());
    }
}

#[test]
fn what_a_signer_delegates_to_speaks_in_the_signers_name() {
    // Alice names a role of hers after a signer whose word counts.
    let mut simulator = Simulator::image();
    simulator.delegate("targets", "alice", 50, &["*"], false);
    simulator.delegate("alice", "releases", 51, &["*"], false);
    simulator.delegate("releases", "tags", 52, &["*"], false);
    simulator.add_target("releases", "a", b"evil");
    simulator.add_target("tags", "b", b"evil");
    simulator.publish(&["tags", "releases", "alice", "targets", "snapshot", "timestamp"]);
    let trusted = Client::image().only(&["releases", "tags", "targets"]).run(&mut simulator, &["a", "b"]).unwrap();
    assert!(trusted.found.values().all(Option::is_none));
    let trusted = Client::image().only(&["alice"]).run(&mut simulator, &["a", "b"]).unwrap();
    assert!(trusted.found.values().flatten().all(|found| found.signer == "alice"));
    assert_eq!(trusted.found.values().flatten().count(), 2);
}

#[test]
fn entries_under_tags_and_its_bins_are_the_targets_keys_own() {
    let mut simulator = Simulator::image();
    simulator.delegate("targets", "tags", 50, &["*"], false);
    let bins = simulator.add_bins("tags", "tags", 1, 51);
    for bin in &bins {
        simulator.edit(bin)[BINDING] = json!({"collection": crate::trust::simulator::COLLECTION});
        simulator.add_target(bin, "a", b"a");
        simulator.publish(&[bin]);
    }
    simulator.publish(&["tags", "targets", "snapshot", "timestamp"]);
    let trusted = Client::image().only(&["targets"]).run(&mut simulator, &["a"]).unwrap();
    assert_eq!(trusted.found["a"].as_ref().unwrap().signer, "targets");
}

#[test]
fn a_first_run_after_the_clock_passed_the_root_is_refused_but_keeps_the_root() {
    let mut simulator = Simulator::image();
    let mut client = Client::image();
    client.at(LATER);
    assert!(matches!(client.refresh(&mut simulator).unwrap_err(), Error::Expired { role: ROOT, .. }));
    assert_eq!(client.remembered(), ["root 1"]);
}
