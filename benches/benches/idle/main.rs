//! One active connection beside many idle ones: `cargo bench -p wakeful-benches --bench idle`, `-- --help` for the options.
//!
//! A server on `select` or `poll` hands the kernel all its descriptors for every message, and both look at all of them. epoll is
//! told of each once, and then of an idle connection never again.
//!
//! How to read the numbers:
//!
//! - Every server is started once for each number of idle connections, and all of these live from the first measurement to the
//!   last; the idle connections are held by processes of their own. A round measures each of them once, in rotated order.
//! - p50 is the median over the rounds of half of the echoes' latency, in µs, seen by a client that polls. *÷ alone* is the median
//!   over the rounds of the ratio to the same server without idle connections.
//! - `select` knows no descriptor from 1 024 on.

mod options;

use std::fmt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use wakeful_benches::cli::{self, Result};
use wakeful_benches::contender::{Contender, Programs};
use wakeful_benches::load::{IdleConnections, Plan};
use wakeful_benches::plot::{Axis, Line, Plot};
use wakeful_benches::process::Server;
use wakeful_benches::rescan::SELECT_MAX;
use wakeful_benches::results::{Bound, Claim, Results};
use wakeful_benches::stats::median;
use wakeful_benches::sys;
use wakeful_benches::table::{Table, grouped};

use crate::options::Options;

fn main() -> ExitCode {
    cli::finish("idle bench", run())
}

fn run() -> Result<()> {
    let Some(options) = Options::parse()? else {
        println!("{}", options::USAGE);
        return Ok(());
    };
    let programs = Programs::new(env!("CARGO_BIN_EXE_peer"), env!("CARGO_BIN_EXE_load"))?;
    programs.build_echo()?;
    let &[server_cpu, load_cpu, ..] = sys::allowed_cpus()?.as_slice() else {
        return Err("server and load generator need a CPU each, and only one is allowed".into());
    };
    let descriptors_max = sys::raise_descriptor_limit()? as usize;
    let results = Results::new("idle", options.quick)?;
    results.text(format!(
        "one worker, server on CPU {server_cpu}, load on CPU {load_cpu}"
    ));

    let mut all = Vec::new();
    for kind in Kind::ALL {
        for &idle_count in &options.idle_counts {
            if idle_count > kind.idle_max(descriptors_max) {
                continue;
            }
            let server = Server::start(&mut kind.command(&programs), Some(server_cpu))?;
            let idle = match idle_count {
                0 => None,
                count => {
                    let (load, address) = (&programs.load, server.address());
                    let opened =
                        IdleConnections::open(load, address, count, MESSAGE_BYTES, Some(load_cpu));
                    Some(opened?)
                }
            };
            all.push(Series {
                kind,
                idle_count,
                server,
                _idle: idle,
                p50_us: Vec::new(),
            });
        }
    }

    let plan = Plan {
        connections: 1,
        size: MESSAGE_BYTES,
        measured: options.measured,
        warm_up: Duration::from_millis(20),
    };
    for round in 0..options.rounds {
        for turn in 0..all.len() {
            let position = (round + turn) % all.len();
            let series = &mut all[position];
            let report = plan.run(&programs.load, &series.server, Some(load_cpu))?;
            series.p50_us.push(report.p50_ns as f64 / 1e3);
        }
    }

    let title = format!(
        "one active connection beside idle ones, p50 of its echo of {MESSAGE_BYTES} B in µs, {} rounds of {:.2} s",
        options.rounds,
        options.measured.as_secs_f64()
    );
    results.table(&title, table(&all, &options.idle_counts));
    if let Some(claim) = claim(&all) {
        results.claim(claim);
    }
    results.plot(plot(&all));
    results.write()
}

fn table(all: &[Series], idle_counts: &[usize]) -> Table {
    let mut heading = vec!["server".to_owned()];
    for &count in idle_counts {
        heading.push(format!("{} idle", grouped(count as f64)));
        if count > 0 {
            heading.push("÷ alone".to_owned());
        }
    }
    let mut table = Table::new(heading);
    for kind in Kind::ALL {
        let find = |count| {
            all.iter()
                .find(|series| series.kind == kind && series.idle_count == count)
        };
        let mut row = vec![kind.to_string()];
        for &count in idle_counts {
            let series = find(count);
            row.push(series.map_or_else(String::new, |series| format!("{:.1}", series.p50_us())));
            if count > 0 {
                let alone = find(0);
                let ratio = series.zip(alone).map(|(series, alone)| series.ratio(alone));
                row.push(ratio.map_or_else(String::new, |ratio| format!("{ratio:.3}")));
            }
        }
        table.row(row);
    }
    table
}

/// Ours beside most idle connections is as fast as alone.
fn claim(all: &[Series]) -> Option<Claim> {
    let of_ours = || {
        let is_ours = |series: &&Series| series.kind == Kind::Server(Contender::Ours);
        all.iter().filter(is_ours)
    };
    let most = of_ours().max_by_key(|series| series.idle_count)?;
    let alone = of_ours().find(|series| series.idle_count == 0)?;
    (most.idle_count > 0).then(|| Claim {
        work: format!(
            "one active connection beside {} idle, p50",
            grouped(most.idle_count as f64)
        ),
        ours: format!("{:.1} µs", most.p50_us()),
        peer: format!("alone {:.1} µs", alone.p50_us()),
        figure: Some(most.ratio(alone)),
        bound: Bound::AtMost(1.05),
        excuse: String::new(),
    })
}

/// What grows with the idle connections, and what does not.
fn plot(all: &[Series]) -> Plot {
    let line = |kind: Kind| {
        let series = all.iter().filter(|series| series.kind == kind);
        let point = |series: &Series| (series.idle_count as f64, series.p50_us());
        Line {
            name: kind.name().to_owned(),
            points: series.map(point).collect(),
        }
    };
    Plot {
        name: "latency".to_owned(),
        title: "One active connection beside idle ones".to_owned(),
        x: Axis::log("idle connections"),
        y: Axis::log("p50 of an echo, µs"),
        lines: Kind::ALL.map(line).into(),
    }
}

/// Who is compared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Server(Contender),
    Poll,
    Select,
}

impl Kind {
    const ALL: [Self; 5] = [
        Self::Server(Contender::Ours),
        Self::Server(Contender::TokioCurrent),
        Self::Server(Contender::Floor),
        Self::Poll,
        Self::Select,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Server(contender) => contender.name(),
            Self::Poll => "poll",
            Self::Select => "select",
        }
    }

    fn command(self, programs: &Programs) -> Command {
        match self {
            Self::Server(contender) => contender.command(programs, 1),
            Self::Poll | Self::Select => {
                let mut command = Command::new(Path::new(env!("CARGO_BIN_EXE_rescan")));
                command.arg(self.name());
                command
            }
        }
    }

    /// How many idle connections it can have where a process can have so many descriptors.
    fn idle_max(self, descriptors_max: usize) -> usize {
        let other = 100; // the active connection, and what a program has besides
        match self {
            Self::Select => SELECT_MAX.min(descriptors_max - other),
            Self::Server(_) | Self::Poll => descriptors_max - other,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A server with its idle connections, and what was measured round by round.
struct Series {
    kind: Kind,
    idle_count: usize,
    server: Server,
    _idle: Option<IdleConnections>,
    p50_us: Vec<f64>,
}

impl Series {
    fn p50_us(&self) -> f64 {
        median(self.p50_us.iter().copied())
    }

    fn ratio(&self, other: &Self) -> f64 {
        let rounds = self.p50_us.iter().zip(&other.p50_us);
        median(rounds.map(|(own, other)| own / other))
    }
}

const MESSAGE_BYTES: usize = 64;
