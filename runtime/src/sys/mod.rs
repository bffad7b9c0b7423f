//! The kernel, as this crate sees it: the only module that calls libc.
//!
//! The contract of the layer, for those above and for those who extend it:
//!
//! * **Thin and typed.** One method is one system call, with the types of Rust in place of pointers and lengths. There
//!   is no policy: what an error means, how often to try and when to wait is decided above.
//! * **Nothing waits** but [`epoll::Epoll::wait`], and who wants a [`lock`] that another thread has. Every descriptor made
//!   here is non-blocking where that means anything, and close-on-exec, from the call that creates it: a `fcntl` afterwards would leave a gap in which another thread
//!   forks.
//! * **`EINTR` is not seen above.** A call that was interrupted is made again, with three exceptions: an interrupted
//!   `epoll_wait` has found no events, an interrupted `connect` goes on by itself, and `close` is never repeated, since
//!   the number may belong to somebody else by then.
//! * **No descriptor leaks.** A result is wrapped in an `OwnedFd` before anything else can fail.
//! * **It knows no tasks, wakers or readiness**, and nothing of the crate but `util`.
//!
//! With `--cfg wakeful_sim` the same calls fail on demand: see [`fault`]. Every call passes through [`call`], which is
//! where the faults come in.

pub(crate) mod call;
pub(crate) mod clock;
pub(crate) mod cpus;
pub(crate) mod epoll;
pub(crate) mod eventfd;
pub(crate) mod fd;
pub(crate) mod inherited;
pub(crate) mod limits;
pub(crate) mod lock;
pub(crate) mod pipe;
pub(crate) mod signal;

pub(crate) mod address;
pub(crate) mod datagram;
pub(crate) mod descriptors;
mod options;
pub(crate) mod socket;
pub(crate) mod thread;
pub(crate) mod timer_slack;

#[cfg(wakeful_sim)]
pub mod fault;
#[cfg(not(wakeful_sim))]
#[path = "no_fault.rs"]
mod fault;
