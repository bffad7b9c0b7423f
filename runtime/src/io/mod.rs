//! Waiting for descriptors, memory to read into, and copying.
//!
//! * [`AsyncFd`] makes an awaitable thing of any descriptor that epoll can watch: a pipe, a `timerfd`, an inotify
//!   instance, the socket of a C library. The types of [`net`](crate::net) are built on it.
//! * [`copy`] and [`copy_bidirectional`] move all there is from a reader to a writer; between two sockets those of
//!   [`net`](crate::net::copy) do it without carrying it through user space.
//! * [`with_scratch`] lends the thread's large buffer, so that a connection that is idle need not own one.
//! * [`duplex`] is a connection in memory, for tests.
//!
//! Everywhere in this crate an operation is **tried first and waits only when it would block**. A descriptor is made
//! known to the runtime when it has to wait for the first time; before that it costs nothing, belongs to no runtime, and
//! can be created anywhere.

mod async_fd;
mod copy;
mod deadline;
mod duplex;
mod gate;
mod idle;
mod pipes;
mod wait;

#[cfg(all(test, loom))]
mod models;

pub use self::async_fd::AsyncFd;
pub(crate) use self::async_fd::Try;
pub(crate) use self::copy::{AtEnd, Transfer, both};
pub use self::copy::{CopyError, copy, copy_bidirectional};
pub use self::duplex::{Duplex, duplex};
pub(crate) use self::pipes::{LentPipe, is_sigpipe_ignored};
pub(crate) use self::wait::Wait;
pub use crate::util::scratch::with_scratch;
