//! `/metrics`: the node in numbers, as Prometheus reads them.
//!
//! The text format, version 0.0.4. Labels come from small fixed sets: no node, no message and no address is in
//! them.

mod page;
mod process;

use std::collections::BTreeMap;

use axum::extract::State;
use hyper::header::{CONTENT_TYPE, HeaderName};
use meshlink_api::{LinkKind, Status};
use meshlink_core::store::{Class, Usage};
use meshlink_core::tally::{Loss, Tally};
use meshlink_core::{MessageStatus, Node, Now, Seq, Store, StoreError};

use self::page::Page;
use crate::driver::tally::{self, COMMIT_BUCKETS_S, Carried, ENCOUNTER_BUCKETS_S};
use crate::http::app::App;
use crate::http::position::Position;
use crate::http::problem::Failure;
use crate::http::render::{self, Renderer};
use crate::sqlite::{CURSORS_MAX, FileUse, MessageFilter, Order, SqliteStore};

const LINK_KINDS: [LinkKind; 4] = [LinkKind::Ble, LinkKind::Lan, LinkKind::Relay, LinkKind::Pipe];

/// The node in numbers, in Prometheus' text format.
#[utoipa::path(
    get, path = "/metrics", tag = "node", operation_id = "get_metrics",
    responses((status = 200, description = "The numbers.", body = String, content_type = "text/plain")),
)]
pub(crate) async fn metrics(
    State(app): State<App>,
) -> Result<([(HeaderName, &'static str); 1], String), Failure> {
    let vitals = app.vitals();
    let numbers = app
        .read(move |node, now| {
            let renderer = Renderer::new(node, now);
            let store = node.store();
            Ok::<_, StoreError>(Numbers {
                status: renderer.status(vitals)?,
                own: store.usage(Class::Own)?,
                contact: store.usage(Class::Contact)?,
                stranger: store.usage(Class::Stranger)?,
                receipts: store.usage(Class::Receipt)?,
                events: store.event_bounds()?,
                files: store.file_use()?,
                waiting_s: oldest_pending_s(node, now)?,
                lags: lags(store)?,
                live: live(node),
                bundles: *node.tally(),
            })
        })
        .await?;
    let mut page = Page::default();
    numbers.write(&mut page);
    numbers.write_history(&app.driver().tally().numbers(), &mut page);
    write_requests(&app, &mut page);
    process::write(&mut page);
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page.0))
}

struct Numbers {
    status: Status,
    own: Usage,
    contact: Usage,
    stranger: Usage,
    receipts: Usage,
    events: Option<(Seq, Seq)>,
    files: FileUse,
    /// How long the oldest own message has waited that nobody else has.
    waiting_s: u64,
    /// How far each front end is behind, in events.
    lags: Vec<(String, u64)>,
    /// What the live links have carried, by kind.
    live: BTreeMap<meshlink_core::LinkKind, Carried>,
    /// What became of the bundles that came by.
    bundles: Tally,
}

/// Only links whose handshake is done: what the others carried is never added up, and a counter must not fall.
fn live(node: &Node<SqliteStore>) -> BTreeMap<meshlink_core::LinkKind, Carried> {
    let mut live: BTreeMap<_, Carried> = BTreeMap::new();
    for link in node.links().filter(|link| link.peer.is_some()) {
        live.entry(link.kind).or_default().add(&link);
    }
    live
}

fn oldest_pending_s(node: &Node<SqliteStore>, now: Now) -> Result<u64, StoreError> {
    let filter = MessageFilter {
        status: Some(MessageStatus::Pending),
        order: Order::OldestFirst,
        limit: 1,
        ..MessageFilter::default()
    };
    // A locked store can't say; that is no reason to have no numbers at all.
    let oldest = node.store().messages(&filter).unwrap_or_default().items.into_iter().next();
    let Some(oldest) = oldest else { return Ok(0) };
    let bundle = node.store().bundle(&oldest.id)?;
    let waited =
        bundle.map_or(0, |b| b.age_ms.saturating_add(node.timeline_ms(now).saturating_sub(b.received_tl_ms)));
    Ok(waited / 1000)
}

fn lags(store: &SqliteStore) -> Result<Vec<(String, u64)>, StoreError> {
    let newest = store.event_bounds()?.map_or(0, |(_, newest)| newest.0);
    let rows = store.cursors(None, CURSORS_MAX as usize)?;
    let lag = |position: &str| {
        let seq = position.parse::<Position>().ok()?.seq_in(store.store_id())?;
        Some(newest.saturating_sub(seq.0))
    };
    Ok(rows.into_iter().filter_map(|row| Some((row.name, lag(&row.position)?))).collect())
}

impl Numbers {
    fn write(&self, page: &mut Page) {
        let status = &self.status;
        page.family("meshlink_build_info", "gauge", "The program's version, as a label.");
        page.sample("meshlink_build_info", &[("version", &status.version)], 1);
        page.single("meshlink_uptime_seconds", "gauge", "Seconds since the start.", status.uptime_s);
        let trusted = u64::from(status.clock.trusted);
        page.single("meshlink_clock_trusted", "gauge", "1 if the time of day is known.", trusted);
        self.write_store(page);
        self.write_messages(page);
        self.write_links(page);
        let (oldest, newest) = self.events.map_or((0, 0), |(oldest, newest)| (oldest.0, newest.0));
        page.single("meshlink_event_log_newest", "counter", "Position of the newest event.", newest);
        page.single("meshlink_event_log_oldest", "gauge", "Position of the oldest event kept.", oldest);
        page.family(
            "meshlink_cursor_lag_events",
            "gauge",
            "Events a front end with a named cursor is behind.",
        );
        for (cursor, lag) in &self.lags {
            page.sample("meshlink_cursor_lag_events", &[("cursor", cursor)], lag);
        }
    }

    /// What happened since the start.
    fn write_history(&self, tally: &tally::Numbers, page: &mut Page) {
        let carried = |kind: LinkKind| {
            let mut sum = Carried::default();
            for (_, part) in self.live.iter().chain(&tally.past).filter(|(of, _)| render::kind(**of) == kind)
            {
                sum.links += part.links;
                sum.sent_bytes += part.sent_bytes;
                sum.received_bytes += part.received_bytes;
                sum.sent_bundles += part.sent_bundles;
                sum.received_bundles += part.received_bundles;
            }
            sum
        };
        page.family("meshlink_links_total", "counter", "Links whose handshake was done.");
        for kind in LINK_KINDS {
            page.sample("meshlink_links_total", &[("kind", name(kind))], carried(kind).links);
        }
        let mut directions = |family: &str, help: &str, parts: fn(&Carried) -> (u64, u64)| {
            page.family(family, "counter", help);
            for kind in LINK_KINDS {
                let (sent, received) = parts(&carried(kind));
                page.sample(family, &[("kind", name(kind)), ("direction", "sent")], sent);
                page.sample(family, &[("kind", name(kind)), ("direction", "received")], received);
            }
        };
        directions("meshlink_link_bytes_total", "Bytes of frames over links.", |c| {
            (c.sent_bytes, c.received_bytes)
        });
        directions("meshlink_link_bundles_total", "Bundles over links.", |c| {
            (c.sent_bundles, c.received_bundles)
        });
        let bytes = "meshlink_reconcile_bytes_total";
        page.family(
            bytes,
            "counter",
            "Bytes spent on finding out what neighbours lack, of those over links.",
        );
        page.sample(bytes, &[("direction", "sent")], self.bundles.reconcile_sent_bytes);
        page.sample(bytes, &[("direction", "received")], self.bundles.reconcile_received_bytes);
        page.family("meshlink_links_closed_total", "counter", "Links this node hung up, by why.");
        for (why, count) in &tally.closes {
            page.sample("meshlink_links_closed_total", &[("reason", why)], count);
        }
        self.write_bundles(page);
        page.histogram(
            "meshlink_encounter_seconds",
            "How long neighbours stayed that are gone.",
            &ENCOUNTER_BUCKETS_S,
            &tally.encounters,
        );
        page.histogram(
            "meshlink_store_commit_seconds",
            "How long it took to make a transaction durable.",
            &COMMIT_BUCKETS_S,
            &tally.commits,
        );
        let failed = tally.commits_failed;
        page.single(
            "meshlink_store_commits_failed_total",
            "counter",
            "Transactions the disk did not take.",
            failed,
        );
    }

    /// Every reason is there from the start, so that the first time shows as a rise.
    fn write_bundles(&self, page: &mut Page) {
        let bundles = &self.bundles;
        page.family("meshlink_bundles_taken_total", "counter", "Bundles taken from neighbours.");
        for (kind, count) in [("bundle", bundles.taken), ("receipt", bundles.receipts_taken)] {
            page.sample("meshlink_bundles_taken_total", &[("kind", kind)], count);
        }
        page.family("meshlink_bundles_dropped_total", "counter", "Bundles held and dropped, by why.");
        for why in Loss::ALL {
            page.sample("meshlink_bundles_dropped_total", &[("reason", why.code())], bundles.dropped(why));
        }
        page.family(
            "meshlink_bundles_refused_total",
            "counter",
            "Bundles that came and were not taken, by why.",
        );
        for why in Loss::ALL {
            page.sample("meshlink_bundles_refused_total", &[("reason", why.code())], bundles.refused(why));
        }
    }

    fn write_store(&self, page: &mut Page) {
        let classes = [
            ("own", self.own),
            ("contact", self.contact),
            ("stranger", self.stranger),
            ("receipt", self.receipts),
        ];
        page.family("meshlink_store_bundles", "gauge", "Bundles held, by whose they are.");
        for (class, usage) in classes {
            page.sample("meshlink_store_bundles", &[("class", class)], usage.bundles);
        }
        page.family("meshlink_store_bytes", "gauge", "Their bytes, as counted against the cap.");
        for (class, usage) in classes {
            page.sample("meshlink_store_bytes", &[("class", class)], usage.bytes);
        }
        let store = &self.status.store;
        page.single("meshlink_store_bytes_max", "gauge", "The cap.", store.bytes_max);
        let writable = u64::from(store.writable);
        page.single("meshlink_store_writable", "gauge", "0 while the disk is full.", writable);
        page.family(
            "meshlink_store_file_bytes",
            "gauge",
            "Bytes on the disk: used and free pages, and the log.",
        );
        let used = self.files.database_bytes - self.files.free_bytes;
        for (part, bytes) in [("used", used), ("free", self.files.free_bytes), ("log", self.files.log_bytes)]
        {
            page.sample("meshlink_store_file_bytes", &[("part", part)], bytes);
        }
    }

    fn write_messages(&self, page: &mut Page) {
        let counts = &self.status.messages;
        page.family("meshlink_messages", "gauge", "Messages kept: own ones by status, and received ones.");
        for (status, count) in [
            ("pending", counts.pending),
            ("synced", counts.synced),
            ("delivered", counts.delivered),
            ("read", counts.read),
            ("expired", counts.expired),
            ("failed", counts.failed),
            ("received", counts.received),
        ] {
            page.sample("meshlink_messages", &[("status", status)], count);
        }
        page.single("meshlink_messages_unread", "gauge", "Received messages not marked read.", counts.unread);
        page.single(
            "meshlink_oldest_pending_seconds",
            "gauge",
            "Age of the oldest own message that nobody else has; 0 if there is none.",
            self.waiting_s,
        );
    }

    fn write_links(&self, page: &mut Page) {
        page.family("meshlink_links", "gauge", "Live links, by what carries them.");
        for kind in LINK_KINDS {
            let links = self.live.iter().find(|(live, _)| render::kind(**live) == kind);
            page.sample("meshlink_links", &[("kind", name(kind))], links.map_or(0, |(_, live)| live.links));
        }
        page.family(
            "meshlink_transport_up",
            "gauge",
            "1 for each transport that works, 0 for each that does not.",
        );
        let mut up = BTreeMap::new();
        for transport in &self.status.transports {
            use meshlink_api::TransportState::{Degraded, Down, Off, Starting, Up};
            let (works, is_set_up) = match transport.state {
                Up | Degraded => (1u64, 1u64),
                Starting | Down => (0, 1),
                Off => (0, 0),
            };
            let total = up.entry(transport.kind).or_insert((0u64, 0u64));
            *total = (total.0 + works, total.1 + is_set_up);
        }
        for (kind, (works, _)) in &up {
            page.sample("meshlink_transport_up", &[("kind", name(*kind))], works);
        }
        page.family("meshlink_transports", "gauge", "Transports that are not switched off.");
        for (kind, (_, all)) in &up {
            page.sample("meshlink_transports", &[("kind", name(*kind))], all);
        }
    }
}

fn write_requests(app: &App, page: &mut Page) {
    page.family("meshlink_http_requests_total", "counter", "Requests answered, by route and status.");
    for ((method, route, status), count) in app.requests().snapshot() {
        let status = status.to_string();
        page.sample(
            "meshlink_http_requests_total",
            &[("method", method), ("route", route), ("status", &status)],
            count,
        );
    }
    let open = crate::http::limits::STREAMS_MAX - app.streams().available_permits();
    page.single("meshlink_event_streams", "gauge", "Event streams open.", open);
}

fn name(kind: LinkKind) -> &'static str {
    match kind {
        LinkKind::Ble => "ble",
        LinkKind::Lan => "lan",
        LinkKind::Relay => "relay",
        LinkKind::Pipe => "pipe",
    }
}
