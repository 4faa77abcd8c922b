//! Every limit of the relay, in one place.
//!
//! A relay is open to whoever reaches its port, so each buffer, queue, count and wait has an upper bound
//! here. The ids in brackets are the threats a limit answers. Two limits are the operator's to set and live
//! in [`crate::Config`]: clients in all, and messages per second of one client.

use meshlink_api::relay::{HEADER_BYTES, NAME_BYTES_MAX, WINDOW_BYTES};

/// Bytes of a request head (request line and headers) before 431. Browsers stay below 16 KiB. [Y-02]
pub(crate) const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Headers of one request before 431. [Y-02]
pub(crate) const HEADERS_MAX: usize = 100;
/// From accept to the end of the head, TLS handshake included. [Y-01]
pub(crate) const HEAD_MS_MAX: u64 = 10_000;
/// Connections that have not sent a whole head; one more pushes the oldest of them out. [Y-01]
pub(crate) const PENDING_MAX: usize = 1_024;

/// Frames of one message. An honest client that splits 64 KiB into Ethernet packets needs 45. [Y-03]
pub(crate) const FRAGMENTS_MAX: u32 = 1_024;
/// From the first to the last byte of a message, also of one that is refused for its size and only read past. [Y-03]
pub(crate) const MESSAGE_MS_MAX: u64 = 30_000;
/// Bytes of unfinished messages of all clients together; whoever exceeds it is closed with 1013.
pub(crate) const PARTIAL_BYTES_TOTAL_MAX: usize = 64 * 1024 * 1024;

/// Bytes waiting for one client. Over this it is cut as a slow reader. [Y-04]
pub(crate) const QUEUE_BYTES_MAX: usize = 1024 * 1024;
/// Of those, what links may fill; the rest stays free for posts and presence.
pub(crate) const QUEUE_LINK_BYTES_MAX: usize = 768 * 1024;
/// A client with this much waiting gets no more ERROR frames: it does not read the ones it has.
pub(crate) const QUEUE_ERROR_BYTES_MAX: usize = 64 * 1024;
/// Bytes waiting for all clients together, shared ones counted once. Over this the longest queues go. [Y-04]
pub(crate) const QUEUED_BYTES_TOTAL_MAX: usize = 64 * 1024 * 1024;
/// What a queued piece costs besides its bytes.
pub(crate) const PIECE_COST: usize = 64;
/// A client whose queue has not moved for this long is cut. [Y-04]
pub(crate) const STALL_MS_MAX: u64 = 20_000;
/// Kernel send buffer of a connection; Linux doubles it. Left alone it grows to 4 MiB for each client that
/// does not read, which no count of the relay's own sees. [Y-04]
pub(crate) const SEND_BUFFER_BYTES: usize = 256 * 1024;

/// Bytes read from one client before the others get their turn.
pub(crate) const READ_BYTES: usize = 64 * 1024;
/// Connections accepted before the clients get their turn.
pub(crate) const ACCEPTS_PER_TURN: usize = 64;
/// Bytes of posts gathered before they are handed to everyone, even in the middle of a turn.
pub(crate) const GATHERED_BYTES_MAX: usize = 256 * 1024;
/// A log buffer larger than this is given back to the allocator after use.
pub(crate) const SPARE_LOG_BYTES_MAX: usize = 128 * 1024;
/// Log buffers kept for the next turn.
pub(crate) const SPARE_LOGS_MAX: usize = 8;

/// Nodes in one topic: the presence list of a newcomer stays well below [`QUEUE_BYTES_MAX`].
pub(crate) const NODES_PER_TOPIC_MAX: usize = 4_096;
const _: () = assert!(NODES_PER_TOPIC_MAX * (4 + HEADER_BYTES + NAME_BYTES_MAX) < QUEUE_BYTES_MAX * 3 / 4);

/// Payload bytes that one node may have under way to another before the relay ends the link. An honest one
/// stays within [`WINDOW_BYTES`]; twice that covers what it sent before it heard that a link was over.
pub(crate) const LINK_BYTES_UNDER_WAY_MAX: u32 = 2 * WINDOW_BYTES;
/// Nodes to which one node may have bytes under way at a time. A meshd keeps 16 sessions.
pub(crate) const LINKS_PER_NODE_MAX: usize = 256;

/// A client that was silent for this long is pinged.
pub(crate) const PING_AFTER_MS: u64 = 25_000;
/// A client that was silent for this long is gone: cut.
pub(crate) const SILENCE_MS_MAX: u64 = 60_000;
/// Pings and pongs a client may send at once; in the long run
/// [`meshlink_api::relay::CONTROL_FRAMES_PER_S`]. [Y-05]
pub(crate) const CONTROL_FRAMES_BURST: u32 = 400;

/// From a close frame or an HTTP answer until the connection is dropped, whatever the other side does. [Y-05]
pub(crate) const CLOSE_MS_MAX: u64 = 3_000;
/// How long a relay that was told to stop waits for its clients.
pub(crate) const STOP_MS_MAX: u64 = 1_000;
/// Between two looks at the deadlines above.
pub(crate) const SWEEP_MS: u64 = 1_000;
/// Between two attempts to accept while the process has no file descriptor left.
pub(crate) const ACCEPT_RETRY_MS: u64 = 250;

/// Wrong tokens from one address before its refusals are held back. [Y-07]
pub(crate) const TOKEN_FAILURES_FREE: u32 = 3;
/// How long the first such refusal is held back; each further one twice as long. [Y-07]
pub(crate) const TOKEN_DELAY_MS: u64 = 250;
/// Longest delay of a refusal. [Y-07]
pub(crate) const TOKEN_DELAY_MS_MAX: u64 = 8_000;
/// An address without a failure for this long starts afresh. [Y-07]
pub(crate) const TOKEN_MEMORY_MS: u64 = 600_000;
/// Refusals held back for one address at a time; further ones get 429 at once. [Y-07]
pub(crate) const TOKEN_HELD_MAX: u32 = 32;
/// Addresses whose failures are remembered. [Y-07]
pub(crate) const TOKEN_ADDRESSES_MAX: usize = 8_192;
/// A token shorter than this gets a warning.
pub(crate) const TOKEN_BYTES_GOOD: usize = 16;
/// Longest token.
pub(crate) const TOKEN_BYTES_MAX: usize = 512;
