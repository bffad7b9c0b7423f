//! What the workers of one runtime share.

use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use super::budget::is_in_poll;
use super::builder::Threads;
use super::clock::Clock;
use super::context;
use super::core::Core;
use super::counters::{Count, Counters};
use super::idle::{Idle, Parker};
use super::injector::Injector;
use super::local::Pinned;
use super::observer::Observing;
use super::polling::{BusyPoll, Pollers};
use super::queue::Stealer;
use super::registry::Registry;
use super::seat::Seat;
use super::shutdown::Ending;
use super::timers::Timers;
use super::watch::{Guard, Watch};
use super::worker::Worker;
use crate::blocking::{Limits, Pool};
use crate::reactor::Reactors;
use crate::sys::{self, thread::ThreadId};
use crate::task::{self, Due, JoinHandle, Meta, Runnable, Schedule, TaskInfo, TaskRef};
use crate::util::cache_padded::CachePadded;
use crate::util::sync::Mutex;
use crate::util::sync::atomic::{
    AtomicBool, AtomicUsize,
    Ordering::{Acquire, Release},
};

/// The common state of a runtime.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(super) remotes: Box<[Arc<Remote>]>,
    pub(super) injector: Injector,
    pub(super) idle: Idle,
    pub(super) pollers: Pollers,
    /// Of no use to a single worker, except to tell of stalls: otherwise never begun.
    pub(super) watch: Watch,
    pub(super) guard: Guard,
    pub(super) reactors: Arc<Reactors>,
    pub(super) seat: Seat,
    /// What timers go by.
    pub(super) clock: Clock,
    /// I/O operations per poll of a task.
    pub(super) poll_budget: u32,
    /// Live tasks that are not `Send`, on all threads.
    pub(super) local_tasks_count: AtomicUsize,
    /// Where they are registered, for each thread that runs some: for the report of a shutdown.
    pub(super) locals: Mutex<Vec<Arc<Registry>>>,
    pub(super) blocking: Arc<Pool>,
    pub(super) threads: Threads,
    started: Duration,
    pub(super) ending: Ending,
}

/// What the builder was told and the workers go by.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) poll_budget: u32,
    pub(crate) busy_poll: BusyPoll,
    pub(crate) threads: Threads,
    pub(crate) blocking: Limits,
}

impl Shared {
    pub(crate) fn new(
        remotes: Box<[Arc<Remote>]>,
        reactors: Reactors,
        seat: Seat,
        clock: Clock,
        settings: Settings,
    ) -> Self {
        let Settings {
            poll_budget,
            busy_poll,
            threads,
            blocking,
        } = settings;
        Self {
            threads,
            blocking: Arc::new(Pool::new(blocking)),
            injector: Injector::new(),
            idle: Idle::new(remotes.len()),
            pollers: Pollers::new(busy_poll),
            watch: Watch::default(),
            guard: Guard::default(),
            reactors: Arc::new(reactors),
            seat,
            clock,
            poll_budget,
            local_tasks_count: AtomicUsize::new(0),
            locals: Mutex::default(),
            started: sys::clock::now(),
            ending: Ending::new(remotes.len()),
            remotes,
        }
    }

    pub(crate) fn workers_count(&self) -> usize {
        self.remotes.len()
    }

    /// Milliseconds since the runtime was built; comes round after 49 days.
    pub(super) fn millis(&self, now: Duration) -> u32 {
        now.saturating_sub(self.started).as_millis() as u32
    }

    /// Queues a task from a thread that holds no core of this runtime.
    pub(super) fn inject(&self, tasks: impl IntoIterator<Item = Runnable>) {
        self.injector.push(tasks);
        self.work_published();
    }

    /// There is work that any worker may take: wakes one, unless one is on the way.
    pub(super) fn work_published(&self) {
        if let Some(worker) = self.idle.worker_to_wake(|| self.has_work()) {
            self.notify(worker);
        }
    }

    /// Whether there is work that any worker may take.
    pub(super) fn has_work(&self) -> bool {
        self.injector.len() > 0 || self.remotes.iter().any(|remote| !remote.stealer.is_empty())
    }

    /// The live task at this address, which is only compared.
    pub(super) fn task_at(&self, address: usize) -> Option<TaskInfo> {
        let of_cores = || (self.remotes.iter()).find_map(|remote| remote.registry.find(address));
        let of_threads = || (self.locals.lock().iter()).find_map(|registry| registry.find(address));
        of_cores().or_else(of_threads)
    }

    /// Makes `worker` look again before it sleeps, or wakes it.
    pub(super) fn notify(&self, worker: usize) {
        if self.remotes[worker].parker.notify() {
            self.reactors.get(worker).wake_up();
        }
    }
}

/// What others see of a worker.
#[derive(Debug)]
pub(crate) struct Remote {
    pub(super) stealer: Stealer,
    pub(super) parker: Parker,
    pub(super) registry: Registry,
    pub(super) timers: Timers,
    pub(super) arrivals: Arrivals,
    /// Which thread holds the core.
    pub(super) thread: Mutex<Option<ThreadId>>,
    /// Counted by the watch.
    pub(super) stalls: Count,
    /// Written by the worker only.
    pub(super) counters: CachePadded<Counters>,
}

impl Remote {
    pub(crate) fn new(core: &Core, clock: &Clock, observer: Option<Observing>) -> Self {
        Self {
            stealer: core.stealer(),
            parker: Parker::new(),
            registry: Registry::new(core.index() as u32, observer),
            timers: Timers::new(clock),
            arrivals: Arrivals::default(),
            thread: Mutex::new(None),
            stalls: Count::default(),
            counters: CachePadded::default(),
        }
    }
}

/// Where the tasks of one core come from and go to: their scheduler.
///
/// One per core and not one per runtime, so that the reference that each task holds is counted in a word of that core.
#[derive(Debug)]
pub(crate) struct Home {
    pub(super) shared: Arc<Shared>,
    /// What others see of the core's worker, at hand for the timers.
    pub(super) remote: Arc<Remote>,
    pub(super) core: usize,
}

impl Schedule for Arc<Home> {
    fn schedule(&self, task: Runnable) {
        let shared = Arc::as_ptr(&self.shared);
        let left = context::give_to_worker_of(shared, task, |worker, task| {
            worker.schedule_woken(task);
            None
        });
        if let Some(task) = left {
            self.shared.inject([task]);
        }
    }

    #[inline]
    fn schedule_due(due: Due<Self>) {
        let shared = Arc::as_ptr(&due.scheduler().shared);
        let left = match is_in_poll() {
            true => Some(due),
            false => context::give_to_worker_of(shared, due, Worker::schedule_delivered),
        };
        if let Some(due) = left {
            schedule_otherwise(due);
        }
    }
}

/// Not as the reactor's events are nearly always. Apart, as the last thing that is done: of what all this needs, an event then
/// saves no register, which was ten instructions.
#[inline(never)]
fn schedule_otherwise(due: Due<Arc<Home>>) {
    let shared = Arc::as_ptr(&due.scheduler().shared);
    let left = context::give_to_worker_of(shared, due, |worker, due| {
        // The worker has all it takes; the task's own scheduler is not needed any more.
        worker.schedule_woken(due.into_runnable());
        None
    });
    if let Some(due) = left {
        due.hold(|home, task| home.shared.inject([task]));
    }
}

impl Home {
    pub(super) fn new(shared: &Arc<Shared>, core: usize) -> Arc<Self> {
        Arc::new(Self {
            shared: shared.clone(),
            remote: shared.remotes[core].clone(),
            core,
        })
    }

    /// Spawns a task that any worker may run.
    pub(crate) fn spawn<F>(
        self: &Arc<Self>,
        future: F,
        name: Option<Arc<str>>,
        location: &'static Location<'static>,
    ) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let context = context::current();
        let worker = context.as_ref().and_then(|context| context.worker());
        let worker = worker.filter(|worker| Arc::ptr_eq(&worker.home().shared, &self.shared));
        // A task spawned on a worker is that worker's to register, whichever handle was used.
        let home = worker.map_or(self, |worker| worker.home());
        home.spawn_by(worker, future, name, location)
    }

    /// The same on the thread of `worker`, whose home this is, or of none that runs tasks of this runtime.
    pub(super) fn spawn_by<F>(
        self: &Arc<Self>,
        worker: Option<&Worker>,
        future: F,
        name: Option<Arc<str>>,
        location: &'static Location<'static>,
    ) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let spawned_ms = worker.map_or_else(
            || self.shared.millis(sys::clock::now()),
            |worker| worker.now_ms(),
        );
        let (task, runnable, handle) = task::new(
            future,
            self.clone(),
            Meta {
                name,
                location,
                spawned_ms,
            },
        );
        match self.remote.registry.insert(task) {
            Ok(()) => match worker {
                Some(worker) => worker.schedule_spawned(runnable),
                None => self.shared.inject([runnable]),
            },
            Err(task) => {
                task.shutdown(); // the runtime is gone: the handle says cancelled
            }
        }
        handle
    }

    /// Spawns on `worker` what `make` makes there.
    pub(crate) fn spawn_pinned<C, F>(
        &self,
        worker: usize,
        make: C,
        location: &'static Location<'static>,
    ) -> JoinHandle<F::Output>
    where
        C: FnOnce() -> F + Send + 'static,
        F: Future + 'static,
        F::Output: Send + 'static,
    {
        let spawned_ms = self.shared.millis(sys::clock::now());
        let pinned = Pinned::default();
        let (task, runnable, handle) = task::new_pinned(
            make,
            pinned.clone(),
            Meta {
                name: None,
                location,
                spawned_ms,
            },
        );
        match self.shared.remotes[worker].arrivals.push(Arrival {
            task,
            runnable,
            pinned,
        }) {
            Ok(()) => self.shared.notify(worker),
            Err(refused) => refused.task.shutdown(),
        }
        handle
    }
}

/// Tasks that were sent to the thread of one worker and have not been taken in.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    list: Mutex<ArrivalList>,
    /// Whether there are any; changed under the lock.
    filled: AtomicBool,
}

#[derive(Debug, Default)]
struct ArrivalList {
    waiting: Vec<Arrival>,
    closed: bool,
}

/// A task on its way to a thread. Its future does not exist yet, so it may still be dropped anywhere.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(super) task: TaskRef,
    pub(super) runnable: Runnable,
    pub(super) pinned: Pinned,
}

impl Arrivals {
    #[inline]
    fn push(&self, arrival: Arrival) -> Result<(), Arrival> {
        let mut list = self.list.lock();
        if list.closed {
            return Err(arrival);
        }
        list.waiting.push(arrival);
        self.filled.store(true, Release);
        Ok(())
    }

    #[inline]
    pub(super) fn take(&self) -> Option<Vec<Arrival>> {
        self.filled.load(Acquire).then(|| {
            let mut list = self.list.lock();
            self.filled.store(false, Release);
            std::mem::take(&mut list.waiting)
        })
    }

    /// Refuses tasks from now on, ends those that wait, and says how many that were.
    pub(super) fn close(&self) -> usize {
        let waiting = {
            let mut list = self.list.lock();
            list.closed = true;
            std::mem::take(&mut list.waiting)
        };
        let count = waiting.len();
        waiting
            .into_iter()
            .for_each(|arrival| arrival.task.shutdown());
        count
    }
}
