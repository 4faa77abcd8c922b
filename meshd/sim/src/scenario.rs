//! What happens in a world: a TOML file, or one drawn from a seed.

use serde::{Deserialize, Serialize};

use crate::dice::Dice;

/// A store in which nothing gives way.
const ROOMY_BYTES: u64 = 1024 * 1024 * 1024;

/// The plan of a world. Every field has a default, so that a file names only what it is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scenario {
    /// Nodes, 2 to 10,000.
    pub nodes: usize,
    /// How long messages are sent and encounters happen, in seconds.
    pub duration_s: u64,
    /// How long, after that, all nodes are linked in a line without faults, in seconds at most.
    pub heal_s: u64,
    /// Messages, sent from random nodes at random times.
    pub messages: usize,
    /// Longest text, in bytes; sizes are drawn evenly up to it.
    pub text_bytes_max: u64,
    /// Encounters of random pairs.
    pub encounters: usize,
    /// Longest encounter, in seconds.
    pub encounter_s_max: u64,
    /// Bytes a second each way on a link.
    pub bandwidth_bytes_per_s: u64,
    /// Delay of a frame, in milliseconds.
    pub latency_ms: u64,
    /// Chance that an encounter comes with a second link of another kind.
    pub second_link: f64,
    /// Chance that a frame arrives twice, as no link should let it.
    pub repeated_frame: f64,
    /// Crashes of random nodes, half of them before a commit, half after.
    pub crashes: usize,
    /// How long a crashed node stays away, in seconds at most.
    pub away_s_max: u64,
    /// Chance that a node does not know the time of day.
    pub clockless: f64,
    /// Jumps of random nodes' wall clocks, by up to ten years either way.
    pub clock_jumps: usize,
    /// Times that the last node, which keeps to nothing, drops what it carries, brings back what it had before, or makes
    /// something up.
    pub betrayals: usize,
    /// Whether that node has the keys of the others, so that what it makes up passes for theirs: a world that must fail.
    pub stolen_keys: bool,
    /// Each store's cap in bytes. In a small one not everything can arrive; then the shares are watched instead.
    pub store_bytes: u64,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            nodes: 4,
            duration_s: 600,
            heal_s: 600,
            messages: 20,
            text_bytes_max: 2_000,
            encounters: 40,
            encounter_s_max: 60,
            bandwidth_bytes_per_s: 15_000,
            latency_ms: 30,
            second_link: 0.1,
            repeated_frame: 0.0,
            crashes: 0,
            away_s_max: 60,
            clockless: 0.0,
            clock_jumps: 0,
            betrayals: 0,
            stolen_keys: false,
            store_bytes: ROOMY_BYTES,
        }
    }
}

impl Scenario {
    /// Reads a scenario file.
    ///
    /// # Errors
    /// Unknown fields, wrong types and impossible values, with the line.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let scenario: Self = toml::from_str(text)?;
        anyhow::ensure!((2..=10_000).contains(&scenario.nodes), "nodes must be 2 to 10000");
        anyhow::ensure!((1..=16_384).contains(&scenario.text_bytes_max), "text_bytes_max must be 1 to 16384");
        anyhow::ensure!(scenario.store_bytes >= 64 * 1024, "store_bytes must be at least 65536");
        anyhow::ensure!(scenario.bandwidth_bytes_per_s >= 100, "bandwidth_bytes_per_s must be at least 100");
        anyhow::ensure!(
            scenario.duration_s >= 1 && scenario.encounter_s_max >= 1,
            "durations must be at least 1"
        );
        Ok(scenario)
    }

    /// Draws a small, nasty scenario.
    pub fn random(seed: u64) -> Self {
        let mut dice = Dice::new(seed ^ 0x05ce_a210);
        Self {
            nodes: dice.between(2, 7) as usize,
            duration_s: dice.between(60, 1_200),
            heal_s: 3_600,
            messages: dice.between(1, 30) as usize,
            text_bytes_max: dice.between(1, 16_384),
            encounters: dice.between(2, 60) as usize,
            encounter_s_max: dice.between(1, 120),
            bandwidth_bytes_per_s: dice.between(2_000, 200_000),
            latency_ms: dice.between(1, 200),
            second_link: if dice.chance(0.5) { 0.3 } else { 0.0 },
            repeated_frame: if dice.chance(0.2) { 0.01 } else { 0.0 },
            crashes: dice.between(0, 10) as usize,
            away_s_max: dice.between(1, 120),
            clockless: if dice.chance(0.3) { 0.5 } else { 0.0 },
            clock_jumps: if dice.chance(0.3) { 5 } else { 0 },
            betrayals: if dice.chance(0.3) { 12 } else { 0 },
            ..Self::default()
        }
    }

    /// Draws a scenario of small stores that are too full.
    pub fn tight(seed: u64) -> Self {
        let mut dice = Dice::new(seed ^ 0x7169_6874);
        Self {
            nodes: dice.between(3, 6) as usize,
            duration_s: 600,
            heal_s: 60,
            messages: 240,
            text_bytes_max: dice.between(100, 2_000),
            encounters: 80,
            encounter_s_max: 60,
            bandwidth_bytes_per_s: 100_000,
            crashes: dice.between(0, 3) as usize,
            betrayals: if dice.chance(0.5) { 8 } else { 0 },
            store_bytes: 400 * 1024,
            ..Self::default()
        }
    }

    /// Whether stores are so small that bundles give way.
    pub fn is_tight(&self) -> bool {
        self.store_bytes < ROOMY_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(Scenario::parse("").expect("valid"), Scenario::default());
    }

    #[test]
    fn an_unknown_field_is_refused_with_its_line() {
        let error = Scenario::parse("nodes = 3\nspeed = 4\n").expect_err("refused").to_string();
        assert!(error.contains("speed") && error.contains("line 2"), "{error}");
    }

    #[test]
    fn impossible_values_are_refused() {
        for text in ["nodes = 1", "text_bytes_max = 0", "bandwidth_bytes_per_s = 1", "duration_s = 0"] {
            assert!(Scenario::parse(text).is_err(), "{text}");
        }
    }
}
