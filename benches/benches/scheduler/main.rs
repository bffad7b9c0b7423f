//! Spawning, waking and yielding against tokio's scheduler and smol's: `cargo bench -p wakeful-benches --bench scheduler`,
//! `-- --help` for the options.
//!
//! How to read the numbers:
//!
//! - Every measurement is a process of its own, on one CPU where it has one worker. With one worker the peer is tokio's
//!   current-thread runtime, with two its multi-thread runtime; smol's is `async-executor`, which one or two threads run. Default
//!   settings everywhere.
//! - A case is a batch that is repeated, and its figure the median of the batches. What the tables show are medians of that over
//!   interleaved rounds; *ratios* are medians of the ratio within a round. Only ratios of one run mean something.
//! - `async-executor` has no reactor to visit between the tasks, no timers, and nothing that it can tell of a task: it is what a bare
//!   queue costs.
//! - Where a thread that is no worker wakes a task, it is on the other CPU. *Until it has run* is from before the wake until that
//!   thread sees what the task did, *the call* what of this the wake keeps that thread.

mod options;
mod rows;

use std::process::ExitCode;

use wakeful_benches::cli::{self, Result};
use wakeful_benches::contender::version_of;
use wakeful_benches::results::Results;

use crate::options::Options;
use crate::rows::{Row, table, title};

fn main() -> ExitCode {
    cli::finish("scheduler bench", run())
}

fn run() -> Result<()> {
    let Some(options) = Options::parse()? else {
        println!("{}", options::USAGE);
        return Ok(());
    };
    let results = Results::new("scheduler", options.quick)?;
    results.text(format!(
        "async-executor {}; {} rounds",
        version_of("async-executor"),
        options.rounds
    ));
    for workers in [1, 2] {
        if options.workers.is_some_and(|only| only != workers) {
            continue;
        }
        let rows = Row::measure(workers, &options)?;
        if !rows.is_empty() {
            results.table(title(workers), table(&rows));
        }
        rows.iter()
            .filter_map(Row::claim)
            .for_each(|claim| results.claim(claim));
    }
    results.write()
}
