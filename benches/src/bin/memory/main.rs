//! Counts what something costs on the heap: `memory PLAN`, where the plan is `wakeful_benches::memory::Plan` as JSON.
//!
//! Some of it are made, then many, and the difference is divided: what a runtime costs by itself, and what it keeps in reserve
//! from the beginning, is not in it. What it takes in growing steps is, as far as it had to take it.

mod connections;
mod counting;
mod runtime;
mod tasks;

use std::env;
use std::process::ExitCode;

use wakeful_benches::cli::{self, Result};
use wakeful_benches::memory::{Case, Cost, Plan};
use wakeful_benches::timers::Runtime as Kind;

use crate::counting::{Counted, Counting};
use crate::runtime::{Ours, Runtime, Tokio};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> ExitCode {
    cli::finish("memory", run())
}

fn run() -> Result<()> {
    let argument = env::args().nth(1).ok_or(USAGE)?;
    let plan: Plan =
        serde_json::from_str(&argument).map_err(|error| format!("{USAGE}: {error}"))?;
    let cost = match plan.runtime {
        Kind::Ours => cost_of::<Ours>(plan.case),
        Kind::Tokio => cost_of::<Tokio>(plan.case),
    }?;
    println!("{}", serde_json::to_string(&cost)?);
    Ok(())
}

fn cost_of<R: Runtime>(case: Case) -> Result<Cost> {
    match case {
        Case::Waiting(tables) => tasks::waiting::<R>(tables),
        Case::Sleeping(tables) => tasks::sleeping::<R>(tables),
        Case::OwnBuffer => connections::cost(R::echo_with_own_buffer),
        Case::NoBuffer => connections::cost(R::echo_without_buffer),
    }
}

/// The cost of each of `count` things, from what was counted before and after them.
fn each(before: Counted, after: Counted, count: usize) -> Cost {
    Cost {
        allocations: (after.allocations - before.allocations) as f64 / count as f64,
        bytes: (after.bytes - before.bytes) as f64 / count as f64,
    }
}

const USAGE: &str = "the only argument is a plan, as the bench `memory` makes it";
