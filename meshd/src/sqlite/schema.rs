//! The tables and how they came to be: numbered SQL files that only ever grow in number.
//!
//! `user_version` in the file's header says how many of them have been applied, `application_id` says that the
//! file is ours at all. Each step of an upgrade is one transaction with its new version in it, so an interrupted
//! one leaves an old version whole (threat P-06). A released file is never changed, only added to; a test holds
//! the hash of each.
//!
//! What SQL can't do, sealing, is a second half of its file's step, in the same transaction ([`super::sealing`]).

use rusqlite::Transaction;
use rusqlite_migration::{M, Migrations};

use super::sealing;
use crate::vault::RecordKeys;

/// `mesh` in ASCII, at offset 68 of the file: whose file it is.
pub(super) const APPLICATION_ID: u32 = 0x6d65_7368;

/// The migrations, oldest first. The number of a file is its place here, from 1.
const FILES: [&str; 11] = [
    include_str!("../../migrations/0001_store.sql"),
    include_str!("../../migrations/0002_private.sql"),
    include_str!("../../migrations/0003_sealed_records.sql"),
    include_str!("../../migrations/0004_sealed_messages.sql"),
    include_str!("../../migrations/0005_sealed_messages_only.sql"),
    include_str!("../../migrations/0006_copies.sql"),
    include_str!("../../migrations/0007_receipts.sql"),
    include_str!("../../migrations/0008_room.sql"),
    include_str!("../../migrations/0009_header.sql"),
    include_str!("../../migrations/0010_confirmations.sql"),
    include_str!("../../migrations/0011_public.sql"),
];

/// The version this program reads and writes.
pub(super) const VERSION: u32 = FILES.len() as u32;

/// The steps of an upgrade, with the keys to seal what an older version kept in the clear.
pub(super) fn migrations(keys: Option<&RecordKeys>) -> Migrations<'static> {
    let step = |(n, sql): (usize, &&'static str)| match sealing::step(n + 1) {
        None => M::up(sql),
        Some(seal) => {
            let keys = keys.cloned();
            M::up_with_hook(sql, move |transaction: &Transaction<'_>| seal(transaction, keys.as_ref()))
        }
    };
    Migrations::new(FILES.iter().enumerate().map(step).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// BLAKE3 of each released file. Add a line for a new file; never change one.
    const RELEASED: [&str; 11] = [
        "3ad626f937c1210d8d736f692ad480651263b0d3155d1d36789287d6262fa473",
        "7fc141834811f850ffe8ae16a14eefd5f6df1eb19820cd76058202ef096d9484",
        "cc3e6516e4a31d88dbe88eab8eeec80cb8149b37d6dc3dfc40aecc4a3107d3af",
        "7c9c9a881125a8b18a02bd8cb1f516dc09311a9182456a41478eebc5562d09e1",
        "c66dd89cc7f8fe8b2bf836bde8d8304b2b6162f426c7bc993610d03a91999449",
        "6d25082216dbd6c4d1e3b4057072cea75ec71356c415b61db9ae7ae76fd4625c",
        "ea90c7e864179e77a1ae298aaf10a2be145cc489dc5dd3bd0dcdee339253dcab",
        "dd48176c8de5be16dbcb68084ad2e5a79cbfa624cf253ce138d4f00f93dd962d",
        "3a0671d4a374a7cccbbda5174d48205c4f701ca0ae055012a2bbd307bb920162",
        "1c23cca685d9a025c2cd099867b46a0886ed020fa9accc581701e915e0376e1d",
        "17550924c4483ec5dd2d8545ae98cb7042d566616bc5783660f10c74ccfbc3a2",
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
        migrations(None).validate().expect("each migration applies to the one before");
    }
}
