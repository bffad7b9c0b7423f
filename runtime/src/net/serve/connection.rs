//! The task of a connection: the handler's future, and what its handler is given.

use std::fmt;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use pin_project_lite::pin_project;

use super::census::{Census, Fate, Place};
use crate::executor::spawn;
use crate::shutdown::{ShutdownToken, ShutdownWait};
use crate::util::wake::discard;

/// What a handler gets of its server, beside the stream.
///
/// It may be dropped, or given to another task, at any time: what counts as the connection is the handler's future.
pub struct Connection {
    census: Arc<Census>,
    /// Of the connection's place.
    key: u32,
    /// Bytes that the report does not know of yet: fewer than [`TOLD_FROM`] each.
    received: u64,
    sent: u64,
    waited: Waited,
    peer: Option<SocketAddr>,
}

/// Who has waited with a [`Connection`] last, and how it is told of the shutdown.
enum Waited {
    Nobody,
    /// The connection's own task, which its place has woken.
    Task(Waker),
    /// A part of it that has a waker of its own, or another task.
    Other(Box<ShutdownWait>),
}

impl Connection {
    /// Waits for `event`, or until the server shuts down: then there is no output, even if the event has come too.
    ///
    /// It costs a look at a flag, so a handler may do this whenever it waits for its peer.
    ///
    /// # Cancel safety
    ///
    /// That of `event`, which is dropped by the shutdown.
    #[inline]
    pub fn unless_shutdown<F: Future>(&mut self, event: F) -> UnlessServerEnds<'_, F> {
        UnlessServerEnds {
            connection: self,
            event,
        }
    }

    /// Whether the server shuts down.
    #[inline]
    pub fn is_shutting_down(&self) -> bool {
        self.census.is_ending()
    }

    /// A token that says so, for tasks that the handler spawns. They are not counted, and not cut off.
    ///
    /// Each call makes one, below the server's: to shut it down ends what watches it, and neither the server nor another
    /// connection.
    #[must_use = "a token that nobody has tells nobody"]
    pub fn shutdown_token(&self) -> ShutdownToken {
        self.census.token.child()
    }

    /// Where the peer is, as accept(2) has said it: it costs no system call, and is known also when the peer has gone by now.
    /// `None` on a Unix socket.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Adds so many bytes to those that the server's report calls [received](crate::net::ServerReport::received) and
    /// [sent](crate::net::ServerReport::sent).
    ///
    /// Only the handler can tell: a stream does not count, and what is copied within the kernel passes nobody. It costs two
    /// additions. The report knows of the bytes when the connection is dropped, and before that whenever a mebibyte has come
    /// together.
    #[inline]
    pub fn count_bytes(&mut self, received: usize, sent: usize) {
        self.received += received as u64;
        self.sent += sent as u64;
        if self.received | self.sent >= TOLD_FROM {
            self.tell_bytes();
        }
    }

    #[cold]
    fn tell_bytes(&mut self) {
        let (received, sent) = (mem::take(&mut self.received), mem::take(&mut self.sent));
        self.census.count_bytes(received, sent);
    }

    /// Whether the server shuts down. Otherwise the task is woken when it does.
    #[inline]
    fn poll_ending(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.waited {
            Waited::Task(waker) if waker.will_wake(cx.waker()) => Poll::Pending,
            _ => self.poll_ending_anew(cx),
        }
    }

    #[cold]
    #[inline]
    fn poll_ending_anew(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.census.wakes(self.key, cx.waker()) {
            self.waited = Waited::Task(cx.waker().clone());
            return match self.is_shutting_down() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            };
        }
        if !matches!(self.waited, Waited::Other(_)) {
            self.waited = Waited::Other(Box::new(self.census.token.wait()));
        }
        match &mut self.waited {
            Waited::Other(wait) => Pin::new(&mut **wait).poll(cx),
            _ => unreachable!("it has just been set"),
        }
    }
}

pin_project! {
    /// The future of [`Connection::unless_shutdown`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited"]
    pub struct UnlessServerEnds<'a, F> {
        connection: &'a mut Connection,
        #[pin]
        event: F,
    }
}

/// Whether the waker is the right one is looked at only where it is needed: if the event has not come.
impl<F: Future> Future for UnlessServerEnds<'_, F> {
    type Output = Option<F::Output>;

    #[inline(always)] // two looks around the event, and what it does in line is not much either
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if this.connection.is_shutting_down() {
            return Poll::Ready(None);
        }
        match this.event.poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => this.connection.poll_ending(cx).map(|()| None),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.received | self.sent > 0 {
            self.tell_bytes();
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.peer)
            .field("is_shutting_down", &self.is_shutting_down())
            .finish_non_exhaustive()
    }
}

/// How a handler says whether it went well: it returns nothing, or a result. What exactly went wrong is its own to tell.
pub trait Outcome {
    /// Whether it did.
    fn is_well(&self) -> bool;
}

impl Outcome for () {
    fn is_well(&self) -> bool {
        true
    }
}

impl<T, E> Outcome for Result<T, E> {
    fn is_well(&self) -> bool {
        self.is_ok()
    }
}

/// A connection that has taken a place.
pub(super) struct Accepted<S> {
    pub(super) stream: S,
    pub(super) peer: Option<SocketAddr>,
    pub(super) place: Place,
}

/// Begins to serve a connection. An error says that it can serve nobody any more.
pub(super) trait Start<S>: FnMut(Accepted<S>) -> io::Result<()> {}

impl<S, B: FnMut(Accepted<S>) -> io::Result<()>> Start<S> for B {}

/// Gives each connection a task that any worker may run.
pub(super) fn spawning<S, H, F>(mut handler: H) -> impl Start<S>
where
    H: FnMut(S, Connection) -> F,
    F: Future<Output: Outcome> + Send + 'static,
{
    move |accepted| {
        if let Some(served) = serve(&mut handler, accepted) {
            drop(spawn(served));
        }
        Ok(())
    }
}

/// Calls the handler. `None` if it has panicked.
pub(super) fn serve<S, H, F>(handler: &mut H, accepted: Accepted<S>) -> Option<Served<F>>
where
    H: FnMut(S, Connection) -> F,
    F: Future<Output: Outcome>,
{
    let Accepted {
        stream,
        peer,
        mut place,
    } = accepted;
    let connection = Connection {
        census: place.census().clone(),
        key: place.key(),
        received: 0,
        sent: 0,
        waited: Waited::Nobody,
        peer,
    };
    match catch_unwind(AssertUnwindSafe(|| handler(stream, connection))) {
        Ok(handler) => Some(Served { handler, place }),
        Err(payload) => {
            place.fate = Fate::Panicked;
            discard(payload);
            None
        }
    }
}

pin_project! {
    /// The future of a connection's task.
    pub(super) struct Served<F> {
        #[pin]
        handler: F,
        // Declared last, so that it is given up after the handler's future, and with it the stream, is gone.
        place: Place,
    }
}

impl<F: Future<Output: Outcome>> Future for Served<F> {
    type Output = ();

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.place.is_cut_off(cx.waker()) {
            return Poll::Ready(()); // what it serves is dropped now
        }
        let unless_it_returns = Panicking(this.place);
        // The outcome is dropped here: that is the handler's code too.
        let polled = this.handler.poll(cx).map(|outcome| outcome.is_well());
        mem::forget(unless_it_returns);
        polled.map(|is_well| {
            this.place.fate = match is_well {
                true => Fate::Done,
                false => Fate::Failed,
            }
        })
    }
}

/// Dropped by a panic only.
struct Panicking<'a>(&'a mut Place);

impl Drop for Panicking<'_> {
    fn drop(&mut self) {
        self.0.fate = Fate::Panicked;
    }
}

/// So many bytes are told to the report at once, which takes a lock. A power of two, so that one look asks both counts.
const TOLD_FROM: u64 = 1 << 20;
