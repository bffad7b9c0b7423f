//! Tasks that stay on one thread: `spawn_local` and `Handle::spawn_pinned`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::mpsc;
use std::task::Waker;
use std::thread::{self, ThreadId};

use futures::channel::oneshot;
use wakeful_tests::process::anonymous_bytes;
use wakeful_tests::runtimes::runtime;
use wakeful_tests::watchdog::LIMIT;
use wakeful_tests::{Drops, Parked, alone, eventually, on_workers, panic_of, within, yields};

fn here() -> ThreadId {
    thread::current().id()
}

#[test]
fn local_futures_need_not_be_send() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            let log = Rc::new(RefCell::new(Vec::new()));
            let tasks = [0, 1, 2].map(|n| {
                let log = log.clone();
                wakeful::spawn_local(async move {
                    wakeful::yield_now().await;
                    log.borrow_mut().push(n);
                    Rc::new(n)
                })
            });
            for (n, task) in tasks.into_iter().enumerate() {
                assert_eq!(*task.await.unwrap(), n);
            }
            assert_eq!(*log.borrow(), [0, 1, 2]);
        });
    });
}

#[test]
fn a_local_task_always_runs_on_its_thread() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            let home = here();
            // Enough for thieves to come.
            let tasks = [(); 300].map(|()| {
                wakeful::spawn_local(async move {
                    for _ in 0..20 {
                        assert_eq!(here(), home);
                        wakeful::yield_now().await;
                    }
                })
            });
            for task in tasks {
                task.await.unwrap();
            }
        });
    });
}

#[test]
fn woken_from_another_thread_a_local_task_runs_on_its_home_thread() {
    on_workers([1, 2, 4], |runtime| {
        let (senders, receiver) = mpsc::channel::<oneshot::Sender<()>>();
        let waker =
            thread::spawn(move || receiver.iter().for_each(|sender| sender.send(()).unwrap()));
        runtime.block_on(async {
            let home = here();
            let task = wakeful::spawn_local(async move {
                for _ in 0..1000 {
                    let (sender, woken) = oneshot::channel();
                    senders.send(sender).unwrap();
                    woken.await.unwrap();
                    assert_eq!(here(), home);
                }
            });
            task.await.unwrap();
        });
        waker.join().unwrap();
    });
}

#[test]
fn aborted_from_another_thread_a_local_task_is_dropped_on_its_home_thread() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            let drops = Drops::new();
            let guard = drops.guard();
            let task =
                wakeful::spawn_local(
                    async move { (std::future::pending::<()>().await, drop(guard)) },
                );
            yields(3).await;
            let task = thread::spawn(move || (task.abort(), task).1)
                .join()
                .unwrap();
            assert!(task.await.unwrap_err().is_cancelled());
            assert_eq!(drops.threads(), [here()]);
        });
    });
}

#[test]
fn cancelled_on_another_worker_a_local_task_is_dropped_on_its_home_thread() {
    on_workers([2, 4], |runtime| {
        runtime.block_on(async {
            for _ in 0..200 {
                let drops = Drops::new();
                let guard = drops.guard();
                let task = wakeful::spawn_local(async move {
                    (std::future::pending::<()>().await, drop(guard))
                });
                yields(2).await;
                let canceller =
                    wakeful::spawn(async move { task.cancel().await.unwrap_err().is_cancelled() });
                assert!(canceller.await.unwrap());
                assert_eq!(drops.threads(), [here()]);
            }
        });
    });
}

#[test]
fn a_local_output_dies_on_its_home_thread_when_the_handle_was_dropped_elsewhere() {
    on_workers([2], |runtime| {
        runtime.block_on(async {
            let drops = Drops::new();
            let guard = drops.guard();
            let task = wakeful::spawn_local(async move { (wakeful::yield_now().await, guard).1 });
            thread::spawn(move || drop(task)).join().unwrap();
            yields(10).await;
            assert_eq!(drops.threads(), [here()]);
        });
    });
}

#[test]
fn a_local_task_may_spawn_and_a_dropped_one_too() {
    struct SpawnOnDrop(Drops, bool);
    impl Drop for SpawnOnDrop {
        fn drop(&mut self) {
            drop(self.0.guard());
            if self.1 {
                let next = Self(self.0.clone(), false);
                drop(wakeful::spawn_local(async move {
                    (std::future::pending::<()>().await, drop(next))
                }));
            }
        }
    }
    on_workers([1, 2], |runtime| {
        let drops = Drops::new();
        runtime.block_on(async {
            let spawner = SpawnOnDrop(drops.clone(), true);
            drop(wakeful::spawn_local(async move {
                (std::future::pending::<()>().await, drop(spawner))
            }));
            yields(3).await;
        });
        assert_eq!(
            drops.threads(),
            [here(); 2],
            "also what was spawned as the first was dropped"
        );
    });
}

#[test]
fn a_local_task_that_panics_harms_nobody() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let error = wakeful::spawn_local(async { panic!("local") })
                .await
                .unwrap_err();
            assert!(error.to_string().ends_with("panicked: local"));
            assert_eq!(
                *wakeful::spawn_local(async { Rc::new(1) }).await.unwrap(),
                1
            );
        });
    });
}

#[test]
fn local_and_stealable_tasks_take_turns() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let stop = Rc::new(Cell::new(false));
            for _ in 0..10 {
                let stop = stop.clone();
                drop(wakeful::spawn_local(async move {
                    while !stop.get() {
                        wakeful::yield_now().await;
                    }
                }));
            }
            wakeful::spawn(yields(1000)).await.unwrap();
            stop.set(true);
            yields(3).await;
        });
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        runtime.block_on(async {
            for _ in 0..10 {
                let stop = stop.clone();
                drop(wakeful::spawn(async move {
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        wakeful::yield_now().await;
                    }
                }));
            }
            wakeful::spawn_local(yields(1000)).await.unwrap();
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    });
}

#[test]
fn spawn_local_is_refused_outside() {
    let text = panic_of(|| wakeful::spawn_local(async {}));
    assert!(
        text.contains("`spawn_local` needs a wakeful runtime"),
        "{text}"
    );
}

#[test]
fn spawn_local_is_refused_in_a_context_that_was_only_entered() {
    on_workers([1, 2], |runtime| {
        let _entered = runtime.enter();
        let text = panic_of(|| wakeful::spawn_local(async {}));
        assert!(
            text.contains("this one has only entered it") && text.contains("Handle::spawn_pinned"),
            "{text}"
        );
    });
}

#[test]
fn spawn_local_is_refused_in_a_guest() {
    on_workers([1, 2], |runtime| {
        thread::scope(|scope| {
            let (end, ends) = oneshot::channel::<()>();
            let (enters, entered) = mpsc::channel();
            scope.spawn(move || {
                runtime.block_on(async {
                    enters.send(()).unwrap();
                    let _ = ends.await;
                });
            });
            entered.recv().unwrap();
            let text = runtime.block_on(async { panic_of(|| wakeful::spawn_local(async {})) });
            assert!(text.contains("another thread is in `block_on`"), "{text}");
            drop(end);
        });
    });
}

#[test]
fn a_pinned_future_runs_on_the_thread_of_its_worker_only() {
    on_workers([2, 4], |runtime| {
        let mut threads = Vec::new();
        for worker in 0..runtime.handle().workers_count() {
            let task = runtime.handle().spawn_pinned(worker, move || {
                let (home, count) = (here(), Rc::new(Cell::new(0)));
                assert_eq!(
                    thread::current().name(),
                    Some(&*format!("wakeful-{worker}"))
                );
                async move {
                    for _ in 0..100 {
                        assert_eq!(here(), home);
                        count.set(count.get() + 1);
                        wakeful::yield_now().await;
                    }
                    (home, count.get())
                }
            });
            let (home, count) = futures::executor::block_on(task).unwrap();
            assert_eq!(count, 100);
            threads.push(home);
        }
        threads.dedup();
        assert_eq!(threads.len(), runtime.handle().workers_count());
    });
}

#[test]
fn pinned_to_worker_0_inside_block_on_it_belongs_to_that_thread() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            let task = wakeful::Handle::current().spawn_pinned(0, || async { here() });
            assert_eq!(task.await.unwrap(), here());
        });
    });
}

#[test]
fn pinned_to_one_worker_it_waits_for_the_next_block_on() {
    on_workers([1], |runtime| {
        let task = runtime.handle().spawn_pinned(0, || async { here() });
        assert!(!task.is_finished());
        assert_eq!(runtime.block_on(task).unwrap(), here());
    });
}

#[test]
fn a_pinned_task_of_the_stand_in_goes_on_while_a_block_on_holds_its_core() {
    on_workers([2, 4], |runtime| {
        let (polled, polls) = mpsc::channel();
        let (ended, ends) = oneshot::channel();
        let (starts, started) = mpsc::channel();
        drop(runtime.handle().spawn_pinned(0, move || async move {
            let home = here();
            starts.send(()).unwrap();
            for _ in 0..1000 {
                let (sender, woken) = oneshot::channel::<()>();
                polled.send(sender).unwrap();
                woken.await.unwrap();
                assert_eq!(here(), home);
                wakeful::yield_now().await;
            }
            ended.send(home).unwrap();
        }));
        started.recv().unwrap(); // on the stand-in: no `block_on` has begun
        // Wakes it from outside while the core changes hands again and again.
        let waker = thread::spawn(move || {
            polls
                .iter()
                .for_each(|sender: oneshot::Sender<()>| sender.send(()).unwrap())
        });
        for _ in 0..100 {
            runtime.block_on(yields(3));
        }
        assert_ne!(runtime.block_on(ends).unwrap(), here());
        waker.join().unwrap();
    });
}

#[test]
fn a_pinned_task_of_the_stand_in_gathers_no_memory_while_a_block_on_holds_its_core() {
    alone(
        "a_pinned_task_of_the_stand_in_gathers_no_memory_while_a_block_on_holds_its_core",
        || {
            on_workers([2], |runtime| {
                let (started, starts) = mpsc::channel();
                let (go, goes) = oneshot::channel::<()>();
                let task = runtime.handle().spawn_pinned(0, || async move {
                    started.send(()).unwrap();
                    goes.await.unwrap();
                    yields(10_000).await;
                    let before = anonymous_bytes();
                    yields(1_000_000).await;
                    anonymous_bytes().saturating_sub(before)
                });
                starts.recv().unwrap();
                go.send(()).unwrap();
                let grown = runtime.block_on(task).unwrap();
                assert!(grown < 2_000_000, "{grown} bytes for a million polls");
            });
        },
    );
}

#[test]
fn aborted_from_outside_a_pinned_future_is_dropped_on_its_thread() {
    on_workers([2, 4], |runtime| {
        for worker in 0..runtime.handle().workers_count() {
            let drops = Drops::new();
            let guard = drops.guard();
            let (starts, started) = mpsc::channel();
            let task = runtime.handle().spawn_pinned(worker, move || {
                starts.send(here()).unwrap();
                async move { (std::future::pending::<()>().await, drop(guard)) }
            });
            let home = started.recv().unwrap();
            assert!(
                futures::executor::block_on(task.cancel())
                    .unwrap_err()
                    .is_cancelled()
            );
            assert_eq!(drops.threads(), [home]);
        }
    });
}

#[test]
fn aborted_before_it_started_a_pinned_closure_is_dropped_without_a_call() {
    on_workers([1], |runtime| {
        let (drops, calls) = (Drops::new(), Drops::new());
        let (guard, called) = (drops.guard(), calls.clone());
        let task = runtime.handle().spawn_pinned(0, move || {
            let _called = called.guard();
            async move { drop(guard) }
        });
        task.abort();
        assert!(runtime.block_on(task).unwrap_err().is_cancelled());
        assert_eq!((drops.count(), calls.count()), (1, 0));
    });
}

#[test]
fn a_pinned_closure_that_panics_becomes_the_error() {
    on_workers([1, 2], |runtime| {
        let last = runtime.handle().workers_count() - 1;
        let task = runtime.handle().spawn_pinned(last, || {
            assert!(here() != here(), "in make");
            async {}
        });
        assert!(
            runtime
                .block_on(task)
                .unwrap_err()
                .to_string()
                .ends_with("panicked: in make")
        );
        runtime
            .block_on(runtime.handle().spawn_pinned(last, || async {}))
            .unwrap();
    });
}

#[test]
fn a_worker_that_does_not_exist_is_refused_with_a_sentence() {
    on_workers([1, 2], |runtime| {
        let text = panic_of(|| runtime.handle().spawn_pinned(2, || async {}));
        assert!(
            text.starts_with("there is no worker 2: the runtime has"),
            "{text}"
        );
    });
}

#[test]
fn spawn_local_in_a_pinned_task_stays_on_its_worker() {
    on_workers([2, 4], |runtime| {
        let task = runtime.handle().spawn_pinned(1, || async {
            let inner = wakeful::spawn_local(async { (yields(10).await, Rc::new(here())).1 });
            *inner.await.unwrap() == here()
        });
        assert!(runtime.block_on(task).unwrap());
    });
}

#[test]
fn a_runtime_dropped_with_pinned_tasks_drops_the_started_on_their_threads_and_the_others_uncalled()
{
    for workers in [1, 2, 4] {
        within(LIMIT, move || {
            let runtime = runtime(workers);
            let (starts, started) = mpsc::channel::<(Drops, ThreadId)>();
            let never_called = Drops::new();
            let make_pending = |starts: mpsc::Sender<_>| {
                move || {
                    let drops = Drops::new();
                    starts.send((drops.clone(), here())).unwrap();
                    let guard = drops.guard();
                    async move { (std::future::pending::<()>().await, drop(guard)) }
                }
            };
            // On several workers each starts one, and is then held in a poll while another waits behind it.
            let mut held = Vec::new();
            if workers > 1 {
                for worker in 0..workers {
                    drop(
                        runtime
                            .handle()
                            .spawn_pinned(worker, make_pending(starts.clone())),
                    );
                    let (release, wait) = mpsc::channel::<()>();
                    let (blocks, blocking) = mpsc::channel();
                    drop(runtime.handle().spawn_pinned(worker, move || async move {
                        blocks.send(()).unwrap();
                        let _ = wait.recv();
                    }));
                    blocking.recv().unwrap();
                    held.push(release);
                }
            }
            for worker in 0..workers {
                let guard = never_called.guard();
                drop(runtime.handle().spawn_pinned(worker, move || {
                    drop(guard);
                    async { unreachable!("the runtime is gone") }
                }));
            }
            let dropper = thread::spawn(move || drop(runtime));
            drop(held);
            dropper.join().unwrap();
            drop(starts);
            for (drops, home) in started.iter() {
                assert_eq!(drops.threads(), [home]);
            }
            assert_eq!(never_called.count(), workers);
        });
    }
}

#[test]
fn pinned_tasks_from_many_threads_all_run_once_on_their_worker() {
    on_workers([2, 4], |runtime| {
        let workers = runtime.handle().workers_count();
        let ran = Drops::new();
        thread::scope(|scope| {
            for _ in 0..4 {
                let (handle, ran) = (runtime.handle(), ran.clone());
                scope.spawn(move || {
                    for round in 0..1000 {
                        let guard = ran.guard();
                        drop(handle.spawn_pinned(round % workers, move || async move {
                            wakeful::yield_now().await;
                            drop(guard);
                        }));
                    }
                });
            }
        });
        eventually("all ran", || ran.count() == 4000);
        let mut threads = ran.threads();
        threads.sort_by_key(|id| format!("{id:?}"));
        let counts: Vec<_> = threads.chunk_by(|a, b| a == b).map(<[_]>::len).collect();
        assert_eq!(counts, vec![4000 / workers; workers]);
    });
}

#[test]
fn a_local_waker_used_as_its_thread_leaves_the_runtime_is_harmless() {
    within(LIMIT, || {
        for _ in 0..300 {
            let (polled, polls) = mpsc::channel::<Waker>();
            let drops = Drops::new();
            let guard = drops.guard();
            let waker = thread::spawn(move || {
                let waker = polls.recv().unwrap();
                for _ in 0..100 {
                    waker.wake_by_ref();
                }
            });
            wakeful::block_on(async {
                drop(wakeful::spawn_local(async move {
                    (Parked::new(polled).await, drop(guard))
                }));
                yields(2).await;
            });
            assert_eq!(drops.threads(), [here()]);
            waker.join().unwrap();
        }
    });
}
