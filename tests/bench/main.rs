//! Figures beside those of other tools: medians of whole processes, with what went over the wire.
//!
//! Ours and theirs run on the same machine in the same run. Nothing is asserted about time.

#![allow(clippy::print_stdout, reason = "a table is what this program is for")]

mod measure;
mod notary;
mod ours;
mod peers;

#[path = "../e2e/clients.rs"]
#[allow(dead_code, reason = "the end-to-end tests ask more of it")]
mod clients;
#[path = "../e2e/http.rs"]
#[allow(dead_code, reason = "the end-to-end tests ask more of it")]
mod http;
#[path = "../e2e/image.rs"]
#[allow(dead_code, reason = "the end-to-end tests ask more of it")]
mod image;
#[path = "../e2e/machine.rs"]
#[allow(dead_code, reason = "the end-to-end tests ask more of it")]
mod machine;
#[path = "../e2e/process.rs"]
#[allow(dead_code, reason = "the end-to-end tests ask more of it")]
mod process;
#[path = "../e2e/servers.rs"]
#[allow(dead_code, unused_imports, reason = "the end-to-end tests ask more of it")]
mod servers;
#[path = "../e2e/tls.rs"]
mod tls;

use measure::{Cost, Row};
use notary::Notary;
use ours::Ours;

/// How often each thing is measured, unless `BOLTSEAL_BENCH_RUNS` says otherwise.
const RUNS: usize = 21;
/// The collections that `verify` is measured on.
const TAGS: [usize; 2] = [10, 100];

fn main() {
    let runs = std::env::var("BOLTSEAL_BENCH_RUNS").ok().and_then(|text| text.parse().ok()).unwrap_or(RUNS);
    let others = peers::verify(runs);
    let notary = Notary::start();
    let mut rows = Vec::new();
    for tags in TAGS {
        let theirs = notary.costs(runs, tags);
        let (plain, tls) = (Ours::plain(tags), Ours::tls(tags));
        let mut row = |work: String, ours: Cost, peers: Vec<(&'static str, Cost)>| rows.push(Row { work, ours, peers });

        let mut warm = vec![("notary (TLS)", theirs.verify_warm)];
        warm.extend(others.iter().copied());
        row(format!("verify, warm, {tags} tags"), plain.verify_warm(runs), warm);
        let warm = vec![("notary (TLS)", theirs.verify_warm)];
        row(format!("verify, warm, {tags} tags, TLS"), tls.verify_warm(runs), warm);
        let cold = vec![("notary (TLS)", theirs.verify_cold)];
        row(format!("verify, cold, {tags} tags"), plain.verify_cold(runs), cold.clone());
        row(format!("verify, cold, {tags} tags, TLS"), tls.verify_cold(runs), cold);
        let sign = vec![("notary (TLS)", theirs.sign_one_more)];
        row(format!("sign one more, {tags} tags, plain keys"), plain.sign_unlocked(runs), sign.clone());
        row(format!("sign one more, {tags} tags, unlocking keys"), plain.sign_unlocking(runs), sign);
    }
    rows.push(Row { work: "--version".to_owned(), ours: ours::version(runs), peers: Vec::new() });
    println!("medians of {runs} whole processes; ratio = ours / peer, below 1 is faster");
    println!("{}", measure::table(&rows));
    println!("size of the program: {} bytes", ours::size());
}
