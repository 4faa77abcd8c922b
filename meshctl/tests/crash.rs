//! Kills the daemon at random moments under a writing client: what was answered 201 is there afterwards.
//!
//! 50 rounds by default; `MESHLINK_CRASH_ROUNDS=1000` for a long run. The seed is printed; `MESHLINK_SEED`
//! repeats a run's kill times.

#[allow(dead_code, reason = "each test program uses a part of it")]
mod machine;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use machine::{Node, http};

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |v| v.parse().expect("a number"))
}

/// SplitMix64 (Steele, Lea, Flood 2014): enough to pick kill times.
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Posts numbered texts until the daemon dies; the ones answered 201.
fn write_until_it_dies(
    address: &str,
    token: &str,
    round: u64,
    writer: u64,
    dead: &AtomicBool,
) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for n in 0.. {
        if dead.load(Ordering::Relaxed) {
            break;
        }
        let text = format!("r{round}w{writer}n{n}");
        let headers = [("Content-Type", "text/plain; charset=utf-8")];
        match http(address, Some(token), "POST", "/v1/messages?to=%23mesh", &headers, text.as_bytes()) {
            Ok(answer) if answer.status == 201 => acknowledged.push(text),
            Ok(answer) => panic!("{}: {}", answer.status, answer.body),
            Err(_) => break,
        }
    }
    acknowledged
}

#[test]
fn p01_what_was_acknowledged_survives_a_kill_at_any_moment() {
    let rounds = number("MESHLINK_CRASH_ROUNDS", 50);
    let clock = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |t| t.subsec_nanos().into());
    let mut seed = number("MESHLINK_SEED", clock);
    println!("MESHLINK_SEED={seed} MESHLINK_CRASH_ROUNDS={rounds}");
    let dir = tempfile::tempdir().expect("temporary directory");
    let mut node = Node::start(dir.path(), "a", &[]);
    let mut promised = BTreeSet::new();
    let mut slowest = Duration::ZERO;
    for round in 0..rounds {
        let (address, token) = (node.address(), node.token());
        let dead = AtomicBool::new(false);
        let life = Duration::from_micros(next_random(&mut seed) % 120_000);
        let acknowledged: Vec<String> = std::thread::scope(|scope| {
            let (address, token, dead) = (&address, &token, &dead);
            let writers: Vec<_> = (0..2)
                .map(|writer| scope.spawn(move || write_until_it_dies(address, token, round, writer, dead)))
                .collect();
            // Not a wait for a condition: the moment of the kill is the experiment.
            std::thread::sleep(life);
            node.process.kill();
            dead.store(true, Ordering::Relaxed);
            writers.into_iter().flat_map(|w| w.join().expect("writer")).collect()
        });
        slowest = slowest.max(node.restart());
        if let Some(last) = acknowledged.last() {
            let found = node.get(&format!("/v1/messages?q={last}"));
            assert_eq!(
                found["items"].as_array().expect("a list").len(),
                1,
                "round {round}: {last} of {found}"
            );
        }
        promised.extend(acknowledged);
    }
    assert_eq!(node.process.stop(), Some(0));
    node.restart();
    let kept = all_texts(&node);
    let lost: Vec<_> = promised.difference(&kept).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    println!("{} acknowledged, {} stored, slowest start {slowest:?}", promised.len(), kept.len());
    assert!(slowest < Duration::from_secs(1), "a start took {slowest:?}");
}

/// Everything there is, each once.
fn all_texts(node: &Node) -> BTreeSet<String> {
    let mut texts = BTreeSet::new();
    for text in node.texts() {
        assert!(texts.insert(text.clone()), "shown twice: {text}");
    }
    texts
}
