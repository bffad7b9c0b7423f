//! Tasks that keep their worker, and what others on the same runtime feel of it: `cargo bench -p wakeful-benches --bench
//! interference`, `-- --help` for the options.
//!
//! Both runtimes have two workers, one of which the disturbing task keeps; which one, and who runs what else, is theirs to
//! choose. Nothing is pinned: with two CPUs the load generator and what is computed compete with the server for them.
//!
//! How to read the numbers:
//!
//! - *÷ tokio* are medians over interleaved rounds of the ratio within a round; a server is a fresh process in each.
//! - The task computes by the clock, and then rests: for as long, or not at all, when it only yields. *server busy*, in CPUs, tells
//!   whether it got on: a runtime that let it wait would echo faster.
//! - There are two loads. *paced*: every connection sends at regular times, a tenth or so of what the servers can do, and latency counts
//!   from those times, so every stall is seen for as long as it lasts. *full*: a closed loop, which sends nothing while a server
//!   stands still: a stall of 50 ms costs each connection one slow echo, and the 99th percentile may not see it. There
//!   throughput is compared; where CPUs are short, p99 also holds for how long the kernel lets the computing thread keep one that
//!   others want.
//! - Which verdicts can be had: where the task rests, tokio's worker that waited for events may be the one that computes, and its
//!   *paced* p99 is the length of the computation; ours is the time until a sibling sees it, which is less only where that is long.
//!   Where the task only yields, the other worker of either soon has all connections, and the two CPUs, which the task, that worker
//!   and the load share, decide: the same server differs by a factor of ten from round to round. A bare epoll loop beside a thread that
//!   spins had 0.7 times tokio's p99 in the median of six rounds, so half of it is out of reach of any server.
//! - *longest* is the slowest echo, or the message that was still waiting when the time was over, whichever waited longer;
//!   *fewest* is how many echoes the connection had that had the fewest. Of a stuck worker every figure is the worst of all
//!   rounds. A thousand connections in a closed loop wait for each other some 15 ms as it is, and more where other programs run.

mod compute;
mod options;
mod stuck;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use wakeful_benches::cli::{self, Result};
use wakeful_benches::contender::tokio_version;
use wakeful_benches::interference::{Hog, Job, Plan, WORKERS};
use wakeful_benches::load::{self, Report};
use wakeful_benches::sys;
use wakeful_benches::timers::Runtime;

use crate::options::{Options, Section};

fn main() -> ExitCode {
    cli::finish("interference bench", run())
}

fn run() -> Result<()> {
    let Some(options) = Options::parse()? else {
        println!("{}", options::USAGE);
        return Ok(());
    };
    sys::raise_descriptor_limit()?;
    println!("tokio {}; {WORKERS} workers, NOT pinned", tokio_version());
    for section in &options.sections {
        match section {
            Section::Compute => compute::run(&options)?,
            Section::Stuck => stuck::run(&options)?,
        }
    }
    Ok(())
}

/// What `runtime` did in each round.
struct Series<T> {
    runtime: Runtime,
    rounds: Vec<T>,
}

/// Gives ours and tokio a turn in every round, in rotated order.
fn rounds<T>(
    count: usize,
    mut measure: impl FnMut(Runtime) -> Result<T>,
) -> Result<[Series<T>; 2]> {
    let mut all = [Runtime::Ours, Runtime::Tokio].map(|runtime| Series {
        runtime,
        rounds: Vec::with_capacity(count),
    });
    for round in 0..count {
        for turn in 0..all.len() {
            let series = &mut all[(round + turn) % 2];
            series.rounds.push(measure(series.runtime)?);
        }
    }
    Ok(all)
}

/// Measures the echoes of a fresh server beside `hog`, at regular times if a pace is given.
fn echo(runtime: Runtime, hog: Hog, load: load::Plan, pace: Option<Duration>) -> Result<Report> {
    let plan = Plan {
        runtime,
        job: Job::Echo,
        hog,
    };
    let server = plan.serve(Path::new(PROGRAM))?;
    let program = Path::new(env!("CARGO_BIN_EXE_load"));
    match pace {
        Some(pace) => load.run_paced(program, &server, pace),
        None => load.run(program, &server, None),
    }
}

/// All rows of a table, with the name of the load.
fn by_load<'a>(
    paced: &'a [Series<Report>; 2],
    full: &'a [Series<Report>; 2],
) -> impl Iterator<Item = (&'static str, &'a Series<Report>)> {
    let paced = paced.iter().map(|series| ("paced", series));
    paced.chain(full.iter().map(|series| ("full", series)))
}

/// The longest wait of a message, answered or not.
fn longest_ns(report: &Report) -> u64 {
    report.max_ns.max(report.waiting_ns)
}

fn name(runtime: Runtime) -> &'static str {
    match runtime {
        Runtime::Ours => "ours",
        Runtime::Tokio => "tokio-multi",
    }
}

fn ms(ns: f64) -> String {
    format!("{:.2}", ns / 1e6)
}

/// Says whether a bound is kept.
fn verdict(bound: &str, figure: &str, is_kept: bool) {
    let kept = if is_kept { "kept" } else { "MISSED" };
    println!("  {bound}: {figure}, {kept}");
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_interference");
const MESSAGE_BYTES: usize = 64;
