//! The node's links: who works, who stands by, who is cut.

use crate::clock::Now;
use crate::custody::Dealings;
use crate::event::{Event, LinkKind, LinkStatus};
use crate::handshake::{Handshake, Step};
use crate::id::{LinkId, NodeId};
use crate::identity::PublicKeys;
use crate::limits::{self, FRAME_BYTES_MAX, HALF_OPEN_MAX, HANDSHAKE_MS_MAX, LINKS_MAX, PATIENCE_MS};
use crate::link::{Link, Open, Role, Stage};
use crate::session::{Around, Reached, Session, Stop, Urgency};
use crate::store::{Slot, Store, StoreError};
use crate::wire::TAKEOVER;

use super::{CloseReason, Node};

impl<S: Store> Node<S> {
    pub(super) fn on_link_up(
        &mut self,
        id: LinkId,
        kind: LinkKind,
        address: String,
        dialled: bool,
        now: Now,
    ) {
        let half_open = self.links.values().filter(|link| link.is_half_open()).count();
        let is_too_much = !dialled && (half_open >= HALF_OPEN_MAX || !self.answered.take(1, now));
        if self.links.len() >= LINKS_MAX || is_too_much {
            return self.say_close(id, CloseReason::TooManyLinks);
        }
        if !self.is_writable() {
            return self.say_close(id, CloseReason::StoreFailed);
        }
        let seed = self.custody.entropy.draw();
        let (handshake, out) = if dialled {
            let (handshake, first) = Handshake::dial(&self.custody.identity, seed);
            (handshake, Some(first))
        } else {
            (Handshake::answer(seed), None)
        };
        let stage = Stage::Handshake { handshake: Box::new(handshake), out };
        self.links.insert(id, Link::new(id, kind, address, dialled, stage, now));
    }

    pub(super) fn on_link_down(&mut self, id: LinkId, now: Now) -> Result<(), StoreError> {
        let Some(link) = self.links.remove(&id) else { return Ok(()) };
        self.bury(link, now)
    }

    pub(super) fn on_frame(&mut self, id: LinkId, frame: &[u8], now: Now) -> Result<(), StoreError> {
        let Some(mut link) = self.links.remove(&id) else { return Ok(()) };
        link.received_bytes += frame.len() as u64;
        let result = if frame.len() > FRAME_BYTES_MAX {
            Err(Stop::Close(CloseReason::Protocol("a frame that is too long")))
        } else {
            self.take_frame(&mut link, frame, now)
        };
        let may_wait = matches!(result, Ok(Urgency::MayWait));
        self.put_back(link, result.map(|_| ()), now)?;
        self.commit_by(if may_wait { now.mono_ms + PATIENCE_MS } else { now.mono_ms });
        Ok(())
    }

    /// The links that may have a frame to send, by number.
    pub(super) fn links_with_frames(&self) -> impl Iterator<Item = LinkId> {
        let has_frame = |link: &&Link| match &link.stage {
            Stage::Handshake { out, .. } => out.is_some(),
            Stage::Open(open) => {
                open.out.is_some()
                    || open.session().is_some_and(|session| session.has_something(&self.custody, &self.wants))
            }
        };
        self.links.values().filter(has_frame).map(|link| link.id)
    }

    /// Handshakes that take too long, answers owed for too long, and what sessions want to do by themselves.
    pub(super) fn on_link_timeouts(&mut self, now: Now) -> Result<(), StoreError> {
        let due: Vec<LinkId> = self
            .links
            .values()
            .filter(|link| link_deadline(link).is_some_and(|(due, _)| now.mono_ms >= due))
            .map(|link| link.id)
            .collect();
        for id in due {
            let Some(mut link) = self.links.remove(&id) else { continue };
            let result = match link.session_mut() {
                Some(session) => session.on_timeout(&mut self.around(now)),
                None => Err(Stop::Close(CloseReason::HandshakeTimeout)),
            };
            self.put_back(link, result, now)?;
        }
        Ok(())
    }

    /// Closes all links to a neighbour.
    pub(super) fn close_peer(&mut self, peer: &NodeId, why: CloseReason, now: Now) -> Result<(), StoreError> {
        let ids: Vec<LinkId> = self.links_to(peer).map(|link| link.id).collect();
        for id in ids {
            self.close(id, why, now)?;
        }
        Ok(())
    }

    /// Drops all links at once, without a word to the store.
    pub(super) fn drop_links(&mut self, why: CloseReason) {
        while let Some((id, _)) = self.links.pop_first() {
            self.say_close(id, why);
        }
        self.wants.clear();
    }

    /// Brings the log in line with the links there are: what it has as up and is not, is down. After a crash
    /// that is all of them.
    pub(super) fn settle_log(&mut self, now: Now) -> Result<(), StoreError> {
        let logged = self.logged_links()?;
        let (up, down): (Vec<LinkStatus>, Vec<LinkStatus>) =
            logged.into_iter().partition(|status| self.is_link_up(status));
        if down.is_empty() {
            return Ok(());
        }
        for status in &down {
            self.custody.log(Event::LinkDown { link: status.clone() }, now)?;
        }
        let mut gone: Vec<NodeId> = down.iter().filter_map(|status| status.peer).collect();
        gone.sort();
        gone.dedup();
        gone.retain(|peer| !up.iter().any(|status| status.peer == Some(*peer)));
        for peer in gone {
            self.custody.log(Event::PeerDown { peer }, now)?;
        }
        self.save_logged_links(&up)
    }

    /// Adds what the links did to their peers' records.
    pub(super) fn save_dealings(&mut self, now: Now) -> Result<(), StoreError> {
        let is_due = |saved: u64| now.mono_ms.saturating_sub(saved) >= limits::CLOCK_SAVE_MS;
        if !self.dealings_saved_mono_ms.is_none_or(is_due) {
            return Ok(());
        }
        for link in self.links.values_mut() {
            let Some(peer) = link.peer() else { continue };
            let Some(session) = link.session_mut() else { continue };
            let dealings = std::mem::take(&mut session.dealings);
            if dealings != Dealings::default() {
                self.custody.deal_with(&peer, dealings, now)?;
            }
        }
        self.dealings_saved_mono_ms = Some(now.mono_ms);
        Ok(())
    }

    /// Notes which own bundles were handed out since the last commit.
    pub(super) fn note_handed_out(&mut self, now: Now) -> Result<(), StoreError> {
        let Self { links, custody, wants, .. } = self;
        for link in links.values_mut() {
            if let Some(session) = link.session_mut() {
                session.note_handed_out(&mut Around { custody, wants, links_open: 0, now })?;
            }
        }
        Ok(())
    }

    pub(super) fn say_close(&mut self, link: LinkId, why: CloseReason) {
        self.closes.push_back((link, why));
    }

    fn around(&mut self, now: Now) -> Around<'_, S> {
        // The link that is being worked on is out of the table.
        let links_open = 1 + self.links.values().filter(|link| link.session().is_some()).count();
        Around { custody: &mut self.custody, wants: &mut self.wants, links_open, now }
    }

    /// Puts a link that was worked on back, or ends it.
    fn put_back(&mut self, link: Link, result: Result<(), Stop>, now: Now) -> Result<(), StoreError> {
        match result {
            Ok(()) => {
                self.links.insert(link.id, link);
                Ok(())
            }
            Err(Stop::Close(why)) => {
                self.say_close(link.id, why);
                self.bury(link, now)
            }
            Err(Stop::Store(error)) => {
                // The whole transaction is lost, and with it every session: the link is closed with the rest.
                self.links.insert(link.id, link);
                Err(error)
            }
        }
    }

    fn take_frame(&mut self, link: &mut Link, frame: &[u8], now: Now) -> Result<Urgency, Stop> {
        match &mut link.stage {
            Stage::Handshake { handshake, out } => {
                match handshake.read(frame, &self.custody.identity).map_err(Stop::Close)? {
                    Step::Reply(reply) => *out = Some(reply),
                    Step::Met(keys) => self.meet(link, keys, now)?,
                }
                Ok(Urgency::Now)
            }
            Stage::Open(open) => {
                let mut plain = std::mem::take(&mut self.plain);
                let opened = open.tunnel.open(frame, &mut plain).map_err(Stop::Close);
                let result = opened.and_then(|()| self.take_plain(link, &plain, now));
                self.plain = plain;
                result
            }
        }
    }

    /// The messages of a session.
    fn take_plain(&mut self, link: &mut Link, plain: &[u8], now: Now) -> Result<Urgency, Stop> {
        let plain = match plain.strip_prefix(&TAKEOVER) {
            Some(rest) => {
                self.take_over(link, now)?;
                rest
            }
            None => plain,
        };
        let Stage::Open(open) = &mut link.stage else { return Ok(Urgency::Now) };
        match &mut open.role {
            Role::Working(session) => session.receive(plain, &mut self.around(now)),
            // The other side does not know yet that another link does the work.
            Role::Standby(reached) => reached.pass_over(plain).map(|()| Urgency::Now),
        }
    }

    /// The neighbour says that the link which did the work is dead: this one does it now, from the start.
    fn take_over(&mut self, link: &mut Link, now: Now) -> Result<(), Stop> {
        let Some(peer) = link.peer() else { return Ok(()) };
        if link.session().is_some_and(|session| session.has_taken_over && !session.has_heard) {
            // Both have found out by themselves. What this side said, the other one heard after its own word.
            return Ok(());
        }
        if !link.takeovers.take(1, now) {
            return Err(Stop::Close(CloseReason::Protocol("it begins anew too often")));
        }
        let others: Vec<LinkId> =
            self.links_to(&peer).filter(|other| other.session().is_some()).map(|other| other.id).collect();
        for other in others {
            let Some(dead) = self.links.remove(&other) else { continue };
            self.say_close(other, CloseReason::Replaced);
            self.wants.link_down(other);
            self.log_down(&dead, now)?;
        }
        self.wants.link_down(link.id);
        self.begin_session(link, now);
        Ok(())
    }

    /// The handshake has proven who is there: the link does the work, stands by for another one to the same
    /// neighbour, or goes.
    ///
    /// Both sides come to the same by what both know: the kinds of the links, then their handshake hashes.
    fn meet(&mut self, link: &mut Link, keys: PublicKeys, now: Now) -> Result<(), Stop> {
        let peer = keys.node_id();
        if peer == self.custody.id() {
            return Err(Stop::Close(self.met_oneself(link)));
        }
        if self.custody.is_blocked(&peer) {
            return Err(Stop::Close(CloseReason::Blocked));
        }
        let empty = Stage::Handshake { handshake: Box::new(Handshake::answer([0; 32])), out: None };
        let Stage::Handshake { handshake, .. } = std::mem::replace(&mut link.stage, empty) else {
            return Ok(());
        };
        let (out, tunnel) = handshake.finish(&self.custody.identity).map_err(Stop::Close)?;
        let role = Role::Standby(Reached::default());
        link.stage = Stage::Open(Box::new(Open { peer, tunnel, out, role }));
        let worker = self.links_to(&peer).find(|other| other.session().is_some());
        let worker = worker.map(|worker| (worker.id, worker.rank()));
        let works = worker.is_none_or(|(_, rank)| link.rank() < rank);
        if !works && link.kind == LinkKind::Ble {
            return Err(Stop::Close(CloseReason::Duplicate));
        }
        let is_again = self.parted.remove(&peer) && worker.is_none();
        if works && is_again {
            // The other side may still believe in the link that was lost here.
            self.take_work(link, now);
        } else if works {
            self.begin_session(link, now);
        }
        self.log_up(link, &peer, now)?;
        if let Some((worse, _)) = worker.filter(|_| works) {
            self.retire(worse, now)?;
        }
        Ok(())
    }

    /// Who has this node's keys: itself, if it holds the other end of this handshake, else a copy of it.
    fn met_oneself(&mut self, link: &Link) -> CloseReason {
        let hash = link.handshake_hash();
        if hash.is_some() && self.links.values().any(|other| other.handshake_hash() == hash) {
            return CloseReason::SelfLink;
        }
        self.twin_of = Some(self.id());
        CloseReason::Twin
    }

    /// Takes the work from a link: another one to the same neighbour is better. A BLE link is too dear to
    /// stand by.
    fn retire(&mut self, id: LinkId, now: Now) -> Result<(), StoreError> {
        self.wants.link_down(id);
        let Some(mut link) = self.links.remove(&id) else { return Ok(()) };
        if link.kind == LinkKind::Ble {
            self.say_close(id, CloseReason::Duplicate);
            return self.log_down(&link, now);
        }
        if let (Some(peer), Some(session)) = (link.peer(), link.session()) {
            self.custody.deal_with(&peer, session.dealings, now)?;
        }
        link.stand_by();
        self.links.insert(id, link);
        Ok(())
    }

    fn begin_session(&mut self, link: &mut Link, now: Now) {
        let Some(peer) = link.peer() else { return };
        let who = (link.id, peer, link.kind);
        let custody = &self.custody;
        let dialled = link.dialled;
        link.work(|reached| Session::begin(who, (dialled, reached), custody, now));
    }

    /// Begins a session that tells the other side first that the link which did the work is down.
    fn take_work(&mut self, link: &mut Link, now: Now) {
        let Some(peer) = link.peer() else { return };
        let who = (link.id, peer, link.kind);
        let custody = &self.custody;
        let dialled = link.dialled;
        link.work(|reached| Session::begin(who, (dialled, reached), custody, now).take_over());
    }

    fn close(&mut self, id: LinkId, why: CloseReason, now: Now) -> Result<(), StoreError> {
        let Some(link) = self.links.remove(&id) else { return Ok(()) };
        self.say_close(id, why);
        self.bury(link, now)
    }

    /// What is left to do for a link that is gone: the log, what it owed, and who takes its place.
    fn bury(&mut self, link: Link, now: Now) -> Result<(), StoreError> {
        self.wants.link_down(link.id);
        let Some(peer) = link.peer() else { return Ok(()) };
        self.log_down(&link, now)?;
        if link.session().is_none() {
            return Ok(());
        }
        let best = self.links_to(&peer).min_by_key(|other| other.rank()).map(|other| other.id);
        if let Some(mut heir) = best.and_then(|id| self.links.remove(&id)) {
            self.take_work(&mut heir, now);
            self.links.insert(heir.id, heir);
        } else {
            if self.parted.len() >= LINKS_MAX {
                self.parted.pop_first();
            }
            self.parted.insert(peer);
        }
        Ok(())
    }

    fn links_to(&self, peer: &NodeId) -> impl Iterator<Item = &Link> {
        self.links.values().filter(move |link| link.peer() == Some(*peer))
    }

    fn log_up(&mut self, link: &Link, peer: &NodeId, now: Now) -> Result<(), StoreError> {
        let is_first = self.links_to(peer).next().is_none();
        let encounters = u64::from(is_first);
        self.custody.deal_with(peer, Dealings { encounters, ..Dealings::default() }, now)?;
        if is_first {
            self.custody.log(Event::PeerUp { peer: *peer }, now)?;
        }
        let status = link.status().kept();
        self.custody.log(Event::LinkUp { link: status.clone() }, now)?;
        let mut logged = self.logged_links()?;
        logged.push(status);
        self.save_logged_links(&logged)
    }

    /// Logs that a link which is out of the table is down, if the log has it as up.
    fn log_down(&mut self, link: &Link, now: Now) -> Result<(), StoreError> {
        let Some(peer) = link.peer() else { return Ok(()) };
        let dealings = link.session().map(|session| session.dealings).unwrap_or_default();
        self.custody.deal_with(&peer, dealings, now)?;
        let mut logged = self.logged_links()?;
        let before = logged.len();
        logged.retain(|status| status.id != link.id.0);
        if logged.len() == before {
            return Ok(());
        }
        self.custody.log(Event::LinkDown { link: link.status().kept() }, now)?;
        if !logged.iter().any(|status| status.peer == Some(peer)) {
            self.custody.log(Event::PeerDown { peer }, now)?;
        }
        self.save_logged_links(&logged)
    }

    fn is_link_up(&self, status: &LinkStatus) -> bool {
        self.links.get(&LinkId(status.id)).is_some_and(|link| link.peer() == status.peer)
    }

    fn logged_links(&self) -> Result<Vec<LinkStatus>, StoreError> {
        let Some(bytes) = self.custody.store.slot(Slot::Links)? else { return Ok(Vec::new()) };
        minicbor::decode(&bytes)
            .map_err(|error| StoreError::Corrupt { detail: format!("links logged: {error}") })
    }

    fn save_logged_links(&mut self, links: &[LinkStatus]) -> Result<(), StoreError> {
        let bytes = minicbor::to_vec(links).expect("a Vec takes every byte");
        self.custody.store.set_slot(Slot::Links, &bytes)
    }
}

/// When a link has to be looked at by itself.
pub(super) fn link_deadline(link: &Link) -> Option<(u64, &'static str)> {
    match &link.stage {
        Stage::Handshake { .. } => {
            Some((link.up_mono_ms.saturating_add(HANDSHAKE_MS_MAX), "a handshake takes long"))
        }
        Stage::Open(open) => open.session().and_then(Session::deadline),
    }
}
