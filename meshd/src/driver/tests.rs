//! The driver over the reference store: what is answered is committed, what is bounded waits.

use std::time::Duration;

use futures_util::FutureExt;
use meshlink_core::event::{Event, LoggedEvent, MessageStatus};
use meshlink_core::mem::MemStore;
use meshlink_core::{Draft, Identity, Limits, LinkKind, Priority};
use tokio::time::timeout;

use super::*;
use crate::clock::ClockPolicy;
use crate::link::pipe;

const PATIENCE: Duration = Duration::from_secs(20);

fn driver(seed: u8) -> Driver<MemStore> {
    let clock = Clock::new(ClockPolicy::Trust);
    let identity = Identity::generate(&[seed; 64]);
    let node = Node::open(MemStore::default(), identity, [seed; 32], Limits::default(), clock.now()).unwrap();
    Driver::start(node, clock).unwrap()
}

fn draft(text: &str) -> Draft {
    let text = text.to_owned();
    Draft { channel: "#mesh".to_owned(), text, lifetime_s: None, priority: Priority::Normal, reply_to: None }
}

async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("waited {PATIENCE:?} for {what}"))
}

async fn post(driver: &Driver<MemStore>, text: &str) -> meshlink_core::BundleId {
    let draft = draft(text);
    driver.write(move |node, now| node.submit(draft, now)).await.unwrap().unwrap()
}

async fn texts(driver: &Driver<MemStore>) -> Vec<String> {
    let messages = driver.read(|node, _| node.store().messages_after(Seq(0), 10_000)).await.unwrap().unwrap();
    messages.into_iter().map(|message| message.text).collect()
}

async fn wait_for_texts(driver: &Driver<MemStore>, count: usize) -> Vec<String> {
    let mut newest = driver.newest();
    let gather = async {
        loop {
            let found = texts(driver).await;
            if found.len() >= count {
                return found;
            }
            newest.changed().await.unwrap();
        }
    };
    within("messages", gather).await
}

#[tokio::test]
async fn a_write_is_answered_after_its_commit() {
    let driver = driver(1);
    let id = post(&driver, "hello").await;
    let (dirty, found) = driver
        .read(move |node, _| (node.store().is_dirty(), node.store().message(&id).unwrap()))
        .await
        .unwrap();
    assert!(!dirty, "a read looked into an open transaction");
    assert_eq!(found.unwrap().text, "hello");
    driver.stop().await;
}

#[tokio::test]
async fn the_newest_event_is_told_and_stays_told_when_the_driver_stops() {
    let driver = driver(1);
    let mut newest = driver.newest();
    let before = *newest.borrow_and_update();
    post(&driver, "hello").await;
    within("the event", newest.wait_for(|seq| *seq > before)).await.unwrap();
    driver.stop().await;
    assert!(newest.has_changed().is_err(), "the sender is gone, so that waiters wake");
    assert!(driver.read(|_, _| ()).await.is_err());
    assert!(matches!(driver.write(|_, _| ()).await, Err(WriteError::Gone)));
    driver.stop().await;
}

#[tokio::test]
async fn news_are_read_at_once_where_there_are_some_and_else_with_the_commit_that_brings_them() {
    let driver = driver(1);
    let newest = || *driver.newest().borrow();
    let before = newest();
    let mut waiting = Box::pin(driver.read_news(before, |node, _| node.store().is_dirty()));
    assert!((&mut waiting).now_or_never().is_none());
    assert!(texts(&driver).await.is_empty(), "a read that is no news");
    assert!((&mut waiting).now_or_never().is_none(), "it was woken by nothing");
    post(&driver, "hello").await;
    assert!(!within("the news", waiting).await.unwrap(), "it looked into an open transaction");
    let late = driver.read_news(before, |node, _| node.store().event_bounds().unwrap());
    assert_eq!(within("old news", late).await.unwrap().map(|(_, newest)| newest), Some(newest()));
    driver.stop().await;
    assert!(driver.read_news(newest(), |_, _| ()).await.is_err());
}

#[tokio::test]
async fn whoever_waits_for_news_waits_in_no_queue_and_is_forgotten_when_it_leaves() {
    let driver = driver(1);
    let before = *driver.newest().borrow();
    let looked = Arc::new(());
    for _ in 0..2 * REQUESTS_MAX {
        let token = Arc::clone(&looked);
        let mut waiting = Box::pin(driver.read_news(before, move |_, _| drop(token)));
        assert!((&mut waiting).now_or_never().is_none());
        within("a read in the queue behind it", driver.read(|_, _| ())).await.unwrap();
    }
    // The newest is forgotten when somebody else waits.
    assert!(Arc::strong_count(&looked) <= 2, "{} are kept", Arc::strong_count(&looked) - 1);
    driver.stop().await;
}

#[tokio::test]
async fn whoever_leaves_has_written_all_the_same() {
    let driver = driver(1);
    let thread = busy(&driver).await;
    let draft = draft("left behind");
    let write = driver.write(move |node, now| node.submit(draft, now));
    // Polled once, so the job is queued, and then dropped.
    let mut write = Box::pin(write);
    assert!(write.as_mut().now_or_never().is_none());
    drop(write);
    drop(thread);
    assert_eq!(wait_for_texts(&driver, 1).await, ["left behind"]);
    driver.stop().await;
}

/// Keeps the node's thread busy until dropped, so that what follows gathers in one batch.
struct Busy {
    _release: Sender<()>,
}

async fn busy(driver: &Driver<MemStore>) -> Busy {
    let (release, released) = channel::<()>();
    let (started, at_work) = oneshot::channel();
    tokio::spawn(driver.write(move |_, _| {
        let _ = started.send(());
        let _ = released.recv();
    }));
    within("the node's thread", at_work).await.unwrap();
    Busy { _release: release }
}

#[tokio::test]
async fn what_gathers_shares_one_transaction() {
    let driver = driver(1);
    let hold = busy(&driver).await;
    let writes: Vec<_> = (0..10)
        .map(|n| {
            let draft = draft(&format!("m{n}"));
            tokio::spawn(driver.write(move |node, now| node.submit(draft, now)))
        })
        .collect();
    tokio::task::yield_now().await;
    // The last of the batch breaks the disk: none of the ten is stored, and each is told so.
    let last = tokio::spawn(driver.write(|node, _| node.store_mut().fail_writes(Some(StoreError::Full))));
    tokio::task::yield_now().await;
    drop(hold);
    for write in writes {
        assert_eq!(within("an answer", write).await.unwrap(), Err(WriteError::Store(StoreError::Full)));
    }
    assert_eq!(within("an answer", last).await.unwrap(), Err(WriteError::Store(StoreError::Full)));
    assert!(texts(&driver).await.is_empty());
    driver.stop().await;
}

#[tokio::test]
async fn p05_a_full_disk_refuses_writes_reads_go_on_and_it_heals() {
    let driver = driver(1);
    post(&driver, "before").await;
    let broken = driver.write(|node, _| node.store_mut().fail_writes(Some(StoreError::Full))).await;
    assert!(broken.is_ok(), "nothing was written, so there was nothing to fail");
    let refused = draft("lost");
    let answer = driver.write(move |node, now| node.submit(refused, now)).await;
    let told = match &answer {
        Err(WriteError::Store(StoreError::Full)) => true,
        Ok(Err(error)) => error.to_string().contains("full"),
        Ok(Ok(_)) | Err(_) => false,
    };
    assert!(told, "{answer:?}");
    assert_eq!(texts(&driver).await, ["before"]);
    // The node probes by itself; whatever it does meanwhile, it must take messages again.
    let _ = driver.write(|node, _| node.store_mut().fail_writes(None)).await;
    let heal = async {
        loop {
            let again = draft("after");
            if let Ok(Ok(_)) = driver.write(move |node, now| node.submit(again, now)).await {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    within("the disk to be tried again", heal).await;
    assert_eq!(texts(&driver).await, ["before", "after"]);
    driver.stop().await;
}

#[tokio::test]
async fn more_requests_than_the_queue_takes_wait_and_are_answered() {
    let driver = driver(1);
    let hold = busy(&driver).await;
    let reads: Vec<_> = (0..REQUESTS_MAX * 2)
        .map(|_| {
            let driver = driver.clone();
            tokio::spawn(async move { driver.read(|_, _| ()).await })
        })
        .collect();
    tokio::task::yield_now().await;
    drop(hold);
    for read in reads {
        within("an answer", read).await.unwrap().unwrap();
    }
    driver.stop().await;
}

#[tokio::test]
async fn two_nodes_joined_by_a_pipe_hold_the_same() {
    let (a, b) = (driver(1), driver(2));
    post(&a, "before").await;
    let pipe = pipe::join(&a.links(), &b.links());
    assert_eq!(wait_for_texts(&b, 1).await, ["before"]);
    post(&b, "back").await;
    let mut both = wait_for_texts(&a, 2).await;
    both.sort();
    assert_eq!(both, ["back", "before"]);
    let links: Vec<_> = a.read(|node, _| node.links().collect()).await.unwrap();
    assert_eq!(links.len(), 1);
    assert_eq!((links[0].kind, links[0].dialled), (LinkKind::Pipe, true));
    pipe.abort();
    let unlinked = async {
        while !a.read(|node, _| node.links().count() == 0).await.unwrap() {
            tokio::task::yield_now().await;
        }
    };
    within("the link to go down", unlinked).await;
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_thousand_messages_cross_a_pipe_in_order_once_each() {
    let (a, b) = (driver(1), driver(2));
    let _pipe = pipe::join(&a.links(), &b.links());
    let expected: Vec<String> = (0..1000).map(|n| format!("m{n}")).collect();
    let mut writes = Vec::new();
    for text in &expected {
        let draft = draft(text);
        writes.push(tokio::spawn(a.write(move |node, now| node.submit(draft, now))));
    }
    for write in writes {
        within("an answer", write).await.unwrap().unwrap().unwrap();
    }
    assert_eq!(texts(&a).await, expected);
    assert_eq!(wait_for_texts(&b, 1000).await.len(), 1000);
    let mut arrived = texts(&b).await;
    arrived.sort_by_key(|text| text[1..].parse::<u32>().unwrap());
    assert_eq!(arrived, expected);
    let synced = async {
        loop {
            let all = a.read(|node, _| node.store().messages_after(Seq(0), 10_000)).await.unwrap().unwrap();
            if all.iter().all(|message| message.status == MessageStatus::Synced) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    within("all to be synced", synced).await;
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_status_that_nobody_asks_for_becomes_known_all_the_same() {
    let (a, b) = (driver(1), driver(2));
    let _pipe = pipe::join(&a.links(), &b.links());
    post(&b, "they talk").await;
    wait_for_texts(&a, 1).await;
    let mut newest = a.newest();
    let before = *newest.borrow_and_update();
    let id = post(&a, "hello").await;
    // The message and then its status. Nothing but the newest event is looked at: a read would have it committed.
    within("the status", newest.wait_for(|seq| seq.0 >= before.0 + 2)).await.unwrap();
    let events = a.read(move |node, _| node.store().events_after(before, 10)).await.unwrap().unwrap();
    let status = Event::MessageStatus { id, status: MessageStatus::Synced, reason: None };
    assert!(events.iter().any(|logged| logged.event == status), "{events:?}");
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_frame_that_makes_no_sense_closes_its_link_and_no_other() {
    let (a, b) = (driver(1), driver(2));
    let _pipe = pipe::join(&a.links(), &b.links());
    post(&b, "hello").await;
    wait_for_texts(&a, 1).await;
    let stranger = a.links().open(LinkKind::Lan, "nowhere".to_owned(), false);
    stranger.send(vec![0xff; 100]).await.unwrap();
    assert_eq!(within("the link to be closed", stranger.next()).await, None);
    assert_eq!(stranger.send(vec![0]).await, Err(LinkClosed));
    post(&b, "still here").await;
    wait_for_texts(&a, 2).await;
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_sender_waits_while_the_thread_is_busy() {
    let driver = driver(1);
    let link = driver.links().open(LinkKind::Lan, "nowhere".to_owned(), false);
    let hold = busy(&driver).await;
    let mut sent = 0;
    while link.try_send(vec![0; 1024]).is_ok() {
        sent += 1;
        assert!(sent < 1000, "nothing bounds what waits for the thread");
    }
    assert_eq!(link.try_send(vec![0; 1024]), Err(NotSent::Full));
    let waiting = link.send(vec![0; 1024]);
    tokio::pin!(waiting);
    assert!(waiting.as_mut().now_or_never().is_none());
    drop(hold);
    // The node takes nonsense off the lane, or closes the link for it; either way nobody waits for ever.
    let _ = within("the sender", waiting).await;
    driver.stop().await;
}

#[tokio::test]
async fn reports_of_transports_become_events_once() {
    let driver = driver(1);
    let status = meshlink_core::TransportStatus {
        kind: LinkKind::Relay,
        name: "ws://x".to_owned(),
        state: meshlink_core::TransportState::Up,
        detail: "connected".to_owned(),
        hint: None,
    };
    for _ in 0..3 {
        driver.links().report(status.clone());
    }
    let events: Vec<LoggedEvent> =
        driver.read(|node, _| node.store().events_after(Seq(0), 100)).await.unwrap().unwrap();
    let reported: Vec<_> = events.into_iter().map(|logged| logged.event).collect();
    assert_eq!(reported, [Event::Transport { status }]);
    driver.stop().await;
}
