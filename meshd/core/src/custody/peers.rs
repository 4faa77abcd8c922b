//! The nodes heard of, what they say about themselves, and whom the user blocked.

use crate::clock::Now;
use crate::id::{BundleId, NodeId};
use crate::limits::{DROPPED_MS, SWEEP_MAX};
use crate::profile::Profile;
use crate::store::{PeerRecord, ProfileRecord, Store, StoreError};
use crate::tally::Loss;

use super::Custody;

/// A peer that is heard of again within this time is not written again for that alone, in milliseconds.
const HEARD_MS: u64 = 3_600_000;

/// What a link did, to be added to its peer's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Dealings {
    pub(crate) encounters: u64,
    pub(crate) bundles_sent: u64,
    pub(crate) bundles_received: u64,
}

impl<S: Store> Custody<S> {
    /// Notes that a node exists.
    pub(super) fn hear_of(&mut self, peer: &NodeId, now: Now) -> Result<(), StoreError> {
        if *peer == self.id() {
            return Ok(());
        }
        let heard_tl_ms = self.timeline.at(now);
        match self.store.peer(peer)? {
            Some(record) if heard_tl_ms.saturating_sub(record.heard_tl_ms) < HEARD_MS => Ok(()),
            Some(record) => self.store.put_peer(&PeerRecord { heard_tl_ms, ..record }),
            None => self.add_peer(PeerRecord { heard_tl_ms, ..unknown(*peer) }),
        }
    }

    /// Adds what a link did to its peer's record.
    pub(crate) fn deal_with(
        &mut self,
        peer: &NodeId,
        dealings: Dealings,
        now: Now,
    ) -> Result<(), StoreError> {
        let known = self.store.peer(peer)?;
        let is_new = known.is_none();
        let mut record = known.unwrap_or_else(|| unknown(*peer));
        record.heard_tl_ms = self.timeline.at(now);
        record.last_seen_unix_ms = now.unix_ms.or(record.last_seen_unix_ms);
        record.encounters += dealings.encounters;
        record.bundles_sent += dealings.bundles_sent;
        record.bundles_received += dealings.bundles_received;
        if is_new { self.add_peer(record) } else { self.store.put_peer(&record) }
    }

    /// Whether a profile is newer than what is known of its node; the one it replaces.
    pub(super) fn compare_profile(
        &self,
        of: &NodeId,
        profile: &Profile,
    ) -> Result<(bool, Option<BundleId>), StoreError> {
        let known = self.store.peer(of)?.and_then(|record| record.profile);
        Ok(known.map_or((true, None), |known| (profile.revision > known.revision, Some(known.bundle))))
    }

    /// Keeps what a node says about itself.
    pub(super) fn learn_profile(
        &mut self,
        of: &NodeId,
        bundle: BundleId,
        profile: Profile,
        now: Now,
    ) -> Result<(), StoreError> {
        let known = self.store.peer(of)?;
        let is_new = known.is_none();
        let mut record = known.unwrap_or_else(|| unknown(*of));
        record.heard_tl_ms = self.timeline.at(now);
        record.profile = Some(ProfileRecord {
            bundle,
            revision: profile.revision,
            name: profile.name,
            about: profile.about,
            avatar: profile.avatar,
        });
        if is_new { self.add_peer(record) } else { self.store.put_peer(&record) }
    }

    /// Blocks a node and drops what is carried of it; says whether it was not blocked before.
    pub(crate) fn block(&mut self, peer: &NodeId, now: Now) -> Result<bool, StoreError> {
        if *peer == self.id() || self.is_blocked(peer) {
            return Ok(false);
        }
        self.set_blocked(peer, true, now)?;
        loop {
            let carried = self.store.bundles_of_origin(peer, SWEEP_MAX)?;
            for id in &carried {
                let expires_tl_ms = self.store.bundle(id)?.map_or(0, |bundle| bundle.expires_tl_ms);
                self.drop_and_remember(id, expires_tl_ms.saturating_add(DROPPED_MS), Loss::Blocked)?;
            }
            if carried.len() < SWEEP_MAX {
                return Ok(true);
            }
        }
    }

    /// Undoes a block; says whether there was one.
    pub(crate) fn unblock(&mut self, peer: &NodeId, now: Now) -> Result<bool, StoreError> {
        if !self.is_blocked(peer) {
            return Ok(false);
        }
        self.set_blocked(peer, false, now)?;
        Ok(true)
    }

    fn set_blocked(&mut self, peer: &NodeId, blocked: bool, now: Now) -> Result<(), StoreError> {
        let heard_tl_ms = self.timeline.at(now);
        let known = self.store.peer(peer)?.unwrap_or_else(|| PeerRecord { heard_tl_ms, ..unknown(*peer) });
        self.store.put_peer(&PeerRecord { blocked, ..known })?;
        if blocked {
            self.blocked.insert(*peer);
        } else {
            self.blocked.remove(peer);
        }
        Ok(())
    }

    fn add_peer(&mut self, record: PeerRecord) -> Result<(), StoreError> {
        self.peers_since_trim += 1;
        self.store.put_peer(&record)
    }
}

fn unknown(id: NodeId) -> PeerRecord {
    PeerRecord {
        id,
        profile: None,
        last_seen_unix_ms: None,
        heard_tl_ms: 0,
        encounters: 0,
        bundles_sent: 0,
        bundles_received: 0,
        blocked: false,
    }
}
