//! From a new connection to a member of the hub, or to an answer that says why not.

use super::Relay;
use super::conn::{Conn, Phase};
use super::stream::{Stream, TlsStream};
use crate::address_book::{Address, Verdict};
use crate::answer::{self, Answer};
use crate::hub::{CantJoin, ClientId, Dialect, Newcomer};
use crate::limits::{ACCEPTS_PER_TURN, PENDING_MAX, SEND_BUFFER_BYTES};
use crate::metrics::{self, Cut, Gauges};
use crate::request::{BadHead, Request};
use meshlink_api::relay::{JSON_SUBPROTOCOL, SUBPROTOCOL};
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Token};
use ring::rand::SecureRandom;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;

/// A listening socket. What is set here, accepted sockets inherit.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        // `[::]` means every address of this machine.
        socket.set_only_v6(false)?;
    }
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(super::BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

impl Relay {
    /// Accepts what waits, up to a turn's worth.
    pub(super) fn accept(&mut self) {
        if self.accept_retry_ms.is_some_and(|retry| self.now_ms < retry) {
            return;
        }
        self.accept_retry_ms = None;
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(listener) = self.listener.as_ref().filter(|_| self.is_accepting) else { return };
            match listener.accept() {
                Ok((tcp, peer)) => self.admit(tcp, peer),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.is_accepting = false,
                // The connection was given up while it waited.
                Err(error)
                    if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
                Err(error) => {
                    if self.hub.counters.accept_errors == 0 {
                        tracing::warn!(
                            "can't accept a connection: {error}; further ones are only counted in /metrics"
                        );
                    }
                    self.hub.counters.accept_errors += 1;
                    self.pause_accepting();
                    return;
                }
            }
        }
    }

    fn admit(&mut self, tcp: TcpStream, peer: SocketAddr) {
        self.hub.counters.connections += 1;
        // Every client has a place, and so have as many that are not yet or no more one; beyond that even a
        // refusal costs more than the stranger is worth.
        if self.conns.len() >= self.max_clients + 2 * PENDING_MAX {
            return;
        }
        let address = Address::from(peer.ip());
        let is_counted = self.book.connect(address);
        if !is_counted && self.tls.is_some() {
            return;
        }
        let Ok(stream) = self.stream(tcp) else { return };
        self.last_serial += 1;
        let mut conn = Conn {
            stream,
            address,
            local: None,
            is_counted,
            serial: self.last_serial,
            is_ready: false,
            has_ended: false,
            phase: Phase::head(self.now_ms),
        };
        conn.local = conn.stream.tcp().local_addr().ok().map(|local| local.ip());
        let token = Token(self.conns.next_id().0);
        let interest = Interest::READABLE | Interest::WRITABLE;
        if self.poll.registry().register(conn.stream.tcp(), token, interest).is_err() {
            if is_counted {
                self.book.disconnect(address);
            }
            return;
        }
        let id = self.conns.insert(conn);
        self.pending_count += 1;
        if !is_counted {
            let answer = Answer::problem(
                503,
                "too_many_connections",
                "this address has as many connections as it may",
            );
            return self.answer(id, answer.with("Retry-After", "30"), false);
        }
        self.pending.push_back((id, self.last_serial));
        self.displace_oldest();
    }

    fn stream(&self, tcp: TcpStream) -> Result<Stream, rustls::Error> {
        Ok(match &self.tls {
            Some(config) => {
                let session = rustls::ServerConnection::new(config.clone())?;
                Stream::Tls(Box::new(TlsStream::new(tcp, session)))
            }
            None => Stream::Plain(tcp),
        })
    }

    /// Who was first to come and has still not said what it wants makes room for newcomers.
    fn displace_oldest(&mut self) {
        if self.pending.len() <= 2 * PENDING_MAX && self.pending_count <= PENDING_MAX {
            return;
        }
        let conns = &mut self.conns;
        self.pending.retain(|(id, serial)| {
            conns
                .get_mut(*id)
                .is_some_and(|conn| conn.serial == *serial && matches!(conn.phase, Phase::Head { .. }))
        });
        while self.pending_count > PENDING_MAX
            && let Some((id, _)) = self.pending.pop_front()
        {
            self.cut(id, Cut::Displaced);
        }
    }

    /// Takes the first `bytes` of the read buffer as part of a request head.
    pub(super) fn enter(&mut self, id: ClientId, bytes: usize) {
        let Some(Phase::Head { head, .. }) = self.conns.get_mut(id).map(|conn| &mut conn.phase) else {
            return;
        };
        match head.feed(&self.scratch[..bytes]) {
            Ok(None) => {}
            Ok(Some((request, used))) => {
                self.decide(id, &request);
                // A hasty client may have sent its first words along with the head.
                self.hear(id, used..bytes);
            }
            Err(BadHead::TooLarge) => {
                let detail = "the request head has more than 32 KiB or more than 100 headers";
                self.answer(id, Answer::problem(431, "head_too_large", detail), false);
            }
            Err(BadHead::Malformed(why)) => self.answer(id, Answer::problem(400, "bad_request", why), false),
        }
    }

    fn decide(&mut self, id: ClientId, request: &Request) {
        let is_head = request.method == "HEAD";
        let is_read = is_head || request.method == "GET";
        match (request.path.as_str(), is_read) {
            ("/", _) if request.method == "GET" => self.upgrade(id, request),
            ("/healthz", true) => self.answer(id, Answer::health(), is_head),
            ("/metrics", true) if self.door.admits_token(request.bearer.as_deref()) => {
                let page = metrics::render(&self.hub.counters, self.gauges());
                self.answer(id, Answer::metrics(page), is_head);
            }
            ("/metrics", true) => self.refuse_token(id, request),
            ("/" | "/healthz" | "/metrics", _) => {
                let detail = "only GET is served here";
                self.answer(
                    id,
                    Answer::problem(405, "method_not_allowed", detail).with("Allow", "GET"),
                    is_head,
                );
            }
            _ => {
                let detail = "there is / (WebSocket), /healthz and /metrics";
                self.answer(id, Answer::problem(404, "not_found", detail), is_head);
            }
        }
    }

    fn gauges(&self) -> Gauges {
        Gauges {
            clients: self.hub.clients(),
            nodes: self.hub.nodes(),
            topics: self.hub.topics(),
            connections: self.conns.len(),
            queued_bytes: self.hub.queued_bytes(),
            uptime_s: self.now_ms / 1_000,
        }
    }

    fn upgrade(&mut self, id: ClientId, request: &Request) {
        let Some(upgrade) = &request.upgrade else {
            let detail =
                "this is a MeshLink relay: connect with a WebSocket client, as in `websocat ws://HOST:PORT`";
            let answer = Answer::problem(426, "upgrade_required", detail);
            return self.answer(id, answer.with("Upgrade", "websocket").with("Connection", "upgrade"), false);
        };
        let local = self.conns.get_mut(id).and_then(|conn| conn.local);
        if let Some(origin) = &request.origin
            && !self.door.admits_origin(origin, local)
        {
            let detail =
                "pages of this origin may not connect; the operator can allow it with --allow-origin";
            return self.answer(id, Answer::problem(403, "origin_not_allowed", detail), false);
        }
        if !self.door.admits_token(request.bearer.as_deref()) {
            return self.refuse_token(id, request);
        }
        if upgrade.version != "13" {
            let answer =
                Answer::problem(426, "websocket_version", "only version 13 of WebSocket is spoken here");
            return self.answer(id, answer.with("Sec-WebSocket-Version", "13"), false);
        }
        if !answer::is_websocket_key(&upgrade.key) {
            let answer = Answer::problem(400, "bad_request", "Sec-WebSocket-Key is not 16 bytes in Base64");
            return self.answer(id, answer, false);
        }
        if self.hub.clients() >= self.max_clients {
            return self.refuse_full(id, "the relay has as many clients as it may");
        }
        match self.join(id, request, &upgrade.key) {
            Ok(()) => {}
            Err(CantJoin::TopicFull) => self.refuse_full(id, "the topic has as many nodes as it may"),
            Err(CantJoin::HandlesUsedUp) => {
                self.refuse_full(id, "the relay has to be restarted to take more nodes")
            }
        }
    }

    fn join(&mut self, id: ClientId, request: &Request, key: &str) -> Result<(), CantJoin> {
        let offers = |protocol| request.protocols.iter().any(|offered| offered == protocol);
        let (dialect, protocol) = if offers(SUBPROTOCOL) {
            (Dialect::Node, Some(SUBPROTOCOL))
        } else {
            (Dialect::Json, Some(JSON_SUBPROTOCOL).filter(|protocol| offers(*protocol)))
        };
        let made_up = if request.device_id.is_none() { Some(self.made_up_id()) } else { None };
        let greeting = answer::upgrade(key, protocol, made_up.as_deref());
        let device_id = request.device_id.clone().or(made_up).unwrap_or_default();
        let newcomer = Newcomer { dialect, topic: request.topic.clone(), device_id, greeting };
        self.hub.join(id, newcomer, self.now_ms)?;
        if let Some(conn) = self.conns.get_mut(id) {
            conn.phase = Phase::open(self.now_ms);
            self.pending_count -= 1;
        }
        Ok(())
    }

    /// A random UUID (RFC 9562, version 4).
    fn made_up_id(&self) -> String {
        let mut bytes = [0; 16];
        // Without randomness the id would be the same each time, which harms nobody: it is only a name.
        let _ = self.random.fill(&mut bytes);
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let hex = data_encoding::HEXLOWER.encode(&bytes);
        [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
    }

    fn refuse_full(&mut self, id: ClientId, detail: &str) {
        self.answer(id, Answer::problem(503, "full", detail).with("Retry-After", "30"), false);
    }

    /// No token, or a wrong one. Wrong ones are answered later and later.
    fn refuse_token(&mut self, id: ClientId, request: &Request) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        let verdict = match request.bearer {
            Some(_) => self.book.fail(conn.address, self.now_ms),
            None => Verdict::Unauthorized { delay_ms: 0 },
        };
        let detail = match request.bearer {
            Some(_) => "this token is not known here",
            None => {
                "send `Authorization: Bearer <token>`; browsers: subprotocols meshlink.json and bearer.<token>"
            }
        };
        let unauthorized = Answer::problem(401, "unauthorized", detail).with("WWW-Authenticate", "Bearer");
        match verdict {
            Verdict::Unauthorized { delay_ms: 0 } => self.answer(id, unauthorized, false),
            Verdict::Unauthorized { delay_ms } => {
                self.hub.counters.answered(401);
                conn.phase =
                    Phase::Held { answer: unauthorized.encode(false), until_ms: self.now_ms + delay_ms };
                self.held_count += 1;
                self.pending_count -= 1;
            }
            Verdict::TooMany => {
                let answer =
                    Answer::problem(429, "too_many_failures", "too many wrong tokens from this address");
                self.answer(id, answer.with("Retry-After", "10"), false);
            }
        }
    }
}
