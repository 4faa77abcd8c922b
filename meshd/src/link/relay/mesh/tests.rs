//! Many nodes at a relay made of a `Vec`: every frame of one is handed to the other as a relay does.

use super::*;
use crate::driver::Commands;

fn dice() -> u32 {
    use std::cell::Cell;
    thread_local!(static STATE: Cell<u32> = const { Cell::new(7) });
    STATE.with(|state| {
        // Xorshift (Marsaglia 2003): repeatable, and good enough to choose.
        let mut x = state.get();
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        state.set(x);
        x
    })
}

/// A node's side, with a fake node behind its port.
struct Side {
    mesh: Mesh,
    node: Commands,
    out: Frames,
}

fn side(device_id: &str) -> Side {
    let (port, node) = Commands::pair();
    Side { mesh: Mesh::new(port, "ws://x".to_owned(), device_id.to_owned(), dice), node, out: Vec::new() }
}

impl Side {
    fn take(&mut self, frame: MeshFrame<'_>, now: Instant) {
        self.mesh.take(frame, now, &mut self.out);
    }

    fn tend(&mut self, now: Instant) {
        self.mesh.tend(now, &mut self.out);
        self.mesh.collect(usize::MAX, now, &mut self.out);
    }

    fn said(&mut self) -> Vec<String> {
        let said = std::mem::take(&mut self.out);
        said.iter().map(|bytes| format!("{:?}", MeshFrame::decode(bytes).unwrap())).collect()
    }
}

/// Hands everything `from` said to `to`, who knows it as `handle`.
fn relay(from: &mut Side, to: &mut Side, handle: u32, now: Instant) {
    for bytes in std::mem::take(&mut from.out) {
        let frame = match MeshFrame::decode(&bytes).unwrap() {
            MeshFrame::Data { payload, .. } => MeshFrame::Data { handle, payload },
            MeshFrame::Credit { bytes, .. } => MeshFrame::Credit { handle, bytes },
            MeshFrame::Reset { why, .. } => MeshFrame::Reset { handle, why },
            other @ (MeshFrame::Present { .. } | MeshFrame::Gone { .. }) => {
                panic!("a node does not say {other:?}")
            }
        };
        to.take(frame, now);
    }
}

fn present(handle: u32, device_id: &str) -> MeshFrame<'_> {
    MeshFrame::Present { handle, device_id }
}

#[tokio::test]
async fn of_two_nodes_one_dials_and_frames_flow_both_ways() {
    let now = Instant::now();
    let (mut a, mut b) = (side("a"), side("b"));
    a.take(present(2, "b"), now);
    b.take(present(1, "a"), now);
    a.tend(now);
    b.tend(now);
    let up = a.node.opened().expect("the smaller device id dials");
    assert!(up.dialled);
    assert!(b.node.opened().is_none());
    up.push(b"first");
    up.push(b"second");
    a.tend(now);
    assert_eq!(a.out.len(), 2);
    relay(&mut a, &mut b, 1, now);
    let at_b = b.node.opened().expect("the first frame opens");
    assert!(!at_b.dialled);
    assert_eq!(at_b.taken(), [b"first".to_vec(), b"second".to_vec()]);
    at_b.push(b"answer");
    b.tend(now);
    relay(&mut b, &mut a, 2, now);
    assert_eq!(up.taken(), [b"answer".to_vec()]);
}

#[tokio::test]
async fn if_both_dial_the_link_of_the_smaller_one_stays() {
    let now = Instant::now();
    let (mut a, mut b) = (side("a"), side("b"));
    a.take(present(2, "b"), now);
    b.take(present(1, "a"), now);
    // So late that the other's patience is over, too.
    let later = now + PATIENCE * 3;
    a.tend(later);
    b.tend(later);
    let (from_a, from_b) = (a.node.opened().unwrap(), b.node.opened().unwrap());
    from_a.push(b"a dials");
    from_b.push(b"b dials");
    a.tend(later);
    b.tend(later);
    let (mut to_b, mut to_a) = (std::mem::take(&mut a.out), std::mem::take(&mut b.out));
    (a.out, b.out) = (std::mem::take(&mut to_a), std::mem::take(&mut to_b));
    // Both hear the other's opening at the same time.
    let heard_by_a = std::mem::take(&mut a.out);
    let heard_by_b = std::mem::take(&mut b.out);
    for (side, handle, frames) in [(&mut a, 2, heard_by_a), (&mut b, 1, heard_by_b)] {
        for bytes in frames {
            let MeshFrame::Data { payload, .. } = MeshFrame::decode(&bytes).unwrap() else {
                panic!("an opening")
            };
            side.take(MeshFrame::Data { handle, payload }, later);
        }
    }
    assert!(a.node.opened().is_none(), "a keeps its own");
    let accepted = b.node.opened().expect("b takes a's");
    assert!(!accepted.dialled);
    assert_eq!(accepted.taken(), [b"a dials".to_vec()]);
    assert!(from_a.taken().is_empty());
}

#[tokio::test]
async fn bytes_for_a_link_that_is_over_do_not_open_one() {
    let now = Instant::now();
    let mut a = side("a");
    a.take(present(2, "b"), now);
    for _ in 0..3 {
        a.take(MeshFrame::Data { handle: 2, payload: &[CONTINUES, 1, 2, 3] }, now);
    }
    assert!(a.node.opened().is_none());
    assert_eq!(a.said(), [r#"Reset { handle: 2, why: "no such link" }"#], "said once, not for each");
}

#[tokio::test]
async fn y14_nonsense_in_a_frame_costs_the_link() {
    let now = Instant::now();
    for nonsense in [&[][..], &[9, 1, 2]] {
        let mut a = side("a");
        a.take(present(2, "b"), now);
        a.tend(now);
        a.take(MeshFrame::Data { handle: 2, payload: nonsense }, now);
        assert_eq!(a.said(), [r#"Reset { handle: 2, why: "not a frame of a link" }"#]);
        assert!(a.node.opened().unwrap().is_dropped());
    }
}

#[tokio::test]
async fn a_sender_stops_at_the_window_and_goes_on_with_credit() {
    let now = Instant::now();
    let mut a = side("a");
    a.take(present(2, "b"), now);
    a.tend(now);
    let link = a.node.opened().unwrap();
    let frame = vec![7; 20 * 1024];
    let fit = WINDOW_BYTES as usize / frame.len();
    for _ in 0..fit + 2 {
        link.push(&frame);
    }
    a.tend(now);
    assert_eq!(a.out.len(), fit);
    a.out.clear();
    a.take(MeshFrame::Credit { handle: 2, bytes: u32::try_from(frame.len()).unwrap() }, now);
    a.tend(now);
    assert_eq!(a.out.len(), 1);
    a.out.clear();
    // Credit beyond the window buys nothing.
    a.take(MeshFrame::Credit { handle: 2, bytes: u32::MAX }, now);
    a.tend(now);
    assert_eq!(a.out.len(), 1);
}

#[tokio::test]
async fn y14_whoever_ignores_the_window_loses_the_link() {
    let now = Instant::now();
    let mut a = side("b");
    a.take(present(1, "a"), now);
    a.take(MeshFrame::Data { handle: 1, payload: &[OPENS] }, now);
    let link = a.node.opened().unwrap();
    let mut payload = vec![CONTINUES];
    payload.resize(16 * 1024, 0);
    for _ in 0..BUDGET.bytes / payload.len() + 2 {
        a.take(MeshFrame::Data { handle: 1, payload: &payload }, now);
    }
    assert!(link.is_dropped());
    assert!(a.said().contains(&r#"Reset { handle: 1, why: "window exceeded" }"#.to_owned()));
}

#[tokio::test]
async fn credit_is_given_for_what_the_node_took() {
    let now = Instant::now();
    let mut b = side("b");
    b.take(present(1, "a"), now);
    b.take(MeshFrame::Data { handle: 1, payload: &[OPENS, 1, 2, 3] }, now);
    b.mesh.give_credit(&mut b.out);
    assert!(b.out.is_empty(), "nothing was taken yet");
    b.node.opened().unwrap().taken();
    b.mesh.give_credit(&mut b.out);
    assert_eq!(b.said(), ["Credit { handle: 1, bytes: 3 }"]);
}

#[tokio::test]
async fn a_link_the_node_gives_up_is_reset_and_pauses() {
    let now = Instant::now();
    let mut a = side("a");
    a.take(present(2, "b"), now);
    let mut pauses = Vec::new();
    let mut at = now;
    for _ in 0..4 {
        a.tend(at);
        let link = a.node.opened().expect("dialled again");
        link.close();
        a.tend(at);
        assert_eq!(a.said(), [r#"Reset { handle: 2, why: "closed" }"#]);
        let due = a.mesh.due().expect("it will be dialled again");
        pauses.push((due - at).as_secs());
        at = due;
    }
    assert!(pauses.is_sorted() && pauses[0] >= 1 && pauses[3] >= 8, "{pauses:?}");
}

#[tokio::test]
async fn a_node_that_leaves_takes_its_link_along() {
    let now = Instant::now();
    let mut a = side("a");
    a.take(present(2, "b"), now);
    a.tend(now);
    a.take(MeshFrame::Gone { handle: 2 }, now);
    assert!(a.node.opened().unwrap().is_dropped());
    assert_eq!((a.mesh.present(), a.mesh.due()), (0, None));
}

#[tokio::test]
async fn with_many_present_sixteen_are_dialled_and_they_change() {
    let now = Instant::now();
    let mut a = side("a");
    for handle in 0..40 {
        a.take(present(handle, &format!("b{handle}")), now);
    }
    a.tend(now);
    let first: Vec<_> = std::iter::from_fn(|| a.node.opened()).collect();
    assert_eq!(first.len(), LINKS_MAX);
    a.said();
    let due = a.mesh.due().expect("rotation");
    a.tend(due);
    let said = a.said();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("another's turn"), "{said:?}");
    assert_eq!(first.iter().filter(|link| link.is_dropped()).count(), 1);
    assert_eq!(std::iter::from_fn(|| a.node.opened()).count(), 1);
}

#[tokio::test]
async fn y14_presence_and_accepted_links_are_bounded() {
    let now = Instant::now();
    let mut z = side("z");
    for handle in 0..5000 {
        z.take(present(handle, "a"), now);
    }
    assert_eq!(z.mesh.present(), PRESENT_MAX);
    for handle in 0..100 {
        z.take(MeshFrame::Data { handle, payload: &[OPENS] }, now);
    }
    assert_eq!(std::iter::from_fn(|| z.node.opened()).count(), LINKS_ACCEPTED_MAX);
    assert!(z.said().iter().all(|said| said.contains("enough links")));
}
