//! What connections and tasks cost: `cargo bench -p wakeful-benches --bench memory`, `-- --help` for the options.
//!
//! How to read the numbers:
//!
//! - *User memory* is what the server's process has more of for each connection, as the kernel tells it: all that the allocator
//!   takes from the system for it. The kernel's own, socket buffers above all, is not in it; it is the same for all.
//! - *Heap* is what is asked of the allocator, counted in a process of its own for each figure: it repeats to the byte. A runtime
//!   that keeps tables of its tasks or timers has them full with a power of two; with *one task more* they have just doubled, and
//!   the half that nobody has touched yet is counted here, though it is no memory of the system's until then.
//! - *Own buffer*: each task has 4 KiB from which it echoes, as one writes it first. *No buffer*: it waits, and then borrows
//!   one. wakeful's echo server, of the first table, does the latter.

mod heap;
mod resident;

use std::process::ExitCode;

use wakeful_benches::cli::{self, Result, Rounds};
use wakeful_benches::contender::Programs;
use wakeful_benches::results::Results;

fn main() -> ExitCode {
    cli::finish("memory bench", run())
}

fn run() -> Result<()> {
    let Some(rounds) = Rounds::parse(5, 1)? else {
        println!("{USAGE}");
        return Ok(());
    };
    let programs = Programs::new(env!("CARGO_BIN_EXE_peer"), env!("CARGO_BIN_EXE_load"))?;
    programs.build_echo()?;
    let results = Results::new("memory", rounds.quick)?;
    resident::per_idle_connection(&programs, rounds.count, &results)?;
    heap::per_connection(&results)?;
    heap::per_task(&results)?;
    results.write()
}

const USAGE: &str = "\
usage: cargo bench -p wakeful-benches --bench memory [-- OPTIONS]

  --quick              one round: below a minute
  --rounds N           interleaved rounds of the servers with many connections (5; --quick 1)";
