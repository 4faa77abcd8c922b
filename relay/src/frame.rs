//! WebSocket frames: bytes to messages and back.
//!
//! [`Decoder`] takes what a client sent, in whatever pieces it arrives, and gives out whole messages. A
//! message that lies complete in the read buffer (nearly all of them do) is unmasked in place and lent out
//! without a copy; only an unfinished one is kept. Work is linear in the bytes received, however they are
//! cut.
//!
//! A message over [`MESSAGE_BYTES_MAX`], however large, is read past and reported, and the connection goes on. A
//! message in more than 1,024 fragments is a [`Violation`]; one that takes too long is the server's to end.
//!
//! There are no extensions here: a set RSV bit is a violation, so there is no compressed frame and no
//! decompression bomb. Source: RFC 6455, sections 5 (framing), 7.4 (close codes) and 8.1 (UTF-8).

use crate::limits::FRAGMENTS_MAX;
use meshlink_api::relay::MESSAGE_BYTES_MAX;
use std::ops::ControlFlow;

/// Close code: all is well.
pub const CLOSE_NORMAL: u16 = 1000;
/// Close code: the relay is stopping.
pub const CLOSE_GOING_AWAY: u16 = 1001;
/// Close code: bytes that are no WebSocket frame.
pub const CLOSE_PROTOCOL: u16 = 1002;
/// Close code: text that is not UTF-8.
pub const CLOSE_NOT_UTF8: u16 = 1007;
/// Close code: against a rule of the relay.
pub const CLOSE_POLICY: u16 = 1008;
/// Close code: too big.
pub const CLOSE_TOO_BIG: u16 = 1009;
/// Close code: come back later.
pub const CLOSE_TRY_LATER: u16 = 1013;

/// Longest payload of a control frame (RFC 6455 section 5.5).
const CONTROL_BYTES_MAX: u64 = 125;
/// Longest header of a client's frame: two bytes, 64 bits of length, the mask.
const HEADER_BYTES_MAX: usize = 14;

/// What a client said.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// A ping, to be answered with the same bytes.
    Ping(&'a [u8]),
    /// A pong.
    Pong,
    /// The other side closes; its code, if it gave one.
    Close(Option<u16>),
    /// A message over [`MESSAGE_BYTES_MAX`], now read past. Its size in bytes.
    TooLarge(u64),
}

/// Bytes that end the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Violation {
    /// The close code to answer with.
    pub code: u16,
    /// In words, at most 123 bytes.
    pub why: &'static str,
}

impl Violation {
    const fn protocol(why: &'static str) -> Self {
        Self { code: CLOSE_PROTOCOL, why }
    }
}

/// Reads the frames of one client.
#[derive(Debug, Default)]
pub struct Decoder {
    /// The first `header_len` bytes of a header that is not all there.
    header: [u8; HEADER_BYTES_MAX],
    header_len: usize,
    /// The frame whose payload is not all there.
    frame: Option<Frame>,
    /// The data message that is not all there.
    message: Option<Message>,
    /// The first bytes of a control frame that is not all there.
    control: Vec<u8>,
}

impl Decoder {
    /// Takes `input`, unmasking it in place, and calls `each` for every message and control frame that
    /// ends in it. When `each` breaks, the rest of `input` is ignored.
    ///
    /// # Errors
    /// [`Violation`] when the client broke the protocol; the decoder is of no use after that.
    pub fn feed(
        &mut self,
        mut input: &mut [u8],
        mut each: impl FnMut(Incoming<'_>) -> ControlFlow<()>,
    ) -> Result<(), Violation> {
        loop {
            let frame = match self.frame.take() {
                Some(frame) => frame,
                None => {
                    let (frame, used) = self.take_header(input)?;
                    input = &mut input[used..];
                    let Some(frame) = frame else { return Ok(()) };
                    frame
                }
            };
            let left = usize::try_from(frame.bytes - frame.taken).unwrap_or(usize::MAX);
            let (payload, rest) = input.split_at_mut(left.min(input.len()));
            input = rest;
            unmask(payload, frame.mask, frame.taken);
            if self.take_payload(frame, payload, &mut each)?.is_break()
                || input.is_empty() && self.frame.is_some()
            {
                return Ok(());
            }
        }
    }

    /// Bytes kept of an unfinished message.
    pub fn kept_bytes(&self) -> usize {
        self.message.as_ref().map_or(0, |message| message.bytes.capacity())
    }

    /// Whether a message has begun and not ended.
    pub fn is_amid_message(&self) -> bool {
        self.header_len > 0 || self.frame.is_some() || self.message.is_some()
    }

    /// Reads a header off the front of `input`; keeps its bytes if it is not all there.
    fn take_header(&mut self, input: &[u8]) -> Result<(Option<Frame>, usize), Violation> {
        let kept = self.header_len;
        let more = input.len().min(HEADER_BYTES_MAX - kept);
        let mut joined = self.header;
        let bytes = if kept == 0 {
            input
        } else {
            joined[kept..kept + more].copy_from_slice(&input[..more]);
            &joined[..kept + more]
        };
        let Some((frame, size)) = parse_header(bytes)? else {
            self.header[kept..kept + more].copy_from_slice(&input[..more]);
            self.header_len = kept + more;
            return Ok((None, more));
        };
        self.header_len = 0;
        self.admit(&frame)?;
        Ok((Some(frame), size - kept))
    }

    /// Checks a frame's place in the sequence, and opens a message if it is the first of many.
    fn admit(&mut self, frame: &Frame) -> Result<(), Violation> {
        match (&mut self.message, frame.opcode) {
            (_, Opcode::Close | Opcode::Ping | Opcode::Pong) => Ok(()),
            (None, Opcode::Continuation) => {
                Err(Violation::protocol("continuation of a message that never began"))
            }
            (Some(_), Opcode::Text | Opcode::Binary) => {
                Err(Violation::protocol("new message before the last one ended"))
            }
            (None, Opcode::Text | Opcode::Binary) => {
                if !frame.fin {
                    self.message = Some(Message::new(frame.opcode));
                }
                Ok(())
            }
            (Some(message), Opcode::Continuation) if message.fragments < FRAGMENTS_MAX => {
                message.fragments += 1;
                Ok(())
            }
            (Some(_), Opcode::Continuation) => {
                Err(Violation { code: CLOSE_TOO_BIG, why: "message in more than 1024 fragments" })
            }
        }
    }

    /// Takes the (unmasked) part of a frame's payload that is there.
    fn take_payload(
        &mut self,
        mut frame: Frame,
        payload: &[u8],
        each: &mut impl FnMut(Incoming<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Violation> {
        let at_once = frame.taken == 0 && payload.len() as u64 == frame.bytes;
        frame.taken += payload.len() as u64;
        let ended = frame.taken == frame.bytes;
        if !ended {
            self.frame = Some(frame);
        }
        match frame.opcode {
            Opcode::Close | Opcode::Ping | Opcode::Pong if at_once => {
                Ok(each(control(frame.opcode, payload)?))
            }
            Opcode::Close | Opcode::Ping | Opcode::Pong => {
                self.control.extend_from_slice(payload);
                if !ended {
                    return Ok(ControlFlow::Continue(()));
                }
                let whole = std::mem::take(&mut self.control);
                Ok(each(control(frame.opcode, &whole)?))
            }
            Opcode::Text | Opcode::Binary if at_once && frame.fin && self.message.is_none() => {
                Ok(each(message(frame.opcode == Opcode::Text, payload, frame.bytes)?))
            }
            Opcode::Continuation | Opcode::Text | Opcode::Binary => {
                let open = self.message.get_or_insert_with(|| Message::new(frame.opcode));
                open.take(payload);
                if !(ended && frame.fin) {
                    return Ok(ControlFlow::Continue(()));
                }
                let whole = self.message.take().expect("it was taken from just above");
                Ok(each(message(whole.text, &whole.bytes, whole.total)?))
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    opcode: Opcode,
    fin: bool,
    mask: [u8; 4],
    bytes: u64,
    taken: u64,
}

#[derive(Debug)]
struct Message {
    text: bool,
    /// Empty once `total` is too large.
    bytes: Vec<u8>,
    total: u64,
    fragments: u32,
}

impl Message {
    fn new(opcode: Opcode) -> Self {
        Self { text: opcode == Opcode::Text, bytes: Vec::new(), total: 0, fragments: 1 }
    }

    fn take(&mut self, payload: &[u8]) {
        self.total += payload.len() as u64;
        if self.total > MESSAGE_BYTES_MAX as u64 {
            self.bytes = Vec::new();
        } else {
            self.bytes.extend_from_slice(payload);
        }
    }
}

/// Reads a header from the front of `bytes`: the frame and the header's size, or `None` if there is more to come.
fn parse_header(bytes: &[u8]) -> Result<Option<(Frame, usize)>, Violation> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    if first & 0x70 != 0 {
        return Err(Violation::protocol("reserved bit set; no extension was agreed on"));
    }
    let fin = first & 0x80 != 0;
    let opcode = match first & 0x0f {
        0 => Opcode::Continuation,
        1 => Opcode::Text,
        2 => Opcode::Binary,
        8 => Opcode::Close,
        9 => Opcode::Ping,
        10 => Opcode::Pong,
        _ => return Err(Violation::protocol("unknown opcode")),
    };
    if second & 0x80 == 0 {
        return Err(Violation::protocol("frame of a client without a mask"));
    }
    let is_control = matches!(opcode, Opcode::Close | Opcode::Ping | Opcode::Pong);
    let short = u64::from(second & 0x7f);
    if is_control && (!fin || short > CONTROL_BYTES_MAX) {
        return Err(Violation::protocol("control frame that is fragmented or over 125 bytes"));
    }
    let (length, rest) = match short {
        126 => match rest.split_first_chunk::<2>() {
            Some((length, rest)) => (u64::from(u16::from_be_bytes(*length)), rest),
            None => return Ok(None),
        },
        127 => match rest.split_first_chunk::<8>() {
            Some((length, rest)) => (u64::from_be_bytes(*length), rest),
            None => return Ok(None),
        },
        short => (short, rest),
    };
    let is_minimal = match short {
        126 => length > 125,
        127 => length > 0xffff && length >> 63 == 0,
        _ => true,
    };
    if !is_minimal {
        return Err(Violation::protocol("length not in its shortest form"));
    }
    let Some((mask, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
    Ok(Some((Frame { opcode, fin, mask: *mask, bytes: length, taken: 0 }, bytes.len() - rest.len())))
}

/// XORs `payload` with the mask; `taken` bytes of the frame came before it (RFC 6455 section 5.3).
fn unmask(payload: &mut [u8], mask: [u8; 4], taken: u64) {
    let shift = (taken % 4) as usize;
    let turned = [0, 1, 2, 3].map(|i| mask[(i + shift) % 4]);
    let word = u64::from_ne_bytes([0, 1, 2, 3, 0, 1, 2, 3].map(|i: usize| turned[i]));
    let (words, tail) = payload.as_chunks_mut::<8>();
    for eight in words {
        *eight = (u64::from_ne_bytes(*eight) ^ word).to_ne_bytes();
    }
    for (byte, mask) in tail.iter_mut().zip(turned.into_iter().cycle()) {
        *byte ^= mask;
    }
}

fn control(opcode: Opcode, payload: &[u8]) -> Result<Incoming<'_>, Violation> {
    match opcode {
        Opcode::Ping => Ok(Incoming::Ping(payload)),
        Opcode::Pong => Ok(Incoming::Pong),
        Opcode::Close | Opcode::Continuation | Opcode::Text | Opcode::Binary => {
            let Some((code, reason)) = payload.split_first_chunk::<2>() else {
                return if payload.is_empty() {
                    Ok(Incoming::Close(None))
                } else {
                    Err(Violation::protocol("close code of one byte"))
                };
            };
            let code = u16::from_be_bytes(*code);
            // RFC 6455 section 7.4: 1004 to 1006 and 1015 never go over the wire; 1012 to 1014 came later (IANA).
            if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                return Err(Violation::protocol("close code that may not be sent"));
            }
            if std::str::from_utf8(reason).is_err() {
                return Err(Violation { code: CLOSE_NOT_UTF8, why: "close reason is not UTF-8" });
            }
            Ok(Incoming::Close(Some(code)))
        }
    }
}

fn message(text: bool, bytes: &[u8], total: u64) -> Result<Incoming<'_>, Violation> {
    if total > MESSAGE_BYTES_MAX as u64 {
        return Ok(Incoming::TooLarge(total));
    }
    if !text {
        return Ok(Incoming::Binary(bytes));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Incoming::Text(text)),
        Err(_) => Err(Violation { code: CLOSE_NOT_UTF8, why: "text is not UTF-8" }),
    }
}

/// Kinds of frames the relay sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outgoing {
    /// A text message.
    Text,
    /// A binary message.
    Binary,
    /// See [`close`].
    Close,
    /// Asks the client for a pong.
    Ping,
    /// Answers a ping.
    Pong,
}

/// Bytes of the header of a frame from the relay.
pub fn header_bytes(payload_bytes: usize) -> usize {
    match payload_bytes {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => 10,
    }
}

/// Appends the header of an unmasked, unfragmented frame to `out`; `payload_bytes` of payload have to follow.
pub fn put_header(kind: Outgoing, payload_bytes: usize, out: &mut Vec<u8>) {
    out.push(match kind {
        Outgoing::Text => 0x81,
        Outgoing::Binary => 0x82,
        Outgoing::Close => 0x88,
        Outgoing::Ping => 0x89,
        Outgoing::Pong => 0x8a,
    });
    match payload_bytes {
        0..=125 => out.push(payload_bytes as u8),
        126..=0xffff => {
            out.push(126);
            out.extend_from_slice(&(payload_bytes as u16).to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(payload_bytes as u64).to_be_bytes());
        }
    }
}

/// Appends a whole frame to `out`.
pub fn put(kind: Outgoing, payload: &[u8], out: &mut Vec<u8>) {
    out.reserve(header_bytes(payload.len()) + payload.len());
    put_header(kind, payload.len(), out);
    out.extend_from_slice(payload);
}

/// A close frame.
pub fn close(code: u16, why: &str) -> Vec<u8> {
    debug_assert!(why.len() as u64 <= CONTROL_BYTES_MAX - 2, "a close reason fits a control frame");
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(why.as_bytes());
    let mut frame = Vec::new();
    put(Outgoing::Close, &payload, &mut frame);
    frame
}

#[cfg(test)]
mod tests;
