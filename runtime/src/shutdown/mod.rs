//! Telling tasks that an end has come: a token that many may watch, and a tree of such.
//!
//! | who | does, in this order |
//! |---|---|
//! | who waits | leaves its waker at the token, if it is not there already; reads the flag |
//! | who shuts down | sets the flag; takes the wakers, and those of the tokens below, under each one's lock; calls them |
//! | who makes a child | under the lock of the token above: reads the flag, and enters the child |
//!
//! The lock is what they meet at: whoever comes second sees what the other did, so nobody misses the end, and no child comes
//! to be below a token that is over without being over itself. A waker is left under the lock only while the flag is not
//! set, so none is left behind by the end.
//!
//! A waker stays where it is from one wait to the next. For a task that looks at its token whenever it begins to wait for a
//! message, the message costs two comparisons and a read of the flag, no lock and no atomic write; an idle task some 40 bytes.
//! (Rejected: an event that is entered anew by each wait. It would be locked twice for every message.)
//!
//! A child holds the token above, which knows it weakly: dropping the last handle of a child makes it leave.

#[cfg(all(test, loom))]
mod models;

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use pin_project_lite::pin_project;

use crate::util::slab::Slab;
use crate::util::sync::Mutex;
use crate::util::sync::atomic::{
    AtomicBool,
    Ordering::{AcqRel, Acquire},
};
use crate::util::wake::wake_all;

/// Says to whoever watches it that it is time to come to an end.
///
/// Clones are the same token. It needs no runtime, may be used on any thread, and once it has been
/// [shut down](Self::shutdown) it stays so.
///
/// # Examples
///
/// ```
/// use wakeful::ShutdownToken;
///
/// wakeful::block_on(async {
///     let token = ShutdownToken::new();
///     let worker = wakeful::spawn({
///         let mut shutdown = token.wait();
///         async move {
///             // Each turn of the loop costs a look at a flag.
///             while shutdown.unless_shutdown(wakeful::yield_now()).await.is_some() {}
///             "it has come to its end"
///         }
///     });
///     token.shutdown();
///     assert_eq!(worker.await.unwrap(), "it has come to its end");
/// });
/// ```
#[derive(Clone)]
pub struct ShutdownToken {
    node: Arc<Node>,
}

impl ShutdownToken {
    /// A token that is below no other.
    #[inline]
    pub fn new() -> Self {
        Self {
            node: Arc::new(Node::new(false, None)),
        }
    }

    /// A token below this one: it is shut down with this one, and can be without it.
    ///
    /// # Examples
    ///
    /// ```
    /// use wakeful::ShutdownToken;
    ///
    /// let program = ShutdownToken::new();
    /// let (one, other) = (program.child(), program.child());
    /// one.shutdown();
    /// assert!(!program.is_shutting_down() && !other.is_shutting_down());
    /// program.shutdown();
    /// assert!(other.is_shutting_down());
    /// ```
    #[must_use = "a token that nobody has tells nobody"]
    #[inline]
    pub fn child(&self) -> Self {
        let mut links = self.node.links.lock();
        let node = match self.node.is_over() {
            true => Arc::new(Node::new(true, None)),
            false => Arc::new_cyclic(|node| {
                let key = links.below.insert_with(|_| node.clone());
                let parent = self.node.clone();
                Node::new(false, Some(Above { parent, key }))
            }),
        };
        drop(links);
        Self { node }
    }

    /// Tells everybody who watches this token or one below it, and whoever comes later. To say it again does nothing.
    #[inline]
    pub fn shutdown(&self) {
        let mut woken = Vec::new();
        let mut nodes = vec![self.node.clone()];
        while let Some(node) = nodes.pop() {
            if node.is_over.swap(true, AcqRel) {
                continue; // who was first tells those below
            }
            let mut links = node.links.lock();
            woken.extend(links.waiting.take_all());
            nodes.extend(links.below.iter().filter_map(|(_, below)| below.upgrade()));
        }
        wake_all(&mut woken);
    }

    /// Whether it has been shut down, or one above it.
    #[inline]
    pub fn is_shutting_down(&self) -> bool {
        self.node.is_over()
    }

    /// A future that is ready when it is shut down. For a task that waits again and again, it is also what does so
    /// [cheaply](ShutdownWait::unless_shutdown).
    pub fn wait(&self) -> ShutdownWait {
        ShutdownWait {
            node: self.node.clone(),
            left: None,
        }
    }

    /// Runs `future` until it is ready, or until the token is shut down: then it is dropped, and there is no output.
    ///
    /// # Cancel safety
    ///
    /// That of `future`.
    ///
    /// # Examples
    ///
    /// ```
    /// use wakeful::ShutdownToken;
    ///
    /// wakeful::block_on(async {
    ///     let token = ShutdownToken::new();
    ///     assert_eq!(token.run_until(async { 7 }).await, Some(7));
    ///     token.shutdown();
    ///     assert_eq!(token.run_until(std::future::pending::<()>()).await, None);
    /// });
    /// ```
    pub fn run_until<F: Future>(
        &self,
        future: F,
    ) -> impl Future<Output = Option<F::Output>> + use<F> {
        let mut wait = self.wait();
        async move { wait.unless_shutdown(future).await }
    }
}

impl Default for ShutdownToken {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ShutdownToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShutdownToken")
            .field("is_shutting_down", &self.is_shutting_down())
            .finish_non_exhaustive()
    }
}

/// Waits for a [`ShutdownToken`] to be shut down; made by [`ShutdownToken::wait`].
///
/// It can be awaited and polled again after it was ready, and is ready at once then. A task keeps one for as long as it
/// lives, and passes what it waits for through [`unless_shutdown`](Self::unless_shutdown).
///
/// # Cancel safety
///
/// Safe: nothing is taken.
pub struct ShutdownWait {
    node: Arc<Node>,
    /// Whom the token calls, once somebody has waited.
    left: Option<Left>,
}

/// A waker that lies at the token, and where.
struct Left {
    waker: Waker,
    key: usize,
}

impl ShutdownWait {
    /// Waits for `event`, or until the token is shut down: then there is no output, even if the event has come too.
    ///
    /// The first time leaves the task's waker with the token; after that, it costs a look at a flag.
    ///
    /// # Cancel safety
    ///
    /// That of `event`, which is dropped by the end.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn serve(stream: wakeful::net::TcpStream, token: wakeful::ShutdownToken) -> std::io::Result<()> {
    /// let mut shutdown = token.wait();
    /// let mut buffer = [0; 1024];
    /// while let Some(count) = shutdown.unless_shutdown(stream.read(&mut buffer)).await {
    ///     println!("{} bytes", count?);
    /// }
    /// println!("the program ends");
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn unless_shutdown<F: Future>(&mut self, event: F) -> UnlessShutdown<'_, F> {
        UnlessShutdown { wait: self, event }
    }

    /// Whether the token has been shut down.
    #[inline]
    pub fn is_shutting_down(&self) -> bool {
        self.node.is_over()
    }

    /// The token that it waits for.
    pub fn token(&self) -> ShutdownToken {
        ShutdownToken {
            node: self.node.clone(),
        }
    }

    #[inline]
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let is_left = matches!(&self.left, Some(left) if left.waker.will_wake(cx.waker()));
        if !is_left {
            self.leave(cx.waker()); // before the look at the flag
        }
        match self.node.is_over() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    #[cold]
    #[inline]
    fn leave(&mut self, waker: &Waker) {
        let (mut theirs, waker) = (waker.clone(), waker.clone()); // anybody's code, as is the drop: not under the lock
        let former = self.left.take();
        let mut links = self.node.links.lock();
        let key = former.as_ref().map(|former| former.key);
        if self.node.is_over() {
            drop(links);
            return; // it has been taken, and no other will be called
        }
        let key = match key.and_then(|key| Some((key, links.waiting.get_mut(key)?))) {
            Some((key, place)) => {
                std::mem::swap(place, &mut theirs);
                drop(links);
                drop(theirs); // the former one
                key
            }
            None => links.waiting.insert_with(|_| theirs),
        };
        self.left = Some(Left { waker, key });
    }
}

impl Future for ShutdownWait {
    type Output = ();

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.get_mut().poll_over(cx)
    }
}

impl Drop for ShutdownWait {
    #[inline]
    fn drop(&mut self) {
        if let Some(left) = &self.left {
            // Nobody else uses the key: the wakers that an end takes are not replaced by others.
            let waker = self.node.links.lock().waiting.remove(left.key);
            drop(waker);
        }
    }
}

impl fmt::Debug for ShutdownWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShutdownWait")
            .field("is_shutting_down", &self.is_shutting_down())
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// The future of [`ShutdownWait::unless_shutdown`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited"]
    pub struct UnlessShutdown<'a, F> {
        wait: &'a mut ShutdownWait,
        #[pin]
        event: F,
    }
}

impl<F: Future> Future for UnlessShutdown<'_, F> {
    type Output = Option<F::Output>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if this.wait.is_shutting_down() {
            return Poll::Ready(None);
        }
        match this.event.poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => this.wait.poll_over(cx).map(|()| None),
        }
    }
}

/// What the clones of a token share.
struct Node {
    /// Set once.
    is_over: AtomicBool,
    links: Mutex<Links>,
    above: Option<Above>,
}

struct Links {
    /// Whom to wake; empty for good once it is over.
    waiting: Slab<Waker>,
    below: Slab<Weak<Node>>,
}

/// The node above, and this one's key there.
struct Above {
    parent: Arc<Node>,
    key: usize,
}

impl Node {
    fn new(is_over: bool, above: Option<Above>) -> Self {
        Self {
            is_over: AtomicBool::new(is_over),
            links: Mutex::new(Links {
                waiting: Slab::new(),
                below: Slab::new(),
            }),
            above,
        }
    }

    #[inline]
    fn is_over(&self) -> bool {
        self.is_over.load(Acquire)
    }
}

impl Drop for Node {
    /// Leaves the node above, and lets go of it: in a loop, for it may be the last to know that one, and so on.
    #[inline]
    fn drop(&mut self) {
        let mut above = self.above.take();
        while let Some(Above { parent, key }) = above {
            parent.links.lock().below.remove(key);
            above = Arc::into_inner(parent).and_then(|mut parent| parent.above.take());
        }
    }
}
