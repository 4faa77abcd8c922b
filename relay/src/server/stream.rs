//! The bytes of one connection, with or without TLS. Never blocks.

use mio::net::TcpStream;
use rustls::ServerConnection;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

/// Reads off the socket in one call, so that a client that sends nothing but TLS housekeeping has to wait too.
const TLS_READS_PER_CALL: usize = 4;

#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream>),
}

/// What reading brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Got {
    /// So many bytes, and there may be more.
    Bytes(usize),
    /// So many bytes, and there are no more for now.
    LastBytes(usize),
    /// Nothing for now.
    Nothing,
    /// Nothing yet; there may be more.
    Again,
    /// The other side is done.
    End,
    /// The connection is broken.
    Broken,
}

impl Stream {
    pub(super) fn tcp(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => &mut tls.tcp,
        }
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Got {
        match self {
            Self::Plain(tcp) => loop {
                return match tcp.read(buffer) {
                    Ok(0) => Got::End,
                    // A short read has emptied the socket: the next byte raises a new event.
                    Ok(bytes) if bytes < buffer.len() => Got::LastBytes(bytes),
                    Ok(bytes) => Got::Bytes(bytes),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => Got::Nothing,
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    Err(_) => Got::Broken,
                };
            },
            Self::Tls(tls) => tls.read(buffer),
        }
    }

    /// Takes bytes to send: how many, or `None` if the connection is broken. Fewer than offered: no more until
    /// the socket is writable again.
    pub(super) fn write(&mut self, slices: &[IoSlice<'_>]) -> Option<usize> {
        match self {
            Self::Plain(tcp) => loop {
                let sent = match slices {
                    [one] => tcp.write(one),
                    many => tcp.write_vectored(many),
                };
                return match sent {
                    Ok(bytes) => Some(bytes),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => Some(0),
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    Err(_) => None,
                };
            },
            Self::Tls(tls) => tls.write(slices),
        }
    }

    /// The socket is writable again: sends what was taken but not sent. `false` if the connection is broken.
    pub(super) fn resume(&mut self) -> bool {
        match self {
            Self::Plain(_) => true,
            Self::Tls(tls) => tls.push().is_some(),
        }
    }

    /// Says that nothing more will be sent.
    pub(super) fn finish(&mut self) {
        if let Self::Tls(tls) = self {
            tls.session.send_close_notify();
            let _ = tls.push();
        }
        let _ = self.tcp().shutdown(Shutdown::Write);
    }

    /// Makes dropping it throw away what the other side has not read, in the kernel too.
    pub(super) fn abort(&mut self) {
        let _ = socket2::SockRef::from(&*self.tcp()).set_linger(Some(Duration::ZERO));
    }
}

#[derive(Debug)]
pub(super) struct TlsStream {
    tcp: TcpStream,
    session: ServerConnection,
}

impl TlsStream {
    pub(super) fn new(tcp: TcpStream, session: ServerConnection) -> Self {
        Self { tcp, session }
    }

    fn read(&mut self, buffer: &mut [u8]) -> Got {
        for _ in 0..TLS_READS_PER_CALL {
            match self.session.reader().read(buffer) {
                Ok(0) => return Got::End,
                Ok(bytes) => return Got::Bytes(bytes),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return Got::End,
            }
            match self.session.read_tls(&mut self.tcp) {
                Ok(0) => return Got::End,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Got::Nothing,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return Got::Broken,
            }
            let is_sound = self.session.process_new_packets().is_ok();
            // The handshake's next flight, or the alert that says what was wrong.
            if self.push().is_none() || !is_sound {
                return Got::Broken;
            }
        }
        Got::Again
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> Option<usize> {
        let mut taken = 0;
        for slice in slices {
            let mut rest = &slice[..];
            while !rest.is_empty() {
                // rustls takes 64 KiB ahead of the socket, then nothing.
                let bytes = self.session.writer().write(rest).ok()?;
                taken += bytes;
                rest = &rest[bytes..];
                if bytes == 0 && !self.push()? {
                    return Some(taken);
                }
            }
        }
        self.push()?;
        Some(taken)
    }

    /// Sends encrypted bytes: `false` if the socket has no room for all, `None` if it is broken.
    fn push(&mut self) -> Option<bool> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.tcp) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
        Some(true)
    }
}
