//! Among whose bundles an eviction looks, and what is counted.

use crate::id::NodeId;
use crate::store::{Class, StoredBundle};

/// Whose bundles an eviction looks among, or a usage counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Heap {
    Class(Class),
    Origin(NodeId),
    Ingress(NodeId),
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Count {
    Held(Heap),
    /// Strangers' bundles that are for everybody.
    Public,
    Received,
}

/// All that a bundle is in.
pub(super) fn heaps_of(bundle: &StoredBundle) -> impl Iterator<Item = Heap> {
    let ingress = bundle.ingress.filter(|_| bundle.class == Class::Stranger);
    [Some(Heap::Class(bundle.class)), bundle.origin.map(Heap::Origin), ingress.map(Heap::Ingress)]
        .into_iter()
        .flatten()
}

/// All that counts a bundle.
pub(super) fn counts_of(bundle: &StoredBundle) -> impl Iterator<Item = Count> {
    heaps_of(bundle).map(Count::Held).chain(bundle.is_strangers_word().then_some(Count::Public))
}
