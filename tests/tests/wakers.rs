//! What a `Waker` promises: no wake is lost, none polls too often, and it is harmless at any time and on any thread.

use std::cell::Cell;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use wakeful::io::AsyncFd;
use wakeful::time::{Instant, sleep};
use wakeful::yield_now;
use wakeful_tests::runtimes::runtime;
use wakeful_tests::watchdog::LIMIT;
use wakeful_tests::{Drops, Parked, eventually, on_workers, within, yields};

#[test]
fn any_number_of_wakes_during_a_poll_make_exactly_one_more() {
    on_workers([1, 2, 4], |runtime| {
        let polls = Arc::new(AtomicUsize::new(0));
        let task = runtime.spawn({
            let polls = polls.clone();
            std::future::poll_fn(move |cx| {
                if polls.fetch_add(1, SeqCst) == 0 {
                    for _ in 0..10 {
                        cx.waker().wake_by_ref();
                        wake_by_value(cx.waker().clone());
                    }
                }
                Poll::<()>::Pending
            })
        });
        eventually("the second poll", || {
            runtime.block_on(yields(10));
            polls.load(SeqCst) >= 2
        });
        runtime.block_on(yields(100));
        assert_eq!(polls.load(SeqCst), 2);
        assert!(runtime.block_on(task.cancel()).is_err());
    });
}

#[test]
fn a_task_that_is_not_woken_is_not_polled() {
    on_workers([1, 2, 4], |runtime| {
        let (polled, polls) = mpsc::channel();
        let task = runtime.spawn(Parked::new(polled));
        runtime.block_on(yields(1000));
        eventually("the first poll", || polls.try_recv().is_ok());
        runtime.block_on(yields(1000));
        assert_eq!(polls.try_iter().count(), 0);
        assert!(runtime.block_on(task.cancel()).is_err());
    });
}

#[test]
fn a_wake_from_another_thread_is_never_lost_and_polls_never_overlap() {
    on_workers([1, 2, 4], |runtime| {
        let (polled, polls) = mpsc::channel::<Waker>();
        let (inside, answered) = (AtomicBool::new(false), Arc::new(AtomicUsize::new(0)));
        let task = runtime.spawn({
            let answered = answered.clone();
            std::future::poll_fn(move |cx| {
                assert!(!inside.swap(true, SeqCst), "polled twice at once");
                let due = answered.load(SeqCst);
                let _ = polled.send(cx.waker().clone());
                inside.store(false, SeqCst);
                if due == ROUNDS {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
        });
        let waker = thread::spawn(move || {
            // Each wake may meet the poll that sent the waker still going on.
            for waker in polls {
                answered.fetch_add(1, SeqCst);
                waker.wake();
                if answered.load(SeqCst) == ROUNDS {
                    break;
                }
            }
        });
        runtime.block_on(task).unwrap();
        waker.join().unwrap();
    });
    const ROUNDS: usize = 20_000;
}

#[test]
fn a_hundred_thousand_wakes_from_foreign_threads_are_harmless_and_arrive() {
    on_workers([1, 2, 4], |runtime| {
        let (polled, polls) = mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let task = runtime.spawn({
            let (stop, mut told) = (stop.clone(), false);
            std::future::poll_fn(move |cx| {
                if !std::mem::replace(&mut told, true) {
                    polled.send(cx.waker().clone()).unwrap();
                }
                if stop.load(SeqCst) {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
        });
        let wakers = thread::spawn(move || {
            let waker: Waker = polls.recv().unwrap();
            thread::scope(|scope| {
                for thread in 0..4 {
                    let waker = waker.clone();
                    scope.spawn(move || {
                        for round in 0..25_000 {
                            match (thread + round) % 4 {
                                0 => waker.wake_by_ref(),
                                1 => wake_by_value(waker.clone()),
                                2 => drop(waker.clone()),
                                _ => assert!(waker.will_wake(&waker.clone())),
                            }
                        }
                    });
                }
            });
            stop.store(true, SeqCst);
            waker.wake();
        });
        runtime.block_on(task).unwrap();
        wakers.join().unwrap();
    });
}

#[test]
fn a_waker_outlives_its_task() {
    on_workers([1, 2, 4], |runtime| {
        let (polled, polls) = mpsc::channel();
        let task = runtime.spawn(std::future::poll_fn(move |cx| {
            polled.send(cx.waker().clone()).unwrap();
            Poll::Ready(3)
        }));
        assert_eq!(runtime.block_on(task).unwrap(), 3);
        use_up(polls.recv().unwrap());
        runtime.block_on(yields(3));
        assert!(polls.try_recv().is_err(), "never polled again");
    });
}

#[test]
fn a_waker_outlives_its_runtime() {
    for workers in [1, 2, 4] {
        within(LIMIT, move || {
            let (polled, polls) = mpsc::channel();
            let drops = Drops::new();
            let guard = drops.guard();
            let runtime = runtime(workers);
            drop(runtime.spawn(async move { (Parked::new(polled).await, guard) }));
            runtime.block_on(yields(3));
            let waker: Waker = polls.recv().unwrap();
            drop(runtime);
            assert_eq!(drops.count(), 1);
            thread::scope(|scope| {
                for _ in 0..4 {
                    let waker = waker.clone();
                    scope.spawn(move || use_up(waker));
                }
            });
            use_up(waker);
        });
    }
}

#[test]
fn a_waker_of_a_local_task_outlives_its_thread() {
    within(LIMIT, || {
        let (polled, polls) = mpsc::channel();
        thread::spawn(move || {
            wakeful::block_on(async {
                drop(wakeful::spawn_local(Parked::new(polled)));
                yields(3).await;
            });
        })
        .join()
        .unwrap();
        use_up(polls.recv().unwrap());
    });
}

#[test]
fn a_waker_may_be_woken_in_the_destructor_of_a_thread_local() {
    struct WakesAtExit(Cell<Option<Waker>>);
    impl Drop for WakesAtExit {
        fn drop(&mut self) {
            use_up(self.0.take().unwrap());
        }
    }
    thread_local! {
        static AT_EXIT: WakesAtExit = const { WakesAtExit(Cell::new(None)) };
    }
    on_workers([1, 2], |runtime| {
        let (polled, polls) = mpsc::channel();
        let task = runtime.spawn(Parked::new(polled));
        runtime.block_on(yields(3));
        let waker: Waker = polls.recv().unwrap();
        let handle = runtime.handle().clone();
        thread::spawn(move || {
            AT_EXIT.with(|at_exit| at_exit.0.set(Some(waker)));
            handle.block_on(yields(1)); // registers the runtime's own thread-locals, before or after ours
        })
        .join()
        .unwrap();
        eventually("the wake has arrived", || {
            runtime.block_on(yields(3));
            polls.try_recv().is_ok()
        });
        assert!(runtime.block_on(task.cancel()).is_err());
    });
}

#[test]
fn a_wake_under_a_lock_that_the_task_needs_does_not_deadlock() {
    on_workers([1, 2, 4], |runtime| {
        let waiting = Arc::new(Mutex::new((false, None::<Waker>)));
        let task = runtime.spawn({
            let waiting = waiting.clone();
            std::future::poll_fn(move |cx| {
                let mut waiting = waiting.lock().unwrap();
                waiting.1 = Some(cx.waker().clone());
                if waiting.0 {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
        });
        runtime.block_on(async {
            while waiting.lock().unwrap().1.is_none() {
                yield_now().await;
            }
            let mut waiting = waiting.lock().unwrap();
            waiting.0 = true;
            waiting.1.take().unwrap().wake(); // polled inside the wake, it would wait for this lock for ever
        });
        runtime.block_on(task).unwrap();
    });
}

#[test]
fn a_waker_may_come_back_to_its_source_when_it_is_called_or_dropped() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let (one, mut peer) = UnixStream::pair().unwrap();
            let fd = Arc::new(AsyncFd::new_nonblocking(one).unwrap());
            let visits = Arc::new(AtomicUsize::new(0));
            let begins_to_wait = || {
                let waker = Waker::from(Arc::new(Visitor(fd.clone(), visits.clone())));
                let read = |mut stream: &UnixStream| stream.read(&mut [0]);
                assert!(
                    fd.poll_read_with(&mut Context::from_waker(&waker), read)
                        .is_pending()
                );
            };
            begins_to_wait();
            begins_to_wait();
            assert_eq!(visits.load(SeqCst), 1, "the second has replaced the first");
            peer.write_all(b"x").unwrap();
            fd.readable().await.unwrap();
            while visits.load(SeqCst) < 3 {
                yield_now().await; // it is called, and dropped
            }
        });
    });
}

/// A waker that goes where it came from, whenever it can: to its source, and to the reactor with another one.
struct Visitor(Arc<AsyncFd<UnixStream>>, Arc<AtomicUsize>);

impl Visitor {
    fn visit(&self) {
        let (other, _peer) = UnixStream::pair().unwrap();
        let other = AsyncFd::new_nonblocking(other).unwrap();
        for fd in [&*self.0, &other] {
            let waits = pin!(fd.hung_up()).poll(&mut Context::from_waker(Waker::noop()));
            assert!(waits.is_pending());
        }
        self.1.fetch_add(1, SeqCst);
    }
}

impl Wake for Visitor {
    fn wake(self: Arc<Self>) {
        self.visit();
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        self.visit();
    }
}

/// The worker keeps the timer of a sleep that was dropped, and with it the waker.
#[test]
fn a_waker_may_come_back_to_the_socket_whose_deadline_comes_after_its_sleep() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let (one, _peer) = UnixStream::pair().unwrap();
            let fd = Arc::new(AsyncFd::new_nonblocking(one).unwrap());
            let dropped = Arc::new(AtomicBool::new(false));
            let waker = Waker::from(Arc::new(Reader(fd.clone(), dropped.clone())));
            let mut sleeps = Box::pin(sleep(LIMIT));
            let polled = sleeps.as_mut().poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
            drop((sleeps, waker));
            fd.set_read_deadline(Some(Instant::now() + LIMIT));
            wait_for(&fd);
            while !dropped.load(SeqCst) {
                yield_now().await;
            }
        });
    });
}

/// A waker that waits for its socket as it is dropped.
struct Reader(Arc<AsyncFd<UnixStream>>, Arc<AtomicBool>);

impl Wake for Reader {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Reader {
    fn drop(&mut self) {
        wait_for(&self.0);
        self.1.store(true, SeqCst);
    }
}

fn wait_for(fd: &AsyncFd<UnixStream>) {
    let mut cx = Context::from_waker(Waker::noop());
    let polled = fd.poll_read_with(&mut cx, |mut stream| stream.read(&mut [0]));
    assert!(polled.is_pending());
}

#[test]
fn a_wake_in_the_drop_of_a_future_reaches_another_task() {
    struct WakeOnDrop(Waker);
    impl Drop for WakeOnDrop {
        fn drop(&mut self) {
            self.0.wake_by_ref();
        }
    }
    on_workers([1, 2, 4], |runtime| {
        let (polled, polls) = mpsc::channel();
        let sleeper = runtime.spawn(Parked::new(polled));
        runtime.block_on(yields(3));
        let waker = WakeOnDrop(polls.recv().unwrap());
        let task = runtime.spawn(async move { (std::future::pending::<()>().await, drop(waker)) });
        assert!(runtime.block_on(task.cancel()).is_err());
        eventually("the other task is polled again", || {
            runtime.block_on(yields(3));
            polls.try_recv().is_ok()
        });
        assert!(runtime.block_on(sleeper.cancel()).is_err());
    });
}

#[test]
fn a_task_whose_last_waker_is_dropped_can_still_be_aborted() {
    on_workers([1, 2, 4], |runtime| {
        let drops = Drops::new();
        let guard = drops.guard();
        let task = runtime.spawn(async move { (std::future::pending::<()>().await, guard) });
        runtime.block_on(yields(3));
        assert_eq!(
            drops.count(),
            0,
            "a live task is kept, though nobody can wake it"
        );
        assert!(runtime.block_on(task.cancel()).is_err());
        assert_eq!(drops.count(), 1);
    });
}

#[test]
fn a_waker_that_panics_when_the_join_handle_calls_it_harms_nobody() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("a foreign waker");
        }
    }
    on_workers([1, 2, 4], |runtime| {
        let (end, ends) = futures::channel::oneshot::channel::<()>();
        let mut task = runtime.spawn(async { ends.await.unwrap() });
        let foreign = Waker::from(Arc::new(Panics));
        assert!(
            std::pin::Pin::new(&mut task)
                .poll(&mut Context::from_waker(&foreign))
                .is_pending()
        );
        end.send(()).unwrap();
        eventually("it has finished", || {
            runtime.block_on(yields(3));
            task.is_finished()
        });
        runtime.block_on(task).unwrap();
    });
}

/// Clones, wakes and drops a waker in every way.
fn use_up(waker: Waker) {
    waker.wake_by_ref();
    drop(waker.clone());
    wake_by_value(waker.clone());
    waker.wake();
}

/// Uses up its reference in the wake itself, which is another path than `wake_by_ref` and a drop.
fn wake_by_value(waker: Waker) {
    waker.wake();
}
