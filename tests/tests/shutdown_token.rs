//! The token that tells of an end: everybody hears of it, once and for all, and who goes away leaves nothing.

use std::future::{Future, pending, ready};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use wakeful::{ShutdownToken, yield_now};
use wakeful_tests::watchdog::LIMIT;
use wakeful_tests::{on_workers, within};

#[test]
fn everybody_who_waits_is_told_wherever_it_runs() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            let token = ShutdownToken::new();
            let tasks: Vec<_> = (0..100)
                .map(|number| {
                    // Each at another level of the tree.
                    let token = (0..number % 5).fold(token.clone(), |token, _| token.child());
                    wakeful::spawn(async move { token.wait().await })
                })
                .collect();
            yield_now().await;
            let ending = thread::spawn(move || token.shutdown());
            for task in tasks {
                task.await.unwrap();
            }
            ending.join().unwrap();
        });
    });
}

#[test]
fn an_event_that_comes_with_the_end_is_not_taken() {
    let token = ShutdownToken::new();
    let mut shutdown = token.wait();
    assert_eq!(now(shutdown.unless_shutdown(ready(1))), Some(1));
    token.shutdown();
    assert_eq!(now(shutdown.unless_shutdown(ready(1))), None);
    assert_eq!(now(token.run_until(ready(1))), None);
}

#[test]
fn who_waits_after_the_end_need_not_wait_however_often() {
    let token = ShutdownToken::new();
    let mut before = token.wait();
    let (_, waker) = counter();
    assert!(poll(&mut before, &waker).is_pending());
    token.shutdown();
    token.shutdown();
    for _ in 0..3 {
        now(&mut before);
        now(token.wait());
        now(token.child().wait());
    }
    assert!(before.is_shutting_down() && before.token().is_shutting_down());
}

#[test]
fn the_end_of_a_child_is_not_that_of_others() {
    let token = ShutdownToken::new();
    let (one, other) = (token.child(), token.child());
    let below = one.child();
    one.shutdown();
    assert!(below.is_shutting_down());
    assert!(!token.is_shutting_down() && !other.is_shutting_down());
}

#[test]
fn a_child_hears_of_the_end_when_the_one_between_is_gone() {
    let token = ShutdownToken::new();
    let below = token.child().child();
    token.shutdown();
    assert!(below.is_shutting_down());
}

#[test]
fn a_message_leaves_the_waker_where_it_is() {
    let token = ShutdownToken::new();
    let mut shutdown = token.wait();
    let (wakes, waker) = counter();
    let mut counts = Vec::new();
    for _ in 0..10 {
        let mut wait = pin!(shutdown.unless_shutdown(pending::<()>()));
        assert!(poll(&mut wait, &waker).is_pending());
        counts.push(Arc::strong_count(&wakes));
    }
    assert!(counts.iter().all(|count| *count == counts[0]), "{counts:?}");
    drop(shutdown);
    assert_eq!(Arc::strong_count(&wakes), 2, "this test's");
}

#[test]
fn only_the_last_of_several_wakers_is_called() {
    let token = ShutdownToken::new();
    let mut shutdown = token.wait();
    let ((first_wakes, first), (last_wakes, last)) = (counter(), counter());
    assert!(poll(&mut shutdown, &first).is_pending());
    assert!(poll(&mut shutdown, &last).is_pending());
    assert_eq!(Arc::strong_count(&first_wakes), 2, "let go of");
    token.shutdown();
    assert_eq!(first_wakes.0.load(SeqCst), 0);
    assert_eq!(last_wakes.0.load(SeqCst), 1);
    assert_eq!(Arc::strong_count(&last_wakes), 3, "but for its own copy");
}

/// They give each of their futures a waker of its own.
#[test]
fn a_part_of_a_task_with_a_waker_of_its_own_is_told_too() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let token = ShutdownToken::new();
            let task = wakeful::spawn({
                let token = token.clone();
                async move {
                    let mut waits: FuturesUnordered<_> = (0..10).map(|_| token.wait()).collect();
                    while waits.next().await.is_some() {}
                }
            });
            yield_now().await;
            token.shutdown();
            task.await.unwrap();
        });
    });
}

#[test]
fn who_is_dropped_is_not_called() {
    let token = ShutdownToken::new();
    let (wakes, waker) = counter();
    for _ in 0..1_000 {
        let child = token.child();
        let mut waits = [token.wait(), child.wait()];
        for wait in &mut waits {
            assert!(poll(wait, &waker).is_pending());
        }
    }
    token.shutdown();
    assert_eq!(wakes.0.load(SeqCst), 0);
    assert_eq!(Arc::strong_count(&wakes), 2, "this test's");
}

#[test]
fn a_tree_may_be_as_deep_as_it_likes() {
    within(LIMIT, || {
        for root_is_last in [false, true] {
            let root = ShutdownToken::new();
            let mut chain = vec![root.clone()];
            for _ in 0..200_000 {
                chain.push(chain[chain.len() - 1].child());
            }
            let leaf = chain.pop().unwrap();
            drop(chain); // each is now held by the one below it
            root.shutdown();
            assert!(leaf.is_shutting_down());
            if root_is_last {
                drop(leaf);
            } else {
                drop(root);
            }
        }
    });
}

#[test]
fn a_waker_that_panics_keeps_nobody_else_from_being_told() {
    let token = ShutdownToken::new();
    let panics = wakeful_tests::futures::waker(|| panic!("in a waker"));
    let (wakes, waker) = counter();
    let mut waits = [token.wait(), token.wait(), token.wait()];
    for (wait, waker) in waits.iter_mut().zip([&waker, &panics, &waker]) {
        assert!(poll(wait, waker).is_pending());
    }
    token.shutdown();
    assert_eq!(wakes.0.load(SeqCst), 2);
}

#[test]
fn threads_that_come_and_go_while_it_ends_are_all_told() {
    within(LIMIT, || {
        for _ in 0..200 {
            let token = ShutdownToken::new();
            let (began, begins) = mpsc::channel();
            let threads: Vec<_> = (0..3)
                .map(|_| {
                    let (token, began) = (token.clone(), began.clone());
                    thread::spawn(move || {
                        began.send(()).unwrap();
                        while !token.child().is_shutting_down() {
                            drop(token.wait());
                            wakeful::block_on(token.run_until(yield_now()));
                        }
                    })
                })
                .collect();
            begins.recv().unwrap();
            token.shutdown();
            for thread in threads {
                thread.join().unwrap();
            }
        }
    });
}

fn poll<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

/// What it is ready with at once.
#[track_caller]
fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it need not wait"),
    }
}

fn counter() -> (Arc<Wakes>, Waker) {
    let wakes = Arc::new(Wakes(AtomicUsize::new(0)));
    (wakes.clone(), wakes.into())
}

struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}
