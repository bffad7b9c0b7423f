//! The command line of the bench.

use std::num::NonZeroUsize;
use std::time::Duration;

use lexopt::prelude::*;
use wakeful_benches::cli::{self, Result};
use wakeful_benches::contender::Contender;
use wakeful_benches::load::SIZE_MAX;

/// What the command line asks for. `None`: what the section takes by itself.
pub(crate) struct Options {
    pub(crate) sections: Vec<Section>,
    pub(crate) servers: Vec<Contender>,
    pub(crate) quick: bool,
    pub(crate) connections: Option<Vec<NonZeroUsize>>,
    pub(crate) rounds: Option<usize>,
    pub(crate) measured: Option<Duration>,
    pub(crate) size: usize,
}

/// A part of the bench, with a table of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    OneWorker,
    TwoWorkers,
    Memory,
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
            rounds: None,
            measured: None,
            size: 64,
        };
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("one-worker") => options.sections.push(Section::OneWorker),
                Long("two-workers") => options.sections.push(Section::TwoWorkers),
                Long("memory") => options.sections.push(Section::Memory),
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
                    let takes = "numbers of connections, for instance 1,64";
                    options.connections = Some(cli::list(&mut parser, "--connections", takes)?);
                }
                Long("rounds") => {
                    options.rounds = Some(cli::number(&mut parser, "--rounds", 1..=1000)?);
                }
                Long("seconds") => {
                    options.measured = Some(cli::seconds(&mut parser, "--seconds", 0.1)?)
                }
                Long("size") => options.size = cli::number(&mut parser, "--size", 1..=SIZE_MAX)?,
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
            options.sections = vec![Section::OneWorker, Section::TwoWorkers, Section::Memory];
        }
        Ok(Some(options))
    }

    /// The numbers of connections, never none: those that were asked for, or a section's own.
    pub(crate) fn connections_or(&self, own: &[usize]) -> Vec<usize> {
        match &self.connections {
            Some(asked) => asked.iter().map(|count| count.get()).collect(),
            None => own.to_vec(),
        }
    }

    /// Those of a section's servers that were asked for.
    pub(crate) fn among(&self, servers: &[Contender]) -> Vec<Contender> {
        let asked = servers
            .iter()
            .filter(|server| self.servers.contains(server));
        asked.copied().collect()
    }
}

pub(crate) const USAGE: &str = "\
usage: cargo bench -p wakeful-benches --bench echo [-- OPTIONS]

  --one-worker         one worker, server and load generator pinned to a core each
  --two-workers        two workers, nothing pinned
  --memory             bytes per idle connection
                       (without any of these: these three)
  --cpu                user CPU time per echo, one minute a side

  --quick              1 and 64 connections, short rounds: below a minute
  --servers A,B        only these: ours, ours-sleeping, tokio-current, tokio-multi, tokio-large, smol, monoio, floor, floor-polling
  --connections N,M    numbers of connections (1,8,64,512)
  --rounds N           interleaved rounds (15; --quick 7; --cpu 60)
  --seconds S          length of a measurement (0.6; --quick 0.25; --cpu 1)
  --size BYTES         size of a message (64)";
