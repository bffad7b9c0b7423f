//! From and to `std`, descriptors, and text.
//!
//! A descriptor that comes from elsewhere is put into non-blocking mode, and one that is given away leaves the reactor
//! first and stays in that mode.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use crate::sys::address::Address;
use crate::sys::fd;
use crate::sys::socket::{Domain, Socket, Type};

/// Takes over a descriptor that is to be a socket of the kind `wanted`.
///
/// # Errors
///
/// `InvalidInput` if it is not; it is closed then.
#[inline]
pub(super) fn adopt(fd: OwnedFd, wanted: Kind) -> io::Result<Socket> {
    let socket = Socket::from(fd);
    let (is_unix, ty) = (socket.domain()? == Domain::Unix, socket.socket_type()?);
    if (is_unix, ty) != (wanted.is_unix, wanted.ty) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, wanted.refusal));
    }
    fd::set_nonblocking(socket.as_fd(), true)?;
    Ok(socket)
}

/// What a socket is for.
#[derive(Copy, Clone)]
pub(super) struct Kind {
    is_unix: bool,
    ty: Type,
    refusal: &'static str,
}

impl Kind {
    pub(super) const TCP: Self = Self {
        is_unix: false,
        ty: Type::Stream,
        refusal: "not a TCP socket",
    };
    pub(super) const UDP: Self = Self {
        is_unix: false,
        ty: Type::Datagram,
        refusal: "not a UDP socket",
    };
    pub(super) const UNIX_STREAM: Self = Self {
        is_unix: true,
        ty: Type::Stream,
        refusal: "not a Unix socket for streams",
    };
    pub(super) const UNIX_DATAGRAM: Self = Self {
        is_unix: true,
        ty: Type::Datagram,
        refusal: "not a Unix socket for datagrams",
    };
}

/// The same for a listener.
///
/// # Errors
///
/// `InvalidInput` also if it does not listen.
#[inline]
pub(super) fn adopt_listener(fd: OwnedFd, wanted: Kind) -> io::Result<Socket> {
    let socket = adopt(fd, wanted)?;
    if !socket.is_listening()? {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the socket does not listen: call `listen` on it first",
        ));
    }
    Ok(socket)
}

/// A socket for people: its addresses, as far as it has any, and its descriptor.
pub(super) fn debug<A: Address + fmt::Debug>(
    name: &str,
    socket: &Socket,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let mut out = f.debug_struct(name);
    if let Ok(local) = socket.local_addr::<A>() {
        out.field("local", &local);
    }
    if let Ok(peer) = socket.peer_addr::<A>() {
        out.field("peer", &peer);
    }
    out.field("fd", &socket.as_raw_fd()).finish()
}

/// Makes `$Socket` a descriptor: to be looked at through its `socket`, to be taken out through its `into_socket`, and to be
/// shown as what has addresses of type `$Address`.
macro_rules! descriptor_conversions {
    ($($Socket:ident: $Address:ty),+ $(,)?) => {$(
        impl From<$Socket> for OwnedFd {
            fn from(socket: $Socket) -> Self {
                socket.into_socket().into()
            }
        }

        impl AsFd for $Socket {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.socket().as_fd()
            }
        }

        impl AsRawFd for $Socket {
            fn as_raw_fd(&self) -> RawFd {
                self.as_fd().as_raw_fd()
            }
        }

        impl fmt::Debug for $Socket {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                debug::<$Address>(stringify!($Socket), self.socket(), f)
            }
        }

        /// Sockets go wherever their tasks go.
        const _: () = {
            const fn goes_anywhere<T: Send + Sync + Unpin + 'static>() {}
            goes_anywhere::<$Socket>();
        };
    )+};
}
pub(super) use descriptor_conversions;

/// Makes `$Socket` convertible from and to the type of the same purpose in `std`.
macro_rules! std_conversions {
    ($($Socket:ty: $Std:ty),+ $(,)?) => {$(
        impl $Socket {
            /// Takes over the same of the standard library and puts it into non-blocking mode. Options stay as they are.
            ///
            /// # Errors
            ///
            /// Those of fcntl(2).
            pub fn from_std(socket: $Std) -> io::Result<Self> {
                Self::try_from(OwnedFd::from(socket))
            }

            /// Gives it to the standard library, in non-blocking mode:
            #[doc = concat!("[`set_nonblocking`](", stringify!($Std), "::set_nonblocking) changes that.")]
            pub fn into_std(self) -> $Std {
                OwnedFd::from(self).into()
            }
        }

        impl TryFrom<$Std> for $Socket {
            type Error = io::Error;

            #[inline]
            fn try_from(socket: $Std) -> io::Result<Self> {
                Self::from_std(socket)
            }
        }
    )+};
}
pub(super) use std_conversions;
