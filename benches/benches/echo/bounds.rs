//! What ours has to reach, as ratios of small messages: the bounds that the project has set itself, and whether they are met.
//!
//! A ratio is the median over the rounds; in which range the middle half of the rounds had it is said beside it, since a
//! bound within that range is met or missed by the machine's mood.

use wakeful_benches::contender::Contender::{self, Floor, Monoio, Smol, TokioCurrent, TokioMulti};
use wakeful_benches::results::Bound::{self, AtLeast, AtMost};
use wakeful_benches::results::{Claim, Results};
use wakeful_benches::stats::percentile;

use crate::rounds::Comparison;
use crate::series::Figure::{self, P50, P99, Throughput};
use crate::series::{Cell, Series};
use crate::tables::text;
use crate::work::SMALL;

/// One bound.
pub(crate) struct Bounded {
    pub(crate) connections: usize,
    figure: Figure,
    ours: Contender,
    peer: Contender,
    bound: Bound,
}

impl Bounded {
    const fn new(connections: usize, figure: Figure, peer: Contender, bound: Bound) -> Self {
        Self {
            connections,
            figure,
            ours: Contender::Ours,
            peer,
            bound,
        }
    }

    const fn without_polling(self) -> Self {
        Self {
            ours: Contender::OursSleeping,
            ..self
        }
    }

    fn claim(&self, comparison: &Comparison, cell: &Cell, ours: &Series, peer: &Series) -> Claim {
        let value = |report: &_| self.figure.of(report);
        let mut ratios: Vec<f64> = ours.ratios(peer, value).collect();
        let mut quartile = |percent| percentile(&mut ratios, percent);
        let (low, high) = (quartile(25.0), quartile(75.0));
        let (figure, unit) = (self.figure, self.figure.unit());
        let of = |series: &Series| {
            let value = text(figure, series.median(value));
            format!("{} {value} {unit}", series.server)
        };
        // A client that sleeps when it has nothing to do; one that polls is always busy, and bounds nothing.
        let spins = cell.work.plan(Default::default()).spins();
        let is_bound = !spins
            && comparison.cpus.load.is_some()
            && matches!(figure, Throughput)
            && (ours.is_client_bound() || peer.is_client_bound());
        Claim {
            work: format!("{}, {}, {}", comparison.title, cell.work, figure.name()),
            ours: of(ours),
            peer: format!(
                "{} (middle half of the ratios: {low:.3} to {high:.3})",
                of(peer)
            ),
            figure: Some(ours.ratio(peer, value)),
            bound: self.bound,
            excuse: if is_bound { "client-bound" } else { "" }.to_owned(),
        }
    }
}

/// Says of each bound whether it is met, where it was measured.
pub(crate) fn judge(results: &Results, comparison: &Comparison, cells: &[Cell]) {
    for bounded in comparison.bounds {
        let is_its =
            |cell: &&Cell| cell.work.size == SMALL && cell.work.connections == bounded.connections;
        let Some(cell) = cells.iter().find(is_its) else {
            continue;
        };
        if let (Some(ours), Some(peer)) = (cell.of(bounded.ours), cell.of(bounded.peer)) {
            results.claim(bounded.claim(comparison, cell, ours, peer));
        }
    }
}

pub(crate) const ONE_WORKER: [Bounded; 11] = [
    Bounded::new(1, P50, TokioCurrent, AtMost(0.45)),
    Bounded::new(1, P50, Floor, AtMost(1.02)).without_polling(),
    Bounded::new(64, Throughput, Floor, AtLeast(0.98)),
    Bounded::new(64, Throughput, TokioCurrent, AtLeast(1.0)),
    Bounded::new(64, Throughput, Smol, AtLeast(1.0)),
    Bounded::new(64, Throughput, Monoio, AtLeast(1.0)),
    Bounded::new(64, P99, TokioCurrent, AtMost(1.0)),
    Bounded::new(512, Throughput, Floor, AtLeast(0.98)),
    Bounded::new(512, Throughput, TokioCurrent, AtLeast(1.0)),
    Bounded::new(512, Throughput, Smol, AtLeast(1.0)),
    Bounded::new(512, Throughput, Monoio, AtLeast(1.0)),
];

pub(crate) const TWO_WORKERS: [Bounded; 2] = [
    Bounded::new(64, Throughput, TokioMulti, AtLeast(1.1)),
    Bounded::new(64, P99, TokioMulti, AtMost(1.0)),
];
