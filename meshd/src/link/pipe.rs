//! A link between two nodes of one process: the daemon's demonstration, tests and benchmarks.
//!
//! It keeps to the rules of every link: whole frames, in order, once each, with back-pressure both ways.

use meshlink_core::LinkKind;
use tokio::task::JoinHandle;

use crate::driver::{LinkEnd, LinkPort};

/// Joins two nodes; the first dials. The pipe breaks when a node gives the link up or the task is aborted.
pub fn join(dialler: &LinkPort, listener: &LinkPort) -> JoinHandle<()> {
    let near = dialler.open(LinkKind::Pipe, "pipe".to_owned(), true);
    let far = listener.open(LinkKind::Pipe, "pipe".to_owned(), false);
    tokio::spawn(async move {
        tokio::select! {
            () = carry(&near, &far) => {}
            () = carry(&far, &near) => {}
        }
    })
}

async fn carry(from: &LinkEnd, to: &LinkEnd) {
    while let Some(frame) = from.next().await {
        if to.send(frame).await.is_err() {
            return;
        }
    }
}
