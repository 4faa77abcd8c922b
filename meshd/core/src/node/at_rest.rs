//! A node that becomes another one: locked and unlocked, or made of a backup.

use crate::clock::Now;
use crate::custody::Export;
use crate::draft::SubmitError;
use crate::identity::Identity;
use crate::store::{Store, StoreError};

use super::{CloseReason, Node};

impl<S: Store> Node<S> {
    /// Goes on as another identity, after the store was locked or unlocked. All links are closed: nobody is to see
    /// that the one node is the other.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn assume(&mut self, identity: Identity) -> Result<(), StoreError> {
        self.drop_links(CloseReason::OtherIdentity);
        self.custody.identity = identity;
        self.is_unsettled = true;
        let reloaded = self.custody.reload();
        self.is_stale = reloaded.is_err();
        reloaded
    }

    /// Shows what came in while the store was locked: posts, and the first of the private mail. The rest comes with the
    /// next timeouts, as all of it would without this call.
    ///
    /// # Errors
    /// The store failed.
    pub fn catch_up(&mut self, now: Now) -> Result<(), StoreError> {
        self.write(now, |node| node.custody.try_put_by(now))
    }

    /// What of this node goes into a backup, beside its keys.
    ///
    /// # Errors
    /// The store is locked or can't be read.
    pub fn export(&self) -> Result<Export, StoreError> {
        self.custody.export()
    }

    /// Goes on from an older copy of the own store, in one transaction: with prekeys of a new lineage, new sessions in
    /// groups, and without keys that may have been used since (threat K-04). Others notice as they meet it, and seal again
    /// what it has not confirmed.
    ///
    /// # Errors
    /// The store is locked or failed.
    pub fn begin_anew(&mut self, now: Now) -> Result<(), StoreError> {
        self.write_private(now, |node| node.custody.begin_anew(now))
    }

    /// Goes on as the node of a backup, in one transaction. Contacts, codes and keys of who it was before go; messages
    /// stay. If that can't be done or can't be committed, it is who it was, and all of the transaction is lost.
    ///
    /// # Errors
    /// See [`SubmitError`].
    pub fn restore(&mut self, identity: Identity, export: Export, now: Now) -> Result<(), SubmitError> {
        self.write_private(now, |node| {
            node.drop_links(CloseReason::OtherIdentity);
            node.custody.restore(identity, export, now).inspect_err(|error| {
                let half_done = StoreError::Io { detail: format!("the restore was undone: {error}") };
                node.lose(&half_done, now);
            })
        })
    }
}
