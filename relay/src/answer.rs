//! HTTP answers: everything the relay says before, or instead of, a WebSocket.
//!
//! Every answer but 101 closes the connection. Errors are `application/problem+json` (RFC 9457), as in meshd.

use data_encoding::BASE64;
use meshlink_api::Problem;
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};

/// An answer that closes the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    media_type: &'static str,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Answer {
    pub(crate) fn health() -> Self {
        Self::ok("application/json", r#"{"status":"ok"}"#.to_owned())
    }

    pub(crate) fn metrics(page: String) -> Self {
        Self::ok("text/plain; version=0.0.4; charset=utf-8", page)
    }

    fn ok(media_type: &'static str, body: String) -> Self {
        Self { status: 200, media_type, headers: Vec::new(), body }
    }

    pub(crate) fn problem(status: u16, code: &str, detail: &str) -> Self {
        let problem = Problem::new(status, code, reason(status), detail);
        let body = serde_json::to_string(&problem).expect("a problem is strings and a number");
        Self { status, media_type: Problem::MEDIA_TYPE, headers: Vec::new(), body }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The bytes to send; without the body if the request was a `HEAD`.
    pub(crate) fn encode(&self, is_head: bool) -> Vec<u8> {
        let Self { status, media_type, body, .. } = self;
        let mut text = format!(
            "HTTP/1.1 {status} {}\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\n\
             Connection: close\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n",
            reason(*status),
            body.len()
        );
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        if !is_head {
            text.push_str(body);
        }
        text.into_bytes()
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Error",
    }
}

/// The answer that turns the connection into a WebSocket (RFC 6455 section 4.2.2). `made_up_id` tells a client
/// that named no device id what it is called. No extension is ever agreed to, so none is named.
pub(crate) fn upgrade(key: &str, protocol: Option<&str>, made_up_id: Option<&str>) -> Vec<u8> {
    let mut text = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n",
        accept_key(key)
    );
    if let Some(protocol) = protocol {
        text.push_str(&format!("Sec-WebSocket-Protocol: {protocol}\r\n"));
    }
    if let Some(id) = made_up_id {
        text.push_str(&format!("X-Device-Id: {id}\r\n"));
    }
    text.push_str("\r\n");
    text.into_bytes()
}

/// Whether `key` is what RFC 6455 section 4.1 asks for: 16 bytes in Base64.
pub(crate) fn is_websocket_key(key: &str) -> bool {
    BASE64.decode(key.as_bytes()).is_ok_and(|bytes| bytes.len() == 16)
}

/// Proves that the key was read, nothing else: SHA-1 is what the RFC asks for.
fn accept_key(key: &str) -> String {
    let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    context.update(key.as_bytes());
    context.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    BASE64.encode(context.finish().as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_key_is_that_of_the_rfcs_example() {
        assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(is_websocket_key("dGhlIHNhbXBsZSBub25jZQ=="));
        assert!(!is_websocket_key("dGhlIHNhbXBsZQ==") && !is_websocket_key(""));
    }

    #[test]
    fn an_answer_to_head_has_no_body_but_its_length() {
        let head = String::from_utf8(Answer::health().encode(true)).unwrap();
        assert!(head.ends_with("\r\n\r\n") && head.contains("Content-Length: 15\r\n"), "{head}");
        let whole = String::from_utf8(Answer::health().encode(false)).unwrap();
        assert!(whole.ends_with("\r\n\r\n{\"status\":\"ok\"}"), "{whole}");
    }
}
