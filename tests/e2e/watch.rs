//! The long-running refresh as a process: what it answers, what it logs, and how it ends.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::http::Peer;
use crate::process::{free_port, wait_until};
use crate::scene::Scene;

const SOON: Duration = Duration::from_secs(60);

#[test]
fn a_watch_tells_that_all_is_well_then_what_is_not_and_ends_when_told() {
    let mut scene = Scene::signed();
    let host = format!("127.0.0.1:{}", free_port());
    let port = host.rsplit(':').next().expect("there is a port").to_owned();
    let mut command = scene.owner.boltseal([
        "refresh",
        "--watch",
        "--every",
        "1m",
        "--listen",
        &port,
        "--output",
        "json",
        &scene.name(),
    ]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.expect("the program under test starts");
    let ask = |path: &str| Peer::plain(&host).try_request("GET", path, &[], b"");
    let well = |status: u16| wait_until(SOON, || ask("/healthz").is_some_and(|answer| answer.status == status));
    assert!(well(200), "it never said that all is well");
    let metrics = ask("/metrics").expect("it answers").text();
    let expiry = format!("boltseal_expiry_timestamp_seconds{{collection=\"{}\",role=\"timestamp\"}}", scene.name());
    assert!(metrics.contains(&expiry) && metrics.ends_with("# EOF\n"), "{metrics}");
    scene.registry.stop();
    assert!(
        wait_until(2 * SOON, || ask("/healthz").is_some_and(|answer| answer.status == 503)),
        "the registry is gone"
    );
    let health = ask("/healthz").expect("it answers").text();
    assert!(health.contains("the last refresh failed"), "{health}");

    let told = Command::new("sh").args(["-c", "kill -s TERM \"$0\""]).arg(child.id().to_string()).status();
    assert!(told.expect("a shell runs").success());
    let output = child.wait_with_output().expect("a child can be waited for");
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout.is_empty());
    let events: Vec<Value> = String::from_utf8_lossy(&output.stderr)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect();
    let names: Vec<&str> = events.iter().filter_map(|event| event["event"].as_str()).collect();
    assert_eq!((names.first(), names.last()), (Some(&"watching"), Some(&"stopping")), "{names:?}");
    assert!(names.contains(&"refreshed") && names.contains(&"failed"), "{names:?}");
}
