//! Looking after a node: its settings, its log, its store.

use serde::{Deserialize, Serialize};

/// One setting as it is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Setting {
    /// Its name in the configuration file, with the table: `store.bytes_max`.
    pub key: String,
    /// Its value as the configuration file would say it. Secrets are not shown.
    pub value: String,
    /// `default`, the path of the configuration file, `environment`, `flag`, or `api` for what was changed while
    /// the daemon runs.
    pub origin: String,
    /// Whether a changed file takes effect with a reload; everything else needs a restart.
    pub reloads: bool,
}

/// `GET /v1/config`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Settings {
    /// Every setting that has a value.
    pub items: Vec<Setting>,
}

/// `POST /v1/config/reload`: what reading the configuration again came to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Reloaded {
    /// Settings that changed, and are in force.
    pub applied: Vec<String>,
    /// Settings that changed, and will be in force after a restart.
    pub needs_restart: Vec<String>,
}

/// `GET` and `PUT /v1/log`: what is logged, until the next reload or restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct LogSetting {
    /// A level or `target=level`, separated by commas: `info,meshd::link=debug`.
    pub filter: String,
}

/// `GET /v1/store`: the store on its disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StoreReport {
    /// Where the database is.
    pub path: String,
    /// Version of its schema.
    pub schema: u32,
    /// Bundles held, own and carried.
    pub bundles: u64,
    /// Their bytes, as counted against the cap.
    pub bundle_bytes: u64,
    /// The cap.
    pub bundle_bytes_max: u64,
    /// Messages kept, own and received.
    pub messages: u64,
    /// Events kept for programs that resume.
    pub events: u64,
    /// The database file.
    pub database_bytes: u64,
    /// Those of it that are free to be used again; `POST /v1/store/compact` gives them back to the disk.
    pub free_bytes: u64,
    /// The write-ahead log beside it.
    pub log_bytes: u64,
    /// What is left on its file system for this daemon.
    pub disk_free_bytes: Option<u64>,
    /// How much was checked when it was opened: `whole` or `partly`.
    pub checked: String,
    /// Whether it was not closed cleanly and its log had been taken away: what was last stored is missing.
    pub log_was_missing: bool,
}

/// `POST /v1/store/verify`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StoreVerified {
    /// Whether everything is as it should be.
    pub ok: bool,
    /// What is not.
    pub detail: Option<String>,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// `POST /v1/store/compact`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StoreCompacted {
    /// The database file before.
    pub before_bytes: u64,
    /// And after.
    pub after_bytes: u64,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}
