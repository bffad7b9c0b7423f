//! What was measured: for each work, and each server, the reports of all rounds.

use wakeful_benches::accounting::CpuTime;
use wakeful_benches::contender::Contender;
use wakeful_benches::load::Report;
use wakeful_benches::stats::median;
use wakeful_benches::throughput::CLIENT_BOUND_FROM;

use crate::work::Work;

/// One work, done by all servers.
pub(crate) struct Cell {
    pub(crate) work: Work,
    pub(crate) rounds: usize,
    pub(crate) all: Vec<Series>,
}

impl Cell {
    pub(crate) fn of(&self, server: Contender) -> Option<&Series> {
        self.all.iter().find(|series| series.server == server)
    }
}

/// What a server did, round by round.
pub(crate) struct Series {
    pub(crate) server: Contender,
    pub(crate) reports: Vec<Report>,
}

impl Series {
    pub(crate) fn new(server: Contender) -> Self {
        Self {
            server,
            reports: Vec::new(),
        }
    }

    /// The middle of a figure over the rounds.
    pub(crate) fn median(&self, value: impl Fn(&Report) -> f64) -> f64 {
        median(self.reports.iter().map(value))
    }

    /// The middle of the ratio to another within a round.
    pub(crate) fn ratio(&self, reference: &Self, value: impl Fn(&Report) -> f64) -> f64 {
        median(self.ratios(reference, value))
    }

    /// The ratio to another in each round.
    pub(crate) fn ratios(
        &self,
        reference: &Self,
        value: impl Fn(&Report) -> f64,
    ) -> impl Iterator<Item = f64> {
        let rounds = self.reports.iter().zip(&reference.reports);
        rounds.map(move |(own, other)| value(own) / value(other))
    }

    /// Nanoseconds in user space and in the kernel.
    pub(crate) fn cpu_per_request(&self) -> (f64, f64) {
        let mut cpu = CpuTime::default();
        let mut requests = 0;
        for report in &self.reports {
            cpu += report.server_cpu;
            requests += report.requests;
        }
        cpu.per(requests)
    }

    pub(crate) fn is_client_bound(&self) -> bool {
        self.median(Report::load_busy) >= CLIENT_BOUND_FROM
    }
}

/// What is compared.
#[derive(Clone, Copy)]
pub(crate) enum Figure {
    Throughput,
    P50,
    P99,
}

impl Figure {
    pub(crate) fn of(self, report: &Report) -> f64 {
        match self {
            Self::Throughput => report.requests_per_second(),
            Self::P50 => report.p50_ns as f64 / 1e3,
            Self::P99 => report.p99_ns as f64 / 1e3,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Throughput => "throughput",
            Self::P50 => "p50",
            Self::P99 => "p99",
        }
    }

    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Throughput => "echoes/s",
            Self::P50 | Self::P99 => "µs",
        }
    }
}
