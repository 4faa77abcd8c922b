//! Forwarding, measured on encounters of real people.

mod acquaint;
pub mod contacts;
pub mod models;
pub mod replay;
pub mod spread;
pub mod work;

use serde::Serialize;

use crate::dice::Dice;
use meshlink_core::limits::Limits;

use contacts::Contacts;
use models::{Achieved, Model};
use replay::{Radio, Replayed, Setting};

/// Who forwards how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// The real nodes.
    Meshlink,
    /// A model: everything to everybody.
    Epidemic,
    /// A model: eight copies.
    Spray,
    /// A model: only to the recipient.
    Direct,
}

/// What to run.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Room at each node, in messages.
    pub buffer: usize,
    /// Messages, each for one recipient.
    pub messages: usize,
    /// How many percent of them have 8,000 bytes of text in place of 200.
    pub long_percent: usize,
    /// Draws them.
    pub seed: u64,
    /// What the real nodes' radios are like; the models know no limits.
    pub radio: Radio,
}

/// What one way of forwarding achieved.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// Which.
    pub policy: Policy,
    /// What drew the messages.
    pub seed: u64,
    /// Share of the messages that arrived.
    pub delivered: f64,
    /// The same with flooding without any limits.
    pub oracle: f64,
    /// The one by the other.
    pub ratio: f64,
    /// How long half of those that arrived took at most, in seconds.
    pub latency_p50_s: u64,
    /// How long nine of ten of those that arrived took at most, in seconds.
    pub latency_p90_s: u64,
    /// The oracle's p50.
    pub oracle_p50_s: u64,
    /// The oracle's p90.
    pub oracle_p90_s: u64,
    /// Copies handed over for each that arrived.
    pub copies_per_delivered: f64,
    /// Bytes of all frames for each that arrived; a model has none.
    pub bytes_per_delivered: Option<u64>,
    /// Letters that came to nodes which did not want them, for each that arrived; a model has none.
    pub refused_per_delivered: Option<f64>,
    /// The same by reason.
    pub refused_for: Option<std::collections::BTreeMap<&'static str, f64>>,
    /// Receipts held by the node that held most, beside its letters; a model has none.
    pub receipts_held_max: Option<u64>,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:<9} delivered {:.3} of {:.3} (ratio {:.3}), p50 {} s (oracle {}), p90 {} s (oracle {}), {:.0} copies",
            format!("{:?}", self.policy).to_lowercase(),
            self.delivered,
            self.oracle,
            self.ratio,
            self.latency_p50_s,
            self.oracle_p50_s,
            self.latency_p90_s,
            self.oracle_p90_s,
            self.copies_per_delivered,
        )?;
        if let (Some(refused), Some(bytes)) = (self.refused_per_delivered, self.bytes_per_delivered) {
            write!(f, ", {refused:.0} refused")?;
            let reasons = self.refused_for.iter().flatten().filter(|(_, count)| **count >= 0.5);
            let reasons: Vec<String> = reasons.map(|(why, count)| format!("{why} {count:.0}")).collect();
            write!(f, " ({}) and {bytes} bytes", reasons.join(", "))?;
        }
        write!(f, " a delivery")
    }
}

/// Runs ways of forwarding over the same messages.
pub fn run(contacts: &Contacts, plan: Plan, policies: &[Policy]) -> Vec<Outcome> {
    let letters = work::letters(contacts, plan.messages, plan.long_percent, &mut Dice::new(plan.seed));
    let oracle = models::flood(contacts, &letters);
    policies
        .iter()
        .map(|policy| {
            let mut dice = Dice::new(plan.seed ^ 0x7261_6365);
            let mut model = |model| models::run(contacts, &letters, model, plan.buffer, &mut dice);
            let (achieved, run) = match policy {
                Policy::Epidemic => (model(Model::Epidemic), None),
                Policy::Spray => (model(Model::Spray), None),
                Policy::Direct => (model(Model::Direct), None),
                Policy::Meshlink => {
                    let limits = Limits { store_bundles_max: plan.buffer as u64, ..Limits::default() };
                    let setting = Setting::honest(limits, plan.radio);
                    let run = replay::replay(contacts, &letters, setting, &mut dice);
                    (run.achieved.clone(), Some(run))
                }
            };
            outcome(*policy, &achieved, &oracle, run.as_ref(), plan)
        })
        .collect()
}

fn outcome(
    policy: Policy,
    achieved: &Achieved,
    oracle: &Achieved,
    run: Option<&Replayed>,
    plan: Plan,
) -> Outcome {
    let arrived = achieved.latencies_s.len();
    let share = |count: usize| count as f64 / plan.messages.max(1) as f64;
    let each = |sum: u64| sum as f64 / arrived.max(1) as f64;
    Outcome {
        policy,
        seed: plan.seed,
        delivered: share(arrived),
        oracle: share(oracle.latencies_s.len()),
        ratio: arrived as f64 / oracle.latencies_s.len().max(1) as f64,
        latency_p50_s: quantile(&achieved.latencies_s, 0.5),
        latency_p90_s: quantile(&achieved.latencies_s, 0.9),
        oracle_p50_s: quantile(&oracle.latencies_s, 0.5),
        oracle_p90_s: quantile(&oracle.latencies_s, 0.9),
        copies_per_delivered: each(achieved.copies),
        bytes_per_delivered: run.map(|run| each(run.bytes) as u64),
        refused_per_delivered: run.map(|run| each(run.refused)),
        refused_for: run.map(|run| run.refused_for.iter().map(|(why, count)| (*why, each(*count))).collect()),
        receipts_held_max: run.map(|run| run.receipts_held_max),
    }
}

/// Of numbers in ascending order.
fn quantile(sorted: &[u64], share: f64) -> u64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share) as usize).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain() -> Contacts {
        let mut text = String::new();
        for n in 0..40 {
            for hop in 0..5 {
                text += &format!("{} {hop} {}\n", 20 + (n * 5 + hop) * 40, hop + 1);
            }
        }
        Contacts::parse(&text).expect("a trace")
    }

    fn plan() -> Plan {
        let radio = Radio { bandwidth_bytes_per_s: 15_000, setup_ms: 900, latency_ms: 30 };
        Plan { buffer: 50, messages: 20, long_percent: 0, seed: 1, radio }
    }

    #[test]
    fn real_nodes_deliver_what_flooding_delivers_when_there_is_room() {
        let outcomes = run(&chain(), plan(), &[Policy::Meshlink, Policy::Epidemic, Policy::Direct]);
        let [meshlink, epidemic, direct] = &outcomes[..] else { panic!("three outcomes") };
        assert!((meshlink.ratio - 1.0).abs() < 1e-9, "{meshlink}");
        assert!((epidemic.ratio - 1.0).abs() < 1e-9, "{epidemic}");
        assert!(direct.ratio < 1.0, "{direct}");
        assert!(meshlink.latency_p50_s >= meshlink.oracle_p50_s && meshlink.bytes_per_delivered > Some(0));
    }

    #[test]
    fn one_seed_gives_one_outcome() {
        let of = |seed| format!("{:?}", run(&chain(), Plan { seed, ..plan() }, &[Policy::Meshlink]));
        assert_eq!(of(3), of(3));
        assert_ne!(of(3), of(4));
    }

    #[test]
    fn an_encounter_shorter_than_the_set_up_carries_nothing() {
        let radio = Radio { setup_ms: 25_000, ..plan().radio };
        let outcomes = run(&chain(), Plan { radio, ..plan() }, &[Policy::Meshlink]);
        assert!(outcomes[0].delivered == 0.0 && outcomes[0].oracle > 0.0, "{}", outcomes[0]);
    }
}
