//! The HTTP head that opens every connection: bytes to a [`Request`].
//!
//! Only what the relay needs of RFC 9112 and RFC 6455 section 4.2.1. [`Head`] gathers the bytes and looks
//! for the blank line in new bytes alone, so a client that sends one byte at a time costs no more than one
//! that sends all at once. The head is parsed once, when it is whole. Bodies are not read: the relay has no
//! resource that takes one, and closes after every answer.

use crate::limits::{HEAD_BYTES_MAX, HEADERS_MAX};
use meshlink_api::relay::{BEARER_PROTOCOL, NAME_BYTES_MAX, TOPIC_DEFAULT};

/// Gathers the bytes of one head.
#[derive(Debug, Default)]
pub struct Head {
    bytes: Vec<u8>,
}

/// Why a head can't be answered with what it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadHead {
    /// Too many bytes or too many headers.
    TooLarge,
    /// Not HTTP, or HTTP that says two things at once. In words.
    Malformed(&'static str),
}

impl Head {
    /// Takes more bytes. When the head is whole, returns the request and how many of `input` belong to it;
    /// the rest is the client's next words.
    ///
    /// # Errors
    /// [`BadHead`]; the connection can only be answered and closed.
    pub fn feed(&mut self, input: &[u8]) -> Result<Option<(Request, usize)>, BadHead> {
        // The blank line may have begun in the bytes kept: look at the last three of them again.
        let before = self.bytes.len();
        let room = (HEAD_BYTES_MAX + 1).saturating_sub(before);
        self.bytes.extend_from_slice(&input[..input.len().min(room)]);
        let from = before.saturating_sub(3);
        let Some(end) = find_blank_line(&self.bytes[from..]).map(|end| from + end) else {
            return if self.bytes.len() > HEAD_BYTES_MAX { Err(BadHead::TooLarge) } else { Ok(None) };
        };
        let request = parse(&self.bytes[..end])?;
        self.bytes = Vec::new();
        Ok(Some((request, end - before)))
    }

    /// Bytes kept.
    pub fn kept_bytes(&self) -> usize {
        self.bytes.capacity()
    }
}

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Request {
    /// `GET`, `HEAD` or another.
    pub method: String,
    /// Without the query.
    pub path: String,
    /// `Origin`, where a browser sent one.
    pub origin: Option<String>,
    /// The secret of `Authorization: Bearer <secret>`, or of the offered subprotocol `bearer.<secret>`.
    pub bearer: Option<String>,
    /// The subprotocols offered, without the one that carries a secret.
    pub protocols: Vec<String>,
    /// The headers that ask for a WebSocket.
    pub upgrade: Option<Upgrade>,
    /// `X-Device-Id`, else `?deviceId=`.
    pub device_id: Option<String>,
    /// `?topic=`, or the default.
    pub topic: String,
}

/// The headers that ask for a WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgrade {
    /// `Sec-WebSocket-Key`.
    pub key: String,
    /// `Sec-WebSocket-Version`.
    pub version: String,
}

fn find_blank_line(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

fn parse(bytes: &[u8]) -> Result<Request, BadHead> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Request::new(&mut headers);
    match head.parse(bytes) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(BadHead::Malformed("head ends too early")),
        Err(httparse::Error::TooManyHeaders) => return Err(BadHead::TooLarge),
        Err(_) => return Err(BadHead::Malformed("not an HTTP/1.1 request")),
    }
    let target = head.path.unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if !path.starts_with('/') {
        return Err(BadHead::Malformed("request target does not begin with /"));
    }
    let mut request = Request {
        method: head.method.unwrap_or_default().to_owned(),
        path: path.to_owned(),
        topic: TOPIC_DEFAULT.to_owned(),
        ..Request::default()
    };
    let host = read_headers(&mut request, head.headers)?;
    if host == 0 && head.version == Some(1) {
        return Err(BadHead::Malformed("no Host header"));
    }
    read_query(&mut request, query)?;
    Ok(request)
}

/// Reads the headers the relay knows; returns how many `Host` there were.
fn read_headers(request: &mut Request, headers: &[httparse::Header<'_>]) -> Result<usize, BadHead> {
    let (mut hosts, mut wants_websocket, mut wants_upgrade) = (0, false, false);
    let (mut key, mut version) = (None, None);
    for header in headers {
        let name = header.name.to_ascii_lowercase();
        let is_known = matches!(
            name.as_str(),
            "host"
                | "origin"
                | "authorization"
                | "x-device-id"
                | "upgrade"
                | "connection"
                | "sec-websocket-key"
                | "sec-websocket-version"
                | "sec-websocket-protocol"
        );
        if !is_known {
            continue;
        }
        let value =
            std::str::from_utf8(header.value).map_err(|_| BadHead::Malformed("header is not UTF-8"))?.trim();
        match name.as_str() {
            "host" => {
                hosts += 1;
                if hosts > 1 {
                    return Err(BadHead::Malformed("two Host headers"));
                }
            }
            "origin" => once(&mut request.origin, value, "two Origin headers")?,
            "authorization" => {
                if let Some((scheme, secret)) = value.split_once(' ')
                    && scheme.eq_ignore_ascii_case("bearer")
                {
                    once(&mut request.bearer, secret.trim(), "two tokens")?;
                }
            }
            "x-device-id" => once(&mut request.device_id, value, "two X-Device-Id headers")?,
            "upgrade" => wants_websocket |= has_word(value, "websocket"),
            "connection" => wants_upgrade |= has_word(value, "upgrade"),
            "sec-websocket-key" => once(&mut key, value, "two Sec-WebSocket-Key headers")?,
            "sec-websocket-version" => once(&mut version, value, "two Sec-WebSocket-Version headers")?,
            _ => request.protocols.extend(words(value).map(str::to_owned)),
        }
    }
    take_bearer_protocol(request)?;
    check_device_id(request)?;
    if wants_websocket && wants_upgrade {
        request.upgrade =
            Some(Upgrade { key: key.unwrap_or_default(), version: version.unwrap_or_default() });
    }
    Ok(hosts)
}

fn once(slot: &mut Option<String>, value: &str, twice: &'static str) -> Result<(), BadHead> {
    match slot.replace(value.to_owned()) {
        None => Ok(()),
        Some(_) => Err(BadHead::Malformed(twice)),
    }
}

fn words(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|word| !word.is_empty())
}

fn has_word(list: &str, wanted: &str) -> bool {
    words(list).any(|word| word.eq_ignore_ascii_case(wanted))
}

fn take_bearer_protocol(request: &mut Request) -> Result<(), BadHead> {
    let mut secrets = Vec::new();
    request.protocols.retain(|protocol| match protocol.strip_prefix(BEARER_PROTOCOL) {
        Some(secret) => {
            secrets.push(secret.to_owned());
            false
        }
        None => true,
    });
    secrets.iter().try_for_each(|secret| once(&mut request.bearer, secret, "two tokens"))
}

fn check_device_id(request: &mut Request) -> Result<(), BadHead> {
    match request.device_id.take() {
        Some(id) if !id.is_empty() => {
            request.device_id =
                Some(checked_name(id, "device id is not 1 to 128 bytes without control characters")?);
        }
        Some(_) | None => {}
    }
    Ok(())
}

/// Reads `topic` and `deviceId`; the first of each counts, an empty one is as none, others are ignored.
fn read_query(request: &mut Request, query: &str) -> Result<(), BadHead> {
    let mut topic = None;
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match name {
            "topic" if topic.is_none() && !value.is_empty() => {
                let why = "topic is not 1 to 128 bytes of UTF-8 without control characters";
                topic = Some(checked_name(decoded(value).ok_or(BadHead::Malformed(why))?, why)?);
            }
            "deviceId" if request.device_id.is_none() && !value.is_empty() => {
                let why = "device id is not 1 to 128 bytes of UTF-8 without control characters";
                request.device_id = Some(checked_name(decoded(value).ok_or(BadHead::Malformed(why))?, why)?);
            }
            _ => {}
        }
    }
    if let Some(topic) = topic {
        request.topic = topic;
    }
    Ok(())
}

fn checked_name(name: String, why: &'static str) -> Result<String, BadHead> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(BadHead::Malformed(why));
    }
    Ok(name)
}

/// Undoes the encoding of a query value as browsers make it (`URLSearchParams`): `%41`, and `+` for a space.
fn decoded(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let high = char::from(rest.next()?).to_digit(16)?;
                let low = char::from(rest.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(head: &str) -> Result<Request, BadHead> {
        let mut gathered = Head::default();
        let (request, used) = gathered.feed(head.as_bytes())?.expect("the head is whole");
        assert_eq!(used, head.len());
        Ok(request)
    }

    fn get(target: &str, headers: &str) -> Result<Request, BadHead> {
        parsed(&format!("GET {target} HTTP/1.1\r\nHost: x\r\n{headers}\r\n"))
    }

    #[test]
    fn a_head_is_found_wherever_it_is_cut() {
        let bytes = b"GET /?topic=a HTTP/1.1\r\nHost: x\r\nX-Device-Id: d\r\n\r\nrest";
        let whole = Head::default().feed(bytes).unwrap().unwrap();
        assert_eq!(whole.1, bytes.len() - 4);
        for cut in 1..bytes.len() {
            let mut head = Head::default();
            match head.feed(&bytes[..cut]).unwrap() {
                Some((request, used)) => assert_eq!((request, used), whole),
                None => {
                    let (request, used) = head.feed(&bytes[cut..]).unwrap().unwrap();
                    assert_eq!((request, cut + used), whole, "cut at {cut}");
                }
            }
            assert_eq!(head.kept_bytes(), 0);
        }
    }

    #[test]
    fn y02_a_head_over_32_kib_is_refused_before_more_of_it_is_kept() {
        let mut head = Head::default();
        assert_eq!(head.feed(b"GET / HTTP/1.1\r\nX: "), Ok(None));
        let chunk = [b'a'; 5_000];
        let refused = (0..100).find(|_| head.feed(&chunk) == Err(BadHead::TooLarge)).unwrap();
        assert_eq!(refused, 6);
        assert!(head.kept_bytes() <= 64 * 1024);
    }

    #[test]
    fn y02_more_than_100_headers_are_refused() {
        assert!(get("/", &"A: b\r\n".repeat(99)).is_ok());
        assert_eq!(get("/", &"A: b\r\n".repeat(100)), Err(BadHead::TooLarge));
    }

    #[test]
    fn names_come_from_header_or_query_and_the_header_wins() {
        let request = get("/?topic=caf%C3%A9+1&deviceId=q&x=%", "X-Device-Id: h\r\n").unwrap();
        assert_eq!((request.topic.as_str(), request.device_id.as_deref()), ("café 1", Some("h")));
        let request = get("/?deviceId=q&topic=", "X-Device-Id: \r\n").unwrap();
        assert_eq!((request.topic.as_str(), request.device_id.as_deref()), (TOPIC_DEFAULT, Some("q")));
        assert_eq!(get("/", "").unwrap().device_id, None);
    }

    #[test]
    fn w11_names_with_control_characters_or_over_128_bytes_are_refused() {
        let long = "a".repeat(NAME_BYTES_MAX + 1);
        for target in ["/?topic=a%00", "/?topic=%ff", "/?topic=%4", "/?topic=%zz", "/?deviceId=a%0Ab"] {
            assert!(matches!(get(target, ""), Err(BadHead::Malformed(_))), "{target}");
        }
        assert!(get(&format!("/?topic={long}"), "").is_err());
        assert!(get("/", &format!("X-Device-Id: {long}\r\n")).is_err());
        assert!(get(&format!("/?topic={}", &long[1..]), "").is_ok());
    }

    #[test]
    fn a_token_comes_by_header_or_subprotocol_and_never_by_query() {
        assert_eq!(get("/", "authorization: bearer  s3cret\r\n").unwrap().bearer.as_deref(), Some("s3cret"));
        let request =
            get("/?token=nope", "Sec-WebSocket-Protocol: meshlink.json, bearer.s3cret\r\n").unwrap();
        assert_eq!(request.bearer.as_deref(), Some("s3cret"));
        assert_eq!(request.protocols, ["meshlink.json"]);
        assert_eq!(get("/?token=nope", "").unwrap().bearer, None);
        assert!(get("/", "Authorization: Bearer a\r\nSec-WebSocket-Protocol: bearer.b\r\n").is_err());
    }

    #[test]
    fn a_head_that_says_two_things_at_once_is_refused() {
        for headers in
            ["Host: y\r\n", "Origin: a\r\nOrigin: b\r\n", "Sec-WebSocket-Key: a\r\nSec-WebSocket-Key: b\r\n"]
        {
            assert!(matches!(get("/", headers), Err(BadHead::Malformed(_))), "{headers}");
        }
        assert!(parsed("GET / HTTP/1.1\r\n\r\n").is_err());
        assert!(parsed("GET / HTTP/1.0\r\n\r\n").is_ok());
        assert!(parsed("GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n").is_err());
        assert!(parsed("\u{16}\u{3}\u{1} hello\r\n\r\n").is_err());
    }
}
