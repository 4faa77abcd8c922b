//! Entries of groups: whatever decodes is what it encodes to (threat W-07), and founds a roster that settles.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meshlink_core::group::entry::SignedEntry;
use meshlink_core::group::roster::Roster;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(entry) = SignedEntry::decode(bytes) {
        assert_eq!(entry.bytes, bytes);
        if let Some(mut roster) = Roster::new(entry.clone()) {
            let _ = roster.absorb(entry);
            roster.settle();
            assert!(!roster.heads().is_empty());
        }
    }
});
