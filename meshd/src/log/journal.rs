//! Records for the journal, in its own protocol ("Native Journal Protocol" of systemd's documentation): a datagram
//! with a field a line.
//!
//! A reader of `journalctl` sees `MESSAGE=` alone, so that has the fields in words as well: an error without its
//! reason helps nobody.

use std::fmt::{Debug, Write as _};
use std::os::unix::net::UnixDatagram;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

const SOCKET: &str = "/run/systemd/journal/socket";
/// Longest value of a field, in bytes; a datagram has to fit into the socket's buffer.
const VALUE_BYTES_MAX: usize = 16 * 1024;

/// The way to the journal.
#[derive(Debug)]
pub(super) struct Journal(UnixDatagram);

impl Journal {
    /// Connects.
    pub(super) fn connect() -> std::io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(SOCKET)?;
        Ok(Self(socket))
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        // Where the journal is gone or full there is nobody to tell; the daemon's work goes on.
        let _ = self.0.send(&record(event));
    }
}

fn record(event: &Event<'_>) -> Vec<u8> {
    let mut words = Words::default();
    event.record(&mut words);
    let Words { message, said, fields } = words;
    let mut record = Vec::new();
    put(&mut record, "MESSAGE", format!("{message}{said}").trim_start());
    put(&mut record, "PRIORITY", priority(event.metadata().level()));
    put(&mut record, "SYSLOG_IDENTIFIER", "meshd");
    put(&mut record, "MESHD_TARGET", event.metadata().target());
    for (name, value) in fields {
        put(&mut record, &format!("MESHD_{}", name.to_ascii_uppercase()), &value);
    }
    record
}

/// syslog's numbers.
fn priority(level: &Level) -> &'static str {
    match *level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        Level::DEBUG | Level::TRACE => "7",
    }
}

/// A value with a line break needs its length; every value may have one.
fn put(record: &mut Vec<u8>, name: &str, value: &str) {
    let mut end = value.len().min(VALUE_BYTES_MAX);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    let value = &value.as_bytes()[..end];
    record.extend(name.as_bytes());
    record.push(b'\n');
    record.extend((value.len() as u64).to_le_bytes());
    record.extend(value);
    record.push(b'\n');
}

/// An event's fields: each by itself, and all in words.
#[derive(Default)]
struct Words {
    message: String,
    said: String,
    fields: Vec<(&'static str, String)>,
}

impl Words {
    fn take(&mut self, field: &Field, value: String) {
        if field.name() == "message" {
            self.message = value;
            return;
        }
        write!(self.said, " {}={value}", field.name()).expect("a string takes what is written to it");
        self.fields.push((field.name(), value));
    }
}

impl Visit for Words {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.take(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// Keeps what would be sent.
    struct Kept(Arc<Mutex<Vec<Vec<u8>>>>);

    impl<S: Subscriber> Layer<S> for Kept {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            self.0.lock().unwrap().push(record(event));
        }
    }

    /// Reads a record as journald does.
    fn fields(mut record: &[u8]) -> Vec<(String, String)> {
        let mut fields = Vec::new();
        while let Some(end) = record.iter().position(|&byte| byte == b'\n') {
            let name = String::from_utf8(record[..end].to_vec()).unwrap();
            let length = u64::from_le_bytes(record[end + 1..end + 9].try_into().unwrap()) as usize;
            let value = &record[end + 9..end + 9 + length];
            assert_eq!(record[end + 9 + length], b'\n');
            fields.push((name, String::from_utf8(value.to_vec()).unwrap()));
            record = &record[end + 10 + length..];
        }
        fields
    }

    #[test]
    fn a_record_has_level_place_and_fields_and_says_them_in_its_message() {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let subscriber = tracing_subscriber::registry().with(Kept(Arc::clone(&kept)));
        tracing::subscriber::with_default(subscriber, || {
            tracing::error!(target: "meshd::x", error = %"no room\nMESSAGE=forged", links = 3, "nothing stored");
        });
        let records = kept.lock().unwrap();
        let fields = fields(&records[0]);
        let value = |name: &str| {
            let all: Vec<&str> =
                fields.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect();
            assert_eq!(all.len(), 1, "{name}: {fields:?}");
            all[0].to_owned()
        };
        assert_eq!(value("MESSAGE"), "nothing stored error=no room\nMESSAGE=forged links=3");
        assert_eq!(value("MESHD_ERROR"), "no room\nMESSAGE=forged", "a line break forges no field");
        assert_eq!((value("PRIORITY"), value("MESHD_LINKS")), ("3".to_owned(), "3".to_owned()));
        assert_eq!(value("MESHD_TARGET"), "meshd::x");
    }

    #[test]
    fn a_long_value_is_cut_between_characters() {
        let mut record = Vec::new();
        put(&mut record, "A", &"ü".repeat(VALUE_BYTES_MAX));
        let fields = fields(&record);
        assert_eq!(fields[0].1.len(), VALUE_BYTES_MAX);
    }
}
