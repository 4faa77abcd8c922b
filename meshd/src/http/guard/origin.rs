//! Which web pages may call (threats ).
//!
//! Browsers say where a request comes from: `Origin` on everything that could change something or be read across
//! origins, `Sec-Fetch-Site` on nearly everything. Programs say neither. A page of this host is let in, and so is
//! a page of an origin that the user allowed; every other page is refused, and gets no CORS header.

use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method};

use super::host::Host;
use crate::http::problem::{Code, Failure};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// The page a request comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// A program, or a page of this host.
    Own,
    /// A page of an origin that the user allowed; it gets CORS headers with this value.
    Allowed(HeaderValue),
}

impl Origin {
    /// Judges where a request comes from. `is_page` tells that the path is one of the UI's own files.
    pub(super) fn of(request: &Request<'_>, host: &Host, allowed: &[String]) -> Result<Self, Failure> {
        let mut values = request.headers.get_all(header::ORIGIN).iter();
        let origin = match (values.next(), values.next()) {
            (None, _) => None,
            (Some(value), None) => Some(value),
            (Some(_), Some(_)) => {
                return Err(Code::ForeignOrigin.because("a request has at most one Origin header"));
            }
        };
        if let Some(value) = origin {
            let text = value.to_str().unwrap_or_default();
            if allowed.iter().any(|a| a == text) {
                return Ok(Self::Allowed(value.clone()));
            }
            if !host.is_origin(text) {
                return Err(Code::ForeignOrigin
                    .because(format!("pages of {text:?} may not use this API"))
                    .hint("meshd --allow-origin ORIGIN lets pages of exactly that origin in"));
            }
        }
        request.refuse_other_sites()?;
        Ok(Self::Own)
    }

    /// The headers that let an allowed page read the answer.
    pub(super) fn decorate(&self, headers: &mut HeaderMap) {
        let Self::Allowed(origin) = self else { return };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        let exposed = HeaderValue::from_static("location, retry-after, allow, idempotent-replayed");
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
}

/// What of a request tells where it comes from.
pub(super) struct Request<'a> {
    pub(super) method: &'a Method,
    pub(super) headers: &'a HeaderMap,
    /// Whether it asks for one of the UI's own files.
    pub(super) is_page: bool,
}

impl Request<'_> {
    fn refuse_other_sites(&self) -> Result<(), Failure> {
        let Some(site) = self.headers.get(SEC_FETCH_SITE) else { return Ok(()) };
        let ours = site == "same-origin" || site == "none";
        // A link or a bookmark elsewhere may open the UI in a tab: the page that holds the link learns nothing.
        let opened = self.is_page
            && matches!(*self.method, Method::GET | Method::HEAD)
            && self.headers.get(SEC_FETCH_DEST).is_some_and(|dest| dest == "document");
        if ours || opened {
            return Ok(());
        }
        Err(Code::CrossSite.because("the request was made by a page of another site"))
    }

    /// Whether this is a browser asking what an allowed page may send.
    pub(super) fn is_preflight(&self) -> bool {
        *self.method == Method::OPTIONS && self.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// Says it: everything the API has, and never cookies or other ambient credentials.
    pub(super) fn preflight_headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut set = |name, value| headers.insert(name, HeaderValue::from_static(value));
        set(header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, PUT, PATCH, DELETE");
        let fields = "accept, authorization, cache-control, content-type, idempotency-key, last-event-id";
        set(header::ACCESS_CONTROL_ALLOW_HEADERS, fields);
        set(header::ACCESS_CONTROL_MAX_AGE, "600");
        // Chromium asks this before a page of a less private network reaches a more private one.
        if self.headers.contains_key("access-control-request-private-network") {
            set(HeaderName::from_static("access-control-allow-private-network"), "true");
        }
        headers
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::http::peer::Peer;

    fn judge(fields: &[(&'static str, &str)], method: Method, is_page: bool) -> Result<Origin, Code> {
        let local: SocketAddr = "127.0.0.1:6374".parse().unwrap();
        let mut headers = HeaderMap::from_iter([(header::HOST, "localhost:6374".parse().unwrap())]);
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        let host = Host::of(&headers, &"/".parse().unwrap(), Peer::Tcp { local }, &[]).unwrap();
        let request = Request { method: &method, headers: &headers, is_page };
        Origin::of(&request, &host, &["http://localhost:5173".to_owned()]).map_err(|f| f.code())
    }

    #[test]
    fn programs_and_own_pages_are_let_in() {
        assert_eq!(judge(&[], Method::POST, false), Ok(Origin::Own));
        assert_eq!(judge(&[("origin", "http://localhost:6374")], Method::POST, false), Ok(Origin::Own));
        assert_eq!(judge(&[("sec-fetch-site", "same-origin")], Method::GET, false), Ok(Origin::Own));
        assert_eq!(judge(&[("sec-fetch-site", "none")], Method::GET, false), Ok(Origin::Own));
    }

    #[test]
    fn a05_exactly_the_allowed_origin_is_let_in() {
        let page = [("origin", "http://localhost:5173"), ("sec-fetch-site", "same-site")];
        assert_eq!(
            judge(&page, Method::POST, false),
            Ok(Origin::Allowed(HeaderValue::from_static("http://localhost:5173")))
        );
        let others = [
            "http://localhost:5174",
            "https://localhost:5173",
            "http://LOCALHOST:5173",
            "http://localhost:5173.evil.example",
            "http://evil.example",
            "null",
            "",
            "http://localhost:63740",
            "ftp://localhost:6374",
            "http://127.0.0.1:6374",
        ];
        for origin in others {
            assert_eq!(
                judge(&[("origin", origin)], Method::POST, false),
                Err(Code::ForeignOrigin),
                "{origin}"
            );
        }
        let twice = [("origin", "http://localhost:5173"), ("origin", "http://localhost:5173")];
        assert_eq!(judge(&twice, Method::GET, false), Err(Code::ForeignOrigin));
    }

    #[test]
    fn a06_other_sites_are_refused_even_without_origin() {
        for site in ["cross-site", "same-site", "anything"] {
            assert_eq!(
                judge(&[("sec-fetch-site", site)], Method::GET, false),
                Err(Code::CrossSite),
                "{site}"
            );
        }
        let opened = [("sec-fetch-site", "cross-site"), ("sec-fetch-dest", "document")];
        assert_eq!(judge(&opened, Method::GET, true), Ok(Origin::Own));
        assert_eq!(judge(&opened, Method::POST, true), Err(Code::CrossSite));
        assert_eq!(judge(&opened, Method::GET, false), Err(Code::CrossSite));
        let framed = [("sec-fetch-site", "cross-site"), ("sec-fetch-dest", "iframe")];
        assert_eq!(judge(&framed, Method::GET, true), Err(Code::CrossSite));
    }
}
