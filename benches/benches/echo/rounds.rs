//! Throughput and latency in interleaved rounds: every round goes through all works, and gives every server one turn in each, in
//! rotated order, with a fresh process each time.
//!
//! Turns are short and rounds many. A virtual machine changes its speed by half and more for seconds on end (a neighbour
//! on the other hyperthread, stolen time), so two turns compare only when they are close in time, and medians need many. And
//! two points of a line compare only when each has been measured all through the run: one work after the other would
//! draw the machine's moods as a shape of the line.

use std::hint;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use wakeful_benches::cli::Result;
use wakeful_benches::contender::Contender;
use wakeful_benches::load::Report;
use wakeful_benches::stats::median;
use wakeful_benches::sys;
use wakeful_benches::throughput::DISTURBED_FROM;

use crate::bounds::{self, Bounded};
use crate::options::Options;
use crate::plots;
use crate::series::{Cell, Series};
use crate::setup::{Cpus, Setup};
use crate::tables;
use crate::work::{SMALL, Work, works};

/// One worker a server, server and load generator on a core each.
pub(crate) fn one_worker(setup: &Setup, options: &Options) -> Result<()> {
    let comparison = Comparison {
        name: "one-worker",
        title: "one worker, pinned",
        servers: options.among(&[
            Contender::Ours,
            Contender::OursSleeping,
            Contender::TokioCurrent,
            Contender::TokioLarge,
            Contender::Smol,
            Contender::Monoio,
            Contender::Floor,
            Contender::FloorPolling,
        ]),
        references: options.among(&[Contender::TokioCurrent, Contender::Floor]),
        bounds: &bounds::ONE_WORKER,
        works: works(options, &[1, 64, 512], true),
        workers: 1,
        hogs: false,
        cpus: setup.pinned,
    };
    comparison.run(setup, options)
}

/// Two workers a server, which share two CPUs with the load generator as the kernel likes.
pub(crate) fn two_workers(setup: &Setup, options: &Options) -> Result<()> {
    let comparison = Comparison {
        name: "two-workers",
        title: "two workers, which share two CPUs with the load generator",
        bounds: &bounds::TWO_WORKERS,
        works: works(options, &[64], false),
        ..Comparison::of_two_workers(options)
    };
    comparison.run(setup, options)
}

/// The same where somebody else computes.
pub(crate) fn beside_hogs(setup: &Setup, options: &Options) -> Result<()> {
    let asked = options.connections.clone();
    let few_and_many = asked.unwrap_or_else(|| vec![8, 64]).into_iter();
    let works = few_and_many.map(|connections| {
        let size = options.size();
        (Work { connections, size }, options.rounds.unwrap_or(7))
    });
    let comparison = Comparison {
        name: "beside-hogs",
        title: "two workers, and a thread that computes on each of the two CPUs",
        works: works.collect(),
        hogs: true,
        ..Comparison::of_two_workers(options)
    };
    comparison.run(setup, options)
}

/// Servers that do the same works.
pub(crate) struct Comparison {
    /// What its plots are called.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) servers: Vec<Contender>,
    /// Those of the servers to which the others are compared.
    pub(crate) references: Vec<Contender>,
    pub(crate) bounds: &'static [Bounded],
    works: Vec<(Work, usize)>,
    workers: usize,
    /// Whether there is somebody else on the CPUs, who never rests.
    hogs: bool,
    pub(crate) cpus: Cpus,
}

impl Comparison {
    fn of_two_workers(options: &Options) -> Self {
        Self {
            name: "",
            title: "",
            servers: options.among(&[
                Contender::Ours,
                Contender::OursSleeping,
                Contender::TokioMulti,
                Contender::Smol,
                Contender::Monoio,
            ]),
            references: options.among(&[Contender::TokioMulti]),
            bounds: &[],
            works: Vec::new(),
            workers: 2,
            hogs: false,
            cpus: Cpus::SHARED,
        }
    }

    fn run(&self, setup: &Setup, options: &Options) -> Result<()> {
        if self.servers.is_empty() {
            return Ok(());
        }
        let own_ms = if options.quick { 100 } else { 200 };
        let measured = options.measured.unwrap_or(Duration::from_millis(own_ms));
        let _hogs = self.hogs.then(|| Hogs::start(setup)).transpose()?;
        let mut cells: Vec<Cell> = self.works.iter().map(|work| self.cell(*work)).collect();
        let rounds = cells.iter().map(|cell| cell.rounds).max().unwrap_or(0);
        for round in 0..rounds {
            for cell in cells.iter_mut().filter(|cell| round < cell.rounds) {
                let plan = cell.work.plan(measured);
                for turn in 0..cell.all.len() {
                    let position = (round + turn) % cell.all.len();
                    let series = &mut cell.all[position];
                    let server = setup.start(series.server, self.workers, self.cpus)?;
                    series.reports.push(setup.load(plan, &server, self.cpus)?);
                }
            }
        }

        let results = &setup.results;
        results.text(format!(
            "\n{}; each measurement takes {:.2} s",
            self.title,
            measured.as_secs_f64()
        ));
        tables::overview(results, self, &cells);
        for cell in &cells {
            tables::details(results, self, cell, options);
        }
        self.warn_of_disturbance(setup, &cells);
        bounds::judge(results, self, &cells);
        plots::draw(results, self, &cells);
        Ok(())
    }

    fn cell(&self, (work, rounds): (Work, usize)) -> Cell {
        // Its buffer, all that is different, makes no difference to a small message.
        let takes_part =
            |server: &&Contender| **server != Contender::TokioLarge || work.size > SMALL;
        let servers = self.servers.iter().filter(takes_part);
        Cell {
            work,
            rounds,
            all: servers.copied().map(Series::new).collect(),
        }
    }

    /// On a core of its own the load generator never waits, unless something that is no part of the comparison runs there.
    fn warn_of_disturbance(&self, setup: &Setup, cells: &[Cell]) {
        if self.cpus.load.is_none() {
            return;
        }
        for cell in cells {
            let reports = cell.all.iter().flat_map(|series| &series.reports);
            let disturbed = median(reports.map(Report::load_disturbed));
            if disturbed >= DISTURBED_FROM {
                setup.results.text(format!(
                    "  DISTURBED: with {}, other programs had {:.0} % of the load generator's core; measure again when they rest",
                    cell.work,
                    disturbed * 100.0
                ));
            }
        }
    }
}

/// Threads that compute, one on each CPU, until this is dropped.
struct Hogs {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Hogs {
    fn start(setup: &Setup) -> Result<Self> {
        let mut this = Self {
            stop: Arc::default(),
            threads: Vec::new(),
        };
        for cpu in [setup.pinned.server, setup.pinned.load]
            .into_iter()
            .flatten()
        {
            let stop = this.stop.clone();
            let compute = move || {
                sys::confine_thread(&[cpu]).expect("one of the allowed CPUs");
                while !stop.load(Relaxed) {
                    hint::spin_loop();
                }
            };
            this.threads.push(thread::Builder::new().spawn(compute)?);
        }
        Ok(this)
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed); // there is nothing to see but the flag
        for thread in self.threads.drain(..) {
            thread.join().expect("a hog does nothing that panics");
        }
    }
}
