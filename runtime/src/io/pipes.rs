//! Pipes for bytes on their way between two sockets: lent, and kept by the thread for the next one.
//!
//! ```text
//!                       take                      empty when dropped
//!   thread's spares ───────────▶ lent: empty ◀─▶ filled ───┐
//!        ▲ (few)         new ──▶   └──────────┐            └──▶ closed, with what is in it
//!        └────────────────────────────────────┘
//! ```
//!
//! * A pipe costs two descriptors, so there are [`PIPES_MAX`] in the whole process. Whoever gets none copies through user
//!   space: connections whose peers do not read can keep pipes filled, but nobody else from being served.
//! * Only an empty pipe is kept for another connection. One with something in it is closed.
//! * A pipe is filled only while it is empty: see [`sys::pipe`](crate::sys::pipe).
//! * Writing by `splice` or `sendfile` to a connection that is gone raises `SIGPIPE`, and nothing in this crate does that: in
//!   a program that does not ignore the signal, as Rust programs do, there are no pipes ([`is_sigpipe_ignored`]).

use std::cell::RefCell;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::sys::pipe::Pipe;
use crate::sys::signal::{self, SIGPIPE};
use crate::sys::socket::Socket;

/// A pipe on loan.
#[derive(Debug)]
pub(crate) struct LentPipe {
    /// `None` once it has been given back.
    pipe: Option<CountedPipe>,
    held: usize,
}

impl LentPipe {
    /// A pipe that is empty; `None` if none is to be had.
    #[inline]
    pub(crate) fn take() -> Option<Self> {
        if !is_sigpipe_ignored() {
            return None;
        }
        // In the destructors of a dying thread the place may be gone.
        let spare = SPARES
            .try_with(|spares| spares.borrow_mut().pop())
            .ok()
            .flatten();
        let pipe = spare.or_else(CountedPipe::new)?;
        Some(Self {
            pipe: Some(pipe),
            held: 0,
        })
    }

    /// Whether nothing is on its way in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Moves what `socket` has, as far as there is room, into the pipe, which is empty; 0 means that the peer sends no more.
    #[inline]
    pub(crate) fn fill(&mut self, socket: &Socket) -> io::Result<usize> {
        debug_assert!(self.is_empty());
        self.held = self.pipe().fill(socket, FILL_MAX)?;
        Ok(self.held)
    }

    /// Moves what `socket` has room for out of the pipe, which is not empty.
    #[inline]
    pub(crate) fn drain(&mut self, socket: &Socket) -> io::Result<usize> {
        let count = self.pipe().drain(socket, self.held)?;
        self.held -= count;
        Ok(count)
    }

    fn pipe(&self) -> &Pipe {
        &self.pipe.as_ref().expect("it is given back by the drop").0
    }
}

impl Drop for LentPipe {
    #[inline]
    fn drop(&mut self) {
        let Some(pipe) = self.pipe.take_if(|_| self.held == 0) else {
            return;
        };
        // Not kept if there is no place, or none any more: dropped with the closure.
        let _ = SPARES.try_with(move |spares| {
            let mut spares = spares.borrow_mut();
            if spares.len() < SPARES_MAX {
                spares.push(pipe);
            }
        });
    }
}

/// Whether writing to a connection that is gone is an error and nothing else. A listener of our own for the signal would
/// hear of it, so that is not enough.
#[inline]
pub(crate) fn is_sigpipe_ignored() -> bool {
    signal::is_ignored(SIGPIPE)
}

/// A pipe that counts towards [`PIPES_MAX`].
#[derive(Debug)]
struct CountedPipe(Pipe);

impl CountedPipe {
    #[inline]
    fn new() -> Option<Self> {
        if PIPES_COUNT.fetch_add(1, Relaxed) < PIPES_MAX
            && let Ok(pipe) = Pipe::new()
        {
            return Some(Self(pipe));
        }
        PIPES_COUNT.fetch_sub(1, Relaxed);
        None
    }
}

impl Drop for CountedPipe {
    fn drop(&mut self) {
        PIPES_COUNT.fetch_sub(1, Relaxed);
    }
}

static PIPES_COUNT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static SPARES: RefCell<Vec<CountedPipe>> = const { RefCell::new(Vec::new()) };
}

/// Twice as many descriptors: an eighth of the 1024 that a process usually may have.
const PIPES_MAX: usize = 64;

/// A thread polls one connection at a time, so it needs one, and some for those that come back later.
const SPARES_MAX: usize = 4;

/// What one system call moves at most. The pipe itself has 16 places, for pieces of 32 KiB on loopback.
const FILL_MAX: usize = 256 << 10;

#[cfg(all(test, not(loom)))]
mod tests {
    use std::io::Write;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use super::{LentPipe, PIPES_COUNT, PIPES_MAX, Relaxed, SPARES, SPARES_MAX};
    use crate::sys::socket::Socket;

    #[test]
    fn an_empty_pipe_is_kept_and_one_with_something_in_it_is_closed() {
        let _turn = in_turn();
        drop(LentPipe::take().unwrap());
        assert_eq!(spares(), 1);

        let mut pipe = LentPipe::take().unwrap();
        let (mut peer, socket) = UnixStream::pair().unwrap();
        peer.write_all(b"x").unwrap();
        let socket = Socket::from(OwnedFd::from(socket));
        assert_eq!(pipe.fill(&socket).unwrap(), 1);
        let before = PIPES_COUNT.load(Relaxed);
        drop(pipe);
        assert_eq!((spares(), PIPES_COUNT.load(Relaxed)), (0, before - 1));
    }

    #[test]
    fn there_are_only_so_many_and_a_thread_keeps_few() {
        let _turn = in_turn();
        let lent: Vec<_> = (0..PIPES_MAX).map_while(|_| LentPipe::take()).collect();
        assert!(LentPipe::take().is_none(), "{} were lent", lent.len());
        drop(lent);
        assert_eq!(spares(), SPARES_MAX);
        assert!(LentPipe::take().is_some());
    }

    #[test]
    fn the_pipes_of_a_thread_end_with_it() {
        let _turn = in_turn();
        let before = PIPES_COUNT.load(Relaxed);
        let spares = std::thread::spawn(|| {
            drop([LentPipe::take().unwrap(), LentPipe::take().unwrap()]);
            spares()
        });
        assert_eq!(spares.join().unwrap(), 2);
        assert_eq!(PIPES_COUNT.load(Relaxed), before);
    }

    fn spares() -> usize {
        SPARES.with_borrow(Vec::len)
    }

    /// They count what is the process's.
    fn in_turn() -> MutexGuard<'static, ()> {
        static TURN: Mutex<()> = Mutex::new(());
        TURN.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
