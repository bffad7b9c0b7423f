//! Errors that say which operation failed on what.
//!
//! The kind stays that of the system's error, so `match error.kind()` works as on the original, which is the source and
//! keeps the number.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;

/// Makes "cannot *do* *address*: …" of an error.
pub(super) fn cannot(
    what: &'static str,
    address: SocketAddr,
) -> impl FnOnce(io::Error) -> io::Error {
    move |source| {
        io::Error::new(
            source.kind(),
            Failed {
                what,
                address,
                source,
            },
        )
    }
}

#[derive(Debug)]
struct Failed {
    what: &'static str,
    address: SocketAddr,
    source: io::Error,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}: {}", self.what, self.address, self.source)
    }
}

impl Error for Failed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}
