//! What the cases need of a runtime, and what the runtimes have for it.

use std::io;
use std::net::TcpStream;
use std::pin::Pin;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use wakeful_benches::cli::Result;

/// A runtime that has timers.
pub(crate) trait Runtime: 'static {
    type Sleep: Future<Output = ()> + Send;
    type Stream: Send + 'static;

    const STREAMS_HAVE_DEADLINES: bool;

    /// Runs `main` on a runtime with so many workers, one of which is this thread if there is only one.
    fn run<T>(workers: usize, main: impl Future<Output = T>) -> Result<T>;

    /// Begins `task`, which goes on if nobody waits for it.
    fn spawn<T: Send + 'static>(
        task: impl Future<Output = T> + Send + 'static,
    ) -> impl Future<Output = T>;

    fn sleep(duration: Duration) -> Self::Sleep;

    /// Has the sleep end `duration` from now.
    fn put_off(sleep: Pin<&mut Self::Sleep>, duration: Duration);

    /// `None` if it took longer than `limit`.
    fn timeout<F: Future + Send>(
        limit: Duration,
        future: F,
    ) -> impl Future<Output = Option<F::Output>> + Send;

    fn stream(stream: TcpStream) -> io::Result<Self::Stream>;

    /// Limits the reads that follow to `limit` from now, or not any more; only where streams have deadlines.
    fn limit_reads(stream: &Self::Stream, limit: Option<Duration>);

    fn read(
        stream: &mut Self::Stream,
        buffer: &mut [u8],
    ) -> impl Future<Output = io::Result<usize>> + Send;
}

/// wakeful.
pub(crate) struct Ours;

impl Runtime for Ours {
    type Sleep = wakeful::time::Sleep;
    type Stream = wakeful::net::TcpStream;

    const STREAMS_HAVE_DEADLINES: bool = true;

    fn run<T>(workers: usize, main: impl Future<Output = T>) -> Result<T> {
        let runtime = wakeful::Builder::new().workers(workers).build()?;
        Ok(runtime.block_on(main))
    }

    fn spawn<T: Send + 'static>(
        task: impl Future<Output = T> + Send + 'static,
    ) -> impl Future<Output = T> {
        let task = wakeful::spawn(task);
        async { task.await.expect("no case panics") }
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        wakeful::time::sleep(duration)
    }

    fn put_off(sleep: Pin<&mut Self::Sleep>, duration: Duration) {
        sleep
            .get_mut()
            .reset(wakeful::time::Instant::now() + duration);
    }

    async fn timeout<F: Future + Send>(limit: Duration, future: F) -> Option<F::Output> {
        wakeful::time::timeout(limit, future).await.ok()
    }

    fn stream(stream: TcpStream) -> io::Result<Self::Stream> {
        Self::Stream::from_std(stream)
    }

    fn limit_reads(stream: &Self::Stream, limit: Option<Duration>) {
        stream.set_read_deadline(limit.map(|limit| wakeful::time::Instant::now() + limit));
    }

    async fn read(stream: &mut Self::Stream, buffer: &mut [u8]) -> io::Result<usize> {
        stream.read(buffer).await
    }
}

/// tokio: current-thread with one worker, multi-thread with more.
pub(crate) struct Tokio;

impl Runtime for Tokio {
    type Sleep = tokio::time::Sleep;
    type Stream = tokio::net::TcpStream;

    const STREAMS_HAVE_DEADLINES: bool = false;

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
    ) -> impl Future<Output = T> {
        let task = tokio::spawn(task);
        async { task.await.expect("no case panics") }
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        tokio::time::sleep(duration)
    }

    fn put_off(sleep: Pin<&mut Self::Sleep>, duration: Duration) {
        sleep.reset(tokio::time::Instant::now() + duration);
    }

    async fn timeout<F: Future + Send>(limit: Duration, future: F) -> Option<F::Output> {
        tokio::time::timeout(limit, future).await.ok()
    }

    fn stream(stream: TcpStream) -> io::Result<Self::Stream> {
        stream.set_nonblocking(true)?;
        Self::Stream::from_std(stream)
    }

    fn limit_reads(_: &Self::Stream, _: Option<Duration>) {
        unreachable!("its streams have no deadlines")
    }

    async fn read(stream: &mut Self::Stream, buffer: &mut [u8]) -> io::Result<usize> {
        stream.read(buffer).await
    }
}
