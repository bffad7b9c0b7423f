//! The command line of the bench.

use lexopt::prelude::*;
use wakeful_benches::cli::{self, Result};
use wakeful_benches::udp::{SIZE_MAX, SIZE_MIN};

/// What the command line asks for.
pub(crate) struct Options {
    pub(crate) sections: Vec<Section>,
    pub(crate) quick: bool,
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
    pub(crate) size: usize,
}

/// A part of the bench, with a table of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    Peers,
    Segments,
}

impl Options {
    /// Reads the command line. `None`: it asks for help.
    pub(crate) fn parse() -> Result<Option<Self>> {
        let (mut rounds, mut seconds) = (None, None);
        let mut options = Self {
            sections: Vec::new(),
            quick: false,
            rounds: 0,
            seconds: 0.0,
            size: 64,
        };
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("peers") => options.sections.push(Section::Peers),
                Long("segments") => options.sections.push(Section::Segments),
                Long("quick") => options.quick = true,
                Long("rounds") => rounds = Some(cli::number(&mut parser, "--rounds", 1..=1000)?),
                Long("seconds") => {
                    seconds = Some(cli::number(&mut parser, "--seconds", 0.1..=60.0)?);
                }
                Long("size") => {
                    options.size = cli::number(&mut parser, "--size", SIZE_MIN..=SIZE_MAX)?;
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
        options.rounds = rounds.unwrap_or(if options.quick { 5 } else { 15 });
        options.seconds = seconds.unwrap_or(if options.quick { 0.25 } else { 0.6 });
        if options.sections.is_empty() {
            options.sections = vec![Section::Peers, Section::Segments];
        }
        Ok(Some(options))
    }
}

pub(crate) const USAGE: &str = "\
usage: cargo bench -p wakeful-benches --bench udp [-- OPTIONS]

  --peers              from 64 peers, in batches
  --segments           from one peer, in segments of one piece
                       (without any of these: both)

  --quick              few and short rounds: below half a minute
  --rounds N           interleaved rounds (15; --quick 5)
  --seconds S          length of a measurement (0.6; --quick 0.25)
  --size BYTES         size of a datagram (64)";
