//! A task that computes again and again.

use std::time::Duration;

use wakeful_benches::cli::Result;
use wakeful_benches::interference::{Hog, Work};
use wakeful_benches::load::{Plan, Report};
use wakeful_benches::stats::median;
use wakeful_benches::table::{Table, grouped};

use crate::options::Options;
use crate::{MESSAGE_BYTES, Series, echo, longest_ns, ms, name, rounds, verdict};

/// Compares the echoes, for every length of the computation, with and without a rest after it.
pub(crate) fn run(options: &Options) -> Result<()> {
    for rests in [true, false] {
        for busy_ms in [1, 10, 50] {
            let busy = Duration::from_millis(busy_ms);
            let hog = Hog {
                work: Work::Compute,
                busy,
                rest: if rests { busy } else { Duration::ZERO },
            };
            let load = Plan {
                connections: CONNECTIONS,
                size: MESSAGE_BYTES,
                measured: options.measured,
                warm_up: options.measured / 4,
            };
            let all = rounds(options.rounds, |runtime| echo(runtime, hog, load))?;
            let rest = if rests { "rests for as long" } else { "yields" };
            println!(
                "\na task computes for {busy_ms} ms and {rest}: {CONNECTIONS} connections, {MESSAGE_BYTES} B, {} rounds of {:.2} s",
                options.rounds,
                options.measured.as_secs_f64()
            );
            print!("{}", table(&all));
            let [ours, tokio] = &all;
            let p99 = ours.ratio(tokio, |report| report.p99_ns as f64);
            let throughput = ours.ratio(tokio, Report::requests_per_second);
            verdict(
                "p99 at most 0.5 × tokio's",
                &format!("{p99:.3}"),
                p99 <= 0.5,
            );
            let is_kept = throughput >= 1.0;
            verdict(
                "throughput at least tokio's",
                &format!("{throughput:.3}"),
                is_kept,
            );
        }
    }
    Ok(())
}

fn table(all: &[Series<Report>; 2]) -> Table {
    let mut table = Table::new([
        "server",
        "echoes/s",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "longest ms",
        "fewest",
        "server busy",
        "load busy",
    ]);
    for series in all {
        let ns = |value: fn(&Report) -> u64| ms(series.median(|report| value(report) as f64));
        table.row(vec![
            name(series.runtime).to_owned(),
            grouped(series.median(Report::requests_per_second)),
            ns(|report| report.p50_ns),
            ns(|report| report.p99_ns),
            ns(|report| report.p999_ns),
            ns(longest_ns),
            grouped(series.median(|report| report.fewest as f64)),
            format!("{:.2}", series.median(Report::server_busy)),
            format!("{:.2}", series.median(Report::load_busy)),
        ]);
    }
    table
}

impl Series<Report> {
    fn median(&self, value: impl Fn(&Report) -> f64) -> f64 {
        median(self.rounds.iter().map(value))
    }

    fn ratio(&self, other: &Self, value: impl Fn(&Report) -> f64) -> f64 {
        let rounds = self.rounds.iter().zip(&other.rounds);
        median(rounds.map(|(own, other)| value(own) / value(other)))
    }
}

const CONNECTIONS: usize = 64;
