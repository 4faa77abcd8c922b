//! What a neighbour says in a session.

use crate::bundle::BundleBytes;
use crate::canonical::Reader;
use crate::custody::{Arrival, Verdict};
use crate::id::{BundleId, IdPrefix};
use crate::limits::{OWED_MAX, PUSH_BYTES_MAX, QUEUE_MAX, STALL_MS_MAX, WALK_MS_MIN};
use crate::node::CloseReason;
use crate::store::{Class, Dropped, Known, Priority, Store, StoreError};
use crate::wire::{Carried, Message, Prefixes, Refusal, Run, ShortIds};

use super::{Around, Overlap, Session, Stop, Urgency, broken};

/// Announced bundles that wait to be asked for.
const HELD_NEWS_MAX: usize = 8 * 1024;
/// Bundles sent for one short id: more than one has it only if somebody made them so.
const GET_ALIKE_MAX: usize = 4;

impl Session {
    /// Takes in the messages of a frame; says whether somebody waits for what they did.
    pub(crate) fn receive<S: Store>(
        &mut self,
        plain: &[u8],
        around: &mut Around<'_, S>,
    ) -> Result<Urgency, Stop> {
        self.has_heard = true;
        let mut urgency = Urgency::MayWait;
        let mut reader = Reader::new(plain);
        while !reader.is_at_end() {
            let message = Message::read(&mut reader).map_err(broken)?;
            if !matches!(message, Message::Stored(_) | Message::Refused(..)) {
                urgency = Urgency::Now;
            }
            let has_progress = self.receive_message(message, around)?;
            self.check_answers()?;
            self.settle_debts(around, has_progress);
        }
        Ok(urgency)
    }

    /// Takes in one message; says whether something came that was owed.
    fn receive_message<S: Store>(
        &mut self,
        message: Message<'_>,
        around: &mut Around<'_, S>,
    ) -> Result<bool, Stop> {
        match message {
            Message::Reconcile(body) => {
                around.custody.tally.reconcile_received_bytes += body.len() as u64;
                self.receive_reconcile(body, around)
            }
            Message::Bundle(carried) => {
                self.heard += 1;
                self.receive_bundle(self.heard - 1, carried, around)
            }
            Message::News(prefixes) => self.receive_news(prefixes, around),
            Message::Get(ids) => self.receive_get(ids, around),
            Message::Stored(run) => self.receive_stored(run, around),
            Message::Refused(why, run) => self.receive_refused(why, run),
            Message::Gone(ids) => {
                for id in ids.iter() {
                    around.wants.lost(&id, self.link);
                }
                self.answer_page(around)?;
                self.ask_for_news(around)?;
                Ok(true)
            }
            Message::Again => {
                self.round_again_mono_ms = Some(self.round_began_mono_ms.saturating_add(WALK_MS_MIN));
                self.round_again_if_due(around);
                Ok(false)
            }
            Message::Takeover => {
                Err(Stop::Close(CloseReason::Protocol("a takeover in the middle of a frame")))
            }
            Message::Unknown => Ok(false),
        }
    }

    /// Answers the page that waits, unless enough was asked for.
    pub(super) fn answer_page<S: Store>(&mut self, around: &mut Around<'_, S>) -> Result<(), Stop> {
        if around.wants.owed(self.link) >= OWED_MAX {
            return Ok(());
        }
        let Some(prefixes) = self.held_page.take() else { return Ok(()) };
        let wanted = if self.ids.take(prefixes.len() as u64, around.now) {
            let has_own = around.custody.store.usage(Class::Own)?.bundles > 0;
            let mut wanted = Vec::with_capacity(prefixes.len());
            for prefix in prefixes {
                wanted.push(self.wants(prefix, has_own, around)?);
            }
            wanted
        } else {
            self.decline(around.now);
            vec![false; prefixes.len()]
        };
        self.reconciliation.walker.answer(&wanted);
        Ok(())
    }

    /// Whether to ask this neighbour for something it offers.
    fn wants<S: Store>(
        &mut self,
        prefix: IdPrefix,
        has_own: bool,
        around: &mut Around<'_, S>,
    ) -> Result<bool, Stop> {
        match around.custody.store.known(&prefix)? {
            Known::Held(id) => {
                if has_own {
                    around.custody.seen_at(&id, &self.peer, self.via, around.now)?;
                }
                Ok(false)
            }
            Known::Dropped(Dropped::ForGood) => Ok(false),
            Known::Dropped(Dropped::ForRoom) if !self.has_room_again(1, around)? => Ok(false),
            Known::No | Known::Dropped(Dropped::ForRoom) if self.has_room_for_more(around) => {
                Ok(around.wants.ask(prefix.short(), self.link))
            }
            Known::No | Known::Dropped(Dropped::ForRoom) => {
                self.decline(around.now);
                Ok(false)
            }
        }
    }

    /// Whether there is room for so many of those that had none before, beside what is asked for already.
    pub(super) fn has_room_again<S: Store>(
        &self,
        more: usize,
        around: &Around<'_, S>,
    ) -> Result<bool, StoreError> {
        let bundles = (around.wants.owed(self.link) + more) as u64;
        around.custody.has_room_again(bundles, bundles * super::COST_BYTES)
    }

    /// Whether what would be asked for next is likely to be taken when it comes.
    fn has_room_for_more<S: Store>(&mut self, around: &Around<'_, S>) -> bool {
        let bundles = around.wants.owed(self.link) as u64 + 1;
        self.bucket.has(bundles * super::COST_BYTES, around.now)
    }

    fn receive_news<S: Store>(
        &mut self,
        prefixes: Prefixes<'_>,
        around: &mut Around<'_, S>,
    ) -> Result<bool, Stop> {
        let is_too_much = self.held_news.len() + prefixes.count() > HELD_NEWS_MAX;
        if is_too_much || !self.ids.take(prefixes.count() as u64, around.now) {
            self.decline(around.now);
            return Ok(false);
        }
        self.held_news.extend(prefixes.iter());
        self.ask_for_news(around)?;
        Ok(false)
    }

    /// Asks for what was announced, unless enough was asked for.
    fn ask_for_news<S: Store>(&mut self, around: &mut Around<'_, S>) -> Result<(), Stop> {
        while around.wants.owed(self.link) < OWED_MAX {
            let Some(prefix) = self.held_news.pop_front() else { break };
            if self.wants(prefix, true, around)? {
                around.wants.get(prefix.short(), self.link);
            } else {
                self.overlap = Overlap::Much;
            }
            self.remember_known(prefix);
        }
        Ok(())
    }

    fn receive_get<S: Store>(&mut self, ids: ShortIds<'_>, around: &mut Around<'_, S>) -> Result<bool, Stop> {
        self.asked_for += ids.count() as u64;
        let offered = self.announced + self.reconciliation.ids_offered();
        if self.asked_for > offered || self.queue.len() + ids.count() > QUEUE_MAX {
            return Err(Stop::Close(CloseReason::Protocol("it asks for more than it was offered")));
        }
        for id in ids.iter() {
            let held = around.custody.store.held_like(&id.0, GET_ALIKE_MAX)?;
            if held.is_empty() {
                self.gone.push(id);
            }
            for offer in held.iter().filter(|offer| !self.in_flight.contains(&offer.id.prefix())) {
                self.overlap = Overlap::Little;
                let turn = self.turn_of(offer, around)?;
                self.queue.insert(turn);
            }
        }
        Ok(false)
    }

    /// A bundle, the neighbour's so many-th on this link. Each gets an answer.
    fn receive_bundle<S: Store>(
        &mut self,
        number: u64,
        carried: Carried<'_>,
        around: &mut Around<'_, S>,
    ) -> Result<bool, Stop> {
        let Ok(named) = carried.bytes.name() else {
            self.offend()?;
            self.refuse(Refusal::Bad, number);
            return Ok(false);
        };
        let prefix = named.id.prefix();
        let asked_of = around.wants.asked_of(&prefix.short());
        if asked_of.is_none() && self.is_uncalled_for(carried.bytes, around) {
            self.offend()?;
            self.refuse(Refusal::Bad, number);
            return Ok(false);
        }
        let newest_call = around.custody.newest_row(Priority::Sos);
        let arrival = Arrival {
            bundle: named,
            age_ms: carried.age_ms,
            hops: carried.hops,
            from: self.peer,
            via: self.via,
        };
        match around.custody.receive(arrival, &mut self.bucket, around.now)? {
            Verdict::Stored => {
                self.dealings.bundles_received += 1;
                self.received_bundles += 1;
                let is_urgent = around.custody.newest_row(Priority::Sos) != newest_call;
                self.answers.add(number, carried.bytes.size_bytes(), is_urgent, around.now.mono_ms);
            }
            Verdict::Known(id) => self.receive_known(id, (number, carried.bytes.size_bytes()), around)?,
            Verdict::Refused(why) => {
                if why == Refusal::Busy {
                    self.decline(around.now);
                }
                self.refuse(why, number);
            }
            Verdict::Bad(_) => {
                self.offend()?;
                self.refuse(Refusal::Bad, number);
                around.wants.lost(&prefix.short(), self.link);
                return Ok(false);
            }
        }
        around.wants.settle(&prefix.short());
        self.answer_page(around)?;
        self.ask_for_news(around)?;
        Ok(asked_of == Some(self.link))
    }

    /// Whether nobody pushes such a bundle unasked. A session that is young may get what an earlier one on
    /// this link asked for.
    fn is_uncalled_for<S: Store>(&self, bytes: BundleBytes<'_>, around: &Around<'_, S>) -> bool {
        let age_ms = around.now.mono_ms.saturating_sub(self.began_mono_ms);
        bytes.size_bytes() > PUSH_BYTES_MAX && age_ms > STALL_MS_MAX
    }

    /// A second copy: what the other side wants to hear is that it is stored here.
    fn receive_known<S: Store>(
        &mut self,
        id: BundleId,
        (number, bytes): (u64, u64),
        around: &mut Around<'_, S>,
    ) -> Result<(), Stop> {
        self.answers.add(number, bytes, false, around.now.mono_ms);
        self.remember_known(id.prefix());
        self.overlap = Overlap::Much;
        around.custody.held_by(&id, &self.peer, self.via, around.now)?;
        Ok(())
    }

    fn refuse(&mut self, why: Refusal, number: u64) {
        self.refused.entry(why).or_default().add(number);
    }

    /// The neighbour has them. Only what was sent to it and not answered counts.
    fn receive_stored<S: Store>(&mut self, run: Run, around: &mut Around<'_, S>) -> Result<bool, Stop> {
        self.note_handed_out(around)?;
        let mut has_progress = false;
        for flight in self.in_flight.land(run).map_err(broken)? {
            self.dealings.bundles_sent += 1;
            has_progress = true;
            if flight.own {
                around.custody.held_by(&flight.id, &self.peer, self.via, around.now)?;
            }
            around.custody.store.hand_over_copy(&flight.id)?;
        }
        Ok(has_progress)
    }

    /// They were not taken. Who has dropped one thing may have dropped others, and is asked before they are sent.
    fn receive_refused(&mut self, why: Refusal, run: Run) -> Result<bool, Stop> {
        if matches!(why, Refusal::Unwanted | Refusal::Full) {
            self.overlap = Overlap::Much;
        }
        Ok(!self.in_flight.land(run).map_err(broken)?.is_empty())
    }
}
