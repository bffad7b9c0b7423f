//! UDP echo servers and their load generator: `udp serve NAME [segments]`, and `udp load ORDER`, where the order is
//! `wakeful_benches::udp::Order` as JSON.
//!
//! A server prints one line with its address as soon as it has a socket, and serves until it is killed. With `segments` it takes
//! and sends datagrams of one peer in one piece, where its runtime can.

mod floor;
mod load;
mod ours;
mod tokio_echo;

use std::env;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::ExitCode;

use wakeful_benches::cli::{self, Result};
use wakeful_benches::contender::Contender;
use wakeful_benches::datagrams;

fn main() -> ExitCode {
    cli::finish("udp", run())
}

fn run() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (name, segments) = match arguments[..] {
        ["load", order] => return load::run(&serde_json::from_str(order)?),
        ["serve", name] => (name, false),
        ["serve", name, "segments"] => (name, true),
        _ => return Err(USAGE.into()),
    };
    let socket = datagrams::bind((Ipv4Addr::LOCALHOST, 0).into())?;
    match name.parse() {
        Ok(Contender::Ours) => ours::serve(socket, segments),
        Ok(Contender::TokioCurrent) => tokio_echo::serve(socket),
        Ok(Contender::Floor) => floor::serve(&socket, segments),
        _ => Err(USAGE.into()),
    }
}

/// Tells whoever started this server that it is ready, and where.
fn announce(socket: &UdpSocket) -> Result<()> {
    println!("listening on {}", socket.local_addr()?);
    Ok(())
}

/// As many datagrams as a server takes at once.
const BATCH: usize = 64;

const USAGE: &str = "usage: udp serve ours|tokio-current|floor [segments], or udp load ORDER, as the bench `udp` makes it";
