//! What became of the bundles that came by: counted since the start, by reason.
//!
//! A node that says "no" or "no longer" can always say why. The counts say it for all bundles together, and tell
//! nothing of any one of them; for a message that is kept here its `status_reason` says why its bundle is gone.

/// Why a bundle is not, or no longer, here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Loss {
    /// Dropped: its lifetime ended.
    Expired,
    /// Dropped: the store was full, and it gave way to another one.
    GaveWay,
    /// Dropped: the neighbour that brought it had used up its share.
    LinkShare,
    /// Dropped: its author had used up its share.
    OriginShare,
    /// Dropped, or not taken: a receipt proves that it has arrived.
    Arrived,
    /// Dropped, or not taken: there is a newer one of its author.
    Outdated,
    /// Dropped: the user took it back.
    Withdrawn,
    /// Dropped, or not taken: the user blocked its author.
    Blocked,
    /// Not taken: nothing here may give way to it.
    NoRoom,
    /// Not taken: strangers, or this neighbour, had made the node write enough within the hour.
    Busy,
    /// Not taken: it was dropped here before.
    Forgotten,
    /// Not taken: too old, or it went through too many nodes.
    Spent,
    /// Not taken: forged, broken, or larger than anybody asked for.
    Invalid,
}

impl Loss {
    /// All there are.
    pub const ALL: [Self; 13] = [
        Self::Expired,
        Self::GaveWay,
        Self::LinkShare,
        Self::OriginShare,
        Self::Arrived,
        Self::Outdated,
        Self::Withdrawn,
        Self::Blocked,
        Self::NoRoom,
        Self::Busy,
        Self::Forgotten,
        Self::Spent,
        Self::Invalid,
    ];

    /// A short name for metrics and logs.
    pub fn code(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::GaveWay => "gave_way",
            Self::LinkShare => "link_share",
            Self::OriginShare => "origin_share",
            Self::Arrived => "arrived",
            Self::Outdated => "outdated",
            Self::Withdrawn => "withdrawn",
            Self::Blocked => "blocked",
            Self::NoRoom => "no_room",
            Self::Busy => "busy",
            Self::Forgotten => "forgotten",
            Self::Spent => "spent",
            Self::Invalid => "invalid",
        }
    }

    /// What is said of a message whose bundle went for that reason.
    pub fn words(self) -> &'static str {
        match self {
            Self::Expired => "no longer carried here: its lifetime ended",
            Self::GaveWay => {
                "no longer carried here: the store was full and others had fewer copies, or were more urgent"
            }
            Self::LinkShare => {
                "no longer carried here: the neighbour that brought it had used up its share of the store"
            }
            Self::OriginShare => "no longer carried here: its author had used up its share of the store",
            Self::Arrived => "no longer carried here: a receipt proves that it arrived",
            Self::Outdated => "no longer carried here: its author sent a newer one",
            Self::Withdrawn => "no longer carried here: it was taken back",
            Self::Blocked => "no longer carried here: its author is blocked",
            Self::NoRoom => "not taken: nothing here may give way to it",
            Self::Busy => "not taken: enough was written for strangers within the hour",
            Self::Forgotten => "not taken: it was dropped here before",
            Self::Spent => "not taken: it was too old, or went through too many nodes",
            Self::Invalid => "not taken: it was not valid",
        }
    }
}

/// Counts since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Bundles taken from neighbours, without receipts.
    pub taken: u64,
    /// Receipts taken from neighbours.
    pub receipts_taken: u64,
    /// Bytes of reconciliation that this node said, without the frames around them.
    pub reconcile_sent_bytes: u64,
    /// The same that neighbours said.
    pub reconcile_received_bytes: u64,
    dropped: [u64; Loss::ALL.len()],
    refused: [u64; Loss::ALL.len()],
}

impl Tally {
    /// Bundles that were held and dropped for that reason.
    pub fn dropped(&self, why: Loss) -> u64 {
        self.dropped[why as usize]
    }

    /// Bundles that came and were not taken for that reason.
    pub fn refused(&self, why: Loss) -> u64 {
        self.refused[why as usize]
    }

    pub(crate) fn count_dropped(&mut self, why: Loss) {
        self.dropped[why as usize] += 1;
    }

    pub(crate) fn count_refused(&mut self, why: Loss) {
        self.refused[why as usize] += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_counted_by_itself_and_has_a_name_of_its_own() {
        let mut tally = Tally::default();
        for (n, why) in Loss::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, n);
            (0..=n).for_each(|_| tally.count_dropped(why));
            (0..n).for_each(|_| tally.count_refused(why));
        }
        for (n, why) in Loss::ALL.into_iter().enumerate() {
            assert_eq!((tally.dropped(why), tally.refused(why)), (n as u64 + 1, n as u64));
            let same = |other: &&Loss| other.code() == why.code() || other.words() == why.words();
            assert_eq!(Loss::ALL.iter().filter(same).count(), 1, "{why:?}");
        }
    }
}
