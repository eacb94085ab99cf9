//! cosign and notation, where they are installed: they sign a digest only, so `verify` is all there is to compare.
//!
//! One that is missing, or cannot be set up without a network, has no row.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::image::Image;
use crate::measure::{Cost, median, time};
use crate::servers::Registry;

/// What `verify` of a tag costs with each.
pub(crate) fn verify(runs: usize) -> Vec<(&'static str, Cost)> {
    let costs = [("cosign", cost(runs, cosign)), ("notation", cost(runs, notation))];
    costs.into_iter().filter_map(|(name, cost)| Some((name, cost?))).collect()
}

/// Signs an image with what `setup` makes, and measures the command that it returns.
fn cost(runs: usize, setup: impl Fn(&Path, &str) -> Option<Command>) -> Option<Cost> {
    let registry = Registry::open();
    Image::with_text("image 7").push(&registry, "acme/app", "v7");
    let folder = tempfile::tempdir().expect("a temporary folder is made");
    let mut command = setup(folder.path(), &registry.image("acme/app:v7"))?;
    let mark = registry.mark();
    time(&mut command);
    let traffic = registry.since(&mark);
    let wire = Some((traffic.requests(), traffic.bytes()));
    Some(Cost { milliseconds: median(runs, || time(&mut command)), wire })
}

fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

fn cosign(folder: &Path, image: &str) -> Option<Command> {
    let cosign = |arguments: &[&str]| {
        let mut command = Command::new("cosign");
        command.args(arguments).current_dir(folder).env("HOME", folder).env("COSIGN_PASSWORD", "");
        command
    };
    let made = succeeds(&mut cosign(&["generate-key-pair"]));
    let sign = ["sign", "--key=cosign.key", "--tlog-upload=false", "--allow-insecure-registry", "--yes"];
    // From version 3 on, a log is used unless the signing configuration is turned off too.
    let signed =
        succeeds(cosign(&sign).arg(image)) || succeeds(cosign(&sign).args(["--use-signing-config=false", image]));
    let mut verify =
        cosign(&["verify", "--key=cosign.pub", "--insecure-ignore-tlog", "--allow-insecure-registry", image]);
    (made && signed && succeeds(&mut verify)).then_some(verify)
}

fn notation(folder: &Path, image: &str) -> Option<Command> {
    let notation = |arguments: &[&str]| {
        let mut command = Command::new("notation");
        command.args(arguments).current_dir(folder).env("HOME", folder).env("XDG_CONFIG_HOME", folder);
        command
    };
    let policy = r#"{"version":"1.0","trustPolicies":[{"name":"bench","registryScopes":["*"],
        "signatureVerification":{"level":"strict"},"trustStores":["ca:bench"],"trustedIdentities":["*"]}]}"#;
    fs::write(folder.join("policy.json"), policy).ok()?;
    let ready = succeeds(&mut notation(&["cert", "generate-test", "--default", "bench"]))
        && succeeds(&mut notation(&["policy", "import", "--force", "policy.json"]))
        && succeeds(&mut notation(&["sign", "--insecure-registry", image]));
    let mut verify = notation(&["verify", "--insecure-registry", image]);
    (ready && succeeds(&mut verify)).then_some(verify)
}
