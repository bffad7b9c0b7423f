//! `echo`: a server that sends every byte back, its client ([`call`]) and its load generator ([`load`]).
//!
//! The example to read first is the server. [`echo`](fn@echo) is the whole life of a connection, [`server`] says where
//! connections come from and what they may cost, [`run`] is what happens from the first signal on, and `main` says what went
//! wrong in one sentence.
//!
//! On SIGINT or SIGTERM nobody new is accepted, and whoever is there gets back what the system has acknowledged to have
//! received from him, and then the end of the stream. That takes as long as `--grace` says at most; a second signal ends it
//! at once. SIGUSR1 has it print everything that its runtime knows of itself.

mod args;
mod call;
mod frames;
mod load;
mod logging;
mod peer;
mod signals;
mod stats;
mod stream;
mod terminal;
mod udp;
mod units;

use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::task::Poll;

use log::{Level, debug, info, log_enabled, warn};
use wakeful::io::with_scratch;
use wakeful::net::{Connection, Copying, Listener, Server, TcpListener, UnixListener};
use wakeful::signal::{SignalKind, signal};
use wakeful::time::timeout;
use wakeful::{Builder, JoinHandle, ShutdownToken};

use args::{Command, ServeArgs};
use frames::Frames;
use logging::{Console, Limited};
use signals::Signals;
use stats::{Echoed, Served};
use stream::{PeerName, Stream};

/// Serves one connection until the peer has sent its last byte and got it back, or the server ends.
///
/// An idle connection owns no buffer: it waits first, and then borrows its thread's. A peer that does not read is not read
/// from, so at most one unsent rest is kept for it.
#[expect(clippy::manual_async_fn, reason = "it would keep both arguments twice")]
fn echo<S: Stream>(
    stream: S,
    mut connection: Connection,
) -> impl Future<Output = io::Result<()>> + Send {
    async move {
        let rest = loop {
            let Some(readable) = connection.unless_shutdown(stream.readable()).await else {
                return Box::pin(take_leave(stream, connection)).await; // what comes but once takes no room until then
            };
            readable?;
            match with_scratch(|buffer| send_back(&stream, &mut connection, buffer))? {
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
    connection.count_bytes(0, rest.len());
    drop(rest);
    let mut copying = Copying::new();
    let copied = connection.unless_shutdown(stream.copy_back(&mut copying));
    let (copied, is_over) = match copied.await {
        Some(copied) => (copied, true),
        None => (stream.write_rest(&mut copying).await, false),
    };
    let count = copying.copied() as usize;
    connection.count_bytes(count, count);
    copied?;
    match is_over {
        true => Ok(()),
        false => take_leave(stream, connection).await,
    }
}

/// Sends back what the peer has sent until now, then the end of the stream, and waits for the peer's.
///
/// What was acknowledged lies in the receive buffer, so once that was empty, or has been read in its full size, all of it
/// is on its way back: a peer that never stops sending does not keep the server. To close the connection then would be
/// too early: for a byte that comes afterwards the system sends a reset, and throws away what the peer has not taken yet.
async fn take_leave(mut stream: impl Stream, mut connection: Connection) -> io::Result<()> {
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
        connection.count_bytes(count, count);
        owed = owed.saturating_sub(count);
    }
    stream.shutdown(Shutdown::Write)?;
    while let count @ 1.. = stream.read(&mut buffer).await? {
        connection.count_bytes(count, 0); // too late to be sent back
    }
    Ok(())
}

/// Reads what is there and writes it, as far as the peer takes it now.
#[inline(always)] // it is called at one place, and a third of what it does would be for the call
fn send_back(
    stream: &impl Stream,
    connection: &mut Connection,
    buffer: &mut [u8],
) -> io::Result<Sent> {
    let room = buffer.len();
    let received = match stream.try_read(buffer) {
        Ok(0) => return Ok(Sent::Last),
        Ok(count) => &buffer[..count],
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Sent::All),
        Err(error) => return Err(error),
    };
    let sent = match stream.try_write(received) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
        written => written?,
    };
    connection.count_bytes(received.len(), sent);
    match sent == received.len() && sent < room {
        true => Ok(Sent::All),
        false => Ok(Sent::Much(received[sent..].into())),
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
fn server(args: &ServeArgs, workers: usize, echoed: &Arc<Echoed>) -> io::Result<Server> {
    let refusals = Limited::default();
    let mut server = Server::new()
        .grace(args.grace)
        .on_accept_error(move |error| {
            refusals.warn(format_args!(
                "cannot accept a connection at present: {error}"
            ));
        });
    if let Some(count) = args.max_connections {
        server = server.max_connections(count);
    }
    if let Some(count) = args.max_per_peer {
        server = server.max_connections_per_peer(count);
    }
    if let Some(limit) = args.idle_timeout {
        server = server.idle_timeout(limit);
    }
    let frames = args.frames.then(|| Frames::new(args, echoed));
    let noun = if workers == 1 { "worker" } else { "workers" };
    for address in args.listen_addresses()? {
        let listener = TcpListener::bind(address)?;
        println!("listening on {} ({workers} {noun})", listener.local_addr()?);
        server = listen(server, listener, frames.clone());
    }
    for path in &args.unix {
        let listener = UnixListener::bind(path)?;
        println!("listening on {} ({workers} {noun})", path.display());
        server = listen(server, listener, frames.clone());
    }
    Ok(server)
}

/// Has the connections of `listener` echoed, in one of the two ways.
fn listen<L>(server: Server, listener: L, frames: Option<Arc<Frames>>) -> Server
where
    L: Listener<Stream: Stream>,
{
    match frames {
        Some(frames) => server.listen(listener, move |stream: L::Stream, connection| {
            let peer = PeerName::of(&connection);
            told(peer, frames.clone().echo(stream, connection))
        }),
        None if log_enabled!(Level::Debug) => {
            server.listen(listener, |stream: L::Stream, connection| {
                told(PeerName::of(&connection), echo(stream, connection))
            })
        }
        None => server.listen(listener, echo),
    }
}

/// Tells how a connection has gone.
async fn told(peer: PeerName, echo: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    debug!("{peer} is there");
    let ended = echo.await;
    match &ended {
        Ok(()) => debug!("{peer} is done"),
        Err(error) => debug!("{peer} has failed: {error}"),
    }
    ended
}

/// Echoes datagrams where it was told to, and says so.
fn spawn_udp(
    args: &ServeArgs,
    token: &ShutdownToken,
    echoed: &Arc<Echoed>,
) -> io::Result<Vec<JoinHandle<()>>> {
    let spawn = |service: udp::Service| {
        println!("echoing datagrams on {}", service.local_addr()?);
        Ok(wakeful::spawn(service.run(token.clone(), echoed.clone())))
    };
    let services = udp::bind(&args.udp_addresses()?)?;
    services.into_iter().map(spawn).collect()
}

/// Runs what `serves` until a signal has said to end, by the token, and it has ended.
async fn run<T>(
    serves: impl Future<Output = io::Result<T>>,
    token: &ShutdownToken,
    mut signals: Signals,
) -> io::Result<ExitCode> {
    let mut serves = pin!(serves);
    poll_fn(|cx| {
        while let Poll::Ready(signal) = signals.poll_next(cx) {
            let kind = signal?;
            if token.is_shutting_down() {
                // By convention: ended by this signal.
                return Poll::Ready(Ok(ExitCode::from(128 + kind.as_raw() as u8)));
            }
            debug!("signal {}: nobody new is accepted", kind.as_raw());
            token.shutdown();
        }
        serves.as_mut().poll(cx).map_ok(|_| ExitCode::SUCCESS)
    })
    .await
}

fn serve(args: &ServeArgs) -> io::Result<ExitCode> {
    let console = Console::with_live_line(stats::live_line(args.stats));
    logging::init(args.log, &console);
    let mut builder = Builder::new().busy_poll(args.busy_poll);
    if let Some(threshold) = args.stall_threshold() {
        let stalls = Limited::default();
        builder = builder.on_stall(threshold, move |stall| stalls.warn(stall));
    }
    if let Some(count) = args.workers {
        builder = builder.workers(count);
    }
    let runtime = builder.build()?;
    runtime.block_on(async {
        // Before anybody is told that there is a server.
        let (signals, request) = (Signals::listen()?, signal(SignalKind::user_defined1())?);
        let (token, echoed) = (ShutdownToken::new(), Arc::default());
        let services = spawn_udp(args, &token, &echoed)?;
        let server =
            server(args, runtime.handle().workers_count(), &echoed)?.shutdown_token(&token);
        let connections = server.stats();
        let served = Served {
            connections,
            echoed,
        };
        wakeful::spawn(stats::tell_on_request(
            request,
            served.clone(),
            console.clone(),
        ));
        if args.stats {
            wakeful::spawn(stats::tell_every_second(served.clone(), console.clone()));
        }
        let all = async {
            server.run().await?;
            for service in services {
                let _ = timeout(args.grace, service).await; // a peer's system may take no answers
            }
            Ok(())
        };
        let ended = run(all, &token, signals).await;
        console.clear_live();
        let aborted = served.connections.report().aborted;
        if aborted > 0 {
            warn!(
                "connections cut off after the grace of {:?}: {aborted}",
                args.grace
            );
        }
        info!("{served}");
        ended
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
