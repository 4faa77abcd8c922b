//! Channels: joined and left, public ones and those with a password, and what was posted before.
//!
//! A channel that is not joined is carried like everything else and shown to nobody. When it is joined, what is held
//! of it is shown, a slice at a time, so that a store of a million posts does not keep the node from its links: each
//! slice ends with a task that is due at once, and what is waiting meanwhile gets its turn.
//!
//! ```text
//!  public:    a post says where it belongs    ─ unshown_in = "#flood" ─▶ joined: shown
//!  password:  a post says nothing             ─ unshown_in = UNOPENED ─▶ tried with the keys of those joined
//! ```
//!
//! **A name is one channel at a time.** Whoever has joined `#ops` with a password sees no public post to `#ops`
//! (threat C-04), and nothing said to `#ops` goes out readable. To join it otherwise, one leaves it first.

use minicbor::{CborLen, Decode, Encode};

use crate::bundle::{Bundle, BundleBytes, Content};
use crate::canonical::Extensions;
use crate::channel::{MESH, UNOPENED};
use crate::clock::Now;
use crate::draft::{Draft, SubmitError};
use crate::event::LinkKind;
use crate::header::{Header, Kind};
use crate::id::{BundleId, NodeId};
use crate::limits::{
    CREATED_UNIX_MS_MAX, HISTORY_SLICE, LIFETIME_S_DEFAULT, LIFETIME_S_MIN, LIFETIME_S_STRANGER_MAX,
    SECRET_CHANNELS_MAX,
};
use crate::private::channel_key::{ChannelKeys, ChannelSecret};
use crate::private::contact::Key;
use crate::secret_post::{SecretPost, SecretWords};
use crate::store::{Class, HandOverStep, Protection, Shelf, Slot, Store, StoreError, StoredBundle};

use super::Custody;
use super::due::Task;
use super::own::check_channel;
use super::prekeys::{decoded, encoded};
use super::shown::Words;

/// What is kept of a password channel.
#[derive(Clone, Encode, Decode, CborLen)]
struct Membership {
    #[n(0)]
    secret: Key,
    /// When it was joined, in milliseconds since 1970.
    #[n(1)]
    since_unix_ms: Option<u64>,
}

/// A password channel that is joined.
pub(crate) struct SecretChannel {
    pub(crate) keys: ChannelKeys,
    /// When it was joined, in milliseconds since 1970, where that was known.
    pub(crate) since_unix_ms: Option<u64>,
}

impl<S: Store> Custody<S> {
    /// Reads the password channels.
    pub(super) fn load_channels(&mut self) -> Result<(), StoreError> {
        self.secret_channels.clear();
        for (name, record) in self.store.records(Shelf::SecretChannel, &[], usize::MAX)? {
            let Membership { secret, since_unix_ms } = decoded(&record)?;
            let keys = ChannelKeys::new(&ChannelSecret::from_bytes(secret.0));
            let name = String::from_utf8_lossy(&name).into_owned();
            self.secret_channels.insert(name, SecretChannel { keys, since_unix_ms });
        }
        Ok(())
    }

    /// Joins a public channel; says whether it was not joined before.
    pub(crate) fn join(&mut self, name: &str, now: Now) -> Result<bool, SubmitError> {
        check_channel(name)?;
        if self.secret_channels.contains_key(name) {
            return Err(taken(name, "with a password"));
        }
        let is_new = self.store.join(name, now.unix_ms)?;
        if is_new {
            self.catch_up(now)?;
        }
        Ok(is_new)
    }

    /// Whether a password channel of that name may be joined, as far as that can be told without its key.
    pub(crate) fn may_join_secret(&self, name: &str) -> Result<(), SubmitError> {
        check_channel(name)?;
        if name == MESH {
            return Err(SubmitError::AlwaysPublic { channel: name.to_owned() });
        }
        if self.store.is_joined(name)? {
            return Err(taken(name, "as a public channel"));
        }
        if !self.secret_channels.contains_key(name) && self.secret_channels.len() >= SECRET_CHANNELS_MAX {
            return Err(SubmitError::TooManyChannels { max: SECRET_CHANNELS_MAX });
        }
        Ok(())
    }

    /// Joins a password channel; says whether it was not joined before.
    pub(crate) fn join_secret(
        &mut self,
        name: &str,
        secret: &ChannelSecret,
        now: Now,
    ) -> Result<bool, SubmitError> {
        self.may_join_secret(name)?;
        let keys = ChannelKeys::new(secret);
        if let Some(joined) = self.secret_channels.get(name) {
            return if joined.keys.is_same(&keys) {
                Ok(false)
            } else {
                Err(taken(name, "with another password"))
            };
        }
        let since_unix_ms = now.unix_ms;
        let membership = Membership { secret: secret.to_record(), since_unix_ms };
        self.store.put_record(Shelf::SecretChannel, name.as_bytes(), &encoded(&membership))?;
        self.secret_channels.insert(name.to_owned(), SecretChannel { keys, since_unix_ms });
        self.set_tried_row(0)?;
        self.catch_up(now)?;
        Ok(true)
    }

    /// Leaves a channel of either sort; says whether it was joined. What was shown stays.
    pub(crate) fn leave(&mut self, name: &str) -> Result<bool, SubmitError> {
        check_channel(name)?;
        if name == MESH {
            return Err(SubmitError::CannotLeave { channel: name.to_owned() });
        }
        if self.secret_channels.remove(name).is_some() {
            return Ok(self.store.remove_record(Shelf::SecretChannel, name.as_bytes())?);
        }
        Ok(self.store.leave(name)?)
    }

    /// The password channels joined, by name.
    pub(crate) fn secret_channels(&self) -> impl Iterator<Item = (&str, &SecretChannel)> {
        self.secret_channels.iter().map(|(name, channel)| (name.as_str(), channel))
    }

    /// Signs, seals, stores and shows a post to a password channel that is joined.
    pub(super) fn submit_secret(&mut self, draft: Draft, now: Now) -> Result<BundleId, SubmitError> {
        let lifetime_s = draft.lifetime_s.unwrap_or(LIFETIME_S_DEFAULT);
        if !(LIFETIME_S_MIN..=LIFETIME_S_STRANGER_MAX).contains(&lifetime_s) {
            return Err(SubmitError::BadLifetime { min: LIFETIME_S_MIN, max: LIFETIME_S_STRANGER_MAX });
        }
        let words = SecretWords {
            text: draft.text,
            reply_to: draft.reply_to,
            created_unix_ms: now.unix_ms.filter(|ms| *ms <= CREATED_UNIX_MS_MAX),
            extensions: Extensions::default(),
        };
        let header = Header::bare(Kind::SecretPost, lifetime_s as u32, draft.priority);
        let seed = self.entropy.draw();
        let channel = self.secret_channels.get(&draft.channel);
        let keys = &channel.expect("the caller has looked whether it is joined").keys;
        let bundle = keys.seal(&self.identity, header, &words, seed).expect("the longest text fits");
        let stored = self.keep_hidden(&bundle, Class::Own, &None, now)?;
        let words = secret_words(draft.channel, self.id(), words);
        self.show(&stored, words, now)?;
        Ok(bundle.id)
    }

    /// Takes in a post to a password channel: shown if it is one of those joined, carried in any case. Nothing that
    /// others see depends on which it is (threat C-17).
    pub(super) fn take_secret_post(
        &mut self,
        stored: &mut StoredBundle,
        bundle: &Bundle<'_>,
        post: &SecretPost,
        (from, via): (NodeId, LinkKind),
        now: Now,
    ) -> Result<(), StoreError> {
        let Some(words) = self.open_secret(bundle, post) else {
            stored.unshown_in = Some(UNOPENED.to_owned());
            return self.insert(stored);
        };
        self.insert(stored)?;
        self.show(stored, words, now)?;
        self.note_step(&stored.id, HandOverStep::Received, &from, via, now)
    }

    /// What a post says, if it is of a channel joined and of nobody blocked.
    fn open_secret(&self, bundle: &Bundle<'_>, post: &SecretPost) -> Option<Words> {
        let (name, opened) = self
            .secret_channels
            .iter()
            .find_map(|(name, channel)| Some((name, channel.keys.open(bundle, post)?)))?;
        let author = opened.author.node_id();
        (!self.is_blocked(&author)).then(|| secret_words(name.clone(), author, opened.words))
    }

    /// Shows what is held of the channels joined and was not shown: a slice now, the rest as soon as everybody else
    /// had a turn.
    pub(super) fn catch_up(&mut self, now: Now) -> Result<(), StoreError> {
        if self.store.is_locked() {
            return Ok(());
        }
        let mut room = HISTORY_SLICE;
        for (channel, _) in self.store.joined()? {
            let carried = self.store.unshown(&channel, 0, room)?;
            for (_, id) in &carried {
                self.store.mark_shown(id)?;
                self.show_carried(id, now)?;
            }
            room -= carried.len();
        }
        if !self.secret_channels.is_empty() {
            room -= self.try_unopened(room, now)?;
        }
        if room == 0 {
            self.schedule(self.timeline.at(now), Task::CatchUp, &[])?;
        }
        Ok(())
    }

    /// Shows what is held of all channels joined, after they became others.
    pub(super) fn try_channels_again(&mut self, now: Now) -> Result<(), StoreError> {
        self.set_tried_row(0)?;
        self.catch_up(now)
    }

    /// Tries posts that nothing opened when they came in; says how many.
    fn try_unopened(&mut self, limit: usize, now: Now) -> Result<usize, StoreError> {
        let unopened = self.store.unshown(UNOPENED, self.tried_row()?, limit)?;
        for (_, id) in &unopened {
            if self.show_carried(id, now)? {
                self.store.mark_shown(id)?;
            }
        }
        if let Some((row, _)) = unopened.last() {
            self.set_tried_row(*row)?;
        }
        Ok(unopened.len())
    }

    /// Shows a post that is held, if it can be read here; says whether.
    fn show_carried(&mut self, id: &BundleId, now: Now) -> Result<bool, StoreError> {
        let Some(stored) = self.store.bundle(id)? else { return Ok(false) };
        let bytes = BundleBytes { header: &stored.header, payload: &stored.payload, auth: &stored.auth };
        // It was proven when it came in; only its words are needed.
        let Ok(bundle) = bytes.parse() else { return Ok(false) };
        let words = match bundle.read() {
            Ok(Content::SecretPost(post)) => self.open_secret(&bundle, &post),
            Ok(content) => Words::of(content, &bundle.header),
            Err(_) => None,
        };
        let Some(words) = words else { return Ok(false) };
        self.show(&stored, words, now)?;
        Ok(true)
    }

    /// Up to which row posts that nothing opened were tried with the keys there are.
    fn tried_row(&self) -> Result<u64, StoreError> {
        let row = self.store.slot(Slot::TriedRow)?.unwrap_or_default();
        Ok(row.try_into().map_or(0, u64::from_be_bytes))
    }

    fn set_tried_row(&mut self, row: u64) -> Result<(), StoreError> {
        self.store.set_slot(Slot::TriedRow, &row.to_be_bytes())
    }
}

fn secret_words(channel: String, author: NodeId, words: SecretWords) -> Words {
    Words {
        channel,
        text: words.text,
        author: Some(author),
        alias: None,
        reply_to: words.reply_to,
        created_unix_ms: words.created_unix_ms,
        protection: Protection::Channel,
    }
}

fn taken(name: &str, by: &'static str) -> SubmitError {
    SubmitError::OtherChannel { channel: name.to_owned(), by }
}
