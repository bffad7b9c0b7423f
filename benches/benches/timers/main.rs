//! Timers against tokio's: `cargo bench -p wakeful-benches --bench timers`, `-- --help` for the options.
//!
//! How to read the numbers:
//!
//! - Every measurement is a process of its own, on one CPU where it has one worker. With one worker the peer is tokio's
//!   current-thread runtime, with two its multi-thread runtime.
//! - Figures are medians over interleaved rounds, *ratios* medians of the ratio within a round. Only ratios of one run mean
//!   something; the absolute numbers are this machine's, today.
//! - Two threads that arm timers at once, each on a CPU of its own, are compared with two that have a runtime each, *apart*: what
//!   those are slower than one alone is the machine's, whose CPUs may share a core.
//! - *Late* is how much longer than asked for a sleep took, measured around its `await`: the timer, the system's waking of the
//!   thread, and the poll of the future.

mod options;
mod rounds;
mod sections;

use std::process::ExitCode;

use wakeful_benches::cli::{self, Result};
use wakeful_benches::results::Results;

use crate::options::Options;
use crate::rounds::Rounds;

fn main() -> ExitCode {
    cli::finish("timers bench", run())
}

fn run() -> Result<()> {
    let Some(options) = Options::parse()? else {
        println!("{}", options::USAGE);
        return Ok(());
    };
    let rounds = Rounds::new(&options)?;
    let results = Results::new("timers", options.quick)?;
    results.text(rounds.to_string());
    for section in &options.sections {
        section.measure(&rounds, &results)?;
    }
    results.write()
}
