//! Every limit of the core, in one place: unit last in the name, reason and source beside it.

/// Longest text of a message, in bytes of UTF-8.
pub const TEXT_BYTES_MAX: usize = 16 * 1024;
/// Largest payload of a bundle: a text with its envelope, or one attachment chunk.
pub const PAYLOAD_BYTES_MAX: usize = 20 * 1024;
/// Largest header of a bundle. Ours has at most 115 bytes; the rest is room for later fields.
pub const HEADER_BYTES_MAX: usize = 256;
/// Largest signature of a bundle: Ed25519. A kind that is not signed has none; its author is proven inside.
pub const AUTH_BYTES_MAX: usize = 64;
/// Largest frame on a link. One bundle fits with its envelope and encryption.
pub const FRAME_BYTES_MAX: usize = 24 * 1024;
/// What a bundle counts at least against the cap: its row and index entries (threat L-05).
pub const BUNDLE_COST_BYTES_MIN: u64 = 512;
/// What a message counts against the cap beside its text.
pub const MESSAGE_COST_BYTES: u64 = 256;

/// Latest time a bundle may claim to be made at, in milliseconds since 1970: the last RFC 3339 can write.
pub const CREATED_UNIX_MS_MAX: u64 = 253_402_300_799_999;
/// Shortest lifetime, in seconds.
pub const LIFETIME_S_MIN: u64 = 60;
/// Lifetime of a message whose author names none, in seconds: 7 days.
pub const LIFETIME_S_DEFAULT: u64 = 7 * 24 * 3600;
/// Longest lifetime of an own or a contact's bundle, in seconds: 30 days (threat L-04).
pub const LIFETIME_S_MAX: u64 = 30 * 24 * 3600;
/// Longest lifetime granted to a stranger's bundle, in seconds: 7 days (threat L-04).
pub const LIFETIME_S_STRANGER_MAX: u64 = 7 * 24 * 3600;
/// How long past its expiry a bundle's id is remembered, in milliseconds: one day (threats L-07, R-01).
pub const DROPPED_MS: u64 = 24 * 3600 * 1000;

/// Most nodes a bundle passes through (threat S-06).
pub const HOPS_MAX: u8 = 16;
/// Copies a directed bundle starts with (binary spray and wait, Spyropoulos et al. 2005).
pub const COPIES_MAX: u8 = 8;

/// Links at one time, all kinds together.
pub const LINKS_MAX: usize = 256;
/// A handshake not done by then is cut, in milliseconds (threats S-12, B-03).
pub const HANDSHAKE_MS_MAX: u64 = 10_000;
/// A neighbour that owes an answer and is silent for this long is cut, in milliseconds (threat S-05).
pub const STALL_MS_MAX: u64 = 30_000;

/// Steps kept on the way of one message, with all neighbours together.
pub const HAND_OVERS_MAX: usize = 64;

/// How much a node keeps. The rest of the limits are the protocol's and the same for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of bundles and received messages, all together.
    pub store_bytes_max: u64,
    /// Most bundles.
    pub store_bundles_max: u64,
    /// Events kept in the log.
    pub events_kept: u64,
    /// Nodes heard of.
    pub peers_kept: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            store_bytes_max: 512 * 1024 * 1024,
            store_bundles_max: 1_000_000,
            events_kept: 100_000,
            peers_kept: 10_000,
        }
    }
}
