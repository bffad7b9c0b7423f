//! Waiting for descriptors, and memory to read into.
//!
//! * [`AsyncFd`] makes an awaitable thing of any descriptor that epoll can watch: a pipe, a `timerfd`, an inotify
//!   instance, the socket of a C library. The types of [`net`](crate::net) are built on it.
//! * [`with_scratch`] lends the thread's large buffer, so that a connection that is idle need not own one.
//! * [`duplex`] is a connection in memory, for tests.
//!
//! Everywhere in this crate an operation is **tried first and waits only when it would block**. A descriptor is made
//! known to the runtime when it has to wait for the first time; before that it costs nothing, belongs to no runtime, and
//! can be created anywhere.

mod async_fd;
mod deadline;
mod duplex;
mod scratch;
mod wait;

pub use self::async_fd::AsyncFd;
pub(crate) use self::async_fd::Try;
pub use self::duplex::{Duplex, duplex};
pub use self::scratch::with_scratch;
pub(crate) use self::wait::Wait;
