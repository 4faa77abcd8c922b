//! What a run has to say.

use serde::Serialize;

/// The outcome of one world.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// Nodes in it.
    pub nodes: usize,
    /// Messages a node acknowledged.
    pub acknowledged: usize,
    /// Pairs of message and other node that came together before the healing phase.
    pub delivered_before_heal: usize,
    /// The same at the end.
    pub delivered: usize,
    /// All such pairs.
    pub deliveries_possible: usize,
    /// Frames sent on all links.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Links that came up.
    pub links: u64,
    /// Nodes that crashed.
    pub crashes: u64,
    /// Virtual time that passed, in seconds.
    pub simulated_s: u64,
    /// What may never happen and did, in words; empty in a good run.
    pub violations: Vec<String>,
    /// BLAKE3 over everything that happened, in order.
    pub trace_hash: String,
}

impl Report {
    /// Whether nothing forbidden happened.
    pub fn is_good(&self) -> bool {
        self.violations.is_empty()
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "seed {}: {} nodes, {} s", self.seed, self.nodes, self.simulated_s)?;
        writeln!(
            f,
            "  {} messages acknowledged; delivered {} of {} pairs, {} of them before healing",
            self.acknowledged, self.delivered, self.deliveries_possible, self.delivered_before_heal
        )?;
        writeln!(
            f,
            "  {} links, {} frames, {} bytes, {} crashes",
            self.links, self.frames, self.bytes, self.crashes
        )?;
        for violation in &self.violations {
            writeln!(f, "  VIOLATION: {violation}")?;
        }
        write!(f, "  trace {}", self.trace_hash)
    }
}
