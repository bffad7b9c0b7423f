//! The cases, for any executor.
//!
//! What is measured runs in a task, not in the main future, which is a stranger to the workers of some. Each case is a batch that is
//! repeated; the figure is the median over the batches.

use std::future::poll_fn;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use futures::channel::oneshot;
use futures::task::AtomicWaker;
use wakeful_benches::cli::Result;
use wakeful_benches::executors::Executor;
use wakeful_benches::scheduler::{Case, Plan};
use wakeful_benches::stats::median;

use crate::{foreign, heap};

/// Makes a measurement. What the figures mean is said at the case.
pub(crate) fn figures<E: Executor>(plan: &Plan) -> Result<Vec<f64>> {
    let Plan { workers, case, .. } = *plan;
    let duration = Duration::from_secs_f64(plan.seconds);
    match case {
        Case::WakeSleeping | Case::WakeRunning => foreign::figures::<E>(workers, case, duration),
        Case::Heap => E::run(workers, async { E::spawn(heap::per_task::<E>()).await }),
        _ => E::run(workers, async move {
            E::spawn(batch_after_batch::<E>(case, WARM_UP)).await;
            vec![E::spawn(batch_after_batch::<E>(case, duration)).await]
        }),
    }
}

/// What each of those that a batch consists of takes, in nanoseconds.
async fn batch_after_batch<E: Executor>(case: Case, duration: Duration) -> f64 {
    let begun = Instant::now();
    let mut times = Vec::new();
    while times.is_empty() || begun.elapsed() < duration {
        let begun = Instant::now();
        let count = match case {
            Case::SpawnMany => spawn_many::<E>().await,
            Case::SpawnAndAwait => spawn_and_await::<E>().await,
            Case::Chain => chain::<E>().await,
            Case::Yield => yields::<E>().await,
            Case::PingPong => ping_pong::<E>().await,
            Case::FanOut => fan_out::<E>().await,
            Case::WakeSleeping | Case::WakeRunning | Case::Heap => unreachable!("made elsewhere"),
        };
        times.push(begun.elapsed().as_nanos() as f64 / count as f64);
    }
    median(times)
}

async fn spawn_many<E: Executor>() -> usize {
    TASKS.begin(10_000);
    for _ in 0..10_000 {
        E::launch(async { TASKS.one_ended() });
    }
    TASKS.have_ended().await;
    10_000
}

async fn spawn_and_await<E: Executor>() -> usize {
    for _ in 0..1000 {
        E::spawn(async {}).await;
    }
    1000
}

async fn chain<E: Executor>() -> usize {
    fn link<E: Executor>(more: usize) {
        E::launch(async move {
            match more {
                0 => TASKS.one_ended(),
                _ => link::<E>(more - 1),
            }
        });
    }
    TASKS.begin(1);
    link::<E>(999);
    TASKS.have_ended().await;
    1000
}

async fn yields<E: Executor>() -> usize {
    TASKS.begin(200);
    for _ in 0..200 {
        E::launch(async {
            for _ in 0..1000 {
                E::yield_now().await;
            }
            TASKS.one_ended();
        });
    }
    TASKS.have_ended().await;
    200 * 1000
}

async fn ping_pong<E: Executor>() -> usize {
    TASKS.begin(1000);
    for _ in 0..1000 {
        E::launch(async {
            let (ping, pinged) = oneshot::channel();
            let (pong, ponged) = oneshot::channel();
            E::launch(async {
                pinged.await.expect("a ping");
                pong.send(()).expect("somebody waits for it");
            });
            ping.send(()).expect("somebody waits for it");
            ponged.await.expect("a pong");
            TASKS.one_ended();
        });
    }
    TASKS.have_ended().await;
    1000
}

async fn fan_out<E: Executor>() -> usize {
    TASKS.begin(64);
    for _ in 0..64 {
        E::launch(async {
            compute(10_000);
            TASKS.one_ended();
        });
    }
    TASKS.have_ended().await;
    64
}

/// Takes a nanosecond or so for each step, which depends on the one before.
pub(crate) fn compute(steps: u64) {
    let mixed = (0..steps).fold(steps, |number, step| {
        black_box(number ^ step).rotate_left(7)
    });
    black_box(mixed);
}

/// How many tasks have not ended, and who waits for all of them. Static, so that to know it costs a task no memory.
struct Countdown {
    left: AtomicUsize,
    waiting: AtomicWaker,
}

static TASKS: Countdown = Countdown {
    left: AtomicUsize::new(0),
    waiting: AtomicWaker::new(),
};

impl Countdown {
    fn begin(&self, count: usize) {
        self.left.store(count, Ordering::Relaxed);
    }

    fn one_ended(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.waiting.wake();
        }
    }

    async fn have_ended(&self) {
        poll_fn(|cx| {
            self.waiting.register(cx.waker());
            match self.left.load(Ordering::Acquire) {
                0 => Poll::Ready(()),
                _ => Poll::Pending,
            }
        })
        .await;
    }
}

const WARM_UP: Duration = Duration::from_millis(30);
