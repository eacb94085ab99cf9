//! Signing, revoking and refreshing on registries that lack something.

use std::collections::BTreeMap;

use boltseal::cli::report::Failure;
use boltseal::image::ImageName;
use jiff::SignedDuration;

use crate::support::registry::TestRegistry;
use crate::support::scene::{Scene, push};

/// Whether a machine that has seen nothing trusts what the scene's tag is signed as.
async fn is_signed(scene: &Scene, tag: &str) -> bool {
    let verdicts = scene.reader().verify(&[&scene.image(tag)]).await;
    verdicts.iter().all(|verdict| verdict.outcome.is_ok())
}

fn intents(registry: &TestRegistry) -> Vec<String> {
    let tags: BTreeMap<String, _> = registry.repo("acme/app").snapshot().tags.into_iter().collect();
    tags.into_keys().filter(|tag| tag.starts_with("trust.tuf.i-")).collect()
}
