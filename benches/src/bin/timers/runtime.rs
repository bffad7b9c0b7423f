//! What the cases need of a runtime, and what the runtimes have for it.

use std::io;
use std::net::TcpStream;
use std::pin::Pin;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use wakeful_benches::executors::{Executor, Ours, Tokio};

/// A runtime that has timers.
pub(crate) trait Runtime: Executor {
    type Sleep: Future<Output = ()> + Send;
    type Stream: Send + 'static;

    const STREAMS_HAVE_DEADLINES: bool;

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

impl Runtime for Ours {
    type Sleep = wakeful::time::Sleep;
    type Stream = wakeful::net::TcpStream;

    const STREAMS_HAVE_DEADLINES: bool = true;

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

impl Runtime for Tokio {
    type Sleep = tokio::time::Sleep;
    type Stream = tokio::net::TcpStream;

    const STREAMS_HAVE_DEADLINES: bool = false;

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
