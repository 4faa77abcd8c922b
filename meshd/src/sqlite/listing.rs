//! What front ends read: pages of messages by any mix of filters, ids by how they begin, conversations.
//!
//! A page walks the one index that has the fewest candidates (the totals know how many each has) and passes
//! over what the other filters leave out. A walk ends after [`CANDIDATES_MAX`] candidates even if the page is
//! not full: the reader goes on from where it ended, and meanwhile the node does its other work.
//!
//! **Words are looked for in the messages themselves**, opened one after the other, with no index of words: on a disk
//! an index says what it indexes, in memory it takes as much again as the texts, and has to be built after each start.
//! `examples/at_rest_cost` measures what a search costs, and what such an index would.

use meshlink_core::event::MessageStatus;
use meshlink_core::id::{BundleId, NodeId, Seq};
use meshlink_core::store::{MessageRecord, StoreError};
use rusqlite::params_from_iter;
use rusqlite::types::Value;

use super::column::{get, int, status};
use super::messages::{Kept, record_columns};
use super::search::Query;
use super::words::{self, Tag};
use super::{SqliteStore, rows_max};

/// Candidates looked at for one page: some milliseconds.
const CANDIDATES_MAX: usize = 4096;
/// Candidates opened for one page, to look for words in them: some milliseconds too.
const OPENED_MAX: usize = 1024;

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

/// What is kept of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeptOf {
    /// Messages.
    pub messages: u64,
    /// Received ones not marked read.
    pub unread: u64,
    /// Other nodes that wrote some of them.
    pub authors: u64,
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
        let candidates_max = if wanted.words.is_some() { OPENED_MAX } else { CANDIDATES_MAX };
        let mut page = MessagePage::default();
        let mut candidates = 0;
        let mut last = Seq(0);
        let mut unreadable = None;
        self.db.each(&walk.statement(filter.order), params_from_iter(params), |row| {
            let kept = Kept::read(row)?;
            let is_wanted = wanted.lets_through(row.get(12)?, row.get(13)?, get(row, 5)?);
            if candidates == candidates_max || (is_wanted && page.items.len() >= filter.limit.max(1)) {
                page.next = Some(last);
                return Ok(false);
            }
            candidates += 1;
            last = Seq(get(row, 0)?);
            if !is_wanted {
                return Ok(true);
            }
            match kept.open(self.keys.as_ref()) {
                Ok(message) => {
                    if wanted.words.as_ref().is_none_or(|words| words.is_in(&message.text)) {
                        page.items.push(message);
                    }
                    Ok(true)
                }
                Err(error) => {
                    unreadable = Some(error);
                    Ok(false)
                }
            }
        })?;
        if let Some(error) = unreadable {
            return Err(error);
        }
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
        let keys = self.keys()?;
        let rows = self.db.all("SELECT n, tag, name, messages, unread FROM conversation", [], |row| {
            let sealed = (get::<Tag>(row, 1)?, row.get::<_, Vec<u8>>(2)?);
            Ok((sealed, (row.get::<_, i64>(0)?, get(row, 3)?, get(row, 4)?)))
        })?;
        // Their names are sealed, so only all of them can be put in order; a conversation has at least one message.
        let mut named = Vec::with_capacity(rows.len());
        for ((tag, sealed), row) in rows {
            named.push((words::open_conversation(keys, &tag, &sealed)?, row));
        }
        named.retain(|(name, _)| name.as_str() > after.unwrap_or(""));
        named.sort();
        named.truncate(limit);
        let newest = concat!(
            "SELECT ",
            record_columns!(),
            " FROM message m INDEXED BY message_by_conversation WHERE m.conversation = ?1
             ORDER BY m.seq DESC LIMIT 1"
        );
        let mut conversations = Vec::with_capacity(named.len());
        for (id, (n, messages, unread)) in named {
            if let Some(last) = self.db.one(newest, [n], Kept::read)? {
                let last = last.open(Some(keys))?;
                conversations.push(ConversationRow { id, messages, unread, last });
            }
        }
        Ok(conversations)
    }

    /// What is kept of one conversation.
    ///
    /// # Errors
    /// The disk failed, or the store is locked.
    pub fn kept_of(&self, conversation: &str) -> Result<KeptOf, StoreError> {
        let tag = words::conversation_tag(self.keys()?, conversation);
        let counts = "SELECT n, messages, unread FROM conversation WHERE tag = ?1";
        let counts =
            self.db.one(counts, [tag], |row| Ok((row.get::<_, i64>(0)?, get(row, 1)?, get(row, 2)?)))?;
        let Some((n, messages, unread)) = counts else { return Ok(KeptOf::default()) };
        let authors = "SELECT count(DISTINCT author) FROM message INDEXED BY message_by_conversation
                       WHERE conversation = ?1 AND own = 0";
        let authors = self.db.one(authors, [n], |row| get(row, 0))?.unwrap_or(0);
        Ok(KeptOf { messages, unread, authors })
    }

    /// The walk with the fewest candidates; `None` if no message can match.
    fn plan(&self, filter: &MessageFilter) -> Result<Option<(Walk, Wanted)>, StoreError> {
        let mut wanted = Wanted { conversation: None, author: None, status: filter.status, words: None };
        let mut fewest = self.totals.messages();
        let mut walk = Walk::All;
        let mut offer = |count, other| {
            if count < fewest {
                (fewest, walk) = (count, other);
            }
        };
        let numbered = |query, tag: Tag| {
            self.db.one(query, [tag], |row| Ok((row.get::<_, i64>(0)?, get::<u64>(row, 1)?)))
        };
        if let Some(name) = &filter.conversation {
            let tag = words::conversation_tag(self.keys()?, name);
            let found = numbered("SELECT n, messages FROM conversation WHERE tag = ?1", tag)?;
            let Some((n, messages)) = found else { return Ok(None) };
            wanted.conversation = Some(n);
            offer(messages, Walk::Conversation(n));
        }
        if let Some(from) = &filter.from {
            let tag = words::author_tag(self.keys()?, from);
            let found = numbered("SELECT n, messages FROM author WHERE tag = ?1", tag)?;
            let Some((n, messages)) = found else { return Ok(None) };
            wanted.author = Some(n);
            offer(messages, Walk::Author(n));
        }
        if let Some(of) = filter.status.filter(|of| *of != MessageStatus::Synced) {
            offer(self.totals.own_with(of), Walk::Status(status(of)));
        }
        if let Some(query) = &filter.query {
            wanted.words = Query::parse(query);
            if wanted.words.is_none() {
                return Ok(None);
            }
            self.keys()?;
        }
        Ok(Some((walk, wanted)))
    }
}

/// The index a page's walk follows.
enum Walk {
    All,
    Conversation(i64),
    Author(i64),
    Status(i64),
}

impl Walk {
    fn key(&self) -> Option<Value> {
        match self {
            Self::All => None,
            Self::Conversation(n) | Self::Author(n) | Self::Status(n) => Some(Value::from(*n)),
        }
    }

    fn statement(&self, order: Order) -> String {
        let (table, key) = match self {
            Self::All => ("message m", ""),
            Self::Conversation(_) => {
                ("message m INDEXED BY message_by_conversation", "AND m.conversation = ?3")
            }
            Self::Author(_) => ("message m INDEXED BY message_by_author", "AND m.author = ?3"),
            Self::Status(_) => {
                ("message m INDEXED BY message_by_status", "AND m.status = ?3 AND m.status <> 1")
            }
        };
        let columns = record_columns!();
        let direction = match order {
            Order::NewestFirst => "DESC",
            Order::OldestFirst => "ASC",
        };
        format!(
            "SELECT {columns} FROM {table} WHERE m.seq > ?1 AND m.seq < ?2 {key} ORDER BY m.seq {direction}"
        )
    }
}

/// The filters as the rows know them.
struct Wanted {
    conversation: Option<i64>,
    author: Option<i64>,
    status: Option<MessageStatus>,
    words: Option<Query>,
}

impl Wanted {
    fn lets_through(&self, conversation: i64, author: Option<i64>, status: MessageStatus) -> bool {
        self.conversation.is_none_or(|wanted| wanted == conversation)
            && self.author.is_none_or(|wanted| Some(wanted) == author)
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
