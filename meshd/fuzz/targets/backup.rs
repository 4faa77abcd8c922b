//! What a backup holds, once it opens (threat K-03): whatever is read comes back the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meshlink_core::Export;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(export) = Export::from_bytes(bytes) {
        let written = export.to_bytes();
        let again = Export::from_bytes(&written).expect("it was read before");
        assert_eq!(again.to_bytes(), written);
        assert_eq!((again.contacts(), again.groups()), (export.contacts(), export.groups()));
    }
});
