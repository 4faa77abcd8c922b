//! What the daemon says about itself.

use super::{Finding, State};
use crate::amount;
use meshlink_api::{AtRest, AtRestState, LinkKind, Status, StoreReport, TransportState, TransportStatus};

/// Less room than this on the disk stops a node soon, in bytes.
const DISK_FREE_BYTES_FAIL: u64 = 16 * 1024 * 1024;
/// Less than this is worth a word, in bytes.
const DISK_FREE_BYTES_WARN: u64 = 256 * 1024 * 1024;
/// A database of which more than this is free, and at least that much, is worth a compaction.
const FREE_PERCENT_WARN: u64 = 50;
const FREE_BYTES_WARN: u64 = 64 * 1024 * 1024;

/// Everything that its status and its store's report tell.
pub(crate) fn findings(status: &Status, store: Option<&StoreReport>) -> Vec<Finding> {
    let mut findings = vec![version(&status.version, env!("CARGO_PKG_VERSION")), clock(status)];
    findings.push(keys(status));
    findings.push(at_rest(&status.at_rest));
    findings.push(room(status));
    if let Some(store) = store {
        findings.push(integrity(store));
        findings.extend(disk(store));
        findings.extend(air(store));
    }
    findings.extend(status.transports.iter().map(transport));
    findings
}

/// Whether the daemon is to use Bluetooth at all.
pub(crate) fn wants_bluetooth(status: &Status) -> bool {
    let is_on = |transport: &&TransportStatus| transport.state != TransportState::Off;
    status.transports.iter().filter(|transport| transport.kind == LinkKind::Ble).any(|t| is_on(&t))
}

fn version(daemon: &str, ours: &str) -> Finding {
    if daemon == ours {
        return Finding::ok("version", format!("meshd and meshctl {ours}"));
    }
    Finding::warn(
        "version",
        format!("meshd {daemon}, meshctl {ours}"),
        "install both from one package, and restart the daemon: `systemctl restart meshd`",
    )
}

fn clock(status: &Status) -> Finding {
    if status.clock.trusted {
        return Finding::ok("clock", "the time of day is known");
    }
    Finding::warn(
        "clock",
        "this machine has not heard the time yet: what is sent carries no date",
        "wait for a time server, set the time with `timedatectl`, or say `clock = \"trust\"` in the configuration if it \
         is right",
    )
}

fn keys(status: &Status) -> Finding {
    if !status.has_twin {
        return Finding::ok("keys", "no other machine with this node's keys was met");
    }
    Finding::fail(
        "keys",
        "another machine runs with this node's keys: a copied disk image, or a backup put back beside its original; \
         messages reach one or the other",
        "run `meshctl wipe` on the one that is the copy; it then makes keys of its own",
    )
}

/// To have no passphrase is a choice, so it is said and not warned of.
fn at_rest(at_rest: &AtRest) -> Finding {
    match at_rest.state {
        AtRestState::Open | AtRestState::Unlocked => Finding::ok("at rest", at_rest.detail.clone()),
        AtRestState::Locked => {
            let hint = at_rest.hint.clone().unwrap_or_else(|| "unlock it: meshctl unlock".into());
            Finding::warn("at rest", at_rest.detail.clone(), hint)
        }
    }
}

fn room(status: &Status) -> Finding {
    let store = &status.store;
    if !store.writable {
        let why = store.detail.clone().unwrap_or_else(|| "nothing can be stored".into());
        return Finding::fail("store", why, "free some space on the disk; the daemon goes on by itself");
    }
    let used = amount::of_bundles(store.bundles, store.bytes, store.bytes_max);
    if store.bytes > store.bytes_max / 10 * 9 {
        return Finding::warn(
            "store",
            format!("{used}: nearly full, so what is carried for strangers goes first"),
            "raise store.bytes_max in the configuration if the disk has room",
        );
    }
    Finding::ok("store", used)
}

fn integrity(store: &StoreReport) -> Finding {
    if store.log_was_missing {
        return Finding::warn(
            "integrity",
            "the store was not closed cleanly and its log was taken away: what was last stored is missing",
            "keep meshd.db and meshd.db-wal together; `meshctl store verify` says whether the rest is sound",
        );
    }
    let how =
        if store.checked == "whole" { "sound when it was opened" } else { "sound as far as it was checked" };
    Finding::ok("integrity", format!("{how}; `meshctl store verify` looks at everything"))
}

fn disk(store: &StoreReport) -> Option<Finding> {
    let free = store.disk_free_bytes?;
    let detail = format!("{} free where the store is", amount::bytes(free));
    let hint = "free some space; a full disk stops sending and receiving until there is some";
    Some(match free {
        ..DISK_FREE_BYTES_FAIL => Finding::fail("disk", detail, hint),
        DISK_FREE_BYTES_FAIL..DISK_FREE_BYTES_WARN => Finding::warn("disk", detail, hint),
        _ => Finding::ok("disk", detail),
    })
}

fn air(store: &StoreReport) -> Option<Finding> {
    let much = store.free_bytes >= FREE_BYTES_WARN
        && store.free_bytes >= store.database_bytes / 100 * FREE_PERCENT_WARN;
    much.then(|| {
        Finding::warn(
            "space",
            format!(
                "{} of the {} of the database are free",
                amount::bytes(store.free_bytes),
                amount::bytes(store.database_bytes)
            ),
            "they are used again; `meshctl store compact` gives them back to the disk",
        )
    })
}

fn transport(transport: &TransportStatus) -> Finding {
    let check = match transport.kind {
        LinkKind::Ble => "transport.bluetooth",
        LinkKind::Lan => "transport.lan",
        LinkKind::Relay => "transport.relay",
        LinkKind::Pipe => "transport.pipe",
    };
    let state = match transport.state {
        TransportState::Off | TransportState::Up => State::Ok,
        TransportState::Starting | TransportState::Degraded => State::Warn,
        TransportState::Down => State::Fail,
    };
    let name = if check.ends_with(&transport.name) { "" } else { transport.name.as_str() };
    let space = if name.is_empty() { "" } else { " " };
    let word = match transport.state {
        TransportState::Off => "off",
        TransportState::Starting => "starting",
        TransportState::Up => "up",
        TransportState::Degraded => "degraded",
        TransportState::Down => "down",
    };
    let detail = format!("{name}{space}{word}: {}", transport.detail);
    let hint = match (&transport.hint, state) {
        (Some(hint), _) => Some(hint.clone()),
        (None, State::Ok) => None,
        (None, State::Warn | State::Fail) => {
            Some("it is tried again by itself; the daemon's log says more".into())
        }
    };
    Finding { check, state, detail, hint }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> StoreReport {
        StoreReport {
            path: "/var/lib/meshlink/meshd.db".into(),
            schema: 1,
            bundles: 1,
            bundle_bytes: 1,
            bundle_bytes_max: 1000,
            messages: 1,
            events: 1,
            database_bytes: 1 << 30,
            free_bytes: 0,
            log_bytes: 0,
            disk_free_bytes: Some(1 << 40),
            checked: "whole".into(),
            log_was_missing: false,
        }
    }

    #[test]
    fn a_disk_that_fills_up_is_said_before_it_is_full() {
        let state = |free| disk(&StoreReport { disk_free_bytes: Some(free), ..report() }).unwrap().state;
        assert_eq!(state(1 << 30), State::Ok);
        assert_eq!(state(100 << 20), State::Warn);
        assert_eq!(state(1 << 20), State::Fail);
        assert_eq!(disk(&StoreReport { disk_free_bytes: None, ..report() }), None);
    }

    #[test]
    fn a_store_that_lost_its_log_or_is_mostly_air_is_told() {
        assert_eq!(integrity(&report()).state, State::Ok);
        assert_eq!(integrity(&StoreReport { log_was_missing: true, ..report() }).state, State::Warn);
        assert_eq!(air(&report()), None);
        let airy = StoreReport { free_bytes: 900 << 20, ..report() };
        assert!(air(&airy).unwrap().hint.unwrap().contains("store compact"));
    }

    #[test]
    fn every_state_of_a_transport_has_a_verdict_and_bad_ones_a_hint() {
        use TransportState::{Degraded, Down, Off, Starting, Up};
        for (state, verdict) in [
            (Off, State::Ok),
            (Up, State::Ok),
            (Starting, State::Warn),
            (Degraded, State::Warn),
            (Down, State::Fail),
        ] {
            let found = transport(&TransportStatus {
                kind: LinkKind::Relay,
                name: "ws://x".into(),
                state,
                detail: "d".into(),
                hint: None,
            });
            assert_eq!((found.state, found.hint.is_some()), (verdict, verdict != State::Ok), "{found:?}");
        }
    }

    #[test]
    fn a_locked_node_is_worth_a_word_and_one_without_a_passphrase_is_not_wrong() {
        for (state, verdict) in [
            (AtRestState::Open, State::Ok),
            (AtRestState::Unlocked, State::Ok),
            (AtRestState::Locked, State::Warn),
        ] {
            let finding = at_rest(&AtRest { state, detail: "as it is".into(), hint: None });
            assert_eq!((finding.state, finding.detail.as_str()), (verdict, "as it is"));
            assert_eq!(finding.hint.is_some(), verdict == State::Warn);
        }
    }

    #[test]
    fn programs_of_two_versions_are_told_apart() {
        assert_eq!(version("1.0.0", "1.0.0").state, State::Ok);
        assert_eq!(version("1.0.0", "1.1.0").state, State::Warn);
    }
}
