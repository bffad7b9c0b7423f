//! The command line of the bench.

use std::time::Duration;

use lexopt::prelude::*;
use wakeful_benches::abuse::Abuse;
use wakeful_benches::cli::{self, Result};

/// What the command line asks for.
pub(crate) struct Options {
    pub(crate) quick: bool,
    pub(crate) abuses: Vec<Abuse>,
    /// Whether descriptors run out, too.
    pub(crate) shortage: bool,
    pub(crate) rounds: usize,
    pub(crate) measured: Duration,
    /// How long there are no descriptors.
    pub(crate) lack: Duration,
}

impl Options {
    /// Reads the command line. `None`: it asks for help.
    pub(crate) fn parse() -> Result<Option<Self>> {
        let (mut quick, mut rounds, mut measured) = (false, None, None);
        let (mut abuses, mut shortage) = (Vec::new(), false);
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("only") => abuses = cli::list(&mut parser, "--only", "names of abuses")?,
                Long("shortage") => shortage = true,
                Long("quick") => quick = true,
                Long("rounds") => rounds = Some(cli::number(&mut parser, "--rounds", 1..=1000)?),
                Long("seconds") => measured = Some(cli::seconds(&mut parser, "--seconds", 0.5)?),
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
        if abuses.is_empty() && !shortage {
            (abuses, shortage) = (Abuse::ALL.to_vec(), true);
        }
        let default = Duration::from_secs(if quick { 1 } else { 2 });
        Ok(Some(Self {
            quick,
            abuses,
            shortage,
            rounds: rounds.unwrap_or(if quick { 1 } else { 3 }),
            measured: measured.unwrap_or(default),
            lack: Duration::from_secs(if quick { 3 } else { 10 }),
        }))
    }
}

pub(crate) const USAGE: &str = "\
usage: cargo bench -p wakeful-benches --bench abuse [-- OPTIONS]

  --only A,B,…     slow-readers, one-byte, half-open, reset-storm, killed, signal-storm
  --shortage       a server whose descriptors run out
                   (without any of these: all)

  --quick          one short round: about a minute
  --rounds N       (3; --quick 1)
  --seconds S      length of a measurement (2; --quick 1)";
