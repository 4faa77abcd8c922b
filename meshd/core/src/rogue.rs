//! A neighbour that does not keep to the protocol: it completes the handshake, and then says what a test wants.

use crate::clock::Now;
use crate::event::LinkKind;
use crate::handshake::{Handshake, Step, Tunnel};
use crate::id::LinkId;
use crate::identity::Identity;
use crate::limits::Limits;
use crate::mem::MemStore;
use crate::node::{CloseReason, Input, Node, Output};
use crate::wire::{Carried, Message};

/// 2026-01-01.
pub(crate) const NEW_YEAR_MS: u64 = 1_767_225_600_000;

/// The neighbour, and the honest node it talks to.
pub(crate) struct Rogue {
    pub(crate) node: Node<MemStore>,
    pub(crate) identity: Identity,
    pub(crate) link: LinkId,
    tunnel: Option<Tunnel>,
    pub(crate) now: Now,
    closed: Option<CloseReason>,
}

impl Rogue {
    /// Meets a node that keeps little more than the tests give it.
    pub(crate) fn meet() -> Self {
        Self::meet_with(Limits::default())
    }

    pub(crate) fn meet_with(limits: Limits) -> Self {
        Self::meet_node(1, limits, |_| {})
    }

    /// Meets the node with keys made of `secret`, after `prepare` has done something to it.
    pub(crate) fn meet_node(secret: u8, limits: Limits, prepare: impl FnOnce(&mut Node<MemStore>)) -> Self {
        let now = Now { mono_ms: 0, unix_ms: Some(NEW_YEAR_MS) };
        let honest = Identity::from_bytes(&[secret; 64]);
        let mut node = Node::open(MemStore::new(), honest, [secret ^ 9; 32], limits, now).unwrap();
        prepare(&mut node);
        node.handle(Input::Timeout, now).unwrap();
        let mut rogue = Self {
            node,
            identity: Identity::from_bytes(&[66; 64]),
            link: LinkId(0),
            tunnel: None,
            now,
            closed: None,
        };
        rogue.reconnect(LinkKind::Lan);
        rogue
    }

    /// Comes over a new link.
    pub(crate) fn reconnect(&mut self, kind: LinkKind) {
        self.link = LinkId(self.link.0 + 1);
        self.closed = None;
        let up = Input::LinkUp { link: self.link, kind, address: "rogue".to_owned(), dialled: false };
        self.node.handle(up, self.now).unwrap();
        let (mut handshake, first) = Handshake::dial(&self.identity, [self.link.0 as u8; 32]);
        self.give(&first);
        let second = self.take().expect("the honest node answers");
        let Ok(Step::Met(_)) = handshake.read(&second, &self.identity) else { panic!("a hello") };
        let (third, tunnel) = handshake.finish(&self.identity).unwrap();
        self.give(&third.unwrap());
        self.tunnel = Some(tunnel);
    }

    /// Gives the node a frame as it is.
    pub(crate) fn give(&mut self, frame: &[u8]) {
        self.node.handle(Input::Frame { link: self.link, bytes: frame }, self.now).unwrap();
    }

    /// Takes a frame as it is.
    pub(crate) fn take(&mut self) -> Option<Vec<u8>> {
        let (link, now) = (self.link, self.now);
        let mut outbox = self.node.commit(now).unwrap();
        while let Some(output) = outbox.next_output() {
            if let Output::Close { link: closed, why } = output
                && closed == link
            {
                self.closed = Some(why);
            }
        }
        outbox.next_frame(link, now).unwrap()
    }

    /// Says something in the session.
    pub(crate) fn say(&mut self, messages: &[Message<'_>]) {
        let mut plain = Vec::new();
        for message in messages {
            message.write(&mut plain);
        }
        self.say_bytes(&plain);
    }

    /// Says bytes that may be no message.
    pub(crate) fn say_bytes(&mut self, plain: &[u8]) {
        let frame = self.tunnel.as_mut().expect("it has met the node").seal(plain);
        self.give(&frame);
    }

    /// Everything the node says now, as the plain text of its frames.
    pub(crate) fn hear(&mut self) -> Vec<Vec<u8>> {
        let mut heard = Vec::new();
        while let Some(frame) = self.take() {
            let mut plain = Vec::new();
            self.tunnel.as_mut().expect("it has met the node").open(&frame, &mut plain).unwrap();
            heard.push(plain);
        }
        heard
    }

    /// What the node says now, as text that names the messages.
    pub(crate) fn hear_words(&mut self) -> Vec<String> {
        let frames = self.hear();
        let messages = frames.iter().flat_map(|plain| Message::read_all(plain).unwrap());
        messages
            .map(|message| match message {
                Message::Reconcile(_) => "reconcile".to_owned(),
                Message::Bundle(Carried { hops, age_ms, .. }) => format!("bundle {hops} {age_ms}"),
                Message::News(list) => format!("news {}", list.count()),
                Message::Get(list) => format!("get {}", list.count()),
                Message::Stored(run) => format!("stored {}", run.count()),
                Message::Refused(why, run) => format!("refused {why:?} {}", run.count()),
                Message::Gone(list) => format!("gone {}", list.count()),
                Message::Again => "again".to_owned(),
                Message::Takeover => "takeover".to_owned(),
                Message::Unknown => "unknown".to_owned(),
            })
            .collect()
    }

    /// Why the node hung up, if it did.
    pub(crate) fn closed(&mut self) -> Option<CloseReason> {
        self.hear_rest();
        self.closed
    }

    fn hear_rest(&mut self) {
        while self.take().is_some() {}
    }

    /// Lets time go by.
    pub(crate) fn pass(&mut self, ms: u64) {
        self.now.mono_ms += ms;
        self.now.unix_ms = self.now.unix_ms.map(|unix| unix + ms);
        self.node.handle(Input::Timeout, self.now).unwrap();
    }
}
