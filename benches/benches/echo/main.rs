//! The echo server against its peers: `cargo bench -p wakeful-benches --bench echo`, `-- --help` for the options.
//!
//! How to read the numbers:
//!
//! - *Ratios* are medians over the rounds of the ratio within a round, so they may differ a little from the quotient of two
//!   medians in the table above them. Only ratios of one run mean something; the absolute numbers are this machine's, today.
//! - *Latency* with fewer than 8 connections is measured by a client that polls, so that it is the server's wake-up that
//!   counts and not the client's. A throughput there is the inverse of the latency.
//! - *Busy* is the part of the time that a core spent in the process. A throughput ratio is marked `*` as client-bound
//!   where the load generator's core was at least 90 % busy: a faster server could not have shown it. It still means
//!   something where the server was as busy; the CPU per request then is the same finding, told more exactly.
//! - *DISTURBED* below a table: something else was running. Medians of ratios stand a little of that, high percentiles none.
//! - *CPU per request* is summed over the rounds. Its split into user space and kernel is sampled by the kernel and is rough
//!   in short runs; for user space there is `--cpu`, which runs for a minute a side, and `instructions.sh`, which counts.
//! - *Buffers*: tokio's servers have the usual one of 4 KiB for each connection, `tokio-large`, smol and monoio one of 64 KiB; ours
//!   and the floor one for all. With messages of 64 bytes it makes no difference.
//! - *Sizes*: `*-sizes-*.svg` counts a message once, though it goes both ways.

mod bounds;
mod cpu;
mod options;
mod plots;
mod rounds;
mod series;
mod setup;
mod sparse;
mod tables;
mod work;

use std::process::ExitCode;

use wakeful_benches::cli::{self, Result};

use crate::options::{Options, Section};
use crate::setup::Setup;

fn main() -> ExitCode {
    cli::finish("echo bench", run())
}

fn run() -> Result<()> {
    let Some(options) = Options::parse()? else {
        println!("{}", options::USAGE);
        return Ok(());
    };
    let setup = Setup::new(&options)?;
    for section in &options.sections {
        match section {
            Section::OneWorker => rounds::one_worker(&setup, &options)?,
            Section::TwoWorkers => rounds::two_workers(&setup, &options)?,
            Section::BesideHogs => rounds::beside_hogs(&setup, &options)?,
            Section::Sparse => sparse::cost_of_polling(&setup, &options)?,
            Section::Cpu => cpu::per_echo(&setup, &options)?,
        }
    }
    setup.results.write()
}
