//! Blocking where one stands: the others go on.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use wakeful::net::{TcpListener, TcpStream};
use wakeful::{Builder, block_in_place, spawn, spawn_local};
use wakeful_tests::runtimes::runtime;
use wakeful_tests::watchdog::LIMIT;
use wakeful_tests::{eventually, on_workers, panic_of, panic_text, within, yields};

#[test]
fn what_it_waits_for_may_be_a_task_of_the_same_worker() {
    on_workers([2, 4], |runtime| {
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                runtime.spawn(async {
                    let (sender, receiver) = mpsc::channel();
                    spawn(async move {
                        yields(3).await;
                        sender.send(7).unwrap();
                    });
                    block_in_place(|| receiver.recv().unwrap())
                })
            })
            .collect();
        runtime.block_on(async {
            for task in tasks {
                assert_eq!(task.await.unwrap(), 7);
            }
        });
    });
}

#[test]
fn more_tasks_than_workers_may_block_at_a_time_and_connections_are_served_meanwhile() {
    within(LIMIT, || {
        let runtime = runtime(2);
        let (begun, have_begun) = mpsc::channel();
        let mut goes = Vec::new();
        let blocked: Vec<_> = (0..6)
            .map(|_| {
                let (go, may_go) = mpsc::channel::<()>();
                goes.push(go);
                let begun = begun.clone();
                runtime.spawn(async move {
                    block_in_place(|| {
                        begun.send(thread::current().id()).unwrap();
                        may_go.recv().unwrap();
                    });
                    yields(2).await;
                })
            })
            .collect();
        let mut threads: Vec<_> = (0..6).map(|_| have_begun.recv().unwrap()).collect();
        threads.dedup();
        assert_eq!(threads.len(), 6, "each on a thread of its own");
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let client = spawn(async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                stream.write_all(b"x").await.unwrap();
            });
            let (stream, _) = listener.accept().await.unwrap();
            assert_eq!(stream.read(&mut [0]).await.unwrap(), 1);
            client.await.unwrap();
        });
        goes.into_iter().for_each(|go| go.send(()).unwrap());
        runtime.block_on(async {
            for task in blocked {
                task.await.unwrap();
            }
        });
    });
}

#[test]
fn the_future_of_a_block_on_may_block_too() {
    within(LIMIT, || {
        let runtime = runtime(2);
        let got = runtime.block_on(async {
            let (sender, receiver) = mpsc::channel();
            let busy = spawn(async move { sender.send(thread::current().id()).unwrap() });
            let thread = block_in_place(|| receiver.recv().unwrap());
            busy.await.unwrap();
            yields(3).await;
            thread
        });
        assert_ne!(got, thread::current().id());
    });
}

#[test]
fn a_block_on_gets_the_core_that_the_stand_in_of_the_seat_has_lent() {
    within(LIMIT, || {
        for _ in 0..20 {
            let runtime = runtime(2);
            let (begun, have_begun) = mpsc::channel();
            let goes: Vec<_> = (0..2)
                .map(|worker| {
                    let begun = begun.clone();
                    let (go, may_go) = mpsc::channel::<()>();
                    let task = runtime.handle().spawn_pinned(worker, || async move {
                        block_in_place(|| {
                            begun.send(()).unwrap();
                            may_go.recv().unwrap();
                        });
                        yields(2).await;
                    });
                    (task, go)
                })
                .collect();
            (0..2).for_each(|_| have_begun.recv().unwrap());
            // Only this can let them go on.
            runtime.block_on(async {
                for (_, go) in &goes {
                    go.send(()).unwrap();
                }
                for (task, _) in goes {
                    task.await.unwrap();
                }
            });
        }
    });
}

#[test]
fn block_ons_come_and_go_while_tasks_of_their_core_block_again_and_again() {
    within(LIMIT, || {
        let runtime = runtime(2);
        let (begun, have_begun) = mpsc::channel();
        let blocking: Vec<_> = (0..2)
            .map(|worker| {
                let begun = begun.clone();
                // Of core 0: on the thread of its stand-in, whoever drives it.
                runtime.handle().spawn_pinned(worker, || async move {
                    let here = thread::current().id();
                    begun.send(()).unwrap();
                    for round in 0..300 {
                        block_in_place(thread::yield_now);
                        yields(round % 3).await;
                        assert_eq!(thread::current().id(), here);
                    }
                })
            })
            .collect();
        (0..2).for_each(|_| have_begun.recv().unwrap());
        while !blocking.iter().all(|task| task.is_finished()) {
            let driver = thread::current().id();
            runtime.block_on(async {
                let local = spawn_local(async { thread::current().id() });
                let other = spawn(async { block_in_place(thread::yield_now) });
                block_in_place(thread::yield_now);
                assert_eq!(local.await.unwrap(), driver);
                other.await.unwrap();
                assert_eq!(thread::current().id(), driver);
            });
        }
        runtime.block_on(async {
            for task in blocking {
                task.await.unwrap();
            }
        });
    });
}

#[test]
fn local_tasks_wait_for_their_thread_and_those_of_a_stand_in_live_on() {
    within(LIMIT, || {
        let runtime = runtime(2);
        runtime.block_on(async {
            let local = spawn_local(async { thread::current().id() });
            let (sender, receiver) = mpsc::channel();
            let (go, may_go) = futures::channel::oneshot::channel::<()>();
            spawn(async move {
                // Wherever this runs: on a stand-in perhaps, which must not leave it behind.
                let here = thread::current().id();
                let lives_on = spawn_local(async move {
                    may_go.await.unwrap();
                    assert_eq!(thread::current().id(), here);
                    here
                });
                assert!(sender.send(lives_on).is_ok());
            });
            let lives_on = block_in_place(|| receiver.recv().unwrap());
            assert_eq!(local.await.unwrap(), thread::current().id());
            go.send(()).unwrap();
            lives_on.await.unwrap();
        });
    });
}

#[test]
fn a_panic_of_the_closure_is_the_tasks_and_the_worker_has_its_core_back() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            for _ in 0..10 {
                let task = spawn(async { block_in_place(|| panic!("while it blocked")) });
                let error = task.await.unwrap_err();
                assert_eq!(panic_text(&*error.into_panic()), "while it blocked");
            }
        });
    });
}

#[test]
fn where_nobody_could_take_over_it_simply_blocks() {
    assert_eq!(block_in_place(|| 1), 1, "outside of a runtime");
    wakeful::block_on(async {
        assert_eq!(spawn(async { block_in_place(|| 2) }).await.unwrap(), 2);
    });
    within(LIMIT, || {
        let builder = Builder::new().workers(2).blocking_threads_max(1);
        let runtime = builder.build().unwrap();
        let (go, may_go) = mpsc::channel::<()>();
        let taken = runtime.spawn_blocking(move || may_go.recv());
        eventually("it has the only thread", || {
            runtime.metrics().blocking_closures == 1 && runtime.metrics().blocking_queue == 0
        });
        let task = runtime.spawn(async { block_in_place(|| 3) });
        assert_eq!(runtime.block_on(task).unwrap(), 3);
        assert_eq!(runtime.metrics().blocking_closures, 1);
        go.send(()).unwrap();
        runtime.block_on(taken).unwrap().unwrap();
    });
    let text = panic_of(|| block_in_place(|| panic!("nowhere")));
    assert_eq!(text, "nowhere");
}

#[test]
fn a_runtime_ends_while_threads_block_and_when_they_come_back() {
    within(LIMIT, || {
        for _ in 0..20 {
            let runtime = runtime(2);
            let (begun, have_begun) = mpsc::channel();
            let (go, may_go) = mpsc::channel::<()>();
            runtime.spawn(async move {
                block_in_place(|| {
                    begun.send(()).unwrap();
                    may_go.recv().unwrap();
                });
                std::future::pending::<()>().await;
            });
            have_begun.recv().unwrap();
            let stuck = runtime.shutdown(Duration::ZERO);
            assert_eq!(stuck.tasks_stuck.len(), 1, "{stuck}");
            go.send(()).unwrap();
        }
        for _ in 0..20 {
            let runtime = runtime(2);
            let tasks: Vec<_> = (0..4)
                .map(|_| runtime.spawn(async { block_in_place(thread::yield_now) }))
                .collect();
            let report = runtime.shutdown(LIMIT);
            assert!(report.is_clean(), "{report}");
            drop(tasks);
        }
    });
}
