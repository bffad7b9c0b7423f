//! Errors that say which operation failed on what.
//!
//! The kind stays that of the system's error, so `match error.kind()` works as on the original, which is the source and
//! keeps the number. Where several addresses were tried, kind and source are those of the last to fail, as in std, and the
//! text names them all.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;

/// Makes "cannot *do* *address*: …" of an error.
pub(super) fn cannot<A: fmt::Display + fmt::Debug + Send + Sync + 'static>(
    what: &'static str,
    address: A,
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
struct Failed<A> {
    what: &'static str,
    address: A,
    source: io::Error,
}

impl<A: fmt::Display> fmt::Display for Failed<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}: {}", self.what, self.address, self.source)
    }
}

impl<A: fmt::Display + fmt::Debug> Error for Failed<A> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

/// Makes "cannot *do* *target*: *address* (…), *address* (…)" of what became of the addresses of a target, or the plain form
/// where the target is the one address.
///
/// # Panics
///
/// If there is no failure.
pub(super) fn cannot_with_any(
    what: &'static str,
    target: String,
    mut failures: Vec<(SocketAddr, io::Error)>,
) -> io::Error {
    let (address, last) = failures.pop().expect("a target has an address");
    if failures.is_empty() && address.to_string() == target {
        return cannot(what, address)(last);
    }
    let kind = last.kind();
    failures.push((address, last));
    let failed = AllFailed {
        what,
        target,
        failures,
    };
    io::Error::new(kind, failed)
}

#[derive(Debug)]
struct AllFailed {
    what: &'static str,
    target: String,
    failures: Vec<(SocketAddr, io::Error)>,
}

impl fmt::Display for AllFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}: ", self.what, self.target)?;
        for (index, (address, error)) in self.failures.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{address} ({error})")?;
        }
        Ok(())
    }
}

impl Error for AllFailed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let (_, last) = self.failures.last()?;
        Some(last)
    }
}
