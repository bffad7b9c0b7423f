//! The command line of the bench.

use lexopt::prelude::*;
use wakeful_benches::cli::{self, Result};

use crate::sections::Section;

/// What the command line asks for.
pub(crate) struct Options {
    pub(crate) sections: Vec<Section>,
    pub(crate) quick: bool,
    /// `None`: what is usual for a run of this kind.
    pub(crate) rounds: Option<usize>,
}

impl Options {
    /// Reads the command line. `None`: it asks for help.
    pub(crate) fn parse() -> Result<Option<Self>> {
        let mut options = Self {
            sections: Vec::new(),
            quick: false,
            rounds: None,
        };
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("late") => options.sections.push(Section::Late),
                Long("staggered") => options.sections.push(Section::Staggered),
                Long("arm") => options.sections.push(Section::ArmAndDrop),
                Long("timeout") => options.sections.push(Section::LimitedReads),
                Long("reset") => options.sections.push(Section::PutOff),
                Long("quick") => options.quick = true,
                Long("rounds") => {
                    options.rounds = Some(cli::number(&mut parser, "--rounds", 1..=1000)?);
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
        if options.sections.is_empty() {
            options.sections = Section::ALL.to_vec();
        }
        Ok(Some(options))
    }
}

pub(crate) const USAGE: &str = "\
usage: cargo bench -p wakeful-benches --bench timers [-- OPTIONS]

  --late               by how much sleeps of 50 µs to 2 ms are late
  --staggered          CPU time of 10 000 tasks that sleep 1 to 100 ms, again and again
  --arm                a timer that is armed and dropped, from one thread and from two
  --timeout            what a time-out adds to a read that has to wait
  --reset              an idle deadline that is moved later
                       (without any of these: all)

  --quick              few and short rounds: below a minute
  --rounds N           interleaved rounds (9; --quick 3)";
