//! TCP: a socket becomes a listener or a stream.
//!
//! ```text
//!   TcpSocket ── listen ──▶ TcpListener ── accept ──▶ TcpStream ── into_split ──▶ TcpReader, TcpWriter
//!       └─────────────────── connect ──────────────────▲   ▲────── reunite ──────────┘
//! ```

mod convert;
mod half;
mod keepalive;
mod listener;
mod socket;
mod stream;
mod traits;

pub use self::half::{
    OwnedReadHalf, OwnedWriteHalf, ReadHalf, ReuniteError, TcpReader, TcpWriter, WriteHalf,
};
pub use self::keepalive::Keepalive;
pub use self::listener::{Incoming, TcpListener};
pub use self::socket::TcpSocket;
pub use self::stream::TcpStream;
