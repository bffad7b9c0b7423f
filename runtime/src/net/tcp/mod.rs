//! TCP: a socket becomes a listener or a stream.
//!
//! ```text
//!   TcpSocket ── listen ──▶ TcpListener ── accept ──▶ TcpStream ── into_split ──▶ OwnedReadHalf, OwnedWriteHalf
//!       └─────────────────── connect ──────────────────▲   ▲────── reunite ──────────┘
//! ```

mod convert;
mod keepalive;
mod listener;
mod socket;
mod stream;

pub use self::keepalive::Keepalive;
pub use self::listener::TcpListener;
pub use self::socket::TcpSocket;
pub use self::stream::TcpStream;
