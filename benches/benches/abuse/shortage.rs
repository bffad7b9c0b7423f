//! A server that may have 64 descriptors, and 200 clients who want one.
//!
//! Its own limit on connections is set so high that the system's is met, and accept(2) fails: whoever has a connection must not
//! notice, the others must be served when somebody goes, and meanwhile it must not burn the CPU.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use wakeful_benches::accounting::CpuTime;
use wakeful_benches::cli::Result;
use wakeful_benches::contender::{Contender, Programs};
use wakeful_benches::process::Server;
use wakeful_benches::results::Results;
use wakeful_benches::sys;

/// Measures it for a time, says what was seen.
pub(crate) fn run(
    programs: &Programs,
    server_cpu: usize,
    time: Duration,
    results: &Results,
) -> Result<()> {
    let mut command = Contender::Ours.command(programs, 1);
    command
        .args(["--max-connections", "10000", "--log", "error"])
        .stderr(Stdio::null());
    sys::limit_descriptors(&mut command, DESCRIPTORS);
    let server = Server::start(&mut command, Some(server_cpu))?;
    let mut established = Vec::new();
    for _ in 0..ESTABLISHED {
        let mut client = knock(&server)?;
        is_served(&mut client)?;
        established.push(client);
    }
    let mut knocking = Vec::new();
    for _ in 0..KNOCKING {
        knocking.push(knock(&server)?);
    }

    let (begin, cpu) = (Instant::now(), CpuTime::of_process(server.pid())?);
    while begin.elapsed() < time {
        for client in &mut established {
            client.write_all(MESSAGE)?;
            is_served(client)?;
        }
        thread::sleep(PERIOD);
    }
    let cpu = CpuTime::of_process(server.pid())? - cpu;
    let busy = cpu.total_ns() as f64 / begin.elapsed().as_nanos() as f64;

    let mut waiting = Vec::new();
    let mut served = Vec::new();
    for client in knocking {
        match has_answer(&client)? {
            true => served.push(client),
            false => waiting.push(client),
        }
    }
    let (begin, left) = (Instant::now(), served.split_off(served.len() - LEAVING));
    drop(left);
    let mut next = waiting.drain(..LEAVING).collect::<Vec<_>>();
    for client in &mut next {
        is_served(client)?;
    }
    let resumed = begin.elapsed();
    drop((established, served, next));
    for mut client in waiting {
        is_served(&mut client)?; // and leaves
    }
    results.text(format!(
        "{DESCRIPTORS} descriptors, {KNOCKING} clients who want one for {:.0} s: {:.1} % CPU; the next {LEAVING} served {:.0} ms \
         after {LEAVING} had left, and all in the end",
        time.as_secs_f64(),
        busy * 100.0,
        resumed.as_secs_f64() * 1e3
    ));
    match busy < BUSY_MAX {
        true => Ok(()),
        false => Err("it burns the CPU while it has no descriptors".into()),
    }
}

/// Connects, as far as the system is concerned, and says something.
fn knock(server: &Server) -> Result<TcpStream> {
    let mut client = TcpStream::connect(server.address())?;
    client.set_read_timeout(Some(PATIENCE))?;
    client.write_all(MESSAGE)?;
    Ok(client)
}

/// Waits for the answer.
fn is_served(client: &mut TcpStream) -> Result<()> {
    let mut back = [0; MESSAGE.len()];
    client.read_exact(&mut back)?;
    match back == *MESSAGE {
        true => Ok(()),
        false => Err("a message came back changed".into()),
    }
}

/// Whether an answer has come by now.
fn has_answer(client: &TcpStream) -> Result<bool> {
    client.set_nonblocking(true)?;
    let peeked = client.peek(&mut [0]);
    client.set_nonblocking(false)?;
    match peeked {
        Ok(count) => Ok(count > 0),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error.into()),
    }
}

const DESCRIPTORS: u64 = 64;
const ESTABLISHED: usize = 10;
const KNOCKING: usize = 200;
const LEAVING: usize = 10;
const MESSAGE: &[u8; 4] = b"ping";

/// How often those who are served say something.
const PERIOD: Duration = Duration::from_millis(250);

/// How much of a CPU it may use meanwhile.
const BUSY_MAX: f64 = 0.05;

/// How long to wait for what has to come.
const PATIENCE: Duration = Duration::from_secs(10);
