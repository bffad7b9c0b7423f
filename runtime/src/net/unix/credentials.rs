//! Who is at the other end.

use std::io;

use crate::sys::socket::Socket;

/// The process at the other end of a connection, as it was when it connected, or called `listen`; made by
/// [`UnixStream::peer_credentials`](super::UnixStream::peer_credentials).
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct PeerCredentials {
    pid: Option<u32>,
    uid: u32,
    gid: u32,
}

impl PeerCredentials {
    #[inline]
    pub(super) fn of(socket: &Socket) -> io::Result<Self> {
        let (pid, uid, gid) = socket.peer_credentials()?;
        let pid = u32::try_from(pid).ok().filter(|&pid| pid != 0);
        Ok(Self { pid, uid, gid })
    }

    /// Its number, unless it cannot be seen from here. It may have ended, and the number may be that of another by now.
    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// Its effective user.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Its effective group.
    pub fn gid(&self) -> u32 {
        self.gid
    }
}
