//! The servers that ours is compared with, one process each.
//!
//! `peer floor` is the hand-written epoll loop, `peer tokio-current` and `peer tokio-multi` are the usual echo server on
//! tokio, `peer tokio-large` that with a large buffer, and `peer tokio-proxy` a proxy; `peer smol` and `peer monoio` are the
//! echo server on those, with a large buffer. Each prints one line with its address as soon as it listens, and serves until it
//! is killed.

mod floor;
mod monoio_echo;
mod smol_echo;
mod tokio_echo;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use lexopt::prelude::*;
use wakeful_benches::cli::{self, Result};

fn main() -> ExitCode {
    cli::finish("peer", run())
}

fn run() -> Result<()> {
    let Some(options) = Options::parse()? else {
        println!("{USAGE}");
        return Ok(());
    };
    match options.kind {
        Kind::Floor => floor::serve(options.listen, options.spin, options.splices),
        Kind::TokioCurrent => tokio_echo::serve_current_thread(options.listen),
        Kind::TokioMulti => tokio_echo::serve_multi_thread(options.listen, options.workers),
        Kind::TokioLarge => tokio_echo::serve_large(options.listen),
        Kind::Smol => smol_echo::serve(options.listen, options.workers),
        Kind::Monoio => monoio_echo::serve(options.listen, options.workers),
        Kind::TokioProxy => {
            let to = options.to.ok_or("a proxy needs `--to ADDRESS:PORT`")?;
            tokio_echo::serve_proxy(options.listen, to)
        }
    }
}

/// Tells whoever started this server that it is ready, and where.
fn announce(address: SocketAddr) {
    println!("listening on {address}");
}

struct Options {
    kind: Kind,
    listen: SocketAddr,
    workers: usize,
    spin: Duration,
    splices: bool,
    to: Option<SocketAddr>,
}

enum Kind {
    Floor,
    TokioCurrent,
    TokioMulti,
    TokioLarge,
    Smol,
    Monoio,
    TokioProxy,
}

impl Options {
    fn parse() -> Result<Option<Self>> {
        let mut kind = None;
        let mut listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut workers = 1;
        let mut spin_us = 0;
        let mut splices = false;
        let mut to = None;

        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Value(name) if kind.is_none() => {
                    kind = Some(match name.to_str() {
                        Some("floor") => Kind::Floor,
                        Some("tokio-current") => Kind::TokioCurrent,
                        Some("tokio-multi") => Kind::TokioMulti,
                        Some("tokio-large") => Kind::TokioLarge,
                        Some("smol") => Kind::Smol,
                        Some("monoio") => Kind::Monoio,
                        Some("tokio-proxy") => Kind::TokioProxy,
                        _ => return Err(WHICH.into()),
                    });
                }
                Long("listen") => listen = cli::value(&mut parser, "--listen", "ADDRESS:PORT")?,
                Long("workers") => {
                    workers = cli::number(&mut parser, "--workers", 1..=1024)?;
                }
                Long("spin-us") => {
                    spin_us = cli::number(&mut parser, "--spin-us", 0..=1_000_000)?;
                }
                Long("splice") => splices = true,
                Long("to") => to = Some(cli::value(&mut parser, "--to", "ADDRESS:PORT")?),
                Short('h') | Long("help") => return Ok(None),
                other => return Err(format!("{}; `peer --help` helps", other.unexpected()).into()),
            }
        }
        Ok(Some(Self {
            kind: kind.ok_or(WHICH)?,
            listen,
            workers,
            spin: Duration::from_micros(spin_us),
            splices,
            to,
        }))
    }
}

/// What a server gives to each connection whose buffer is to hold any message of the comparisons but the largest.
const BUFFER_BYTES: usize = 64 << 10;

const WHICH: &str = "name one server: `floor`, `tokio-current`, `tokio-multi`, `tokio-large`, `smol`, `monoio` or \
                     `tokio-proxy`";

const USAGE: &str = "\
usage: peer floor         [--listen ADDRESS:PORT] [--spin-us N] [--splice]   poll for N µs before sleeping; use pipes
       peer tokio-current [--listen ADDRESS:PORT]
       peer tokio-multi   [--listen ADDRESS:PORT] [--workers N]
       peer tokio-large   [--listen ADDRESS:PORT]   64 KiB for each connection in place of 4
       peer smol          [--listen ADDRESS:PORT] [--workers N]
       peer monoio        [--listen ADDRESS:PORT] [--workers N]
       peer tokio-proxy   [--listen ADDRESS:PORT] --to ADDRESS:PORT";
