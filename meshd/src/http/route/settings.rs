//! What the daemon runs with, and what of it changes while it runs.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use meshlink_api::{LogSetting, Reloaded, Settings};

use crate::control;
use crate::http::app::App;
use crate::http::intake;
use crate::http::problem::{Code, Failure};
use crate::log::LogFilter;

/// Every setting in force, and where it comes from. Secrets are not among them: settings name the files.
#[utoipa::path(get, path = "/v1/config", tag = "maintenance", operation_id = "get_config", responses((status = 200, description = "The settings.", body = Settings)))]
pub(crate) async fn show(State(app): State<App>) -> Json<Settings> {
    Json(app.control().settings())
}

/// Reads the configuration again, as SIGHUP does. What can't change while the daemon runs is named.
#[utoipa::path(post, path = "/v1/config/reload", tag = "maintenance", operation_id = "reload_config", responses((status = 200, description = "What changed.", body = Reloaded)))]
pub(crate) async fn reload(State(app): State<App>) -> Result<Json<Reloaded>, Failure> {
    let reloaded = control::reload(app.control(), app.driver()).await;
    reloaded.map(Json).map_err(|error| {
        Code::InvalidConfiguration
            .because(error.to_string())
            .hint("nothing was changed; mend it and try again")
    })
}

/// What is logged.
#[utoipa::path(get, path = "/v1/log", tag = "maintenance", operation_id = "get_log", responses((status = 200, description = "The filter.", body = LogSetting)))]
pub(crate) async fn log(State(app): State<App>) -> Json<LogSetting> {
    Json(LogSetting { filter: app.control().log_filter() })
}

/// Changes what is logged, until the next reload or restart.
#[utoipa::path(
    put, path = "/v1/log", tag = "maintenance", operation_id = "put_log", request_body = LogSetting,
    responses((status = 200, description = "The filter.", body = LogSetting)),
)]
pub(crate) async fn set_log(State(app): State<App>, body: Bytes) -> Result<Json<LogSetting>, Failure> {
    let LogSetting { filter } = intake::from_json(&body)?;
    let filter: LogFilter =
        filter.parse().map_err(|problem: String| Code::InvalidLogFilter.because(problem))?;
    app.control().set_log_filter(&filter);
    Ok(log(State(app)).await)
}
