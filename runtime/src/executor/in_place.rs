//! Blocking where one stands, while a stand-in drives the core.
//!
//! A thread that is about to block lends its core: a thread of the blocking pool, the stand-in, takes it and runs the worker loop.
//! When the owner is back, it asks for the core, and the stand-in gives it back between two tasks.
//!
//! ```text
//!   owner: lend            stand-in: take                give_back             owner: reclaim
//!     ───────────▶ lies here ───────────▶ driven ─────────────────▶ lies here ───────────────▶
//!                      └──────────────────── reclaim ────────────────▲
//! ```
//!
//! * Whoever comes first has the core: an owner that is back before its stand-in has come takes it where it lies, and the
//!   stand-in finds nothing. So it does not matter when a thread for it is to be had, nor whether.
//! * The request is written under the lock, and the notification that follows makes the stand-in look.
//! * What belongs to the owner's thread waits for it: its local tasks, those sent to it by `spawn_pinned`, and the future of its
//!   `block_on`. Local tasks that are spawned on a stand-in belong to that: it stays until they have ended.
//! * A core that a `block_on` wants, which the stand-in of the [seat](super::seat) had lent, is passed on to that: its owner goes
//!   on without it to the end of its poll. (At that end it clears what the core's [counters](super::counters) show as being polled,
//!   although it is not their writer any more: for one poll a report may know less.)
//! * At the end of the runtime a stand-in puts the core back, and its owner retires it.
//!
//! Rejected: *a thread of its own for each stand-in*. To start one takes longer than most of what blocks, and the pool has idle
//! ones, and a limit. A closure in `spawn_blocking` would have taken the same thread.

use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;

use super::budget::is_in_poll;
use super::builder::AtEnd;
use super::context::{self, Context};
use super::core::Core;
use super::shared::{Home, Shared};
use super::worker::Worker;
use crate::sys::timer_slack::ExactWaits;
use crate::util::sync::Mutex;
use crate::util::sync::atomic::{
    AtomicBool,
    Ordering::{Relaxed, Release},
};
use crate::util::sync::thread::{self, Thread};

/// Runs a closure that blocks, on this very thread, while another thread goes on with the tasks of its worker.
///
/// For code that must block inside a poll: a library that calls back, a destructor. Where the closure can be sent elsewhere,
/// [`spawn_blocking`](crate::spawn_blocking) is better: it keeps up neither the calling task nor what belongs to its thread. Those
/// are, until the closure returns: the tasks of [`spawn_local`](crate::spawn_local) and
/// [`Handle::spawn_pinned`](crate::Handle::spawn_pinned) of this thread, and the future of its `block_on`.
///
/// It takes a thread of the blocking pool meanwhile, and simply runs the closure where there is none to be had, on a runtime with
/// one worker, and on a thread that runs no task.
///
/// # Panics
///
/// When the closure does.
///
/// # Examples
///
/// ```
/// let runtime = wakeful::Builder::new().workers(2).build()?;
/// let task = runtime.spawn(async {
///     let (sender, receiver) = std::sync::mpsc::channel();
///     wakeful::spawn(async move { sender.send(7) });
///     wakeful::block_in_place(|| receiver.recv())
/// });
/// assert_eq!(runtime.block_on(task).unwrap(), Ok(7));
/// # std::io::Result::Ok(())
/// ```
#[track_caller]
#[inline]
pub fn block_in_place<R>(closure: impl FnOnce() -> R) -> R {
    let location = Location::caller();
    let context = context::current();
    match context.as_ref().and_then(|context| context.worker()) {
        Some(worker) if worker.may_lend() => worker.while_lent(location, closure),
        _ => closure(),
    }
}

impl Worker {
    /// Whether somebody else could drive the core during a poll.
    fn may_lend(&self) -> bool {
        let shared = &self.home().shared;
        shared.workers_count() > 1
            && is_in_poll()
            && self.has_core()
            && !shared.is_closed()
            && shared.blocking.begins_at_once()
    }

    fn while_lent<R>(
        &self,
        location: &'static Location<'static>,
        closure: impl FnOnce() -> R,
    ) -> R {
        let (home, remote) = (self.home(), &self.home().remote);
        let polled = remote.counters.polled();
        remote.counters.end_poll();
        let lease = Arc::new(Lease::new(self.take_core()));
        home.start_stand_in(&lease, location);
        let _reclaim = AtEnd(|| {
            if let Some(core) = lease.reclaim(|| home.shared.notify(home.core)) {
                self.put_core(core);
                remote.counters.resume_poll(polled);
            }
        });
        closure()
    }
}

impl Home {
    /// Has a thread of the pool drive the core for as long as the lease lasts.
    #[inline]
    fn start_stand_in(self: &Arc<Self>, lease: &Arc<Lease>, location: &'static Location<'static>) {
        let (home, lease) = (self.clone(), lease.clone());
        self.shared.ending.expect_thread();
        let ended = Ended(self.shared.clone());
        // Nobody wants the handle, and if no thread comes, the core is reclaimed from where it lies.
        drop(self.spawn_blocking(
            move || {
                let _ended = ended;
                stand_in(home, &lease);
            },
            location,
        ));
    }
}

/// Says that a stand-in has ended, or will not come.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.ending.thread_ended();
    }
}

/// The life of a stand-in.
#[inline]
fn stand_in(home: Arc<Home>, lease: &Lease) {
    let Some(core) = lease.take() else { return };
    let shared = home.shared.clone();
    let context = Rc::new(Context::Worker(Worker::stand_in(home)));
    let _entered = context::enter(context.clone());
    let worker = context.worker().expect("made above");
    worker.put_core(core);
    let _exact_waits = ExactWaits::begin();
    let _close = AtEnd(|| worker.local().close());
    {
        let seat_wants = || worker.home().core == 0 && shared.seat.is_wanted();
        let _give_back = AtEnd(|| {
            // It has none if a task of its own has blocked in place meanwhile, and the core was passed on.
            let core = worker.has_core().then(|| worker.take_core());
            lease.give_back(match seat_wants() {
                true => core.and_then(|core| shared.seat.give_back(core, false)),
                false => core,
            });
        });
        worker.run(|| {
            let leaves = lease.is_wanted() || seat_wants() || shared.is_closed();
            (leaves || !worker.has_core()).then_some(())
        });
    }
    worker.run_without_core(|| {
        let is_done = worker.local().is_empty() || shared.seat.is_closed_or_tells();
        is_done.then_some(())
    });
}

/// A core that its owner has lent.
#[derive(Debug)]
pub(crate) struct Lease {
    place: Mutex<Place>,
    /// The owner waits for the core. Written under the lock; read without it by the stand-in between two tasks.
    wanted: AtomicBool,
    owner: Thread,
}

#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one for each closure that blocks"
)]
enum Place {
    Here(Core),
    /// The stand-in has it, or the owner has it back.
    Away,
    /// Somebody else has it now.
    PassedOn,
}

impl Lease {
    /// Lends the core; the calling thread is its owner.
    pub(crate) fn new(core: Core) -> Self {
        Self {
            place: Mutex::new(Place::Here(core)),
            wanted: AtomicBool::new(false),
            owner: thread::current(),
        }
    }

    /// The stand-in has come. `None` if the owner was faster.
    pub(crate) fn take(&self) -> Option<Core> {
        self.place.lock().take()
    }

    /// Whether the owner waits for the core.
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted.load(Relaxed) // the notification that follows the store makes the reader look
    }

    /// The stand-in gives the core back; `None` if it has passed it on.
    #[inline]
    pub(crate) fn give_back(&self, core: Option<Core>) {
        *self.place.lock() = core.map_or(Place::PassedOn, Place::Here);
        self.owner.unpark();
    }

    /// The owner waits for the core. `None` if it was passed on.
    ///
    /// `call_holder` is to make whoever drives the core look at [`is_wanted`](Self::is_wanted).
    pub(crate) fn reclaim(&self, call_holder: impl Fn()) -> Option<Core> {
        loop {
            {
                let mut place = self.place.lock();
                self.wanted.store(true, Release);
                match place.take() {
                    None if matches!(*place, Place::Away) => {}
                    core => return core,
                }
            }
            call_holder();
            thread::park();
        }
    }
}

impl Place {
    fn take(&mut self) -> Option<Core> {
        match std::mem::replace(self, Self::Away) {
            Self::Here(core) => Some(core),
            other => {
                *self = other;
                None
            }
        }
    }
}
