//! What a node's user does about contacts.

use crate::clock::Now;
use crate::draft::{ContactDraft, ContactError};
use crate::id::{BundleId, NodeId};
use crate::private::code::Code;
use crate::private::contact::{Contact, ReceiptChoice, Standing};
use crate::store::{Store, StoreError};

use super::Node;

impl<S: Store> Node<S> {
    /// Lets others write to this node: it publishes the keys that they need, now and again. A node that nobody
    /// calls this on only carries.
    pub fn set_reachable(&mut self) {
        self.custody.set_reachable();
        self.is_unsettled = true;
    }

    /// The contacts, by id; with those who only wrote.
    pub fn contacts(&self) -> impl Iterator<Item = (&NodeId, &Contact)> {
        self.custody.contacts().iter().filter(|(_, contact)| contact.standing != Standing::Fellow)
    }

    /// A contact.
    pub fn contact(&self, id: &NodeId) -> Option<&Contact> {
        self.custody.contacts().get(id).filter(|contact| contact.standing != Standing::Fellow)
    }

    /// The contact the user means by a name: the one who is called so here, in whatever case.
    pub fn contact_called(&self, name: &str) -> Option<NodeId> {
        self.contacts().find(|(_, contact)| contact.is_called(name)).map(|(id, _)| *id)
    }

    /// Whether a node is blocked.
    pub fn is_blocked(&self, id: &NodeId) -> bool {
        self.custody.is_blocked(id)
    }

    /// Adds a contact, and greets it if that was by a code. Says who, and whether it was none before.
    ///
    /// # Errors
    /// See [`ContactError`].
    pub fn add_contact(&mut self, draft: ContactDraft, now: Now) -> Result<(NodeId, bool), ContactError> {
        self.write_private(now, |node| node.custody.add_contact(draft, now))
    }

    /// Gives a contact another name, or none.
    ///
    /// # Errors
    /// See [`ContactError`].
    pub fn rename_contact(
        &mut self,
        id: &NodeId,
        name: Option<String>,
        now: Now,
    ) -> Result<(), ContactError> {
        self.write_private(now, |node| node.custody.rename_contact(id, name, now))
    }

    /// Takes somebody who wrote first as a contact.
    ///
    /// # Errors
    /// See [`ContactError`].
    pub fn accept_contact(&mut self, id: &NodeId, now: Now) -> Result<(), ContactError> {
        self.write_private(now, |node| node.custody.accept_contact(id, now))
    }

    /// Chooses which receipts a contact gets.
    ///
    /// # Errors
    /// See [`ContactError`].
    pub fn set_receipts(
        &mut self,
        id: &NodeId,
        receipts: ReceiptChoice,
        now: Now,
    ) -> Result<(), ContactError> {
        self.write_private(now, |node| node.custody.set_receipts(id, receipts, now))
    }

    /// The sixty digits that both people see if nobody sits between them.
    ///
    /// # Errors
    /// It is no contact, or its keys are not known yet.
    pub fn safety_number(&self, id: &NodeId) -> Result<String, ContactError> {
        self.custody.safety_number(id)
    }

    /// The user has compared the safety number with the contact.
    ///
    /// # Errors
    /// It is another number; nothing has changed then.
    pub fn verify_contact(&mut self, id: &NodeId, number: &str, now: Now) -> Result<(), ContactError> {
        self.write_private(now, |node| node.custody.verify_contact(id, number, now))
    }

    /// The user takes that back.
    ///
    /// # Errors
    /// See [`ContactError`].
    pub fn unverify_contact(&mut self, id: &NodeId, now: Now) -> Result<(), ContactError> {
        self.write_private(now, |node| node.custody.unverify_contact(id, now))
    }

    /// The user has decided between a contact and another node that claims to be it. Says who it is now.
    ///
    /// # Errors
    /// See [`ContactError`].
    pub fn resolve_rival(&mut self, id: &NodeId, keeps: bool, now: Now) -> Result<NodeId, ContactError> {
        self.write_private(now, |node| node.custody.resolve_rival(id, keeps, now))
    }

    /// Tells a contact who another, verified one is.
    ///
    /// # Errors
    /// See [`ContactError`].
    pub fn introduce(&mut self, who: &NodeId, to: &NodeId, now: Now) -> Result<(), ContactError> {
        self.write_private(now, |node| node.custody.introduce(who, to, now))
    }

    /// Removes a contact and the keys shared with it; says whether there was one. Messages stay.
    ///
    /// # Errors
    /// The store failed.
    pub fn remove_contact(&mut self, id: &NodeId, now: Now) -> Result<bool, StoreError> {
        self.write_private(now, |node| node.custody.remove_contact(id, now))
    }

    /// Makes a code to show to somebody. It works once, for a while, and for less long in person.
    ///
    /// # Errors
    /// See [`ContactError`].
    pub fn make_code(&mut self, in_person: bool, now: Now) -> Result<Code, ContactError> {
        self.write_private(now, |node| node.custody.make_code(in_person, now))
    }

    /// The bundle that carries a message, if one was made.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn carrier_of(&self, message: &BundleId) -> Result<Option<BundleId>, StoreError> {
        if self.store().bundle(message)?.is_some() {
            return Ok(Some(*message));
        }
        match self.custody.carrier_of(message)? {
            Some(bundle) => Ok(Some(bundle)),
            None => match self.custody.carrier_to_group(message)? {
                Some(bundle) => Ok(Some(bundle)),
                None => self.custody.carrier_of_opened(message),
            },
        }
    }
}
