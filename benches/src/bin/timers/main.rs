//! One measurement of timers on one runtime: `timers PLAN`, where the plan is `wakeful_benches::timers::Plan` as JSON.
//!
//! The cases are written once, for anything that is a `runtime::Runtime`, so that all runtimes do the same.

mod cases;
mod runtime;

use std::env;
use std::process::ExitCode;

use wakeful_benches::cli::{self, Result};
use wakeful_benches::executors::{Ours, Tokio};
use wakeful_benches::timers::{Plan, Runtime};

fn main() -> ExitCode {
    cli::finish("timers", run())
}

fn run() -> Result<()> {
    let argument = env::args().nth(1).ok_or(USAGE)?;
    let plan: Plan =
        serde_json::from_str(&argument).map_err(|error| format!("{USAGE}: {error}"))?;
    let figures = match plan.runtime {
        Runtime::Ours => cases::figures::<Ours>(plan.workers, plan.case),
        Runtime::Tokio => cases::figures::<Tokio>(plan.workers, plan.case),
    }?;
    println!("{}", serde_json::to_string(&figures)?);
    Ok(())
}

const USAGE: &str = "the only argument is a plan, as the bench `timers` makes it";
