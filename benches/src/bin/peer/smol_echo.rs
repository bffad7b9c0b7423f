//! The usual echo server on smol: one executor, and as many threads that run it as there are workers.
//!
//! Each of them waits in `smol::block_on`, which polls the process's one epoll instance while the thread has nothing to run.

use std::io;
use std::net::SocketAddr;
use std::thread;

use smol::Executor;
use smol::future;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::{TcpListener, TcpStream};
use wakeful_benches::cli::Result;

use crate::BUFFER_BYTES;

pub(crate) fn serve(listen: SocketAddr, workers: usize) -> Result<()> {
    // For ever, as its threads.
    let executor: &'static Executor<'static> = Box::leak(Box::new(Executor::new()));
    for _ in 1..workers {
        thread::spawn(|| smol::block_on(executor.run(future::pending::<()>())));
    }
    smol::block_on(executor.run(accept(executor, listen)))
}

async fn accept(executor: &'static Executor<'static>, listen: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(listen)
        .await
        .map_err(|error| format!("cannot listen on {listen}: {error}"))?;
    super::announce(listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        executor.spawn(echo(stream)).detach();
    }
}

/// An error is a peer that has gone, which concerns nobody else.
async fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let received = stream.read(&mut buffer).await?;
        if received == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..received]).await?;
    }
}
