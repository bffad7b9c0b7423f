//! Every interleaving, within a bound, of those who share a pool: a submitter or two, a thread that lies down or leaves, the
//! close.
//!
//! Loom reports a submitter that is left waiting, a thread that is left asleep as a deadlock, and by the `Arc` in each closure one
//! that is never dropped. Time is not modelled: a thread is idle for ever, or for no time at all.

use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize as Counter;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Wake, Waker};

use loom::thread::{self, JoinHandle as ThreadHandle};

use super::*;
use crate::util::sync::model;
use crate::util::sync::thread::Bell;

#[test]
fn a_thread_that_lies_down_takes_what_is_submitted_meanwhile() {
    model(|| {
        let world = World::new(1, 2, IDLE_FOR_EVER);
        let first = world.submit();
        let second = world.submit();
        world.ran(first);
        world.ran(second);
        world.close();
    });
}

#[test]
fn a_thread_whose_time_is_over_takes_what_is_submitted_or_another_is_started() {
    model(|| {
        let world = World::new(1, 2, Duration::ZERO);
        let first = world.submit();
        let second = world.submit();
        world.ran(first);
        world.ran(second);
        world.close();
    });
}

#[test]
fn a_submitter_that_waits_for_room_gets_it() {
    model(|| {
        let world = World::new(1, 1, IDLE_FOR_EVER);
        let other = thread::spawn({
            let world = world.clone();
            move || world.submit()
        });
        let handle = world.submit();
        world.ran(other.join().unwrap());
        world.ran(handle);
        world.close();
    });
}

#[test]
fn a_closure_that_meets_the_close_runs_or_is_cancelled() {
    model(|| {
        let world = World::new(1, 2, IDLE_FOR_EVER);
        let submitting = thread::spawn({
            let world = world.clone();
            move || world.submit()
        });
        world.pool.close();
        world.pool.cancel_queued();
        let handle = submitting.join().unwrap();
        world.close();
        world.ran_or_was_cancelled(handle);
    });
}

/// Nobody takes from the queue, and there is no room.
#[test]
fn a_submitter_that_waits_for_room_hears_of_the_close() {
    model(|| {
        let world = World::new(1, 1, IDLE_FOR_EVER);
        let (job, handle) = world.job();
        let Submitted::NeedsThread(key) = world.pool.submit(job) else {
            panic!("the first needs a thread")
        };
        let submitting = thread::spawn({
            let world = world.clone();
            move || world.submit()
        });
        world.pool.close();
        world.pool.cancel_queued();
        world.start(key);
        world.close();
        world.was_cancelled(submitting.join().unwrap());
        world.was_cancelled(handle);
    });
}

#[test]
fn a_thread_that_lies_down_hears_of_the_close() {
    model(|| {
        let world = World::new(1, 1, IDLE_FOR_EVER);
        let handle = world.submit();
        world.close();
        world.ran_or_was_cancelled(handle);
    });
}

/// One of two submitters is told to start a thread and cannot, the other has relied on it.
#[test]
fn a_closure_that_relied_on_a_thread_that_is_refused_is_cancelled() {
    model(|| {
        let world = World::new(1, 2, IDLE_FOR_EVER);
        world.refuses_threads.store(1, SeqCst);
        let other = thread::spawn({
            let world = world.clone();
            move || world.submit()
        });
        let handle = world.submit();
        let other = other.join().unwrap();
        // Whichever came second may have found the first one's thread refused already, and started one.
        world.ran_or_was_cancelled_in_time(handle);
        world.ran_or_was_cancelled_in_time(other);
        world.close();
    });
}

struct World {
    pool: Pool,
    started: std::sync::Mutex<Vec<ThreadHandle<()>>>,
    /// How many more threads the system refuses.
    refuses_threads: Counter,
    ran: Counter,
}

impl World {
    fn new(threads_max: usize, queue_max: usize, idle: Duration) -> Arc<Self> {
        Arc::new(Self {
            pool: Pool::new(Limits {
                threads_max,
                queue_max,
                idle,
            }),
            started: std::sync::Mutex::default(),
            refuses_threads: Counter::new(0),
            ran: Counter::new(0),
        })
    }

    #[track_caller]
    fn job(self: &Arc<Self>) -> (Job, JoinHandle<()>) {
        let (world, freed) = (self.clone(), loom::sync::Arc::new(()));
        let closure = move || {
            world.ran.fetch_add(1, SeqCst);
            drop(freed);
        };
        let meta = Meta {
            name: None,
            location: Location::caller(),
            spawned_ms: 0,
        };
        Job::new(closure, meta)
    }

    /// As `Home::spawn_blocking`.
    fn submit(self: &Arc<Self>) -> JoinHandle<()> {
        let (job, handle) = self.job();
        match self.pool.submit(job) {
            Submitted::Queued => {}
            Submitted::NeedsThread(key) => self.start(key),
            Submitted::Refused(job) => job.cancel(),
        }
        handle
    }

    fn start(self: &Arc<Self>, key: usize) {
        let refuse = |left: usize| left.checked_sub(1);
        if self
            .refuses_threads
            .fetch_update(SeqCst, SeqCst, refuse)
            .is_ok()
        {
            return self.pool.thread_was_refused(key);
        }
        let world = self.clone();
        let thread = thread::spawn(move || {
            world.pool.serve(key, || 0, || {});
            world.pool.depart();
        });
        self.started.lock().unwrap().push(thread);
    }

    /// Closes the pool and waits until its threads have departed.
    fn close(&self) {
        self.pool.close();
        self.pool.cancel_queued();
        self.pool
            .wait_until_departed(false, Deadline::after(IDLE_FOR_EVER));
        assert_eq!((self.pool.threads_count(), self.pool.outstanding()), (0, 0));
        let started = std::mem::take(&mut *self.started.lock().unwrap());
        started
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    }

    /// Waits for the closure's end.
    fn join(&self, handle: JoinHandle<()>) -> Result<(), crate::JoinError> {
        let bell = Arc::new(RingOnWake::default());
        let (waker, mut handle) = (bell.clone().into(), handle);
        loop {
            match Pin::new(&mut handle).poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(result) => return result,
                Poll::Pending => bell.0.wait(),
            }
        }
    }

    fn ran(&self, handle: JoinHandle<()>) {
        self.join(handle).expect("nothing is lost");
        assert!(self.ran.load(SeqCst) > 0);
    }

    fn ran_or_was_cancelled_in_time(&self, handle: JoinHandle<()>) {
        if let Err(error) = self.join(handle) {
            assert!(error.is_cancelled());
        }
    }

    /// After the end: the result is there.
    fn ran_or_was_cancelled(&self, handle: JoinHandle<()>) {
        let cancelled = result(handle).is_some_and(|error| error.is_cancelled());
        assert_ne!(cancelled, self.ran.load(SeqCst) == 1);
    }

    fn was_cancelled(&self, handle: JoinHandle<()>) {
        assert!(result(handle).expect("no output").is_cancelled());
        assert_eq!(self.ran.load(SeqCst), 0);
    }
}

#[derive(Default)]
struct RingOnWake(Bell);

impl Wake for RingOnWake {
    fn wake(self: Arc<Self>) {
        self.0.ring();
    }
}

fn result(mut handle: JoinHandle<()>) -> Option<crate::JoinError> {
    match Pin::new(&mut handle).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result.err(),
        Poll::Pending => panic!("the pool has ended, and the handle waits"),
    }
}

const IDLE_FOR_EVER: Duration = Duration::MAX;
