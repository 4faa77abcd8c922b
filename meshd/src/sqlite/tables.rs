//! Every table of the store, and what somebody who has the disk and no key reads in it.
//!
//! A test compares the list with the schema: a table that is new has to be named here, with what it shows. A wipe
//! needs no list of tables: it destroys the key first, then the whole file.

/// What a table shows without the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shows {
    /// What is said there.
    All(&'static str),
    /// Some columns are sealed; the others say that.
    Besides(&'static str),
}

/// The tables. In the order in which they are checked when a store is opened: what nobody else has comes first.
pub const TABLES: &[(&str, Shows)] = &[
    ("meta", Shows::All("how much of what is kept, and the store's random name")),
    ("slot", Shows::All("the node's published profile, which links were up")),
    ("record", Shows::Besides("which shelf it lies on; on those that do not hide their keys, ids and times")),
    ("token", Shows::All("names, scopes and hashes of API tokens")),
    ("cursor", Shows::All("how far each named reader has read")),
    ("mark", Shows::All("numbers of the daemon's own")),
    ("idempotent", Shows::All("the keys programs gave to what they sent")),
    ("conversation", Shows::Besides("how many messages each has, and how many are unread")),
    ("author", Shows::Besides("how many messages each wrote")),
    ("peer", Shows::All("which nodes were heard of, and when")),
    (
        "message",
        Shows::Besides("which bundle it came in, when, how long it is, whether it is own, read or sent"),
    ),
    ("hand_over", Shows::All("which node brought or took which message, and when")),
    ("profile", Shows::All("what other nodes publish about themselves")),
    ("node", Shows::All("ids of nodes that made or brought a bundle, or took one")),
    ("event", Shows::All("when which link was up and which message came")),
    ("probe", Shows::All("nothing")),
    ("bundle", Shows::All("what is carried: sizes, times, authors of signed kinds")),
    ("dropped", Shows::All("ids of what was carried once")),
    ("body", Shows::All("what is carried, as it travels: public posts in the clear, sealed mail sealed")),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::sqlite::SqliteStore;

    #[test]
    fn k05_every_table_of_the_schema_is_in_the_list() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&dir.path().join("db"), None).unwrap();
        let query = "SELECT name FROM sqlite_schema WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%'";
        let found: BTreeSet<String> =
            store.db.all(query, [], |row| row.get(0)).unwrap().into_iter().collect();
        let listed: BTreeSet<String> = TABLES.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(found, listed, "a new table has to say what it shows to a thief");
        assert_eq!(listed.len(), TABLES.len());
    }
}
