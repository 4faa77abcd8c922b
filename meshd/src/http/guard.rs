//! The one layer every request passes before it is routed.
//!
//! ```text
//! framing → Host → Origin, Sec-Fetch-Site → token in the address → who is it? → routes
//! ```
//!
//! It refuses whatever is open to doubt and knows nothing of what is behind it, except which paths are open to
//! everyone. Scopes are the routes' own business (see [`super::route`]). Every answer, a refusal too, gets the
//! headers that keep browsers from making anything else of it than data.

mod credentials;
mod host;
mod origin;

use std::time::Instant;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, StatusCode};

use self::credentials::Credentials;
pub(super) use self::credentials::Failures;
use self::host::Host;
use self::origin::Origin;
use super::app::App;
use super::peer::Peer;
use super::problem::{Code, Failure};
use super::request_counts::RouteName;
use super::route;
use super::ticket::TicketBox;
use super::token_book::{Caller, TokenBook};
use super::wire::Head;

/// Longest request target.
const TARGET_BYTES_MAX: usize = 8 * 1024;

/// Headers of every answer that does not set them itself (threats A-06, A-12).
pub(super) const ANSWER_HEADERS: [(&str, &str); 5] = [
    ("cache-control", "no-store"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    ("cross-origin-resource-policy", "same-origin"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
];

/// How a request goes on.
enum Verdict {
    /// To the routes; `None` where everyone may.
    Pass(Option<Caller>),
    /// A browser asked what an allowed page may send: these headers are the answer.
    Preflight(HeaderMap),
}

/// What decides about a request besides the request.
struct Door<'a> {
    allowed_hosts: &'a [String],
    allow_origins: &'a [String],
    /// Whether a UI's files are served.
    has_ui: bool,
    tokens: &'a TokenBook,
    tickets: &'a TicketBox,
    failures: &'a Failures,
}

/// Lets a request through to the routes or refuses it.
pub(super) async fn guard(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let (allowed_hosts, allow_origins) = (app.control().allowed_hosts(), app.control().allow_origins());
    let door = Door {
        allowed_hosts: &allowed_hosts,
        allow_origins: &allow_origins,
        has_ui: app.ui().is_some(),
        tokens: app.tokens(),
        tickets: app.tickets(),
        failures: app.failures(),
    };
    let (origin, verdict) = door.judge(&request, Instant::now());
    let mut response = match verdict {
        Ok(Verdict::Pass(caller)) => {
            if let Some(caller) = caller {
                app.note_use(&caller);
                request.extensions_mut().insert(caller);
            }
            request.extensions_mut().insert(route::IsLocked(app.is_locked()));
            next.run(request).await
        }
        Ok(Verdict::Preflight(headers)) => (StatusCode::NO_CONTENT, headers).into_response(),
        Err(failure) => failure.into_response(),
    };
    let route = response.extensions().get::<RouteName>().map_or("none", |name| name.0);
    tracing::debug!(%method, route, status = response.status().as_u16(), "answered");
    app.requests().count(&method, route, response.status());
    decorate(&allow_origins, &origin, response.headers_mut());
    response
}

impl Door<'_> {
    fn judge(&self, request: &Request, now: Instant) -> (Origin, Result<Verdict, Failure>) {
        let peer = *request.extensions().get::<Peer>().expect("the server says who connected");
        let head = request.extensions().get::<Head>().copied();
        let (method, uri, headers) = (request.method(), request.uri(), request.headers());
        if let Err(failure) = check_head(head, request) {
            return (Origin::Own, Err(failure));
        }
        let host = match Host::of(headers, uri, peer, self.allowed_hosts) {
            Ok(host) => host,
            Err(failure) => return (Origin::Own, Err(failure)),
        };
        let is_page = self.is_page(method, uri.path());
        let browser = origin::Request { method, headers, is_page };
        let origin = match Origin::of(&browser, &host, self.allow_origins) {
            Ok(origin) => origin,
            Err(failure) => return (Origin::Own, Err(failure)),
        };
        if matches!(origin, Origin::Allowed(_)) && browser.is_preflight() {
            return (origin, Ok(Verdict::Preflight(browser.preflight_headers())));
        }
        let credentials = Credentials { headers, uri, peer };
        let caller = credentials.refuse_token_in_query().and_then(|()| {
            if is_page || route::is_open(method, uri.path()) {
                return Ok(None);
            }
            credentials.caller(self.tokens, self.tickets, self.failures, now).map(Some)
        });
        (origin, caller.map(Verdict::Pass))
    }

    /// Whether this asks for one of the UI's files, or for `/`, which says where the API is.
    fn is_page(&self, method: &Method, path: &str) -> bool {
        matches!(*method, Method::GET | Method::HEAD)
            && (path == "/" || (self.has_ui && !route::is_reserved(path)))
    }
}

fn check_head(head: Option<Head>, request: &Request) -> Result<(), Failure> {
    let refused = |detail: &str| Err(Code::BadRequest.because(detail).close());
    match head {
        // Every request's head is seen; one that was not is not what it seems.
        None => refused("the request's framing is not clear"),
        Some(head) if head.two_lengths => {
            refused("a request has Content-Length or Transfer-Encoding, not both")
        }
        Some(_) if request.uri().to_string().len() > TARGET_BYTES_MAX => {
            Err(Code::UriTooLong.because(format!("an address has at most {TARGET_BYTES_MAX} bytes")))
        }
        Some(_) => Ok(()),
    }
}

fn decorate(allow_origins: &[String], origin: &Origin, headers: &mut HeaderMap) {
    for (name, value) in ANSWER_HEADERS {
        headers.entry(HeaderName::from_static(name)).or_insert(HeaderValue::from_static(value));
    }
    origin.decorate(headers);
    if !allow_origins.is_empty() {
        headers.insert(header::VARY, HeaderValue::from_static("origin"));
    }
}

#[cfg(test)]
mod tests;
