//! How far runs that differ by their seed alone lie apart: one run says little about two rules that differ by a hundredth.

use serde::Serialize;

use super::{Outcome, Policy};

/// A figure over all runs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// Their mean.
    pub mean: f64,
    /// The least of them.
    pub min: f64,
    /// The largest of them.
    pub max: f64,
}

/// What one way of forwarding achieved with several seeds. The figures are those of [`Outcome`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Which.
    pub policy: Policy,
    /// How many seeds.
    pub seeds: usize,
    /// Share of the messages that arrived.
    pub delivered: Spread,
    /// The same with flooding without any limits.
    pub oracle: Spread,
    /// The one by the other, of each run.
    pub ratio: Spread,
    /// In seconds.
    pub latency_p50_s: Spread,
    /// In seconds.
    pub latency_p90_s: Spread,
    /// In seconds.
    pub oracle_p50_s: Spread,
    /// In seconds.
    pub oracle_p90_s: Spread,
    /// Copies handed over for each that arrived.
    pub copies_per_delivered: Spread,
    /// Bytes of all frames for each that arrived; a model has none.
    pub bytes_per_delivered: Option<Spread>,
}

impl Spread {
    /// Of numbers in any order; `None` if there is none.
    pub fn of(numbers: impl IntoIterator<Item = f64>) -> Option<Self> {
        let numbers: Vec<f64> = numbers.into_iter().collect();
        let min = numbers.iter().copied().reduce(f64::min)?;
        let max = numbers.iter().copied().reduce(f64::max)?;
        Some(Self { mean: numbers.iter().sum::<f64>() / numbers.len() as f64, min, max })
    }
}

impl Summary {
    /// Of one way's runs; `None` if there is none.
    pub fn of(runs: &[Outcome]) -> Option<Self> {
        let spread = |figure: fn(&Outcome) -> f64| Spread::of(runs.iter().map(figure));
        Some(Self {
            policy: runs.first()?.policy,
            seeds: runs.len(),
            delivered: spread(|run| run.delivered)?,
            oracle: spread(|run| run.oracle)?,
            ratio: spread(|run| run.ratio)?,
            latency_p50_s: spread(|run| run.latency_p50_s as f64)?,
            latency_p90_s: spread(|run| run.latency_p90_s as f64)?,
            oracle_p50_s: spread(|run| run.oracle_p50_s as f64)?,
            oracle_p90_s: spread(|run| run.oracle_p90_s as f64)?,
            copies_per_delivered: spread(|run| run.copies_per_delivered)?,
            bytes_per_delivered: Spread::of(
                runs.iter().filter_map(|run| run.bytes_per_delivered).map(|bytes| bytes as f64),
            ),
        })
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let share = |of: Spread| format!("{:.3} ({:.3}-{:.3})", of.mean, of.min, of.max);
        let whole = |of: Spread| format!("{:.0} ({:.0}-{:.0})", of.mean, of.min, of.max);
        let policy = format!("{:?}", self.policy).to_lowercase();
        write!(
            f,
            "{policy:<9} {} seeds: delivered {} of {}, ratio {}, p50 {} s (oracle {}), p90 {} s (oracle {}), {} copies",
            self.seeds,
            share(self.delivered),
            share(self.oracle),
            share(self.ratio),
            whole(self.latency_p50_s),
            whole(self.oracle_p50_s),
            whole(self.latency_p90_s),
            whole(self.oracle_p90_s),
            whole(self.copies_per_delivered),
        )?;
        if let Some(bytes) = self.bytes_per_delivered {
            write!(f, " and {} bytes", whole(bytes))?;
        }
        write!(f, " a delivery")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_mean_least_and_most() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Some(Spread { mean: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!((Spread::of([]), Summary::of(&[])), (None, None));
    }
}
