//! What front ends read: pages of messages by any mix of filters, ids by how they begin, conversations.
//!
//! A page walks the one index that has the fewest candidates (the totals know how many each has) and passes
//! over what the other filters leave out. A walk ends after [`CANDIDATES_MAX`] candidates even if the page is
//! not full: the reader goes on from where it ended, and meanwhile the node does its other work.

use meshlink_core::event::MessageStatus;
use meshlink_core::id::{BundleId, NodeId, Seq};
use meshlink_core::store::{MessageRecord, StoreError};
use rusqlite::params_from_iter;
use rusqlite::types::Value;

use super::column::{get, int, status};
use super::messages::{read_record, record_columns};
use super::{SqliteStore, rows_max, search};

/// Candidates looked at for one page: some milliseconds.
const CANDIDATES_MAX: usize = 4096;

/// Which end of the messages a page begins at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// At the newest.
    #[default]
    NewestFirst,
    /// At the oldest.
    OldestFirst,
}

/// Which messages a page holds. Filters left out let everything through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageFilter {
    /// Those of this conversation.
    pub conversation: Option<String>,
    /// Those that stand there.
    pub status: Option<MessageStatus>,
    /// Those this node wrote.
    pub from: Option<NodeId>,
    /// Those after this place, not itself.
    pub after: Option<Seq>,
    /// Those before this place, not itself.
    pub before: Option<Seq>,
    /// Those with all these words; the last one may be the start of a word, and `"words in quotes"` stand
    /// side by side. Any text is a valid query; one without words finds nothing.
    pub query: Option<String>,
    /// Which come first.
    pub order: Order,
    /// Most on the page.
    pub limit: usize,
}

impl Default for MessageFilter {
    fn default() -> Self {
        Self {
            conversation: None,
            status: None,
            from: None,
            after: None,
            before: None,
            query: None,
            order: Order::default(),
            limit: 50,
        }
    }
}

/// A page of messages.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MessagePage {
    /// The messages. There may be fewer than asked for, even none, and still more to come.
    pub items: Vec<MessageRecord>,
    /// Where to go on: the next page's `before` if the newest came first, else its `after`. `None`: that was all.
    pub next: Option<Seq>,
}

/// One conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConversationRow {
    /// Its name.
    pub id: String,
    /// Messages kept.
    pub messages: u64,
    /// Those of others that were not marked read.
    pub unread: u64,
    /// The newest.
    pub last: MessageRecord,
}

impl SqliteStore {
    /// A page of messages.
    ///
    /// # Errors
    /// The disk failed.
    pub fn messages(&self, filter: &MessageFilter) -> Result<MessagePage, StoreError> {
        let Some((walk, wanted)) = self.plan(filter)? else { return Ok(MessagePage::default()) };
        let mut params = vec![
            Value::from(filter.after.map_or(0, |seq| int(seq.0))),
            Value::from(filter.before.map_or(i64::MAX, |seq| int(seq.0))),
        ];
        params.extend(walk.key());
        let mut page = MessagePage::default();
        let mut candidates = 0;
        let mut last = Seq(0);
        self.db.each(&walk.statement(filter.order), params_from_iter(params), |row| {
            let is_wanted = wanted.lets_through(row.get(16)?, row.get(17)?, get(row, 9)?);
            if candidates == CANDIDATES_MAX || (is_wanted && page.items.len() >= filter.limit.max(1)) {
                page.next = Some(last);
                return Ok(false);
            }
            candidates += 1;
            last = Seq(get(row, 0)?);
            if is_wanted {
                page.items.push(read_record(row)?);
            }
            Ok(true)
        })?;
        Ok(page)
    }

    /// Up to `limit` messages whose id, as text, begins like this: what a person types instead of 52 letters.
    /// Nothing begins with what no id begins with.
    ///
    /// # Errors
    /// The disk failed.
    pub fn messages_with_prefix(&self, start: &str, limit: usize) -> Result<Vec<BundleId>, StoreError> {
        let Some((low, high)) = id_range(start) else { return Ok(Vec::new()) };
        let query =
            "SELECT id FROM message WHERE substr(id, 1, 12) BETWEEN ?1 AND ?2 AND id BETWEEN ?3 AND ?4
                     LIMIT ?5";
        let prefixes = (low.prefix(), high.prefix());
        let params = (
            prefixes.0.0.as_slice(),
            prefixes.1.0.as_slice(),
            low.0.as_slice(),
            high.0.as_slice(),
            rows_max(limit),
        );
        self.db.all(query, params, |row| get(row, 0))
    }

    /// Up to `limit` conversations after `after`, by name.
    ///
    /// # Errors
    /// The disk failed.
    pub fn conversations(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<ConversationRow>, StoreError> {
        let query =
            "SELECT n, name, messages, unread FROM conversation WHERE name > ?1 ORDER BY name LIMIT ?2";
        let rows = self.db.all(query, (after.unwrap_or(""), rows_max(limit)), |row| {
            Ok((row.get::<_, i64>(0)?, row.get(1)?, get(row, 2)?, get(row, 3)?))
        })?;
        let newest = concat!(
            "SELECT ",
            record_columns!(),
            " FROM message m INDEXED BY message_by_conversation WHERE m.conversation = ?1
             ORDER BY m.seq DESC LIMIT 1"
        );
        let mut conversations = Vec::with_capacity(rows.len());
        for (n, id, messages, unread) in rows {
            if let Some(last) = self.db.one(newest, [n], read_record)? {
                conversations.push(ConversationRow { id, messages, unread, last });
            }
        }
        Ok(conversations)
    }

    /// The walk with the fewest candidates; `None` if no message can match.
    fn plan(&self, filter: &MessageFilter) -> Result<Option<(Walk, Wanted)>, StoreError> {
        let mut wanted = Wanted { conversation: None, sender: None, status: filter.status };
        let mut fewest = self.totals.messages();
        let mut walk = Walk::All;
        let mut offer = |count, other| {
            if count < fewest {
                (fewest, walk) = (count, other);
            }
        };
        let numbered = |query, key: Value| {
            self.db.one(query, [key], |row| Ok((row.get::<_, i64>(0)?, get::<u64>(row, 1)?)))
        };
        if let Some(name) = &filter.conversation {
            let found =
                numbered("SELECT n, messages FROM conversation WHERE name = ?1", name.clone().into())?;
            let Some((n, messages)) = found else { return Ok(None) };
            wanted.conversation = Some(n);
            offer(messages, Walk::Conversation(n));
        }
        if let Some(from) = &filter.from {
            let found = numbered("SELECT n, messages FROM node WHERE id = ?1", from.0.to_vec().into())?;
            let Some((n, messages)) = found else { return Ok(None) };
            wanted.sender = Some(n);
            offer(messages, Walk::Sender(n));
        }
        if let Some(of) = filter.status.filter(|of| *of != MessageStatus::Synced) {
            offer(self.totals.own_with(of), Walk::Status(status(of)));
        }
        if let Some(query) = &filter.query {
            let Some(words) = search::expression(query) else { return Ok(None) };
            walk = Walk::Words(words);
        }
        Ok(Some((walk, wanted)))
    }
}

/// The index a page's walk follows.
enum Walk {
    All,
    Conversation(i64),
    Sender(i64),
    Status(i64),
    Words(String),
}

impl Walk {
    fn key(&self) -> Option<Value> {
        match self {
            Self::All => None,
            Self::Conversation(n) | Self::Sender(n) | Self::Status(n) => Some(Value::from(*n)),
            Self::Words(words) => Some(Value::from(words.clone())),
        }
    }

    fn statement(&self, order: Order) -> String {
        let (table, place, key) = match self {
            Self::All => ("message m", "m.seq", ""),
            Self::Conversation(_) => {
                ("message m INDEXED BY message_by_conversation", "m.seq", "AND m.conversation = ?3")
            }
            Self::Sender(_) => ("message m INDEXED BY message_by_sender", "m.seq", "AND m.sender = ?3"),
            Self::Status(_) => {
                ("message m INDEXED BY message_by_status", "m.seq", "AND m.status = ?3 AND m.status <> 1")
            }
            Self::Words(_) => (
                "message_words w CROSS JOIN message m ON m.seq = w.rowid",
                "w.rowid",
                "AND w.message_words MATCH ?3",
            ),
        };
        let columns = record_columns!();
        let direction = match order {
            Order::NewestFirst => "DESC",
            Order::OldestFirst => "ASC",
        };
        format!(
            "SELECT {columns} FROM {table} WHERE {place} > ?1 AND {place} < ?2 {key} ORDER BY {place} {direction}"
        )
    }
}

/// The filters as the rows know them.
struct Wanted {
    conversation: Option<i64>,
    sender: Option<i64>,
    status: Option<MessageStatus>,
}

impl Wanted {
    fn lets_through(&self, conversation: i64, sender: Option<i64>, status: MessageStatus) -> bool {
        self.conversation.is_none_or(|wanted| wanted == conversation)
            && self.sender.is_none_or(|wanted| Some(wanted) == sender)
            && self.status.is_none_or(|wanted| wanted == status)
    }
}

/// The first and the last id whose text begins like this.
fn id_range(start: &str) -> Option<(BundleId, BundleId)> {
    let mut low = [0; BundleId::BYTES];
    let mut high = [0xff; BundleId::BYTES];
    if start.is_empty() || start.len() > BundleId::CHARS {
        return None;
    }
    for (n, letter) in start.bytes().enumerate() {
        let five = match letter.to_ascii_lowercase() {
            letter @ b'a'..=b'z' => letter - b'a',
            digit @ b'2'..=b'7' => digit - b'2' + 26,
            _ => return None,
        };
        for (at, is_set) in (0..5).map(|bit| (n * 5 + bit, five >> (4 - bit) & 1 == 1)) {
            let mask = 0x80 >> (at % 8);
            match (low.get_mut(at / 8), is_set) {
                (Some(byte), true) => *byte |= mask,
                (Some(_), false) => high[at / 8] &= !mask,
                // 52 letters are four bits more than an id.
                (None, true) => return None,
                (None, false) => {}
            }
        }
    }
    Some((BundleId(low), BundleId(high)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ids_text_and_each_start_of_it_name_the_id() {
        let id = BundleId(*b"0123456789abcdefghijklmnopqrstuv");
        let text = id.to_string();
        for end in 1..=text.len() {
            let (low, high) = id_range(&text[..end]).expect("it is the start of an id");
            assert!(low <= id && id <= high, "{end}");
            assert!(low.to_string().starts_with(&text[..end]) && high.to_string().starts_with(&text[..end]));
        }
        assert_eq!(id_range(&text), Some((id, id)));
        assert_eq!(id_range(&text.to_uppercase()), Some((id, id)));
    }

    #[test]
    fn what_no_id_begins_with_names_none() {
        for start in ["", "a1", "ä", "a b", &"a".repeat(53)] {
            assert_eq!(id_range(start), None, "{start:?}");
        }
        // The last letter of an id has one bit.
        assert_eq!(id_range(&format!("{}b", "a".repeat(51))), None);
        assert!(id_range(&format!("{}q", "a".repeat(51))).is_some());
    }
}
