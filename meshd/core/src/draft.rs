//! What is asked of a node, and why it may refuse.

use crate::group::entry::GroupId;
use crate::id::{BundleId, NodeId};
use crate::private::code::Code;
use crate::store::{Priority, StoreError};

/// What somebody here wants to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// `#channel` to post to.
    pub channel: String,
    /// The text.
    pub text: String,
    /// How long it may take, in seconds; `None` for the default.
    pub lifetime_s: Option<u64>,
    /// How urgent it is.
    pub priority: Priority,
    /// The message it answers.
    pub reply_to: Option<BundleId>,
}

/// A post of a client that knows nothing of MeshLink, taken over by the node beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgedPost {
    /// `#channel` it belongs to.
    pub channel: String,
    /// The text.
    pub text: String,
    /// The name its sender gives itself; nobody vouches for it.
    pub sender_id: String,
    /// What its sender's clock said, in milliseconds since 1970.
    pub timestamp_ms: i64,
}

/// What a node says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProfileDraft {
    /// Its name.
    pub name: Option<String>,
    /// About itself.
    pub about: Option<String>,
    /// Its picture, as a `data:image/...` URL.
    pub avatar: Option<String>,
}

/// What somebody here wants to say to one other.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateDraft {
    /// For whom; the node itself for a note.
    pub to: NodeId,
    /// The text.
    pub text: String,
    /// How long it may take, in seconds; `None` for the default.
    pub lifetime_s: Option<u64>,
    /// How urgent it is.
    pub priority: Priority,
    /// The message it answers.
    pub reply_to: Option<BundleId>,
}

/// A group to be founded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDraft {
    /// Its name.
    pub name: String,
    /// Whether new members get what was sent before.
    pub history: bool,
    /// Contacts to invite.
    pub members: Vec<NodeId>,
}

/// What somebody here wants to say to a group.
#[derive(Clone, PartialEq, Eq)]
pub struct GroupMessageDraft {
    /// Which.
    pub group: GroupId,
    /// The text.
    pub text: String,
    /// How long it may take, in seconds; `None` for the default.
    pub lifetime_s: Option<u64>,
    /// How urgent it is.
    pub priority: Priority,
    /// The message it answers.
    pub reply_to: Option<BundleId>,
}

/// Why a group can't be founded or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// There is no such group.
    #[error("no group {group} is known here")]
    Unknown {
        /// Which.
        group: GroupId,
    },
    /// The node is not in it.
    #[error("this node is not a member of group {group}")]
    NotMember {
        /// Which.
        group: GroupId,
    },
    /// Nobody asks it to join.
    #[error("this node is not invited to group {group}")]
    NotInvited {
        /// Which.
        group: GroupId,
    },
    /// Only administrators may do that.
    #[error("only an administrator of group {group} can do that")]
    NotAdmin {
        /// Which.
        group: GroupId,
    },
    /// They are in already.
    #[error("{who} is a member of the group or invited already")]
    AlreadyIn {
        /// Who.
        who: NodeId,
    },
    /// They are not in.
    #[error("{who} is neither a member of the group nor invited")]
    NoMember {
        /// Who.
        who: NodeId,
    },
    /// They stand above.
    #[error("{who} founded the group, or was an administrator before this node or by the same one")]
    Senior {
        /// Who.
        who: NodeId,
    },
    /// Only contacts can be invited.
    #[error("{who} is no contact; only contacts can be invited, and take invitations only from theirs")]
    NoContact {
        /// Who.
        who: NodeId,
    },
    /// Their keys are not known yet.
    #[error("the keys of {who} are not known yet: none of its bundles has come by")]
    NoKeys {
        /// Who.
        who: NodeId,
    },
    /// They are blocked.
    #[error("{who} is blocked")]
    Blocked {
        /// Who.
        who: NodeId,
    },
    /// The name is not allowed.
    #[error("the name {problem}")]
    BadName {
        /// What is wrong with it, in words.
        problem: &'static str,
    },
    /// Enough is enough.
    #[error("there are {max} members and invited, which is the most a group can have")]
    TooManyMembers {
        /// The most.
        max: usize,
    },
    /// Enough is enough.
    #[error("there are {max} groups, which is the most there can be")]
    TooManyGroups {
        /// The most.
        max: usize,
    },
    /// Enough is enough.
    #[error("the group was changed {max} times, which is the most there can be; found a new one")]
    TooManyEntries {
        /// The most.
        max: usize,
    },
    /// The disk failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A contact to be added: by id or by code.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContactDraft {
    /// Its id.
    pub id: Option<NodeId>,
    /// Its code.
    pub code: Option<Code>,
    /// How it is called here; `None`: as it calls itself, if nobody else is called that.
    pub name: Option<String>,
    /// Whether the code came from that person directly, such as from the screen in front of the user: the
    /// contact is verified when it answers.
    pub in_person: bool,
}

/// Why a contact can't be added or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContactError {
    /// Neither an id nor a code, or both.
    #[error("a contact is added either by its id or by its code")]
    NobodyNamed,
    /// It is this node itself.
    #[error("that is this node itself")]
    Oneself,
    /// There is no such contact.
    #[error("{id} is no contact")]
    Unknown {
        /// Which.
        id: NodeId,
    },
    /// The code's time is over.
    #[error("the code has expired")]
    CodeExpired,
    /// Enough is enough.
    #[error("there are {max} contacts, which is the most there can be")]
    TooMany {
        /// The most.
        max: usize,
    },
    /// Enough is enough.
    #[error("{max} codes wait to be used, which is the most there can be")]
    TooManyCodes {
        /// The most.
        max: usize,
    },
    /// The name is not allowed.
    #[error("the name {problem}")]
    BadName {
        /// What is wrong with it, in words.
        problem: &'static str,
    },
    /// Another contact has the name.
    #[error("contact {by} is called {name:?} already")]
    NameTaken {
        /// The name.
        name: String,
        /// Who has it.
        by: NodeId,
    },
    /// The contact's identity keys are not known yet.
    #[error("the contact's keys are not known yet: none of its bundles has come by")]
    NoKeys,
    /// The safety number is another one.
    #[error("that is not the safety number with this contact: somebody may sit between the two of you")]
    WrongNumber,
    /// Nobody else claims to be this contact.
    #[error("nobody else claims to be this contact")]
    NoRival,
    /// Only who was verified is introduced.
    #[error("only a verified contact can be introduced")]
    NotVerified,
    /// The disk failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Shows for whom, never what (threat C-18).
impl std::fmt::Debug for PrivateDraft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrivateDraft").field("to", &self.to).finish_non_exhaustive()
    }
}

/// Shows for which group, never what (threat C-18).
impl std::fmt::Debug for GroupMessageDraft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupMessageDraft").field("group", &self.group).finish_non_exhaustive()
    }
}

/// Why something can't be submitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// There is nothing to send.
    #[error("the text is empty")]
    EmptyText,
    /// The text is too long for one message.
    #[error("the text has {bytes} bytes; at most {max} fit in a message")]
    TextTooLong {
        /// Its length.
        bytes: usize,
        /// The most.
        max: usize,
    },
    /// The text holds a character no message may hold.
    #[error("the text holds a NUL character")]
    NulInText,
    /// No channel has such a name.
    #[error("{name:?} is no channel: `#` and 1 to 63 bytes of lower-case letters, digits, `-`, `_` and `.`")]
    BadChannel {
        /// What was given.
        name: String,
    },
    /// The channel is not joined.
    #[error("channel {channel} is not joined")]
    NotJoined {
        /// Which.
        channel: String,
    },
    /// The channel is always joined.
    #[error("channel {channel} can't be left")]
    CannotLeave {
        /// Which.
        channel: String,
    },
    /// Another channel of that name is joined.
    #[error("{channel} is joined here {by}, and a name is one channel at a time")]
    OtherChannel {
        /// Its name.
        channel: String,
        /// How it is joined, in words.
        by: &'static str,
    },
    /// The channel can't have a password.
    #[error("{channel} is a public channel on every node and can't have a password")]
    AlwaysPublic {
        /// Which.
        channel: String,
    },
    /// Enough is enough.
    #[error("{max} channels with passwords are joined, which is the most there can be")]
    TooManyChannels {
        /// The most.
        max: usize,
    },
    /// The lifetime is out of range.
    #[error("a lifetime is between {min} and {max} seconds")]
    BadLifetime {
        /// Shortest, in seconds.
        min: u64,
        /// Longest, in seconds.
        max: u64,
    },
    /// A part of a profile or of a bridged post is not allowed.
    #[error("{field} {problem}")]
    BadField {
        /// Which part.
        field: &'static str,
        /// What is wrong with it, in words.
        problem: &'static str,
    },
    /// The recipient is blocked.
    #[error("{to} is blocked")]
    BlockedRecipient {
        /// Who.
        to: NodeId,
    },
    /// Somebody else claims to be the recipient.
    #[error("another node, {rival}, claims to be {to}: nothing is sent until that is resolved")]
    RivalRecipient {
        /// Who was meant.
        to: NodeId,
        /// Who claims it.
        rival: NodeId,
    },
    /// The node is not in the group.
    #[error("this node is not a member of group {group}")]
    NotInGroup {
        /// Which.
        group: GroupId,
    },
    /// The node was restored, and has heard no member of the group since: somebody may have been removed meanwhile.
    #[error(
        "this node was restored and has heard no member of group {group} since: who is in it may have changed"
    )]
    BehindGroup {
        /// Which.
        group: GroupId,
    },
    /// There is no room for another contact.
    #[error("there are {max} contacts, which is the most there can be")]
    TooManyContacts {
        /// The most.
        max: usize,
    },
    /// Own messages that are still under way use up the node's own share of the store.
    #[error("the store is full of own messages that are still under way")]
    StoreFull,
    /// The disk failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
