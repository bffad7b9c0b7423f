//! A socket's name in the file system: taken from a dead owner, kept from a living one, removed at the end.
//!
//! `bind` makes a file, and nothing removes it when its process dies, so that the next one finds the name in use. To remove
//! what is found there is how one server takes another's clients away. So:
//!
//! 1. The directory is locked (`flock`), so that of several who start at the same time each finds the others either
//!    listening or not begun. The kernel gives the lock back when its owner dies, and there is no lock file to be left over.
//! 2. Only a name in use is looked at closer: if it is a socket, itself and not through a link, and refuses a connection,
//!    then its owner is gone, and it is removed. Whatever else is there stays.
//! 3. It is bound, and listens, and the lock is given back.
//!
//! A directory that may not be read cannot be locked, nor can one in some file systems; there nothing is replaced.
//!
//! The name is removed when the socket is dropped, if it still leads to the file that was made for it. That file is not gone
//! before the socket is closed, so its number cannot be another's by then: the name has to go first.
//!
//! Rejected: *a temporary name and a `rename` over the old one*, as the socket would go by the temporary name for ever, and
//! would replace a living one; *a lock file beside the socket*, which stays behind.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::SocketAddr;
use std::path::{self, Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::sys::fd;
use crate::sys::socket::{Domain, Socket};

/// A name that was made for a socket of ours, which is dropped after it.
#[derive(Debug)]
pub(super) struct BoundPath {
    path: PathBuf,
    /// Device and number of the file.
    file: (u64, u64),
}

impl BoundPath {
    /// Gives `socket` the name `path` and makes it ready by `listen`.
    ///
    /// # Errors
    ///
    /// `AddrInUse` if the name belongs to a socket that is in use, or to something else; `InvalidInput` if it cannot be a
    /// name; `ResourceBusy` if somebody holds the directory's lock.
    pub(super) fn bind(
        socket: &Socket,
        path: &Path,
        listen: impl FnOnce(&Socket) -> io::Result<()>,
    ) -> io::Result<Self> {
        let address = SocketAddr::from_pathname(path)?;
        if address.is_unnamed() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a name in the file system is not empty",
            ));
        }
        let path = path::absolute(path)?; // so that it is the same after a change of the working directory
        let lock = lock_directory_of(&path)?;
        match socket.bind(&address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && lock.is_some() => {
                if !is_left_over(&path, &address, socket)? {
                    return Err(error);
                }
                fs::remove_file(&path)?;
                socket.bind(&address)?;
            }
            result => result?,
        }
        let file = identity(&fs::symlink_metadata(&path)?);
        let bound = Self { path, file };
        listen(socket)?; // if it fails, the name goes
        Ok(bound)
    }

    /// Leaves the name where it is.
    pub(super) fn keep(mut self) {
        self.path = PathBuf::new();
    }
}

impl Drop for BoundPath {
    #[inline]
    fn drop(&mut self) {
        // What fails here has no name any more, or has one that somebody else has taken or protected.
        if fs::symlink_metadata(&self.path).is_ok_and(|found| identity(&found) == self.file) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether `path` is a socket whose owner is gone.
#[inline]
fn is_left_over(path: &Path, address: &SocketAddr, socket: &Socket) -> io::Result<bool> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Ok(false);
    }
    let probe = Socket::new(Domain::Unix, socket.socket_type()?)?;
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    Ok(probe.connect(address).is_err_and(refused)) // "the backlog is full" is a sign of life
}

/// `None` if the directory cannot be locked by anybody who may do what we may.
///
/// Others hold the lock for as long as a `bind` takes, so it is waited for, if not for long: this is no async function.
#[inline]
fn lock_directory_of(path: &Path) -> io::Result<Option<File>> {
    let Ok(directory) = File::open(path.parent().unwrap_or(path)) else {
        return Ok(None);
    };
    for _ in 0..LOCK_ATTEMPTS {
        match fd::try_lock(directory.as_fd()) {
            Ok(true) => return Ok(Some(directory)),
            Ok(false) => thread::sleep(LOCK_PAUSE),
            Err(_) => return Ok(None),
        }
    }
    Err(io::Error::new(
        io::ErrorKind::ResourceBusy,
        "another process has locked the directory",
    ))
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

const LOCK_ATTEMPTS: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(2);
