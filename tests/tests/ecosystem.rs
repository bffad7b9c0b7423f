//! What other crates make runs here as it is: combinators and streams of `futures`, and the channels and locks of `futures`,
//! `async-channel`, `async-lock` and `tokio::sync`.
//!
//! What they make of our streams is in `ecosystem_io.rs`.

use async_lock::{Barrier, RwLock, Semaphore};
use futures::channel::{mpsc, oneshot};
use futures::future::{Either, join_all, select, try_join_all};
use futures::lock::Mutex;
use futures::stream::{self, FuturesUnordered};
use futures::{SinkExt, StreamExt};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tokio::sync::{self, broadcast, watch};
use wakeful::TaskGroup;
use wakeful::time::timeout;
use wakeful_tests::{on_workers, yields};

#[test]
fn oneshot_channels_connect_tasks() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            for number in 0..1000 {
                let (sender, receiver) = oneshot::channel();
                drop(wakeful::spawn(async move { sender.send(number).unwrap() }));
                assert_eq!(receiver.await, Ok(number));
            }
        });
    });
}

#[test]
fn bounded_channels_hold_back_many_producers() {
    on_workers([1, 2, 4], |runtime| {
        let sum: usize = runtime.block_on(async {
            let (sender, receiver) = mpsc::channel(2);
            for producer in 0..10 {
                let mut sender = sender.clone();
                drop(wakeful::spawn(async move {
                    for number in 0..500 {
                        sender.send(producer * 500 + number).await.unwrap();
                    }
                }));
            }
            drop(sender);
            receiver
                .fold(0, |sum, number| async move { sum + number })
                .await
        });
        assert_eq!(sum, (0..5000).sum());
    });
}

#[test]
fn join_all_waits_for_join_handles() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            let outputs = join_all(
                (0..1000).map(|n| wakeful::spawn(async move { (yields(n % 3).await, n).1 })),
            )
            .await;
            assert!(outputs.into_iter().map(Result::unwrap).eq(0..1000));
            let failed = try_join_all(
                (0..10).map(|n| wakeful::spawn(async move { assert!(n != 7, "seven") })),
            )
            .await;
            assert!(failed.unwrap_err().is_panic());
        });
    });
}

#[test]
fn select_takes_the_first_and_drops_the_other() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            let slow = wakeful::spawn(std::future::pending::<()>());
            let fast = wakeful::spawn(async { 5 });
            let Either::Left((output, slow)) = select(fast, slow).await else {
                panic!("pending came first")
            };
            assert_eq!(output.unwrap(), 5);
            assert!(slow.cancel().await.unwrap_err().is_cancelled());
        });
    });
}

#[test]
fn the_select_macro_loops_over_two_sources() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            let (mut left, left_in) = mpsc::channel(1);
            let (mut right, right_in) = mpsc::channel(1);
            drop(wakeful::spawn(async move {
                while left.send(1).await.is_ok() {}
            }));
            drop(wakeful::spawn(async move {
                while right.send(1000).await.is_ok() {}
            }));
            let (mut left_in, mut right_in) = (left_in.fuse(), right_in.fuse());
            let mut sum = 0;
            for _ in 0..1000 {
                futures::select! {
                    number = left_in.next() => sum += number.unwrap(),
                    number = right_in.next() => sum += number.unwrap(),
                }
            }
            assert!(
                sum > 1000 && sum < 1_000_000,
                "both have had their turns: {sum}"
            );
        });
    });
}

#[test]
fn unordered_futures_drive_themselves_inside_one_task() {
    on_workers([1, 2, 4], |runtime| {
        let sum = runtime.block_on(wakeful_tests_unordered(runtime));
        assert_eq!(sum, (0..1000).sum());
    });

    async fn wakeful_tests_unordered(runtime: &wakeful::Runtime) -> usize {
        let futures: FuturesUnordered<_> = (0..1000_usize)
            .map(|n| {
                let spawned = runtime.spawn(async move { (yields(n % 4).await, n).1 });
                async move { (yields(n % 3).await, spawned.await.unwrap()).1 }
            })
            .collect();
        futures.fold(0, |sum, n| async move { sum + n }).await
    }
}

#[test]
fn buffered_streams_run_several_tasks_at_a_time() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            let outputs: Vec<usize> = stream::iter(0..500)
                .map(|n| wakeful::spawn(async move { (yields(n % 5).await, n).1 }))
                .buffered(16)
                .map(Result::unwrap)
                .collect()
                .await;
            assert!(outputs.into_iter().eq(0..500));
        });
    });
}

#[test]
fn an_async_lock_is_held_across_awaits_by_one_task_at_a_time() {
    on_workers([1, 2, 4], |runtime| {
        let count = Arc::new(Mutex::new(0));
        runtime.block_on(async {
            let tasks = [(); 50].map(|()| {
                let count = count.clone();
                wakeful::spawn(async move {
                    for _ in 0..20 {
                        let mut count = count.lock().await;
                        let before = *count;
                        wakeful::yield_now().await;
                        *count = before + 1;
                    }
                })
            });
            join_all(tasks).await.into_iter().for_each(Result::unwrap);
            assert_eq!(*count.lock().await, 1000);
        });
    });
}

#[test]
fn a_future_of_another_executor_and_ours_wake_each_other() {
    on_workers([1, 2], |runtime| {
        let (mut ours, mut from_ours) = mpsc::channel(1);
        let (mut theirs, mut from_theirs) = mpsc::channel(1);
        let foreign = std::thread::spawn(move || {
            futures::executor::block_on(async {
                while let Some(number) = from_ours.next().await {
                    theirs.send(number * 2).await.unwrap();
                }
            });
        });
        runtime.block_on(async {
            for number in 0..1000 {
                ours.send(number).await.unwrap();
                assert_eq!(from_theirs.next().await, Some(number * 2));
            }
        });
        drop(ours);
        foreign.join().unwrap();
    });
}

#[test]
fn a_pinned_borrow_of_a_join_handle_can_be_selected_again_and_again() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            let (end, ends) = oneshot::channel::<()>();
            let mut task = pin!(wakeful::spawn(ends));
            for _ in 0..10 {
                let Either::Right(_) = select(task.as_mut(), pin!(yields(2))).await else {
                    panic!("not yet")
                };
            }
            end.send(()).unwrap();
            task.await.unwrap().unwrap();
        });
    });
}

#[test]
fn async_channel_gives_each_message_to_one_of_many_consumers() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            let (sender, receiver) = async_channel::bounded(4);
            let mut consumers = TaskGroup::new();
            for _ in 0..5 {
                let receiver = receiver.clone();
                consumers.spawn(async move {
                    let mut sum = 0;
                    while let Ok(number) = receiver.recv().await {
                        sum += number;
                        wakeful::yield_now().await;
                    }
                    sum
                });
            }
            let mut producers = TaskGroup::new();
            for producer in 0..5 {
                let sender = sender.clone();
                producers.spawn(async move {
                    for number in 0..400 {
                        sender.send(producer * 400 + number).await.unwrap();
                    }
                });
            }
            drop((sender, receiver));
            assert!(producers.join_all().await.iter().all(Result::is_ok));
            let sums = consumers.join_all().await.into_iter();
            let sum: usize = sums.map(Result::unwrap).sum();
            assert_eq!(sum, (0..2000).sum());
        });
    });
}

#[test]
fn async_channel_connects_a_thread_that_blocks_and_a_task() {
    on_workers([1, 2], |runtime| {
        let (to_task, in_task) = async_channel::bounded(1);
        let (to_thread, in_thread) = async_channel::bounded(1);
        let thread = std::thread::spawn(move || {
            for number in 0..500 {
                to_task.send_blocking(number).unwrap();
                assert_eq!(in_thread.recv_blocking(), Ok(number * 2));
            }
        });
        runtime.block_on(async {
            while let Ok(number) = in_task.recv().await {
                to_thread.send(number * 2).await.unwrap();
            }
        });
        thread.join().unwrap();
    });
}

#[test]
fn an_async_semaphore_lets_in_as_many_as_it_has_permits() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            let semaphore = Arc::new(Semaphore::new(3));
            let inside = Arc::new(AtomicUsize::new(0));
            let most = Arc::new(AtomicUsize::new(0));
            let mut group = TaskGroup::new();
            for count in 0..100 {
                let (semaphore, inside, most) = (semaphore.clone(), inside.clone(), most.clone());
                group.spawn(async move {
                    let _permit = semaphore.acquire().await;
                    most.fetch_max(inside.fetch_add(1, SeqCst) + 1, SeqCst);
                    yields(1 + count % 5).await;
                    inside.fetch_sub(1, SeqCst);
                });
            }
            assert!(group.join_all().await.iter().all(Result::is_ok));
            assert_eq!(most.load(SeqCst), 3);
        });
    });
}

#[test]
fn an_async_barrier_holds_all_until_the_last_has_come() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            let barrier = Arc::new(Barrier::new(20));
            let come = Arc::new(AtomicUsize::new(0));
            let mut group = TaskGroup::new();
            for count in 0..20 {
                let (barrier, come) = (barrier.clone(), come.clone());
                group.spawn(async move {
                    yields(count % 7).await;
                    come.fetch_add(1, SeqCst);
                    let is_leader = barrier.wait().await.is_leader();
                    assert_eq!(come.load(SeqCst), 20);
                    is_leader
                });
            }
            let leaders = group.join_all().await.into_iter().map(Result::unwrap);
            assert_eq!(leaders.filter(|is_leader| *is_leader).count(), 1);
        });
    });
}

#[test]
fn an_async_read_write_lock_never_shows_half_a_change() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            let numbers = Arc::new(RwLock::new((0, 0)));
            let mut group = TaskGroup::new();
            for _ in 0..10 {
                let written = numbers.clone();
                group.spawn(async move {
                    for _ in 0..20 {
                        let mut numbers = written.write().await;
                        numbers.0 += 1;
                        wakeful::yield_now().await;
                        numbers.1 += 1;
                    }
                });
                let read = numbers.clone();
                group.spawn(async move {
                    for _ in 0..20 {
                        let numbers = read.read().await;
                        wakeful::yield_now().await;
                        assert_eq!(numbers.0, numbers.1);
                    }
                });
            }
            assert!(group.join_all().await.iter().all(Result::is_ok));
            assert_eq!(*numbers.read().await, (200, 200));
        });
    });
}

#[test]
fn tokios_channels_connect_our_tasks() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            let (requests, mut served) =
                sync::mpsc::channel::<(usize, sync::oneshot::Sender<usize>)>(2);
            let server = wakeful::spawn(async move {
                while let Some((number, answer)) = served.recv().await {
                    answer.send(number * 2).unwrap();
                }
            });
            let mut clients = TaskGroup::new();
            for client in 0..10 {
                let requests = requests.clone();
                clients.spawn(async move {
                    for number in client * 100..(client + 1) * 100 {
                        let (answer, answered) = sync::oneshot::channel();
                        requests.send((number, answer)).await.unwrap();
                        assert_eq!(answered.await, Ok(number * 2));
                    }
                });
            }
            drop(requests);
            assert!(clients.join_all().await.iter().all(Result::is_ok));
            server.await.unwrap();
        });
    });
}

#[test]
fn tokios_broadcast_and_watch_reach_every_task() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            let (sender, _) = broadcast::channel(1000);
            let (last, _) = watch::channel(0);
            let mut group = TaskGroup::new();
            for _ in 0..10 {
                let (mut numbers, mut last) = (sender.subscribe(), last.subscribe());
                group.spawn(async move {
                    let mut sum = 0;
                    while let Ok(number) = numbers.recv().await {
                        sum += number;
                    }
                    last.wait_for(|number| *number == 999).await.unwrap();
                    sum
                });
            }
            for number in 0..1000 {
                sender.send(number).unwrap();
                last.send_replace(number);
                wakeful::yield_now().await;
            }
            drop(sender);
            for sum in group.join_all().await {
                assert_eq!(sum.unwrap(), (0..1000).sum::<usize>());
            }
        });
    });
}

/// tokio's primitives count what a task of tokio's may do before it yields. In a task of ours they must not.
#[test]
fn tokios_locks_hold_back_our_tasks_and_go_on_for_ever() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            let semaphore = sync::Semaphore::new(1);
            for _ in 0..10_000 {
                semaphore.acquire().await.unwrap().forget();
                semaphore.add_permits(1); // none of them has to wait
            }
            let count = Arc::new(sync::Mutex::new(0));
            let mut group = TaskGroup::new();
            for _ in 0..20 {
                let count = count.clone();
                group.spawn(async move {
                    for _ in 0..50 {
                        let mut count = count.lock().await;
                        let before = *count;
                        wakeful::yield_now().await;
                        *count = before + 1;
                    }
                });
            }
            assert!(group.join_all().await.iter().all(Result::is_ok));
            assert_eq!(*count.lock().await, 1000);
        });
    });
}

#[test]
fn a_timeout_of_ours_takes_a_waiter_out_of_their_queues() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            let short = Duration::from_millis(1);
            let (_sender, receiver) = async_channel::bounded::<()>(1);
            let lock = async_lock::Mutex::new(());
            let tokios = sync::Mutex::new(());
            let notify = sync::Notify::new();
            let guards = (lock.lock().await, tokios.lock().await);
            assert!(timeout(short, receiver.recv()).await.is_err());
            assert!(timeout(short, lock.lock()).await.is_err());
            assert!(timeout(short, tokios.lock()).await.is_err());
            assert!(timeout(short, notify.notified()).await.is_err());
            drop(guards);
            notify.notify_one(); // kept for the next one, since nobody waits any more
            let soon = Duration::from_secs(10);
            assert!(timeout(soon, lock.lock()).await.is_ok());
            assert!(timeout(soon, tokios.lock()).await.is_ok());
            assert!(timeout(soon, notify.notified()).await.is_ok());
        });
    });
}
