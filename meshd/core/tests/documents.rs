//! The specification and the program say the same.

use std::collections::BTreeSet;

use meshlink_core::private::channel_key;
use meshlink_core::{channel, limits};

const PROTOCOL: &str = include_str!("../../../docs/protocol.md");
const CDDL: &str = include_str!("../../../docs/bundle.cddl");

/// Every limit that `docs/protocol.md` names.
fn limits() -> Vec<(&'static str, u64)> {
    macro_rules! values {
        ($($module:ident::$name:ident),* $(,)?) => { vec![$((stringify!($name), $module::$name as u64)),*] };
    }
    values![
        limits::TEXT_BYTES_MAX,
        limits::PAYLOAD_BYTES_MAX,
        limits::SEALED_BYTES_MIN,
        limits::HEADER_BYTES_MAX,
        limits::AUTH_BYTES_MAX,
        channel::CHANNEL_BYTES_MAX,
        limits::FRAME_BYTES_MAX,
        limits::FRAME_BYTES_MIN,
        limits::REKEY_FRAMES,
        limits::LIFETIME_S_DEFAULT,
        limits::LIFETIME_S_MAX,
        limits::LIFETIME_S_STRANGER_MAX,
        limits::DROPPED_MS,
        limits::CREATED_UNIX_MS_MIN,
        limits::CREATED_UNIX_MS_MAX,
        limits::SKEW_MS_MAX,
        limits::HOPS_MAX,
        limits::COPIES_MAX,
        limits::COPIES_PUBLIC_MAX,
        limits::PREFIXES_MAX,
        limits::PAGE_IDS_FIRST,
        limits::PAGE_IDS_MAX,
        limits::SYMBOLS_MAX,
        limits::FINGERPRINT_SYMBOLS,
        limits::MORE_MAX,
        limits::OWED_MAX,
        limits::QUEUE_LOW,
        limits::IN_FLIGHT_MAX,
        limits::IN_FLIGHT_BYTES_MAX,
        limits::PUSH_BYTES_MAX,
        limits::OFFENCES_MAX,
        limits::HANDSHAKE_MS_MAX,
        limits::STALL_MS_MAX,
        limits::WALK_MS_MIN,
        limits::GROUP_MEMBERS_MAX,
        limits::GROUP_ENTRIES_MAX,
        limits::GROUP_ENTRY_BYTES_MAX,
        limits::GROUP_PARENTS_MAX,
        limits::GROUP_NOTE_BYTES_MAX,
        limits::GROUP_RECEIPTS_MAX,
        limits::GROUP_SESSION_MESSAGES_MAX,
        limits::GROUP_SESSION_MS_MAX,
        limits::GROUP_SESSIONS_OF_MEMBER_MAX,
        limits::GROUP_SESSION_KEPT_MS,
        limits::GROUP_LIFETIME_S_MAX,
        limits::GROUP_REPAIR_MS,
        limits::INGRESS_PERCENT,
        limits::ORIGIN_PERCENT,
        channel_key::ARGON2_MEMORY_KIB,
        channel_key::ARGON2_PASSES,
        channel_key::ARGON2_LANES,
    ]
}

#[test]
fn the_limits_in_the_protocol_are_the_programs() {
    let rows: Vec<(&str, u64)> = PROTOCOL
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split('|');
            let name = cells.next()?.trim().strip_suffix('`')?;
            Some((name, cells.next()?.trim().parse().ok()?))
        })
        .collect();
    assert_eq!(rows, limits());
}

#[test]
fn the_cddl_has_the_programs_numbers() {
    for part in [
        format!("? 2 => 0..{},", limits::CREATED_UNIX_MS_MAX),
        format!("at most {} bytes", limits::HEADER_BYTES_MAX),
        format!("1 => tstr .size (1..{}),", limits::TEXT_BYTES_MAX),
        format!("channel = tstr .size (2..{})", channel::CHANNEL_BYTES_MAX),
        format!("0 => 0..{},", meshlink_core::profile::REVISION_MAX),
        format!("? 1 => tstr .size (1..{}),", meshlink_core::profile::NAME_BYTES_MAX),
        format!("? 2 => tstr .size (1..{}),", meshlink_core::profile::ABOUT_BYTES_MAX),
        format!("? 3 => tstr .size (1..{}),", meshlink_core::profile::AVATAR_BYTES_MAX),
        format!("2 => tstr .size (1..{}),", meshlink_core::bridged::SENDER_BYTES_MAX),
        format!("3 => {}..", limits::FRAME_BYTES_MIN),
        format!("prefixes = bstr .size (12..{})", 12 * limits::PREFIXES_MAX),
        format!("short-ids = bstr .size (8..{})", 8 * limits::PREFIXES_MAX),
        format!("total: 0..{}, count: 0..{}", limits::SYMBOLS_MAX, limits::SYMBOLS_MAX),
        format!("prefixes: bstr .size (0..{})", 12 * limits::PAGE_IDS_MAX),
        format!("wanted: bstr .size (0..{})", limits::PAGE_IDS_MAX / 8),
        format!("extension-key = {}..", meshlink_core::canonical::EXTENSION_KEYS_FROM),
        format!("optional = [ {}..", meshlink_core::wire::OPTIONAL_TAGS_FROM),
    ] {
        assert!(CDDL.contains(&part), "docs/bundle.cddl lacks `{part}`");
    }
}

#[test]
fn every_domain_string_is_in_the_protocol() {
    let sources = [
        include_str!("../src/identity.rs"),
        include_str!("../src/bundle.rs"),
        include_str!("../src/handshake.rs"),
        include_str!("../src/entropy.rs"),
        include_str!("../src/receipt.rs"),
        include_str!("../src/prekeys.rs"),
        include_str!("../src/private/seal.rs"),
        include_str!("../src/private/envelope.rs"),
        include_str!("../src/private/channel_key.rs"),
        include_str!("../src/private/code.rs"),
        include_str!("../src/private/safety.rs"),
        include_str!("../src/group/entry.rs"),
        include_str!("../src/group/note.rs"),
        include_str!("../src/group/cover.rs"),
    ];
    let mut found = BTreeSet::new();
    for source in sources {
        for (start, _) in source.match_indices("\"MeshLink v1 ") {
            let text = source[start + 1..].split('"').next().unwrap_or_default();
            assert!(PROTOCOL.contains(&format!("| `{text}` |")), "docs/protocol.md lacks {text:?}");
            found.insert(text);
        }
    }
    assert_eq!(found.len(), 29);
}
