//! A task that computes again and again.

use std::time::Duration;

use wakeful_benches::cli::Result;
use wakeful_benches::interference::{Hog, Work};
use wakeful_benches::load::{Plan, Report};
use wakeful_benches::stats::median;
use wakeful_benches::table::{Table, grouped};

use crate::options::Options;
use crate::{MESSAGE_BYTES, Series, by_load, echo, longest_ns, ms, name, rounds, verdict};

/// Compares the echoes, for every length of the computation, with and without a rest after it, under both loads.
pub(crate) fn run(options: &Options) -> Result<()> {
    for rests in [true, false] {
        for busy_ms in [1, 10, 50] {
            let busy = Duration::from_millis(busy_ms);
            let hog = Hog {
                work: Work::Compute,
                busy,
                rest: if rests { busy } else { Duration::ZERO },
            };
            let rest = if rests { "rests for as long" } else { "yields" };
            println!(
                "\na task computes for {busy_ms} ms and {rest}: {CONNECTIONS} connections, {MESSAGE_BYTES} B, {} rounds of {:.2} s",
                options.rounds,
                options.measured.as_secs_f64()
            );
            let plan = Plan {
                connections: CONNECTIONS,
                size: MESSAGE_BYTES,
                measured: options.measured,
                warm_up: options.measured / 4,
            };
            let paced = rounds(options.rounds, |runtime| {
                echo(runtime, hog, plan, Some(PACE))
            })?;
            let full = rounds(options.rounds, |runtime| echo(runtime, hog, plan, None))?;
            print!("{}", table(&paced, &full));
            let [p99, p99_full] = [&paced, &full]
                .map(|[ours, tokio]| ours.ratio(tokio, |report| report.p99_ns as f64));
            let [ours, tokio] = &full;
            let throughput = ours.ratio(tokio, Report::requests_per_second);
            verdict(
                "paced: p99 at most 0.5 × tokio's",
                &format!("{p99:.3}"),
                p99 <= 0.5,
            );
            let is_kept = throughput >= 1.0;
            verdict(
                "full: throughput at least tokio's",
                &format!("{throughput:.3}"),
                is_kept,
            );
            println!("  full: p99 {p99_full:.3} × tokio's");
        }
    }
    Ok(())
}

fn table(paced: &[Series<Report>; 2], full: &[Series<Report>; 2]) -> Table {
    let mut table = Table::new([
        "load, server",
        "echoes/s",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "longest ms",
        "fewest",
        "server busy",
        "load busy",
    ]);
    for (load, series) in by_load(paced, full) {
        let ns = |value: fn(&Report) -> u64| ms(series.median(|report| value(report) as f64));
        table.row(vec![
            format!("{load}, {}", name(series.runtime)),
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
/// 6 400 echoes per second, a tenth of what either server can do.
const PACE: Duration = Duration::from_millis(10);
