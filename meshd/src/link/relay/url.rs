//! Where a relay is, as a user writes it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use meshlink_api::relay::{NAME_BYTES_MAX, TOPIC_DEFAULT};
use serde::Deserialize;
use tokio_tungstenite::tungstenite::http::Uri;

/// The address of a relay: `ws://` or `wss://`, host, port, path, topic.
///
/// `Display` and `Debug` leave out the query and whatever it holds.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct RelayUrl {
    tls: bool,
    host: String,
    port: u16,
    path: String,
    /// The query without its topic.
    query: Vec<String>,
    topic: Option<String>,
}

impl RelayUrl {
    /// Whether the connection is encrypted (`wss://`).
    pub fn tls(&self) -> bool {
        self.tls
    }

    /// Host name or address, without brackets.
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether the relay is on this machine.
    pub fn is_loopback(&self) -> bool {
        match self.host().parse::<IpAddr>() {
            Ok(address) => address.is_loopback(),
            Err(_) => self.host == "localhost" || self.host.ends_with(".localhost"),
        }
    }

    /// The topic of the URL, if it names one.
    pub fn topic(&self) -> Option<&str> {
        self.topic.as_deref()
    }

    /// The same relay with a topic to meet in.
    ///
    /// # Errors
    /// In words: the topic is empty or too long, or the URL names another.
    pub fn with_topic(mut self, topic: &str) -> Result<Self, String> {
        let topic = check_topic(topic)?;
        if self.topic.as_ref().is_some_and(|other| *other != topic) {
            return Err("the URL names another topic".to_owned());
        }
        self.topic = Some(topic);
        Ok(self)
    }

    /// What the HTTP request asks for: path and query.
    pub fn request_target(&self) -> String {
        let mut parts = self.query.clone();
        parts.extend(self.topic.as_ref().map(|topic| format!("topic={}", percent_encode(topic))));
        let mark = if parts.is_empty() { "" } else { "?" };
        format!("{}{mark}{}", self.path, parts.join("&"))
    }

    /// `host:port`, for the `Host` header.
    pub fn authority(&self) -> String {
        let default = if self.tls { 443 } else { 80 };
        if self.port == default { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }

    /// A name for what is remembered about this relay and topic, over restarts and spellings.
    pub fn mark_name(&self) -> String {
        let topic = self.topic.as_deref().unwrap_or(TOPIC_DEFAULT);
        let place = format!("{}\n{}\n{}\n{topic}", self.host, self.port, self.path);
        format!(
            "relay-text:{}",
            data_encoding::HEXLOWER.encode(&blake3::hash(place.as_bytes()).as_bytes()[..16])
        )
    }
}

impl FromStr for RelayUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = |why: &str| format!("{why}; write ws://host:port or wss://host");
        let uri: Uri = text.trim().parse().map_err(|_| bad("not a URL"))?;
        let tls = match uri.scheme_str() {
            Some("ws") => false,
            Some("wss") => true,
            Some("http" | "https") => return Err(bad("a relay is reached over WebSocket, not HTTP")),
            Some(_) | None => return Err(bad("not a WebSocket URL")),
        };
        let authority = uri.authority().ok_or_else(|| bad("no host"))?;
        if authority.as_str().contains('@') {
            return Err(
                "a relay knows no user names; put its token into a file and name it as token_file".to_owned()
            );
        }
        let host = authority.host().to_ascii_lowercase();
        if host.is_empty() || host == "[]" {
            return Err(bad("no host"));
        }
        let port = match authority.port() {
            Some(port) if port.as_u16() == 0 => return Err(bad("port 0")),
            Some(port) => port.as_u16(),
            None if authority.as_str().len() > authority.host().len() => return Err(bad("not a port")),
            None if tls => 443,
            None => 80,
        };
        let mut query = Vec::new();
        let mut topic = None;
        for part in uri.query().unwrap_or("").split('&').filter(|part| !part.is_empty()) {
            match part.split_once('=') {
                Some(("topic", name)) => topic = Some(check_topic(&percent_decode(name)?)?),
                Some(("token", _)) => {
                    return Err(
                        "a token in a URL ends up in logs; put it into a file and name it as token_file"
                            .to_owned(),
                    );
                }
                Some(_) | None => query.push(part.to_owned()),
            }
        }
        let path = if uri.path().is_empty() { "/".to_owned() } else { uri.path().to_owned() };
        Ok(Self { tls, host, port, path, query, topic })
    }
}

impl TryFrom<String> for RelayUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for RelayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path == "/" { "" } else { &self.path };
        write!(f, "{}://{}{path}", if self.tls { "wss" } else { "ws" }, self.authority())
    }
}

impl fmt::Debug for RelayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RelayUrl({self})")
    }
}

fn check_topic(topic: &str) -> Result<String, String> {
    if topic.is_empty() || topic.len() > NAME_BYTES_MAX || topic.chars().any(char::is_control) {
        return Err(format!("a topic has 1 to {NAME_BYTES_MAX} bytes and no control characters"));
    }
    Ok(topic.to_owned())
}

fn percent_decode(text: &str) -> Result<String, String> {
    let bad = || "the topic is not URL-encoded UTF-8".to_owned();
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let pair = [rest.next().ok_or_else(bad)?, rest.next().ok_or_else(bad)?];
                data_encoding::HEXLOWER_PERMISSIVE.decode(&pair).map_err(|_| bad())?[0]
            }
            b'+' => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| bad())
}

/// Everything but the unreserved characters of RFC 3986 section 2.3.
fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded += &format!("%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> RelayUrl {
        text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[test]
    fn a_url_says_where_and_which_topic() {
        let plain = url("ws://laptop.local:8080");
        assert_eq!((plain.tls(), plain.host(), plain.port()), (false, "laptop.local", 8080));
        assert_eq!(plain.request_target(), "/");
        assert_eq!(plain.to_string(), "ws://laptop.local:8080");
        let full = url("wss://Relay.example.org/mesh?x=1&topic=b%C3%A9+b");
        assert_eq!((full.host(), full.port(), full.topic()), ("relay.example.org", 443, Some("bé b")));
        assert_eq!(full.request_target(), "/mesh?x=1&topic=b%C3%A9%20b");
        assert_eq!(full.to_string(), "wss://relay.example.org/mesh");
        assert_eq!(url("ws://[::1]:9").host(), "::1");
    }

    #[test]
    fn y11_loopback_is_known_by_name_and_address() {
        for near in
            ["ws://localhost:1", "ws://127.0.0.1:1", "ws://127.9.9.9:1", "ws://[::1]:1", "ws://a.localhost:1"]
        {
            assert!(url(near).is_loopback(), "{near}");
        }
        for far in
            ["ws://192.168.1.2:1", "ws://relay.example.org", "ws://localhost.example.org", "ws://[fe80::1]:1"]
        {
            assert!(!url(far).is_loopback(), "{far}");
        }
    }

    #[test]
    fn what_is_no_relay_is_refused_in_words() {
        for bad in [
            "",
            "relay",
            "http://a",
            "ws://",
            "ws://:80",
            "ws://a:99999",
            "ws://a:0",
            "ftp://a",
            "ws://a/?topic=",
            "ws://a/?topic=%zz",
        ] {
            assert!(bad.parse::<RelayUrl>().is_err(), "{bad}");
        }
        for secret in ["ws://user:pass@a", "ws://a/?token=s3cret"] {
            let error = secret.parse::<RelayUrl>().expect_err(secret);
            assert!(error.contains("token_file") && !error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn e05_nothing_of_the_query_is_shown() {
        let url = url("ws://a:1/?key=s3cret&topic=t");
        assert!(!format!("{url} {url:?}").contains("s3cret"));
        assert!(url.request_target().contains("s3cret"));
    }

    #[test]
    fn a_mark_belongs_to_relay_and_topic() {
        let default = url("ws://a:1");
        assert_eq!(default.mark_name(), default.clone().with_topic(TOPIC_DEFAULT).unwrap().mark_name());
        assert_ne!(default.mark_name(), url("ws://a:1?topic=t").mark_name());
        assert_ne!(default.mark_name(), url("ws://a:2").mark_name());
        assert!(url("ws://a:1?topic=t").with_topic("other").is_err());
    }
}
