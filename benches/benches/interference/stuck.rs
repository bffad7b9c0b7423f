//! A task that has its thread sleep for seconds.

use std::path::Path;
use std::time::Duration;

use wakeful_benches::cli::Result;
use wakeful_benches::interference::{Hog, Job, Lateness, Plan, Work};
use wakeful_benches::load::{self, Report};
use wakeful_benches::table::{Table, grouped};

use crate::options::Options;
use crate::{MESSAGE_BYTES, PROGRAM, Series, by_load, echo, longest_ns, ms, name, rounds, verdict};

/// Measures echoes and timers from before the worker is stuck until after it is back.
pub(crate) fn run(options: &Options) -> Result<()> {
    let hog = Hog {
        work: Work::Block,
        busy: options.stuck,
        rest: REST,
    };
    let count = options.rounds.div_ceil(3);
    echoes(hog, count)?;
    timers(hog, count)
}

fn echoes(hog: Hog, count: usize) -> Result<()> {
    let load = load::Plan {
        connections: CONNECTIONS,
        size: MESSAGE_BYTES,
        measured: cycle(hog),
        warm_up: REST / 2,
    };
    let paced = rounds(count, |runtime| echo(runtime, hog, load, Some(PACE)))?;
    let full = rounds(count, |runtime| echo(runtime, hog, load, None))?;
    println!(
        "\na thread sleeps for {} s: {CONNECTIONS} connections, {MESSAGE_BYTES} B, the worst of {count} round(s)",
        hog.busy.as_secs()
    );
    let mut table = Table::new([
        "load, server",
        "echoes/s",
        "p50 ms",
        "p99 ms",
        "longest ms",
        "fewest",
    ]);
    for (load, series) in by_load(&paced, &full) {
        let rates = series.rounds.iter().map(Report::requests_per_second);
        table.row(vec![
            format!("{load}, {}", name(series.runtime)),
            grouped(rates.fold(f64::INFINITY, f64::min)),
            series.worst_ms(|report| report.p50_ns),
            series.worst_ms(|report| report.p99_ns),
            series.worst_ms(longest_ns),
            grouped(series.least(|report| report.fewest) as f64),
        ]);
    }
    print!("{table}");
    for (load, series) in [("paced", &paced[0]), ("full", &full[0])] {
        let fewest = series.least(|report| report.fewest);
        series.bound(
            &format!("{load}: p99 of the echoes below 50 ms"),
            |report| report.p99_ns,
        );
        series.bound(&format!("{load}: longest wait below 50 ms"), longest_ns);
        let figure = format!("{fewest} echoes at least");
        verdict(
            &format!("{load}: every connection served"),
            &figure,
            fewest > 0,
        );
    }
    Ok(())
}

fn timers(hog: Hog, count: usize) -> Result<()> {
    let job = Job::Timers {
        count: SLEEPERS,
        seconds: cycle(hog).as_secs_f64(),
    };
    let all = rounds(count, |runtime| {
        Plan { runtime, job, hog }.lateness(Path::new(PROGRAM))
    })?;
    println!(
        "\na thread sleeps for {} s: {SLEEPERS} tasks that sleep, by how much they wake late, the worst of {count} round(s)",
        hog.busy.as_secs()
    );
    let mut table = Table::new(["runtime", "sleeps", "p99 ms", "longest ms", "fewest"]);
    for series in &all {
        table.row(vec![
            name(series.runtime).to_owned(),
            grouped(series.least(|lateness| lateness.count) as f64),
            series.worst_ms(|lateness| lateness.p99_ns),
            series.worst_ms(|lateness| lateness.max_ns),
            grouped(series.least(|lateness| lateness.fewest) as f64),
        ]);
    }
    print!("{table}");
    let [ours, _] = &all;
    ours.bound("none later than 50 ms", |lateness: &Lateness| {
        lateness.max_ns
    });
    Ok(())
}

/// So long a measurement has a whole stay of the thread in it, whenever it begins.
fn cycle(hog: Hog) -> Duration {
    hog.rest + hog.busy
}

impl<T> Series<T> {
    fn worst_ns(&self, value: impl Fn(&T) -> u64) -> u64 {
        self.rounds.iter().map(value).max().unwrap_or(0)
    }

    fn worst_ms(&self, value: impl Fn(&T) -> u64) -> String {
        ms(self.worst_ns(value) as f64)
    }

    fn least(&self, value: impl Fn(&T) -> u64) -> u64 {
        self.rounds.iter().map(value).min().unwrap_or(0)
    }

    /// Says whether a time is below the bound in every round.
    fn bound(&self, bound: &str, value: impl Fn(&T) -> u64) {
        let worst_ns = self.worst_ns(value);
        let figure = format!("{} ms", ms(worst_ns as f64));
        verdict(bound, &figure, worst_ns < BOUND_NS);
    }
}

const CONNECTIONS: usize = 1_000;
/// 10 000 echoes per second: far from what one worker can do.
const PACE: Duration = Duration::from_millis(100);
const SLEEPERS: usize = 1_000;
const BOUND_NS: u64 = 50_000_000;
/// Before the thread sleeps: the connections are opened meanwhile, and spread over both workers.
const REST: Duration = Duration::from_secs(1);
