//! Naming everything: the way to find out what each lacks when two sets have next to nothing in common, or when
//! their difference does not come apart.
//!
//! Each side walks over what it holds, most urgent first, and names it in pages of id prefixes; the other side
//! answers each page with one bit per prefix. The next page waits for the answer. Pages begin small, so that a
//! short encounter moves bundles soon, and double.
//!
//! A walk covers what was held when it began; what comes later is live push. What came from the neighbour itself
//! is offered too: it may have lost its disk since.

use crate::canonical::{Malformed, Reader, Writer};
use crate::id::IdPrefix;
use crate::limits::{HOPS_MAX, PAGE_IDS_FIRST, PAGE_IDS_MAX, WALK_ROWS_MAX};
use crate::store::{Offer, OfferKey, Store, StoreError};

/// One session's walks.
#[derive(Debug)]
pub(crate) struct Walker {
    walk: Option<Walk>,
    /// Grows over the whole life of a link, so that an answer to an older walk is told from one to this.
    last_page: u64,
    page_ids: usize,
    ids_offered: u64,
    sent: Option<SentPage>,
    /// The page of theirs that was not answered yet.
    open_page: Option<(u64, usize)>,
    answer: Option<Vec<u8>>,
    has_their_last: bool,
}

#[derive(Debug, Clone, Copy)]
struct Walk {
    after: OfferKey,
    /// What is newer is none of this walk's.
    until_row: u64,
}

#[derive(Debug)]
struct SentPage {
    number: u64,
    offers: Vec<Offer>,
}

/// What a body said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// They hold these. To be answered.
    Offered(Vec<IdPrefix>),
    /// They want these of ours.
    Wanted(Vec<Offer>),
    /// Nothing that matters any more.
    Stale,
}

/// Tag of a page.
pub(crate) const PAGE: u64 = 0;
/// Tag of an answer to one.
pub(crate) const ANSWER: u64 = 1;

impl Walker {
    /// Walks nowhere yet. Pages are numbered on from `last_page`.
    pub(crate) fn new(last_page: u64) -> Self {
        Self {
            walk: None,
            last_page,
            page_ids: PAGE_IDS_FIRST,
            ids_offered: 0,
            sent: None,
            open_page: None,
            answer: None,
            has_their_last: true,
        }
    }

    /// Begins a walk over all rows up to `until_row`, unless one is under way.
    pub(crate) fn begin(&mut self, until_row: u64) {
        if self.is_walk_over() {
            self.walk = Some(Walk { after: OfferKey::START, until_row });
        }
    }

    /// The number of the last page sent, or round begun.
    pub(crate) fn last_page(&self) -> u64 {
        self.last_page
    }

    /// A number for something else than a page.
    pub(crate) fn next_number(&mut self) -> u64 {
        self.last_page += 1;
        self.last_page
    }

    /// How many ids were offered so far.
    pub(crate) fn ids_offered(&self) -> u64 {
        self.ids_offered
    }

    /// Whether everything of this walk was offered, and answered.
    pub(crate) fn is_walk_over(&self) -> bool {
        self.walk.is_none() && self.sent.is_none()
    }

    /// Whether both sides have heard everything.
    pub(crate) fn is_over(&self) -> bool {
        self.is_walk_over() && self.has_their_last && self.open_page.is_none() && self.answer.is_none()
    }

    /// Whether an answer is owed to this side.
    pub(crate) fn is_waiting(&self) -> bool {
        self.sent.is_some()
    }

    /// Whether [`Walker::next`] has something.
    pub(crate) fn has_next(&self, may_offer: bool) -> bool {
        self.answer.is_some() || self.may_send_page(may_offer)
    }

    /// The next body to send: an answer, or a page if `may_offer`.
    pub(crate) fn next(
        &mut self,
        store: &impl Store,
        may_offer: bool,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        if let Some(answer) = self.answer.take() {
            return Ok(Some(answer));
        }
        if !self.may_send_page(may_offer) {
            return Ok(None);
        }
        self.next_page(store).map(Some)
    }

    /// Takes in a page or an answer, told by its tag.
    pub(crate) fn receive(
        &mut self,
        tag: u64,
        items: u64,
        mut reader: Reader<'_>,
    ) -> Result<Heard, Malformed> {
        match (tag, items) {
            (PAGE, 4) => {
                let (number, is_last) = (reader.uint()?, reader.uint()?);
                let prefixes = reader.bytes()?;
                reader.end()?;
                self.receive_page(number, is_last, prefixes)
            }
            (ANSWER, 3) => {
                let (number, bits) = (reader.uint()?, reader.bytes()?);
                reader.end()?;
                self.receive_answer(number, bits)
            }
            _ => Err(Malformed("a reconciliation of another kind")),
        }
    }

    /// Says which of the prefixes of the open page are wanted.
    pub(crate) fn answer(&mut self, wanted: &[bool]) {
        let Some((number, count)) = self.open_page.take() else { return };
        debug_assert_eq!(count, wanted.len());
        let mut bits = vec![0u8; count.div_ceil(8)];
        for (n, _) in wanted.iter().enumerate().filter(|(_, wanted)| **wanted) {
            bits[n / 8] |= 1 << (n % 8);
        }
        let mut writer = Writer::with_capacity(bits.len() + 16);
        writer.array(3).uint(ANSWER).uint(number).bytes(&bits);
        self.answer = Some(writer.finish());
    }

    fn may_send_page(&self, may_offer: bool) -> bool {
        may_offer && self.sent.is_none() && self.walk.is_some()
    }

    fn next_page(&mut self, store: &impl Store) -> Result<Vec<u8>, StoreError> {
        let mut walk = self.walk.expect("there is a walk to make a page of");
        let mut offers: Vec<Offer> = Vec::new();
        let mut rows_seen = 0;
        let mut is_last = false;
        while offers.len() < self.page_ids && rows_seen < WALK_ROWS_MAX {
            let limit = self.page_ids - offers.len();
            let found = store.offers(walk.after, limit)?;
            is_last = found.len() < limit;
            rows_seen += found.len();
            walk.after = found.last().map_or(walk.after, |last| last.key);
            let is_due = |offer: &&Offer| offer.key.row <= walk.until_row && offer.hops < HOPS_MAX;
            offers.extend(found.iter().filter(is_due));
            if is_last {
                break;
            }
        }
        self.walk = (!is_last).then_some(walk);
        self.last_page += 1;
        self.ids_offered += offers.len() as u64;
        self.page_ids = (self.page_ids * 2).min(PAGE_IDS_MAX);
        let prefixes: Vec<u8> = offers.iter().flat_map(|offer| offer.id.prefix().0).collect();
        let mut writer = Writer::with_capacity(prefixes.len() + 24);
        writer.array(4).uint(PAGE).uint(self.last_page).uint(u64::from(is_last)).bytes(&prefixes);
        self.sent = Some(SentPage { number: self.last_page, offers });
        Ok(writer.finish())
    }

    fn receive_page(&mut self, number: u64, is_last: u64, prefixes: &[u8]) -> Result<Heard, Malformed> {
        let count = prefixes.len() / IdPrefix::BYTES;
        if !prefixes.len().is_multiple_of(IdPrefix::BYTES) || count > PAGE_IDS_MAX || is_last > 1 {
            return Err(Malformed("a page that is too long or not whole"));
        }
        // A page while another is open takes its place: the other side has begun anew.
        if self.open_page.is_some_and(|(open, _)| number <= open) {
            return Err(Malformed("a page sent twice"));
        }
        self.open_page = Some((number, count));
        self.answer = None;
        self.has_their_last = is_last == 1;
        let ids = prefixes.chunks_exact(IdPrefix::BYTES);
        Ok(Heard::Offered(ids.map(|id| IdPrefix(id.try_into().expect("chunks are that long"))).collect()))
    }

    fn receive_answer(&mut self, number: u64, bits: &[u8]) -> Result<Heard, Malformed> {
        if number > self.last_page {
            return Err(Malformed("an answer to a page that was never sent"));
        }
        let Some(sent) = self.sent.take_if(|sent| sent.number == number) else { return Ok(Heard::Stale) };
        let count = sent.offers.len();
        let is_spare_set = count % 8 != 0 && bits.last().is_some_and(|last| last >> (count % 8) != 0);
        if bits.len() != count.div_ceil(8) || is_spare_set {
            return Err(Malformed("an answer of the wrong length"));
        }
        let is_wanted = |n: &usize| bits[n / 8] & 1 << (n % 8) != 0;
        Ok(Heard::Wanted((0..count).filter(is_wanted).map(|n| sent.offers[n]).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::bundle;
    use crate::id::BundleId;
    use crate::mem::MemStore;
    use crate::store::{OfferKey, Priority};

    fn store(count: u16) -> MemStore {
        let mut store = MemStore::new();
        for n in 0..count {
            let mut one = bundle(0);
            one.id.0[..2].copy_from_slice(&n.to_be_bytes());
            store.insert_bundle(&one).unwrap();
        }
        store
    }

    fn begun(until_row: u64, last_page: u64) -> Walker {
        let mut walker = Walker::new(last_page);
        walker.begin(until_row);
        walker
    }

    fn take(walker: &mut Walker, body: &[u8]) -> Result<Heard, Malformed> {
        let mut reader = Reader::new(body);
        let items = reader.array()?;
        let tag = reader.uint()?;
        walker.receive(tag, items, reader)
    }

    fn row(store: &MemStore) -> u64 {
        store.newest_row(Priority::Normal).unwrap()
    }

    /// Walks over `store` and answers every page with what `wanted` says; everything that was wanted, and the
    /// length of each page.
    fn walk(store: &MemStore, wanted: impl Fn(&IdPrefix) -> bool) -> (Vec<BundleId>, Vec<usize>) {
        let mut ours = begun(row(store), 0);
        let mut theirs = Walker::new(0);
        let (mut got, mut pages) = (Vec::new(), Vec::new());
        while let Some(body) = ours.next(store, true).unwrap() {
            assert_eq!(ours.next(store, true), Ok(None), "the next page waits for the answer");
            let Ok(Heard::Offered(prefixes)) = take(&mut theirs, &body) else { panic!("a page") };
            pages.push(prefixes.len());
            theirs.answer(&prefixes.iter().map(&wanted).collect::<Vec<_>>());
            let answer = theirs.next(store, false).unwrap().unwrap();
            let Ok(Heard::Wanted(ids)) = take(&mut ours, &answer) else { panic!("an answer") };
            got.extend(ids.into_iter().map(|offer| offer.id));
        }
        assert!(ours.is_walk_over() && theirs.has_their_last);
        (got, pages)
    }

    #[test]
    fn s01_everything_is_offered_once_in_growing_bounded_pages() {
        let store = store(5_000);
        let (got, pages) = walk(&store, |_| true);
        let all: Vec<BundleId> =
            store.offers(OfferKey::START, 5_000).unwrap().iter().map(|offer| offer.id).collect();
        assert_eq!(got, all);
        assert_eq!(pages[0], PAGE_IDS_FIRST);
        assert_eq!(*pages.iter().max().unwrap(), PAGE_IDS_MAX);
    }

    #[test]
    fn only_what_is_wanted_comes_back() {
        let (got, _) = walk(&store(100), |prefix| prefix.0[1].is_multiple_of(7));
        assert_eq!(got.len(), 15);
        let (got, pages) = walk(&store(0), |_| true);
        assert_eq!((got.len(), pages), (0, vec![0]), "nothing to offer is said in one page");
    }

    #[test]
    fn what_is_newer_or_was_carried_too_far_is_not_offered() {
        let mut store = store(3);
        let until = row(&store);
        let mut skipped = [bundle(50), bundle(51)];
        skipped[0].hops = HOPS_MAX;
        for one in &skipped {
            store.insert_bundle(one).unwrap();
        }
        let mut ours = begun(until + 1, 0);
        let body = ours.next(&store, true).unwrap().unwrap();
        let Ok(Heard::Offered(prefixes)) = take(&mut Walker::new(0), &body) else { panic!("a page") };
        assert_eq!(prefixes.len(), 3);
    }

    #[test]
    fn an_answer_to_an_older_walk_is_ignored_and_a_wrong_one_refused() {
        let store = store(10);
        let mut theirs = Walker::new(0);
        let mut ours = begun(row(&store), 0);
        let body = ours.next(&store, true).unwrap().unwrap();
        let Ok(Heard::Offered(prefixes)) = take(&mut theirs, &body) else { panic!("a page") };
        theirs.answer(&vec![true; prefixes.len()]);
        let answer = theirs.next(&store, false).unwrap().unwrap();
        let mut anew = begun(row(&store), ours.last_page());
        assert_eq!(take(&mut anew, &answer), Ok(Heard::Stale));
        anew.next(&store, true).unwrap();
        assert_eq!(take(&mut anew, &answer), Ok(Heard::Stale));
        for bits in [&[0xff][..], &[0xff, 0x03, 0], &[0xff, 0x04]] {
            let mut ours = begun(row(&store), 0);
            ours.next(&store, true).unwrap();
            let mut writer = Writer::default();
            writer.array(3).uint(ANSWER).uint(1).bytes(bits);
            assert!(take(&mut ours, &writer.finish()).is_err(), "{bits:x?}");
        }
    }

    #[test]
    fn w03_a_body_cut_at_any_byte_is_refused() {
        let store = store(3);
        let body = begun(row(&store), 0).next(&store, true).unwrap().unwrap();
        for length in 0..body.len() {
            assert!(take(&mut Walker::new(0), &body[..length]).is_err(), "{length}");
        }
    }
}
