//! The watch that keeps collections fresh, in a time that passes at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use boltseal::clock::FixedClock;
use boltseal::image::ImageName;
use boltseal::ops::refresh::Refreshed;
use boltseal::ops::watch::pace::Pace;
use boltseal::ops::watch::state::State;
use boltseal::ops::watch::{Rounds, watch};
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::time::Instant;

const EVERY: Duration = Duration::from_secs(3600);

/// What a collection does when it is refreshed.
#[derive(Clone, Copy)]
enum Manner {
    Good,
    Broken,
    Hanging,
}

struct Fake {
    begun: Instant,
    manners: BTreeMap<ImageName, Manner>,
    /// When each collection was refreshed, in seconds since the beginning.
    asked: Mutex<BTreeMap<ImageName, Vec<u64>>>,
}

impl Fake {
    fn new<const N: usize>(manners: [(&str, Manner); N]) -> Self {
        let manners = manners.into_iter().map(|(text, manner)| (name(text), manner)).collect();
        Self { begun: Instant::now(), manners, asked: Mutex::default() }
    }

    fn names(&self) -> Vec<ImageName> {
        self.manners.keys().cloned().collect()
    }

    fn asked(&self, text: &str) -> Vec<u64> {
        self.asked.lock().unwrap().get(&name(text)).cloned().unwrap_or_default()
    }
}

impl Rounds for Fake {
    fn refresh<'a>(&'a self, name: &'a ImageName) -> BoxFuture<'a, Result<Refreshed, String>> {
        self.asked.lock().unwrap().entry(name.clone()).or_default().push(self.begun.elapsed().as_secs());
        let manner = self.manners[name];
        Box::pin(async move {
            match manner {
                Manner::Good => Ok(refreshed()),
                Manner::Broken => Err("no route".to_owned()),
                Manner::Hanging => std::future::pending().await,
            }
        })
    }

    fn rests(&self, _name: &ImageName, _pause: Duration) {}
}

fn name(text: &str) -> ImageName {
    text.parse().unwrap()
}

fn now() -> Timestamp {
    "2026-11-21T00:00:00Z".parse().unwrap()
}

fn refreshed() -> Refreshed {
    let expires = "2026-12-05T00:00:00Z".parse().unwrap();
    Refreshed { signed: BTreeSet::new(), expires, expiries: BTreeMap::new(), pressing: Vec::new(), ignored: Vec::new() }
}

/// Watches for a span of time, then tells it to stop; returns how long it took to end.
async fn watched(fake: &Fake, state: &State, span: Duration) -> Duration {
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let names = fake.names();
    let clock = FixedClock(now());
    let ending = async {
        tokio::time::sleep(span).await;
        stop.send(true).unwrap();
        Instant::now()
    };
    let (told, ()) = tokio::join!(ending, watch(&names, fake, Pace { every: EVERY }, &clock, state, &stopped));
    told.elapsed()
}

#[tokio::test(start_paused = true)]
async fn each_collection_is_refreshed_at_once_and_then_about_every_hour() {
    let fake = Fake::new([("h.x/one", Manner::Good), ("h.x/two", Manner::Good)]);
    let state = State::new(&fake.names());
    watched(&fake, &state, 24 * EVERY).await;
    for one in ["h.x/one", "h.x/two"] {
        let asked = fake.asked(one);
        assert_eq!(asked[0], 0);
        assert!((22..=27).contains(&asked.len()), "{asked:?}");
        assert!(asked.windows(2).all(|pair| (3239..=3961).contains(&(pair[1] - pair[0]))), "{asked:?}");
    }
    assert_ne!(fake.asked("h.x/one"), fake.asked("h.x/two"), "they part by chance");
}

#[tokio::test(start_paused = true)]
async fn a_collection_that_fails_or_hangs_holds_up_no_other_and_is_tried_again() {
    let fake = Fake::new([
        ("h.x/bad", Manner::Broken),
        ("h.x/good", Manner::Good),
        ("h.x/hangs1", Manner::Hanging),
        ("h.x/hangs2", Manner::Hanging),
    ]);
    let state = State::new(&fake.names());
    watched(&fake, &state, 6 * EVERY).await;
    assert!(fake.asked("h.x/good").len() >= 5);
    let bad = fake.asked("h.x/bad");
    assert!((27..=33).contains(&bad[1]) && bad.len() > 9, "soon at first, then ever more rarely: {bad:?}");
    assert!(fake.asked("h.x/hangs1").len() > 5, "given up after ten minutes");
    let reasons = state.reasons(now());
    assert_eq!(reasons.len(), 3, "{reasons:?}");
    assert!(reasons[0].contains("no route") && reasons[1].contains("600 seconds"), "{reasons:?}");
}

#[tokio::test(start_paused = true)]
async fn told_to_stop_it_ends_at_once_where_it_waits_and_soon_where_it_works() {
    for (manner, most) in [(Manner::Good, 0), (Manner::Hanging, 30)] {
        let fake = Fake::new([("h.x/app", manner)]);
        let took = watched(&fake, &State::new(&fake.names()), Duration::from_secs(100)).await;
        assert_eq!(took.as_secs(), most);
    }
}

#[tokio::test(start_paused = true)]
async fn only_a_few_of_many_collections_are_refreshed_at_the_same_moment() {
    let names: Vec<String> = (0..20).map(|number| format!("h.x/app{number}")).collect();
    let manners = names.iter().map(|text| (name(text), Manner::Hanging)).collect();
    let fake = Fake { begun: Instant::now(), manners, asked: Mutex::default() };
    let state = State::new(&fake.names());
    watched(&fake, &state, Duration::from_secs(599)).await;
    assert_eq!(fake.asked.lock().unwrap().len(), 16);
}
