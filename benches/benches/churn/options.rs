//! The command line of the bench.

use std::time::Duration;

use lexopt::prelude::*;
use wakeful_benches::cli::{self, Result};

/// What the command line asks for.
pub(crate) struct Options {
    pub(crate) sections: Vec<Section>,
    pub(crate) quick: bool,
    /// Whether system calls are counted.
    pub(crate) calls: bool,
    /// Of how many connections.
    pub(crate) counted: u64,
    pub(crate) rounds: usize,
    pub(crate) measured: Duration,
}

/// A part of the bench, with a table of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    OneWorker,
    AllCpus,
}

impl Options {
    /// Reads the command line. `None`: it asks for help.
    pub(crate) fn parse() -> Result<Option<Self>> {
        let (mut quick, mut rounds, mut seconds) = (false, None, None);
        let mut sections = Vec::new();
        let mut calls = false;
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("one-worker") => sections.push(Section::OneWorker),
                Long("all-cpus") => sections.push(Section::AllCpus),
                Long("calls") => calls = true,
                Long("quick") => quick = true,
                Long("rounds") => rounds = Some(cli::number(&mut parser, "--rounds", 1..=1000)?),
                Long("seconds") => {
                    let most = crate::SECONDS_MAX;
                    seconds = Some(cli::number(&mut parser, "--seconds", 0.1..=most)?);
                }
                // cargo says it to every bench.
                Long("bench") => {}
                Short('h') | Long("help") => return Ok(None),
                other => {
                    return Err(
                        format!("{}; `-- --help` lists the options", other.unexpected()).into(),
                    );
                }
            }
        }
        if sections.is_empty() && !calls {
            sections = vec![Section::OneWorker, Section::AllCpus];
            calls = true;
        }
        let seconds = seconds.unwrap_or(if quick { 0.2 } else { 0.4 });
        Ok(Some(Self {
            sections,
            quick,
            calls,
            counted: if quick { 4_000 } else { 16_000 },
            rounds: rounds.unwrap_or(if quick { 5 } else { 15 }),
            measured: Duration::from_secs_f64(seconds),
        }))
    }
}

pub(crate) const USAGE: &str = "\
usage: cargo bench -p wakeful-benches --bench churn [-- OPTIONS]

  --one-worker         one worker, server and load generator pinned to a core each
  --all-cpus           a worker for every CPU, nothing pinned
  --calls              system calls per connection (needs strace)
                       (without any of these: all)

  --quick              few and short rounds: below half a minute
  --rounds N           interleaved rounds (15; --quick 5)
  --seconds S          length of a measurement, at most 0.5 (0.4; --quick 0.2)";
