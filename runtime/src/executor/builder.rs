//! How a runtime is configured and put together.

use std::fmt::Display;
use std::io;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::clock::Clock;
use super::context::{self, Context};
use super::core::Core;
use super::observer::{Observer, Observing};
use super::polling::BusyPoll;
use super::runtime::Runtime;
use super::seat::{Claim, Seat};
use super::shared::{Home, Remote, Settings, Shared};
use super::stall::{OnStall, Stall, Stalls, THRESHOLD_MIN};
use super::watch::keep_watch;
use super::worker::Worker;
use crate::blocking::Limits;
use crate::reactor::{REACTOR_MAX, Reactors};
use crate::sys::cpus::{CpuSet, OnCpu};
use crate::sys::timer_slack::ExactWaits;

/// Configures a [`Runtime`].
///
/// # Examples
///
/// ```
/// let runtime = wakeful::Builder::new().workers(2).thread_name("server").build()?;
/// runtime.block_on(async { /* … */ });
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct Builder {
    workers: Option<usize>,
    threads: Threads,
    poll_budget: u32,
    seed: u64,
    virtual_time: bool,
    blocking: Limits,
    busy_poll: BusyPoll,
    pin_workers: bool,
    on_stall: Option<OnStall>,
    observer: Option<Observing>,
}

impl Builder {
    /// The defaults: one worker per available CPU.
    pub fn new() -> Self {
        Self {
            workers: None,
            threads: Threads {
                name: "wakeful".to_owned(),
                stack_size: None,
                cpus: None,
            },
            poll_budget: POLL_BUDGET,
            seed: 0,
            virtual_time: false,
            blocking: Limits {
                threads_max: BLOCKING_THREADS_MAX,
                queue_max: BLOCKING_QUEUE_MAX,
                idle: BLOCKING_IDLE,
            },
            busy_poll: BusyPoll::default(),
            pin_workers: false,
            on_stall: None,
            observer: None,
        }
    }

    /// How many workers run tasks, from 1 to 1024. With one, the runtime has no thread of its own: `block_on` runs all.
    pub fn workers(mut self, count: usize) -> Self {
        self.workers = Some(count);
        self
    }

    /// What the runtime's threads are called: this name, a dash and the worker's number, `watch` for the one that looks after
    /// the others, or `blocking-` and a number that is free. Linux shows 15 bytes of it.
    pub fn thread_name(mut self, name: impl Into<String>) -> Self {
        self.threads.name = name.into();
        self
    }

    /// The stack of each thread of the runtime in bytes; by default what `std::thread` takes.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.threads.stack_size = Some(bytes);
        self
    }

    /// How many I/O operations a task may do before others have their turn; 128 by default, at least 1. To copy 4 KiB
    /// ([`io::copy`](crate::io::copy) and its kin) counts as one more.
    pub fn poll_budget(mut self, operations: u32) -> Self {
        self.poll_budget = operations;
        self
    }

    /// Decides the choices that the runtime makes only to spread things: with which sibling a worker begins when it looks for
    /// tasks to steal. 0 by default.
    ///
    /// With the same seed each worker makes the same choices in the same order. That does not make a run repeatable where
    /// something else decides: how the kernel schedules the threads, and in which order events arrive. With one worker
    /// there is nobody to steal from, and at present nothing to choose.
    ///
    /// # Examples
    ///
    /// ```
    /// let runtime = wakeful::Builder::new().workers(2).seed(42).build()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Lets the time of [`wakeful::time`](crate::time) stand still while anything is to be done, and jump to the next deadline
    /// when nothing is. For tests: one of a 24-hour time-out takes no time.
    ///
    /// The runtime then has one worker. The time jumps when no task is due, no descriptor is ready and no blocking closure is
    /// out (so one that itself waits for this time waits for ever); [`time::advance`](crate::time::advance) moves it by hand. A
    /// `block_on` beside another one does not hold it back. Data on its way between two sockets counts as nothing:
    /// use [`io::duplex`](crate::io::duplex), or be prepared for a time-out to come first.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use wakeful::time::{Instant, sleep};
    ///
    /// let runtime = wakeful::Builder::new().virtual_time(true).build()?;
    /// runtime.block_on(async {
    ///     let begun = Instant::now();
    ///     sleep(Duration::from_secs(24 * 60 * 60)).await; // takes no time
    ///     assert!(begun.elapsed() >= Duration::from_secs(24 * 60 * 60));
    /// });
    /// # std::io::Result::Ok(())
    /// ```
    pub fn virtual_time(mut self, on: bool) -> Self {
        self.virtual_time = on;
        self
    }

    /// How many closures of [`spawn_blocking`](crate::spawn_blocking) may run at a time, each on a thread of its own; 512 by
    /// default, at least 1. More wait in a queue.
    pub fn blocking_threads_max(mut self, count: usize) -> Self {
        self.blocking.threads_max = count;
        self
    }

    /// How many closures of [`spawn_blocking`](crate::spawn_blocking) may wait for a thread; 65 536 by default, at least 1. When
    /// so many wait, `spawn_blocking` blocks.
    ///
    /// One that waits takes some 150 bytes, with a word that it has captured, so the default bounds the queue to about 10 MiB.
    pub fn blocking_queue_max(mut self, count: usize) -> Self {
        self.blocking.queue_max = count;
        self
    }

    /// How long a thread for blocking closures waits for the next one before it ends; 10 seconds by default.
    pub fn blocking_idle(mut self, time: Duration) -> Self {
        self.blocking.idle = time;
        self
    }

    /// Whether a worker that has nothing to do looks for events for a while before it sleeps; [`BusyPoll::Adaptive`] by default.
    ///
    /// To wake a thread takes longer than to answer a message, above all on a virtual machine. A worker that polls is there
    /// when the message comes. It learns how long to poll: an idle process, or one that gets a message a millisecond, does not.
    ///
    /// # Examples
    ///
    /// ```
    /// use wakeful::BusyPoll;
    ///
    /// let runtime = wakeful::Builder::new().busy_poll(BusyPoll::Off).build()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn busy_poll(mut self, mode: BusyPoll) -> Self {
        self.busy_poll = mode;
        self
    }

    /// Keeps each worker on a CPU of its own, counted round those on which the thread that calls [`build`](Self::build) may
    /// run; not by default.
    ///
    /// That helps where nothing else runs on those CPUs, and harms where something does: the kernel can no longer move the
    /// worker out of its way. The thread that calls `block_on` is kept on the first of them for as long. A thread that a task
    /// starts inherits its worker's CPU; those for blocking closures do not. Where the system refuses it (a filter of
    /// system calls), workers run as without it.
    pub fn pin_workers(mut self, on: bool) -> Self {
        self.pin_workers = on;
        self
    }

    /// Calls `callback` when a worker has not come back from a poll for `threshold`, while it is still there, and again when it
    /// has come back: a task that computes for long or blocks its thread holds up all others of its worker, or those that are not
    /// `Send` at least. Thresholds below 4 ms count as that.
    ///
    /// The first call comes before twice the threshold is over, as far as the machine has a CPU for the thread that calls: the
    /// watch, which looks after the workers. Until the callback returns nobody else does, so it should do no more than print
    /// or count. A panic in it is ignored. A runtime with one worker has that thread only if this is called.
    ///
    /// Time that the machine gives to others counts. [`WorkerMetrics::stalls`](crate::WorkerMetrics::stalls) counts such stalls.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let runtime = wakeful::Builder::new()
    ///     .workers(1)
    ///     .on_stall(Duration::from_millis(50), |stall| eprintln!("{stall}"))
    ///     .build()?;
    /// runtime.block_on(async {
    ///     // prints that worker 0 is kept by this, and that its thread sleeps in clock_nanosleep
    ///     wakeful::spawn(async { std::thread::sleep(Duration::from_millis(150)) }).await.unwrap();
    /// });
    /// # std::io::Result::Ok(())
    /// ```
    pub fn on_stall(
        mut self,
        threshold: Duration,
        callback: impl Fn(&Stall) + Send + Sync + 'static,
    ) -> Self {
        self.on_stall = Some(OnStall {
            threshold: threshold.max(THRESHOLD_MIN),
            callback: Arc::new(AssertUnwindSafe(Box::new(callback))),
        });
        self
    }

    /// Has `observer` told of every task: when it is spawned, polled and gone. Costs nothing measurable where it is not called.
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observer = Some(Observing::new(observer));
        self
    }

    /// Builds the runtime and starts its threads.
    ///
    /// # Errors
    ///
    /// `InvalidInput` when a number is out of its range; otherwise what the system says when it refuses a thread, a
    /// descriptor or memory.
    pub fn build(mut self) -> io::Result<Runtime> {
        let workers_count = match self.workers {
            Some(count) => count,
            None if self.virtual_time => 1,
            None => thread::available_parallelism()?.get().min(WORKERS_MAX),
        };
        if !(1..=WORKERS_MAX).contains(&workers_count) {
            return Err(invalid(format!(
                "a runtime has 1 to {WORKERS_MAX} workers, not {workers_count}"
            )));
        }
        if self.virtual_time && workers_count > 1 {
            return Err(invalid(format!(
                "virtual time needs a runtime with one worker, not {workers_count}: with several, what happens at the same \
                 moment would have no order"
            )));
        }
        if self.poll_budget == 0 {
            return Err(invalid(
                "with a poll budget of 0 no task could do any I/O; the least is 1".to_owned(),
            ));
        }
        if self.blocking.threads_max == 0 || self.blocking.queue_max == 0 {
            return Err(invalid(
                "blocking closures need at least one thread, and room for one that waits for it"
                    .to_owned(),
            ));
        }
        if self.threads.name.as_bytes().contains(&0) {
            return Err(invalid(
                "a thread name cannot contain a zero byte".to_owned(),
            ));
        }

        if self.pin_workers {
            self.threads.cpus = Some(CpuSet::of_this_thread()?);
        }

        let mut cores = self.cores(workers_count);
        let clock = Clock::new(self.virtual_time);
        let remotes = cores
            .iter()
            .map(|core| Arc::new(Remote::new(core, &clock, self.observer.clone())))
            .collect();
        let reactors = Reactors::new(workers_count)?;
        let others = cores.split_off(1);
        let seat = Seat::new(cores.pop().expect("there is at least one worker"));
        let shared = Arc::new(Shared::new(
            remotes,
            reactors,
            seat,
            clock,
            Settings {
                poll_budget: self.poll_budget,
                busy_poll: self.busy_poll,
                threads: self.threads.clone(),
                blocking: self.blocking.clone(),
            },
        ));

        shared.rest_while_alone();
        let home = |core| Home::new(&shared, core);
        let mut bodies: Vec<(String, Box<dyn FnOnce() + Send>)> = Vec::new();
        if workers_count > 1 {
            let home = home(0);
            bodies.push(("0".to_owned(), Box::new(move || run_stand_in(home))));
        }
        if workers_count > 1 || self.on_stall.is_some() {
            let stalls = Stalls::new(self.on_stall.clone(), workers_count);
            let shared = shared.clone();
            let watch = move || run_watch(&shared, stalls);
            bodies.push(("watch".to_owned(), Box::new(watch)));
        }
        for core in others {
            let (name, home) = (core.index().to_string(), home(core.index()));
            bodies.push((name, Box::new(move || run_worker(home, core))));
        }

        shared.ending.expect_threads(bodies.len());
        let mut threads = Vec::with_capacity(bodies.len());
        let mut bodies = bodies.into_iter();
        let failed =
            bodies
                .by_ref()
                .find_map(|(name, body)| match self.threads.start(&name, body) {
                    Ok(thread) => {
                        threads.push(thread);
                        None
                    }
                    Err(error) => Some(error),
                });
        match failed {
            None => Ok(Runtime::from_parts(home(0), threads)),
            Some(error) => {
                // The cores of threads that never began died with their closures, so nobody waits for the last one.
                shared.close();
                threads.into_iter().for_each(|thread| drop(thread.join()));
                Err(error)
            }
        }
    }

    fn cores(&self, workers_count: usize) -> Vec<Core> {
        (0..workers_count)
            .map(|index| Core::new(index, workers_count, self.seed, self.busy_poll))
            .collect()
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

/// How the threads of a runtime are made.
#[derive(Clone, Debug)]
pub(super) struct Threads {
    pub(super) name: String,
    pub(super) stack_size: Option<usize>,
    /// Where they may run, if workers are kept on one CPU each: a thread that a worker starts would inherit that one.
    pub(super) cpus: Option<CpuSet>,
}

impl Threads {
    /// Starts the thread that is `which` of the runtime.
    pub(super) fn start(
        &self,
        which: impl Display,
        body: impl FnOnce() + Send + 'static,
    ) -> io::Result<thread::JoinHandle<()>> {
        let name = format!("{}-{which}", self.name);
        let mut thread = thread::Builder::new().name(name.clone());
        if let Some(bytes) = self.stack_size {
            thread = thread.stack_size(bytes);
        }
        let cpus = self.cpus.clone();
        let body = move || {
            if let Some(cpus) = cpus {
                let _ = cpus.apply_to_this_thread(); // or it stays where the worker is
            }
            body();
        };
        thread.spawn(body).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("cannot start the thread `{name}`: {error}"),
            )
        })
    }
}

impl Threads {
    /// Keeps the calling thread where the worker with this number belongs, if workers are to be kept anywhere.
    pub(super) fn keep_on_cpu(&self, worker: usize) -> Option<OnCpu> {
        let cpus = self.cpus.as_ref()?;
        OnCpu::begin(cpus, worker).ok()
    }
}

/// The life of a worker's thread.
fn run_worker(home: Arc<Home>, core: Core) {
    let shared = home.shared.clone();
    let _end = AtEnd(|| shared.ending.thread_ended());
    let context = Rc::new(Context::Worker(Worker::new(home)));
    let _entered = context::enter(context.clone());
    let worker = context.worker().expect("made above");
    let _on_cpu = shared.threads.keep_on_cpu(core.index());
    worker.put_core(core);
    let _exact_waits = ExactWaits::begin();
    let _retire = AtEnd(|| {
        worker.local().close();
        shared.retire(worker.take_core());
    });
    worker.run(|| shared.is_closed().then_some(()));
}

/// The life of the thread that drives core 0 while no `block_on` does.
fn run_stand_in(home: Arc<Home>) {
    let shared = home.shared.clone();
    let _end = AtEnd(|| shared.ending.thread_ended());
    let context = Rc::new(Context::Worker(Worker::new(home)));
    let _entered = context::enter(context.clone());
    let worker = context.worker().expect("made above");
    let _exact_waits = ExactWaits::begin();
    let seat = &shared.seat;
    let claim = || match seat.claim_as_stand_in() {
        Claim::Core(core) => Some(Some(core)),
        Claim::Wait => None,
        Claim::Closed => Some(None),
    };
    while let Some(core) = worker.run_without_core(claim) {
        let _on_cpu = shared.threads.keep_on_cpu(core.index());
        worker.put_core(core);
        let _give_back = AtEnd(|| {
            // It has none if a task of its own has blocked in place meanwhile, and a `block_on` wanted the core.
            if worker.has_core()
                && let Some(core) = seat.give_back(worker.take_core(), false)
            {
                worker.local().close();
                shared.retire(core);
            }
        });
        worker.run(|| {
            let leaves = seat.is_wanted() || shared.is_closed() || !worker.has_core();
            leaves.then_some(())
        });
    }
    worker.local().close();
}

/// The life of the thread that looks after the others.
fn run_watch(shared: &Arc<Shared>, stalls: Stalls) {
    let _end = AtEnd(|| shared.ending.thread_ended());
    keep_watch(shared, stalls);
}

/// Calls a closure when it is dropped. The thread may be panicking, though only by a bug of ours or a fault of the system:
/// a shutdown then must not wait for a core that died with it.
pub(super) struct AtEnd<F: FnMut()>(pub(super) F);

impl<F: FnMut()> Drop for AtEnd<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

/// Enough for a few requests, little enough that others are not kept waiting for milliseconds.
const POLL_BUDGET: u32 = 128;

/// More threads than a machine has CPUs, since they mostly wait; fewer than the stacks of would be felt.
const BLOCKING_THREADS_MAX: usize = 512;

/// Longer than a burst may be, shorter than memory would be felt to leak.
const BLOCKING_QUEUE_MAX: usize = 65_536;

/// Long enough that a server with a closure now and then keeps its thread.
const BLOCKING_IDLE: Duration = Duration::from_secs(10);

/// As many as a token can name.
const WORKERS_MAX: usize = REACTOR_MAX as usize + 1;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::Builder;

    /// The first choices of each of three cores.
    fn choices(builder: Builder) -> Vec<Vec<usize>> {
        let cores = builder.cores(3);
        cores
            .iter()
            .map(|core| (0..16).map(|_| core.rng.below(1000)).collect())
            .collect()
    }

    #[test]
    fn a_seed_decides_the_choices_of_every_core_and_no_two_cores_choose_alike() {
        let seeded = |seed| choices(Builder::new().seed(seed));
        assert_eq!(seeded(42), seeded(42));
        assert_eq!(seeded(0), choices(Builder::new()));
        let all: Vec<_> = (0..100).flat_map(seeded).collect();
        for (at, one) in all.iter().enumerate() {
            assert!(!all[..at].contains(one), "two cores choose alike: {one:?}");
        }
    }
}
