//! `inspect --history`: how a collection came to be what it is.

use serde_json::{Value, json};

use crate::cli::console::Console;
use crate::cli::report::{Exit, Failure, Outcome};
use crate::image::Digest;
use crate::ops::history::{History, State, TagChange};
use crate::trust::{KeyId, RoleKind};

/// Shows a history; a registry that serves less than this machine has seen is a failure all the same.
pub(super) fn show(history: &History, console: &Console) -> Outcome {
    if console.output.is_json() {
        console.output.document("history", &document(history));
    } else {
        text(history, console);
    }
    history.notices.iter().for_each(|notice| console.talk.warn(notice));
    for fork in &history.forks {
        let states: Vec<_> = fork.iter().map(short).collect();
        console.talk.warn(format_args!("a fork: {} follow the same state", states.join(" and ")));
    }
    let Some((seen, served)) = history.rolled_back else { return Outcome::Done };
    console.talk.failure(
        &Failure::new(
            Exit::RolledBack,
            format!("{} serves timestamp version {served}, and this machine has seen {seen}", history.location),
        )
        .hint("the registry serves older trust data than this machine has seen: ask who runs it"),
    );
    Outcome::Reported(Exit::RolledBack)
}

fn text(history: &History, console: &Console) {
    let out = &console.output;
    out.line(format_args!("{}  at {}", history.name, history.location));
    let rows = history.states.iter().map(|state| {
        let held: Vec<_> = state.held.iter().map(|held| held.as_str()).collect();
        [
            state.time.clone().unwrap_or_else(|| "?".to_owned()),
            short(&state.digest),
            state.versions[&RoleKind::Timestamp].to_string(),
            signers(state, RoleKind::Timestamp),
            state.versions.get(&RoleKind::Targets).map_or_else(|| "?".to_owned(), ToString::to_string),
            signers(state, RoleKind::Targets),
            held.join(", "),
        ]
    });
    out.table(&["SIGNED", "STATE", "TIMESTAMP", "BY", "TARGETS", "BY", "HELD AS"], rows);
    for state in &history.states {
        for change in state.changes.iter().flatten() {
            out.line(format_args!("{}: {}", short(&state.digest), said(change)));
        }
        if state.more > 0 {
            out.line(format_args!("{}: {} tags more", short(&state.digest), state.more));
        }
        if !state.roles.is_empty() {
            out.line(format_args!("{}: signed anew by {}", short(&state.digest), state.roles.join(", ")));
        }
    }
    let rows = history.roots.iter().map(|root| {
        let changed: Vec<_> = root.changed.iter().map(ToString::to_string).collect();
        let keys: Vec<_> = root.signed_by.iter().map(KeyId::short).collect();
        [root.version.to_string(), root.expires.to_string(), keys.join(", "), changed.join(", ")]
    });
    out.table(&["ROOT", "EXPIRES", "SIGNED BY", "CHANGED KEYS OF"], rows);
}

fn signers(state: &State, kind: RoleKind) -> String {
    let keys = state.signed_by.get(&kind).into_iter().flatten().map(KeyId::short);
    keys.collect::<Vec<_>>().join(", ")
}

fn said(change: &TagChange) -> String {
    match (change.before, change.after) {
        (None, Some(after)) => format!("{} is {after}", change.tag),
        (Some(before), Some(after)) => format!("{} moved from {before} to {after}", change.tag),
        (Some(before), None) => format!("{} was revoked, it was {before}", change.tag),
        (None, None) => change.tag.clone(),
    }
}

/// Enough of a digest to tell states apart.
fn short(digest: &Digest) -> String {
    digest.hex()[..12].to_owned()
}

fn document(history: &History) -> Value {
    let change = |change: &TagChange| json!({"tag": change.tag, "before": change.before, "after": change.after});
    let state = |state: &State| {
        let roles = state.versions.iter().map(|(kind, version)| {
            let keys = state.signed_by.get(kind).into_iter().flatten().map(KeyId::as_str);
            let role = json!({"version": version.get(), "signed_by": keys.collect::<Vec<_>>()});
            (kind.to_string(), role)
        });
        json!({
            "state": state.digest, "prev": state.prev.as_ref().map(|hex| format!("sha256:{hex}")),
            "signed_at": state.time, "roles": roles.collect::<serde_json::Map<_, _>>(),
            "held": state.held.iter().map(|held| held.as_str()).collect::<Vec<_>>(),
            "changes": state.changes.as_ref().map(|changes| changes.iter().map(change).collect::<Vec<_>>()),
            "more": state.more, "delegated": state.roles,
        })
    };
    let roots = history.roots.iter().map(|root| {
        json!({
            "version": root.version.get(), "expires": root.expires,
            "signed_by": root.signed_by.iter().map(KeyId::as_str).collect::<Vec<_>>(),
            "changed": root.changed.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    });
    json!({
        "name": history.name.to_string(), "location": history.location,
        "states": history.states.iter().map(state).collect::<Vec<_>>(), "forks": history.forks,
        "roots": roots.collect::<Vec<_>>(),
        "rolled_back": history.rolled_back.map(|(seen, served)| json!({"seen": seen.get(), "served": served.get()})),
        "notices": history.notices,
    })
}
