//! How much work a message is for the core alone: two nodes in one process, stores in memory, frames handed
//! over directly. Everything a message costs is in it, signature, checks and link encryption, except the disk.
//!
//! ```text
//! cargo run --release -p meshlink-core --example throughput [MESSAGES] [GROUP]
//! ```

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it measures, so it needs a clock")]
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program to look at")]

use std::time::Instant;

use meshlink_core::mem::MemStore;
use meshlink_core::{Draft, Identity, Input, Limits, LinkId, LinkKind, Node, Now, Priority, Store};

const LINK: LinkId = LinkId(1);

fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<usize>().unwrap());
    let messages = arguments.next().unwrap_or(20_000);
    let group = arguments.next().unwrap_or(64);
    let now = Now { mono_ms: 0, unix_ms: Some(1_767_225_600_000) };
    let open = |secret: u8| {
        let identity = Identity::from_bytes(&[secret; 64]);
        Node::open(MemStore::new(), identity, [secret; 32], Limits::default(), now).unwrap()
    };
    let mut nodes = [open(1), open(2)];
    for (node, dialled) in nodes.iter_mut().zip([true, false]) {
        let up = Input::LinkUp { link: LINK, kind: LinkKind::Pipe, address: String::new(), dialled };
        node.handle(up, now).unwrap();
    }
    settle(&mut nodes, now);
    let (mut frames, mut bytes) = (0, 0);
    let start = Instant::now();
    for n in 0..messages {
        let text = format!("message {n} with some words in it, as people write them to each other");
        let channel = "#mesh".to_owned();
        let draft = Draft { channel, text, lifetime_s: None, priority: Priority::Normal, reply_to: None };
        nodes[0].submit(draft, now).unwrap();
        if n % group == group - 1 || n == messages - 1 {
            let (more_frames, more_bytes) = settle(&mut nodes, now);
            frames += more_frames;
            bytes += more_bytes;
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let held = nodes[1].store().bundles_held();
    assert_eq!(held, messages);
    println!(
        "{messages} messages in groups of {group}: {:.0} messages/s, {:.1} us each, {frames} frames, {:.0} bytes each",
        messages as f64 / seconds,
        seconds * 1e6 / messages as f64,
        bytes as f64 / messages as f64,
    );
    assert!(nodes[1].store().is_joined("#mesh").unwrap());
}

/// Carries frames until neither has anything to say; how many, and their bytes.
fn settle(nodes: &mut [Node<MemStore>; 2], now: Now) -> (u64, u64) {
    let (mut frames, mut bytes) = (0, 0);
    loop {
        let mut is_quiet = true;
        for from in 0..2 {
            let mut out = Vec::new();
            let mut outbox = nodes[from].commit(now).unwrap();
            while let Some(frame) = outbox.next_frame(LINK, now).unwrap() {
                out.push(frame);
            }
            for frame in out {
                is_quiet = false;
                frames += 1;
                bytes += frame.len() as u64;
                nodes[1 - from].handle(Input::Frame { link: LINK, bytes: &frame }, now).unwrap();
            }
        }
        if is_quiet {
            return (frames, bytes);
        }
    }
}
