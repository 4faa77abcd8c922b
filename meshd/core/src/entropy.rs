//! The node's own randomness, from one seed of the operating system's.
//!
//! Each draw replaces the key it came from (fast key erasure, Bernstein 2017): whoever reads this process's
//! memory later can't recompute the ephemeral keys of handshakes that are over. BLAKE3's extendable output is
//! the generator; a seed replays a run.

use zeroize::Zeroizing;

/// See the module's text.
pub(crate) struct Entropy {
    key: Zeroizing<[u8; 32]>,
}

const CONTEXT: &str = "MeshLink v1 entropy";

impl Entropy {
    pub(crate) fn new(seed: &[u8; 32]) -> Self {
        let mut entropy = Self { key: Zeroizing::new(*seed) };
        entropy.draw::<0>();
        entropy
    }

    /// `N` fresh bytes.
    pub(crate) fn draw<const N: usize>(&mut self) -> [u8; N] {
        let mut output = [0; N];
        self.fill(&mut output);
        output
    }

    /// Fills `output` with fresh bytes.
    pub(crate) fn fill(&mut self, output: &mut [u8]) {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(&self.key[..]);
        let mut reader = hasher.finalize_xof();
        reader.fill(&mut self.key[..]);
        reader.fill(output);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_replays_and_draws_differ() {
        let (mut one, mut same, mut other) =
            (Entropy::new(&[1; 32]), Entropy::new(&[1; 32]), Entropy::new(&[2; 32]));
        let first: [u8; 32] = one.draw();
        assert_eq!(first, same.draw());
        assert_ne!(first, other.draw());
        assert_ne!(first, one.draw());
    }

    #[test]
    fn the_key_that_made_a_draw_is_gone() {
        let mut entropy = Entropy::new(&[1; 32]);
        let before = *entropy.key;
        entropy.draw::<8>();
        assert_ne!(before, *entropy.key);
    }
}
