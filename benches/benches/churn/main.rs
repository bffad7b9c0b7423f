//! Connections that come and go: `cargo bench -p wakeful-benches --bench churn`, `-- --help` for the options.
//!
//! Each connects, sends one message of 64 bytes, gets it back and closes; 64 are there at a time. Where strace is installed, the
//! server's system calls are counted too, in runs of their own.
//!
//! How to read the numbers:
//!
//! - The client's side of a connection is the larger one: what the kernel does for `connect`, the handshake of the server's side
//!   included, is done on the CPU of the client. So with a CPU for each side the ratios are client-bound (`*`) unless the server
//!   is slow, and say less than *user ns* and *sys ns*, the server's CPU time for each connection. Where all share the
//!   CPUs, the ratio tells what is saved of the whole.
//! - CPU time is sampled by the kernel and is rough in short runs. Ratios are medians over the rounds of the ratio within a round.

mod calls;
mod options;

use std::process::ExitCode;
use std::thread;

use wakeful_benches::cli::{self, Result};
use wakeful_benches::contender::{Contender, Programs};
use wakeful_benches::load::Plan;
use wakeful_benches::process::Server;
use wakeful_benches::results::Results;
use wakeful_benches::sys;
use wakeful_benches::throughput::Comparison;

use crate::options::{Options, Section};

fn main() -> ExitCode {
    cli::finish("churn bench", run())
}

fn run() -> Result<()> {
    let Some(options) = Options::parse()? else {
        println!("{}", options::USAGE);
        return Ok(());
    };
    let programs = Programs::new(env!("CARGO_BIN_EXE_peer"), env!("CARGO_BIN_EXE_load"))?;
    programs.build_echo()?;
    let &[server_cpu, load_cpu, ..] = sys::allowed_cpus()?.as_slice() else {
        return Err("server and load generator need a CPU each, and only one is allowed".into());
    };
    let results = Results::new("churn", options.quick)?;
    results.text(format!("{CONNECTIONS} connections at a time"));
    let plan = Plan {
        connections: CONNECTIONS,
        size: 64,
        measured: options.measured,
        warm_up: options.measured.mul_f64(0.25),
    };
    for section in &options.sections {
        let (title, servers, references, workers, cpus, bound): (_, &[_], &[_], _, _, _) =
            match section {
                Section::OneWorker => (
                    format!("one worker, server on CPU {server_cpu}, load on CPU {load_cpu}"),
                    &[Contender::Ours, Contender::TokioCurrent, Contender::Floor],
                    &[Contender::TokioCurrent, Contender::Floor],
                    1,
                    (Some(server_cpu), Some(load_cpu)),
                    None,
                ),
                Section::AllCpus => {
                    let workers = thread::available_parallelism()?.get();
                    (
                        format!("{workers} workers, NOT pinned: servers and load share the CPUs"),
                        &[Contender::Ours, Contender::TokioMulti],
                        &[Contender::TokioMulti],
                        workers,
                        (None, None),
                        Some((Contender::TokioMulti, 1.1)),
                    )
                }
            };
        let comparison = Comparison {
            title: &title,
            unit: "connection",
            servers,
            references,
            rounds: options.rounds,
            load_is_alone: cpus.1.is_some(),
            bound,
            results: &results,
        };
        comparison.run(|server| {
            let mut command = server.command(&programs, workers);
            let server = Server::start(&mut command, cpus.0)?;
            plan.run_churn(&programs.load, &server, cpus.1)
        })?;
    }
    if options.calls {
        calls::per_connection(&programs, plan, options.counted, &results)?;
    }
    results.write()
}

const CONNECTIONS: usize = 64;

/// The longest measurement: the ports last for it.
const SECONDS_MAX: f64 = 0.5;
