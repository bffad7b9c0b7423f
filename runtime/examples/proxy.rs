//! A TCP proxy: what comes to one address is passed on to another, and back.
//!
//! `cargo run -p wakeful --example proxy -- 127.0.0.1:7010 127.0.0.1:7007`, where the second address is a server's, the echo
//! server's say; then `nc 127.0.0.1 7010`. Each direction ends by itself: a client that has said everything still gets the answer.

use std::io;
use std::net::SocketAddr;

use wakeful::net::{OwnedReadHalf, OwnedWriteHalf, TcpListener, TcpStream};

#[wakeful::main]
async fn main() -> io::Result<()> {
    let mut addresses = std::env::args().skip(1).map(|address| address.parse());
    let (Some(Ok(from)), Some(Ok(to))) = (addresses.next(), addresses.next()) else {
        return Err(io::Error::other(
            "two addresses are needed: where to listen, and where to connect to",
        ));
    };
    let listener = TcpListener::bind(from)?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (client, peer) = listener.accept().await?;
        wakeful::spawn(async move {
            if let Err(error) = pass_on(client, to).await {
                eprintln!("proxy: {peer} was not served: {error}");
            }
        });
    }
}

/// One connection, in both directions.
async fn pass_on(client: TcpStream, to: SocketAddr) -> io::Result<()> {
    let server = TcpStream::connect(to).await?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let there = wakeful::spawn(copy(from_client, to_server));
    copy(from_server, to_client).await?;
    there.await.map_err(io::Error::other)?
}

/// Passes on until the end. Then `to` is dropped, which is the end of its stream.
async fn copy(from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        match from.read(&mut buffer).await? {
            0 => return Ok(()),
            count => to.write_all(&buffer[..count]).await?,
        }
    }
}
