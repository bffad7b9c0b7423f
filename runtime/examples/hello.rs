//! An echo server in one function: the smallest program that does something on wakeful.
//!
//! `cargo run -p wakeful --example hello`, and then `nc 127.0.0.1 7007`. Another address can be given as the argument. How
//! to do without a buffer for each connection is shown by the server in `echo/`.

use std::io;

use wakeful::net::TcpListener;

#[wakeful::main]
async fn main() -> io::Result<()> {
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:7007");
    let listener = TcpListener::bind(address)?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (mut stream, _peer) = listener.accept().await?;
        wakeful::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                if stream.write_all(&buffer[..count]).await.is_err() {
                    break;
                }
            }
        });
    }
}
