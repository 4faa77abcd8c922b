//! Who gives way when the store is full.
//!
//! The bundles' space has guaranteed shares: own 30 %, contacts 50 %, strangers 15 %; receipts have at most 5 %. Whoever needs more
//! borrows what is free, and gives it back at once when its owner comes. Within a share the least urgent goes
//! first, then what was handed on most often from here (the fewest copies left), then the longest held; nobody pushes out
//! what is more urgent than itself. Own bundles never go. What is for everybody counts as handed on half as often as can be
//! counted, so it goes before mail for one person; but a share of what strangers have is its own, and of that mail takes nothing.
//! Others' mail does not push out others' mail that was never handed
//! on, unless nobody took it for a day: it would only trade a letter that met nobody for another.
//!
//! Neighbours share what strangers' bundles have: before all this, whoever has brought several times what another one
//! has pushes out its own and not the other's, and gives way to the other's.
//!
//! Others' mail that gave way, or found no room, comes again when there is room for it without anything going: receipts and
//! expiry empty stores that were full, and what is still under way then is what had the least luck so far.

#[cfg(test)]
mod bounds;

use crate::clock::Now;
use crate::header::Kind;
use crate::id::NodeId;
use crate::limits::{self, percent};
use crate::store::{Class, Priority, Store, StoreError, StoredBundle, Usage, Victim};

use crate::tally::Loss;

use super::Custody;

/// A bundle that wants in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Newcomer {
    pub(super) class: Class,
    pub(super) priority: Priority,
    pub(super) cost_bytes: u64,
    /// The neighbour it counts for.
    ingress: Option<NodeId>,
    /// Whether it is a stranger's and for everybody.
    is_public: bool,
}

impl From<&StoredBundle> for Newcomer {
    fn from(bundle: &StoredBundle) -> Self {
        let ingress = bundle.ingress.filter(|_| bundle.class == Class::Stranger);
        let is_public = bundle.is_strangers_word();
        Self {
            class: bundle.class,
            priority: bundle.priority,
            cost_bytes: bundle.cost_bytes(),
            ingress,
            is_public,
        }
    }
}

impl<S: Store> Custody<S> {
    /// Evicts what has to go for a bundle from elsewhere; says why it may not come in, if it may not.
    pub(super) fn make_room(&mut self, bundle: &StoredBundle) -> Result<Option<Loss>, StoreError> {
        let newcomer = Newcomer::from(bundle);
        let space = self.limits.bundle_bytes_max();
        if newcomer.class == Class::Receipt {
            let most = percent(space, limits::RECEIPT_PERCENT);
            if !self.keep_below(newcomer, most, Heap::Receipts)? {
                return Ok(Some(Loss::NoRoom));
            }
        }
        if newcomer.class == Class::Stranger {
            if let Some(peer) = bundle.ingress {
                let most = percent(space, limits::INGRESS_PERCENT);
                if !self.keep_below(newcomer, most, Heap::Ingress(peer))? {
                    return Ok(Some(Loss::LinkShare));
                }
            }
            if let Some(origin) = bundle.origin {
                let most = percent(space, limits::ORIGIN_PERCENT);
                if !self.keep_below(newcomer, most, Heap::Origin(origin))? {
                    return Ok(Some(Loss::OriginShare));
                }
            }
        }
        Ok((!self.make_room_for(newcomer)?).then_some(Loss::NoRoom))
    }

    /// Lets others' mail that met nobody give way to other such mail where it is a hoarder's; says whether none is in the way
    /// then.
    pub(super) fn spare_untried(&mut self, mail: &StoredBundle, now: Now) -> Result<bool, StoreError> {
        while self.would_push_out_untried(mail)? {
            let Some(hoarder) = self.hoarder_beside(mail, now)? else { return Ok(false) };
            let Some(victim) = self.first_of_ingress(Newcomer::from(mail), &hoarder)? else {
                return Ok(false);
            };
            self.evict(&victim, Loss::LinkShare)?;
        }
        Ok(true)
    }

    /// Whether others' mail would take the place of other such mail that met nobody yet.
    fn would_push_out_untried(&self, mail: &StoredBundle) -> Result<bool, StoreError> {
        let newcomer = Newcomer::from(mail);
        let usages = Usages::read(&self.store)?;
        let Some(scarce) = usages.scarce(newcomer, &self.limits) else { return Ok(false) };
        if usages.gives_way(newcomer, scarce, &self.limits) != Some(newcomer.class) {
            return Ok(false);
        }
        Ok(self.first_of_class(newcomer, newcomer.class)?.is_some_and(|victim| {
            let held_ms = mail.received_tl_ms.saturating_sub(victim.received_tl_ms);
            victim.priority == newcomer.priority
                && victim.copies == limits::COPIES_MAX
                && held_ms < limits::UNTRIED_MS
        }))
    }

    /// A neighbour that brought several times what the one has brought that brings this.
    fn hoarder_beside(&mut self, bundle: &StoredBundle, now: Now) -> Result<Option<NodeId>, StoreError> {
        #[cfg(feature = "flaws")]
        if self.flaw == Some(crate::flaw::Flaw::NoFairShare) {
            return Ok(None);
        }
        let Some(peer) = bundle.ingress else { return Ok(None) };
        let brought = self.store.usage_of_ingress(&peer)?.bytes + bundle.cost_bytes();
        let much = brought.saturating_mul(limits::HOARD_TIMES);
        if let Some(seen) = self.hoard {
            if self.store.usage_of_ingress(&seen.peer)?.bytes >= much {
                return Ok(Some(seen.peer));
            }
            if seen.bytes < much && now.mono_ms < seen.at_mono_ms.saturating_add(limits::HOARD_LOOK_MS) {
                return Ok(None);
            }
        }
        let Some((fullest, usage)) = self.store.fullest_ingress()? else { return Ok(None) };
        self.hoard = Some(Hoard { peer: fullest, bytes: usage.bytes, at_mono_ms: now.mono_ms });
        Ok((usage.bytes >= much).then_some(fullest))
    }

    /// What goes first of a class for a newcomer: of strangers' bundles rather its own neighbour's, if that has brought several
    /// times what the victim's has.
    fn victim_for(&self, newcomer: Newcomer, class: Class) -> Result<Option<Victim>, StoreError> {
        let victim = self.first_of_class(newcomer, class)?;
        let Some((peer, other)) = newcomer.ingress.zip(victim.and_then(|victim| victim.ingress)) else {
            return Ok(victim);
        };
        if class != Class::Stranger {
            return Ok(victim);
        }
        #[cfg(feature = "flaws")]
        if self.flaw == Some(crate::flaw::Flaw::NoFairShare) {
            return Ok(victim);
        }
        let [brought, others] =
            [self.store.usage_of_ingress(&peer)?.bytes, self.store.usage_of_ingress(&other)?.bytes];
        if brought < others.saturating_mul(limits::HOARD_TIMES) {
            return Ok(victim);
        }
        self.first_of_ingress(newcomer, &peer)
    }

    /// What goes first of a class for a newcomer.
    fn first_of_class(&self, newcomer: Newcomer, class: Class) -> Result<Option<Victim>, StoreError> {
        match class {
            Class::Stranger => self.first_sparing(newcomer, |copies| self.store.victim(class, copies)),
            Class::Own | Class::Contact | Class::Receipt => self.store.victim(class, 0),
        }
    }

    /// The same of what a neighbour brought.
    fn first_of_ingress(&self, newcomer: Newcomer, peer: &NodeId) -> Result<Option<Victim>, StoreError> {
        self.first_sparing(newcomer, |copies| self.store.victim_of_ingress(peer, copies))
    }

    /// What `first` finds of strangers' bundles with so many copies at least: mail, while what is for everybody keeps its share.
    fn first_sparing(
        &self,
        newcomer: Newcomer,
        first: impl Fn(u8) -> Result<Option<Victim>, StoreError>,
    ) -> Result<Option<Victim>, StoreError> {
        if self.spares_public(newcomer)?
            && let Some(mail) = first(limits::COPIES_MAIL_MIN)?
        {
            return Ok(Some(mail));
        }
        first(0)
    }

    /// Whether strangers' mail goes before what is for everybody, which is then within its share.
    fn spares_public(&self, newcomer: Newcomer) -> Result<bool, StoreError> {
        #[cfg(feature = "flaws")]
        if self.flaw == Some(crate::flaw::Flaw::NoPublicShare) {
            return Ok(false);
        }
        let added = if newcomer.is_public { newcomer.cost_bytes } else { 0 };
        let share = percent(self.store.usage(Class::Stranger)?.bytes, limits::PUBLIC_PERCENT);
        Ok(self.store.usage_of_public()?.bytes + added <= share)
    }

    /// Evicts among one neighbour's or origin's bundles until the newcomer fits under its limit.
    fn keep_below(&mut self, newcomer: Newcomer, most: u64, heap: Heap) -> Result<bool, StoreError> {
        #[cfg(feature = "flaws")]
        if self.flaw == Some(crate::flaw::Flaw::MissingQuota) {
            return Ok(true);
        }
        if newcomer.cost_bytes > most {
            return Ok(false);
        }
        loop {
            let (usage, victim, why) = match heap {
                Heap::Receipts => {
                    (self.store.usage(Class::Receipt)?, self.store.victim(Class::Receipt, 0), Loss::GaveWay)
                }
                Heap::Ingress(peer) => {
                    let usage = self.store.usage_of_ingress(&peer)?;
                    (usage, self.first_of_ingress(newcomer, &peer), Loss::LinkShare)
                }
                Heap::Origin(origin) => {
                    let usage = self.store.usage_of_origin(&origin)?;
                    (usage, self.store.victim_of_origin(&origin), Loss::OriginShare)
                }
            };
            if usage.bytes + newcomer.cost_bytes <= most {
                return Ok(true);
            }
            match victim? {
                Some(victim) if victim.priority >= newcomer.priority => self.evict(&victim, why)?,
                Some(_) | None => return Ok(false),
            }
        }
    }

    /// Evicts until the newcomer fits into the store as a whole.
    pub(super) fn make_room_for(&mut self, newcomer: Newcomer) -> Result<bool, StoreError> {
        loop {
            let usages = Usages::read(&self.store)?;
            let Some(scarce) = usages.scarce(newcomer, &self.limits) else { return Ok(true) };
            let Some(class) = usages.gives_way(newcomer, scarce, &self.limits) else { return Ok(false) };
            match self.victim_for(newcomer, class)? {
                Some(victim) if class != newcomer.class || victim.priority >= newcomer.priority => {
                    self.evict(&victim, Loss::GaveWay)?;
                }
                Some(_) | None => return Ok(false),
            }
        }
    }

    fn evict(&mut self, victim: &Victim, why: Loss) -> Result<(), StoreError> {
        let until_tl_ms = victim.expires_tl_ms.saturating_add(limits::DROPPED_MS);
        // Nothing that was shown or opened here is among it, so nothing is shown twice.
        if victim.class == Class::Stranger && victim.kind == Kind::Sealed.number() {
            return self.let_go(&victim.id, until_tl_ms, why);
        }
        self.drop_and_remember(&victim.id, until_tl_ms, why)
    }

    /// Whether there is room for so much of what had none before: nothing goes for it, and some room stays for what is new.
    pub(crate) fn has_room_again(&self, bundles: u64, bytes: u64) -> Result<bool, StoreError> {
        if self.store.is_locked() {
            return Ok(false);
        }
        let held = self.store.usage_of_all()?;
        let counted = held.bundles - self.store.usage(Class::Receipt)?.bundles;
        let fits = |sum, most| sum <= percent(most, 100 - limits::ROOM_FOR_NEW_PERCENT);
        Ok(fits(counted + bundles, self.limits.store_bundles_max)
            && fits(held.bytes + bytes, self.limits.bundle_bytes_max()))
    }

    /// Whether that one may come again: there is room, and its neighbour's share is not used up.
    pub(super) fn may_return(&self, mail: &StoredBundle) -> Result<bool, StoreError> {
        let brought = mail.ingress.map(|peer| self.store.usage_of_ingress(&peer)).transpose()?;
        let share = percent(self.limits.bundle_bytes_max(), limits::INGRESS_PERCENT);
        Ok(brought.unwrap_or_default().bytes + mail.cost_bytes() <= share
            && self.has_room_again(1, mail.cost_bytes())?)
    }
}

/// Who had brought most when it was last looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hoard {
    peer: NodeId,
    bytes: u64,
    at_mono_ms: u64,
}

/// Among whose bundles.
#[derive(Clone, Copy)]
enum Heap {
    Receipts,
    Ingress(NodeId),
    Origin(NodeId),
}

/// What there is too little of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scarce {
    Bytes,
    Bundles,
}

/// How much is held, by class.
struct Usages {
    own: Usage,
    contact: Usage,
    stranger: Usage,
    receipt: Usage,
}

impl Usages {
    fn read(store: &impl Store) -> Result<Self, StoreError> {
        Ok(Self {
            own: store.usage(Class::Own)?,
            contact: store.usage(Class::Contact)?,
            stranger: store.usage(Class::Stranger)?,
            receipt: store.usage(Class::Receipt)?,
        })
    }

    /// What there is too little of for the newcomer, if anything.
    fn scarce(&self, newcomer: Newcomer, limits: &limits::Limits) -> Option<Scarce> {
        let all = [self.own, self.contact, self.stranger];
        let bytes = all.iter().map(|usage| usage.bytes).sum::<u64>() + self.receipt.bytes;
        let bundles: u64 = all.iter().map(|usage| usage.bundles).sum();
        if bytes + newcomer.cost_bytes > limits.bundle_bytes_max() {
            Some(Scarce::Bytes)
        } else if newcomer.class != Class::Receipt && bundles + 1 > limits.store_bundles_max {
            Some(Scarce::Bundles)
        } else {
            None
        }
    }

    /// The class that loses a bundle to the newcomer.
    ///
    /// First whoever has borrowed: strangers, then contacts; from a borrower takes back who is within its own
    /// share, or who is as near to the user. Else the newcomer's own class makes room, unless it is the
    /// user's.
    fn gives_way(&self, newcomer: Newcomer, scarce: Scarce, limits: &limits::Limits) -> Option<Class> {
        let added = if scarce == Scarce::Bytes { newcomer.cost_bytes } else { 1 };
        let is_within =
            self.held(newcomer.class, scarce) + added <= guaranteed(newcomer.class, scarce, limits);
        let borrower = [Class::Stranger, Class::Contact].into_iter().find(|class| {
            self.held(*class, scarce) > guaranteed(*class, scarce, limits)
                && (is_within || newcomer.class <= *class)
        });
        borrower.or((newcomer.class != Class::Own).then_some(newcomer.class))
    }

    fn held(&self, class: Class, scarce: Scarce) -> u64 {
        let usage = match class {
            Class::Own => self.own,
            Class::Contact => self.contact,
            Class::Stranger => self.stranger,
            Class::Receipt => self.receipt,
        };
        if scarce == Scarce::Bytes { usage.bytes } else { usage.bundles }
    }
}

fn guaranteed(class: Class, scarce: Scarce, limits: &limits::Limits) -> u64 {
    let whole = match scarce {
        Scarce::Bytes => limits.bundle_bytes_max(),
        Scarce::Bundles => limits.store_bundles_max,
    };
    let share = match class {
        Class::Own => limits::OWN_PERCENT,
        Class::Contact => limits::CONTACT_PERCENT,
        Class::Stranger => limits::STRANGER_PERCENT,
        Class::Receipt => limits::RECEIPT_PERCENT,
    };
    percent(whole, share)
}
