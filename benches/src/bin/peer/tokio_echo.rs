//! The echo server that everybody writes on tokio: an accept loop, a task per connection, a buffer in the task.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use wakeful_benches::cli::Result;

pub(crate) fn serve_current_thread(listen: SocketAddr) -> Result<()> {
    serve(Builder::new_current_thread().enable_all().build()?, listen)
}

pub(crate) fn serve_multi_thread(listen: SocketAddr, workers: usize) -> Result<()> {
    let mut builder = Builder::new_multi_thread();
    let runtime = builder.worker_threads(workers).enable_all().build()?;
    serve(runtime, listen)
}

fn serve(runtime: Runtime, listen: SocketAddr) -> Result<()> {
    runtime.block_on(async {
        let listener = TcpListener::bind(listen)
            .await
            .map_err(|error| format!("cannot listen on {listen}: {error}"))?;
        super::announce(listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(async move {
                // An error is a peer that has gone, which concerns nobody else.
                let _ = echo(stream).await;
            });
        }
    })
}

async fn echo(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; 4096];
    loop {
        let received = stream.read(&mut buffer).await?;
        if received == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..received]).await?;
    }
}
