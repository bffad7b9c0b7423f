//! `echo`: a TCP server that sends every byte back.
//!
//! The example to read first. [`echo`](fn@echo) is the whole life of a connection, [`accept_loop`] is where connections come
//! from, and `main` says what went wrong in one sentence.

mod args;
mod pause;

use std::io;
use std::process::ExitCode;

use wakeful::Builder;
use wakeful::io::with_scratch;
use wakeful::net::{TcpListener, TcpStream};

use args::ServeArgs;

/// Serves one connection until the peer has sent its last byte and got it back.
///
/// An idle connection owns no buffer: it waits first, and then borrows its thread's. A peer that does not read is not read
/// from, so at most one unsent rest is kept for it.
async fn echo(mut stream: TcpStream) -> io::Result<()> {
    loop {
        stream.readable().await?;
        match with_scratch(|buffer| send_back(&stream, buffer))? {
            Sent::All => {}
            Sent::AllBut(rest) => stream.write_all(&rest).await?,
            Sent::Last => return Ok(()),
        }
    }
}

/// Reads what is there and writes it, as far as the peer takes it now.
fn send_back(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<Sent> {
    let received = match stream.try_read(buffer) {
        Ok(0) => return Ok(Sent::Last),
        Ok(count) => &buffer[..count],
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Sent::All),
        Err(error) => return Err(error),
    };
    match stream.try_write(received) {
        Ok(count) if count == received.len() => Ok(Sent::All),
        Ok(count) => Ok(Sent::AllBut(received[count..].into())),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Ok(Sent::AllBut(received.into()))
        }
        Err(error) => Err(error),
    }
}

/// How much of what was received has been sent back.
enum Sent {
    All,
    AllBut(Box<[u8]>),
    /// All of it, and no more will come.
    Last,
}

/// Gives every connection a task of its own, and never ends.
async fn accept_loop(listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _peer)) => {
                // A peer that resets its connection ends that connection, and that is all there is to say about it.
                wakeful::spawn(async { echo(stream).await.unwrap_or_default() });
            }
            // Out of descriptors or memory: those who are being served go on, and the rest wait in the backlog.
            Err(error) => {
                eprintln!("echo: cannot accept a connection at present: {error}");
                pause::pause(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn serve(args: &ServeArgs) -> io::Result<()> {
    let runtime = match args.workers {
        Some(count) => Builder::new().workers(count),
        None => Builder::new(),
    }
    .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(args.listen_address()?)?;
        let workers = runtime.handle().workers_count();
        println!(
            "listening on {} ({workers} {})",
            listener.local_addr()?,
            if workers == 1 { "worker" } else { "workers" }
        );
        wakeful::spawn(accept_loop(listener))
            .await
            .map_err(io::Error::other)
    })
}

fn main() -> ExitCode {
    match serve(&args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo: {error}");
            ExitCode::FAILURE
        }
    }
}

/// How long to wait when no connection can be accepted for want of descriptors or memory.
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);
