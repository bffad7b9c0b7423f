//! How a worker goes to sleep without missing work, and how whoever publishes work wakes exactly one.
//!
//! Two protocols, both of the same form: **publish first, then read-modify-write a word; the other side read-modify-writes
//! the same word, then looks again.** One of the two comes second in the order of that word, and sees what the first did.
//!
//! # One worker: [`Parker`]
//!
//! ```text
//!             prepare_park                    notify
//!   Running ───────────────▶ Parked ──────────────────▶ Notified ─┐ (the notifier writes the eventfd)
//!      ▲ ▲                     │ unpark: the turn ended by itself  │
//!      │ └─────────────────────┘                                   │
//!      └──────────────────── unpark, or prepare_park sees it ◀─────┘
//!   Running ── notify ──▶ Notified   (no eventfd: it will look before it sleeps)
//! ```
//!
//! Only `Parked → Notified` costs a system call, and a second notification of the same sleep costs none. A worker that polls
//! for a while before it sleeps is `Running` to everybody else, and finds `Notified` between two looks at its reactor: a
//! fourth value for it would tell nobody anything.
//!
//! # All workers: [`Idle`]
//!
//! Work that any worker may take must wake one that sleeps, but not one for each task. Who publishes takes the
//! **searching** token. If it was taken, somebody has been woken for earlier work and has not reported yet: that worker
//! will look at everything before it gives the token back, and after. If it was free, the publisher passes it on to a
//! parked worker and wakes it, or, when nobody is parked, gives it back.
//!
//! The rule that makes this safe: **whoever gives the token back looks at the queues afterwards**, since a publisher may
//! have relied on it a moment before. And a worker that parks looks at them after its bit is in the set.
//!
//! Rejected: *a count of searchers* instead of one token. Several workers then wake at once after a burst, but every
//! push must weigh two numbers, and the wake-ups overlap anyway: a woken worker that finds more work than it takes
//! wakes the next before it runs the first task.

use std::sync::atomic::AtomicU64 as Statistic;

use crate::util::cache_padded::CachePadded;
use crate::util::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};

/// Whether one worker is awake.
#[derive(Debug)]
pub(crate) struct Parker(CachePadded<Notified>);

/// The word, and beside it what whoever has it writes too.
#[derive(Debug)]
struct Notified {
    word: AtomicU8,
    /// Notifications while the worker slept, and others: statistics.
    asleep_count: Statistic,
    awake_count: Statistic,
}

impl Parker {
    pub(crate) fn new() -> Self {
        Self(CachePadded(Notified {
            word: AtomicU8::new(RUNNING),
            asleep_count: Statistic::new(0),
            awake_count: Statistic::new(0),
        }))
    }

    /// The worker wants to sleep. False if it was notified since it last looked: it must look again.
    ///
    /// After true, it looks for work once more, and then waits in its reactor.
    #[must_use]
    pub(crate) fn prepare_park(&self) -> bool {
        // Acquire: sees what an earlier notifier published. Release: a later one sees what this worker took.
        match (self.0.word).compare_exchange(RUNNING, PARKED, AcqRel, Acquire) {
            Ok(_) => true,
            Err(state) => {
                debug_assert_eq!(state, NOTIFIED);
                self.unpark();
                false
            }
        }
    }

    /// The worker is awake again, for whatever reason.
    pub(crate) fn unpark(&self) {
        self.0.word.swap(RUNNING, AcqRel); // a read-modify-write, to see what the notifier published
    }

    /// Something was published for this worker. True if it sleeps: the caller must then end its reactor's wait.
    #[must_use]
    pub(crate) fn notify(&self) -> bool {
        let slept = self.0.word.swap(NOTIFIED, AcqRel) == PARKED;
        let count = match slept {
            true => &self.0.asleep_count,
            false => &self.0.awake_count,
        };
        count.fetch_add(1, Relaxed); // beside a read-modify-write of the same line that cannot be spared
        slept
    }

    pub(crate) fn is_notified(&self) -> bool {
        self.0.word.load(Relaxed) == NOTIFIED // a hint: the worker looks for certain before it sleeps
    }

    pub(crate) fn is_parked(&self) -> bool {
        self.0.word.load(Relaxed) == PARKED // a statistic, and a hint
    }

    /// How many times it was notified in its sleep, and how many times otherwise.
    pub(crate) fn notifications(&self) -> (u64, u64) {
        let Notified {
            asleep_count,
            awake_count,
            ..
        } = &*self.0;
        (asleep_count.load(Relaxed), awake_count.load(Relaxed))
    }

    /// Whether the worker sleeps. If it wakes after this look, it has seen all that the caller did before.
    pub(crate) fn is_parked_for_certain(&self) -> bool {
        self.0.word.fetch_or(0, AcqRel) == PARKED
    }
}

/// Executing tasks, or looking for some.
const RUNNING: u8 = 0;
/// Asleep in its reactor, or about to be.
const PARKED: u8 = 1;
/// Told to look again before it sleeps.
const NOTIFIED: u8 = 2;

/// Which workers sleep, and whether somebody is on the way to new work.
#[derive(Debug)]
pub(crate) struct Idle {
    searching: CachePadded<AtomicBool>,
    /// One bit per worker.
    parked: CachePadded<Box<[AtomicU64]>>,
}

impl Idle {
    pub(crate) fn new(workers_count: usize) -> Self {
        Self {
            searching: CachePadded(AtomicBool::new(false)),
            parked: CachePadded(
                (0..workers_count.div_ceil(64))
                    .map(|_| AtomicU64::new(0))
                    .collect(),
            ),
        }
    }

    /// Work has been published. Whom to wake for it, if anybody; that worker then holds the searching token.
    ///
    /// `more_work` looks at the queues.
    #[must_use]
    pub(crate) fn worker_to_wake(&self, more_work: impl Fn() -> bool) -> Option<usize> {
        loop {
            if self.searching.swap(true, AcqRel) {
                return None; // the holder looks at the queues after it gives the token back
            }
            if let Some(worker) = self.claim_parked() {
                return Some(worker);
            }
            self.stop_searching();
            // Somebody may have relied on us, and a worker may have parked that does not see what they published. So this
            // look is a read-modify-write: a worker that parks after it sees all that we have seen.
            if !self.parked.iter().any(|word| word.fetch_or(0, AcqRel) != 0) || !more_work() {
                return None;
            }
        }
    }

    /// Puts `worker` to sleep, unless there is work: `more_work` looks at the queues, `sleep` waits in the reactor.
    ///
    /// Takes and returns whether the worker holds the searching token. It must look for work before it calls this again.
    #[must_use]
    pub(crate) fn sleep(
        &self,
        worker: usize,
        parker: &Parker,
        searching: bool,
        more_work: impl FnOnce() -> bool,
        sleep: impl FnOnce(),
    ) -> bool {
        if !parker.prepare_park() {
            return searching;
        }
        self.parked[worker / 64].fetch_or(bit(worker), AcqRel);
        if searching {
            self.stop_searching();
        }
        // Work for all is published without a notification when nobody is parked, so look once more now that we are.
        // What is for this worker alone (its inbox, arrivals, the end) comes with a notification in any case.
        if !more_work() {
            sleep();
        }
        parker.unpark();
        // A publisher that has claimed the worker meanwhile has passed it the token.
        self.parked[worker / 64].fetch_and(!bit(worker), AcqRel) & bit(worker) == 0
    }

    /// Gives the token back. The caller looks at the queues afterwards.
    pub(crate) fn stop_searching(&self) {
        self.searching.swap(false, AcqRel); // a read-modify-write, to see what others published before they relied on us
    }

    /// A hint for a worker that has more than it can run at once: somebody sleeps, and nobody is on the way.
    #[inline]
    pub(crate) fn somebody_could_help(&self) -> bool {
        self.any_parked() && !self.searching.load(Relaxed)
    }

    fn any_parked(&self) -> bool {
        self.parked.iter().any(|word| word.load(Relaxed) != 0)
    }

    fn claim_parked(&self) -> Option<usize> {
        for (index, word) in self.parked.iter().enumerate() {
            let mut parked = word.load(Relaxed); // a hint: who finds nobody looks again
            while parked != 0 {
                let lowest = parked & parked.wrapping_neg();
                if word.fetch_and(!lowest, AcqRel) & lowest != 0 {
                    return Some(index * 64 + lowest.trailing_zeros() as usize);
                }
                parked &= !lowest; // it woke by itself meanwhile
            }
        }
        None
    }
}

fn bit(worker: usize) -> u64 {
    1 << (worker % 64)
}
