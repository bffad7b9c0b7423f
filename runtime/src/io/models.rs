//! Every interleaving, within a bound, of a task that waits, who moves its deadline, and the timer that goes off too soon.

use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use loom::thread;

use super::deadline::{Deadline, Deadlines};
use crate::executor::models::{ModelTimers, Wakes};
use crate::reactor::{Direction, Interest, Source};
use crate::util::sync::model;

/// The timer was armed for the first second; since then the deadline has been put off, to the ninth.
#[test]
fn a_deadline_moved_forwards_as_its_timer_goes_off_too_soon_is_kept() {
    model(|| {
        let socket = Socket::waiting_until(1);
        socket.set(9);
        let firing = socket.timers.fire_elsewhere(1);
        let setting = thread::spawn({
            let socket = socket.clone();
            move || socket.set(2)
        });
        let wakes_before = socket.wait();
        firing.join().unwrap();
        setting.join().unwrap();
        socket.ends_at(2, wakes_before);
    });
}

/// As above, by the task that waits.
#[test]
fn a_deadline_that_is_set_before_a_wait_is_kept_though_its_timer_goes_off_too_soon() {
    model(|| {
        let socket = Socket::waiting_until(1);
        socket.set(9);
        let firing = socket.timers.fire_elsewhere(1);
        socket.set(2);
        let wakes_before = socket.wait();
        firing.join().unwrap();
        socket.ends_at(2, wakes_before);
    });
}

#[test]
fn a_deadline_put_off_as_its_timer_goes_off_is_kept() {
    model(|| {
        let socket = Socket::waiting_until(1);
        let firing = socket.timers.fire_elsewhere(1);
        socket.set(2);
        let wakes_before = socket.wait();
        firing.join().unwrap();
        socket.ends_at(2, wakes_before);
    });
}

#[test]
fn of_two_deadlines_set_at_once_the_last_is_kept() {
    model(|| {
        let socket = Socket::waiting_until(9);
        let setting = thread::spawn({
            let socket = socket.clone();
            move || socket.set(1)
        });
        socket.set(2);
        setting.join().unwrap();
        let last = socket.deadline().get().expect("one of them");
        socket.ends_at(if last == socket.timers.at(1) { 1 } else { 2 }, 0);
    });
}

/// A socket with a task that waits to read from it.
#[derive(Clone)]
struct Socket {
    timers: ModelTimers,
    deadlines: Arc<Deadlines>,
    source: Arc<Source>,
    wakes: Wakes,
}

impl Socket {
    fn waiting_until(second: u32) -> Self {
        let socket = Self {
            timers: ModelTimers::new(),
            deadlines: Arc::new(Deadlines::new()),
            source: Arc::default(),
            wakes: Wakes::default(),
        };
        socket.set(second);
        socket.wait();
        socket
    }

    fn deadline(&self) -> &Arc<Deadline> {
        self.deadlines.of(Direction::Read)
    }

    fn set(&self, second: u32) {
        let time: Duration = self.timers.at(second);
        self.deadline().set(Some(time), || Some(&self.source));
    }

    /// As `AsyncFd::poll_ready`. No moment comes while a model runs. Says how often the task had been woken before.
    fn wait(&self) -> usize {
        let wakes_before = self.wakes.count();
        let _entered = self.timers.enter();
        let waker = self.wakes.waker();
        let mut cx = Context::from_waker(&waker);
        let _ = self.source.wait(Interest::Readable, None, &mut cx);
        assert!(self.deadline().poll_passed(&self.source).is_pending());
        wakes_before
    }

    /// The task, which is polled again if it was woken since its last poll began, is woken at the deadline or before.
    fn ends_at(&self, second: u32, wakes_before: usize) {
        if self.wakes.count() > wakes_before {
            self.wait();
        }
        assert_eq!(self.timers.due_count(second), 1, "asleep past a deadline");
    }
}
