//! Unix sockets with odd properties.
#![expect(unsafe_code, reason = "the standard library sets no backlog")]

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener as StdListener;
use std::path::Path;

use wakeful::net::UnixListener;

/// A listener with next to no backlog.
///
/// # Panics
///
/// If it cannot be had.
pub fn small_listener(path: &Path) -> UnixListener {
    let listener = StdListener::bind(path).unwrap();
    // SAFETY: the call touches no memory of ours.
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 1) }, 0);
    UnixListener::from_std(listener).unwrap()
}
