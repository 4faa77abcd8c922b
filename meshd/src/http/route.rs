//! Every route in one table: method, path, who may call it, what body it takes, who answers.
//!
//! The router, the scopes, the OpenAPI document and the attack matrix of the tests are made from this table, so
//! that a route can't be in one and miss in another.

pub(in crate::http) mod at_rest;
pub(in crate::http) mod backup;
pub(in crate::http) mod channels;
pub(in crate::http) mod contacts;
pub(in crate::http) mod conversations;
pub(in crate::http) mod cursors;
pub(in crate::http) mod document;
pub(in crate::http) mod events;
pub(in crate::http) mod groups;
pub(in crate::http) mod messages;
pub(in crate::http) mod metrics;
pub(in crate::http) mod node;
pub(in crate::http) mod peers;
pub(in crate::http) mod send;
pub(in crate::http) mod settings;
pub(in crate::http) mod storage;
pub(in crate::http) mod tokens;
pub(in crate::http) mod trace;

use axum::extract::{MatchedPath, Request};
use axum::handler::Handler;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use hyper::Method;
use hyper::header::{self, HeaderValue};
use meshlink_api::{Page, Scope};
use meshlink_core::Seq;
use meshlink_core::node::SubmitError;
use serde::Deserialize;
use utoipa::{IntoParams, OpenApi as _};

use super::app::App;
use super::intake::{self, Takes};
use super::position::Position;
use super::problem::{Code, Failure, UNLOCK};
use super::request_counts::RouteName;
use super::token_book::Caller;

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everyone.
    Open,
    /// Whoever has this scope or a higher one.
    Scoped(Scope),
}

/// One row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Its method. `HEAD` goes with `GET`.
    pub method: Method,
    /// Its path, with `{parameters}`.
    pub path: &'static str,
    /// Who may call it.
    pub access: Access,
    /// What body it takes.
    pub takes: Takes,
}

const OPEN: Access = Access::Open;
const READ: Access = Access::Scoped(Scope::Read);
const SEND: Access = Access::Scoped(Scope::Send);
const ADMIN: Access = Access::Scoped(Scope::Admin);

macro_rules! table {
    ($($method:ident $path:literal $access:ident $takes:ident $module:ident::$handler:ident;)*) => {
        /// Every route, in the order of the documentation.
        pub static ROUTES: &[Route] = &[
            $(Route { method: Method::$method, path: $path, access: $access, takes: Takes::$takes },)*
        ];

        /// The handlers, each behind its gate.
        pub(super) fn router() -> axum::Router<App> {
            let mut rows = ROUTES.iter();
            let mut row = || rows.next().expect("made from the same table");
            axum::Router::new()
                $(.route($path, gated(row(), MethodFilter::$method, $module::$handler)))*
                .method_not_allowed_fallback(method_not_allowed)
        }

        #[derive(utoipa::OpenApi)]
        #[openapi(paths($($module::$handler),*))]
        struct Operations;
    };
}

table! {
    GET    "/v1/health"               OPEN  Nothing    node::health;
    GET    "/v1/status"               READ  Nothing    node::status;
    GET    "/v1/profile"              READ  Nothing    node::profile;
    PUT    "/v1/profile"              ADMIN Json       node::set_profile;
    POST   "/v1/unlock"               ADMIN Json       at_rest::unlock;
    POST   "/v1/lock"                 ADMIN Nothing    at_rest::lock;
    PUT    "/v1/passphrase"           ADMIN Json       at_rest::change_passphrase;
    POST   "/v1/wipe"                 ADMIN Json       at_rest::wipe;
    POST   "/v1/backup"               ADMIN Json       backup::create;
    POST   "/v1/restore"              ADMIN LongJson   backup::restore;
    GET    "/v1/messages"             READ  Nothing    messages::list;
    POST   "/v1/messages"             SEND  JsonOrText send::send;
    GET    "/v1/messages/{id}"        READ  Nothing    messages::show;
    DELETE "/v1/messages/{id}"        SEND  Nothing    messages::forget;
    GET    "/v1/messages/{id}/trace"  READ  Nothing    trace::trace;
    POST   "/v1/messages/{id}/read"   SEND  Nothing    messages::mark_read;
    GET    "/v1/conversations"        READ  Nothing    conversations::list;
    GET    "/v1/peers"                READ  Nothing    peers::list;
    GET    "/v1/peers/{id}"           READ  Nothing    peers::show;
    POST   "/v1/peers/{id}/block"     ADMIN Nothing    peers::block;
    POST   "/v1/peers/{id}/unblock"   ADMIN Nothing    peers::unblock;
    GET    "/v1/identity"             READ  Nothing    contacts::identity;
    POST   "/v1/identity/code"        ADMIN Json       contacts::make_code;
    GET    "/v1/contacts"             READ  Nothing    contacts::list;
    POST   "/v1/contacts"             ADMIN Json       contacts::add;
    GET    "/v1/contacts/{id}"        READ  Nothing    contacts::show;
    PATCH  "/v1/contacts/{id}"        ADMIN Json       contacts::change;
    DELETE "/v1/contacts/{id}"        ADMIN Nothing    contacts::remove;
    POST   "/v1/contacts/{id}/verify" ADMIN Json       contacts::verify;
    POST   "/v1/contacts/{id}/introduce" ADMIN Json    contacts::introduce;
    GET    "/v1/groups"               READ  Nothing    groups::list;
    POST   "/v1/groups"               ADMIN Json       groups::found;
    GET    "/v1/groups/{id}"          READ  Nothing    groups::show;
    PATCH  "/v1/groups/{id}"          ADMIN Json       groups::change;
    POST   "/v1/groups/{id}/join"     ADMIN Nothing    groups::join;
    POST   "/v1/groups/{id}/leave"    ADMIN Nothing    groups::leave;
    POST   "/v1/groups/{id}/members"  ADMIN Json       groups::invite;
    DELETE "/v1/groups/{id}/members/{who}" ADMIN Nothing groups::remove;
    GET    "/v1/links"                READ  Nothing    peers::links;
    GET    "/v1/channels"             READ  Nothing    channels::list;
    POST   "/v1/channels"             ADMIN Json       channels::join;
    DELETE "/v1/channels/{name}"      ADMIN Nothing    channels::leave;
    GET    "/v1/tokens"               ADMIN Nothing    tokens::list;
    POST   "/v1/tokens"               ADMIN Json       tokens::create;
    DELETE "/v1/tokens/{id}"          ADMIN Nothing    tokens::revoke;
    GET    "/v1/cursors/{name}"       READ  Nothing    cursors::show;
    PUT    "/v1/cursors/{name}"       SEND  Json       cursors::keep;
    GET    "/v1/events"               READ  Nothing    events::stream;
    POST   "/v1/events/ticket"        READ  Nothing    events::ticket;
    GET    "/v1/config"               ADMIN Nothing    settings::show;
    POST   "/v1/config/reload"        ADMIN Nothing    settings::reload;
    GET    "/v1/log"                  READ  Nothing    settings::log;
    PUT    "/v1/log"                  ADMIN Json       settings::set_log;
    GET    "/v1/store"                READ  Nothing    storage::show;
    POST   "/v1/store/verify"         ADMIN Nothing    storage::verify;
    POST   "/v1/store/compact"        ADMIN Nothing    storage::compact;
    POST   "/v1/store/backup"         ADMIN Nothing    storage::backup;
    GET    "/v1/openapi.json"         READ  Nothing    document::openapi;
    GET    "/metrics"                 READ  Nothing    metrics::metrics;
}

/// Paths that answer while the node is locked: what carrying is about, and what it takes to unlock or wipe it. Whatever
/// is not named here is refused then.
const ANSWER_LOCKED: &[&str] = &[
    "/v1/health",
    "/v1/status",
    "/v1/unlock",
    "/v1/lock",
    "/v1/passphrase",
    "/v1/wipe",
    "/v1/peers",
    "/v1/peers/{id}",
    "/v1/peers/{id}/block",
    "/v1/peers/{id}/unblock",
    "/v1/links",
    "/v1/tokens",
    "/v1/tokens/{id}",
    "/v1/cursors/{name}",
    "/v1/config",
    "/v1/config/reload",
    "/v1/log",
    "/v1/store",
    "/v1/store/verify",
    "/v1/store/compact",
    "/v1/store/backup",
    "/v1/openapi.json",
    "/metrics",
];

/// Whether the node is locked, as every request brings it along from the guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IsLocked(pub(super) bool);

/// Whether everyone may ask for this.
pub(super) fn is_open(method: &Method, path: &str) -> bool {
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    ROUTES.iter().any(|route| route.access == Access::Open && route.method == *method && route.path == path)
}

/// Whether a path is the API's, never a page's.
pub(super) fn is_reserved(path: &str) -> bool {
    path == "/v1" || path.starts_with("/v1/") || path == "/metrics"
}

fn operations() -> utoipa::openapi::OpenApi {
    Operations::openapi()
}

/// A handler behind its gate: the caller's scope and the request's body are judged before it runs.
fn gated<H, T>(route: &'static Route, filter: MethodFilter, handler: H) -> MethodRouter<App>
where
    H: Handler<T, App>,
    T: 'static,
{
    on(filter, handler).route_layer(from_fn(move |request, next| gate(route, request, next)))
}

async fn gate(route: &'static Route, request: Request, next: Next) -> Response {
    let admitted = match check_scope(route, &request).and_then(|()| check_unlocked(route, &request)) {
        Ok(()) => intake::take_in(route.takes, request).await,
        Err(failure) => Err(failure),
    };
    let mut response = match admitted {
        Ok(request) => next.run(request).await,
        Err(failure) => failure.into_response(),
    };
    response.extensions_mut().insert(RouteName(route.path));
    response
}

fn check_scope(route: &Route, request: &Request) -> Result<(), Failure> {
    let Access::Scoped(needed) = route.access else { return Ok(()) };
    // The guard has let nobody without a caller come here; if it did, this is the second lock.
    let caller = request.extensions().get::<Caller>();
    let caller =
        caller.ok_or_else(|| Code::Unauthorized.because("nobody is known to have made this request"))?;
    if caller.scope >= needed {
        return Ok(());
    }
    let name = |scope| match scope {
        Scope::Read => "read",
        Scope::Send => "send",
        Scope::Admin => "admin",
    };
    Err(Code::InsufficientScope.because(format!(
        "this needs a token with scope {:?}; this one has {:?}",
        name(needed),
        name(caller.scope)
    )))
}

fn check_unlocked(route: &Route, request: &Request) -> Result<(), Failure> {
    // Where nothing is said, it is.
    let IsLocked(is_locked) = request.extensions().get().copied().unwrap_or(IsLocked(true));
    if !is_locked || ANSWER_LOCKED.contains(&route.path) {
        return Ok(());
    }
    Err(Code::Locked
        .because("the node is locked: it carries for others, and its own messages are sealed on its disk")
        .hint(UNLOCK))
}

async fn method_not_allowed(path: MatchedPath, method: Method) -> Response {
    let mut allowed: Vec<&str> = ROUTES
        .iter()
        .filter(|route| route.path == path.as_str())
        .map(|route| route.method.as_str())
        .collect();
    if allowed.contains(&"GET") {
        allowed.push("HEAD");
    }
    let allowed = allowed.join(",");
    let failure = Code::MethodNotAllowed.because(format!("{} has {allowed}, not {method}", path.as_str()));
    let value = HeaderValue::from_str(&allowed).expect("methods are plain ASCII");
    let mut response = failure.header(header::ALLOW, value).into_response();
    let route = ROUTES.iter().find(|route| route.path == path.as_str()).map_or("none", |route| route.path);
    response.extensions_mut().insert(RouteName(route));
    response
}

/// A position in this store's log, from the parameter or field of that name.
fn cursor_in(store: [u8; 4], name: &str, text: &str) -> Result<Seq, Failure> {
    let invalid = |detail| Code::InvalidCursor.because(format!("{name} {detail}"));
    let position = text.parse::<Position>().map_err(|_| {
        invalid("is no position")
            .hint("positions are the id of an event, the cursor of a message, or `next` of a page")
    })?;
    position.seq_in(store).ok_or_else(|| {
        invalid("belongs to another database")
            .hint("this node's database was made anew since; begin without a position")
    })
}

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// Items of a page, 1 to 500; 50 if absent.
    limit: Option<u64>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// One page of a list that is small enough to be there as a whole. The key of an item is its cursor.
fn page_of<T>(mut items: Vec<T>, key: impl Fn(&T) -> String, query: &PageQuery) -> Result<Page<T>, Failure> {
    let limit = intake::page_limit(query.limit)?;
    items.sort_by_cached_key(&key);
    if let Some(cursor) = &query.cursor {
        items.retain(|item| key(item) > *cursor);
    }
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(key);
    Ok(Page { items, next })
}

/// What the node did not take, as a problem.
fn submit_failure(error: SubmitError) -> Failure {
    let code = match &error {
        SubmitError::EmptyText => Code::EmptyText,
        SubmitError::TextTooLong { .. } => Code::TextTooLong,
        SubmitError::NulInText => Code::InvalidBody,
        SubmitError::BadChannel { .. } => Code::InvalidName,
        SubmitError::NotJoined { .. } => Code::ChannelNotJoined,
        SubmitError::CannotLeave { .. } | SubmitError::AlwaysPublic { .. } => Code::PermanentChannel,
        SubmitError::OtherChannel { .. } => Code::ChannelConflict,
        SubmitError::BadLifetime { .. } => Code::InvalidLifetime,
        SubmitError::BadField { .. } => Code::InvalidProfile,
        SubmitError::BlockedRecipient { .. } => Code::RecipientBlocked,
        SubmitError::RivalRecipient { .. } => Code::ContactKeyChanged,
        SubmitError::NotInGroup { .. } => Code::NotInGroup,
        SubmitError::BehindGroup { .. } => Code::GroupBehind,
        SubmitError::TooManyContacts { .. } | SubmitError::TooManyChannels { .. } => Code::LimitReached,
        SubmitError::StoreFull => Code::QuotaUsed,
        SubmitError::Store(error) => return error.clone().into(),
    };
    let failure = code.because(error.to_string());
    match error {
        SubmitError::NotJoined { channel } => {
            let body = format!("{{\"name\": \"{channel}\"}}");
            failure.hint(format!("join it first: meshctl channel join '{channel}', or POST /v1/channels with {body}"))
        }
        SubmitError::StoreFull => {
            failure.hint("messages make room as other nodes take them or their lifetimes end")
        }
        SubmitError::BlockedRecipient { to } => {
            failure.hint(format!("unblock it first: POST /v1/peers/{to}/unblock"))
        }
        SubmitError::RivalRecipient { to, .. } => failure.hint(format!(
            "ask that person which is right, then PATCH /v1/contacts/{to} with {{\"resolve\": \"keep\"}} or \"replace\""
        )),
        SubmitError::NotInGroup { .. } => {
            failure.hint("GET /v1/groups lists groups and invitations; POST /v1/groups/{id}/join accepts one")
        }
        SubmitError::BehindGroup { .. } => {
            failure.hint("send it again once a member was met; they say who is in it by themselves, unless this node was removed")
        }
        SubmitError::TooManyContacts { .. } => failure.hint("remove a contact"),
        SubmitError::TooManyChannels { .. } => failure.hint("leave a channel"),
        SubmitError::OtherChannel { channel, .. } => failure.hint(format!(
            "leave it first: meshctl channel leave '{channel}', or DELETE /v1/channels/{}; messages that were shown stay",
            channel.trim_start_matches('#')
        )),
        SubmitError::AlwaysPublic { .. } => failure.hint("take another name for the channel with a password"),
        SubmitError::EmptyText
        | SubmitError::TextTooLong { .. }
        | SubmitError::NulInText
        | SubmitError::BadChannel { .. }
        | SubmitError::CannotLeave { .. }
        | SubmitError::BadLifetime { .. }
        | SubmitError::BadField { .. }
        | SubmitError::Store(_) => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_lists_are_paged_by_their_keys() {
        let page = |limit, cursor: Option<&str>| {
            page_of(
                vec!["c", "a", "d", "b"],
                |item| (*item).to_owned(),
                &PageQuery { limit, cursor: cursor.map(str::to_owned) },
            )
            .map_err(|f| f.code())
        };
        assert_eq!(page(Some(3), None), Ok(Page { items: vec!["a", "b", "c"], next: Some("c".to_owned()) }));
        assert_eq!(page(Some(3), Some("c")), Ok(Page { items: vec!["d"], next: None }));
        assert_eq!(page(Some(4), None).unwrap().next, None);
    }

    #[test]
    fn what_answers_while_locked_is_there_and_reads_no_message() {
        for path in ANSWER_LOCKED {
            assert!(ROUTES.iter().any(|route| route.path == *path), "{path} is no route");
            assert!(!path.contains("message") && !path.contains("event") && !path.contains("conversation"));
        }
    }

    fn route_of(access: Access, path: &'static str) -> Route {
        let of_that_path = ROUTES.iter().find(|route| route.path == path).expect("it is in the table");
        Route { access, ..of_that_path.clone() }
    }

    #[test]
    fn a01_a_scope_includes_those_below_it_and_nobody_has_none() {
        let scopes = [Scope::Read, Scope::Send, Scope::Admin];
        for (place, needed) in scopes.into_iter().enumerate() {
            let route = route_of(Access::Scoped(needed), "/v1/status");
            for (height, scope) in scopes.into_iter().enumerate() {
                let mut request = Request::default();
                request.extensions_mut().insert(Caller { scope, token: None });
                let expected = if height >= place { Ok(()) } else { Err(Code::InsufficientScope) };
                assert_eq!(check_scope(&route, &request).map_err(|f| f.code()), expected, "{scope:?}");
            }
            assert_eq!(
                check_scope(&route, &Request::default()).map_err(|f| f.code()),
                Err(Code::Unauthorized)
            );
        }
        let open = route_of(Access::Open, "/v1/health");
        assert!(check_scope(&open, &Request::default()).is_ok());
    }

    #[test]
    fn only_what_is_named_answers_while_locked_or_while_nobody_says() {
        for (path, is_named) in [("/v1/status", true), ("/v1/messages", false), ("/v1/contacts", false)] {
            let route = route_of(Access::Open, path);
            for (lock, answers) in
                [(Some(IsLocked(true)), is_named), (Some(IsLocked(false)), true), (None, is_named)]
            {
                let mut request = Request::default();
                lock.and_then(|lock| request.extensions_mut().insert(lock));
                let expected = if answers { Ok(()) } else { Err(Code::Locked) };
                assert_eq!(
                    check_unlocked(&route, &request).map_err(|f| f.code()),
                    expected,
                    "{path} {lock:?}"
                );
            }
        }
    }

    #[test]
    fn only_health_is_open() {
        let open: Vec<&str> = ROUTES.iter().filter(|r| r.access == Access::Open).map(|r| r.path).collect();
        assert_eq!(open, ["/v1/health"]);
        assert!(is_open(&Method::HEAD, "/v1/health"));
        assert!(!is_open(&Method::POST, "/v1/health"));
        assert!(ROUTES.iter().all(|route| is_reserved(route.path)));
        for path in ["/v1", "/v1/", "/v1/nothing", "/metrics"] {
            assert!(is_reserved(path), "{path}");
        }
        for path in ["/", "/v10", "/v1.js", "/metrics.html", "/index.html"] {
            assert!(!is_reserved(path), "{path}");
        }
    }
}
