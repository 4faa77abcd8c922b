//! Named tokens: one for each program, so that each can be taken back by itself.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use hyper::StatusCode;
use meshlink_api::{NewToken, Page, Scope, Token, TokenCreated};

use super::PageQuery;
use crate::http::app::App;
use crate::http::intake::{self, Parameters, PathText};
use crate::http::limits;
use crate::http::problem::{Code, Failure};
use crate::http::render;
use crate::http::secret::{SecretHash, random_text};
use crate::http::token_book::Entry;
use crate::sqlite::{Inserted, TokenRow};

/// Named tokens, without their secrets.
#[utoipa::path(
    get, path = "/v1/tokens", tag = "tokens", operation_id = "list_tokens", params(PageQuery),
    responses((status = 200, description = "A page.", body = Page<Token>)),
)]
pub(crate) async fn list(
    State(app): State<App>,
    Parameters(query): Parameters<PageQuery>,
) -> Result<Json<Page<Token>>, Failure> {
    let tokens = app.tokens().list().iter().map(shown).collect();
    Ok(Json(super::page_of(tokens, |token: &Token| token.id.clone(), &query)?))
}

/// Makes a token. Its secret is shown in this answer and never again.
#[utoipa::path(
    post, path = "/v1/tokens", tag = "tokens", operation_id = "create_token", request_body = NewToken,
    responses((status = 201, description = "The token with its secret.", body = TokenCreated)),
)]
pub(crate) async fn create(
    State(app): State<App>,
    body: Bytes,
) -> Result<(StatusCode, Json<TokenCreated>), Failure> {
    let NewToken { name, scope, scopes } = intake::from_json(&body)?;
    let scope = wanted_scope(scope, scopes)?;
    if !(1..=limits::TOKEN_NAME_BYTES_MAX).contains(&name.len()) || name.chars().any(char::is_control) {
        let max = limits::TOKEN_NAME_BYTES_MAX;
        return Err(Code::InvalidName
            .because(format!("a token's name has 1 to {max} bytes and no control characters")));
    }
    let secret = format!("mesh-{}", random_text::<32>()?);
    let (id, hash) = (random_text::<5>()?, SecretHash::of(&secret));
    let entry = app
        .write(move |node, now| {
            let entry =
                Entry { id, name, scope, hash, created_unix_ms: now.unix_ms, last_used_unix_ms: None };
            match node.store_mut().insert_token(&row_of(&entry))? {
                Inserted::Done => Ok::<_, Failure>(entry),
                Inserted::Exists => Err(Code::NoEntropy.because("the same random bytes came twice")),
                Inserted::TooMany { max } => Err(Code::LimitReached
                    .because(format!("there are {max} tokens"))
                    .hint("DELETE /v1/tokens/{id} takes one back")),
            }
        })
        .await?;
    let token = shown(&entry);
    app.tokens().add(entry);
    Ok((StatusCode::CREATED, Json(TokenCreated { token, secret })))
}

/// Takes a token back, at once: its event streams end too.
#[utoipa::path(
    delete, path = "/v1/tokens/{id}", tag = "tokens", operation_id = "revoke_token",
    params(("id" = String, Path, description = "The token's id, not its secret.")),
    responses((status = 204, description = "No longer valid.")),
)]
pub(crate) async fn revoke(State(app): State<App>, PathText(id): PathText) -> Result<StatusCode, Failure> {
    let removed = id.clone();
    app.write(move |node, _| {
        let known = node.store_mut().delete_token(&id)?;
        if known { Ok(()) } else { Err(Code::NotFound.because(format!("there is no token {id:?}"))) }
    })
    .await?;
    app.tokens().remove(&removed);
    Ok(StatusCode::NO_CONTENT)
}

/// The one scope that a request means: programs name it alone, or list all that they need.
fn wanted_scope(scope: Option<Scope>, scopes: Option<Vec<Scope>>) -> Result<Scope, Failure> {
    let highest = scopes.map(|scopes| scopes.into_iter().max());
    let wrong = |detail: &str| {
        Code::InvalidBody
            .because(detail)
            .hint("give \"scope\": \"read\", \"send\" or \"admin\", or \"scopes\": [\"read\", \"send\"]")
    };
    match (scope, highest) {
        (Some(scope), None) | (None, Some(Some(scope))) => Ok(scope),
        (Some(scope), Some(highest)) if highest == Some(scope) => Ok(scope),
        (Some(_), Some(_)) => Err(wrong("scope and scopes say different things")),
        (None, Some(None)) => Err(wrong("scopes is empty: such a token could do nothing")),
        (None, None) => Err(wrong("missing field `scope`: what the token may do")),
    }
}

fn shown(entry: &Entry) -> Token {
    Token {
        id: entry.id.clone(),
        name: entry.name.clone(),
        scope: entry.scope,
        scopes: entry.scope.included(),
        created_at: entry.created_unix_ms.and_then(render::time),
        // Kept to the minute, which may have begun before the token was made.
        last_used_at: entry
            .last_used_unix_ms
            .max(entry.last_used_unix_ms.and(entry.created_unix_ms))
            .and_then(render::time),
    }
}

fn row_of(entry: &Entry) -> TokenRow {
    let scope = match entry.scope {
        Scope::Read => 0,
        Scope::Send => 1,
        Scope::Admin => 2,
    };
    TokenRow {
        id: entry.id.clone(),
        name: entry.name.clone(),
        scope,
        hash: *entry.hash.as_bytes(),
        created_unix_ms: entry.created_unix_ms,
        last_used_unix_ms: entry.last_used_unix_ms,
    }
}

pub(in crate::http) fn entry_of(row: TokenRow) -> Entry {
    let scope = match row.scope {
        2 => Scope::Admin,
        1 => Scope::Send,
        // What no version wrote grants the least.
        _ => Scope::Read,
    };
    Entry {
        id: row.id,
        name: row.name,
        scope,
        hash: SecretHash::from_bytes(row.hash),
        created_unix_ms: row.created_unix_ms,
        last_used_unix_ms: row.last_used_unix_ms,
    }
}
