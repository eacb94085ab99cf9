//! A client with a memory in a map, which drives the machine against the simulated repository.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

use super::{COLLECTION, Simulator, key};
use crate::trust::error::Error;
use crate::trust::limits::Limits;
use crate::trust::pin::Pin;
use crate::trust::role::{RoleKind, RoleName, Version};
use crate::trust::update::{Answer, Breadth, Expiry, Profile, Rules, Step, Trusted, Update};

/// The instant of every run unless a test says otherwise.
pub(crate) const NOW: &str = "2027-01-01T00:00:00Z";

/// The client.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    /// What the machine works by.
    pub(crate) rules: Rules,
    /// The roots remembered.
    pub(crate) roots: BTreeMap<u64, Bytes>,
    /// The other files remembered.
    pub(crate) files: BTreeMap<String, Bytes>,
    /// What was persisted and forgotten, in order: `root 2`, `-timestamp`.
    pub(crate) log: Vec<String>,
}

/// A pin of these seeds' keys.
pub(crate) fn pin(seeds: &[u8], threshold: u32, min_version: u64) -> Pin {
    Pin {
        keys: seeds.iter().map(|seed| key(*seed).id()).collect(),
        threshold: threshold.try_into().unwrap(),
        min_version: Version::new(min_version).unwrap(),
    }
}

impl Client {
    fn new(profile: Profile) -> Self {
        let rules = Rules {
            profile,
            limits: Limits::default(),
            now: NOW.parse().unwrap(),
            expiry: Expiry::Enforce,
            breadth: Breadth::Wanted,
        };
        Self { rules, roots: BTreeMap::new(), files: BTreeMap::new(), log: Vec::new() }
    }

    /// A plain TUF client that was given the repository's first root.
    pub(crate) fn plain(simulator: &Simulator) -> Self {
        let mut client = Self::new(Profile::Plain);
        client.roots.insert(1, simulator.file("1.root.json"));
        client
    }

    /// The image client with an empty memory and key 1 pinned.
    pub(crate) fn image() -> Self {
        Self::pinned(vec![pin(&[1], 1, 1)])
    }

    /// The image client with an empty memory and these pins.
    pub(crate) fn pinned(pins: Vec<Pin>) -> Self {
        Self::new(Profile::Image {
            name: COLLECTION.parse().unwrap(),
            pins,
            max_timestamp_life: SignedDuration::from_hours(30 * 24),
            signers: None,
        })
    }

    /// Lets only these signers' words count.
    pub(crate) fn only(mut self, names: &[&str]) -> Self {
        if let Profile::Image { signers, .. } = &mut self.rules.profile {
            *signers = Some(names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>());
        }
        self
    }

    /// Replaces the pins, as a person would.
    pub(crate) fn pin(&mut self, new: Vec<Pin>) {
        if let Profile::Image { pins, .. } = &mut self.rules.profile {
            *pins = new;
        }
    }

    /// Moves the clock.
    pub(crate) fn at(&mut self, now: &str) {
        self.rules.now = now.parse::<Timestamp>().unwrap();
    }

    /// Brings everything up to date and looks the paths up. Memory is kept as the machine says, also after an error.
    pub(crate) fn run(&mut self, simulator: &mut Simulator, wanted: &[&str]) -> Result<Trusted, Error> {
        let roots: Vec<_> = match self.rules.profile {
            Profile::Plain => self.roots.values().last().cloned().into_iter().collect(),
            Profile::Image { .. } => self.roots.values().cloned().collect(),
        };
        let mut update = Update::begin(self.rules.clone(), &roots, wanted.iter().map(|path| (*path).to_owned()))?;
        let mut outcome = Ok(());
        loop {
            let answer = match update.step() {
                Step::Done => break,
                Step::Recall(role) => {
                    self.files.get(&role.file_name(None)).cloned().map_or(Answer::Absent, Answer::Found)
                }
                Step::Fetch(request) => simulator.fetch(&request.file_name()),
                Step::Persist { role, version, bytes } => {
                    self.log.push(format!("{role} {version}"));
                    self.keep(&role, version, bytes);
                    continue;
                }
                Step::Forget(role) => {
                    self.log.push(format!("-{role}"));
                    self.files.remove(&role.file_name(None));
                    continue;
                }
                Step::ForgetRoots => {
                    self.log.push("-roots".to_owned());
                    self.roots.clear();
                    continue;
                }
            };
            if let Err(error) = update.answer(answer) {
                outcome = Err(error);
            }
        }
        outcome.map(|()| update.finish().expect("a machine that is done without an error has something to trust"))
    }

    fn keep(&mut self, role: &RoleName, version: Version, bytes: Bytes) {
        if *role == RoleName::Top(RoleKind::Root) {
            self.roots.insert(version.get(), bytes);
        } else {
            self.files.insert(role.file_name(None), bytes);
        }
    }

    /// Refreshes without looking anything up.
    pub(crate) fn refresh(&mut self, simulator: &mut Simulator) -> Result<Trusted, Error> {
        self.run(simulator, &[])
    }

    /// The remembered version of each role, `root 1` first, the others by name.
    pub(crate) fn remembered(&self) -> Vec<String> {
        let root = self.roots.keys().last().map(|version| format!("root {version}"));
        let others = self.files.iter().map(|(name, bytes)| {
            let file: serde_json::Value = serde_json::from_slice(bytes).unwrap();
            format!("{} {}", name.strip_suffix(".json").unwrap(), file["signed"]["version"])
        });
        root.into_iter().chain(others).collect()
    }

    /// What was persisted and forgotten since the last call.
    pub(crate) fn take_log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }
}
