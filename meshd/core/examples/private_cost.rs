//! What private messages cost: two nodes in memory, joined by a pipe.
//!
//!     cargo run --release -p meshlink-core --example private_cost
//!
//! "Sealing" is everything `submit_private` does, "opening" everything the recipient does with a bundle from the frame
//! on; both with a store in memory, so that the disk is not measured.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types)]
#![allow(missing_docs, reason = "an example")]

use std::time::{Duration, Instant};

use meshlink_core::mem::MemStore;
use meshlink_core::node::{ContactDraft, PrivateDraft};
use meshlink_core::store::OfferKey;
use meshlink_core::{Identity, Input, Limits, LinkId, LinkKind, Node, Now, Output, Priority, Seq, Store};

const NOW: Now = Now { mono_ms: 1, unix_ms: Some(1_767_225_600_000) };
const MESSAGES: usize = 2_000;
const LINK: LinkId = LinkId(1);

fn node(secret: u8) -> Node<MemStore> {
    let identity = Identity::from_bytes(&[secret; 64]);
    let mut node = Node::open(MemStore::new(), identity, [secret; 32], Limits::default(), NOW).unwrap();
    node.set_reachable();
    node.handle(Input::Timeout, NOW).unwrap();
    node
}

/// Takes every frame a node has, and gives it to the other; how long that other took.
fn carry(from: &mut Node<MemStore>, to: &mut Node<MemStore>) -> (usize, Duration) {
    let mut frames = Vec::new();
    let mut outbox = from.commit(NOW).unwrap();
    while let Some(output) = outbox.next_output() {
        if let Output::Close { why, .. } = output {
            panic!("{why}");
        }
    }
    while let Some(frame) = outbox.next_frame(LINK, NOW).unwrap() {
        frames.push(frame);
    }
    let started = Instant::now();
    for frame in &frames {
        to.handle(Input::Frame { link: LINK, bytes: frame }, NOW).unwrap();
    }
    to.commit(NOW).unwrap();
    (frames.len(), started.elapsed())
}

fn settle(one: &mut Node<MemStore>, other: &mut Node<MemStore>) -> [Duration; 2] {
    let mut took = [Duration::ZERO; 2];
    loop {
        let (there, by_other) = carry(one, other);
        let (back, by_one) = carry(other, one);
        took[0] += by_one;
        took[1] += by_other;
        if there + back == 0 {
            return took;
        }
    }
}

fn main() {
    let (mut ana, mut bob) = (node(1), node(2));
    let code = ana.make_code(false, NOW).unwrap();
    let bobs = ContactDraft { code: Some(code), ..ContactDraft::default() };
    let (ana_id, _) = bob.add_contact(bobs, NOW).unwrap();
    for (node, dialled) in [(&mut ana, true), (&mut bob, false)] {
        let address = "pipe".to_owned();
        node.handle(Input::LinkUp { link: LINK, kind: LinkKind::Pipe, address, dialled }, NOW).unwrap();
    }
    settle(&mut ana, &mut bob);

    let text = "x".repeat(200);
    let started = Instant::now();
    for _ in 0..MESSAGES {
        let draft = PrivateDraft {
            to: ana_id,
            text: text.clone(),
            lifetime_s: None,
            priority: Priority::Normal,
            reply_to: None,
        };
        bob.submit_private(draft, NOW).unwrap();
    }
    let sealing = started.elapsed();
    let [opening, _] = settle(&mut ana, &mut bob);
    let received = ana.store().messages_after(Seq(0), MESSAGES * 2).unwrap().len();
    assert_eq!(received, MESSAGES, "all opened");

    let offers = bob.store().offers(OfferKey::START, MESSAGES * 2).unwrap();
    let mut bundles = offers.iter().filter_map(|offer| bob.store().bundle(&offer.id).unwrap());
    let bundle = bundles.rfind(|bundle| bundle.kind == 4).unwrap();
    let each = |took: Duration| took.as_secs_f64() * 1e6 / MESSAGES as f64;
    println!("{MESSAGES} messages of {} bytes", text.len());
    println!("seal_us {:.0}", each(sealing));
    println!("open_us {:.0}", each(opening));
    println!("header_bytes {}", bundle.header.len());
    println!("payload_bytes {}", bundle.payload.len());
}
