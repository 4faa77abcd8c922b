//! A stranger that dials a node and sends anything at all, as frames of the first byte's length each.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meshlink_core::mem::MemStore;
use meshlink_core::{Identity, Input, Limits, LinkId, LinkKind, Node, Now};

fuzz_target!(|bytes: &[u8]| {
    let Some((&head, bytes)) = bytes.split_first() else { return };
    let now = Now { mono_ms: 0, unix_ms: None };
    let identity = Identity::from_bytes(&[7; 64]);
    let mut node = Node::open(MemStore::new(), identity, [1; 32], Limits::default(), now).expect("an empty store");
    let link = LinkId(1);
    let up = Input::LinkUp { link, kind: LinkKind::Lan, address: "stranger".to_owned(), dialled: head & 1 == 1 };
    node.handle(up, now).expect("a store in memory");
    for frame in bytes.chunks(usize::from(head).max(1)) {
        node.handle(Input::Frame { link, bytes: frame }, now).expect("a stranger's nonsense is no error");
        let mut outbox = node.commit(now).expect("a store in memory");
        while outbox.next_output().is_some() {}
        while outbox.next_frame(link, now).expect("a store in memory").is_some() {}
    }
});
