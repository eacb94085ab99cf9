//! The search through delegations: TUF 5.6.7 and TAP 15.

use serde_json::json;

use crate::image::Digest;
use crate::trust::delegation::Delegations;
use crate::trust::error::Error;
use crate::trust::role::RoleName;
use crate::trust::simulator::{Client, NOW, PAST, Simulator, file, id, key};
use crate::trust::update::Found;

/// From, to, patterns, terminating.
type Edge<'a> = (&'a str, &'a str, &'a [&'a str], bool);

fn role(name: &str) -> RoleName {
    RoleName::delegated(name).unwrap()
}

/// A repository with these delegations, each with a key of its own.
fn graph(edges: &[Edge<'_>]) -> Simulator {
    let mut simulator = Simulator::plain();
    for ((from, to, paths, terminating), seed) in edges.iter().zip(50..) {
        simulator.delegate(from, to, seed, paths, *terminating);
    }
    simulator
}

/// Publishes every targets role, and the rest above them.
fn publish(simulator: &mut Simulator) {
    let roles: Vec<_> = simulator
        .signed
        .keys()
        .filter(|name| !["root", "timestamp", "snapshot"].contains(&name.as_str()))
        .cloned()
        .collect();
    simulator.publish(&roles.iter().map(String::as_str).collect::<Vec<_>>());
    simulator.publish(&["snapshot", "timestamp"]);
}

/// The delegated roles asked for, in order, and what was found.
fn search(simulator: &mut Simulator, path: &str) -> (Vec<String>, Result<Option<Found>, Error>) {
    let mut client = Client::plain(simulator);
    simulator.take_requests();
    let outcome = client.run(simulator, &[path]).map(|mut trusted| trusted.found.remove(path).unwrap());
    let requests = simulator.take_requests().split_off(4);
    let roles = requests.iter().map(|name| name.strip_prefix("1.").unwrap().strip_suffix(".json").unwrap().to_owned());
    (roles.collect(), outcome)
}

#[test]
fn roles_are_visited_depth_first_in_the_order_of_the_delegations() {
    let all = &["*"][..];
    let python = &["*.py"][..];
    for (edges, order) in [
        (&[("targets", "A", all, false)][..], &["A"][..]),
        (&[("targets", "A", all, false), ("targets", "B", all, false)], &["A", "B"]),
        (&[("targets", "B", all, false), ("targets", "A", all, false)], &["B", "A"]),
        (&[("targets", "A", all, false), ("targets", "B", all, false), ("B", "C", all, false)], &["A", "B", "C"]),
        (
            &[
                ("targets", "A", all, false),
                ("targets", "B", all, false),
                ("A", "C", all, false),
                ("A", "D", all, false),
            ],
            &["A", "C", "D", "B"],
        ),
        (
            &[
                ("targets", "A", all, false),
                ("targets", "B", all, false),
                ("A", "C", all, false),
                ("C", "D", all, false),
            ],
            &["A", "C", "D", "B"],
        ),
        (
            &[
                ("targets", "A", all, false),
                ("targets", "B", all, false),
                ("A", "C", all, true),
                ("A", "D", all, false),
            ],
            &["A", "C"],
        ),
        (
            &[
                ("targets", "A", all, false),
                ("targets", "B", all, false),
                ("A", "C", all, true),
                ("C", "D", all, false),
            ],
            &["A", "C", "D"],
        ),
        (&[("targets", "A", python, true), ("targets", "B", all, false), ("A", "C", all, false)], &["B"]),
        (
            &[
                ("targets", "A", all, false),
                ("targets", "B", all, false),
                ("A", "C", python, false),
                ("C", "D", all, false),
            ],
            &["A", "B"],
        ),
        (
            &[
                ("targets", "A", all, false),
                ("targets", "B", all, false),
                ("B", "C", all, false),
                ("C", "D", all, false),
                ("D", "B", all, false),
            ],
            &["A", "B", "C", "D"],
        ),
        (
            &[
                ("targets", "A", all, false),
                ("targets", "B", all, false),
                ("B", "C", all, false),
                ("A", "C", all, false),
            ],
            &["A", "C", "B"],
        ),
        (
            &[
                ("targets", "A", all, false),
                ("targets", "B", all, false),
                ("B", "C", all, false),
                ("A", "C", python, false),
            ],
            &["A", "B", "C"],
        ),
    ] {
        let mut simulator = graph(edges);
        publish(&mut simulator);
        let (visited, outcome) = search(&mut simulator, "missing");
        assert_eq!(visited, order, "{edges:?}");
        assert!(outcome.unwrap().is_none());
    }
}

#[test]
fn a_target_counts_only_where_every_delegation_on_the_way_covers_it() {
    let mut simulator = graph(&[
        ("targets", "A", &["*.doc", "*.md"], false),
        ("targets", "B", &["releases/*/*"], false),
        ("B", "C", &["releases/x/*"], false),
        ("B", "D", &["releases/y/*.zip"], false),
    ]);
    for (role, path) in [
        ("targets", "top"),
        ("A", "README.md"),
        ("C", "releases/x/x_v1"),
        ("D", "releases/y/y_v1.zip"),
        ("D", "releases/z/z_v1.zip"),
        ("A", "releases/z/z_v1.zip"),
    ] {
        simulator.add_target(role, path, path.as_bytes());
    }
    publish(&mut simulator);
    for (path, visited, found) in [
        ("top", &[][..], Some("targets")),
        ("README.md", &["A"], Some("A")),
        ("releases/x/x_v1", &["B", "C"], Some("C")),
        ("releases/y/y_v1.zip", &["B", "D"], Some("D")),
        ("releases/z/z_v1.zip", &["B"], None),
    ] {
        let (asked, outcome) = search(&mut simulator, path);
        assert_eq!((asked.iter().map(String::as_str).collect::<Vec<_>>(), path), (visited.to_vec(), path));
        let outcome = outcome.unwrap();
        assert_eq!(outcome.as_ref().map(|found| found.role.as_str()), found);
        if let Some(found) = outcome {
            assert!(found.target.hashes.fit(path.as_bytes()));
        }
    }
}

#[test]
fn the_first_role_that_has_the_target_answers() {
    let mut simulator = graph(&[("targets", "A", &["*"], false), ("targets", "B", &["*"], false)]);
    simulator.add_target("B", "a", b"of B");
    simulator.add_target("A", "a", b"of A");
    publish(&mut simulator);
    let (visited, outcome) = search(&mut simulator, "a");
    assert_eq!(visited, ["A"]);
    assert_eq!(outcome.unwrap().unwrap().target.hashes.sha256(), Some(Digest::of(b"of A")));
}

#[test]
fn every_check_of_the_top_level_role_applies_to_delegated_ones() {
    type Spoil = fn(&mut Simulator);
    type Expected = fn(&Error) -> bool;
    let cases: [(&str, Spoil, Expected); 8] = [
        ("missing", |s| drop(s.files.remove("1.A.json")), |e| matches!(e, Error::Missing { .. })),
        ("failing", |s| s.failing = ["1.A.json".to_owned()].into(), |e| matches!(e, Error::Unavailable { .. })),
        (
            "not listed",
            |s| {
                s.edit("snapshot")["meta"].as_object_mut().unwrap().remove("A.json");
                s.publish(&["snapshot", "timestamp"]);
            },
            |e| matches!(e, Error::Missing { .. }),
        ),
        (
            "expired",
            |s| {
                s.edit("A")["expires"] = PAST.into();
                s.put("A");
            },
            |e| matches!(e, Error::Expired { .. }),
        ),
        (
            "expiring now",
            |s| {
                s.edit("A")["expires"] = NOW.into();
                s.put("A");
            },
            |e| matches!(e, Error::Expired { .. }),
        ),
        (
            "other key",
            |s| {
                s.signers.insert("A".to_owned(), vec![4]);
                s.put("A");
            },
            |e| matches!(e, Error::Unsigned { have: 0, need: 1, .. }),
        ),
        (
            "other version",
            |s| {
                s.edit("A")["version"] = 7.into();
                let bytes = file(&s.signed["A"], &[50]);
                s.files.insert("1.A.json".to_owned(), bytes);
            },
            |e| matches!(e, Error::Contradiction { .. }),
        ),
        (
            "other hash",
            |s| {
                s.edit("snapshot")["meta"]["A.json"]["hashes"] = json!({"sha256": "00".repeat(32)});
                s.publish(&["snapshot", "timestamp"]);
            },
            |e| matches!(e, Error::Contradiction { .. }),
        ),
    ];
    for (name, spoil, expected) in cases {
        let mut simulator = graph(&[("targets", "A", &["*"], false), ("targets", "B", &["*"], false)]);
        simulator.add_target("A", "a", b"of A");
        simulator.add_target("B", "a", b"of B");
        publish(&mut simulator);
        spoil(&mut simulator);
        let mut client = Client::plain(&simulator);
        let error = client.run(&mut simulator, &["a"]).unwrap_err();
        assert!(expected(&error), "{name}: {error}");
        assert!(client.remembered().iter().all(|file| !file.starts_with("A ")), "{name}");
    }
}

#[test]
fn a_role_reached_from_another_delegator_must_be_signed_by_its_keys() {
    let mut simulator = Simulator::plain();
    simulator.delegate("targets", "A", 50, &["a*"], false);
    simulator.delegate("targets", "B", 51, &["b*"], false);
    simulator.delegate("A", "shared", 52, &["*"], false);
    simulator.delegate("B", "shared", 53, &["*"], false);
    simulator.add_target("shared", "a1", b"1");
    simulator.add_target("shared", "b1", b"1");
    simulator.signers.insert("shared".to_owned(), vec![52]);
    publish(&mut simulator);

    let mut client = Client::plain(&simulator);
    assert!(client.run(&mut simulator, &["a1"]).unwrap().found["a1"].is_some());
    let unsigned = Error::Unsigned { role: role("shared"), have: 0, need: 1, by: None };
    assert_eq!(client.clone().run(&mut simulator, &["b1"]).unwrap_err(), unsigned, "from memory");
    let mut fresh = Client::plain(&simulator);
    assert_eq!(fresh.run(&mut simulator, &["a1", "b1"]).unwrap_err(), unsigned, "in one run");

    simulator.signers.insert("shared".to_owned(), vec![52, 53]);
    simulator.publish(&["shared", "snapshot", "timestamp"]);
    simulator.take_requests();
    let trusted = client.run(&mut simulator, &["a1", "b1"]).unwrap();
    assert_eq!(trusted.found["b1"].as_ref().unwrap().signer, "B");
    assert_eq!(trusted.delegated.len(), 4);
    assert_eq!(simulator.requests.iter().filter(|name| name.contains("shared")).count(), 1);
}

#[test]
fn a_delegatee_cannot_lend_its_own_copy_of_a_role_to_another_way() {
    // B may name `shared` with a key of its own, and answers the first request with a copy that delegates to `leaf`
    // with that key; the way through A must not go through it.
    let mut simulator = Simulator::plain();
    simulator.delegate("targets", "A", 50, &["a*"], false);
    simulator.delegate("targets", "B", 51, &["b*"], false);
    simulator.delegate("A", "shared", 52, &["*"], false);
    simulator.delegate("B", "shared", 53, &["*"], false);
    simulator.delegate("shared", "leaf", 54, &["*"], false);
    simulator.signers.insert("shared".to_owned(), vec![52]);
    publish(&mut simulator);

    let mut hostile = simulator.clone();
    hostile.edit("shared")["delegations"]["keys"] = json!({id(53): serde_json::to_value(key(53)).unwrap()});
    hostile.edit("shared")["delegations"]["roles"][0]["keyids"] = json!([id(53)]);
    hostile.add_target("leaf", "a1", b"evil");
    hostile.add_target("leaf", "b1", b"evil");
    let copies = [("1.shared.json", "shared"), ("1.leaf.json", "leaf")];
    for (name, from) in copies {
        let bytes = file(&hostile.signed[from], &[53]);
        simulator.files.insert(name.to_owned(), bytes);
    }
    let unsigned = Error::Unsigned { role: role("shared"), have: 0, need: 1, by: None };
    assert_eq!(Client::plain(&simulator).run(&mut simulator, &["b1", "a1"]).unwrap_err(), unsigned);
}

#[test]
fn names_of_any_kind_are_asked_for_and_remembered_percent_encoded() {
    for (name, encoded) in [
        ("?", "%3F"),
        ("#", "%23"),
        ("/x", "%2Fx"),
        ("../x", "%2E%2E%2Fx"),
        ("a b", "a%20b"),
        ("\u{1F600}", "%F0%9F%98%80"),
    ] {
        let mut simulator = graph(&[("targets", name, &["*"], false)]);
        publish(&mut simulator);
        assert_eq!(search(&mut simulator, "missing").0, [encoded]);
    }
}

#[test]
fn malformed_delegations_make_the_role_malformed() {
    type Edit = fn(&mut serde_json::Value);
    let edits: [(&str, Edit); 16] = [
        ("threshold 0", |d| d["roles"][0]["threshold"] = 0.into()),
        ("threshold -1", |d| d["roles"][0]["threshold"] = (-1).into()),
        ("threshold 2^32", |d| d["roles"][0]["threshold"] = (1_u64 << 32).into()),
        ("reserved name", |d| d["roles"][0]["name"] = "snapshot".into()),
        ("no name", |d| d["roles"][0]["name"] = "".into()),
        ("long name", |d| d["roles"][0]["name"] = "x".repeat(300).into()),
        ("a name twice", |d| d["roles"] = json!([d["roles"][0], d["roles"][0]])),
        ("neither paths nor prefixes", |d| drop(d["roles"][0].as_object_mut().unwrap().remove("paths"))),
        ("paths and prefixes", |d| d["roles"][0]["path_hash_prefixes"] = json!(["00"])),
        ("no paths, in another spelling", |d| d["roles"][0]["paths"] = json!(null)),
        ("roles and bins", |d| {
            d["succinct_roles"] = json!({"keyids": [], "threshold": 1, "bit_length": 1, "name_prefix": "x"});
        }),
        ("neither roles nor bins", |d| drop(d.as_object_mut().unwrap().remove("roles"))),
        ("no keys", |d| drop(d.as_object_mut().unwrap().remove("keys"))),
        ("a key id twice", |d| d["roles"][0]["keyids"] = json!([id(50), id(50)])),
        ("two ids of one key", |d| d["keys"]["other"] = d["keys"][id(50)].clone()),
        ("null", |d| *d = json!(null)),
    ];
    for (name, edit) in edits {
        let mut simulator = graph(&[("targets", "A", &["*"], false)]);
        edit(&mut simulator.edit("targets")["delegations"]);
        publish(&mut simulator);
        let mut client = Client::plain(&simulator);
        let error = client.refresh(&mut simulator).unwrap_err();
        assert!(matches!(error, Error::Malformed { role: RoleName::TARGETS, .. }), "{name}: {error}");
        assert!(!client.files.contains_key("targets.json"), "{name}");
    }
}

#[test]
fn bins_are_asked_for_by_the_hash_of_the_path() {
    for bit_length in [1, 4, 8] {
        let mut simulator = Simulator::plain();
        let names = simulator.add_bins("targets", "bin", bit_length, 60);
        for path in ["a", "b", "some/path:1.0"] {
            let first = Digest::of(path.as_bytes()).as_bytes()[0];
            let name = &names[usize::from(first >> (8 - bit_length))];
            simulator.add_target(name, path, path.as_bytes());
        }
        publish(&mut simulator);
        for path in ["a", "b", "some/path:1.0"] {
            let (visited, outcome) = search(&mut simulator, path);
            let found = outcome.unwrap().unwrap();
            assert_eq!((visited.len(), found.signer.as_str()), (1, "targets"));
            assert_eq!(found.role.as_str(), visited[0]);
        }
        assert!(search(&mut simulator, "absent").1.unwrap().is_none());
    }
}

#[test]
fn bins_of_absurd_numbers_are_refused() {
    for bit_length in [json!(0), json!(21), json!(33), json!(-1), json!(u64::MAX), json!("8"), json!(null)] {
        let mut simulator = Simulator::plain();
        simulator.add_bins("targets", "bin", 1, 60);
        simulator.edit("targets")["delegations"]["succinct_roles"]["bit_length"] = bit_length;
        publish(&mut simulator);
        let error = Client::plain(&simulator).refresh(&mut simulator).unwrap_err();
        assert!(matches!(error, Error::Malformed { role: RoleName::TARGETS, .. }));
    }
}

#[test]
fn hash_prefixes_choose_as_patterns_do() {
    let path = "some/where/a";
    let hash = Digest::of(path.as_bytes()).hex();
    for (prefix, covers) in [(hash[..1].to_owned(), true), (hash.clone(), true), (hash.to_uppercase(), false)] {
        let mut simulator = graph(&[("targets", "A", &["*"], false)]);
        let delegation = &mut simulator.edit("targets")["delegations"]["roles"][0];
        delegation.as_object_mut().unwrap().remove("paths");
        delegation["path_hash_prefixes"] = json!(["~", prefix]);
        let parsed: Delegations = serde_json::from_value(simulator.signed["targets"]["delegations"].clone()).unwrap();
        assert_eq!(parsed.roles()[0].covers(path), covers);
        simulator.add_target("A", path, b"a");
        publish(&mut simulator);
        assert_eq!(search(&mut simulator, path).1.unwrap().is_some(), covers);
    }
}

#[test]
fn the_search_ends_with_nothing_found_at_its_cap_of_roles() {
    let names: Vec<_> = (0..6).map(|number| format!("r{number}")).collect();
    let edges: Vec<Edge<'_>> = names.iter().map(|name| ("targets", name.as_str(), &["*"][..], false)).collect();
    let mut simulator = graph(&edges);
    simulator.add_target("r4", "a", b"a");
    publish(&mut simulator);
    for (cap, found) in [(4, false), (5, true)] {
        let mut client = Client::plain(&simulator);
        client.rules.limits.delegated_roles = cap;
        simulator.take_requests();
        let trusted = client.run(&mut simulator, &["a"]).unwrap();
        assert_eq!((trusted.found["a"].is_some(), simulator.requests.len()), (found, 4 + cap));
    }
}

#[test]
fn a_delegated_role_in_memory_is_used_while_it_is_the_promised_one() {
    let mut simulator = graph(&[("targets", "A", &["*"], false)]);
    simulator.edit("A")["expires"] = "2027-01-05T00:00:00Z".into();
    simulator.add_target("A", "a", b"a");
    publish(&mut simulator);
    let mut client = Client::plain(&simulator);
    client.run(&mut simulator, &["a"]).unwrap();
    simulator.take_requests();
    client.run(&mut simulator, &["a"]).unwrap();
    assert_eq!(simulator.take_requests(), ["2.root.json", "timestamp.json"]);

    client.at("2027-01-10T00:00:00Z");
    assert!(matches!(client.run(&mut simulator, &["a"]).unwrap_err(), Error::Expired { .. }));
    simulator.edit("A")["expires"] = "2027-01-15T00:00:00Z".into();
    simulator.publish(&["A", "snapshot", "timestamp"]);
    assert!(client.run(&mut simulator, &["a"]).unwrap().found["a"].is_some());
}
