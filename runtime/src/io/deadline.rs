//! How long operations on a descriptor may wait: one moment per direction, set once or anew for each message.
//!
//! The moment is a word. A timer is armed when somebody first has to wait, and stays armed from one operation to the next. A
//! moment that is put off leaves it where it is; when it fires too soon, it is armed again for the moment that holds then.
//! So to put a deadline off with each message costs one write to a word, to wait costs two loads, and there is a timer operation
//! per duration.
//!
//! | who | does, in this order |
//! |---|---|
//! | a task that waits | leaves its waker at the source; reads the moment; reads for when the timer is armed; if that is later, sets it |
//! | who sets an earlier moment | swaps the moment; wakes who waits at the source, who then waits anew |
//! | the timer | says that it is not armed; reads the moment, by a read-modify-write; wakes who waits if it has come, and otherwise arms itself again |
//!
//! Each two of them meet at a place where whoever comes second sees what the other did before, so nobody waits past the moment:
//!
//! * who waits and who sets: at the lock of the source's waiters; before there is a source, at the lock under which it comes to be
//! * who waits and the timer: there too if it wakes, and at [`Deadline::timer`] if either of them arms
//! * who sets and the timer: at the word of the moment. If the timer comes second, it reads the earlier moment. If it comes first,
//!   who set the moment knows that the timer was not armed, or for when it was since, and who waits for that moment knows it too.
//!
//! Measured with 64 connections: a deadline that is put off with each read adds 30 to 40 ns, of which 25 are the caller's look at
//! the clock; with the lock at each wait it was 35 to 48.
//!
//! Rejected: *a bit in the readiness word for "timed out"*. The moment says it already, and a bit would have to be taken away
//! again when the deadline moves. Also *a plain store where the moment moves later*: two threads may set it at once, and the one
//! that comes last may take back what the other has put off, without knowing that somebody is to be woken for it.

use std::fmt;
use std::sync::{Arc, Weak};
use std::task::{Poll, Wake, Waker};
use std::time::Duration;

use crate::executor::{self, Timer};
use crate::reactor::{Direction, Limit, Source};
use crate::util::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};
use crate::util::sync::{Mutex, OnceLock};
use crate::util::wake::wake_all;

/// The deadlines of one descriptor.
#[derive(Debug)]
pub(crate) struct Deadlines([Arc<Deadline>; 2]);

impl Deadlines {
    /// None in either direction.
    #[inline]
    pub(crate) fn new() -> Self {
        Self(
            [Direction::Read, Direction::Write].map(|direction| Arc::new(Deadline::new(direction))),
        )
    }

    pub(crate) fn of(&self, direction: Direction) -> &Arc<Deadline> {
        &self.0[direction as usize]
    }
}

/// The timers refer back to the deadlines, and end here.
impl Drop for Deadlines {
    fn drop(&mut self) {
        for deadline in &self.0 {
            let timer = deadline.timer.lock().take();
            drop(timer);
        }
    }
}

/// That of one direction.
pub(crate) struct Deadline {
    direction: Direction,
    /// Nanoseconds since the clock's zero; [`NEVER`] if there is none.
    moment: AtomicU64,
    /// For what moment the timer is armed; [`NEVER`] if it is not. Written under the lock of `timer`.
    armed_for: AtomicU64,
    timer: Mutex<Option<Timer>>,
    /// Where those wait whom the timer wakes. Set before it is first armed.
    source: OnceLock<Arc<Source>>,
}

impl Deadline {
    fn new(direction: Direction) -> Self {
        Self {
            direction,
            moment: AtomicU64::new(NEVER),
            armed_for: AtomicU64::new(NEVER),
            timer: Mutex::new(None),
            source: OnceLock::new(),
        }
    }

    /// Sets the moment, or takes it away. `source` is asked where somebody may be waiting by now.
    pub(crate) fn set<'a>(
        &self,
        time: Option<Duration>,
        source: impl FnOnce() -> Option<&'a Arc<Source>>,
    ) {
        let moment = time.map_or(NEVER, nanoseconds);
        let before = self.moment.swap(moment, AcqRel);
        if moment < before
            && let Some(source) = source()
        {
            self.wake_waiters(source);
        }
    }

    fn wake_waiters(&self, source: &Source) {
        let mut woken = Vec::new();
        source.collect(self.direction, &mut woken);
        wake_all(&mut woken);
    }

    /// The moment, if there is one.
    pub(crate) fn get(&self) -> Option<Duration> {
        match self.moment.load(Acquire) {
            NEVER => None,
            moment => Some(Duration::from_nanos(moment)),
        }
    }

    /// Ready when the moment has come. Otherwise the task, which has left its waker at `source`, is woken when it does.
    pub(crate) fn poll_passed(self: &Arc<Self>, source: &Arc<Source>) -> Poll<()> {
        let moment = self.moment.load(Acquire);
        if moment == NEVER {
            return Poll::Pending;
        }
        if nanoseconds(executor::now_before(Duration::from_nanos(moment))) >= moment {
            return Poll::Ready(());
        }
        if self.armed_for.load(Acquire) > moment {
            self.arm(moment, source);
        }
        Poll::Pending
    }

    /// Sees to it that the timer fires at `moment` or before.
    #[cold]
    fn arm(self: &Arc<Self>, moment: u64, source: &Arc<Source>) {
        let mut timer = self.timer.lock();
        let at = Duration::from_nanos(moment);
        match &*timer {
            Some(_) if self.armed_for.load(Relaxed) <= moment => return, // somebody else was faster
            Some(timer) => {
                let _ = timer.reset(at, executor::now()); // if it has fired, it is about to look at the moment
            }
            None => {
                if self.source.get().is_none() {
                    let _ = self.source.get_or_init(|| source.clone());
                    let limit: Weak<Self> = Arc::downgrade(self);
                    source.note_limit(self.direction, limit);
                }
                *timer = Timer::arm_new(at, executor::now(), self.waker(), "a deadline");
            }
        }
        // Without a runtime left there is nothing to arm; the wait at the source ends with an error.
        if timer.is_some() {
            self.armed_for.store(moment, Release);
        }
    }

    /// The timer has fired. Whether the moment has come; otherwise the timer is armed again, if there is a moment.
    fn has_come(self: &Arc<Self>) -> bool {
        let fired; // declared first: not dropped under the lock
        let mut timer = self.timer.lock();
        fired = timer.take();
        self.armed_for.store(NEVER, Relaxed); // goes with the next
        let moment = self.moment.fetch_add(0, AcqRel);
        let now = executor::now();
        let has_come = nanoseconds(now) >= moment;
        if let Some(fired) = &fired
            && moment != NEVER
            && !has_come
        {
            *timer = fired.arm_again(Duration::from_nanos(moment), now, self.waker());
            if timer.is_none() {
                return true; // its runtime has ended: whoever waits in another one arms it there
            }
            self.armed_for.store(moment, Release);
        }
        has_come
    }

    fn waker(self: &Arc<Self>) -> Waker {
        self.clone().into()
    }
}

/// Called by the timer.
impl Wake for Deadline {
    fn wake(self: Arc<Self>) {
        if self.has_come()
            && let Some(source) = self.source.get()
        {
            self.wake_waiters(source);
        }
    }
}

/// Asked by who looks what a task waits for.
impl Limit for Deadline {
    fn moment(&self) -> Option<Duration> {
        self.get()
    }
}

impl fmt::Debug for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Deadline").field(&self.get()).finish()
    }
}

/// Good for 584 years; later is never.
fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(NEVER)
}

const NEVER: u64 = u64::MAX;
