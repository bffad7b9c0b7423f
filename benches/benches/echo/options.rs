//! The command line of the bench.

use std::ops::RangeInclusive;
use std::time::Duration;

use lexopt::prelude::*;
use wakeful_benches::cli::{self, Result};
use wakeful_benches::contender::Contender;
use wakeful_benches::load::SIZE_MAX;

use crate::work::SMALL;

/// What the command line asks for. `None`: what the section takes by itself.
pub(crate) struct Options {
    pub(crate) sections: Vec<Section>,
    pub(crate) servers: Vec<Contender>,
    pub(crate) quick: bool,
    pub(crate) connections: Option<Vec<usize>>,
    pub(crate) sizes: Option<Vec<usize>>,
    pub(crate) rounds: Option<usize>,
    pub(crate) measured: Option<Duration>,
}

/// A part of the bench, with a table of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    OneWorker,
    TwoWorkers,
    BesideHogs,
    Sparse,
    Cpu,
}

impl Options {
    /// Reads the command line. `None`: it asks for help.
    pub(crate) fn parse() -> Result<Option<Self>> {
        let mut options = Self {
            sections: Vec::new(),
            servers: Contender::ALL.to_vec(),
            quick: false,
            connections: None,
            sizes: None,
            rounds: None,
            measured: None,
        };
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("one-worker") => options.sections.push(Section::OneWorker),
                Long("two-workers") => options.sections.push(Section::TwoWorkers),
                Long("beside-hogs") => options.sections.push(Section::BesideHogs),
                Long("sparse") => options.sections.push(Section::Sparse),
                Long("cpu") => options.sections.push(Section::Cpu),
                Long("quick") => options.quick = true,
                Long("servers") => {
                    let takes = format!(
                        "names of {}",
                        Contender::ALL.map(Contender::name).join(", ")
                    );
                    options.servers = cli::list(&mut parser, "--servers", &takes)?;
                }
                Long("connections") => {
                    let range = 1..=CONNECTIONS_MAX;
                    options.connections = Some(numbers(&mut parser, "--connections", range)?);
                }
                Long("sizes") => {
                    options.sizes = Some(numbers(&mut parser, "--sizes", 1..=SIZE_MAX)?);
                }
                Long("rounds") => {
                    options.rounds = Some(cli::number(&mut parser, "--rounds", 1..=1000)?);
                }
                Long("seconds") => {
                    options.measured = Some(cli::seconds(&mut parser, "--seconds", 0.1)?)
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
            options.sections = vec![Section::OneWorker, Section::TwoWorkers];
            if !options.quick {
                let rest = [Section::BesideHogs, Section::Sparse];
                options.sections.extend(rest);
            }
        }
        Ok(Some(options))
    }

    /// Whether the command line says what the clients do.
    pub(crate) fn names_works(&self) -> bool {
        self.connections.is_some() || self.sizes.is_some()
    }

    /// The size of messages where only one is measured.
    pub(crate) fn size(&self) -> usize {
        self.sizes.as_ref().map_or(SMALL, |sizes| sizes[0])
    }

    /// Those of a section's servers that were asked for.
    pub(crate) fn among(&self, servers: &[Contender]) -> Vec<Contender> {
        let asked = servers
            .iter()
            .filter(|server| self.servers.contains(server));
        asked.copied().collect()
    }
}

/// Numbers separated by commas, at least one.
fn numbers(
    parser: &mut lexopt::Parser,
    option: &str,
    range: RangeInclusive<usize>,
) -> Result<Vec<usize>> {
    let takes = format!(
        "numbers from {} to {}, for instance 1,64",
        range.start(),
        range.end()
    );
    let numbers: Vec<usize> = cli::list(parser, option, &takes)?;
    match numbers.iter().find(|number| !range.contains(number)) {
        None => Ok(numbers),
        Some(number) => Err(format!("{option} takes {takes}, not {number}").into()),
    }
}

/// A process that holds more needs more ports.
const CONNECTIONS_MAX: usize = 16_384;

pub(crate) const USAGE: &str = "\
usage: cargo bench -p wakeful-benches --bench echo [-- OPTIONS]

  --one-worker         one worker, server and load generator pinned to a core each
  --two-workers        two workers, which share two CPUs with the load generator
  --beside-hogs        the same, and on each CPU a thread that computes
  --sparse             CPU time at a thousand messages a second, and of an idle process
                       (without any of these: these four, in some nine minutes)
  --cpu                user CPU time per echo, one minute a side

  --quick              1, 64 and 512 connections, short rounds, the first two sections: half a minute
  --servers A,B        only these: ours, ours-sleeping, tokio-current, tokio-multi, tokio-large, smol, monoio, floor, floor-polling
  --connections N,M    numbers of connections (1,2,4,8,16,32,64,128,256,512)
  --sizes N,M          bytes of a message (64; with 1 and 64 connections also 256,1024,4096,16384,65536); where either of the two
                       is named, each number of connections (1,64) is measured with each size (64)
  --rounds N           interleaved rounds (5; 15 where there are bounds; --cpu 60)
  --seconds S          length of a measurement (0.2; --quick 0.1; --cpu 1)";
