use super::*;
use crate::limits::{LINK_BYTES_UNDER_WAY_MAX, LINKS_PER_NODE_MAX, QUEUE_LINK_BYTES_MAX};
use meshlink_api::relay::MeshFrame;
use proptest::prelude::*;

/// A hub and what its clients have received.
struct Bench {
    hub: Hub,
    now_ms: u64,
    received: HashMap<ClientId, Vec<u8>>,
    /// Bytes a client still takes; as many as there are if it is not in here.
    room: HashMap<ClientId, usize>,
    cut: Vec<(ClientId, Cut)>,
}

#[derive(Debug, PartialEq, Eq, Clone)]
enum Frame {
    Text(String),
    Binary(Vec<u8>),
}

impl Bench {
    fn new(max_rate: u32) -> Self {
        Self {
            hub: Hub::new(max_rate),
            now_ms: 0,
            received: HashMap::new(),
            room: HashMap::new(),
            cut: Vec::new(),
        }
    }

    fn join(&mut self, id: usize, dialect: Dialect, topic: &str) -> ClientId {
        let device_id = format!("device-{id}");
        let newcomer = Newcomer { dialect, topic: topic.to_owned(), device_id, greeting: Vec::new() };
        self.hub.join(ClientId(id), newcomer, self.now_ms).unwrap();
        self.received.insert(ClientId(id), Vec::new());
        ClientId(id)
    }

    fn json(&mut self, id: usize) -> ClientId {
        self.join(id, Dialect::Json, "t")
    }

    fn node(&mut self, id: usize) -> ClientId {
        self.join(id, Dialect::Node, "t")
    }

    fn post(&mut self, from: ClientId, text: &str) {
        self.hub.post(from, text, self.now_ms);
    }

    fn forward(&mut self, from: ClientId, frame: MeshFrame<'_>) {
        self.hub.forward(from, &frame.encode(), self.now_ms);
    }

    fn flush_once(&mut self) {
        let Self { hub, received, room, .. } = self;
        let doomed = hub.flush(self.now_ms, |id, slices| {
            let received = received.get_mut(&id).expect("only members are written to");
            let mut taken = 0;
            for slice in slices {
                let part = room.get(&id).map_or(slice.len(), |room| slice.len().min(room - taken));
                received.extend_from_slice(&slice[..part]);
                taken += part;
            }
            if let Some(room) = room.get_mut(&id) {
                *room -= taken;
            }
            Some(taken)
        });
        for (id, cut) in doomed {
            self.hub.leave(id, self.now_ms);
            self.cut.push((id, cut));
        }
    }

    fn flush(&mut self) {
        self.flush_once();
        while self.hub.is_behind() || !self.hub.dirty.is_empty() {
            self.flush_once();
        }
    }

    /// What a client has received since it was last asked.
    fn take(&mut self, id: ClientId) -> Vec<Frame> {
        self.flush();
        parse(&std::mem::take(self.received.get_mut(&id).unwrap()))
    }

    /// Forgets what clients have received.
    fn discard(&mut self, ids: &[ClientId]) {
        for id in ids {
            self.take(*id);
        }
    }

    fn links(&mut self, id: ClientId) -> Vec<Vec<u8>> {
        let frames = self.take(id).into_iter();
        frames
            .map(|frame| if let Frame::Binary(bytes) = frame { bytes } else { panic!("{frame:?}") })
            .collect()
    }

    fn handle(&self, id: ClientId) -> u32 {
        self.hub.members[id.0].as_ref().unwrap().handle
    }
}

fn parse(mut bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let [first, second, rest @ ..] = bytes {
        let (length, rest) = match second {
            126 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
            127 => (usize::try_from(u64::from_be_bytes(rest[..8].try_into().unwrap())).unwrap(), &rest[8..]),
            length => (usize::from(*length), rest),
        };
        let payload = rest[..length].to_vec();
        frames.push(match first {
            0x81 => Frame::Text(String::from_utf8(payload).unwrap()),
            0x82 => Frame::Binary(payload),
            other => panic!("frame {other:#x}"),
        });
        bytes = &rest[length..];
    }
    frames
}

fn text(n: usize) -> String {
    format!(r#"{{"type":"TEXT","payload":"{n}"}}"#)
}

fn code(frame: &Frame) -> String {
    let Frame::Text(text) = frame else { panic!("{frame:?}") };
    let error: ErrorFrame = serde_json::from_str(text).unwrap();
    assert_eq!(error.kind, "ERROR");
    error.code
}

#[test]
fn a_post_goes_to_everyone_else_in_its_topic() {
    let mut bench = Bench::new(0);
    let (a, b, c) = (bench.json(0), bench.json(1), bench.node(2));
    let elsewhere = bench.join(3, Dialect::Json, "u");
    bench.links(c);
    let odd = " {\"payload\": \"\\u00e9 é\",\t\"type\":\"TEXT\" } ";
    bench.post(a, odd);
    assert_eq!(bench.take(b), [Frame::Text(odd.to_owned())]);
    assert_eq!(bench.take(c), [Frame::Text(odd.to_owned())]);
    assert_eq!(bench.take(a), []);
    assert_eq!(bench.take(elsewhere), []);
}

#[test]
fn a_nodes_post_goes_to_json_clients_only() {
    let mut bench = Bench::new(0);
    let (a, b, c) = (bench.node(0), bench.node(1), bench.json(2));
    bench.links(a);
    bench.links(b);
    bench.post(a, &text(1));
    assert_eq!(bench.take(c), [Frame::Text(text(1))]);
    assert_eq!(bench.take(b), []);
}

#[test]
fn a_newcomer_gets_only_what_is_posted_after_it_joined() {
    let mut bench = Bench::new(0);
    let (a, b) = (bench.json(0), bench.json(1));
    bench.post(a, &text(1));
    let c = bench.json(2);
    bench.post(a, &text(2));
    assert_eq!(bench.take(b), [Frame::Text(text(1)), Frame::Text(text(2))]);
    assert_eq!(bench.take(c), [Frame::Text(text(2))]);
}

#[test]
fn what_is_no_post_is_told_to_its_sender_only() {
    let mut bench = Bench::new(0);
    let (a, b) = (bench.json(0), bench.json(1));
    bench.post(a, "hello");
    bench.post(a, "{}");
    bench.hub.forward(a, &[3, 0, 0, 0, 1], 0);
    let codes: Vec<_> = bench.take(a).iter().map(code).collect();
    assert_eq!(codes, ["invalid_json", "missing_type", "invalid_frame"]);
    assert_eq!(bench.take(b), []);
}

#[test]
fn posts_over_the_rate_are_refused_and_later_ones_pass() {
    let mut bench = Bench::new(10);
    let (a, b) = (bench.json(0), bench.json(1));
    (0..15).for_each(|n| bench.post(a, &text(n)));
    assert_eq!(bench.take(b).len(), 10);
    assert!(bench.take(a).iter().all(|frame| code(frame) == "rate_limited"));
    bench.now_ms = 1_000;
    (0..15).for_each(|n| bench.post(a, &text(n)));
    assert_eq!(bench.take(b).len(), 10);
}

#[test]
fn nodes_are_told_who_is_there_who_comes_and_who_leaves() {
    let mut bench = Bench::new(0);
    let (a, b) = (bench.node(0), bench.node(1));
    bench.json(7);
    bench.join(8, Dialect::Node, "u");
    let (ha, hb) = (bench.handle(a), bench.handle(b));
    assert_eq!(bench.links(a), [MeshFrame::Present { handle: hb, device_id: "device-1" }.encode()]);
    assert_eq!(bench.links(b), [MeshFrame::Present { handle: ha, device_id: "device-0" }.encode()]);
    bench.hub.leave(a, 0);
    assert_eq!(bench.links(b), [MeshFrame::Gone { handle: ha }.encode()]);
}

#[test]
fn a_handle_is_never_used_again() {
    let mut bench = Bench::new(0);
    let mut handles = std::collections::HashSet::new();
    for _ in 0..100 {
        let a = bench.node(0);
        assert!(handles.insert(bench.handle(a)));
        bench.hub.leave(a, 0);
    }
    bench.hub.last_handle = u32::MAX;
    let newcomer = Newcomer {
        dialect: Dialect::Node,
        topic: "t".to_owned(),
        device_id: String::new(),
        greeting: Vec::new(),
    };
    assert_eq!(bench.hub.join(ClientId(0), newcomer, 0), Err(CantJoin::HandlesUsedUp));
    assert_eq!(bench.hub.topics(), 0);
}

#[test]
fn y08_a_device_id_can_be_borne_twice_and_takes_nothing_from_its_first_bearer() {
    let mut bench = Bench::new(0);
    let (a, b) = (bench.node(0), bench.node(1));
    let newcomer = Newcomer {
        dialect: Dialect::Node,
        topic: "t".to_owned(),
        device_id: "device-0".to_owned(),
        greeting: Vec::new(),
    };
    bench.hub.join(ClientId(2), newcomer, 0).unwrap();
    bench.received.insert(ClientId(2), Vec::new());
    let (ha, hb, hc) = (bench.handle(a), bench.handle(b), bench.handle(ClientId(2)));
    assert_ne!(ha, hc);
    bench.discard(&[a, b, ClientId(2)]);
    bench.forward(b, MeshFrame::Data { handle: ha, payload: b"for the first" });
    assert_eq!(bench.links(a), [MeshFrame::Data { handle: hb, payload: b"for the first" }.encode()]);
    assert_eq!(bench.links(ClientId(2)), [] as [Vec<u8>; 0]);
}

#[test]
fn link_frames_reach_the_node_they_name_and_say_whom_they_are_from() {
    let mut bench = Bench::new(1);
    let (a, b) = (bench.node(0), bench.node(1));
    let (ha, hb) = (bench.handle(a), bench.handle(b));
    bench.discard(&[a, b]);
    for _ in 0..5 {
        // The rate is about posts; links have credit.
        bench.forward(a, MeshFrame::Data { handle: hb, payload: b"x" });
        bench.forward(a, MeshFrame::Credit { handle: hb, bytes: 5 });
        bench.forward(a, MeshFrame::Reset { handle: hb, why: "done" });
    }
    let expected = [
        MeshFrame::Data { handle: ha, payload: b"x" }.encode(),
        MeshFrame::Credit { handle: ha, bytes: 5 }.encode(),
        MeshFrame::Reset { handle: ha, why: "done" }.encode(),
    ];
    assert_eq!(bench.links(b), std::iter::repeat_n(expected, 5).flatten().collect::<Vec<_>>());
    assert_eq!(bench.links(a), [] as [Vec<u8>; 0]);
}

#[test]
fn who_is_not_in_the_topic_is_not_here() {
    let mut bench = Bench::new(0);
    let a = bench.node(0);
    let elsewhere = bench.join(1, Dialect::Node, "u");
    let (ha, he) = (bench.handle(a), bench.handle(elsewhere));
    for to in [ha, he, 999] {
        bench.forward(a, MeshFrame::Data { handle: to, payload: b"x" });
        assert_eq!(bench.links(a), [MeshFrame::Reset { handle: to, why: "not here" }.encode()]);
        bench.forward(a, MeshFrame::Reset { handle: to, why: "bye" });
        assert_eq!(bench.links(a), [] as [Vec<u8>; 0]);
    }
    assert_eq!(bench.links(elsewhere), [] as [Vec<u8>; 0]);
}

#[test]
fn what_only_a_relay_says_is_refused_from_a_node() {
    let mut bench = Bench::new(0);
    let (a, b) = (bench.node(0), bench.node(1));
    let hb = bench.handle(b);
    bench.discard(&[a, b]);
    bench.forward(a, MeshFrame::Gone { handle: hb });
    bench.forward(a, MeshFrame::Present { handle: hb, device_id: "x" });
    bench.hub.forward(a, &[9, 9], 0);
    assert!(bench.take(a).iter().map(code).all(|code| code == "invalid_frame"));
    assert_eq!(bench.take(b), []);
}

/// Sends `b` from `from`, with credit, until its queue is full; returns how many frames that took.
fn fill(bench: &mut Bench, from: ClientId, to: ClientId) -> usize {
    let (from_handle, to_handle) = (bench.handle(from), bench.handle(to));
    let payload = [7; 60_000];
    for n in 1..100 {
        bench.forward(from, MeshFrame::Data { handle: to_handle, payload: &payload });
        bench.forward(to, MeshFrame::Credit { handle: from_handle, bytes: 60_000 });
        let frames = bench.links(from);
        if frames.contains(&MeshFrame::Reset { handle: to_handle, why: "queue full" }.encode()) {
            return n;
        }
    }
    panic!("the queue is never full");
}

#[test]
fn y04_a_full_queue_ends_the_link_at_both_ends_and_nothing_is_missing_before_it() {
    let mut bench = Bench::new(0);
    let (a, b, c) = (bench.node(0), bench.node(1), bench.node(2));
    let (ha, hb, hc) = (bench.handle(a), bench.handle(b), bench.handle(c));
    bench.discard(&[a, b, c]);
    bench.room.insert(b, 0);
    let n = fill(&mut bench, a, b);
    assert!(bench.hub.members[b.0].as_ref().unwrap().outbox.cost() <= QUEUE_LINK_BYTES_MAX + 100);
    // Frames of the broken link that were under way do not reach b, and others' links end too.
    bench.forward(a, MeshFrame::Data { handle: hb, payload: b"late" });
    bench.forward(c, MeshFrame::Data { handle: hb, payload: &[1; 60_000] });
    assert_eq!(bench.links(c), [MeshFrame::Reset { handle: hb, why: "queue full" }.encode()]);
    bench.room.remove(&b);
    bench.hub.unblock(b);
    let frames = bench.links(b);
    assert_eq!(frames.len(), n - 1 + 2);
    let is_data = |frame: &Vec<u8>| matches!(MeshFrame::decode(frame), Ok(MeshFrame::Data { handle, .. }) if handle == ha);
    assert!(frames[..n - 1].iter().all(is_data));
    let resets = [ha, hc].map(|handle| MeshFrame::Reset { handle, why: "queue full" }.encode());
    assert_eq!(frames[n - 1..], resets);
    // b has read all: a new link can begin.
    bench.links(a);
    bench.forward(a, MeshFrame::Data { handle: hb, payload: b"again" });
    assert_eq!(bench.links(b), [MeshFrame::Data { handle: ha, payload: b"again" }.encode()]);
    assert_eq!(bench.links(a), [] as [Vec<u8>; 0]);
    assert_eq!(bench.cut, []);
}

#[test]
fn y04_a_node_that_sends_without_credit_loses_the_link_not_the_others() {
    let mut bench = Bench::new(0);
    let (a, b, c) = (bench.node(0), bench.node(1), bench.node(2));
    let (ha, hb, hc) = (bench.handle(a), bench.handle(b), bench.handle(c));
    bench.discard(&[a, b, c]);
    bench.room.insert(b, 0);
    let payload = vec![0; 32 * 1024];
    let allowed = LINK_BYTES_UNDER_WAY_MAX as usize / payload.len();
    for _ in 0..allowed {
        bench.forward(a, MeshFrame::Data { handle: hb, payload: &payload });
    }
    assert_eq!(bench.links(a), [] as [Vec<u8>; 0]);
    bench.forward(a, MeshFrame::Data { handle: hb, payload: &payload });
    assert_eq!(bench.links(a), [MeshFrame::Reset { handle: hb, why: "sent without credit" }.encode()]);
    bench.forward(c, MeshFrame::Data { handle: hb, payload: b"calm" });
    bench.room.remove(&b);
    bench.hub.unblock(b);
    let frames = bench.links(b);
    assert_eq!(frames.len(), allowed + 2);
    assert_eq!(frames[allowed], MeshFrame::Reset { handle: ha, why: "sent without credit" }.encode());
    assert_eq!(frames[allowed + 1], MeshFrame::Data { handle: hc, payload: b"calm" }.encode());
}

#[test]
fn credit_and_reset_make_room_for_more() {
    let mut bench = Bench::new(0);
    let (a, b) = (bench.node(0), bench.node(1));
    let (ha, hb) = (bench.handle(a), bench.handle(b));
    let payload = vec![0; 60_000];
    for n in 0..100 {
        bench.forward(a, MeshFrame::Data { handle: hb, payload: &payload });
        if n % 2 == 0 {
            bench.forward(b, MeshFrame::Credit { handle: ha, bytes: 60_000 });
        } else {
            bench.forward(b, MeshFrame::Reset { handle: ha, why: "" });
        }
        bench.flush();
    }
    assert_eq!(bench.hub.counters.dropped_no_credit, 0);
    assert!(bench.hub.members[a.0].as_ref().unwrap().links.is_idle());
}

#[test]
fn what_was_under_way_to_a_node_that_left_is_forgotten() {
    let mut bench = Bench::new(0);
    let a = bench.node(0);
    for _ in 0..LINKS_PER_NODE_MAX + 10 {
        let b = bench.node(1);
        let handle = bench.handle(b);
        bench.forward(a, MeshFrame::Data { handle, payload: b"x" });
        bench.hub.leave(b, 0);
    }
    assert_eq!(bench.hub.counters.dropped_no_credit, 0);
    assert!(bench.hub.members[a.0].as_ref().unwrap().links.is_idle());
}

#[test]
fn a_node_has_bytes_under_way_to_few_others_at_a_time() {
    let mut bench = Bench::new(0);
    let a = bench.node(0);
    let others: Vec<_> = (1..=LINKS_PER_NODE_MAX + 1).map(|id| bench.node(id)).collect();
    bench.take(a);
    for other in &others {
        let handle = bench.handle(*other);
        bench.forward(a, MeshFrame::Data { handle, payload: b"x" });
    }
    let last = bench.handle(*others.last().unwrap());
    assert_eq!(bench.links(a), [MeshFrame::Reset { handle: last, why: "too many links" }.encode()]);
}

#[test]
fn a_topic_has_a_limit_of_nodes_and_other_topics_do_not_mind() {
    let mut bench = Bench::new(0);
    bench.node(0);
    bench.hub.topics[0].nodes.members.resize(NODES_PER_TOPIC_MAX, ClientId(0));
    let newcomer = |topic: &str, dialect| Newcomer {
        dialect,
        topic: topic.to_owned(),
        device_id: String::new(),
        greeting: Vec::new(),
    };
    assert_eq!(bench.hub.join(ClientId(1), newcomer("t", Dialect::Node), 0), Err(CantJoin::TopicFull));
    assert_eq!(bench.hub.join(ClientId(1), newcomer("t", Dialect::Json), 0), Ok(()));
    assert_eq!(bench.hub.join(ClientId(2), newcomer("u", Dialect::Node), 0), Ok(()));
}

#[test]
fn y04_a_client_that_does_not_read_is_cut_at_1_mib_and_the_others_get_all() {
    let mut bench = Bench::new(0);
    let (a, slow, b) = (bench.json(0), bench.json(1), bench.json(2));
    bench.room.insert(slow, 1_000);
    let big = format!(r#"{{"type":"TEXT","payload":"{}"}}"#, "x".repeat(60_000));
    for n in 1..=40 {
        bench.post(a, &big);
        assert_eq!(bench.take(b).len(), 1, "{n}");
        assert!(bench.hub.queued_bytes() <= QUEUE_BYTES_MAX + 60_100, "{n}");
    }
    assert_eq!(bench.cut, [(slow, Cut::SlowReader)]);
    assert_eq!(bench.hub.queued_bytes(), 0);
}

#[test]
fn y04_a_queue_that_does_not_move_is_cut_though_it_is_short() {
    let mut bench = Bench::new(0);
    let (a, slow) = (bench.json(0), bench.json(1));
    bench.flush();
    bench.room.insert(slow, 0);
    bench.now_ms = 1_000;
    bench.post(a, &text(1));
    bench.flush();
    bench.hub.sweep(1_000 + STALL_MS_MAX);
    bench.flush();
    assert_eq!(bench.cut, []);
    bench.hub.sweep(1_001 + STALL_MS_MAX);
    bench.flush();
    assert_eq!(bench.cut, [(slow, Cut::SlowReader)]);
}

#[test]
fn y04_all_queues_together_have_a_limit_and_the_longest_go_first() {
    let mut bench = Bench::new(0);
    let sender = bench.node(0);
    let slow: Vec<_> = (1..=200).map(|id| bench.node(id)).collect();
    bench.flush();
    let payload = vec![0; 60_000];
    for (i, id) in slow.iter().enumerate() {
        bench.room.insert(*id, 0);
        let (from, to) = (bench.handle(sender), bench.handle(*id));
        let count = if i < 100 { 2 } else { 11 };
        for _ in 0..count {
            bench.forward(sender, MeshFrame::Data { handle: to, payload: &payload });
            bench.forward(*id, MeshFrame::Credit { handle: from, bytes: 60_000 });
        }
        bench.flush();
        assert!(bench.hub.queued_bytes() <= QUEUED_BYTES_TOTAL_MAX);
    }
    assert!(!bench.cut.is_empty());
    assert!(bench.cut.iter().all(|(id, cut)| *cut == Cut::Memory && id.0 > 100), "{:?}", bench.cut);
}

#[test]
fn a_client_gets_no_errors_while_it_does_not_read_those_it_has() {
    let mut bench = Bench::new(0);
    let a = bench.json(0);
    bench.room.insert(a, 0);
    for _ in 0..100_000 {
        bench.post(a, "x");
    }
    bench.flush();
    assert!(bench.hub.queued_bytes() < QUEUE_ERROR_BYTES_MAX + 1_000);
    assert_eq!(bench.cut, []);
}

#[test]
fn nothing_is_kept_of_topics_and_clients_that_are_gone() {
    let mut bench = Bench::new(0);
    for round in 0..100 {
        let topic = format!("topic-{round}");
        let (a, b) = (bench.join(0, Dialect::Json, &topic), bench.join(1, Dialect::Node, &topic));
        bench.post(a, &text(round));
        bench.hub.leave(a, 0);
        bench.hub.leave(b, 0);
        bench.flush();
    }
    assert_eq!((bench.hub.clients(), bench.hub.nodes(), bench.hub.topics()), (0, 0, 0));
    assert_eq!((bench.hub.topics.len(), bench.hub.members.len(), bench.hub.queued_bytes()), (1, 2, 0));
}

#[derive(Debug, Clone)]
enum Step {
    Join(usize, bool, bool),
    Leave(usize),
    Post(usize, usize),
    Flush,
    Room(usize, usize),
    Open(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let client = 0..12_usize;
    prop_oneof![
        3 => (client.clone(), any::<bool>(), any::<bool>()).prop_map(|(id, node, topic)| Step::Join(id, node, topic)),
        1 => client.clone().prop_map(Step::Leave),
        6 => (client.clone(), 1..20_usize).prop_map(|(id, count)| Step::Post(id, count)),
        4 => Just(Step::Flush),
        1 => (client.clone(), 0..3_000_usize).prop_map(|(id, room)| Step::Room(id, room)),
        1 => client.prop_map(Step::Open),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever comes and goes, and however slowly it reads: every client gets every post of the others in its
    /// topic since it joined, whole, once, in order.
    #[test]
    fn everyone_gets_the_posts_of_the_others_once_and_in_order(steps in prop::collection::vec(step(), 1..150)) {
        let mut bench = Bench::new(0);
        let mut expected: HashMap<usize, (bool, bool, Vec<String>)> = HashMap::new();
        let mut posts = 0;
        for step in steps {
            match step {
                Step::Join(id, is_node, topic) if !expected.contains_key(&id) => {
                    bench.room.remove(&ClientId(id));
                    let dialect = if is_node { Dialect::Node } else { Dialect::Json };
                    bench.join(id, dialect, if topic { "t" } else { "u" });
                    expected.insert(id, (is_node, topic, Vec::new()));
                }
                Step::Leave(id) if expected.contains_key(&id) => {
                    bench.hub.leave(ClientId(id), 0);
                    expected.remove(&id);
                }
                Step::Post(from, count) if expected.contains_key(&from) => {
                    for _ in 0..count {
                        posts += 1;
                        bench.post(ClientId(from), &text(posts));
                        let (from_node, from_topic, _) = expected[&from];
                        for (id, (is_node, topic, texts)) in &mut expected {
                            if *id != from && *topic == from_topic && !(*is_node && from_node) {
                                texts.push(text(posts));
                            }
                        }
                    }
                }
                Step::Room(id, room) => {
                    bench.room.insert(ClientId(id), room);
                }
                Step::Open(id) => {
                    bench.room.remove(&ClientId(id));
                    bench.hub.unblock(ClientId(id));
                }
                Step::Flush => bench.flush_once(),
                Step::Join(..) | Step::Leave(_) | Step::Post(..) => {}
            }
        }
        bench.room.clear();
        for id in expected.keys() {
            bench.hub.unblock(ClientId(*id));
        }
        bench.flush();
        for (id, (_, _, texts)) in expected {
            let received: Vec<_> = parse(&bench.received[&ClientId(id)])
                .into_iter()
                .filter_map(|frame| if let Frame::Text(text) = frame { Some(text) } else { None })
                .collect();
            prop_assert_eq!(received, texts, "client {}", id);
        }
        prop_assert_eq!(bench.hub.queued_bytes(), 0);
        prop_assert_eq!(bench.cut, vec![]);
    }
}
