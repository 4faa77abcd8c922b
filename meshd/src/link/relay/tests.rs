#![allow(clippy::result_large_err, reason = "the shape of the library's callback")]
//! A whole link against a scripted relay on loopback: what it says to it, what it makes of its answers.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use meshlink_api::relay::{SUBPROTOCOL, Text};
use meshlink_core::{BundleId, Draft, Identity, Limits, Node, Priority, Store, TransportStatus};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};

use super::*;
use crate::clock::{Clock, ClockPolicy};
use crate::link::network::watch_network;
use crate::sqlite::SqliteStore;
use crate::stop::{Stopper, stopper};
use crate::vault::{MasterKey, RecordKeys};

/// The keys of the tests' stores.
fn keys() -> RecordKeys {
    MasterKey::from_bytes([1; 32]).record_keys()
}

const PATIENCE: Duration = Duration::from_secs(20);

async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("waited {PATIENCE:?} for {what}"))
}

/// A node with a link to one relay.
struct Linked {
    driver: Driver,
    stopper: Stopper,
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
    dir: tempfile::TempDir,
}

impl Linked {
    fn start(address: SocketAddr) -> Self {
        Self::start_with(RelaySettings::new(format!("ws://{address}").parse().unwrap()))
    }

    fn start_with(relay: RelaySettings) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), relay)
    }

    fn start_in(dir: tempfile::TempDir, relay: RelaySettings) -> Self {
        let clock = Clock::new(ClockPolicy::Trust);
        let store = SqliteStore::open(&dir.path().join("db"), Some(keys())).unwrap();
        let node =
            Node::open(store, Identity::generate(&[5; 64]), [5; 32], Limits::default(), clock.now()).unwrap();
        let driver = Driver::start(node, clock).unwrap();
        let (stopper, stopping) = stopper();
        let task = tokio::spawn(run(relay, driver.clone(), watch_network(), stopping));
        Self { driver, stopper, task, dir }
    }

    async fn post(&self, text: &str) -> BundleId {
        let draft = Draft {
            channel: "#mesh".to_owned(),
            text: text.to_owned(),
            lifetime_s: None,
            priority: Priority::Normal,
            reply_to: None,
        };
        self.driver.write(move |node, now| node.submit(draft, now)).await.unwrap().unwrap()
    }

    async fn texts(&self) -> Vec<String> {
        let found =
            self.driver.read(|node, _| node.store().messages_after(meshlink_core::Seq(0), 1000)).await;
        found.unwrap().unwrap().into_iter().map(|message| message.text).collect()
    }

    /// Waits until the relay's status is as wanted.
    async fn status(&self, wanted: impl Fn(&TransportStatus) -> bool) -> TransportStatus {
        let mut newest = self.driver.newest();
        let look = async {
            loop {
                newest.borrow_and_update();
                let now = self.driver.read(|node, _| node.transports().next().cloned()).await.unwrap();
                if let Some(status) = now.filter(|status| wanted(status)) {
                    return status;
                }
                newest.changed().await.unwrap();
            }
        };
        within("the status", look).await
    }

    async fn state(&self, state: TransportState) -> TransportStatus {
        self.status(|status| status.state == state).await
    }

    /// Stops as the daemon does.
    async fn stop(self) -> tempfile::TempDir {
        self.stopper.stop();
        within("the link to stop", self.task).await.unwrap().unwrap();
        self.driver.stop().await;
        self.dir
    }
}

/// A relay played by the test.
struct Relay {
    listener: TcpListener,
}

struct Client {
    socket: WebSocketStream<TcpStream>,
    authorization: Option<String>,
    target: String,
}

impl Relay {
    async fn listen() -> (Self, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (Self { listener }, address)
    }

    /// The next connection that comes to the end of its handshake.
    async fn accept(&self, subprotocol: bool) -> Client {
        let (mut authorization, mut target) = (None, String::new());
        let answer = |request: &Request, mut response: Response| {
            let header = |name| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
            authorization = header("authorization");
            target = request.uri().to_string();
            if subprotocol {
                assert_eq!(header("sec-websocket-protocol").as_deref(), Some(SUBPROTOCOL));
                response
                    .headers_mut()
                    .insert("Sec-WebSocket-Protocol", HeaderValue::from_static(SUBPROTOCOL));
            }
            Ok(response)
        };
        let accept = async {
            let (stream, _) = self.listener.accept().await.unwrap();
            tokio_tungstenite::accept_hdr_async(stream, answer).await.unwrap()
        };
        let socket = within("a connection", accept).await;
        Client { socket, authorization, target }
    }

    async fn refuse(&self, status: StatusCode) {
        let (stream, _) = within("a connection", self.listener.accept()).await.unwrap();
        let answer = |_: &Request, _: Response| {
            let mut refusal = ErrorResponse::new(None);
            *refusal.status_mut() = status;
            Err(refusal)
        };
        assert!(tokio_tungstenite::accept_hdr_async(stream, answer).await.is_err());
    }
}

impl Client {
    async fn say(&mut self, message: impl Into<Message>) {
        self.socket.send(message.into()).await.unwrap();
    }

    /// The next text, answered as a relay answers: the ping behind it gets its pong.
    async fn text(&mut self) -> Text {
        let text = self.text_without_pong().await;
        self.pong().await;
        text
    }

    async fn text_without_pong(&mut self) -> Text {
        loop {
            if let Message::Text(json) = within("a text", self.socket.next()).await.unwrap().unwrap() {
                return serde_json::from_str(&json).unwrap();
            }
        }
    }

    /// Reads on until the ping, which the library answers, and sees the answer off.
    async fn pong(&mut self) {
        loop {
            if let Message::Ping(_) = within("a ping", self.socket.next()).await.unwrap().unwrap() {
                return self.socket.flush().await.unwrap();
            }
        }
    }

    /// Whether nothing but what keeps a connection alive came within a moment.
    async fn is_quiet(&mut self) -> bool {
        let word = timeout(Duration::from_millis(300), self.socket.next()).await;
        word.is_err()
    }
}

#[tokio::test]
async fn own_messages_go_out_in_order_once_each_also_those_written_meanwhile() {
    let (relay, address) = Relay::listen().await;
    let node = Linked::start(address);
    let mut client = relay.accept(true).await;
    let id = node.post("one").await;
    let text = client.text().await;
    assert_eq!((text.kind.as_str(), text.payload.as_str()), ("TEXT", "one"));
    assert_eq!(text.message_id, Some(id.to_string()));
    assert_eq!(text.sender_id.len(), 8, "a node without a name is called by its id");
    drop(client);
    node.state(TransportState::Down).await;
    node.post("two").await;
    node.post("three").await;
    let mut client = relay.accept(true).await;
    assert_eq!(client.text().await.payload, "two");
    assert_eq!(client.text().await.payload, "three");
    assert!(client.is_quiet().await);
    node.stop().await;
}

#[tokio::test]
async fn what_went_out_is_remembered_over_a_restart() {
    let (relay, address) = Relay::listen().await;
    let node = Linked::start(address);
    let mut client = relay.accept(true).await;
    node.post("one").await;
    assert_eq!(client.text().await.payload, "one");
    // The pong has to be there before the daemon stops.
    node.post("two").await;
    assert_eq!(client.text().await.payload, "two");
    let _ = client.is_quiet().await;
    let dir = node.stop().await;
    let node = Linked::start_in(dir, RelaySettings::new(format!("ws://{address}").parse().unwrap()));
    let mut client = relay.accept(true).await;
    node.post("three").await;
    assert_eq!(client.text().await.payload, "three");
    node.stop().await;
}

#[tokio::test]
async fn a_relay_new_to_a_node_does_not_hear_the_past() {
    let (relay, address) = Relay::listen().await;
    let node = Linked::start(address);
    node.post("the past").await;
    let mut client = relay.accept(true).await;
    // Written while that relay was already configured: it follows.
    assert_eq!(client.text().await.payload, "the past");
    let _ = client.is_quiet().await;
    let dir = node.stop().await;
    let (other, address) = Relay::listen().await;
    let node = Linked::start_in(dir, RelaySettings::new(format!("ws://{address}").parse().unwrap()));
    let mut client = other.accept(true).await;
    assert!(client.is_quiet().await);
    node.post("news").await;
    assert_eq!(client.text().await.payload, "news");
    node.stop().await;
}

#[tokio::test]
async fn a_text_the_relay_did_not_confirm_goes_out_again() {
    let (relay, address) = Relay::listen().await;
    let node = Linked::start(address);
    let mut client = relay.accept(true).await;
    node.post("one").await;
    assert_eq!(client.text_without_pong().await.payload, "one");
    drop(client);
    let mut client = relay.accept(true).await;
    assert_eq!(client.text().await.payload, "one");
    assert!(client.is_quiet().await);
    node.stop().await;
}

#[tokio::test]
async fn a_text_that_was_too_much_goes_out_later() {
    let (relay, address) = Relay::listen().await;
    let node = Linked::start(address);
    let mut client = relay.accept(true).await;
    node.post("one").await;
    assert_eq!(client.text_without_pong().await.payload, "one");
    client.say(r#"{"type":"ERROR","code":"rate_limited","message":"slowly"}"#).await;
    client.pong().await;
    assert_eq!(client.text().await.payload, "one");
    assert!(client.is_quiet().await);
    node.stop().await;
}

#[tokio::test]
async fn clients_posts_come_in_once_and_nodes_posts_do_not() {
    let (relay, address) = Relay::listen().await;
    let node = Linked::start(address);
    let mut client = relay.accept(true).await;
    let post = r#"{"type":"TEXT","payload":"Hello World","senderId":"test-1","timestamp":1234567890}"#;
    client.say(post).await;
    client.say(post).await;
    client.say(r#"{"type":"TEXT","payload":"of a node","senderId":"n","timestamp":1,"messageId":"x"}"#).await;
    client.say("no JSON").await;
    client.say(r#"{"type":"TEXT","payload":"the end","senderId":"test-1","timestamp":1234567891}"#).await;
    let mut newest = node.driver.newest();
    let end = async {
        while !node.texts().await.contains(&"the end".to_owned()) {
            newest.changed().await.unwrap();
        }
    };
    within("the posts", end).await;
    assert_eq!(node.texts().await, ["Hello World", "the end"]);
    assert!(client.is_quiet().await, "what came from the relay does not go back to it");
    node.stop().await;
}

#[tokio::test]
async fn a_relay_without_links_still_bridges_and_the_status_says_so() {
    let (relay, address) = Relay::listen().await;
    let node = Linked::start(address);
    // Asked for links, it answers without; asked again for text alone, it accepts.
    let asked = async {
        let (stream, _) = relay.listener.accept().await.unwrap();
        tokio_tungstenite::accept_async(stream).await.unwrap()
    };
    drop(within("a connection", asked).await);
    let mut client = relay.accept(false).await;
    let status = node.state(TransportState::Degraded).await;
    assert!(status.detail.contains("text only"), "{status:?}");
    node.post("out").await;
    assert_eq!(client.text().await.payload, "out");
    client.say(r#"{"type":"TEXT","payload":"in","senderId":"x","timestamp":1}"#).await;
    let mut newest = node.driver.newest();
    let came = async {
        while node.texts().await.len() < 2 {
            newest.changed().await.unwrap();
        }
    };
    within("the post", came).await;
    node.stop().await;
}

#[tokio::test]
async fn y14_nonsense_ends_the_connection_and_it_is_tried_again() {
    for nonsense in
        [vec![], vec![9, 0, 0, 0, 1], vec![3, 0, 0], vec![1, 0, 0, 0, 1, 0xff], vec![0; 65 * 1024]]
    {
        let (relay, address) = Relay::listen().await;
        let node = Linked::start(address);
        let mut client = relay.accept(true).await;
        node.state(TransportState::Up).await;
        client.say(Message::binary(nonsense)).await;
        let status = node.state(TransportState::Down).await;
        assert!(status.detail.contains("broke the protocol"), "{status:?}");
        relay.accept(true).await;
        node.stop().await;
    }
}

#[tokio::test]
async fn y07_the_token_of_the_file_is_shown_and_a_refusal_is_explained() {
    let (relay, address) = Relay::listen().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "# for the relay\nsecret-token\n").unwrap();
    let url: RelayUrl = format!("ws://{address}/?topic=a%20b").parse().unwrap();
    let node = Linked::start_with(RelaySettings { url, token_file: Some(file), ca_file: None });
    relay.refuse(StatusCode::UNAUTHORIZED).await;
    let status = node.state(TransportState::Down).await;
    assert!(
        status.detail.contains("401") && status.hint.as_ref().unwrap().contains("token_file"),
        "{status:?}"
    );
    assert!(!format!("{status:?}").contains("secret-token"));
    let client = relay.accept(true).await;
    assert_eq!(client.authorization.as_deref(), Some("Bearer secret-token"));
    assert_eq!(client.target, "/?topic=a%20b");
    node.stop().await;
}

#[tokio::test]
async fn a_relay_that_is_not_there_is_waited_for() {
    let (relay, address) = Relay::listen().await;
    drop(relay);
    let node = Linked::start(address);
    let status = node.state(TransportState::Down).await;
    assert!(status.detail.starts_with("connection refused; next try in"), "{status:?}");
    assert!(status.hint.unwrap().contains("meshlink-relay"));
    let relay = Relay { listener: TcpListener::bind(address).await.unwrap() };
    let _client = relay.accept(true).await;
    let status = node.state(TransportState::Up).await;
    assert_eq!(status.detail, "connected, no other node present");
    node.stop().await;
}

#[tokio::test]
async fn whoever_is_present_is_counted_in_the_status() {
    let (relay, address) = Relay::listen().await;
    let node = Linked::start(address);
    let mut client = relay.accept(true).await;
    use meshlink_api::relay::MeshFrame;
    for handle in [1, 2] {
        client.say(Message::binary(MeshFrame::Present { handle, device_id: "a" }.encode())).await;
    }
    node.status(|status| status.detail.contains("2 other nodes present")).await;
    client.say(Message::binary(MeshFrame::Gone { handle: 1 }.encode())).await;
    node.status(|status| status.detail.contains("1 other node present")).await;
    node.stop().await;
}

#[tokio::test]
async fn a_stop_says_good_bye() {
    let (relay, address) = Relay::listen().await;
    let node = Linked::start(address);
    let mut client = relay.accept(true).await;
    node.state(TransportState::Up).await;
    node.stop().await;
    let last = within("the end", async {
        let mut last = None;
        while let Some(Ok(message)) = client.socket.next().await {
            last = Some(message);
        }
        last
    });
    assert!(matches!(last.await, Some(Message::Close(_))));
}

mod tls {
    //! A relay with a certificate of its own.
    use super::*;
    use std::sync::Arc;

    async fn accept(listener: &TcpListener, config: Arc<rustls::ServerConfig>) -> bool {
        let (stream, _) = within("a connection", listener.accept()).await.unwrap();
        let Ok(stream) = tokio_rustls::TlsAcceptor::from(config).accept(stream).await else { return false };
        let answer = |_: &Request, mut response: Response| {
            response.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static(SUBPROTOCOL));
            Ok(response)
        };
        let mut socket = tokio_tungstenite::accept_hdr_async(stream, answer).await.unwrap();
        while let Some(Ok(_)) = socket.next().await {}
        true
    }

    #[tokio::test]
    async fn y11_a_relay_with_its_own_authority_needs_its_certificate() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config =
            rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![made.cert.der().clone()], key)
                .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url: RelayUrl =
            format!("wss://localhost:{}", listener.local_addr().unwrap().port()).parse().unwrap();
        let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let ca_file = dir.path().join("ca.pem");
        std::fs::write(&ca_file, other.cert.pem()).unwrap();
        let node =
            Linked::start_with(RelaySettings { url, token_file: None, ca_file: Some(ca_file.clone()) });
        assert!(!accept(&listener, Arc::clone(&config)).await, "a stranger's certificate was believed");
        let status = node.state(TransportState::Down).await;
        assert!(status.detail.contains("TLS failed") && status.hint.unwrap().contains("ca_file"));
        // The file is read anew for each try.
        std::fs::write(&ca_file, made.cert.pem()).unwrap();
        let served = tokio::spawn(async move { accept(&listener, config).await });
        node.state(TransportState::Up).await;
        node.stop().await;
        assert!(within("the server", served).await.unwrap());
    }
}
