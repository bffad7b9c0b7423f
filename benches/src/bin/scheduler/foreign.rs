//! A thread that is no worker wakes a task, and looks when the task has answered.

use std::future::poll_fn;
use std::hint;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use futures::task::AtomicWaker;
use wakeful_benches::cli::Result;
use wakeful_benches::executors::Executor;
use wakeful_benches::scheduler::Case;
use wakeful_benches::stats::median;
use wakeful_benches::sys;

use crate::cases::compute;

pub(crate) fn figures<E: Executor>(
    workers: usize,
    case: Case,
    duration: Duration,
) -> Result<Vec<f64>> {
    let &[worker_cpu, own_cpu, ..] = sys::allowed_cpus()?.as_slice() else {
        return Err("the thread that wakes needs a CPU of its own, and only one is allowed".into());
    };
    let bell = Arc::new(Bell::default());
    let ringer = thread::spawn({
        let bell = bell.clone();
        move || {
            sys::confine_thread(&[own_cpu]).expect("one of the allowed CPUs");
            ring_for(&bell, case, duration)
        }
    });
    E::run(workers, async {
        if workers == 1 {
            sys::confine_thread(&[worker_cpu]).expect("one of the allowed CPUs");
        }
        if case == Case::WakeRunning {
            for _ in 0..BUSY_TASKS_COUNT {
                let bell = bell.clone();
                E::launch(async move {
                    while !bell.is_last() {
                        compute(BUSY_STEPS);
                        give_way().await;
                    }
                });
            }
        }
        let bell = bell.clone();
        E::spawn(async move { bell.answer_all().await }).await;
    })?;
    Ok(ringer.join().expect("it does not panic"))
}

/// From before the wake to the sight of the answer, and what the call takes: medians.
fn ring_for(bell: &Bell, case: Case, duration: Duration) -> Vec<f64> {
    let begun = Instant::now();
    let (mut answers, mut calls) = (Vec::new(), Vec::new());
    for number in 1.. {
        if case == Case::WakeSleeping {
            thread::sleep(UNTIL_ASLEEP);
        } else {
            // Not in step with the tasks of the worker.
            compute(BUSY_STEPS * (number % 61));
        }
        let before = Instant::now();
        bell.ring(number);
        let called = before.elapsed();
        while bell.answered.load(Ordering::Acquire) != number {
            hint::spin_loop();
        }
        answers.push(before.elapsed().as_nanos() as f64);
        calls.push(called.as_nanos() as f64);
        if begun.elapsed() >= duration {
            break;
        }
    }
    bell.ring(LAST);
    vec![median(answers), median(calls)]
}

/// What the thread rings, and the task answers.
#[derive(Default)]
struct Bell {
    rung: AtomicU64,
    answered: AtomicU64,
    waiting: AtomicWaker,
}

impl Bell {
    fn ring(&self, number: u64) {
        self.rung.store(number, Ordering::Release);
        self.waiting.wake();
    }

    fn is_last(&self) -> bool {
        self.rung.load(Ordering::Relaxed) == LAST
    }

    async fn answer_all(&self) {
        poll_fn(|cx| {
            self.waiting.register(cx.waker());
            let number = self.rung.load(Ordering::Acquire);
            self.answered.store(number, Ordering::Release);
            match number {
                LAST => Poll::Ready(()),
                _ => Poll::Pending,
            }
        })
        .await;
    }
}

/// Has the task run again when others had their turn, and the executor no reason to look elsewhere first.
async fn give_way() {
    let mut given = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut given, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

const LAST: u64 = u64::MAX;

/// Longer than anybody polls before it sleeps.
const UNTIL_ASLEEP: Duration = Duration::from_micros(300);

const BUSY_TASKS_COUNT: usize = 8;
/// About a microsecond.
const BUSY_STEPS: u64 = 1000;
