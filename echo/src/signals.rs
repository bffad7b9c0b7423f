//! The signals that ask the server to end.

use std::io;
use std::task::{Context, Poll};

use wakeful::signal::{Signal, SignalKind, signal};

/// Listens for SIGINT and SIGTERM.
pub(crate) struct Signals([(SignalKind, Signal); 2]);

impl Signals {
    /// From now on they do nothing by themselves.
    pub(crate) fn listen() -> io::Result<Self> {
        let listen = |kind| Ok::<_, io::Error>((kind, signal(kind)?));
        Ok(Self([
            listen(SignalKind::interrupt())?,
            listen(SignalKind::terminate())?,
        ]))
    }

    /// Waits for the next one.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<SignalKind>> {
        for (kind, signal) in &mut self.0 {
            if let Poll::Ready(received) = signal.poll_recv(cx) {
                return Poll::Ready(received.map(|()| *kind));
            }
        }
        Poll::Pending
    }
}
