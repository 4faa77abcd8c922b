//! What is made here: posts, posts taken over from clients that know nothing of MeshLink, and the profile.

use minicbor::{CborLen, Decode, Encode};

use crate::bridged::{self, Bridged};
use crate::bundle::{Content, NewBundle};
use crate::canonical::Extensions;
use crate::channel::is_channel;
use crate::clock::Now;
use crate::draft::{BridgedPost, Draft, ProfileDraft, SubmitError};
use crate::event::MessageStatus;
use crate::header::{Header, Kind};
use crate::id::BundleId;
use crate::limits::{
    BUNDLE_COST_BYTES_MIN, COPIES_MAX, CREATED_UNIX_MS_MAX, DROPPED_MS, LIFETIME_S_DEFAULT, LIFETIME_S_MAX,
    LIFETIME_S_MIN, TEXT_BYTES_MAX,
};
use crate::post::Post;
use crate::profile::{Profile, REVISION_MAX};
use crate::receipt::Commitment;
use crate::store::{Class, Known, Priority, Protection, Slot, Store, StoreError, StoredBundle};
use crate::tally::Loss;

use super::Custody;
use super::eviction::Newcomer;
use super::shown::Words;

/// What is kept of the own profile, so that it can be published again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode, CborLen)]
struct OwnProfile {
    #[n(0)]
    revision: u64,
    #[n(1)]
    name: Option<String>,
    #[n(2)]
    about: Option<String>,
    #[n(3)]
    avatar: Option<String>,
    /// The bundle that says so; none if nothing was ever said.
    #[n(4)]
    bundle: Option<BundleId>,
}

/// What travels beside a bundle when it starts, and what it is found by.
#[derive(Debug, Clone, Default)]
pub(super) struct Start {
    pub(super) hops: u8,
    pub(super) age_ms: u64,
    pub(super) commitment: Option<Commitment>,
    /// The channel it is to be shown in later.
    pub(super) unshown_in: Option<String>,
}

impl<S: Store> Custody<S> {
    /// Signs, stores and shows a post.
    pub(crate) fn submit(&mut self, draft: Draft, now: Now) -> Result<BundleId, SubmitError> {
        check_text(&draft.text)?;
        if self.secret_channels.contains_key(&draft.channel) {
            return self.submit_secret(draft, now);
        }
        self.check_joined(&draft.channel)?;
        let lifetime_s = draft.lifetime_s.unwrap_or(LIFETIME_S_DEFAULT);
        if !(LIFETIME_S_MIN..=LIFETIME_S_MAX).contains(&lifetime_s) {
            return Err(SubmitError::BadLifetime { min: LIFETIME_S_MIN, max: LIFETIME_S_MAX });
        }
        let post = Post {
            channel: draft.channel,
            text: draft.text,
            reply_to: draft.reply_to,
            extensions: Extensions::default(),
        };
        let header = self.new_header(Kind::Post, lifetime_s as u32, draft.priority, now);
        let bundle = NewBundle::sign(header, post.encode(), &self.identity);
        let stored = self.keep(&bundle, Class::Own, now)?;
        let words = Words::of(Content::Post(post), &bundle.header).expect("a post has words");
        self.show(&stored, words, now)?;
        Ok(bundle.id)
    }

    /// Stores and shows a post taken over; `None` if it is known already. A locked node shows it later.
    pub(crate) fn submit_bridged(
        &mut self,
        post: BridgedPost,
        now: Now,
    ) -> Result<Option<BundleId>, SubmitError> {
        check_text(&post.text)?;
        if !self.store.is_locked() {
            self.check_joined(&post.channel)?;
        }
        bridged::check_sender(&post.sender_id)
            .map_err(|problem| SubmitError::BadField { field: "the sender's id", problem })?;
        let timestamp_ms = u64::try_from(post.timestamp_ms)
            .ok()
            .filter(|ms| *ms <= CREATED_UNIX_MS_MAX)
            .ok_or(SubmitError::BadField {
                field: "the timestamp",
                problem: "is not between 1970 and the year 9999",
            })?;
        let bridged =
            Bridged { channel: post.channel, text: post.text, sender: post.sender_id, timestamp_ms };
        let bundle = NewBundle::bridge(&bridged);
        if self.store.known(&bundle.id.prefix())? != Known::No {
            return Ok(None);
        }
        if !self.strangers.take(bundle.bytes().size_bytes().max(BUNDLE_COST_BYTES_MIN), now) {
            return Err(SubmitError::BadField {
                field: "the post",
                problem: "is one too many within an hour",
            });
        }
        if self.store.is_locked() {
            let start = Start { unshown_in: Some(bridged.channel), ..Start::default() };
            self.keep_aged(&bundle, Class::Stranger, start, now)?;
            return Ok(Some(bundle.id));
        }
        let stored = self.keep(&bundle, Class::Stranger, now)?;
        let words = Words::of(Content::Bridged(bridged), &bundle.header).expect("a bridged post has words");
        self.show(&stored, words, now)?;
        Ok(Some(bundle.id))
    }

    /// Forgets a message; withdraws an own one that nobody else has. Says whether it was kept.
    pub(crate) fn forget(&mut self, id: &BundleId) -> Result<bool, StoreError> {
        let Some(message) = self.store.message_state(id)? else { return Ok(false) };
        let is_post = matches!(message.protection, Protection::Public | Protection::Channel);
        if !is_post {
            self.withdraw_private(&message)?;
            self.withdraw_from_group(&message)?;
        } else if message.own && message.status == MessageStatus::Pending {
            self.drop_and_remember(id, message.expires_tl_ms.saturating_add(DROPPED_MS), Loss::Withdrawn)?;
        }
        self.store.delete_message(id)
    }

    /// Publishes what the node says about itself, if it is not what it says already.
    pub(crate) fn set_profile(&mut self, draft: ProfileDraft, now: Now) -> Result<(), SubmitError> {
        let own = self.own_profile()?;
        if own.bundle.is_some() && as_draft(&own) == draft {
            return Ok(());
        }
        let ProfileDraft { name, about, avatar } = draft;
        let next = OwnProfile { revision: own.revision, name, about, avatar, bundle: own.bundle };
        self.publish_profile(next, now)
    }

    /// What the node says about itself.
    pub(crate) fn profile(&self) -> Result<ProfileDraft, StoreError> {
        Ok(as_draft(&self.own_profile()?))
    }

    pub(super) fn profile_revision(&self) -> Result<u64, StoreError> {
        Ok(self.own_profile()?.revision)
    }

    /// Says anew what a backup says, beyond its revision. One that never said anything goes on saying nothing.
    pub(super) fn restore_profile(
        &mut self,
        profile: ProfileDraft,
        beyond: u64,
        now: Now,
    ) -> Result<(), SubmitError> {
        let ProfileDraft { name, about, avatar } = profile;
        let own = OwnProfile { revision: beyond, name, about, avatar, bundle: None };
        if as_draft(&own) == ProfileDraft::default() {
            return Ok(self.save_profile(&own)?);
        }
        self.publish_profile(own, now)
    }

    /// Publishes the profile again when its bundle has expired.
    pub(super) fn renew_profile(&mut self, now: Now) -> Result<(), StoreError> {
        if self.store.is_locked() {
            return Ok(());
        }
        let own = self.own_profile()?;
        let Some(bundle) = own.bundle else { return Ok(()) };
        if matches!(self.store.known(&bundle.prefix())?, Known::Held(_)) {
            return Ok(());
        }
        match self.publish_profile(own, now) {
            Ok(()) => Ok(()),
            Err(SubmitError::Store(error)) => Err(error),
            // No room for it now; the next sweep tries again.
            Err(_) => Ok(()),
        }
    }

    /// Whether a profile of this node's own that came from elsewhere has a higher revision than its own: the
    /// same keys are, or were, in use on another disk.
    pub(super) fn is_own_profile_newer(&self, profile: &Profile) -> Result<bool, StoreError> {
        Ok(profile.revision > self.own_profile()?.revision)
    }

    /// Makes the next own revision higher than one that came from elsewhere.
    pub(super) fn outgrow(&mut self, profile: &Profile) -> Result<(), StoreError> {
        let own = self.own_profile()?;
        self.save_profile(&OwnProfile { revision: profile.revision, ..own })
    }

    /// Revisions follow the clock where there is one, so that a node that lost its disk is not behind itself.
    fn publish_profile(&mut self, own: OwnProfile, now: Now) -> Result<(), SubmitError> {
        let today_s = now.unix_ms.map_or(0, |ms| ms / 1000);
        let revision = own.revision.saturating_add(1).max(today_s).min(REVISION_MAX);
        let profile = Profile {
            revision,
            name: own.name.clone(),
            about: own.about.clone(),
            avatar: own.avatar.clone(),
            extensions: Extensions::default(),
        };
        profile.check().map_err(|(field, problem)| SubmitError::BadField { field, problem })?;
        let header = self.new_header(Kind::Profile, LIFETIME_S_DEFAULT as u32, Priority::Normal, now);
        let bundle = NewBundle::sign(header, profile.encode(), &self.identity);
        self.keep(&bundle, Class::Own, now)?;
        if let Some(older) = own.bundle {
            self.drop_outdated(&older, now)?;
        }
        self.save_profile(&OwnProfile { revision, bundle: Some(bundle.id), ..own })?;
        Ok(())
    }

    fn own_profile(&self) -> Result<OwnProfile, StoreError> {
        let Some(bytes) = self.store.slot(Slot::Profile)? else { return Ok(OwnProfile::default()) };
        minicbor::decode(&bytes)
            .map_err(|error| StoreError::Corrupt { detail: format!("own profile: {error}") })
    }

    fn save_profile(&mut self, own: &OwnProfile) -> Result<(), StoreError> {
        let bytes = minicbor::to_vec(own).expect("a Vec takes every byte");
        self.store.set_slot(Slot::Profile, &bytes)
    }

    pub(super) fn new_header(&mut self, kind: Kind, lifetime_s: u32, priority: Priority, now: Now) -> Header {
        Header {
            kind,
            created_unix_ms: now.unix_ms.filter(|ms| *ms <= CREATED_UNIX_MS_MAX),
            lifetime_s,
            priority,
            origin: None,
            salt: Some(self.entropy.draw()),
            commitment: None,
            extensions: Extensions::default(),
        }
    }

    /// Stores a bundle made here.
    pub(super) fn keep(
        &mut self,
        bundle: &NewBundle,
        class: Class,
        now: Now,
    ) -> Result<StoredBundle, SubmitError> {
        self.keep_aged(bundle, class, Start::default(), now)
    }

    /// The same, with what travels beside it not beginning at nothing.
    pub(super) fn keep_aged(
        &mut self,
        bundle: &NewBundle,
        class: Class,
        start: Start,
        now: Now,
    ) -> Result<StoredBundle, SubmitError> {
        let received_tl_ms = self.timeline.at(now);
        let stored = StoredBundle {
            id: bundle.id,
            kind: bundle.header.kind.number(),
            priority: bundle.header.priority,
            class,
            origin: bundle.header.origin.map(|keys| keys.node_id()),
            header: bundle.header_bytes.clone(),
            payload: bundle.payload.clone(),
            auth: bundle.auth.clone(),
            age_ms: start.age_ms,
            received_tl_ms,
            expires_tl_ms: received_tl_ms
                .saturating_add(bundle.header.lifetime_ms().saturating_sub(start.age_ms)),
            hops: start.hops,
            copies: COPIES_MAX,
            ingress: None,
            unshown_in: start.unshown_in,
            commitment: start.commitment,
        };
        if !self.make_room_for(Newcomer::from(&stored))? {
            return Err(SubmitError::StoreFull);
        }
        self.insert(&stored)?;
        Ok(stored)
    }

    fn check_joined(&self, channel: &str) -> Result<(), SubmitError> {
        check_channel(channel)?;
        if self.store.is_joined(channel)? {
            Ok(())
        } else {
            Err(SubmitError::NotJoined { channel: channel.to_owned() })
        }
    }
}

fn as_draft(own: &OwnProfile) -> ProfileDraft {
    ProfileDraft { name: own.name.clone(), about: own.about.clone(), avatar: own.avatar.clone() }
}

pub(super) fn check_text(text: &str) -> Result<(), SubmitError> {
    if text.trim().is_empty() {
        return Err(SubmitError::EmptyText);
    }
    if text.len() > TEXT_BYTES_MAX {
        return Err(SubmitError::TextTooLong { bytes: text.len(), max: TEXT_BYTES_MAX });
    }
    if text.contains('\0') {
        return Err(SubmitError::NulInText);
    }
    Ok(())
}

/// What may be joined, left and posted to from here.
pub(super) fn check_channel(channel: &str) -> Result<(), SubmitError> {
    // Upper case outside ASCII is allowed by the protocol, whose rules must not follow Unicode's tables; but
    // nobody here means another channel by it.
    if is_channel(channel) && !channel.chars().any(char::is_uppercase) {
        Ok(())
    } else {
        Err(SubmitError::BadChannel { name: channel.to_owned() })
    }
}
