//! What the core can be made to get wrong, to see whether those who watch it notice.
//!
//! Only the simulator and its tests build this (feature `flaws`); a daemon has no word that plants one.

/// A rule that is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// What comes in is read and its signature not looked at.
    IgnoredSignature,
    /// Neither a neighbour nor an author has a share that ends.
    MissingQuota,
    /// What was dropped is taken again.
    IgnoredDropped,
    /// Neighbours do not share what strangers' bundles have.
    NoFairShare,
    /// What is for everybody always gives way to mail.
    NoPublicShare,
    /// Every call for help goes before others.
    EveryCallHeeded,
}
