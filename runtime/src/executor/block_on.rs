//! Running one future to its end on the calling thread.
//!
//! The thread is the driver of core 0 if nobody else is (see [`super::seat`]), and then runs tasks between two polls of its
//! future. Otherwise it is a guest: it parks, and drives nothing. The waker of the main future serves both; a single word
//! tells it what to wake.

use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Wake, Waker};

use super::budget::with_budget;
use super::context::{self, Context};
use super::core::Core;
use super::shared::{Home, Shared};
use super::worker::Worker;
use crate::sys::timer_slack::ExactWaits;
use crate::util::sync::atomic::{
    AtomicU8,
    Ordering::{AcqRel, Relaxed},
};
use crate::util::sync::thread::{self, Thread};

/// Polls `future` to its end.
#[track_caller]
pub(super) fn block_on<F: Future>(home: &Arc<Home>, future: F) -> F::Output {
    context::refuse_nested_block_on(Some(&home.shared));
    // A guest until it drives. What a future leaves behind that panics is dropped in here too.
    let _entered = context::enter(Context::Guest(home.clone()).into());
    let future = pin!(Some(future));
    let mut main = Main::new(&home.shared, future);
    loop {
        // The stand-in sees between two tasks that the core is wanted.
        let output = match home.shared.seat.claim_as_driver(|| home.shared.notify(0)) {
            Some(core) => drive(home, core, &mut main),
            None => be_guest(home, &mut main),
        };
        if let Some(output) = output {
            return output;
        }
    }
}

/// Runs the worker loop with the main future in it. `None` if the runtime was shut down meanwhile.
fn drive<F: Future>(home: &Arc<Home>, core: Core, main: &mut Main<'_, F>) -> Option<F::Output> {
    // The handle may be another core's.
    let home = &Home::new(&home.shared, core.index());
    let context = Rc::new(Context::Worker(Worker::new(home.clone())));
    let _entered = context::enter(context.clone());
    let worker = context.worker().expect("made above");
    let _on_cpu = home.shared.threads.keep_on_cpu(core.index());
    worker.put_core(core);
    home.shared.drive_alone();
    let _exact_waits = ExactWaits::begin();
    let _leave = LeaveCore(worker);
    main.waker.set_driving(true);
    // At hand: they are asked between any two tasks.
    let waker = main.waker.clone();
    let (shared, waker) = (&*home.shared, &*waker);
    let output = worker.run(|| {
        if waker.take_wake()
            && let Poll::Ready(output) = worker.poll_main(|| main.poll())
        {
            return Some(Some(output));
        }
        shared.is_closed().then_some(None)
    });
    main.waker.set_driving(false);
    output
}

/// Waits for the main future without driving anything. `None` if this thread may try to become the driver.
fn be_guest<F: Future>(home: &Arc<Home>, main: &mut Main<'_, F>) -> Option<F::Output> {
    let shared = &home.shared;
    // With several workers the stand-in takes the core that a driver gives back; alone, a guest must.
    let inherits = shared.workers_count() == 1 && !shared.is_closed();
    loop {
        if main.waker.take_wake()
            && let Poll::Ready(output) = with_budget(shared.poll_budget, || main.poll())
        {
            return Some(output);
        }
        if inherits && shared.seat.is_vacant() {
            return None;
        }
        main.waker.park();
    }
}

/// Ends the thread's local tasks and gives the core back, also when the main future panics.
struct LeaveCore<'a>(&'a Worker);

impl Drop for LeaveCore<'_> {
    fn drop(&mut self) {
        self.0.local().close();
        let shared = &self.0.home().shared;
        shared.rest_while_alone();
        if let Some(core) = shared.seat.give_back(self.0.take_core(), true) {
            shared.retire(core);
        }
    }
}

/// The main future and its waker. The future is dropped as soon as it is ready, while its runtime is still entered.
struct Main<'a, F> {
    future: Pin<&'a mut Option<F>>,
    waker: Arc<MainWaker>,
    task_waker: Waker,
}

impl<'a, F: Future> Main<'a, F> {
    fn new(shared: &Arc<Shared>, future: Pin<&'a mut Option<F>>) -> Self {
        let waker = Arc::new(MainWaker::new(shared));
        Self {
            future,
            task_waker: waker.clone().into(),
            waker,
        }
    }

    fn poll(&mut self) -> Poll<F::Output> {
        let future = self
            .future
            .as_mut()
            .as_pin_mut()
            .expect("polled until it is ready");
        let output = future.poll(&mut TaskContext::from_waker(&self.task_waker));
        if output.is_ready() {
            self.future.set(None);
        }
        output
    }
}

/// Wakes the main future's thread, wherever it waits.
#[derive(Debug)]
pub(super) struct MainWaker {
    /// [`WOKEN`] and [`DRIVING`] in one word, so that a wake knows for certain where the thread will look next.
    state: AtomicU8,
    shared: Arc<Shared>,
    thread: Thread,
}

impl MainWaker {
    /// For a main future of the current thread, which has not been polled.
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self {
            state: AtomicU8::new(WOKEN),
            shared: shared.clone(),
            thread: thread::current(),
        }
    }

    /// Whether the main future is to be polled.
    #[inline]
    pub(super) fn take_wake(&self) -> bool {
        self.state.load(Relaxed) & WOKEN != 0 && self.state.fetch_and(!WOKEN, AcqRel) & WOKEN != 0
    }

    /// Parks the thread, unless the main future is to be polled already.
    ///
    /// A poll that itself waited for something, on a channel of std for example, may have used up the token of the `unpark`
    /// that came with a wake.
    pub(super) fn park(&self) {
        // Relaxed: that wait has seen whatever came before the `unpark`.
        if self.state.load(Relaxed) & WOKEN == 0 {
            thread::park();
        }
    }

    /// The thread begins to drive core 0, or stops. It looks for a wake afterwards.
    pub(super) fn set_driving(&self, driving: bool) {
        match driving {
            true => self.state.fetch_or(DRIVING, AcqRel),
            false => self.state.fetch_and(!DRIVING, AcqRel),
        };
    }
}

impl Wake for MainWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let before = self.state.fetch_or(WOKEN, AcqRel);
        if before & WOKEN != 0 {
            return; // it has not looked since the wake before
        }
        match before & DRIVING != 0 {
            // By an event or a timer that the thread itself has taken: it waits for nothing, so no wait is to be ended.
            true if context::holds_core(&self.shared, 0) => {
                let _ = self.shared.remotes[0].parker.notify();
            }
            true => self.shared.notify(0),
            false => self.thread.unpark(),
        }
    }
}

/// The main future is to be polled.
const WOKEN: u8 = 1;
/// The thread holds core 0 and sleeps in its reactor, not in `thread::park`.
const DRIVING: u8 = 2;
