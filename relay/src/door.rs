//! Who is let in: origins of browser pages, and tokens.
//!
//! A browser lets any page open a WebSocket to any host, so the relay looks at `Origin`: pages served from a
//! loopback host or from the relay's own host come in, others only if the operator named them. The relay's own
//! host is the address the connection arrived at or this machine's name, never what the `Host` header says: a
//! rebound DNS name would agree with itself. Programs send no `Origin` and are not asked for one.
//!
//! Tokens are kept as SHA-256 digests and compared in constant time, all of them each time.

use subtle::ConstantTimeEq;

/// An origin as browsers send it: `scheme://host[:port]`, or `null` for a page from a file or a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

/// Text that is no origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is no origin: write scheme://host or scheme://host:port as the browser sends it, without a path"
)]
pub struct NoOrigin(String);

impl std::str::FromStr for Origin {
    type Err = NoOrigin;

    fn from_str(text: &str) -> Result<Self, NoOrigin> {
        let origin = text.trim().to_ascii_lowercase();
        if origin == "null" {
            return Ok(Self(origin));
        }
        let refused = || NoOrigin(text.to_owned());
        let (scheme, host) = origin.split_once("://").ok_or_else(refused)?;
        let is_scheme = scheme.starts_with(|c: char| c.is_ascii_lowercase())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
        let is_host = !host.is_empty()
            && host.chars().all(|c| c.is_ascii_graphic() && !"/?#@\\*\"<>".contains(c))
            && split_port(host).is_some();
        if !is_scheme || !is_host {
            return Err(refused());
        }
        let default_port = match scheme {
            "http" => ":80",
            "https" => ":443",
            _ => "",
        };
        let short = origin.strip_suffix(default_port).filter(|_| !default_port.is_empty());
        Ok(Self(short.unwrap_or(&origin).to_owned()))
    }
}

/// Host and port; `None` if what follows the host is no port.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (ip, rest) = rest.split_once(']')?;
        return match rest.strip_prefix(':') {
            Some(port) => Some((ip, Some(port.parse().ok()?))),
            None => rest.is_empty().then_some((ip, None)),
        };
    }
    match authority.split_once(':') {
        Some((host, port)) => Some((host, Some(port.parse().ok()?))).filter(|_| !host.is_empty()),
        None => Some((authority, None)),
    }
}

/// The rules at the relay's door.
#[derive(Debug)]
pub(crate) struct Door {
    tokens: Tokens,
    origins: Vec<Origin>,
    /// This machine's name, in lower case; empty if it has none.
    hostname: String,
}

impl Door {
    pub(crate) fn new(tokens: Tokens, origins: Vec<Origin>, hostname: &str) -> Self {
        Self { tokens, origins, hostname: hostname.to_ascii_lowercase() }
    }

    /// Whether a page of `origin` may connect to the relay over the address `local`.
    pub(crate) fn admits_origin(&self, origin: &str, local: Option<std::net::IpAddr>) -> bool {
        let Ok(origin) = origin.parse::<Origin>() else { return false };
        if self.origins.contains(&origin) {
            return true;
        }
        let host = match origin.0.split_once("://") {
            Some(("http" | "https", authority)) => split_port(authority).map(|(host, _)| host),
            Some(_) | None => None,
        };
        host.is_some_and(|host| self.is_own_host(host, local))
    }

    fn is_own_host(&self, host: &str, local: Option<std::net::IpAddr>) -> bool {
        if let Ok(ip) = host.parse::<std::net::IpAddr>() {
            let ip = ip.to_canonical();
            return ip.is_loopback() || local.is_some_and(|local| local.to_canonical() == ip);
        }
        let is_hostname = !self.hostname.is_empty()
            && (host == self.hostname || host.strip_suffix(".local") == Some(&self.hostname));
        host == "localhost" || host.ends_with(".localhost") || is_hostname
    }

    /// Whether the bearer of `token` may come in. Without any token configured, everyone may.
    pub(crate) fn admits_token(&self, token: Option<&str>) -> bool {
        self.tokens.is_empty() || token.is_some_and(|token| self.tokens.contain(token))
    }
}

/// Tokens that open the relay. Only their digests are kept.
#[derive(Clone, Default)]
pub struct Tokens(Vec<[u8; 32]>);

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tokens({} redacted)", self.0.len())
    }
}

impl Tokens {
    /// Adds one.
    pub fn add(&mut self, token: &str) {
        self.0.push(digest(token));
    }

    /// Whether there is none, so that the relay is open to all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn contain(&self, token: &str) -> bool {
        let digest = digest(token);
        // Bitwise, so that every token is compared whichever fits.
        self.0.iter().fold(subtle::Choice::from(0), |found, known| found | known.ct_eq(&digest)).into()
    }
}

fn digest(token: &str) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, token.as_bytes());
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door(origins: &[&str]) -> Door {
        Door::new(
            Tokens::default(),
            origins.iter().map(|origin| origin.parse().unwrap()).collect(),
            "Pi-Kitchen",
        )
    }

    #[test]
    fn y09_pages_of_a_loopback_host_or_the_relays_own_come_in() {
        let local = Some("192.168.7.20".parse().unwrap());
        for origin in [
            "http://localhost",
            "http://localhost:5173",
            "https://LOCALHOST:8443",
            "http://app.localhost:3000",
            "http://127.0.0.1:8080",
            "http://127.8.8.8",
            "http://[::1]:5173",
            "http://192.168.7.20:8080",
            "http://pi-kitchen:8080",
            "http://pi-kitchen.local",
        ] {
            assert!(door(&[]).admits_origin(origin, local), "{origin}");
        }
    }

    #[test]
    fn y09_pages_of_others_are_refused() {
        let local = Some("192.168.7.20".parse().unwrap());
        for origin in [
            "http://evil.example",
            "http://localhost.evil.example",
            "http://evil-localhost",
            "http://127.0.0.1.evil.example",
            "http://192.168.7.21",
            "http://pi-kitchen.local.evil.example",
            "http://localhost@evil.example",
            "http://[::1].evil.example",
            "http://127.1",
            "file://",
            "file://localhost",
            "chrome-extension://localhost",
            "null",
            "",
            "localhost",
        ] {
            assert!(!door(&[]).admits_origin(origin, local), "{origin}");
        }
    }

    #[test]
    fn y09_a_named_origin_is_let_in_exactly() {
        let door = door(&["https://mesh.example", "http://ui.example:80", "null", "http://a.example:8080"]);
        for origin in [
            "https://mesh.example",
            "https://mesh.example:443",
            "http://ui.example",
            "null",
            "http://a.example:8080",
        ] {
            assert!(door.admits_origin(origin, None), "{origin}");
        }
        for origin in
            ["http://mesh.example", "https://mesh.example:8443", "https://x.mesh.example", "http://a.example"]
        {
            assert!(!door.admits_origin(origin, None), "{origin}");
        }
    }

    #[test]
    fn what_is_no_origin_is_refused_as_a_setting() {
        for text in [
            "*",
            "http://*",
            "mesh.example",
            "http://a/",
            "http://a/b",
            "http://",
            "://a",
            "http://a:b",
            "http://u@a",
        ] {
            assert!(text.parse::<Origin>().is_err(), "{text}");
        }
    }

    #[test]
    fn y07_only_a_known_token_opens() {
        assert!(door(&[]).admits_token(None));
        let mut tokens = Tokens::default();
        tokens.add("correct horse");
        tokens.add("battery staple");
        let door = Door::new(tokens, Vec::new(), "");
        assert!(door.admits_token(Some("correct horse")) && door.admits_token(Some("battery staple")));
        for wrong in [None, Some(""), Some("correct hors"), Some("correct horse "), Some("Correct horse")] {
            assert!(!door.admits_token(wrong), "{wrong:?}");
        }
        assert!(!format!("{door:?}").contains("horse"));
    }
}
