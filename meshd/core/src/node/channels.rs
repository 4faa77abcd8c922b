//! What a node's user does about channels.

use crate::clock::Now;
use crate::draft::SubmitError;
use crate::private::channel_key::ChannelSecret;
use crate::store::{Store, StoreError};

use super::Node;

/// A channel that is joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedChannel {
    /// `#name`.
    pub name: String,
    /// Since when, in milliseconds since 1970, where that was known.
    pub since_unix_ms: Option<u64>,
    /// For a channel with a password: eight characters that are the same for everybody with that password.
    pub check: Option<String>,
}

impl<S: Store> Node<S> {
    /// Shows a public channel from now on, with what is carried of it; says whether it was not shown before. A long
    /// past is shown in slices that the node's timeouts bring.
    ///
    /// # Errors
    /// No channel has such a name, it is joined with a password, or the store failed.
    pub fn join(&mut self, channel: &str, now: Now) -> Result<bool, SubmitError> {
        self.write_private(now, |node| node.custody.join(channel, now))
    }

    /// Whether a channel with a password may be joined under that name, as far as that can be told without the key: so
    /// that nobody waits for it in vain.
    ///
    /// # Errors
    /// As [`Node::join_secret`].
    pub fn may_join_secret(&self, channel: &str) -> Result<(), SubmitError> {
        self.custody.may_join_secret(channel)
    }

    /// The same for a channel with a password. What Argon2id makes of the password is made elsewhere: it takes longer
    /// than a node's neighbours should wait.
    ///
    /// # Errors
    /// No channel with a password has such a name, it is joined otherwise, there are too many, or the store failed.
    pub fn join_secret(
        &mut self,
        channel: &str,
        secret: &ChannelSecret,
        now: Now,
    ) -> Result<bool, SubmitError> {
        self.write_private(now, |node| node.custody.join_secret(channel, secret, now))
    }

    /// Stops showing a channel of either sort; says whether it was shown. What was shown stays; the key of a password
    /// channel does not.
    ///
    /// # Errors
    /// `#mesh` can't be left, no channel has such a name, or the store failed.
    pub fn leave(&mut self, channel: &str, now: Now) -> Result<bool, SubmitError> {
        self.write_private(now, |node| node.custody.leave(channel))
    }

    /// The channels joined, by name.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn channels(&self) -> Result<Vec<JoinedChannel>, StoreError> {
        let public = self.store().joined()?.into_iter();
        let public = public.map(|(name, since_unix_ms)| JoinedChannel { name, since_unix_ms, check: None });
        let secret = self.custody.secret_channels().map(|(name, channel)| JoinedChannel {
            name: name.to_owned(),
            since_unix_ms: channel.since_unix_ms,
            check: Some(channel.keys.check().to_owned()),
        });
        let mut channels: Vec<JoinedChannel> = public.chain(secret).collect();
        channels.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(channels)
    }
}
