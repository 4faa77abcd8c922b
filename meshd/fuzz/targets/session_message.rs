//! What a neighbour may say after the handshake: whatever is read is written back the same (threat W-07).
#![no_main]

use libfuzzer_sys::fuzz_target;
use meshlink_core::wire::Message;

fuzz_target!(|bytes: &[u8]| {
    let Ok(messages) = Message::read_all(bytes) else { return };
    // Messages of later versions are skipped, not kept.
    if messages.iter().any(|message| matches!(message, Message::Unknown)) {
        return;
    }
    let mut written = Vec::new();
    for message in &messages {
        message.write(&mut written);
    }
    assert_eq!(written, bytes);
});
