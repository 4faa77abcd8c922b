//! What a store in memory can be made to get wrong.

/// What a store can be made to get wrong, to see whether those who watch it notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// It counts nothing of what a neighbour brought.
    NoLinkShare,
    /// It counts nothing of what an author wrote.
    NoOriginShare,
    /// It does not remember what it dropped.
    ForgetsDropped,
    /// It lets the most urgent bundle give way first.
    WrongVictim,
    /// It forgets dropped bundles and that their messages were shown.
    ShowsAgain,
}
