//! Who drives core 0.
//!
//! The thread that calls `block_on` does, so that the main future is a citizen of a worker. On a runtime with several
//! workers a **stand-in** thread drives it the rest of the time, so the tasks of that core go on between two calls; with
//! one worker the core rests in its seat. One `block_on` at a time is the **driver**; others are guests.
//!
//! ```text
//!                    claim                        give_back
//!    stand-in ──(wanted)──▶ seat ──▶ block_on ─────────────▶ seat ──▶ stand-in, or a guest that waits
//! ```
//!
//! Everything is decided under one lock. Threads that wait for a change park, and every change unparks them all: there are
//! few, and a change is rare.

use super::core::Core;
use crate::util::sync::Mutex;
use crate::util::sync::atomic::{
    AtomicBool,
    Ordering::{Relaxed, Release},
};
use crate::util::sync::thread::{self, Thread};

/// The place where core 0 lies while nobody drives it.
#[derive(Debug)]
pub(crate) struct Seat {
    state: Mutex<State>,
    /// A driver waits for the core. Written under the lock; read without it by the stand-in between two tasks.
    wanted: AtomicBool,
}

#[derive(Debug)]
struct State {
    core: Option<Core>,
    /// Whether a `block_on` drives the core, or waits to.
    has_driver: bool,
    closed: bool,
    waiting: Vec<Thread>,
}

/// The answer to somebody who asked for the core.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "moved when a core changes hands, which is rare"
)]
pub(crate) enum Claim {
    Core(Core),
    /// Not now: park, and ask again when unparked.
    Wait,
    /// Not any more: the runtime has shut down.
    Closed,
}

impl Seat {
    pub(crate) fn new(core: Core) -> Self {
        Self {
            state: Mutex::new(State {
                core: Some(core),
                has_driver: false,
                closed: false,
                waiting: Vec::new(),
            }),
            wanted: AtomicBool::new(false),
        }
    }

    /// Makes the calling thread the driver and waits for the core. `None` if there is a driver already, or nothing to drive
    /// any more.
    ///
    /// `call_holder` is to make whoever holds the core look at [`is_wanted`](Self::is_wanted).
    pub(crate) fn claim_as_driver(&self, call_holder: impl Fn()) -> Option<Core> {
        if !self.become_driver() {
            return None;
        }
        loop {
            match self.ask_as_driver() {
                Claim::Core(core) => return Some(core),
                Claim::Closed => return None,
                Claim::Wait => {
                    call_holder();
                    thread::park();
                }
            }
        }
    }

    /// Makes the caller the driver, unless there is one.
    fn become_driver(&self) -> bool {
        let mut state = self.state.lock();
        let vacant = !state.has_driver && !state.closed;
        if vacant {
            state.has_driver = true;
            self.wanted.store(true, Release);
        }
        vacant
    }

    fn ask_as_driver(&self) -> Claim {
        let mut state = self.state.lock();
        let claim = state.claim(true);
        if !matches!(claim, Claim::Wait) {
            self.wanted.store(false, Release);
        }
        claim
    }

    /// The stand-in asks for the core.
    pub(crate) fn claim_as_stand_in(&self) -> Claim {
        let mut state = self.state.lock();
        let free = !state.has_driver;
        state.claim(free)
    }

    /// Whether a guest could become the driver now. If not, it is unparked when it should ask again.
    pub(crate) fn is_vacant(&self) -> bool {
        let mut state = self.state.lock();
        let vacant = !state.has_driver && !state.closed;
        if !vacant {
            state.enlist();
        }
        vacant
    }

    /// Whether a `block_on` waits for the stand-in to give the core back.
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted.load(Relaxed) // the notification that follows the store makes the reader look
    }

    /// Puts the core back. Returns it if the runtime has been closed: the caller must then retire it.
    #[must_use]
    pub(crate) fn give_back(&self, core: Core, was_driver: bool) -> Option<Core> {
        let mut state = self.state.lock();
        if was_driver {
            state.has_driver = false;
        }
        if state.closed {
            return Some(core);
        }
        debug_assert!(state.core.is_none());
        state.core = Some(core);
        state.unpark_all();
        None
    }

    /// Whether the end has begun.
    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// The same; if not, the caller is unparked when it should ask again.
    pub(crate) fn is_closed_or_tells(&self) -> bool {
        let mut state = self.state.lock();
        if !state.closed {
            state.enlist();
        }
        state.closed
    }

    /// Nobody gets the core any more. Returns it if it lay here.
    #[must_use]
    pub(crate) fn close(&self) -> Option<Core> {
        let mut state = self.state.lock();
        state.closed = true;
        state.unpark_all();
        state.core.take()
    }
}

impl State {
    fn claim(&mut self, allowed: bool) -> Claim {
        if self.closed {
            return Claim::Closed;
        }
        match self.core.take_if(|_| allowed) {
            Some(core) => Claim::Core(core),
            None => {
                self.enlist();
                Claim::Wait
            }
        }
    }

    /// Has the caller unparked at the next change; once, however often it asks.
    fn enlist(&mut self) {
        let caller = thread::current();
        if self
            .waiting
            .iter()
            .all(|waiting| waiting.id() != caller.id())
        {
            self.waiting.push(caller);
        }
    }

    fn unpark_all(&mut self) {
        self.waiting.drain(..).for_each(|thread| thread.unpark());
    }
}
