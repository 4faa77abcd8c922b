//! Every bound of the program, in one place.
//!
//! The daemon is trusted with messages, not with this process: an answer has a size and a time it must keep.

/// Longest text of one message, in bytes (the API's own bound, checked before anything is sent).
pub(crate) const TEXT_BYTES_MAX: usize = 16_384;
/// Shortest and longest lifetime of a message, in seconds (the API's own bounds).
pub(crate) const TTL_S: std::ops::RangeInclusive<u64> = 60..=2_592_000;

/// Largest answer read into memory. A page of [`PAGE_ITEMS`] messages of the largest size, each byte spelled as
/// `\u00xx`, has 9.9 MB.
pub(crate) const REPLY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Longest line of the event stream: the largest message spelled that way has 99 kB.
pub(crate) const EVENT_BYTES_MAX: usize = 1024 * 1024;
/// Largest head of an answer.
pub(crate) const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Items asked for at once; the API allows up to 500.
pub(crate) const PAGE_ITEMS: usize = 100;
/// Pages after which a list counts as endless: a million items.
pub(crate) const PAGES_MAX: usize = 10_000;

/// How long connecting to one place may take.
pub(crate) const CONNECT_MS_MAX: u64 = 5_000;
/// How long an answer may take.
pub(crate) const ANSWER_MS_MAX: u64 = 30_000;
/// How long work on the store may take: an hour is a gigabyte on a slow card.
pub(crate) const WORK_MS_MAX: u64 = 3_600_000;
/// Silence on the event stream after which the connection counts as dead: four of the daemon's keep-alives.
pub(crate) const STREAM_IDLE_MS_MAX: u64 = 60_000;
/// First pause before trying again; each further one doubles.
pub(crate) const RETRY_MS_MIN: u64 = 100;
/// Longest pause before trying again.
pub(crate) const RETRY_MS_MAX: u64 = 5_000;

/// Largest token file, in bytes.
pub(crate) const TOKEN_BYTES_MAX: u64 = 4_096;
/// Largest `api.json`, in bytes.
pub(crate) const API_JSON_BYTES_MAX: u64 = 65_536;
/// Largest picture read for `profile set --avatar`: base64 must fit the API's 8,192 bytes.
pub(crate) const AVATAR_BYTES_MAX: u64 = 6_000;

/// Length of a message id: BLAKE3-256 in base32.
pub(crate) const MESSAGE_ID_CHARS: usize = 52;
/// Length of a node id: 160 bits of a hash in base32.
pub(crate) const NODE_ID_CHARS: usize = 32;
/// Characters of an id that a list shows. Two of a million messages share them with a probability of 0.4.
pub(crate) const ID_CHARS_SHOWN: usize = 8;
/// Shortest prefix of an id that the daemon looks up.
pub(crate) const ID_CHARS_MIN: usize = 4;
/// Terminal columns a name may take beside other things.
pub(crate) const NAME_COLUMNS_MAX: usize = 24;
/// Characters of one foreign text that are shown; the largest message fits.
pub(crate) const SHOWN_CHARS_MAX: usize = 20_000;
/// Zero-width marks in a row that are shown as they are; real scripts stack at most this many.
pub(crate) const MARKS_MAX: usize = 4;
