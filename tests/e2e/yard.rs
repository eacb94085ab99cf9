//! A registry behind a proxy, with a collection in it: the place where publishers meet, die and are watched.

use std::ffi::OsStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::image::Image;
use crate::machine::Machine;
use crate::process::Ran;
use crate::proxy::{Proxy, Weather, mix};
use crate::scene::REPOSITORY;
use crate::servers::Registry;

/// Runs the long form of the tests: as many processes, stalls and kills as the promises speak of.
pub(crate) fn soaking() -> bool {
    std::env::var_os("BOLTSEAL_SOAK").is_some()
}

/// The seed of this run: printed, so that what failed can be run again with `BOLTSEAL_SEED`.
#[expect(clippy::print_stdout, reason = "libtest shows it with the failure")]
pub(crate) fn seed() -> u64 {
    let given = std::env::var("BOLTSEAL_SEED").ok().and_then(|text| text.parse().ok());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.subsec_nanos());
    let seed = given.unwrap_or_else(|| mix(now.into()) % 1_000_000);
    println!("BOLTSEAL_SEED={seed}");
    seed
}

/// Numbers that look random and are not.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let bound = u64::try_from(bound.max(1)).expect("a small number");
        usize::try_from(mix(self.0) % bound).expect("below the bound")
    }
}

/// The usual bad weather with stalls of at most `stall`: now and then a failure or a cut connection.
pub(crate) fn storm(stall: Duration) -> Weather {
    Weather { stall, reorder: stall / 2, failures: 10, late_failures: 10, cuts: 10 }
}

/// The place.
pub(crate) struct Yard {
    pub(crate) registry: Registry,
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) owner: Machine,
    init: Ran,
}

impl Yard {
    /// A registry without trust data's troubles: nothing but one initialised collection.
    pub(crate) fn new(seed: u64) -> Self {
        Self::behind(Registry::open(), |registry| Proxy::start(&registry.host(), seed))
    }

    /// The same with a proxy of one's own.
    pub(crate) fn behind(registry: Registry, proxy: impl FnOnce(&Registry) -> Proxy) -> Self {
        let proxy = Arc::new(proxy(&registry));
        let owner = Machine::fresh();
        let init = owner.run(["init", &format!("{}/{REPOSITORY}", proxy.host())]).ok();
        let export = ["key", "export", "--all", "--to", "backup"];
        owner.run(export).ok();
        Self { registry, proxy, owner, init }
    }

    /// The name of the collection.
    pub(crate) fn name(&self) -> String {
        format!("{}/{REPOSITORY}", self.proxy.host())
    }

    /// A tag of it.
    pub(crate) fn tag(&self, tag: &str) -> String {
        format!("{}:{tag}", self.name())
    }

    /// Puts an image under a tag, unsigned.
    pub(crate) fn push(&self, tag: &str, text: &str) -> Image {
        let image = Image::with_text(text);
        image.push(&self.registry, REPOSITORY, tag);
        image
    }

    /// A machine that has seen nothing yet and holds no key.
    pub(crate) fn reader(&self) -> Machine {
        Machine::trusting(&self.init)
    }

    /// A machine with all the keys and a memory of its own.
    pub(crate) fn publisher(&self) -> Machine {
        let machine = self.reader();
        let backup = self.owner.work().join("backup");
        machine.run([OsStr::new("key"), OsStr::new("import"), backup.as_os_str()]).ok();
        machine
    }

    /// The tags of intents that lie beside the head.
    pub(crate) fn intents(&self) -> Vec<String> {
        self.registry.tags(REPOSITORY).into_iter().filter(|tag| tag.starts_with("trust.tuf.i-")).collect()
    }

    /// How many versions of the root the head lists.
    pub(crate) fn root_versions(&self) -> usize {
        let accept = [("Accept", "application/vnd.oci.image.manifest.v1+json")];
        let head = self.registry.request("GET", &format!("/v2/{REPOSITORY}/manifests/trust.tuf"), &accept, b"");
        let head: serde_json::Value = serde_json::from_slice(&head.body).expect("a head is JSON");
        let layers = head["layers"].as_array().expect("a head has layers");
        let roots = layers.iter().filter(|layer| {
            let name = layer["annotations"]["tuf.io/filename"].as_str().unwrap_or_default();
            name.ends_with(".root.json") && layer["annotations"]["vnd.boltseal.former"] != "true"
        });
        roots.count()
    }
}
