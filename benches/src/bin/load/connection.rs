//! One client: a connection, its message, and how far message and echo have come.

use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use wakeful_benches::cli::Result;

/// A connection with at most one message on its way.
///
/// Every connection sends bytes of its own, and every message begins with its number, so an echo that belongs to another
/// connection or to an earlier message is seen as wrong.
pub(crate) struct Connection {
    stream: TcpStream,
    message: Vec<u8>,
    /// How many messages have been begun.
    number: u64,
    sent: usize,
    /// As long as the message: none is on its way.
    received: usize,
    started: Instant,
}

impl Connection {
    /// Connects. `index` tells this connection from the others.
    pub(crate) fn open(address: SocketAddr, index: usize, size: usize) -> Result<Self> {
        let stream = TcpStream::connect(address)
            .map_err(|error| format!("connection {index} to {address}: {error}"))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            message: pattern(index as u64).take(size).collect(),
            number: 0,
            sent: size,
            received: size,
            started: Instant::now(),
        })
    }

    /// The socket. It blocks until it is told not to.
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// When the current message was sent.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// Whether its message is on its way.
    pub(crate) fn is_waiting(&self) -> bool {
        self.received < self.message.len()
    }

    /// How many echoes have come back in full.
    pub(crate) fn echoed(&self) -> u64 {
        self.number - u64::from(self.is_waiting())
    }

    /// Sends the next message, as far as the socket takes it.
    pub(crate) fn start(&mut self, now: Instant) -> Result<()> {
        let stamp = self.number.to_le_bytes();
        let stamped = stamp.len().min(self.message.len());
        self.message[..stamped].copy_from_slice(&stamp[..stamped]);
        self.number += 1;
        self.sent = 0;
        self.received = 0;
        self.started = now;
        self.send()
    }

    /// Goes on as far as the socket allows. True when that completes an echo: all of it has come and was right.
    pub(crate) fn advance(&mut self, buffer: &mut [u8]) -> Result<bool> {
        if !self.is_waiting() {
            return Ok(false);
        }
        self.send()?;
        while self.received < self.message.len() {
            let missing = self.message.len() - self.received;
            let Some(count) = would_block(self.stream.read(&mut buffer[..missing]))? else {
                return Ok(false);
            };
            if count == 0 {
                return Err("the server closed a connection before its echo was complete".into());
            }
            let expected = &self.message[self.received..self.received + count];
            if buffer[..count] != *expected {
                return Err(format!("message {} came back changed", self.number).into());
            }
            self.received += count;
        }
        Ok(true)
    }

    fn send(&mut self) -> Result<()> {
        while self.sent < self.message.len() {
            match would_block(self.stream.write(&self.message[self.sent..]))? {
                Some(count) => self.sent += count,
                None => break,
            }
        }
        Ok(())
    }
}

/// A server that has been silent for so long is broken.
pub(crate) const STALLED: Duration = Duration::from_secs(10);

/// The sentence about such a server.
pub(crate) fn stalled() -> Box<dyn Error> {
    format!("no echo came for {} s", STALLED.as_secs()).into()
}

/// Bytes without a short period (xorshift64, seeded by the connection).
fn pattern(seed: u64) -> impl Iterator<Item = u8> {
    let mut state = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    })
}

fn would_block(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}
