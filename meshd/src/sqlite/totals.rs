//! What is counted as it changes: how much of each class is held, how many messages stand where, and the last
//! numbers given out.
//!
//! The totals live in memory, are changed with the rows they count, and are written as one row by the commit
//! that makes those rows durable. So a status costs nothing at any size, and a commit one page for all of them.
//! Counts per node and per conversation are in those tables' own rows.

use std::sync::LazyLock;

use meshlink_core::clock::SavedClock;
use meshlink_core::event::MessageStatus;
use meshlink_core::store::{Class, StoreError, Usage, is_strangers_word};

use super::SqliteStore;
use super::column::{class, get, get_some, int, some_int, status};
use super::connection::Connection;

/// See the module's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Totals {
    pub(super) clock: SavedClock,
    /// The newest event's place.
    pub(super) last_event: u64,
    /// The newest bundle's row.
    pub(super) last_row: u64,
    /// The newest idempotency key's number.
    pub(super) last_idempotent: u64,
    usage: [Usage; 4],
    /// Of strangers' bundles, those for everybody.
    public: Usage,
    own: [u64; 6],
    received: Usage,
    unread: u64,
    pub(super) peers: u64,
}

/// How messages stand, all told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    own: [u64; 6],
    /// Messages of others.
    pub received: u64,
    /// Those of them that were not marked read.
    pub unread: u64,
    /// Nodes heard of.
    pub peers: u64,
}

impl Counts {
    /// Own messages with that status.
    pub fn own_with(&self, of: MessageStatus) -> u64 {
        self.own[status(of) as usize]
    }

    /// Own messages, all told.
    pub fn own(&self) -> u64 {
        self.own.iter().sum()
    }
}

/// A message as it is counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tally {
    pub(super) own: bool,
    pub(super) read: bool,
    pub(super) status: MessageStatus,
    pub(super) cost_bytes: u64,
}

impl Tally {
    /// Whether somebody here has yet to read it.
    pub(super) fn is_unread(self) -> bool {
        !self.own && !self.read
    }
}

impl SqliteStore {
    /// How messages stand. Costs nothing.
    pub fn counts(&self) -> Counts {
        let Totals { own, received, unread, peers, .. } = self.totals;
        Counts { own, received: received.bundles, unread, peers }
    }
}

/// Names of the counting columns, in the order of [`Totals::numbers`].
const COLUMNS: [&str; 23] = [
    "last_event",
    "last_row",
    "last_idempotent",
    "own_bundles",
    "own_bytes",
    "contact_bundles",
    "contact_bytes",
    "stranger_bundles",
    "stranger_bytes",
    "receipt_bundles",
    "receipt_bytes",
    "public_bundles",
    "public_bytes",
    "own_pending",
    "own_synced",
    "own_delivered",
    "own_read",
    "own_expired",
    "own_failed",
    "received",
    "received_bytes",
    "unread",
    "peers",
];

static LOAD: LazyLock<String> =
    LazyLock::new(|| format!("SELECT timeline_ms, clock_unix_ms, {} FROM meta", COLUMNS.join(", ")));

static SAVE: LazyLock<String> = LazyLock::new(|| {
    let set: Vec<String> =
        COLUMNS.iter().enumerate().map(|(n, name)| format!("{name} = ?{}", n + 3)).collect();
    format!("UPDATE meta SET timeline_ms = ?1, clock_unix_ms = ?2, {}", set.join(", "))
});

/// The random name of the store, made with it.
pub(super) fn store_id(db: &Connection) -> Result<[u8; 4], StoreError> {
    db.one("SELECT store_id FROM meta", [], |row| get(row, 0))?.ok_or_else(no_meta)
}

fn no_meta() -> StoreError {
    StoreError::Corrupt { detail: "the row of the store's totals is gone".to_owned() }
}

impl Totals {
    pub(super) fn load(db: &Connection) -> Result<Self, StoreError> {
        let totals = db.one(&LOAD, [], |row| {
            let clock = SavedClock { timeline_ms: get(row, 0)?, unix_ms: get_some(row, 1)? };
            let mut numbers = [0; COLUMNS.len()];
            for (n, number) in numbers.iter_mut().enumerate() {
                *number = get(row, n + 2)?;
            }
            Ok(Self::of(clock, numbers))
        })?;
        totals.ok_or_else(no_meta)
    }

    pub(super) fn save(&self, db: &mut Connection) -> Result<(), StoreError> {
        let numbers = self.numbers().map(|number| Some(int(number)));
        let clock = [Some(int(self.clock.timeline_ms)), some_int(self.clock.unix_ms)];
        db.write(&SAVE, rusqlite::params_from_iter(clock.iter().chain(&numbers)))?;
        Ok(())
    }

    pub(super) fn usage(&self, of: Class) -> Usage {
        self.usage[class(of) as usize]
    }

    pub(super) fn received(&self) -> Usage {
        self.received
    }

    pub(super) fn own_with(&self, of: MessageStatus) -> u64 {
        self.own[status(of) as usize]
    }

    /// Messages, all told.
    pub(super) fn messages(&self) -> u64 {
        self.own.iter().sum::<u64>() + self.received.bundles
    }

    /// What is held of strangers' bundles that are for everybody.
    pub(super) fn public(&self) -> Usage {
        self.public
    }

    pub(super) fn add_bundle(&mut self, of: Class, copies: u8, cost_bytes: u64) {
        add(&mut self.usage[class(of) as usize], cost_bytes);
        if is_strangers_word(of, copies) {
            add(&mut self.public, cost_bytes);
        }
    }

    pub(super) fn remove_bundle(&mut self, of: Class, copies: u8, cost_bytes: u64) {
        remove(&mut self.usage[class(of) as usize], cost_bytes);
        if is_strangers_word(of, copies) {
            remove(&mut self.public, cost_bytes);
        }
    }

    pub(super) fn add_message(&mut self, message: Tally) {
        if message.own {
            self.own[status(message.status) as usize] += 1;
        } else {
            add(&mut self.received, message.cost_bytes);
            self.unread += u64::from(message.is_unread());
        }
    }

    pub(super) fn remove_message(&mut self, message: Tally) {
        if message.own {
            let own = &mut self.own[status(message.status) as usize];
            *own = own.saturating_sub(1);
        } else {
            remove(&mut self.received, message.cost_bytes);
            self.unread = self.unread.saturating_sub(u64::from(message.is_unread()));
        }
    }

    fn of(clock: SavedClock, numbers: [u64; COLUMNS.len()]) -> Self {
        let [last_event, last_row, last_idempotent, rest @ ..] = numbers;
        let [ob, oy, cb, cy, sb, sy, rb, ry, pb, py, rest @ ..] = rest;
        let [pending, synced, delivered, read, expired, failed, rest @ ..] = rest;
        let [received, received_bytes, unread, peers] = rest;
        let usage = |bundles, bytes| Usage { bundles, bytes };
        Self {
            clock,
            last_event,
            last_row,
            last_idempotent,
            usage: [usage(ob, oy), usage(cb, cy), usage(sb, sy), usage(rb, ry)],
            public: usage(pb, py),
            own: [pending, synced, delivered, read, expired, failed],
            received: usage(received, received_bytes),
            unread,
            peers,
        }
    }

    fn numbers(&self) -> [u64; COLUMNS.len()] {
        let [own, contact, stranger, receipt] = self.usage;
        let [pending, synced, delivered, read, expired, failed] = self.own;
        [
            self.last_event,
            self.last_row,
            self.last_idempotent,
            own.bundles,
            own.bytes,
            contact.bundles,
            contact.bytes,
            stranger.bundles,
            stranger.bytes,
            receipt.bundles,
            receipt.bytes,
            self.public.bundles,
            self.public.bytes,
            pending,
            synced,
            delivered,
            read,
            expired,
            failed,
            self.received.bundles,
            self.received.bytes,
            self.unread,
            self.peers,
        ]
    }
}

fn add(usage: &mut Usage, bytes: u64) {
    usage.bundles += 1;
    usage.bytes += bytes;
}

/// Saturating: a count that is off (`check` finds it) is no reason to stop.
fn remove(usage: &mut Usage, bytes: u64) {
    usage.bundles = usage.bundles.saturating_sub(1);
    usage.bytes = usage.bytes.saturating_sub(bytes);
}
