//! The task that owns everything about the local network, and does one thing at a time.
//!
//! Work that waits (connecting, greeting, carrying) runs in tasks of its own that hand their connection back
//! when a decision is due. So all decisions are made here, one after the other, on one table.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use meshlink_core::LinkKind;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::admission::{Admission, Id, Verdict};
use super::candidates::Candidates;
use super::connections::{Connection, Connections, Origin, Settled, Stage};
use super::ears::Ears;
use super::interfaces::{Interfaces, is_private};
use super::multicast::{Advert, Presence};
use super::name::Name;
use super::named::Named;
use super::wire::{self, Ended};
use super::words;
use super::{LanSettings, chance};
use crate::driver::{LinkEnd, LinkPort};
use crate::link::network::NetworkChanges;
use crate::link::status::StatusLine;
use crate::stop::Stopping;

/// Connections dialled at one time. With that many neighbours each at random, news reaches everybody.
const DIALLED_MAX: usize = 16;
/// Of these not connected yet.
const DIALLING_MAX: usize = 8;
/// For each address of a node to accept a connection.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// Addresses tried of one name.
const RESOLVED_MAX: usize = 4;
/// Where nobody says that the network changed, or a group could not be joined, it is looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How often a dialled link is given up for another node, where more are present than get one.
const ROTATE_EVERY: Duration = Duration::from_secs(60);
/// After a failed accept: the process has no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// For good-byes to be sent.
const LEAVE_TIME_MAX: Duration = Duration::from_millis(200);
/// Frames of the other side after which a handshake is done: it dialled, so it sends the first and the third.
const HANDSHAKE_FRAMES: u32 = 2;
/// Announcements waiting to be looked at.
const ADVERTS_MAX: usize = 64;

/// What a task hands back.
enum Step {
    Connected(TcpStream),
    Greeted(TcpStream, Name),
    /// It is over.
    Over(Ended),
}

/// Keeps links over the local network until the daemon stops.
pub async fn run(settings: LanSettings, port: LinkPort, network: NetworkChanges, mut stopping: Stopping) {
    match Supervisor::start(settings, port, network).await {
        Ok(mut supervisor) => {
            supervisor.run(&mut stopping).await;
            // Whatever does not get out in time is found out by others in time.
            let _ = timeout(LEAVE_TIME_MAX, supervisor.ears.leave()).await;
        }
        Err(error) => tracing::error!(%error, "no links over the local network: no TCP port to be had"),
    }
}

struct Supervisor {
    settings: LanSettings,
    port: LinkPort,
    status: StatusLine,
    network: NetworkChanges,
    /// Somebody says when the network changes.
    is_told: bool,
    look_at: Option<Instant>,
    interfaces: Interfaces,
    /// The system does not say which interfaces there are.
    blind: Option<String>,
    ears: Ears,
    adverts: mpsc::Receiver<Advert>,
    listener: TcpListener,
    /// Own addresses that the present name was seen at.
    seen_at: Vec<IpAddr>,
    candidates: Candidates,
    named: Named,
    admission: Admission,
    connections: Connections,
    tasks: JoinSet<(Id, Step)>,
    /// Connections whose handshake is done.
    known: mpsc::UnboundedReceiver<Id>,
    known_sender: mpsc::UnboundedSender<Id>,
    next_id: Id,
    rotate_at: Option<Instant>,
    accept_at: Instant,
}

impl Supervisor {
    async fn start(settings: LanSettings, port: LinkPort, network: NetworkChanges) -> io::Result<Self> {
        let listener = listen(settings.port)?;
        let (heard, adverts) = mpsc::channel(ADVERTS_MAX);
        let presence = Presence { name: Name::random(), port: listener.local_addr()?.port() };
        let (known_sender, known) = mpsc::unbounded_channel();
        let now = Instant::now();
        Ok(Self {
            status: StatusLine::new(port.clone(), LinkKind::Lan, "lan".to_owned()),
            named: Named::new(settings.peers.clone(), now),
            settings,
            port,
            network,
            is_told: true,
            look_at: Some(now),
            interfaces: Interfaces::default(),
            blind: None,
            ears: Ears::new(presence, heard),
            adverts,
            listener,
            seen_at: Vec::new(),
            candidates: Candidates::default(),
            admission: Admission::default(),
            connections: Connections::default(),
            tasks: JoinSet::new(),
            known,
            known_sender,
            next_id: 0,
            rotate_at: None,
            accept_at: now,
        })
    }

    async fn run(&mut self, stopping: &mut Stopping) {
        loop {
            let now = Instant::now();
            self.look_if_due(now);
            self.dial(now);
            self.rotate(now);
            self.say();
            let wake = self.wake(now);
            let accepts = self.accept_at <= now;
            tokio::select! {
                () = stopping.heard() => return,
                changed = self.network.changed(), if self.is_told => {
                    self.is_told = changed.is_ok();
                    self.look_at = Some(Instant::now());
                }
                Some(advert) = self.adverts.recv() => {
                    self.candidates.heard(&advert, self.ears.presence().name, Instant::now(), chance());
                }
                accepted = self.listener.accept(), if accepts => self.take_visitor(accepted),
                Some(done) = self.tasks.join_next() => match done {
                    Ok((id, step)) => self.take(id, step),
                    Err(error) if error.is_cancelled() => {}
                    Err(error) => tracing::error!(%error, "a connection's task failed"),
                },
                Some(id) = self.known.recv() => self.admission.known(id),
                () = sleep_until(wake) => self.status.report_due(),
            }
        }
    }

    fn wake(&self, now: Instant) -> Instant {
        let candidates = self.has_dial_room().then(|| self.candidates.next()).flatten();
        let named = self.has_dial_room().then(|| self.named.next()).flatten();
        let accept = (self.accept_at > now).then_some(self.accept_at);
        let all = [self.look_at, candidates, named, self.rotate_at, self.status.due(), accept];
        all.into_iter().flatten().min().unwrap_or(now + Duration::from_secs(3600))
    }

    /// Looks at the interfaces, if that is due, and follows what changed.
    fn look_if_due(&mut self, now: Instant) {
        if self.look_at.is_none_or(|at| now < at) {
            return;
        }
        self.blind = None;
        let interfaces = match Interfaces::look(&self.settings.interfaces) {
            Ok(interfaces) => interfaces,
            Err(error) => {
                self.blind = Some(error.to_string());
                Interfaces::default()
            }
        };
        let has_changed = interfaces != self.interfaces;
        self.interfaces = interfaces;
        // Also if all looks as before: an interface may have come and gone between two looks.
        self.cut_dead();
        if has_changed {
            self.rename_elsewhere();
            self.candidates.try_all(now, chance());
            self.named.try_all(now);
        }
        let all_well = self.ears.follow(&self.interfaces) && self.blind.is_none() && self.is_told;
        self.look_at = (!all_well).then(|| now + LOOK_EVERY);
    }

    /// Ends connections whose own address is gone: they are dead, and their nodes can be dialled again.
    fn cut_dead(&mut self) {
        if self.blind.is_some() {
            return;
        }
        let dead = |c: &Connection| c.local.is_some_and(|local| !self.interfaces.has(local));
        let dead: Vec<Id> = self.connections.all.iter().filter(|(_, c)| dead(c)).map(|(&id, _)| id).collect();
        for id in dead {
            self.end(id, "its network is gone");
        }
    }

    /// Takes a new name, and a new port, if no address is left from the network where the old one was seen:
    /// nobody shall recognise this node from one network to the next.
    fn rename_elsewhere(&mut self) {
        let here: Vec<IpAddr> = self.interfaces.addresses().collect();
        if here.is_empty() {
            return;
        }
        let is_elsewhere = !self.seen_at.is_empty() && !here.iter().any(|ip| self.seen_at.contains(ip));
        self.seen_at = here;
        if !is_elsewhere {
            return;
        }
        let mut presence = Presence { name: Name::random(), ..self.ears.presence() };
        if self.settings.port == 0
            && let Ok(listener) = listen(0)
            && let Ok(address) = listener.local_addr()
        {
            presence.port = address.port();
            self.listener = listener;
        }
        self.ears.set_presence(presence);
    }

    fn has_dial_room(&self) -> bool {
        self.connections.dialled().count() < DIALLED_MAX
            && self.connections.count(Stage::Connecting) < DIALLING_MAX
    }

    fn dial(&mut self, now: Instant) {
        while self.has_dial_room() {
            if let Some((number, peer)) = self.named.due(now) {
                let (host, port) = (peer.host.clone(), peer.port);
                self.named.dialling(number);
                self.begin(Origin::Named(number), now, async move { connect_by_name(&host, port).await });
                continue;
            }
            let at_random = |count: usize| (chance() * count as f64) as usize % count.max(1);
            let Some((name, addresses)) = self.candidates.due(now, at_random) else { break };
            self.candidates.dialling(name);
            let nearest = self.interfaces.nearest(addresses);
            self.begin(Origin::Heard(name), now, connect_to_first(nearest.into_iter()));
        }
    }

    fn begin(
        &mut self,
        origin: Origin,
        now: Instant,
        connect: impl Future<Output = Result<TcpStream, Ended>> + Send + 'static,
    ) {
        let id = self.next_id();
        self.connections.all.insert(id, Connection::new(origin, now));
        self.spawn(id, async move {
            match connect.await {
                Ok(stream) => Step::Connected(stream),
                Err(ended) => Step::Over(ended),
            }
        });
    }

    fn next_id(&mut self) -> Id {
        self.next_id += 1;
        self.next_id
    }

    /// Puts a task to work on a connection.
    fn spawn(&mut self, id: Id, work: impl Future<Output = Step> + Send + 'static) {
        let task = self.tasks.spawn(async move { (id, work.await) });
        if let Some(connection) = self.connections.all.get_mut(&id) {
            connection.task = Some(task);
        }
    }

    fn take_visitor(&mut self, accepted: io::Result<(TcpStream, SocketAddr)>) {
        let now = Instant::now();
        let (mut stream, from) = match accepted {
            Ok((stream, from)) => (stream, wire::plain(from)),
            Err(error) => {
                tracing::debug!(%error, "can't accept a connection");
                self.accept_at = now + ACCEPT_PAUSE;
                return;
            }
        };
        // A port that the whole internet may reach serves the neighbourhood alone.
        if !self.interfaces.reach(from.ip()) && !is_private(from.ip()) {
            tracing::debug!("a connection from afar was refused");
            return;
        }
        let id = self.next_id();
        match self.admission.ask(id, from.ip(), now) {
            Verdict::Refuse => {
                tracing::debug!("too many connections: one was refused");
                return;
            }
            Verdict::AdmitInsteadOf(other) => self.end(other, "others wait"),
            Verdict::Admit => {}
        }
        self.connections.all.insert(id, Connection::new(Origin::Inbound, now));
        self.place(id, &stream);
        self.spawn(id, async move {
            let greet = async {
                wire::prepare(&stream)?;
                wire::hear_hello(&mut stream).await
            };
            match greet.await {
                Ok(name) => Step::Greeted(stream, name),
                Err(ended) => Step::Over(ended),
            }
        });
    }

    /// Notes where the two ends of a connection are.
    fn place(&mut self, id: Id, stream: &TcpStream) {
        let Some(connection) = self.connections.all.get_mut(&id) else { return };
        let ip = |address: io::Result<SocketAddr>| address.ok().map(|address| wire::plain(address).ip());
        connection.machine = ip(stream.peer_addr());
        connection.local = ip(stream.local_addr());
    }

    fn take(&mut self, id: Id, step: Step) {
        if !self.connections.all.contains_key(&id) {
            // It was ended while the task was finishing.
            return;
        }
        match step {
            Step::Connected(stream) => self.greet(id, stream),
            Step::Greeted(stream, name) => self.meet(id, stream, name),
            Step::Over(ended) => self.end(id, &ended.to_string()),
        }
    }

    /// A dialled connection stands: hellos.
    fn greet(&mut self, id: Id, mut stream: TcpStream) {
        self.place(id, &stream);
        let own = self.ears.presence().name;
        if let Some(connection) = self.connections.all.get_mut(&id) {
            connection.stage = Stage::Greeting;
        }
        self.spawn(id, async move {
            let greet = async {
                wire::prepare(&stream)?;
                wire::say_hello(&mut stream, own).await?;
                wire::hear_hello(&mut stream).await
            };
            match greet.await {
                Ok(name) => Step::Greeted(stream, name),
                Err(ended) => Step::Over(ended),
            }
        });
    }

    /// The other side has said its name: the connection becomes a link, or goes.
    fn meet(&mut self, id: Id, stream: TcpStream, name: Name) {
        let now = Instant::now();
        let own = self.ears.presence().name;
        let Some(connection) = self.connections.all.get_mut(&id) else { return };
        connection.name = Some(name);
        if name == own {
            if let Origin::Named(number) = connection.origin {
                self.named.is_self(number);
            }
            return self.end(id, "that is this node itself");
        }
        match self.connections.settle(id, own, now) {
            Settled::Old => {
                if let Some(Origin::Named(number)) = self.connections.all.get(&id).map(|c| c.origin) {
                    self.named.is_met(number, now);
                }
                return self.end(id, "there is a connection with that node");
            }
            Settled::New(others) => {
                for other in others {
                    self.end(other, "there is a newer connection with that node");
                }
            }
        }
        self.link(id, stream, name, own, now);
    }

    fn link(&mut self, id: Id, mut stream: TcpStream, name: Name, own: Name, now: Instant) {
        let Some(connection) = self.connections.all.get_mut(&id) else { return };
        connection.stage = Stage::Linked;
        connection.since = now;
        connection.is_counted = connection.machine.is_some_and(|ip| self.candidates.linked(name, ip));
        let dialled = connection.is_dialled();
        if let Origin::Heard(heard) = connection.origin {
            self.candidates.dialled(heard);
        }
        let address = stream.peer_addr().map(|address| self.interfaces.show(wire::plain(address)));
        let end = self.port.open(LinkKind::Lan, address.unwrap_or_default(), dialled);
        let known = self.known_sender.clone();
        self.spawn(id, async move {
            if !dialled && let Err(ended) = wire::say_hello(&mut stream, own).await {
                return Step::Over(ended);
            }
            Step::Over(
                carry(stream, &end, || {
                    // The supervisor may be gone.
                    let _ = known.send(id);
                })
                .await,
            )
        });
    }

    /// Ends a connection at whatever stage, and decides when its node is dialled again.
    fn end(&mut self, id: Id, why: &str) {
        let Some(connection) = self.connections.all.remove(&id) else { return };
        let now = Instant::now();
        tracing::debug!(why, stage = ?connection.stage, "connection over the local network ended");
        if let Some(task) = connection.task {
            task.abort();
        }
        let lasted = match connection.stage {
            Stage::Linked => now.duration_since(connection.since),
            Stage::Connecting | Stage::Greeting => Duration::ZERO,
        };
        if let Some(name) = connection.name.filter(|_| connection.is_counted) {
            self.candidates.unlinked(name, lasted, now, chance());
        }
        match connection.origin {
            Origin::Inbound => self.admission.left(id),
            Origin::Named(number) => self.named.ended(number, lasted, now, chance()),
            Origin::Heard(name) => {
                self.candidates.dialled(name);
                if !connection.is_counted {
                    self.candidates.failed(name, now, chance());
                }
            }
        }
    }

    /// Where more nodes are present than get a link, one is given up now and then.
    fn rotate(&mut self, now: Instant) {
        let is_full = self.connections.dialled().count() >= DIALLED_MAX;
        if !is_full || self.candidates.next().is_none() {
            self.rotate_at = None;
            return;
        }
        let at = *self.rotate_at.get_or_insert(now + ROTATE_EVERY + ROTATE_EVERY.mul_f64(chance()));
        if now < at {
            return;
        }
        self.rotate_at = None;
        let heard = |c: &Connection| matches!(c.origin, Origin::Heard(_)) && c.stage == Stage::Linked;
        let links: Vec<Id> = self.connections.dialled().filter(|(_, c)| heard(c)).map(|(id, _)| id).collect();
        if let Some(&id) = links.get((chance() * links.len() as f64) as usize % links.len().max(1)) {
            self.end(id, "another's turn");
        }
    }

    fn say(&mut self) {
        let standing = words::Standing {
            interfaces: &self.interfaces,
            blind: self.blind.as_deref(),
            deaf: self.ears.errors(),
            linked: self.connections.count(Stage::Linked),
            unreachable: self.candidates.unreachable(),
            named: !self.settings.peers.is_empty(),
            wanted_port: self.settings.port,
            port: self.ears.presence().port,
        };
        let (state, detail, hint) = standing.words();
        self.status.set(state, detail, hint);
    }
}

/// Carries a link; says once that its handshake is done.
async fn carry(mut stream: TcpStream, end: &LinkEnd, mut done: impl FnMut()) -> Ended {
    let mut frames = 0;
    wire::carry(&mut stream, end, || {
        frames += 1;
        if frames == HANDSHAKE_FRAMES {
            done();
        }
    })
    .await
}

/// A port for both families, or for IPv4 where there is no IPv6. A port that is taken is replaced by a free
/// one, so that there is a way in at all.
fn listen(port: u16) -> io::Result<TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let bind = |address: SocketAddr| -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        #[cfg(unix)]
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(64)?;
        TcpListener::from_std(socket.into())
    };
    let both = |port| {
        let v6 = SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port));
        let v4 = SocketAddr::from((std::net::Ipv4Addr::UNSPECIFIED, port));
        bind(v6).or_else(|_| bind(v4))
    };
    both(port).or_else(|error| if port == 0 { Err(error) } else { both(0) })
}

async fn connect(address: SocketAddr) -> Result<TcpStream, Ended> {
    Ok(timeout(CONNECT_TIME_MAX, TcpStream::connect(address))
        .await
        .map_err(|_| io::ErrorKind::TimedOut)??)
}

impl From<io::ErrorKind> for Ended {
    fn from(kind: io::ErrorKind) -> Self {
        Self::Lost(kind.into())
    }
}

async fn connect_by_name(host: &str, port: u16) -> Result<TcpStream, Ended> {
    let addresses = timeout(CONNECT_TIME_MAX, tokio::net::lookup_host((host, port)));
    let addresses = addresses.await.map_err(|_| io::ErrorKind::TimedOut)??;
    connect_to_first(addresses.take(RESOLVED_MAX)).await
}

/// Connects to the first address that answers.
async fn connect_to_first(addresses: impl Iterator<Item = SocketAddr>) -> Result<TcpStream, Ended> {
    let mut last = Ended::from(io::ErrorKind::NotFound);
    for address in addresses {
        match connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(ended) => last = ended,
        }
    }
    Err(last)
}
