//! `doctor`, `config`, `log`, `store`: looking after a node.

use super::Console;
use crate::amount;
use crate::args::{ConfigAction, StoreAction};
use crate::connection::broken;
use crate::daemon::Opened;
use crate::doctor::machine::Machine;
use crate::doctor::{Finding, Report, State, bluetooth, by_daemon};
use crate::failure::Failure;
use crate::limits::STREAM_IDLE_MS_MAX;
use crate::line::{BAD, Column, FAINT, GOOD, Line, Table, WARN};
use crate::request::Request;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::{Method, header};
use meshlink_api::{LogSetting, Reloaded, Settings, Status, StoreCompacted, StoreReport, StoreVerified};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

/// `meshctl doctor`.
pub(super) async fn doctor(console: &mut Console<'_>) -> Result<(), Failure> {
    let status = console.daemon.ask::<Status>(&Request::get("/v1/status")).await;
    let (mut checks, wants_bluetooth) = match &status {
        Ok(status) => {
            let store = console.daemon.ask::<StoreReport>(&Request::get("/v1/store")).await;
            let place = console.daemon.address().map(ToString::to_string).unwrap_or_default();
            let mut checks = vec![Finding::ok("daemon", format!("answers at {place}"))];
            checks
                .extend(by_daemon::findings(&status.value, store.as_ref().ok().map(|answer| &answer.value)));
            (checks, by_daemon::wants_bluetooth(&status.value))
        }
        // It may have Bluetooth in use; whether the machine is fit for it is worth knowing meanwhile.
        Err(failure) => (vec![absent(failure)], true),
    };
    // What it looks at is Linux'.
    if wants_bluetooth && cfg!(target_os = "linux") {
        checks.extend(bluetooth::findings(&Machine::this()));
    }
    let report = Report::of(checks);
    show_report(console, &report)?;
    let failed = report.checks.iter().filter(|finding| finding.state == State::Fail).count();
    match status {
        Err(failure) => Err(failure),
        Ok(_) if failed > 0 => Err(Failure::Failed {
            what: format!("{failed} of {} checks failed", report.checks.len()),
            hint: None,
        }),
        Ok(_) => Ok(()),
    }
}

fn absent(failure: &Failure) -> Finding {
    let hint = failure.hint().unwrap_or_else(|| "see its log: `journalctl -u meshd`".into());
    Finding::fail("daemon", failure.to_string(), hint)
}

fn show_report(console: &mut Console<'_>, report: &Report) -> Result<(), Failure> {
    if console.screen.is_json() {
        let raw = serde_json::value::to_raw_value(report).expect("texts and words are JSON");
        return console.screen.json(&raw);
    }
    for finding in &report.checks {
        let (word, style) = match finding.state {
            State::Ok => ("ok  ", GOOD),
            State::Warn => ("warn", WARN),
            State::Fail => ("fail", BAD),
        };
        let line = Line::new().styled(style, word).text("  ").styled(FAINT, finding.check).text(": ");
        console.screen.line(&line.text(&finding.detail))?;
        if let Some(hint) = finding.hint.as_ref().filter(|_| finding.state != State::Ok) {
            console.screen.line(&Line::of("      -> ").text(hint))?;
        }
    }
    Ok(())
}

/// `meshctl config`.
pub(super) async fn config(console: &mut Console<'_>, action: ConfigAction) -> Result<(), Failure> {
    match action {
        ConfigAction::Show { origin } => {
            console
                .show(&Request::get("/v1/config"), |screen, settings: &Settings, _| {
                    let mut table = Table::new([Column::left(""), Column::left("")]);
                    for setting in &settings.items {
                        let restart = if setting.reloads { "" } else { "; changes with a restart" };
                        let from = format!("# {}{restart}", setting.origin);
                        let from = if origin { Line::new().styled(FAINT, from) } else { Line::new() };
                        table.row([Line::of(format!("{} = {}", setting.key, setting.value)), from]);
                    }
                    screen.table(table, false)
                })
                .await
        }
        ConfigAction::Reload => {
            console
                .show(&Request::post("/v1/config").action("reload"), |screen, reloaded: &Reloaded, _| {
                    let list = |keys: &[String]| keys.join(", ");
                    if reloaded.applied.is_empty() && reloaded.needs_restart.is_empty() {
                        return screen.line(&Line::of("nothing has changed"));
                    }
                    if !reloaded.applied.is_empty() {
                        screen.line(&Line::of("in force: ").text(list(&reloaded.applied)))?;
                    }
                    if !reloaded.needs_restart.is_empty() {
                        let line = Line::new().styled(WARN, "after a restart: ");
                        screen.line(&line.text(list(&reloaded.needs_restart)))?;
                    }
                    Ok(())
                })
                .await
        }
    }
}

/// `meshctl log`.
pub(super) async fn log(console: &mut Console<'_>, filter: Option<String>) -> Result<(), Failure> {
    let request = match filter {
        Some(filter) => Request::new(Method::PUT, "/v1/log").json(&LogSetting { filter }),
        None => Request::get("/v1/log"),
    };
    console.show(&request, |screen, log: &LogSetting, _| screen.line(&Line::of(&log.filter))).await
}

/// `meshctl store`.
pub(super) async fn store(console: &mut Console<'_>, action: StoreAction) -> Result<(), Failure> {
    match action {
        StoreAction::Stats => {
            console
                .show(&Request::get("/v1/store"), |screen, store: &StoreReport, _| {
                    screen.facts(store_facts(store))
                })
                .await
        }
        StoreAction::Verify => {
            let request = Request::post("/v1/store").action("verify").patient();
            let answer = console.daemon.ask::<StoreVerified>(&request).await?;
            if console.screen.is_json() {
                console.screen.json(&answer.raw)?;
            }
            let StoreVerified { ok, detail, took_ms } = answer.value;
            if !ok {
                return Err(Failure::Failed {
                    what: format!("the store is damaged: {}", detail.unwrap_or_default()),
                    hint: Some(
                        "restore a backup; `sqlite3 meshd.db .recover` salvages what can still be read"
                            .into(),
                    ),
                });
            }
            if console.screen.is_json() {
                return Ok(());
            }
            console.screen.line(&Line::of(format!("sound, checked in {}", seconds(took_ms))))
        }
        StoreAction::Backup { file } => backup_store(console, &file).await,
        StoreAction::Compact => {
            let request = Request::post("/v1/store").action("compact").patient();
            console
                .show(&request, |screen, done: &StoreCompacted, _| {
                    let StoreCompacted { before_bytes, after_bytes, took_ms } = done;
                    screen.line(&Line::of(format!(
                        "{} before, {} after, in {}",
                        amount::bytes(*before_bytes),
                        amount::bytes(*after_bytes),
                        seconds(*took_ms)
                    )))
                })
                .await
        }
    }
}

/// What a copy of the store is called on the wire.
const COPY_MEDIA_TYPE: &str = "application/vnd.sqlite3";

async fn backup_store(console: &mut Console<'_>, path: &Path) -> Result<(), Failure> {
    // Before the daemon copies some 100 MB.
    if path.exists() {
        return Err(Failure::usage(format!("{} is there already", path.display()), "choose another name"));
    }
    let opened = console.daemon.open(&Request::post("/v1/store").action("backup").patient()).await?;
    let place = opened.address.to_string();
    let header = |name| opened.response.headers().get(name).and_then(|value| value.to_str().ok());
    let bytes = header(header::CONTENT_LENGTH).and_then(|text| text.parse::<u64>().ok());
    let Some(bytes) = bytes.filter(|_| header(header::CONTENT_TYPE) == Some(COPY_MEDIA_TYPE)) else {
        return Err(Failure::Foreign { place, why: "its answer is no backup".into() });
    };
    let unwritable = |error: io::Error| Failure::file("write", path, &error);
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(unwritable)?;
    let copied = copy_body(opened, bytes, &mut file).await.map_err(|failure| match failure {
        CopyFailure::Daemon(failure) => failure,
        CopyFailure::File(error) => unwritable(error),
    });
    if let Err(failure) = copied {
        // Half a backup is none.
        let _ = std::fs::remove_file(path);
        return Err(failure);
    }
    let shown = path.display().to_string();
    let line = Line::of(format!("{} in ", amount::bytes(bytes))).text(&shown);
    console.report(&[("file", &shown), ("bytes", &bytes.to_string())], line)
}

enum CopyFailure {
    Daemon(Failure),
    File(io::Error),
}

async fn copy_body(opened: Opened, bytes: u64, file: &mut File) -> Result<(), CopyFailure> {
    let Opened { response, address } = opened;
    let lost =
        |why: &str| CopyFailure::Daemon(Failure::Lost { place: address.to_string(), why: why.to_owned() });
    let mut body = response.into_body();
    let mut written = 0;
    let silence = Duration::from_millis(STREAM_IDLE_MS_MAX);
    while let Some(frame) =
        tokio::time::timeout(silence, body.frame()).await.map_err(|_| lost("it stopped in the middle"))?
    {
        let frame = frame.map_err(|error| CopyFailure::Daemon(broken(&address, &error)))?;
        let data = frame.data_ref().map_or(&[][..], Bytes::as_ref);
        file.write_all(data).map_err(CopyFailure::File)?;
        written += data.len() as u64;
    }
    if written != bytes {
        return Err(lost("it ended in the middle"));
    }
    file.sync_all().map_err(CopyFailure::File)
}

fn store_facts(store: &StoreReport) -> Vec<(&'static str, Line)> {
    let bundles = format!(
        "{}, {} of {}",
        store.bundles,
        amount::bytes(store.bundle_bytes),
        amount::bytes(store.bundle_bytes_max)
    );
    let database = format!(
        "{}, of which {} are free to be used again",
        amount::bytes(store.database_bytes),
        amount::bytes(store.free_bytes)
    );
    let mut facts = vec![
        ("path", Line::of(&store.path)),
        ("schema", Line::of(store.schema)),
        ("bundles", Line::of(bundles)),
        ("messages", Line::of(store.messages)),
        ("events", Line::of(store.events)),
        ("database", Line::of(database)),
        ("log", Line::of(amount::bytes(store.log_bytes))),
    ];
    if let Some(free) = store.disk_free_bytes {
        facts.push(("disk", Line::of(format!("{} free", amount::bytes(free)))));
    }
    facts
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03} s", ms / 1000, ms % 1000)
}
