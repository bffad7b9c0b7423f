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
//! Wakers are called, and dropped, after the lock is released.

use std::mem;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use super::context;
use super::shared::Home;
use crate::timer::{Tick, TimerKey, Wheel};
use crate::util::sync::Mutex;
use crate::util::sync::atomic::{AtomicU64, Ordering::Relaxed};
use crate::util::wake::wake_all;

/// The timers of one core.
#[derive(Debug)]
pub(crate) struct Timers {
    state: Mutex<State>,
    /// Not later than the next deadline; written under the lock, read without it by whoever might fire.
    next: AtomicU64,
}

#[derive(Debug)]
struct State {
    wheel: Wheel<Waker>,
    /// Until when the worker sleeps, if it does.
    sleeps_until: Tick,
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
    /// None yet, at the time `now`.
    pub(crate) fn new(now: Duration) -> Self {
        Self {
            state: Mutex::new(State {
                wheel: Wheel::new(Tick::at_or_before(now)),
                sleeps_until: Tick::NEVER,
                closed: false,
            }),
            next: AtomicU64::new(Tick::NEVER.count()),
        }
    }

    /// How many are armed.
    pub(crate) fn len(&self) -> usize {
        self.state.lock().wheel.len()
    }

    /// The worker is about to sleep, and its parking word says so: when must it be awake? Rounded up to the next tick.
    pub(crate) fn begin_sleep(&self) -> Option<Duration> {
        let mut state = self.state.lock();
        let next = state.wheel.next_deadline();
        state.sleeps_until = next.unwrap_or(Tick::NEVER);
        next.map(Tick::start)
    }

    /// Collects the wakers of the timers that are due. The caller calls them.
    #[inline]
    pub(crate) fn fire(&self, now: Duration, woken: &mut Vec<Waker>) {
        let now = Tick::at_or_before(now);
        // Relaxed: what is armed meanwhile by others notifies the worker, who then looks again.
        if self.next.load(Relaxed) <= now.count() {
            self.fire_due(now, woken);
        }
    }

    #[cold]
    fn fire_due(&self, now: Tick, woken: &mut Vec<Waker>) {
        let mut state = self.state.lock();
        state.wheel.advance(now, &mut |_, waker| woken.push(waker));
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

    fn arm(&self, deadline: Tick, waker: Waker) -> Armed {
        let mut state = self.state.lock();
        if state.closed {
            return Armed::Closed(waker);
        }
        let key = state.wheel.insert(deadline, waker);
        let ends_sleep = self.note_earlier(&state, deadline);
        Armed::Set { key, ends_sleep }
    }

    /// Whether the worker must be told of `deadline`, which has just been set.
    fn note_earlier(&self, state: &State, deadline: Tick) -> bool {
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

/// A timer that is armed, or has fired; taken back when it is dropped.
#[derive(Debug)]
pub(crate) struct Timer {
    home: Arc<Home>,
    key: TimerKey,
}

    #[inline]
impl Timer {
    /// Has `waker` woken at `deadline` or a little later (see [`Tick::with_slack`]) by the core of this thread, or by some core
    /// of its runtime. `None` if the runtime has shut down.
    ///
    /// # Panics
    ///
    /// Outside a runtime, with a sentence that names `what` needs one.
    #[track_caller]
    pub(crate) fn arm(deadline: Duration, now: Duration, waker: Waker, what: &str) -> Option<Self> {
        context::with_home(what, |home| Self::arm_on(home, deadline, now, waker)).ok()
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
    #[inline]
    }

    /// Has `waker` woken instead of the one before. `false` if the timer has fired.
    pub(crate) fn set_waker(&self, waker: &Waker) -> bool {
        let timers = self.home.timers();
        match timers.state.lock().wheel.get_mut(self.key) {
            Some(present) if present.will_wake(waker) => return true,
            Some(_) => {}
            None => return false,
        }
        let mut other = waker.clone(); // anybody's code, as is the drop: not under the lock
        let mut state = timers.state.lock();
        let found = state
            .wheel
            .get_mut(self.key)
            .map(|present| mem::swap(present, &mut other));
        drop(state);
        found.is_some()
    }

    /// Gives the timer another deadline. `false` if it has fired.
    pub(crate) fn reset(&self, deadline: Duration, now: Duration) -> bool {
        let deadline = tick_of(deadline, now);
        let timers = self.home.timers();
        let ends_sleep = {
            let mut state = timers.state.lock();
            if !state.wheel.reset(self.key, deadline) {
                return false;
            }
            timers.note_earlier(&state, deadline)
        };
        self.home.tell_of_timer(ends_sleep);
        true
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
pub(crate) fn advance_virtual_time(target: Duration) -> bool {
    let context = context::expect_current("`time::advance`");
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
    #[inline]
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
