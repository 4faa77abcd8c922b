//! Connections: accepted, counted, spoken to in HTTP/1.1, ended in good order.
//!
//! axum's own server has no limit on the time a head may take and none on connections, so hyper is driven
//! directly (threats, Y-01).

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tower::ServiceExt;

use super::app::App;
use super::limits;
use super::peer::Peer;
use super::wire::{Turn, Wire};

/// How long to wait after the system refused a connection for want of something of its own.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where connections come in.
#[derive(Debug)]
pub enum Listener {
    /// A TCP port.
    Tcp(TcpListener),
    /// A Unix socket.
    #[cfg(unix)]
    Unix {
        /// It.
        listener: UnixListener,
        /// Whether everybody who can connect is trusted as this daemon's own user is: the administrator said so
        /// with the socket's mode (see [`crate::activation`]).
        admits: bool,
    },
}

/// A connection just accepted.
enum Accepted {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Listener {
    async fn accept(&self) -> io::Result<(Accepted, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                SockRef::from(&stream).set_send_buffer_size(limits::SEND_BUFFER_BYTES)?;
                let local = stream.local_addr()?;
                Ok((Accepted::Tcp(stream), Peer::Tcp { local }))
            }
            #[cfg(unix)]
            Self::Unix { listener, admits } => {
                let (stream, _) = listener.accept().await?;
                let uid = stream.peer_cred()?.uid();
                let trusted = *admits || uid == 0 || uid == rustix::process::geteuid().as_raw();
                Ok((Accepted::Unix(stream), Peer::Unix { trusted }))
            }
        }
    }
}

/// Serves the API until `stop` is there. Answers under way are finished, event streams end; whatever is left
/// after five seconds is cut.
pub async fn serve(app: App, listeners: Vec<Listener>, stop: impl Future<Output = ()>) {
    let router = super::router(app.clone());
    let mut accepting = JoinSet::new();
    for listener in listeners {
        accepting.spawn(accept(app.clone(), router.clone(), listener));
    }
    stop.await;
    app.stop();
    let ended = async { while accepting.join_next().await.is_some() {} };
    if tokio::time::timeout(limits::STOP, ended).await.is_err() {
        tracing::debug!("connections that did not end in time were cut");
    }
}

/// Accepts connections and sees them through, until the app stops.
async fn accept(app: App, router: axum::Router, listener: Listener) {
    let room = Arc::new(Semaphore::new(limits::CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    let mut stopping = app.stopping();
    loop {
        let next = async {
            // Without room the system's queue holds newcomers; connections without a request end in 15 s.
            let permit = Arc::clone(&room).acquire_owned().await.expect("the semaphore is never closed");
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            next = next => next,
            Some(_) = connections.join_next() => continue,
            () = stopped(&mut stopping) => break,
        };
        match accepted {
            Ok((Accepted::Tcp(stream), peer)) => {
                let talk = talk(app.clone(), router.clone(), stream, peer);
                connections.spawn(async move {
                    talk.await;
                    drop(permit)
                });
            }
            #[cfg(unix)]
            Ok((Accepted::Unix(stream), peer)) => {
                let talk = talk(app.clone(), router.clone(), stream, peer);
                connections.spawn(async move {
                    talk.await;
                    drop(permit)
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Waits until the app stops.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error says that the app is gone, which comes to the same.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// Speaks HTTP/1.1 on one connection.
async fn talk<S>(app: App, router: axum::Router, stream: S, peer: Peer)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let turn = Turn::default();
    let wire = Wire::new(stream, turn.clone());
    let service = service_fn(move |request| answer(router.clone(), turn.clone(), peer, request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEAD_READ)
        .max_header_size(limits::HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(wire), service);
    let mut connection = pin!(connection);
    let mut stopping = app.stopping();
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stopping) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // A client's doing: it left, stalled, or does not speak HTTP.
        tracing::debug!(%error, "a connection ended early");
    }
}

async fn answer(
    router: axum::Router,
    turn: Turn,
    peer: Peer,
    request: hyper::Request<Incoming>,
) -> Result<Response, Infallible> {
    let head = turn.begin();
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(peer);
    if let Some(head) = head {
        request.extensions_mut().insert(head);
    }
    let mut response = router.oneshot(request).await?;
    if head.is_none_or(|head| head.chunked) {
        // Where a chunked body ends is for hyper alone to say: the reading along (see `wire`) ends here, and
        // so does the connection.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response.map(|body| turn.track(body)))
}
