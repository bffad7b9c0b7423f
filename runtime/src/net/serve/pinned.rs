//! Handlers that stay on the worker on which they were made.
//!
//! Each worker has a host: a pinned task that owns the worker's handler, takes connections out of an inbox, and gives each a local
//! task. The accept loop sends a connection to the host that has the fewest. With a listener per worker there is no inbox: each
//! accept loop is itself a pinned task with a handler.
//!
//! An inbox is closed by whichever end goes first: without senders the host takes what is left and ends; without a host,
//! because making its handler has panicked or the runtime ends, what is sent goes to the others; if there are none, the server ends.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use pin_project_lite::pin_project;

use super::accept_loop::accept_loop;
use super::connection::{Accepted, Connection, Outcome, serve};
use super::{House, Loops};
use crate::executor::{Handle, spawn_local};
use crate::net::{TcpListener, TcpStream};
use crate::task::JoinHandle;
use crate::util::sync::Mutex;
use crate::util::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The senders' end of all inboxes.
pub(super) struct Hosts<S> {
    inboxes: Vec<Arc<Inbox<S>>>,
}

impl<S: Send + 'static> Hosts<S> {
    /// One on each worker of the current runtime.
    pub(super) fn open<M, H, F>(make: M) -> Self
    where
        M: Fn() -> H + Send + Sync + 'static,
        H: FnMut(S, Connection) -> F + 'static,
        F: Future<Output: Outcome> + 'static,
    {
        let (make, runtime) = (Arc::new(make), Handle::current());
        let inboxes = (0..runtime.workers_count()).map(|worker| {
            let inbox = Arc::new(Inbox::new());
            let (make, theirs) = (make.clone(), Receiver(inbox.clone()));
            drop(runtime.spawn_pinned(worker, move || host(make(), theirs)));
            inbox
        });
        Self {
            inboxes: inboxes.collect(),
        }
    }

    /// Has a connection served by the host that has the fewest.
    ///
    /// # Errors
    ///
    /// If there is no host any more.
    pub(super) fn send(&mut self, mut accepted: Accepted<S>) -> io::Result<()> {
        self.inboxes.sort_by_key(|inbox| inbox.count.load(Relaxed)); // a guess, if some go meanwhile
        for inbox in &self.inboxes {
            match inbox.push(accepted) {
                Ok(()) => return Ok(()),
                Err(refused) => accepted = refused,
            }
        }
        drop(accepted);
        Err(io::Error::other(
            "no worker has a handler for the connection: making it has panicked, or its thread has left the runtime",
        ))
    }
}

impl<S> Drop for Hosts<S> {
    fn drop(&mut self) {
        self.inboxes.iter().for_each(|inbox| inbox.end());
    }
}

/// Serves what is sent to one worker.
async fn host<S, H, F>(mut handler: H, inbox: Receiver<S>)
where
    S: 'static,
    H: FnMut(S, Connection) -> F,
    F: Future<Output: Outcome> + 'static,
{
    while let Some((accepted, counted)) = inbox.next().await {
        if let Some(served) = serve(&mut handler, accepted) {
            drop(spawn_local(Local {
                served,
                _counted: counted,
            }));
        }
    }
}

/// What waits for one host.
struct Inbox<S> {
    state: Mutex<State<S>>,
    /// Connections that were sent to this host and are not over.
    count: AtomicUsize,
}

struct State<S> {
    waiting: VecDeque<Accepted<S>>,
    host: Option<Waker>,
    /// One of the ends is gone.
    is_closed: bool,
}

impl<S> Inbox<S> {
    fn new() -> Self {
        Self {
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                host: None,
                is_closed: false,
            }),
            count: AtomicUsize::new(0),
        }
    }

    fn push(&self, accepted: Accepted<S>) -> Result<(), Accepted<S>> {
        let mut state = self.state.lock();
        if state.is_closed {
            return Err(accepted);
        }
        state.waiting.push_back(accepted);
        self.count.fetch_add(1, Relaxed);
        let host = state.host.take();
        drop(state);
        host.into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// Nothing more is sent.
    fn end(&self) {
        let mut state = self.state.lock();
        state.is_closed = true;
        let host = state.host.take();
        drop(state);
        host.into_iter().for_each(Waker::wake);
    }
}

/// The host's end of an inbox.
struct Receiver<S>(Arc<Inbox<S>>);

impl<S> Receiver<S> {
    /// The next connection, and what counts it; `None` if no more will come.
    async fn next(&self) -> Option<(Accepted<S>, Counted<S>)> {
        let accepted = poll_fn(|cx| self.poll_next(cx)).await?;
        Some((accepted, Counted(self.0.clone())))
    }

    fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Accepted<S>>> {
        let fresh = cx.waker().clone(); // anybody's code: not under the lock
        let mut state = self.0.state.lock();
        let (next, unused) = match state.waiting.pop_front() {
            Some(next) => (Poll::Ready(Some(next)), Some(fresh)),
            None if state.is_closed => (Poll::Ready(None), Some(fresh)),
            None => (Poll::Pending, state.host.replace(fresh)),
        };
        drop(state);
        drop(unused);
        next
    }
}

impl<S> Drop for Receiver<S> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.is_closed = true;
        let left = (mem::take(&mut state.waiting), state.host.take());
        drop(state);
        drop(left);
    }
}

/// One connection of a host.
struct Counted<S>(Arc<Inbox<S>>);

impl<S> Drop for Counted<S> {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Relaxed);
    }
}

pin_project! {
    /// The future of a connection that its host counts.
    struct Local<S, F> {
        #[pin]
        served: F,
        _counted: Counted<S>,
    }
}

impl<S, F: Future> Future for Local<S, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.project().served.poll(cx)
    }
}

/// Starts an accept loop on each worker, with a listener and a handler of its own.
///
/// # Errors
///
/// If the listeners cannot be had.
pub(super) fn listen_on_each<M, H, F>(
    loops: &mut Loops,
    house: &House,
    listener: TcpListener,
    make: M,
) -> io::Result<()>
where
    M: Fn() -> H + Send + Sync + 'static,
    H: FnMut(TcpStream, Connection) -> F + 'static,
    F: Future<Output: Outcome> + 'static,
{
    let (make, runtime) = (Arc::new(make), Handle::current());
    let mut listeners = vec![listener];
    while listeners.len() < runtime.workers_count() {
        let another = listeners[0].sibling()?; // all of them before the first accepts
        listeners.push(another);
    }
    for (worker, listener) in listeners.into_iter().enumerate() {
        let (make, house) = (make.clone(), house.clone());
        let accepting = runtime.spawn_pinned(worker, move || {
            let mut handler = make();
            async move {
                let mut start = |accepted| {
                    drop(serve(&mut handler, accepted).map(spawn_local));
                    Ok(())
                };
                accept_loop(&listener, &house, &mut start).await
            }
        });
        loops.spawn(Owned(accepting));
    }
    Ok(())
}

/// A task that ends with its owner.
struct Owned(JoinHandle<io::Result<()>>);

impl Future for Owned {
    type Output = io::Result<()>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll(cx).map(|ended| ended?)
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.abort();
    }
}
