//! What a load is made of.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use wakeful::BusyPoll;

use crate::peer::Peer;
use crate::units;

/// How to load.
#[derive(Args, Clone)]
pub(crate) struct LoadArgs {
    #[command(flatten)]
    pub(super) peer: Peer,

    /// Number of connections
    #[arg(short, long, value_name = "N", default_value_t = 64, value_parser = number(1_000_000))]
    pub(super) connections: u64,

    /// Bytes of a message, as in 64, 16k or 1M
    #[arg(short, long, value_name = "BYTES", default_value = "64", value_parser = units::parse_size)]
    pub(super) size: u64,

    /// How long to send, as in 10, 500ms or 2m
    #[arg(short, long, value_name = "TIME", default_value = "10s", value_parser = units::parse_time)]
    pub(super) duration: Duration,

    /// Send this many messages, however long it takes
    #[arg(short = 'n', long, value_name = "N", conflicts_with = "duration", value_parser = number(u64::MAX))]
    pub(super) count: Option<u64>,

    /// Messages that a connection keeps on their way
    #[arg(short, long, value_name = "DEPTH", default_value_t = 1, value_parser = number(1_000_000))]
    pub(super) pipeline: u64,

    /// Send this many messages a second in all, at even distances, whatever comes back; a message's latency then counts from
    /// when it should have been sent
    #[arg(short, long, value_name = "PER_SECOND", conflicts_with = "pipeline", value_parser = parse_rate)]
    pub(super) rate: Option<f64>,

    /// Number of threads
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = number(1024))]
    pub(super) workers: u64,

    /// Whether the threads look for answers for a while before they sleep: `off`, `always`, or for at most so many microseconds
    #[arg(long, value_name = "MICROSECONDS", default_value = "50", value_parser = units::parse_busy_poll)]
    pub(super) busy_poll: BusyPoll,

    /// How long a connection waits for the server, to accept it or to answer
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = units::parse_time)]
    pub(super) timeout: Duration,

    /// Write the figures to this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,

    /// Draw the latency by percentile into this file
    #[arg(long, value_name = "FILE")]
    pub(super) svg: Option<PathBuf>,
}

/// Reads a number from 1 on.
fn number(most: u64) -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(1..=most)
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok();
    rate.filter(|rate: &f64| (1e-3..=1e9).contains(rate))
        .ok_or_else(|| {
            "a rate is a number of messages a second, from 0.001 to 1000000000".to_owned()
        })
}
