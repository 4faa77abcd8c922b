//! Many small, nasty worlds, each drawn from a seed, and the seeds that once failed.
//!
//! `MESHLINK_WORLDS=1000` runs more of them, `MESHLINK_SEED=7` starts elsewhere.

use meshlink_core::flaw::Flaw as CoreFlaw;
use meshlink_core::mem::Flaw;
use meshsim::{Report, Scenario, World};

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |v| v.parse().expect("a number"))
}

fn run(seed: u64) -> Report {
    World::new(Scenario::random(seed), seed).run()
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_shown_twice_in_random_worlds() {
    let first = number("MESHLINK_SEED", 1);
    let mut deliveries = 0;
    let mut crashes = 0;
    for seed in first..first + number("MESHLINK_WORLDS", 100) {
        let report = run(seed);
        assert!(report.is_good(), "{report}");
        deliveries += report.delivered;
        crashes += report.crashes;
    }
    println!("{deliveries} deliveries, {crashes} crashes");
    assert!(deliveries > 0 && crashes > 0, "the worlds were too quiet to show anything");
}

#[test]
fn seeds_that_once_failed_stay_good() {
    for line in include_str!("failed_seeds.txt").lines().filter(|l| !l.starts_with('#') && !l.is_empty()) {
        let seed = line.parse().expect("one seed a line");
        let report = run(seed);
        assert!(report.is_good(), "{report}");
    }
}

#[test]
fn shares_hold_and_nothing_comes_back_where_stores_are_too_small() {
    for seed in 1..=number("MESHLINK_WORLDS", 100) / 10 {
        let report = World::new(Scenario::tight(seed), seed).run();
        assert!(report.is_good(), "{report}");
    }
}

#[test]
fn each_flaw_of_a_store_is_noticed() {
    let cases = [
        (Flaw::NoLinkShare, "of one link"),
        (Flaw::NoOriginShare, "of one author"),
        (Flaw::ForgetsDropped, "took"),
        (Flaw::WrongVictim, "less urgent"),
        (Flaw::ShowsAgain, "twice"),
    ];
    for (flaw, words) in cases {
        let is_noticed = |seed| {
            let report = World::new(Scenario::tight(seed), seed).with_flaw(flaw).run();
            report.violations.iter().any(|violation| violation.contains(words))
        };
        assert!((1..=5).any(is_noticed), "{flaw:?} goes unnoticed");
    }
}

#[test]
fn each_flaw_of_the_core_is_noticed() {
    let forgers = Scenario { betrayals: 30, encounters: 120, ..Scenario::default() };
    let cases = [
        (CoreFlaw::IgnoredSignature, Some(forgers), "nobody wrote"),
        (CoreFlaw::MissingQuota, None, "of one link"),
        (CoreFlaw::MissingQuota, None, "of one author"),
        (CoreFlaw::IgnoredDropped, None, "took"),
    ];
    for (flaw, plan, words) in cases {
        let is_noticed = |seed| {
            let plan = plan.clone().unwrap_or_else(|| Scenario::tight(seed));
            let report = World::new(plan, seed).with_core_flaw(flaw).run();
            report.violations.iter().any(|violation| violation.contains(words))
        };
        assert!((1..=5).any(is_noticed), "{flaw:?} goes unnoticed");
    }
}

#[test]
fn what_an_ignored_signature_would_let_in_is_noticed() {
    // Words under others' names are refused everywhere; with their keys they pass, and the oracle must see it.
    let plan = |stolen_keys| Scenario { betrayals: 30, encounters: 120, stolen_keys, ..Scenario::default() };
    for seed in 1..=3 {
        let report = World::new(plan(false), seed).run();
        assert!(report.is_good(), "{report}");
        let report = World::new(plan(true), seed).run();
        assert!(report.violations.iter().any(|violation| violation.contains("nobody wrote")), "{report}");
    }
}

#[test]
fn one_seed_gives_one_trace() {
    for seed in [3, 17] {
        assert_eq!(run(seed), run(seed));
    }
    assert_ne!(run(3).trace_hash, run(17).trace_hash);
}

#[test]
fn scenario_files_run_well() {
    let files =
        std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios")).expect("the folder is there");
    let mut count = 0;
    for path in files.map(|f| f.expect("readable").path()) {
        let plan = Scenario::parse(&std::fs::read_to_string(&path).expect("UTF-8")).expect("valid");
        let report = World::new(plan, 1).run();
        assert!(report.is_good(), "{}: {report}", path.display());
        count += 1;
    }
    assert!(count > 0, "no scenario was run");
}
