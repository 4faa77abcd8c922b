//! Frames over TCP.
//!
//! ```text
//!  hello   "MeshLAN" ‖ 1 ‖ name (16 bytes)      each side, once; who dials speaks first
//!  frame   length (2 bytes, big endian) ‖ frame  1 to 24576 bytes, any number
//! ```
//!
//! The name says which of several connections are with one node; it proves nothing, the handshake inside the
//! frames does. A connection that is quiet costs nothing here: whether the other machine is still there is the
//! kernel's business (keep-alive probes). A frame that was begun must come to its end, and what is written
//! must be taken, within [`STALL_MAX`] (threat S-05).

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use meshlink_core::limits::FRAME_BYTES_MAX;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::timeout;

use super::name::{NAME_BYTES, Name};
use crate::driver::{Incoming, LinkEnd};

const MAGIC: &[u8; 8] = b"MeshLAN\x01";
const HELLO_BYTES: usize = MAGIC.len() + NAME_BYTES;
const LENGTH_BYTES: usize = 2;
/// For a hello to come.
pub(super) const HELLO_TIME_MAX: Duration = Duration::from_secs(5);
/// For the rest of a frame to come, and for what is written to be taken.
const STALL_MAX: Duration = Duration::from_secs(30);
/// Bytes written at once.
const BATCH_BYTES: usize = 64 * 1024;
/// Small frames that come together are read together.
const READ_BYTES: usize = 8 * 1024;
/// A quiet connection is probed after this, so often, so many times: a machine that is gone is noticed within
/// 22 s. The kernel does it; no process wakes up.
const PROBE_AFTER: Duration = Duration::from_secs(10);
const PROBE_EVERY: Duration = Duration::from_secs(4);
const PROBES: u32 = 3;
/// What was sent to a machine that is gone waits this long.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(20);

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    /// The node gave the link up.
    #[error("given up by this node")]
    GivenUp,
    /// The other side closed it.
    #[error("closed by the other side")]
    Closed,
    #[error("lost: {0}")]
    Lost(#[from] io::Error),
    /// The other side sends or takes nothing.
    #[error("stalled for {} s", STALL_MAX.as_secs())]
    Stalled,
    /// What came is not the protocol.
    #[error("nonsense: {0}")]
    Nonsense(&'static str),
}

/// Prepares a connection: frames go out at once, and a machine that is gone is noticed.
pub(super) fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let probes = TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_EVERY).with_retries(PROBES);
    socket.set_tcp_keepalive(&probes)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))?;
    Ok(())
}

/// Where the other side of a connection is. A listener for both families shows IPv4 inside IPv6.
pub(super) fn plain(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) if v6.ip().to_ipv4_mapped().is_some() => {
            SocketAddr::new(address.ip().to_canonical(), v6.port())
        }
        SocketAddr::V4(_) | SocketAddr::V6(_) => address,
    }
}

/// Says who is here.
pub(super) async fn say_hello(stream: &mut TcpStream, name: Name) -> Result<(), Ended> {
    let mut hello = [0; HELLO_BYTES];
    hello[..MAGIC.len()].copy_from_slice(MAGIC);
    hello[MAGIC.len()..].copy_from_slice(name.as_bytes());
    let written = timeout(HELLO_TIME_MAX, stream.write_all(&hello)).await;
    Ok(written.map_err(|_| Ended::Stalled)??)
}

/// Hears who is there. Nothing beyond the hello is read.
pub(super) async fn hear_hello(stream: &mut TcpStream) -> Result<Name, Ended> {
    let mut hello = [0; HELLO_BYTES];
    let read = timeout(HELLO_TIME_MAX, stream.read_exact(&mut hello)).await;
    read.map_err(|_| Ended::Stalled)??;
    let name = hello.strip_prefix(MAGIC).ok_or(Ended::Nonsense("not a node"))?;
    Name::parse(name).ok_or(Ended::Nonsense("not a name"))
}

/// Carries frames both ways until the connection or the link ends. Calls `came` for each frame that comes.
pub(super) async fn carry(stream: &mut TcpStream, end: &LinkEnd, came: impl FnMut()) -> Ended {
    let (reader, writer) = stream.split();
    tokio::select! {
        ended = inward(reader, end, came) => ended,
        ended = outward(writer, end) => ended,
    }
}

async fn inward(reader: ReadHalf<'_>, end: &LinkEnd, mut came: impl FnMut()) -> Ended {
    let mut reader = BufReader::with_capacity(READ_BYTES, reader);
    loop {
        // A quiet link waits here, without a timer.
        match reader.fill_buf().await {
            Ok([]) => return Ended::Closed,
            Ok(_) => {}
            Err(error) => return error.into(),
        }
        let frame = match timeout(STALL_MAX, frame(&mut reader)).await {
            Ok(Ok(frame)) => frame,
            Ok(Err(ended)) => return ended,
            Err(_) => return Ended::Stalled,
        };
        came();
        if end.send(frame).await.is_err() {
            return Ended::GivenUp;
        }
    }
}

async fn frame(reader: &mut BufReader<ReadHalf<'_>>) -> Result<Vec<u8>, Ended> {
    let length = usize::from(reader.read_u16().await?);
    if length == 0 || length > FRAME_BYTES_MAX {
        return Err(Ended::Nonsense("not the length of a frame"));
    }
    let mut frame = vec![0; length];
    reader.read_exact(&mut frame).await?;
    Ok(frame)
}

async fn outward(mut writer: WriteHalf<'_>, end: &LinkEnd) -> Ended {
    let mut batch = Vec::new();
    loop {
        let Some(first) = end.next().await else { return Ended::GivenUp };
        put(&mut batch, &first);
        while batch.len() < BATCH_BYTES {
            let Incoming::Frame(frame) = end.try_next() else { break };
            put(&mut batch, &frame);
        }
        match timeout(STALL_MAX, writer.write_all(&batch)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error.into(),
            Err(_) => return Ended::Stalled,
        }
        batch.clear();
        // A link that was busy once need not hold the memory for ever.
        batch.shrink_to(READ_BYTES);
    }
}

fn put(batch: &mut Vec<u8>, frame: &[u8]) {
    debug_assert!(!frame.is_empty() && frame.len() <= FRAME_BYTES_MAX, "the node makes no other frames");
    batch.extend_from_slice(&(frame.len() as u16).to_be_bytes());
    batch.extend_from_slice(frame);
}

/// The length of every frame fits.
const _: () = assert!(FRAME_BYTES_MAX < 1 << (8 * LENGTH_BYTES));
