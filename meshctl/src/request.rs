//! A request to the daemon, before it is known where that is.

use crate::limits::{ANSWER_MS_MAX, WORK_MS_MAX};
use bytes::Bytes;
use hyper::{Method, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

/// Everything but the unreserved characters of RFC 3986 section 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Method, target, headers and body.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Bytes,
    /// How long its answer may take, in milliseconds.
    pub(crate) answer_ms_max: u64,
}

impl Request {
    /// A request for one of the API's own paths.
    pub(crate) fn new(method: Method, path: &'static str) -> Self {
        let (headers, body) = (Vec::new(), Bytes::new());
        Self { method, target: path.into(), headers, body, answer_ms_max: ANSWER_MS_MAX }
    }

    /// `GET`.
    pub(crate) fn get(path: &'static str) -> Self {
        Self::new(Method::GET, path)
    }

    /// `POST`.
    pub(crate) fn post(path: &'static str) -> Self {
        Self::new(Method::POST, path)
    }

    /// For work that takes its time.
    pub(crate) fn patient(mut self) -> Self {
        self.answer_ms_max = WORK_MS_MAX;
        self
    }

    /// Adds an id or name to the path, whatever characters it has. `.` and `..` can't lead anywhere else.
    pub(crate) fn id(mut self, id: &str) -> Self {
        let dots = id.chars().all(|c| c == '.');
        let encoded = utf8_percent_encode(id, if dots { NON_ALPHANUMERIC } else { RESERVED });
        self.target.push('/');
        self.target.extend(encoded);
        self
    }

    /// Adds a fixed word to the path.
    pub(crate) fn action(mut self, word: &'static str) -> Self {
        self.target.push('/');
        self.target.push_str(word);
        self
    }

    /// Adds `name=value` to the query.
    pub(crate) fn query(mut self, name: &'static str, value: &str) -> Self {
        self.target.push(if self.target.contains('?') { '&' } else { '?' });
        self.target.push_str(name);
        self.target.push('=');
        self.target.extend(utf8_percent_encode(value, RESERVED));
        self
    }

    /// Adds `name=value` to the query if there is a value.
    pub(crate) fn query_if(self, name: &'static str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    /// Adds a header.
    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Sets a JSON body.
    pub(crate) fn json(mut self, body: &impl Serialize) -> Self {
        self.body = serde_json::to_vec(body).expect("API types have string keys and no failing parts").into();
        self.header(header::CONTENT_TYPE.as_str(), "application/json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e04_ids_and_values_stay_inside_their_place() {
        let request =
            Request::get("/v1/messages").id("../x?a=b&c#d\r\n").action("trace").query("q", "a b&c=ä+");
        assert_eq!(request.target, "/v1/messages/..%2Fx%3Fa%3Db%26c%23d%0D%0A/trace?q=a%20b%26c%3D%C3%A4%2B");
        assert_eq!(Request::get("/v1/peers").id("..").target, "/v1/peers/%2E%2E");
    }
}
