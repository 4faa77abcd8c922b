//! A node's side of its links, moved by hand: for tests of transports.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use meshlink_core::LinkId;

use super::lane::{Lane, LinkCommand};
use super::{LinkClosed, LinkPort};

/// What transports told the node.
pub(crate) struct Commands {
    queue: Receiver<LinkCommand>,
    dropped: Arc<std::sync::Mutex<Vec<LinkId>>>,
}

/// A link as the node sees it.
pub(crate) struct Opened {
    link: LinkId,
    pub(crate) dialled: bool,
    lane: Arc<Lane>,
    dropped: Arc<std::sync::Mutex<Vec<LinkId>>>,
}

impl Commands {
    /// A port for a transport, and what comes out of it.
    pub(crate) fn pair() -> (LinkPort, Self) {
        let (sender, queue) = channel();
        let dropped = Arc::new(std::sync::Mutex::new(Vec::new()));
        let seen = Arc::clone(&dropped);
        let port = LinkPort::new(move |command| {
            if let LinkCommand::Down { link } = &command {
                seen.lock().unwrap().push(*link);
            }
            sender.send(command).map_err(|_| LinkClosed)
        });
        (port, Self { queue, dropped })
    }

    /// The next link that was opened, if there is one.
    pub(crate) fn opened(&mut self) -> Option<Opened> {
        loop {
            if let LinkCommand::Up { link, dialled, lane, .. } = self.queue.try_recv().ok()? {
                return Some(Opened { link, dialled, lane, dropped: Arc::clone(&self.dropped) });
            }
        }
    }
}

impl Opened {
    /// The node has something to say.
    pub(crate) fn push(&self, frame: &[u8]) {
        self.lane.push(frame.to_vec());
    }

    /// The node takes what came.
    pub(crate) fn taken(&self) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.lane.take()).collect()
    }

    /// The node hangs up.
    pub(crate) fn close(&self) {
        self.lane.close(None);
    }

    /// Whether the transport hung up.
    pub(crate) fn is_dropped(&self) -> bool {
        self.dropped.lock().unwrap().contains(&self.link)
    }
}
