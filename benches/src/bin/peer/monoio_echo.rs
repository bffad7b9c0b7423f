//! The usual echo server on monoio, on its epoll driver: a runtime per thread, each with a listener of its own on the same port,
//! among which the kernel distributes the connections.

use std::io;
use std::net::SocketAddr;
use std::thread;

use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};
use monoio::{LegacyDriver, RuntimeBuilder};
use wakeful_benches::cli::Result;

use crate::BUFFER_BYTES;

pub(crate) fn serve(listen: SocketAddr, workers: usize) -> Result<()> {
    let mut runtime = RuntimeBuilder::<LegacyDriver>::new().build()?;
    runtime.block_on(async {
        let listener = bind(listen)?;
        let address = listener.local_addr()?;
        for _ in 1..workers {
            thread::spawn(move || {
                let mut runtime = RuntimeBuilder::<LegacyDriver>::new().build()?;
                runtime.block_on(async { accept(TcpListener::bind(address)?).await })
            });
        }
        super::announce(address);
        Ok(accept(listener).await?)
    })
}

fn bind(listen: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(listen).map_err(|error| format!("cannot listen on {listen}: {error}").into())
}

async fn accept(listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        monoio::spawn(echo(stream));
    }
}

/// An error is a peer that has gone, which concerns nobody else.
async fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(BUFFER_BYTES);
    loop {
        let (received, filled) = stream.read(buffer).await;
        if received? == 0 {
            return Ok(());
        }
        let (sent, emptied) = stream.write_all(filled).await;
        sent?;
        buffer = emptied;
        buffer.clear();
    }
}
