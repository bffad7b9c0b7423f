//! The timers of one core: a wheel of wakers, and when its worker must look at it.
//!
//! | who | does |
//! |---|---|
//! | a future on any thread | arms, moves and takes back its timer, under the lock |
//! | the core's worker | before it sleeps: reads the next deadline and notes it in [`State::sleeps_until`], under the lock |
//! | whoever turns the core's reactor | fires what is due, if [`Timers::next`] says that something may be |
//!
//! A timer that is armed by another thread and is earlier than the worker's sleep ends that sleep. Both sides go through the
//! lock, so the worker has either seen the timer or has said until when it sleeps; and it said so when its parking word said
//! *parked*, so the notification that follows finds a sleeper. The note is not taken back when the worker wakes: whoever
//! goes by an old one notifies a worker that is awake, which costs it one more look.
//!
//! # How often a worker wakes for timers
//!
//! It wakes for each, unless there are very many: one that has woken for timers [`WAKES_MAX`] times without [`REST`] between
//! them takes that rest before it wakes for those that it knew of when it last did, which then fire together. Those that were
//! armed since are not kept waiting: a task that sleeps again and again, however shortly, or a thousand of them in step, are
//! served to the microsecond.
//!
//! Measured with ten thousand tasks that sleep 1 to 100 ms: exactly on time they take 77 % of a CPU, with the rest 16 %, on
//! tokio, which wakes once a millisecond, 18 %. Rejected: *more slack for each timer*. It would have to be a quarter of a
//! millisecond for the shortest of them too, and all would be late, also where there are few.
//!
//! # The spare timer
//!
//! A server limits one read after the other: `loop { timeout(limit, read).await }` drops a timer and arms the next in one poll. So
//! a sleep that is dropped before it is over hands its timer to the worker, which keeps one for who comes next:
//!
//! ```text
//!   armed ──(dropped on its core's thread)──▶ spare ──(another is armed there)──▶ armed
//!     │                                         │ the worker goes to look outside, to sleep, or to give its core away;
//!     │                                         │ or another comes to be the spare
//!     └──(dropped elsewhere)──────────────────▶ taken back
//! ```
//!
//! A spare is in the wheel like any other, and whoever is about to use it looks under the lock whether it still is: it may have
//! fired, by a sibling's hand too, and then is as good as none. What it was armed for is changed as far as it differs: the waker
//! is often that of the same task. A deadline of more than a second that is only a little later stays as it is: the timer would
//! go off up to 1/128 too soon, the sleep sees that and arms it again, but nearly always it is dropped long before. In virtual
//! time every deadline is exact.
//!
//! Measured with 64 connections: a time-out around a read that waits adds 60 to 80 ns, without a spare 105 to 115 (on tokio 175
//! to 190). Of these, 25 are the look at the clock. Saved are a turn of the lock, the wheel's two operations, and the counts
//! of the waker and of the [`Home`], eight read-modify-writes in all down to two. Rejected: *a wheel of the thread's own, without a
//! lock*: nobody else could fire the timers of a worker that is stuck.
//!
//! Wakers are called, and dropped, after the lock is released.

use std::mem;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use super::clock::Clock;
use super::context;
use super::shared::Home;
use super::worker::Worker;
use crate::sys::lock::Mutex;
use crate::timer::{Tick, TimerKey, Wheel};
use crate::util::sync::atomic::{AtomicU64, Ordering::Relaxed};
use crate::util::wake::wake_all;

/// The timers of one core.
#[derive(Debug)]
pub(crate) struct Timers {
    state: Mutex<State>,
    /// The rest between two wake-ups, where there are too many; none in virtual time.
    rest: u64,
    /// Not later than the next deadline; written under the lock, read without it by whoever might fire.
    next: AtomicU64,
}

#[derive(Debug)]
struct State {
    wheel: Wheel<Waker>,
    /// Until when the worker sleeps, if it does.
    sleeps_until: Tick,
    /// When the worker will have rested from its wake-ups: each adds one rest.
    rests_until: Tick,
    /// Not later than the next deadline of those that were armed since timers last fired.
    next_armed: Tick,
    closed: bool,
}

/// What became of an attempt to arm a timer.
#[must_use]
#[derive(Debug)]
enum Armed {
    /// It is in the wheel; the worker must be told if it sleeps for longer.
    Set { key: TimerKey, ends_sleep: bool },
    /// The runtime has shut down. What would have been woken is anybody's code, to be dropped elsewhere.
    Closed(Waker),
}

impl Timers {
    /// None yet, at the present time of `clock`.
    pub(super) fn new(clock: &Clock) -> Self {
        let rest = if clock.is_virtual() { 0 } else { REST };
        Self::starting_at(clock.now(), rest)
    }

    fn starting_at(now: Duration, rest: u64) -> Self {
        Self {
            rest,
            state: Mutex::new(State {
                wheel: Wheel::new(Tick::at_or_before(now)),
                sleeps_until: Tick::NEVER,
                rests_until: Tick::ZERO,
                next_armed: Tick::NEVER,
                closed: false,
            }),
            next: AtomicU64::new(Tick::NEVER.count()),
        }
    }

    /// Whether they go by a virtual clock.
    #[inline]
    fn are_virtual(&self) -> bool {
        self.rest == 0
    }

    /// How many are armed.
    pub(crate) fn len(&self) -> usize {
        self.state.lock().wheel.len()
    }

    /// Shows every timer: its moment, to the tick (`None` if it never comes), and its waker, which is not to be called.
    pub(crate) fn visit(&self, mut show: impl FnMut(Option<Duration>, &Waker)) {
        for (deadline, waker) in self.state.lock().wheel.iter() {
            show((deadline != Tick::NEVER).then(|| deadline.start()), waker);
        }
    }

    /// The worker is about to sleep, and its parking word says so: when must it be awake? Rounded up to the next tick.
    pub(crate) fn begin_sleep(&self) -> Option<Duration> {
        let mut state = self.state.lock();
        let next = state.wheel.next_deadline();
        let until = next.map(|next| next.max(state.rests_until.min(state.next_armed)));
        state.sleeps_until = until.unwrap_or(Tick::NEVER);
        until.map(Tick::start)
    }

    /// Collects the wakers of the timers that are due. The caller calls them.
    #[inline]
    pub(crate) fn fire(&self, now: Duration, woken: &mut Vec<Waker>) {
        if self.may_be_due(now) {
            self.fire_due(Tick::at_or_before(now), woken);
        }
    }

    /// Whether there is a point in [`fire`](Self::fire).
    #[inline]
    pub(super) fn may_be_due(&self, now: Duration) -> bool {
        // Relaxed: what is armed meanwhile by others notifies the worker, who then looks again.
        self.next.load(Relaxed) <= Tick::at_or_before(now).count()
    }

    #[cold]
    fn fire_due(&self, now: Tick, woken: &mut Vec<Waker>) {
        let mut state = self.state.lock();
        let mut fired = false;
        state.wheel.advance(now, &mut |_, waker| {
            woken.push(waker);
            fired = true;
        });
        if fired {
            let rested = now.minus(WAKES_MAX * self.rest);
            state.rests_until = state.rests_until.max(rested).plus(self.rest);
            state.next_armed = Tick::NEVER;
        }
        self.note_next(&state);
    }

    /// Wakes everybody: what they wait for does not come any more. Nothing can be armed from now on.
    pub(crate) fn close(&self) {
        let mut woken: Vec<_> = {
            let mut state = self.state.lock();
            state.closed = true;
            state.wheel.take_all().collect()
        };
        wake_all(&mut woken);
    }

    #[inline]
    fn arm(&self, deadline: Tick, waker: Waker) -> Armed {
        let mut state = self.state.lock();
        if state.closed {
            return Armed::Closed(waker);
        }
        let key = state.wheel.insert(deadline, waker);
        let ends_sleep = self.note_armed(&mut state, deadline);
        Armed::Set { key, ends_sleep }
    }

    /// Whether the worker must be told of `deadline`, which has just been set.
    #[inline]
    fn note_armed(&self, state: &mut State, deadline: Tick) -> bool {
        state.next_armed = state.next_armed.min(deadline);
        if deadline.count() < self.next.load(Relaxed) {
            self.next.store(deadline.count(), Relaxed); // under the lock, as every change
        }
        deadline < state.sleeps_until
    }

    fn note_next(&self, state: &State) {
        let next = state.wheel.next_deadline().unwrap_or(Tick::NEVER);
        self.next.store(next.count(), Relaxed); // under the lock, as every change
    }
}

/// A timer that is armed, or has fired; taken back when it is dropped, unless it is [retired](Self::retire) first.
#[derive(Debug)]
pub(crate) struct Timer {
    home: Arc<Home>,
    key: TimerKey,
}

impl Timer {
    /// Has `waker` woken at `deadline` or a little later (see [`Tick::with_slack`]) by the core of this thread, or by some core
    /// of its runtime. `None` if the runtime has shut down.
    ///
    /// # Panics
    ///
    /// Outside a runtime, with a sentence that names `what` needs one.
    #[inline]
    #[track_caller]
    pub(crate) fn arm(
        deadline: Duration,
        now: Duration,
        waker: &Waker,
        what: &str,
    ) -> Option<Self> {
        if let Some(spare) = context::with_worker(Worker::take_spare_timer).flatten()
            && spare.arm_anew(deadline, now, waker)
        {
            return Some(spare);
        }
        Self::arm_new(deadline, now, waker.clone(), what)
    }

    /// The same without the worker's spare, of which another waker may have to be dropped: for who holds a lock.
    ///
    /// # Panics
    ///
    /// As [`arm`](Self::arm).
    #[inline]
    #[track_caller]
    pub(crate) fn arm_new(
        deadline: Duration,
        now: Duration,
        waker: Waker,
        what: &str,
    ) -> Option<Self> {
        context::with_home(what, |home| Self::arm_on(home, deadline, now, waker)).ok()
    }

    /// Nobody waits for `timer` any more. The worker of its core, if that is this thread, keeps it for who arms the next; what
    /// is left in its place is to be dropped.
    #[inline]
    pub(crate) fn retire(timer: &mut Option<Self>) {
        context::with_worker(|worker| worker.keep_timer(timer));
    }

    /// Whether it is a timer of the core that `home` is of.
    #[inline]
    pub(super) fn is_of(&self, home: &Arc<Home>) -> bool {
        Arc::ptr_eq(&self.home, home)
    }

    /// The same by the core of `home`.
    #[inline]
    pub(super) fn arm_on(
        home: &Arc<Home>,
        deadline: Duration,
        now: Duration,
        waker: Waker,
    ) -> Result<Self, Waker> {
        match home.timers().arm(tick_of(deadline, now), waker) {
            Armed::Set { key, ends_sleep } => {
                home.tell_of_timer(ends_sleep);
                Ok(Self {
                    home: home.clone(),
                    key,
                })
            }
            Armed::Closed(waker) => Err(waker),
        }
    }

    /// Another timer on the same core.
    pub(crate) fn arm_again(
        &self,
        deadline: Duration,
        now: Duration,
        waker: Waker,
    ) -> Option<Self> {
        Self::arm_on(&self.home, deadline, now, waker).ok()
    }

    /// The runtime's clock.
    pub(crate) fn now(&self) -> Duration {
        self.home.shared.clock.now()
    }

    /// Has `waker` woken instead of the one before. `false` if the timer has fired.
    #[inline]
    pub(crate) fn set_waker(&self, waker: &Waker) -> bool {
        self.with_waker(waker, |_| ()).is_some()
    }

    /// Has `waker` woken instead of the one before, at another deadline or, as long as that takes no change, a little before it.
    /// `false` if the timer has fired.
    #[inline]
    pub(super) fn arm_anew(&self, deadline: Duration, now: Duration, waker: &Waker) -> bool {
        let (deadline, now) = (tick_of(deadline, now), Tick::at_or_before(now));
        let may_be_early = !self.home.timers().are_virtual();
        let reset = self.with_waker(waker, |state| {
            let present = state.wheel.deadline(self.key)?;
            match may_be_early && present.is_shortly_before(deadline, now) {
                true => Some(false),
                false => self.reset_in(state, deadline),
            }
        });
        self.told_of_reset(reset.flatten())
    }

    /// Gives the timer another deadline. `false` if it has fired.
    pub(crate) fn reset(&self, deadline: Duration, now: Duration) -> bool {
        let deadline = tick_of(deadline, now);
        let reset = self.reset_in(&mut self.home.timers().state.lock(), deadline);
        self.told_of_reset(reset)
    }

    /// Sees to it that the timer has this waker, and calls `then` under the same lock. `None` if the timer has fired.
    #[inline]
    fn with_waker<R>(&self, waker: &Waker, then: impl FnOnce(&mut State) -> R) -> Option<R> {
        let timers = self.home.timers();
        let mut state = timers.state.lock();
        if state.wheel.get_mut(self.key)?.will_wake(waker) {
            return Some(then(&mut state));
        }
        drop(state);
        let mut other = waker.clone(); // anybody's code, as is the drop: not under the lock
        let mut state = timers.state.lock();
        mem::swap(state.wheel.get_mut(self.key)?, &mut other);
        let result = then(&mut state);
        drop(state);
        Some(result)
    }

    /// Whether the worker must be told of the new deadline; `None` if the timer has fired.
    #[inline]
    fn reset_in(&self, state: &mut State, deadline: Tick) -> Option<bool> {
        let is_armed = state.wheel.reset(self.key, deadline);
        is_armed.then(|| self.home.timers().note_armed(state, deadline))
    }

    #[inline]
    fn told_of_reset(&self, reset: Option<bool>) -> bool {
        self.home.tell_of_timer(reset == Some(true));
        reset.is_some()
    }
}

impl Drop for Timer {
    #[inline]
    fn drop(&mut self) {
        let waker = self.home.timers().state.lock().wheel.remove(self.key);
        drop(waker);
    }
}

impl Home {
    #[inline]
    fn timers(&self) -> &Timers {
        &self.remote.timers
    }

    /// A timer of this core was armed; `ends_sleep` if its worker would otherwise sleep past it.
    #[inline]
    fn tell_of_timer(&self, ends_sleep: bool) {
        if ends_sleep && !context::holds_core(&self.shared, self.core) {
            self.shared.notify(self.core);
        }
    }
}

/// Moves the virtual time of this thread's runtime on by one step: to `target`, or to the next deadline if that comes first,
/// and fires what is due then. Whether `target` has been reached.
///
/// # Panics
///
/// Outside a runtime, and in one that goes by the system's clock.
#[track_caller]
#[inline]
pub(crate) fn advance_virtual_time(target: Duration) -> bool {
    let context = context::expect_current("`time::advance`");
    drop(context.worker().and_then(Worker::take_spare_timer)); // or it would be a step of its own
    let home = context.home();
    assert!(
        home.shared.clock.is_virtual(),
        "`time::advance` was called in a runtime that goes by the system's clock: build it with `Builder::virtual_time`"
    );
    let next = home
        .timers()
        .state
        .lock()
        .wheel
        .next_deadline()
        .map(Tick::start);
    let step = next.map_or(target, |next| next.min(target));
    home.shared.clock.advance_to(step);
    let mut woken = Vec::new();
    home.timers().fire(step, &mut woken);
    wake_all(&mut woken);
    step == target
}

fn tick_of(deadline: Duration, now: Duration) -> Tick {
    Tick::at_or_after(deadline).with_slack(Tick::at_or_before(now))
}

/// The rest of a worker that has woken too often, in ticks: a quarter of a millisecond.
const REST: u64 = 244;

/// How many times it wakes before it rests.
const WAKES_MAX: u64 = 16;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const US: Duration = Duration::from_micros(1);

    #[test]
    fn a_worker_that_has_woken_too_often_rests_before_the_next_timer() {
        let begin = Duration::from_secs(1000);
        let timers = Timers::starting_at(begin, REST);
        let arm = |us| drop(timers.arm(Tick::at_or_after(begin + US * us), Waker::noop().clone()));
        (1..1000).for_each(|number| arm(number * 10));
        let sleep = || timers.begin_sleep().unwrap();
        let wakes = |until: Duration| {
            let mut count = 0;
            while sleep() < begin + until {
                timers.fire(sleep(), &mut Vec::new());
                count += 1;
            }
            count
        };
        let at_first = wakes(US * 100);
        assert!(at_first >= 8, "each on time, but for the slack: {at_first}");
        wakes(US * 2000);
        let later = wakes(US * 4000);
        assert!((7..=9).contains(&later), "one in 250 µs: {later}");

        let rested = sleep();
        let early = rested - US * 200;
        drop(timers.arm(Tick::at_or_after(early), Waker::noop().clone()));
        assert!(sleep() - early < US * 2, "armed since then, so on time");
    }
}
