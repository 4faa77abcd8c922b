//! One HTTP exchange over a Unix socket or TCP.
//!
//! Every request has its own connection: a command makes a handful of them, all on this machine, and a connection
//! that is never used again can't be stale. hyper parses, with a bound on the head; the body's bound and the
//! time for an answer are kept here. Redirections are not followed: meshd sends none.

use crate::failure::{Failure, cause};
use crate::limits::{CONNECT_MS_MAX, HEAD_BYTES_MAX, REPLY_BYTES_MAX};
use crate::place::Address;
use crate::request::Request;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Response, header};
use hyper_util::rt::TokioIo;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// An open connection.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// Connects.
///
/// # Errors
/// What the operating system says, or `TimedOut`.
pub(crate) async fn connect(address: &Address) -> io::Result<Box<dyn Wire>> {
    let connecting = async {
        Ok(match address {
            Address::Socket(path) => Box::new(UnixStream::connect(path).await?) as Box<dyn Wire>,
            Address::Tcp { host, port } => Box::new(TcpStream::connect((host.as_str(), *port)).await?),
        })
    };
    tokio::time::timeout(Duration::from_millis(CONNECT_MS_MAX), connecting)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Sends `request` and waits for the head of the answer.
///
/// # Errors
/// [`Failure::Lost`] if the connection ends first, [`Failure::Foreign`] if the answer is no HTTP.
pub(crate) async fn exchange(
    wire: Box<dyn Wire>,
    address: &Address,
    token: Option<&str>,
    request: &Request,
) -> Result<Response<Incoming>, Failure> {
    let (mut sender, connection) = http1::Builder::new()
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake(TokioIo::new(wire))
        .await
        .map_err(|error| broken(address, &error))?;
    // It ends with the exchange; how it ended is told by the answer or its body.
    tokio::spawn(async move { drop(connection.await) });
    let message = to_http(request, address, token)?;
    sender.send_request(message).await.map_err(|error| broken(address, &error))
}

fn to_http(
    request: &Request,
    address: &Address,
    token: Option<&str>,
) -> Result<hyper::Request<Full<Bytes>>, Failure> {
    let mut message = hyper::Request::builder()
        .method(request.method.clone())
        .uri(&request.target)
        .header(header::HOST, address.host_header())
        .header(header::USER_AGENT, concat!("meshctl/", env!("CARGO_PKG_VERSION")));
    if let Some(token) = token {
        message = message.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    for (name, value) in &request.headers {
        message = message.header(*name, value);
    }
    message.body(Full::new(request.body.clone())).map_err(|error| {
        Failure::usage(format!("that can't be sent in a request: {error}"), "leave out unusual characters")
    })
}

/// Reads the rest of an answer.
///
/// # Errors
/// [`Failure::Lost`] if it is cut off, [`Failure::Foreign`] if it is too large.
pub(crate) async fn read_body(mut body: Incoming, address: &Address) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| broken(address, &error))?;
        let data = frame.data_ref().map_or(&[][..], Bytes::as_ref);
        if bytes.len() + data.len() > REPLY_BYTES_MAX {
            let why = format!("its answer is larger than {} MiB", REPLY_BYTES_MAX / 1_048_576);
            return Err(Failure::Foreign { place: address.to_string(), why });
        }
        bytes.extend_from_slice(data);
    }
    Ok(bytes)
}

/// What an error of an exchange means.
pub(crate) fn broken(address: &Address, error: &hyper::Error) -> Failure {
    let place = address.to_string();
    if error.is_parse() || error.is_parse_too_large() {
        return Failure::Foreign { place, why: error.to_string() };
    }
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if let Some(error) = inner.downcast_ref::<io::Error>() {
            return Failure::Lost { place, why: cause(error) };
        }
        source = inner.source();
    }
    Failure::Lost { place, why: "it was closed before the answer was complete".into() }
}
