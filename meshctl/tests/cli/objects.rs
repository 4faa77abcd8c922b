//! The API's objects as a daemon would give them. All times lie years back, where lists show the date.

use crate::fake::{Asked, Reply};
use serde_json::{Value, json};

/// Ids as long as real ones.
pub(crate) fn message_id(first: &str) -> String {
    format!("{first}{}", "a".repeat(52 - first.len()))
}

pub(crate) fn node_id(first: &str) -> String {
    format!("{first}{}", "b".repeat(32 - first.len()))
}

/// A message from Ana to everyone.
pub(crate) fn message(first: &str, text: &str) -> Value {
    json!({
        "id": message_id(first), "conversation": "#mesh",
        "from": {"id": node_id("ana7"), "name": "Ana", "me": false, "authenticated": true},
        "to": "#mesh", "text": text,
        "created_at": "2020-01-02T10:00:00.000Z", "received_at": "2020-01-02T10:05:09.000Z",
        "status": "synced", "protection": "public", "priority": "normal",
        "expires_at": "2020-01-09T10:00:00.000Z", "read": false, "attachments": [], "reply_to": null,
        "cursor": format!("c-{first}"),
    })
}

/// An own message.
pub(crate) fn own(first: &str, text: &str, status: &str) -> Value {
    let mut message = message(first, text);
    message["from"] = json!({"id": node_id("me22"), "name": "Bo", "me": true, "authenticated": true});
    message["status"] = status.into();
    message["read"] = true.into();
    message
}

/// A message and some changes.
pub(crate) fn with(mut message: Value, changes: &[(&str, Value)]) -> Value {
    for (pointer, value) in changes {
        *message.pointer_mut(pointer).expect("a known field") = value.clone();
    }
    message
}

/// A page that is the last one.
pub(crate) fn page(items: &[Value]) -> Value {
    json!({"items": items, "next": null})
}

/// A line of the event stream.
pub(crate) fn event(id: &str, kind: &str, data: &Value) -> String {
    format!("{}\n", json!({"id": id, "type": kind, "data": data}))
}

/// `message.new` of a message, at its own cursor.
pub(crate) fn news(message: &Value) -> String {
    event(message["cursor"].as_str().expect("a cursor"), "message.new", message)
}

pub(crate) fn status() -> Value {
    json!({
        "node_id": node_id("me22"), "name": "Bo", "version": "0.1.0", "uptime_s": 93_784,
        "clock": {"trusted": true, "now_at": "2020-01-02T10:10:00.000Z"},
        "at_rest": {"state": "unlocked", "detail": "sealed with a passphrase; unlocked now", "hint": null},
        "store": {"bundles": 12, "bytes": 34_123, "bytes_max": 268_435_456_u64, "writable": true, "detail": null},
        "messages": {"pending": 1, "synced": 3, "delivered": 0, "read": 0, "expired": 0, "failed": 2,
                     "received": 7, "unread": 2},
        "transports": [
            {"kind": "relay", "name": "ws://relay.example:8080", "state": "up", "detail": "connected",
             "hint": null},
            {"kind": "ble", "name": "hci0", "state": "down", "detail": "Bluetooth is switched off",
             "hint": "switch it on with `rfkill unblock bluetooth`"},
        ],
        "links": 1, "cursor": "c-now",
    })
}

pub(crate) fn peer(first: &str, name: Option<&str>) -> Value {
    json!({
        "id": node_id(first), "name": name, "about": null, "avatar": null, "up": false, "links": [],
        "last_seen_at": "2020-01-02T09:00:00.000Z", "encounters": 4, "bundles_sent": 10, "bundles_received": 20,
        "messages": 3, "blocked": false,
    })
}

/// A daemon that answers `value` to `line` and its events to `/v1/events`.
pub(crate) fn script(
    answers: Vec<(&'static str, Value)>,
) -> impl Fn(&Asked) -> Reply + Send + Sync + 'static {
    move |asked| {
        let line = asked.line();
        match answers.iter().find(|(known, _)| line == *known) {
            Some((_, value)) => Reply::json(value),
            None => Reply::problem(404, "not_found", &format!("nothing is scripted for {line}"), None),
        }
    }
}
