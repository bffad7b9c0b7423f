//! What runs tasks, ours and the peers', behind one trait, so that a measurement is written once and does the same on all.

use std::thread;

use crate::cli::Result;

/// Runs tasks.
pub trait Executor: 'static {
    /// Runs `main` with so many workers, one of which is this thread if there is only one.
    fn run<T>(workers: usize, main: impl Future<Output = T>) -> Result<T>;

    /// Begins `task`, whose output can be waited for.
    fn spawn<T: Send + 'static>(
        task: impl Future<Output = T> + Send + 'static,
    ) -> impl Future<Output = T> + Send;

    /// Begins `task`, for which nobody waits.
    fn launch(task: impl Future<Output = ()> + Send + 'static);

    /// Gives others a turn, in the way that the executor has for it.
    fn yield_now() -> impl Future<Output = ()> + Send;
}

/// wakeful.
#[derive(Debug)]
pub struct Ours;

impl Executor for Ours {
    fn run<T>(workers: usize, main: impl Future<Output = T>) -> Result<T> {
        let runtime = wakeful::Builder::new().workers(workers).build()?;
        Ok(runtime.block_on(main))
    }

    fn spawn<T: Send + 'static>(
        task: impl Future<Output = T> + Send + 'static,
    ) -> impl Future<Output = T> + Send {
        let task = wakeful::spawn(task);
        async { task.await.expect("no task panics") }
    }

    fn launch(task: impl Future<Output = ()> + Send + 'static) {
        drop(wakeful::spawn(task));
    }

    fn yield_now() -> impl Future<Output = ()> + Send {
        wakeful::yield_now()
    }
}

/// tokio: current-thread with one worker, multi-thread with more.
#[derive(Debug)]
pub struct Tokio;

impl Executor for Tokio {
    fn run<T>(workers: usize, main: impl Future<Output = T>) -> Result<T> {
        use tokio::runtime::Builder;
        let mut builder = match workers {
            1 => Builder::new_current_thread(),
            _ => Builder::new_multi_thread(),
        };
        let runtime = builder.worker_threads(workers).enable_all().build()?;
        Ok(runtime.block_on(main))
    }

    fn spawn<T: Send + 'static>(
        task: impl Future<Output = T> + Send + 'static,
    ) -> impl Future<Output = T> + Send {
        let task = tokio::spawn(task);
        async { task.await.expect("no task panics") }
    }

    fn launch(task: impl Future<Output = ()> + Send + 'static) {
        drop(tokio::spawn(task));
    }

    fn yield_now() -> impl Future<Output = ()> + Send {
        tokio::task::yield_now()
    }
}

/// The executor of smol, `async-executor`, driven as smol drives it: one for the process, and threads that run it. It has no
/// reactor to look after.
#[derive(Debug)]
pub struct Smol;

static SMOL: async_executor::Executor<'static> = async_executor::Executor::new();

impl Executor for Smol {
    fn run<T>(workers: usize, main: impl Future<Output = T>) -> Result<T> {
        use futures_lite::future;
        for _ in 1..workers {
            // They end with the process.
            thread::spawn(|| future::block_on(SMOL.run(future::pending::<()>())));
        }
        Ok(future::block_on(SMOL.run(main)))
    }

    fn spawn<T: Send + 'static>(
        task: impl Future<Output = T> + Send + 'static,
    ) -> impl Future<Output = T> + Send {
        SMOL.spawn(task)
    }

    fn launch(task: impl Future<Output = ()> + Send + 'static) {
        SMOL.spawn(task).detach();
    }

    fn yield_now() -> impl Future<Output = ()> + Send {
        futures_lite::future::yield_now()
    }
}
