//! The reactor: turns the kernel's events into wake-ups. One epoll instance per worker.
//!
//! ```text
//!   Registration ──▶ Source { readiness word, waiters, home } ◀── Slots: by token ── Reactor
//!   (in a socket)                                                                      │ turn: epoll_wait
//!                                event ─▶ token ─▶ Source::deliver ─▶ wakers ──────────┘ called by the caller
//! ```
//!
//! * A source is registered **once**, for both directions, edge-triggered (`IN|OUT|PRI|RDHUP|ET`), and not modified. Its
//!   readiness is sticky: I/O is tried first, and waits only after `EAGAIN`.
//! * `epoll_data` holds a [`Token`], never a pointer. A slot is used again at once; events of its former source meet
//!   another generation and are counted as stale.
//! * `EPOLL_CTL_DEL` comes before `close`, always: the kernel's key is the open file description, and a duplicate in
//!   another process would keep it registered.
//! * Nothing here calls a waker under a lock. [`Reactor::turn`] collects, its caller wakes.
//! * The owner turns its reactor, and a sibling may do it too ([`Reactor::turn_for_owner`]), also while the owner sleeps in
//!   its own turn: each brings a buffer, and the kernel gives each event to one of them. An owner that was woken by an
//!   event and waits for a CPU would otherwise keep what came meanwhile. Only what is meant for the owner itself, the
//!   eventfd's edge, must not end with the sibling, who passes it on.
//! * A source moves to the worker that keeps running its task: after many visits in a row, if there are fewer sources, and after a few,
//!   if the tasks of its own are slow and would have its events wait.
//! * A slot is released whatever `epoll_ctl` says.
//!
//! # Rejected
//!
//! * *A lock on the event buffer as the right to turn.* The owner holds it while it sleeps, so nobody can take its events
//!   when it has been woken and the CPU is somebody else's: that is where the slowest percent of the messages come from.
//! * *One epoll per runtime*: every `epoll_ctl` and every wake-up in the process meets the same two kernel locks, and
//!   only one thread can wait.
//! * *One-shot registrations*: an `epoll_ctl` per wait, where the generation and the tick cost nothing.
//! * *Sources in pages that never move, found by token from both sides, with the generation in the readiness word.* No lock
//!   in the turn, and none needed to use a slot again. But a socket looks at its source six times per echo, and each
//!   look-up cost some 35 instructions of unpacking and bounds checks where a reference costs 5. An echo took 1 500
//!   user-space instructions with it, and 940 with a reference and a context that is looked up only where it is needed.
//!   The lock on the slots is taken once per turn, and otherwise only by a connection that comes or goes.

mod readiness;
mod registration;
mod slots;
mod source;
mod token;

#[cfg(all(test, loom))]
mod models;

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::task::Waker;
use std::time::Duration;

use readiness::Readiness;
pub(crate) use readiness::Snapshot;
pub(crate) use registration::{Place, Ready, Registration, Stand};
use slots::Slots;
use source::Home;
pub(crate) use source::{Direction, Interest, Limit, Source, WaitKey};
use token::Token;

use crate::sys::epoll::{Epoll, EventBuffer, Events};
use crate::sys::eventfd::EventFd;
use crate::sys::lock::Mutex;
use crate::util::wake::wake_all;

/// The reactors of one runtime, one per worker.
#[derive(Debug)]
pub(crate) struct Reactors(Box<[Reactor]>);

impl Reactors {
    /// # Errors
    ///
    /// When the process is out of descriptors or kernel memory.
    pub(crate) fn new(count: usize) -> io::Result<Self> {
        debug_assert!((1..=usize::from(REACTOR_MAX) + 1).contains(&count));
        (0..count)
            .map(|_| Reactor::new())
            .collect::<io::Result<_>>()
            .map(Self)
    }

    pub(crate) fn get(&self, worker: usize) -> &Reactor {
        &self.0[worker]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Reactor> {
        self.0.iter()
    }

    /// Where a new source should live: with the worker that waits first, unless that one already has clearly more
    /// sources than the least loaded and the task that waits can run there as well.
    ///
    /// Connections that arrive one by one would otherwise all settle on the worker that accepts. A task follows its
    /// source, since the worker that turns the reactor runs what it wakes, so placing sources places tasks, and
    /// `spawn` stays local.
    fn choose(&self, stand: Stand) -> usize {
        let load = |number: usize| self.0[number].sources_count();
        let least = (0..self.0.len())
            .min_by_key(|&number| load(number))
            .expect("a runtime has a worker");
        match stand {
            Stand::Pinned(worker) => worker,
            Stand::Worker(worker)
                if load(worker) <= load(least) + load(least) / 8 + IMBALANCE_MIN =>
            {
                worker
            }
            Stand::Worker(_) | Stand::Elsewhere => least,
        }
    }

    /// Where a source should move that is steadily waited for at `stand`, if that is better than where it is: to a task
    /// that cannot run elsewhere, or to a reactor that it does not make the fuller one.
    fn better_than(&self, home: usize, stand: Stand) -> Option<usize> {
        match stand {
            Stand::Pinned(worker) => Some(worker),
            Stand::Worker(worker) => {
                let is_fuller = self.0[worker].sources_count() >= self.0[home].sources_count();
                (!is_fuller || self.leaves(home, worker)).then_some(worker)
            }
            Stand::Elsewhere => None,
        }
    }

    /// Whether a source should leave `home` for `other` however many are there: its events wait for slow tasks here, and would not
    /// there.
    fn leaves(&self, home: usize, other: usize) -> bool {
        self.0[home].is_slow() && (self.0.get(other)).is_some_and(|other| !other.is_slow())
    }

    fn join(
        self: &Arc<Self>,
        fd: BorrowedFd<'_>,
        source: &Arc<Source>,
        reactor: usize,
    ) -> io::Result<Home> {
        let token = self.0[reactor].join(fd, source)?;
        Ok(Home {
            reactors: self.clone(),
            token,
            reactor: reactor as u16,
            fd: fd.as_raw_fd(),
        })
    }
}

/// One epoll instance with the sources registered in it, and an eventfd that ends its wait.
#[derive(Debug)]
pub(crate) struct Reactor {
    epoll: Epoll,
    /// Registered edge-triggered and never read, so a wake-up costs its receiver no system call.
    wake_up: EventFd,
    slots: Mutex<Slots>,
    sources_count: AtomicU32,
    stale_events: AtomicU64,
    /// Whether the tasks of its worker are slow, so that events wait.
    is_slow: AtomicBool,
}

impl Reactor {
    fn new() -> io::Result<Self> {
        let epoll = Epoll::new()?;
        let wake_up = EventFd::new()?;
        epoll.add(wake_up.as_fd(), Events::READABLE | Events::EDGE, WAKE_UP)?;
        Ok(Self {
            epoll,
            wake_up,
            slots: Mutex::new(Slots::default()),
            sources_count: AtomicU32::new(0),
            stale_events: AtomicU64::new(0),
            is_slow: AtomicBool::new(false),
        })
    }

    /// Waits for at most `events_max` events, which the owner's `buffer` receives, and collects whom they wake. The caller
    /// calls them.
    ///
    /// `None` waits until there is one, a zero timeout only looks.
    pub(crate) fn turn(
        &self,
        buffer: &mut EventBuffer,
        events_max: usize,
        timeout: Option<Duration>,
        woken: &mut Vec<Waker>,
    ) {
        // Being awake is all that the eventfd wanted.
        self.harvest(buffer, events_max, timeout, woken, || {});
    }

    /// Takes events out of the reactor of a worker that does not come to do it, and collects whom they wake.
    pub(crate) fn turn_for_owner(
        &self,
        buffer: &mut EventBuffer,
        events_max: usize,
        woken: &mut Vec<Waker>,
    ) {
        // The edge that was to wake the owner has been used up: another one takes its place.
        let pass_on = || self.wake_up.notify();
        self.harvest(buffer, events_max, Some(Duration::ZERO), woken, pass_on);
    }

    fn harvest(
        &self,
        buffer: &mut EventBuffer,
        events_max: usize,
        timeout: Option<Duration>,
        woken: &mut Vec<Waker>,
        on_wake_up: impl Fn(),
    ) {
        // Only misuse makes epoll_wait(2) fail (EBADF, EFAULT, EINVAL): the descriptor is ours and open.
        self.epoll
            .wait(buffer, events_max, timeout)
            .expect("epoll_wait on a descriptor of our own");
        if buffer.is_empty() {
            return;
        }
        let slots = self.slots.lock();
        for (events, word) in buffer.iter() {
            let Some(token) = Token::unpack(word) else {
                on_wake_up();
                continue;
            };
            match slots.get(token) {
                Some(source) => source.deliver(Readiness::from_events(events), woken),
                None => drop(self.stale_events.fetch_add(1, Relaxed)), // a statistic
            }
        }
    }

    /// Ends the present or the next wait of [`turn`](Self::turn).
    pub(crate) fn wake_up(&self) {
        self.wake_up.notify();
    }

    /// Shows who waits: the descriptor, the direction, until when at most, and the waker, which is not to be called. Takes the
    /// lock of the slots for at most `step` of them at a time.
    pub(crate) fn visit_waiters(
        &self,
        step: usize,
        mut show: impl FnMut(RawFd, Direction, Option<Duration>, &Waker),
    ) {
        let mut next = Some(0);
        while let Some(from) = next {
            let sources;
            (sources, next) = self.slots.lock().some_from(from, step);
            sources
                .iter()
                .for_each(|source| source.visit_waiters(&mut show));
        }
    }

    /// Its worker says whether its tasks are slow.
    #[inline]
    pub(crate) fn note_slow(&self, is_slow: bool) {
        // Relaxed, here and below: a hint. It hardly ever changes, so nobody's cache loses the line.
        if self.is_slow() != is_slow {
            self.is_slow.store(is_slow, Relaxed);
        }
    }

    fn is_slow(&self) -> bool {
        self.is_slow.load(Relaxed)
    }

    /// How many descriptors are registered.
    pub(crate) fn sources_count(&self) -> u32 {
        self.sources_count.load(Relaxed) // a hint, and a statistic
    }

    /// How many events were thrown away because their source was gone.
    pub(crate) fn stale_events_count(&self) -> u64 {
        self.stale_events.load(Relaxed) // a statistic
    }

    /// Ends every wait on every source, now and later, with an error. Nothing can be registered any more.
    pub(crate) fn close(&self) {
        let sources = self.slots.lock().close();
        self.sources_count.store(0, Relaxed); // a statistic
        let mut woken = Vec::new();
        for source in sources {
            source.close(&mut woken);
        }
        wake_all(&mut woken);
    }

    fn join(&self, fd: BorrowedFd<'_>, source: &Arc<Source>) -> io::Result<Token> {
        let token = self.slots.lock().insert(source.clone())?;
        self.sources_count.fetch_add(1, Relaxed); // a hint, and a statistic
        let events = Events::READABLE
            | Events::WRITABLE
            | Events::PRIORITY
            | Events::READ_HANG_UP
            | Events::EDGE;
        if let Err(error) = self.epoll.add(fd, events, token.pack()) {
            self.release(token);
            return Err(error);
        }
        Ok(token)
    }

    fn leave(&self, fd: RawFd, token: Token) {
        // It fails only where somebody closed the descriptor behind its owner's back; the slot is free all the same.
        let _ = self.epoll.delete(fd);
        self.release(token);
    }

    fn release(&self, token: Token) {
        let released = self.slots.lock().remove(token);
        if released.is_some() {
            self.sources_count.fetch_sub(1, Relaxed); // a hint, and a statistic
        }
        drop(released); // outside the lock: with the source go the wakers in it
    }
}

/// Notes which reactor this thread turns.
pub(crate) fn set_turned_here(reactor: Option<usize>) {
    TURNED_HERE.set(reactor.map_or(NOWHERE, |reactor| reactor as u16));
}

/// Which reactor this thread turns, of whatever runtime, or [`NOWHERE`]: a hint where a source would best be.
#[inline]
fn turned_here() -> u16 {
    TURNED_HERE.get()
}

thread_local! {
    static TURNED_HERE: Cell<u16> = const { Cell::new(NOWHERE) };
}

#[cold]
fn shut_down() -> io::Error {
    io::Error::other("the wakeful runtime that this descriptor was registered with has shut down")
}

/// `epoll_data` of the eventfd: below every token.
const WAKE_UP: u64 = 0;

/// The most events that one turn can take.
pub(crate) const EVENTS_MAX: usize = 1024;

/// The last reactor number; bounds the workers of a runtime.
pub(crate) const REACTOR_MAX: u16 = 1023;

/// In place of a reactor's number: the thread turns none.
const NOWHERE: u16 = u16::MAX;

/// Up to so many sources more than the least loaded reactor are no imbalance.
const IMBALANCE_MIN: u32 = 8;
