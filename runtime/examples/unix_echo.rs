//! An echo server on a Unix socket. It takes its name over from a server that was killed, and says whom it serves.
//!
//! `cargo run -p wakeful --example unix_echo -- /tmp/echo.socket`, and then `nc -U /tmp/echo.socket`.

use std::io;

use wakeful::net::UnixListener;

#[wakeful::main]
async fn main() -> io::Result<()> {
    let path = std::env::args_os().nth(1);
    let path = path.ok_or_else(|| io::Error::other("the path of the socket is missing"))?;
    let listener = UnixListener::bind_with_mode(&path, 0o600)?; // for this user only
    println!("listening on {}", path.display());
    loop {
        let (mut stream, _) = listener.accept().await?;
        wakeful::spawn(async move {
            if let Ok(peer) = stream.peer_credentials() {
                println!("user {}, process {:?}", peer.uid(), peer.pid());
            }
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                if stream.write_all(&buffer[..count]).await.is_err() {
                    break;
                }
            }
        });
    }
}
