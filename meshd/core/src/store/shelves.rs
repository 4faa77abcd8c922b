//! The node's own small records: slots, of which there is one each, and shelves, where they lie by key.

/// A small record of the node's own that has no table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// What the node says about itself.
    Profile,
    /// Which links and neighbours the event log has as up.
    Links,
    /// How many dropped ids are remembered.
    Dropped,
    /// The own published prekeys.
    Prekeys,
    /// Up to which row posts that nothing opened were tried.
    TriedRow,
}

impl Slot {
    /// Its number, for stores that keep slots by number.
    pub fn number(self) -> u8 {
        match self {
            Self::Profile => 0,
            Self::Links => 1,
            Self::Dropped => 2,
            Self::Prekeys => 3,
            Self::TriedRow => 4,
        }
    }
}

/// Small records of one sort that the node finds by a key of its own making; what they hold is the node's
/// business. On a disk they are sealed (see [`Shelf::hides_keys`]), and gone while the store is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shelf {
    /// Contacts, by node id.
    Contact,
    /// Secret halves of prekeys, by sort and id.
    Prekey,
    /// Codes shown to others, by id.
    Invite,
    /// Own private messages, by message id.
    Outbound,
    /// The own private messages that bundles carry, by bundle id and by commitment.
    Sent,
    /// Own private messages that wait for keys, by recipient and message id.
    Waiting,
    /// Private messages opened here, by message id.
    Opened,
    /// What is to be done at a time, by time.
    Due,
    /// Public channels shown here, by name: since when, in milliseconds since 1970.
    Channel,
    /// Password channels shown here, by name, with their keys.
    SecretChannel,
    /// Groups, by id: the own session, and what the members are known to have.
    Group,
    /// Entries of groups' rosters, by group and hash.
    GroupEntry,
    /// Sessions of groups that can be read, by member and id.
    GroupSession,
    /// Own messages to groups, by message id: who has them.
    GroupSent,
    /// Receipts for messages to groups that wait to be sent, by author, group and message id.
    GroupReceipt,
}

impl Shelf {
    /// All there are.
    pub const ALL: [Self; 15] = [
        Self::Contact,
        Self::Prekey,
        Self::Invite,
        Self::Outbound,
        Self::Sent,
        Self::Waiting,
        Self::Opened,
        Self::Due,
        Self::Channel,
        Self::SecretChannel,
        Self::Group,
        Self::GroupEntry,
        Self::GroupSession,
        Self::GroupSent,
        Self::GroupReceipt,
    ];

    /// The shelf with that number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|shelf| shelf.number() == number)
    }

    /// Its number, for stores that keep shelves by number.
    pub fn number(self) -> u8 {
        match self {
            Self::Contact => 0,
            Self::Prekey => 1,
            Self::Invite => 2,
            Self::Outbound => 3,
            Self::Sent => 4,
            Self::Waiting => 5,
            Self::Opened => 6,
            Self::Due => 7,
            Self::Channel => 8,
            Self::SecretChannel => 9,
            Self::Group => 12,
            Self::GroupEntry => 13,
            Self::GroupSession => 14,
            Self::GroupSent => 15,
            Self::GroupReceipt => 16,
        }
    }

    /// Whether its keys say something private, such as whom the user knows. Such a shelf is read as a whole to
    /// be listed, so it is a small one. The keys of the others lie in the clear, to be found in order: ids and
    /// times that say nothing to a stranger.
    pub fn hides_keys(self) -> bool {
        match self {
            Self::Contact
            | Self::Invite
            | Self::Waiting
            | Self::Channel
            | Self::SecretChannel
            | Self::Group
            | Self::GroupEntry
            | Self::GroupSession
            | Self::GroupReceipt => true,
            Self::Prekey | Self::Outbound | Self::Sent | Self::Opened | Self::Due | Self::GroupSent => false,
        }
    }
}

/// A key of a shelf and what is under it.
pub type Record = (Vec<u8>, Vec<u8>);
