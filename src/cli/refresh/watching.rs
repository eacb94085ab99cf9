//! `refresh --watch`: a process that keeps collections fresh, and says what it does.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::listen::{self, ListenArg};
use crate::cli::ports::Ports;
use crate::cli::report::{Failure, Outcome};
use crate::cli::session::Session;
use crate::image::ImageName;
use crate::ops::refresh::{self as ops, Refreshed};
use crate::ops::ring::Ring;
use crate::ops::watch::pace::Pace;
use crate::ops::watch::state::State;
use crate::ops::watch::{Rounds, watch};
use crate::ops::world::unlock_role_keys;
use crate::trust::RoleKind;

/// What to watch: names, with the layouts of those that lie in one.
pub(super) struct Watch {
    pub(super) collections: BTreeMap<ImageName, Option<PathBuf>>,
    pub(super) every: Duration,
    pub(super) listen: Option<ListenArg>,
}

/// Watches until a signal says that it is enough.
pub(super) async fn run(watched: Watch, session: &Session) -> Result<Outcome, Failure> {
    let ended = |e| Failure::failed(format!("cannot wait for signals: {e}"));
    let (mut term, mut int) =
        (signal(SignalKind::terminate()).map_err(ended)?, signal(SignalKind::interrupt()).map_err(ended)?);
    let keys = session.signing_keys()?;
    let ring = Ring::new(&*keys, &session.passphrases);
    let names: Vec<ImageName> = watched.collections.keys().cloned().collect();
    unlock(&ring, &names, session)?;
    let state = Arc::new(State::new(&names));
    let listener = match watched.listen {
        Some(ListenArg(address)) => Some(bind(address, session).await?),
        None => None,
    };
    let talk = Speech { session };
    talk.say("watching", None, json!({"collections": names.len(), "every_seconds": watched.every.as_secs()}), || {
        format!("keeping {} collections fresh, looking every {} s", names.len(), watched.every.as_secs())
    });
    let rounds = Refreshing { session, ring: &ring, collections: &watched.collections, talk: &talk };
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let pace = Pace { every: watched.every };
    let served = async {
        match listener {
            Some(listener) => listen::serve(listener, Arc::clone(&state)).await,
            None => std::future::pending().await,
        }
    };
    let told = async {
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        talk.say("stopping", None, json!({}), || "told to stop: what has begun comes to its end".to_owned());
        // The receivers live as long as the watch below.
        let _ = stop.send(true);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = watch(&names, &rounds, pace, &*session.clock, &state, &stopped) => {}
        end = served => return Err(Failure::failed(format!("the listener ended: {end:?}"))),
        () = told => {}
    }
    Ok(Outcome::Done)
}

async fn bind(address: std::net::SocketAddr, session: &Session) -> Result<TcpListener, Failure> {
    if !address.ip().is_loopback() {
        session.console.talk.warn(format_args!("`--listen {address}`: who reaches it can read the collections' names"));
    }
    TcpListener::bind(address).await.map_err(|e| Failure::failed(format!("cannot listen on {address}: {e}")))
}

/// Unlocks what the collections are refreshed with, root keys excepted, while somebody may still be asked.
fn unlock(ring: &Ring<'_>, names: &[ImageName], session: &Session) -> Result<(), Failure> {
    let ports = Ports::new(session);
    let world = ports.world()?;
    for name in names {
        unlock_role_keys(&world, ring, name, &[RoleKind::Targets, RoleKind::Snapshot, RoleKind::Timestamp])?;
    }
    ring.close();
    Ok(())
}

/// One refresh after the other, each in a world of its own: policy and settings count as they are then.
struct Refreshing<'a> {
    session: &'a Session,
    ring: &'a Ring<'a>,
    collections: &'a BTreeMap<ImageName, Option<PathBuf>>,
    talk: &'a Speech<'a>,
}

impl Refreshing<'_> {
    async fn once(&self, name: &ImageName) -> Result<Refreshed, Failure> {
        let ports = Ports::new(self.session);
        let world = ports.world()?;
        let layout = self.collections.get(name).and_then(Option::as_deref);
        ops::refresh(&world, self.ring, name, layout, None)
            .await
            .map_err(|error| super::expired_head(&error, Failure::from(&error)))
    }
}

impl Rounds for Refreshing<'_> {
    fn refresh<'a>(&'a self, name: &'a ImageName) -> BoxFuture<'a, Result<Refreshed, String>> {
        async move {
            match self.once(name).await {
                Ok(refreshed) => {
                    self.talk.refreshed(name, &refreshed);
                    Ok(refreshed)
                }
                Err(mut failure) => {
                    // Every line names the collection already.
                    if let Some(rest) = failure.message.strip_prefix(&format!("{name}: ")) {
                        failure.message = rest.to_owned();
                    }
                    self.talk.failed(name, &failure);
                    Err(failure.message)
                }
            }
        }
        .boxed()
    }

    fn rests(&self, name: &ImageName, pause: Duration) {
        tracing::debug!(%name, seconds = pause.as_secs(), "rests");
    }
}

/// The log on standard error: lines for people, or a JSON object each.
struct Speech<'a> {
    session: &'a Session,
}

impl Speech<'_> {
    fn say(&self, event: &str, name: Option<&ImageName>, more: serde_json::Value, text: impl FnOnce() -> String) {
        let now = self.session.clock.now();
        if self.session.console.output.is_json() {
            self.object("info", now, event, name, more);
        } else {
            let name = name.map_or_else(String::new, |name| format!("{name}: "));
            self.session.console.talk.info(format_args!("{} {name}{}", second(now), text()));
        }
    }

    fn object(&self, level: &str, now: Timestamp, event: &str, name: Option<&ImageName>, more: serde_json::Value) {
        let mut line = json!({"time": second(now), "level": level, "event": event});
        if let Some(name) = name {
            line["name"] = json!(name.to_string());
        }
        if let (Some(line), serde_json::Value::Object(more)) = (line.as_object_mut(), more) {
            line.extend(more);
        }
        // JSON escapes what could steer a terminal.
        self.session.console.talk.styled(&format!("{line}\n"));
    }

    fn refreshed(&self, name: &ImageName, refreshed: &Refreshed) {
        let signed: Vec<String> = refreshed.signed.iter().map(ToString::to_string).collect();
        let pressing: Vec<String> = refreshed.pressing.iter().map(|(role, _)| role.to_string()).collect();
        let more = json!({
            "signed": signed, "expires": refreshed.expires, "pressing": pressing, "ignored": refreshed.ignored,
        });
        self.say("refreshed", Some(name), more, || {
            let done = if signed.is_empty() {
                "nothing was due".to_owned()
            } else {
                format!("signed {} again", signed.join(", "))
            };
            format!("{done}, current until {}", refreshed.expires)
        });
        if !self.session.console.output.is_json() {
            for (role, at) in &refreshed.pressing {
                self.warn(&format!("{name}: {role} expires at {at}, and its key is not at hand"));
            }
            refreshed.ignored.iter().for_each(|notice| self.warn(&format!("{name}: {notice}")));
        }
    }

    fn failed(&self, name: &ImageName, failure: &Failure) {
        if self.session.console.output.is_json() {
            self.object("error", self.session.clock.now(), "failed", Some(name), json!({"reason": failure}));
        } else {
            self.warn(&format!("{name}: {}", failure.message));
            failure.hints.iter().for_each(|hint| self.session.console.talk.info(format_args!("hint: {hint}")));
        }
    }

    fn warn(&self, text: &str) {
        self.session.console.talk.warn(format_args!("{} {text}", second(self.session.clock.now())));
    }
}

/// To the second: more is noise in a log.
fn second(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
