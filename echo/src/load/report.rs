//! The figures: what is written as JSON, and the same as a table.
//!
//! They add up: `sent` is `echoed` and `unanswered`; the messages of the histogram are `echoed`; `bytes` is `echoed` times the
//! size. Times are in nanoseconds in the JSON, and latencies in both are exact to three digits.

use std::collections::BTreeMap;
use std::fmt;

use hdrhistogram::Histogram;
use serde::Serialize;
use wakeful::time::Instant;

use super::args::LoadArgs;
use super::histogram::{self, Row};
use super::tally::{Failures, Tally};
use crate::units;

/// All that a run has shown.
#[derive(Serialize)]
pub(super) struct Report {
    version: &'static str,
    pub(super) target: String,
    connections: u64,
    workers: u64,
    message_bytes: u64,
    /// How many messages a connection kept on their way; `null` in an open loop.
    pipeline: Option<u64>,
    /// How many messages a second were meant to be sent; `null` in a closed loop.
    rate: Option<f64>,
    /// From the start to the last echo.
    elapsed_ns: u64,
    messages: Messages,
    /// Sent and received again.
    bytes: u64,
    messages_per_second: f64,
    bytes_per_second: f64,
    pub(super) latency_ns: Latency,
    /// Finer and finer towards the end.
    pub(super) percentiles: Vec<Percentile>,
    pub(super) histogram: Vec<Row>,
    /// Connections that failed, by kind.
    errors: BTreeMap<&'static str, Failures>,
}

#[derive(Serialize)]
struct Messages {
    sent: u64,
    /// Came back, byte for byte.
    echoed: u64,
    /// Sent and not come back.
    unanswered: u64,
    /// Due, by the rate, and not sent by the end.
    unsent: u64,
}

/// From when a message was sent, or in an open loop should have been, to when all of it had come back.
#[derive(Serialize)]
pub(super) struct Latency {
    pub(super) min: u64,
    mean: f64,
    deviation: f64,
    p50: u64,
    p90: u64,
    p99: u64,
    #[serde(rename = "p99.9")]
    p99_9: u64,
    #[serde(rename = "p99.99")]
    p99_99: u64,
    pub(super) max: u64,
}

/// So many messages, which are so many percent, took not longer than this.
#[derive(Serialize)]
pub(super) struct Percentile {
    pub(super) percent: f64,
    pub(super) latency_ns: u64,
    pub(super) messages: u64,
}

impl Report {
    /// What was counted in a run that began at `start`.
    pub(super) fn of(args: &LoadArgs, tally: &Tally, start: Instant) -> Self {
        let elapsed = tally
            .last
            .map_or_else(Default::default, |last| last - start);
        let seconds = elapsed.as_secs_f64();
        let per_second = |amount: u64| match seconds {
            0.0 => 0.0,
            _ => amount as f64 / seconds,
        };
        let bytes = tally.echoed * args.size;
        Self {
            version: env!("CARGO_PKG_VERSION"),
            target: args.peer.to_string(),
            connections: args.connections,
            workers: args.workers.min(args.connections),
            message_bytes: args.size,
            pipeline: args.rate.is_none().then_some(args.pipeline),
            rate: args.rate,
            elapsed_ns: elapsed.as_nanos() as u64,
            messages: Messages {
                sent: tally.sent,
                echoed: tally.echoed,
                unanswered: tally.sent - tally.echoed,
                unsent: tally.unsent,
            },
            bytes,
            messages_per_second: per_second(tally.echoed),
            bytes_per_second: per_second(bytes),
            latency_ns: Latency::of(&tally.latencies),
            percentiles: percentiles(&tally.latencies),
            histogram: histogram::rows(&tally.latencies),
            errors: tally.failures.clone(),
        }
    }

    /// Whether every connection did what it should.
    pub(super) fn is_clean(&self) -> bool {
        self.errors.is_empty()
    }
}

impl Latency {
    fn of(latencies: &Histogram<u64>) -> Self {
        let at = |quantile| latencies.value_at_quantile(quantile);
        Self {
            min: latencies.min(),
            mean: latencies.mean(),
            deviation: latencies.stdev(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            p99_99: at(0.9999),
            max: latencies.max(),
        }
    }
}

fn percentiles(latencies: &Histogram<u64>) -> Vec<Percentile> {
    let mut messages = 0;
    latencies
        .iter_quantiles(STEPS_PER_HALF)
        .map(|step| {
            messages += step.count_since_last_iteration();
            Percentile {
                percent: step.percentile(),
                latency_ns: step.value_iterated_to(),
                messages,
            }
        })
        .collect()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Messages {
            sent,
            echoed,
            unanswered,
            unsent,
        } = self.messages;
        writeln!(
            f,
            "{} to {}, {}, messages of {}, {}\n",
            units::plural(self.connections, "connection"),
            self.target,
            units::plural(self.workers, "worker"),
            units::plural(self.message_bytes, "byte"),
            match (self.rate, self.pipeline) {
                (Some(rate), _) if rate.fract() == 0.0 =>
                    format!("{} a second", units::count(rate as u64)),
                (Some(rate), _) => format!("{rate} a second"),
                (None, depth) => format!("{} at a time", units::count(depth.unwrap_or(1))),
            }
        )?;
        writeln!(f, "  time        {}", units::time(self.elapsed_ns as f64))?;
        write!(f, "  messages    {} echoed", units::count(echoed))?;
        if unanswered > 0 {
            let (sent, unanswered) = (units::count(sent), units::count(unanswered));
            write!(f, " of {sent} sent: {unanswered} unanswered")?;
        }
        writeln!(f)?;
        if unsent > 0 {
            let verb = if unsent == 1 { "was" } else { "were" };
            writeln!(
                f,
                "              {} more {verb} due and could not be sent in time",
                units::count(unsent)
            )?;
        }
        writeln!(
            f,
            "  throughput  {} messages/s, {}/s each way",
            units::count(self.messages_per_second.round() as u64),
            units::bytes(self.bytes_per_second)
        )?;
        self.write_latency(f)?;
        self.write_errors(f)
    }
}

impl Report {
    fn write_latency(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.messages.echoed == 0 {
            return Ok(());
        }
        let latency = &self.latency_ns;
        let columns = [
            ("min", latency.min),
            ("p50", latency.p50),
            ("p90", latency.p90),
            ("p99", latency.p99),
            ("p99.9", latency.p99_9),
            ("p99.99", latency.p99_99),
            ("max", latency.max),
        ];
        let (mean, deviation) = (units::time(latency.mean), units::time(latency.deviation));
        writeln!(f, "  latency     {mean} on average, ± {deviation}\n")?;
        for (name, _) in columns {
            write!(f, "  {name:>8}")?;
        }
        writeln!(f)?;
        for (_, value) in columns {
            write!(f, "  {:>8}", units::time(value as f64))?;
        }
        writeln!(f, "\n")?;
        histogram::write(f, &self.histogram)
    }

    fn write_errors(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_clean() {
            return Ok(());
        }
        writeln!(f, "\n  errors")?;
        for (kind, failures) in &self.errors {
            let connections = units::plural(failures.connections, "connection");
            writeln!(
                f,
                "    {kind}: {connections}; the first: {}",
                failures.first
            )?;
        }
        Ok(())
    }
}

/// How many percentiles for every halving of the distance to 100 %.
const STEPS_PER_HALF: u32 = 4;
