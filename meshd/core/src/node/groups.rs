//! What a node's user does about groups.

use std::collections::BTreeMap;

use crate::clock::Now;
pub use crate::custody::groups::{Group, Part, Recipient, conversation_of};
use crate::draft::{GroupDraft, GroupError, GroupMessageDraft, SubmitError};
use crate::group::entry::GroupId;
use crate::id::{BundleId, NodeId};
use crate::store::{Store, StoreError};

use super::Node;

impl<S: Store> Node<S> {
    /// The groups, by id; with those this node is only invited to, and those it left.
    pub fn groups(&self) -> &BTreeMap<GroupId, Group> {
        self.custody.groups()
    }

    /// Founds a group and invites contacts.
    ///
    /// # Errors
    /// See [`GroupError`]; nothing has happened then.
    pub fn found_group(&mut self, draft: GroupDraft, now: Now) -> Result<GroupId, GroupError> {
        self.write_private(now, |node| node.custody.found_group(draft, now))
    }

    /// Invites a contact, or makes a member an administrator.
    ///
    /// # Errors
    /// See [`GroupError`].
    pub fn invite_to_group(
        &mut self,
        group: &GroupId,
        who: &NodeId,
        is_admin: bool,
        now: Now,
    ) -> Result<(), GroupError> {
        self.write_private(now, |node| node.custody.invite(group, who, is_admin, now))
    }

    /// Accepts an invitation.
    ///
    /// # Errors
    /// See [`GroupError`].
    pub fn join_group(&mut self, group: &GroupId, now: Now) -> Result<(), GroupError> {
        self.write_private(now, |node| node.custody.join_group(group, now))
    }

    /// Leaves a group, or declines an invitation.
    ///
    /// # Errors
    /// See [`GroupError`].
    pub fn leave_group(&mut self, group: &GroupId, now: Now) -> Result<(), GroupError> {
        self.write_private(now, |node| node.custody.leave_group(group, now))
    }

    /// Removes a member, or takes an invitation back.
    ///
    /// # Errors
    /// See [`GroupError`].
    pub fn remove_from_group(&mut self, group: &GroupId, who: &NodeId, now: Now) -> Result<(), GroupError> {
        self.write_private(now, |node| node.custody.remove_member(group, who, now))
    }

    /// Gives a group another name.
    ///
    /// # Errors
    /// See [`GroupError`].
    pub fn rename_group(&mut self, group: &GroupId, name: String, now: Now) -> Result<(), GroupError> {
        self.write_private(now, |node| node.custody.rename_group(group, name, now))
    }

    /// Chooses whether new members of a group get what was sent before.
    ///
    /// # Errors
    /// See [`GroupError`].
    pub fn set_group_history(&mut self, group: &GroupId, history: bool, now: Now) -> Result<(), GroupError> {
        self.write_private(now, |node| node.custody.set_history(group, history, now))
    }

    /// Sends a message to everybody in a group. Says the message's id.
    ///
    /// # Errors
    /// See [`SubmitError`].
    pub fn submit_to_group(&mut self, draft: GroupMessageDraft, now: Now) -> Result<BundleId, SubmitError> {
        self.write_private(now, |node| node.custody.submit_to_group(draft, now))
    }

    /// For whom an own message to a group is, and who has it; nobody for other messages.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn group_recipients(&self, message: &BundleId) -> Result<Vec<Recipient>, StoreError> {
        self.custody.group_recipients(message)
    }
}
