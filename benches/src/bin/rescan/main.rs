//! Echo servers on the calls before epoll: `rescan select` and `rescan poll`, to be compared with many idle connections.
//!
//! They are as small as the floor is, and differ in the call by which they wait. Each prints one line with its address as soon
//! as it listens, and serves until it is killed. Messages have to be so short that a socket takes them.

use std::env;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::process::ExitCode;

use wakeful_benches::cli::{self, Result};
use wakeful_benches::rescan::{Descriptors, Poll, Select};
use wakeful_benches::sys;

fn main() -> ExitCode {
    cli::finish("rescan", run())
}

fn run() -> Result<()> {
    match env::args().nth(1).as_deref() {
        Some("select") => serve(Select::default()),
        Some("poll") => serve(Poll::default()),
        _ => Err("usage: rescan select|poll".into()),
    }
}

fn serve(mut descriptors: impl Descriptors) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    sys::set_backlog(&listener, BACKLOG)?;
    listener.set_nonblocking(true)?;
    descriptors.add(listener.as_raw_fd())?;
    println!("listening on {}", listener.local_addr()?);

    let mut connections: Vec<Option<TcpStream>> = Vec::new(); // by descriptor
    let mut ready: Vec<RawFd> = Vec::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match descriptors.wait(&mut ready) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            result => result?,
        }
        for &fd in &ready {
            if fd == listener.as_raw_fd() {
                accept(&listener, &mut connections, &mut descriptors)?;
                continue;
            }
            let place = &mut connections[fd as usize];
            let stream = place.as_mut().ok_or("a descriptor that is closed")?;
            if !echo(stream, &mut buffer) {
                descriptors.remove(fd);
                *place = None;
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    connections: &mut Vec<Option<TcpStream>>,
    descriptors: &mut impl Descriptors,
) -> Result<()> {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(format!("cannot accept: {error}").into()),
        };
        stream.set_nodelay(true)?;
        let fd = stream.as_raw_fd();
        descriptors.add(fd)?;
        let index = fd as usize;
        if index >= connections.len() {
            connections.resize_with(index + 1, || None);
        }
        connections[index] = Some(stream);
    }
}

/// One message. False: the peer has closed or reset the connection.
fn echo(stream: &mut TcpStream, buffer: &mut [u8]) -> bool {
    match stream.read(buffer) {
        Ok(0) | Err(_) => false,
        Ok(count) => stream.write_all(&buffer[..count]).is_ok(),
    }
}

const BACKLOG: i32 = 4096;
const BUFFER_BYTES: usize = 64 * 1024;
