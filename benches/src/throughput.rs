//! How much of something was done in one measurement, what that took, and the table that compares servers by it.
//!
//! The `udp` and `churn` benches count one thing each, datagrams or connections, and compare who does more of it.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::accounting::{CpuTime, own_wait_ns};
use crate::cli::Result;
use crate::contender::Contender;
use crate::results::{Bound, Claim, Results};
use crate::stats::median;
use crate::sys;
use crate::table::{Table, grouped};

/// What a load generator did, as it prints it: one line of JSON.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Tally {
    /// How many were done.
    pub count: u64,
    /// In what time.
    pub elapsed_ns: u64,
    /// What the generator itself used.
    pub load_cpu: CpuTime,
    /// How long the generator waited for its core because something else ran there.
    pub load_waited_ns: u64,
    /// What the server used; zero where its process was not named.
    pub server_cpu: CpuTime,
}

impl Tally {
    /// What `work` takes, which says how many it has done.
    pub fn of(server_pid: Option<u32>, work: impl FnOnce() -> Result<u64>) -> Result<Self> {
        let server_cpu = || server_pid.map_or(Ok(CpuTime::default()), CpuTime::of_process);
        let server = server_cpu()?;
        let (load, waited) = (sys::own_cpu_time()?, own_wait_ns());
        let begin = Instant::now();
        let count = work()?;
        Ok(Self {
            count,
            elapsed_ns: begin.elapsed().as_nanos() as u64,
            load_cpu: sys::own_cpu_time()? - load,
            load_waited_ns: own_wait_ns() - waited,
            server_cpu: server_cpu()? - server,
        })
    }

    fn per_second(&self) -> f64 {
        self.count as f64 * 1e9 / self.elapsed_ns as f64
    }

    /// The part of the time that `ns` is.
    fn part(&self, ns: u64) -> f64 {
        ns as f64 / self.elapsed_ns as f64
    }
}

/// Servers that do the same, and to which of them the others are compared.
#[derive(Debug)]
pub struct Comparison<'a> {
    /// What stands above the table.
    pub title: &'a str,
    /// What is counted: one of them.
    pub unit: &'a str,
    /// Who is compared.
    pub servers: &'a [Contender],
    /// With whom.
    pub references: &'a [Contender],
    /// How many interleaved rounds there are.
    pub rounds: usize,
    /// Whether the generator has a CPU of its own, and sleeps on it when it has nothing to do.
    pub load_is_alone: bool,
    /// Ours is to do at least so many times what this one does.
    pub bound: Option<(Contender, f64)>,
    /// Where it is said.
    pub results: &'a Results,
}

impl Comparison<'_> {
    /// Gives every server a turn in every round, in rotated order, and shows the table.
    pub fn run(&self, mut measure: impl FnMut(Contender) -> Result<Tally>) -> Result<()> {
        let mut all: Vec<Series> = self.servers.iter().copied().map(Series::new).collect();
        for round in 0..self.rounds {
            for turn in 0..all.len() {
                let position = (round + turn) % all.len();
                let series = &mut all[position];
                series.tallies.push(measure(series.server)?);
            }
        }
        let title = format!("{}, {} rounds", self.title, self.rounds);
        self.results.table(&title, self.table(&all));
        if !all.is_empty() {
            self.remarks(&all);
        }
        let of = |server| all.iter().find(|series| series.server == server);
        if let Some((peer, least)) = self.bound
            && let Some((ours, theirs)) = of(Contender::Ours).zip(of(peer))
        {
            self.results.claim(self.claim(ours, theirs, least));
        }
        Ok(())
    }

    fn table(&self, all: &[Series]) -> Table {
        let references: Vec<&Series> = all
            .iter()
            .filter(|series| self.references.contains(&series.server))
            .collect();
        let mut heading = vec![
            "server".to_owned(),
            format!("{}s/s", self.unit),
            "user ns".to_owned(),
            "sys ns".to_owned(),
            "server busy".to_owned(),
            "load busy".to_owned(),
        ];
        heading.extend(
            references
                .iter()
                .map(|series| format!("÷ {}", series.server)),
        );
        let mut table = Table::new(heading);
        for series in all {
            let (user, system) = series.cpu_each();
            let percent = |part: f64| format!("{:.0} %", part * 100.0);
            let mut row = vec![
                series.server.to_string(),
                grouped(series.median(Tally::per_second)),
                grouped(user),
                grouped(system),
                percent(series.median(|tally| tally.part(tally.server_cpu.total_ns()))),
                percent(series.load_busy()),
            ];
            row.extend(references.iter().map(|reference| {
                let mark = match self.is_bound(series, reference) {
                    true => "*",
                    false => " ",
                };
                format!("{:.3}{mark}", series.ratio(reference))
            }));
            table.row(row);
        }
        table
    }

    fn claim(&self, ours: &Series, theirs: &Series, least: f64) -> Claim {
        let per_second = |series: &Series| grouped(series.median(Tally::per_second));
        Claim {
            work: format!("{}s/s: {}", self.unit, self.title),
            ours: per_second(ours),
            peer: format!("{} {}", theirs.server, per_second(theirs)),
            figure: Some(ours.ratio(theirs)),
            bound: Bound::AtLeast(least),
            excuse: match self.is_bound(ours, theirs) {
                true => "client-bound".to_owned(),
                false => String::new(),
            },
        }
    }

    /// Whether the generator was the limit of one of them, so that their ratio says little.
    fn is_bound(&self, one: &Series, other: &Series) -> bool {
        self.load_is_alone && (one.is_bound() || other.is_bound())
    }

    fn remarks(&self, all: &[Series]) {
        if !self.load_is_alone {
            return;
        }
        if all.iter().any(Series::is_bound) {
            self.results
                .text("  * client-bound: the load generator's core was ≥ 90 % busy");
        }
        let tallies = all.iter().flat_map(|series| &series.tallies);
        let disturbed = median(tallies.map(|tally| tally.part(tally.load_waited_ns)));
        if disturbed >= DISTURBED_FROM {
            self.results.text(format!(
                "  DISTURBED: other programs had {:.0} % of the load generator's core; measure again when they rest",
                disturbed * 100.0
            ));
        }
    }
}

/// What a server did, round by round.
struct Series {
    server: Contender,
    tallies: Vec<Tally>,
}

impl Series {
    fn new(server: Contender) -> Self {
        Self {
            server,
            tallies: Vec::new(),
        }
    }

    fn median(&self, value: impl Fn(&Tally) -> f64) -> f64 {
        median(self.tallies.iter().map(value))
    }

    /// How much more it does than another.
    fn ratio(&self, reference: &Self) -> f64 {
        let rounds = self.tallies.iter().zip(&reference.tallies);
        median(rounds.map(|(own, other)| own.per_second() / other.per_second()))
    }

    /// Nanoseconds in user space and in the kernel.
    fn cpu_each(&self) -> (f64, f64) {
        let mut cpu = CpuTime::default();
        for tally in &self.tallies {
            cpu += tally.server_cpu;
        }
        cpu.per(self.tallies.iter().map(|tally| tally.count).sum())
    }

    fn load_busy(&self) -> f64 {
        self.median(|tally| tally.part(tally.load_cpu.total_ns()))
    }

    fn is_bound(&self) -> bool {
        self.load_busy() >= CLIENT_BOUND_FROM
    }
}

/// A generator whose core is as busy as this could not have done more.
pub const CLIENT_BOUND_FROM: f64 = 0.9;
/// Something else that takes as much of the generator's core falsifies the figures.
pub const DISTURBED_FROM: f64 = 0.03;
