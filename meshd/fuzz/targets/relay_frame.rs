//! Binary frames between a node and a relay: whatever decodes is what it encodes to.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meshlink_api::relay::MeshFrame;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(frame) = MeshFrame::decode(bytes) {
        assert_eq!(frame.encode(), bytes);
    }
});
