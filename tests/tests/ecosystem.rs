//! What other crates make runs here: channels, combinators and streams of `futures`.

use futures::channel::{mpsc, oneshot};
use futures::future::{Either, join_all, select, try_join_all};
use futures::lock::Mutex;
use futures::stream::{self, FuturesUnordered};
use futures::{SinkExt, StreamExt};
use std::pin::pin;
use std::sync::Arc;
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
