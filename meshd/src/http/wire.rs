//! The bytes of one connection, on their way to and from hyper: three things hyper leaves to its user.
//!
//! - **A client that does not read.** A write that waits longer than [`limits::WRITE_STALL`] fails, so that an
//!   answer or an event stream nobody takes is cut (threat A-10).
//! - **hyper's own refusals.** It answers a head it can't parse with a bare status. Those bytes are recognised,
//!   because they are written while no request is being served, and a problem document goes out instead.
//! - **Two lengths.** hyper follows RFC 9112 section 6.3 when a request has both `Content-Length` and
//!   `Transfer-Encoding` and drops the former unseen. Here heads are read along with hyper, with the same
//!   parser, and such a request is marked for refusal (threat A-14).

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::limits;
use super::problem::{Code, Failure};

/// Reads and writes one connection; see the module's text.
pub(super) struct Wire<S> {
    io: S,
    turn: Turn,
    scan: Scan,
    stalled: Option<Pin<Box<Sleep>>>,
    refusal: Option<Refusal>,
}

/// What the two ends of hyper, the bytes and the service, tell each other about one connection.
#[derive(Clone, Default)]
pub(super) struct Turn(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    phase: Phase,
    heads: VecDeque<Head>,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    /// No request is being served: what is written is hyper's own.
    #[default]
    Idle,
    /// A request is being served.
    Serving,
    /// Its answer is complete; the last bytes may still be in hyper's buffer.
    Flushing,
}

/// How one request was framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// It has a `Transfer-Encoding`.
    pub(super) chunked: bool,
    /// And a `Content-Length` besides.
    pub(super) two_lengths: bool,
}

impl Turn {
    /// A request reaches the service: how its head was framed, `None` if it was not seen.
    pub(super) fn begin(&self) -> Option<Head> {
        let mut state = self.state();
        state.phase = Phase::Serving;
        state.heads.pop_front()
    }

    /// Wraps an answer's body so that its end is noticed.
    pub(super) fn track(&self, body: Body) -> Body {
        Body::new(Answer { body, turn: self.clone() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics while it holds this lock")
    }
}

/// An answer's body that tells when it is complete.
struct Answer {
    body: Body,
    turn: Turn,
}

impl Drop for Answer {
    fn drop(&mut self) {
        let mut state = self.turn.state();
        if state.phase == Phase::Serving {
            state.phase = Phase::Flushing;
        }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A problem document on its way out in place of hyper's bare status.
struct Refusal {
    bytes: Vec<u8>,
    written: usize,
}

impl Refusal {
    /// The problem for hyper's `HTTP/1.1 <status> ...`.
    fn in_place_of(bare: &[u8]) -> Self {
        let failure = match bare.get(9..12) {
            Some(b"431") => Code::HeadTooLarge
                .because(format!("a head has at most {} bytes and 100 fields", limits::HEAD_BYTES_MAX)),
            Some(b"414") => Code::UriTooLong.because("the request's address has more than 65,534 bytes"),
            Some(_) | None => Code::BadRequest.because("the request's head can't be parsed as HTTP/1.1"),
        };
        Self { bytes: Self::render(&failure), written: 0 }
    }

    fn render(failure: &Failure) -> Vec<u8> {
        let body = failure.body();
        let mut bytes = format!("HTTP/1.1 {}\r\n", failure.code().status()).into_bytes();
        for (name, value) in super::guard::ANSWER_HEADERS {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        let media_type = meshlink_api::Problem::MEDIA_TYPE;
        let length = body.len();
        bytes.extend_from_slice(
            format!(
                "content-type: {media_type}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            )
            .as_bytes(),
        );
        bytes
    }
}

impl<S> Wire<S> {
    pub(super) fn new(io: S, turn: Turn) -> Self {
        Self { io, turn, scan: Scan::Head(Vec::new()), stalled: None, refusal: None }
    }

    /// Turns a wait for the client into an error once it is too long.
    fn unless_stalled<T>(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stalled = None;
            return outcome;
        }
        let deadline = || Box::pin(tokio::time::sleep_until(Instant::now() + limits::WRITE_STALL));
        ready!(self.stalled.get_or_insert_with(deadline).as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        let wire = &mut *self;
        wire.scan.feed(&buf.filled()[before..], |head| wire.turn.state().heads.push_back(head));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let wire = &mut *self;
        if wire.refusal.is_none() {
            if wire.turn.state().phase != Phase::Idle {
                let written = Pin::new(&mut wire.io).poll_write(cx, buf);
                return wire.unless_stalled(cx, written);
            }
            wire.refusal = Some(Refusal::in_place_of(buf));
        }
        // hyper is told of its own bytes once all of ours are out; then it closes the connection.
        while let Some(refusal) = wire.refusal.as_mut().filter(|r| r.written < r.bytes.len()) {
            let written = Pin::new(&mut wire.io).poll_write(cx, &refusal.bytes[refusal.written..]);
            if let Poll::Ready(Ok(count)) = written {
                refusal.written += count;
            }
            if ready!(wire.unless_stalled(cx, written))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
        }
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = &mut *self;
        let flushed = Pin::new(&mut wire.io).poll_flush(cx);
        ready!(wire.unless_stalled(cx, flushed))?;
        let mut state = wire.turn.state();
        if state.phase == Phase::Flushing {
            state.phase = Phase::Idle;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Where in the stream of requests the next byte belongs.
#[derive(Debug, PartialEq, Eq)]
enum Scan {
    /// In a head, of which this much is here.
    Head(Vec<u8>),
    /// In a body of which this many bytes are to come.
    Body(u64),
    /// Nowhere: the head was bad, so hyper refuses it, or its body is chunked, so the connection ends with it.
    Lost,
}

impl Scan {
    fn feed(&mut self, mut bytes: &[u8], mut found: impl FnMut(Head)) {
        while !bytes.is_empty() {
            match self {
                Self::Head(head) => {
                    let before = head.len();
                    head.extend_from_slice(bytes);
                    // A head ends with an empty line: anything else is not worth a parse, so that a head which
                    // comes byte by byte costs no more than one that comes at once.
                    if !has_empty_line(&head[before.saturating_sub(3)..]) {
                        if head.len() > 2 * limits::HEAD_BYTES_MAX {
                            *self = Self::Lost;
                        }
                        return;
                    }
                    let Some((length, next)) = read_head(head, &mut found) else { return *self = Self::Lost };
                    let Some(length) = length else { return };
                    bytes = &bytes[length - before..];
                    *self = next;
                }
                Self::Body(left) => {
                    let step = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    *left -= step as u64;
                    bytes = &bytes[step..];
                    if *left == 0 {
                        *self = Self::Head(Vec::new());
                    }
                }
                Self::Lost => return,
            }
        }
    }
}

fn has_empty_line(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|w| w == b"\n\n") || bytes.windows(3).any(|w| w == b"\n\r\n")
}

/// Reads one head: its length with what comes after it; no length while it is incomplete; `None` if it is bad.
fn read_head(bytes: &[u8], found: &mut impl FnMut(Head)) -> Option<(Option<usize>, Scan)> {
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut request = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(length) = request.parse(bytes).ok()? else {
        return Some((None, Scan::Lost));
    };
    let mut body_length = None;
    let mut head = Head { chunked: false, two_lengths: false };
    for field in request.headers.iter() {
        if field.name.eq_ignore_ascii_case("transfer-encoding") {
            head.chunked = true;
        } else if field.name.eq_ignore_ascii_case("content-length") {
            // hyper refuses what is no number, and two that differ.
            body_length = Some(std::str::from_utf8(field.value).ok()?.parse::<u64>().ok()?);
        }
    }
    head.two_lengths = head.chunked && body_length.is_some();
    found(head);
    let next = match body_length {
        _ if head.chunked => Scan::Lost,
        Some(length) if length > 0 => Scan::Body(length),
        Some(_) | None => Scan::Head(Vec::new()),
    };
    Some((Some(length), next))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Head = Head { chunked: false, two_lengths: false };

    fn scan(parts: &[&[u8]]) -> (Vec<Head>, Scan) {
        let mut heads = Vec::new();
        let mut scan = Scan::Head(Vec::new());
        for part in parts {
            scan.feed(part, |head| heads.push(head));
        }
        (heads, scan)
    }

    #[test]
    fn heads_are_told_from_bodies_however_they_are_cut() {
        let stream = b"POST /a HTTP/1.1\r\ncontent-length: 23\r\n\r\nGET /no HTTP/1.1\r\nX: y\n\
            GET /b HTTP/1.1\r\n\r\n\r\nGET /c HTTP/1.1\nTransfer-Encoding: chunked\n\n0\r\n\r\n";
        let expected = vec![PLAIN, PLAIN, Head { chunked: true, two_lengths: false }];
        assert_eq!(scan(&[stream]), (expected.clone(), Scan::Lost));
        for cut in 1..stream.len() {
            let (first, second) = stream.split_at(cut);
            assert_eq!(scan(&[first, second]).0, expected, "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(scan(&bytes).0, expected);
    }

    #[test]
    fn a14_two_lengths_are_seen_in_either_order() {
        for fields in [
            "Content-Length: 3\r\nTransfer-Encoding: chunked",
            "transfer-encoding: chunked\r\ncontent-length: 3",
        ] {
            let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
            assert_eq!(scan(&[head.as_bytes()]).0, [Head { chunked: true, two_lengths: true }], "{fields}");
        }
    }

    #[test]
    fn a09_a_head_without_end_is_not_collected() {
        let (heads, state) = scan(&[&vec![b'a'; 3 * limits::HEAD_BYTES_MAX]]);
        assert_eq!((heads, state), (Vec::new(), Scan::Lost));
    }

    #[test]
    fn a_bare_refusal_becomes_a_problem() {
        let refusal = Refusal::in_place_of(b"HTTP/1.1 431 Request Header Fields Too Large\r\n\r\n");
        let text = String::from_utf8(refusal.bytes).unwrap();
        assert!(text.starts_with("HTTP/1.1 431 "), "{text}");
        assert!(text.contains("content-type: application/problem+json\r\n"), "{text}");
        assert!(text.contains("x-content-type-options: nosniff\r\n"), "{text}");
        assert!(text.contains("\"code\":\"head_too_large\""), "{text}");
    }

    /// Writes what a request's answer would be, to a client that takes `room` bytes and no more.
    fn answer(room: usize) -> (Wire<tokio::io::DuplexStream>, tokio::io::DuplexStream) {
        let (near, far) = tokio::io::duplex(room);
        let turn = Turn::default();
        turn.begin();
        (Wire::new(near, turn), far)
    }

    #[tokio::test(start_paused = true)]
    async fn a10_a_client_that_takes_nothing_is_cut() {
        use tokio::io::AsyncWriteExt;
        let (mut wire, _far) = answer(16);
        let started = Instant::now();
        let error = wire.write_all(&[b'x'; 64]).await.expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(started.elapsed() >= limits::WRITE_STALL);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_slowly_but_steadily_is_not_cut() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut wire, mut far) = answer(16);
        let reading = tokio::spawn(async move {
            let mut taken = Vec::new();
            while taken.len() < 160 {
                tokio::time::sleep(limits::WRITE_STALL - std::time::Duration::from_secs(1)).await;
                let mut some = [0; 16];
                let count = far.read(&mut some).await.unwrap();
                taken.extend_from_slice(&some[..count]);
            }
            taken.len()
        });
        wire.write_all(&[b'x'; 160]).await.unwrap();
        assert_eq!(reading.await.unwrap(), 160);
    }
}
