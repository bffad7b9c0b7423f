//! One measurement of one scheduler: `scheduler PLAN`, where the plan is `wakeful_benches::scheduler::Plan` as JSON.
//!
//! The cases are written once, for anything that is an `Executor`, so that all do the same.

mod cases;
mod foreign;
mod heap;

use std::env;
use std::process::ExitCode;

use wakeful_benches::cli::{self, Result};
use wakeful_benches::executors::{Ours, Smol, Tokio};
use wakeful_benches::scheduler::{Peer, Plan};

fn main() -> ExitCode {
    cli::finish("scheduler", run())
}

fn run() -> Result<()> {
    let argument = env::args().nth(1).ok_or(USAGE)?;
    let plan: Plan =
        serde_json::from_str(&argument).map_err(|error| format!("{USAGE}: {error}"))?;
    let figures = match plan.peer {
        Peer::Ours => cases::figures::<Ours>(&plan),
        Peer::Tokio => cases::figures::<Tokio>(&plan),
        Peer::Smol => cases::figures::<Smol>(&plan),
    }?;
    println!("{}", serde_json::to_string(&figures)?);
    Ok(())
}

const USAGE: &str = "the only argument is a plan, as the bench `scheduler` makes it";
