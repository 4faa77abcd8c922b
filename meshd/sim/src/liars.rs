//! A part of the carriers lies, and the honest ones lose nothing by it.
//!
//! The same people meet and write twice: once the liars are not there at all, once they take part in every encounter they
//! would have had. A liar keeps to the protocol on its links; what it does between them is the lie, each of four kinds in
//! turn:
//! - it **drops** whatever it took and said to have stored, and takes it again the next time;
//! - it **brings back** whatever it ever took, receipts or not, as if it had come just now;
//! - it **claims to hold** what others brought to any liar, and gives other bytes for it to whoever asks;
//! - it **acknowledges** in the recipient's place: receipts for whatever any liar took, made of what carriers know of it.
//!
//! Letters are written by honest people to honest people; what arrives with the liars should be at least what arrives
//! without them (threat S-08).

use std::collections::BTreeMap;

use meshlink_core::bundle::BundleBytes;
use meshlink_core::id::BundleId;
use meshlink_core::limits::Limits;
use meshlink_core::mem::MemStore;
use meshlink_core::store::StoredBundle;
use serde::Serialize;

use crate::dice::Dice;
use crate::flood::{RADIO, town};
use crate::trace::contacts::Contacts;
use crate::trace::replay::{Setting, replay};
use crate::trace::work;
use crate::treason;

/// What to run.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// People.
    pub nodes: usize,
    /// How many of them lie.
    pub liars: usize,
    /// Letters between the honest ones, in the first half of the time.
    pub letters: usize,
    /// Room at each node, in bundles.
    pub buffer: u64,
    /// Minutes it all takes.
    pub minutes: u64,
    /// Draws who meets whom, who writes, and all keys.
    pub seed: u64,
}

/// What it came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// Seed of the run.
    pub seed: u64,
    /// People.
    pub nodes: usize,
    /// How many of them lie.
    pub liars: usize,
    /// Letters written.
    pub letters: usize,
    /// Letters that arrived among the honest people alone.
    pub honest: usize,
    /// Letters that arrived with the liars in between.
    pub among_liars: usize,
    /// The one by the other.
    pub ratio: f64,
    /// Bundles that the liars dropped, brought back, claimed to hold or acknowledged.
    pub lies: u64,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "seed {}: {} of {} lie, {} times; of {} letters {} arrived, {} without them (ratio {:.3})",
            self.seed,
            self.liars,
            self.nodes,
            self.lies,
            self.letters,
            self.among_liars,
            self.honest,
            self.ratio
        )
    }
}

/// Runs it without and with the liars.
pub fn run(plan: Plan) -> Outcome {
    let (honest, _) = once(plan, false);
    let (among_liars, lies) = once(plan, true);
    Outcome {
        seed: plan.seed,
        nodes: plan.nodes,
        liars: plan.liars,
        letters: plan.letters,
        honest,
        among_liars,
        ratio: among_liars as f64 / honest.max(1) as f64,
        lies,
    }
}

/// Letters that arrived, and lies told.
fn once(plan: Plan, with_liars: bool) -> (usize, u64) {
    let mut dice = Dice::new(plan.seed);
    let all = town(plan.nodes, plan.minutes, &mut dice);
    let first = plan.nodes - plan.liars;
    let honest = without_liars(&all, first);
    let letters = work::letters(&honest, plan.letters, 0, &mut dice);
    let limits = Limits { store_bundles_max: plan.buffer, ..Limits::default() };
    let liars = Liars { first, taken: BTreeMap::new() };
    let setting = Setting { liars: Some(liars), ..Setting::honest(limits, RADIO) };
    let mut dice = Dice::new(plan.seed ^ 0x006c_6961_7273);
    let run = replay(if with_liars { &all } else { &honest }, &letters, setting, &mut dice);
    (run.achieved.latencies_s.len(), run.lies)
}

/// The encounters of the others.
fn without_liars(all: &Contacts, first: usize) -> Contacts {
    let mut honest = Contacts { people: first, steps: all.steps.clone() };
    for (_, pairs) in &mut honest.steps {
        pairs.retain(|(a, b)| *a < first && *b < first);
    }
    honest.steps.retain(|(_, pairs)| !pairs.is_empty());
    honest
}

/// Those who lie, and what they ever had.
pub(crate) struct Liars {
    /// People with this number and above.
    first: usize,
    taken: BTreeMap<BundleId, StoredBundle>,
}

impl Liars {
    pub(crate) fn is_one(&self, node: usize) -> bool {
        node >= self.first
    }

    /// What one of them does to its store after an encounter; how many bundles it is about.
    pub(crate) fn lie(&mut self, node: usize, store: &mut MemStore, now_tl_ms: u64) -> usize {
        let carried = treason::drop_all(store);
        let real = carried.into_iter().filter(is_real);
        self.taken.extend(real.map(|bundle| (bundle.id, bundle)));
        let archive: Vec<StoredBundle> = self.taken.values().cloned().collect();
        match node % 4 {
            0 => return archive.len(),
            1 => treason::bring_back(store, &archive, now_tl_ms),
            2 => treason::pretend(store, &archive),
            _ => return treason::acknowledge(store, &archive, now_tl_ms),
        }
        archive.len()
    }
}

/// Whether it is what its name says, and not what a liar made up.
fn is_real(bundle: &StoredBundle) -> bool {
    let bytes = BundleBytes { header: &bundle.header, payload: &bundle.payload, auth: &bundle.auth };
    bytes.name().is_ok_and(|named| named.id == bundle.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s08_c19_a_third_of_the_carriers_lies_and_nothing_honest_is_lost_by_it() {
        // With room for all, and with room for next to nothing.
        for (letters, buffer) in [(24, 12), (60, 4)] {
            let (mut honest, mut among_liars, mut lies) = (0, 0, 0);
            for seed in 1..=3 {
                let plan = Plan { nodes: 15, liars: 5, letters, buffer, minutes: 120, seed };
                let outcome = run(plan);
                println!("{outcome}");
                honest += outcome.honest;
                among_liars += outcome.among_liars;
                lies += outcome.lies;
            }
            assert!(lies > 1_000 && (buffer == 4) == (honest < 3 * letters), "{honest} letters, {lies} lies");
            assert!(among_liars >= honest, "{among_liars} of {honest}");
        }
    }
}
