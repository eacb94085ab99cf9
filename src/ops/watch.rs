//! `refresh --watch`: keeps many collections fresh as long as the process runs.
//!
//! - Every collection has a loop of its own: neither the failure nor the slowness of one holds up another. At most
//!   `AT_ONCE` are refreshed at the same moment, so that a thousand of them do not open a thousand connections.
//! - Pauses vary by chance, so that many watchers, and many collections of one, do not ask at the same moment.
//! - Told to stop, it ends at once where it waits, and lets a refresh that has begun come to its end for a bounded
//!   time. A publish that is cut off there loses nothing: the next refresh finishes it.

pub mod pace;
pub mod state;

use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use tokio::sync::{Semaphore, watch};

use super::publish::random;
use super::refresh::Refreshed;
use crate::clock::Clock;
use crate::image::ImageName;
use pace::Pace;
use state::State;

/// Collections that are refreshed at the same moment.
const AT_ONCE: usize = 16;
/// Longest refresh. Stops a registry that answers without end from holding a collection for ever.
const ROUND_LIMIT: Duration = Duration::from_secs(600);
/// How long a refresh that has begun may go on once the watch is told to stop.
const GRACE: Duration = Duration::from_secs(30);

/// Does the refreshing.
pub trait Rounds: Sync {
    /// Refreshes a collection once, at the instant of the call. The error is a sentence.
    fn refresh<'a>(&'a self, name: &'a ImageName) -> BoxFuture<'a, Result<Refreshed, String>>;

    /// Is told how long the collection is left alone now.
    fn rests(&self, name: &ImageName, pause: Duration);
}

/// Refreshes collections until `stop` says true, or its sender is gone.
pub async fn watch(
    names: &[ImageName],
    rounds: &dyn Rounds,
    pace: Pace,
    clock: &dyn Clock,
    state: &State,
    stop: &watch::Receiver<bool>,
) {
    let turns = Semaphore::new(AT_ONCE);
    let keep = |name| keep_fresh(name, rounds, pace, clock, state, &turns, stop.clone());
    join_all(names.iter().map(keep)).await;
}

async fn keep_fresh(
    name: &ImageName,
    rounds: &dyn Rounds,
    pace: Pace,
    clock: &dyn Clock,
    state: &State,
    turns: &Semaphore,
    mut stop: watch::Receiver<bool>,
) {
    let mut failures = 0_u32;
    loop {
        let turn = tokio::select! {
            turn = turns.acquire() => turn,
            () = told(&mut stop) => return,
        };
        let outcome = tokio::select! {
            outcome = tokio::time::timeout(ROUND_LIMIT, rounds.refresh(name)) => outcome
                .unwrap_or_else(|_| Err(format!("gave up after {} seconds", ROUND_LIMIT.as_secs()))),
            () = async { told(&mut stop).await; tokio::time::sleep(GRACE).await } => return,
        };
        drop(turn);
        let now = clock.now();
        state.note(name, now, &outcome);
        // Without randomness the pause is the plain one: all that is lost is that it varies.
        let chance = random().map_or(u32::MAX / 2, u32::from_le_bytes);
        let pause = if let Ok(refreshed) = &outcome {
            failures = 0;
            pace.after_success(refreshed.expires.duration_since(now), chance)
        } else {
            failures = failures.saturating_add(1);
            pace.after_failure(failures, chance)
        };
        rounds.rests(name, pause);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = told(&mut stop) => return,
        }
    }
}

/// Comes back when the watch is to end.
async fn told(stop: &mut watch::Receiver<bool>) {
    // An error means that nobody is left who could say so.
    let _ = stop.wait_for(|stop| *stop).await;
}
