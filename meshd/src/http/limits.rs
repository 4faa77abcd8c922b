//! Every limit of the HTTP API, in one place: unit last in the name, reason beside it.

use std::time::Duration;

/// Largest request body. A text of 16 KiB written as `\u00xx` escapes has 96 KiB.
pub const BODY_BYTES_MAX: usize = 128 * 1024;
/// Largest body of the one route that takes a backup: a backup at its limit in base64, and the words around it.
pub const LONG_BODY_BYTES_MAX: usize = 1536 * 1024;
/// Bytes read past that limit and thrown away, so that the sender gets to read the answer.
pub(super) const BODY_BYTES_DISCARDED_MAX: usize = 1024 * 1024;
/// Largest request head (threat Y-02's limit is four times this).
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// A head not complete by then is cut; idle connections too (threat Y-01).
pub const HEAD_READ: Duration = Duration::from_secs(15);
/// A body not complete by then is answered with 408 (threat A-09).
pub const BODY_READ: Duration = Duration::from_secs(10);
/// A client that takes no byte of what is written for this long is cut (threat A-10).
pub const WRITE_STALL: Duration = Duration::from_secs(60);
/// What the system may hold of an answer that a client does not take.
pub(super) const SEND_BUFFER_BYTES: usize = 256 * 1024;
/// Connections at one time, for each listener by itself: a crowd on TCP does not lock out the socket.
pub const CONNECTIONS_MAX: usize = 256;
/// Event streams at one time; they stay open for days (threat A-10).
pub const STREAMS_MAX: usize = 64;
/// How long a stop waits for answers under way.
pub(super) const STOP: Duration = Duration::from_secs(5);

/// After this long a search answers with what it has found, and where to go on.
pub(super) const SEARCH_TIME: Duration = Duration::from_millis(500);
/// Items of a page that names no limit.
pub const PAGE_ITEMS_DEFAULT: usize = 50;
/// Most items of a page.
pub const PAGE_ITEMS_MAX: usize = 500;
/// Events a stream takes from the log at a time: all it ever holds in memory.
pub(super) const STREAM_BATCH_EVENTS: usize = 32;
/// A stream without news says so this often.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// What `EventSource` waits before it connects again, in milliseconds.
pub(super) const RETRY_MS: u64 = 1_000;

/// How long a ticket for an event stream is good.
pub(super) const TICKET: Duration = Duration::from_secs(30);
/// Tickets not yet used; the oldest goes first.
pub(super) const TICKETS_MAX: usize = 256;
/// Longest name of a token, in bytes.
pub(super) const TOKEN_NAME_BYTES_MAX: usize = 64;
/// A token's last use is recorded this coarsely, in milliseconds.
pub(super) const TOKEN_USE_GRAIN_MS: u64 = 60_000;
/// Wrong tokens answered with 401 in one go; after that one more each [`FAILURE_REFILL`].
pub(super) const FAILURES_MAX: u32 = 20;
/// See [`FAILURES_MAX`].
pub(super) const FAILURE_REFILL: Duration = Duration::from_secs(1);

/// Longest name of a cursor, in bytes.
pub(super) const CURSOR_NAME_BYTES_MAX: usize = 64;
/// Longest `Idempotency-Key`, in bytes.
pub(super) const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;
/// How long a key is remembered, in milliseconds: two days outlast any program that tries again.
pub(super) const IDEMPOTENCY_MS: u64 = 2 * 24 * 3600 * 1000;
/// Keys remembered; beyond that the oldest go.
pub(super) const IDEMPOTENCY_KEYS_MAX: u64 = 100_000;
/// Shortest beginning of a message id that is looked up, in characters.
pub(super) const ID_PREFIX_CHARS_MIN: usize = 4;
/// Largest file served from `--ui`.
pub(super) const UI_FILE_BYTES_MAX: u64 = 32 * 1024 * 1024;
