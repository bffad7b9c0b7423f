//! One measurement of UDP, as the bench asks for it and the load generator of the `udp` program makes it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::cli::Result;
use crate::contender::Contender;
use crate::process::{Running, Server};
use crate::throughput::Tally;

/// What the load generator is asked to do.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Plan {
    /// From how many sockets datagrams come.
    pub peers: usize,
    /// How many of each are on their way at most. What all have on their way fits into the server's receive buffer.
    pub window: usize,
    /// How many each sends together, as soon as the window allows.
    pub burst: usize,
    /// Whether those are handed to the system in one piece, and taken from it so.
    pub segments: bool,
    /// Bytes of a datagram.
    pub size: usize,
    /// For how long is counted.
    pub seconds: f64,
}

/// A plan, and against whom it is.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Order {
    /// What to do.
    pub plan: Plan,
    /// Where the server is.
    pub address: SocketAddr,
    /// Its process.
    pub server_pid: u32,
}

impl Plan {
    /// Starts a server and has `program`, which is both, measure it, each on its CPU.
    pub fn run(
        self,
        program: &Path,
        server: Contender,
        server_cpu: usize,
        load_cpu: usize,
    ) -> Result<Tally> {
        let mut command = Command::new(program);
        command.args(["serve", server.name()]);
        if self.segments {
            command.arg("segments");
        }
        let server = Server::start(&mut command, Some(server_cpu))?;
        let order = Order {
            plan: self,
            address: server.address(),
            server_pid: server.pid(),
        };
        let mut command = Command::new(program);
        command.args(["load", &serde_json::to_string(&order)?]);
        let line = Running::start(&mut command, Some(load_cpu))?.line()?;
        Ok(serde_json::from_str(&line)?)
    }
}

/// The shortest datagram has room for its number.
pub const SIZE_MIN: usize = 8;
/// The longest fits into a packet of an Ethernet.
pub const SIZE_MAX: usize = 1_400;
