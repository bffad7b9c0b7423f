//! The command line of the bench.

use lexopt::prelude::*;
use wakeful_benches::cli::{self, Result};

/// What the command line asks for.
pub(crate) struct Options {
    /// Rows whose name contains one of these; none: all.
    pub(crate) rows: Vec<String>,
    /// `None`: one and two.
    pub(crate) workers: Option<usize>,
    pub(crate) quick: bool,
    pub(crate) rounds: usize,
    /// How long a measurement takes.
    pub(crate) seconds: f64,
}

impl Options {
    /// Reads the command line. `None`: it asks for help.
    pub(crate) fn parse() -> Result<Option<Self>> {
        let (mut rows, mut workers, mut rounds, mut quick) = (Vec::new(), None, None, false);
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("only") => rows = cli::list(&mut parser, "--only", "parts of names")?,
                Long("workers") => workers = Some(cli::number(&mut parser, "--workers", 1..=2)?),
                Long("quick") => quick = true,
                Long("rounds") => rounds = Some(cli::number(&mut parser, "--rounds", 1..=1000)?),
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
        Ok(Some(Self {
            rows,
            workers,
            quick,
            rounds: rounds.unwrap_or(if quick { 3 } else { 9 }),
            seconds: if quick { 0.1 } else { 0.3 },
        }))
    }
}

pub(crate) const USAGE: &str = "\
usage: cargo bench -p wakeful-benches --bench scheduler [-- OPTIONS]

  --only NAME,NAME…    rows with such a word in their name (all)
  --workers N          with one worker, or with two (both)

  --quick              few and short rounds: below a minute
  --rounds N           interleaved rounds (9; --quick 3)";
