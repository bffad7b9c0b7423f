//! Behaviour of a single task, row by row of the waker and task contract (W1 to W25).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::error::Error;
use std::future::{self, pending, poll_fn, ready};
use std::panic::{self, Location, RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::ptr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::{io, mem, thread};

use super::raw::{Anywhere, HomeThread, TaskCell};
use super::state::tests::RMW_COUNT;
use super::*;

// What the tests share.

/// A scheduler that only records. Each task holds one of its clones, so that a freed task can be told from a leaked one.
#[derive(Clone, Default)]
pub(super) struct Queue(Arc<Mutex<VecDeque<Runnable>>>);

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    pub(super) fn push(&self, runnable: Runnable) {
        self.0.lock().unwrap().push_back(runnable);
    }

    pub(super) fn pop(&self) -> Option<Runnable> {
        self.0.lock().unwrap().pop_front()
    }

    /// Tasks that are not freed yet.
    pub(super) fn tasks_count(&self) -> usize {
        Arc::strong_count(&self.0) - 1
    }

    fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> (TaskRef, JoinHandle<T>) {
        let (task, runnable, handle) = new(future, self.clone(), meta());
        self.push(runnable);
        (task, handle)
    }

    fn spawn_local<T: 'static>(
        &self,
        future: impl Future<Output = T> + 'static,
    ) -> (TaskRef, JoinHandle<T>) {
        let (task, runnable, handle) = new_local(future, self.clone(), meta());
        self.push(runnable);
        (task, handle)
    }

    /// Runs what is due once; says whether that finished it.
    fn run_one(&self) -> bool {
        match self.pop().expect("something is due").run(0) {
            Ran::Idle => false,
            Ran::Again(runnable) => {
                self.push(runnable);
                false
            }
            Ran::Complete(_) => true,
        }
    }
}

impl Schedule for Queue {
    fn schedule(&self, runnable: Runnable) {
        self.push(runnable);
    }
}

#[track_caller]
pub(super) fn meta() -> Meta {
    Meta {
        name: None,
        location: Location::caller(),
        spawned_ms: 0,
    }
}

/// Counts its drops, and panics in them if told to.
pub(super) struct Dropped {
    pub(super) count: Arc<AtomicUsize>,
    pub(super) panics: bool,
}

impl Drop for Dropped {
    fn drop(&mut self) {
        self.count.fetch_add(1, SeqCst);
        if self.panics {
            panic::resume_unwind(Box::new("panic in drop"));
        }
    }
}

fn dropped(panics: bool) -> (Dropped, Arc<AtomicUsize>) {
    let count = Arc::default();
    (
        Dropped {
            count: Arc::clone(&count),
            panics,
        },
        count,
    )
}

/// A waker that counts.
#[derive(Default)]
pub(super) struct Joiner(pub(super) AtomicUsize);

impl Wake for Joiner {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

fn poll_join<F: Future + Unpin>(handle: &mut F) -> Poll<F::Output> {
    Pin::new(handle).poll(&mut Context::from_waker(Waker::noop()))
}

#[track_caller]
fn joined<T>(
    mut handle: impl Future<Output = Result<T, JoinError>> + Unpin,
) -> Result<T, JoinError> {
    match poll_join(&mut handle) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("the task is not finished"),
    }
}

/// A future that leaves its waker in the cell at each poll, and never finishes.
fn leaves_waker(waker: &Arc<Mutex<Option<Waker>>>) -> impl Future<Output = ()> + Send + use<> {
    let waker = Arc::clone(waker);
    poll_fn(move |cx| {
        *waker.lock().unwrap() = Some(cx.waker().clone());
        Poll::Pending
    })
}

fn silent_panic() -> ! {
    panic::resume_unwind(Box::new("boom"))
}

// What it weighs.

#[test]
fn sizes_are_what_the_design_allows() {
    let header = size_of::<Header>();
    let cell = size_of::<TaskCell<future::Ready<()>, (), Anywhere>>();
    let with_arc = size_of::<TaskCell<future::Ready<()>, Queue, Anywhere>>();
    let local = size_of::<TaskCell<future::Ready<()>, Queue, HomeThread>>();
    let large = size_of::<TaskCell<future::Ready<[u64; 64]>, (), Anywhere>>();
    println!(
        "Header {header}, TaskCell {cell}, with an Arc {with_arc}, local {local}, with 520 bytes of future {large}"
    );
    assert!(header <= 88 && align_of::<Header>() == 8);
    assert_eq!(cell, header + 24, "room for a panic's payload");
    assert_eq!(with_arc, cell + 8);
    assert_eq!(local, with_arc + 8);
    assert_eq!(large, header + 65 * 8);
    assert!(size_of::<JoinHandle<[u8; 100]>>() <= 16 && size_of::<Runnable>() == 8);
    assert_eq!(size_of::<Option<TaskRef>>(), 8, "a place in the registry");
}

#[derive(Clone, Copy)]
struct ThreadQueue;

thread_local! {
    static THREAD_QUEUE: RefCell<Vec<Runnable>> = const { RefCell::new(Vec::new()) };
}

impl Schedule for ThreadQueue {
    fn schedule(&self, runnable: Runnable) {
        THREAD_QUEUE.with_borrow_mut(|queue| queue.push(runnable));
    }

    fn schedule_due(due: Due<Self>) {
        let scheduler = *due.scheduler();
        scheduler.schedule(due.into_runnable());
    }
}

/// Read-modify-writes of state words that `f` makes.
fn rmws(f: impl FnOnce()) -> u32 {
    let before = RMW_COUNT.get();
    f();
    RMW_COUNT.get() - before
}

#[test]
fn wake_run_idle_costs_three_read_modify_writes_and_a_clone_one() {
    let waker = Arc::default();
    let (task, runnable, handle) = new(leaves_waker(&waker), ThreadQueue, meta());
    assert_eq!(
        rmws(|| assert!(matches!(runnable.run(0), Ran::Idle))),
        3,
        "start, the future's clone, end"
    );
    let taken = waker.lock().unwrap().take().unwrap();
    assert_eq!(rmws(|| taken.wake()), 1);
    let runnable = THREAD_QUEUE.with_borrow_mut(Vec::pop).unwrap();
    assert_eq!(rmws(|| assert!(matches!(runnable.run(0), Ran::Idle))), 3);
    assert_eq!(rmws(|| drop(handle)), 1, "detaching");
    task.shutdown();
    assert_eq!(
        rmws(|| waker.lock().unwrap().take().unwrap().wake()),
        1,
        "a wake after completion"
    );
}

#[test]
fn the_end_of_a_task_costs_one_read_modify_write_beside_those_of_who_still_refers_to_it() {
    let queue = Queue::default();
    let (task, runnable, handle) = new(ready(7), queue.clone(), meta());
    assert_eq!(rmws(|| drop(handle)), 1);
    let ran = Cell::new(None);
    assert_eq!(rmws(|| ran.set(Some(runnable.run(0)))), 2, "start, end");
    let Some(Ran::Complete(ended)) = ran.take() else {
        panic!("ready at once")
    };
    assert_eq!(
        rmws(|| ended.release(Some(task))),
        0,
        "nobody else is left, so the word is nobody's concern"
    );
    assert_eq!(queue.tasks_count(), 0);

    let (task, runnable, handle) = new(ready(7), queue.clone(), meta());
    let Ran::Complete(ended) = runnable.run(0) else {
        panic!("ready at once")
    };
    assert_eq!(rmws(|| ended.release(Some(task))), 1, "both at once");
    assert_eq!(queue.tasks_count(), 1);
    assert_eq!(rmws(|| assert_eq!(joined(handle).unwrap(), 7)), 0);
    assert_eq!(queue.tasks_count(), 0);
}

// W1 to W8: wakes.

#[test]
fn w1_a_task_whose_last_waker_dies_in_its_poll_lives_as_long_as_someone_can_reach_it() {
    let queue = Queue::default();
    let (guard, drops) = dropped(false);
    let (task, handle) = queue.spawn(poll_fn(move |cx| {
        let _ = &guard;
        drop(cx.waker().clone());
        Poll::<()>::Pending
    }));
    drop(handle);
    assert!(!queue.run_one());
    assert_eq!(
        (drops.load(SeqCst), queue.tasks_count()),
        (0, 1),
        "the registry still knows it"
    );
    drop(task);
    assert_eq!((drops.load(SeqCst), queue.tasks_count()), (1, 0));
}

#[test]
fn w1_a_task_that_nobody_can_reach_any_more_is_freed_after_its_poll() {
    let queue = Queue::default();
    let (guard, drops) = dropped(false);
    let (task, handle) = queue.spawn(async move {
        let _guard = guard;
        pending::<()>().await;
    });
    drop((task, handle));
    assert!(!queue.run_one());
    assert_eq!((drops.load(SeqCst), queue.tasks_count()), (1, 0));
}

#[test]
fn w2_waking_during_the_own_poll_many_times_gives_exactly_one_more_poll() {
    let queue = Queue::default();
    let polls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&polls);
    let (_task, _handle) = queue.spawn(poll_fn(move |cx| {
        if counted.fetch_add(1, SeqCst) == 0 {
            for _ in 0..5 {
                cx.waker().wake_by_ref();
                let by_value = cx.waker().clone();
                by_value.wake();
            }
        }
        Poll::<()>::Pending
    }));
    assert!(!queue.run_one());
    assert_eq!(queue.len(), 1);
    assert!(!queue.run_one());
    assert_eq!((queue.len(), polls.load(SeqCst)), (0, 2));
}

#[test]
fn w2_asking_for_another_poll_gives_exactly_one_more_and_costs_no_read_modify_write() {
    let queue = Queue::default();
    let polls = Rc::new(Cell::new(0));
    let counted = polls.clone();
    let (_task, _handle) = queue.spawn_local(poll_fn(move |cx| {
        counted.set(counted.get() + 1);
        if counted.get() == 1 {
            assert_eq!(rmws(|| run_again(cx.waker())), 0);
            run_again(&cx.waker().clone());
        }
        Poll::<()>::Pending
    }));
    assert!(!queue.run_one());
    assert_eq!((queue.len(), polls.get()), (1, 1));
    assert!(!queue.run_one());
    assert_eq!((queue.len(), polls.get()), (0, 2));
}

#[test]
fn w2_whoever_asks_for_another_poll_of_a_task_that_is_not_being_polled_wakes_it() {
    let queue = Queue::default();
    let slot = Arc::default();
    let (_waits, _handle) = queue.spawn(leaves_waker(&slot));
    assert!(!queue.run_one());
    let waker = slot.lock().unwrap().take().unwrap();
    let (_asks, _other) = queue.spawn(poll_fn(move |_| {
        run_again(&waker);
        Poll::<()>::Pending
    }));
    assert!(!queue.run_one());
    assert_eq!(queue.len(), 1, "the first, and not the one that was polled");
    assert!(!queue.run_one());
    run_again(Waker::noop());
    assert_eq!(queue.len(), 0);
    slot.lock().unwrap().take(); // or the task would keep itself alive
}

#[test]
fn w2_a_poll_that_blocks_and_runs_another_still_gets_the_poll_that_it_asked_for() {
    let queue = Queue::default();
    let (_inner, _handle) = queue.spawn(pending::<()>());
    let inner = queue.pop().unwrap();
    let mut inner = Some(inner);
    let (_outer, _other) = queue.spawn(poll_fn(move |cx| {
        if let Some(inner) = inner.take() {
            run_again(cx.waker());
            assert!(matches!(inner.run(0), Ran::Idle));
        }
        Poll::<()>::Pending
    }));
    assert!(!queue.run_one());
    assert_eq!(queue.len(), 1);
    assert!(!queue.run_one());
    assert_eq!(queue.len(), 0);
}

#[test]
fn w3_wakes_from_other_threads_are_never_lost_and_never_make_two_polls_at_once() {
    const WAKES: usize = 20_000;
    let queue = Queue::default();
    let (sent, polling) = (Arc::new(AtomicUsize::new(0)), AtomicBool::new(false));
    let shared = Arc::new(Mutex::new(None));
    let (seen, leave) = (Arc::clone(&sent), Arc::clone(&shared));
    let (_task, handle) = queue.spawn(poll_fn(move |cx| {
        assert!(!polling.swap(true, SeqCst), "two polls at once");
        leave
            .lock()
            .unwrap()
            .get_or_insert_with(|| cx.waker().clone());
        let finished = seen.load(SeqCst) == 2 * WAKES;
        polling.store(false, SeqCst);
        if finished {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }));
    assert!(!queue.run_one());
    let wakers = [(); 2].map(|()| {
        let (sent, waker) = (Arc::clone(&sent), shared.lock().unwrap().clone().unwrap());
        thread::spawn(move || {
            for _ in 0..WAKES {
                sent.fetch_add(1, SeqCst);
                waker.wake_by_ref();
            }
        })
    });
    let over = Arc::new(AtomicBool::new(false));
    let runners = [(); 2].map(|()| {
        let (queue, over) = (queue.clone(), Arc::clone(&over));
        thread::spawn(move || {
            let mut completed = 0;
            loop {
                let last_look = over.load(SeqCst);
                match queue.pop().map(|runnable| runnable.run(0)) {
                    Some(Ran::Again(runnable)) => queue.push(runnable),
                    Some(Ran::Complete(_)) => completed += 1,
                    Some(Ran::Idle) => {}
                    None if last_look => return completed,
                    None => thread::yield_now(),
                }
            }
        })
    });
    for waker in wakers {
        waker.join().unwrap();
    }
    over.store(true, SeqCst);
    assert_eq!(
        runners
            .map(|runner| runner.join().unwrap())
            .iter()
            .sum::<usize>(),
        1
    );
    joined(handle).unwrap();
}

#[test]
fn w4_wakers_of_a_finished_task_do_nothing_and_the_last_frees_it() {
    for ends_by_shutdown in [false, true] {
        let queue = Queue::default();
        let left = Arc::default();
        let (task, handle) = queue.spawn(leaves_waker(&left));
        assert!(!queue.run_one());
        if ends_by_shutdown {
            task.shutdown();
        } else {
            handle.abort();
            assert!(queue.run_one());
        }
        assert!(joined(handle).unwrap_err().is_cancelled());
        drop(task);
        let waker = left.lock().unwrap().take().unwrap();
        waker.wake_by_ref();
        let clone = waker.clone();
        clone.wake();
        drop(waker.clone());
        assert_eq!((queue.len(), queue.tasks_count()), (0, 1));
        waker.wake();
        assert_eq!((queue.len(), queue.tasks_count()), (0, 0));
    }
}

#[test]
fn w6_waking_inside_the_drop_of_the_future_or_of_the_output_is_harmless() {
    struct WakesOnDrop(Arc<Mutex<Option<Waker>>>);
    impl Drop for WakesOnDrop {
        fn drop(&mut self) {
            let waker = self.0.lock().unwrap().clone().unwrap();
            waker.wake_by_ref();
            waker.wake();
        }
    }
    let queue = Queue::default();
    let left = Arc::default();
    let (in_future, in_output) = (
        WakesOnDrop(Arc::clone(&left)),
        WakesOnDrop(Arc::clone(&left)),
    );
    let mut leave = Box::pin(leaves_waker(&left));
    let mut output = Some(in_output);
    let (task, handle) = queue.spawn(poll_fn(move |cx| {
        let _ = &in_future;
        assert!(leave.as_mut().poll(cx).is_pending());
        Poll::Ready(output.take())
    }));
    drop(handle);
    assert!(queue.run_one(), "the output was dropped by the run");
    assert_eq!(queue.len(), 0);
    left.lock().unwrap().take();
    drop(task);
    assert_eq!(queue.tasks_count(), 0);
}

#[test]
fn w7_a_wake_and_an_abort_only_hand_on_a_runnable() {
    let queue = Queue::default();
    let left = Arc::default();
    let (guard, drops) = dropped(false);
    let leave = leaves_waker(&left);
    let (_task, handle) = queue.spawn(async move {
        let _guard = guard;
        leave.await;
    });
    assert!(!queue.run_one());
    // The future locks this in its poll; a poll inside the wake would deadlock.
    let held = left.lock().unwrap();
    held.as_ref().unwrap().wake_by_ref();
    handle.abort();
    assert_eq!((queue.len(), drops.load(SeqCst)), (1, 0));
    drop(held);
    assert!(queue.run_one());
    assert_eq!(drops.load(SeqCst), 1);
    left.lock().unwrap().take();
}

// W9 to W13: panics.

#[test]
fn w9_a_panic_drops_the_future_there_wakes_the_joiner_and_carries_the_payload() {
    let queue = Queue::default();
    let (guard, drops) = dropped(false);
    let (task, mut handle) = queue.spawn(async move {
        let _guard = guard;
        silent_panic();
    });
    let joiner = Arc::new(Joiner::default());
    assert!(
        Pin::new(&mut handle)
            .poll(&mut Context::from_waker(&Arc::clone(&joiner).into()))
            .is_pending()
    );
    assert!(
        queue.run_one(),
        "the worker lives, and is told that the task is over"
    );
    assert_eq!((drops.load(SeqCst), joiner.0.load(SeqCst)), (1, 1));
    let error = joined(handle).unwrap_err();
    assert!(error.is_panic() && !error.is_cancelled());
    assert_eq!(error.into_panic().downcast_ref(), Some(&"boom"));
    drop(task);
    assert_eq!(queue.tasks_count(), 0);
}

#[test]
fn w10_a_panic_in_the_drop_of_the_future_becomes_the_result() {
    #[derive(Debug, Clone, Copy)]
    enum End {
        Ready,
        Abort,
        Shutdown,
    }
    for end in [End::Ready, End::Abort, End::Shutdown] {
        let queue = Queue::default();
        let (guard, future_drops) = dropped(true);
        let (output, output_drops) = dropped(matches!(end, End::Ready));
        let mut output = Some(output);
        let (task, handle) = queue.spawn(poll_fn(move |_| {
            let _ = &guard;
            if matches!(end, End::Ready) {
                Poll::Ready(output.take())
            } else {
                Poll::Pending
            }
        }));
        let finished = queue.run_one();
        match end {
            End::Ready => assert!(finished),
            End::Abort => {
                handle.abort();
                assert!(queue.run_one());
            }
            End::Shutdown => task.shutdown(),
        }
        let error = joined(handle).map(drop).unwrap_err();
        assert_eq!(
            error.into_panic().downcast_ref(),
            Some(&"panic in drop"),
            "{end:?}"
        );
        drop(task);
        assert_eq!(
            (
                future_drops.load(SeqCst),
                output_drops.load(SeqCst),
                queue.tasks_count()
            ),
            (1, 1, 0),
            "{end:?}"
        );
    }
}

#[test]
fn w10_of_two_panics_the_first_wins_and_a_payload_that_panics_is_survived() {
    let queue = Queue::default();
    let (guard, drops) = dropped(true);
    let (payload, payload_drops) = dropped(true);
    let mut payload = Some(payload);
    let (task, handle) = queue.spawn(poll_fn(move |_| -> Poll<()> {
        let _ = &guard;
        panic::resume_unwind(Box::new(payload.take()))
    }));
    assert!(queue.run_one());
    assert_eq!(
        (drops.load(SeqCst), payload_drops.load(SeqCst)),
        (1, 0),
        "the payload of the poll is kept"
    );
    drop(handle);
    drop(task);
    assert_eq!((payload_drops.load(SeqCst), queue.tasks_count()), (1, 0));
}

#[test]
fn w11_an_output_that_panics_as_it_is_dropped_is_swallowed_and_the_memory_freed() {
    for handle_goes_first in [false, true] {
        let queue = Queue::default();
        let (output, drops) = dropped(true);
        let (task, handle) = queue.spawn(ready(output));
        let mut handle = Some(handle);
        if handle_goes_first {
            handle.take();
        }
        assert!(queue.run_one());
        drop(handle);
        drop(task);
        assert_eq!((drops.load(SeqCst), queue.tasks_count()), (1, 0));
    }
}

#[test]
fn w13_the_drop_of_a_joiners_waker_may_come_back_to_the_task() {
    struct AbortsOnDrop(Mutex<Option<JoinHandle<()>>>);
    impl Wake for AbortsOnDrop {
        fn wake(self: Arc<Self>) {}
    }
    impl Drop for AbortsOnDrop {
        fn drop(&mut self) {
            self.0.lock().unwrap().as_ref().unwrap().abort();
        }
    }
    let queue = Queue::default();
    let (task, mut handle) = queue.spawn(pending::<()>());
    let (other_task, other) = queue.spawn(pending::<()>());
    let joiner = Waker::from(Arc::new(AbortsOnDrop(Mutex::new(Some(other)))));
    assert!(
        Pin::new(&mut handle)
            .poll(&mut Context::from_waker(&joiner))
            .is_pending()
    );
    drop(joiner);
    assert!(
        poll_join(&mut handle).is_pending(),
        "drops the waker registered before"
    );
    assert!(!queue.run_one());
    assert!(queue.run_one(), "which aborted the other task");
    drop((task, other_task, handle));
    assert_eq!(queue.tasks_count(), 0);
}

// W17: tasks that are not Send.

#[test]
fn w17_a_local_task_is_woken_and_aborted_from_afar_and_runs_and_dies_at_home() {
    struct AtHome(Rc<Cell<u32>>, thread::ThreadId);
    impl Drop for AtHome {
        fn drop(&mut self) {
            assert_eq!(thread::current().id(), self.1);
            self.0.set(self.0.get() + 1);
        }
    }
    let queue = Queue::default();
    let drops = Rc::new(Cell::new(0));
    let guard = AtHome(Rc::clone(&drops), thread::current().id());
    let left = Arc::default();
    let leave = leaves_waker(&left);
    let (task, handle) = queue.spawn_local(async move {
        let _guard = guard;
        leave.await;
    });
    assert!(!queue.run_one());
    let waker = left.lock().unwrap().take().unwrap();
    thread::spawn(move || waker.wake()).join().unwrap();
    assert!(!queue.run_one());
    let task = thread::spawn(move || {
        left.lock().unwrap().take();
        handle.abort();
        task.shutdown();
        drop(handle);
        task
    })
    .join()
    .unwrap();
    assert_eq!(
        (drops.get(), queue.len()),
        (0, 1),
        "a shutdown from afar is an abort"
    );
    assert!(queue.run_one());
    drop(task);
    assert_eq!((drops.get(), queue.tasks_count()), (1, 0));
}

#[test]
fn w17_a_local_task_refuses_to_run_elsewhere_and_stays_whole() {
    let queue = Queue::default();
    let (guard, drops) = dropped(false);
    let (task, handle) = queue.spawn_local(async move { drop(guard) });
    let runnable = queue.pop().unwrap();
    let refused = thread::spawn(move || {
        panic::catch_unwind(panic::AssertUnwindSafe(|| runnable.run(0))).is_err()
    });
    assert!(refused.join().unwrap());
    assert_eq!(drops.load(SeqCst), 0);
    task.shutdown();
    assert!(joined(handle).unwrap_err().is_cancelled());
    assert_eq!(drops.load(SeqCst), 1);
}

#[test]
fn w17_an_output_that_is_not_send_reaches_its_handle_or_dies_at_home() {
    let queue = Queue::default();
    let value = Rc::new(7);
    let (task, handle) = queue.spawn_local(ready(Rc::clone(&value)));
    let (unobserved, detached) = queue.spawn_local(ready(Rc::clone(&value)));
    drop(detached);
    assert!(queue.run_one() && queue.run_one());
    thread::spawn(move || drop((task, unobserved)))
        .join()
        .unwrap();
    assert_eq!(*joined(handle).unwrap(), 7);
    assert_eq!((Rc::strong_count(&value), queue.tasks_count()), (1, 0));
}

#[test]
fn w17_an_unfinished_local_task_whose_last_reference_goes_elsewhere_is_leaked() {
    let queue = Queue::default();
    let (guard, drops) = dropped(false);
    let kept = Box::leak(Box::new(Mutex::new(Some(guard))));
    let kept: &'static Mutex<_> = kept;
    let (task, handle) = queue.spawn_local(async move {
        let _borrowed = kept;
        pending::<()>().await;
    });
    drop(handle);
    assert!(!queue.run_one());
    // The leak checker must still find it: leaked on purpose, but reachable.
    static REACHABLE: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    REACHABLE
        .lock()
        .unwrap()
        .push(ptr::from_ref(task.header()).addr());
    thread::spawn(move || drop(task)).join().unwrap();
    assert_eq!((drops.load(SeqCst), queue.tasks_count()), (0, 1));
    drop(kept.lock().unwrap().take());
}

#[test]
fn w17_a_pinned_task_belongs_to_the_thread_that_has_its_first_turn() {
    let queue = Queue::default();
    let left = Arc::default();
    let leave = leaves_waker(&left);
    let make = move || {
        let here = Rc::new(thread::current().id());
        async move {
            leave.await;
            drop(here);
        }
    };
    let (task, runnable, handle) = new_pinned(make, queue.clone(), meta());
    assert!(matches!(runnable.run(0), Ran::Idle));
    left.lock().unwrap().take().unwrap().wake();
    let runnable = queue.pop().unwrap();
    let refused = thread::spawn(move || {
        panic::catch_unwind(panic::AssertUnwindSafe(|| runnable.run(0))).is_err()
    });
    assert!(refused.join().unwrap());
    task.shutdown();
    assert!(joined(handle).unwrap_err().is_cancelled());
    drop(task);
    assert_eq!(queue.tasks_count(), 0);
}

#[test]
fn w17_a_pinned_task_that_never_ran_is_ended_anywhere_and_its_runnable_is_stale_everywhere() {
    let queue = Queue::default();
    let (guard, drops) = dropped(false);
    let make = move || {
        drop(guard);
        pending::<()>()
    };
    let (task, runnable, handle) = new_pinned(make, queue.clone(), meta());
    thread::spawn(move || task.shutdown()).join().unwrap();
    assert_eq!(drops.load(SeqCst), 1);
    assert!(matches!(runnable.run(0), Ran::Idle));
    assert!(joined(handle).unwrap_err().is_cancelled());
    assert_eq!(queue.tasks_count(), 0);
}

#[test]
fn w17_the_first_turn_of_a_pinned_task_may_meet_a_shutdown_on_another_thread() {
    for _ in 0..500 {
        let queue = Queue::default();
        let (guard, drops) = dropped(false);
        let make = move || async move {
            let _guard = (guard, Rc::new(()));
            pending::<()>().await;
        };
        let (task, runnable, handle) = new_pinned(make, queue.clone(), meta());
        thread::scope(|scope| {
            scope.spawn(move || task.shutdown());
            let _ = runnable.run(0);
        });
        while queue.len() > 0 {
            queue.run_one();
        }
        assert!(joined(handle).unwrap_err().is_cancelled());
        assert_eq!((drops.load(SeqCst), queue.tasks_count()), (1, 0));
    }
}

// W19 to W25: joining, references, memory.

#[test]
fn w19_the_last_waker_that_polled_the_handle_is_woken_and_none_is_leaked() {
    let queue = Queue::default();
    let (_task, mut handle) = queue.spawn(ready(1));
    let joiners = [(); 3].map(|()| Arc::new(Joiner::default()));
    for joiner in &joiners {
        for _same_twice in 0..2 {
            assert!(
                Pin::new(&mut handle)
                    .poll(&mut Context::from_waker(&Arc::clone(joiner).into()))
                    .is_pending()
            );
        }
    }
    assert!(queue.run_one());
    assert_eq!(
        joiners.each_ref().map(|joiner| joiner.0.load(SeqCst)),
        [0, 0, 1]
    );
    assert_eq!(joiners.each_ref().map(Arc::strong_count), [1; 3]);
    assert_eq!(joined(handle).unwrap(), 1);
}

#[test]
fn a_dropped_handle_drops_its_waker_and_wakes_nobody() {
    let queue = Queue::default();
    let (_task, mut handle) = queue.spawn(ready(1));
    let joiner = Arc::new(Joiner::default());
    assert!(
        Pin::new(&mut handle)
            .poll(&mut Context::from_waker(&Arc::clone(&joiner).into()))
            .is_pending()
    );
    drop(handle);
    assert_eq!(Arc::strong_count(&joiner), 1);
    assert!(queue.run_one());
    assert_eq!(joiner.0.load(SeqCst), 0);
}

#[test]
#[should_panic = "polled after it had returned"]
fn a_handle_polled_after_its_result_panics() {
    let queue = Queue::default();
    let (_task, mut handle) = queue.spawn(ready(()));
    assert!(queue.run_one());
    assert!(poll_join(&mut handle).is_ready());
    let _ = poll_join(&mut handle);
}

#[test]
fn w21_wakers_live_and_die_on_foreign_threads_and_the_last_frees_a_send_task() {
    let queue = Queue::default();
    let (guard, drops) = dropped(false);
    let left = Arc::default();
    let leave = leaves_waker(&left);
    let (task, handle) = queue.spawn(async move {
        let _guard = guard;
        leave.await;
    });
    assert!(!queue.run_one());
    drop((task, handle));
    let waker = left.lock().unwrap().take().unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            let waker = waker.clone();
            scope.spawn(move || (0..100).for_each(|_| drop(waker.clone())));
        }
        scope.spawn(move || drop(waker));
    });
    assert_eq!((drops.load(SeqCst), queue.tasks_count()), (1, 0));
}

#[test]
fn w22_a_waker_may_be_the_last_reference_while_its_own_schedule_runs() {
    /// Runs what it is given to its end on another thread, and looks at itself afterwards.
    struct RunsElsewhere(Box<[u8]>);
    impl Schedule for RunsElsewhere {
        fn schedule(&self, runnable: Runnable) {
            thread::spawn(move || assert!(matches!(runnable.run(0), Ran::Complete(_))))
                .join()
                .unwrap();
            assert_eq!(*self.0, [1, 2, 3]);
        }
    }
    let (left, mut polled) = (Arc::default(), false);
    let mut leave = Box::pin(leaves_waker(&left));
    let future = poll_fn(move |cx| {
        if mem::replace(&mut polled, true) {
            Poll::Ready(())
        } else {
            leave.as_mut().poll(cx)
        }
    });
    let (task, runnable, handle) = new(future, RunsElsewhere(vec![1, 2, 3].into()), meta());
    assert!(matches!(runnable.run(0), Ran::Idle));
    drop((task, handle));
    let waker = left.lock().unwrap().take().unwrap();
    waker.wake();
}

#[test]
fn w23_futures_without_size_with_great_alignment_and_of_great_size_work() {
    #[repr(align(256))]
    struct Aligned(u8);
    let queue = Queue::default();
    let (_t1, nothing) = queue.spawn(ready(()));
    let (_t2, aligned) = queue.spawn(async {
        let aligned = Aligned(5);
        let mut polled = false;
        poll_fn(|cx| {
            assert_eq!(ptr::from_ref(&aligned).addr() % 256, 0);
            cx.waker().wake_by_ref();
            if mem::replace(&mut polled, true) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        aligned
    });
    let (_t3, large) = queue.spawn(async {
        let large = [3u8; 64 * 1024];
        ready(()).await;
        large
    });
    while queue.len() > 0 {
        queue.run_one();
    }
    joined(nothing).unwrap();
    let output = joined(aligned).unwrap();
    assert_eq!((output.0, ptr::from_ref(&output).addr() % 256), (5, 0));
    assert_eq!(joined(large).unwrap()[1000], 3);
}

#[test]
fn w24_a_task_that_holds_its_own_waker_is_freed_by_shutdown() {
    let queue = Queue::default();
    let mut own = Vec::new();
    let (task, handle) = queue.spawn(poll_fn(move |cx| {
        own.push(cx.waker().clone());
        Poll::<()>::Pending
    }));
    assert!(!queue.run_one());
    drop(handle);
    task.shutdown();
    drop(task);
    assert_eq!(queue.tasks_count(), 0);
}

#[test]
fn w25_a_future_is_never_moved_and_dropped_where_it_was_polled() {
    struct Unmoved {
        at: Option<usize>,
        polls: u32,
    }
    impl Unmoved {
        fn check(&mut self) {
            let here = ptr::from_ref(self).addr();
            assert_eq!(*self.at.get_or_insert(here), here);
        }
    }
    impl Future for Unmoved {
        type Output = ();
        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            self.check();
            self.polls += 1;
            cx.waker().wake_by_ref();
            if self.polls == 3 {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        }
    }
    impl Drop for Unmoved {
        fn drop(&mut self) {
            self.check();
        }
    }
    let queue = Queue::default();
    let (_task, handle) = queue.spawn(Unmoved { at: None, polls: 0 });
    while !queue.run_one() {}
    joined(handle).expect("the drop checks too, and its panic would be the result");
}

// Abort, cancel, shutdown.

#[test]
fn an_abort_lets_the_poll_in_progress_end_and_its_output_stand() {
    let queue = Queue::default();
    let slot = Arc::new(Mutex::new(None::<JoinHandle<u8>>));
    for (result, expected) in [(Poll::Ready(1), Ok(1)), (Poll::Pending, Err(()))] {
        let own = Arc::clone(&slot);
        let (_task, handle) = queue.spawn(poll_fn(move |cx| {
            cx.waker().wake_by_ref();
            own.lock().unwrap().as_ref().unwrap().abort();
            result
        }));
        *slot.lock().unwrap() = Some(handle);
        assert!(queue.run_one());
        let handle = slot.lock().unwrap().take().unwrap();
        assert_eq!(
            joined(handle).map_err(|error| assert!(error.is_cancelled())),
            expected
        );
    }
}

#[test]
fn a_task_aborted_before_its_first_poll_is_never_polled() {
    let queue = Queue::default();
    let (task, handle) = queue.spawn(async { unreachable!("polled") });
    handle.abort();
    handle.abort();
    assert_eq!(queue.len(), 1);
    assert!(!handle.is_finished());
    assert!(queue.run_one());
    assert!(handle.is_finished());
    assert!(joined::<()>(handle).unwrap_err().is_cancelled());
    assert_eq!(task.header().polls_count(), 0);
}

#[test]
fn cancel_waits_until_the_future_is_dropped_and_returns_an_output_that_was_ready() {
    let queue = Queue::default();
    let (guard, drops) = dropped(false);
    let (_task, handle) = queue.spawn(async move {
        let _guard = guard;
        pending::<()>().await;
    });
    let mut cancel = handle.cancel();
    assert!(poll_join(&mut cancel).is_pending());
    assert_eq!(drops.load(SeqCst), 0);
    assert!(queue.run_one());
    assert_eq!(drops.load(SeqCst), 1);
    assert!(joined(cancel).unwrap_err().is_cancelled());

    let (_task, handle) = queue.spawn(ready(9));
    assert!(queue.run_one());
    assert_eq!(joined(handle.cancel()).unwrap(), 9);
}

#[test]
fn a_shutdown_takes_a_scheduled_task_and_its_runnable_then_does_nothing() {
    let queue = Queue::default();
    let (guard, drops) = dropped(false);
    let (task, mut handle) = queue.spawn(async move { drop(guard) });
    let joiner = Arc::new(Joiner::default());
    assert!(
        Pin::new(&mut handle)
            .poll(&mut Context::from_waker(&Arc::clone(&joiner).into()))
            .is_pending()
    );
    task.shutdown();
    task.shutdown();
    assert_eq!((drops.load(SeqCst), joiner.0.load(SeqCst)), (1, 1));
    assert!(!queue.run_one(), "the registry's entry is not named again");
    assert!(joined(handle).unwrap_err().is_cancelled());
    drop(task);
    assert_eq!(queue.tasks_count(), 0);
}

#[test]
fn a_shutdown_during_the_poll_leaves_the_future_to_the_runner() {
    let queue = Queue::default();
    let slot = Arc::new(Mutex::new(None::<TaskRef>));
    let (own, (guard, drops)) = (Arc::clone(&slot), dropped(false));
    let seen = Arc::clone(&drops);
    let (task, handle) = queue.spawn(poll_fn(move |_| {
        let _ = &guard;
        own.lock().unwrap().take().unwrap().shutdown();
        assert_eq!(seen.load(SeqCst), 0);
        Poll::<()>::Pending
    }));
    *slot.lock().unwrap() = Some(task);
    assert!(queue.run_one());
    assert_eq!(drops.load(SeqCst), 1);
    assert!(joined(handle).unwrap_err().is_cancelled());
}

#[test]
fn a_dropped_runnable_leaves_a_task_that_only_shutdown_ends() {
    let queue = Queue::default();
    let (task, handle) = queue.spawn(ready(()));
    drop(queue.pop());
    handle.abort();
    assert_eq!(queue.len(), 0);
    task.shutdown();
    assert!(joined(handle).unwrap_err().is_cancelled());
}

#[test]
fn a_finished_run_names_the_registry_key_and_a_queue_slot_gives_the_task_back() {
    let key = RegistryKey::new(3, 41);
    let (task, runnable, _handle) = new(ready(()), Queue::default(), meta());
    task.set_key(key);
    assert_eq!(
        ptr::from_ref(runnable.header()),
        ptr::from_ref(task.header())
    );
    let Ran::Complete(ended) = runnable.run(0) else {
        panic!("ready at once")
    };
    assert_eq!((ended.key(), task.header().key()), (key, key));
}

// What people see.

#[test]
fn a_task_says_who_it_is() {
    let meta = Meta {
        name: Some("teller".into()),
        location: Location::caller(),
        spawned_ms: 5,
    };
    let (task, runnable, handle) = new(
        async { panic::resume_unwind(Box::new("no funds")) },
        Queue::default(),
        meta,
    );
    assert_eq!(
        (handle.id(), task.header().id()),
        (runnable.header().id(), runnable.header().id())
    );
    assert_eq!(task.header().last_poll_ms(), 5);
    assert!(matches!(runnable.run(17), Ran::Complete(_)));
    assert_eq!(
        (
            task.header().polls_count(),
            task.header().last_poll_ms(),
            task.header().spawned_ms()
        ),
        (1, 17, 5)
    );
    let debug = format!("{handle:?}");
    assert!(
        debug.contains("teller") && debug.contains("tests.rs") && debug.contains("polls: 1"),
        "{debug}"
    );
    let id = handle.id();
    let error = joined::<()>(handle).unwrap_err();
    assert_eq!(error.id(), id);
    let text = error.to_string();
    assert!(
        text.starts_with(&format!("task {id} `teller` (spawned at ")),
        "{text}"
    );
    assert!(text.ends_with(") panicked: no funds"), "{text}");
    let error: io::Error = error.into();
    assert_eq!(error.kind(), io::ErrorKind::Other);
    assert_eq!(error.to_string(), text);
    assert!(
        error
            .into_inner()
            .unwrap()
            .downcast::<JoinError>()
            .unwrap()
            .is_panic()
    );
}

#[test]
fn a_cancelled_task_has_no_payload_to_give() {
    let (task, _runnable, handle) = new(pending::<()>(), Queue::default(), meta());
    task.shutdown();
    let error = joined(handle).unwrap_err().try_into_panic().unwrap_err();
    assert!(error.to_string().ends_with(" was cancelled"), "{error}");
}

// Which thread may hold what: the first trait of an ambiguous pair is found only if the type lacks the second.

macro_rules! assert_not_impl {
    ($type:ty: $trait:path) => {
        const _: fn() = || {
            trait Ambiguous<A> {
                fn method() {}
            }
            impl<T: ?Sized> Ambiguous<()> for T {}
            impl<T: ?Sized + $trait> Ambiguous<u8> for T {}
            let _ = <$type as Ambiguous<_>>::method;
        };
    };
}

const _: fn() = || {
    fn send_sync<T: Send + Sync>() {}
    fn unpin_unwind<T: Unpin + UnwindSafe + RefUnwindSafe>() {}
    fn error<T: Error + Send + Sync + Unpin + 'static>() {}
    type Pinned = (std::marker::PhantomPinned, Cell<u8>);
    send_sync::<JoinHandle<u8>>();
    send_sync::<Cancel<u8>>();
    send_sync::<JoinHandle<Cell<u8>>>();
    send_sync::<Cancel<Cell<u8>>>();
    unpin_unwind::<JoinHandle<Pinned>>();
    unpin_unwind::<Cancel<Pinned>>();
    send_sync::<TaskId>();
    error::<JoinError>();
    send_sync::<Runnable>();
    send_sync::<TaskRef>();
};
assert_not_impl!(JoinHandle<Rc<u8>>: Send);
assert_not_impl!(JoinHandle<Rc<u8>>: Sync);
assert_not_impl!(Cancel<Rc<u8>>: Send);
