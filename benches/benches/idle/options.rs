//! The command line of the bench.

use std::time::Duration;

use lexopt::prelude::*;
use wakeful_benches::cli::{self, Result};

/// What the command line asks for.
pub(crate) struct Options {
    /// From none to many.
    pub(crate) idle_counts: Vec<usize>,
    pub(crate) quick: bool,
    pub(crate) rounds: usize,
    pub(crate) measured: Duration,
}

impl Options {
    /// Reads the command line. `None`: it asks for help.
    pub(crate) fn parse() -> Result<Option<Self>> {
        let (mut quick, mut counts, mut rounds, mut measured) = (false, None, None, None);
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("quick") => quick = true,
                Long("idle") => {
                    let takes = "numbers of idle connections, for instance 0,1000,15000";
                    counts = Some(cli::list(&mut parser, "--idle", takes)?);
                }
                Long("rounds") => rounds = Some(cli::number(&mut parser, "--rounds", 1..=1000)?),
                Long("seconds") => measured = Some(cli::seconds(&mut parser, "--seconds", 0.1)?),
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
        let own_counts = || match quick {
            true => vec![0, 1_000, 15_000],
            false => vec![0, 10, 100, 1_000, 5_000, 15_000],
        };
        let own_measured = Duration::from_millis(if quick { 100 } else { 250 });
        Ok(Some(Self {
            idle_counts: counts.unwrap_or_else(own_counts),
            quick,
            rounds: rounds.unwrap_or(if quick { 5 } else { 15 }),
            measured: measured.unwrap_or(own_measured),
        }))
    }
}

pub(crate) const USAGE: &str = "\
usage: cargo bench -p wakeful-benches --bench idle [-- OPTIONS]

  --quick              0, 1 000 and 15 000 idle connections, short rounds: below half a minute
  --idle N,M           numbers of idle connections (0,10,100,1000,5000,15000); those that the limit of descriptors
                       or the server does not allow are left out
  --rounds N           interleaved rounds (15; --quick 5)
  --seconds S          length of a measurement (0.25; --quick 0.1)";
