//! The servers that everybody writes on tokio: an accept loop, a task per connection, a buffer in the task; and the proxy,
//! which is tokio's `copy_bidirectional`.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use wakeful_benches::cli::Result;

use crate::BUFFER_BYTES;

pub(crate) fn serve_current_thread(listen: SocketAddr) -> Result<()> {
    serve(current_thread()?, listen, echo::<4096>)
}

pub(crate) fn serve_multi_thread(listen: SocketAddr, workers: usize) -> Result<()> {
    let mut builder = Builder::new_multi_thread();
    let runtime = builder.worker_threads(workers).enable_all().build()?;
    serve(runtime, listen, echo::<4096>)
}

/// The same with a buffer that nobody would give to each of many connections.
pub(crate) fn serve_large(listen: SocketAddr) -> Result<()> {
    serve(current_thread()?, listen, echo::<BUFFER_BYTES>)
}

pub(crate) fn serve_proxy(listen: SocketAddr, to: SocketAddr) -> Result<()> {
    serve(current_thread()?, listen, move |client| relay(client, to))
}

fn current_thread() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

fn serve<F>(runtime: Runtime, listen: SocketAddr, handle: impl Fn(TcpStream) -> F) -> Result<()>
where
    F: Future<Output = std::io::Result<()>> + Send + 'static,
{
    runtime.block_on(async {
        let listener = TcpListener::bind(listen)
            .await
            .map_err(|error| format!("cannot listen on {listen}: {error}"))?;
        super::announce(listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            let handled = handle(stream);
            tokio::spawn(async move {
                // An error is a peer that has gone, which concerns nobody else.
                let _ = handled.await;
            });
        }
    })
}

async fn echo<const BYTES: usize>(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; BYTES];
    loop {
        let received = stream.read(&mut buffer).await?;
        if received == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..received]).await?;
    }
}

async fn relay(mut client: TcpStream, to: SocketAddr) -> std::io::Result<()> {
    let mut server = TcpStream::connect(to).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}
