use axum::body::Body;

use super::*;
use crate::http::secret::SecretHash;

const TCP: Peer =
    Peer::Tcp { local: std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 6374) };
const PAGE: &str = "http://localhost:5173";
const PLAIN: Head = Head { chunked: false, two_lengths: false };
const TOKEN: (&str, &str) = ("authorization", "Bearer right");
const OWNER: Result<Option<Caller>, Code> = Ok(Some(Caller::OWNER));
/// What a browser sends with a question beforehand.
const ASKS: (&str, &str) = ("access-control-request-method", "POST");

fn request(method: &str, target: &str, fields: &[(&str, &str)]) -> Request {
    let mut builder = Request::builder().method(method).uri(target).header("host", "localhost:6374");
    for (name, value) in fields {
        builder = builder.header(*name, *value);
    }
    builder.extension(TCP).extension(PLAIN).body(Body::empty()).unwrap()
}

/// How a request goes on, with or without a UI's files.
fn judge(request: &Request, has_ui: bool) -> (Origin, Result<Verdict, Code>) {
    let (tokens, now) = (TokenBook::new(SecretHash::of("right"), Vec::new()), Instant::now());
    let door = Door {
        allowed_hosts: &[],
        allow_origins: &[PAGE.to_owned()],
        has_ui,
        tokens: &tokens,
        tickets: &TicketBox::default(),
        failures: &Failures::new(now),
    };
    let (origin, verdict) = door.judge(request, now);
    (origin, verdict.map_err(|failure| failure.code()))
}

/// Who is let in: `Ok(None)` where everyone is.
fn caller(request: &Request, has_ui: bool) -> Result<Option<Caller>, Code> {
    judge(request, has_ui).1.map(|verdict| match verdict {
        Verdict::Pass(caller) => caller,
        Verdict::Preflight(_) => panic!("no browser asked"),
    })
}

#[test]
fn a01_whatever_is_no_page_and_not_open_needs_a_token() {
    for (method, target, is_open, is_open_beside_a_ui) in [
        ("GET", "/v1/health", true, true),
        ("HEAD", "/v1/health", true, true),
        ("POST", "/v1/health", false, false),
        ("GET", "/", true, true),
        ("HEAD", "/", true, true),
        ("POST", "/", false, false),
        ("GET", "/app.js", false, true),
        ("HEAD", "/app.js", false, true),
        ("POST", "/app.js", false, false),
        ("GET", "/v1/status", false, false),
        ("GET", "/v1", false, false),
        ("GET", "/metrics", false, false),
        ("GET", "/v1/nothing", false, false),
    ] {
        for (has_ui, is_open) in [(false, is_open), (true, is_open_beside_a_ui)] {
            let [without, with] =
                [&[][..], &[TOKEN]].map(|fields| caller(&request(method, target, fields), has_ui));
            let expected = if is_open { [Ok(None), Ok(None)] } else { [Err(Code::Unauthorized), OWNER] };
            assert_eq!([without, with], expected, "{method} {target}, a UI: {has_ui}");
        }
    }
}

#[test]
fn a01_a_token_in_an_address_is_refused_where_everyone_is_let_in_too() {
    for target in ["/?token=right", "/v1/health?token=right", "/v1/status?token=right"] {
        assert_eq!(caller(&request("GET", target, &[TOKEN]), true), Err(Code::TokenInQuery), "{target}");
    }
}

#[test]
fn a14_what_is_framed_in_two_ways_or_was_not_seen_is_refused() {
    let framed = |head: Option<Head>| {
        let mut request = request("GET", "/v1/status", &[TOKEN]);
        request.extensions_mut().remove::<Head>();
        head.and_then(|head| request.extensions_mut().insert(head));
        caller(&request, false)
    };
    assert_eq!(framed(Some(Head { chunked: true, ..PLAIN })), OWNER);
    assert_eq!(framed(Some(Head { two_lengths: true, chunked: true })), Err(Code::BadRequest));
    assert_eq!(framed(None), Err(Code::BadRequest));
}

#[test]
fn a09_an_address_has_at_most_eight_kibibytes() {
    let of_length = |bytes: usize| {
        let start = "/v1/status?a=";
        let target = format!("{start}{}", "x".repeat(bytes - start.len()));
        caller(&request("GET", &target, &[TOKEN]), false)
    };
    assert_eq!(of_length(8_192), OWNER);
    assert_eq!(of_length(8_193), Err(Code::UriTooLong));
    assert_eq!(of_length(20_000), Err(Code::UriTooLong));
}

#[test]
fn a05_only_an_allowed_page_that_asks_beforehand_is_told_what_it_may_send() {
    let page = ("origin", PAGE);
    let asks = request("OPTIONS", "/v1/messages", &[page, ASKS]);
    let (origin, Ok(Verdict::Preflight(told))) = judge(&asks, false) else { panic!("it asks") };
    assert_eq!(origin, Origin::Allowed(HeaderValue::from_static(PAGE)));
    assert!(told["access-control-allow-headers"].to_str().unwrap().contains("authorization"));
    assert!(told["access-control-allow-methods"].to_str().unwrap().contains("PATCH"));
    assert!(!told.contains_key("access-control-allow-credentials"));
    assert!(!told.contains_key("access-control-allow-private-network"));
    let private = ("access-control-request-private-network", "true");
    let Ok(Verdict::Preflight(told)) = judge(&request("OPTIONS", "/", &[page, ASKS, private]), false).1
    else {
        panic!("it asks")
    };
    assert_eq!(told["access-control-allow-private-network"], "true");
    for (method, fields) in [("OPTIONS", &[page][..]), ("POST", &[page, ASKS]), ("OPTIONS", &[ASKS])] {
        let other = request(method, "/v1/messages", fields);
        assert_eq!(caller(&other, false), Err(Code::Unauthorized), "{method} {fields:?}");
    }
    let evil = ("origin", "http://evil.example");
    assert_eq!(caller(&request("OPTIONS", "/v1/messages", &[evil, ASKS]), false), Err(Code::ForeignOrigin));
}

#[test]
fn a06_a12_every_answer_is_data_and_only_an_allowed_page_reads_it() {
    let answer = |allow_origins: &[String], origin: Origin| {
        let mut headers = HeaderMap::new();
        headers.insert("cache-control", HeaderValue::from_static("max-age=60"));
        decorate(allow_origins, &origin, &mut headers);
        for (name, value) in &ANSWER_HEADERS[1..] {
            assert_eq!(headers[*name], *value);
        }
        assert_eq!(headers["cache-control"], "max-age=60", "what the answer says of itself stays");
        headers
    };
    let own = answer(&[], Origin::Own);
    assert!(!own.contains_key("vary") && !own.contains_key("access-control-allow-origin"));
    let allowed = [PAGE.to_owned()];
    let own = answer(&allowed, Origin::Own);
    assert!(own["vary"] == "origin" && !own.contains_key("access-control-allow-origin"));
    let page = answer(&allowed, Origin::Allowed(HeaderValue::from_static(PAGE)));
    assert!(page["vary"] == "origin" && page["access-control-allow-origin"] == PAGE);
    assert!(page["access-control-expose-headers"].to_str().unwrap().contains("location"));
}
