//! `echo`: a TCP server that sends every byte back.
//!
//! The example to read first. [`echo`](fn@echo) is the whole life of a connection, [`accept_loop`] is where connections come
//! from, [`run`] is what happens from the first signal on, and `main` says what went wrong in one sentence.
//!
//! On SIGINT or SIGTERM nobody new is accepted, and whoever is there gets back what the system has acknowledged to have
//! received from him, and then the end of the stream. That takes [`GRACE`] at most; a second signal ends it at once.

mod args;
mod connections;
mod signals;

use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::pin::{Pin, pin};
use std::process::ExitCode;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use wakeful::Builder;
use wakeful::io::with_scratch;
use wakeful::net::{Copying, TcpListener, TcpStream};
use wakeful::time::sleep;

use args::ServeArgs;
use connections::{Connection, Connections};
use signals::Signals;

/// Serves one connection until the peer has sent its last byte and got it back, or the server ends.
///
/// An idle connection owns no buffer: it waits first, and then borrows its thread's. A peer that does not read is not read
/// from, so at most one unsent rest is kept for it.
async fn echo(mut stream: TcpStream, mut connection: Connection) -> io::Result<()> {
    let rest = loop {
        let Some(readable) = connection.unless_ending(stream.readable()).await else {
            return Box::pin(take_leave(&mut stream)).await; // what comes but once takes no room until then
        };
        readable?;
        match with_scratch(|buffer| send_back(&stream, buffer))? {
            Sent::All => {}
            Sent::Last => return Ok(()),
            Sent::Much(rest) => break rest,
        }
    };
    Box::pin(echo_much(stream, connection, rest)).await
}

/// Goes on for a peer that sends more than a buffer at a time, beginning with what it has not taken back. It pays to leave
/// those bytes with the kernel: measured with one connection that never rests, a loop as above has two thirds of the
/// throughput.
async fn echo_much(
    mut stream: TcpStream,
    mut connection: Connection,
    rest: Box<[u8]>,
) -> io::Result<()> {
    stream.write_all(&rest).await?;
    drop(rest);
    let mut copying = Copying::new();
    let end = connection.unless_ending(copying.run(&stream, &stream));
    if let Some(end) = end.await {
        end?;
        return Ok(());
    }
    copying.write_rest(&stream).await?;
    take_leave(&mut stream).await
}

/// Sends back what the peer has sent until now, then the end of the stream, and waits for the peer's.
///
/// What was acknowledged lies in the receive buffer, so once that was empty, or has been read in its full size, all of it
/// is on its way back: a peer that never stops sending does not keep the server. To close the connection then would be
/// too early: for a byte that comes afterwards the system sends a reset, and throws away what the peer has not taken yet.
async fn take_leave(stream: &mut TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; 4096];
    let mut owed = 2 * stream.recv_buffer_size()?; // the system lets it overflow a little
    while owed > 0 {
        let count = match stream.try_read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        };
        stream.write_all(&buffer[..count]).await?;
        owed = owed.saturating_sub(count);
    }
    stream.shutdown(Shutdown::Write)?;
    while stream.read(&mut buffer).await? > 0 {} // too late to be sent back
    Ok(())
}

/// Reads what is there and writes it, as far as the peer takes it now.
fn send_back(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<Sent> {
    let room = buffer.len();
    let received = match stream.try_read(buffer) {
        Ok(0) => return Ok(Sent::Last),
        Ok(count) => &buffer[..count],
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Sent::All),
        Err(error) => return Err(error),
    };
    match stream.try_write(received) {
        Ok(count) if count == received.len() && count < room => Ok(Sent::All),
        Ok(count) => Ok(Sent::Much(received[count..].into())),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Sent::Much(received.into())),
        Err(error) => Err(error),
    }
}

/// How much of what was received has been sent back.
enum Sent {
    All,
    /// All but this, which may be nothing, and there is probably more where it came from.
    Much(Box<[u8]>),
    /// All of it, and no more will come.
    Last,
}

/// Gives every connection a task of its own, until the server ends.
///
/// Then those are still accepted whom the system has told that they are connected: closing the listener would reset them,
/// with what they have sent.
async fn accept_loop(listener: TcpListener, mut this: Connection, connections: Arc<Connections>) {
    loop {
        let accepted = match this.unless_ending(listener.accept()).await {
            Some(accepted) => accepted,
            None => listener.try_accept(),
        };
        match accepted {
            Ok((stream, _peer)) => {
                let connection = connections.enter();
                // A peer that resets its connection ends that connection, and that is all there is to say about it.
                wakeful::spawn(echo(stream, connection));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return, // the server ends, and nobody is left
            // Out of descriptors or memory: those who are being served go on, and the rest wait in the backlog.
            Err(error) => {
                eprintln!("echo: cannot accept a connection at present: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves until a signal says to end, and ends.
async fn run(listener: TcpListener, mut signals: Signals) -> io::Result<ExitCode> {
    let connections = Arc::new(Connections::default());
    // It counts as one of them, from before it runs: while it accepts, not all are gone.
    let (this, all) = (connections.enter(), connections.clone());
    let mut accepting = wakeful::spawn(accept_loop(listener, this, all));
    poll_fn(|cx| match Pin::new(&mut accepting).poll(cx) {
        Poll::Ready(ended) => Poll::Ready(ended.map_err(io::Error::other)), // it has panicked
        Poll::Pending => signals.poll_next(cx).map_ok(drop),
    })
    .await?;

    connections.end();
    let mut all_gone = pin!(connections.all_gone());
    let mut grace_is_over = pin!(sleep(GRACE));
    poll_fn(|cx| {
        if all_gone.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(ExitCode::SUCCESS));
        }
        if let Poll::Ready(signal) = signals.poll_next(cx) {
            // By convention: ended by this signal.
            return Poll::Ready(signal.map(|kind| ExitCode::from(128 + kind.as_raw() as u8)));
        }
        if grace_is_over.as_mut().poll(cx).is_ready() {
            let count = connections.count();
            eprintln!("echo: connections cut off {GRACE:?} after the signal: {count}");
            return Poll::Ready(Ok(ExitCode::SUCCESS));
        }
        Poll::Pending
    })
    .await
}

fn serve(args: &ServeArgs) -> io::Result<ExitCode> {
    let mut builder = Builder::new().busy_poll(args.busy_poll);
    if let Some(count) = args.workers {
        builder = builder.workers(count);
    }
    let runtime = builder.build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(args.listen_address()?)?;
        let signals = Signals::listen()?;
        let workers = runtime.handle().workers_count();
        println!(
            "listening on {} ({workers} {})",
            listener.local_addr()?,
            if workers == 1 { "worker" } else { "workers" }
        );
        run(listener, signals).await
    })
}

fn main() -> ExitCode {
    match serve(&args::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("echo: {error}");
            ExitCode::FAILURE
        }
    }
}

/// How long to wait when no connection can be accepted for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long after a signal connections may go on.
const GRACE: Duration = Duration::from_secs(5);
