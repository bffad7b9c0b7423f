//! What the jobs need of a runtime, and what the runtimes have for it.

use std::net::TcpListener;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wakeful_benches::cli::Result;
use wakeful_benches::interference::WORKERS;

/// A runtime with several workers.
pub(crate) trait Runtime: 'static {
    /// Runs `main`.
    fn run<T>(main: impl Future<Output = Result<T>>) -> Result<T>;

    /// Begins `task`, which goes on if nobody waits for it.
    fn spawn<T: Send + 'static>(
        task: impl Future<Output = T> + Send + 'static,
    ) -> impl Future<Output = T>;

    fn sleep(duration: Duration) -> impl Future<Output = ()> + Send;

    fn yield_now() -> impl Future<Output = ()> + Send;

    /// Accepts from a listener that does not block, and echoes in a task for each connection.
    fn serve(listener: TcpListener) -> impl Future<Output = Result<()>>;
}

/// wakeful.
pub(crate) struct Ours;

impl Runtime for Ours {
    fn run<T>(main: impl Future<Output = Result<T>>) -> Result<T> {
        let runtime = wakeful::Builder::new().workers(WORKERS).build()?;
        runtime.block_on(main)
    }

    fn spawn<T: Send + 'static>(
        task: impl Future<Output = T> + Send + 'static,
    ) -> impl Future<Output = T> {
        let task = wakeful::spawn(task);
        async { task.await.expect("no task panics") }
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> + Send {
        wakeful::time::sleep(duration)
    }

    fn yield_now() -> impl Future<Output = ()> + Send {
        wakeful::yield_now()
    }

    async fn serve(listener: TcpListener) -> Result<()> {
        let listener = wakeful::net::TcpListener::from_std(listener)?;
        loop {
            let (mut stream, _) = listener.accept().await?;
            wakeful::spawn(async move {
                let mut buffer = [0; BUFFER_BYTES];
                // An error is a peer that has gone, which concerns nobody else.
                while let Ok(received @ 1..) = stream.read(&mut buffer).await {
                    if stream.write_all(&buffer[..received]).await.is_err() {
                        break;
                    }
                }
            });
        }
    }
}

/// tokio, multi-thread.
pub(crate) struct Tokio;

impl Runtime for Tokio {
    fn run<T>(main: impl Future<Output = Result<T>>) -> Result<T> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(WORKERS).enable_all().build()?;
        runtime.block_on(main)
    }

    fn spawn<T: Send + 'static>(
        task: impl Future<Output = T> + Send + 'static,
    ) -> impl Future<Output = T> {
        let task = tokio::spawn(task);
        async { task.await.expect("no task panics") }
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(duration)
    }

    fn yield_now() -> impl Future<Output = ()> + Send {
        tokio::task::yield_now()
    }

    async fn serve(listener: TcpListener) -> Result<()> {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        loop {
            let (mut stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(async move {
                let mut buffer = [0; BUFFER_BYTES];
                while let Ok(received @ 1..) = stream.read(&mut buffer).await {
                    if stream.write_all(&buffer[..received]).await.is_err() {
                        break;
                    }
                }
            });
        }
    }
}

const BUFFER_BYTES: usize = 4096;
