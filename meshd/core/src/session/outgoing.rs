//! What is said to a neighbour in a session, when its link has room.

use std::mem::take;

use crate::bundle::BundleBytes;
use crate::custody::PRIORITIES;
use crate::event::LinkKind;
use crate::handshake::TAG_BYTES;
use crate::id::{IdPrefix, ShortId};
use crate::limits::{HOPS_MAX, PREFIXES_MAX, PUSH_BYTES_MAX, QUEUE_MAX, SLOW_FRAME_BYTES, TINY_BYTES_MAX};
use crate::store::{Class, Offer, OfferKey, Priority, Store, StoreError, StoredBundle};
use crate::wire::{Carried, Message, Name, Prefixes, Run, ShortIds, join};

use super::flights::Flight;
use super::{Around, Overlap, Session, Sort, Turn};

/// New bundles looked up in one go.
const FRESH_MAX: usize = 32;
/// As long as nothing is known of a neighbour, a small bundle that is passed on is pushed on this many links or
/// fewer, as in a chain; on more, the neighbours may well have it from each other, and it is announced first.
const CHAIN_LINKS_MAX: usize = 2;
/// Bytes of symbols in a frame on a slow link: what is sent when there are enough already is little then.
const SLOW_SYMBOLS_BYTES: usize = 1024;
/// Bytes of a message's array, tag and byte string heads.
const ENVELOPE_BYTES: usize = 16;

/// A frame's plain text being written.
struct Frame<'a> {
    plain: &'a mut Vec<u8>,
    bytes_max: usize,
    /// Bundles share a frame up to here.
    fill: usize,
}

/// What to send next.
enum Next {
    /// The neighbour asked for it.
    Wanted(Turn),
    /// It is new here.
    Fresh(Offer),
}

impl Session {
    /// Writes what there is to say now into an empty frame of at most `bytes_max` bytes. Reads the store, but
    /// does not write to it.
    pub(crate) fn fill<S: Store>(
        &mut self,
        plain: &mut Vec<u8>,
        bytes_max: usize,
        around: &mut Around<'_, S>,
    ) -> Result<(), StoreError> {
        let fill = if self.via == LinkKind::Ble { SLOW_FRAME_BYTES } else { bytes_max };
        let mut frame = Frame { plain, bytes_max, fill };
        self.write_words(&mut frame, around);
        self.write_bundles(&mut frame, &PRIORITIES[..1], around)?;
        self.write_bodies(&mut frame, around)?;
        for priority in PRIORITIES {
            self.look_for_news(priority, around)?;
        }
        // A frame that goes anyway takes along what would wait.
        if !frame.plain.is_empty() || !self.gathers(around.custody) {
            self.write_bundles(&mut frame, &PRIORITIES, around)?;
        }
        self.write_news(&mut frame);
        if !frame.plain.is_empty() {
            self.write_answers(&mut frame, around.now.mono_ms);
        }
        self.settle_debts(around, false);
        Ok(())
    }

    /// The short messages.
    fn write_words<S: Store>(&mut self, frame: &mut Frame<'_>, around: &mut Around<'_, S>) {
        if take(&mut self.say_takeover) {
            Message::Takeover.write(frame.plain);
        }
        if take(&mut self.say_again) {
            Message::Again.write(frame.plain);
        }
        if self.answers.is_due() {
            self.write_answers(frame, around.now.mono_ms);
        }
        for (why, runs) in &mut self.refused {
            for run in runs.take(frame.room_for_runs()) {
                Message::Refused(*why, run).write(frame.plain);
            }
        }
        self.refused.retain(|_, runs| !runs.is_empty());
        let room = frame.room_for_names::<ShortId>().min(self.gone.len());
        let gone: Vec<ShortId> = self.gone.drain(..room).collect();
        if let Some(ids) = ShortIds::new(&join(&gone)) {
            Message::Gone(ids).write(frame.plain);
        }
        let gets = around.wants.take_gets(self.link, frame.room_for_names::<ShortId>());
        if let Some(ids) = ShortIds::new(&join(&gets)) {
            Message::Get(ids).write(frame.plain);
        }
    }

    /// What was stored here.
    fn write_answers(&mut self, frame: &mut Frame<'_>, now_mono_ms: u64) {
        for run in self.answers.take(frame.room_for_runs(), now_mono_ms) {
            Message::Stored(run).write(frame.plain);
        }
    }

    /// What the reconciliation has to say, one body after the other while there is room.
    fn write_bodies<S: Store>(
        &mut self,
        frame: &mut Frame<'_>,
        around: &mut Around<'_, S>,
    ) -> Result<(), StoreError> {
        self.open_round(around)?;
        let before = frame.plain.len();
        loop {
            if self.body.is_none() {
                self.body = self.next_body(frame, around)?;
            }
            let Some(body) = self.body.take_if(|body| frame.has_room(body.len() + ENVELOPE_BYTES)) else {
                break;
            };
            Message::Reconcile(&body).write(frame.plain);
            around.custody.tally.reconcile_sent_bytes += body.len() as u64;
        }
        let bytes = frame.plain.len() - before;
        if bytes > 0 {
            self.spent.bytes += (bytes + TAG_BYTES) as u64;
            self.spent.frames += 1;
        }
        Ok(())
    }

    fn next_body<S: Store>(
        &mut self,
        frame: &mut Frame<'_>,
        around: &mut Around<'_, S>,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        if take(&mut self.reconciliation.is_enough) {
            // The other side is sending: it should hear so before what takes longer to say.
            frame.bytes_max =
                frame.plain.len() + self.reconciliation.say.front().map_or(0, Vec::len) + ENVELOPE_BYTES;
            frame.fill = frame.bytes_max;
        }
        if let Some(body) = self.reconciliation.say.pop_front() {
            return Ok(Some(body));
        }
        let room = frame.fill.saturating_sub(frame.plain.len() + ENVELOPE_BYTES);
        if let Some(body) = self.next_want(room, around)? {
            return Ok(Some(body));
        }
        let slow = if self.via == LinkKind::Ble { SLOW_SYMBOLS_BYTES } else { usize::MAX };
        if let Some(body) = self.next_symbols(room.min(slow.saturating_sub(frame.plain.len()))) {
            return Ok(Some(body));
        }
        let may_offer = self.may_offer();
        self.reconciliation.walker.next(&around.custody.store, may_offer)
    }

    /// Bundles of these priorities, while there are any, the window is open and the frame has room.
    fn write_bundles<S: Store>(
        &mut self,
        frame: &mut Frame<'_>,
        priorities: &[Priority],
        around: &Around<'_, S>,
    ) -> Result<(), StoreError> {
        while self.has_window() {
            let Some(next) = self.next_bundle(priorities, around)? else { return Ok(()) };
            if !self.write_next(frame, next, around)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The bundle whose turn it is; of two with one turn first what was asked for, then what is known to be lacked, then
    /// what is new.
    fn next_bundle<S: Store>(
        &mut self,
        priorities: &[Priority],
        around: &Around<'_, S>,
    ) -> Result<Option<Next>, StoreError> {
        for priority in priorities {
            self.look_for_news(*priority, around)?;
            let of = |turn: &Turn| (turn.priority, turn.sort, turn.bytes_up_to);
            let wanted = self.queue.first().filter(|turn| turn.priority <= *priority).map(of);
            let gift = self.gifts.first_key_value().map(|(turn, _)| turn);
            let gift = gift.filter(|turn| turn.priority <= *priority).map(of);
            if wanted.is_some() && gift.is_none_or(|gift| wanted <= Some(gift)) {
                return Ok(self.queue.pop_first().map(Next::Wanted));
            }
            if gift.is_some() {
                return Ok(self.gifts.pop_first().map(|(_, offer)| Next::Fresh(offer)));
            }
            if let Some(offer) = self.fresh[*priority as usize].pop_front() {
                return Ok(Some(Next::Fresh(offer)));
            }
        }
        Ok(None)
    }

    /// Looks for bundles that came in since the session began and that the neighbour may lack, until there are some or
    /// no more. Those that go before others get a turn, the rest waits until all turns are over.
    fn look_for_news<S: Store>(
        &mut self,
        priority: Priority,
        around: &Around<'_, S>,
    ) -> Result<(), StoreError> {
        let n = priority as usize;
        let newest = around.custody.newest_row(priority);
        while self.pushed_rows[n] < newest && self.fresh[n].len() < FRESH_MAX && self.gifts.len() < QUEUE_MAX
        {
            let after = OfferKey { priority, row: self.pushed_rows[n] };
            let found = around.custody.store.offers(after, FRESH_MAX)?;
            let found = found.into_iter().filter(|offer| offer.key.priority == priority);
            self.pushed_rows[n] = newest;
            for (count, offer) in (1..).zip(found) {
                if count == FRESH_MAX {
                    self.pushed_rows[n] = offer.key.row;
                }
                if offer.ingress != Some(self.peer) && offer.hops < HOPS_MAX {
                    self.take_news(offer, around)?;
                }
            }
        }
        Ok(())
    }

    fn take_news<S: Store>(&mut self, offer: Offer, around: &Around<'_, S>) -> Result<(), StoreError> {
        let turn = self.turn_of(&offer, around)?;
        if turn.sort == Sort::Other {
            self.fresh[turn.priority as usize].push_back(offer);
        } else {
            self.gifts.insert(turn, offer);
        }
        Ok(())
    }

    /// Writes a bundle, or notes that it has to be announced; `false` if the frame is full.
    fn write_next<S: Store>(
        &mut self,
        frame: &mut Frame<'_>,
        next: Next,
        around: &Around<'_, S>,
    ) -> Result<bool, StoreError> {
        let id = match &next {
            Next::Wanted(turn) => turn.id,
            Next::Fresh(offer) if self.known_to_peer.contains(&offer.id.prefix()) => return Ok(true),
            Next::Fresh(offer) => {
                let is_likely_lacked = match self.overlap {
                    Overlap::Unknown => around.links_open <= CHAIN_LINKS_MAX,
                    Overlap::Little => true,
                    Overlap::Much => false,
                };
                let is_pushed = offer.own || is_likely_lacked || offer.size_bytes <= TINY_BYTES_MAX;
                if offer.size_bytes > PUSH_BYTES_MAX || !is_pushed {
                    self.news.push(offer.id.prefix());
                    return Ok(self.news.len() < PREFIXES_MAX);
                }
                offer.id
            }
        };
        if self.in_flight.contains(&id.prefix()) {
            return Ok(true);
        }
        let now_tl_ms = around.custody.timeline.at(around.now);
        let held = around.custody.store.bundle(&id)?.filter(|bundle| bundle.expires_tl_ms > now_tl_ms);
        let Some(bundle) = held else {
            if matches!(next, Next::Wanted(_)) {
                self.gone.push(id.short());
            }
            return Ok(true);
        };
        if !frame.has_room_for_bundle(&bundle) {
            match next {
                Next::Wanted(wanted) => {
                    self.queue.insert(wanted);
                }
                Next::Fresh(offer) => self.fresh[offer.key.priority as usize].push_front(offer),
            }
            return Ok(false);
        }
        self.write_bundle(frame, &bundle, now_tl_ms, around.now.mono_ms);
        Ok(true)
    }

    fn write_bundle(
        &mut self,
        frame: &mut Frame<'_>,
        bundle: &StoredBundle,
        now_tl_ms: u64,
        now_mono_ms: u64,
    ) {
        let bytes = BundleBytes { header: &bundle.header, payload: &bundle.payload, auth: &bundle.auth };
        let here_ms = now_tl_ms.saturating_sub(bundle.received_tl_ms);
        let carried =
            Carried { age_ms: bundle.age_ms.saturating_add(here_ms), hops: u64::from(bundle.hops), bytes };
        Message::Bundle(carried).write(frame.plain);
        let own = bundle.class == Class::Own;
        self.in_flight.add(Flight { id: bundle.id, own, bytes: bundle.size_bytes() });
        self.sent_bundles += 1;
        if own {
            if self.handed_out.is_empty() {
                self.handed_out_mono_ms = now_mono_ms;
            }
            self.handed_out.push(bundle.id);
        }
    }

    fn write_news(&mut self, frame: &mut Frame<'_>) {
        let waiting = self.news.len();
        frame.write_news(&mut self.news);
        self.announced += (waiting - self.news.len()) as u64;
    }
}

impl Frame<'_> {
    fn has_room(&self, bytes: usize) -> bool {
        self.plain.len() + bytes <= self.bytes_max
    }

    /// Several bundles share a frame up to its fill; the first one may be larger.
    fn has_room_for_bundle(&self, bundle: &StoredBundle) -> bool {
        let bytes = Carried::message_bytes(bundle.header.len(), bundle.payload.len(), bundle.auth.len());
        let most = if self.plain.is_empty() { self.bytes_max } else { self.fill };
        self.plain.len() + bytes <= most
    }

    fn room_for_runs(&self) -> usize {
        self.bytes_max.saturating_sub(self.plain.len()) / Run::MESSAGE_BYTES_MAX
    }

    fn room_for_names<N: Name>(&self) -> usize {
        let bytes = self.bytes_max.saturating_sub(self.plain.len() + ENVELOPE_BYTES);
        (bytes / N::BYTES).min(PREFIXES_MAX)
    }

    /// Writes as many of the prefixes as there is room for, and takes them out of the list.
    fn write_news(&mut self, list: &mut Vec<IdPrefix>) {
        while !list.is_empty() {
            let count = self.room_for_names::<IdPrefix>().min(list.len());
            let portion: Vec<IdPrefix> = list.drain(..count).collect();
            let bytes = join(&portion);
            let Some(prefixes) = Prefixes::new(&bytes) else { return };
            Message::News(prefixes).write(self.plain);
        }
    }
}
