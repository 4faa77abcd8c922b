//! The store on its disk: how large, how sound, how much of it is air; and a copy of it.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::Response;
use futures_util::stream;
use hyper::header::{self, HeaderValue};
use meshlink_api::{StoreCompacted, StoreReport, StoreVerified};
use meshlink_core::{Store, StoreError};

use crate::http::app::App;
use crate::http::problem::{Code, Failure};
use crate::positioned::read_exact_at;
use crate::service_manager;
use crate::sqlite::{Checked, CopyError, CopySource, SqliteStore, remove_copy};
use crate::state_files::COPY;

/// Tries to find a moment between two transactions for a compaction.
const COMPACT_TRIES: u32 = 50;
/// Between two of them.
const COMPACT_PAUSE: Duration = Duration::from_millis(20);

/// The store's size, and what is left of the disk.
#[utoipa::path(get, path = "/v1/store", tag = "maintenance", operation_id = "get_store", responses((status = 200, description = "The store.", body = StoreReport)))]
pub(crate) async fn show(State(app): State<App>) -> Result<Json<StoreReport>, Failure> {
    let bundle_bytes_max = app.vitals().store_bytes_max;
    let report = app.read(move |node, _| report(node.store(), bundle_bytes_max)).await?;
    Ok(Json(report))
}

fn report(store: &SqliteStore, bundle_bytes_max: u64) -> Result<StoreReport, StoreError> {
    let files = store.file_use()?;
    let opened = store.opened();
    let counts = store.counts();
    let events = store.event_bounds()?.map_or(0, |(oldest, newest)| newest.0 - oldest.0 + 1);
    let held = store.usage_of_all()?;
    Ok(StoreReport {
        path: store.path().display().to_string(),
        schema: SqliteStore::schema_version(),
        bundles: held.bundles,
        bundle_bytes: held.bytes,
        bundle_bytes_max,
        messages: counts.own() + counts.received,
        events,
        database_bytes: files.database_bytes,
        free_bytes: files.free_bytes,
        log_bytes: files.log_bytes,
        disk_free_bytes: disk_free_bytes(store.path()),
        checked: match opened.checked {
            Checked::Whole => "whole",
            Checked::Partly => "partly",
        }
        .to_owned(),
        log_was_missing: opened.log_missing,
    })
}

/// What is left for somebody who is not root.
#[cfg(unix)]
fn disk_free_bytes(path: &std::path::Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(path).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Not known.
#[cfg(windows)]
fn disk_free_bytes(_: &std::path::Path) -> Option<u64> {
    None
}

/// Whether the database's disk has so much room; `what` says who needs it.
fn check_room(app: &App, needed: u64, what: &str) -> Result<(), Failure> {
    match disk_free_bytes(app.state_dir()) {
        Some(free) if free < needed => {
            Err(Code::InsufficientStorage.because(format!("{what}, and {free} are free")))
        }
        Some(_) | None => Ok(()),
    }
}

/// Checks everything in the store: pages, indexes, words, totals. Other requests wait up to some seconds for a
/// store of some 100 MB.
#[utoipa::path(post, path = "/v1/store/verify", tag = "maintenance", operation_id = "verify_store", responses((status = 200, description = "What was found.", body = StoreVerified)))]
pub(crate) async fn verify(State(app): State<App>) -> Result<Json<StoreVerified>, Failure> {
    let started = Instant::now();
    let parts = app.read(|node, _| node.store().check_parts()).await?;
    let mut detail = None;
    for part in parts {
        let found = app.read(move |node, _| Ok::<_, StoreError>(node.store().check_part(part))).await?;
        match found {
            Ok(()) => {}
            Err(StoreError::Corrupt { detail: found }) => {
                detail = Some(found);
                break;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Json(StoreVerified { ok: detail.is_none(), detail, took_ms: millis(started) }))
}

/// Writes the database anew without its free pages. Nothing else happens meanwhile: seconds for some 100 MB, and as
/// much room on the disk again while it runs.
#[utoipa::path(post, path = "/v1/store/compact", tag = "maintenance", operation_id = "compact_store", responses((status = 200, description = "What it came to.", body = StoreCompacted)))]
pub(crate) async fn compact(State(app): State<App>) -> Result<Json<StoreCompacted>, Failure> {
    let started = Instant::now();
    let files = app.read(|node, _| node.store().file_use()).await?;
    let needed = (files.database_bytes - files.free_bytes) * 2;
    check_room(&app, needed, &format!("a compaction needs {needed} bytes on the disk while it runs"))?;
    let _patience = service_manager::be_patient();
    for _ in 0..COMPACT_TRIES {
        let compacted = app
            .write(|node, _| {
                // What came in with the same batch goes first.
                if node.store().is_dirty() {
                    return Ok(None);
                }
                node.store_mut().compact()?;
                Ok::<_, StoreError>(Some(node.store().file_use()?))
            })
            .await?;
        if let Some(after) = compacted {
            return Ok(Json(StoreCompacted {
                before_bytes: files.database_bytes,
                after_bytes: after.database_bytes,
                took_ms: millis(started),
            }));
        }
        tokio::time::sleep(COMPACT_PAUSE).await;
    }
    Err(Code::StoreFailed.because("the store is written without a pause").hint("try again at a quieter time"))
}

/// What a backup of the store is, on the wire.
const COPY_MEDIA_TYPE: &str = "application/vnd.sqlite3";
/// Bytes of it read and sent at a time.
const COPY_PIECE_BYTES: usize = 256 * 1024;

/// A copy of the whole database as it is when the request comes in, while everything goes on.
///
/// What is private in it is sealed with the keys in the state directory, which are not in it. It says of itself that it is a
/// copy: a node that is started from it gives out new keys, as after `POST /v1/restore`. The daemon needs as much room on
/// its disk meanwhile.
#[utoipa::path(
    post, path = "/v1/store/backup", tag = "maintenance", operation_id = "backup_store",
    responses((status = 200, description = "The database, checked, in one file.", body = String, content_type = "application/vnd.sqlite3")),
)]
pub(crate) async fn backup(State(app): State<App>) -> Result<Response, Failure> {
    let turn = Arc::clone(app.copies()).try_acquire_owned().map_err(|_| Failure::from(CopyError::Busy))?;
    let files = app.read(|node, _| node.store().file_use()).await?;
    let needed = files.database_bytes + files.log_bytes;
    check_room(
        &app,
        needed,
        &format!("a backup needs {needed} bytes on the daemon's disk while it is made"),
    )?;
    let source = app.write(|node, _| Ok::<_, StoreError>(node.store_mut().request_copy())).await?.take()?;
    let path = app.state_dir().join(COPY);
    let made = tokio::task::spawn_blocking(move || {
        let made = copy_of(source, path);
        drop(turn);
        made
    });
    let copy = made.await.map_err(|_| Code::Stopping.because("the daemon is stopping"))??;
    tracing::info!(bytes = copy.bytes, "a backup of the store was made");
    let bytes = copy.bytes;
    let mut response = Response::new(Body::from_stream(stream::try_unfold(copy, Copy::next)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(COPY_MEDIA_TYPE));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
    Ok(response)
}

/// A copy on its way out. Its file has no name any more: whatever happens, nothing of it is left.
struct Copy {
    file: Arc<File>,
    bytes: u64,
    sent_bytes: u64,
}

fn copy_of(source: CopySource, path: PathBuf) -> Result<Copy, CopyError> {
    source.write_to(&path)?;
    let opened = File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
    remove_copy(&path);
    let (bytes, file) = opened.map_err(|error| CopyError::Unwritable { path, detail: error.to_string() })?;
    Ok(Copy { file: Arc::new(file), bytes, sent_bytes: 0 })
}

impl Copy {
    async fn next(mut self) -> io::Result<Option<(Bytes, Self)>> {
        let left = usize::try_from(self.bytes - self.sent_bytes).unwrap_or(usize::MAX).min(COPY_PIECE_BYTES);
        if left == 0 {
            return Ok(None);
        }
        let (file, at) = (Arc::clone(&self.file), self.sent_bytes);
        let read = tokio::task::spawn_blocking(move || {
            let mut piece = vec![0; left];
            read_exact_at(&file, &mut piece, at).map(|()| piece)
        });
        let piece = read.await.map_err(io::Error::other)??;
        self.sent_bytes += piece.len() as u64;
        Ok(Some((piece.into(), self)))
    }
}

impl From<CopyError> for Failure {
    fn from(error: CopyError) -> Self {
        match error {
            CopyError::Busy => Code::LimitReached.because(error.to_string()).hint("wait until it is done"),
            CopyError::Overtaken | CopyError::Unwritable { .. } => {
                Code::StoreFailed.because(error.to_string())
            }
            CopyError::Store(error) => error.into(),
        }
    }
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
