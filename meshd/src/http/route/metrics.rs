//! `/metrics`: the node in numbers, as Prometheus reads them.
//!
//! The text format, version 0.0.4. Labels come from small fixed sets: no node, no message and no address is in
//! them.

use std::fmt::{Display, Write as _};

use axum::extract::State;
use hyper::header::{CONTENT_TYPE, HeaderName};
use meshlink_api::{LinkKind, Status};
use meshlink_core::store::{Class, Usage};
use meshlink_core::{Seq, Store, StoreError};

use crate::http::app::App;
use crate::http::problem::Failure;
use crate::http::render::{self, Renderer};

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
                events: store.event_bounds()?,
                links: node.links().map(|l| (render::kind(l.kind), l.sent_bytes, l.received_bytes)).collect(),
            })
        })
        .await?;
    let mut page = Page::default();
    numbers.write(&mut page);
    write_requests(&app, &mut page);
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page.0))
}

struct Numbers {
    status: Status,
    own: Usage,
    contact: Usage,
    stranger: Usage,
    events: Option<(Seq, Seq)>,
    links: Vec<(LinkKind, u64, u64)>,
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
    }

    fn write_store(&self, page: &mut Page) {
        let classes = [("own", self.own), ("contact", self.contact), ("stranger", self.stranger)];
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
    }

    fn write_links(&self, page: &mut Page) {
        let sum = |kind, part: fn(&(LinkKind, u64, u64)) -> u64| -> u64 {
            self.links.iter().filter(|link| link.0 == kind).map(part).sum()
        };
        page.family("meshlink_links", "gauge", "Live links.");
        for kind in LINK_KINDS {
            page.sample("meshlink_links", &[("kind", name(kind))], sum(kind, |_| 1));
        }
        page.family("meshlink_link_bytes", "gauge", "Bytes that the live links have carried so far.");
        for kind in LINK_KINDS {
            page.sample(
                "meshlink_link_bytes",
                &[("kind", name(kind)), ("direction", "sent")],
                sum(kind, |l| l.1),
            );
            page.sample(
                "meshlink_link_bytes",
                &[("kind", name(kind)), ("direction", "received")],
                sum(kind, |l| l.2),
            );
        }
        page.family(
            "meshlink_transport_up",
            "gauge",
            "1 for each transport that works, 0 for each that does not.",
        );
        let mut up = std::collections::BTreeMap::new();
        for transport in &self.status.transports {
            use meshlink_api::TransportState::{Degraded, Down, Off, Starting, Up};
            let works = match transport.state {
                Up | Degraded => 1u64,
                Off | Starting | Down => 0,
            };
            let total = up.entry(transport.kind).or_insert((0u64, 0u64));
            *total = (total.0 + works, total.1 + 1);
        }
        for (kind, (works, _)) in &up {
            page.sample("meshlink_transport_up", &[("kind", name(*kind))], works);
        }
        page.family("meshlink_transports", "gauge", "Transports that are set up.");
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

/// A page in Prometheus' text format. No label value of ours needs escaping.
#[derive(Default)]
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> =
            labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        self.line(format_args!("{name}{{{}}} {value}", labels.join(",")));
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.line(format_args!("{name} {value}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.0, "{line}").expect("a String takes everything");
    }
}
