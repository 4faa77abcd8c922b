//! The tables and how they came to be: numbered SQL files that only ever grow in number.
//!
//! `user_version` in the file's header says how many of them have been applied, `application_id` says that the
//! file is ours at all. An upgrade is one transaction with its new version in it, so an interrupted one leaves
//! the old version whole (threat P-06). A released file is never changed, only added to; a test holds the hash
//! of each.

use std::sync::LazyLock;

use rusqlite_migration::{M, Migrations};

/// `mesh` in ASCII, at offset 68 of the file: whose file it is.
pub(super) const APPLICATION_ID: u32 = 0x6d65_7368;

/// The migrations, oldest first. The number of a file is its place here, from 1.
const FILES: [&str; 2] =
    [include_str!("../../migrations/0001_store.sql"), include_str!("../../migrations/0002_private.sql")];

/// The version this program reads and writes.
pub(super) const VERSION: u32 = FILES.len() as u32;

pub(super) static MIGRATIONS: LazyLock<Migrations<'static>> =
    LazyLock::new(|| Migrations::new(FILES.iter().map(|sql| M::up(sql)).collect()));

#[cfg(test)]
mod tests {
    use super::*;

    /// BLAKE3 of each released file. Add a line for a new file; never change one.
    const RELEASED: [&str; 2] = [
        "3ad626f937c1210d8d736f692ad480651263b0d3155d1d36789287d6262fa473",
        "7fc141834811f850ffe8ae16a14eefd5f6df1eb19820cd76058202ef096d9484",
    ];

    #[test]
    fn p06_released_migrations_never_change() {
        for (n, (sql, hash)) in FILES.iter().zip(RELEASED).enumerate() {
            let now = blake3::hash(sql.as_bytes()).to_hex();
            assert_eq!(
                now.as_str(),
                hash,
                "migration {} was released and may not change: add a new file",
                n + 1
            );
        }
        assert_eq!(FILES.len(), RELEASED.len(), "each migration needs its hash here");
    }

    #[test]
    fn each_migration_file_is_in_the_list() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
        let mut names: Vec<String> = std::fs::read_dir(dir)
            .expect("the migrations are there")
            .map(|entry| entry.expect("readable").file_name().into_string().expect("plain names"))
            .collect();
        names.sort();
        assert_eq!(names.len(), FILES.len());
        for (n, name) in names.iter().enumerate() {
            assert!(name.starts_with(&format!("{:04}_", n + 1)), "{name} has the wrong number");
        }
    }

    #[test]
    fn the_migrations_run_in_order() {
        MIGRATIONS.validate().expect("each migration applies to the one before");
    }
}
