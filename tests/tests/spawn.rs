//! `spawn` and `JoinHandle`: what a task returns, and how it is ended, at every moment of its life.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;

use futures::channel::oneshot;
use wakeful_tests::runtimes::runtime;
use wakeful_tests::watchdog::LIMIT;
use wakeful_tests::{
    Drops, PanicOnDrop, Parked, eventually, on_workers, panic_of, panic_text, within, yields,
};

#[test]
fn the_handle_resolves_to_the_output() {
    on_workers([1, 2, 4], |runtime| {
        let handle = runtime.spawn(async { (yields(3).await, "output").1 });
        assert_eq!(runtime.block_on(handle).unwrap(), "output");
    });
}

#[test]
fn a_task_spawns_tasks() {
    on_workers([1, 2, 4], |runtime| {
        let sum = runtime.block_on(async {
            let outer = wakeful::spawn(async {
                let inner = [1, 2, 3].map(|n| wakeful::spawn(async move { n }));
                let mut sum = 0;
                for task in inner {
                    sum += task.await.unwrap();
                }
                sum
            });
            outer.await.unwrap()
        });
        assert_eq!(sum, 6);
    });
}

#[test]
fn a_dropped_handle_detaches() {
    on_workers([1, 2, 4], |runtime| {
        let (ended, ends) = oneshot::channel();
        drop(runtime.spawn(async move { (yields(10).await, ended.send(()).unwrap()) }));
        runtime.block_on(ends).unwrap();
    });
}

#[test]
fn a_handle_can_be_awaited_on_a_foreign_executor() {
    on_workers([2], |runtime| {
        assert_eq!(
            futures::executor::block_on(runtime.spawn(async { 3 })).unwrap(),
            3
        );
    });
}

#[test]
fn the_output_of_a_detached_task_is_dropped_once() {
    on_workers([1, 2, 4], |runtime| {
        let drops = Drops::new();
        let guard = drops.guard();
        drop(runtime.spawn(async move { guard }));
        runtime.block_on(yields(3));
        eventually("the output is dropped", || drops.count() > 0);
        assert_eq!(drops.count(), 1);
    });
}

#[test]
fn outside_a_runtime_it_panics_with_a_sentence_that_says_what_to_do() {
    let text = panic_of(|| wakeful::spawn(async {}));
    assert!(
        text.contains("`spawn` needs a wakeful runtime") && text.contains("`Handle::enter`"),
        "{text}"
    );
}

#[test]
fn in_an_entered_context_it_spawns_there() {
    on_workers([1, 2], |runtime| {
        let handle = {
            let _entered = runtime.enter();
            wakeful::spawn(async { 8 })
        };
        assert_eq!(runtime.block_on(handle).unwrap(), 8);
    });
}

#[test]
fn an_inner_context_hides_the_outer_one_until_it_is_left() {
    on_workers([2], |outer| {
        let inner = runtime(1);
        outer.block_on(async {
            let entered = inner.enter();
            let on_inner = wakeful::spawn(async {});
            drop(entered);
            wakeful::spawn(async {}).await.unwrap();
            assert!(!on_inner.is_finished(), "nobody drives the inner runtime");
            drop(on_inner);
        });
    });
}

#[test]
fn aborted_before_its_first_poll_a_future_is_dropped_and_never_polled() {
    on_workers([1, 2, 4], |runtime| {
        let (drops, polls) = (Drops::new(), Drops::new());
        let (guard, counted) = (drops.guard(), polls.clone());
        // The spawning worker does not run it before the abort; a thief might, so all others are held.
        let held = hold_other_workers(runtime);
        runtime.block_on(async {
            let task = wakeful::spawn(async move {
                drop(counted.guard());
                drop(guard);
            });
            task.abort();
            drop(held);
            assert!(task.await.unwrap_err().is_cancelled());
        });
        assert_eq!((drops.count(), polls.count()), (1, 0));
    });
}

#[test]
fn aborted_while_it_waits_a_future_is_dropped() {
    on_workers([1, 2, 4], |runtime| {
        let drops = Drops::new();
        let (handle, _waker) = waiting_task(runtime, &drops);
        handle.abort();
        let error = runtime.block_on(handle).unwrap_err();
        assert!(error.is_cancelled() && !error.is_panic());
        assert_eq!(drops.count(), 1);
    });
}

#[test]
fn aborted_while_it_runs_elsewhere_a_future_is_dropped_after_its_poll() {
    on_workers([2, 4], |runtime| {
        let drops = Drops::new();
        let guard = drops.guard();
        let ((runs, running), (release, held)) = (mpsc::channel(), mpsc::channel::<()>());
        let handle = runtime.spawn(async move {
            runs.send(()).unwrap();
            held.recv().unwrap();
            std::future::pending::<()>().await;
            drop(guard);
        });
        running.recv().unwrap();
        handle.abort();
        assert!(!handle.is_finished());
        assert_eq!(drops.count(), 0, "not under the feet of its poll");
        release.send(()).unwrap();
        assert!(
            futures::executor::block_on(handle)
                .unwrap_err()
                .is_cancelled()
        );
        assert_eq!(drops.count(), 1);
    });
}

#[test]
fn aborted_in_the_poll_that_finishes_it_a_task_keeps_its_output() {
    on_workers([2, 4], |runtime| {
        let ((runs, running), (release, held)) = (mpsc::channel(), mpsc::channel::<()>());
        let handle = runtime.spawn(async move {
            runs.send(()).unwrap();
            held.recv().unwrap();
            "finished"
        });
        running.recv().unwrap();
        let cancel = handle.cancel();
        release.send(()).unwrap();
        assert_eq!(futures::executor::block_on(cancel).unwrap(), "finished");
    });
}

#[test]
fn aborted_when_it_has_finished_a_task_keeps_its_output() {
    on_workers([1, 2, 4], |runtime| {
        let handle = runtime.spawn(async { 5 });
        runtime.block_on(yields(3));
        eventually("it has finished", || handle.is_finished());
        handle.abort();
        assert_eq!(runtime.block_on(handle.cancel()).unwrap(), 5);
    });
}

#[test]
fn a_task_can_be_aborted_by_itself() {
    on_workers([1, 2], |runtime| {
        let drops = Drops::new();
        let guard = drops.guard();
        let (send_handle, own_handle) = oneshot::channel::<wakeful::JoinHandle<()>>();
        let (ended, ends) = oneshot::channel::<()>();
        let handle = runtime.spawn(async move {
            let _ended = (ended, guard);
            let own = own_handle.await.unwrap();
            own.abort();
            drop(own); // detached: only the abort ends what follows
            std::future::pending::<()>().await;
        });
        send_handle.send(handle).unwrap();
        assert!(runtime.block_on(ends).is_err());
        eventually("the future is dropped", || drops.count() == 1);
    });
}

#[test]
fn abort_in_every_moment_leaves_either_the_output_or_a_cancelled_error() {
    on_workers([2, 4], |runtime| {
        let drops = Drops::new();
        for round in 0..2000 {
            let guard = drops.guard();
            let handle = runtime.spawn(async move {
                yields(round % 7).await;
                guard
            });
            for _ in 0..round % 50 {
                std::hint::spin_loop();
            }
            match futures::executor::block_on(handle.cancel()) {
                Ok(guard) => drop(guard),
                Err(error) => assert!(error.is_cancelled()),
            }
            assert_eq!(
                drops.count(),
                round + 1,
                "dropped when the cancel has resolved"
            );
        }
    });
}

#[test]
fn cancel_resolves_after_the_future_has_been_dropped() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            let drops = Drops::new();
            let guard = drops.guard();
            let task = wakeful::spawn(async move { (std::future::pending::<()>().await, guard) });
            wakeful::yield_now().await;
            assert!(task.cancel().await.unwrap_err().is_cancelled());
            assert_eq!(drops.count(), 1);
        });
    });
}

#[test]
fn a_dropped_cancel_does_not_take_the_abort_back() {
    on_workers([1, 2, 4], |runtime| {
        let drops = Drops::new();
        let (handle, _waker) = waiting_task(runtime, &drops);
        drop(handle.cancel());
        runtime.block_on(yields(3));
        eventually("the future is dropped", || drops.count() == 1);
    });
}

#[test]
fn is_finished_tells_when_the_output_is_there() {
    on_workers([1, 2, 4], |runtime| {
        let (end, ends) = oneshot::channel::<()>();
        let handle = runtime.spawn(async { ends.await.unwrap() });
        runtime.block_on(yields(3));
        assert!(!handle.is_finished());
        end.send(()).unwrap();
        runtime.block_on(yields(3));
        eventually("it says so", || handle.is_finished());
        runtime.block_on(handle).unwrap();
    });
}

#[test]
fn a_panic_becomes_the_error_with_its_payload_and_the_worker_lives_on() {
    on_workers([1, 2, 4], |runtime| {
        for _ in 0..8 {
            let handle = runtime.spawn(async { std::panic::panic_any(1234_u64) });
            let error = runtime.block_on(handle).unwrap_err();
            assert!(error.is_panic() && !error.is_cancelled());
            assert_eq!(*error.into_panic().downcast::<u64>().unwrap(), 1234);
        }
        assert_eq!(runtime.block_on(runtime.spawn(async { 1 })).unwrap(), 1);
    });
}

#[test]
fn a_panic_of_a_detached_task_harms_nobody() {
    on_workers([1, 2, 4], |runtime| {
        let drops = Drops::new();
        let guard = drops.guard();
        drop(runtime.spawn(async move {
            let _guard = guard;
            panic!("nobody looks");
        }));
        runtime.block_on(yields(3));
        eventually("the future is dropped", || drops.count() == 1);
        assert_eq!(runtime.block_on(runtime.spawn(async { 1 })).unwrap(), 1);
    });
}

#[test]
fn a_waiting_joiner_is_woken_by_a_panic() {
    on_workers([1, 2, 4], |runtime| {
        let (end, ends) = oneshot::channel::<()>();
        let failing = runtime.spawn(async {
            let _ = ends.await;
            panic!("later");
        });
        let joiner = runtime.spawn(async { failing.await.unwrap_err().is_panic() });
        runtime.block_on(yields(5));
        end.send(()).unwrap();
        assert!(runtime.block_on(joiner).unwrap());
    });
}

#[test]
fn the_error_prints_task_name_place_and_panic() {
    async fn fail() {
        panic!("no {}", "luck");
    }
    on_workers([1, 2], |runtime| {
        let handle = runtime.handle();
        let task = (line!(), handle.spawn_named("collector", fail()));
        let (line, id) = (task.0, task.1.id());
        let error = runtime.block_on(task.1).unwrap_err();
        assert_eq!(error.id(), id);
        let place = format!("{}:{line}:", file!());
        let text = error.to_string();
        let begin = format!("task {id} `collector` (spawned at {place}");
        assert!(text.starts_with(&begin), "{text}");
        assert!(text.ends_with(" panicked: no luck"), "{text}");
        assert!(format!("{error:?}").contains(&text));
        assert!(std::io::Error::from(error).to_string().contains("no luck"));
    });
}

#[test]
fn the_error_of_a_cancelled_task_says_so_and_has_no_payload() {
    on_workers([1, 2], |runtime| {
        let handle = runtime.spawn(std::future::pending::<()>());
        let error = runtime.block_on(handle.cancel()).unwrap_err();
        assert!(error.to_string().ends_with(" was cancelled"), "{error}");
        assert!(error.try_into_panic().is_err());
    });
}

#[test]
fn the_handle_prints_the_name() {
    on_workers([1, 2], |runtime| {
        let task = runtime.handle().spawn_named("named", async {});
        assert!(format!("{task:?}").contains("\"named\""), "{task:?}");
        runtime.block_on(task).unwrap();
    });
}

#[test]
fn the_handle_prints_the_place_of_spawning_whichever_way_it_was_spawned() {
    on_workers([1, 2], |runtime| {
        let handle = runtime.handle();
        runtime.block_on(async {
            // One line each, so that `line!` is the line of the call.
            let tasks = [
                (line!(), wakeful::spawn(async {})),
                (line!(), wakeful::spawn_local(async {})),
                (line!(), runtime.spawn(async {})),
                (line!(), handle.spawn(async {})),
                (line!(), handle.spawn_named("", async {})),
                (line!(), handle.spawn_pinned(0, || async {})),
            ];
            for (line, task) in tasks {
                let place = format!("{}:{line}:", file!());
                assert!(format!("{task:?}").contains(&place), "{line}: {task:?}");
                task.await.unwrap();
            }
        });
    });
}

#[test]
fn ids_are_unique_among_live_and_ended_tasks() {
    on_workers([1, 2], |runtime| {
        let mut ids = std::collections::HashSet::new();
        for _ in 0..1000 {
            let handle = runtime.spawn(async {});
            assert!(ids.insert(handle.id()));
            runtime.block_on(handle).unwrap();
        }
    });
}

#[test]
fn a_panic_in_the_drop_of_an_aborted_future_is_the_error() {
    on_workers([1, 2, 4], |runtime| {
        let bomb = PanicOnDrop("in drop");
        let (polled, polls) = mpsc::channel();
        let handle = runtime.spawn(async move { (Parked::new(polled).await, bomb) });
        runtime.block_on(yields(3));
        let _waker = polls.recv().unwrap();
        let Err(error) = runtime.block_on(handle.cancel()) else {
            panic!("it never finishes")
        };
        assert_eq!(panic_text(&*error.into_panic()), "in drop");
        assert_eq!(
            runtime.block_on(runtime.spawn(async { 1 })).unwrap(),
            1,
            "the worker lives on"
        );
    });
}

#[test]
fn a_panic_in_the_drop_of_a_finished_future_is_the_error_and_the_output_is_dropped() {
    on_workers([1, 2, 4], |runtime| {
        let drops = Drops::new();
        let (bomb, guard) = (PanicOnDrop("after ready"), drops.guard());
        let mut output = Some(guard);
        let handle = runtime.spawn(std::future::poll_fn(move |_| {
            let _ = &bomb;
            std::task::Poll::Ready(output.take())
        }));
        let Err(error) = runtime.block_on(handle) else {
            panic!("a panic takes precedence")
        };
        assert_eq!(panic_text(&*error.into_panic()), "after ready");
        assert_eq!(drops.count(), 1);
    });
}

#[test]
fn a_panic_in_the_drop_of_a_detached_output_is_swallowed() {
    on_workers([1, 2, 4], |runtime| {
        drop(runtime.spawn(async { PanicOnDrop("output") }));
        runtime.block_on(yields(3));
        assert_eq!(
            runtime.block_on(runtime.spawn(async { 1 })).unwrap(),
            1,
            "the worker lives on"
        );
    });
}

#[test]
fn a_panic_in_the_drop_of_an_output_is_swallowed_when_the_handle_goes() {
    on_workers([1, 2, 4], |runtime| {
        let handle = runtime.spawn(async { PanicOnDrop("output") });
        runtime.block_on(yields(3));
        eventually("it has finished", || handle.is_finished());
        drop(handle);
        assert_eq!(runtime.block_on(runtime.spawn(async { 1 })).unwrap(), 1);
    });
}

#[test]
fn a_future_dropped_by_abort_may_spawn() {
    struct SpawnOnDrop(Option<oneshot::Sender<()>>);
    impl Drop for SpawnOnDrop {
        fn drop(&mut self) {
            let ended = self.0.take().unwrap();
            drop(wakeful::spawn(async { ended.send(()).unwrap() }));
        }
    }
    on_workers([1, 2, 4], |runtime| {
        let (ended, ends) = oneshot::channel();
        let spawner = SpawnOnDrop(Some(ended));
        let handle =
            runtime.spawn(async move { (std::future::pending::<()>().await, drop(spawner)) });
        assert!(runtime.block_on(handle.cancel()).is_err());
        runtime.block_on(ends).unwrap();
    });
}

#[test]
fn polling_a_handle_after_its_result_panics() {
    on_workers([1, 2], |runtime| {
        let mut handle = runtime.spawn(async {});
        runtime.block_on(&mut handle).unwrap();
        assert!(catch_unwind(AssertUnwindSafe(|| runtime.block_on(&mut handle))).is_err());
    });
}

#[test]
fn the_last_of_several_joining_tasks_is_woken() {
    on_workers([1, 2, 4], |runtime| {
        let (end, ends) = oneshot::channel::<()>();
        let mut handle = runtime.spawn(async { ends.await.unwrap() });
        runtime.block_on(async {
            // Registers the waker of this main future, which never looks again.
            assert!(futures::poll!(&mut handle).is_pending());
        });
        let joiner = runtime.spawn(handle);
        runtime.block_on(yields(3));
        end.send(()).unwrap();
        runtime.block_on(joiner).unwrap().unwrap();
    });
}

#[test]
fn a_thousand_tasks_joined_in_reverse_give_their_outputs() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            let tasks = (0..1000)
                .map(|n| wakeful::spawn(async move { (yields(n % 5).await, n).1 }))
                .collect::<Vec<_>>();
            for (n, task) in tasks.into_iter().enumerate().rev() {
                assert_eq!(task.await.unwrap(), n);
            }
        });
    });
}

#[test]
fn a_large_and_strangely_aligned_future_runs() {
    #[repr(align(256))]
    struct Aligned([u8; 256]);
    on_workers([1, 2], |runtime| {
        let sum = runtime.block_on(async {
            let (wide, large) = (Aligned([1; 256]), [1_u8; 16 * 1024]);
            wakeful::spawn(async move {
                wakeful::yield_now().await;
                assert_eq!((&raw const wide).addr() % 256, 0);
                large
                    .iter()
                    .chain(&wide.0)
                    .map(|&byte| usize::from(byte))
                    .sum::<usize>()
            })
            .await
            .unwrap()
        });
        assert_eq!(sum, 16 * 1024 + 256);
    });
}

#[test]
fn spawning_from_a_thread_outside_reaches_a_sleeping_worker() {
    on_workers([2], |runtime| {
        let handle = runtime.handle();
        for round in 0..200 {
            if round % 4 == 0 {
                eventually("all sleep", || handle.metrics().workers_parked == 2);
            }
            assert_eq!(
                futures::executor::block_on(handle.spawn(async move { round })).unwrap(),
                round
            );
        }
    });
}

#[test]
fn a_runtime_of_its_default_size_works() {
    within(LIMIT, || {
        let runtime = wakeful::Runtime::new().unwrap();
        assert_eq!(
            runtime.handle().workers_count(),
            thread::available_parallelism().unwrap().get()
        );
        assert_eq!(
            runtime.block_on(async { wakeful::spawn(async { 4 }).await.unwrap() }),
            4
        );
    });
}

#[test]
fn a_builder_refuses_numbers_out_of_range() {
    let refused = |builder: wakeful::Builder| builder.build().unwrap_err().kind();
    let builder = wakeful::Builder::new;
    assert_eq!(
        refused(builder().workers(0)),
        std::io::ErrorKind::InvalidInput
    );
    assert_eq!(
        refused(builder().workers(1025)),
        std::io::ErrorKind::InvalidInput
    );
    assert_eq!(
        refused(builder().poll_budget(0)),
        std::io::ErrorKind::InvalidInput
    );
    assert_eq!(
        refused(builder().thread_name("a\0b")),
        std::io::ErrorKind::InvalidInput
    );
}

#[test]
fn threads_carry_the_name_and_the_number_of_their_worker() {
    within(LIMIT, || {
        let runtime = wakeful::Builder::new()
            .workers(2)
            .thread_name("mine")
            .stack_size(256 * 1024)
            .build()
            .unwrap();
        for worker in 0..2 {
            let name = runtime.handle().spawn_pinned(worker, || async {
                thread::current().name().map(str::to_owned)
            });
            assert_eq!(
                futures::executor::block_on(name).unwrap(),
                Some(format!("mine-{worker}"))
            );
        }
    });
}

/// A task that waits, with a guard of `drops` in it.
fn waiting_task(
    runtime: &wakeful::Runtime,
    drops: &Drops,
) -> (wakeful::JoinHandle<()>, std::task::Waker) {
    let guard = drops.guard();
    let (polled, polls) = mpsc::channel();
    let handle = runtime.spawn(async move {
        Parked::new(polled).await;
        drop(guard);
    });
    runtime.block_on(yields(3));
    (handle, polls.recv().unwrap())
}

/// Blocks the threads of all workers but worker 0, until the result is dropped.
fn hold_other_workers(runtime: &wakeful::Runtime) -> Vec<mpsc::Sender<()>> {
    let hold = |worker| {
        let ((blocks, blocking), (release, held)) = (mpsc::channel(), mpsc::channel::<()>());
        drop(runtime.handle().spawn_pinned(worker, move || async move {
            blocks.send(()).unwrap();
            let _ = held.recv();
        }));
        blocking.recv().unwrap();
        release
    };
    (1..runtime.handle().workers_count()).map(hold).collect()
}
