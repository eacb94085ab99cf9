//! `--listen`: whether all is well (`/healthz`), and numbers for Prometheus (`/metrics`). Nothing can be changed here.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use serde_json::json;
use tokio::net::TcpListener;

use crate::clock::{Clock, SystemClock};
use crate::image::ImageName;
use crate::ops::watch::state::{Seen, State};

/// What `/metrics` is.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `PORT`, on the loopback address, or `ADDRESS:PORT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenArg(pub SocketAddr);

impl FromStr for ListenArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(port) = text.strip_prefix(':').unwrap_or(text).parse() {
            return Ok(Self(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)));
        }
        text.parse().map(Self).map_err(|_| "expected PORT, or ADDRESS:PORT with an IP address".to_owned())
    }
}

/// Answers until the future is dropped.
pub(super) async fn serve(listener: TcpListener, state: Arc<State>) -> std::io::Result<()> {
    let (health, metrics) = (Arc::clone(&state), state);
    let router = Router::new()
        .route("/healthz", get(async move || healthz(&health)))
        .route("/metrics", get(async move || numbers(&metrics)));
    axum::serve(listener, router).await
}

fn healthz(state: &State) -> Response {
    let reasons = state.reasons(SystemClock.now());
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({"healthy": reasons.is_empty(), "reasons": reasons, "warnings": state.warnings()});
    (status, [(header::CONTENT_TYPE, "application/json")], format!("{body}\n")).into_response()
}

fn numbers(state: &State) -> Response {
    match exposition(&state.all()) {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The numbers in the text form of `OpenMetrics`, which Prometheus reads.
fn exposition(all: &BTreeMap<ImageName, Seen>) -> Result<String, std::fmt::Error> {
    let expiry = Family::<Vec<(&str, String)>, Gauge>::default();
    let success = Family::<Vec<(&str, String)>, Gauge>::default();
    let (refreshes, failures, signed) = (
        Family::<Vec<(&str, String)>, Counter>::default(),
        Family::<Vec<(&str, String)>, Counter>::default(),
        Family::<Vec<(&str, String)>, Counter>::default(),
    );
    for (name, seen) in all {
        let of = |label: Option<String>| {
            let role = label.map(|role| ("role", role));
            std::iter::once(("collection", name.to_string())).chain(role).collect::<Vec<_>>()
        };
        for (role, at) in &seen.expiries {
            expiry.get_or_create(&of(Some(role.to_string()))).set(at.as_second());
        }
        if let Some(at) = seen.last_success {
            success.get_or_create(&of(None)).set(at.as_second());
        }
        refreshes.get_or_create(&of(None)).inc_by(seen.successes);
        failures.get_or_create(&of(None)).inc_by(seen.failures);
        for (role, times) in &seen.signed {
            signed.get_or_create(&of(Some(role.to_string()))).inc_by(*times);
        }
    }
    let build = Family::<Vec<(&str, String)>, Gauge>::default();
    build.get_or_create(&vec![("version", env!("CARGO_PKG_VERSION").to_owned())]).set(1);

    let mut registry = Registry::with_prefix("boltseal");
    registry.register("expiry_timestamp_seconds", "When a role of a collection expires", expiry);
    registry.register("last_success_timestamp_seconds", "When a collection was last refreshed", success);
    registry.register("refreshes", "Refreshes that went well", refreshes);
    registry.register("failures", "Refreshes that failed", failures);
    registry.register("signed", "How often a role was signed again", signed);
    registry.register("build_info", "The version of this program", build);
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_on_loopback() {
        let listen = |text: &str| text.parse::<ListenArg>().map(|ListenArg(address)| address.to_string());
        assert_eq!(listen("9464").as_deref(), Ok("127.0.0.1:9464"));
        assert_eq!(listen(":9464").as_deref(), Ok("127.0.0.1:9464"));
        assert_eq!(listen("0.0.0.0:9464").as_deref(), Ok("0.0.0.0:9464"));
        assert_eq!(listen("[::1]:9464").as_deref(), Ok("[::1]:9464"));
        for wrong in ["", "localhost:9464", "127.0.0.1", "70000", "1:2:3"] {
            assert!(listen(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_are_given_for_each_collection_and_role() {
        let at = |second| jiff::Timestamp::from_second(second).unwrap();
        let seen = Seen {
            expiries: [(crate::trust::RoleKind::Timestamp, at(500))].into(),
            last_success: Some(at(7)),
            successes: 3,
            failures: 2,
            ..Seen::default()
        };
        let text = exposition(&BTreeMap::from([("h.x/app".parse().unwrap(), seen)])).unwrap();
        for line in [
            r#"boltseal_expiry_timestamp_seconds{collection="h.x/app",role="timestamp"} 500"#,
            r#"boltseal_last_success_timestamp_seconds{collection="h.x/app"} 7"#,
            r#"boltseal_refreshes_total{collection="h.x/app"} 3"#,
            r#"boltseal_failures_total{collection="h.x/app"} 2"#,
            "# EOF",
        ] {
            assert!(text.lines().any(|have| have == line), "{line} in {text}");
        }
    }
}
