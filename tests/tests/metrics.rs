//! What a runtime tells of itself in figures.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use wakeful::net::UnixStream;
use wakeful::time::sleep;
use wakeful::{Builder, Handle, Metrics, Runtime, WorkerMetrics, spawn, yield_now};
use wakeful_tests::runtimes::runtime;
use wakeful_tests::watchdog::LIMIT;
use wakeful_tests::{eventually, on_workers, within, yields};

const MS: Duration = Duration::from_millis(1);

#[test]
fn every_poll_is_counted_once() {
    within(LIMIT, || {
        let runtime = runtime(1);
        let mut main_polls = 0;
        runtime.block_on(counting(&mut main_polls, async {
            let tasks: Vec<_> = (0..100).map(|_| spawn(yields(3))).collect();
            for task in tasks {
                task.await.unwrap();
            }
        }));
        let metrics = runtime.metrics();
        assert_eq!(metrics.polls(), main_polls + 100 * 4, "{metrics}");
        assert_eq!(metrics.polls(), metrics.each_worker[0].polls);
    });
}

#[test]
fn polls_are_counted_on_all_workers_together() {
    on_workers([2, 4], |runtime| {
        let before = runtime.metrics().polls();
        runtime.block_on(async {
            let tasks: Vec<_> = (0..1000).map(|_| spawn(yields(9))).collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
        let polls = runtime.metrics().polls() - before;
        assert!((10_000..12_100).contains(&polls), "{polls}");
    });
}

#[test]
fn a_worker_that_has_nothing_to_do_parks_and_is_notified_once_for_what_comes_together() {
    within(LIMIT, || {
        let runtime = runtime(2);
        let worker = |number: usize| runtime.metrics().each_worker[number].clone();
        eventually("both sleep", || runtime.metrics().workers_parked == 2);
        let before = worker(1);
        assert!(before.parks >= 1);
        let (sender, receiver) = mpsc::channel();
        let (go, may_go) = mpsc::channel::<()>();
        let first = runtime.handle().spawn_pinned(1, move || async move {
            sender.send(()).unwrap();
            may_go.recv().unwrap();
        });
        receiver.recv().unwrap(); // it is awake, and stays so
        assert_eq!(worker(1).notifications_sent, before.notifications_sent + 1);
        let more: Vec<_> = (0..3)
            .map(|_| runtime.handle().spawn_pinned(1, || async {}))
            .collect();
        let after = worker(1);
        assert_eq!(after.notifications_sent, before.notifications_sent + 1);
        assert_eq!(
            after.notifications_coalesced,
            before.notifications_coalesced + 3
        );
        go.send(()).unwrap();
        runtime.block_on(async {
            first.await.unwrap();
            for task in more {
                task.await.unwrap();
            }
        });
    });
}

#[test]
fn busy_is_what_is_spent_outside_of_the_reactors_wait() {
    within(LIMIT, || {
        let runtime = runtime(1);
        runtime.block_on(async {
            spawn(async { thread::sleep(20 * MS) }).await.unwrap();
            sleep(MS).await; // a visit to the reactor, after which it is counted
        });
        let busy = runtime.metrics().each_worker[0].busy;
        assert!(busy >= 20 * MS, "{busy:?}");
        runtime.block_on(sleep(1500 * MS));
        let asleep = runtime.metrics().each_worker[0].busy - busy;
        assert!(asleep < 1400 * MS, "it slept: {asleep:?}");
    });
}

#[test]
fn the_first_task_of_a_worker_is_among_those_that_are_timed() {
    within(LIMIT, || {
        let runtime = runtime(1);
        runtime.block_on(async {
            let task = spawn(async { thread::sleep(5 * MS) });
            thread::sleep(20 * MS); // meanwhile it waits
            task.await.unwrap();
        });
        let metrics = runtime.metrics();
        assert_eq!(metrics.waits().count(), 1, "{metrics}");
        assert!(metrics.waits().sum() >= 20 * MS - Duration::from_micros(1));
        assert_eq!(metrics.poll_times().count(), 1);
        assert!(metrics.poll_times().sum() >= 5 * MS);
        assert!(metrics.poll_times().quantile(0.5).unwrap() >= 5 * MS);
    });
}

#[test]
fn one_task_in_64_is_timed_wherever_it_is_queued() {
    within(LIMIT, || {
        let timed = |count: fn(&Runtime)| {
            let runtime = runtime(1);
            count(&runtime);
            runtime.metrics().waits().count()
        };
        let spawned = timed(|runtime| {
            runtime.block_on(async {
                let tasks: Vec<_> = (0..6400).map(|_| spawn(async {})).collect();
                for task in tasks {
                    task.await.unwrap();
                }
            });
        });
        assert!(spawned >= 100, "{spawned}");
        let from_outside = timed(|runtime| {
            let tasks: Vec<_> = (0..6400).map(|_| runtime.spawn(async {})).collect();
            runtime.block_on(async {
                for task in tasks {
                    task.await.unwrap();
                }
            });
        });
        assert!(from_outside >= 100, "{from_outside}");
        let local = timed(|runtime| {
            runtime.block_on(async { wakeful::spawn_local(yields(6400)).await.unwrap() });
        });
        assert!((100..=102).contains(&local), "{local}");
    });
}

#[test]
fn a_steal_is_counted_by_the_thief() {
    within(LIMIT, || {
        let runtime = runtime(2);
        let (sender, receiver) = mpsc::channel();
        runtime.block_on(async {
            // More work than this worker comes to: it is in a poll until somebody else has done it.
            let tasks: Vec<_> = (0..10)
                .map(|_| {
                    let sender = sender.clone();
                    spawn(async move { sender.send(()).unwrap() })
                })
                .collect();
            (0..10).for_each(|_| receiver.recv_timeout(LIMIT).unwrap());
            drop(tasks);
        });
        let thief = runtime.metrics().each_worker[1].clone();
        assert!(thief.steals_made >= 1 || thief.injected >= 1, "{thief}");
        assert!(thief.steals_tried >= thief.steals_made);
        assert_eq!(runtime.metrics().each_worker[0].steals_made, 0);
    });
}

#[test]
fn what_is_spawned_from_outside_is_counted_by_who_takes_it() {
    on_workers([1, 2], |runtime| {
        let tasks: Vec<_> = (0..50).map(|_| runtime.spawn(async {})).collect();
        runtime.block_on(async {
            for task in tasks {
                task.await.unwrap();
            }
        });
        let metrics = runtime.metrics();
        let injected: u64 = sum(&metrics, |worker| worker.injected);
        assert_eq!(injected, 50, "{metrics}");
        assert_eq!(metrics.tasks_injected, 0);
    });
}

#[test]
fn events_are_counted_by_who_got_them() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let (here, mut there) = UnixStream::pair().unwrap();
            let reads = spawn(async move { here.read(&mut [0]).await.unwrap() });
            // What has come by the first read is found without an event: so not before it waits.
            while Handle::current().metrics().sources.iter().sum::<usize>() == 0 {
                yield_now().await;
            }
            there.write_all(b"x").await.unwrap();
            assert_eq!(reads.await.unwrap(), 1);
        });
        let metrics = runtime.metrics();
        // Who turns the reactor of a worker that has lost its CPU counts that it did, and not what it has found.
        let sweeps = metrics.watch_sweeps + sum(&metrics, |worker| worker.sweeps);
        let events = sum(&metrics, |worker| worker.events);
        assert!(events >= 1 || sweeps >= 1, "{metrics}");
        assert!(sum(&metrics, |worker| worker.turns) >= 1, "{metrics}");
    });
}

#[test]
fn whoever_looks_after_a_busy_worker_counts_that() {
    within(LIMIT, || {
        let runtime = runtime(2);
        let sweeps =
            |metrics: Metrics| metrics.watch_sweeps + sum(&metrics, |worker| worker.sweeps);
        runtime.block_on(async {
            eventually("somebody has looked", || sweeps(runtime.metrics()) > 0);
        });
    });
}

#[test]
fn closures_that_wait_for_a_thread_are_told_apart() {
    within(LIMIT, || {
        let runtime = Builder::new()
            .workers(1)
            .blocking_threads_max(1)
            .build()
            .unwrap();
        let (go, may_go) = mpsc::channel::<()>();
        let (began, has_begun) = mpsc::channel();
        let first = runtime.spawn_blocking(move || {
            began.send(()).unwrap();
            may_go.recv().unwrap();
        });
        has_begun.recv().unwrap();
        let more = [(); 3].map(|()| runtime.spawn_blocking(|| ()));
        let metrics = runtime.metrics();
        assert_eq!((metrics.blocking_closures, metrics.blocking_queue), (4, 3));
        go.send(()).unwrap();
        runtime.block_on(async {
            first.await.unwrap();
            for closure in more {
                closure.await.unwrap();
            }
        });
        assert_eq!(runtime.metrics().blocking_queue, 0);
    });
}

#[test]
fn counts_never_go_back_while_the_load_goes_on() {
    within(LIMIT, || {
        let runtime = runtime(2);
        let load: Vec<_> = (0..8).map(|_| runtime.spawn(yields(20_000))).collect();
        let counts = |metrics: &Metrics| {
            let of = |worker: &WorkerMetrics| {
                let times = worker.poll_times.count();
                [worker.polls, worker.turns, worker.steals_tried, times]
            };
            metrics.each_worker.iter().flat_map(of).collect::<Vec<_>>()
        };
        let mut before = counts(&runtime.metrics());
        while !load.iter().all(|task| task.is_finished()) {
            let now = counts(&runtime.metrics());
            let is_later = before.iter().zip(&now).all(|(before, now)| before <= now);
            assert!(is_later, "{before:?}, {now:?}");
            before = now;
        }
    });
}

#[test]
fn it_prints_as_lines_for_people() {
    let runtime = runtime(1);
    runtime.block_on(async { spawn(async {}).await.unwrap() });
    let text = runtime.metrics().to_string();
    assert!(text.starts_with("0 tasks"), "{text}");
    assert!(text.contains("\nworker 0: "), "{text}");
    assert!(text.contains("\npolls took 1 samples: half in "), "{text}");
}

fn sum(metrics: &Metrics, of: fn(&WorkerMetrics) -> u64) -> u64 {
    metrics.each_worker.iter().map(of).sum()
}

/// Counts how often `future` is polled.
async fn counting<F: Future>(polls: &mut u64, future: F) -> F::Output {
    let mut future: Pin<&mut F> = pin!(future);
    poll_fn(|cx| {
        *polls += 1;
        future.as_mut().poll(cx)
    })
    .await
}
