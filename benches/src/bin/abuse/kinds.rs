//! What each kind does. Each returns the connections that it holds.

use std::env;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use wakeful_benches::abuse::{BYTE_PERIOD, READ_PERIOD};
use wakeful_benches::cli::Result;
use wakeful_benches::sys;

use crate::Options;

/// Sends until the server takes no more; from then on each reads a little in [`READ_PERIOD`], and sends as much.
pub(crate) fn read_slowly(options: &Options, count: usize) -> Result<Vec<TcpStream>> {
    let streams = connect(options.connect, count)?;
    let mut piece = vec![7; 32 << 10];
    let begin = Instant::now();
    loop {
        let mut taken = 0;
        for stream in &streams {
            taken += offer(stream, &piece)?;
        }
        if taken == 0 || begin.elapsed() > FILL_MAX {
            break;
        }
        thread::sleep(Duration::from_millis(20)); // the server is on its way
    }
    let end = options.ready();
    in_turn(&streams, READ_PERIOD, end, |mut stream| {
        let _ = stream.read(&mut piece); // it may be over
        offer(stream, &piece).map(drop)
    })?;
    Ok(streams)
}

/// Sends one byte on each connection in [`BYTE_PERIOD`], and never reads.
pub(crate) fn send_single_bytes(options: &Options, count: usize) -> Result<Vec<TcpStream>> {
    let streams = connect(options.connect, count)?;
    let end = options.ready();
    in_turn(&streams, BYTE_PERIOD, end, |stream| {
        offer(stream, b"x").map(drop)
    })?;
    Ok(streams)
}

/// Every other one says nothing at all. The others send a message and their last, and do not read the answer.
pub(crate) fn say_nothing(options: &Options, count: usize) -> Result<Vec<TcpStream>> {
    let streams = connect(options.connect, count)?;
    for stream in streams.iter().step_by(2) {
        offer(stream, b"the answer is never read")?;
        stream.shutdown(Shutdown::Write)?;
    }
    thread::sleep(options.ready() - Instant::now());
    Ok(streams)
}

/// Connects and goes with a reset, again and again; every other time it has sent something.
pub(crate) fn reset(options: &Options, count: usize) -> Result<Vec<TcpStream>> {
    for number in 0..count {
        let stream = TcpStream::connect(options.connect)?;
        if number % 2 == 0 {
            (&stream).write_all(b"nobody will read the answer")?;
        }
        sys::reset_on_close(&stream)?;
        if number == count / 100 {
            options.ready();
        }
    }
    Ok(Vec::new())
}

/// Has a load generator killed in the midst of its work, again and again.
pub(crate) fn be_killed(options: &Options, count: usize) -> Result<Vec<TcpStream>> {
    let load = env::current_exe()?.with_file_name("load");
    let end = options.ready();
    while Instant::now() < end {
        let mut command = Command::new(&load);
        command
            .args(["--connect", &options.connect.to_string()])
            .args(["--connections", &count.to_string(), "--seconds", "60"])
            .stdout(Stdio::null());
        sys::confine(&mut command, None); // it dies with this process
        let mut child = command.spawn()?;
        thread::sleep(LIFE);
        child.kill()?;
        child.wait()?;
    }
    Ok(Vec::new())
}

/// Sends the signal that the server answers on its standard error.
pub(crate) fn send_signals(options: &Options) -> Result<Vec<TcpStream>> {
    let end = options.ready();
    while Instant::now() < end {
        sys::send_user_signal(options.server_pid)?;
        thread::sleep(SIGNAL_PERIOD);
    }
    Ok(Vec::new())
}

/// Does something with each connection once in a period, at even distances, until the end.
fn in_turn(
    streams: &[TcpStream],
    period: Duration,
    end: Instant,
    mut act: impl FnMut(&TcpStream) -> io::Result<()>,
) -> io::Result<()> {
    let each = period / streams.len() as u32;
    let mut due = Instant::now();
    for stream in streams.iter().cycle() {
        if Instant::now() >= end {
            break;
        }
        act(stream)?;
        due += each;
        // Several at a time: no timer is as fine as that.
        let ahead = due.saturating_duration_since(Instant::now());
        if ahead > Duration::from_millis(1) {
            thread::sleep(ahead);
        }
    }
    Ok(())
}

/// So many connections that do not block, and keep little of what the server does not take.
fn connect(address: SocketAddr, count: usize) -> Result<Vec<TcpStream>> {
    let open = |_| {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        sys::shrink_send_buffer(&stream, 4096)?;
        Ok(stream)
    };
    (0..count).map(open).collect()
}

/// Sends as much of `bytes` as the server takes now. That it has closed the connection is its right.
fn offer(mut stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    use ErrorKind::{BrokenPipe, ConnectionReset, WouldBlock};
    match stream.write(bytes) {
        Err(error) if [WouldBlock, BrokenPipe, ConnectionReset].contains(&error.kind()) => Ok(0),
        written => written,
    }
}

/// How long to fill the server at most.
const FILL_MAX: Duration = Duration::from_secs(5);

/// How long a load generator lives.
const LIFE: Duration = Duration::from_millis(200);

/// A signal that comes before the last one was taken is lost: more are none.
const SIGNAL_PERIOD: Duration = Duration::from_micros(500);
