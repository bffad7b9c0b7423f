//! Tasks that sleep, and how late they wake.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use wakeful_benches::cli::Result;
use wakeful_benches::interference::{Hog, Lateness};

use crate::hog;
use crate::runtime::Runtime;

/// Has `count` tasks sleep for `seconds` beside the hog. Every sleep that has begun is waited for, so none can hide.
pub(crate) async fn run<R: Runtime>(count: usize, seconds: f64, hog: Hog) -> Result<Lateness> {
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let tasks: Vec<_> = (0..count)
        .map(|index| R::spawn(sleep_until::<R>(end, PERIODS[index % PERIODS.len()])))
        .collect();
    drop(R::spawn(hog::keep_busy::<R>(hog))); // it goes on
    let mut all = Histogram::<u64>::new_with_bounds(1, LATE_MAX_NS, 3)?;
    let mut fewest = u64::MAX;
    for task in tasks {
        let late = task.await;
        fewest = fewest.min(late.len() as u64);
        for late in late {
            all.saturating_record(late.as_nanos() as u64);
        }
    }
    Ok(Lateness {
        count: all.len(),
        fewest,
        p99_ns: all.value_at_quantile(0.99),
        max_ns: all.max(),
    })
}

/// Sleeps again and again until `end`. Returns by how much each sleep was late.
async fn sleep_until<R: Runtime>(end: Instant, period: Duration) -> Vec<Duration> {
    let mut late = Vec::new();
    loop {
        let begin = Instant::now();
        if begin >= end {
            return late;
        }
        R::sleep(period).await;
        late.push(begin.elapsed().saturating_sub(period));
    }
}

/// Primes, so that the tasks do not wake in step.
const PERIODS: [Duration; 4] = [
    Duration::from_millis(11),
    Duration::from_millis(23),
    Duration::from_millis(47),
    Duration::from_millis(97),
];
const LATE_MAX_NS: u64 = 60_000_000_000;
