//! Which `Host` a request may name (threats ).
//!
//! A page whose name is rebound to a loopback address sends its own name as `Host`. So only names no one can
//! rebind are taken: `localhost`, loopback addresses and the address the connection came in on, each with the
//! listener's port; and what the configuration adds.

use std::net::{IpAddr, SocketAddr};

use hyper::{HeaderMap, Uri, header};

use crate::http::peer::Peer;
use crate::http::problem::{Code, Failure};

/// The `Host` of a request that may go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    /// In lower case: `name[:port]`.
    text: String,
    /// Whether a proxy may be in front that speaks TLS. The listener itself does not, so a page of `https://` at its
    /// very address is of somebody else.
    behind_proxy: bool,
}

impl Host {
    /// Reads and judges the one `Host` of a request.
    pub(super) fn of(
        headers: &HeaderMap,
        uri: &Uri,
        peer: Peer,
        allowed: &[String],
    ) -> Result<Self, Failure> {
        let mut values = headers.get_all(header::HOST).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(Code::BadHost.because("a request has exactly one Host header").close());
        };
        let malformed = || Code::BadHost.because("the Host header is not `name` or `name:port`").close();
        let text = value.to_str().map_err(|_| malformed())?.to_ascii_lowercase();
        let (name, port) = split(&text).ok_or_else(malformed)?;
        if uri.authority().is_some_and(|a| !a.as_str().eq_ignore_ascii_case(&text)) {
            return Err(Code::BadHost
                .because("the request line and the Host header name different hosts")
                .close());
        }
        let listed = allowed.iter().any(|a| a.eq_ignore_ascii_case(&text) || a.eq_ignore_ascii_case(name));
        if listed || is_own(name, port, peer) {
            return Ok(Self { text, behind_proxy: listed || matches!(peer, Peer::Unix { .. }) });
        }
        Err(Code::ForeignHost
            .because(format!("Host {text:?} is not an address of this API"))
            .hint("use http://localhost with the API's port, or add the name to api.allowed_hosts in the configuration"))
    }

    /// Whether an `Origin` is a page of this host: ours, or one that a proxy puts in front of us.
    pub(super) fn is_origin(&self, origin: &str) -> bool {
        let with_tls = || origin.strip_prefix("https://").filter(|_| self.behind_proxy);
        let authority = origin.strip_prefix("http://").or_else(with_tls);
        authority.is_some_and(|a| a.eq_ignore_ascii_case(&self.text))
    }
}

fn is_own(name: &str, port: Option<u16>, peer: Peer) -> bool {
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
    let loopback = name == "localhost" || address.is_some_and(|a| a.is_loopback());
    match peer {
        // No page reaches a Unix socket by itself, but a proxy may lead one there.
        Peer::Unix { .. } => loopback,
        Peer::Tcp { local } => {
            let here = address.is_some_and(|a| a == canonical(local) && !a.is_unspecified());
            (loopback || here) && port.unwrap_or(80) == local.port()
        }
    }
}

fn canonical(local: SocketAddr) -> IpAddr {
    local.ip().to_canonical()
}

/// Splits `name[:port]`; `None` if it is neither a DNS name, an IPv4 address nor an IPv6 address in brackets.
fn split(text: &str) -> Option<(&str, Option<u16>)> {
    let (name, port) = match text.rfind(':') {
        Some(colon) if !text.ends_with(']') => {
            let digits = &text[colon + 1..];
            let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            (&text[..colon], Some(digits.parse().ok().filter(|_| plain)?))
        }
        Some(_) | None => (text, None),
    };
    let valid = match name.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        }
    };
    valid.then_some((name, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: Peer = Peer::Tcp { local: SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 6374) };

    fn judge(hosts: &[&str], peer: Peer, allowed: &[&str]) -> Result<Host, Code> {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(header::HOST, host.parse().unwrap());
        }
        let allowed: Vec<String> = allowed.iter().map(|a| (*a).to_owned()).collect();
        Host::of(&headers, &Uri::from_static("/v1/status"), peer, &allowed).map_err(|f| f.code())
    }

    #[test]
    fn loopback_names_with_the_port_are_taken() {
        for host in ["localhost:6374", "LOCALHOST:6374", "127.0.0.1:6374", "127.8.9.1:6374", "[::1]:6374"] {
            assert!(judge(&[host], TCP, &[]).is_ok(), "{host}");
        }
    }

    #[test]
    fn a02_a03_other_hosts_are_refused() {
        let foreign = [
            "evil.example",
            "evil.example:6374",
            "localhost",
            "localhost:80",
            "localhost:6375",
            "127.0.0.1",
            "0.0.0.0:6374",
            "[::]:6374",
            "127.0.0.1.evil:6374",
            "localhost.evil:6374",
            "localhost.:6374",
            "a.localhost:6374",
            "192.168.1.7:6374",
            "2130706433:6374",
            "0x7f000001:6374",
            "127.1:6374",
            "[::ffff:192.168.1.7]:6374",
        ];
        for host in foreign {
            assert_eq!(judge(&[host], TCP, &[]), Err(Code::ForeignHost), "{host}");
        }
        let malformed = [
            "",
            ":6374",
            "localhost:",
            "localhost:+6374",
            "localhost:6374:6374",
            "localhost:99999",
            "localhost:6374/",
            "localhost:6374?a",
            "localhost#:6374",
            "user@localhost:6374",
            "[::1:6374",
            "::1:6374x",
            "local host:6374",
            "[::1]x:6374",
        ];
        for host in malformed {
            assert_eq!(judge(&[host], TCP, &[]), Err(Code::BadHost), "{host}");
        }
        assert_eq!(judge(&[], TCP, &[]), Err(Code::BadHost));
        assert_eq!(judge(&["localhost:6374", "localhost:6374"], TCP, &[]), Err(Code::BadHost));
    }

    #[test]
    fn configured_hosts_are_taken_with_or_without_port() {
        assert!(judge(&["mesh.example"], TCP, &["mesh.example"]).is_ok());
        assert!(judge(&["Mesh.Example:443"], TCP, &["mesh.example"]).is_ok());
        assert_eq!(judge(&["mesh.example:443"], TCP, &["mesh.example:8443"]), Err(Code::ForeignHost));
    }

    #[test]
    fn a05_a_page_over_tls_is_own_only_where_a_proxy_may_be() {
        let host = judge(&["localhost:6374"], TCP, &[]).unwrap();
        assert!(host.is_origin("http://localhost:6374"));
        assert!(!host.is_origin("https://localhost:6374"));
        for host in [
            judge(&["mesh.example"], TCP, &["mesh.example"]).unwrap(),
            judge(&["localhost"], Peer::Unix { trusted: true }, &[]).unwrap(),
        ] {
            assert!(host.is_origin(&format!("https://{}", host.text)), "{host:?}");
        }
    }

    #[test]
    fn the_address_the_connection_came_in_on_is_taken() {
        let lan = Peer::Tcp { local: "192.168.1.7:6374".parse().unwrap() };
        assert!(judge(&["192.168.1.7:6374"], lan, &[]).is_ok());
        assert_eq!(judge(&["192.168.1.8:6374"], lan, &[]), Err(Code::ForeignHost));
    }

    #[test]
    fn a_unix_socket_has_no_port() {
        let unix = Peer::Unix { trusted: true };
        for host in ["localhost", "localhost:1", "127.0.0.1", "[::1]", "[::1]:1"] {
            assert!(judge(&[host], unix, &[]).is_ok(), "{host}");
        }
        assert_eq!(judge(&["evil.example"], unix, &[]), Err(Code::ForeignHost));
    }

    #[test]
    fn a02_an_absolute_target_names_the_same_host() {
        let headers = HeaderMap::from_iter([(header::HOST, "localhost:6374".parse().unwrap())]);
        let judge = |uri: &str| Host::of(&headers, &uri.parse().unwrap(), TCP, &[]).map_err(|f| f.code());
        assert!(judge("http://localhost:6374/v1/status").is_ok());
        assert_eq!(judge("http://evil.example/v1/status"), Err(Code::BadHost));
    }
}
