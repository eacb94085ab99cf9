//! What Boltseal costs against a registry that counts.

use std::ffi::OsString;
use std::fs;
use std::process::Command;

use crate::image::Image;
use crate::machine::{Machine, PASSPHRASE, binary};
use crate::measure::{Cost, median, time};
use crate::process::Ran;
use crate::servers::{PASSWORD, Registry, USER};

/// A registry with one collection of that many tags, and the machine that signed them.
pub(crate) struct Ours {
    registry: Registry,
    owner: Machine,
    init: Ran,
    tags: usize,
    options: Vec<OsString>,
}

impl Ours {
    /// Over plain HTTP.
    pub(crate) fn plain(tags: usize) -> Self {
        Self::signed(Registry::open(), Vec::new(), tags)
    }

    /// Over TLS by a private authority, with a password.
    pub(crate) fn tls(tags: usize) -> Self {
        let registry = Registry::tls_password();
        let options = vec!["--ca".into(), registry.ca().into()];
        Self::signed(registry, options, tags)
    }

    fn signed(registry: Registry, options: Vec<OsString>, tags: usize) -> Self {
        let owner = Machine::fresh();
        owner.clients.login(&registry.host(), USER, PASSWORD);
        for number in 0..tags {
            Image::with_text(&format!("image {number}")).push(&registry, "acme/app", &format!("v{number}"));
        }
        let arguments = |verb: &str| std::iter::once(OsString::from(verb)).chain(options.clone()).collect::<Vec<_>>();
        let mut init = arguments("init");
        init.push(registry.image("acme/app").into());
        let init = owner.run(init).ok();
        let mut sign = arguments("sign");
        sign.extend((0..tags).map(|number| registry.image(&format!("acme/app:v{number}")).into()));
        owner.run(sign).ok();
        Self { registry, owner, init, tags, options }
    }

    fn reader(&self) -> Machine {
        let machine = Machine::trusting(&self.init);
        machine.clients.login(&self.registry.host(), USER, PASSWORD);
        machine
    }

    fn run(&self, machine: &Machine, verb: &str, tag: &str) -> f64 {
        let mut arguments = vec![OsString::from(verb)];
        arguments.extend(self.options.iter().cloned());
        arguments.push(self.registry.image(&format!("acme/app:{tag}")).into());
        time(&mut machine.boltseal(arguments))
    }

    fn cost(&self, runs: usize, mut work: impl FnMut() -> f64) -> Cost {
        let mark = self.registry.mark();
        work();
        let traffic = self.registry.since(&mark);
        Cost { milliseconds: median(runs, work), wire: Some((traffic.requests(), traffic.bytes())) }
    }

    /// Verifies with memory of the current state.
    pub(crate) fn verify_warm(&self, runs: usize) -> Cost {
        let reader = self.reader();
        self.run(&reader, "verify", "v7");
        self.cost(runs, || self.run(&reader, "verify", "v7"))
    }

    /// Verifies on machines that know the pin alone.
    pub(crate) fn verify_cold(&self, runs: usize) -> Cost {
        // Made beforehand: the pin of one machine must not cost time between two measurements.
        let mut readers: Vec<_> = (0..=runs.max(1)).map(|_| self.reader()).collect();
        self.cost(runs, || self.run(&readers.pop().expect("one reader for each run"), "verify", "v7"))
    }

    /// Signs one more tag, each time another image, unlocking each key by its passphrase.
    pub(crate) fn sign_unlocking(&self, runs: usize) -> Cost {
        self.sign_one_more(runs, "locked", &self.owner, &[])
    }

    /// The same on a machine that has the keys in plain files, so that unlocking costs nothing.
    pub(crate) fn sign_unlocked(&self, runs: usize) -> Cost {
        let machine = self.reader();
        let files = fs::read_dir(self.owner.home().join("keys")).expect("the owner has keys");
        let mut keys = Vec::new();
        for path in files.map(|file| file.expect("our folder is read").path()) {
            if path.extension().is_none_or(|extension| extension != "pem") {
                continue;
            }
            let plain = machine.work().join(path.file_name().expect("a key file has a name"));
            let mut openssl = Command::new("openssl");
            openssl.args(["pkey", "-passin", &format!("pass:{PASSPHRASE}"), "-in"]).arg(&path).arg("-out").arg(&plain);
            time(&mut openssl);
            keys.extend([OsString::from("--key"), plain.into()]);
        }
        self.sign_one_more(runs, "plain", &machine, &keys)
    }

    fn sign_one_more(&self, runs: usize, kind: &str, machine: &Machine, keys: &[OsString]) -> Cost {
        let mut images: Vec<_> = (0..=runs.max(1)).map(|number| format!("{kind}{number}")).collect();
        for tag in &images {
            Image::with_text(&format!("{tag} of {}", self.tags)).push(&self.registry, "acme/app", tag);
        }
        self.cost(runs, || {
            let mut arguments = vec![OsString::from("sign")];
            arguments.extend(self.options.iter().chain(keys).cloned());
            let tag = images.pop().expect("one image for each run");
            arguments.push(self.registry.image(&format!("acme/app:{tag}")).into());
            time(&mut machine.boltseal(arguments))
        })
    }
}

/// What it costs to start at all.
pub(crate) fn version(runs: usize) -> Cost {
    let machine = Machine::fresh();
    Cost { milliseconds: median(runs, || time(&mut machine.boltseal(["--version"]))), wire: None }
}

/// The size of the program in bytes.
pub(crate) fn size() -> u64 {
    fs::metadata(binary()).expect("the program is there").len()
}
