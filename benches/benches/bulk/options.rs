//! The command line of the bench.

use lexopt::prelude::*;
use wakeful_benches::cli::{self, Result};

/// What the command line asks for.
pub(crate) struct Options {
    pub(crate) echo: bool,
    pub(crate) proxy: bool,
    pub(crate) quick: bool,
    pub(crate) rounds: usize,
    /// How many in a measurement.
    pub(crate) bytes: u64,
}

impl Options {
    /// Reads the command line. `None`: it asks for help.
    pub(crate) fn parse() -> Result<Option<Self>> {
        let (mut echo, mut proxy, mut quick) = (false, false, false);
        let (mut rounds, mut megabytes) = (None, None);
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("echo") => echo = true,
                Long("proxy") => proxy = true,
                Long("quick") => quick = true,
                Long("rounds") => rounds = Some(cli::number(&mut parser, "--rounds", 1..=1000)?),
                Long("megabytes") => {
                    megabytes = Some(cli::number(&mut parser, "--megabytes", 8..=1_000_000)?);
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
        let all = !echo && !proxy;
        let (usual_rounds, usual_megabytes) = if quick { (7, 200) } else { (9, 2_000) };
        Ok(Some(Self {
            echo: echo || all,
            proxy: proxy || all,
            quick,
            rounds: rounds.unwrap_or(usual_rounds),
            bytes: megabytes.unwrap_or(usual_megabytes) * 1_000_000,
        }))
    }
}

pub(crate) const USAGE: &str = "\
usage: cargo bench -p wakeful-benches --bench bulk [-- OPTIONS]

  --echo           only the echo servers
  --proxy          only the proxies
  --quick          less data: below a minute
  --rounds N       interleaved rounds (9; --quick 7)
  --megabytes N    in a measurement (2000; --quick 200)";
