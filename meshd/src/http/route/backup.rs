//! A backup of the node's identity and contacts, and a node made of one.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use data_encoding::BASE64;
use meshlink_api::{BackupMade, NewBackup, NewRestore, Restored};
use meshlink_core::channel::MESH;
use meshlink_core::{Identity, Node};
use zeroize::Zeroizing;

use super::at_rest::{passphrase_of, secret_from_json, with_keyring};
use super::submit_failure;
use crate::http::app::App;
use crate::http::problem::{Code, Failure};
use crate::http::render;
use crate::identity_file::system_entropy;
use crate::locking;
use crate::sqlite::SqliteStore;
use crate::vault::{self, BACKUP_BYTES_MAX, Backup, BackupError, Passphrase};

/// Makes a backup of who this node is and whom it knows, sealed with a passphrase.
///
/// In it are the node's keys, its profile, its contacts with what is known of their keys, its channels, its groups and its
/// blocks. No message is in it, and no key that is deleted on schedule.
#[utoipa::path(
    post, path = "/v1/backup", tag = "at_rest", operation_id = "backup", request_body = NewBackup,
    responses((status = 200, description = "The backup.", body = BackupMade)),
)]
pub(crate) async fn create(State(app): State<App>, body: Bytes) -> Result<Json<BackupMade>, Failure> {
    let NewBackup { passphrase } = secret_from_json(body)?;
    let passphrase = passphrase_of(Zeroizing::new(passphrase))?;
    let (backup, known) = app
        .read(|node, now| {
            let identity = copy(node.identity());
            let backup = Backup { identity, export: node.export()?, made_unix_ms: now.unix_ms };
            Ok::<_, Failure>((backup, node.groups().len()))
        })
        .await?;
    let (node_id, contacts) = (backup.identity.node_id().to_string(), backup.export.contacts() as u64);
    let groups = backup.export.groups();
    let sealed = apart(&app, move || backup.seal(&passphrase, &system_entropy)).await?;
    let (groups, groups_left_out) = (groups as u64, known.saturating_sub(groups) as u64);
    tracing::info!(contacts, groups, groups_left_out, "a backup was made");
    Ok(Json(BackupMade { node_id, contacts, groups, groups_left_out, backup: BASE64.encode(&sealed) }))
}

/// Makes this node the one of a backup. Only a node that was not used yet can become another one.
///
/// It publishes new keys under its old id; contacts hear of that as they meet it, drop the keys it gave them before,
/// and seal again what it had not confirmed. Of its groups it is still a member, and the others hand it their keys again.
#[utoipa::path(
    post, path = "/v1/restore", tag = "at_rest", operation_id = "restore", request_body = NewRestore,
    responses((status = 200, description = "Who this node is from now on.", body = Restored)),
)]
pub(crate) async fn restore(State(app): State<App>, body: Bytes) -> Result<Json<Restored>, Failure> {
    let NewRestore { backup, passphrase, node_passphrase } = secret_from_json(body)?;
    let passphrase = passphrase_of(Zeroizing::new(passphrase))?;
    let current = node_passphrase.map(Zeroizing::new).map(passphrase_of).transpose()?;
    let bytes = BASE64.decode(backup.as_bytes());
    let bytes = bytes.map_err(|_| Code::InvalidBackup.because("the backup is not base64"))?;
    if bytes.len() > BACKUP_BYTES_MAX {
        return Err(Code::InvalidBackup.because(format!("a backup has at most {BACKUP_BYTES_MAX} bytes")));
    }
    app.read(|node, _| check_unused(node)).await?;
    let Backup { identity, export, made_unix_ms } = open(&app, bytes, passphrase).await?;
    let restored = Restored {
        node_id: identity.node_id().to_string(),
        name: export.name().map(str::to_owned),
        contacts: export.contacts() as u64,
        groups: export.groups() as u64,
        made_at: made_unix_ms.and_then(render::time),
    };
    // The keys first, beside the node's own; the store says whose it is when it is.
    let keys = copy(&identity);
    with_keyring(&app, move |keyring| keyring.put_restored(&keys, current.as_ref())).await?;
    let done = app
        .write(move |node, now| {
            check_unused(node)?;
            node.restore(identity, export, now).map_err(submit_failure)?;
            locking::note_owner(node)?;
            Ok::<_, Failure>(())
        })
        .await;
    let are_adopted = done.is_ok();
    with_keyring(&app, move |keyring| keyring.settle_restored(are_adopted)).await?;
    done?;
    tracing::info!(contacts = restored.contacts, "restored from a backup");
    Ok(Json(restored))
}

/// A node that people know, or that knows people, is not overwritten.
fn check_unused(node: &Node<SqliteStore>) -> Result<(), Failure> {
    let channels = node.channels()?;
    let is_used = node.contacts().next().is_some()
        || node.store().counts().own() > 0
        || channels.iter().any(|channel| channel.name != MESH);
    if !is_used {
        return Ok(());
    }
    Err(Code::NodeInUse
        .because(
            "this node has contacts, channels or messages of its own; a restore would make it another one",
        )
        .hint("restore into a new node: another --state-dir, or `meshctl wipe --yes` here and a new start"))
}

async fn open(app: &App, bytes: Vec<u8>, passphrase: Passphrase) -> Result<Backup, Failure> {
    apart(app, move || Backup::open(&bytes, &passphrase)).await
}

/// Works with a passphrase away from the thread that answers everybody, one at a time.
async fn apart<T: Send + 'static>(
    app: &App,
    work: impl FnOnce() -> Result<T, BackupError> + Send + 'static,
) -> Result<T, Failure> {
    let _turn = app.keyring_turn().await;
    let done = tokio::task::spawn_blocking(|| vault::apart(work)).await;
    done.map_err(|_| Code::Stopping.because("the daemon is stopping"))?.map_err(failure)
}

fn failure(error: BackupError) -> Failure {
    let code = match &error {
        BackupError::Passphrase(_) => Code::InvalidPassphrase,
        BackupError::NoEntropy(_) => Code::NoEntropy,
        BackupError::Foreign
        | BackupError::OtherVersion(_)
        | BackupError::Length { .. }
        | BackupError::Sealed
        | BackupError::Content(_) => Code::InvalidBackup,
    };
    code.because(format!("{error}; nothing was changed"))
}

fn copy(identity: &Identity) -> Identity {
    Identity::from_bytes(&identity.secret_bytes())
}
