//! How long operations on a descriptor may wait: one moment per direction, set once or anew for each message.
//!
//! The moment is a word. A timer is armed when somebody first has to wait, and stays armed from one operation to the next. A
//! moment that is put off leaves it where it is; when it fires too soon, it is armed again for the moment that holds then.
//! So to put a deadline off with each message costs one write to a word, and a timer operation per duration.
//!
//! | who | does, in this order |
//! |---|---|
//! | a task that waits | leaves its waker at the source; reads the moment; sees to it that the timer is not armed for later |
//! | who sets an earlier moment | writes the moment; wakes who waits at the source, who then waits anew |
//! | the timer | takes itself out; reads the moment; wakes who waits if it has come, and otherwise arms itself again |
//!
//! The first two meet at the lock of the source's waiters, the first and the last at [`Deadline::timer`], so whoever comes
//! second sees what the other did: nobody waits past the moment. Before there is a source, they meet at the lock under which
//! it comes to be.
//!
//! Rejected: *a bit in the readiness word for "timed out"*. The moment says it already, and a bit would have to be taken away
//! again when the deadline moves.

use std::fmt;
use std::sync::Arc;
use std::task::{Poll, Wake, Waker};
use std::time::Duration;

use crate::executor::{self, Timer};
use crate::reactor::{Direction, Source};
use crate::util::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire},
};
use crate::util::sync::{Mutex, OnceLock};
use crate::util::wake::wake_all;

/// The deadlines of one descriptor.
#[derive(Debug)]
pub(crate) struct Deadlines([Arc<Deadline>; 2]);

impl Deadlines {
    /// None in either direction.
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
    timer: Mutex<Option<Armed>>,
    /// Where those wait whom the timer wakes. Set before it is first armed.
    source: OnceLock<Arc<Source>>,
}

#[derive(Debug)]
struct Armed {
    timer: Timer,
    moment: u64,
}

impl Deadline {
    fn new(direction: Direction) -> Self {
        Self {
            direction,
            moment: AtomicU64::new(NEVER),
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
        self.arm(moment, source);
        Poll::Pending
    }

    /// Sees to it that the timer fires at `moment` or before.
    fn arm(self: &Arc<Self>, moment: u64, source: &Arc<Source>) {
        let mut timer = self.timer.lock();
        let at = Duration::from_nanos(moment);
        match &mut *timer {
            Some(armed) if armed.moment <= moment => {}
            Some(armed) => {
                armed.moment = moment;
                let _ = armed.timer.reset(at, executor::now()); // if it has fired, it is about to look at the moment
            }
            None => {
                let _ = self.source.get_or_init(|| source.clone());
                // Without a runtime left there is nothing to arm; the wait at the source ends with an error.
                *timer = Timer::arm(at, executor::now(), &self.waker(), "a deadline")
                    .map(|timer| Armed { timer, moment });
            }
        }
    }

    /// The timer has fired. Whether the moment has come; otherwise the timer is armed again, if there is a moment.
    fn has_come(self: &Arc<Self>) -> bool {
        let fired; // declared first: not dropped under the lock
        let mut timer = self.timer.lock();
        fired = timer.take();
        let (moment, now) = (self.moment.load(Acquire), executor::now());
        let has_come = nanoseconds(now) >= moment;
        if let Some(fired) = &fired
            && moment != NEVER
            && !has_come
        {
            *timer = (fired.timer)
                .arm_again(Duration::from_nanos(moment), now, self.waker())
                .map(|timer| Armed { timer, moment });
            if timer.is_none() {
                return true; // its runtime has ended: whoever waits in another one arms it there
            }
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
