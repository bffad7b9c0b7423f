//! The floor: an echo server written by hand on epoll that does nothing else.
//!
//! One thread, one buffer for all connections, level-triggered. Per echo it makes one `recv`, one `send`, and its share of
//! an `epoll_wait`: what no server on epoll can go below. It is a complete server all the same: an answer that does not
//! fit into the socket is kept, and the connection is not read on until it has left.
//!
//! For much data at a time there is a second form, in which each connection has a pipe and its bytes go through that.

use std::io::{ErrorKind, Read, Result as IoResult, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use wakeful_benches::cli::Result;
use wakeful_benches::sys::{self, Epoll, Events, Pipe, READABLE, WRITABLE};

/// Serves until it is killed, through pipes if `splices`. Before it sleeps it polls for `spin`.
pub(crate) fn serve(listen: SocketAddr, spin: Duration, splices: bool) -> Result<()> {
    let listener =
        TcpListener::bind(listen).map_err(|error| format!("cannot listen on {listen}: {error}"))?;
    sys::set_backlog(&listener, BACKLOG)?;
    listener.set_nonblocking(true)?;
    let mut floor = Floor {
        epoll: Epoll::new()?,
        connections: Vec::new(),
        buffer: vec![0; BUFFER_BYTES],
        splices,
    };
    floor.epoll.add(&listener, READABLE, LISTENER)?;
    super::announce(listener.local_addr()?);

    let mut events = Events::with_capacity(EVENTS_MAX);
    loop {
        floor.wait(&mut events, spin)?;
        for key in events.keys() {
            if key == LISTENER {
                floor.accept(&listener)?;
            } else {
                floor.echo(key as usize)?;
            }
        }
    }
}

struct Floor {
    epoll: Epoll,
    /// By descriptor, which is also the key of its events: no event of a closed connection is ever seen, since one wait
    /// reports a descriptor once and closing it takes it out of the epoll instance.
    connections: Vec<Option<Connection>>,
    buffer: Vec<u8>,
    splices: bool,
}

struct Connection {
    stream: TcpStream,
    /// With the number of bytes that are in it. While there are some, only writability is of interest.
    pipe: Option<(Pipe, usize)>,
    /// What the socket did not take. While there is something, only writability is of interest.
    unsent: Vec<u8>,
}

impl Floor {
    fn wait(&self, events: &mut Events, spin: Duration) -> Result<()> {
        if !spin.is_zero() {
            let start = Instant::now();
            while start.elapsed() < spin {
                self.epoll.wait(events, Some(Duration::ZERO))?;
                if !events.is_empty() {
                    return Ok(());
                }
            }
        }
        Ok(self.epoll.wait(events, None)?)
    }

    fn accept(&mut self, listener: &TcpListener) -> Result<()> {
        loop {
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(format!("cannot accept: {error}").into()),
            };
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let index = stream.as_raw_fd() as usize;
            self.epoll.add(&stream, READABLE, index as u64)?;
            if index >= self.connections.len() {
                self.connections.resize_with(index + 1, || None);
            }
            let pipe = self.splices.then(Pipe::new).transpose()?;
            self.connections[index] = Some(Connection {
                stream,
                pipe: pipe.map(|pipe| (pipe, 0)),
                unsent: Vec::new(),
            });
        }
    }

    fn echo(&mut self, index: usize) -> Result<()> {
        let connection = self.connections[index]
            .as_mut()
            .ok_or("an event of a connection that is closed")?;
        let echoed = match &mut connection.pipe {
            Some((pipe, held)) => echo_through(pipe, held, &connection.stream),
            None => connection.echo(&mut self.buffer),
        };
        match echoed {
            Ok(Next::Read) => {}
            Ok(Next::Change(interest)) => {
                self.epoll
                    .modify(&connection.stream, interest, index as u64)?;
            }
            // The peer has closed or reset the connection.
            Ok(Next::Close) | Err(_) => self.connections[index] = None,
        }
        Ok(())
    }
}

enum Next {
    Read,
    Change(u32),
    Close,
}

impl Connection {
    fn echo(&mut self, buffer: &mut [u8]) -> IoResult<Next> {
        if !self.unsent.is_empty() {
            let sent = send(&mut self.stream, &self.unsent)?;
            self.unsent.drain(..sent);
            let is_sent = self.unsent.is_empty();
            return Ok(if is_sent {
                Next::Change(READABLE)
            } else {
                Next::Read
            });
        }
        let received = match self.stream.read(buffer) {
            Ok(0) => return Ok(Next::Close),
            Ok(received) => received,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Next::Read),
            Err(error) => return Err(error),
        };
        let sent = send(&mut self.stream, &buffer[..received])?;
        if sent == received {
            return Ok(Next::Read);
        }
        self.unsent.extend_from_slice(&buffer[sent..received]);
        Ok(Next::Change(WRITABLE))
    }
}

/// Fills the pipe, or drains it if there is still something in it.
fn echo_through(pipe: &Pipe, held: &mut usize, stream: &TcpStream) -> IoResult<Next> {
    let was_full = *held > 0;
    if !was_full {
        *held = match pipe.fill(stream) {
            Ok(0) => return Ok(Next::Close),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Next::Read),
            Err(error) => return Err(error),
        };
    }
    while *held > 0 {
        match pipe.drain(stream, *held) {
            Ok(count) => *held -= count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(match (was_full, *held > 0) {
        (false, true) => Next::Change(WRITABLE),
        (true, false) => Next::Change(READABLE),
        (false, false) | (true, true) => Next::Read,
    })
}

/// One `send`: as much as the socket takes, which may be nothing.
fn send(stream: &mut TcpStream, bytes: &[u8]) -> IoResult<usize> {
    match stream.write(bytes) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        result => result,
    }
}

const LISTENER: u64 = u64::MAX;
const BACKLOG: i32 = 4096;
const BUFFER_BYTES: usize = 256 * 1024;
const EVENTS_MAX: usize = 1024;
