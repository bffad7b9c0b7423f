//! What is measured, what it must come to, and the rows that it gives.

use std::path::Path;

use wakeful_benches::cli::Result;
use wakeful_benches::results::{self, Claim};
use wakeful_benches::rounds::{Series, interleaved};
use wakeful_benches::scheduler::{Case, Peer, Plan};
use wakeful_benches::sys;
use wakeful_benches::table::Table;

use crate::options::Options;

/// A figure of ours beside those of the peers.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) workers: usize,
    /// Medians, in the unit of the name.
    pub(crate) ours: f64,
    pub(crate) peers: Vec<Compared>,
    pub(crate) bound: Option<Bound>,
}

/// What must not be exceeded.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    /// By the ratio to tokio's figure.
    Ratio(f64),
    /// By the figure.
    Figure(f64),
}

/// A figure of a peer.
#[derive(Debug)]
pub(crate) struct Compared {
    pub(crate) name: &'static str,
    pub(crate) median: f64,
    /// Ours divided by it.
    pub(crate) ratio: f64,
}

impl Row {
    /// Measures what `options` ask for with so many workers.
    pub(crate) fn measure(workers: usize, options: &Options) -> Result<Vec<Self>> {
        let cpu = *sys::allowed_cpus()?.first().ok_or("no CPU is allowed")?;
        let program = Path::new(env!("CARGO_BIN_EXE_scheduler"));
        let mut rows = Vec::new();
        for (case, lines) in CASES {
            let is_meant = |name: &str| options.rows.iter().any(|part| name.contains(&**part));
            if !case.runs_with(workers)
                || !(options.rows.is_empty() || lines.iter().any(|line| is_meant(line.name)))
            {
                continue;
            }
            let cpu = (workers == 1 && !case.has_foreign_thread()).then_some(cpu);
            let all = interleaved(options.rounds, Peer::ALL.len(), |position| {
                let plan = Plan {
                    peer: Peer::ALL[position],
                    workers,
                    case: *case,
                    seconds: options.seconds,
                };
                plan.run(program, cpu)
            })?;
            rows.extend(lines.iter().enumerate().map(|(figure, line)| Self {
                name: line.name,
                workers,
                ours: all[0].median(figure),
                peers: compare(&all, figure),
                bound: line.bound,
            }));
        }
        Ok(rows)
    }

    /// Whether the bound is kept, if there is one.
    pub(crate) fn claim(&self) -> Option<Claim> {
        let tokio = &self.peers[0];
        let (peer, figure, most) = match self.bound? {
            Bound::Ratio(most) => (
                format!("{} {:.1}", tokio.name, tokio.median),
                tokio.ratio,
                most,
            ),
            Bound::Figure(most) => (String::new(), self.ours, most),
        };
        Some(Claim {
            work: format!("{}, {}", title(self.workers), self.name),
            ours: format!("{:.1}", self.ours),
            peer,
            figure: Some(figure),
            bound: results::Bound::AtMost(most),
            excuse: String::new(),
        })
    }
}

/// What stands above the rows with so many workers.
pub(crate) fn title(workers: usize) -> &'static str {
    match workers {
        1 => "one worker",
        _ => "two workers",
    }
}

fn compare(all: &[Series], figure: usize) -> Vec<Compared> {
    let peers = Peer::ALL.iter().zip(all).skip(1);
    peers
        .map(|(peer, series)| Compared {
            name: peer.name(),
            median: series.median(figure),
            ratio: all[0].ratio(figure, series),
        })
        .collect()
}

/// The rows as they are shown.
pub(crate) fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(["", "ours", "tokio", "÷ tokio", "smol", "÷ smol"]);
    for row in rows {
        let [tokio, smol] = &row.peers[..] else {
            unreachable!("two peers")
        };
        table.row(vec![
            row.name.to_owned(),
            format!("{:.1}", row.ours),
            format!("{:.1}", tokio.median),
            format!("{:.2}", tokio.ratio),
            format!("{:.1}", smol.median),
            format!("{:.2}", smol.ratio),
        ]);
    }
    table
}

/// A figure of a case.
struct Line {
    name: &'static str,
    bound: Option<Bound>,
}

const fn line(name: &'static str, ratio: f64) -> Line {
    Line {
        name,
        bound: Some(Bound::Ratio(ratio)),
    }
}

/// Every case, with its figures in their order.
const CASES: &[(Case, &[Line])] = &[
    (
        Case::SpawnMany,
        &[line("spawn many: ns for each of 10 000", 0.5)],
    ),
    (Case::SpawnAndAwait, &[line("spawn and await: ns", 0.5)]),
    (
        Case::Chain,
        &[line("chain of spawns: ns for each link", 0.5)],
    ),
    (
        Case::PingPong,
        &[line("ping-pong: ns for each of 1 000 pairs", 0.6)],
    ),
    (
        Case::Yield,
        &[line("yield: ns for each, of 200 tasks", 0.7)],
    ),
    (
        Case::FanOut,
        &[Line {
            name: "fan-out: ns for each of 64 that compute",
            bound: None,
        }],
    ),
    (
        Case::WakeSleeping,
        &[
            line("wake of a sleeping worker: ns until it has run", 1.05),
            line("wake of a sleeping worker: ns for the call", 1.05),
        ],
    ),
    (
        Case::WakeRunning,
        &[
            line("wake of a running worker: ns until it has run", 1.0),
            line("wake of a running worker: ns for the call", 1.0),
        ],
    ),
    (
        Case::Heap,
        &[
            Line {
                name: "a task that waits: bytes of heap beyond its future",
                bound: Some(Bound::Figure(112.0)),
            },
            Line {
                name: "a task that waits: allocations",
                bound: Some(Bound::Figure(1.01)),
            },
        ],
    ),
];
