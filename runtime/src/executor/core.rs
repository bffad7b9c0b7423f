//! The core: what a worker needs to run tasks, apart from a thread.
//!
//! It can be handed from thread to thread, so it holds nothing that belongs to one. It also keeps the time: how long ago
//! reactor and injector were visited, and how often the clock must be read to know.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use super::contention::Contention;
use super::counters::Counters;
use super::polling::{BusyPoll, Polling};
use super::queue::{CAPACITY, LocalQueue, Stealer};
use super::shared::Remote;
use super::watch::Siblings;
use crate::reactor::EVENTS_MAX;
use crate::sys::clock;
use crate::sys::epoll::EventBuffer;
use crate::task::Runnable;
use crate::util::rng::Rng;

/// What a worker needs to run tasks, and hands on when another thread is to run them.
#[derive(Debug)]
pub(crate) struct Core {
    index: usize,
    pub(super) queue: LocalQueue,
    pub(super) rng: Rng,
    /// Whether the thread's own tasks had the first go at the last poll.
    pub(super) local_was_first: Cell<bool>,
    /// How many times in a row the next task came from the next slot.
    next_streak: Cell<u8>,
    /// Polls since the last visit to reactor and injector.
    polls: Cell<u32>,
    /// The number of polls at which to read the clock again.
    look_at_polls: Cell<u32>,
    /// 1 while polls are slow, else up to [`POLLS_PER_LOOK`].
    look_every: Cell<u32>,
    visited_at: Cell<Duration>,
    /// When the clock was read that has said that a visit is due: the visit begins then, and need not read it again.
    due_at: Cell<Option<Duration>>,
    /// Until when others take its polls for slow.
    slow_until: Cell<Duration>,
    /// A single worker leaves the other CPUs to the senders.
    gives_way: bool,
    pub(super) contention: Contention,
    /// How many nanoseconds a poll takes at present, on average.
    poll_nanos: Cell<u64>,
    /// What turns of a reactor fill; kept for its memory.
    pub(super) harvest: RefCell<Harvest>,
    pub(super) siblings: Siblings,
    pub(super) polling: Polling,
}

/// What one turn of a reactor brings.
#[derive(Debug)]
pub(super) struct Harvest {
    pub(super) events: EventBuffer,
    pub(super) woken: Vec<Waker>,
}

impl Harvest {
    pub(super) fn new() -> Self {
        Self {
            events: EventBuffer::with_capacity(EVENTS_MAX),
            woken: Vec::new(),
        }
    }
}

impl Core {
    /// `seed` is the runtime's; every core of it makes choices of its own.
    pub(crate) fn new(index: usize, workers_count: usize, seed: u64, busy_poll: BusyPoll) -> Self {
        Self {
            index,
            queue: LocalQueue::new(workers_count > 1),
            // Indices are small and seeds often are, so they must not meet in the same bits.
            rng: Rng::new(seed.rotate_left(32) ^ index as u64),
            local_was_first: Cell::new(false),
            next_streak: Cell::new(0),
            polls: Cell::new(0),
            look_at_polls: Cell::new(POLLS_PER_LOOK),
            look_every: Cell::new(POLLS_PER_LOOK),
            visited_at: Cell::new(clock::now()),
            due_at: Cell::new(None),
            slow_until: Cell::new(Duration::ZERO),
            gives_way: workers_count > 1,
            contention: Contention::new(),
            poll_nanos: Cell::new(WAKE_NANOS), // until it is known, any task is worth a helper
            harvest: RefCell::new(Harvest::new()),
            siblings: Siblings::new(index, workers_count),
            polling: Polling::new(busy_poll),
        }
    }

    pub(crate) fn index(&self) -> usize {
        self.index
    }

    pub(crate) fn stealer(&self) -> Stealer {
        self.queue.stealer()
    }

    /// The next stealable task. The next slot goes first, but not for ever: two tasks that wake each other would keep all
    /// others waiting. What [waits behind the ring](Self::wait_behind_ring) there goes last.
    #[inline]
    pub(super) fn next_task(&self) -> Option<Runnable> {
        if self.queue.has_next() {
            let streak = self.next_streak.get();
            if streak < NEXT_STREAK_MAX
                && let Some(task) = self.queue.take_next()
            {
                self.next_streak.set(streak + 1);
                return Some(task);
            }
            if streak == BEHIND_RING
                && let Some(task) = self.queue.pop()
            {
                return Some(task);
            }
        }
        self.next_streak.set(0);
        self.queue.pop().or_else(|| self.queue.take_next())
    }

    /// Puts a task behind all that are in the ring, where thieves do not see it: into the next slot, unless that is taken.
    ///
    /// It is one that has yielded, and may be slow. Those that came meanwhile are for siblings to take; if one took this, the worker
    /// that is free for the quick ones would be kept, and the one that they were taken from be free.
    pub(super) fn wait_behind_ring(&self, task: Runnable) -> Result<(), Runnable> {
        self.queue.set_next(task)?;
        self.next_streak.set(BEHIND_RING);
        Ok(())
    }

    /// The task that waits there, if one does: it gets its place in the ring before others are appended that it is to go before.
    pub(super) fn end_wait_behind_ring(&self) -> Option<Runnable> {
        if self.next_streak.get() != BEHIND_RING {
            return None;
        }
        self.next_streak.set(0);
        self.queue.take_next()
    }

    /// Takes half of a sibling's ring: returns one task, and keeps the others in the own ring, which is empty.
    pub(super) fn steal(&self, remotes: &[Arc<Remote>]) -> Option<Runnable> {
        let first = self.rng.below(remotes.len());
        (first..first + remotes.len())
            .map(|at| at % remotes.len())
            .filter(|&victim| victim != self.index)
            .find_map(|victim| remotes[victim].stealer.steal_into(&self.queue))
    }

    /// Counts a poll, and says whether to look up from the tasks: every few polls, and after each while they are slow.
    #[inline]
    pub(super) fn look_is_due(&self) -> bool {
        let polls = self.polls.get() + 1;
        self.polls.set(polls);
        polls >= self.look_at_polls.get()
    }

    /// Whether reactor and injector have waited long enough for a visit: [`POLLS_MAX`] polls, or [`VISIT_INTERVAL`]. If not, says
    /// when to look again.
    #[inline]
    pub(super) fn interval_is_over(&self) -> bool {
        self.interval_is_over_by(clock::now)
    }

    #[cold]
    fn interval_is_over_by(&self, now: impl FnOnce() -> Duration) -> bool {
        let polls = self.polls.get();
        let is_over = self.visit_is_due(polls, now);
        if !is_over {
            let next = polls + self.look_every.get();
            self.look_at_polls.set(next.min(POLLS_MAX));
        }
        is_over
    }

    /// A task has yielded: whether a visit is due before it queues up again. What has happened while it ran then goes first.
    ///
    /// It looks at the clock where that is due, and where no other task waits: nobody pays for it then, and without a visit
    /// none will come. The look that is due stays so, for it is also one at the injector.
    #[inline]
    pub(super) fn visit_is_due_before_yield(&self) -> bool {
        let polls = self.polls.get() + 1;
        (polls >= self.look_at_polls.get() || self.queue.is_empty())
            && self.queue.room() > CAPACITY / 2 // else others would be pushed out by those that came later
            && self.visit_is_due(polls, clock::now)
    }

    #[cold]
    fn visit_is_due(&self, polls: u32, now: impl FnOnce() -> Duration) -> bool {
        if polls >= POLLS_MAX {
            return true;
        }
        let now = now();
        let is_due = now.saturating_sub(self.visited_at.get()) >= VISIT_INTERVAL;
        if is_due {
            self.due_at.set(Some(now));
        }
        is_due
    }

    /// The worker stops polling, to visit or to sleep; says when.
    pub(super) fn note_pause(&self, counters: &Counters) -> Duration {
        let now = self.due_at.take().unwrap_or_else(clock::now);
        let polls = self.polls.replace(0);
        if polls > 0 {
            let passed = now.saturating_sub(self.visited_at.get());
            let nanos = passed.as_nanos() as u64;
            counters.busy_nanos.add(nanos);
            self.poll_nanos
                .set((self.poll_nanos.get() * 3 + nanos / u64::from(polls)) / 4);
            self.note_stretch(polls, passed);
        }
        now
    }

    /// Settles how often the clock is read in the next stretch between two visits, after one of so many polls that took so long:
    /// at each poll if they were slow, and else half as often as in this one.
    ///
    /// Not by the last poll alone: quick ones come first after a visit, and the slow ones that stay behind would all pass before
    /// the next look. To look at each poll costs a hundredth of what a slow one takes.
    #[inline]
    fn note_stretch(&self, polls: u32, passed: Duration) {
        let slow = passed >= VISIT_INTERVAL && passed >= polls * SLOW;
        if slow {
            self.slow_until
                .set(self.visited_at.get() + passed + SLOW_FOR);
        }
        self.look_every.set(match slow {
            true => 1,
            false => (self.look_every.get() * 2).min(POLLS_PER_LOOK),
        });
    }

    /// Whether the worker should give its CPU away before it sleeps; see `Worker::give_way`.
    #[inline]
    pub(super) fn may_give_way(&self) -> bool {
        self.gives_way && self.polls.get() > 1 && !self.contention.is_known(self.visited_at.get())
    }

    /// A visit has been made; says when.
    pub(super) fn note_visit(&self) -> Duration {
        let now = clock::now();
        self.note_visit_at(now);
        now
    }

    #[inline]
    fn note_visit_at(&self, now: Duration) {
        self.visited_at.set(now);
        self.look_at_polls.set(self.look_every.get());
    }

    /// Whether its polls have been slow of late.
    #[inline]
    pub(super) fn is_slow(&self) -> bool {
        self.visited_at.get() < self.slow_until.get()
    }

    /// When the last visit was made.
    #[inline]
    pub(super) fn visited_at(&self) -> Duration {
        self.visited_at.get()
    }

    /// Whether somebody who is woken now would find work left: whether what waits takes this worker longer than waking
    /// somebody takes.
    #[inline]
    pub(super) fn is_backlogged(&self) -> bool {
        self.poll_nanos
            .get()
            .saturating_mul(self.queue.len() as u64)
            >= WAKE_NANOS
    }
}

/// A visit to reactor and injector is never farther away than so many polls, …
const POLLS_MAX: u32 = 61;

/// … nor than this, as far as the polls let us look.
const VISIT_INTERVAL: Duration = Duration::from_micros(200);

/// Polls that take longer than this on average, with a slow one among them.
const SLOW: Duration = Duration::from_micros(50);

/// So long a worker passes for slow after a slow stretch, also if the task that makes it so rests in between. Where such a task has
/// gone to another worker both do, and no source moves.
const SLOW_FOR: Duration = Duration::from_millis(30);

/// What it takes to wake a thread that sleeps, on a virtual machine.
const WAKE_NANOS: u64 = 1_000_000;

/// Reading the clock costs 20 to 30 ns, about as much as a short poll.
const POLLS_PER_LOOK: u32 = 16;

/// As many as let a request and its answer pass between two tasks.
const NEXT_STREAK_MAX: u8 = 3;

/// In place of a streak: what is in the next slot waits until the ring is empty.
const BEHIND_RING: u8 = u8::MAX;

#[cfg(all(test, not(loom)))]
mod tests {
    use std::iter;

    use super::*;

    const US: Duration = Duration::from_micros(1);

    /// Has a core run polls that take so many microseconds, again and again, with a visit wherever one is due. Says of each of the
    /// first hundred stretches after `stretches` how many polls it had, and how often the clock was read in it.
    fn visits(polls_us: &[u32], stretches: usize) -> Vec<(u32, u32)> {
        let core = Core::new(0, 1, 0, BusyPoll::Off);
        let mut now = Duration::from_secs(9);
        core.note_visit_at(now);
        let (mut polls, mut looks) = (0, 0);
        let stretch = polls_us.iter().cycle().filter_map(|&poll_us| {
            now += poll_us * US;
            polls += 1;
            let is_due = core.look_is_due()
                && core.interval_is_over_by(|| {
                    looks += 1;
                    now
                });
            is_due.then(|| {
                core.note_stretch(polls, now - core.visited_at());
                core.polls.set(0);
                core.note_visit_at(now);
                (std::mem::take(&mut polls), std::mem::take(&mut looks))
            })
        });
        let hundred = stretch.skip(stretches).take(100);
        hundred.collect()
    }

    #[test]
    fn a_look_that_is_due_stays_so_when_a_task_yields() {
        let core = Core::new(0, 1, 0, BusyPoll::Off);
        core.note_visit();
        (1..POLLS_PER_LOOK).for_each(|_| assert!(!core.look_is_due()));
        core.visit_is_due_before_yield();
        assert!(core.look_is_due());
    }

    #[test]
    fn quick_polls_cost_few_looks_at_the_clock() {
        assert!(visits(&[1], 5).iter().all(|&stretch| stretch == (61, 3)));
        assert!(visits(&[10], 5).iter().all(|&stretch| stretch == (32, 2)));
    }

    #[test]
    fn slow_polls_are_each_followed_by_a_visit() {
        assert!(visits(&[1_000], 1).iter().all(|&stretch| stretch == (1, 1)));
        assert!(visits(&[250], 1).iter().all(|&stretch| stretch == (1, 1)));
    }

    #[test]
    fn a_slow_poll_is_followed_by_one_more_at_most_whatever_goes_between_them() {
        for quick_count in 0..60 {
            let quick = iter::repeat_n(5, quick_count);
            let polls: Vec<_> = iter::once(1_000).chain(quick).collect();
            for (polls, _) in visits(&polls, 2) {
                assert!(
                    polls <= 2 * (quick_count as u32 + 1),
                    "{quick_count}: {polls}"
                );
            }
        }
    }

    #[test]
    fn a_worker_passes_for_slow_for_a_while_after_it_was() {
        let core = Core::new(0, 2, 0, BusyPoll::Off);
        let mut now = Duration::from_secs(9);
        let mut stretch = |polls, took| {
            core.note_visit_at(now);
            core.note_stretch(polls, took);
            now += took;
            core.note_visit_at(now);
            core.is_slow()
        };
        assert!(!stretch(61, 300 * US), "many quick polls");
        assert!(!stretch(1, VISIT_INTERVAL - US));
        assert!(stretch(1, 1_000 * US));
        assert!(stretch(1_000, SLOW_FOR - US), "not forgotten yet");
        assert!(!stretch(61, US));
    }

    #[test]
    fn looks_become_rare_again_when_the_slow_polls_are_over() {
        let mut polls = vec![1_000];
        polls.extend([1; 600]);
        let stretches = visits(&polls, 0);
        let after_slow = stretches.iter().skip_while(|stretch| stretch.0 > 17);
        let looks: Vec<_> = after_slow.map(|stretch| stretch.1).take(6).collect();
        assert!(
            looks.is_sorted_by(|before, after| before >= after || *before < 3),
            "{looks:?}"
        );
        assert_eq!(looks.last(), Some(&3), "{looks:?}");
    }
}
