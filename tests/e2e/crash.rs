//! Publishers killed at every point: readers see the old state or the new one, and the next publisher goes on.

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::image::{Image, tag_digest};
use crate::machine::Machine;
use crate::process::wait_until;
use crate::proxy::{Moment, Proxy, Seen};
use crate::scene::REPOSITORY;
use crate::servers::Registry;
use crate::yard::{Dice, Yard, seed, soaking};

/// Holds a publisher at one request of its publish, until it was killed.
#[derive(Default)]
struct Trap {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Which request of the publisher, counted from the moment that the trap was set, and when.
    at: Option<(usize, Moment)>,
    passed: usize,
    sprung: bool,
    /// What requests were seen since then.
    seen: Vec<String>,
}

impl Trap {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the trap.
    fn set(&self, at: usize, moment: Moment) {
        *self.state() = State { at: Some((at, moment)), ..State::default() };
    }

    /// Lets everybody pass, and says whether somebody was caught and what was seen.
    fn open(&self) -> (bool, Vec<String>) {
        let mut state = self.state();
        state.at = None;
        self.changed.notify_all();
        (state.sprung, std::mem::take(&mut state.seen))
    }

    /// Counts a request, and holds it for as long as the trap stays set; it is not passed on then.
    fn meet(&self, moment: Moment, seen: &Seen) -> bool {
        let mut state = self.state();
        let Some((at, wanted)) = state.at else { return true };
        if moment == Moment::Before {
            state.passed += 1;
            state.seen.push(format!("{} {} ({} bytes)", seen.method, seen.path, seen.body));
        }
        if state.sprung || (state.passed >= at && moment == wanted) {
            state.sprung = true;
            self.changed.notify_all();
            drop(self.changed.wait_while(state, |state| state.at.is_some()).unwrap_or_else(PoisonError::into_inner));
            return false;
        }
        true
    }

    fn is_sprung(&self) -> bool {
        self.state().sprung
    }
}

/// A yard whose publishers go through a trap, and whose readers go round it.
fn trapped(seed: u64) -> (Yard, Arc<Trap>) {
    let trap = Arc::new(Trap::default());
    let meet = Arc::clone(&trap);
    let watch = move |moment, seen: &Seen| meet.meet(moment, seen);
    let yard = Yard::behind(Registry::open(), |registry| Proxy::watched(&registry.host(), seed, watch));
    (yard, trap)
}

fn start(machine: &Machine, arguments: [&str; 2]) -> Child {
    let mut command: Command = machine.boltseal(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("the program starts")
}

fn kill(child: &mut Child) -> bool {
    let ended = child.try_wait().expect("a child can be waited for").is_some();
    child.kill().expect("a child can be killed");
    child.wait().expect("a child can be waited for");
    !ended
}

/// Kills a publisher at a request, and says whether there was such a request, and what it had asked.
fn kill_at(yard: &Yard, trap: &Trap, machine: &Machine, tag: &str, at: usize, moment: Moment) -> (bool, Vec<String>) {
    trap.set(at, moment);
    let mut publisher = start(machine, ["sign", &yard.tag(tag)]);
    let caught = || trap.is_sprung();
    wait_until(Duration::from_secs(60), || {
        caught() || publisher.try_wait().expect("a child can be waited for").is_some()
    });
    kill(&mut publisher);
    trap.open()
}

/// Asserts that a tag is one of two images for a machine that knew it and for one that has seen nothing.
fn assert_either(yard: &Yard, readers: &[&Machine], tag: &str, texts: [&str; 2], story: &[String]) {
    for reader in readers {
        let said = reader.run(["verify", &yard.tag(tag)]);
        let right = texts.iter().any(|text| said.stdout().contains(&Image::with_text(text).digest()));
        assert!(said.code_is(&[0]) == 0 && right, "after {story:#?}: {said}");
    }
}

#[test]
fn a_publisher_killed_at_any_request_leaves_the_old_state_or_the_new_one() {
    let (yard, trap) = trapped(1);
    yard.push("kept", "kept");
    yard.owner.run(["sign", &yard.tag("kept")]).ok();
    yard.push("1.0", "image 0");
    yard.owner.run(["sign", &yard.tag("1.0")]).ok();
    let (warm, publisher, other) = (yard.reader(), yard.publisher(), yard.publisher());
    warm.run(["verify", &yard.tag("1.0")]).ok();
    let (mut round, mut points) = (0, 0);
    // Every point in a soak; else every second one before a request and every fourth one after its answer.
    for (moment, stride) in [(Moment::Before, 2), (Moment::After, 4)] {
        for at in (1..).step_by(if soaking() { 1 } else { stride }) {
            round += 1;
            let (before, after) = (format!("image {}", round - 1), format!("image {round}"));
            yard.push("1.0", &after);
            let (caught, story) = kill_at(&yard, &trap, &publisher, "1.0", at, moment);
            assert_either(&yard, &[&warm, &yard.reader()], "1.0", [&before, &after], &story);
            assert_either(&yard, &[&warm], "kept", ["kept", "kept"], &story);
            if !caught {
                println!("a publish makes {} requests", story.len());
                break;
            }
            points += 1;
            // The next one completes or discards what was begun: another machine, the same one, or an upkeep.
            let heir = if round % 2 == 0 { &other } else { &publisher };
            match round % 3 {
                0 => drop(heir.run(["refresh", &yard.name()]).ok()),
                _ => drop(heir.run(["sign", &yard.tag("kept")]).ok()),
            }
            assert_either(&yard, &[&warm, &yard.reader()], "1.0", [&before, &after], &story);
            publisher.run(["sign", &yard.tag("1.0")]).ok();
            assert_either(&yard, &[&warm, &yard.reader()], "1.0", [&after, &after], &story);
        }
    }
    println!("killed at {points} points of a publish");
    assert!(points > 12, "a publish has more points than {points}");
}

#[test]
fn publishers_killed_at_random_lose_nothing_that_was_acknowledged() {
    let seed = seed();
    let kills = if soaking() { 1000 } else { 25 };
    let mut dice = Dice::new(seed);
    // Requests that publishers make and readers do not.
    let steps = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&steps);
    let watch = move |moment, seen: &Seen| {
        let publishes = seen.method != "GET" || seen.path.contains("/tags/list");
        counted.fetch_add(usize::from(publishes && moment == Moment::Before), Ordering::SeqCst);
        true
    };
    let yard = Yard::behind(Registry::open(), |registry| Proxy::watched(&registry.host(), seed, watch));
    let machines: Vec<_> = (0..3).map(|_| yard.publisher()).collect();
    let tags: Vec<_> = (0..6).map(|number| format!("t{number}")).collect();
    for tag in &tags {
        yard.push(tag, &format!("{tag} 0"));
        yard.owner.run(["sign", &yard.tag(tag)]).ok();
    }
    // What readers may see under each tag: the last acknowledged image, or one of those begun since.
    let allowed: Vec<Mutex<Vec<String>>> =
        tags.iter().map(|tag| Mutex::new(vec![Image::with_text(&format!("{tag} 0")).digest()])).collect();
    let polling = AtomicBool::new(true);
    let polls = AtomicUsize::new(0);
    let (mut killed, mut acknowledged) = (0, 0);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let reader = yard.reader();
            let mut dice = Dice::new(seed + 1);
            while polling.load(Ordering::SeqCst) {
                let at = dice.below(tags.len());
                let possible = allowed[at].lock().unwrap_or_else(PoisonError::into_inner);
                let said = reader.run(["verify", &yard.tag(&tags[at])]).ok();
                assert!(possible.iter().any(|digest| said.stdout().contains(digest)), "{possible:?}: {said}");
                drop(possible);
                polls.fetch_add(1, Ordering::SeqCst);
            }
        });
        for round in 1..=kills {
            let at = dice.below(tags.len());
            let (tag, machine) = (&tags[at], &machines[dice.below(machines.len())]);
            let image = yard.push(tag, &format!("{tag} {round}"));
            allowed[at].lock().unwrap_or_else(PoisonError::into_inner).push(image.digest());
            let until = steps.load(Ordering::SeqCst) + dice.below(26);
            let mut publisher = start(machine, ["sign", &yard.tag(tag)]);
            wait_until(Duration::from_secs(60), || {
                steps.load(Ordering::SeqCst) > until || publisher.try_wait().is_ok_and(|status| status.is_some())
            });
            std::thread::sleep(Duration::from_millis(dice.below(12) as u64));
            killed += usize::from(kill(&mut publisher));
            if dice.below(4) == 0 {
                machines[dice.below(machines.len())].run(["sign", &yard.tag(tag)]).ok();
                *allowed[at].lock().unwrap_or_else(PoisonError::into_inner) = vec![image.digest()];
                acknowledged += 1;
            }
        }
        polling.store(false, Ordering::SeqCst);
    });
    println!("seed {seed}: {killed} of {kills} publishers killed, {acknowledged} acknowledged, {polls:?} reads");
    machines[0].run(["refresh", &yard.name()]).ok();
    for machine in machines.iter().chain([&yard.reader()]) {
        for (tag, allowed) in tags.iter().zip(&allowed) {
            let said = machine.run(["verify", &yard.tag(tag)]).ok();
            let allowed = allowed.lock().unwrap_or_else(PoisonError::into_inner);
            assert!(allowed.iter().any(|digest| said.stdout().contains(digest)), "{tag}: {said}");
        }
    }
    assert!(yard.registry.tags(REPOSITORY).contains(&"trust.tuf".to_owned()));
}

/// Holds the next PUT of a head, and passes it on when it is told to.
#[derive(Default)]
struct Gate {
    state: Mutex<Held>,
    changed: Condvar,
}

#[derive(Default, PartialEq, Eq, Clone, Copy)]
enum Held {
    #[default]
    Open,
    Waiting,
    Holding,
}

impl Gate {
    fn state(&self) -> MutexGuard<'_, Held> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn meet(&self, moment: Moment, seen: &Seen) {
        let head = seen.method == "PUT" && seen.path.ends_with("/manifests/trust.tuf");
        let mut state = self.state();
        if head && moment == Moment::Before && *state == Held::Waiting {
            *state = Held::Holding;
            drop(self.changed.wait_while(state, |state| *state != Held::Open).unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Lets a publisher come as far as its PUT of the head, which is held, and kills it there.
    fn strand(&self, machine: &Machine, arguments: [&str; 2]) {
        *self.state() = Held::Waiting;
        let mut publisher = start(machine, arguments);
        assert!(wait_until(Duration::from_secs(60), || *self.state() == Held::Holding), "no head was put");
        assert!(kill(&mut publisher));
    }

    /// Passes on what is held, and waits until it has taken effect.
    fn release(&self, yard: &Yard) {
        let before = tag_digest(&yard.registry, REPOSITORY, "trust.tuf");
        *self.state() = Held::Open;
        self.changed.notify_all();
        let landed = || tag_digest(&yard.registry, REPOSITORY, "trust.tuf") != before;
        assert!(wait_until(Duration::from_secs(60), landed), "the late head did not arrive");
    }
}

fn gated() -> (Yard, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    let meet = Arc::clone(&gate);
    let watch = move |moment, seen: &Seen| {
        meet.meet(moment, seen);
        true
    };
    (Yard::behind(Registry::open(), |registry| Proxy::watched(&registry.host(), 1, watch)), gate)
}

#[test]
fn what_a_dead_publisher_s_late_head_overwrote_is_brought_back_by_the_next_publisher_who_knew_it() {
    let (yard, gate) = gated();
    for tag in ["a", "b", "c", "d"] {
        yard.push(tag, tag);
    }
    yard.owner.run(["sign", &yard.tag("d")]).ok();
    let (dead, heir, reader) = (yard.publisher(), yard.publisher(), yard.reader());
    gate.strand(&dead, ["sign", &yard.tag("a")]);
    yard.owner.run(["sign", &yard.tag("b")]).ok();
    heir.run(["sign", &yard.tag("c")]).ok();
    heir.run(["revoke", &yard.tag("d")]).ok();
    reader.run(["verify", &yard.tag("b"), &yard.tag("c")]).ok();
    gate.release(&yard);
    // The late head is lower: who knew more notices. Who knew nothing sees the state that it is.
    reader.run(["verify", &yard.tag("b")]).code(14);
    yard.reader().run(["verify", &yard.tag("b")]).code(11);

    heir.run(["refresh", &yard.name()]).ok();
    for reader in [&reader, &yard.reader()] {
        for tag in ["a", "b", "c"] {
            let said = reader.run(["verify", &yard.tag(tag)]).ok();
            said.stdout_has(&Image::with_text(tag).digest());
        }
        reader.run(["verify", &yard.tag("d")]).code(11);
    }
}

#[test]
fn a_late_head_under_a_former_root_is_replaced_by_who_knows_the_present_one() {
    for role in ["targets", "timestamp", "snapshot", "root"] {
        let (yard, gate) = gated();
        yard.push("a", "a");
        yard.push("b", "b");
        let (dead, reader) = (yard.publisher(), yard.reader());
        gate.strand(&dead, ["sign", &yard.tag("a")]);
        yard.owner.run(["key", "rotate", &yard.name(), role]).ok();
        yard.owner.run(["sign", &yard.tag("b")]).ok();
        reader.run(["verify", &yard.tag("b")]).ok();
        gate.release(&yard);
        let refused = reader.run(["verify", &yard.tag("b")]);
        refused.code_is(&[12, 14]);
        yard.owner.run(["refresh", &yard.name()]).ok();
        reader.run(["verify", &yard.tag("b")]).ok();
        yard.reader().run(["verify", &yard.tag("b")]).ok();
    }
}

#[test]
fn a_head_that_was_merely_put_back_is_refused_by_publishers_too() {
    let (yard, _) = gated();
    yard.push("a", "a");
    yard.push("b", "b");
    yard.owner.run(["sign", &yard.tag("a")]).ok();
    let accept = [("Accept", "application/vnd.oci.image.manifest.v1+json")];
    let path = format!("/v2/{REPOSITORY}/manifests/trust.tuf");
    let before = yard.registry.request("GET", &path, &accept, b"").body;
    yard.owner.run(["sign", &yard.tag("b")]).ok();
    crate::image::put_manifest(&yard.registry, REPOSITORY, "trust.tuf", accept[0].1, &before);
    for arguments in [["sign", &yard.tag("a")], ["refresh", &yard.name()], ["revoke", &yard.tag("a")]] {
        yard.owner.run(arguments).code(14);
    }
}
