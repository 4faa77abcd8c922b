//! What comes in from neighbours.
//!
//! The cheap checks come first: size, hash, whether it is known, header, rate, signature, quota. (A second copy
//! costs a hash and a look-up, not a signature check; so does a forged one of what is held.) Whatever is
//! wrong with a bundle is the fault of the neighbour that sent it; whatever there is no room for is nobody's.
//!
//! What travels beside the bundle is not signed, so it is clamped: hops to their maximum, age from
//! below by what the clocks say, if both are to be trusted, and the lifetime by what this node grants to that
//! class (threats S-06, L-04, R-05).

#[cfg(test)]
mod bounds;

use crate::bucket::Bucket;
use crate::bundle::{BadBundle, Bundle, Content, NamedBundle};
use crate::clock::Now;
use crate::event::LinkKind;
use crate::header::Kind;
use crate::id::{BundleId, NodeId};
use crate::limits::{
    COPIES_MAX, COPIES_PUBLIC_MAX, CREATED_UNIX_MS_MIN, DROPPED_MS, HOPS_MAX, INTRO_COST, LIFETIME_S_MAX,
    LIFETIME_S_STRANGER_MAX, LITTLE_PERCENT, SKEW_MS_MAX, URGENT_RESERVE_PERCENT, percent,
};
use crate::profile::Profile;
use crate::store::{Class, Dropped, HandOverStep, Known, Priority, Store, StoreError, StoredBundle};
use crate::tally::Loss;
use crate::wire::Refusal;

use super::Custody;
use super::groups::UNHEARD;
use super::opening::Letter;
use super::shown::Words;

/// A bundle as it came in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival<'b> {
    pub(crate) bundle: NamedBundle<'b>,
    /// What the neighbour says it has been under way, in milliseconds.
    pub(crate) age_ms: u64,
    /// What the neighbour says it passed through.
    pub(crate) hops: u64,
    pub(crate) from: NodeId,
    pub(crate) via: LinkKind,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Stored, with the next commit.
    Stored,
    /// Held already.
    Known(BundleId),
    /// Not taken, which is nobody's fault.
    Refused(Refusal),
    /// No good.
    Bad(BadBundle),
}

impl<S: Store> Custody<S> {
    /// Takes in a bundle from a neighbour.
    pub(crate) fn receive(
        &mut self,
        arrival: Arrival<'_>,
        link: &mut Bucket,
        now: Now,
    ) -> Result<Verdict, StoreError> {
        let returns = match self.store.known(&arrival.bundle.id.prefix())? {
            Known::Held(held) => return Ok(Verdict::Known(held)),
            #[cfg(feature = "flaws")]
            Known::Dropped(_) if self.flaw == Some(crate::flaw::Flaw::IgnoredDropped) => false,
            Known::Dropped(Dropped::ForRoom) => true,
            Known::Dropped(Dropped::ForGood) => return Ok(self.refuse(Loss::Forgotten)),
            Known::No => false,
        };
        let bundle = match arrival.bundle.parse() {
            Ok(bundle) => bundle,
            Err(bad) => return Ok(self.condemn(bad)),
        };
        let verdict = self.consider(&bundle, arrival, returns, link, now)?;
        match (&verdict, bundle.header.kind) {
            (Verdict::Stored, Kind::Receipt) => self.tally.receipts_taken += 1,
            (Verdict::Stored, _) => self.tally.taken += 1,
            (Verdict::Known(_) | Verdict::Refused(_) | Verdict::Bad(_), _) => {}
        }
        Ok(verdict)
    }

    /// What the neighbour hears of a reason, which is counted.
    fn refuse(&mut self, why: Loss) -> Verdict {
        self.tally.count_refused(why);
        Verdict::Refused(match why {
            Loss::Busy => Refusal::Busy,
            Loss::NoRoom | Loss::LinkShare | Loss::OriginShare => Refusal::Full,
            Loss::Expired
            | Loss::GaveWay
            | Loss::Arrived
            | Loss::Outdated
            | Loss::Withdrawn
            | Loss::Blocked
            | Loss::Forgotten
            | Loss::Spent
            | Loss::Invalid => Refusal::Unwanted,
        })
    }

    fn condemn(&mut self, bad: BadBundle) -> Verdict {
        self.tally.count_refused(Loss::Invalid);
        Verdict::Bad(bad)
    }

    fn consider(
        &mut self,
        bundle: &Bundle<'_>,
        arrival: Arrival<'_>,
        returns: bool,
        link: &mut Bucket,
        now: Now,
    ) -> Result<Verdict, StoreError> {
        let letter = self.open_marked(bundle, link, now)?;
        let heard = self.hear(bundle);
        let class = if heard.is_some() { Class::Contact } else { self.class_of(bundle, letter.as_ref()) };
        let mut stored = self.as_stored(bundle, arrival, class, now);
        let is_others_mail = bundle.header.kind == Kind::Sealed && letter.is_none();
        let is_others_keys = bundle.header.kind == Kind::Prekeys && stored.class == Class::Stranger;
        let is_only_carried = (is_others_mail || is_others_keys) && !self.store.is_locked();
        if returns && !(is_only_carried && self.may_return(&stored)?) {
            return Ok(self.refuse(Loss::Forgotten));
        }
        if stored.class >= Class::Stranger && !self.may_write(&stored, link, now) {
            return Ok(self.refuse(Loss::Busy));
        }
        if stored.class == Class::Stranger
            && stored.priority == Priority::Sos
            && !self.heeds_call(&stored, now)?
        {
            stored.priority = Priority::Normal;
        }
        #[cfg(not(feature = "flaws"))]
        let proven = bundle.prove();
        #[cfg(feature = "flaws")]
        let proven = match self.flaw {
            Some(crate::flaw::Flaw::IgnoredSignature) => bundle.read(),
            _ => bundle.prove(),
        };
        let content = match proven {
            Ok(content) => content,
            Err(bad) => return Ok(self.condemn(bad)),
        };
        // A claim of this carrier, not of the bundle: with another carrier it may come again (threat S-08).
        if stored.expires_tl_ms <= stored.received_tl_ms || arrival.hops >= u64::from(HOPS_MAX) {
            return Ok(self.refuse(Loss::Spent));
        }
        if let Content::Receipt(receipt) = &content {
            stored.commitment = Some(receipt.commitment());
        }
        let until_tl_ms = stored.expires_tl_ms.saturating_add(DROPPED_MS);
        if let Some(why) = self.why_unwanted(&stored, &content)? {
            self.drop_and_remember(&bundle.id, until_tl_ms, why)?;
            return Ok(self.refuse(why));
        }
        if is_only_carried && !self.spare_untried(&stored, now)? {
            self.let_go(&bundle.id, until_tl_ms, Loss::NoRoom)?;
            return Ok(self.refuse(Loss::NoRoom));
        }
        if let Some(why) = self.make_room(&stored)? {
            return Ok(self.refuse(why));
        }
        match content {
            Content::Profile(profile) => self.take_profile(&stored, profile, now)?,
            Content::Receipt(receipt) => self.receive_receipt(&mut stored, &receipt, now)?,
            Content::Sealed(_) if self.store.is_locked() => self.put_by(&mut stored)?,
            Content::Sealed(sealed) => {
                self.insert(&stored)?;
                let letter = if sealed.is_marked { letter } else { self.open_intro(bundle, &sealed) };
                if let Some(letter) = letter {
                    self.take_letter(&stored, letter, Some((arrival.from, arrival.via)), now)?;
                }
            }
            Content::Prekeys(prekeys) => {
                let keys = bundle.header.origin.expect("prekeys that were proven have an author");
                self.take_prekeys(&stored, keys, &prekeys, now)?;
            }
            Content::SecretPost(post) => {
                self.take_secret_post(&mut stored, bundle, &post, (arrival.from, arrival.via), now)?;
            }
            Content::Group(_) => {
                stored.unshown_in = heard.is_none().then(|| UNHEARD.to_owned());
                self.insert(&stored)?;
                if let Some(heard) = heard {
                    self.take_heard(&stored, heard, Some(arrival.via), now)?;
                }
            }
            content @ (Content::Post(_) | Content::Bridged(_) | Content::Unread) => {
                self.take_words(&mut stored, bundle, content, arrival, now)?;
            }
        }
        Ok(Verdict::Stored)
    }

    /// Whether strangers may still make this node write so much. An intro counts for more: it is tried to be
    /// opened.
    fn may_write(&mut self, stored: &StoredBundle, link: &mut Bucket, now: Now) -> bool {
        let is_intro = stored.kind == Kind::Intro.number();
        let cost = stored.cost_bytes() * if is_intro { INTRO_COST } else { 1 };
        if is_intro && !self.intros.has(1, now) {
            return false;
        }
        if !self.strangers.has(cost, now) || !link.take(cost, now) {
            return false;
        }
        self.strangers.take(cost, now);
        if is_intro {
            self.intros.take(1, now);
        }
        true
    }

    /// Whether a stranger's call for help goes before others: so many do, and the last of them not for a neighbour that
    /// brought much already.
    fn heeds_call(&mut self, call: &StoredBundle, now: Now) -> Result<bool, StoreError> {
        #[cfg(feature = "flaws")]
        if self.flaw == Some(crate::flaw::Flaw::EveryCallHeeded) {
            return Ok(true);
        }
        let space = self.limits.bundle_bytes_max();
        let brought = call.ingress.map(|peer| self.store.usage_of_ingress(&peer)).transpose()?;
        let is_little = brought.unwrap_or_default().bytes <= percent(space, LITTLE_PERCENT);
        let reserve = if is_little { 0 } else { percent(self.urgent.capacity(), URGENT_RESERVE_PERCENT) };
        Ok(self.urgent.has(call.cost_bytes() + reserve, now) && self.urgent.take(call.cost_bytes(), now))
    }

    /// Whose a bundle is. An own one too is a stranger's: it was dropped here, or made with the same keys on
    /// another disk, and is not what this node has to keep.
    fn class_of(&self, bundle: &Bundle<'_>, letter: Option<&Letter>) -> Class {
        if bundle.header.kind == Kind::Receipt {
            return Class::Receipt;
        }
        let is_contacts = match (letter, &bundle.header.origin) {
            (Some(letter), _) => self.is_contacts(letter),
            (None, Some(origin)) => self.is_added(&origin.node_id()),
            (None, None) => false,
        };
        if is_contacts { Class::Contact } else { Class::Stranger }
    }

    /// The bundle with what is believed of what travelled beside it.
    fn as_stored(&self, bundle: &Bundle<'_>, arrival: Arrival<'_>, class: Class, now: Now) -> StoredBundle {
        let header = &bundle.header;
        let origin = header.origin.map(|keys| keys.node_id());
        let age_ms = believed_age_ms(arrival.age_ms, header.created_unix_ms, now);
        let received_tl_ms = self.timeline.at(now);
        let left_ms = granted_lifetime_ms(header.lifetime_ms(), class).saturating_sub(age_ms);
        StoredBundle {
            id: bundle.id,
            kind: header.kind.number(),
            priority: header.priority,
            class,
            origin,
            header: bundle.bytes.header.to_vec(),
            payload: bundle.bytes.payload.to_vec(),
            auth: bundle.bytes.auth.to_vec(),
            age_ms,
            received_tl_ms,
            expires_tl_ms: received_tl_ms.saturating_add(left_ms),
            hops: arrival.hops.saturating_add(1).min(u64::from(HOPS_MAX)) as u8,
            copies: copies_at_first(header.kind),
            ingress: Some(arrival.from),
            unshown_in: None,
            commitment: header.commitment,
        }
    }

    /// Why what is whole and valid is not wanted all the same; `None` if it is.
    fn why_unwanted(&self, stored: &StoredBundle, content: &Content) -> Result<Option<Loss>, StoreError> {
        if matches!(content, Content::Sealed(_)) {
            return Ok(self.has_arrived(stored)?.then_some(Loss::Arrived));
        }
        let Some(origin) = stored.origin else { return Ok(None) };
        if self.is_blocked(&origin) {
            return Ok(Some(Loss::Blocked));
        }
        let is_news = match content {
            Content::Profile(profile) if origin == self.id() => self.is_own_profile_newer(profile)?,
            Content::Profile(profile) => self.compare_profile(&origin, profile)?.0,
            Content::Prekeys(prekeys) => self.compare_prekeys(&origin, prekeys)?.0,
            Content::Post(_)
            | Content::Bridged(_)
            | Content::Sealed(_)
            | Content::Receipt(_)
            | Content::SecretPost(_)
            | Content::Group(_)
            | Content::Unread => true,
        };
        Ok((!is_news).then_some(Loss::Outdated))
    }

    fn take_profile(&mut self, stored: &StoredBundle, profile: Profile, now: Now) -> Result<(), StoreError> {
        let origin = stored.origin.expect("a profile that was proven has an author");
        if origin == self.id() {
            self.insert(stored)?;
            return self.outgrow(&profile);
        }
        if let (_, Some(older)) = self.compare_profile(&origin, &profile)? {
            self.drop_outdated(&older, now)?;
        }
        self.insert(stored)?;
        self.learn_profile(&origin, stored.id, profile, now)
    }

    fn take_words(
        &mut self,
        stored: &mut StoredBundle,
        bundle: &Bundle<'_>,
        content: Content,
        arrival: Arrival<'_>,
        now: Now,
    ) -> Result<(), StoreError> {
        let Some(words) = Words::of(content, &bundle.header) else { return self.insert(stored) };
        if let Some(origin) = stored.origin {
            self.hear_of(&origin, now)?;
        }
        // What a locked node shows is not known before it is unlocked.
        if self.store.is_locked() || !self.store.is_joined(&words.channel)? {
            stored.unshown_in = Some(words.channel);
            return self.insert(stored);
        }
        self.insert(stored)?;
        self.show(stored, words, now)?;
        self.note_step(&stored.id, HandOverStep::Received, &arrival.from, arrival.via, now)
    }
}

/// What a carrier begins to count down from. What is for everybody has copies everywhere, so it gives way before mail for one
/// person: a flood of posts would else push out what met nobody yet (threat L-02). A node's keys are for everybody, too, but
/// there is one bundle of them, and nobody is reached without.
fn copies_at_first(kind: Kind) -> u8 {
    match kind {
        Kind::Sealed | Kind::Intro | Kind::Receipt | Kind::Prekeys => COPIES_MAX,
        Kind::Post | Kind::Profile | Kind::Bridged | Kind::SecretPost | Kind::Group | Kind::Other(_) => {
            COPIES_PUBLIC_MAX
        }
    }
}

/// How long a bundle has been under way, in milliseconds: what the neighbour says, but not less than what
/// the clocks say, where this node's is trusted and the author's plausible; a day between them is forgiven.
fn believed_age_ms(claimed_ms: u64, created_unix_ms: Option<u64>, now: Now) -> u64 {
    let claimed_ms = claimed_ms.min(LIFETIME_S_MAX * 1000);
    let (Some(created), Some(today)) = (created_unix_ms, now.unix_ms) else { return claimed_ms };
    if !(CREATED_UNIX_MS_MIN..=today).contains(&created) {
        return claimed_ms;
    }
    claimed_ms.max((today - created).saturating_sub(SKEW_MS_MAX)).min(LIFETIME_S_MAX * 1000)
}

fn granted_lifetime_ms(asked_ms: u64, class: Class) -> u64 {
    let most_s = match class {
        Class::Own | Class::Contact => LIFETIME_S_MAX,
        Class::Stranger | Class::Receipt => LIFETIME_S_STRANGER_MAX,
    };
    asked_ms.min(most_s * 1000)
}
