//! Unix sockets: names in the file system or abstract ones, credentials, and descriptors that travel.
//!
//! ```text
//!   UnixListener ── accept ──▶ UnixStream ── into_split ──▶ OwnedReadHalf, OwnedWriteHalf
//!                  connect, pair ──▲   ▲───── reunite ──────────┘          UnixDatagram
//! ```
//!
//! **A full queue on the other side** is what a Unix socket does not announce the end of: neither to a client whose listener
//! has a full backlog, nor to a socket that sends to a receiver that it is not connected to. Both are answered with
//! `EAGAIN`, and no event follows, so to wait would be to hang. [`a_few_times`] tries again after the others have had
//! their turn, for the case that the receiver is in the same runtime, and then gives the error to the caller, who knows how
//! long it is worth trying.
//!
//! **Descriptors that nobody asked for** are thrown away by the kernel, since a plain read offers no room for them. It ends
//! behind the message that had them, though: a short read from a Unix stream says nothing about what comes next.

mod convert;
mod credentials;
mod datagram;
mod descriptors;
mod listener;
mod path;
mod stream;

pub use self::credentials::PeerCredentials;
pub use self::datagram::UnixDatagram;
pub use self::descriptors::WithFds;
pub use self::listener::UnixListener;
pub use self::stream::UnixStream;

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;

use crate::executor::{poll_proceed, yield_now};

/// Makes `attempt` until it does not answer `WouldBlock`, or often enough. Each is charged to the task's budget.
async fn a_few_times<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let mut attempts_left = ATTEMPTS;
    loop {
        poll_fn(poll_proceed).await;
        attempts_left -= 1;
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && attempts_left > 0 => {
                yield_now().await;
            }
            result => return result,
        }
    }
}

/// A Unix address for people.
#[derive(Debug)]
struct Named(SocketAddr);

impl fmt::Display for Named {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.as_pathname(), self.0.as_abstract_name()) {
            (Some(path), _) => path.display().fmt(f),
            (None, Some(name)) => write!(f, "@{}", name.escape_ascii()),
            (None, None) => f.write_str("a socket without a name"),
        }
    }
}

/// A worker with something to run visits its reactor every 61 polls, and only then learns of what was sent before. So this
/// is enough for a receiver on the same worker to have its turn a few times, and some 100 µs if there is none.
const ATTEMPTS: usize = 256;
