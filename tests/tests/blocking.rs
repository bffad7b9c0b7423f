//! `spawn_blocking`: threads for closures that block, when there are more and when fewer, and what becomes of a closure.
#![expect(unsafe_code, reason = "the address space can be limited by libc only")]

use std::panic::Location;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use wakeful::{Builder, Handle, JoinHandle, Runtime};
use wakeful_tests::process::{anonymous_bytes, threads_count};
use wakeful_tests::watchdog::LIMIT;
use wakeful_tests::{Drops, alone, eventually, on_workers, panic_of, panic_text, within, yields};

/// A runtime with one worker and at most `threads` for closures.
fn with_threads(threads: usize) -> Runtime {
    builder().blocking_threads_max(threads).build().unwrap()
}

fn builder() -> Builder {
    Builder::new().workers(1)
}

/// What the handle of a closure comes to.
fn join<T>(handle: JoinHandle<T>) -> Result<T, wakeful::JoinError> {
    futures::executor::block_on(handle)
}

/// A closure that keeps its thread until `release` is dropped.
struct Held {
    release: mpsc::Sender<()>,
    handle: JoinHandle<()>,
}

impl Held {
    /// Returns when the closure runs.
    #[track_caller]
    fn start(runtime: &Runtime) -> Self {
        let ((release, held), (begins, begun)) = (mpsc::channel::<()>(), mpsc::channel());
        let handle = runtime.spawn_blocking(move || {
            begins.send(()).unwrap();
            let _ = held.recv();
        });
        begun.recv_timeout(LIMIT).expect("a thread takes it");
        Self { release, handle }
    }

    fn end(self) {
        drop(self.release);
        join(self.handle).unwrap();
    }
}

#[test]
fn the_handle_resolves_to_what_the_closure_returns() {
    on_workers([1, 2, 4], |runtime| {
        let worker = thread::current().id();
        let (thread, seven) = runtime
            .block_on(async {
                let seven = vec![7];
                wakeful::spawn_blocking(move || (thread::current().id(), seven)).await
            })
            .unwrap();
        assert_ne!(thread, worker);
        assert_eq!(seven, [7]);
    });
}

#[test]
fn tasks_go_on_while_a_closure_blocks() {
    on_workers([1, 2], |runtime| {
        let held = Held::start(runtime);
        runtime.block_on(async { wakeful::spawn(yields(100)).await.unwrap() });
        assert!(!held.handle.is_finished());
        held.end();
    });
}

#[test]
fn a_panic_of_the_closure_is_the_handles_and_the_thread_goes_on() {
    within(LIMIT, || {
        let runtime = with_threads(1);
        for number in 0..10 {
            let error = join::<()>(runtime.spawn_blocking(move || panic!("closure {number}")));
            let payload = error.unwrap_err().into_panic();
            assert_eq!(panic_text(&*payload), format!("closure {number}"));
        }
        assert_eq!(join(runtime.spawn_blocking(|| 3)).unwrap(), 3);
    });
}

#[test]
fn an_error_names_the_line_that_spawned_the_closure() {
    on_workers([1], |runtime| {
        let here = Location::caller();
        for task in [
            runtime.spawn_blocking(|| panic!("one")),
            runtime.handle().spawn_blocking(|| panic!("two")),
            {
                let _entered = runtime.enter();
                wakeful::spawn_blocking(|| panic!("three"))
            },
        ] {
            let text = join::<()>(task).unwrap_err().to_string();
            assert!(text.contains(here.file()), "{text}");
        }
        let (line, task) = (line!(), runtime.spawn_blocking(|| panic!("four")));
        let text = join::<()>(task).unwrap_err().to_string();
        assert!(text.contains(&format!(":{line}:")), "{text}");
    });
}

#[test]
fn outside_a_runtime_it_panics_with_what_to_do() {
    let text = panic_of(|| wakeful::spawn_blocking(|| ()));
    assert!(
        text.contains("`spawn_blocking` needs a wakeful runtime"),
        "{text}"
    );
}

// Threads.

#[test]
fn a_runtime_that_never_blocks_has_no_thread_for_it() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(yields(3));
        assert_eq!(runtime.handle().metrics().blocking_threads, 0);
    });
}

#[test]
fn a_thread_that_is_idle_takes_the_next_closure() {
    on_workers([1, 2], |runtime| {
        let id = || thread::current().id();
        let first = join(runtime.spawn_blocking(id)).unwrap();
        for _ in 0..100 {
            // A moment passes between the end of a closure and its thread's rest; a second thread would then be right.
            eventually("the thread rests", || {
                runtime.handle().metrics().blocking_closures == 0
            });
            thread::sleep(Duration::from_micros(100));
            let next = join(runtime.spawn_blocking(id)).unwrap();
            if runtime.handle().metrics().blocking_threads == 1 {
                assert_eq!(first, next);
            }
        }
        assert!(runtime.handle().metrics().blocking_threads < 10);
    });
}

#[test]
fn closures_that_need_each_other_run_at_the_same_time() {
    on_workers([1, 2], |runtime| {
        let meeting = Arc::new(Barrier::new(20));
        let closures = [(); 20].map(|()| {
            let meeting = meeting.clone();
            runtime.spawn_blocking(move || meeting.wait().is_leader())
        });
        for closure in closures {
            join(closure).unwrap();
        }
        assert_eq!(runtime.handle().metrics().blocking_threads, 20);
    });
}

#[test]
fn there_are_no_more_threads_than_allowed() {
    within(LIMIT, || {
        let runtime = with_threads(3);
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let closures: Vec<_> = (0..200)
            .map(|_| {
                let (now, most) = (now.clone(), most.clone());
                runtime.spawn_blocking(move || {
                    most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                    thread::sleep(Duration::from_micros(100));
                    now.fetch_sub(1, SeqCst);
                })
            })
            .collect();
        closures
            .into_iter()
            .for_each(|closure| join(closure).unwrap());
        assert_eq!(most.load(SeqCst), 3);
        assert_eq!(runtime.handle().metrics().blocking_threads, 3);
    });
}

#[test]
fn threads_have_the_runtimes_name() {
    within(LIMIT, || {
        let runtime = builder().thread_name("r").build().unwrap();
        let name = || thread::current().name().map(str::to_owned);
        let name = join(runtime.spawn_blocking(name)).unwrap();
        assert_eq!(name.unwrap(), "r-blocking-0");
    });
}

#[test]
fn threads_have_the_stack_that_was_asked_for() {
    fn deep(bytes_left: usize) -> usize {
        let frame = std::hint::black_box([1_u8; 4096]);
        match bytes_left.checked_sub(frame.len()) {
            Some(left) => deep(left) + usize::from(frame[left % 4096]),
            None => 0,
        }
    }
    within(LIMIT, || {
        let runtime = builder().stack_size(64 << 20).build().unwrap();
        assert!(join(runtime.spawn_blocking(|| deep(16 << 20))).unwrap() > 0);
    });
}

#[test]
fn a_thread_without_work_ends_and_another_is_started_when_there_is_some() {
    alone(
        "a_thread_without_work_ends_and_another_is_started_when_there_is_some",
        || {
            let runtime = builder()
                .blocking_idle(Duration::from_millis(5))
                .build()
                .unwrap();
            let before = threads_count();
            for _ in 0..5 {
                let held = [(); 4].map(|()| Held::start(&runtime));
                assert_eq!(threads_count(), before + 4);
                held.into_iter().for_each(Held::end);
                eventually("the threads have ended", || threads_count() == before);
                assert_eq!(runtime.handle().metrics().blocking_threads, 0);
            }
        },
    );
}

#[test]
fn without_any_idle_time_nothing_is_lost() {
    within(LIMIT, || {
        let runtime = builder()
            .blocking_idle(Duration::ZERO)
            .blocking_threads_max(2)
            .build()
            .unwrap();
        for number in 0..500 {
            let closures = [number, number + 1].map(|n| runtime.spawn_blocking(move || n));
            assert_eq!(
                closures.map(|closure| join(closure).unwrap()),
                [number, number + 1]
            );
        }
    });
}

#[test]
fn a_runtime_needs_a_thread_and_a_place_for_closures() {
    for builder in [
        builder().blocking_threads_max(0),
        builder().blocking_queue_max(0),
    ] {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    }
}

// The queue.

#[test]
fn one_thread_runs_closures_in_their_order() {
    within(LIMIT, || {
        let runtime = with_threads(1);
        let order = Arc::new(Mutex::new(Vec::new()));
        let closures: Vec<_> = (0..1000)
            .map(|number| {
                let order = order.clone();
                runtime.spawn_blocking(move || order.lock().unwrap().push(number))
            })
            .collect();
        closures
            .into_iter()
            .for_each(|closure| join(closure).unwrap());
        assert!(order.lock().unwrap().iter().copied().eq(0..1000));
    });
}

#[test]
fn a_full_queue_makes_the_caller_wait_and_loses_nothing() {
    within(LIMIT, || {
        let runtime = builder()
            .blocking_threads_max(1)
            .blocking_queue_max(4)
            .build()
            .unwrap();
        let held = Held::start(&runtime);
        let (ran, submitted) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let submitters = [(); 3].map(|()| {
            let (handle, ran, submitted) =
                (runtime.handle().clone(), ran.clone(), submitted.clone());
            thread::spawn(move || {
                let closures: Vec<_> = (0..100)
                    .map(|_| {
                        let ran = ran.clone();
                        let closure = handle.spawn_blocking(move || ran.fetch_add(1, SeqCst));
                        submitted.fetch_add(1, SeqCst);
                        closure
                    })
                    .collect();
                for closure in closures {
                    join(closure).unwrap();
                }
            })
        });
        eventually("the queue is full", || submitted.load(SeqCst) == 4);
        thread::sleep(Duration::from_millis(20)); // long enough for one more to get in, if there were room
        assert_eq!(submitted.load(SeqCst), 4);
        assert_eq!(runtime.handle().metrics().blocking_closures, 5);
        held.end();
        for submitter in submitters {
            submitter.join().unwrap();
        }
        assert_eq!(ran.load(SeqCst), 300);
    });
}

#[test]
fn a_caller_that_waits_for_room_is_released_by_the_end_of_the_runtime() {
    within(LIMIT, || {
        let runtime = builder()
            .blocking_threads_max(1)
            .blocking_queue_max(1)
            .build()
            .unwrap();
        let held = Held::start(&runtime);
        let waiting = runtime.spawn_blocking(|| ());
        let submitter = thread::spawn({
            let handle = runtime.handle().clone();
            move || join(handle.spawn_blocking(|| ()))
        });
        thread::sleep(Duration::from_millis(10)); // it waits by now, in most runs
        drop(runtime);
        assert!(submitter.join().unwrap().unwrap_err().is_cancelled());
        assert!(join(waiting).unwrap_err().is_cancelled());
        held.end();
    });
}

#[test]
fn a_closure_that_waits_takes_no_more_memory_than_documented() {
    alone(
        "a_closure_that_waits_takes_no_more_memory_than_documented",
        || {
            const COUNT: usize = 60_000;
            let runtime = with_threads(1);
            let held = Held::start(&runtime);
            let mut handles = Vec::with_capacity(COUNT);
            handles.resize_with(COUNT, || None); // touched before the measurement
            let before = anonymous_bytes();
            for (number, handle) in handles.iter_mut().enumerate() {
                *handle = Some(runtime.spawn_blocking(move || number));
            }
            let each = (anonymous_bytes() - before) / COUNT;
            println!("{each} bytes for a closure that waits");
            assert!(each <= 160, "{each} bytes");
            held.end();
            let outputs = handles
                .into_iter()
                .map(|handle| join(handle.unwrap()).unwrap());
            assert!(outputs.eq(0..COUNT));
        },
    );
}

// Abort.

#[test]
fn a_closure_that_is_aborted_before_it_begins_never_runs() {
    within(LIMIT, || {
        let runtime = with_threads(1);
        let drops = Drops::new();
        let held = Held::start(&runtime);
        let guard = drops.guard();
        let aborted = runtime.spawn_blocking(move || panic!("it runs: {guard:?}"));
        let detached = runtime.spawn_blocking(|| ());
        aborted.abort();
        drop(detached);
        held.end();
        assert!(join::<()>(aborted).unwrap_err().is_cancelled());
        assert_eq!(drops.count(), 1);
    });
}

#[test]
fn an_abort_of_a_closure_that_runs_changes_nothing() {
    within(LIMIT, || {
        let runtime = with_threads(1);
        let ((release, held), (begins, begun)) = (mpsc::channel::<()>(), mpsc::channel());
        let handle = runtime.spawn_blocking(move || {
            begins.send(()).unwrap();
            let _ = held.recv();
            "went on to its end"
        });
        begun.recv().unwrap();
        handle.abort();
        assert!(!handle.is_finished());
        drop(release);
        assert_eq!(join(handle).unwrap(), "went on to its end");
    });
}

#[test]
fn a_cancel_resolves_when_the_closure_is_gone() {
    within(LIMIT, || {
        let runtime = with_threads(1);
        let drops = Drops::new();
        let held = Held::start(&runtime);
        let guard = drops.guard();
        let cancel = runtime.spawn_blocking(move || drop(guard)).cancel();
        held.end();
        assert!(
            futures::executor::block_on(cancel)
                .unwrap_err()
                .is_cancelled()
        );
        assert_eq!(drops.count(), 1);
    });
}

#[test]
fn the_output_of_a_detached_closure_is_dropped() {
    on_workers([1, 2], |runtime| {
        let drops = Drops::new();
        let guard = drops.guard();
        drop(runtime.spawn_blocking(move || guard));
        eventually("it is dropped", || drops.count() == 1);
    });
}

// What a closure may call.

#[test]
fn a_closure_is_inside_its_runtime() {
    on_workers([2, 4], |runtime| {
        let closure = runtime.spawn_blocking(|| {
            let spawned = wakeful::spawn(async { 1 });
            let named = wakeful::spawn_named("named", async { 2 });
            let nested = wakeful::spawn_blocking(|| 3);
            let sum =
                async { spawned.await.unwrap() + named.await.unwrap() + nested.await.unwrap() };
            Handle::current().block_on(sum)
        });
        assert_eq!(join(closure).unwrap(), 6);
    });
}

#[test]
fn on_a_runtime_with_one_worker_a_closure_may_drive_it() {
    on_workers([1], |runtime| {
        let closure = runtime.spawn_blocking(|| {
            Handle::current().block_on(async { wakeful::spawn(async { 5 }).await.unwrap() })
        });
        assert_eq!(join(closure).unwrap(), 5);
    });
}

#[test]
fn a_closure_may_block_on_what_the_waiting_main_future_provides() {
    on_workers([1, 2], |runtime| {
        let (sender, receiver) = futures::channel::oneshot::channel();
        let closure = runtime.spawn_blocking(|| Handle::current().block_on(receiver).unwrap());
        let got = runtime.block_on(async {
            yields(3).await;
            sender.send(9).unwrap();
            closure.await.unwrap()
        });
        assert_eq!(got, 9);
    });
}

#[test]
fn spawn_local_is_refused_in_a_closure() {
    on_workers([1], |runtime| {
        let error =
            join(runtime.spawn_blocking(|| drop(wakeful::spawn_local(async {})))).unwrap_err();
        let payload = error.into_panic();
        let text = panic_text(&*payload);
        assert!(text.contains("on a thread that runs no tasks"), "{text}");
    });
}

// When the system refuses a thread.

#[test]
fn a_closure_for_which_there_is_no_thread_at_all_is_cancelled() {
    within(LIMIT, || {
        let runtime = builder().stack_size(1 << 56).build().unwrap(); // more than an address has bits for
        let drops = Drops::new();
        for count in 1..=3 {
            let guard = drops.guard();
            let closure = runtime.spawn_blocking(move || drop(guard));
            assert!(join(closure).unwrap_err().is_cancelled());
            assert_eq!(drops.count(), count);
            let metrics = runtime.handle().metrics();
            assert_eq!(metrics.blocking_threads_refused, count as u64);
            assert_eq!(
                (metrics.blocking_threads, metrics.blocking_closures),
                (0, 0)
            );
        }
    });
}

#[test]
fn when_one_more_thread_is_refused_closures_wait_for_those_there_are() {
    alone(
        "when_one_more_thread_is_refused_closures_wait_for_those_there_are",
        || {
            let runtime = builder().stack_size(256 << 20).build().unwrap();
            let held = Held::start(&runtime);
            limit_address_space(Some(128 << 20));
            let closures: Vec<_> = (0..5)
                .map(|number| runtime.spawn_blocking(move || number))
                .collect();
            assert_eq!(runtime.handle().metrics().blocking_threads_refused, 5);
            assert!(closures.iter().all(|closure| !closure.is_finished()));
            limit_address_space(None);
            assert_eq!(runtime.handle().metrics().blocking_threads, 1);
            held.end();
            let outputs = closures.into_iter().map(|closure| join(closure).unwrap());
            assert!(outputs.eq(0..5));
        },
    );
}

/// Allows this process so many bytes more than it has, or as many as it may be allowed.
fn limit_address_space(more: Option<u64>) {
    let pages: u64 = std::fs::read_to_string("/proc/self/statm")
        .map(|text| text.split(' ').next().unwrap().parse().unwrap())
        .unwrap();
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is an rlimit of ours that lives through the call.
    let got = unsafe { libc::getrlimit(libc::RLIMIT_AS, &raw mut limit) };
    assert_eq!(got, 0);
    limit.rlim_cur = more.map_or(limit.rlim_max, |more| pages * 4096 + more);
    // SAFETY: as above; what is refused for it later is refused with an error.
    let set = unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) };
    assert_eq!(set, 0);
}

// Many at once.

#[test]
fn closures_from_many_threads_each_run_once() {
    on_workers([1, 2], |runtime| {
        let ran = Arc::new(AtomicUsize::new(0));
        let submitters = [(); 4].map(|()| {
            let (handle, ran) = (runtime.handle().clone(), ran.clone());
            thread::spawn(move || {
                for _ in 0..300 {
                    let ran = ran.clone();
                    let closure = handle.spawn_blocking(move || ran.fetch_add(1, SeqCst));
                    assert!(join(closure).is_ok());
                }
            })
        });
        for submitter in submitters {
            submitter.join().unwrap();
        }
        assert_eq!(ran.load(SeqCst), 1200);
    });
}

#[test]
fn what_is_submitted_as_the_runtime_ends_runs_or_is_cancelled() {
    within(LIMIT, || {
        for _ in 0..100 {
            let runtime = with_threads(2);
            let drops = Drops::new();
            let submitters = [(); 2].map(|()| {
                let (handle, drops) = (runtime.handle().clone(), drops.clone());
                thread::spawn(move || {
                    let closures = (0..20).map(|_| {
                        let guard = drops.guard();
                        handle.spawn_blocking(move || drop(guard))
                    });
                    for closure in closures.collect::<Vec<_>>() {
                        assert!(join(closure).map_or_else(|error| error.is_cancelled(), |()| true));
                    }
                })
            });
            thread::yield_now();
            drop(runtime);
            for submitter in submitters {
                submitter.join().unwrap();
            }
            assert_eq!(drops.count(), 40);
        }
    });
}

#[test]
fn the_drop_of_a_runtime_waits_for_no_closure() {
    on_workers([1, 2], |_| {
        let runtime = builder().build().unwrap();
        let handle = runtime.handle().clone();
        let held = Held::start(&runtime);
        let began = Instant::now();
        drop(runtime);
        assert!(
            began.elapsed() < Duration::from_secs(4),
            "{:?}",
            began.elapsed()
        );
        assert!(!held.handle.is_finished());
        assert!(
            join(handle.spawn_blocking(|| ()))
                .unwrap_err()
                .is_cancelled()
        );
        held.end(); // and it may end when it likes
        eventually("its thread is gone", || {
            handle.metrics().blocking_threads == 0
        });
    });
}
