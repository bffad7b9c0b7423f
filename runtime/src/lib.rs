//! An async runtime for Linux servers: one epoll instance, one run queue and one thread per core.
//!
//! ```no_run
//! use wakeful::net::TcpListener;
//!
//! #[wakeful::main]
//! async fn main() -> std::io::Result<()> {
//!     let listener = TcpListener::bind("127.0.0.1:7007")?;
//!     loop {
//!         let (mut stream, _peer) = listener.accept().await?;
//!         wakeful::spawn(async move {
//!             let mut buffer = [0; 4096];
//!             while let Ok(n @ 1..) = stream.read(&mut buffer).await {
//!                 if stream.write_all(&buffer[..n]).await.is_err() {
//!                     break;
//!                 }
//!             }
//!         });
//!     }
//! }
//! ```
//!
//! * [`main`](macro@main) and [`test`](macro@test) make an `async fn` a program or a test. [`block_on`] runs a future on this
//!   thread and needs no other; [`Runtime`] and [`Builder`] are for several workers.
//! * [`spawn`] makes a task that any worker may run, [`spawn_local`] and [`Handle::spawn_pinned`] one whose future need not be
//!   `Send`. A [`TaskGroup`] owns its tasks: none outlives it. [`spawn_blocking`] runs a closure that blocks, on a thread for such.
//! * [`net`] has the sockets, [`io`] what works with any descriptor, [`signal`] the signals of the operating system, [`time`]
//!   sleeps, time-outs and intervals. Streams implement the traits of `futures-io`, and the
//!   everyday operations are methods, so a server needs no extension trait.
//! * [`codec`] makes frames of streams, lines or with a length, and shares the writing side of a connection between threads.
//! * A [`ShutdownToken`] tells tasks that it is time to come to an end.
//! * Channels, locks and the like are not here: those of `futures`, `async-channel`, `async-lock` and tokio's `sync` run on this
//!   runtime as they are.
//!
//! Dropping a future cancels what it was doing. Every async method says what that means for it, under *Cancel safety*, and
//! [`cancel_safety`] is a table of all.
//!
//! [`architecture`] is one page on how it works inside.

#[doc = include_str!("../ARCHITECTURE.md")]
pub mod architecture {}

#[doc = include_str!("../CANCEL_SAFETY.md")]
pub mod cancel_safety {}

pub mod codec;
pub mod io;
pub mod net;
pub mod signal;
pub mod time;

mod blocking;
mod executor;
mod reactor;
mod shutdown;
mod sys;
mod task;
mod timer;
mod util;

pub use executor::{
    Builder, BusyPoll, Culprit, EnterGuard, Handle, Histogram, Metrics, Observer, Runtime, Scope,
    ShutdownReport, Stall, TaskGroup, TaskLocal, TaskReport, TaskState, Wait, WorkerMetrics,
    YieldNow, block_in_place, block_on, spawn, spawn_blocking, spawn_local, spawn_named, yield_now,
};
pub use shutdown::{ShutdownToken, ShutdownWait, UnlessShutdown};
pub use sys::thread::ThreadState;
pub use task::{Cancel, JoinError, JoinHandle, TaskId, TaskInfo};

/// Makes an `async fn main` the entry point of a program.
///
/// ```no_run
/// #[wakeful::main]
/// async fn main() {
///     println!("hello from {} workers", wakeful::Handle::current().workers_count());
/// }
/// ```
///
/// is short for a `main` of
///
/// ```no_run
/// let runtime = wakeful::Builder::new().build().expect("the runtime cannot be built");
/// runtime.block_on(async {
///     println!("hello from {} workers", wakeful::Handle::current().workers_count());
/// });
/// ```
///
/// The function may return what any `main` may: nothing, a `Result`, an `ExitCode`, whatever implements
/// [`Termination`](std::process::Termination). When it returns, the runtime is shut down: tasks that are still there are
/// dropped. It need not be called `main`; a function of another name can be called like one that was never `async`.
///
/// # Options
///
/// | | | without it |
/// |---|---|---|
/// | `workers = 4` | [`Builder::workers`] | one per available CPU |
/// | `virtual_time` | [`Builder::virtual_time`]: time jumps ahead when there is nothing to do; needs `workers = 1` | off |
/// | `seed = 42` | [`Builder::seed`] | as in `Builder` |
/// | `crate = my::wakeful` | where this crate is, when it has another name or comes through another one | `::wakeful` |
///
/// For anything else, a [`Builder`] in an ordinary `main` is as short.
///
/// # Panics
///
/// The program does, when the system refuses what a runtime needs; see [`Builder::build`].
///
/// # Examples
///
/// An error that `main` returns is printed, and the program exits with 1:
///
/// ```no_run
/// #[wakeful::main(workers = 2)]
/// async fn main() -> std::io::Result<()> {
///     let listener = wakeful::net::TcpListener::bind("127.0.0.1:7007")?;
///     let (stream, _peer) = listener.accept().await?;
///     stream.write(b"hello\n").await?;
///     Ok(())
/// }
/// ```
///
/// What it cannot do is an error at the word in question:
///
/// ```compile_fail
/// #[wakeful::main(workers = 0)]
/// async fn main() {}
/// ```
#[doc(inline)]
pub use wakeful_macros::main;

/// Makes an `async fn` a test, which runs on a runtime of its own with one worker.
///
/// The options are those of [`main`](macro@main); only the default of `workers` is another. The test fails as any test
/// does, when it panics or returns an `Err`. Other attributes (`#[ignore]`, `#[should_panic]`, `#[cfg(…)]`) mean what they
/// mean on any test.
///
/// # Examples
///
/// ```
/// #[wakeful::test]
/// async fn a_task_gives_what_it_returns() -> Result<(), wakeful::JoinError> {
///     let task = wakeful::spawn(async { 42 });
///     assert_eq!(task.await?, 42);
///     Ok(())
/// }
///
/// #[wakeful::test(workers = 2, seed = 42)]
/// #[should_panic(expected = "not today")]
/// async fn a_panic_is_expected() {
///     panic!("not today");
/// }
/// ```
#[doc(inline)]
pub use wakeful_macros::test;

#[cfg(wakeful_sim)]
pub use sys::fault as sim;

/// The README's example compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}
