//! `block_on`: one future to its end, alone, beside others, and again and again on the same runtime.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Barrier, mpsc};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use futures::channel::oneshot;
use wakeful::time::sleep;
use wakeful_tests::process::threads_count;
use wakeful_tests::runtimes::runtime;
use wakeful_tests::tcp::pair;
use wakeful_tests::watchdog::LIMIT;
use wakeful_tests::{Drops, Parked, alone, eventually, on_workers, panic_of, within, yields};

const NESTED: &str = "`block_on` was called inside a future that a wakeful runtime is driving";

#[test]
fn it_returns_the_value() {
    on_workers([1, 2, 4], |runtime| {
        assert_eq!(runtime.block_on(async { 42 }), 42)
    });
}

#[test]
fn the_future_may_borrow_and_need_not_be_send() {
    on_workers([1, 2, 4], |runtime| {
        let count = Rc::new(Cell::new(0));
        runtime.block_on(async {
            let lent = &count;
            wakeful::yield_now().await;
            lent.set(7);
        });
        assert_eq!(count.get(), 7);
    });
}

#[test]
fn the_free_function_drops_what_was_spawned_before_it_returns() {
    within(LIMIT, || {
        let drops = Drops::new();
        wakeful::block_on(async {
            let (sender, polled) = mpsc::channel();
            for guard in [drops.guard(), drops.guard()] {
                let parked = Parked::new(sender.clone());
                drop(wakeful::spawn(async move { (parked.await, guard) }));
            }
            let guard = drops.guard();
            drop(wakeful::spawn_local(async move {
                (std::future::pending::<()>().await, guard)
            }));
            while polled.try_iter().count() == 0 {
                wakeful::yield_now().await;
            }
        });
        assert_eq!(drops.count(), 3);
    });
}

#[test]
fn a_panic_propagates_and_the_runtime_stays_usable() {
    on_workers([1, 2, 4], |runtime| {
        for round in 0..3 {
            let result = catch_unwind(AssertUnwindSafe(|| {
                runtime.block_on(async {
                    drop(wakeful::spawn(yields(10)));
                    drop(wakeful::spawn_local(yields(10)));
                    wakeful::yield_now().await;
                    panic!("in the main future");
                })
            }));
            assert_eq!(
                *result.unwrap_err().downcast::<&str>().unwrap(),
                "in the main future"
            );
            assert_eq!(
                runtime.block_on(async { wakeful::spawn(async move { round }).await.unwrap() }),
                round
            );
        }
    });
}

#[test]
fn the_thread_is_in_the_runtime_only_while_it_runs() {
    on_workers([1, 2], |runtime| {
        assert!(wakeful::Handle::try_current().is_none());
        runtime.block_on(async { assert!(wakeful::Handle::try_current().is_some()) });
        assert!(wakeful::Handle::try_current().is_none());
        let _ = catch_unwind(AssertUnwindSafe(|| runtime.block_on(async { panic!() })));
        assert!(wakeful::Handle::try_current().is_none());
    });
}

#[test]
fn the_future_is_dropped_inside_its_runtime() {
    struct SpawnOnDrop;
    impl Drop for SpawnOnDrop {
        fn drop(&mut self) {
            drop(wakeful::spawn(async {}));
        }
    }
    on_workers([1, 2], |runtime| {
        let kept = SpawnOnDrop;
        runtime.block_on(std::future::poll_fn(move |_| {
            let _ = &kept;
            Poll::Ready(())
        }));
        runtime.block_on(wakeful::yield_now()); // for the one worker to run the task
    });
}

#[test]
fn what_a_future_that_panics_leaves_behind_is_dropped_inside_its_runtime() {
    struct PanicsWhenPolled(DropGuard);
    impl Future for PanicsWhenPolled {
        type Output = ();
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            panic!("in the main future");
        }
    }
    struct DropGuard;
    impl Drop for DropGuard {
        fn drop(&mut self) {
            drop(wakeful::spawn(async {}));
        }
    }
    on_workers([1, 2], |runtime| {
        let future = PanicsWhenPolled(DropGuard);
        let text = panic_of(|| runtime.block_on(future));
        assert_eq!(text, "in the main future");
        runtime.block_on(wakeful::yield_now()); // for the one worker to run the task
    });
}

#[test]
fn nested_in_the_main_future_it_panics_with_the_sentence() {
    on_workers([1, 2], |runtime| {
        let text = runtime.block_on(async { panic_of(|| runtime.block_on(async {})) });
        assert!(text.starts_with(NESTED), "{text}");
    });
}

#[test]
fn nested_in_a_task_it_panics_with_the_sentence() {
    on_workers([1, 2], |runtime| {
        let handle = runtime.handle().clone();
        let error = runtime
            .block_on(runtime.spawn(async move { handle.block_on(async {}) }))
            .unwrap_err();
        assert!(error.to_string().contains(NESTED), "{error}");
    });
}

#[test]
fn nested_in_a_local_task_it_panics_with_the_sentence() {
    on_workers([1, 2], |runtime| {
        let error = runtime
            .block_on(async { wakeful::spawn_local(async { wakeful::block_on(async {}) }).await });
        assert!(error.unwrap_err().to_string().contains(NESTED));
    });
}

#[test]
fn nested_in_another_runtime_it_panics_with_the_sentence() {
    on_workers([1, 2], |outer| {
        let inner = runtime(1);
        let text = outer.block_on(async { panic_of(|| inner.block_on(async {})) });
        assert!(text.starts_with(NESTED), "{text}");
        let text = outer.block_on(async { panic_of(|| wakeful::block_on(async {})) });
        assert!(text.starts_with(NESTED), "{text}");
        assert_eq!(inner.block_on(async { 3 }), 3, "the refusal did no harm");
    });
}

#[test]
fn nested_behind_an_entered_context_it_panics_with_the_sentence() {
    on_workers([1, 2], |runtime| {
        let handle = runtime.handle().clone();
        let task = runtime.spawn(async move {
            let _entered = handle.enter();
            let text = panic_of(|| handle.block_on(yields(1)));
            assert!(text.starts_with(NESTED), "{text}");
        });
        runtime.block_on(task).unwrap();
    });
}

#[test]
fn nested_in_a_guest_it_panics_with_the_sentence() {
    on_workers([1, 2], |runtime| {
        beside_a_driver(runtime, || {
            let text = runtime.block_on(async { panic_of(|| runtime.block_on(async {})) });
            assert!(text.starts_with(NESTED), "{text}");
        });
    });
}

#[test]
fn it_works_in_an_entered_context() {
    on_workers([1, 2], |runtime| {
        let _entered = runtime.enter();
        assert_eq!(
            runtime.block_on(async { wakeful::spawn(async { 1 }).await.unwrap() }),
            1
        );
        assert_eq!(wakeful::block_on(async { 2 }), 2);
    });
}

#[test]
fn four_threads_at_once_all_get_their_values() {
    on_workers([1, 2, 4], |runtime| {
        let start = &Barrier::new(4);
        thread::scope(|scope| {
            for number in 0..4 {
                scope.spawn(move || {
                    start.wait();
                    for round in 0..100 {
                        let value = runtime.block_on(async {
                            wakeful::yield_now().await;
                            let task = wakeful::spawn(async move {
                                (yields(3).await, number * 1000 + round).1
                            });
                            task.await.unwrap()
                        });
                        assert_eq!(value, number * 1000 + round);
                    }
                });
            }
        });
    });
}

#[test]
fn a_guest_takes_over_the_only_core_when_the_driver_returns() {
    on_workers([1], |runtime| {
        let (end_driver, driver_ends) = oneshot::channel::<()>();
        let (end_task, task_ends) = oneshot::channel::<()>();
        let (guest_waits, waiting) = mpsc::channel();
        let task = thread::scope(|scope| {
            let (driver_in, entered) = mpsc::channel();
            let driver = scope.spawn(move || {
                runtime.block_on(async {
                    driver_in.send(()).unwrap();
                    driver_ends.await.unwrap();
                });
            });
            entered.recv().unwrap();
            let guest = scope.spawn(move || {
                runtime.block_on(async {
                    let task = wakeful::spawn(async {
                        (task_ends.await.unwrap(), thread::current().id()).1
                    });
                    guest_waits.send(()).unwrap();
                    task.await.unwrap()
                })
            });
            waiting.recv().unwrap();
            end_driver.send(()).unwrap();
            driver.join().unwrap();
            end_task.send(()).unwrap();
            assert_eq!(
                guest.thread().id(),
                guest.join().unwrap(),
                "the task ran on the guest's thread"
            );
            7
        });
        assert_eq!(task, 7);
    });
}

#[test]
fn a_guest_takes_over_when_the_driver_panics() {
    on_workers([1], |runtime| {
        thread::scope(|scope| {
            let (driver_in, entered) = mpsc::channel();
            let (end_driver, driver_ends) = oneshot::channel::<()>();
            let driver = scope.spawn(move || {
                catch_unwind(AssertUnwindSafe(|| {
                    runtime.block_on(async {
                        driver_in.send(()).unwrap();
                        let _ = driver_ends.await;
                        panic!("the driver");
                    })
                }))
            });
            entered.recv().unwrap();
            let (guest_waits, waiting) = mpsc::channel();
            let guest = scope.spawn(move || {
                runtime.block_on(async {
                    guest_waits.send(()).unwrap();
                    wakeful::spawn(yields(10)).await.unwrap();
                });
            });
            waiting.recv().unwrap();
            end_driver.send(()).unwrap();
            assert!(driver.join().unwrap().is_err());
            guest.join().unwrap();
        });
    });
}

#[test]
fn guests_take_over_one_after_the_other() {
    on_workers([1], |runtime| {
        // Each of eight threads ends only when the one before it has; whoever drives then hands on.
        thread::scope(|scope| {
            let (first, mut previous) = oneshot::channel::<()>();
            for _ in 0..8 {
                let (end_next, next) = oneshot::channel::<()>();
                let wait = std::mem::replace(&mut previous, next);
                scope.spawn(move || {
                    runtime.block_on(async {
                        wait.await.unwrap();
                        wakeful::spawn(yields(3)).await.unwrap();
                        end_next.send(()).unwrap();
                    });
                });
            }
            first.send(()).unwrap();
            thread::spawn(move || futures::executor::block_on(previous))
                .join()
                .unwrap()
                .unwrap();
        });
    });
}

#[test]
fn a_guest_of_several_workers_is_served_by_them() {
    on_workers([2, 4], |runtime| {
        beside_a_driver(runtime, || {
            let ran_on = runtime.block_on(async {
                wakeful::spawn(async { thread::current().id() })
                    .await
                    .unwrap()
            });
            assert_ne!(ran_on, thread::current().id(), "a guest runs no tasks");
        });
    });
}

#[test]
fn a_guest_that_is_woken_often_does_not_gather_memory() {
    alone("a_guest_that_is_woken_often_does_not_gather_memory", || {
        on_workers([1], |runtime| {
            beside_a_driver(runtime, || {
                runtime.block_on(self_waking(10_000));
                let before = wakeful_tests::process::anonymous_bytes();
                runtime.block_on(self_waking(1_000_000));
                let grown = wakeful_tests::process::anonymous_bytes().saturating_sub(before);
                assert!(grown < 2_000_000, "{grown} bytes for a million wakes");
            });
        });
    });
}

#[test]
fn between_two_calls_tasks_of_several_workers_go_on() {
    on_workers([2, 4], |runtime| {
        // Every other worker is kept busy, so that only core 0, without its `block_on`, is left.
        let (release, held) = mpsc::channel::<()>();
        let held = Arc::new(std::sync::Mutex::new(held));
        let workers = runtime.handle().workers_count();
        let busy = (1..workers).map(|worker| {
            let held = held.clone();
            let (blocks, blocking) = mpsc::channel();
            let task = runtime.handle().spawn_pinned(worker, move || async move {
                blocks.send(()).unwrap();
                let _ = held.lock().map(|held| held.recv());
            });
            blocking.recv().unwrap();
            task
        });
        let busy = busy.collect::<Vec<_>>();
        let (wake, woken) = oneshot::channel::<()>();
        let (went_on, goes_on) = mpsc::channel();
        runtime.block_on(async {
            drop(wakeful::spawn(async move {
                woken.await.unwrap();
                yields(100).await;
                went_on.send(()).unwrap();
            }));
            wakeful::yield_now().await;
        });
        wake.send(()).unwrap();
        goes_on.recv().unwrap();
        drop(release);
        busy.into_iter()
            .for_each(|task| runtime.block_on(task).unwrap());
    });
}

#[test]
fn between_two_calls_tasks_of_one_worker_rest_and_then_go_on() {
    on_workers([1], |runtime| {
        let polls = Arc::new(AtomicUsize::new(0));
        let task = runtime.spawn({
            let polls = polls.clone();
            async move {
                for _ in 0..1000 {
                    polls.fetch_add(1, Relaxed);
                    wakeful::yield_now().await;
                }
            }
        });
        runtime.block_on(yields(5));
        let at_rest = polls.load(Relaxed);
        assert!(
            (1..100).contains(&at_rest),
            "{at_rest} polls beside 5 yields"
        );
        thread::yield_now();
        assert_eq!(polls.load(Relaxed), at_rest);
        runtime.block_on(task).unwrap();
        assert_eq!(polls.load(Relaxed), 1000);
    });
}

#[test]
fn local_tasks_are_dropped_before_it_returns() {
    on_workers([1, 2], |runtime| {
        let drops = Drops::new();
        let guards = [drops.guard(), drops.guard()];
        runtime.block_on(async {
            for guard in guards {
                drop(wakeful::spawn_local(async move {
                    (std::future::pending::<()>().await, guard)
                }));
            }
            wakeful::yield_now().await;
        });
        assert_eq!(drops.threads(), [thread::current().id(); 2]);
    });
}

#[test]
fn a_handle_runs_it_on_any_thread() {
    on_workers([1, 2, 4], |runtime| {
        let threads = [(); 4].map(|()| {
            let handle = runtime.handle().clone();
            thread::spawn(move || {
                handle.block_on(async { wakeful::spawn(async { 5 }).await.unwrap() })
            })
        });
        assert_eq!(threads.map(|thread| thread.join().unwrap()), [5; 4]);
    });
}

/// A handle that a task has made is that of the worker that ran it.
#[test]
fn the_handle_of_another_worker_drives_worker_0_all_the_same() {
    on_workers([2, 4], |runtime| {
        let of_last = runtime.handle().workers_count() - 1;
        let made = runtime
            .handle()
            .spawn_pinned(of_last, || async { wakeful::Handle::current() });
        let handle = futures::executor::block_on(made).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                let _entered = handle.enter();
                handle.block_on(async {
                    let here = thread::current().id();
                    let pinned = |worker| {
                        let thread = || async { thread::current().id() };
                        handle.spawn_pinned(worker, thread)
                    };
                    assert_eq!(pinned(0).await.unwrap(), here);
                    assert_ne!(pinned(of_last).await.unwrap(), here);
                    // What waits on this thread is this worker's to wake, from its reactor and its timers.
                    let (client, server) = pair().await;
                    client.write(b"x").await.unwrap();
                    assert_eq!(server.read(&mut [0; 2]).await.unwrap(), 1);
                    sleep(Duration::from_millis(1)).await;
                });
            });
        });
    });
}

#[test]
fn another_thread_wakes_the_main_future_each_time() {
    on_workers([1, 2], |runtime| {
        let (senders, receiver) = mpsc::channel::<oneshot::Sender<usize>>();
        let sender = thread::spawn(move || {
            for (number, sender) in receiver.iter().enumerate() {
                sender.send(number).unwrap();
            }
        });
        runtime.block_on(async {
            for number in 0..10_000 {
                let (sender, value) = oneshot::channel();
                senders.send(sender).unwrap();
                assert_eq!(value.await, Ok(number));
            }
        });
        drop(senders);
        sender.join().unwrap();
    });
}

#[test]
fn another_thread_wakes_a_guest_each_time() {
    on_workers([1, 2], |runtime| {
        beside_a_driver(runtime, || {
            let (senders, receiver) = mpsc::channel::<oneshot::Sender<usize>>();
            thread::scope(|scope| {
                scope.spawn(move || {
                    for (number, sender) in receiver.iter().enumerate() {
                        sender.send(number).unwrap();
                    }
                });
                runtime.block_on(async move {
                    for number in 0..1000 {
                        let (sender, value) = oneshot::channel();
                        senders.send(sender).unwrap();
                        assert_eq!(value.await, Ok(number));
                    }
                });
            });
        });
    });
}

#[test]
fn a_guest_is_woken_although_its_poll_used_up_the_unpark() {
    on_workers([1, 2], |runtime| {
        beside_a_driver(runtime, || {
            let mut polls = 0;
            runtime.block_on(std::future::poll_fn(|cx| {
                polls += 1;
                if polls == 2 {
                    return Poll::Ready(());
                }
                let waker = cx.waker().clone();
                thread::spawn(move || waker.wake()).join().unwrap();
                thread::park(); // as a channel of std may do that the poll waits for
                Poll::Pending
            }));
        });
    });
}

#[test]
fn a_main_future_that_wakes_itself_leaves_turns_to_tasks() {
    on_workers([1, 2], |runtime| {
        let (ran, runs) = mpsc::channel();
        runtime.block_on(async {
            drop(wakeful::spawn(async move {
                yields(1000).await;
                ran.send(()).unwrap();
            }));
            while runs.try_recv().is_err() {
                wakeful::yield_now().await;
            }
        });
    });
}

#[test]
fn after_the_shutdown_a_future_is_still_polled_to_its_end() {
    for workers in [1, 2] {
        within(LIMIT, move || {
            let handle = runtime(workers).handle().clone();
            assert_eq!(handle.block_on(async { (yields(3).await, 9).1 }), 9);
        });
    }
}

#[test]
fn a_shutdown_from_another_thread_does_not_strand_it() {
    for workers in [1, 2] {
        within(LIMIT, move || {
            let runtime = runtime(workers);
            let handle = runtime.handle().clone();
            let (waits, waiting) = mpsc::channel();
            let blocked = thread::spawn(move || {
                handle.block_on(async {
                    let task = wakeful::spawn(std::future::pending::<()>());
                    waits.send(()).unwrap();
                    task.await.unwrap_err().is_cancelled()
                })
            });
            waiting.recv().unwrap();
            drop(runtime);
            assert!(blocked.join().unwrap());
        });
    }
}

#[test]
fn with_one_worker_no_other_thread_exists() {
    alone("with_one_worker_no_other_thread_exists", || {
        let before = threads_count();
        let runtime = runtime(1);
        runtime.block_on(async {
            let tasks = [(); 100].map(|()| wakeful::spawn(yields(10)));
            assert_eq!(threads_count(), before);
            for task in tasks {
                task.await.unwrap();
            }
        });
        wakeful::block_on(async { assert_eq!(threads_count(), before) });
    });
}

#[test]
fn with_several_workers_there_is_one_thread_for_each_and_the_watch() {
    alone(
        "with_several_workers_there_is_one_thread_for_each_and_the_watch",
        || {
            let before = threads_count();
            let runtime = runtime(3);
            assert_eq!(threads_count(), before + 4);
            drop(runtime);
            eventually("the threads are gone", || threads_count() == before);
        },
    );
}

#[test]
fn it_gets_core_0_although_a_task_there_never_rests() {
    on_workers([2], |runtime| {
        let stop = Arc::new(AtomicUsize::new(0));
        let tasks = [(); 8].map(|()| {
            let stop = stop.clone();
            runtime.spawn(async move {
                while stop.load(Relaxed) == 0 {
                    wakeful::yield_now().await;
                }
            })
        });
        for _ in 0..100 {
            runtime.block_on(yields(2));
        }
        stop.store(1, Relaxed);
        tasks
            .into_iter()
            .for_each(|task| runtime.block_on(task).unwrap());
    });
}

/// Runs `body` on this thread while another thread is in `block_on`.
fn beside_a_driver(runtime: &wakeful::Runtime, body: impl FnOnce()) {
    thread::scope(|scope| {
        let (end_driver, driver_ends) = oneshot::channel::<()>();
        let (driver_in, entered) = mpsc::channel();
        scope.spawn(move || {
            runtime.block_on(async {
                driver_in.send(()).unwrap();
                let _ = driver_ends.await;
            });
        });
        entered.recv().unwrap();
        body();
        drop(end_driver);
    });
}

/// Wakes itself so many times, without the runtime's help.
fn self_waking(mut times: usize) -> impl Future<Output = ()> {
    std::future::poll_fn(move |cx| {
        times -= 1;
        cx.waker().wake_by_ref();
        if times == 0 {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
}
