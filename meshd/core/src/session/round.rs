//! A round of reconciliation, from both sides (see [`crate::reconcile`]).

use crate::canonical::Malformed;
use crate::coded::{Peeler, SYMBOL_BYTES, symbols_for};
use crate::id::{BundleId, Seq, ShortId};
use crate::limits::{GIFTS_PUSHED_MAX, HOPS_MAX, MORE_MAX, OWED_MAX, PENDING_MAX, QUEUE_MAX, SYMBOLS_MAX};
use crate::node::CloseReason;
use crate::reconcile::{
    Answering, Asking, AskingStage, BODY_HEAD_BYTES, Body, START_BYTES, Snapshot, walk::Heard,
};
use crate::store::{Dropped, Priority, Store, StoreError};
use crate::summary::{View, WholeSum, whole};

use super::{Around, Session, Sort, Stop, broken};

/// Bundles looked at that fit one name.
const ALIKE_MAX: usize = 4;
/// The symbols sent are enough for this many times the difference that the tugs tell, which they tell to an
/// eighth. On a slow link the other side says when it has enough.
const MARGIN: f64 = 1.25;

impl Session {
    pub(super) fn receive_reconcile<S: Store>(
        &mut self,
        body: &[u8],
        around: &mut Around<'_, S>,
    ) -> Result<bool, Stop> {
        match Body::read(body).map_err(broken)? {
            Body::Walking { tag, items, reader } => {
                let heard = self.reconciliation.walker.receive(tag, items, reader).map_err(broken)?;
                self.receive_walk(heard, around)
            }
            Body::Open { number, view } => self.receive_open(number, &view, around).map(|()| false),
            Body::Same { number } => self.receive_same(number, around),
            Body::Symbols { number, total, count, bytes } => {
                self.receive_symbols(number, total, (count, bytes), around)
            }
            Body::More { number } => self.receive_more(number, around).map(|()| false),
            Body::Want { number, is_last, wanted, declined, check } => {
                self.receive_want(number, [wanted, declined], around)?;
                if is_last {
                    self.end_answering(number, check, around)?;
                }
                Ok(true)
            }
            Body::Missing { number: _, starts } => {
                for start in starts.chunks_exact(START_BYTES) {
                    around.wants.lost_like(start, self.link);
                }
                Ok(true)
            }
            Body::Walk { number } => {
                self.count_round(around)?;
                self.reconciliation.asking.take_if(|asking| asking.number == number);
                self.begin_walk(around);
                Ok(true)
            }
        }
    }

    fn receive_walk<S: Store>(&mut self, heard: Heard, around: &mut Around<'_, S>) -> Result<bool, Stop> {
        match heard {
            Heard::Offered(prefixes) => {
                self.held_page = Some(prefixes);
                self.answer_page(around)?;
                Ok(false)
            }
            Heard::Wanted(offers) => {
                for offer in offers {
                    let turn = self.turn_of(&offer, around)?;
                    self.queue.insert(turn);
                }
                Ok(true)
            }
            Heard::Stale => Ok(false),
        }
    }

    /// Begins a round, if it is due.
    pub(super) fn open_round<S: Store>(&mut self, around: &mut Around<'_, S>) -> Result<(), StoreError> {
        if !std::mem::take(&mut self.reconciliation.is_due) {
            return Ok(());
        }
        let snapshot = snapshot(around)?;
        self.spent.questions += 1;
        let number = self.reconciliation.walker.next_number();
        let view = around.custody.summary(0)?.view();
        self.reconciliation.asking = Some(Asking { number, snapshot, stage: AskingStage::Opened, mores: 0 });
        self.reconciliation.say.push_back(Body::Open { number, view }.write());
        Ok(())
    }

    fn receive_open<S: Store>(
        &mut self,
        number: u64,
        view: &View,
        around: &mut Around<'_, S>,
    ) -> Result<(), Stop> {
        self.count_round(around)?;
        let snapshot = snapshot(around)?;
        let summary = around.custody.summary(0)?;
        self.reconciliation.answering = None;
        if summary.view().fingerprint == view.fingerprint {
            self.reconciliation.say.push_back(Body::Same { number }.write());
            self.reconciliation.has_ended = true;
            return Ok(self.confirm_pending(&[], snapshot.until, around)?);
        }
        let all = summary.count().saturating_add(view.count) as f64;
        let symbols = symbols_for((summary.distance(view) * MARGIN).min(all));
        if symbols > SYMBOLS_MAX {
            self.walk_both(number, around);
            return Ok(());
        }
        let spare = (symbols * 2).min(SYMBOLS_MAX);
        let row = around.custody.summary(spare)?.row().first(spare);
        self.reconciliation.ids_told += around.custody.summary(0)?.count();
        self.reconciliation.answering = Some(Answering {
            number,
            snapshot,
            row,
            sent: 0,
            total: symbols,
            named: 0,
            lacked: Vec::new(),
            is_ambiguous: false,
        });
        Ok(())
    }

    /// The neighbour makes this side describe its set, or name all of it.
    fn count_round<S: Store>(&mut self, around: &Around<'_, S>) -> Result<(), Stop> {
        let may = self.rounds.take(1, around.now);
        if may { Ok(()) } else { Err(Stop::Close(CloseReason::Protocol("it reconciles too often"))) }
    }

    fn receive_same<S: Store>(&mut self, number: u64, around: &mut Around<'_, S>) -> Result<bool, Stop> {
        let is_answer =
            |asking: &mut Asking| asking.number == number && matches!(asking.stage, AskingStage::Opened);
        let Some(asking) = self.reconciliation.asking.take_if(is_answer) else { return Ok(false) };
        self.reconciliation.has_ended = true;
        self.confirm_pending(&[], asking.snapshot.until, around)?;
        Ok(true)
    }

    /// The next symbols of a round that this side began. The last bodies of a portion are the time to peel: with much
    /// less than is needed little comes out, and some of it wrong.
    fn receive_symbols<S: Store>(
        &mut self,
        number: u64,
        total: usize,
        (count, bytes): (usize, &[u8]),
        around: &mut Around<'_, S>,
    ) -> Result<bool, Stop> {
        let Some(asking) = self.reconciliation.asking.as_mut().filter(|asking| asking.number == number)
        else {
            return Ok(false);
        };
        if matches!(asking.stage, AskingStage::Opened) {
            asking.snapshot = snapshot(around)?;
            let room = (total * 2).min(SYMBOLS_MAX);
            let own = around.custody.summary(room)?.row().first(room);
            asking.stage = AskingStage::Peeling(Box::new(Peeler::new(own)));
        }
        let AskingStage::Peeling(peeler) = &mut asking.stage else { return Ok(false) };
        if count == 0 && peeler.taken() < total || !peeler.take(bytes, count) || peeler.taken() > total {
            return Err(broken(Malformed("symbols that are too many, or not whole")));
        }
        if peeler.taken() * 8 >= total * 5 {
            peeler.peel();
        }
        if peeler.is_whole() || peeler.taken() == total {
            self.end_peeling(total, around)?;
        }
        Ok(true)
    }

    fn end_peeling<S: Store>(&mut self, total: usize, around: &mut Around<'_, S>) -> Result<(), Stop> {
        let Some(mut asking) = self.reconciliation.asking.take() else { return Ok(()) };
        let AskingStage::Peeling(peeler) = &asking.stage else { return Ok(()) };
        let (number, taken, is_whole) = (asking.number, peeler.taken(), peeler.is_whole());
        let ids: Vec<ShortId> = peeler.ids().collect();
        if !is_whole && asking.mores < MORE_MAX && total < peeler.capacity() {
            asking.mores += 1;
            self.spent.questions += 1;
            self.reconciliation.asking = Some(asking);
            self.reconciliation.say.push_back(Body::More { number }.write());
            return Ok(());
        }
        if !is_whole {
            self.walk_both(number, around);
            return Ok(());
        }
        let mut ours = Vec::new();
        let mut sum: WholeSum = asking.snapshot.whole;
        let (mut lacked, mut declined) = (std::collections::VecDeque::new(), Vec::new());
        let mut had_no_room = Vec::new();
        for id in ids {
            let held = around.custody.store.held_like(&id.0, ALIKE_MAX)?;
            for offer in &held {
                sum ^= whole(&offer.id);
                ours.push(offer.id);
                if offer.hops < HOPS_MAX {
                    self.gifts.insert(self.turn_of(offer, around)?, *offer);
                }
            }
            if !held.is_empty() {
                continue;
            }
            match around.custody.store.dropped_like(&id.0)? {
                None => lacked.push_back(id),
                Some(Dropped::ForRoom) => had_no_room.push(id),
                Some(Dropped::ForGood) => declined.push(id),
            }
        }
        // What is new goes first; what had no room before gets what is left of it.
        for id in had_no_room {
            if self.has_room_again(lacked.len() + 1, around)? {
                lacked.push_back(id);
            } else {
                declined.push(id);
            }
        }
        if taken < total {
            // A word that there is enough, ahead of what takes longer to say.
            let enough = Body::Want { number, is_last: false, wanted: &[], declined: &[], check: None };
            self.reconciliation.say.push_front(enough.write());
            self.reconciliation.is_enough = true;
        }
        if self.gifts.len() > GIFTS_PUSHED_MAX {
            self.announce_gifts();
        }
        let is_same_set = asking.snapshot.removals == around.custody.removals;
        let check = is_same_set.then_some(sum);
        ours.sort_unstable();
        let until = asking.snapshot.until;
        asking.stage = AskingStage::Wanting { lacked, declined, check };
        self.reconciliation.asking = Some(asking);
        self.confirm_pending(&ours, until, around)?;
        Ok(())
    }

    /// Names what the other side lacks instead of sending it unasked, but for what can't wait or costs no more than a name: it
    /// may have dropped the rest.
    fn announce_gifts(&mut self) {
        let Self { gifts, news, .. } = self;
        gifts.retain(|turn, offer| {
            let is_pushed = turn.sort != Sort::Other || turn.priority == Priority::Sos;
            if !is_pushed {
                news.push(offer.id.prefix());
            }
            is_pushed
        });
    }

    /// The next names of what is wanted, as far as enough is not owed already and there is room for it.
    pub(super) fn next_want<S: Store>(
        &mut self,
        bytes_max: usize,
        around: &mut Around<'_, S>,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        if !self.has_wants(around.wants) {
            return Ok(None);
        }
        let Some(asking) = &mut self.reconciliation.asking else { return Ok(None) };
        let (number, AskingStage::Wanting { lacked, declined, check }) = (asking.number, &mut asking.stage)
        else {
            return Ok(None);
        };
        let mut room = bytes_max.saturating_sub(BODY_HEAD_BYTES) / START_BYTES;
        if room == 0 {
            return Ok(None);
        }
        let (mut wanted, mut not) = (Vec::new(), Vec::new());
        while room > 0 && (!declined.is_empty() || !lacked.is_empty()) {
            room -= 1;
            if let Some(id) = declined.pop() {
                not.extend_from_slice(&id.0[..START_BYTES]);
                continue;
            }
            if around.wants.owed(self.link) >= OWED_MAX {
                break;
            }
            let Some(id) = lacked.pop_front() else { break };
            let bundles = around.wants.owed(self.link) as u64 + 1;
            let has_room =
                self.ids.take(1, around.now) && self.bucket.has(bundles * super::COST_BYTES, around.now);
            if !has_room {
                self.again_mono_ms.get_or_insert(around.now.mono_ms + crate::limits::WALK_MS_MIN);
            }
            let is_asked = has_room && around.wants.ask(id, self.link);
            if is_asked { &mut wanted } else { &mut not }.extend_from_slice(&id.0[..START_BYTES]);
        }
        let is_last = lacked.is_empty() && declined.is_empty();
        if wanted.is_empty() && not.is_empty() && !is_last {
            return Ok(None);
        }
        let check = check.filter(|_| is_last);
        if is_last {
            self.reconciliation.asking = None;
            self.reconciliation.has_ended = true;
        }
        let body = Body::Want { number, is_last, wanted: &wanted, declined: &not, check };
        Ok(Some(body.write()))
    }

    /// Whether [`Session::next_want`] may have something.
    pub(super) fn has_wants(&self, wants: &crate::wants::Wants) -> bool {
        let Some(Asking { stage: AskingStage::Wanting { lacked, declined, .. }, .. }) =
            &self.reconciliation.asking
        else {
            return false;
        };
        lacked.is_empty() || !declined.is_empty() || wants.owed(self.link) < OWED_MAX
    }

    /// The next symbols of a round that the other side began.
    pub(super) fn next_symbols(&mut self, bytes_max: usize) -> Option<Vec<u8>> {
        let room = bytes_max.saturating_sub(BODY_HEAD_BYTES) / SYMBOL_BYTES;
        let answering = self.reconciliation.answering.as_mut()?;
        let count = room.min(answering.total - answering.sent);
        if count == 0 {
            return None;
        }
        let bytes = answering.row.to_bytes(answering.sent..answering.sent + count);
        answering.sent += count;
        let (number, total) = (answering.number, answering.total);
        Some(Body::Symbols { number, total, count, bytes: &bytes }.write())
    }

    fn receive_more<S: Store>(&mut self, number: u64, around: &mut Around<'_, S>) -> Result<(), Stop> {
        let Some(answering) = self.reconciliation.answering.as_mut().filter(|one| one.number == number)
        else {
            return Ok(());
        };
        if answering.total < answering.row.len() {
            answering.total = (answering.total + answering.total.div_ceil(3)).min(answering.row.len());
        } else {
            self.reconciliation.answering = None;
            self.walk_both(number, around);
        }
        Ok(())
    }

    /// What the other side wants, and what it lacks but does not want. It has enough symbols then.
    fn receive_want<S: Store>(
        &mut self,
        number: u64,
        names: [&[u8]; 2],
        around: &mut Around<'_, S>,
    ) -> Result<(), Stop> {
        let Some(answering) = self.reconciliation.answering.as_mut().filter(|one| one.number == number)
        else {
            return Ok(());
        };
        answering.total = answering.sent;
        let mut turns = Vec::new();
        let [wanted, declined] = names.map(|names| names.chunks_exact(START_BYTES));
        if self.queue.len() + wanted.len() > QUEUE_MAX {
            return Err(Stop::Close(CloseReason::Protocol("it asks for too much at once")));
        }
        // No more ids come out of symbols than there are symbols.
        answering.named += wanted.len() + declined.len();
        if answering.named > answering.row.len() {
            return Err(Stop::Close(CloseReason::Protocol("it lacks more than it was told of")));
        }
        let mut missing = Vec::new();
        for (start, is_wanted) in
            wanted.map(|start| (start, true)).chain(declined.map(|start| (start, false)))
        {
            let held = around.custody.store.held_like(start, ALIKE_MAX)?;
            answering.is_ambiguous |= held.len() > 1;
            if held.is_empty() && is_wanted {
                missing.extend_from_slice(start);
            }
            for offer in held {
                answering.lacked.push(offer.id);
                if is_wanted {
                    turns.push(offer);
                }
            }
        }
        for offer in turns {
            let turn = self.turn_of(&offer, around)?;
            self.queue.insert(turn);
        }
        if !missing.is_empty() {
            self.reconciliation.say.push_back(Body::Missing { number, starts: &missing }.write());
        }
        Ok(())
    }

    /// The other side knows the difference. What both have is to be the same by its whole ids too: if not, two bundles
    /// have one short id, and only a walk tells them apart.
    fn end_answering<S: Store>(
        &mut self,
        number: u64,
        check: Option<WholeSum>,
        around: &mut Around<'_, S>,
    ) -> Result<(), Stop> {
        let Some(mut answering) = self.reconciliation.answering.take_if(|one| one.number == number) else {
            return Ok(());
        };
        self.reconciliation.has_ended = true;
        answering.lacked.sort_unstable();
        answering.lacked.dedup();
        let common = answering.lacked.iter().fold(answering.snapshot.whole, |sum, id| sum ^ whole(id));
        let is_same_set = answering.snapshot.removals == around.custody.removals && !answering.is_ambiguous;
        if is_same_set && check.is_some_and(|check| check != common) {
            self.walk_both(number, around);
            return Ok(());
        }
        Ok(self.confirm_pending(&answering.lacked, answering.snapshot.until, around)?)
    }

    /// Own messages not known to be elsewhere, except those that the other side lacks, are there. It is a claim, as all
    /// the other side says of itself.
    fn confirm_pending<S: Store>(
        &mut self,
        lacked: &[BundleId],
        until: Seq,
        around: &mut Around<'_, S>,
    ) -> Result<(), StoreError> {
        for id in around.custody.store.pending(until, PENDING_MAX)? {
            let Some(bundle) = around.custody.bundle_of(&id)? else { continue };
            if lacked.binary_search(&bundle).is_err() {
                around.custody.held_by(&bundle, &self.peer, self.via, around.now)?;
            }
        }
        Ok(())
    }

    /// Both sides name everything they hold.
    fn walk_both<S: Store>(&mut self, number: u64, around: &Around<'_, S>) {
        self.reconciliation.say.push_back(Body::Walk { number }.write());
        self.begin_walk(around);
    }

    fn begin_walk<S: Store>(&mut self, around: &Around<'_, S>) {
        self.reconciliation.has_ended = true;
        self.reconciliation.walker.begin(around.custody.newest_row_of_all());
    }
}

fn snapshot<S: Store>(around: &mut Around<'_, S>) -> Result<Snapshot, StoreError> {
    let until = around.custody.store.event_bounds()?.map_or(Seq(0), |(_, newest)| newest);
    let removals = around.custody.removals;
    Ok(Snapshot { whole: around.custody.summary(0)?.whole(), removals, until })
}
