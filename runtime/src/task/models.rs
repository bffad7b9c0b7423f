//! Every interleaving, within a bound, of two or three threads that share a task.
//!
//! The counters are standard ones, invisible to loom, and order nothing. The queue is a lock of loom's, since a `Runnable` never
//! changes threads without an order of events; what a wake that queues nothing makes seen has to come through the task's word. Each model ends in [`World::end`], which holds that the future was dropped once, that
//! no joiner's waker is left, and (by an `Arc` of loom's in the scheduler) that the memory was freed.

use std::collections::VecDeque;
use std::future::{pending, poll_fn, ready};
use std::panic::Location;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use loom::thread;

use super::{Due, JoinError, JoinHandle, Meta, Ran, Runnable, Schedule, TaskRef, new, run_again};
use crate::util::sync;
use crate::util::sync::atomic::AtomicBool;
use crate::util::sync::atomic::Ordering::Relaxed;

// Wakes and runs.

#[test]
fn two_wakes_by_ref_make_one_runnable() {
    model(|world| {
        let (task, handle, waker) = world.idle(pending::<()>());
        let other = waker.clone();
        let one = thread::spawn(move || other.wake_by_ref());
        waker.wake_by_ref();
        one.join().unwrap();
        assert_eq!(world.queue.len(), 1);
        world.end(task, Some(handle));
    });
}

#[test]
fn two_wakes_by_value_make_one_runnable() {
    model(|world| {
        let (task, handle, waker) = world.idle(pending::<()>());
        let other = waker.clone();
        let one = thread::spawn(move || other.wake());
        waker.wake();
        one.join().unwrap();
        assert_eq!(world.queue.len(), 1);
        world.end(task, Some(handle));
    });
}

#[test]
fn a_wake_by_value_during_a_run_is_not_lost() {
    model(|world| {
        let flag = Flag::default();
        let (task, handle, waker) = world.idle(flag.future());
        waker.wake_by_ref();
        let waking = thread::spawn(move || {
            flag.set();
            waker.wake();
        });
        world.run_all();
        waking.join().unwrap();
        world.run_all();
        assert!(handle.is_finished());
        world.end(task, Some(handle));
    });
}

#[test]
fn a_wake_by_ref_during_a_run_is_not_lost() {
    model(|world| {
        let flag = Flag::default();
        let (task, handle, waker) = world.idle(flag.future());
        waker.wake_by_ref();
        let waking = thread::spawn(move || {
            flag.set();
            waker.wake_by_ref();
        });
        world.run_all();
        waking.join().unwrap();
        world.run_all();
        assert!(handle.is_finished());
        world.end(task, Some(handle));
    });
}

#[test]
fn two_wakers_and_a_run_never_lose_a_wake() {
    model(|world| {
        let (one, two) = (Flag::default(), Flag::default());
        let (first, second) = (one.clone(), two.clone());
        let both = poll_fn(move |_| {
            if first.is_set() && second.is_set() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        });
        let (task, handle, waker) = world.idle(both);
        let other = waker.clone();
        let by_value = thread::spawn(move || {
            one.set();
            other.wake();
        });
        let by_ref = thread::spawn(move || {
            two.set();
            waker.wake_by_ref();
        });
        world.run_all();
        by_value.join().unwrap();
        by_ref.join().unwrap();
        world.run_all();
        assert!(handle.is_finished());
        world.end(task, Some(handle));
    });
}

#[test]
fn a_wake_in_the_own_poll_and_one_from_afar_make_one_more_poll() {
    model(|world| {
        let polls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&polls);
        let (task, handle, waker) = world.idle(poll_fn(move |cx| {
            if counted.fetch_add(1, SeqCst) == 1 {
                cx.waker().wake_by_ref();
            }
            Poll::<()>::Pending
        }));
        waker.wake_by_ref();
        let afar = thread::spawn(move || waker.wake());
        world.run_all();
        afar.join().unwrap();
        world.run_all();
        assert!((3..=4).contains(&polls.load(SeqCst)));
        world.end(task, Some(handle));
    });
}

#[test]
fn a_poll_that_asks_for_another_and_a_wake_from_afar_make_one_more_poll() {
    model(|world| {
        let polls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&polls);
        let flag = Flag::default();
        let seen = flag.clone();
        let (task, handle, waker) = world.idle(poll_fn(move |cx| {
            if seen.is_set() {
                return Poll::Ready(());
            }
            if counted.fetch_add(1, SeqCst) == 1 {
                run_again(cx.waker());
            }
            Poll::Pending
        }));
        waker.wake_by_ref();
        let afar = thread::spawn(move || {
            flag.set();
            waker.wake();
        });
        world.run_all();
        afar.join().unwrap();
        world.run_all();
        assert!((1..=3).contains(&polls.load(SeqCst)) && handle.is_finished());
        world.end(task, Some(handle));
    });
}

#[test]
fn a_poll_that_asks_for_another_gets_it_though_nobody_wakes_the_task() {
    model(|world| {
        let mut polls = 0;
        let (task, handle, waker) = world.idle(poll_fn(move |cx| {
            polls += 1;
            match polls {
                1 => Poll::Pending,
                2 => {
                    run_again(cx.waker());
                    Poll::Pending
                }
                _ => Poll::Ready(()),
            }
        }));
        waker.wake_by_ref();
        let afar = thread::spawn(move || drop((waker.clone(), waker)));
        world.run_all();
        assert!(handle.is_finished());
        afar.join().unwrap();
        world.end(task, Some(handle));
    });
}

#[test]
fn a_poll_that_asks_for_another_meets_an_abort() {
    model(|world| {
        let (task, handle, waker) = world.idle(asks_once());
        waker.wake();
        let queue = world.queue.clone();
        let running = thread::spawn(move || queue.run_all());
        handle.abort();
        running.join().unwrap();
        world.run_all();
        assert!(world.take(handle).unwrap().unwrap_err().is_cancelled());
        world.end(task, None::<JoinHandle<()>>);
    });
}

#[test]
fn a_poll_that_asks_for_another_meets_a_shutdown() {
    model(|world| {
        let (task, handle, waker) = world.idle(asks_once());
        waker.wake();
        let ending = thread::spawn(move || task.unwrap().shutdown());
        let completions = world.run_all();
        ending.join().unwrap();
        assert!(completions <= 1 && handle.is_finished());
        assert!(world.take(handle).unwrap().unwrap_err().is_cancelled());
        world.end(None, None::<JoinHandle<()>>);
    });
}

#[test]
fn a_task_that_changes_threads_takes_its_future_along() {
    model(|world| {
        let (task, handle, waker) = world.idle(pending::<()>());
        waker.wake_by_ref();
        let queue = world.queue.clone();
        let other = thread::spawn(move || {
            waker.wake();
            queue.run_all();
        });
        world.run_all();
        other.join().unwrap();
        world.run_all();
        world.end(task, Some(handle));
    });
}

// Ends.

#[test]
fn a_wake_by_ref_meets_completion() {
    model(|world| {
        let (task, handle, waker) = world.idle(ready_second(1));
        waker.wake_by_ref();
        let waking = thread::spawn(move || waker.wake_by_ref());
        assert_eq!(world.run_all(), 1);
        waking.join().unwrap();
        assert_eq!(world.queue.len(), 0);
        world.end(task, Some(handle));
    });
}

#[test]
fn a_wake_by_value_meets_completion_and_may_be_the_last_reference() {
    model(|world| {
        let (task, handle, waker) = world.idle(ready_second(1));
        waker.wake_by_ref();
        drop((task, handle));
        let waking = thread::spawn(move || waker.wake());
        assert_eq!(world.run_all(), 1);
        waking.join().unwrap();
        world.end(None, None::<JoinHandle<()>>);
    });
}

#[test]
fn clones_come_and_go_while_the_task_completes() {
    model(|world| {
        let (task, handle, waker) = world.idle(ready_second(1));
        waker.wake_by_ref();
        drop(handle);
        let cloning = thread::spawn(move || {
            let clone = waker.clone();
            drop(waker);
            clone.wake_by_ref();
        });
        assert_eq!(world.run_all(), 1);
        drop(task);
        cloning.join().unwrap();
        world.end(None, None::<JoinHandle<()>>);
    });
}

#[test]
fn the_last_of_three_references_frees_once_on_whichever_thread() {
    model(|world| {
        let (task, handle, waker) = world.idle(pending::<()>());
        let one = thread::spawn(move || drop(waker));
        let two = thread::spawn(move || drop(handle));
        drop(task);
        one.join().unwrap();
        two.join().unwrap();
        world.end(None, None::<JoinHandle<()>>);
    });
}

#[test]
fn the_end_of_a_run_releases_two_references_while_a_waker_and_the_handle_go() {
    model(|world| {
        let (task, handle, waker) = world.idle(ready_second(world.output()));
        waker.wake_by_ref();
        let waking = thread::spawn(move || drop(waker));
        let leaving = thread::spawn(move || drop(handle));
        let Ran::Complete(ended) = world.queue.pop().unwrap().run(0) else {
            panic!("ready the second time")
        };
        ended.release(task);
        waking.join().unwrap();
        leaving.join().unwrap();
        world.end(None, None::<JoinHandle<()>>);
    });
}

#[test]
fn the_outcome_is_taken_on_one_thread_while_the_last_reference_goes_on_another() {
    model(|world| {
        let (task, mut handle, waker) = world.idle(ready_second(1));
        waker.wake();
        assert_eq!(world.run_all(), 1);
        let taking = thread::spawn(move || {
            let joiner = Pin::new(&mut handle).poll(&mut Context::from_waker(Waker::noop()));
            assert!(joiner.is_ready());
        });
        drop(task);
        taking.join().unwrap();
        world.end(None, None::<JoinHandle<()>>);
    });
}

#[test]
fn the_last_waker_dies_while_the_poll_ends() {
    model(|world| {
        let (task, handle, waker) = world.idle(pending::<()>());
        waker.wake_by_ref();
        drop((task, handle));
        let dying = thread::spawn(move || drop(waker));
        assert_eq!(world.run_all(), 0);
        dying.join().unwrap();
        world.end(None, None::<JoinHandle<()>>);
    });
}

#[test]
fn a_wake_that_gives_away_its_only_reference_does_not_touch_the_task_after() {
    model(|world| {
        let (task, runnable, handle) =
            new(world.future(ready_second(())), world.scheduler(), meta());
        drop((task, handle));
        let waker = world.leave_waker(runnable);
        let queue = world.queue.clone();
        let running = thread::spawn(move || queue.run_all());
        waker.wake();
        running.join().unwrap();
        world.run_all();
        world.end(None, None::<JoinHandle<()>>);
    });
}

// Shutdown.

#[test]
fn a_shutdown_meets_a_wake() {
    model(|world| {
        let (task, handle, waker) = world.idle(pending::<()>());
        let waking = thread::spawn(move || waker.wake());
        task.as_ref().unwrap().shutdown();
        waking.join().unwrap();
        assert!(handle.is_finished());
        assert_eq!(world.run_all(), 0, "what the wake queued is stale");
        world.end(task, Some(handle));
    });
}

#[test]
fn a_shutdown_meets_a_run() {
    model(|world| {
        let (task, handle, waker) = world.idle(pending::<()>());
        waker.wake();
        let ending = thread::spawn(move || task.unwrap().shutdown());
        let completions = world.run_all();
        ending.join().unwrap();
        assert!(completions <= 1 && handle.is_finished());
        assert!(world.take(handle).unwrap().unwrap_err().is_cancelled());
        world.end(None, None::<JoinHandle<()>>);
    });
}

#[test]
fn a_shutdown_meets_a_wake_and_a_run() {
    model(|world| {
        let (task, handle, waker) = world.idle(pending::<()>());
        let queue = world.queue.clone();
        let waking = thread::spawn(move || {
            waker.wake();
            queue.run_all();
        });
        let ending = thread::spawn(move || task.unwrap().shutdown());
        drop(handle);
        waking.join().unwrap();
        ending.join().unwrap();
        world.end(None, None::<JoinHandle<()>>);
    });
}

#[test]
fn a_shutdown_meets_completion_and_the_task_completes_once() {
    model(|world| {
        let (task, handle, waker) = world.idle(ready_second(world.output()));
        waker.wake();
        let ending = thread::spawn(move || task.unwrap().shutdown());
        let completions = world.run_all();
        ending.join().unwrap();
        let result = world.take(handle).unwrap();
        assert_eq!(world.run_all(), 0);
        if let Ok(output) = result {
            assert_eq!(completions, 1);
            drop(output);
        }
        world.end(None, None::<JoinHandle<()>>);
    });
}

// Join and abort.

#[test]
fn a_join_poll_meets_completion() {
    model(|world| {
        let (task, mut handle, waker) = world.idle(ready_second(8));
        waker.wake();
        let queue = world.queue.clone();
        let running = thread::spawn(move || queue.run_all());
        let polled = world.poll(&mut handle, 0);
        running.join().unwrap();
        match polled {
            Poll::Ready(result) => assert_eq!(result.unwrap(), 8),
            Poll::Pending => {
                assert_eq!(world.joiner_wakes(), [1, 0]);
                assert_eq!(world.take(handle).unwrap().unwrap(), 8);
            }
        }
        world.end(task, None::<JoinHandle<()>>);
    });
}

#[test]
fn the_waker_of_the_last_join_poll_before_completion_is_woken() {
    model(|world| {
        let (task, mut handle, waker) = world.idle(ready_second(8));
        waker.wake();
        assert!(world.poll(&mut handle, 0).is_pending());
        let queue = world.queue.clone();
        let running = thread::spawn(move || queue.run_all());
        let polled = world.poll(&mut handle, 1);
        running.join().unwrap();
        match polled {
            Poll::Ready(result) => assert_eq!(result.unwrap(), 8),
            Poll::Pending => {
                assert_eq!(world.joiner_wakes(), [0, 1]);
                assert_eq!(world.take(handle).unwrap().unwrap(), 8);
            }
        }
        world.end(task, None::<JoinHandle<()>>);
    });
}

#[test]
fn a_repeated_join_poll_with_the_same_waker_meets_completion() {
    model(|world| {
        let (task, mut handle, waker) = world.idle(ready_second(8));
        waker.wake();
        assert!(world.poll(&mut handle, 0).is_pending());
        let queue = world.queue.clone();
        let running = thread::spawn(move || queue.run_all());
        let polled = world.poll(&mut handle, 0);
        running.join().unwrap();
        assert!(polled.is_ready() || world.joiner_wakes() == [1, 0]);
        world.end(task, Some(handle));
    });
}

#[test]
fn a_handle_with_a_waker_is_dropped_while_the_task_completes() {
    model(|world| {
        let (task, mut handle, waker) = world.idle(ready_second(world.output()));
        waker.wake();
        assert!(world.poll(&mut handle, 0).is_pending());
        let queue = world.queue.clone();
        let running = thread::spawn(move || queue.run_all());
        drop(handle);
        running.join().unwrap();
        assert_eq!(world.output_drops(), 1);
        world.end(task, None::<JoinHandle<()>>);
    });
}

#[test]
fn a_handle_that_never_waited_is_dropped_while_the_task_completes() {
    model(|world| {
        let (task, handle, waker) = world.idle(ready_second(world.output()));
        waker.wake();
        drop(task);
        let queue = world.queue.clone();
        let running = thread::spawn(move || queue.run_all());
        drop(handle);
        running.join().unwrap();
        assert_eq!(world.output_drops(), 1);
        world.end(None, None::<JoinHandle<()>>);
    });
}

#[test]
fn an_abort_meets_a_run() {
    model(|world| {
        let (task, handle, waker) = world.idle(pending::<()>());
        waker.wake();
        let queue = world.queue.clone();
        let running = thread::spawn(move || queue.run_all());
        handle.abort();
        running.join().unwrap();
        world.run_all();
        assert!(world.take(handle).unwrap().unwrap_err().is_cancelled());
        world.end(task, None::<JoinHandle<()>>);
    });
}

#[test]
fn an_abort_meets_a_wake() {
    model(|world| {
        let (task, handle, waker) = world.idle(pending::<()>());
        let waking = thread::spawn(move || waker.wake());
        handle.abort();
        waking.join().unwrap();
        assert_eq!(world.queue.len(), 1);
        assert_eq!(world.run_all(), 1);
        assert!(world.take(handle).unwrap().unwrap_err().is_cancelled());
        world.end(task, None::<JoinHandle<()>>);
    });
}

#[test]
fn an_abort_meets_completion() {
    model(|world| {
        let (task, handle, waker) = world.idle(ready_second(world.output()));
        waker.wake();
        let queue = world.queue.clone();
        let running = thread::spawn(move || queue.run_all());
        handle.abort();
        assert_eq!(running.join().unwrap(), 1);
        match world.take(handle).unwrap() {
            Ok(output) => drop(output),
            Err(error) => assert!(error.is_cancelled()),
        }
        world.end(task, None::<JoinHandle<()>>);
    });
}

#[test]
fn an_abort_meets_a_wake_and_a_run() {
    model(|world| {
        let (task, handle, waker) = world.idle(pending::<()>());
        waker.wake_by_ref();
        let waking = thread::spawn(move || waker.wake());
        let aborting = thread::spawn(move || {
            handle.abort();
            handle
        });
        world.run_all();
        waking.join().unwrap();
        let handle = aborting.join().unwrap();
        world.run_all();
        assert!(handle.is_finished());
        world.end(task, Some(handle));
    });
}

#[test]
fn an_abort_meets_a_shutdown() {
    model(|world| {
        let (task, handle, waker) = world.idle(pending::<()>());
        drop(waker);
        let ending = thread::spawn(move || task.unwrap().shutdown());
        handle.abort();
        ending.join().unwrap();
        assert!(handle.is_finished());
        assert_eq!(world.run_all(), 0);
        world.end(None, Some(handle));
    });
}

#[test]
fn a_cancel_during_a_run_resolves_after_the_drop() {
    model(|world| {
        let (task, handle, waker) = world.idle(pending::<()>());
        waker.wake();
        let queue = world.queue.clone();
        let running = thread::spawn(move || queue.run_all());
        let mut cancel = handle.cancel();
        let polled = Pin::new(&mut cancel).poll(&mut Context::from_waker(&world.joiner_waker(0)));
        if let Poll::Ready(result) = &polled {
            assert!(result.as_ref().unwrap_err().is_cancelled());
            assert_eq!(world.future_drops(), 1);
        }
        running.join().unwrap();
        world.run_all();
        assert!(polled.is_ready() || world.joiner_wakes() == [1, 0]);
        drop(cancel);
        world.end(task, None::<JoinHandle<()>>);
    });
}

#[test]
fn a_join_poll_meets_a_shutdown() {
    model(|world| {
        let (task, mut handle, waker) = world.idle(pending::<()>());
        drop(waker);
        let ending = thread::spawn(move || task.unwrap().shutdown());
        let polled = world.poll(&mut handle, 0);
        ending.join().unwrap();
        assert!(polled.is_ready() || world.joiner_wakes() == [1, 0]);
        world.end(None, Some(handle));
    });
}

// What the models share.

/// Explores `f` with a scheduler of each kind: one that a wake by value copies out, and one that it has to keep alive.
fn model(f: impl Fn(World) + Send + Sync + 'static) {
    let f = Arc::new(f);
    for copied in [false, true] {
        let f = Arc::clone(&f);
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(2);
        builder.check(move || {
            f(World {
                copied,
                ..World::default()
            })
        });
    }
}

/// One task, and counters for what becomes of it.
#[derive(Default)]
struct World {
    copied: bool,
    queue: Queue,
    futures: Arc<Counts>,
    outputs: Arc<Counts>,
    joiners: [Arc<Joiner>; 2],
}

impl World {
    /// A task that has been polled once, and the waker that this poll left.
    fn idle<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> (Option<TaskRef>, JoinHandle<T>, Waker) {
        let (task, runnable, handle) = new(self.future(future), self.scheduler(), meta());
        (Some(task), handle, self.leave_waker(runnable))
    }

    fn leave_waker(&self, runnable: Runnable) -> Waker {
        assert!(matches!(runnable.run(0), Ran::Idle));
        self.queue
            .waker
            .lock()
            .unwrap()
            .take()
            .expect("left by the first poll")
    }

    fn scheduler(&self) -> Scheduler {
        Scheduler {
            copied: self.copied,
            queue: self.queue.clone(),
            freed: Some(loom::sync::Arc::new(())),
        }
    }

    /// `future`, counted, and pending at its first poll, in which it leaves its waker.
    fn future<F: Future + Send + 'static>(
        &self,
        future: F,
    ) -> impl Future<Output = F::Output> + Send + use<F> {
        let (counted, queue) = (Counted::new(&self.futures), self.queue.clone());
        let (mut future, mut left) = (Box::pin(future), false);
        poll_fn(move |cx| {
            let _ = &counted;
            if !left {
                left = true;
                *queue.waker.lock().unwrap() = Some(cx.waker().clone());
            }
            future.as_mut().poll(cx)
        })
    }

    fn output(&self) -> Counted {
        Counted::new(&self.outputs)
    }

    fn run_all(&self) -> usize {
        self.queue.run_all()
    }

    fn poll<T>(&self, handle: &mut JoinHandle<T>, joiner: usize) -> Poll<Result<T, JoinError>> {
        Pin::new(handle).poll(&mut Context::from_waker(&self.joiner_waker(joiner)))
    }

    /// The result, if it is there.
    fn take<T>(&self, mut handle: JoinHandle<T>) -> Option<Result<T, JoinError>> {
        match Pin::new(&mut handle).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => Some(result),
            Poll::Pending => None,
        }
    }

    fn joiner_waker(&self, joiner: usize) -> Waker {
        Arc::clone(&self.joiners[joiner]).into()
    }

    fn joiner_wakes(&self) -> [usize; 2] {
        self.joiners.each_ref().map(|joiner| joiner.0.load(SeqCst))
    }

    fn future_drops(&self) -> usize {
        self.futures.dropped.load(SeqCst)
    }

    fn output_drops(&self) -> usize {
        self.outputs.dropped.load(SeqCst)
    }

    fn end<T>(self, task: Option<TaskRef>, handle: Option<JoinHandle<T>>) {
        if let Some(task) = &task {
            task.shutdown();
        }
        drop((task, handle));
        self.queue.run_all();
        for counts in [&self.futures, &self.outputs] {
            assert_eq!(counts.made.load(SeqCst), counts.dropped.load(SeqCst));
        }
        assert_eq!(self.joiners.each_ref().map(Arc::strong_count), [1, 1]);
    }
}

#[derive(Clone)]
struct Queue {
    runnables: Arc<sync::Mutex<VecDeque<Runnable>>>,
    waker: Arc<Mutex<Option<Waker>>>,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            runnables: Arc::new(sync::Mutex::new(VecDeque::new())),
            waker: Arc::default(),
        }
    }
}

impl Queue {
    fn len(&self) -> usize {
        self.runnables.lock().len()
    }

    fn push(&self, runnable: Runnable) {
        let mut runnables = self.runnables.lock();
        assert!(runnables.is_empty(), "two Runnables of one task");
        runnables.push_back(runnable);
    }

    fn pop(&self) -> Option<Runnable> {
        self.runnables.lock().pop_front()
    }

    /// Runs until nothing is queued; returns how many runs finished the task.
    fn run_all(&self) -> usize {
        let mut completions = 0;
        while let Some(runnable) = self.pop() {
            match runnable.run(0) {
                Ran::Idle => {}
                Ran::Again(runnable) => self.push(runnable),
                Ran::Complete(_) => completions += 1,
            }
        }
        completions
    }
}

struct Scheduler {
    copied: bool,
    queue: Queue,
    /// In the task's own: loom reports it if the task is never freed.
    freed: Option<loom::sync::Arc<()>>,
}

impl Schedule for Scheduler {
    fn schedule(&self, runnable: Runnable) {
        self.queue.push(runnable);
        // As a scheduler that notifies after it has pushed, it uses itself when the Runnable is out of its hands.
        thread::yield_now();
        drop(self.freed.clone());
    }

    fn schedule_due(due: Due<Self>) {
        if !due.scheduler().copied {
            return due.hold(Self::schedule);
        }
        let queue = due.scheduler().queue.clone();
        queue.push(due.into_runnable());
    }
}

#[derive(Default)]
struct Counts {
    made: AtomicUsize,
    dropped: AtomicUsize,
}

struct Counted(Arc<Counts>);

impl Counted {
    fn new(counts: &Arc<Counts>) -> Self {
        counts.made.fetch_add(1, SeqCst);
        Self(Arc::clone(counts))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, SeqCst);
    }
}

#[derive(Default)]
struct Joiner(AtomicUsize);

impl Wake for Joiner {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// What a waking thread does before it wakes; relaxed, so that only the wake itself can make it seen.
#[derive(Clone)]
struct Flag(loom::sync::Arc<AtomicBool>);

impl Default for Flag {
    fn default() -> Self {
        Self(loom::sync::Arc::new(AtomicBool::new(false)))
    }
}

impl Flag {
    fn set(&self) {
        self.0.store(true, Relaxed);
    }

    fn is_set(&self) -> bool {
        self.0.load(Relaxed)
    }

    fn future(&self) -> impl Future<Output = ()> + Send + use<> {
        let flag = self.clone();
        poll_fn(move |_| {
            if flag.is_set() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
    }
}

/// Never ready; asks for another poll in the second.
fn asks_once() -> impl Future<Output = ()> + Send {
    let mut polls = 0;
    poll_fn(move |cx| {
        polls += 1;
        if polls == 2 {
            run_again(cx.waker());
        }
        Poll::Pending
    })
}

/// Pending once, then ready with `output`.
fn ready_second<T: Send + 'static>(output: T) -> impl Future<Output = T> + Send {
    let (mut polled, mut output) = (false, Box::pin(ready(output)));
    poll_fn(move |cx| {
        if !std::mem::replace(&mut polled, true) {
            return Poll::Pending;
        }
        output.as_mut().poll(cx)
    })
}

fn meta() -> Meta {
    Meta {
        name: None,
        location: Location::caller(),
        spawned_ms: 0,
    }
}
