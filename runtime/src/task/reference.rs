//! Every short sequence of operations on one task, compared step by step with a model in plain Rust.
//!
//! The model knows no references and no flags, only what an observer can tell: what is queued, how often the future was polled
//! and dropped, what the handle says, whether its waker was woken, whether the memory is gone.

use std::iter::Sum;
use std::panic;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Instant;

use super::tests::{Dropped, Joiner, Queue, meta};
use super::{JoinHandle, Ran, TaskRef, new};

#[test]
fn every_sequence_of_operations_behaves_as_the_model_says() {
    let started = Instant::now();
    let (left, right) = Op::ALL.split_at(Op::ALL.len() / 2);
    let [left, right] = thread::scope(|scope| {
        [left, right]
            .map(|firsts| {
                scope.spawn(|| {
                    firsts
                        .iter()
                        .map(|&first| explore(&mut vec![first]))
                        .sum::<Tried>()
                })
            })
            .map(|explorer| explorer.join().unwrap())
    });
    let Tried { run, covered } = [left, right].into_iter().sum();
    println!(
        "{covered} sequences, {run} of them run, in {:?}",
        started.elapsed()
    );
    assert_eq!(
        covered,
        (1..=SEQUENCE_LEN_MAX).map(sequences_count).sum::<usize>()
    );
}

/// How many sequences were run, and how many were either run or differ from one that was only by operations without an object.
struct Tried {
    run: usize,
    covered: usize,
}

impl Sum for Tried {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self { run: 0, covered: 0 }, |a, b| Self {
            run: a.run + b.run,
            covered: a.covered + b.covered,
        })
    }
}

/// Tries the sequence and all that begin with it.
fn explore(sequence: &mut Vec<Op>) -> Tried {
    let last = try_sequence(sequence);
    let rest = SEQUENCE_LEN_MAX - sequence.len();
    if last == Returned::NoObject {
        // The task has not been touched: what may follow is tried after the shorter sequence.
        return Tried {
            run: 1,
            covered: (0..=rest).map(sequences_count).sum(),
        };
    }
    let alone = Tried { run: 1, covered: 1 };
    if rest == 0 {
        return alone;
    }
    let longer = Op::ALL.map(|op| {
        sequence.push(op);
        let tried = explore(sequence);
        sequence.pop();
        tried
    });
    longer.into_iter().chain([alone]).sum()
}

fn sequences_count(len: usize) -> usize {
    Op::ALL.len().pow(len as u32)
}

fn try_sequence(sequence: &[Op]) -> Returned {
    let (mut real, mut model) = (Real::new(), Model::new());
    let mut last = Returned::NoObject;
    for (step, &op) in sequence.iter().enumerate() {
        let expected = model.apply(op);
        last = real.apply(op);
        assert_eq!(
            (&last, real.observe()),
            (&expected, model.observe()),
            "after step {step} of {sequence:?}"
        );
    }
    real.drop_all();
    model.drop_all();
    assert_eq!(
        real.observe(),
        model.observe(),
        "after dropping everything at the end of {sequence:?}"
    );
    assert!(model.observe().freed, "{sequence:?}");
    assert_eq!(
        Arc::strong_count(&real.joiner),
        1,
        "the joiner's waker is leaked by {sequence:?}"
    );
    last
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    RunPending,
    RunWoken,
    RunReady,
    RunPanic,
    Wake,
    WakeByRef,
    CloneWaker,
    DropWaker,
    Abort,
    JoinPoll,
    DropHandle,
    Shutdown,
}

impl Op {
    const ALL: [Self; 12] = [
        Self::RunPending,
        Self::RunWoken,
        Self::RunReady,
        Self::RunPanic,
        Self::Wake,
        Self::WakeByRef,
        Self::CloneWaker,
        Self::DropWaker,
        Self::Abort,
        Self::JoinPoll,
        Self::DropHandle,
        Self::Shutdown,
    ];
}

/// What an operation returned.
#[derive(Debug, PartialEq, Eq)]
enum Returned {
    /// There was nothing to apply it to: no waker, nothing queued, no handle, no registry entry.
    NoObject,
    Nothing,
    Idle,
    Again,
    Complete,
    Joined(Option<End>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Output,
    Cancelled,
    Panicked,
}

#[derive(Debug, PartialEq, Eq)]
struct Observed {
    queued: usize,
    wakers: usize,
    polls: usize,
    future_drops: usize,
    output_drops: usize,
    joiner_wakes: usize,
    finished: Option<bool>,
    freed: bool,
}

/// A task, and everything that refers to it.
struct Real {
    queue: Queue,
    task: Option<TaskRef>,
    handle: Option<JoinHandle<Dropped>>,
    script: Arc<Script>,
    future_drops: Arc<AtomicUsize>,
    joiner: Arc<Joiner>,
    joiner_waker: Waker,
}

/// What the future does when polled, and what it leaves behind: its waker, whenever there is none.
struct Script {
    next: Mutex<Op>,
    wakers: Mutex<Vec<Waker>>,
    polls: AtomicUsize,
    output_drops: Arc<AtomicUsize>,
}

struct Scripted {
    script: Arc<Script>,
    _drops: Dropped,
}

impl Future for Scripted {
    type Output = Dropped;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Dropped> {
        self.script.polls.fetch_add(1, SeqCst);
        let op = *self.script.next.lock().unwrap();
        match op {
            Op::RunReady => {
                return Poll::Ready(Dropped {
                    count: Arc::clone(&self.script.output_drops),
                    panics: false,
                });
            }
            Op::RunPanic => panic::resume_unwind(Box::new(())),
            Op::RunWoken => cx.waker().wake_by_ref(),
            _ => {}
        }
        let mut wakers = self.script.wakers.lock().unwrap();
        if wakers.is_empty() {
            wakers.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Real {
    fn new() -> Self {
        let queue = Queue::default();
        let script = Arc::new(Script {
            next: Mutex::new(Op::RunPending),
            wakers: Mutex::default(),
            polls: AtomicUsize::new(0),
            output_drops: Arc::default(),
        });
        let future_drops = Arc::default();
        let drops = Dropped {
            count: Arc::clone(&future_drops),
            panics: false,
        };
        let future = Scripted {
            script: Arc::clone(&script),
            _drops: drops,
        };
        let (task, runnable, handle) = new(future, queue.clone(), meta());
        queue.push(runnable);
        let joiner = Arc::new(Joiner::default());
        let joiner_waker = Arc::clone(&joiner).into();
        Self {
            queue,
            task: Some(task),
            handle: Some(handle),
            script,
            future_drops,
            joiner,
            joiner_waker,
        }
    }

    fn apply(&mut self, op: Op) -> Returned {
        let wakers = &self.script.wakers;
        match op {
            Op::RunPending | Op::RunWoken | Op::RunReady | Op::RunPanic => {
                *self.script.next.lock().unwrap() = op;
                let Some(runnable) = self.queue.pop() else {
                    return Returned::NoObject;
                };
                match runnable.run(0) {
                    Ran::Idle => return Returned::Idle,
                    Ran::Again(runnable) => {
                        self.queue.push(runnable);
                        return Returned::Again;
                    }
                    Ran::Complete(_) => {
                        self.task
                            .take()
                            .expect("told once, and not after a shutdown");
                        return Returned::Complete;
                    }
                }
            }
            Op::Wake => {
                let Some(waker) = wakers.lock().unwrap().pop() else {
                    return Returned::NoObject;
                };
                waker.wake();
            }
            Op::WakeByRef => {
                let wakers = wakers.lock().unwrap();
                let Some(waker) = wakers.last() else {
                    return Returned::NoObject;
                };
                waker.wake_by_ref();
            }
            Op::CloneWaker => {
                let mut wakers = wakers.lock().unwrap();
                let Some(clone) = wakers.last().cloned() else {
                    return Returned::NoObject;
                };
                wakers.push(clone);
            }
            Op::DropWaker => {
                let Some(waker) = wakers.lock().unwrap().pop() else {
                    return Returned::NoObject;
                };
                drop(waker);
            }
            Op::Abort => {
                let Some(handle) = &self.handle else {
                    return Returned::NoObject;
                };
                handle.abort();
            }
            Op::JoinPoll => {
                let Some(handle) = &mut self.handle else {
                    return Returned::NoObject;
                };
                let Poll::Ready(result) =
                    Pin::new(handle).poll(&mut Context::from_waker(&self.joiner_waker))
                else {
                    return Returned::Joined(None);
                };
                self.handle = None;
                return Returned::Joined(Some(
                    match result.map(drop).map_err(|error| error.is_panic()) {
                        Ok(()) => End::Output,
                        Err(true) => End::Panicked,
                        Err(false) => End::Cancelled,
                    },
                ));
            }
            Op::DropHandle => {
                let Some(handle) = self.handle.take() else {
                    return Returned::NoObject;
                };
                drop(handle);
            }
            Op::Shutdown => {
                let Some(task) = self.task.take() else {
                    return Returned::NoObject;
                };
                task.shutdown();
            }
        }
        Returned::Nothing
    }

    fn observe(&self) -> Observed {
        Observed {
            queued: self.queue.len(),
            wakers: self.script.wakers.lock().unwrap().len(),
            polls: self.script.polls.load(SeqCst),
            future_drops: self.future_drops.load(SeqCst),
            output_drops: self.script.output_drops.load(SeqCst),
            joiner_wakes: self.joiner.0.load(SeqCst),
            finished: self.handle.as_ref().map(JoinHandle::is_finished),
            freed: self.queue.tasks_count() == 0,
        }
    }

    fn drop_all(&mut self) {
        self.task = None;
        self.handle = None;
        self.joiner_waker = Waker::noop().clone();
        self.script.wakers.lock().unwrap().clear();
        drop(self.queue.pop());
    }
}

/// What a task is for an observer.
struct Model {
    queued: bool,
    cancelled: bool,
    ended: Option<End>,
    wakers: usize,
    registered: bool,
    handle: Option<Handle>,
    polls: usize,
    future_drops: usize,
    output_drops: usize,
    joiner_wakes: usize,
}

struct Handle {
    waits: bool,
}

impl Model {
    fn new() -> Self {
        Self {
            queued: true,
            cancelled: false,
            ended: None,
            wakers: 0,
            registered: true,
            handle: Some(Handle { waits: false }),
            polls: 0,
            future_drops: 0,
            output_drops: 0,
            joiner_wakes: 0,
        }
    }

    fn apply(&mut self, op: Op) -> Returned {
        let returned = self.apply_alone(op);
        self.sweep();
        returned
    }

    fn apply_alone(&mut self, op: Op) -> Returned {
        match op {
            Op::RunPending | Op::RunWoken | Op::RunReady | Op::RunPanic => return self.run(op),
            Op::Wake if self.wakers > 0 => {
                self.wake();
                self.wakers -= 1;
            }
            Op::WakeByRef if self.wakers > 0 => self.wake(),
            Op::CloneWaker if self.wakers > 0 => self.wakers += 1,
            Op::DropWaker if self.wakers > 0 => self.wakers -= 1,
            Op::Abort if self.handle.is_some() => {
                self.cancelled = true;
                self.wake();
            }
            Op::JoinPoll => {
                let (Some(handle), ended) = (&mut self.handle, self.ended) else {
                    return Returned::NoObject;
                };
                match ended {
                    None => handle.waits = true,
                    Some(_) => self.drop_handle(),
                }
                return Returned::Joined(ended);
            }
            Op::DropHandle if self.handle.is_some() => self.drop_handle(),
            Op::Shutdown if self.registered => {
                self.registered = false;
                if self.ended.is_none() {
                    self.end(End::Cancelled);
                }
            }
            _ => return Returned::NoObject,
        }
        Returned::Nothing
    }

    fn run(&mut self, op: Op) -> Returned {
        if !self.queued {
            return Returned::NoObject;
        }
        self.queued = false;
        if self.ended.is_some() {
            return Returned::Idle;
        }
        let end = if self.cancelled {
            End::Cancelled
        } else {
            self.polls += 1;
            match op {
                Op::RunReady => End::Output,
                Op::RunPanic => End::Panicked,
                _ => {
                    self.wakers = self.wakers.max(1);
                    self.queued = op == Op::RunWoken;
                    return if self.queued {
                        Returned::Again
                    } else {
                        Returned::Idle
                    };
                }
            }
        };
        self.end(end);
        self.registered = false;
        Returned::Complete
    }

    fn wake(&mut self) {
        self.queued |= self.ended.is_none();
    }

    fn end(&mut self, end: End) {
        self.ended = Some(end);
        self.future_drops += 1;
        match &self.handle {
            Some(handle) => self.joiner_wakes += usize::from(handle.waits),
            None => self.output_drops += usize::from(end == End::Output),
        }
    }

    /// With its output, whether it has been returned or not.
    fn drop_handle(&mut self) {
        self.handle = None;
        self.output_drops += usize::from(self.ended == Some(End::Output));
    }

    /// What nobody refers to any more is freed, and its future dropped.
    fn sweep(&mut self) {
        if self.freed() && self.ended.is_none() {
            self.end(End::Cancelled);
        }
    }

    fn freed(&self) -> bool {
        !self.queued && self.wakers == 0 && !self.registered && self.handle.is_none()
    }

    fn observe(&self) -> Observed {
        Observed {
            queued: self.queued.into(),
            wakers: self.wakers,
            polls: self.polls,
            future_drops: self.future_drops,
            output_drops: self.output_drops,
            joiner_wakes: self.joiner_wakes,
            finished: self.handle.as_ref().map(|_| self.ended.is_some()),
            freed: self.freed(),
        }
    }

    fn drop_all(&mut self) {
        if self.handle.is_some() {
            self.drop_handle();
        }
        (self.queued, self.wakers, self.registered) = (false, 0, false);
        self.sweep();
    }
}

const SEQUENCE_LEN_MAX: usize = 6;
