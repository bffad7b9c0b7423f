//! UDP echo against tokio's and a hand-written loop: `cargo bench -p wakeful-benches --bench udp`, `-- --help` for the options.
//!
//! How to read the numbers:
//!
//! - *Peers*: 64 sockets send small datagrams, a few at a time each. Our server takes and answers them in batches, as the floor
//!   does; tokio has one call for each.
//! - *Segments*: one peer, whose system hands over up to 64 datagrams in one piece and takes them back so. Our server and the
//!   floor pass them on in one piece; tokio's gets them one by one.
//! - Every datagram is numbered, comes back in order and is compared. One that is lost ends the bench with an error: the
//!   generator never has more on their way than a receive buffer holds.
//! - *user ns* and *sys ns* are CPU time of the server for each datagram, which the kernel samples: rough in short runs.
//! - Ratios are medians over the rounds of the ratio within a round, marked `*` as client-bound where the load generator's core
//!   was at least 90 % busy: a faster server could not have shown it.

mod options;

use std::path::Path;
use std::process::ExitCode;

use wakeful_benches::cli::{self, Result};
use wakeful_benches::contender::Contender;
use wakeful_benches::results::Results;
use wakeful_benches::sys;
use wakeful_benches::throughput::Comparison;
use wakeful_benches::udp::Plan;

use crate::options::{Options, Section};

fn main() -> ExitCode {
    cli::finish("udp bench", run())
}

fn run() -> Result<()> {
    let Some(options) = Options::parse()? else {
        println!("{}", options::USAGE);
        return Ok(());
    };
    let &[server_cpu, load_cpu, ..] = sys::allowed_cpus()?.as_slice() else {
        return Err("server and load generator need a CPU each, and only one is allowed".into());
    };
    let results = Results::new("udp", options.quick)?;
    results.text(format!(
        "one worker, server on CPU {server_cpu}, load on CPU {load_cpu}"
    ));
    for section in &options.sections {
        let plan = section.plan(&options);
        let comparison = Comparison {
            title: &format!(
                "{}: {} peer(s), {} B, at most {} datagrams on their way",
                section.name(),
                plan.peers,
                plan.size,
                plan.peers * plan.window
            ),
            unit: "datagram",
            servers: &[Contender::Ours, Contender::TokioCurrent, Contender::Floor],
            references: &[Contender::TokioCurrent, Contender::Floor],
            rounds: options.rounds,
            load_is_alone: true,
            bound: None,
            results: &results,
        };
        let program = Path::new(env!("CARGO_BIN_EXE_udp"));
        comparison.run(|server| plan.run(program, server, server_cpu, load_cpu))?;
    }
    results.write()
}

impl Section {
    fn name(self) -> &'static str {
        match self {
            Self::Peers => "batches",
            Self::Segments => "segments",
        }
    }

    fn plan(self, options: &Options) -> Plan {
        let (peers, window, burst) = match self {
            Self::Peers => (64, 4, 4),
            Self::Segments => (1, 192, 64),
        };
        Plan {
            peers,
            window,
            burst,
            segments: self == Self::Segments,
            size: options.size,
            seconds: options.seconds,
        }
    }
}
