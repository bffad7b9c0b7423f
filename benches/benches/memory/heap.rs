//! What is asked of the allocator for each connection and each task, counted by the `memory` program.

use std::path::Path;

use wakeful_benches::cli::Result;
use wakeful_benches::memory::{Case, Cost, Plan, Tables};
use wakeful_benches::results::{Bound, Claim, Results};
use wakeful_benches::table::{Table, grouped};
use wakeful_benches::timers::Runtime;

/// Shows what a connection that has echoed and waits has cost.
pub(crate) fn per_connection(results: &Results) -> Result<()> {
    let mut table = Table::new(COLUMNS);
    both(&mut table, "own buffer", Case::OwnBuffer)?;
    both(&mut table, "no buffer", Case::NoBuffer)?;
    let title = "heap per connection that has echoed and waits, with its task, one worker";
    results.table(title, table);
    Ok(())
}

/// Shows what a task that waits has cost.
pub(crate) fn per_task(results: &Results) -> Result<()> {
    let mut table = Table::new(COLUMNS);
    let waiting = Case::Waiting(Tables::Full);
    let [ours, tokio] = both(&mut table, "waiting, without its future", waiting)?;
    let waiting = Case::Waiting(Tables::JustGrown);
    both(&mut table, "the same with one task more", waiting)?;
    let sleeping = Case::Sleeping(Tables::Full);
    both(&mut table, "sleeping, in all", sleeping)?;
    let sleeping = Case::Sleeping(Tables::JustGrown);
    both(&mut table, "the same with one task more", sleeping)?;
    results.table("heap per task, one worker, 16 384 tasks", table);
    results.claim(Claim {
        work: "heap per waiting task beyond its future".to_owned(),
        ours: format!("{} B", grouped(ours.bytes)),
        peer: format!("tokio {} B", grouped(tokio.bytes)),
        figure: Some(ours.bytes),
        bound: Bound::AtMost(112.0),
        excuse: String::new(),
    });
    Ok(())
}

/// Ours and tokio's, also as a row.
fn both(table: &mut Table, name: &str, case: Case) -> Result<[Cost; 2]> {
    let program = Path::new(env!("CARGO_BIN_EXE_memory"));
    let run = |runtime| Plan { runtime, case }.run(program);
    let (ours, tokio) = (run(Runtime::Ours)?, run(Runtime::Tokio)?);
    table.row(vec![
        name.to_owned(),
        grouped(ours.bytes),
        grouped(tokio.bytes),
        format!("{:.3}", ours.bytes / tokio.bytes),
        format!("{:.2}", ours.allocations),
        format!("{:.2}", tokio.allocations),
    ]);
    Ok([ours, tokio])
}

const COLUMNS: [&str; 6] = ["", "bytes", "tokio's", "÷ tokio", "allocations", "tokio's"];
