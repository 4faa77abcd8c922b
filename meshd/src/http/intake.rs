//! Request bodies and query strings, from bytes to values (threats A-04, A-09).
//!
//! A body is read as a whole before its handler runs: bounded in size and time, of a media type the route takes.
//! JSON is read twice: first whether it is well-formed, without duplicate names, as RFC 7493 asks, since two
//! programs may take different ones of two; then whether it says what the route needs. The first is a 400, the
//! second a 422.

use std::collections::BTreeSet;
use std::fmt;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, Query, Request};
use futures_util::StreamExt;
use hyper::header::{self, HeaderMap};
use hyper::http::request::Parts;
use serde::de::{DeserializeOwned, DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};

use super::limits;
use super::problem::{Code, Failure};

/// What a route takes as its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// None; an empty JSON object passes for none.
    Nothing,
    /// `application/json`.
    Json,
    /// `application/json`, longer than elsewhere.
    LongJson,
    /// `application/json` or `text/plain`.
    JsonOrText,
}

impl Takes {
    /// Longest body, in bytes.
    pub fn bytes_max(self) -> usize {
        match self {
            Self::Nothing | Self::Json | Self::JsonOrText => limits::BODY_BYTES_MAX,
            Self::LongJson => limits::LONG_BODY_BYTES_MAX,
        }
    }
}

/// The media types that bodies have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MediaType {
    Json,
    Text,
}

impl MediaType {
    /// The media type a request claims for its body; `None` for any other, and for any character set but UTF-8.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(header::CONTENT_TYPE).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return None };
        let mut parts = value.to_str().ok()?.split(';').map(str::trim);
        let media_type = match parts.next()?.to_ascii_lowercase().as_str() {
            "application/json" => Self::Json,
            "text/plain" => Self::Text,
            _ => return None,
        };
        let utf8 = |part: &str| {
            let charset =
                part.split_once('=').filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
            charset.is_some_and(|(_, value)| value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8"))
        };
        parts.filter(|part| !part.is_empty()).all(utf8).then_some(media_type)
    }
}

/// Reads a request's body, if it is one the route takes, and puts it back as a whole.
pub(super) async fn take_in(takes: Takes, request: Request) -> Result<Request, Failure> {
    let (parts, body) = request.into_parts();
    let is_empty = axum::body::HttpBody::is_end_stream(&body);
    if !is_empty {
        check_media_type(takes, &parts.headers)?;
    }
    let bytes = if is_empty { Bytes::new() } else { read(&parts.headers, body, takes.bytes_max()).await? };
    if takes == Takes::Nothing && !matches!(bytes.trim_ascii(), b"" | b"{}") {
        return Err(Code::InvalidBody.because("this route takes no body"));
    }
    Ok(Request::from_parts(parts, Body::from(bytes)))
}

fn check_media_type(takes: Takes, headers: &HeaderMap) -> Result<(), Failure> {
    let (accepted, names) = match takes {
        Takes::Nothing => (&[MediaType::Json][..], "no body"),
        Takes::Json | Takes::LongJson => (&[MediaType::Json][..], "application/json"),
        Takes::JsonOrText => (&[MediaType::Json, MediaType::Text][..], "application/json or text/plain"),
    };
    if MediaType::of(headers).is_some_and(|found| accepted.contains(&found)) {
        return Ok(());
    }
    let found =
        headers.get(header::CONTENT_TYPE).map_or("none", |v| v.to_str().unwrap_or("an unreadable one"));
    Err(Code::UnsupportedMediaType
        .because(format!("the Content-Type is {found:?}; this route takes {names}, in UTF-8"))
        .hint("with curl: -H 'Content-Type: application/json'"))
}

/// Reads a body as a whole.
async fn read(headers: &HeaderMap, body: Body, bytes_max: usize) -> Result<Bytes, Failure> {
    let too_large =
        || Code::BodyTooLarge.because(format!("this route's body has at most {bytes_max} bytes")).close();
    let declared = axum::body::HttpBody::size_hint(&body).lower();
    // Whoever asks first is told before it sends anything; others are heard out for a while, since few programs
    // read an answer before they have sent their request.
    if declared > bytes_max as u64 && headers.contains_key(header::EXPECT) {
        return Err(too_large());
    }
    let mut collected = Vec::new();
    let mut received = 0usize;
    let mut chunks = body.into_data_stream();
    let reading = async {
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_| {
                Code::BadRequest.because("the body broke off, or its chunks are not well-formed").close()
            })?;
            received = received.saturating_add(chunk.len());
            if received <= bytes_max {
                collected.extend_from_slice(&chunk);
            } else if received > bytes_max + limits::BODY_BYTES_DISCARDED_MAX {
                break;
            }
        }
        if received > bytes_max { Err(too_large()) } else { Ok(()) }
    };
    tokio::time::timeout(limits::BODY_READ, reading).await.unwrap_or_else(|_| {
        let seconds = limits::BODY_READ.as_secs();
        Err(Code::SlowRequest.because(format!("the body was not complete after {seconds} s")).close())
    })?;
    Ok(Bytes::from(collected))
}

/// Reads a JSON body, an object, into the value a route needs. A list is refused here: serde would take its items for
/// the fields, in the order in which they happen to be declared.
pub(super) fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    let malformed = |e: serde_json::Error| Code::MalformedJson.because(e.to_string());
    if bytes.trim_ascii().is_empty() {
        return Err(Code::MalformedJson.because("the body is empty; this route takes a JSON object"));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    WellFormed.deserialize(&mut reader).map_err(malformed)?;
    reader.end().map_err(malformed)?;
    if !bytes.trim_ascii_start().starts_with(b"{") {
        return Err(Code::InvalidBody.because("this route takes a JSON object"));
    }
    serde_json::from_slice(bytes).map_err(|e| Code::InvalidBody.because(in_words::<T>(bytes, &e)))
}

/// Bodies with more fields than any route takes are not searched for the wrong one.
const FIELDS_SEARCHED_MAX: usize = 16;

/// What is wrong with a body that is well-formed. Serde tells the place by line and column; a program's author wants
/// to know which field it is: the one without which the same thing is no longer wrong.
fn in_words<T: DeserializeOwned>(bytes: &[u8], error: &serde_json::Error) -> String {
    let as_told = error.to_string();
    if ["unknown field", "missing field"].iter().any(|begin| as_told.starts_with(begin)) {
        return as_told;
    }
    let Ok(fields) = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(bytes) else {
        return as_told;
    };
    let wrong = |fields: &serde_json::Map<String, serde_json::Value>| {
        serde_json::from_value::<T>(fields.clone().into()).err().map(|error| error.to_string())
    };
    let Some(what) = wrong(&fields).filter(|_| fields.len() <= FIELDS_SEARCHED_MAX) else { return as_told };
    let is_it = |name: &&String| {
        let mut others = fields.clone();
        others.remove(name.as_str());
        wrong(&others).as_ref() != Some(&what)
    };
    let what = what.replace("expected u64", "expected a whole number from 0");
    let what = what.replace("expected string or map", "expected one of its words");
    fields.keys().find(is_it).map_or(as_told, |name| format!("{name}: {what}"))
}

/// Any JSON value without duplicate names. serde_json adds the rest: at most 128 levels, numbers in range.
#[derive(Clone, Copy)]
struct WellFormed;

impl<'de> DeserializeSeed<'de> for WellFormed {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for WellFormed {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let mut names = BTreeSet::new();
        while let Some(name) = fields.next_key::<String>()? {
            fields.next_value_seed(self)?;
            if let Some(twice) = names.replace(name) {
                return Err(A::Error::custom(format_args!("the name {twice:?} appears twice")));
            }
        }
        Ok(())
    }
}

/// The query string as a value; parameters the route does not know are refused.
pub(super) struct Parameters<T>(pub(super) T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Parameters<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let query = Query::<T>::try_from_uri(&parts.uri);
        let Query(value) = query.map_err(|e| {
            let text = e.body_text();
            let detail = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
            Code::InvalidQuery.because(number_in_words(detail))
        })?;
        Ok(Self(value))
    }
}

/// The same without the words of Rust's library about numbers, which name neither number nor digit.
fn number_in_words(detail: &str) -> String {
    let library = [
        "invalid digit found in string",
        "cannot parse integer from empty string",
        "number too large to fit in target type",
    ];
    library.iter().fold(detail.to_owned(), |text, words| text.replace(words, "give a whole number"))
}

/// The one `{parameter}` of a path, decoded.
pub(super) struct PathText(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for PathText {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let path = axum::extract::Path::<String>::from_request_parts(parts, state).await;
        let axum::extract::Path(text) = path.map_err(|e| Code::InvalidId.because(e.body_text()))?;
        Ok(Self(text))
    }
}

/// The two `{parameters}` of a path, decoded.
pub(super) struct PathPair(pub(super) String, pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for PathPair {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let path = axum::extract::Path::<(String, String)>::from_request_parts(parts, state).await;
        let axum::extract::Path((one, other)) = path.map_err(|e| Code::InvalidId.because(e.body_text()))?;
        Ok(Self(one, other))
    }
}

/// How many items of a page to give.
pub(super) fn page_limit(limit: Option<u64>) -> Result<usize, Failure> {
    let Some(limit) = limit else { return Ok(limits::PAGE_ITEMS_DEFAULT) };
    usize::try_from(limit).ok().filter(|limit| (1..=limits::PAGE_ITEMS_MAX).contains(limit)).ok_or_else(
        || Code::InvalidQuery.because(format!("limit is between 1 and {}", limits::PAGE_ITEMS_MAX)),
    )
}

#[cfg(test)]
mod tests {
    use meshlink_api::NewMessage;

    use super::*;

    fn read_message(json: &str) -> Result<NewMessage, Code> {
        from_json(json.as_bytes()).map_err(|f| f.code())
    }

    fn media_type(value: &str) -> Option<MediaType> {
        MediaType::of(&HeaderMap::from_iter([(header::CONTENT_TYPE, value.parse().unwrap())]))
    }

    #[test]
    fn what_is_wrong_with_a_body_names_the_field() {
        let told = |json: &str| from_json::<NewMessage>(json.as_bytes()).unwrap_err().detail().to_owned();
        for (json, words) in [
            (r#"{"text":5}"#, "text: invalid type: integer `5`, expected a string"),
            (
                r#"{"to":"x","text":"x","ttl_s":-1}"#,
                "ttl_s: invalid value: integer `-1`, expected a whole number",
            ),
            (
                r#"{"text":"x","priority":1}"#,
                "priority: invalid type: integer `1`, expected one of its words",
            ),
            (r#"{"text":"x","priority":"high"}"#, "priority: unknown variant `high`, expected one of `sos`"),
            (r#"{"text":"x","attachments":{}}"#, "attachments: "),
            // Two are wrong: the first is named.
            (r#"{"text":1,"to":2}"#, "text: invalid type: integer `1`"),
            (r#"{"txet":"x"}"#, "unknown field `txet`"),
            ("{}", "missing field `text`"),
        ] {
            assert!(told(json).contains(words), "{json}: {}", told(json));
        }
        let many: String = (0..2000).map(|n| format!(r#""f{n}":0,"#)).collect();
        assert!(told(&format!("{{{many}\"text\":5}}")).starts_with("unknown field"));
    }

    #[test]
    fn a_number_that_is_none_is_called_so() {
        for query in ["limit=x", "limit=", "limit=-1", "limit=99999999999999999999"] {
            let uri = format!("/?{query}").parse().unwrap();
            let wrong = Query::<crate::http::route::PageQuery>::try_from_uri(&uri).unwrap_err().body_text();
            assert!(number_in_words(&wrong).ends_with("limit: give a whole number"), "{wrong}");
        }
    }

    #[test]
    fn a09_json_that_is_not_well_formed_is_400() {
        let deep = format!("{{\"text\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
        let malformed = [
            "",
            "{",
            "{\"text\":\"a\"}x",
            "{\"text\":\"a\",\"text\":\"b\"}",
            "{\"text\":{\"a\":1,\"a\":1}}",
            "{\"ttl_s\":1e999}",
            "{\"text\":\"\u{1}\"}",
            "{'text':1}",
            "[1,]",
            "nul",
            "{\"text\":\"\\ud800\"}",
            deep.as_str(),
        ];
        for json in malformed {
            assert_eq!(read_message(json), Err(Code::MalformedJson), "{:.40}", json);
        }
        assert_eq!(
            from_json::<NewMessage>(b"{\"text\":\"\xff\"}").map_err(|f| f.code()),
            Err(Code::MalformedJson)
        );
    }

    #[test]
    fn a09_json_that_says_something_else_is_422() {
        let wrong = [
            "{}",
            "[]",
            "null",
            "\"text\"",
            "{\"text\":1}",
            "{\"text\":\"a\",\"txt\":1}",
            "{\"text\":\"a\",\"ttl_s\":-1}",
            "{\"text\":\"a\",\"ttl_s\":1e3}",
            "{\"text\":\"a\",\"ttl_s\":99999999999999999999}",
            "{\"text\":\"a\",\"priority\":\"high\"}",
        ];
        for json in wrong {
            assert_eq!(read_message(json), Err(Code::InvalidBody), "{json}");
        }
        assert!(read_message(" {\"text\":\"a\",\"ttl_s\":60,\"to\":null} ").is_ok());
    }

    #[test]
    fn a09_a_list_is_no_object_with_its_items_for_fields() {
        for list in ["[]", "[null,null,null]", "[\"Mill\",null,null]"] {
            let read = from_json::<meshlink_api::Profile>(list.as_bytes()).map_err(|f| f.code());
            assert_eq!(read, Err(Code::InvalidBody), "{list}");
        }
        assert!(read_message("[\"#mesh\",\"text\",null,null,null,[]]").is_err());
    }

    #[test]
    fn a04_only_the_media_types_of_the_api_are_taken() {
        for json in
            ["application/json", "Application/JSON; charset=utf-8", "application/json;charset=\"UTF-8\""]
        {
            assert_eq!(media_type(json), Some(MediaType::Json), "{json}");
        }
        assert_eq!(media_type("text/plain;charset=UTF-8"), Some(MediaType::Text));
        let others = [
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "text/html",
            "application/json; charset=latin1",
            "application/jsonx",
            "text/plain; charset=utf-16",
            "application/json; x=y",
            "",
            "application/json, text/plain",
        ];
        for other in others {
            assert_eq!(media_type(other), None, "{other}");
        }
    }

    #[test]
    fn pages_have_one_to_five_hundred_items() {
        assert_eq!(page_limit(None).map_err(|f| f.code()), Ok(50));
        assert_eq!(page_limit(Some(500)).map_err(|f| f.code()), Ok(500));
        for limit in [0, 501, u64::MAX] {
            assert_eq!(page_limit(Some(limit)).map_err(|f| f.code()), Err(Code::InvalidQuery));
        }
    }
}
