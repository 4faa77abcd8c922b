//! Links between nodes of a world: frames in order, with a bandwidth and a delay, until the link is cut.

use meshlink_core::event::LinkKind;
use meshlink_core::id::LinkId;

/// One end of a wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// The node there.
    pub node: usize,
    /// What that node calls the link.
    pub link: LinkId,
    /// Whether a frame is on its way out of this end: the next one waits for it.
    pub sending: bool,
    /// Whether the node there knows that the link is up.
    pub up: bool,
}

/// A link between two nodes.
#[derive(Debug, Clone)]
pub struct Wire {
    /// Its two ends; the first one dialled.
    pub ends: [End; 2],
    /// What it pretends to be.
    pub kind: LinkKind,
}

impl Wire {
    /// The end at a node.
    pub fn side_of(&self, node: usize, link: LinkId) -> Option<usize> {
        self.ends.iter().position(|end| end.node == node && end.link == link)
    }
}

/// How long a frame occupies its end of a wire, in milliseconds.
pub fn transmission_ms(bytes: usize, bandwidth_bytes_per_s: u64) -> u64 {
    (bytes as u64 * 1_000).div_ceil(bandwidth_bytes_per_s)
}

#[cfg(test)]
mod tests {
    use super::transmission_ms;

    #[test]
    fn a_frame_takes_its_size_over_the_bandwidth() {
        assert_eq!(transmission_ms(15_000, 15_000), 1_000);
        assert_eq!(transmission_ms(1, 15_000), 1);
    }
}
