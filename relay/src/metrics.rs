//! What a relay counts, and how `GET /metrics` tells it.
//!
//! Numbers only: no addresses, names or topics. Format: Prometheus text exposition, version 0.0.4.

use std::fmt::Write;

/// Why a message was not passed on; its sender was told so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    InvalidJson,
    MissingType,
    TooLarge,
    RateLimited,
    InvalidFrame,
}

impl Refusal {
    const ALL: [Self; 5] =
        [Self::InvalidJson, Self::MissingType, Self::TooLarge, Self::RateLimited, Self::InvalidFrame];

    /// The `code` of the ERROR frame.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::InvalidJson => "invalid_json",
            Self::MissingType => "missing_type",
            Self::TooLarge => "too_large",
            Self::RateLimited => "rate_limited",
            Self::InvalidFrame => "invalid_frame",
        }
    }
}

/// Why a connection ended, where the client did not close it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// It did not read: its queue is over the limit or has not moved for too long.
    SlowReader,
    /// All queues together were over the limit, and this one was among the longest.
    Memory,
    /// Nothing was heard from it, not even a pong.
    Silent,
    /// It sent no whole request head in time.
    HeadTimeout,
    /// Newer connections needed its place before it had sent a whole head.
    Displaced,
    /// It did not finish a message in time.
    MessageTimeout,
    /// It broke the WebSocket protocol, or a size limit of it.
    Protocol,
    /// It sent too many pings or pongs.
    Flood,
    /// The connection failed.
    Broken,
}

impl Cut {
    pub(crate) const ALL: [Self; 9] = [
        Self::SlowReader,
        Self::Memory,
        Self::Silent,
        Self::HeadTimeout,
        Self::Displaced,
        Self::MessageTimeout,
        Self::Protocol,
        Self::Flood,
        Self::Broken,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::SlowReader => "slow_reader",
            Self::Memory => "memory",
            Self::Silent => "silent",
            Self::HeadTimeout => "head_timeout",
            Self::Displaced => "displaced",
            Self::MessageTimeout => "message_timeout",
            Self::Protocol => "protocol",
            Self::Flood => "flood",
            Self::Broken => "broken",
        }
    }
}

/// Counts since the start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connections: u64,
    pub(crate) posts_in: u64,
    pub(crate) link_frames_in: u64,
    pub(crate) bytes_in: u64,
    pub(crate) deliveries: u64,
    pub(crate) link_frames_out: u64,
    pub(crate) bytes_out: u64,
    pub(crate) dropped_not_here: u64,
    pub(crate) dropped_queue_full: u64,
    pub(crate) dropped_no_credit: u64,
    pub(crate) accept_errors: u64,
    refusals: [u64; Refusal::ALL.len()],
    cuts: [u64; Cut::ALL.len()],
    /// HTTP answers other than 101, by status.
    answers: std::collections::BTreeMap<u16, u64>,
}

impl Counters {
    pub(crate) fn refused(&mut self, refusal: Refusal) {
        self.refusals[refusal as usize] += 1;
    }

    pub(crate) fn cut(&mut self, cut: Cut) {
        self.cuts[cut as usize] += 1;
    }

    #[cfg(test)]
    pub(crate) fn cuts(&self, cut: Cut) -> u64 {
        self.cuts[cut as usize]
    }

    pub(crate) fn answered(&mut self, status: u16) {
        *self.answers.entry(status).or_default() += 1;
    }
}

/// What is so right now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gauges {
    pub(crate) clients: usize,
    pub(crate) nodes: usize,
    pub(crate) topics: usize,
    pub(crate) connections: usize,
    pub(crate) queued_bytes: usize,
    pub(crate) uptime_s: u64,
}

/// The body of `GET /metrics`.
pub(crate) fn render(counters: &Counters, gauges: Gauges) -> String {
    let mut page = Page(String::with_capacity(4096));
    page.one("clients", "gauge", "Clients that have joined, nodes included.", gauges.clients as u64);
    page.one("nodes", "gauge", "Clients of the subprotocol meshlink.v1.", gauges.nodes as u64);
    page.one("topics", "gauge", "Topics with at least one client.", gauges.topics as u64);
    page.one("connections", "gauge", "Open connections of any state.", gauges.connections as u64);
    page.one("queued_bytes", "gauge", "Bytes that wait for slow clients.", gauges.queued_bytes as u64);
    page.one("uptime_seconds", "gauge", "Seconds since the start.", gauges.uptime_s);
    page.one("connections_total", "counter", "Connections accepted.", counters.connections);
    page.head("messages_total", "counter", "Messages received.");
    page.line("messages_total", Some(("kind", "post")), counters.posts_in);
    page.line("messages_total", Some(("kind", "link")), counters.link_frames_in);
    page.one("received_bytes_total", "counter", "Payload bytes of messages received.", counters.bytes_in);
    page.head("deliveries_total", "counter", "Messages handed to a client, each client counted.");
    page.line("deliveries_total", Some(("kind", "post")), counters.deliveries);
    page.line("deliveries_total", Some(("kind", "link")), counters.link_frames_out);
    page.one("sent_bytes_total", "counter", "Bytes written to clients, before TLS.", counters.bytes_out);
    page.head("refused_total", "counter", "Messages answered with an ERROR frame.");
    for refusal in Refusal::ALL {
        page.line("refused_total", Some(("code", refusal.code())), counters.refusals[refusal as usize]);
    }
    page.head("dropped_total", "counter", "Link frames not passed on; both ends got a Reset.");
    page.line("dropped_total", Some(("reason", "not_here")), counters.dropped_not_here);
    page.line("dropped_total", Some(("reason", "queue_full")), counters.dropped_queue_full);
    page.line("dropped_total", Some(("reason", "no_credit")), counters.dropped_no_credit);
    page.head("cuts_total", "counter", "Connections that ended without the client closing them.");
    for cut in Cut::ALL {
        page.line("cuts_total", Some(("reason", cut.label())), counters.cuts[cut as usize]);
    }
    page.head("http_answers_total", "counter", "HTTP answers other than an upgrade.");
    for (status, count) in &counters.answers {
        page.line("http_answers_total", Some(("status", &status.to_string())), *count);
    }
    page.one(
        "accept_errors_total",
        "counter",
        "Failed attempts to accept a connection.",
        counters.accept_errors,
    );
    page.0
}

struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.0, "# HELP meshlink_relay_{name} {help}\n# TYPE meshlink_relay_{name} {kind}\n");
    }

    fn line(&mut self, name: &str, label: Option<(&str, &str)>, value: u64) {
        let _ = match label {
            Some((key, label)) => writeln!(self.0, "meshlink_relay_{name}{{{key}=\"{label}\"}} {value}"),
            None => writeln!(self.0, "meshlink_relay_{name} {value}"),
        };
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.head(name, kind, help);
        self.line(name, None, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_has_a_type_and_every_line_a_number() {
        let mut counters = Counters::default();
        counters.cut(Cut::Broken);
        counters.refused(Refusal::InvalidFrame);
        counters.answered(404);
        let gauges = Gauges { clients: 3, nodes: 1, topics: 1, connections: 4, queued_bytes: 0, uptime_s: 9 };
        let page = render(&counters, gauges);
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').unwrap();
            value.parse::<u64>().unwrap();
            let name = series.split('{').next().unwrap();
            assert!(page.contains(&format!("# TYPE {name} ")), "{line}");
        }
        for line in [
            "meshlink_relay_clients 3",
            "meshlink_relay_cuts_total{reason=\"broken\"} 1",
            "meshlink_relay_refused_total{code=\"invalid_frame\"} 1",
            "meshlink_relay_http_answers_total{status=\"404\"} 1",
        ] {
            assert!(page.lines().any(|l| l == line), "{line} in\n{page}");
        }
    }
}
