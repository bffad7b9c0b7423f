//! Looking after workers that do not come to their reactor and their queue.
//!
//! With an epoll instance per worker, the connections of a worker would wait with it while it is busy with a long poll, or
//! while the kernel has woken it and not given it a CPU. So each worker publishes a tick as it begins a task or finds none, and
//! a tick that stands still from one look to the next tells that its worker is **stuck**. Three parties look:
//!
//! * *A worker that turns its own reactor* ([`Siblings::stuck`]), at most every 250 µs: it turns the reactors of those that
//!   stand still and runs what that wakes. A sibling that sleeps stands still too, and its reactor has nothing to give:
//!   only asking it can tell.
//! * *A worker that sleeps on guard* ([`Siblings::mount_guard`]): one, as long as a sibling is awake. It sleeps 100 µs at a time, and
//!   after ten looks in vain a millisecond, and does the same; when all siblings sleep it sleeps as deeply as they.
//! * *The watch* ([`keep_watch`]), a thread that every runtime with several workers has, for when no worker is awake to look
//!   or none has noticed work that it could take. It looks every 1 to 10 ms, turns the reactors of stuck workers, fires their
//!   timers, moves what is in their queues to the injector, and wakes somebody for that, or to go on guard. It runs no task.
//!
//! What no one sees in time is a poll shorter than a period of the watch that begins while all siblings sleep, and go on sleeping. To
//! wake one for each worker that leaves its sleep would cost every message a wake-up.
//!
//! The watch also tells which task it is that keeps a worker ([`super::stall`]). For that a runtime with one worker has it too,
//! where somebody has asked to be told.
//!
//! When nothing has moved for 100 ms and everybody sleeps, the watch rests: an idle process makes no system call. The first
//! worker that leaves its sleep wakes it, once. The protocol is that of every sleep in the runtime: the watch says that it
//! rests, then read-modify-writes each parking word; a worker read-modify-writes its own as it wakes, then looks whether the
//! watch rests. One of the two comes second and sees what the other did.
//!
//! On two workers that share two CPUs with their load (64 connections), the 99th percentile was 4.0 times that of a runtime
//! with one epoll instance for all. A look per millisecond makes that some 2 times, one per 250 µs 0.9 times, and one per 125 µs
//! 0.8 times, at a loss of throughput. A guard has nothing else to do and may look sooner. Beside a task that computes and yields again
//! and again, in short runs on two CPUs, a light load of 64 connections had a 99th percentile of 0.3 to 0.5 ms with it and 1.5
//! without where that task computes for 50 ms, and of 0.6 and 4 ms for 1 ms; for 10 ms the runs disagreed (0.5 to 2.6 and 2.6 to 3.3).
//!
//! Since then such a task stays with its worker (`Core::wait_behind_ring`), and the sources leave that one (`Reactors::leaves`). Soon
//! one worker has all connections and the other the task, as it is with tokio, and what is left is where the kernel lets threads run:
//! with three threads that want two CPUs, whoever wakes on that of the computing one may wait for a time slice of it. In rounds that
//! alternated, with 1 ms of computing, the 99th percentile was 0.9 ms (0.3 to 1.5) of a bare epoll loop beside a thread that spins,
//! 1.0 (0.4 to 3.4) of ours, and 1.2 (0.4 to 22) of tokio's; the figures of a single run say little. Where the task also rests, for as
//! long, it was 0.31, 0.84 and 0.35 ms for 1, 10 and 50 ms, and tokio's 1.3, 10 and 49. For 1 ms it can still be 1 ms: a task that a timer
//! wakes lies in the ring, where siblings take it, and as long as it goes to and fro, both workers pass for slow and no source moves.
//!
//! Rejected: *a guard that looks less often although it has work of its own*: it looks in vain beside a worker that has given its
//! sources away, but then saves 20 ms of CPU time in 3 s, and sees late that a sibling begins to compute.
//! Not tried: *the stuck worker's epoll instance in the guard's own*, for as long as it is stuck. It would tell of each event at once
//! and the guard would not wake in vain, for two system calls a stall, and an order in which the instances may contain each other.

use std::cell::{Cell, RefCell};
use std::iter;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::context::{self, Context};
use super::core::Harvest;
use super::counters::Count;
use super::idle::Parker;
use super::queue::CAPACITY;
use super::shared::{Home, Remote, Shared};
use super::stall::{Look, Stalls};
use crate::reactor::EVENTS_MAX;
use crate::sys::clock;
use crate::util::cache_padded::CachePadded;
use crate::util::rng::Rng;
use crate::util::sync::OnceLock;
use crate::util::sync::atomic::{
    AtomicBool,
    Ordering::{AcqRel, Acquire, Release},
};
use crate::util::sync::thread::{self, Thread};
use crate::util::wake::wake_all;

/// What one worker knows of its siblings' progress.
#[derive(Debug)]
pub(crate) struct Siblings {
    own: usize,
    /// The ticks at the last look.
    ticks: RefCell<Vec<u64>>,
    /// Not sooner than this.
    next_look: Cell<Duration>,
    /// How many sleeps on guard have brought nothing, since the last that did.
    in_vain: Cell<u32>,
    rng: Rng,
}

impl Siblings {
    pub(crate) fn new(own: usize, workers_count: usize) -> Self {
        Self {
            own,
            ticks: RefCell::new(vec![0; workers_count]),
            next_look: Cell::new(clock::now() + LOOK_INTERVAL),
            in_vain: Cell::new(0),
            rng: Rng::new(own as u64),
        }
    }

    /// Those that have not moved since the last look, [`SIBLINGS_MAX`] of them at most; none if that was less than
    /// [`LOOK_INTERVAL`] ago, and it is no guard that asks at the end of its sleep.
    #[inline]
    pub(crate) fn stuck(&self, now: Duration, remotes: &[Arc<Remote>]) -> Vec<usize> {
        if remotes.len() == 1 || now < self.next_look.get() {
            return Vec::new();
        }
        self.next_look.set(now + LOOK_INTERVAL);
        self.look(remotes)
    }

    /// The worker is about to sleep, and its parking word says so. If a sibling is awake, and no other sleeper is on guard, it is:
    /// then for how long it may sleep before it looks whether one is stuck.
    ///
    /// What they do from here on counts for that look.
    pub(super) fn mount_guard(
        &self,
        guard: &Guard,
        remotes: &[Arc<Remote>],
        now: impl FnOnce() -> Duration,
    ) -> Option<Duration> {
        let is_awake = |(sibling, remote): (usize, &Arc<Remote>)| {
            sibling != self.own && !remote.parker.is_parked()
        };
        if !remotes.iter().enumerate().any(is_awake) || !guard.mount() {
            return None;
        }
        let (now, due) = (now(), self.next_look.get());
        let finds_nothing = self.in_vain.get() >= LOOKS_IN_VAIN;
        let vigil = if finds_nothing { VIGIL_MAX } else { VIGIL_MIN };
        let next_look = if now < due {
            due.min(now + vigil) // they are compared with what was seen before
        } else {
            for (tick, remote) in self.ticks.borrow_mut().iter_mut().zip(remotes) {
                has_moved(tick, remote);
            }
            now + vigil
        };
        self.next_look.set(next_look);
        Some(next_look.saturating_sub(now))
    }

    /// The worker has slept on guard, and there is work for it or there is not.
    pub(super) fn leave_guard(&self, guard: &Guard, has_work: bool) {
        guard.leave();
        self.in_vain.set(match has_work {
            true => 0,
            false => self.in_vain.get().saturating_add(1),
        });
    }

    #[cold]
    fn look(&self, remotes: &[Arc<Remote>]) -> Vec<usize> {
        let mut ticks = self.ticks.borrow_mut();
        let first = self.rng.below(remotes.len());
        (first..first + remotes.len())
            .map(|at| at % remotes.len())
            .filter(|&sibling| {
                let stands_still = !has_moved(&mut ticks[sibling], &remotes[sibling]);
                stands_still && sibling != self.own
            })
            .take(SIBLINGS_MAX)
            .collect()
    }
}

/// Whether a worker's tick is another than the one `seen` before; notes the present one.
fn has_moved(seen: &mut u64, remote: &Remote) -> bool {
    let tick = remote.counters.tick(); // it is compared with itself
    std::mem::replace(seen, tick) != tick
}

/// Whether a worker sleeps on guard: one is enough.
#[derive(Debug, Default)]
pub(crate) struct Guard(CachePadded<AtomicBool>);

impl Guard {
    /// False if another one is on guard.
    fn mount(&self) -> bool {
        // Relaxed: a limit, and nothing is published with it.
        !self.0.load(Relaxed) && !self.0.swap(true, Relaxed)
    }

    fn leave(&self) {
        self.0.store(false, Relaxed);
    }

    fn is_mounted(&self) -> bool {
        self.0.load(Relaxed) // a hint
    }
}

/// Whether the watch rests, and how to end that.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    rests: AtomicBool,
    /// Set as the watch begins, which is before it first rests.
    thread: OnceLock<Thread>,
    /// How many times it has helped a worker.
    sweeps: Count,
}

impl Watch {
    /// A worker has left its sleep, and read-modify-written its parking word in doing so.
    #[inline]
    pub(crate) fn worker_awake(&self) {
        // Relaxed: if the watch's look at that word came before, its `rests` was seen with it.
        if self.rests.load(Relaxed) {
            self.call();
        }
    }

    /// Ends the rest, or the wait between two looks.
    #[cold]
    pub(crate) fn call(&self) {
        self.rests.swap(false, AcqRel); // publishes what the watch is called for
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Sleeps until a worker leaves its sleep; not at all if one is awake.
    pub(crate) fn rest<'a>(&self, mut parkers: impl Iterator<Item = &'a Parker>) {
        self.rests.store(true, Release); // the look at the words below publishes it
        if parkers.all(Parker::is_parked_for_certain) {
            while self.rests.load(Acquire) {
                thread::park();
            }
        } else {
            self.rests.swap(false, AcqRel);
        }
    }

    /// How many times it has looked after a worker.
    pub(super) fn sweeps(&self) -> u64 {
        self.sweeps.get()
    }

    /// Says which thread it is that rests.
    pub(crate) fn begin(&self) {
        let _ = self.thread.get_or_init(thread::current);
    }
}

/// The life of the watch.
pub(super) fn keep_watch(shared: &Arc<Shared>, mut stalls: Stalls) {
    shared.watch.begin();
    // Wakers are called here, and one may drop the runtime: it must not wait for this thread then.
    let _entered = context::enter(Context::Finisher(Home::new(shared, 0)).into());
    let mut harvest = Harvest::new();
    let (mut period, mut quiet) = (PERIOD_MIN, Duration::ZERO);
    while !shared.is_closed() {
        thread::park_timeout(period);
        let now = clock::now();
        let (mut moved, mut stuck, mut found) = (false, false, false);
        for worker in 0..shared.workers_count() {
            match stalls.look(shared, worker, now) {
                Look::Moved => moved = true,
                Look::Asleep => {}
                Look::Stuck => {
                    stuck = true;
                    found |= help(shared, worker, &mut harvest);
                }
            }
        }
        period = match found {
            true => PERIOD_MIN,
            false => stalls.period(PERIOD_MAX.min(period * 2)),
        };
        quiet = match moved || stuck {
            true => Duration::ZERO,
            false => quiet + period,
        };
        if quiet >= QUIET_BEFORE_REST {
            shared
                .watch
                .rest(shared.remotes.iter().map(|remote| &remote.parker));
            (period, quiet) = (PERIOD_MIN, Duration::ZERO);
        }
    }
}

impl Shared {
    /// The only worker's core begins to lie in its seat: for the watch it sleeps, or else it would be stuck.
    pub(super) fn rest_while_alone(&self) {
        if self.workers_count() == 1 {
            // A notification that was for the thread so far is no concern of the next one, who looks at everything.
            while !self.remotes[0].parker.prepare_park() {}
        }
    }

    /// A thread drives the only worker's core from now on.
    pub(super) fn drive_alone(&self) {
        if self.workers_count() == 1 {
            self.remotes[0].parker.unpark();
            self.watch.worker_awake();
        }
    }
}

/// Sees to it that others run what `worker` does not come to. False where nothing waits and somebody on guard looks after it.
pub(super) fn help(shared: &Shared, worker: usize, harvest: &mut Harvest) -> bool {
    if shared.workers_count() == 1 {
        return false; // there are no others
    }
    shared.watch.sweeps.add(1);
    let Harvest { events, woken } = harvest;
    shared
        .reactors
        .get(worker)
        .turn_for_owner(events, EVENTS_MAX, woken);
    shared.remotes[worker]
        .timers
        .fire(shared.clock.now(), woken);
    let brought = !woken.is_empty();
    wake_all(woken); // from no worker's thread: into the injector and the inboxes
    let stealer = &shared.remotes[worker].stealer;
    let next = stealer.steal_next();
    let is_queued = next.is_some() || !stealer.is_empty();
    let needs_others = shared.has_work() || !shared.guard.is_mounted();
    if is_queued {
        // Siblings that always have something to run steal nothing, but they come to the injector. Not more than a ring holds:
        // its owner may have come back, and go on to fill it.
        let queued = iter::from_fn(|| stealer.steal_oldest()).take(CAPACITY);
        shared.inject(next.into_iter().chain(queued));
    } else if needs_others {
        shared.work_published(); // whoever wakes for it and finds nothing goes on guard
    }
    brought || is_queued || needs_others
}

/// A look costs a system call for each sibling that stands still.
const LOOK_INTERVAL: Duration = Duration::from_micros(250);

/// How long a guard sleeps before it looks, …
const VIGIL_MIN: Duration = Duration::from_micros(100);

/// … but when so many looks in a row …
const LOOKS_IN_VAIN: u32 = 10;

/// … have brought nothing, so long: who is awake does well, or has nothing to give. Each look costs a thread's wake-up.
const VIGIL_MAX: Duration = Duration::from_millis(1);

/// Workers fire the timers of siblings that let them wait for so long. A timer of one that sleeps is about to wake it, and a task that
/// computes whenever it is due would keep now one worker and now another.
pub(super) const LATE: Duration = Duration::from_micros(500);

/// How many siblings one look helps, so that in a large runtime at rest a worker has time for its own.
const SIBLINGS_MAX: usize = 4;

/// How long the watch waits between two looks, after one that found something for others to do …
const PERIOD_MIN: Duration = Duration::from_millis(1);

/// … and when all is well, or somebody on guard sees to it. A look of the watch costs a thread's wake-up.
const PERIOD_MAX: Duration = Duration::from_millis(10);

/// Long enough that a server with a message now and then does not wake the watch for each.
const QUIET_BEFORE_REST: Duration = Duration::from_millis(100);

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::clock::Clock;
    use super::super::core::Core;
    use super::super::polling::BusyPoll;
    use super::*;

    /// What workers see of each other, and the time that is told to worker 0.
    struct Workers {
        siblings: Siblings,
        guard: Guard,
        remotes: Vec<Arc<Remote>>,
        now: Duration,
    }

    impl Workers {
        fn new(count: usize) -> Self {
            let remote = |index| {
                let core = Core::new(index, count, 0, BusyPoll::Off);
                Arc::new(Remote::new(&core, &Clock::System, None))
            };
            Self {
                siblings: Siblings::new(0, count),
                guard: Guard::default(),
                remotes: (0..count).map(remote).collect(),
                now: clock::now() + LOOK_INTERVAL, // the first look is due
            }
        }

        fn mount(&self) -> Option<Duration> {
            self.siblings
                .mount_guard(&self.guard, &self.remotes, || self.now)
        }

        /// Sleeps on guard for as long as it may, and says who is stuck then.
        fn keep_guard(&mut self) -> Vec<usize> {
            self.now += self.mount().expect("a sibling is awake");
            let stuck = self.siblings.stuck(self.now, &self.remotes);
            self.siblings.leave_guard(&self.guard, !stuck.is_empty());
            stuck
        }
    }

    #[test]
    fn nobody_is_on_guard_where_all_others_sleep() {
        let workers = Workers::new(3);
        assert!(workers.mount().is_some());
        workers.siblings.leave_guard(&workers.guard, false);
        for sibling in &workers.remotes[1..] {
            assert!(sibling.parker.prepare_park());
        }
        assert_eq!(workers.mount(), None);
    }

    #[test]
    fn one_is_on_guard_at_a_time() {
        let workers = Workers::new(3);
        let other = Siblings::new(2, 3);
        let mount = || other.mount_guard(&workers.guard, &workers.remotes, || workers.now);
        assert!(workers.mount().is_some());
        assert_eq!(mount(), None);
        workers.siblings.leave_guard(&workers.guard, false);
        assert!(mount().is_some());
    }

    #[test]
    fn a_guard_finds_who_has_not_moved_since_it_went_to_sleep() {
        let mut workers = Workers::new(2);
        for _ in 0..3 {
            workers.remotes[1].counters.begin_poll(2); // before it sleeps
            assert_eq!(workers.keep_guard(), [1]);
            workers.now += LOOK_INTERVAL; // and is awake for a while
        }
        let slept = workers.mount().unwrap();
        workers.remotes[1].counters.begin_poll(2); // while it sleeps
        assert!(
            workers
                .siblings
                .stuck(workers.now + slept, &workers.remotes)
                .is_empty()
        );
    }

    #[test]
    fn short_sleeps_on_guard_do_not_put_off_the_look() {
        let workers = Workers::new(2);
        let begun = workers.now;
        for passed in [0, 30, 60, 90] {
            let now = begun + Duration::from_micros(passed);
            let slept = (workers.siblings).mount_guard(&workers.guard, &workers.remotes, || now);
            assert_eq!(now + slept.unwrap(), begun + VIGIL_MIN);
            workers.siblings.leave_guard(&workers.guard, true);
        }
    }

    #[test]
    fn a_guard_that_finds_nothing_sleeps_for_longer() {
        let mut workers = Workers::new(2);
        for look in 0..20 {
            workers.now += LOOK_INTERVAL;
            let vigil = workers.mount();
            let expected = if look < LOOKS_IN_VAIN {
                VIGIL_MIN
            } else {
                VIGIL_MAX
            };
            assert_eq!(vigil, Some(expected), "look {look}");
            workers.siblings.leave_guard(&workers.guard, false);
            workers.now += expected;
        }
        workers.now += LOOK_INTERVAL;
        workers.siblings.leave_guard(&workers.guard, true);
        assert_eq!(workers.mount(), Some(VIGIL_MIN));
    }
}
