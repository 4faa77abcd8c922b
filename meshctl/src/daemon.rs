//! The daemon, as commands see it: questions in, typed answers out.
//!
//! Finds the daemon at the first question and stays with it: when it restarts, only the places of the same
//! daemon are tried again, so that a retried message never reaches another node. Keeps answers as JSON text
//! beside their types, since `--json` prints what the daemon said and not what this version understood of it.

use crate::connection::{connect, exchange, read_body};
use crate::failure::{ASK_FOR_ACCESS, Attempt, Failure, cause};
use crate::limits::{ANSWER_MS_MAX, ID_CHARS_MIN, MESSAGE_ID_CHARS, NODE_ID_CHARS, PAGE_ITEMS, PAGES_MAX};
use crate::place::{Address, Place, Search, Whose};
use crate::request::Request;
use hyper::body::Incoming;
use hyper::{Response, StatusCode, header};
use meshlink_api::{Message, Page, Peer, Problem};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use std::io;
use std::time::Duration;

/// An answer: what it says, and its text.
#[derive(Debug)]
pub(crate) struct Answer<T> {
    /// As this version understands it.
    pub(crate) value: T,
    /// As the daemon said it.
    pub(crate) raw: Box<RawValue>,
}

/// An open answer whose body is still to be read.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Head and body.
    pub(crate) response: Response<Incoming>,
    /// Who gives it.
    pub(crate) address: Address,
}

/// A daemon that may not have been found yet.
#[derive(Debug)]
pub(crate) struct Daemon {
    search: Search,
    whose: Option<Whose>,
    address: Option<Address>,
    /// A socket that is there and did not let this user in.
    closed: Option<String>,
}

impl Daemon {
    /// The daemon that `search` leads to.
    pub(crate) fn new(search: Search) -> Self {
        Self { search, whose: None, address: None, closed: None }
    }

    /// How it is looked for.
    pub(crate) fn search(&self) -> &Search {
        &self.search
    }

    /// Where it answered last.
    pub(crate) fn address(&self) -> Option<&Address> {
        self.address.as_ref()
    }

    /// Sends a request and waits for the head of a successful answer.
    ///
    /// # Errors
    /// Every way in which a daemon can be absent, silent, foreign or unwilling.
    pub(crate) async fn open(&mut self, request: &Request) -> Result<Opened, Failure> {
        let (wire, place) = self.reach().await?;
        self.whose = Some(place.whose);
        self.address = Some(place.address.clone());
        let token = place.token.as_ref().map(|file| file.read()).transpose()?.flatten();
        let response = in_time(
            &place.address,
            request.answer_ms_max,
            exchange(wire, &place.address, token.as_deref(), request),
        )
        .await?;
        match response.status() {
            status if status.is_success() => Ok(Opened { response, address: place.address }),
            status if status.is_client_error() || status.is_server_error() => {
                let closed = self.closed.as_deref().filter(|_| token.is_none());
                Err(refusal(response, &place, token.is_some(), closed).await)
            }
            status => Err(foreign(&place.address, format!("it says {status}"))),
        }
    }

    /// Asks for an object.
    ///
    /// # Errors
    /// As [`Self::open`], and an answer of another shape.
    pub(crate) async fn ask<T: DeserializeOwned>(&mut self, request: &Request) -> Result<Answer<T>, Failure> {
        let opened = self.open(request).await?;
        let address = opened.address;
        require_json(&opened.response, &address)?;
        let body = in_time(&address, ANSWER_MS_MAX, read_body(opened.response.into_body(), &address)).await?;
        let raw: Box<RawValue> = parse(&body, &address)?;
        Ok(Answer { value: parse(raw.get().as_bytes(), &address)?, raw })
    }

    /// Asks for something to be done, whatever is answered.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(crate) async fn tell(&mut self, request: &Request) -> Result<(), Failure> {
        let opened = self.open(request).await?;
        in_time(&opened.address, ANSWER_MS_MAX, read_body(opened.response.into_body(), &opened.address))
            .await
            .map(drop)
    }

    /// Begins a list.
    pub(crate) fn list(&self, request: Request, limit: Option<usize>) -> Pages {
        Pages { request, cursor: None, over: false, limit, seen: 0, pages: 0 }
    }

    /// The whole id of the message that `id` begins.
    ///
    /// # Errors
    /// As [`Self::open`]: 404 for none, 409 for several.
    pub(crate) async fn message_id(&mut self, id: &str) -> Result<String, Failure> {
        if id.len() == MESSAGE_ID_CHARS {
            return Ok(id.to_owned());
        }
        Ok(self.ask::<Message>(&Request::get("/v1/messages").id(id)).await?.value.id)
    }

    /// The whole id of the node that `id` begins. What begins no known node's id comes back as it is: a node can
    /// be blocked before it is met, and the daemon has better words for what is no id at all.
    ///
    /// # Errors
    /// As [`Self::open`], and several nodes.
    pub(crate) async fn peer_id(&mut self, id: &str) -> Result<String, Failure> {
        let id = id.to_ascii_lowercase();
        let plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !plain || !(ID_CHARS_MIN..NODE_ID_CHARS).contains(&id.len()) {
            return Ok(id);
        }
        let mut found: Vec<String> = Vec::new();
        let mut pages = self.list(Request::get("/v1/peers"), None);
        while let Some(peers) = pages.next::<Peer>(self).await? {
            found.extend(peers.into_iter().map(|peer| peer.value.id).filter(|known| known.starts_with(&id)));
        }
        found.dedup();
        match found.as_slice() {
            [] => Ok(id),
            [peer] => Ok(peer.clone()),
            [first, second, ..] => Err(Failure::Failed {
                what: format!("{} nodes have ids that begin with {id}", found.len()),
                hint: Some(format!(
                    "give more of it, such as {} or {}",
                    distinct(first, second),
                    distinct(second, first)
                )),
            }),
        }
    }

    async fn reach(&mut self) -> Result<(Box<dyn crate::connection::Wire>, Place), Failure> {
        let (places, mut tried) = self.search.places();
        for place in places.into_iter().filter(|place| self.whose.is_none_or(|whose| whose == place.whose)) {
            match connect(&place.address).await {
                Ok(wire) => return Ok((wire, place)),
                Err(error) => {
                    let denied = error.kind() == io::ErrorKind::PermissionDenied;
                    let place = place.address.to_string();
                    if denied {
                        self.closed = Some(place.clone());
                    }
                    tried.push(Attempt { place, why: cause(&error), denied });
                }
            }
        }
        Err(Failure::Unreachable { tried })
    }
}

/// As much of an id as tells it from another.
fn distinct(id: &str, other: &str) -> String {
    let same = id.chars().zip(other.chars()).take_while(|(a, b)| a == b).count();
    id.chars().take(same + 1).collect()
}

/// The pages of a list.
#[derive(Debug)]
pub(crate) struct Pages {
    request: Request,
    cursor: Option<String>,
    over: bool,
    limit: Option<usize>,
    seen: usize,
    pages: usize,
}

impl Pages {
    /// The next page, `None` after the last.
    ///
    /// # Errors
    /// As [`Daemon::ask`], and a list without end.
    pub(crate) async fn next<T: DeserializeOwned>(
        &mut self,
        daemon: &mut Daemon,
    ) -> Result<Option<Vec<Answer<T>>>, Failure> {
        let wanted = self.limit.map_or(PAGE_ITEMS, |limit| PAGE_ITEMS.min(limit - self.seen));
        if self.over || wanted == 0 {
            return Ok(None);
        }
        let request = self.request.clone().query("limit", &wanted.to_string());
        let request = request.query_if("cursor", self.cursor.as_deref());
        let page: Page<Box<RawValue>> = daemon.ask(&request).await?.value;
        let address = daemon.address().expect("a daemon that answered has an address").clone();
        self.pages += 1;
        // A page of a search may be empty and still have one after it.
        if page.next.is_some() && (page.next == self.cursor || self.pages == PAGES_MAX) {
            return Err(foreign(&address, "its list has no end".into()));
        }
        self.over = page.next.is_none();
        self.cursor = page.next;
        let items = page.items.into_iter().take(wanted);
        let items: Result<Vec<Answer<T>>, Failure> =
            items.map(|raw| Ok(Answer { value: parse(raw.get().as_bytes(), &address)?, raw })).collect();
        let items = items?;
        self.seen += items.len();
        Ok(Some(items))
    }
}

/// Reads JSON that should have a certain shape.
///
/// # Errors
/// [`Failure::Foreign`] if it has another.
pub(crate) fn parse<T: DeserializeOwned>(json: &[u8], address: &Address) -> Result<T, Failure> {
    serde_json::from_slice(json)
        .map_err(|error| foreign(address, format!("its JSON is not as expected: {error}")))
}

fn foreign(address: &Address, why: String) -> Failure {
    Failure::Foreign { place: address.to_string(), why }
}

fn require_json(response: &Response<Incoming>, address: &Address) -> Result<(), Failure> {
    let kind =
        response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.starts_with("application/json") {
        return Ok(());
    }
    Err(foreign(address, if kind.is_empty() { "it says nothing".into() } else { format!("it says {kind}") }))
}

async fn in_time<T>(
    address: &Address,
    ms_max: u64,
    answer: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::time::timeout(Duration::from_millis(ms_max), answer).await.unwrap_or_else(|_| {
        let why = format!("no answer within {} s", ms_max / 1000);
        Err(Failure::Lost { place: address.to_string(), why })
    })
}

async fn refusal(
    response: Response<Incoming>,
    place: &Place,
    token_shown: bool,
    closed: Option<&str>,
) -> Failure {
    let status = response.status();
    let body = in_time(&place.address, ANSWER_MS_MAX, read_body(response.into_body(), &place.address))
        .await
        .unwrap_or_default();
    let mut problem: Problem = serde_json::from_slice(&body).unwrap_or_else(|_| {
        let words = format!("{} answers {status}", place.address);
        Problem::new(status.as_u16(), "unknown", status.canonical_reason().unwrap_or("Unknown"), words)
    });
    // What the head says decides the exit code; a body can't talk it into another.
    problem.status = status.as_u16();
    let hint = (status == StatusCode::UNAUTHORIZED).then(|| match closed {
        Some(socket) => format!("{socket} is there, but not for you: {ASK_FOR_ACCESS}"),
        None => token_hint(place, token_shown),
    });
    Failure::Refused { problem: Box::new(problem), hint }
}

fn token_hint(place: &Place, token_shown: bool) -> String {
    match &place.token {
        Some(file) if token_shown => {
            format!(
                "the token in {} is not this daemon's; name another with --token-file",
                file.path.display()
            )
        }
        Some(file) => {
            format!("no token could be read from {}; name one with --token-file", file.path.display())
        }
        None => "name the daemon's token with --token-file (it is api-token in its state directory)".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Global;
    use crate::place::Surroundings;

    #[test]
    fn a_command_that_began_with_the_users_daemon_never_goes_on_with_another() {
        let dir = tempfile::tempdir().unwrap();
        let around = Surroundings { home: Some(dir.path().to_owned()), ..Surroundings::default() };
        let mut daemon = Daemon::new(Search::new(&Global::default(), &around).unwrap());
        daemon.whose = Some(Whose::User);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let Err(Failure::Unreachable { tried }) = runtime.block_on(daemon.reach()) else {
            panic!("nobody listens in an empty home")
        };
        let places: Vec<String> = tried.into_iter().map(|attempt| attempt.place).collect();
        assert_eq!(places, [dir.path().join(".local/state/meshlink/meshd.sock").display().to_string()]);
    }
}
