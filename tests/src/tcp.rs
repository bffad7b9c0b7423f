//! Connections between two ends on the runtime.

use wakeful::net::{TcpListener, TcpStream};

/// The two ends of a connection: who connected, and who accepted.
///
/// # Panics
///
/// If it cannot be had.
pub async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let client = TcpStream::connect(address).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    (client, server)
}
