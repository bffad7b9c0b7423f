//! A server, or timers, on the runtime of a task that keeps its worker: `interference PLAN`, where the plan is
//! `wakeful_benches::interference::Plan` as JSON.
//!
//! What disturbs and the timers are written once, for anything that is a `runtime::Runtime`, so that all runtimes do the same;
//! the echo server is on each what everybody writes there.

mod hog;
mod runtime;
mod timers;

use std::env;
use std::net::{Ipv4Addr, TcpListener};
use std::process::ExitCode;

use wakeful_benches::cli::{self, Result};
use wakeful_benches::interference::{Job, Plan};
use wakeful_benches::sys;
use wakeful_benches::timers as peers;

use crate::runtime::{Ours, Runtime, Tokio};

fn main() -> ExitCode {
    cli::finish("interference", run())
}

fn run() -> Result<()> {
    let argument = env::args().nth(1).ok_or(USAGE)?;
    let plan: Plan =
        serde_json::from_str(&argument).map_err(|error| format!("{USAGE}: {error}"))?;
    match plan.runtime {
        peers::Runtime::Ours => run_on::<Ours>(plan),
        peers::Runtime::Tokio => run_on::<Tokio>(plan),
    }
}

fn run_on<R: Runtime>(plan: Plan) -> Result<()> {
    match plan.job {
        Job::Echo => {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            sys::set_backlog(&listener, BACKLOG)?;
            listener.set_nonblocking(true)?;
            // The address is known, and who connects before the first `accept` waits for it.
            println!("listening on {}", listener.local_addr()?);
            R::run(async {
                drop(R::spawn(hog::keep_busy::<R>(plan.hog))); // it goes on
                R::serve(listener).await
            })
        }
        Job::Timers { count, seconds } => R::run(async {
            let lateness = timers::run::<R>(count, seconds, plan.hog).await?;
            println!("{}", serde_json::to_string(&lateness)?);
            Ok(())
        }),
    }
}

const BACKLOG: i32 = 4096;

const USAGE: &str = "the only argument is a plan, as the bench `interference` makes it";
