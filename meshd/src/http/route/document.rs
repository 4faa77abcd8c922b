//! The OpenAPI 3.1 document.
//!
//! utoipa collects operations and schemas from the handlers and the types of `meshlink-api`; what is the same
//! for all, who may call and how failures look, is added from the table of routes.

use hyper::header::{CONTENT_TYPE, HeaderName};
use serde_json::{Value, json};

use super::{Access, ROUTES};
use crate::http::problem::Code;

/// This document.
#[utoipa::path(
    get, path = "/v1/openapi.json", tag = "node", operation_id = "get_openapi",
    responses((status = 200, description = "The document.", body = Object, content_type = "application/json")),
)]
pub(crate) async fn openapi() -> ([(HeaderName, &'static str); 1], &'static str) {
    // As it is in the repository; a test holds that it is what `document` says. Made here at run time, it would
    // be a third of a megabyte of code in the daemon.
    const TEXT: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json"));
    ([(CONTENT_TYPE, "application/json")], TEXT)
}

/// The document that describes every route, made from the routes. For `docs/openapi.json` and its test.
pub fn document() -> Value {
    let mut document = serde_json::to_value(super::operations()).expect("OpenAPI documents are plain data");
    document["info"] = json!({
        "title": "MeshLink",
        "version": env!("CARGO_PKG_VERSION"),
        "summary": "The local API of a MeshLink node",
        "description": DESCRIPTION,
        "license": { "name": "MIT", "identifier": "MIT" },
    });
    document["servers"] = json!([{ "url": "http://127.0.0.1:6374", "description": "The default address" }]);
    document["components"]["securitySchemes"] = json!({
        "token": { "type": "http", "scheme": "bearer", "description": "The content of `api-token` in the state directory, or a named token." },
        "ticket": { "type": "apiKey", "in": "query", "name": "ticket", "description": "From `POST /v1/events/ticket`; good once." },
    });
    document["components"]["responses"] = json!({
        "Problem": {
            "description": "What went wrong. `code` is stable.",
            "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
        },
    });
    document["components"]["schemas"]["Problem"] = problem_schema();
    for route in ROUTES {
        let method = route.method.as_str().to_ascii_lowercase();
        let operation = &mut document["paths"][route.path][&method];
        operation["security"] = match route.access {
            Access::Open => json!([]),
            Access::Scoped(_) if route.path == "/v1/events" => json!([{ "token": [] }, { "ticket": [] }]),
            Access::Scoped(_) => json!([{ "token": [] }]),
        };
        if let Access::Scoped(scope) = route.access {
            operation["x-scope"] = serde_json::to_value(scope).expect("plain data");
        }
        operation["responses"]["default"] = json!({ "$ref": "#/components/responses/Problem" });
    }
    document
}

fn problem_schema() -> Value {
    let schema = <meshlink_api::Problem as utoipa::PartialSchema>::schema();
    let mut schema = serde_json::to_value(schema).expect("plain data");
    // Not an enumeration: later versions may add some.
    let codes: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    schema["properties"]["code"]["examples"] = json!(codes);
    schema
}

const DESCRIPTION: &str = "\
Times are RFC 3339 in UTC, durations `*_s` in seconds, sizes `*_bytes`. Lists come in pages: pass `next` as \
`?cursor=` for the following one. Every failure is `application/problem+json` with a stable `code`. Fields may be \
added in later versions: ignore what you do not know.

Over TCP send `Authorization: Bearer <token>`; the Unix socket trusts the user who runs the daemon. A named token has \
a scope: `read`, `send` (which includes `read`) or `admin` (which includes both); `x-scope` says what an operation needs.";
