//! Many small, nasty worlds, each drawn from a seed, and the seeds that once failed.
//!
//! `MESHLINK_WORLDS=1000` runs more of them, `MESHLINK_SEED=7` starts elsewhere.

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
