//! Who makes a request (threats ).

use std::sync::Mutex;
use std::time::Instant;

use hyper::header::{self, HeaderValue};
use hyper::{HeaderMap, Uri};

use crate::http::limits;
use crate::http::peer::Peer;
use crate::http::problem::{Code, Failure};
use crate::http::ticket::TicketBox;
use crate::http::token_book::{Caller, TokenBook};

/// Where event streams are; tickets are good there alone.
const STREAM_PATH: &str = "/v1/events";
/// Names under which people put a token into an address.
const TOKEN_PARAMETERS: [&str; 7] =
    ["token", "access_token", "api_token", "api_key", "apikey", "bearer", "authorization"];

/// What tells who makes a request.
pub(super) struct Credentials<'a> {
    pub(super) headers: &'a HeaderMap,
    pub(super) uri: &'a Uri,
    pub(super) peer: Peer,
}

impl Credentials<'_> {
    /// Finds out who it is.
    pub(super) fn caller(
        &self,
        tokens: &TokenBook,
        tickets: &TicketBox,
        failures: &Failures,
        now: Instant,
    ) -> Result<Caller, Failure> {
        let refused = |failure| failures.count(failure, now);
        if let Some(secret) = self.bearer()? {
            return tokens.find(secret).ok_or_else(|| refused(wrong_token()));
        }
        if let Some(ticket) = self.ticket() {
            let bad = || {
                Code::BadTicket
                    .because("a ticket is good once, within 30 s")
                    .hint("POST /v1/events/ticket gives a new one")
            };
            return tickets.redeem(ticket, now).ok_or_else(|| refused(bad()));
        }
        match self.peer {
            Peer::Unix { trusted: true } => Ok(Caller::OWNER),
            Peer::Unix { trusted: false } => Err(unauthorized(
                "the socket trusts the user who runs meshd and root; others need Authorization: Bearer <token>",
            )),
            Peer::Tcp { .. } => Err(unauthorized(
                "no token came with the request; a program sends Authorization: Bearer <token>",
            )),
        }
    }

    /// Refuses a token in the address: addresses are logged, remembered and sent on as `Referer`.
    pub(super) fn refuse_token_in_query(&self) -> Result<(), Failure> {
        let Some(name) = self
            .parameters()
            .map(|(name, _)| name)
            .find(|name| TOKEN_PARAMETERS.iter().any(|known| name.eq_ignore_ascii_case(known)))
        else {
            return Ok(());
        };
        Err(Code::TokenInQuery
            .because(format!("the address has a parameter {name:?}; it may be in logs and histories by now"))
            .hint("send Authorization: Bearer <token>; for EventSource, POST /v1/events/ticket and use ?ticket=")
            .header(header::WWW_AUTHENTICATE, CHALLENGE))
    }

    fn bearer(&self) -> Result<Option<&str>, Failure> {
        let mut values = self.headers.get_all(header::AUTHORIZATION).iter();
        let value = match (values.next(), values.next()) {
            (None, _) => return Ok(None),
            (Some(value), None) => value,
            (Some(_), Some(_)) => return Err(unauthorized("there are two Authorization headers")),
        };
        let malformed = || unauthorized("the Authorization header is not `Bearer <token>`");
        let (scheme, secret) = value.to_str().ok().and_then(|v| v.split_once(' ')).ok_or_else(malformed)?;
        let secret = secret.trim();
        if !scheme.eq_ignore_ascii_case("bearer") || secret.is_empty() {
            return Err(malformed());
        }
        Ok(Some(secret))
    }

    fn ticket(&self) -> Option<&str> {
        (self.uri.path() == STREAM_PATH).then_some(())?;
        self.parameters().find(|(name, _)| *name == "ticket").map(|(_, value)| value)
    }

    fn parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        let query = self.uri.query().unwrap_or_default();
        query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    }
}

const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"meshd\"");

fn unauthorized(detail: &str) -> Failure {
    Code::Unauthorized
        .because(detail)
        .hint("the token is in the file api-token of the state directory; meshctl finds it by itself")
        .header(header::WWW_AUTHENTICATE, CHALLENGE)
}

fn wrong_token() -> Failure {
    unauthorized("the token is not one of this node's")
}

/// Slows down whoever tries one token after the other. A right one is let in however many wrong ones came.
pub(in crate::http) struct Failures(Mutex<Bucket>);

struct Bucket {
    left: u32,
    refilled: Instant,
}

impl Failures {
    pub(in crate::http) fn new(now: Instant) -> Self {
        Self(Mutex::new(Bucket { left: limits::FAILURES_MAX, refilled: now }))
    }

    /// `failure`, or 429 once there were too many.
    fn count(&self, failure: Failure, now: Instant) -> Failure {
        let mut bucket = self.0.lock().expect("nothing panics while it holds this lock");
        let elapsed = now.saturating_duration_since(bucket.refilled);
        let earned = elapsed.as_millis() / limits::FAILURE_REFILL.as_millis();
        if earned > 0 {
            let earned = u32::try_from(earned).unwrap_or(u32::MAX);
            bucket.left = bucket.left.saturating_add(earned).min(limits::FAILURES_MAX);
            bucket.refilled = now;
        }
        match bucket.left.checked_sub(1) {
            Some(left) => {
                bucket.left = left;
                failure
            }
            None => Code::TooManyFailures
                .because("wrong tokens came faster than one a second")
                .hint("check the token; a right one is let in at any time")
                .header(header::RETRY_AFTER, HeaderValue::from(limits::FAILURE_REFILL.as_secs())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::http::secret::SecretHash;

    const TCP: Peer = Peer::Tcp {
        local: std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1),
    };

    struct Door {
        tokens: TokenBook,
        tickets: TicketBox,
        failures: Failures,
        now: Instant,
    }

    impl Door {
        fn new() -> Self {
            let now = Instant::now();
            let tokens = TokenBook::new(SecretHash::of("right"), Vec::new());
            Self { tokens, tickets: TicketBox::default(), failures: Failures::new(now), now }
        }

        fn knock(&self, authorization: &[&str], address: &str, peer: Peer) -> Result<Caller, Code> {
            let mut headers = HeaderMap::new();
            for value in authorization {
                headers.append(header::AUTHORIZATION, value.parse().unwrap());
            }
            let uri = address.parse().unwrap();
            let credentials = Credentials { headers: &headers, uri: &uri, peer };
            credentials.refuse_token_in_query().map_err(|f| f.code())?;
            credentials.caller(&self.tokens, &self.tickets, &self.failures, self.now).map_err(|f| f.code())
        }
    }

    #[test]
    fn a01_only_the_right_bearer_token_is_let_in() {
        let door = Door::new();
        assert_eq!(door.knock(&["Bearer right"], "/v1/status", TCP), Ok(Caller::OWNER));
        assert_eq!(door.knock(&["bearer  right"], "/v1/status", TCP), Ok(Caller::OWNER));
        let wrong: [&[&str]; 8] = [
            &[],
            &["Bearer wrong"],
            &["Bearer "],
            &["Bearer"],
            &["right"],
            &["Basic right"],
            &["Bearer right", "Bearer right"],
            &["Bearer Right"],
        ];
        for header in wrong {
            assert_eq!(door.knock(header, "/v1/status", TCP), Err(Code::Unauthorized), "{header:?}");
        }
    }

    #[test]
    fn a01_a_token_in_the_query_is_refused_even_beside_a_right_header() {
        let door = Door::new();
        for address in ["/v1/status?token=right", "/v1/status?a=b&Access_Token=right", "/v1/events?api_key"] {
            assert_eq!(door.knock(&["Bearer right"], address, TCP), Err(Code::TokenInQuery), "{address}");
        }
    }

    #[test]
    fn a01_a_ticket_opens_the_stream_alone() {
        let door = Door::new();
        let ticket = door.tickets.issue(Caller::OWNER, door.now).unwrap();
        assert_eq!(door.knock(&[], &format!("/v1/status?ticket={ticket}"), TCP), Err(Code::Unauthorized));
        assert_eq!(door.knock(&[], &format!("/v1/events?types=a&ticket={ticket}"), TCP), Ok(Caller::OWNER));
        assert_eq!(door.knock(&[], &format!("/v1/events?ticket={ticket}"), TCP), Err(Code::BadTicket));
    }

    #[test]
    fn a08_the_socket_trusts_its_own_user_and_checks_a_token_that_is_shown() {
        let door = Door::new();
        assert_eq!(door.knock(&[], "/v1/status", Peer::Unix { trusted: true }), Ok(Caller::OWNER));
        assert_eq!(door.knock(&[], "/v1/status", Peer::Unix { trusted: false }), Err(Code::Unauthorized));
        assert_eq!(
            door.knock(&["Bearer right"], "/v1/status", Peer::Unix { trusted: false }),
            Ok(Caller::OWNER)
        );
        assert_eq!(
            door.knock(&["Bearer wrong"], "/v1/status", Peer::Unix { trusted: true }),
            Err(Code::Unauthorized)
        );
    }

    #[test]
    fn wrong_tokens_are_slowed_down_and_right_ones_are_not() {
        let mut door = Door::new();
        for _ in 0..limits::FAILURES_MAX {
            assert_eq!(door.knock(&["Bearer wrong"], "/", TCP), Err(Code::Unauthorized));
        }
        assert_eq!(door.knock(&["Bearer wrong"], "/", TCP), Err(Code::TooManyFailures));
        assert_eq!(door.knock(&["Bearer right"], "/", TCP), Ok(Caller::OWNER));
        // A try that comes too early does not begin the second anew.
        for expected in [Code::TooManyFailures, Code::Unauthorized, Code::TooManyFailures] {
            door.now += limits::FAILURE_REFILL * 6 / 10;
            assert_eq!(door.knock(&["Bearer wrong"], "/", TCP), Err(expected));
        }
        door.now += limits::FAILURE_REFILL * 3 + Duration::from_millis(1);
        for _ in 0..3 {
            assert_eq!(door.knock(&["Bearer wrong"], "/", TCP), Err(Code::Unauthorized));
        }
        assert_eq!(door.knock(&["Bearer wrong"], "/", TCP), Err(Code::TooManyFailures));
    }
}
