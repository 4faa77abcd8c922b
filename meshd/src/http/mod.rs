//! The HTTP API: how people's programs reach the node.
//!
//! ```text
//! serve ─▶ wire ─▶ hyper ─▶ guard ─▶ gate of the route ─▶ handler ─▶ driver
//! accept,  stalls, HTTP/1.1  Host,    scope, body          one closure on the node's thread
//! limits   framing           Origin,
//!                            token
//! ```
//!
//! Handlers hold no state: they turn a request into one closure that runs on the node's thread, and what it
//! returns into JSON. What the API promises is in `docs/api.md`; what it withstands, in the attack matrix of
//! `tests/api_http`.

mod app;
mod guard;
mod intake;
pub mod limits;
mod peer;
mod position;
mod problem;
mod render;
mod request_counts;
mod route;
mod secret;
mod serve;
mod steady_clock;
mod ticket;
mod token_book;
mod ui;
mod wire;

pub use app::{App, Settings, StartError, check_ui};
pub use intake::Takes;
pub use problem::Code;
pub use route::document::document;
pub use route::{Access, ROUTES, Route};
pub use secret::SecretHash;
pub use serve::{Listener, serve};

/// The routes behind the guard.
fn router(app: App) -> axum::Router {
    let routes = route::router().fallback(ui::page_or_problem).with_state(app.clone());
    axum::Router::new()
        .fallback_service(routes)
        .layer(axum::middleware::from_fn_with_state(app, guard::guard))
}
