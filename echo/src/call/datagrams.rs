//! The conversation by UDP: each line is a datagram, with its line end, and what comes back is printed.
//!
//! Nothing tells that a datagram was lost but that no answer comes, so it is waited for as long as the limit says, and then
//! the conversation is over. Not more than [`ON_THEIR_WAY_MAX`] are sent ahead of their answers, or a large input would be
//! lost in the server's buffer.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use futures_lite::future;
use wakeful::net::{UdpSocket, lookup_host};
use wakeful::time::timeout;

use super::stdio::{Input, Output};
use crate::peer::Peer;
use crate::units;

/// Sends and prints until the input has ended and everything was answered.
pub(super) async fn converse(peer: &Peer, limit: Duration) -> io::Result<()> {
    let mut lines = Lines::of(Input::open()?);
    let output = Output::open()?;
    let socket = connect(peer, limit).await?;
    let mut buffer = vec![0; DATAGRAM_MAX];
    let (mut sent, mut answered, mut has_ended) = (0, 0, false);
    loop {
        let on_their_way = u64::saturating_sub(sent, answered);
        if has_ended && on_their_way == 0 {
            return Ok(());
        }
        let next_line = async {
            match has_ended || on_their_way >= ON_THEIR_WAY_MAX {
                true => std::future::pending().await,
                false => lines.next().await.map(Event::Line),
            }
        };
        let next_answer = async {
            let received = match on_their_way {
                0 => Ok(socket.recv(&mut buffer).await),
                _ => timeout(limit, socket.recv(&mut buffer)).await,
            };
            match received {
                Ok(received) => received
                    .map(Event::Answer)
                    .map_err(|error| about(peer, error)),
                Err(_) => Ok(Event::Silence),
            }
        };
        match future::or(next_answer, next_line).await? {
            Event::Answer(received) => {
                answered += 1;
                output.write_all(&buffer[..received.len]).await?;
            }
            Event::Line(None) => has_ended = true,
            Event::Line(Some(line)) => {
                send(&socket, &line)
                    .await
                    .map_err(|error| about(peer, error))?;
                sent += 1;
            }
            Event::Silence => {
                let sent = units::plural(sent, "datagram");
                let problem = format!(
                    "no answer from {peer} for {limit:?}: {} of {sent} came back",
                    units::count(answered)
                );
                return Err(io::Error::new(io::ErrorKind::TimedOut, problem));
            }
        }
    }
}

/// What happens next.
enum Event {
    Answer(wakeful::net::Received),
    /// `None` at the end of the input.
    Line(Option<Vec<u8>>),
    /// Nothing came, and something is due.
    Silence,
}

/// A socket that hears only the server.
async fn connect(peer: &Peer, limit: Duration) -> io::Result<UdpSocket> {
    let host = peer.address().unwrap_or_default();
    let mut addresses = timeout(limit, lookup_host(host)).await.map_err(|_| {
        let problem = format!("the name of {peer} was not found within {limit:?}");
        io::Error::new(io::ErrorKind::TimedOut, problem)
    })??;
    let address = addresses
        .next()
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{peer} has no address")))?;
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(address)?;
    Ok(socket)
}

async fn send(socket: &UdpSocket, line: &[u8]) -> io::Result<()> {
    if line.len() > DATAGRAM_MAX {
        let problem =
            format!("a line is longer than a datagram can be, which is {DATAGRAM_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
    }
    socket.send(line).await.map(drop)
}

fn about(peer: &Peer, error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::InvalidInput => error,
        io::ErrorKind::ConnectionRefused => {
            io::Error::new(error.kind(), format!("nobody receives datagrams at {peer}"))
        }
        kind => io::Error::new(kind, format!("cannot talk to {peer}: {error}")),
    }
}

/// The input by lines, each with its end.
struct Lines {
    input: Input,
    /// What was read. Not given out yet is what begins at `start`, and it has no line end before `searched`.
    bytes: Vec<u8>,
    start: usize,
    searched: usize,
}

impl Lines {
    fn of(input: Input) -> Self {
        Self {
            input,
            bytes: Vec::new(),
            start: 0,
            searched: 0,
        }
    }

    /// The next one; `None` at the end. The last one need not have an end, and one that is too long for a datagram anyway
    /// comes in part.
    ///
    /// Cancel safe, as the input is.
    async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let unseen = &self.bytes[self.searched..];
            if let Some(position) = unseen.iter().position(|&byte| byte == b'\n') {
                return Ok(Some(self.take_until(self.searched + position + 1)));
            }
            self.searched = self.bytes.len();
            if self.bytes.len() - self.start > DATAGRAM_MAX {
                return Ok(Some(self.take_until(self.bytes.len())));
            }
            let more = self.input.read().await?;
            if more.is_empty() {
                let is_last = self.start < self.bytes.len();
                return Ok(is_last.then(|| self.take_until(self.bytes.len())));
            }
            self.bytes.drain(..self.start);
            self.searched -= self.start;
            self.start = 0;
            self.bytes.extend(more);
        }
    }

    fn take_until(&mut self, end: usize) -> Vec<u8> {
        let line = self.bytes[self.start..end].to_vec();
        (self.start, self.searched) = (end, end);
        line
    }
}

/// Fits the usual receive buffer with any size of datagrams.
const ON_THEIR_WAY_MAX: u64 = 2;

/// What IPv4 can carry.
const DATAGRAM_MAX: usize = 65_507;
