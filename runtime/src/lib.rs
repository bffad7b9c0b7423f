//! An async runtime for Linux servers: one epoll instance, one run queue and one thread per core.
//!
//! ```no_run
//! use wakeful::net::TcpListener;
//!
//! fn main() -> std::io::Result<()> {
//!     wakeful::Runtime::new()?.block_on(async {
//!         let listener = TcpListener::bind("127.0.0.1:7007".parse().unwrap())?;
//!         loop {
//!             let (mut stream, _peer) = listener.accept().await?;
//!             wakeful::spawn(async move {
//!                 let mut buffer = [0; 4096];
//!                 while let Ok(n @ 1..) = stream.read(&mut buffer).await {
//!                     if stream.write_all(&buffer[..n]).await.is_err() {
//!                         break;
//!                     }
//!                 }
//!             });
//!         }
//!     })
//! }
//! ```
//!
//! * [`block_on`] runs a future on this thread and needs no other; [`Runtime`] and [`Builder`] are for several workers.
//! * [`spawn`] makes a task that any worker may run, [`spawn_local`] and [`Handle::spawn_pinned`] one whose future need not be
//!   `Send`. A [`TaskGroup`] owns its tasks: none outlives it.
//! * [`net`] has the sockets, [`io`] what works with any descriptor. Streams implement the traits of `futures-io`, and the
//!   everyday operations are methods, so a server needs no extension trait.
//! * Channels, locks and the like are not here: those of `futures`, `async-channel`, `async-lock` and tokio's `sync` run on this
//!   runtime as they are.
//!
//! Dropping a future cancels what it was doing. Every async method says what that means for it, under *Cancel safety*.
//!
//! [`architecture`] is one page on how it works inside.

#[doc = include_str!("../ARCHITECTURE.md")]
pub mod architecture {}

pub mod io;
pub mod net;

mod executor;
mod reactor;
mod sys;
mod task;
#[cfg_attr(
    any(not(test), loom),
    expect(dead_code, unused_imports, reason = "no core has a wheel yet")
)]
mod timer;
mod util;

pub use executor::{
    Builder, EnterGuard, Handle, Metrics, Runtime, TaskGroup, YieldNow, block_on, spawn,
    spawn_local, yield_now,
};
pub use task::{Cancel, JoinError, JoinHandle, TaskId};

#[cfg(wakeful_sim)]
pub use sys::fault as sim;

/// The README's example compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}
