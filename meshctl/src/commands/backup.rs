//! `backup`: who the node is and whom it knows, in a file and back.

use super::Console;
use super::at_rest::from;
use crate::args::{BackupAction, PassphraseSource};
use crate::failure::Failure;
use crate::line::{BAD, Line};
use crate::moment;
use crate::passphrase::Source;
use crate::request::Request;
use data_encoding::BASE64;
use meshlink_api::{AtRestState, BackupMade, NewBackup, NewRestore, Restored, Status};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Longest backup that is read, in bytes. The daemon has the last word.
const BACKUP_BYTES_MAX: u64 = 1024 * 1024;

/// `meshctl backup`.
pub(super) async fn backup(console: &mut Console<'_>, action: &BackupAction) -> Result<(), Failure> {
    match action {
        BackupAction::Create { file, passphrase, force } => create(console, file, passphrase, *force).await,
        BackupAction::Restore { file, passphrase, node_passphrase_file } => {
            restore(console, file, passphrase, node_passphrase_file.as_deref()).await
        }
    }
}

async fn create(
    console: &mut Console<'_>,
    path: &Path,
    passphrase: &PassphraseSource,
    force: bool,
) -> Result<(), Failure> {
    // Before anybody types a passphrase.
    if !force && path.exists() {
        return Err(Failure::usage(
            format!("{} is there already", path.display()),
            "choose another name, or --force to replace it",
        ));
    }
    let passphrase = from(passphrase).ask_new("Passphrase for the backup: ")?.to_string();
    let request = Request::post("/v1/backup").json(&NewBackup { passphrase }).patient();
    let made = console.daemon.ask::<BackupMade>(&request).await?.value;
    let bytes = BASE64
        .decode(made.backup.as_bytes())
        .map_err(|_| Failure::Failed { what: "the daemon's backup is not base64".into(), hint: None })?;
    write(path, &bytes, force).map_err(|error| Failure::file("write", path, &error))?;
    let place = path.display().to_string();
    let whom = with_whom(made.contacts, made.groups);
    let mut line = Line::of(format!("{} with {whom}: ", made.node_id)).text(&place);
    if made.groups_left_out > 0 {
        let left_out = counted(made.groups_left_out, "group");
        line = line.styled(BAD, format!("; {left_out} had no room: a restored node has to be invited again"));
    }
    let counts = [made.contacts, made.groups, made.groups_left_out].map(|count| count.to_string());
    let [contacts, groups, left_out] = &counts;
    let facts = [
        ("file", place.as_str()),
        ("node_id", &made.node_id),
        ("contacts", contacts),
        ("groups", groups),
        ("groups_left_out", left_out),
    ];
    console.report(&facts, line)
}

async fn restore(
    console: &mut Console<'_>,
    path: &Path,
    passphrase: &PassphraseSource,
    of_node: Option<&Path>,
) -> Result<(), Failure> {
    let backup = read(path).map_err(|error| Failure::file("read", path, &error))?;
    let status = console.daemon.ask::<Status>(&Request::get("/v1/status")).await?.value;
    let passphrase = from(passphrase).ask("The backup's passphrase: ")?.to_string();
    let node_passphrase = match (of_node, status.at_rest.state) {
        (Some(path), _) => Some(Source::file(path).ask("")?.to_string()),
        (None, AtRestState::Unlocked) => {
            Some(crate::passphrase::terminal().ask("This node's passphrase: ")?.to_string())
        }
        (None, AtRestState::Open | AtRestState::Locked) => None,
    };
    let body = NewRestore { backup: BASE64.encode(&backup), passphrase, node_passphrase };
    let request = Request::post("/v1/restore").json(&body).patient();
    console
        .show(&request, |screen, restored: &Restored, _| {
            let name = restored.name.as_ref().map_or(String::new(), |name| format!("{name:?}, "));
            let mut line = Line::of(format!("this node is {name}"));
            line = line.text(format!(
                "{} with {}",
                restored.node_id,
                with_whom(restored.contacts, restored.groups)
            ));
            if let Some(made_at) = &restored.made_at {
                line = line.text(format!(", as of {}", moment::exact(made_at)));
            }
            screen.line(&line)
        })
        .await
}

fn with_whom(contacts: u64, groups: u64) -> String {
    let contacts = counted(contacts, "contact");
    if groups == 0 { contacts } else { format!("{contacts} and {}", counted(groups, "group")) }
}

fn counted(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// Writes the file for this user alone, whole or not at all.
fn write(path: &Path, bytes: &[u8], force: bool) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    if !force {
        let mut file = options.create_new(true).open(path)?;
        return file.write_all(bytes).and_then(|()| file.sync_all()).inspect_err(|_| {
            // Half a backup is none.
            let _ = std::fs::remove_file(path);
        });
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let mut file = options.create(true).truncate(true).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(BACKUP_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > BACKUP_BYTES_MAX {
        return Err(io::Error::other("it is larger than a backup can be"));
    }
    Ok(bytes)
}
