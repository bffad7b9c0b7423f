//! A TCP proxy: what comes to one address is passed on to another, and back.
//!
//! `cargo run -p wakeful --example proxy -- 127.0.0.1:7010 127.0.0.1:7007`, where the second address is a server's, the echo
//! server's say; then `nc 127.0.0.1 7010`. Each direction ends by itself: a client that has said everything still gets the answer.
//! A connection that is idle costs no buffer, and one on which much flows costs no copy.

use std::io;
use std::net::SocketAddr;

use wakeful::net::{TcpListener, TcpStream, copy_bidirectional};

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
    copy_bidirectional(client, server).await?;
    Ok(())
}
