//! Signals of the operating system, as something to await.
//!
//! A [`Signal`] listens for one kind. Any number of them may listen for the same kind, on any worker of any runtime of the
//! process, and each hears of every arrival: one that listens takes nothing away from the others.
//!
//! * **From the first listener on, the signal does nothing else** in this process, for as long as the process lives: what the
//!   system does by default (an interrupt ends the program) does not come back when the last listener is dropped. A
//!   program that was started ignoring the signal ignores it no longer.
//! * **Handlers that the program had before are called too**, after ours, with the signal mask that they asked for. They run
//!   on the thread's alternate signal stack if it has one, system calls that they interrupt are restarted, and one that
//!   asked to be called once (`SA_RESETHAND`) is called each time. A handler that is installed later replaces ours, and
//!   unless it calls what it has replaced, listeners hear nothing from then on.
//! * **Arrivals are joined**, as the system itself joins those of a signal that is still pending: a listener that has not
//!   looked meanwhile hears of several at once. Signals say that something happened, not how often.
//! * **A signal that every thread has blocked** never arrives.
//! * **A child of fork(2) that goes on in the same program** cannot listen once its parent has; signals that it gets are
//!   caught and lead to nothing. Programs that are started from here (`std::process::Command`) are not concerned.
//!
//! How it works: a handler counts the arrivals of each kind, and writes to an eventfd of which each listener has a duplicate
//! in an [`AsyncFd`]. A listener remembers the count that it has seen. It waits only after it has found the count
//! unchanged, and only for an event later than those it knew before it looked, so whatever arrives after the look wakes
//! it. There is no thread and no task behind it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use crate::io::AsyncFd;
use crate::reactor::Registration;
use crate::sys::signal::{self as numbers, Arrivals};

/// Waits for the next interrupt (`SIGINT`), which a terminal sends for Ctrl-C.
///
/// It counts from the call on, not from the first poll. What arrives between the end of one such future and the making of
/// the next goes unheard: to listen for more than one, keep a [`Signal`].
///
/// # Errors
///
/// Those of [`signal`] and of [`Signal::recv`].
///
/// # Panics
///
/// If it has to wait outside a runtime.
///
/// # Cancel safety
///
/// Safe, in that nothing is left behind; the program goes on ignoring the signal.
///
/// # Examples
///
/// ```no_run
/// # async fn serve() {}
/// # fn main() -> std::io::Result<()> {
/// wakeful::block_on(async {
///     let server = wakeful::spawn(serve());
///     wakeful::signal::ctrl_c().await?;
///     server.cancel().await.ok();
///     Ok(())
/// })
/// # }
/// ```
#[inline]
pub fn ctrl_c() -> impl Future<Output = io::Result<()>> {
    let listener = signal(SignalKind::interrupt());
    async move { listener?.recv().await }
}

/// Listens for signals of one kind, from now on.
///
/// It waits for nothing, so this is a plain function, and works outside a runtime. A listener has a descriptor of its own.
///
/// # Errors
///
/// [`InvalidInput`](io::ErrorKind::InvalidInput) if signals of this kind cannot be caught (`SIGKILL`, `SIGSTOP`), report a
/// fault of the program that would be repeated after it (`SIGSEGV`, `SIGBUS`, `SIGFPE`, `SIGILL`), belong to the C library, or
/// do not exist. [`Unsupported`](io::ErrorKind::Unsupported) in a child of fork(2) whose parent listens. Also a lack of
/// descriptors.
///
/// # Examples
///
/// ```no_run
/// use wakeful::signal::{SignalKind, signal};
///
/// # fn read_configuration() {}
/// # fn main() -> std::io::Result<()> {
/// wakeful::block_on(async {
///     let mut hangups = signal(SignalKind::hangup())?;
///     loop {
///         hangups.recv().await?;
///         read_configuration();
///     }
/// })
/// # }
/// ```
#[inline]
pub fn signal(kind: SignalKind) -> io::Result<Signal> {
    let (arrivals, seen) = Arrivals::catch(kind.0)?;
    Ok(Signal {
        arrivals: AsyncFd::with_registration(arrivals, Registration::optimistic()),
        seen,
    })
}

/// A listener for signals of one kind; made by [`signal`](signal()).
///
/// As a [`Stream`] it yields a `()` for each time that [`recv`](Self::recv) would resolve, and ends only if waiting fails,
/// as it does when the runtime that it waited in has shut down.
///
/// Dropping it ends nothing but this listener.
#[derive(Debug)]
#[must_use = "a signal that nobody waits for is ignored"]
pub struct Signal {
    arrivals: AsyncFd<Arrivals>,
    /// The count that was heard of last.
    seen: usize,
}

impl Signal {
    /// Waits until the signal has arrived since this listener last heard of it, once or more often.
    ///
    /// # Errors
    ///
    /// Only if waiting fails: the runtime that it waited in has shut down, or the system has no room for another
    /// descriptor to be watched.
    ///
    /// # Panics
    ///
    /// If it has to wait for the first time outside a runtime.
    ///
    /// # Cancel safety
    ///
    /// Safe: an arrival is taken note of in the same poll that returns, so none is lost.
    pub fn recv(&mut self) -> impl Future<Output = io::Result<()>> {
        let Self { arrivals, seen } = self;
        arrivals.read_with(move |arrivals| news(arrivals, seen))
    }

    /// [`recv`](Self::recv) for hand-written futures.
    ///
    /// Only the last task that called this is woken.
    #[inline]
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { arrivals, seen } = self;
        arrivals.poll_read_with(cx, |arrivals| news(arrivals, seen))
    }
}

impl Stream for Signal {
    type Item = ();

    #[inline]
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<()>> {
        Poll::Ready(ready!(self.get_mut().poll_recv(cx)).ok())
    }
}

/// Takes note of what has arrived since `seen`; `WouldBlock` if nothing has.
fn news(arrivals: &Arrivals, seen: &mut usize) -> io::Result<()> {
    let count = arrivals.count();
    if count == *seen {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    *seen = count;
    Ok(())
}

/// Which signal. Those without a method are made [from their number](Self::from_raw).
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct SignalKind(i32);

impl SignalKind {
    /// The signal with this number, as `libc` names it. Whether it can be listened for, [`signal`](signal()) says.
    pub const fn from_raw(number: i32) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn as_raw(self) -> i32 {
        self.0
    }

    /// `SIGINT`: Ctrl-C in a terminal.
    pub const fn interrupt() -> Self {
        Self(numbers::SIGINT)
    }

    /// `SIGTERM`: asks a process to end.
    pub const fn terminate() -> Self {
        Self(numbers::SIGTERM)
    }

    /// `SIGHUP`: the terminal is gone. To a server it says by custom: read the configuration again.
    pub const fn hangup() -> Self {
        Self(numbers::SIGHUP)
    }

    /// `SIGQUIT`: Ctrl-\ in a terminal.
    pub const fn quit() -> Self {
        Self(numbers::SIGQUIT)
    }

    /// `SIGUSR1`, for whatever the program likes.
    pub const fn user_defined1() -> Self {
        Self(numbers::SIGUSR1)
    }

    /// `SIGUSR2`, for whatever the program likes.
    pub const fn user_defined2() -> Self {
        Self(numbers::SIGUSR2)
    }

    /// `SIGCHLD`: a child process has ended, stopped or gone on. Several may have by the time that it is heard of.
    pub const fn child() -> Self {
        Self(numbers::SIGCHLD)
    }

    /// `SIGWINCH`: the terminal has another size.
    pub const fn window_change() -> Self {
        Self(numbers::SIGWINCH)
    }

    /// `SIGALRM`: a timer of alarm(2) or setitimer(2) has run out.
    pub const fn alarm() -> Self {
        Self(numbers::SIGALRM)
    }

    /// `SIGPIPE`: something was written that nobody can read. The write fails all the same. Sockets of this crate do not
    /// send it.
    pub const fn pipe() -> Self {
        Self(numbers::SIGPIPE)
    }

    /// `SIGIO`: a descriptor with `O_ASYNC` is ready.
    pub const fn io() -> Self {
        Self(numbers::SIGIO)
    }
}
