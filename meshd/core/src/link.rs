//! A link as the node sees it: a handshake, then an encrypted session or a stand-by for one.

use crate::bucket::Bucket;
use crate::clock::Now;
use crate::event::{LinkFacts, LinkKind, LinkPhase, LinkStatus};
use crate::handshake::{Handshake, Tunnel};
use crate::id::{LinkId, NodeId};
use crate::limits::TAKEOVERS_PER_HOUR_MAX;
use crate::session::{Reached, Session};

/// One link.
pub(crate) struct Link {
    pub(crate) id: LinkId,
    pub(crate) kind: LinkKind,
    address: String,
    pub(crate) dialled: bool,
    pub(crate) up_mono_ms: u64,
    since_unix_ms: Option<u64>,
    pub(crate) sent_bytes: u64,
    pub(crate) received_bytes: u64,
    /// Of sessions on this link that are over.
    past_sent_bundles: u64,
    past_received_bundles: u64,
    pub(crate) facts: LinkFacts,
    /// Times that the neighbour may still make it take another link's place.
    pub(crate) takeovers: Bucket,
    pub(crate) stage: Stage,
}

/// How far a link is.
pub(crate) enum Stage {
    /// The two sides are agreeing on keys.
    Handshake {
        /// The agreement.
        handshake: Box<Handshake>,
        /// The next frame to send.
        out: Option<Vec<u8>>,
    },
    /// It is known who is there.
    Open(Box<Open>),
}

/// A link whose handshake is done.
pub(crate) struct Open {
    pub(crate) peer: NodeId,
    pub(crate) tunnel: Tunnel,
    /// The last frame of the handshake, if it is still to be sent.
    pub(crate) out: Option<Vec<u8>>,
    pub(crate) role: Role,
}

/// What an open link does.
pub(crate) enum Role {
    /// The work.
    Working(Box<Session>),
    /// Another link to the same neighbour does it. Numbers go on from here.
    Standby(Reached),
}

impl Link {
    pub(crate) fn new(
        id: LinkId,
        kind: LinkKind,
        address: String,
        dialled: bool,
        stage: Stage,
        now: Now,
    ) -> Self {
        Self {
            id,
            kind,
            address,
            dialled,
            up_mono_ms: now.mono_ms,
            since_unix_ms: now.unix_ms,
            sent_bytes: 0,
            received_bytes: 0,
            past_sent_bundles: 0,
            past_received_bundles: 0,
            facts: LinkFacts::default(),
            takeovers: Bucket::new(TAKEOVERS_PER_HOUR_MAX, now),
            stage,
        }
    }

    /// The neighbour, once it is known.
    pub(crate) fn peer(&self) -> Option<NodeId> {
        match &self.stage {
            Stage::Handshake { .. } => None,
            Stage::Open(open) => Some(open.peer),
        }
    }

    /// What both ends of a handshake under way share, once they have heard each other.
    pub(crate) fn handshake_hash(&self) -> Option<[u8; 32]> {
        match &self.stage {
            Stage::Handshake { handshake, .. } => handshake.hash(),
            Stage::Open(_) => None,
        }
    }

    /// Whether it is in a handshake that the other side began.
    pub(crate) fn is_half_open(&self) -> bool {
        matches!(self.stage, Stage::Handshake { .. }) && !self.dialled
    }

    pub(crate) fn session(&self) -> Option<&Session> {
        match &self.stage {
            Stage::Open(open) => open.session(),
            Stage::Handshake { .. } => None,
        }
    }

    pub(crate) fn session_mut(&mut self) -> Option<&mut Session> {
        match &mut self.stage {
            Stage::Open(open) => open.session_mut(),
            Stage::Handshake { .. } => None,
        }
    }

    /// Which of two links to one neighbour does the work: the smaller. Both sides see the same.
    pub(crate) fn rank(&self) -> Option<(LinkKind, [u8; 32])> {
        match &self.stage {
            Stage::Handshake { .. } => None,
            Stage::Open(open) => Some((self.kind, open.tunnel.hash)),
        }
    }

    /// Ends the link's session, if it has one, and keeps the link.
    pub(crate) fn stand_by(&mut self) {
        if let Some(session) = self.session() {
            let (sent, received, reached) =
                (session.sent_bundles, session.received_bundles, session.reached());
            self.past_sent_bundles += sent;
            self.past_received_bundles += received;
            if let Stage::Open(open) = &mut self.stage {
                open.role = Role::Standby(reached);
            }
        }
    }

    /// Begins a session on it.
    pub(crate) fn work(&mut self, session: impl FnOnce(Reached) -> Session) {
        self.stand_by();
        if let Stage::Open(open) = &mut self.stage
            && let Role::Standby(reached) = open.role
        {
            open.role = Role::Working(Box::new(session(reached)));
        }
    }

    pub(crate) fn status(&self) -> LinkStatus {
        let (phase, sent, received) = match (&self.stage, self.session()) {
            (Stage::Handshake { .. }, _) => (LinkPhase::Handshake, 0, 0),
            (Stage::Open(_), None) => (LinkPhase::Standby, 0, 0),
            (Stage::Open(_), Some(session)) => {
                (session.phase(), session.sent_bundles, session.received_bundles)
            }
        };
        LinkStatus {
            id: self.id.0,
            peer: self.peer(),
            kind: self.kind,
            address: self.address.clone(),
            dialled: self.dialled,
            phase,
            since_unix_ms: self.since_unix_ms,
            sent_bytes: self.sent_bytes,
            received_bytes: self.received_bytes,
            sent_bundles: self.past_sent_bundles + sent,
            received_bundles: self.past_received_bundles + received,
            rssi: self.facts.rssi,
            path: self.facts.path.map(str::to_owned),
            mtu_bytes: self.facts.mtu_bytes,
            connect_ms: self.facts.connect_ms,
        }
    }
}

impl Open {
    pub(crate) fn session(&self) -> Option<&Session> {
        match &self.role {
            Role::Working(session) => Some(session),
            Role::Standby(_) => None,
        }
    }

    pub(crate) fn session_mut(&mut self) -> Option<&mut Session> {
        match &mut self.role {
            Role::Working(session) => Some(session),
            Role::Standby(_) => None,
        }
    }
}
