//! No mutation of a signed set makes an unverified thing trusted.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;

use crate::trust::canonical;
use crate::trust::simulator::{Client, Simulator};

/// A repository with a history: two states, roots rotated, a signer and one below it.
fn repository() -> Simulator {
    let mut simulator = Simulator::image();
    simulator.delegate("targets", "alice", 5, &["*"], false);
    simulator.delegate("alice", "leaf", 6, &["*"], false);
    simulator.add_target("leaf", "a", b"old");
    simulator.publish(&["leaf", "alice", "targets", "snapshot", "timestamp"]);
    simulator.set_keys("root", &[1, 11], 2);
    simulator.publish(&["root"]);
    simulator.set_keys("snapshot", &[13], 1);
    simulator.add_target("leaf", "a", b"new");
    simulator.publish(&["root", "leaf", "alice", "targets", "snapshot", "timestamp"]);
    simulator
}

fn message(file: &[u8]) -> Option<Vec<u8>> {
    let value: Value = serde_json::from_slice(file).ok()?;
    Some(canonical::encode(value.get("signed")?))
}

/// One thing that somebody between repository and client can do to the files.
#[derive(Debug, Clone)]
enum Mutation {
    /// Flips bits of a byte.
    Flip { file: prop::sample::Index, at: prop::sample::Index, mask: u8 },
    /// Cuts a stretch out.
    Cut { file: prop::sample::Index, from: prop::sample::Index, length: usize },
    /// Puts bytes in.
    Insert { file: prop::sample::Index, at: prop::sample::Index, bytes: Vec<u8> },
    /// Serves one file under the name of another.
    Swap { from: prop::sample::Index, to: prop::sample::Index },
    /// Takes the signatures of one file for another.
    Signatures { from: prop::sample::Index, to: prop::sample::Index },
    /// Copies a member of one file's `signed` into another's.
    Member { from: prop::sample::Index, to: prop::sample::Index, member: prop::sample::Index },
    /// Withholds a file.
    Remove { file: prop::sample::Index },
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        4 => (index(), index(), 1..=u8::MAX).prop_map(|(file, at, mask)| Mutation::Flip { file, at, mask }),
        1 => (index(), index(), 1..64_usize).prop_map(|(file, from, length)| Mutation::Cut { file, from, length }),
        1 => (index(), index(), prop::collection::vec(any::<u8>(), 1..8))
            .prop_map(|(file, at, bytes)| Mutation::Insert { file, at, bytes }),
        2 => (index(), index()).prop_map(|(from, to)| Mutation::Swap { from, to }),
        2 => (index(), index()).prop_map(|(from, to)| Mutation::Signatures { from, to }),
        2 => (index(), index(), index()).prop_map(|(from, to, member)| Mutation::Member { from, to, member }),
        1 => index().prop_map(|file| Mutation::Remove { file }),
    ]
}

fn apply(mutation: &Mutation, simulator: &mut Simulator) {
    let names: Vec<_> = simulator.files.keys().cloned().collect();
    if names.is_empty() {
        return;
    }
    let name = |index: &prop::sample::Index| names[index.index(names.len())].clone();
    let changed = |file: &prop::sample::Index, edit: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = simulator.files[&name(file)].to_vec();
        edit(&mut bytes);
        (name(file), Bytes::from(bytes))
    };
    let parsed = |index: &prop::sample::Index| serde_json::from_slice::<Value>(&simulator.files[&name(index)]).ok();
    let (file, bytes) = match mutation {
        Mutation::Flip { file, at, mask } => changed(file, &|bytes| {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] ^= mask;
            }
        }),
        Mutation::Cut { file, from, length } => changed(file, &|bytes| {
            let from = from.index(bytes.len() + 1);
            bytes.drain(from..(from + length).min(bytes.len()));
        }),
        Mutation::Insert { file, at, bytes: new } => changed(file, &|bytes| {
            let at = at.index(bytes.len() + 1);
            bytes.splice(at..at, new.iter().copied());
        }),
        Mutation::Swap { from, to } => (name(to), simulator.files[&name(from)].clone()),
        Mutation::Signatures { from, to } => {
            let (Some(source), Some(mut target)) = (parsed(from), parsed(to)) else { return };
            target["signatures"] = source["signatures"].clone();
            (name(to), target.to_string().into())
        }
        Mutation::Member { from, to, member } => {
            let (Some(source), Some(mut target)) = (parsed(from), parsed(to)) else { return };
            let Some(members) = source["signed"].as_object().filter(|members| !members.is_empty()) else { return };
            let (member, value) = members.iter().nth(member.index(members.len())).unwrap();
            target["signed"][member] = value.clone();
            (name(to), target.to_string().into())
        }
        Mutation::Remove { file } => {
            let file = name(file);
            simulator.files.remove(&file);
            return;
        }
    };
    simulator.files.insert(file, bytes);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_trusted_or_persisted_was_signed(
        mutations in prop::collection::vec(mutation(), 1..4),
        warm in any::<bool>(),
    ) {
        static HONEST: LazyLock<Simulator> = LazyLock::new(repository);
        let honest = &*HONEST;
        let genuine: BTreeSet<_> = honest.files.values().filter_map(|file| message(file)).collect();
        let mut simulator = honest.clone();
        let mut client = Client::image();
        if warm {
            client.run(&mut simulator, &["a"]).unwrap();
        }
        let before = client.clone();
        for mutation in &mutations {
            apply(mutation, &mut simulator);
        }
        let outcome = client.run(&mut simulator, &["a"]);

        for bytes in client.roots.values().chain(client.files.values()) {
            prop_assert!(message(bytes).is_some_and(|message| genuine.contains(&message)));
        }
        if warm {
            // What was trusted stays what it was: nothing newer is there.
            prop_assert_eq!(client.remembered(), before.remembered());
        }
        if let Ok(trusted) = outcome {
            let current = |name: &str| message(&honest.file(name)).unwrap();
            prop_assert_eq!(&trusted.targets.message()[..], &current("targets.json")[..]);
            prop_assert_eq!(&trusted.snapshot.message()[..], &current("snapshot.json")[..]);
            prop_assert_eq!(&trusted.timestamp.message()[..], &current("timestamp.json")[..]);
            for role in trusted.delegated.values() {
                prop_assert!(genuine.contains(&role.message()[..]));
            }
            let found = trusted.found["a"].as_ref().unwrap();
            prop_assert!(found.target.hashes.fit(b"new"));
        }
    }
}
