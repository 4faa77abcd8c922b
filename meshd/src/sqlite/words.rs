//! What a message says and between whom, sealed as one value of its row.

use meshlink_core::id::{BundleId, NodeId};
use meshlink_core::store::{MessageRecord, StoreError};
use minicbor::{Decode, Encode};

use super::records::seal_failure;
use crate::vault::{Place, RecordKeys, SealError};

/// What words are sealed for.
const COLUMN: &str = "message.words";
/// What a conversation's name is sealed for, and its tag made of.
const CONVERSATION: &str = "conversation.name";
/// What a sender's tag is made of.
const AUTHOR: &str = "author.tag";

/// A tag as it is looked up.
pub(super) type Tag = [u8; RecordKeys::TAG_BYTES];

/// See the module's text. Empty in a locked store.
#[derive(Debug, Default, Encode, Decode)]
pub(super) struct Words<'a> {
    #[n(0)]
    pub(super) conversation: &'a str,
    #[n(1)]
    pub(super) text: &'a str,
    #[n(2)]
    pub(super) from: Option<NodeId>,
    #[n(3)]
    pub(super) alias: Option<&'a str>,
    #[n(4)]
    pub(super) reply_to: Option<BundleId>,
}

impl<'a> Words<'a> {
    pub(super) fn of(message: &'a MessageRecord) -> Self {
        Self {
            conversation: &message.conversation,
            text: &message.text,
            from: message.from,
            alias: message.from_alias.as_deref(),
            reply_to: message.reply_to,
        }
    }

    pub(super) fn seal(&self, keys: &RecordKeys, id: &BundleId) -> Result<Vec<u8>, SealError> {
        let plain = minicbor::to_vec(self).expect("a Vec takes every byte");
        keys.seal(place(id), &zeroize::Zeroizing::new(plain))
    }
}

/// Opens the words of a message and reads them; without keys there are none.
pub(super) fn with<T>(
    keys: Option<&RecordKeys>,
    id: &BundleId,
    sealed: &[u8],
    read: impl FnOnce(&Words<'_>) -> T,
) -> Result<T, StoreError> {
    let Some(keys) = keys else { return Ok(read(&Words::default())) };
    let plain = keys.open(place(id), sealed).map_err(seal_failure)?;
    let words = minicbor::decode(&plain)
        .map_err(|error| StoreError::Corrupt { detail: format!("{COLUMN}: {error}") })?;
    Ok(read(&words))
}

fn place(id: &BundleId) -> Place<'_> {
    Place { column: COLUMN, row: &id.0 }
}

/// A conversation's tag.
pub(super) fn conversation_tag(keys: &RecordKeys, name: &str) -> Tag {
    keys.tag(CONVERSATION, name.as_bytes())
}

/// A conversation's name, sealed for the row with its tag.
pub(super) fn seal_conversation(keys: &RecordKeys, tag: &Tag, name: &str) -> Result<Vec<u8>, SealError> {
    keys.seal(Place { column: CONVERSATION, row: tag }, name.as_bytes())
}

pub(super) fn open_conversation(keys: &RecordKeys, tag: &Tag, sealed: &[u8]) -> Result<String, StoreError> {
    let name = keys.open(Place { column: CONVERSATION, row: tag }, sealed).map_err(seal_failure)?;
    String::from_utf8(name.to_vec())
        .map_err(|_| StoreError::Corrupt { detail: format!("{CONVERSATION} is not text") })
}

/// A sender's tag.
pub(super) fn author_tag(keys: &RecordKeys, id: &NodeId) -> Tag {
    keys.tag(AUTHOR, &id.0)
}
