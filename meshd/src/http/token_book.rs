//! The named tokens, as the guard needs them: in memory, so that no request waits for the disk to be let in.
//!
//! The store has them too, and changes there first; the book follows once that is durable. When a token was
//! used is noted here and written down by the minute (see [`TokenBook::note_use`]), so that a busy client does
//! not turn every read into a write.

use std::sync::{Mutex, MutexGuard};

use meshlink_api::Scope;

use super::limits;
use super::secret::SecretHash;

/// One named token.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) scope: Scope,
    pub(super) hash: SecretHash,
    pub(super) created_unix_ms: Option<u64>,
    pub(super) last_used_unix_ms: Option<u64>,
}

/// Who makes a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller {
    /// What it may do.
    pub(super) scope: Scope,
    /// Its named token; `None` for the user who runs the daemon.
    pub(super) token: Option<String>,
}

impl Caller {
    /// The user who runs the daemon.
    pub(super) const OWNER: Self = Self { scope: Scope::Admin, token: None };

    /// Sets the names that callers choose, such as idempotency keys, apart from each other.
    pub(super) fn namespace(&self) -> &str {
        self.token.as_deref().unwrap_or("owner")
    }
}

/// Every token that lets a program in.
pub(super) struct TokenBook {
    /// The token of the state directory's file.
    file: SecretHash,
    entries: Mutex<Vec<Entry>>,
}

impl TokenBook {
    pub(super) fn new(file: SecretHash, entries: Vec<Entry>) -> Self {
        Self { file, entries: Mutex::new(entries) }
    }

    /// Who shows this secret. Compares with every token, whichever matches, in the same time.
    pub(super) fn find(&self, secret: &str) -> Option<Caller> {
        let shown = SecretHash::of(secret);
        let mut found = bool::from(self.file.matches(&shown)).then_some(Caller::OWNER);
        for entry in self.entries().iter() {
            if bool::from(entry.hash.matches(&shown)) {
                found = Some(Caller { scope: entry.scope, token: Some(entry.id.clone()) });
            }
        }
        found
    }

    /// Whether a caller let in earlier still is; a stream asks now and then.
    pub(super) fn still_knows(&self, caller: &Caller) -> bool {
        match &caller.token {
            None => true,
            Some(id) => self.entries().iter().any(|entry| entry.id == *id),
        }
    }

    /// Notes a use. Says so if it is to be written down: the first one in a minute.
    pub(super) fn note_use(&self, caller: &Caller, unix_ms: Option<u64>) -> Option<(String, u64)> {
        let (id, unix_ms) = (caller.token.as_deref()?, unix_ms?);
        let minute_unix_ms = unix_ms - unix_ms % limits::TOKEN_USE_GRAIN_MS;
        let mut entries = self.entries();
        let entry = entries.iter_mut().find(|entry| entry.id == id)?;
        if entry.last_used_unix_ms == Some(minute_unix_ms) {
            return None;
        }
        entry.last_used_unix_ms = Some(minute_unix_ms);
        Some((entry.id.clone(), minute_unix_ms))
    }

    /// All of them, in the order of their ids.
    pub(super) fn list(&self) -> Vec<Entry> {
        let mut entries = self.entries().clone();
        entries.sort_by(|a, b| a.id.cmp(&b.id));
        entries
    }

    pub(super) fn add(&self, entry: Entry) {
        self.entries().push(entry);
    }

    pub(super) fn remove(&self, id: &str) {
        self.entries().retain(|entry| entry.id != id);
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().expect("nothing panics while it holds this lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book() -> TokenBook {
        let entry = Entry {
            id: "abc".to_owned(),
            name: "bot".to_owned(),
            scope: Scope::Read,
            hash: SecretHash::of("bot secret"),
            created_unix_ms: None,
            last_used_unix_ms: None,
        };
        TokenBook::new(SecretHash::of("file secret"), vec![entry])
    }

    #[test]
    fn a01_only_a_known_secret_is_let_in() {
        let book = book();
        assert_eq!(book.find("file secret"), Some(Caller::OWNER));
        assert_eq!(book.find("bot secret").map(|c| c.scope), Some(Scope::Read));
        for wrong in ["", "file", "bot secret ", "FILE SECRET"] {
            assert_eq!(book.find(wrong), None, "{wrong:?}");
        }
        let caller = book.find("bot secret").unwrap();
        assert!(book.still_knows(&caller));
        book.add(Entry { id: "xyz".to_owned(), hash: SecretHash::of("another"), ..book.list().remove(0) });
        book.remove("abc");
        assert_eq!(book.find("bot secret"), None);
        assert!(!book.still_knows(&caller), "another's token is no reason");
        assert_eq!(book.find("another").and_then(|caller| caller.token).as_deref(), Some("xyz"));
        assert!(book.still_knows(&Caller::OWNER));
    }

    #[test]
    fn a01_names_that_callers_choose_are_apart() {
        let token = |id: &str| Caller { scope: Scope::Send, token: Some(id.to_owned()) };
        let callers = [Caller::OWNER, token("abc"), token("xyz")];
        let names: std::collections::BTreeSet<&str> = callers.iter().map(Caller::namespace).collect();
        assert_eq!(names.len(), callers.len());
    }

    #[test]
    fn a_use_is_written_down_once_a_minute() {
        let book = book();
        let caller = book.find("bot secret").unwrap();
        assert_eq!(book.note_use(&caller, Some(120_500)), Some(("abc".to_owned(), 120_000)));
        assert_eq!(book.note_use(&caller, Some(179_999)), None);
        assert_eq!(book.note_use(&caller, Some(180_000)), Some(("abc".to_owned(), 180_000)));
        assert_eq!(book.note_use(&caller, None), None);
        assert_eq!(book.note_use(&Caller::OWNER, Some(240_000)), None);
    }
}
