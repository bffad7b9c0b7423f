//! A server: listeners, a handler for each connection, and what one gets wrong by hand between them.
//!
//! ```text
//!   listener ── accept loop ──▶ a task per connection: Served { the handler's future, its Place }
//!   listener ── accept loop ──▶        │                                   │
//!                    ▲                 ▼                                   ▼
//!                    │        ShutdownToken (handlers see it)    Census (limits, report, who is there)
//!                    └───────────── room, and "somebody has left" ─────────┘
//! ```
//!
//! * [`limits`]: how many connections there may be, in all and of one peer.
//! * [`listener`]: which sockets can be served.
//! * [`census`]: who is there. One lock, taken a few times in the life of a connection and never for a message.
//! * [`accept_loop`]: takes connections while there is room, and pauses when the system has none.
//! * [`connection`]: the task of a connection, and what its handler gets.
//! * [`pinned`]: handlers that stay on the worker on which they were made.
//! * [`report`]: what has become of the connections.
//! * [`run`]: from the first connection to the end of the last.
//!
//! **The end.** The token is shut down; the accept loops take whom the system has told already that they are connected, since
//! closing a listener resets those; handlers are told and finish what they have begun. When the grace is over, the rest is
//! cut off: every task is woken, and drops its handler's future.
//!
//! **Where connections run.** A fresh task is put beside the accept loop, and its socket is registered, at its first wait, with the
//! worker that has the fewest (`Reactors::choose`); the task follows its socket. That spreads connections by what they cost, so
//! there is no balancer here. Only handlers that are not `Send` are sent to a worker when they begin.

mod accept_loop;
mod census;
mod connection;
mod limits;
mod listener;
mod pinned;
mod report;
mod run;

#[cfg(all(test, loom))]
mod models;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use self::accept_loop::accept_loop;
use self::census::Census;
pub use self::connection::{Connection, Outcome, UnlessServerEnds};
use self::limits::Limits;
pub use self::listener::Listener;
pub use self::report::{ServerReport, ServerStats};
use crate::executor::TaskGroup;
use crate::shutdown::ShutdownToken;

/// Serves connections: gives each a task of its own that runs a handler.
///
/// * **Limits.** No more connections are taken than [`max_connections`](Self::max_connections) allows, by default as many as there
///   are descriptors for; the rest waits in the backlogs of the listeners.
///   [`max_connections_per_peer`](Self::max_connections_per_peer) limits those of one peer.
/// * **It goes on.** What accept(2) reports of single connections is passed over. When descriptors or memory run out, it pauses,
///   5 ms at first and a second at most, and goes on as soon as one of its own connections has ended. A panic in a handler
///   ends that connection, and is counted.
/// * **It ends gracefully**, when its [token](Self::shutdown_token) says so: whoever has been told that it is connected is
///   still served, handlers see the token and come to an end, and those that have not by the end of the [grace](Self::grace)
///   are dropped.
/// * **It reports**, [while it runs](Self::stats) and in the end, what became of the connections.
///
/// # Examples
///
/// ```no_run
/// use wakeful::net::{Server, TcpListener};
///
/// #[wakeful::main]
/// async fn main() -> std::io::Result<()> {
///     let report = Server::new()
///         .listen(TcpListener::bind("127.0.0.1:7007")?, |mut stream, mut connection| async move {
///             let mut buffer = [0; 4096];
///             while let Some(count) = connection.unless_shutdown(stream.read(&mut buffer)).await {
///                 match count? {
///                     0 => break,
///                     count => stream.write_all(&buffer[..count]).await?,
///                 }
///             }
///             std::io::Result::Ok(())
///         })
///         .run_until(wakeful::signal::ctrl_c())
///         .await?;
///     println!("{report}");
///     Ok(())
/// }
/// ```
#[must_use = "a server that is not run serves nobody"]
pub struct Server {
    doors: Vec<Door>,
    limits: Limits,
    times: Times,
    grace: Duration,
    token: ShutdownToken,
    on_accept_error: Option<OnAcceptError>,
    stats: ServerStats,
}

/// Starts what accepts from one listener, on the runtime that the server is run in.
type Door = Box<dyn FnOnce(&mut Loops, &House) -> io::Result<()> + Send>;

/// The accept loops. Each ends when nobody is left whom it has to take, or with the error that keeps it from going on.
type Loops = TaskGroup<io::Result<()>>;

type OnAcceptError = Arc<dyn Fn(&io::Error) + Send + Sync>;

/// What all accept loops of a server share.
#[derive(Clone)]
struct House {
    census: Arc<Census>,
    times: Times,
    on_accept_error: Option<OnAcceptError>,
}

/// How long a peer may keep its handler waiting.
#[derive(Copy, Clone, Debug, Default)]
struct Times {
    handshake: Option<Duration>,
    idle: Option<Duration>,
}

/// Making one.
impl Server {
    /// A server without listeners.
    #[inline]
    pub fn new() -> Self {
        let token = ShutdownToken::new();
        Self {
            doors: Vec::new(),
            limits: Limits::default(),
            times: Times::default(),
            grace: GRACE,
            stats: ServerStats::default(),
            on_accept_error: None,
            token,
        }
    }

    /// Serves the connections of `listener`, each by what `handler` returns for it: a future that any worker may run, with an output
    /// that says [how it went](Outcome).
    ///
    /// `handler` itself should return at once. The connection is closed when its stream is dropped, and counts for as long as
    /// the future is there.
    pub fn listen<L, H, F>(mut self, listener: L, handler: H) -> Self
    where
        L: Listener,
        H: FnMut(L::Stream, Connection) -> F + Send + 'static,
        F: Future<Output: Outcome> + Send + 'static,
    {
        self.doors.push(Box::new(move |loops, house| {
            let mut start = connection::spawning(handler);
            let house = house.clone();
            loops.spawn(async move { accept_loop(&listener, &house, &mut start).await });
            Ok(())
        }));
        self
    }

    /// Serves the connections of `listener` by handlers that need not be `Send`: `make` is called once on each worker, and what
    /// it returns handles the connections that are sent to that worker, which is the one that has the fewest.
    ///
    /// Their futures stay on that worker, for better (they may share what is not `Send`) and for worse (no other worker helps).
    /// They belong to its thread: on worker 0 that may be one that is in `block_on`, see
    /// [`Handle::spawn_pinned`](crate::Handle::spawn_pinned). A worker on which `make` has panicked gets no connections.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn serve() -> std::io::Result<()> {
    /// use std::cell::Cell;
    /// use std::rc::Rc;
    /// use wakeful::net::{Server, TcpListener};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:7007")?;
    /// let make = || {
    ///     let visitors = Rc::new(Cell::new(0)); // of this worker
    ///     move |mut stream: wakeful::net::TcpStream, _connection| {
    ///         visitors.set(visitors.get() + 1);
    ///         let visitors = visitors.clone();
    ///         async move { stream.write_all(format!("{}\n", visitors.get()).as_bytes()).await }
    ///     }
    /// };
    /// Server::new().listen_pinned(listener, make).run().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn listen_pinned<L, M, H, F>(mut self, listener: L, make: M) -> Self
    where
        L: Listener,
        M: Fn() -> H + Send + Sync + 'static,
        H: FnMut(L::Stream, Connection) -> F + 'static,
        F: Future<Output: Outcome> + 'static,
    {
        self.doors.push(Box::new(move |loops, house| {
            let house = house.clone();
            let mut hosts = pinned::Hosts::open(make);
            loops.spawn(async move {
                let mut start = |accepted| hosts.send(accepted);
                accept_loop(&listener, &house, &mut start).await
            });
            Ok(())
        }));
        self
    }

    /// As [`listen_pinned`](Self::listen_pinned), with a listener of its own for each worker, all on the address of `listener`,
    /// which must share its port ([`TcpSocket::set_reuse_port`](crate::net::TcpSocket::set_reuse_port)).
    ///
    /// No connection crosses threads then. The system chooses the worker by the addresses and ports of both ends, without a look
    /// at who is busy, so some get more than others; and where a listener goes, what waits in its backlog goes too. So this is
    /// for very many short connections, and not the default.
    ///
    /// [`run`](Self::run) fails if the other listeners cannot be had, as when `listener` does not share its port.
    pub fn listen_per_worker<M, H, F>(mut self, listener: super::TcpListener, make: M) -> Self
    where
        M: Fn() -> H + Send + Sync + 'static,
        H: FnMut(super::TcpStream, Connection) -> F + 'static,
        F: Future<Output: Outcome> + 'static,
    {
        self.doors.push(Box::new(move |loops, house| {
            pinned::listen_on_each(loops, house, listener, make)
        }));
        self
    }

    /// How many connections there may be at the same time, of all listeners together. Further ones wait in the backlogs.
    ///
    /// By default as many as the process may have descriptors, less 64 for other purposes, or half as many if that is more. Zero is
    /// taken for one.
    #[inline]
    pub fn max_connections(mut self, count: usize) -> Self {
        self.limits.set_max(count);
        self
    }

    /// How many connections one peer may have at the same time. Further ones are closed at once, and counted as refused.
    ///
    /// A peer is an IPv4 address, the first half of an IPv6 address (which is what a household or a host is given), or on a Unix
    /// socket a user. By default there is no such limit.
    #[inline]
    pub fn max_connections_per_peer(mut self, count: usize) -> Self {
        self.limits.set_max_per_peer(count);
        self
    }

    /// How long a peer may take for what it has to show first, such as a TLS handshake or a login.
    ///
    /// It is the deadline of all reads and writes of the stream from the beginning. The handler takes it away when the peer
    /// has passed: `stream.set_read_deadline(None)`, `stream.set_write_deadline(None)`. By default there is none.
    pub fn handshake_timeout(mut self, limit: Duration) -> Self {
        self.times.handshake = Some(limit);
        self
    }

    /// How long a connection may be idle: the [`idle timeout`](crate::net::TcpStream::set_idle_timeout) of each stream. By
    /// default there is none.
    ///
    /// A single byte is enough not to be idle. A peer who sends one now and then, and never a whole message, is got rid of by a
    /// [`timeout`](crate::time::timeout) around the wait for the message: `timeout(limit, frames.next())`.
    pub fn idle_timeout(mut self, limit: Duration) -> Self {
        self.times.idle = Some(limit);
        self
    }

    /// How long handlers may go on after the shutdown has begun: five seconds, unless this is called.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Ends when `token` is shut down. Handlers see a child of it.
    ///
    /// # Examples
    ///
    /// ```
    /// # wakeful::block_on(async {
    /// use wakeful::ShutdownToken;
    /// use wakeful::net::{Server, TcpListener};
    ///
    /// let token = ShutdownToken::new();
    /// let server = Server::new()
    ///     .listen(TcpListener::bind("127.0.0.1:0")?, |_stream, _connection| async {})
    ///     .shutdown_token(&token);
    /// let running = wakeful::spawn(server.run());
    /// token.shutdown();
    /// assert_eq!(running.await??.accepted, 0);
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    #[inline]
    pub fn shutdown_token(mut self, token: &ShutdownToken) -> Self {
        self.token = token.child();
        self
    }

    /// Has `callback` called for each time that no connection could be accepted, with the reason: usually a lack of descriptors.
    /// The server has paused then, and goes on by itself.
    pub fn on_accept_error(
        mut self,
        callback: impl Fn(&io::Error) + Send + Sync + 'static,
    ) -> Self {
        self.on_accept_error = Some(Arc::new(callback));
        self
    }

    /// What can be asked, from any thread, for the report of the moment.
    pub fn stats(&self) -> ServerStats {
        self.stats.clone()
    }
}

impl Default for Server {
    #[inline]
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("listeners", &self.doors.len())
            .field("limits", &self.limits)
            .field("times", &self.times)
            .field("grace", &self.grace)
            .finish_non_exhaustive()
    }
}

/// Who stops a service gives it twice as long, usually.
const GRACE: Duration = Duration::from_secs(5);
