//! Every interleaving, within a bound, of the end with those who begin to wait for it.
//!
//! What is modelled is that nobody sleeps through the end: a poll that was pending has left a waker which is called.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Wake, Waker};

use loom::thread;

use super::{ShutdownToken, ShutdownWait};
use crate::util::sync::model;

#[test]
fn who_begins_to_wait_during_the_end_does_not_sleep_through_it() {
    model(|| {
        let token = ShutdownToken::new();
        let ending = ends_elsewhere(&token);
        let mut waits = Waits::for_end_of(&token);
        let is_ready = waits.poll();
        ending.join().unwrap();
        waits.is_over(is_ready);
    });
}

#[test]
fn a_task_that_changes_its_waker_during_the_end_does_not_sleep_through_it() {
    model(|| {
        let token = ShutdownToken::new();
        let mut waits = Waits::for_end_of(&token);
        assert!(!waits.poll());
        let ending = ends_elsewhere(&token);
        waits.change_waker();
        let is_ready = waits.poll();
        ending.join().unwrap();
        waits.is_over(is_ready);
    });
}

#[test]
fn a_child_that_comes_to_be_during_the_end_is_over_too() {
    model(|| {
        let token = ShutdownToken::new();
        let ending = ends_elsewhere(&token);
        let child = token.child();
        let mut waits = Waits::for_end_of(&child);
        let is_ready = waits.poll();
        ending.join().unwrap();
        waits.is_over(is_ready);
        assert!(child.is_shutting_down());
    });
}

#[test]
fn who_goes_away_during_the_end_takes_nobody_along() {
    model(|| {
        let token = ShutdownToken::new();
        let (mut stays, mut goes) = (Waits::for_end_of(&token), Waits::for_end_of(&token));
        assert!(!stays.poll() && !goes.poll());
        let child = token.child();
        let going = thread::spawn(move || drop((goes, child)));
        token.shutdown();
        going.join().unwrap();
        stays.is_over(false);
    });
}

#[test]
fn two_ends_at_the_same_time_are_one() {
    model(|| {
        let token = ShutdownToken::new();
        let child = token.child();
        let mut waits = Waits::for_end_of(&child);
        assert!(!waits.poll());
        let ending = ends_elsewhere(&token);
        child.shutdown();
        ending.join().unwrap();
        waits.is_over(false);
        assert_eq!(waits.wakes.0.load(SeqCst), 1);
    });
}

fn ends_elsewhere(token: &ShutdownToken) -> thread::JoinHandle<()> {
    let token = token.clone();
    thread::spawn(move || token.shutdown())
}

/// A task that waits.
struct Waits {
    wait: ShutdownWait,
    wakes: Arc<Wakes>,
}

impl Waits {
    fn for_end_of(token: &ShutdownToken) -> Self {
        Self {
            wait: token.wait(),
            wakes: Arc::default(),
        }
    }

    fn poll(&mut self) -> bool {
        let waker = Waker::from(self.wakes.clone());
        Pin::new(&mut self.wait)
            .poll(&mut Context::from_waker(&waker))
            .is_ready()
    }

    /// From now on another one has to be called.
    fn change_waker(&mut self) {
        self.wakes = Arc::default();
    }

    /// It was told of the end: by its last poll, or by a wake since.
    fn is_over(&mut self, was_ready: bool) {
        assert!(was_ready || self.wakes.0.load(SeqCst) > 0, "not woken");
        assert!(self.poll());
    }
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}
