//! Interleaved rounds, in which each measurement is a fresh process.

use std::fmt;
use std::path::Path;

use wakeful_benches::cli::Result;
use wakeful_benches::rounds::{self, Series};
use wakeful_benches::sys;
use wakeful_benches::timers::{Case, Plan, Runtime};

use crate::options::Options;

/// How often and where measurements are made.
pub(crate) struct Rounds {
    count: usize,
    pub(crate) quick: bool,
    /// Where whatever has one worker runs.
    cpu: usize,
}

impl Rounds {
    pub(crate) fn new(options: &Options) -> Result<Self> {
        let cpus = sys::allowed_cpus()?;
        Ok(Self {
            count: options.rounds.unwrap_or(if options.quick { 3 } else { 9 }),
            quick: options.quick,
            cpu: *cpus.first().ok_or("no CPU is allowed")?,
        })
    }

    /// Measures all of `plans`, and gives the series of each.
    pub(crate) fn run(&self, plans: &[Plan]) -> Result<Vec<Series>> {
        rounds::interleaved(self.count, plans.len(), |position| {
            let plan = plans[position];
            let cpu = plan.has_one_thread().then_some(self.cpu);
            plan.run(Path::new(env!("CARGO_BIN_EXE_timers")), cpu)
        })
    }

    /// Measures a case on both runtimes, with one worker: ours, tokio's.
    pub(crate) fn compare(&self, case: Case) -> Result<(Series, Series)> {
        let plan = |runtime| Plan {
            runtime,
            workers: 1,
            case,
        };
        let all = self.run(&[plan(Runtime::Ours), plan(Runtime::Tokio)])?;
        let [ours, tokio] = all.try_into().expect("a series for each");
        Ok((ours, tokio))
    }
}

impl fmt::Display for Rounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} rounds; one worker means CPU {}",
            self.count, self.cpu
        )
    }
}
