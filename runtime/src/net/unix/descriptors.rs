//! Descriptors that travel with what is sent.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use crate::net::datagram::Received;
use crate::sys::socket::{Socket, Type};

/// What was received, and the descriptors that came with it.
#[derive(Debug)]
#[must_use = "dropping it closes the descriptors"]
pub struct WithFds {
    /// How much was received. From a stream that is all there is; a datagram may have been longer.
    pub received: Received,
    /// The descriptors, close-on-exec, each the receiver's own.
    pub fds: Vec<OwnedFd>,
    /// Whether there were more, which the system has thrown away: there was no room for them, or the process has as many
    /// descriptors as it may have.
    pub fds_lost: bool,
}

/// Receives, with up to `fds_max` descriptors.
#[inline]
pub(super) fn recv(
    socket: &Socket,
    ty: Type,
    buffer: &mut [u8],
    fds_max: usize,
) -> io::Result<WithFds> {
    let is_datagram = ty == Type::Datagram;
    let message = socket.recv_with_descriptors(buffer, fds_max, is_datagram)?;
    Ok(WithFds {
        received: Received::new(message.len, buffer.len()),
        fds: message.fds,
        fds_lost: message.fds_lost,
    })
}

/// Sends, if there is something to send the descriptors with.
#[inline]
pub(super) fn send(
    socket: &Socket,
    ty: Type,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    if ty == Type::Stream && bytes.is_empty() && !fds.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "on a stream, descriptors travel with one byte at least",
        ));
    }
    socket.send_with_descriptors(bytes, fds)
}

/// Gives `$Socket`, whose descriptor is in what its method `io` returns, what a Unix socket of type `$ty` does with
/// descriptors.
macro_rules! descriptor_operations {
    ($Socket:ty, $ty:expr) => {
        /// Descriptors that travel.
        ///
        /// Those that come with what other operations receive are thrown away by the system.
        impl $Socket {
            /// Sends `bytes`, or as many of them as a stream has room for, together with duplicates of `fds`.
            ///
            /// # Errors
            ///
            /// Those of sendmsg(2), such as `ETOOMANYREFS`, which passes;
            /// [`InvalidInput`](io::ErrorKind::InvalidInput) if there are more than 253 descriptors, or none of the bytes
            /// that descriptors on a stream need to travel with.
            ///
            /// # Cancel safety
            ///
            /// Safe: all is sent in the same poll that says so.
            ///
            /// # Examples
            ///
            /// ```
            /// # fn main() -> std::io::Result<()> {
            /// use std::io::{Read, Write};
            /// use std::os::fd::AsFd;
            #[doc = concat!("use wakeful::net::", stringify!($Socket), ";")]
            ///
            /// wakeful::block_on(async {
            #[doc = concat!("    let (one, other) = ", stringify!($Socket), "::pair()?;")]
            ///     let (mut reader, writer) = std::io::pipe()?;
            ///     one.send_with_fds(b"a pipe", &[writer.as_fd()]).await?;
            ///     drop(writer);
            ///
            ///     let mut message = other.recv_with_fds(&mut [0; 16], 1).await?;
            ///     let mut writer = std::fs::File::from(message.fds.pop().unwrap());
            ///     writer.write_all(b"hello")?;
            ///     drop(writer);
            ///     let mut text = String::new();
            ///     reader.read_to_string(&mut text)?;
            ///     assert_eq!(text, "hello");
            ///     Ok(())
            /// })
            /// # }
            /// ```
            pub fn send_with_fds(
                &self,
                bytes: &[u8],
                fds: &[BorrowedFd<'_>],
            ) -> impl Future<Output = io::Result<usize>> {
                self.io()
                    .write_with(move |socket| descriptors::send(socket, $ty, bytes, fds))
            }

            /// Receives into `buffer`, with up to `fds_max` descriptors.
            ///
            /// A stream is not read on behind bytes that were sent with descriptors, so that it is clear which those are.
            ///
            /// # Errors
            ///
            /// Those of recvmsg(2).
            ///
            /// # Cancel safety
            ///
            /// Safe: bytes and descriptors are taken in the same poll that returns them.
            pub fn recv_with_fds(
                &self,
                buffer: &mut [u8],
                fds_max: usize,
            ) -> impl Future<Output = io::Result<WithFds>> {
                self.io()
                    .read_with(move |socket| descriptors::recv(socket, $ty, buffer, fds_max))
            }

            /// [`send_with_fds`](Self::send_with_fds) without waiting.
            ///
            /// # Errors
            ///
            /// [`WouldBlock`](io::ErrorKind::WouldBlock) if there is no room; otherwise as for `send_with_fds`.
            #[inline]
            pub fn try_send_with_fds(
                &self,
                bytes: &[u8],
                fds: &[BorrowedFd<'_>],
            ) -> io::Result<usize> {
                self.io()
                    .try_write_with(|socket| descriptors::send(socket, $ty, bytes, fds))
            }

            /// [`recv_with_fds`](Self::recv_with_fds) without waiting.
            ///
            /// # Errors
            ///
            /// [`WouldBlock`](io::ErrorKind::WouldBlock) if there is nothing yet; otherwise as for `recv_with_fds`.
            #[inline]
            pub fn try_recv_with_fds(
                &self,
                buffer: &mut [u8],
                fds_max: usize,
            ) -> io::Result<WithFds> {
                self.io()
                    .try_read_with(|socket| descriptors::recv(socket, $ty, buffer, fds_max))
            }
        }
    };
}
pub(super) use descriptor_operations;
