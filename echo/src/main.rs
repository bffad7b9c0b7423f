//! `echo`: a server that sends every byte back, its client ([`call`]) and its load generator ([`load`]).
//!
//! The example to read first is the server. [`echo`](fn@echo) is the whole life of a connection, [`server`] says where
//! connections come from and what they may cost, [`run`] is what happens from the first signal on, and `main` says what went
//! wrong in one sentence.
//!
//! On SIGINT or SIGTERM nobody new is accepted, and whoever is there gets back what the system has acknowledged to have
//! received from him, and then the end of the stream. That takes as long as `--grace` says at most; a second signal ends it
//! at once.

mod args;
mod call;
mod load;
mod peer;
mod signals;
mod stream;
mod udp;
mod units;

use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::pin::pin;
use std::process::ExitCode;
use std::task::Poll;

use wakeful::io::with_scratch;
use wakeful::net::{Connection, Copying, Server, TcpListener, UnixListener};
use wakeful::{Builder, ShutdownToken};

use args::{Command, ServeArgs};
use signals::Signals;
use stream::Stream;

/// Serves one connection until the peer has sent its last byte and got it back, or the server ends.
///
/// An idle connection owns no buffer: it waits first, and then borrows its thread's. A peer that does not read is not read
/// from, so at most one unsent rest is kept for it.
#[expect(clippy::manual_async_fn, reason = "it would keep both arguments twice")]
fn echo<S: Stream>(
    mut stream: S,
    mut connection: Connection,
) -> impl Future<Output = io::Result<()>> + Send {
    async move {
        let rest = loop {
            let Some(readable) = connection.unless_shutdown(stream.readable()).await else {
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
}

/// Goes on for a peer that sends more than a buffer at a time, beginning with what it has not taken back. It pays to leave
/// those bytes with the kernel: measured with one connection that never rests, a loop as above has two thirds of the
/// throughput.
async fn echo_much(
    mut stream: impl Stream,
    mut connection: Connection,
    rest: Box<[u8]>,
) -> io::Result<()> {
    stream.write_all(&rest).await?;
    drop(rest);
    let mut copying = Copying::new();
    let end = connection.unless_shutdown(stream.copy_back(&mut copying));
    if let Some(end) = end.await {
        end?;
        return Ok(());
    }
    stream.write_rest(&mut copying).await?;
    take_leave(&mut stream).await
}

/// Sends back what the peer has sent until now, then the end of the stream, and waits for the peer's.
///
/// What was acknowledged lies in the receive buffer, so once that was empty, or has been read in its full size, all of it
/// is on its way back: a peer that never stops sending does not keep the server. To close the connection then would be
/// too early: for a byte that comes afterwards the system sends a reset, and throws away what the peer has not taken yet.
async fn take_leave(stream: &mut impl Stream) -> io::Result<()> {
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
fn send_back(stream: &impl Stream, buffer: &mut [u8]) -> io::Result<Sent> {
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

/// A server that listens where it was told to, and says so.
fn server(args: &ServeArgs, workers: usize) -> io::Result<Server> {
    let mut server = Server::new()
        .grace(args.grace)
        .on_accept_error(|error| eprintln!("echo: cannot accept a connection at present: {error}"));
    if let Some(count) = args.max_connections {
        server = server.max_connections(count);
    }
    if let Some(count) = args.max_per_peer {
        server = server.max_connections_per_peer(count);
    }
    if let Some(limit) = args.idle_timeout {
        server = server.idle_timeout(limit);
    }
    let noun = if workers == 1 { "worker" } else { "workers" };
    for address in args.listen_addresses()? {
        let listener = TcpListener::bind(address)?;
        println!("listening on {} ({workers} {noun})", listener.local_addr()?);
        server = server.listen(listener, echo);
    }
    for path in &args.unix {
        let listener = UnixListener::bind(path)?;
        println!("listening on {} ({workers} {noun})", path.display());
        server = server.listen(listener, echo);
    }
    Ok(server)
}

/// Serves until a signal says to end, and ends.
async fn run(server: Server, mut signals: Signals) -> io::Result<ExitCode> {
    let (token, stats) = (ShutdownToken::new(), server.stats());
    let mut serving = pin!(server.shutdown_token(&token).run());
    let ended = poll_fn(|cx| {
        while let Poll::Ready(signal) = signals.poll_next(cx) {
            let kind = signal?;
            if token.is_shutting_down() {
                // By convention: ended by this signal.
                return Poll::Ready(Ok(ExitCode::from(128 + kind.as_raw() as u8)));
            }
            token.shutdown();
        }
        serving.as_mut().poll(cx).map_ok(|_| ExitCode::SUCCESS)
    })
    .await;
    eprintln!("echo: {}", stats.report());
    ended
}

fn serve(args: &ServeArgs) -> io::Result<ExitCode> {
    let mut builder = Builder::new().busy_poll(args.busy_poll);
    if let Some(count) = args.workers {
        builder = builder.workers(count);
    }
    let runtime = builder.build()?;
    runtime.block_on(async {
        let signals = Signals::listen()?; // before anybody is told that there is a server
        for service in udp::bind(&args.udp_addresses()?)? {
            println!("echoing datagrams on {}", service.local_addr()?);
            wakeful::spawn(service.run());
        }
        let server = server(args, runtime.handle().workers_count())?;
        run(server, signals).await
    })
}

fn main() -> ExitCode {
    let ended = match args::parse() {
        Command::Serve(args) => serve(&args),
        Command::Call(args) => call::call(&args),
        Command::Load(args) => load::load(args),
    };
    match ended {
        Ok(code) => code,
        Err(error) => {
            eprintln!("echo: {error}");
            ExitCode::FAILURE
        }
    }
}
