//! The client: sends into one socket as fast as it is taken, and receives from another, or the same, in one thread.
//!
//! The bytes repeat with a period that is no multiple of any buffer's size, so a piece that is lost, doubled or out of place
//! is seen by the first and last byte of what comes next. To compare all bytes is the tests' business: here it would make
//! the client slower than what it measures.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use wakeful_benches::cli::Result;
use wakeful_benches::sys::{EDGE_TRIGGERED, Epoll, Events, READABLE, WRITABLE};

/// A way for data, from socket to socket.
pub(crate) struct Pump {
    into: TcpStream,
    out: TcpStream,
    epoll: Epoll,
    events: Events,
    /// Two periods, so that a whole one can be taken from any place in the first.
    pattern: Vec<u8>,
    buffer: Vec<u8>,
    sent: u64,
    received: u64,
}

impl Pump {
    pub(crate) fn new(into: TcpStream, out: TcpStream) -> Result<Self> {
        let epoll = Epoll::new()?;
        for (key, socket) in [(0, &into), (1, &out)] {
            socket.set_nodelay(true)?;
            socket.set_nonblocking(true)?;
            epoll.add(socket, READABLE | WRITABLE | EDGE_TRIGGERED, key)?;
        }
        let period = (0..PERIOD).map(|index| ((index * index) >> 7) as u8);
        let mut pattern: Vec<u8> = period.collect();
        pattern.extend_from_within(..);
        Ok(Self {
            into,
            out,
            epoll,
            events: Events::with_capacity(2),
            pattern,
            buffer: vec![0; PERIOD],
            sent: 0,
            received: 0,
        })
    }

    /// Sends so many bytes and waits until they have come out. Returns how long that took.
    pub(crate) fn run(&mut self, bytes: u64) -> Result<Duration> {
        let until = self.sent + bytes;
        let begin = Instant::now();
        while self.received < until {
            // One piece, then all that has come: what is on the way stays in the cache.
            let has_sent = self.send(until)?;
            let has_received = self.receive()?;
            if !has_sent && !has_received {
                self.epoll.wait(&mut self.events, Some(STALLED))?;
                if self.events.is_empty() {
                    return Err(format!("nothing came for {} s", STALLED.as_secs()).into());
                }
            }
        }
        Ok(begin.elapsed())
    }

    fn send(&mut self, until: u64) -> Result<bool> {
        let most = (until - self.sent).min(PERIOD as u64) as usize;
        if most == 0 {
            return Ok(false);
        }
        let from = (self.sent % PERIOD as u64) as usize;
        let sent = would_block(self.into.write(&self.pattern[from..from + most]))?;
        self.sent += sent.unwrap_or(0) as u64;
        Ok(sent.is_some())
    }

    fn receive(&mut self) -> Result<bool> {
        let mut has_received = false;
        while let Some(count) = would_block(self.out.read(&mut self.buffer))? {
            let from = (self.received % PERIOD as u64) as usize;
            let expected = &self.pattern[from..from + count];
            if count == 0 {
                return Err("the server closed the connection".into());
            }
            if (self.buffer[0], self.buffer[count - 1]) != (expected[0], expected[count - 1]) {
                return Err(format!("other bytes than were sent, at {}", self.received).into());
            }
            self.received += count as u64;
            has_received = true;
            if count < self.buffer.len() {
                break;
            }
        }
        Ok(has_received)
    }
}

fn would_block(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// A prime, a little below 64 KiB: the client's memory stays in its cache.
const PERIOD: usize = 65_521;

/// A server that has been silent for so long is broken.
const STALLED: Duration = Duration::from_secs(10);
