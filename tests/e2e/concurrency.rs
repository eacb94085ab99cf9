//! Publishers side by side on a registry without compare-and-swap, over a way that stalls, reorders and breaks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::machine::Machine;
use crate::proxy::Weather;
use crate::yard::{Dice, Yard, seed, soaking, storm};

/// What may become of a publish in bad weather: it is done, or it says so: a rival's older head in the way (14), the
/// registry's failure (20), contended (31).
const HONEST: [i32; 4] = [0, 14, 20, 31];

/// How many publishers, how many tags for each, and the longest stall.
fn size() -> (usize, usize, Duration) {
    let number =
        |name: &str, default: usize| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (processes, tags, stall) = if soaking() { (8, 25, 2000) } else { (4, 6, 150) };
    let stall = number("BOLTSEAL_STALL", stall);
    let stall = Duration::from_millis(u64::try_from(stall).expect("a small number"));
    (number("BOLTSEAL_PROCESSES", processes), number("BOLTSEAL_TAGS", tags), stall)
}

fn count(codes: &[i32]) -> BTreeMap<i32, usize> {
    let mut counted = BTreeMap::new();
    for code in codes {
        *counted.entry(*code).or_default() += 1;
    }
    counted
}

/// Asserts that each of the tags verifies on a machine that has seen nothing, and is the image of that name.
fn assert_signed(yard: &Yard, tags: &[String]) {
    let reader = yard.reader();
    for tags in tags.chunks(50) {
        let images: Vec<_> = tags.iter().map(|tag| yard.tag(tag)).collect();
        let said = reader.run(std::iter::once("verify").chain(images.iter().map(String::as_str))).ok();
        for tag in tags {
            let digest = crate::image::Image::with_text(tag).digest();
            assert!(said.stdout().contains(&digest), "{tag} is not {digest}: {said}");
        }
    }
}

#[test]
fn what_publishers_side_by_side_acknowledge_is_signed() {
    let seed = seed();
    let (processes, each, stall) = size();
    let yard = Yard::new(seed);
    let tags: Vec<Vec<String>> =
        (0..processes).map(|process| (0..each).map(|number| format!("p{process}-{number}")).collect()).collect();
    tags.iter().flatten().for_each(|tag| drop(yard.push(tag, tag)));
    let machines: Vec<_> = tags.iter().map(|_| yard.publisher()).collect();
    yard.proxy.turn(storm(stall));
    let begun = Instant::now();
    let polling = AtomicBool::new(true);
    let (codes, polls) = std::thread::scope(|threads| {
        let running: Vec<_> = machines
            .iter()
            .zip(&tags)
            .map(|(machine, tags)| {
                threads.spawn(|| {
                    let sign = |tag: &String| machine.run(["sign", &yard.tag(tag)]).code_is(&HONEST);
                    tags.iter().map(sign).collect::<Vec<_>>()
                })
            })
            .collect();
        let polls = threads.spawn(|| poll(&yard, &tags[0][0], &polling));
        let codes: Vec<Vec<i32>> =
            running.into_iter().map(|thread| thread.join().unwrap_or_else(|e| std::panic::resume_unwind(e))).collect();
        polling.store(false, Ordering::SeqCst);
        (codes, polls.join().unwrap_or_else(|e| std::panic::resume_unwind(e)))
    });
    let took = begun.elapsed();
    yard.proxy.turn(Weather::default());
    println!(
        "seed {seed}: {processes} x {each}, stalls of up to {stall:?}: {:?} in {took:?}, {} requests; readers {:?}",
        count(&codes.concat()),
        yard.proxy.requests(),
        count(&polls)
    );
    let acknowledged: Vec<String> =
        tags.concat().into_iter().zip(codes.concat()).filter_map(|(tag, code)| (code == 0).then_some(tag)).collect();
    assert_signed(&yard, &acknowledged);
    // Most get through: a protocol that only gives up would be honest too.
    assert!(acknowledged.len() * 10 >= tags.concat().len() * 9, "only {} were signed", acknowledged.len());
}

/// Verifies a tag again and again: not signed at first, then signed and nothing else for ever.
fn poll(yard: &Yard, tag: &str, polling: &AtomicBool) -> Vec<i32> {
    let reader = yard.reader();
    let digest = crate::image::Image::with_text(tag).digest();
    let mut codes = Vec::new();
    while polling.load(Ordering::SeqCst) {
        // 14: a head that a rival was late with is lower than what was seen, until its author has merged.
        let said = reader.run(["verify", &yard.tag(tag)]);
        let code = said.code_is(&[0, 11, 14, 20]);
        assert!(code != 0 || said.stdout().contains(&digest), "{said}");
        codes.push(code);
    }
    codes
}

/// What one publisher did, between two ticks of one clock.
struct Deed {
    tag: String,
    revokes: bool,
    begun: usize,
    ended: usize,
    code: i32,
}

#[test]
fn nothing_revoked_comes_back_while_others_sign() {
    let seed = seed();
    let (processes, each, stall) = size();
    let yard = Yard::new(seed);
    let pool: Vec<String> = (0..processes * 2).map(|number| format!("t{number}")).collect();
    for tag in &pool {
        yard.push(tag, tag);
    }
    let machines: Vec<_> = (0..processes).map(|_| yard.publisher()).collect();
    yard.proxy.turn(storm(stall));
    let clock = AtomicUsize::new(0);
    let deeds: Mutex<Vec<Deed>> = Mutex::default();
    std::thread::scope(|threads| {
        for (number, machine) in machines.iter().enumerate() {
            let (yard, pool, clock, deeds) = (&yard, &pool, &clock, &deeds);
            threads.spawn(move || {
                let mut dice = Dice::new(seed + number as u64 * 1_000_003);
                for _ in 0..each {
                    let deed = act(yard, machine, &pool[dice.below(pool.len())], dice.below(5) < 2, clock);
                    deeds.lock().unwrap_or_else(PoisonError::into_inner).push(deed);
                }
            });
        }
    });
    yard.proxy.turn(Weather::default());
    let deeds = deeds.into_inner().unwrap_or_else(PoisonError::into_inner);
    let codes = |revokes: bool| {
        count(&deeds.iter().filter(|deed| deed.revokes == revokes).map(|deed| deed.code).collect::<Vec<_>>())
    };
    println!("seed {seed}: signs {:?}, revokes {:?}", codes(false), codes(true));
    let reader = yard.reader();
    let (mut signed, mut gone) = (0, 0);
    for tag in &pool {
        let of = |revokes: bool| deeds.iter().filter(move |deed| deed.tag == *tag && deed.revokes == revokes);
        let code = reader.run(["verify", &yard.tag(tag)]).code_is(&[0, 11]);
        let history = || {
            of(true)
                .chain(of(false))
                .map(|d| format!("{}: {}-{} {}", if d.revokes { "revoke" } else { "sign" }, d.begun, d.ended, d.code))
                .collect::<Vec<_>>()
        };
        let last_revoke = of(true).filter(|deed| deed.code == 0).map(|deed| deed.ended).max();
        if let Some(revoked) = last_revoke.filter(|revoked| !of(false).any(|sign| sign.begun > *revoked)) {
            assert_eq!(code, 11, "{tag} was revoked at {revoked} and is back: {:?}", history());
            gone += 1;
        }
        let last_sign = of(false).filter(|deed| deed.code == 0).map(|deed| deed.begun).max();
        if let Some(signed_at) = last_sign.filter(|signed| !of(true).any(|revoke| revoke.ended > *signed)) {
            assert_eq!(code, 0, "{tag} was signed at {signed_at} and is lost: {:?}", history());
            signed += 1;
        }
    }
    println!("seed {seed}: of {} tags {signed} had to be signed and {gone} to be gone", pool.len());
}

fn act(yard: &Yard, machine: &Machine, tag: &str, revokes: bool, clock: &AtomicUsize) -> Deed {
    let begun = clock.fetch_add(1, Ordering::SeqCst);
    // 11: what is not signed cannot be revoked; or a sign met a revoke, which won. 1: a revoke met a sign.
    let code = if revokes {
        machine.run(["revoke", &yard.tag(tag)]).code_is(&[0, 1, 11, 14, 20, 31])
    } else {
        machine.run(["sign", &yard.tag(tag)]).code_is(&[0, 11, 14, 20, 31])
    };
    Deed { tag: tag.to_owned(), revokes, begun, ended: clock.fetch_add(1, Ordering::SeqCst), code }
}

#[test]
fn a_root_that_is_replaced_while_others_sign_stays_in_force() {
    let seed = seed();
    let yard = Yard::new(seed);
    let tags: Vec<Vec<String>> =
        (0..3).map(|process| (0..4).map(|number| format!("r{process}-{number}")).collect()).collect();
    tags.iter().flatten().for_each(|tag| drop(yard.push(tag, tag)));
    let machines: Vec<_> = tags.iter().map(|_| yard.publisher()).collect();
    yard.proxy.turn(storm(Duration::from_millis(100)));
    let (codes, rotated) = std::thread::scope(|threads| {
        let running: Vec<_> = machines
            .iter()
            .zip(&tags)
            .map(|(machine, tags)| {
                let yard = &yard;
                threads.spawn(move || {
                    tags.iter().map(|tag| machine.run(["sign", &yard.tag(tag)]).code_is(&HONEST)).collect::<Vec<_>>()
                })
            })
            .collect();
        let rotate = || yard.owner.run(["key", "rotate", &yard.name(), "root"]).code_is(&HONEST);
        let rotated: Vec<i32> = (0..3).map(|_| rotate()).collect();
        let codes: Vec<Vec<i32>> =
            running.into_iter().map(|thread| thread.join().unwrap_or_else(|e| std::panic::resume_unwind(e))).collect();
        (codes.concat(), rotated)
    });
    yard.proxy.turn(Weather::default());
    println!("seed {seed}: signs {:?}, rotations {:?}", count(&codes), count(&rotated));
    let signed = tags.concat().into_iter().zip(codes).filter_map(|(tag, code)| (code == 0).then_some(tag));
    assert_signed(&yard, &signed.collect::<Vec<_>>());
    let replaced = rotated.iter().filter(|code| **code == 0).count();
    let roots = yard.root_versions();
    assert!(roots > replaced, "{replaced} rotations were acknowledged, and there are {roots} roots");
}
