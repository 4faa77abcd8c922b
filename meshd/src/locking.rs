//! A node that is locked and unlocked while it runs.
//!
//! Without its keys a node can't be itself: it has no name to sign with, and what it shows nobody may see. It still
//! carries, as somebody made up for the occasion: an identity that is drawn at each locking, kept in memory and
//! never used again. A carrier's key that lay on the disk would tell a thief which node this was on the air, and
//! would let neighbours link its locked days with each other.

use std::path::Path;

use meshlink_core::{Identity, Node, Now, Store, StoreError};

use crate::identity_file::{self, IdentityError, system_entropy};
use crate::sqlite::SqliteStore;
use crate::vault::{Keyring, Unlocked};

/// Where the store notes whose it is: a tag that says nothing without the keys.
pub(crate) const OWNER_MARK: &str = "owner";

/// Why a node is not unlocked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnlockError {
    /// The store is another node's.
    #[error(
        "the key file and the database in {0} belong to different nodes; restore the right one of both from a copy"
    )]
    OtherNode(String),
    /// The disk failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Gives a node its keys: it is itself again, and shows what came in meanwhile.
///
/// # Errors
/// [`UnlockError`]; the node then stays locked.
pub fn unlock(
    node: &mut Node<SqliteStore>,
    keyring: &Keyring,
    unlocked: Unlocked,
    dir: &Path,
    now: Now,
) -> Result<(), UnlockError> {
    let Unlocked { identity, keys, restored } = unlocked;
    if !node.store().is_locked() {
        return Ok(());
    }
    node.store_mut().unlock(keys);
    let identity = match choose(keyring, node.store(), identity, restored, dir) {
        Ok(identity) => identity,
        Err(error) => {
            node.store_mut().lock();
            return Err(error);
        }
    };
    // From here on it is unlocked; what a disk that fails does not take now comes with the first write it takes.
    node.assume(identity)?;
    settle_copy(node, now)?;
    node.catch_up(now)?;
    Ok(note_owner(node)?)
}

/// Takes a node's keys away. Whatever the disk says, they are gone from memory.
///
/// # Errors
/// No entropy for the identity it carries with: it then stays as it is.
pub fn lock(node: &mut Node<SqliteStore>) -> Result<(), IdentityError> {
    if node.store().is_locked() {
        return Ok(());
    }
    let stand_in = identity_file::generate(&system_entropy)?;
    node.store_mut().lock();
    if let Err(error) = node.assume(stand_in) {
        tracing::debug!(%error, "the store is read again with the next write");
    }
    Ok(())
}

/// Whose the store is: the node's own keys', or those from a backup that lie beside them because a restore was
/// interrupted. The store was made theirs in one transaction, so it knows.
///
/// # Errors
/// [`UnlockError`].
pub fn choose(
    keyring: &Keyring,
    store: &SqliteStore,
    identity: Identity,
    restored: Option<Identity>,
    dir: &Path,
) -> Result<Identity, UnlockError> {
    let Some(restored) = restored else {
        check_owner(store, &identity.node_id(), dir)?;
        return Ok(identity);
    };
    let are_adopted = store.mark(OWNER_MARK)? == store.owner_tag(&restored.node_id());
    if let Err(error) = keyring.settle_restored(are_adopted) {
        tracing::warn!(%error, "an interrupted restore is settled with the next start");
    }
    if are_adopted {
        return Ok(restored);
    }
    check_owner(store, &identity.node_id(), dir)?;
    Ok(identity)
}

/// A store knows whose it is: with another node's keys its own messages would be a stranger's.
///
/// # Errors
/// [`UnlockError`].
pub fn check_owner(store: &SqliteStore, id: &meshlink_core::NodeId, dir: &Path) -> Result<(), UnlockError> {
    let (Some(tag), Some(noted)) = (store.owner_tag(id), store.mark(OWNER_MARK)?) else { return Ok(()) };
    if noted == tag || noted == first_release_mark(id) {
        return Ok(());
    }
    Err(UnlockError::OtherNode(dir.display().to_string()))
}

/// Has a node whose store began as a copy of an older one begin anew (threat K-04), once.
///
/// # Errors
/// The disk failed; the next start tries again.
pub fn settle_copy(node: &mut Node<SqliteStore>, now: Now) -> Result<(), StoreError> {
    if node.store().is_locked() || !node.store().is_unsettled_copy()? {
        return Ok(());
    }
    node.begin_anew(now)?;
    node.store_mut().settle_copy()?;
    tracing::warn!(
        "the store is a backup: this node gives out new keys and forgets the old ones; what it did since the backup \
         was made is not known here"
    );
    Ok(())
}

/// Writes down whose the store is.
///
/// # Errors
/// The disk failed.
pub fn note_owner(node: &mut Node<SqliteStore>) -> Result<(), StoreError> {
    let Some(tag) = node.store().owner_tag(&node.id()) else { return Ok(()) };
    if node.store().mark(OWNER_MARK)? != Some(tag) {
        node.store_mut().set_mark(OWNER_MARK, tag)?;
    }
    Ok(())
}

/// What versions without sealed stores noted: the beginning of the id itself.
fn first_release_mark(id: &meshlink_core::NodeId) -> i64 {
    i64::from_be_bytes(id.0[..8].try_into().expect("an id has 20 bytes"))
}
