//! How workers share the work: by stealing, through the overflow and from outside, and each task exactly once.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::task::{Poll, Waker};
use std::thread;

use futures::channel::oneshot;
use wakeful::net::TcpListener;
use wakeful_tests::runtimes::runtime;
use wakeful_tests::watchdog::LIMIT;
use wakeful_tests::{eventually, on_workers, within, yields};

#[test]
fn what_one_task_spawns_runs_on_every_worker() {
    on_workers([2, 4], |runtime| {
        let workers = runtime.handle().workers_count();
        // Each blocks its worker until as many are blocked as there are workers: alone, none could go on.
        let together = Arc::new(Barrier::new(workers));
        let threads = Arc::new(Mutex::new(HashSet::new()));
        let spawner = runtime.spawn(async move {
            let tasks = (0..workers).map(|_| {
                let (together, threads) = (together.clone(), threads.clone());
                wakeful::spawn(async move {
                    together.wait();
                    threads.lock().unwrap().insert(thread::current().id());
                })
            });
            for task in tasks.collect::<Vec<_>>() {
                task.await.unwrap();
            }
            threads.lock().unwrap().len()
        });
        assert_eq!(runtime.block_on(spawner).unwrap(), workers);
    });
}

#[test]
fn what_the_main_future_spawns_runs_on_the_other_workers_too() {
    on_workers([2, 4], |runtime| {
        let workers = runtime.handle().workers_count();
        for _ in 0..50 {
            let together = Arc::new(Barrier::new(workers));
            runtime.block_on(async {
                let tasks = (0..workers).map(|_| {
                    let together = together.clone();
                    wakeful::spawn(async move { together.wait().is_leader() })
                });
                for task in tasks.collect::<Vec<_>>() {
                    task.await.unwrap();
                }
            });
        }
    });
}

#[test]
fn what_a_blocked_worker_had_queued_runs_elsewhere() {
    on_workers([2, 4], |runtime| {
        let ((ran, runs), (release, held)) = (mpsc::channel(), mpsc::channel::<()>());
        let blocked = runtime.spawn(async move {
            for _ in 0..100 {
                let ran = ran.clone();
                drop(wakeful::spawn(async move {
                    ran.send(thread::current().id()).unwrap()
                }));
            }
            held.recv().unwrap(); // with a hundred tasks in its ring
            thread::current().id()
        });
        let threads: HashSet<_> = (0..100).map(|_| runs.recv().unwrap()).collect();
        release.send(()).unwrap();
        assert!(!threads.contains(&runtime.block_on(blocked).unwrap()));
    });
}

#[test]
fn what_a_blocked_worker_had_woken_next_runs_elsewhere() {
    on_workers([2, 4], |runtime| {
        let (wake, woken) = oneshot::channel::<()>();
        let (ran, runs) = mpsc::channel();
        let sleeper = runtime.spawn(async move {
            woken.await.unwrap();
            ran.send(()).unwrap();
        });
        runtime.block_on(yields(10));
        let (release, held) = mpsc::channel::<()>();
        let blocked = runtime.spawn(async move {
            wake.send(()).unwrap(); // into the slot of what runs next
            held.recv().unwrap();
        });
        // Thieves take from that slot only on their last pass, and something must bring them by.
        while runs.try_recv().is_err() {
            futures::executor::block_on(runtime.spawn(async {})).unwrap();
        }
        release.send(()).unwrap();
        runtime.block_on(async { (blocked.await.unwrap(), sleeper.await.unwrap()) });
    });
}

#[test]
fn ten_thousand_tasks_of_one_task_overflow_the_ring_and_each_runs_once() {
    on_workers([1, 2, 4], |runtime| {
        let runs = Arc::new((0..10_000).map(|_| AtomicUsize::new(0)).collect::<Vec<_>>());
        let spawner = runtime.spawn({
            let runs = runs.clone();
            async move {
                let tasks = (0..runs.len()).map(|number| {
                    let runs = runs.clone();
                    wakeful::spawn(async move {
                        wakeful::yield_now().await;
                        runs[number].fetch_add(1, SeqCst);
                    })
                });
                for task in tasks.collect::<Vec<_>>() {
                    task.await.unwrap();
                }
            }
        });
        runtime.block_on(spawner).unwrap();
        assert!(runs.iter().all(|runs| runs.load(SeqCst) == 1));
    });
}

#[test]
fn a_hundred_thousand_tasks_from_eight_threads_each_run_once() {
    on_workers([1, 2, 4], |runtime| {
        const THREADS: usize = 8;
        const EACH: usize = 12_500;
        let runs = Arc::new(
            (0..THREADS * EACH)
                .map(|_| AtomicUsize::new(0))
                .collect::<Vec<_>>(),
        );
        let (done, all_done) = oneshot::channel::<()>();
        let done = Arc::new(done); // dropped by the last task
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let (handle, runs, done) = (runtime.handle(), &runs, done.clone());
                scope.spawn(move || {
                    for number in thread * EACH..(thread + 1) * EACH {
                        let (runs, done) = (runs.clone(), done.clone());
                        drop(handle.spawn(async move {
                            runs[number].fetch_add(1, SeqCst);
                            drop(done);
                        }));
                    }
                });
            }
            drop(done);
            assert!(runtime.block_on(all_done).is_err());
        });
        assert!(runs.iter().all(|runs| runs.load(SeqCst) == 1));
    });
}

#[test]
fn tasks_that_move_between_workers_never_run_twice_at_once_and_lose_no_step() {
    on_workers([2, 4], |runtime| {
        runtime.block_on(async {
            let tasks = (0..500).map(|_| {
                wakeful::spawn(async {
                    let steps = std::cell::Cell::new(0); // not `Sync`: a data race for the sanitizer if ever shared
                    for step in 0..100 {
                        assert_eq!(steps.replace(step + 1), step);
                        wakeful::yield_now().await;
                    }
                    steps.get()
                })
            });
            for task in tasks.collect::<Vec<_>>() {
                assert_eq!(task.await.unwrap(), 100);
            }
        });
    });
}

#[test]
fn two_tasks_on_different_workers_exchange_a_hundred_thousand_messages() {
    on_workers([1, 2, 4], |runtime| {
        let (mut to_right, mut from_left) = futures::channel::mpsc::channel::<usize>(1);
        let (mut to_left, mut from_right) = futures::channel::mpsc::channel::<usize>(1);
        use futures::{SinkExt, StreamExt};
        let right = runtime.spawn(async move {
            while let Some(number) = from_left.next().await {
                to_left.send(number + 1).await.unwrap();
            }
        });
        let left = runtime.spawn(async move {
            for number in 0..50_000 {
                to_right.send(number).await.unwrap();
                assert_eq!(from_right.next().await, Some(number + 1));
            }
        });
        runtime.block_on(async { (left.await.unwrap(), right.await.unwrap()) });
    });
}

#[test]
fn work_from_outside_is_not_left_with_a_core_that_nobody_drives() {
    on_workers([2], |runtime| {
        for _ in 0..20 {
            // On the stand-in's thread, a poll that blocks as soon as `block_on` holds the core.
            let (start, starts) = oneshot::channel::<()>();
            let ((settles, settled), (blocks, blocking)) = (mpsc::channel(), mpsc::channel());
            let (release, held) = mpsc::channel::<()>();
            let blocked = runtime.handle().spawn_pinned(0, || async move {
                settles.send(()).unwrap();
                starts.await.unwrap();
                blocks.send(()).unwrap();
                let _ = held.recv();
            });
            settled.recv().unwrap();
            let (end, ends) = oneshot::channel::<()>();
            let outside = thread::scope(|scope| {
                let outside = scope.spawn(move || {
                    blocking.recv().unwrap();
                    eventually("both workers sleep", || {
                        runtime.handle().metrics().workers_parked == 2
                    });
                    end.send(()).unwrap(); // the driver leaves …
                    runtime.spawn(async {}) // … and may have been the one to be woken for this
                });
                runtime.block_on(async {
                    start.send(()).unwrap();
                    ends.await.unwrap();
                });
                outside.join().unwrap()
            });
            // The stand-in is blocked, but the other worker sleeps.
            eventually("it has run", || outside.is_finished());
            drop(release);
            futures::executor::block_on(blocked).unwrap();
        }
    });
}

#[test]
fn a_main_future_that_blocks_keeps_no_work_from_the_other_worker() {
    on_workers([2], |runtime| {
        for _ in 0..20 {
            let ((waits, waiting), (release, held)) = (mpsc::channel(), mpsc::channel::<()>());
            thread::scope(|scope| {
                scope.spawn(move || {
                    let main: Waker = waiting.recv().unwrap();
                    eventually("both workers sleep", || {
                        runtime.handle().metrics().workers_parked == 2
                    });
                    // Worker 0 is woken for the task, and finds its main future woken too.
                    let tasks = [runtime.spawn(async {}), {
                        main.wake();
                        runtime.spawn(async {})
                    }];
                    for task in tasks {
                        eventually("it has run", || task.is_finished());
                    }
                    drop(release);
                });
                let mut first = true;
                runtime.block_on(std::future::poll_fn(|cx| {
                    if std::mem::take(&mut first) {
                        waits.send(cx.waker().clone()).unwrap();
                        return Poll::Pending;
                    }
                    let _ = held.recv();
                    Poll::Ready(())
                }));
            });
        }
    });
}

#[test]
fn a_sleeping_runtime_wakes_for_each_of_many_bursts() {
    // Bursts with rests between them: each must find workers that have just gone to sleep, or are about to.
    within(LIMIT, || {
        let runtime = runtime(2);
        for round in 0..3000 {
            let tasks = [(); 3].map(|()| runtime.spawn(yields(round % 3)));
            for task in tasks {
                futures::executor::block_on(task).unwrap();
            }
        }
    });
}

#[test]
fn a_worker_wakes_sleeping_siblings_for_each_of_many_bursts() {
    on_workers([2, 4], |runtime| {
        let spawner = runtime.spawn(async {
            for _ in 0..2000 {
                let (sender, receiver) = oneshot::channel();
                let first = wakeful::spawn(async move { receiver.await.unwrap() });
                let second = wakeful::spawn(async move { sender.send(5).unwrap() });
                second.await.unwrap();
                assert_eq!(first.await.unwrap(), 5);
            }
        });
        futures::executor::block_on(spawner).unwrap();
    });
}

/// The other worker may be asleep, and the one that the sockets belong to does not come back to them.
#[test]
fn the_connections_of_a_worker_that_is_stuck_are_served_by_another() {
    on_workers([2, 4], |runtime| {
        const CONNECTIONS: usize = 20;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = runtime.spawn(async move {
            let mut connections = Vec::new();
            for _ in 0..CONNECTIONS {
                let (mut stream, _) = listener.accept().await.unwrap();
                connections.push(wakeful::spawn(async move {
                    let mut byte = [0];
                    while stream.read(&mut byte).await.unwrap() == 1 {
                        stream.write_all(&byte).await.unwrap();
                    }
                }));
            }
            for connection in connections {
                connection.await.unwrap();
            }
        });
        let mut clients =
            [(); CONNECTIONS].map(|()| std::net::TcpStream::connect(address).unwrap());
        let mut echo_all = || {
            for client in &mut clients {
                client.write_all(&[7]).unwrap();
            }
            for client in &mut clients {
                client.read_exact(&mut [0]).unwrap();
            }
        };
        echo_all();
        for _ in 0..3 {
            let (release, held) = mpsc::channel::<()>();
            let (begin, begun) = mpsc::channel();
            let stuck = runtime.spawn(async move {
                begin.send(()).unwrap();
                held.recv().unwrap();
            });
            begun.recv().unwrap();
            echo_all();
            release.send(()).unwrap();
            runtime.block_on(stuck).unwrap();
        }
        drop(clients);
        runtime.block_on(server).unwrap();
    });
}
