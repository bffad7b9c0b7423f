//! `TaskGroup`: tasks that end with their owner.

use std::future::pending;
use std::sync::mpsc;

use futures::FutureExt;
use futures::channel::oneshot;
use wakeful::TaskGroup;
use wakeful_tests::{Drops, PanicOnDrop, eventually, on_workers, yields};

#[test]
fn join_next_returns_the_results_in_the_order_in_which_the_tasks_ended() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            let mut group = TaskGroup::new();
            let mut ends = Vec::new();
            for n in 0..5 {
                let (end, ended) = oneshot::channel::<()>();
                ends.push(Some(end));
                group.spawn(async move { (ended.await.unwrap(), n).1 });
            }
            for n in [3, 0, 4, 1, 2] {
                ends[n].take().unwrap().send(()).unwrap();
                assert_eq!(group.join_next().await.unwrap().unwrap(), n);
            }
            assert!(group.join_next().await.is_none());
        });
    });
}

#[test]
fn tasks_that_ended_before_anybody_asked_are_returned_in_their_order() {
    on_workers([1], |runtime| {
        runtime.block_on(async {
            let mut group = TaskGroup::new();
            for n in 0..4 {
                group.spawn(async move { (yields(4 - n).await, n).1 });
            }
            yields(20).await;
            assert_eq!(group.len(), 4);
            let order: Vec<_> = group
                .join_all()
                .await
                .into_iter()
                .map(Result::unwrap)
                .collect();
            assert_eq!(order, [3, 2, 1, 0]);
        });
    });
}

#[test]
fn join_all_returns_every_result() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            let mut group = TaskGroup::new();
            for n in 0..1000 {
                group.spawn(async move { (yields(n % 7).await, n).1 });
            }
            let mut results: Vec<_> = group
                .join_all()
                .await
                .into_iter()
                .map(Result::unwrap)
                .collect();
            results.sort_unstable();
            assert!(results.into_iter().eq(0..1000));
            assert!(group.is_empty());
        });
    });
}

#[test]
fn an_empty_group_has_nothing_to_wait_for() {
    on_workers([1], |runtime| {
        runtime.block_on(async {
            let mut group = TaskGroup::<()>::default();
            assert!(group.is_empty() && group.join_next().await.is_none());
            assert!(group.join_all().await.is_empty());
            group.shutdown().await;
            group.abort_all();
        });
    });
}

#[test]
fn a_group_is_used_again_after_it_was_emptied() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            let mut group = TaskGroup::new();
            for round in 0..500 {
                group.spawn(async move { round });
                group.spawn(async move { round });
                assert_eq!(group.join_next().await.unwrap().unwrap(), round);
                assert_eq!(group.join_next().await.unwrap().unwrap(), round);
                assert!(group.is_empty());
            }
        });
    });
}

#[test]
fn abort_all_ends_every_task_and_each_says_cancelled() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            let drops = Drops::new();
            let mut group = TaskGroup::new();
            for _ in 0..10 {
                let guard = drops.guard();
                group.spawn(async move { (pending::<()>().await, drop(guard)) });
            }
            group.abort_all();
            let results = group.join_all().await;
            assert!(
                results.len() == 10
                    && results
                        .iter()
                        .all(|result| result.as_ref().unwrap_err().is_cancelled())
            );
            assert_eq!(drops.count(), 10);
        });
    });
}

#[test]
fn abort_all_keeps_the_output_of_what_has_finished() {
    on_workers([1], |runtime| {
        runtime.block_on(async {
            let mut group = TaskGroup::new();
            group.spawn(async { 1 });
            group.spawn(async { pending().await });
            yields(5).await;
            group.abort_all();
            assert_eq!(group.join_next().await.unwrap().unwrap(), 1);
            assert!(group.join_next().await.unwrap().unwrap_err().is_cancelled());
        });
    });
}

#[test]
fn shutdown_resolves_after_every_future_has_been_dropped() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            for _ in 0..50 {
                let drops = Drops::new();
                let mut group = TaskGroup::new();
                for n in 0..20 {
                    let guard = drops.guard();
                    group.spawn(async move {
                        yields(n).await;
                        pending::<()>().await;
                        drop(guard);
                    });
                }
                yields(3).await;
                group.shutdown().await;
                assert_eq!(drops.count(), 20);
                assert!(group.is_empty());
            }
        });
    });
}

#[test]
fn a_shutdown_that_was_given_up_can_be_called_again() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            let drops = Drops::new();
            let mut group = TaskGroup::new();
            let guard = drops.guard();
            group.spawn(async move { (pending::<()>().await, drop(guard)) });
            let _ = group.shutdown().now_or_never();
            group.shutdown().await;
            assert_eq!(drops.count(), 1);
        });
    });
}

#[test]
fn dropping_the_group_aborts_its_tasks() {
    on_workers([1, 2, 4], |runtime| {
        let drops = Drops::new();
        let mut group = TaskGroup::new();
        let guards = [drops.guard(), drops.guard()];
        runtime.block_on(async {
            for guard in guards {
                group.spawn(async move { (pending::<()>().await, drop(guard)) });
            }
            yields(3).await;
        });
        drop(group); // outside the runtime
        runtime.block_on(yields(3));
        eventually("the futures are dropped", || drops.count() == 2);
    });
}

#[test]
fn a_group_dropped_by_the_abort_of_its_owner_ends_its_tasks() {
    on_workers([1, 2, 4], |runtime| {
        let drops = Drops::new();
        let guard = drops.guard();
        let (spawned, spawns) = mpsc::channel();
        let owner = runtime.spawn(async move {
            let mut group = TaskGroup::new();
            group.spawn(async move { (pending::<()>().await, drop(guard)) });
            spawned.send(()).unwrap();
            group.join_next().await;
        });
        runtime.block_on(yields(3));
        spawns.recv().unwrap();
        assert!(runtime.block_on(owner.cancel()).is_err());
        runtime.block_on(yields(3));
        eventually("the member is dropped", || drops.count() == 1);
    });
}

#[test]
fn a_panic_comes_out_as_an_error_and_the_others_go_on() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            let mut group = TaskGroup::new();
            for n in 0..10 {
                group.spawn(async move {
                    yields(n).await;
                    assert!(n != 5, "number five");
                    n
                });
            }
            let (good, bad): (Vec<_>, Vec<_>) =
                group.join_all().await.into_iter().partition(Result::is_ok);
            assert_eq!((good.len(), bad.len()), (9, 1));
            let error = bad.into_iter().next().unwrap().unwrap_err();
            assert!(
                error.to_string().ends_with("panicked: number five"),
                "{error}"
            );
        });
    });
}

#[test]
fn a_panic_in_the_drop_of_a_member_comes_out_as_an_error() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            let mut group = TaskGroup::new();
            let bomb = PanicOnDrop("member");
            group.spawn(async move { (pending::<()>().await, drop(bomb)) });
            yields(3).await;
            group.abort_all();
            assert!(
                group
                    .join_next()
                    .await
                    .unwrap()
                    .map(|_| ())
                    .unwrap_err()
                    .is_panic()
            );
        });
    });
}

#[test]
fn a_join_next_that_is_given_up_loses_no_result() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            let mut group = TaskGroup::new();
            for n in 0..500 {
                group.spawn(async move { (yields(n % 11).await, n).1 });
            }
            let mut results = Vec::new();
            while !group.is_empty() {
                // Polled once and dropped, over and over.
                match group.join_next().now_or_never() {
                    Some(result) => results.push(result.unwrap().unwrap()),
                    None => wakeful::yield_now().await,
                }
            }
            results.sort_unstable();
            assert!(results.into_iter().eq(0..500));
        });
    });
}

#[test]
fn join_next_wakes_the_owner_that_waits_on_another_thread() {
    on_workers([2, 4], |runtime| {
        let mut group = TaskGroup::new();
        let _entered = runtime.enter();
        for round in 0..500 {
            group.spawn(async move { round });
            assert_eq!(
                futures::executor::block_on(group.join_next())
                    .unwrap()
                    .unwrap(),
                round
            );
        }
    });
}

#[test]
fn members_of_a_runtime_that_is_gone_come_out_as_cancelled() {
    on_workers([1, 2], |runtime| {
        let other = wakeful_tests::runtimes::runtime(2);
        let mut group = TaskGroup::new();
        {
            let _entered = other.enter();
            group.spawn(pending::<()>());
        }
        let handle = other.handle().clone();
        drop(other);
        let _entered = handle.enter();
        group.spawn(pending::<()>()); // refused at once
        drop(_entered);
        let results = runtime.block_on(group.join_all());
        assert!(
            results.len() == 2
                && results
                    .iter()
                    .all(|result| result.as_ref().unwrap_err().is_cancelled())
        );
    });
}
