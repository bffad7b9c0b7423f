//! An echo server for UDP that takes and answers many datagrams per system call.
//!
//! `cargo run -p wakeful --example udp_echo`, and then `nc -u 127.0.0.1 7007`. Another address can be given as the argument.
//! What is longer than a packet of an Ethernet is answered cut, and said to be.

use std::io;

use wakeful::net::{RecvBatch, UdpSocket};

#[wakeful::main(workers = 1)]
async fn main() -> io::Result<()> {
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:7007");
    let socket = UdpSocket::bind(address)?;
    println!("listening on {}", socket.local_addr()?);
    let mut batch = RecvBatch::new(64, 1500);
    loop {
        if let Err(error) = socket.recv_many(&mut batch).await {
            eprintln!("receiving: {error}"); // it concerns one datagram
            continue;
        }
        for datagram in batch.iter().filter(|datagram| datagram.is_truncated()) {
            eprintln!(
                "{}: {} bytes are too long",
                datagram.from(),
                datagram.full_len()
            );
        }
        let mut answered = 0;
        while answered < batch.len() {
            let answers = batch
                .iter()
                .map(|datagram| (datagram.bytes(), datagram.from()));
            answered += match socket.send_many(answers.skip(answered)).await {
                Ok(count) => count,
                Err(error) => {
                    eprintln!("answering: {error}");
                    1 // it is that of the first: the others still get theirs
                }
            };
        }
    }
}
