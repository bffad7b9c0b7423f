//! Being told which task keeps its worker.

use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use wakeful::time::sleep;
use wakeful::{Builder, Culprit, Runtime, Stall, ThreadState, spawn, spawn_local, spawn_named};
use wakeful_tests::watchdog::LIMIT;
use wakeful_tests::{eventually, panic_of, within};

const THRESHOLD: Duration = Duration::from_millis(20);

#[test]
fn the_task_is_named_while_it_is_still_at_it_and_again_when_it_has_come_back() {
    for workers in [1, 2] {
        within(LIMIT, move || {
            let (runtime, stalls) = watched(workers);
            runtime.block_on(async {
                let line = line!() + 1;
                let task = spawn_named(
                    "guilty",
                    stuck_until_told(stalls, move |stall| {
                        let Culprit::Task(task) = &stall.culprit else {
                            return false; // of a machine that had no CPU for a thread
                        };
                        assert_eq!(task.name(), Some("guilty"));
                        assert!(task.location().file().ends_with("stall.rs"));
                        assert_eq!(task.location().line(), line);
                        assert!(stall.duration >= THRESHOLD);
                        true
                    }),
                );
                let (begun, stalls) = task.await.unwrap();
                let over = next(&stalls, |stall| stall.is_over() && is_same(stall, &begun));
                assert!(over.duration >= begun.duration);
                assert!(over.to_string().contains("`guilty`"), "{over}");
            });
            let count = runtime
                .metrics()
                .each_worker
                .iter()
                .map(|w| w.stalls)
                .sum::<u64>();
            assert!(count >= 1);
        });
    }
}

#[test]
fn the_kernel_is_asked_where_the_thread_sleeps() {
    within(LIMIT, || {
        let (runtime, stalls) = watched(1);
        runtime.block_on(async {
            let task = spawn(stuck_until_told(stalls, |stall| {
                // The task itself waits on a channel of std.
                let asleep = ThreadState::Sleeps {
                    call: Some("futex".to_owned()),
                };
                matches!(stall.culprit, Culprit::Task(_)) && stall.thread == Some(asleep)
            }));
            task.await.unwrap();
        });
    });
}

#[test]
fn a_task_that_computes_runs() {
    within(LIMIT, || {
        let (runtime, stalls) = watched(1);
        runtime.block_on(async {
            spawn(async move {
                let begun = Instant::now();
                loop {
                    assert!(begun.elapsed() < LIMIT / 2);
                    match stalls.try_recv() {
                        Ok(stall) if stall.is_over() => {}
                        Ok(stall) if matches!(stall.culprit, Culprit::Task(_)) => {
                            let runs = stall.thread == Some(ThreadState::Runs);
                            return assert!(runs, "{stall}");
                        }
                        _ => std::hint::spin_loop(),
                    }
                }
            })
            .await
            .unwrap();
        });
    });
}

#[test]
fn local_tasks_and_the_main_future_are_told_apart() {
    within(LIMIT, || {
        let (runtime, stalls) = watched(2);
        runtime.block_on(async {
            let task = spawn_local(stuck_until_told(stalls, |stall| {
                matches!(&stall.culprit, Culprit::Task(_)) && stall.worker == 0
            }));
            let (_, stalls) = task.await.unwrap();
            stuck_until_told(stalls, |stall| matches!(stall.culprit, Culprit::MainFuture)).await;
        });
    });
}

#[test]
fn a_callback_that_panics_is_called_again() {
    within(LIMIT, || {
        let (sender, stalls) = mpsc::channel();
        let runtime = Builder::new().workers(1).on_stall(THRESHOLD, move |stall| {
            let _ = sender.send(stall.clone());
            panic!("in a callback");
        });
        let runtime = runtime.build().unwrap();
        runtime.block_on(async {
            let mut stalls = stalls;
            for _ in 0..3 {
                let is_task = |stall: &Stall| matches!(stall.culprit, Culprit::Task(_));
                let task = spawn(stuck_until_told(stalls, is_task));
                (_, stalls) = task.await.unwrap();
            }
        });
    });
}

#[test]
fn a_single_worker_that_nobody_drives_or_that_sleeps_is_not_stuck() {
    within(LIMIT, || {
        let (runtime, stalls) = watched(1);
        thread::sleep(10 * THRESHOLD);
        runtime.block_on(sleep(10 * THRESHOLD));
        thread::sleep(10 * THRESHOLD);
        drop(runtime);
        // The thread of the test itself may get no CPU; nothing is said of a future.
        let wrong = |stall: &Stall| !matches!(stall.culprit, Culprit::NoTask | Culprit::MainFuture);
        assert_eq!(stalls.iter().filter(wrong).count(), 0);
    });
}

#[test]
fn without_a_callback_they_are_counted() {
    within(LIMIT, || {
        let runtime = Builder::new().workers(2).build().unwrap();
        let stalls = || runtime.metrics().each_worker[0].stalls;
        runtime.block_on(async {
            eventually("it is counted", || stalls() == 1);
        });
    });
}

#[test]
fn a_runtime_ends_while_its_watch_looks() {
    for workers in [1, 2] {
        within(LIMIT, move || {
            for _ in 0..20 {
                let (runtime, _stalls) = watched(workers);
                runtime.block_on(async { spawn(async {}).await.unwrap() });
            }
        });
    }
    let text = panic_of(|| watched(1).0.block_on(async { panic!("from the future") }));
    assert_eq!(text, "from the future");
}

fn watched(workers: usize) -> (Runtime, Receiver<Stall>) {
    let (sender, stalls) = mpsc::channel();
    let runtime = Builder::new()
        .workers(workers)
        .on_stall(THRESHOLD, move |stall| {
            let _ = sender.send(stall.clone()); // nobody wants to know any more
        })
        .build()
        .unwrap();
    (runtime, stalls)
}

/// Blocks its thread, in one poll, until a report comes that `is_it`.
async fn stuck_until_told(
    stalls: Receiver<Stall>,
    is_it: impl Fn(&Stall) -> bool,
) -> (Stall, Receiver<Stall>) {
    let begun = next(&stalls, |stall| !stall.is_over() && is_it(stall));
    (begun, stalls)
}

fn next(stalls: &Receiver<Stall>, is_it: impl Fn(&Stall) -> bool) -> Stall {
    loop {
        let stall = stalls.recv_timeout(LIMIT / 2).expect("a report");
        if is_it(&stall) {
            return stall;
        }
    }
}

fn is_same(stall: &Stall, other: &Stall) -> bool {
    let id = |stall: &Stall| match &stall.culprit {
        Culprit::Task(task) => Some(task.id()),
        _ => None,
    };
    id(stall) == id(other)
}
