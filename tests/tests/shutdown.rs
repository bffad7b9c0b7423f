//! The end of a runtime: everything is dropped, once, where it may be, and nothing that outlives it does harm.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Waker};
use std::thread;
use std::time::{Duration, Instant};

use futures::channel::oneshot;
use wakeful::{Handle, Runtime};
use wakeful_tests::futures::waker;
use wakeful_tests::process::{anonymous_bytes, fds_count, threads_count};
use wakeful_tests::runtimes::runtime;
use wakeful_tests::watchdog::LIMIT;
use wakeful_tests::{Drops, PanicOnDrop, Parked, alone, eventually, panic_of, within, yields};

/// Runs `body` for each size of a runtime that it makes and drops itself.
#[track_caller]
fn for_each_size<const N: usize>(counts: [usize; N], body: fn(usize)) {
    for workers in counts {
        within(LIMIT, move || body(workers));
    }
}

#[test]
fn ten_thousand_tasks_of_all_kinds_are_each_dropped_once() {
    for_each_size([1, 2, 4], |workers| {
        let drops = Drops::new();
        let runtime = runtime(workers);
        let (polled, polls) = mpsc::channel();
        // Waiting for a wake that never comes; their wakers are kept, in part beyond the runtime.
        for _ in 0..2000 {
            let (guard, polled) = (drops.guard(), polled.clone());
            drop(runtime.spawn(async move { (Parked::new(polled).await, drop(guard)) }));
        }
        // Waiting for each other.
        for _ in 0..1000 {
            let ((sender, receiver), (back, echo)) =
                (oneshot::channel::<()>(), oneshot::channel::<()>());
            let guards = [drops.guard(), drops.guard()];
            let [left, right] = guards;
            drop(runtime.spawn(async move { (receiver.await, back.send(()), left) }));
            drop(runtime.spawn(async move { (echo.await, sender.send(()), right) }));
        }
        // Always queued.
        for _ in 0..2000 {
            let guard = drops.guard();
            drop(runtime.spawn(async move {
                let _guard = guard;
                loop {
                    wakeful::yield_now().await;
                }
            }));
        }
        // Pinned.
        for number in 0..2000 {
            let guard = drops.guard();
            drop(
                runtime
                    .handle()
                    .spawn_pinned(number % workers, || async move {
                        (pending::<()>().await, drop(guard))
                    }),
            );
        }
        // Local.
        runtime.block_on(async {
            for _ in 0..2000 {
                let guard = drops.guard();
                drop(wakeful::spawn_local(async move {
                    (pending::<()>().await, drop(guard))
                }));
            }
            yields(100).await;
        });
        let wakers: Vec<Waker> = polls.try_iter().step_by(2).collect();
        drop(runtime);
        assert_eq!(drops.count(), 10_000);
        wakers.into_iter().for_each(Waker::wake);
        assert_eq!(drops.count(), 10_000);
    });
}

#[test]
fn tasks_that_were_never_polled_are_dropped() {
    for_each_size([1, 2, 4], |workers| {
        let drops = Drops::new();
        let runtime = runtime(workers);
        for _ in 0..1000 {
            let guard = drops.guard();
            drop(runtime.spawn(async move { drop(guard) }));
        }
        drop(runtime);
        assert_eq!(drops.count(), 1000);
    });
}

#[test]
fn join_handles_say_cancelled() {
    for_each_size([1, 2, 4], |workers| {
        let runtime = runtime(workers);
        let waiting = runtime.spawn(pending::<()>());
        let pinned = runtime.handle().spawn_pinned(workers - 1, pending::<()>);
        runtime.block_on(yields(3));
        drop(runtime);
        assert!(waiting.is_finished());
        assert!(
            futures::executor::block_on(waiting)
                .unwrap_err()
                .is_cancelled()
        );
        assert!(
            futures::executor::block_on(pinned)
                .unwrap_err()
                .is_cancelled()
        );
    });
}

#[test]
fn a_thread_that_joins_a_task_is_woken() {
    for_each_size([1, 2, 4], |workers| {
        let runtime = runtime(workers);
        let task = runtime.spawn(pending::<()>());
        let joiner = thread::spawn(move || futures::executor::block_on(task));
        runtime.block_on(yields(3));
        drop(runtime);
        assert!(joiner.join().unwrap().unwrap_err().is_cancelled());
    });
}

#[test]
fn a_future_in_the_middle_of_its_poll_is_dropped_after_it() {
    for_each_size([2, 4], |workers| {
        let drops = Drops::new();
        let guard = drops.guard();
        let ((runs, running), (release, held)) = (mpsc::channel(), mpsc::channel::<()>());
        let runtime = runtime(workers);
        drop(runtime.spawn(async move {
            runs.send(thread::current().id()).unwrap();
            let _ = held.recv();
            pending::<()>().await;
            drop(guard);
        }));
        running.recv().unwrap();
        let dropper = thread::spawn(move || drop(runtime));
        assert_eq!(drops.count(), 0);
        release.send(()).unwrap();
        dropper.join().unwrap();
        assert_eq!(drops.count(), 1);
    });
}

#[test]
fn futures_that_panic_as_they_are_dropped_do_not_stop_it() {
    for_each_size([1, 2, 4], |workers| {
        let drops = Drops::new();
        let runtime = runtime(workers);
        for number in 0..100 {
            let guard = drops.guard();
            let bomb = (number % 3 == 0).then(|| PanicOnDrop("at the end"));
            drop(runtime.spawn(async move { (pending::<()>().await, drop((bomb, guard))) }));
        }
        runtime.block_on(async {
            let (bomb, guard) = (PanicOnDrop("local"), drops.guard());
            drop(wakeful::spawn_local(async move {
                (pending::<()>().await, drop((bomb, guard)))
            }));
            yields(3).await;
        });
        drop(runtime);
        assert_eq!(drops.count(), 101);
    });
}

#[test]
fn a_future_may_spawn_wake_and_abort_as_it_is_dropped() {
    /// Its own record, a waker and a handle of another task.
    struct Busy(Drops, Waker, wakeful::JoinHandle<()>);
    impl Drop for Busy {
        fn drop(&mut self) {
            let [own, spawned, aborted] = [(); 3].map(|()| self.0.guard());
            drop(own);
            drop(wakeful::spawn(async move { drop(spawned) }));
            let task =
                Handle::current().spawn(async move { (pending::<()>().await, drop(aborted)) });
            task.abort();
            self.1.wake_by_ref();
            self.2.abort();
        }
    }
    for_each_size([1, 2, 4], |workers| {
        let drops = Drops::new();
        let runtime = runtime(workers);
        let (polled, polls) = mpsc::channel();
        let others: Vec<_> = (0..100)
            .map(|_| runtime.spawn(Parked::new(polled.clone())))
            .collect();
        runtime.block_on(yields(200));
        for other in others {
            // The waker is that of some other task, and the handle that of one more.
            let busy = Busy(drops.clone(), polls.recv().unwrap(), other);
            drop(runtime.spawn(async move { (pending::<()>().await, drop(busy)) }));
        }
        drop(runtime);
        assert_eq!(drops.count(), 300);
    });
}

#[test]
fn an_output_dropped_by_it_may_spawn() {
    struct SpawnOnDrop(Drops);
    impl Drop for SpawnOnDrop {
        fn drop(&mut self) {
            let guard = self.0.guard();
            drop(wakeful::spawn(async move { drop(guard) }));
        }
    }
    for_each_size([1, 2, 4], |workers| {
        let drops = Drops::new();
        let runtime = runtime(workers);
        for _ in 0..100 {
            let spawner = SpawnOnDrop(drops.clone());
            drop(runtime.spawn(async move { (pending::<()>().await, spawner).1 }));
        }
        drop(runtime);
        assert_eq!(drops.count(), 100);
    });
}

#[test]
fn a_chain_of_spawns_ends() {
    fn link(drops: &Drops) {
        let (guard, drops) = (drops.guard(), drops.clone());
        drop(wakeful::spawn(async move {
            link(&drops);
            wakeful::yield_now().await;
            drop(guard);
        }));
    }
    for_each_size([2, 4], |workers| {
        for _ in 0..20 {
            let drops = Drops::new();
            let runtime = runtime(workers);
            {
                let _entered = runtime.enter();
                (0..8).for_each(|_| link(&drops));
            }
            runtime.block_on(yields(50));
            drop(runtime);
            let after = drops.count();
            assert!(after >= 8);
            assert_eq!(drops.count(), after, "nothing goes on");
        }
    });
}

#[test]
fn spawning_from_other_threads_while_it_goes_on_loses_no_future() {
    for_each_size([1, 2, 4], |workers| {
        for _ in 0..100 {
            let runtime = runtime(workers);
            let drops = Drops::new();
            let spawned = thread::scope(|scope| {
                let spawners = [(); 2].map(|()| {
                    let (handle, drops) = (runtime.handle().clone(), drops.clone());
                    scope.spawn(move || {
                        let mut count = 0;
                        for number in 0..200 {
                            let (one, two) = (drops.guard(), drops.guard());
                            drop(handle.spawn(async move { (pending::<()>().await, drop(one)) }));
                            let pinned = move || async move { (pending::<()>().await, drop(two)) };
                            drop(handle.spawn_pinned(number % workers, pinned));
                            count += 2;
                        }
                        count
                    })
                });
                thread::yield_now();
                drop(runtime);
                spawners
                    .map(|spawner| spawner.join().unwrap())
                    .iter()
                    .sum::<usize>()
            });
            assert_eq!(drops.count(), spawned);
        }
    });
}

#[test]
fn waking_from_other_threads_while_it_goes_on_is_harmless() {
    for_each_size([1, 2], |workers| {
        for _ in 0..500 {
            let runtime = runtime(workers);
            let drops = Drops::new();
            let (polled, polls) = mpsc::channel();
            for _ in 0..4 {
                let (guard, polled) = (drops.guard(), polled.clone());
                drop(runtime.spawn(async move { (Parked::new(polled).await, drop(guard)) }));
            }
            runtime.block_on(yields(5));
            let wakers: Vec<Waker> = (0..4).map(|_| polls.recv().unwrap()).collect();
            let stop = AtomicBool::new(false);
            thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        while !stop.load(SeqCst) {
                            wakers.iter().for_each(Waker::wake_by_ref);
                        }
                    });
                }
                drop(runtime);
                stop.store(true, SeqCst);
            });
            assert_eq!(drops.count(), 4);
        }
    });
}

#[test]
fn aborting_from_another_thread_while_it_goes_on_is_harmless() {
    for_each_size([1, 2], |workers| {
        for _ in 0..500 {
            let runtime = runtime(workers);
            let drops = Drops::new();
            let tasks: Vec<_> = (0..20)
                .map(|number| {
                    let guard = drops.guard();
                    let future = || async move { (pending::<()>().await, drop(guard)) };
                    match number % 2 {
                        0 => runtime.spawn(future()),
                        _ => runtime.handle().spawn_pinned(workers - 1, future),
                    }
                })
                .collect();
            let aborter = thread::spawn(move || tasks.into_iter().for_each(|task| task.abort()));
            drop(runtime);
            aborter.join().unwrap();
            assert_eq!(drops.count(), 20);
        }
    });
}

#[test]
fn dropped_inside_its_own_task_a_runtime_ends_by_itself() {
    alone(
        "dropped_inside_its_own_task_a_runtime_ends_by_itself",
        || {
            for_each_size([2, 4], |workers| {
                let before = threads_count();
                for _ in 0..20 {
                    let drops = Drops::new();
                    let runtime = runtime(workers);
                    let guards = [drops.guard(), drops.guard()];
                    for guard in guards {
                        drop(runtime.spawn(async move { (pending::<()>().await, drop(guard)) }));
                    }
                    let (owned, owns) = oneshot::channel::<Runtime>();
                    let task = runtime.spawn(async move {
                        drop(owns.await.unwrap());
                        "went on to its end"
                    });
                    assert!(owned.send(runtime).is_ok());
                    assert_eq!(
                        futures::executor::block_on(task).unwrap(),
                        "went on to its end"
                    );
                    eventually("the others are dropped", || drops.count() == 2);
                }
                eventually("the threads are gone", || threads_count() == before);
            });
        },
    );
}

#[test]
fn dropped_inside_its_own_main_future_a_runtime_ends_with_it() {
    for_each_size([1, 2, 4], |workers| {
        let drops = Drops::new();
        let runtime = runtime(workers);
        let handle = runtime.handle().clone();
        let guard = drops.guard();
        let value = handle.block_on(async {
            drop(wakeful::spawn(async move {
                (pending::<()>().await, drop(guard))
            }));
            drop(runtime);
            7
        });
        assert_eq!(value, 7);
        eventually("the task is dropped", || drops.count() == 1);
    });
}

#[test]
fn dropped_inside_its_own_main_future_that_goes_on_a_runtime_ends_all_the_same() {
    for_each_size([1, 2, 4], |workers| {
        let runtime = runtime(workers);
        let handle = runtime.handle().clone();
        let cancelled = handle.block_on(async {
            let task = wakeful::spawn(pending::<()>());
            drop(runtime);
            task.await.unwrap_err().is_cancelled()
        });
        assert!(cancelled);
    });
}

#[test]
fn dropped_inside_its_own_local_task_a_runtime_ends_by_itself() {
    for_each_size([1, 2, 4], |workers| {
        let runtime = runtime(workers);
        let handle = runtime.handle().clone();
        let ended = handle.block_on(async {
            let task = wakeful::spawn_local(async move { (drop(runtime), 3).1 });
            task.await.unwrap()
        });
        assert_eq!(ended, 3);
    });
}

#[test]
fn dropped_in_a_task_behind_an_entered_context_a_runtime_does_not_wait_for_itself() {
    for_each_size([2, 4], |workers| {
        let runtime = runtime(workers);
        let (owned, owns) = oneshot::channel::<Runtime>();
        let task = runtime.spawn(async move {
            let runtime = owns.await.unwrap();
            let handle = runtime.handle().clone();
            let _entered = handle.enter();
            drop(runtime);
        });
        assert!(owned.send(runtime).is_ok());
        futures::executor::block_on(task).unwrap();
    });
}

#[test]
fn dropped_in_a_task_of_another_runtime_it_ends() {
    for_each_size([1, 2], |workers| {
        let (outer, inner) = (runtime(workers), runtime(2));
        let drops = Drops::new();
        let guard = drops.guard();
        drop(inner.spawn(async move { (pending::<()>().await, drop(guard)) }));
        outer
            .block_on(outer.spawn(async move { drop(inner) }))
            .unwrap();
        assert_eq!(drops.count(), 1);
    });
}

#[test]
fn dropped_by_a_guest_it_ends_beside_the_driver() {
    for_each_size([1, 2, 4], |workers| {
        let runtime = runtime(workers);
        let handle = runtime.handle().clone();
        let (enters, entered) = mpsc::channel();
        let (end, ends) = oneshot::channel::<()>();
        let driver = thread::spawn({
            let handle = handle.clone();
            move || {
                handle.block_on(async {
                    let task = wakeful::spawn(pending::<()>());
                    enters.send(()).unwrap();
                    assert!(task.await.unwrap_err().is_cancelled());
                    ends.await.unwrap(); // it is polled to its end, without a runtime
                });
            }
        });
        entered.recv().unwrap();
        handle.block_on(async { drop(runtime) });
        end.send(()).unwrap();
        driver.join().unwrap();
    });
}

#[test]
fn kept_in_a_thread_local_a_runtime_is_dropped_with_its_thread() {
    thread_local! {
        static KEPT: RefCell<Option<Runtime>> = const { RefCell::new(None) };
    }
    for_each_size([1, 2], |workers| {
        // The runtime's own thread-locals are destroyed before or after this one, by the order of first use.
        for use_first in [false, true] {
            let drops = Drops::new();
            let guard = drops.guard();
            let thread = thread::spawn(move || {
                if use_first {
                    wakeful::block_on(yields(1));
                }
                KEPT.with_borrow_mut(|kept| {
                    let runtime = kept.insert(runtime(workers));
                    drop(runtime.spawn(async move { (pending::<()>().await, drop(guard)) }));
                    runtime.block_on(yields(3));
                });
            });
            thread.join().unwrap();
            assert_eq!(drops.count(), 1);
        }
    });
}

#[test]
fn a_join_handle_kept_in_a_thread_local_of_a_worker_is_harmless() {
    thread_local! {
        static KEPT: Cell<Option<wakeful::JoinHandle<()>>> = const { Cell::new(None) };
    }
    for_each_size([1, 2], |workers| {
        let runtime = runtime(workers);
        let task = runtime.handle().spawn_pinned(workers - 1, || async {
            KEPT.set(Some(wakeful::spawn_local(pending())));
        });
        runtime.block_on(task).unwrap();
        drop(runtime);
        KEPT.take();
    });
}

#[test]
fn a_thousand_runtimes_leave_no_thread_and_no_descriptor() {
    alone(
        "a_thousand_runtimes_leave_no_thread_and_no_descriptor",
        || {
            for_each_size([1, 2, 4], |workers| {
                let before = (threads_count(), fds_count());
                for _ in 0..1000 / workers {
                    let runtime = runtime(workers);
                    drop(runtime.spawn(pending::<()>()));
                    runtime.block_on(async { wakeful::spawn(yields(2)).await.unwrap() });
                }
                // A joined thread leaves /proc a moment after its join.
                eventually("the threads are gone", || threads_count() == before.0);
                assert_eq!(fds_count(), before.1);
            });
        },
    );
}

#[test]
fn a_runtime_that_was_never_used_leaves_nothing() {
    alone("a_runtime_that_was_never_used_leaves_nothing", || {
        let before = (threads_count(), fds_count());
        for workers in [1, 2, 4] {
            drop(runtime(workers));
        }
        eventually("the threads are gone", || threads_count() == before.0);
        assert_eq!(fds_count(), before.1);
    });
}

#[test]
fn after_it_a_spawn_drops_the_future_and_the_handle_says_cancelled() {
    for_each_size([1, 2, 4], |workers| {
        let handle = runtime(workers).handle().clone();
        let drops = Drops::new();
        let (one, two) = (drops.guard(), drops.guard());
        let task = handle.spawn(async move { drop(one) });
        assert_eq!(drops.count(), 1, "at once");
        assert!(
            futures::executor::block_on(task)
                .unwrap_err()
                .is_cancelled()
        );
        let pinned = handle.spawn_pinned(0, || async move { drop(two) });
        assert_eq!(drops.count(), 2, "at once");
        assert!(
            futures::executor::block_on(pinned)
                .unwrap_err()
                .is_cancelled()
        );
        let _entered = handle.enter();
        assert!(
            futures::executor::block_on(wakeful::spawn(async {}))
                .unwrap_err()
                .is_cancelled()
        );
    });
}

#[test]
fn after_it_spawn_local_is_refused() {
    for_each_size([1, 2], |workers| {
        let handle = runtime(workers).handle().clone();
        let text = handle.block_on(async { panic_of(|| wakeful::spawn_local(async {})) });
        assert!(
            text.contains("`spawn_local` was called on a thread that runs no tasks"),
            "{text}"
        );
    });
}

#[test]
fn a_handle_outlives_its_runtime() {
    for_each_size([1, 2, 4], |workers| {
        let handle: Handle = runtime(workers).handle().clone();
        assert_eq!(handle.workers_count(), workers);
        assert_eq!(handle.metrics().tasks, 0);
        assert_eq!(handle.block_on(async { 1 }), 1);
        thread::spawn(move || drop(handle)).join().unwrap();
    });
}

#[test]
fn the_metrics_of_a_runtime_that_held_tasks_of_all_kinds_end_at_zero() {
    for_each_size([1, 2, 4], |workers| {
        let runtime = runtime(workers);
        let handle = runtime.handle().clone();
        drop(runtime.spawn(pending::<()>()));
        let started = handle.spawn_pinned(workers - 1, pending::<()>);
        runtime.block_on(async {
            drop(wakeful::spawn_local(pending::<()>()));
            yields(3).await;
        });
        drop(started);
        drop(runtime);
        assert_eq!(handle.metrics().tasks, 0);
    });
}

#[test]
fn what_a_future_owns_is_freed_although_its_waker_and_handle_live_on() {
    for_each_size([1, 2, 4], |workers| {
        let runtime = runtime(workers);
        let shared = Arc::new(());
        let (polled, polls) = mpsc::channel();
        let owned = shared.clone();
        let task = runtime.spawn(async move { (Parked::new(polled).await, drop(owned)) });
        runtime.block_on(yields(3));
        let waker = polls.recv().unwrap();
        drop(runtime);
        assert_eq!(Arc::strong_count(&shared), 1);
        drop((waker, task));
    });
}

#[test]
fn tasks_that_hold_each_others_wakers_are_freed() {
    for_each_size([1, 2, 4], |workers| {
        let runtime = runtime(workers);
        let wakers = Arc::new(Mutex::new(Vec::new()));
        for _ in 0..10 {
            let wakers = wakers.clone();
            drop(runtime.spawn(std::future::poll_fn(move |cx| {
                wakers.lock().unwrap().push(cx.waker().clone()); // a cycle: each task holds every waker
                std::task::Poll::<()>::Pending
            })));
        }
        runtime.block_on(yields(10));
        drop(runtime);
        assert_eq!(Arc::strong_count(&wakers), 1);
    });
}

#[test]
fn a_block_on_that_begins_while_it_goes_on_ends() {
    for_each_size([1, 2], |workers| {
        for _ in 0..300 {
            let runtime = runtime(workers);
            let ran = Arc::new(AtomicUsize::new(0));
            let threads = [(); 3].map(|()| {
                let (handle, ran) = (runtime.handle().clone(), ran.clone());
                thread::spawn(move || {
                    handle.block_on(async {
                        wakeful::yield_now().await;
                        let _ = wakeful::spawn(async {}).await; // ready or cancelled
                        ran.fetch_add(1, SeqCst);
                    });
                })
            });
            drop(runtime);
            threads
                .into_iter()
                .for_each(|thread| thread.join().unwrap());
            assert_eq!(ran.load(SeqCst), 3);
        }
    });
}

// With a deadline, and a report.

/// Longer than anything here takes that does end.
const AMPLE: Duration = Duration::from_secs(20);
/// Long enough for the deadline to be a wait.
const SHORT: Duration = Duration::from_millis(50);

/// A poll or a closure that does not come back until this is dropped.
struct Stuck(#[expect(dead_code, reason = "it is dropped")] mpsc::Sender<()>);

impl Stuck {
    /// The other end: call it, and it is stuck. The receiver hears that it is.
    fn new() -> (Self, impl FnOnce() + Send, mpsc::Receiver<()>) {
        let ((release, held), (begins, begun)) = (mpsc::channel::<()>(), mpsc::channel());
        let hold = move || {
            begins.send(()).unwrap();
            let _ = held.recv();
        };
        (Self(release), hold, begun)
    }
}

#[test]
fn a_shutdown_that_ends_everything_says_so() {
    for_each_size([1, 2, 4], |workers| {
        let runtime = runtime(workers);
        let drops = Drops::new();
        let guards = [(); 10].map(|()| drops.guard());
        for guard in guards {
            drop(runtime.spawn(async move { (pending::<()>().await, drop(guard)) }));
        }
        let (guard, pinned) = (drops.guard(), drops.guard());
        let closure = runtime.spawn_blocking(move || drop(guard));
        runtime.block_on(closure).unwrap();
        let pin = move || async move { (pending::<()>().await, drop(pinned)) };
        drop(runtime.handle().spawn_pinned(workers - 1, pin));
        let began = Instant::now();
        let report = runtime.shutdown(AMPLE);
        assert!(began.elapsed() < AMPLE / 2, "it returns when all has ended");
        assert!(report.is_clean(), "{report}");
        assert_eq!(report.tasks_dropped, 11, "{report}");
        assert_eq!(drops.count(), 12);
        assert_eq!((report.tasks_stuck.len(), report.tasks_leaked), (0, 0));
        assert_eq!(report.closures_cancelled.len(), 0);
    });
}

#[test]
fn local_tasks_that_a_shutdown_ends_are_counted() {
    for_each_size([2, 4], |workers| {
        let runtime = runtime(workers);
        let started = runtime.handle().spawn_pinned(1, || async {
            for _ in 0..5 {
                drop(wakeful::spawn_local(pending::<()>()));
            }
        });
        runtime.block_on(started).unwrap();
        let report = runtime.shutdown(AMPLE);
        assert!(report.is_clean(), "{report}");
        assert_eq!(report.tasks_dropped, 5);
    });
}

/// Worker 0 is the stand-in's while nobody is in `block_on`.
#[test]
fn local_tasks_of_the_stand_in_that_a_shutdown_ends_are_counted_once() {
    within(LIMIT, || {
        let runtime = runtime(2);
        let handle = runtime.handle().clone();
        let (polled, polls) = mpsc::channel();
        for worker in [0, 1] {
            let polled = polled.clone();
            drop(handle.spawn_pinned(worker, || Parked::new(polled)));
        }
        for _ in 0..2 {
            polls.recv().unwrap();
        }
        assert_eq!(runtime.shutdown(AMPLE).tasks_dropped, 2);
        assert_eq!(handle.metrics().tasks, 0);
    });
}

#[test]
fn a_closure_that_runs_has_until_the_deadline() {
    for_each_size([1, 2], |workers| {
        let runtime = runtime(workers);
        let (stuck, hold, begun) = Stuck::new();
        let closure = runtime.spawn_blocking(hold);
        begun.recv().unwrap();
        let shutdown = thread::spawn(move || runtime.shutdown(AMPLE));
        thread::sleep(SHORT);
        assert!(!shutdown.is_finished());
        drop(stuck);
        let report = shutdown.join().unwrap();
        assert!(report.is_clean(), "{report}");
        assert!(futures::executor::block_on(closure).is_ok());
    });
}

#[test]
fn a_stuck_closure_is_reported_with_the_line_that_spawned_it() {
    for_each_size([1, 2], |workers| {
        let runtime = runtime(workers);
        let (_stuck, hold, begun) = Stuck::new();
        let (line, closure) = (line!(), runtime.spawn_blocking(hold));
        begun.recv().unwrap();
        let began = Instant::now();
        let report = runtime.shutdown(SHORT);
        assert!(began.elapsed() >= SHORT && began.elapsed() < AMPLE / 2);
        assert!(!report.is_clean());
        let [running] = &report.closures_running[..] else {
            panic!("{report}")
        };
        assert_eq!(running.id(), closure.id());
        assert_eq!(
            (running.location().file(), running.location().line()),
            (file!(), line)
        );
        assert_eq!(report.workers_stuck, [0; 0]);
        let text = format!("the blocking closure of {running} still runs");
        assert!(report.to_string().contains(&text), "{report}");
    });
}

#[test]
fn closures_that_wait_are_cancelled_and_reported() {
    for_each_size([1, 2], |workers| {
        let runtime = wakeful::Builder::new()
            .workers(workers)
            .blocking_threads_max(1)
            .build()
            .unwrap();
        let drops = Drops::new();
        let (stuck, hold, begun) = Stuck::new();
        let first = runtime.spawn_blocking(hold);
        begun.recv().unwrap();
        let waiting: Vec<_> = (0..5)
            .map(|_| {
                let guard = drops.guard();
                runtime.spawn_blocking(move || panic!("it runs: {guard:?}"))
            })
            .collect();
        let shutdown = thread::spawn(move || runtime.shutdown(AMPLE));
        // They are cancelled at once, not at the deadline.
        let ids: Vec<_> = waiting.iter().map(wakeful::JoinHandle::id).collect();
        for handle in waiting {
            let result: Result<(), _> = futures::executor::block_on(handle);
            assert!(result.unwrap_err().is_cancelled());
        }
        assert_eq!(drops.count(), 5);
        assert!(!first.is_finished());
        drop(stuck);
        let report = shutdown.join().unwrap();
        let cancelled: Vec<_> = report.closures_cancelled.iter().map(|c| c.id()).collect();
        assert_eq!(cancelled, ids);
        assert!(report.is_clean(), "what was cancelled has ended: {report}");
    });
}

#[test]
fn a_stuck_poll_is_reported_and_all_other_tasks_are_dropped() {
    for_each_size([2, 4], |workers| {
        let runtime = runtime(workers);
        let drops = Drops::new();
        let (stuck, hold, begun) = Stuck::new();
        let guard = drops.guard();
        let future = async move {
            hold();
            pending::<()>().await;
            drop(guard);
        };
        let line = line!() + 1;
        let task = runtime.handle().spawn_named("stuck", future);
        begun.recv().unwrap();
        for _ in 0..100 {
            let guard = drops.guard();
            drop(runtime.spawn(async move { (pending::<()>().await, drop(guard)) }));
        }
        let handle = runtime.handle().clone();
        let began = Instant::now();
        let shutdown = thread::spawn(move || runtime.shutdown(4 * SHORT));
        eventually("the others do not wait for the deadline", || {
            drops.count() == 100
        });
        let report = shutdown.join().unwrap();
        assert!(began.elapsed() >= 4 * SHORT);
        assert!(!report.is_clean());
        assert_eq!(report.tasks_dropped, 100, "{report}");
        assert_eq!((report.workers_stuck.len(), report.tasks_leaked), (1, 0));
        let [left] = &report.tasks_stuck[..] else {
            panic!("{report}")
        };
        assert_eq!((left.id(), left.name()), (task.id(), Some("stuck")));
        assert_eq!(
            (left.location().file(), left.location().line()),
            (file!(), line)
        );
        let text = format!("task {} `stuck` (spawned at {}:{line}:", task.id(), file!());
        assert!(report.to_string().contains(&text), "{report}");
        // It comes back, and then its thread ends it.
        drop(stuck);
        assert!(
            futures::executor::block_on(task)
                .unwrap_err()
                .is_cancelled()
        );
        assert_eq!(drops.count(), 101);
        eventually("it leaves the registry", || handle.metrics().tasks == 0);
    });
}

#[test]
fn when_every_worker_is_stuck_the_other_tasks_are_dropped_at_the_deadline() {
    for_each_size([2, 4], |workers| {
        let runtime = runtime(workers);
        let drops = Drops::new();
        let stuck: Vec<_> = (0..workers)
            .map(|worker| {
                let (stuck, hold, begun) = Stuck::new();
                drop(runtime.handle().spawn_pinned(worker, || async { hold() }));
                begun.recv().unwrap();
                stuck
            })
            .collect();
        let waiting: Vec<_> = (0..50)
            .map(|_| {
                let guard = drops.guard();
                runtime.spawn(async move { drop(guard) })
            })
            .collect();
        let report = runtime.shutdown(SHORT);
        assert_eq!((drops.count(), report.tasks_dropped), (50, 50), "{report}");
        assert_eq!(report.workers_stuck.len(), workers);
        assert_eq!(report.tasks_stuck.len(), workers, "{report}");
        for task in waiting {
            let result = futures::executor::block_on(task);
            assert!(result.unwrap_err().is_cancelled());
        }
        drop(stuck);
    });
}

#[test]
fn local_tasks_of_a_stuck_thread_are_leaked_and_reported_until_it_comes_back() {
    for_each_size([2, 4], |workers| {
        let runtime = runtime(workers);
        let drops = Drops::new();
        let (stuck, hold, begun) = Stuck::new();
        let guards = [(); 3].map(|()| drops.guard());
        drop(runtime.handle().spawn_pinned(1, move || async move {
            for guard in guards {
                drop(wakeful::spawn_local(async move {
                    (pending::<()>().await, drop(guard))
                }));
            }
            yields(10).await;
            hold();
        }));
        begun.recv().unwrap();
        let report = runtime.shutdown(SHORT);
        assert_eq!(
            (report.tasks_stuck.len(), report.tasks_leaked),
            (1, 3),
            "{report}"
        );
        assert_eq!(report.workers_stuck, [1]);
        assert_eq!(drops.count(), 0);
        drop(stuck);
        eventually("their own thread drops them", || drops.count() == 3);
    });
}

#[test]
fn a_stuck_destructor_is_reported_and_keeps_no_other_task_alive() {
    struct Hold<F: FnOnce()>(Option<F>);
    impl<F: FnOnce()> Drop for Hold<F> {
        fn drop(&mut self) {
            self.0.take().into_iter().for_each(|hold| hold());
        }
    }
    for_each_size([2, 4], |workers| {
        let runtime = runtime(workers);
        let drops = Drops::new();
        let (stuck, hold, begun) = Stuck::new();
        let hold = Hold(Some(hold));
        let task = runtime.spawn(async move { (pending::<()>().await, drop(hold)) });
        for _ in 0..100 {
            let guard = drops.guard();
            drop(runtime.spawn(async move { (pending::<()>().await, drop(guard)) }));
        }
        runtime.block_on(yields(200));
        let report = runtime.shutdown(4 * SHORT);
        begun.recv().unwrap();
        assert_eq!(drops.count(), 100);
        assert_eq!(report.tasks_dropped, 100, "{report}");
        let ids: Vec<_> = report.tasks_stuck.iter().map(|task| task.id()).collect();
        assert_eq!(ids, [task.id()], "{report}");
        drop(stuck);
        assert!(futures::executor::block_on(task).is_err());
    });
}

#[test]
fn a_stuck_main_future_is_reported_as_its_worker() {
    for_each_size([1, 2], |workers| {
        let runtime = runtime(workers);
        let handle = runtime.handle().clone();
        let (stuck, hold, begun) = Stuck::new();
        let main = thread::spawn(move || handle.block_on(async { hold() }));
        begun.recv().unwrap();
        let drops = Drops::new();
        let guard = drops.guard();
        drop(runtime.spawn(async move { (pending::<()>().await, drop(guard)) }));
        let report = runtime.shutdown(SHORT);
        assert_eq!(report.workers_stuck, [0], "{report}");
        assert!(report.tasks_stuck.is_empty());
        assert_eq!(drops.count(), 1);
        drop(stuck);
        main.join().unwrap();
    });
}

#[test]
fn dropped_with_a_stuck_poll_a_runtime_is_gone_within_its_deadline() {
    for_each_size([2], |workers| {
        let runtime = runtime(workers);
        let (stuck, hold, begun) = Stuck::new();
        drop(runtime.spawn(async { hold() }));
        begun.recv().unwrap();
        let began = Instant::now();
        drop(runtime);
        assert!(
            began.elapsed() < Duration::from_secs(15),
            "the documented five, and a slow machine"
        );
        drop(stuck);
    });
}

#[test]
fn dropped_inside_its_own_task_beside_a_stuck_one_the_others_end() {
    for_each_size([3, 4], |workers| {
        let runtime = runtime(workers);
        let drops = Drops::new();
        let (stuck, hold, begun) = Stuck::new();
        drop(runtime.spawn(async { hold() }));
        begun.recv().unwrap();
        for _ in 0..10 {
            let guard = drops.guard();
            drop(runtime.spawn(async move { (pending::<()>().await, drop(guard)) }));
        }
        let (owned, owns) = oneshot::channel::<Runtime>();
        drop(runtime.spawn(async move { drop(owns.await.unwrap()) }));
        assert!(owned.send(runtime).is_ok());
        eventually("the others are dropped", || drops.count() == 10);
        drop(stuck);
    });
}

#[test]
fn inside_its_own_task_a_shutdown_reports_at_once_what_is_not_over() {
    for_each_size([2, 4], |workers| {
        let runtime = runtime(workers);
        let (owned, owns) = oneshot::channel::<Runtime>();
        let task = runtime.spawn(async move {
            let began = Instant::now();
            let report = owns.await.unwrap().shutdown(AMPLE);
            assert!(began.elapsed() < AMPLE / 2);
            report
        });
        let id = task.id();
        assert!(owned.send(runtime).is_ok());
        let report = futures::executor::block_on(task).unwrap();
        assert!(!report.is_clean());
        let own = report.tasks_stuck.iter().any(|task| task.id() == id);
        assert!(own, "the calling task is in its poll: {report}");
    });
}

#[test]
fn inside_its_own_main_future_a_shutdown_reports_at_once_and_the_future_goes_on() {
    for_each_size([1, 2], |workers| {
        let runtime = runtime(workers);
        let handle = runtime.handle().clone();
        let report = handle.block_on(async {
            let task = wakeful::spawn(pending::<()>());
            let report = runtime.shutdown(AMPLE);
            assert!(task.await.unwrap_err().is_cancelled());
            report
        });
        assert!(report.workers_stuck.contains(&0), "{report}");
    });
}

#[test]
fn inside_a_blocking_closure_of_its_own_a_shutdown_waits_for_the_others_only() {
    for_each_size([1, 2], |workers| {
        let runtime = runtime(workers);
        let (owned, owns) = mpsc::channel::<Runtime>();
        let closure = runtime.spawn_blocking(move || owns.recv().unwrap().shutdown(AMPLE));
        let other = runtime.spawn_blocking(|| thread::sleep(SHORT));
        let began = Instant::now();
        owned.send(runtime).unwrap();
        let report = futures::executor::block_on(closure).unwrap();
        assert!(began.elapsed() < AMPLE / 2, "it does not wait for itself");
        assert!(report.is_clean(), "{report}");
        assert!(other.is_finished());
    });
}

#[test]
fn a_deadline_of_zero_waits_for_nothing_and_one_without_end_is_one() {
    for_each_size([1, 2], |workers| {
        let (first, second) = (runtime(workers), runtime(workers));
        let (_stuck, hold, begun) = Stuck::new();
        drop(first.spawn_blocking(hold));
        begun.recv().unwrap();
        assert_eq!(first.shutdown(Duration::ZERO).closures_running.len(), 1);
        drop(second.spawn_blocking(|| thread::sleep(SHORT)));
        assert!(second.shutdown(Duration::MAX).is_clean());
    });
}

#[test]
fn ten_thousand_runtimes_leave_no_thread_no_descriptor_and_no_memory() {
    alone(
        "ten_thousand_runtimes_leave_no_thread_no_descriptor_and_no_memory",
        || {
            // Unoptimised, with a sanitizer perhaps: the same in small.
            let rounds = if cfg!(debug_assertions) { 500 } else { 5000 };
            let use_up = |rounds: usize| {
                for _ in 0..rounds {
                    for workers in [1, 2] {
                        let runtime = runtime(workers);
                        drop(runtime.spawn(pending::<()>()));
                        let closure = runtime.spawn_blocking(|| 1);
                        let sum = runtime.block_on(async {
                            closure.await.unwrap() + wakeful::spawn(async { 1 }).await.unwrap()
                        });
                        assert_eq!(sum, 2);
                        let report = runtime.shutdown(AMPLE);
                        assert!(report.is_clean(), "{report}");
                    }
                }
            };
            use_up(rounds / 10);
            let threads = threads_count;
            eventually("the threads of the first are gone", || threads() <= 3);
            let before = (threads(), fds_count(), anonymous_bytes());
            within(4 * LIMIT, move || use_up(rounds));
            eventually("the threads are gone", || threads() == before.0);
            assert_eq!(fds_count(), before.1);
            let grown = anonymous_bytes().saturating_sub(before.2);
            assert!(grown < 2 << 20, "{grown} bytes more");
        },
    );
}

/// The watch fires the timers of a stuck worker, and calls wakers that may be anybody's code.
#[test]
fn a_runtime_that_a_waker_drops_on_the_watch_ends_at_once() {
    within(LIMIT, || {
        let runtime = runtime(2);
        let handle = runtime.handle().clone();
        let (took, has_taken) = mpsc::channel();
        let owner = Mutex::new(Some(runtime));
        let drops = waker(move || {
            let begun = Instant::now();
            drop(owner.lock().unwrap().take());
            let _ = took.send(begun.elapsed());
        });
        drop(handle.spawn(async move {
            let _sleep = loop {
                let mut sleep = wakeful::time::sleep(Duration::from_millis(5));
                let polled = Pin::new(&mut sleep).poll(&mut Context::from_waker(&drops));
                if polled.is_pending() {
                    break sleep; // where the machine pauses, one may be over before it is polled
                }
            };
            drop(drops);
            thread::sleep(Duration::from_millis(100)); // stuck, so somebody else fires the timer
        }));
        assert!(has_taken.recv().unwrap() < Duration::from_secs(10));
    });
}

/// It would wait for a timer that nobody drives any more.
#[test]
fn a_destructor_that_blocks_on_the_runtime_that_ends_is_told_so() {
    struct Blocks(Handle, mpsc::Sender<String>);
    impl Drop for Blocks {
        fn drop(&mut self) {
            let text = panic_of(|| {
                self.0
                    .block_on(wakeful::time::sleep(Duration::from_millis(5)))
            });
            let _ = self.1.send(text);
        }
    }
    within(LIMIT, || {
        for workers in [1, 2] {
            let runtime = runtime(workers);
            let (told, was_told) = mpsc::channel();
            let blocks = Blocks(runtime.handle().clone(), told);
            runtime.block_on(async {
                drop(wakeful::spawn(async move {
                    let _blocks = blocks;
                    pending::<()>().await;
                }));
                wakeful::yield_now().await;
            });
            drop(runtime);
            let text = was_told.recv().unwrap();
            assert!(text.contains("`block_on` was called"), "{text}");
        }
    });
}
