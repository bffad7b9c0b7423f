//! The load generator: many clients of an echo server in one thread.
//!
//! As a closed loop (`--seconds` or `--count`) each connection has one message on its way: it sends, waits for the whole
//! echo, checks every byte, and sends the next. The answer is one line of JSON, `wakeful_benches::load::Report`.
//! With `--pace-ms` each connection sends at regular times instead, and latency counts from those.
//! With `--churn` it does the same with a connection for every message; the answer is a `wakeful_benches::throughput::Tally`.
//! With `--idle` it opens connections, has each echo once, says so, and holds them until it is killed.
//!
//! How to read the numbers: latency runs from just before a message is sent to just after its echo was compared, so at
//! many connections it is the time in all queues, the generator's included. A closed loop waits for slow answers instead of
//! sending on, so its high percentiles flatter every server in the same way.

mod churn;
mod closed_loop;
mod connection;
mod idle;
mod paced;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use lexopt::prelude::*;
use wakeful_benches::cli::{self, Result};
use wakeful_benches::load::SIZE_MAX;

use crate::closed_loop::Extent;

fn main() -> ExitCode {
    cli::finish("load", run())
}

fn run() -> Result<()> {
    let Some(options) = Options::parse()? else {
        println!("{USAGE}");
        return Ok(());
    };
    if options.idle > 0 {
        return idle::hold(options.connect, options.idle, options.size);
    }
    let answer = if options.churn {
        serde_json::to_string(&churn::run(&options)?)
    } else {
        serde_json::to_string(&closed_loop::run(&options)?)
    };
    println!("{}", answer?);
    Ok(())
}

/// What the command line asks for.
struct Options {
    connect: SocketAddr,
    connections: usize,
    size: usize,
    extent: Extent,
    /// Poll all the time instead of sleeping in `epoll_wait`.
    spin: bool,
    /// If not zero, how far apart the messages of the only connection are at least.
    every: Duration,
    server_pid: Option<u32>,
    /// How far apart the messages of a connection are; only with a time.
    pace: Option<Duration>,
    /// A connection for every message.
    churn: bool,
    /// If not zero, everything above but the address and the size is without meaning.
    idle: usize,
}

impl Options {
    fn parse() -> Result<Option<Self>> {
        let mut connect = None;
        let mut connections = 1;
        let mut size = 64;
        let mut measured = Duration::from_secs(2);
        let mut warm_up = Duration::ZERO;
        let mut count = None;
        let mut spin = false;
        let mut every = Duration::ZERO;
        let mut server_pid = None;
        let mut pace = None;
        let mut churn = false;
        let mut idle = 0;

        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("connect") => {
                    connect = Some(cli::value(&mut parser, "--connect", "ADDRESS:PORT")?);
                }
                Long("connections") => {
                    connections = cli::number(&mut parser, "--connections", 1..=CONNECTIONS_MAX)?;
                }
                Long("size") => size = cli::number(&mut parser, "--size", 1..=SIZE_MAX)?,
                Long("seconds") => measured = cli::seconds(&mut parser, "--seconds", 0.1)?,
                Long("warm-up") => warm_up = cli::seconds(&mut parser, "--warm-up", 0.0)?,
                Long("count") => {
                    count = Some(cli::number(&mut parser, "--count", 1..=u64::MAX)?);
                }
                Long("spin") => spin = true,
                Long("every-us") => {
                    let every_us = cli::number(&mut parser, "--every-us", 0..=1_000_000)?;
                    every = Duration::from_micros(every_us);
                }
                Long("server-pid") => {
                    server_pid = Some(cli::value(&mut parser, "--server-pid", "a process id")?);
                }
                Long("pace-ms") => {
                    let pace_ms = cli::number(&mut parser, "--pace-ms", 1..=60_000)?;
                    pace = Some(Duration::from_millis(pace_ms));
                }
                Long("churn") => churn = true,
                Long("idle") => {
                    idle = cli::number(&mut parser, "--idle", 1..=CONNECTIONS_MAX)?;
                }
                Short('h') | Long("help") => return Ok(None),
                other => return Err(format!("{}; `load --help` helps", other.unexpected()).into()),
            }
        }
        if !every.is_zero() && connections > 1 {
            return Err("`--every-us` is for a single connection".into());
        }
        Ok(Some(Self {
            connect: connect.ok_or("name a server: `--connect 127.0.0.1:7007`")?,
            connections,
            size,
            extent: match count {
                Some(count) => Extent::Count(count),
                None => Extent::Time { warm_up, measured },
            },
            spin,
            every,
            server_pid,
            pace,
            churn,
            idle,
        }))
    }
}

/// As many as there are ports for on one address.
const CONNECTIONS_MAX: usize = 65_535;

const USAGE: &str = "\
usage: load --connect ADDRESS:PORT [options]
  --connections N     connections, each with one message on its way (1)
  --size N            bytes of a message (64)
  --seconds S         how long to measure (2)
  --warm-up S         how long to run before that (0)
  --count N           instead of both: exactly N messages in all
  --spin              poll all the time instead of sleeping
  --every-us N        a message each N µs, on one connection
  --server-pid PID    report this process's CPU time too
  --pace-ms N         a message of every connection each N ms, instead of after its echo; not with --count
  --churn             a new connection for every message
  --idle N            instead of all that: open N connections, echo once on each, hold them until killed";
