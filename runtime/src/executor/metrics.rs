//! What a runtime tells of itself in figures.
//!
//! A snapshot is read from the workers' [counters](super::counters) while they go on: each figure is right, but two of them
//! need not be from the same moment. Counts begin at the start of the runtime and never go back.

use std::fmt;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::shared::{Remote, Shared};

/// What a runtime holds at one moment, and what it has done since it was built.
///
/// The figures are read one after the other, while the workers go on. It prints as a few lines for people.
///
/// # Examples
///
/// ```
/// let runtime = wakeful::Builder::new().workers(1).build()?;
/// runtime.block_on(async { wakeful::spawn(async {}).await.unwrap() });
/// let metrics = runtime.metrics();
/// assert_eq!(metrics.tasks, 0);
/// assert!(metrics.polls() >= 2, "of the task and of what awaits it:\n{metrics}");
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Metrics {
    /// How many workers there are.
    pub workers: usize,
    /// How many of them sleep, or rest because no thread drives them.
    pub workers_parked: usize,
    /// Tasks that have been spawned and have not completed, those that are not `Send` included.
    pub tasks: usize,
    /// Tasks that wait in the queue that all workers take from.
    pub tasks_injected: usize,
    /// Registered descriptors, for each worker's reactor.
    pub sources: Vec<usize>,
    /// Timers that are armed, on all workers.
    pub timers: usize,
    /// Events that arrived for a descriptor that was gone, since the start.
    pub stale_events: u64,
    /// Threads for blocking closures.
    pub blocking_threads: usize,
    /// Threads for blocking closures that the system has refused, since the start.
    pub blocking_threads_refused: u64,
    /// Blocking closures that run or wait for a thread.
    pub blocking_closures: usize,
    /// Those of them that wait for a thread.
    pub blocking_queue: usize,
    /// How many times the watch has looked after a worker that did not come to its reactor, since the start.
    pub watch_sweeps: u64,
    /// What each worker has done, by its number.
    pub each_worker: Vec<WorkerMetrics>,
}

/// What one worker has done since the runtime was built.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorkerMetrics {
    /// Polls of tasks and main futures that have begun.
    pub polls: u64,
    /// The time outside of its reactor's wait, up to its last visit there.
    pub busy: Duration,
    /// How many times it went to sleep.
    pub parks: u64,
    /// How many times it was notified and slept: each is a write to an eventfd, and the wake-up of a thread.
    pub notifications_sent: u64,
    /// How many times it was notified and was awake, or had been notified already.
    pub notifications_coalesced: u64,
    /// How many times it had run out of work and looked whether a sibling had some.
    pub steals_tried: u64,
    /// How many times it then found some.
    pub steals_made: u64,
    /// Tasks that it has taken from the queue that all workers take from.
    pub injected: u64,
    /// How many times it asked its reactor for events.
    pub turns: u64,
    /// Events that it got there.
    pub events: u64,
    /// How many times it did so for a sibling that did not come to its own reactor.
    pub sweeps: u64,
    /// How many times it did not come back from a poll for longer than the threshold of [`Builder::on_stall`], or for 100 ms
    /// where that was not called. Not counted with one worker, unless it was called.
    ///
    /// [`Builder::on_stall`]: crate::Builder::on_stall
    pub stalls: u64,
    /// How long polls of tasks took; a sample of one in 64.
    pub poll_times: Histogram,
    /// How long tasks waited from the moment when they were queued, by a wake or by a spawn, to their poll; of the same sample.
    pub waits: Histogram,
}

impl Metrics {
    /// Polls of tasks and main futures on all workers.
    #[inline]
    pub fn polls(&self) -> u64 {
        self.each_worker.iter().map(|worker| worker.polls).sum()
    }

    /// How long polls took, on all workers; a sample of one in 64.
    #[inline]
    pub fn poll_times(&self) -> Histogram {
        sum(self.each_worker.iter().map(|worker| &worker.poll_times))
    }

    /// How long tasks waited in a queue before a poll, on all workers; a sample of one in 64.
    #[inline]
    pub fn waits(&self) -> Histogram {
        sum(self.each_worker.iter().map(|worker| &worker.waits))
    }

    #[inline]
    pub(super) fn of(shared: &Shared) -> Self {
        let remotes = || shared.remotes.iter();
        let reactors = || shared.reactors.iter();
        let local_tasks = shared.local_tasks_count.load(Relaxed);
        Self {
            workers: shared.workers_count(),
            workers_parked: remotes().filter(|remote| remote.parker.is_parked()).count(),
            tasks: remotes().map(|remote| remote.registry.len()).sum::<usize>() + local_tasks,
            tasks_injected: shared.injector.len(),
            sources: reactors()
                .map(|reactor| reactor.sources_count() as usize)
                .collect(),
            timers: remotes().map(|remote| remote.timers.len()).sum(),
            stale_events: reactors().map(|reactor| reactor.stale_events_count()).sum(),
            blocking_threads: shared.blocking.threads_count(),
            blocking_threads_refused: shared.blocking.refused_count(),
            blocking_closures: shared.blocking.outstanding(),
            blocking_queue: shared.blocking.queued(),
            watch_sweeps: shared.watch.sweeps(),
            each_worker: remotes().map(|remote| WorkerMetrics::of(remote)).collect(),
        }
    }
}

impl WorkerMetrics {
    #[inline]
    fn of(remote: &Remote) -> Self {
        let counters = &remote.counters;
        let (notifications_sent, notifications_coalesced) = remote.parker.notifications();
        Self {
            polls: counters.polls(),
            busy: Duration::from_nanos(counters.busy_nanos.get()),
            parks: counters.parks.get(),
            notifications_sent,
            notifications_coalesced,
            steals_tried: counters.steals_tried.get(),
            steals_made: counters.steals_made.get(),
            injected: counters.injected.get(),
            turns: counters.turns.get(),
            events: counters.events.get(),
            sweeps: counters.sweeps.get(),
            stalls: remote.stalls.get(),
            poll_times: counters.poll_times.snapshot(),
            waits: counters.waits.snapshot(),
        }
    }
}

impl fmt::Display for Metrics {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} tasks, {} of them in the common queue; {} sources, {} timers; {} stale events",
            self.tasks,
            self.tasks_injected,
            self.sources.iter().sum::<usize>(),
            self.timers,
            self.stale_events
        )?;
        writeln!(
            f,
            "blocking: {} threads ({} refused), {} closures, {} of them in the queue",
            self.blocking_threads,
            self.blocking_threads_refused,
            self.blocking_closures,
            self.blocking_queue
        )?;
        writeln!(
            f,
            "{} workers, {} of them asleep; {} sweeps by the watch",
            self.workers, self.workers_parked, self.watch_sweeps
        )?;
        for (number, worker) in self.each_worker.iter().enumerate() {
            writeln!(f, "worker {number}: {worker}")?;
        }
        writeln!(f, "polls took {}", self.poll_times())?;
        write!(f, "tasks waited {}", self.waits())
    }
}

impl fmt::Display for WorkerMetrics {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} polls, busy for {:.1?}; {} events in {} turns; {} parks; notified {} times asleep and {} awake; \
             {} of {} steals; {} tasks injected; {} sweeps; {} stalls",
            self.polls,
            self.busy,
            self.events,
            self.turns,
            self.parks,
            self.notifications_sent,
            self.notifications_coalesced,
            self.steals_made,
            self.steals_tried,
            self.injected,
            self.sweeps,
            self.stalls
        )
    }
}

/// How often something took how long, in buckets that each reach twice as far as the one before.
///
/// Bucket 0 is for what took no time at all, bucket `n` for what took less than 2ⁿ nanoseconds, the last for everything longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; BUCKETS_COUNT],
    sum: Duration,
}

impl Histogram {
    pub(super) fn new(counts: [u64; BUCKETS_COUNT], sum: Duration) -> Self {
        Self { counts, sum }
    }

    pub(super) fn bucket_of(time: Duration) -> usize {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        ((u64::BITS - nanos.leading_zeros()) as usize).min(BUCKETS_COUNT - 1)
    }

    /// How many there were.
    #[inline]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How long all of them took together.
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// The buckets: the time that those in it took less than (`None` in the last, which has no such bound), and how many there
    /// are.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<Duration>, u64)> + '_ {
        (self.counts.iter().enumerate()).map(|(bucket, &count)| (bound(bucket), count))
    }

    /// A time that at least this part of all were shorter than, from 0 to 1: the bound of a bucket, so up to twice as long as it
    /// had to be. `None` if there were none at all.
    ///
    /// For what is in the last bucket, which has no bound, it is the lower one.
    #[inline]
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = ((part.clamp(0.0, 1.0) * count as f64).ceil() as u64).max(1);
        let mut seen = 0;
        let bucket = self.counts.iter().position(|bucket| {
            seen += bucket;
            seen >= rank
        });
        let bucket = bucket.unwrap_or(BUCKETS_COUNT - 1);
        bound(bucket).or(bound(bucket - 1))
    }
}

/// Such as `1000 samples: half in 4.1 µs, 99 % in 32.8 µs, all in 65.5 µs`.
impl fmt::Display for Histogram {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} samples", self.count())?;
        let quantile = |part| self.quantile(part);
        if let (Some(half), Some(most), Some(all)) = (quantile(0.5), quantile(0.99), quantile(1.0))
        {
            write!(
                f,
                ": half in {half:.1?}, 99 % in {most:.1?}, all in {all:.1?}"
            )?;
        }
        Ok(())
    }
}

fn sum<'a>(histograms: impl Iterator<Item = &'a Histogram>) -> Histogram {
    let nothing = Histogram::new([0; BUCKETS_COUNT], Duration::ZERO);
    histograms.fold(nothing, |mut sum, histogram| {
        for (sum, count) in sum.counts.iter_mut().zip(histogram.counts) {
            *sum += count;
        }
        sum.sum = sum.sum.saturating_add(histogram.sum);
        sum
    })
}

/// What the times in a bucket are shorter than.
fn bound(bucket: usize) -> Option<Duration> {
    (bucket < BUCKETS_COUNT - 1).then(|| Duration::from_nanos(1 << bucket))
}

/// The last bound is 2³⁸ nanoseconds, some 275 seconds.
pub(super) const BUCKETS_COUNT: usize = 40;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn histogram(times: impl IntoIterator<Item = Duration>) -> Histogram {
        let mut histogram = Histogram::new([0; BUCKETS_COUNT], Duration::ZERO);
        for time in times {
            histogram.counts[Histogram::bucket_of(time)] += 1;
            histogram.sum += time;
        }
        histogram
    }

    #[test]
    fn every_time_is_in_the_bucket_with_the_first_bound_above_it() {
        for nanos in [
            0,
            1,
            2,
            3,
            4,
            1000,
            1023,
            1024,
            (1 << 38) - 1,
            1 << 38,
            u64::MAX,
        ] {
            let time = Duration::from_nanos(nanos);
            let expected = (0..BUCKETS_COUNT)
                .find(|&bucket| bound(bucket).is_none_or(|bound| time < bound))
                .unwrap();
            assert_eq!(Histogram::bucket_of(time), expected, "{time:?}");
        }
    }

    #[test]
    fn a_quantile_is_a_bound_that_so_many_are_below() {
        let times = histogram((1..=1000).map(Duration::from_micros));
        assert_eq!(times.count(), 1000);
        assert_eq!(times.quantile(0.5), Some(Duration::from_nanos(1 << 19)));
        assert_eq!(times.quantile(1.0), Some(Duration::from_nanos(1 << 20)));
        assert_eq!(times.quantile(0.0), Some(Duration::from_nanos(1 << 10)));
        assert_eq!(histogram([]).quantile(0.5), None);
        let long = histogram([Duration::MAX / 2]);
        assert_eq!(long.quantile(0.5), Some(Duration::from_nanos(1 << 38)));
    }
}
