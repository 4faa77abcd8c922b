//! The only door out of a node.

use crate::clock::Now;
use crate::handshake::TAG_BYTES;
use crate::id::LinkId;
use crate::link::{Link, Role, Stage};
use crate::session::Around;
use crate::store::{Store, StoreError};

use super::{Node, Output};

/// What may leave a node now that everything it rests on is durable. Dropping it loses nothing.
pub struct Outbox<'a, S> {
    node: &'a mut Node<S>,
}

impl<'a, S: Store> Outbox<'a, S> {
    pub(super) fn new(node: &'a mut Node<S>) -> Self {
        Self { node }
    }

    /// The next frame for a link with room, encrypted; `None` if there is nothing to say there now.
    ///
    /// # Errors
    /// The store can't be read. The link can then be asked again.
    pub fn next_frame(&mut self, link: LinkId, now: Now) -> Result<Option<Vec<u8>>, StoreError> {
        let node = &mut *self.node;
        let links_open = node.links.values().filter(|link| link.session().is_some()).count();
        let Some(link) = node.links.get_mut(&link) else { return Ok(None) };
        let mut plain = std::mem::take(&mut node.plain);
        plain.clear();
        let mut around = Around { custody: &mut node.custody, wants: &mut node.wants, links_open, now };
        let frame = frame_of(link, &mut plain, &mut around);
        node.plain = plain;
        let frame = frame?;
        link.sent_bytes += frame.as_ref().map_or(0, |frame| frame.len() as u64);
        Ok(frame)
    }

    /// The next thing to do or to know.
    pub fn next_output(&mut self) -> Option<Output> {
        let close = self.node.closes.pop_front().map(|(link, why)| Output::Close { link, why });
        close.or_else(|| self.node.events.pop_front().map(Output::Event))
    }

    /// The links that may have a frame to send, by number. Only those need to be polled.
    pub fn links_with_frames(&self) -> Vec<LinkId> {
        self.node.links_with_frames().collect()
    }
}

fn frame_of<S: Store>(
    link: &mut Link,
    plain: &mut Vec<u8>,
    around: &mut Around<'_, S>,
) -> Result<Option<Vec<u8>>, StoreError> {
    match &mut link.stage {
        Stage::Handshake { out, .. } => Ok(out.take()),
        Stage::Open(open) => {
            if let Some(last) = open.out.take() {
                return Ok(Some(last));
            }
            let Role::Working(session) = &mut open.role else { return Ok(None) };
            session.fill(plain, open.tunnel.frame_bytes_max - TAG_BYTES, around)?;
            Ok((!plain.is_empty()).then(|| open.tunnel.seal(plain)))
        }
    }
}
