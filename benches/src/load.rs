//! The load generator as the harness sees it: what it is asked to do, and what it reports.
//!
//! How it works is told where it lives, in `src/bin/load`.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::accounting::CpuTime;
use crate::cli::Result;
use crate::process::{Running, Server};
use crate::throughput::Tally;

/// One closed loop over a number of connections.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How many connections, each with one message on its way.
    pub connections: usize,
    /// Bytes of a message.
    pub size: usize,
    /// What is measured.
    pub measured: Duration,
    /// What goes before and is not measured.
    pub warm_up: Duration,
}

impl Plan {
    /// With fewer connections than this the generator polls instead of sleeping, so that its own wake-up is not taken for
    /// the server's: with one connection, the floor that sleeps and the floor that polls were 16.6 and 12.2 µs apart from a
    /// client that sleeps, 12.1 and 7.5 µs from one that polls. With more connections it always has something to do.
    const BLOCK_FROM: usize = 8;

    /// Whether the generator polls all the time: then how busy its core is says nothing.
    pub fn spins(&self) -> bool {
        self.connections < Self::BLOCK_FROM
    }

    /// Runs the generator against a server, on one CPU if one is named, and returns what it reports.
    pub fn run(&self, program: &Path, server: &Server, cpu: Option<usize>) -> Result<Report> {
        let mut command = self.command(program, server);
        if self.spins() {
            command.arg("--spin");
        }
        answer(&mut command, cpu)
    }

    /// The same with a message of every connection each `pace`, whatever the server does; latency counts from when it was due.
    pub fn run_paced(&self, program: &Path, server: &Server, pace: Duration) -> Result<Report> {
        let mut command = self.command(program, server);
        answer(
            command.args(["--pace-ms", &pace.as_millis().to_string()]),
            None,
        )
    }

    /// The same on one connection that sends a message each `every`, or later where the echo before it takes longer.
    pub fn run_sparse(
        &self,
        every: Duration,
        program: &Path,
        server: &Server,
        cpu: Option<usize>,
    ) -> Result<Report> {
        let mut command = self.command(program, server);
        let every_us = every.as_micros().to_string();
        command.args(["--spin", "--every-us", &every_us]);
        answer(&mut command, cpu)
    }

    /// The same with a new connection for every message.
    pub fn run_churn(&self, program: &Path, server: &Server, cpu: Option<usize>) -> Result<Tally> {
        answer(self.command(program, server).arg("--churn"), cpu)
    }

    /// The same until exactly so many connections have come and gone, on any CPU.
    pub fn run_churn_of(&self, count: u64, program: &Path, server: &Server) -> Result<Tally> {
        let mut command = self.command(program, server);
        command.args(["--churn", "--count", &count.to_string()]);
        answer(&mut command, None)
    }

    fn command(&self, program: &Path, server: &Server) -> Command {
        let mut command = connecting(program, server.address());
        command
            .args(["--connections", &self.connections.to_string()])
            .args(["--size", &self.size.to_string()])
            .args(["--seconds", &self.measured.as_secs_f64().to_string()])
            .args(["--warm-up", &self.warm_up.as_secs_f64().to_string()])
            .args(["--server-pid", &server.pid().to_string()]);
        command
    }
}

/// What the generator measured, as it prints it: one line of JSON.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Report {
    /// Echoes that came back in full.
    pub requests: u64,
    /// In what time.
    pub elapsed_ns: u64,
    /// Latency: half were faster.
    pub p50_ns: u64,
    /// Nine in ten were faster.
    pub p90_ns: u64,
    /// All but one in a hundred were faster.
    pub p99_ns: u64,
    /// All but one in a thousand were faster.
    pub p999_ns: u64,
    /// The slowest.
    pub max_ns: u64,
    /// Echoes of the connection that had the fewest.
    pub fewest: u64,
    /// How long the oldest message that was still on its way at the end had been.
    pub waiting_ns: u64,
    /// As the figures above, of each of [`PERCENTILES`].
    pub percentiles_ns: Vec<u64>,
    /// What the generator itself used.
    pub load_cpu: CpuTime,
    /// How long the generator waited for its core because something else ran there.
    pub load_waited_ns: u64,
    /// What the server used; zero where its process was not named.
    pub server_cpu: CpuTime,
}

impl Report {
    /// Echoes per second.
    pub fn requests_per_second(&self) -> f64 {
        self.requests as f64 * 1e9 / self.elapsed_ns as f64
    }

    /// How many cores the generator kept busy, from 0 to 1.
    pub fn load_busy(&self) -> f64 {
        self.load_cpu.total_ns() as f64 / self.elapsed_ns as f64
    }

    /// The part of the time that something else ran on the generator's core, from 0 to 1.
    pub fn load_disturbed(&self) -> f64 {
        self.load_waited_ns as f64 / self.elapsed_ns as f64
    }

    /// How many cores the server kept busy, from 0 to the number of its workers.
    pub fn server_busy(&self) -> f64 {
        self.server_cpu.total_ns() as f64 / self.elapsed_ns as f64
    }
}

/// Connections that have echoed one message each and now wait. Dropping it closes them.
#[derive(Debug)]
pub struct IdleConnections {
    _holder: Running,
}

impl IdleConnections {
    /// Opens `count` connections from a process of their own.
    pub fn open(
        program: &Path,
        address: SocketAddr,
        count: usize,
        size: usize,
        cpu: Option<usize>,
    ) -> Result<Self> {
        let mut command = connecting(program, address);
        command
            .args(["--idle", &count.to_string()])
            .args(["--size", &size.to_string()]);
        let mut holder = Running::start(&mut command, cpu)?;
        holder.line()?;
        Ok(Self { _holder: holder })
    }
}

/// Where a line of latencies has its points.
pub const PERCENTILES: [f64; 9] = [10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9];

/// The longest message, in bytes.
pub const SIZE_MAX: usize = 16 << 20;

/// What the generator prints in the end.
fn answer<T: DeserializeOwned>(command: &mut Command, cpu: Option<usize>) -> Result<T> {
    let line = Running::start(command, cpu)?.line()?;
    Ok(serde_json::from_str(&line)?)
}

fn connecting(program: &Path, address: SocketAddr) -> Command {
    let mut command = Command::new(program);
    command.args(["--connect", &address.to_string()]);
    command
}
