//! Servers of the standard library, which do what no good echo server would do.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use wakeful::net::TcpSocket;

/// Accepts connections on threads that are left behind, and gives each to `serve` with its number.
///
/// # Panics
///
/// If it cannot listen.
pub fn serve(serve: impl Fn(usize, TcpStream) + Send + Sync + Copy + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let stream = stream.expect("a connection");
            thread::spawn(move || serve(number, stream));
        }
    });
    address
}

/// Sends back what comes, after `change` has had it: it is told the position of the first byte, and says whether to go on.
/// Returns the connection when it says no, and when the client has ended.
pub fn echo_with(
    mut stream: TcpStream,
    mut change: impl FnMut(usize, &mut Vec<u8>) -> bool,
) -> TcpStream {
    let mut position = 0;
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        let mut bytes = buffer[..count].to_vec();
        let goes_on = change(position, &mut bytes);
        if stream.write_all(&bytes).is_err() || !goes_on {
            break;
        }
        position += count;
    }
    stream
}

/// Ends the connection well, also if the client goes on sending: without a reset.
pub fn end(mut stream: TcpStream) {
    let _ = stream.shutdown(Shutdown::Write); // the client may be gone
    let _ = std::io::copy(&mut stream, &mut std::io::sink());
}

/// A port where nobody listens for as long as this is kept: nobody else can have it, but who asks for this very number and to
/// share it (`SO_REUSEADDR`).
///
/// # Panics
///
/// If there is none.
pub fn refusing() -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.set_reuse_address(true).expect("it is not bound yet");
    socket.bind(any).expect("a port");
    socket
}

/// Closes it so that the other end gets a reset and not an end.
///
/// # Panics
///
/// If the system does not.
pub fn reset(stream: TcpStream) {
    let stream = wakeful::net::TcpStream::from_std(stream).expect("a connection");
    stream.set_zero_linger(true).expect("it is open");
}
