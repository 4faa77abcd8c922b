//! Which posts people here see: those of the channels they joined, and of nobody they blocked.

use crate::bundle::Content;
use crate::clock::Now;
use crate::event::{Event, LinkKind, LoggedEvent, MessageStatus};
use crate::header::Header;
use crate::id::{BundleId, NodeId, Seq};
use crate::store::{
    HandOver, HandOverStep, MessageRecord, MessageState, Priority, Protection, Store, StoreError,
    StoredBundle,
};

use super::Custody;

/// Messages forgotten at most when one comes in.
const TRIM_MAX: usize = 16;

/// A post of any kind, as people see it.
pub(super) struct Words {
    pub(super) channel: String,
    pub(super) text: String,
    pub(super) author: Option<NodeId>,
    pub(super) alias: Option<String>,
    pub(super) reply_to: Option<BundleId>,
    pub(super) created_unix_ms: Option<u64>,
    pub(super) protection: Protection,
}

impl Words {
    /// What of a bundle is a public post, if it is one.
    pub(super) fn of(content: Content, header: &Header) -> Option<Self> {
        let (channel, text, alias, reply_to) = match content {
            Content::Post(post) => (post.channel, post.text, None, post.reply_to),
            Content::Bridged(bridged) => (bridged.channel, bridged.text, Some(bridged.sender), None),
            Content::Profile(_)
            | Content::Sealed(_)
            | Content::Receipt(_)
            | Content::Prekeys(_)
            | Content::SecretPost(_)
            | Content::Group(_)
            | Content::Unread => return None,
        };
        Some(Self {
            channel,
            text,
            author: header.origin.map(|keys| keys.node_id()),
            alias,
            reply_to,
            // 0 stands for none on a post of a client that gave none.
            created_unix_ms: header.created_unix_ms.filter(|ms| *ms > 0),
            protection: Protection::Public,
        })
    }
}

/// How urgent its author called it, however it is carried here.
pub(super) fn priority_said(bundle: &StoredBundle) -> Priority {
    Header::decode(&bundle.header).map_or(bundle.priority, |header| header.priority)
}

impl<S: Store> Custody<S> {
    /// Shows a post whose bundle is stored, unless it was shown once before (threats, S-07).
    pub(super) fn show(&mut self, bundle: &StoredBundle, words: Words, now: Now) -> Result<(), StoreError> {
        if self.store.message_state(&bundle.id)?.is_some() {
            return Ok(());
        }
        let own = words.author == Some(self.id());
        let is_pending = own && bundle.ingress.is_none();
        let mut message = MessageRecord {
            seq: Seq(0),
            id: bundle.id,
            conversation: words.channel,
            from: words.author,
            from_alias: words.alias,
            own,
            text: words.text,
            created_unix_ms: words.created_unix_ms,
            received_unix_ms: now.unix_ms,
            status: if is_pending { MessageStatus::Pending } else { MessageStatus::Synced },
            status_reason: None,
            priority: priority_said(bundle),
            expires_tl_ms: bundle.expires_tl_ms,
            reply_to: words.reply_to,
            read: own,
            protection: words.protection,
        };
        let seq = self.store.insert_message(&mut message)?;
        let event = Event::MessageNew { id: bundle.id };
        self.logged(LoggedEvent { seq, at_unix_ms: now.unix_ms, event });
        if own { Ok(()) } else { self.trim_received() }
    }

    /// Keeps received messages within their share.
    pub(super) fn trim_received(&mut self) -> Result<(), StoreError> {
        let most = self.limits.received_bytes_max();
        if self.store.received_usage()?.bytes > most {
            self.store.trim_received(most, TRIM_MAX)?;
        }
        Ok(())
    }

    /// How the message stands that a bundle carries: the post of the same id, or an own private one.
    pub(super) fn state_of(&self, bundle: &BundleId) -> Result<Option<MessageState>, StoreError> {
        match self.store.message_state(bundle)? {
            Some(message) => Ok(Some(message)),
            None => self.message_in(bundle)?.map_or(Ok(None), |id| self.store.message_state(&id)),
        }
    }

    /// A neighbour says that it holds a bundle: an own message with that bundle is no longer only here. It is
    /// a claim, so nothing else follows from it (threat S-08).
    pub(crate) fn held_by(
        &mut self,
        bundle: &BundleId,
        peer: &NodeId,
        via: LinkKind,
        now: Now,
    ) -> Result<(), StoreError> {
        if let Some(message) = self.state_of(bundle)?.filter(|message| message.own) {
            self.note_step(bundle, HandOverStep::Stored, peer, via, now)?;
            return self.advance(&message.id, MessageStatus::Synced, None, now);
        }
        if self.store.is_locked() { self.note_taken_while_locked(bundle) } else { Ok(()) }
    }

    /// A neighbour names a bundle among what it holds. The same as [`Custody::held_by`], but noted only if
    /// it is news: a walk names everything, each time.
    pub(crate) fn seen_at(
        &mut self,
        bundle: &BundleId,
        peer: &NodeId,
        via: LinkKind,
        now: Now,
    ) -> Result<(), StoreError> {
        match self.state_of(bundle)? {
            Some(message) if message.status == MessageStatus::Pending => self.held_by(bundle, peer, via, now),
            Some(_) | None => Ok(()),
        }
    }

    /// Notes when a message was known to have arrived, and to have been read.
    pub(super) fn note_confirmation(
        &mut self,
        message: &BundleId,
        status: MessageStatus,
        now: Now,
    ) -> Result<(), StoreError> {
        let step = match status {
            MessageStatus::Delivered => HandOverStep::Delivered,
            MessageStatus::Read => HandOverStep::Read,
            MessageStatus::Pending
            | MessageStatus::Synced
            | MessageStatus::Expired
            | MessageStatus::Failed => {
                return Ok(());
            }
        };
        let at_unix_ms = now.unix_ms;
        self.store.record_hand_over(&HandOver { bundle: *message, step, peer: None, via: None, at_unix_ms })
    }

    /// Notes a step on the way of a message.
    pub(crate) fn note_step(
        &mut self,
        bundle: &BundleId,
        step: HandOverStep,
        peer: &NodeId,
        via: LinkKind,
        now: Now,
    ) -> Result<(), StoreError> {
        let bundle = self.message_in(bundle)?.unwrap_or(*bundle);
        let (peer, via) = (Some(*peer), Some(via));
        self.store.record_hand_over(&HandOver { bundle, step, peer, via, at_unix_ms: now.unix_ms })
    }
}
