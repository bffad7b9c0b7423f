//! Throughput and latency in interleaved rounds: every round gives every server one turn, in rotated order, with a fresh
//! process each time.
//!
//! Turns are short and rounds many. A virtual machine changes its speed by half and more for seconds on end (a neighbour
//! on the other hyperthread, stolen time), so two turns compare only when they are close in time, and medians need many.

use std::time::Duration;

use wakeful_benches::accounting::CpuTime;
use wakeful_benches::cli::Result;
use wakeful_benches::contender::Contender;
use wakeful_benches::load::Report;
use wakeful_benches::results::Results;
use wakeful_benches::stats::median;
use wakeful_benches::table::{Table, grouped};
use wakeful_benches::throughput::{CLIENT_BOUND_FROM, DISTURBED_FROM};

use crate::options::Options;
use crate::setup::{Cpus, Setup, plan};

/// One worker a server, server and load generator on a core each.
pub(crate) fn one_worker(setup: &Setup, options: &Options) -> Result<()> {
    let comparison = Comparison {
        title: "one worker, pinned",
        servers: options.among(&Contender::ALL),
        references: options.among(&[Contender::TokioCurrent, Contender::Floor]),
        workers: 1,
        cpus: setup.pinned,
    };
    comparison.run(setup, options)
}

/// Two workers a server, which share two or more cores with the load generator as the kernel likes.
pub(crate) fn two_workers(setup: &Setup, options: &Options) -> Result<()> {
    let comparison = Comparison {
        title: "two workers, NOT pinned: servers and load generator share the cores",
        servers: options.among(&[
            Contender::Ours,
            Contender::OursSleeping,
            Contender::TokioMulti,
        ]),
        references: options.among(&[Contender::TokioMulti]),
        workers: 2,
        cpus: Cpus::UNPINNED,
    };
    comparison.run(setup, options)
}

struct Comparison {
    title: &'static str,
    servers: Vec<Contender>,
    /// Those of the servers to which the others are compared.
    references: Vec<Contender>,
    workers: usize,
    cpus: Cpus,
}

/// What a server did, round by round.
struct Series {
    server: Contender,
    reports: Vec<Report>,
}

impl Comparison {
    fn run(&self, setup: &Setup, options: &Options) -> Result<()> {
        if self.servers.is_empty() {
            return Ok(());
        }
        let (connections, rounds, measured) = if options.quick {
            (vec![1, 64], 7, Duration::from_millis(250))
        } else {
            (vec![1, 8, 64, 512], 15, Duration::from_millis(600))
        };
        let connections = options.connections_or(&connections);
        let rounds = options.rounds.unwrap_or(rounds);
        let measured = options.measured.unwrap_or(measured);

        for connections in connections {
            let plan = plan(connections, options.size, measured);
            let mut all: Vec<Series> = self.servers.iter().copied().map(Series::new).collect();
            for round in 0..rounds {
                for turn in 0..all.len() {
                    let position = (round + turn) % all.len();
                    let series = &mut all[position];
                    let server = setup.start(series.server, self.workers, self.cpus)?;
                    series.reports.push(setup.load(plan, &server, self.cpus)?);
                }
            }
            let title = format!(
                "{}: {connections} connection(s), {} B, {rounds} rounds of {:.2} s",
                self.title,
                options.size,
                measured.as_secs_f64()
            );
            let results = &setup.results;
            results.table(&title, measurements(&all, plan.spins()));
            self.warn_of_disturbance(&all, results);
            self.show_ratios(&all, plan.spins(), results);
        }
        Ok(())
    }

    /// On a core of its own the load generator never waits, unless something that is no part of the comparison runs there.
    fn warn_of_disturbance(&self, all: &[Series], results: &Results) {
        let reports = all.iter().flat_map(|series| &series.reports);
        let disturbed = median(reports.map(Report::load_disturbed));
        if self.cpus.load.is_some() && disturbed >= DISTURBED_FROM {
            results.text(format!(
                "  DISTURBED: other programs had {:.0} % of the load generator's core; measure again when they rest",
                disturbed * 100.0
            ));
        }
    }

    fn show_ratios(&self, all: &[Series], spins: bool, results: &Results) {
        let references = all
            .iter()
            .filter(|series| self.references.contains(&series.server));
        for reference in references {
            let others = all
                .iter()
                .filter(|series| series.server != reference.server);
            let others: Vec<&Series> = others.collect();
            if !others.is_empty() {
                results.table("", ratios(&others, reference, spins));
            }
        }
        if !spins && all.iter().any(Series::is_client_bound) {
            results.text("  * client-bound: the load generator's core was ≥ 90 % busy");
        }
    }
}

fn ratios(others: &[&Series], reference: &Series, spins: bool) -> Table {
    let title = format!("÷ {}", reference.server);
    let columns = ["req/s", "p50", "p99", "user CPU", "CPU"];
    let mut table = Table::new([title.as_str()].into_iter().chain(columns));
    let (reference_user, reference_system) = reference.cpu_per_request();
    for series in others {
        let is_bound = !spins && (series.is_client_bound() || reference.is_client_bound());
        let mark = if is_bound { "*" } else { " " };
        let ratio = |value: fn(&Report) -> f64| format!("{:.3}", series.ratio(reference, value));
        let (user, system) = series.cpu_per_request();
        let cpu = (user + system) / (reference_user + reference_system);
        table.row(vec![
            series.server.to_string(),
            ratio(Report::requests_per_second) + mark,
            ratio(|report| report.p50_ns as f64),
            ratio(|report| report.p99_ns as f64),
            format!("{:.2}", user / reference_user),
            format!("{cpu:.3}"),
        ]);
    }
    table
}

fn measurements(all: &[Series], spins: bool) -> Table {
    let mut table = Table::new([
        "server",
        "req/s",
        "p50 µs",
        "p90 µs",
        "p99 µs",
        "p99.9 µs",
        "user ns/req",
        "sys ns/req",
        "server busy",
        "load busy",
    ]);
    for series in all {
        let us =
            |value: fn(&Report) -> u64| format!("{:.1}", series.median(|r| value(r) as f64) / 1e3);
        let percent = |part: f64| format!("{:.0} %", part * 100.0);
        let (user, system) = series.cpu_per_request();
        table.row(vec![
            series.server.to_string(),
            grouped(series.median(Report::requests_per_second)),
            us(|report| report.p50_ns),
            us(|report| report.p90_ns),
            us(|report| report.p99_ns),
            us(|report| report.p999_ns),
            grouped(user),
            grouped(system),
            percent(series.median(Report::server_busy)),
            if spins {
                "polls".to_owned()
            } else {
                percent(series.median(Report::load_busy))
            },
        ]);
    }
    table
}

impl Series {
    fn new(server: Contender) -> Self {
        Self {
            server,
            reports: Vec::new(),
        }
    }

    fn median(&self, value: impl Fn(&Report) -> f64) -> f64 {
        median(self.reports.iter().map(value))
    }

    fn ratio(&self, reference: &Self, value: impl Fn(&Report) -> f64) -> f64 {
        let rounds = self.reports.iter().zip(&reference.reports);
        median(rounds.map(|(own, other)| value(own) / value(other)))
    }

    /// Nanoseconds in user space and in the kernel.
    fn cpu_per_request(&self) -> (f64, f64) {
        let mut cpu = CpuTime::default();
        let mut requests = 0;
        for report in &self.reports {
            cpu += report.server_cpu;
            requests += report.requests;
        }
        cpu.per(requests)
    }

    fn is_client_bound(&self) -> bool {
        self.median(Report::load_busy) >= CLIENT_BOUND_FROM
    }
}
