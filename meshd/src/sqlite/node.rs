//! Node ids by number, and what is held of each.
//!
//! A node id is 20 bytes and appears in many rows, so rows hold its number. A number lives as long as a row
//! uses it: ids are free to invent (threat L-02), and nothing may grow with what was once seen.

use meshlink_core::id::NodeId;
use meshlink_core::store::{StoreError, Usage};

use super::column::{get, int};
use super::connection::Connection;

/// What one row adds to the counts of a node it names.
#[derive(Debug, Clone, Copy)]
pub(super) enum Role {
    /// It made a bundle of that cost.
    Origin { cost_bytes: u64 },
    /// It brought a bundle; the cost counts for strangers' bundles only.
    Ingress { cost_bytes: Option<u64> },
    /// It took part in a step on a message's way.
    Peer,
}

impl Role {
    /// Made bundles and bytes, brought bundles and bytes.
    fn counts(self) -> [i64; 4] {
        match self {
            Self::Origin { cost_bytes } => [1, int(cost_bytes), 0, 0],
            Self::Ingress { cost_bytes: Some(cost_bytes) } => [0, 0, 1, int(cost_bytes)],
            Self::Ingress { cost_bytes: None } | Self::Peer => [0, 0, 0, 0],
        }
    }
}

/// Counts a row that names a node; returns the node's number.
pub(super) fn add(db: &mut Connection, id: &NodeId, role: Role) -> Result<i64, StoreError> {
    let [a, b, c, d] = role.counts();
    let n = db.write_returning(
        "INSERT INTO node (id, uses, made_bundles, made_bytes, brought_bundles, brought_bytes)
         VALUES (?1, 1, ?2, ?3, ?4, ?5)
         ON CONFLICT (id) DO UPDATE SET uses = uses + 1, made_bundles = made_bundles + ?2,
            made_bytes = made_bytes + ?3, brought_bundles = brought_bundles + ?4,
            brought_bytes = brought_bytes + ?5
         RETURNING n",
        (id.0.as_slice(), a, b, c, d),
        |row| row.get(0),
    )?;
    Ok(n.expect("an insert that updates on conflict returns its row"))
}

/// The same, if there is a node to name.
pub(super) fn add_some(
    db: &mut Connection,
    id: Option<&NodeId>,
    role: Role,
) -> Result<Option<i64>, StoreError> {
    id.map(|id| add(db, id, role)).transpose()
}

/// Undoes [`add`] for a row that goes.
pub(super) fn remove(db: &mut Connection, n: Option<i64>, role: Role) -> Result<(), StoreError> {
    let Some(n) = n else { return Ok(()) };
    let [a, b, c, d] = role.counts();
    let uses = db.write_returning(
        "UPDATE node SET uses = uses - 1, made_bundles = made_bundles - ?2, made_bytes = made_bytes - ?3,
            brought_bundles = brought_bundles - ?4, brought_bytes = brought_bytes - ?5
         WHERE n = ?1 RETURNING uses",
        (n, a, b, c, d),
        |row| row.get::<_, i64>(0),
    )?;
    if uses.is_some_and(|uses| uses <= 0) {
        db.write("DELETE FROM node WHERE n = ?1", [n])?;
    }
    Ok(())
}

/// The number of a node that is in use.
pub(super) fn number(db: &Connection, id: &NodeId) -> Result<Option<i64>, StoreError> {
    db.one("SELECT n FROM node WHERE id = ?1", [id.0.as_slice()], |row| row.get(0))
}

/// What is held of one origin's bundles.
pub(super) fn made(db: &Connection, id: &NodeId) -> Result<Usage, StoreError> {
    usage(db, "SELECT made_bundles, made_bytes FROM node WHERE id = ?1", id)
}

/// What is held of the strangers' bundles that one neighbour brought.
pub(super) fn brought(db: &Connection, id: &NodeId) -> Result<Usage, StoreError> {
    usage(db, "SELECT brought_bundles, brought_bytes FROM node WHERE id = ?1", id)
}

const FULLEST: &str = "SELECT id, brought_bundles, brought_bytes FROM node WHERE brought_bytes > 0
    ORDER BY brought_bytes DESC, id LIMIT 1";

/// The node of which most bytes of strangers' bundles are held that it brought.
pub(super) fn fullest(db: &Connection) -> Result<Option<(NodeId, Usage)>, StoreError> {
    db.one(FULLEST, [], |row| Ok((get(row, 0)?, Usage { bundles: get(row, 1)?, bytes: get(row, 2)? })))
}

fn usage(db: &Connection, query: &str, id: &NodeId) -> Result<Usage, StoreError> {
    let usage =
        db.one(query, [id.0.as_slice()], |row| Ok(Usage { bundles: get(row, 0)?, bytes: get(row, 1)? }))?;
    Ok(usage.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::schema::migrations;

    #[test]
    fn l02_who_has_brought_most_is_found_without_looking_at_everybody() {
        let mut sql = rusqlite::Connection::open_in_memory().expect("memory");
        migrations(None).to_latest(&mut sql).expect("all migrations apply");
        let mut query = sql.prepare(&format!("EXPLAIN QUERY PLAN {FULLEST}")).expect("a query");
        let plan = query.query_map([], |row| row.get::<_, String>(3)).expect("a plan");
        let steps: Vec<String> = plan.map(|step| step.expect("a step")).collect();
        assert!(steps.len() == 1 && steps[0].contains("node_by_brought"), "it sorts or scans: {steps:?}");
    }
}
