//! What the integration tests share.
//!
//! The tests themselves are in `tests/`, one file per part of the public behaviour. A helper belongs here when two of those
//! files need it, and in the module that says what it is about:
//!
//! | module | |
//! |---|---|
//! | [`watchdog`] | a test that hangs fails, with a message |
//! | [`runtimes`] | the same test on runtimes of several sizes, each checked for leftovers |
//! | [`drops`] | how often something was dropped, and on which thread |
//! | [`futures`] | futures that do one odd thing, and giving futures up |
//! | [`impostor`] | servers that do what no good echo server would do |
//! | [`process`] | threads, descriptors, memory and CPU time of a process; a process of its own for a test |
//! | [`program`] | a program that runs to its end |
//! | [`server`] | the `echo` binary or an example, built and running as a process of its own |
//! | [`tcp`] | both ends of a connection |
//! | [`unix`] | a Unix listener without room |
//! | [`tls`] | a client that trusts one certificate |
//! | [`pieces`] | a stream that comes in pieces, and what a decoder makes of it |
//! | [`bytes`] | what is sent through connections, and comparing what comes back |

pub mod bytes;
pub mod drops;
pub mod futures;
pub mod impostor;
pub mod pieces;
pub mod process;
pub mod program;
pub mod runtimes;
pub mod server;
pub mod tcp;
pub mod tls;
pub mod unix;
pub mod watchdog;

pub use bytes::Bytes;
pub use drops::{DropGuard, Drops};
pub use futures::{PanicOnDrop, Parked, yields};
pub use process::alone;
pub use runtimes::on_workers;
pub use watchdog::{eventually, within};

/// The text of a panic's payload.
///
/// # Panics
///
/// If the payload is no text.
pub fn panic_text(payload: &(dyn std::any::Any + Send)) -> &str {
    match payload.downcast_ref::<&'static str>() {
        Some(text) => text,
        None => payload
            .downcast_ref::<String>()
            .expect("a panic with a text"),
    }
}

/// The text of the panic that `body` ends with.
///
/// # Panics
///
/// If it does not panic.
#[track_caller]
pub fn panic_of<R>(body: impl FnOnce() -> R) -> String {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)) {
        Ok(_) => panic!("a panic was expected here"),
        Err(payload) => panic_text(&*payload).to_owned(),
    }
}
