//! What is counted of each runtime.
//!
//! The echo servers are those that one writes: with a buffer in the task, as the first page of either's documentation has it,
//! and by first waiting and then reading into a buffer that is there anyway.

use std::io::{self, ErrorKind};
use std::net::TcpListener as StdListener;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wakeful::io::with_scratch;
use wakeful_benches::cli::Result;

/// A runtime with one worker, the calling thread.
pub(crate) trait Runtime {
    fn run<T>(main: impl Future<Output = T>) -> Result<T>;

    fn spawn(task: impl Future<Output = ()> + Send + 'static);

    fn sleep(duration: Duration) -> impl Future<Output = ()> + Send;

    /// Accepts until the process ends.
    fn echo_with_own_buffer(listener: StdListener) -> Result<()>;

    /// The same.
    fn echo_without_buffer(listener: StdListener) -> Result<()>;
}

/// wakeful.
pub(crate) struct Ours;

impl Ours {
    fn serve<F>(listener: StdListener, echo: fn(wakeful::net::TcpStream) -> F) -> Result<()>
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        Self::run(async {
            let listener = wakeful::net::TcpListener::from_std(listener)?;
            loop {
                wakeful::spawn(echo(listener.accept().await?.0));
            }
        })?
    }
}

impl Runtime for Ours {
    fn run<T>(main: impl Future<Output = T>) -> Result<T> {
        Ok(wakeful::block_on(main))
    }

    fn spawn(task: impl Future<Output = ()> + Send + 'static) {
        wakeful::spawn(task);
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> + Send {
        wakeful::time::sleep(duration)
    }

    fn echo_with_own_buffer(listener: StdListener) -> Result<()> {
        Self::serve(listener, |mut stream| async move {
            let mut buffer = [0; BUFFER_BYTES];
            loop {
                match stream.read(&mut buffer).await? {
                    0 => return Ok(()),
                    received => stream.write_all(&buffer[..received]).await?,
                }
            }
        })
    }

    fn echo_without_buffer(listener: StdListener) -> Result<()> {
        Self::serve(listener, |mut stream| async move {
            loop {
                stream.readable().await?;
                let step = with_scratch(|buffer| {
                    let received = stream.try_read(buffer)?;
                    let sent = stream.try_write(&buffer[..received])?;
                    Ok((received, buffer[sent..received].to_vec()))
                });
                match step {
                    Ok((0, _)) => return Ok(()),
                    Ok((_, rest)) => stream.write_all(&rest).await?,
                    Err(error) => if_blocked(error)?,
                }
            }
        })
    }
}

/// tokio, current-thread.
pub(crate) struct Tokio;

impl Tokio {
    fn serve<F>(listener: StdListener, echo: fn(tokio::net::TcpStream) -> F) -> Result<()>
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        listener.set_nonblocking(true)?;
        Self::run(async {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            loop {
                tokio::spawn(echo(listener.accept().await?.0));
            }
        })?
    }
}

impl Runtime for Tokio {
    fn run<T>(main: impl Future<Output = T>) -> Result<T> {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        Ok(builder.enable_all().build()?.block_on(main))
    }

    fn spawn(task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(task);
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(duration)
    }

    fn echo_with_own_buffer(listener: StdListener) -> Result<()> {
        Self::serve(listener, |mut stream| async move {
            let mut buffer = [0; BUFFER_BYTES];
            loop {
                match stream.read(&mut buffer).await? {
                    0 => return Ok(()),
                    received => stream.write_all(&buffer[..received]).await?,
                }
            }
        })
    }

    fn echo_without_buffer(listener: StdListener) -> Result<()> {
        Self::serve(listener, |mut stream| async move {
            loop {
                stream.readable().await?;
                let step = (|| {
                    let mut buffer = [0; BUFFER_BYTES]; // on the stack of the thread
                    let received = stream.try_read(&mut buffer)?;
                    let sent = stream.try_write(&buffer[..received])?;
                    Ok((received, buffer[sent..received].to_vec()))
                })();
                match step {
                    Ok((0, _)) => return Ok(()),
                    Ok((_, rest)) => stream.write_all(&rest).await?,
                    Err(error) => if_blocked(error)?,
                }
            }
        })
    }
}

/// Nothing to read after all is no error. (Nor would be no room for the answer, but the client waits for each.)
fn if_blocked(error: io::Error) -> io::Result<()> {
    match error.kind() {
        ErrorKind::WouldBlock => Ok(()),
        _ => Err(error),
    }
}

const BUFFER_BYTES: usize = 4096;
