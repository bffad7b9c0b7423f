//! The command line of the bench.

use std::time::Duration;

use lexopt::prelude::*;
use wakeful_benches::cli::{self, Result};

/// What the command line asks for.
pub(crate) struct Options {
    pub(crate) sections: Vec<Section>,
    /// Of the computing task. A stuck one has a third as many.
    pub(crate) rounds: usize,
    /// How long a measurement beside a computing task is.
    pub(crate) measured: Duration,
    /// For how long a thread sleeps.
    pub(crate) stuck: Duration,
}

/// A part of the bench.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    Compute,
    Stuck,
}

impl Options {
    /// Reads the command line. `None`: it asks for help.
    pub(crate) fn parse() -> Result<Option<Self>> {
        let (mut quick, mut rounds, mut seconds) = (false, None, None);
        let mut sections = Vec::new();
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("compute") => sections.push(Section::Compute),
                Long("stuck") => sections.push(Section::Stuck),
                Long("quick") => quick = true,
                Long("rounds") => rounds = Some(cli::number(&mut parser, "--rounds", 1..=1000)?),
                Long("seconds") => seconds = Some(cli::seconds(&mut parser, "--seconds", 0.1)?),
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
        if sections.is_empty() {
            sections = vec![Section::Compute, Section::Stuck];
        }
        let (usual_rounds, usual_ms, stuck) = if quick { (3, 400, 1) } else { (9, 1_000, 5) };
        Ok(Some(Self {
            sections,
            rounds: rounds.unwrap_or(usual_rounds),
            measured: seconds.unwrap_or(Duration::from_millis(usual_ms)),
            stuck: Duration::from_secs(stuck),
        }))
    }
}

pub(crate) const USAGE: &str = "\
usage: cargo bench -p wakeful-benches --bench interference [-- OPTIONS]

  --compute      a task that computes for 1, 10 and 50 ms again and again
  --stuck        a task that has its thread sleep for 5 s (--quick 1 s)
                 (without any of these: both)

  --quick        few and short rounds: below a minute
  --rounds N     interleaved rounds of --compute (9; --quick 3); --stuck has a third of them
  --seconds S    length of a measurement of --compute (1; --quick 0.4)";
