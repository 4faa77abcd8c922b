//! The node itself: health, status, profile.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use meshlink_api::{Health, Profile, Status};
use meshlink_core::node::ProfileDraft;

use super::submit_failure;
use crate::http::app::App;
use crate::http::intake;
use crate::http::problem::Failure;
use crate::http::render::Renderer;

/// Whether the daemon answers. The one route that is open to everyone.
#[utoipa::path(get, path = "/v1/health", tag = "node", operation_id = "get_health", responses((status = 200, description = "It does.", body = Health)))]
pub(crate) async fn health() -> Json<Health> {
    Json(Health { status: "ok".to_owned() })
}

/// The state of the node: clock, store, messages, transports.
#[utoipa::path(get, path = "/v1/status", tag = "node", operation_id = "get_status", responses((status = 200, description = "The state.", body = Status)))]
pub(crate) async fn status(State(app): State<App>) -> Result<Json<Status>, Failure> {
    let vitals = app.vitals();
    let status = app.read(move |node, now| Renderer::new(node, now).status(vitals)).await?;
    Ok(Json(status))
}

/// How this node introduces itself.
#[utoipa::path(get, path = "/v1/profile", tag = "node", operation_id = "get_profile", responses((status = 200, description = "The profile.", body = Profile)))]
pub(crate) async fn profile(State(app): State<App>) -> Result<Json<Profile>, Failure> {
    let profile = app.read(|node, _| node.profile()).await?;
    Ok(Json(shown(profile)))
}

/// Changes how this node introduces itself, as a whole: what is left out is taken back.
#[utoipa::path(
    put, path = "/v1/profile", tag = "node", operation_id = "put_profile", request_body = Profile,
    responses((status = 200, description = "The new profile.", body = Profile)),
)]
pub(crate) async fn set_profile(State(app): State<App>, body: Bytes) -> Result<Json<Profile>, Failure> {
    let Profile { name, about, avatar } = intake::from_json(&body)?;
    let draft = ProfileDraft { name, about, avatar };
    let profile = app
        .write(move |node, now| {
            node.set_profile(draft, now).map_err(submit_failure)?;
            Ok::<_, Failure>(node.profile()?)
        })
        .await?;
    Ok(Json(shown(profile)))
}

fn shown(profile: ProfileDraft) -> Profile {
    Profile { name: profile.name, about: profile.about, avatar: profile.avatar }
}
