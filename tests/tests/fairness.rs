//! Everybody gets a turn: beside tasks that yield for ever, wake each other for ever, or find their I/O always ready.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use futures::channel::oneshot;
use wakeful::{JoinHandle, Runtime};
use wakeful_tests::runtimes::runtime;
use wakeful_tests::watchdog::LIMIT;
use wakeful_tests::{on_workers, within, yields};

#[test]
fn tasks_that_yield_take_turns_in_order() {
    on_workers([1], |runtime| {
        let log = Arc::new(Mutex::new(Vec::new()));
        runtime.block_on(async {
            let tasks = [0, 1, 2].map(|number| {
                let log = log.clone();
                wakeful::spawn(async move {
                    for _ in 0..50 {
                        log.lock().unwrap().push(number);
                        wakeful::yield_now().await;
                    }
                })
            });
            for task in tasks {
                task.await.unwrap();
            }
        });
        assert!(log.lock().unwrap().chunks(3).all(|turn| turn == [0, 1, 2]));
    });
}

/// After a slow poll the worker looks outside before the task queues up again; that costs it no turn and gives it none.
#[test]
fn tasks_that_yield_take_turns_in_order_however_long_each_computes() {
    on_workers([1], |runtime| {
        for slow in [&[0][..], &[2], &[0, 1], &[0, 1, 2]] {
            let log = Arc::new(Mutex::new(Vec::new()));
            runtime.block_on(async {
                let tasks = [0, 1, 2].map(|number| {
                    let (log, is_slow) = (log.clone(), slow.contains(&number));
                    wakeful::spawn(async move {
                        for _ in 0..20 {
                            log.lock().unwrap().push(number);
                            if is_slow {
                                thread::sleep(Duration::from_micros(300));
                            }
                            wakeful::yield_now().await;
                        }
                    })
                });
                for task in tasks {
                    task.await.unwrap();
                }
            });
            assert!(log.lock().unwrap().chunks(3).all(|turn| turn == [0, 1, 2]));
        }
    });
}

#[test]
fn yield_now_yields_once() {
    on_workers([1], |runtime| {
        use futures::FutureExt;
        runtime.block_on(async {
            let mut yielded = wakeful::yield_now();
            assert_eq!((&mut yielded).now_or_never(), None);
            assert_eq!((&mut yielded).now_or_never(), Some(()));
        });
    });
}

#[test]
fn a_thousand_tasks_that_yield_all_progress() {
    on_workers([1, 2, 4], |runtime| {
        let stop = Stop::default();
        let turns = Arc::new((0..1000).map(|_| AtomicUsize::new(0)).collect::<Vec<_>>());
        let tasks: Vec<_> = (0..1000)
            .map(|number| {
                let (stop, turns) = (stop.clone(), turns.clone());
                runtime.spawn(async move {
                    while !stop.is_set() {
                        turns[number].fetch_add(1, SeqCst);
                        wakeful::yield_now().await;
                    }
                })
            })
            .collect();
        runtime.block_on(async {
            while turns.iter().any(|turns| turns.load(SeqCst) < 20) {
                wakeful::yield_now().await;
            }
        });
        end(runtime, &stop, tasks);
    });
}

#[test]
fn tasks_from_another_thread_start_beside_a_full_queue_of_tasks_that_yield() {
    on_workers([1, 2, 4], |runtime| {
        let stop = Stop::default();
        let tasks = (0..600)
            .map(|_| runtime.spawn(stop.clone().yielding()))
            .collect();
        runtime.block_on(async {
            yields(3000).await; // until they have filled the rings
            let handle = wakeful::Handle::current();
            let spawned = thread::spawn(move || [(); 100].map(|()| handle.spawn(yields(3))))
                .join()
                .unwrap();
            for task in spawned {
                task.await.unwrap();
            }
        });
        end(runtime, &stop, tasks);
    });
}

#[test]
fn a_task_from_another_thread_starts_after_a_bounded_number_of_polls() {
    on_workers([1], |runtime| {
        const OTHERS: usize = 10;
        let (stop, polls) = (Stop::default(), Arc::new(AtomicUsize::new(0)));
        let tasks = [(); OTHERS].map(|()| {
            let (stop, polls) = (stop.clone(), polls.clone());
            runtime.spawn(async move {
                while !stop.is_set() {
                    polls.fetch_add(1, SeqCst);
                    wakeful::yield_now().await;
                }
            })
        });
        for round in 0..100 {
            let polls = polls.clone();
            let waited = runtime.block_on(async {
                yields(round).await;
                let (handle, before) = (wakeful::Handle::current(), polls.load(SeqCst));
                let spawn = move || handle.spawn(async move { polls.load(SeqCst) - before });
                thread::spawn(spawn).join().unwrap().await.unwrap()
            });
            // 61 polls to the next visit, and then once round the queue.
            assert!(
                waited <= 61 + OTHERS + 1,
                "{waited} polls of others came first"
            );
        }
        end(runtime, &stop, tasks.into());
    });
}

#[test]
fn a_main_future_woken_from_another_thread_is_polled_beside_tasks_that_yield() {
    on_workers([1, 2, 4], |runtime| {
        let stop = Stop::default();
        let tasks = (0..600)
            .map(|_| runtime.spawn(stop.clone().yielding()))
            .collect();
        for _ in 0..20 {
            let (sender, receiver) = oneshot::channel();
            let thread = thread::spawn(move || sender.send(()).unwrap());
            runtime.block_on(receiver).unwrap();
            thread.join().unwrap();
        }
        end(runtime, &stop, tasks);
    });
}

#[test]
fn ping_pong_saturation() {
    // Two tasks that wake each other find themselves always in the slot of what runs next.
    on_workers([1, 2, 4], |runtime| {
        let stop = Stop::default();
        let pairs = runtime.handle().workers_count();
        let tasks = (0..pairs).flat_map(|_| ping_pong(runtime, &stop)).collect();
        runtime.block_on(async {
            let others = [(); 10].map(|()| wakeful::spawn(yields(1000)));
            for task in others {
                task.await.unwrap();
            }
        });
        end(runtime, &stop, tasks);
    });
}

#[test]
fn a_pinned_task_starts_beside_a_ping_pong() {
    on_workers([1, 2], |runtime| {
        let stop = Stop::default();
        let tasks = (0..2).flat_map(|_| ping_pong(runtime, &stop)).collect();
        for worker in 0..runtime.handle().workers_count() {
            runtime
                .block_on(runtime.handle().spawn_pinned(worker, || yields(100)))
                .unwrap();
        }
        end(runtime, &stop, tasks);
    });
}

#[test]
fn an_endless_chain_of_spawns_leaves_turns_to_others() {
    fn link(stop: Stop, ended: oneshot::Sender<()>) {
        drop(wakeful::spawn(async move {
            match stop.is_set() {
                true => ended.send(()).unwrap(),
                false => link(stop, ended),
            }
        }));
    }
    on_workers([1, 2, 4], |runtime| {
        let stop = Stop::default();
        let (ended, ends) = oneshot::channel();
        runtime.block_on(async {
            link(stop.clone(), ended);
            wakeful::spawn(yields(1000)).await.unwrap();
            let handle = wakeful::Handle::current();
            thread::spawn(move || handle.spawn(yields(10)))
                .join()
                .unwrap()
                .await
                .unwrap();
            stop.set();
            ends.await.unwrap();
        });
    });
}

#[test]
fn io_that_is_always_ready_uses_up_the_budget_of_a_poll() {
    within(LIMIT, || {
        const BUDGET: usize = 5;
        let runtime = wakeful::Builder::new()
            .workers(1)
            .poll_budget(BUDGET as u32)
            .build()
            .unwrap();
        runtime.block_on(async {
            let (_reader, writer) = io::pipe().unwrap();
            let writer = wakeful::io::AsyncFd::new_nonblocking(writer).unwrap();
            let (stop, done) = (Stop::default(), Arc::new(AtomicUsize::new(0)));
            let hog = wakeful::spawn({
                let (stop, done) = (stop.clone(), done.clone());
                async move {
                    while !stop.is_set() {
                        writer.write_with(|_| Ok(())).await.unwrap();
                        done.fetch_add(1, SeqCst);
                    }
                }
            });
            wakeful::yield_now().await;
            for _ in 0..100 {
                let before = done.load(SeqCst);
                wakeful::spawn(wakeful::yield_now()).await.unwrap(); // at least one turn of the hog lies between
                let after = done.load(SeqCst);
                assert!(
                    after > before && (after - before).is_multiple_of(BUDGET),
                    "{}",
                    after - before
                );
            }
            stop.set();
            hog.await.unwrap();
        });
    });
}

#[test]
fn a_copy_pays_for_its_bytes_too() {
    within(LIMIT, || {
        const MOST: usize = (512 << 10) + (64 << 10); // and the round that has begun
        let runtime = runtime(1);
        let moved = Arc::new(AtomicUsize::new(0));
        let polled = runtime.spawn({
            let sink = Sink(moved.clone());
            async move {
                let mut copying = std::pin::pin!(wakeful::io::copy(futures::io::repeat(7), sink));
                let mut each_poll = Vec::new();
                std::future::poll_fn(|cx| {
                    let before = moved.load(SeqCst);
                    assert!(copying.as_mut().poll(cx).is_pending(), "it has no end");
                    each_poll.push(moved.load(SeqCst) - before);
                    match each_poll.len() {
                        100 => Poll::Ready(()),
                        _ => Poll::Pending,
                    }
                })
                .await;
                each_poll
            }
        });
        let each_poll = runtime.block_on(polled).unwrap();
        assert!(
            (each_poll.iter()).all(|moved| (1..=MOST).contains(moved)),
            "{each_poll:?}"
        );
    });
}

#[test]
fn a_copy_gets_on_with_whatever_budget() {
    for budget in 1..6 {
        within(LIMIT, move || {
            let builder = wakeful::Builder::new().workers(1).poll_budget(budget);
            let runtime = builder.build().unwrap();
            runtime.block_on(async {
                let (here, mut there) = wakeful::net::UnixStream::pair().unwrap();
                let sends = wakeful::spawn(async move {
                    there.write_all(&[7; 100_000]).await.unwrap();
                });
                let moved = Arc::new(AtomicUsize::new(0));
                let copied = wakeful::spawn(wakeful::io::copy(here, Sink(moved.clone())));
                assert_eq!(copied.await.unwrap().unwrap(), 100_000);
                assert_eq!(moved.load(SeqCst), 100_000);
                sends.await.unwrap();
            });
        });
    }
}

#[test]
fn outside_of_a_runtimes_polls_there_is_no_budget() {
    within(LIMIT, || {
        let (_reader, writer) = io::pipe().unwrap();
        let writer = wakeful::io::AsyncFd::new_nonblocking(writer).unwrap();
        let _runtime = runtime(1);
        let mut polls = 0;
        let mut work = std::pin::pin!(async {
            for _ in 0..10_000 {
                writer.write_with(|_| Ok(())).await.unwrap();
            }
        });
        futures::executor::block_on(std::future::poll_fn(|cx| {
            polls += 1;
            work.as_mut().poll(cx)
        }));
        assert_eq!(polls, 1);
    });
}

/// Takes everything, and counts it.
struct Sink(Arc<AtomicUsize>);

impl futures::io::AsyncWrite for Sink {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.fetch_add(bytes.len(), SeqCst);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Tells tasks to end.
#[derive(Clone, Default)]
struct Stop(Arc<AtomicBool>);

impl Stop {
    fn set(&self) {
        self.0.store(true, SeqCst);
    }

    fn is_set(&self) -> bool {
        self.0.load(SeqCst)
    }

    async fn yielding(self) {
        while !self.is_set() {
            wakeful::yield_now().await;
        }
    }
}

/// Two tasks that wake each other until they are stopped, and never themselves.
fn ping_pong(runtime: &Runtime, stop: &Stop) -> [JoinHandle<()>; 2] {
    let wakers = Arc::new(Mutex::new([None::<Waker>, None]));
    let polls = Arc::new(AtomicUsize::new(0));
    let tasks = [0, 1].map(|side| {
        let (stop, wakers, polls) = (stop.clone(), wakers.clone(), polls.clone());
        runtime.spawn(std::future::poll_fn(move |cx| {
            polls.fetch_add(1, SeqCst);
            let mut wakers = wakers.lock().unwrap();
            if let Some(partner) = &wakers[1 - side] {
                partner.wake_by_ref();
            }
            wakers[side] = Some(cx.waker().clone());
            if stop.is_set() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        }))
    });
    runtime.block_on(async {
        while polls.load(SeqCst) < 100 {
            wakeful::yield_now().await;
        }
    });
    tasks
}

fn end(runtime: &Runtime, stop: &Stop, tasks: Vec<JoinHandle<()>>) {
    stop.set();
    for task in tasks {
        runtime.block_on(task).unwrap();
    }
}
