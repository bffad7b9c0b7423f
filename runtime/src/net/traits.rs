//! The traits of `futures-io`, for streams and their halves.
//!
//! Each asks the stream's [`ByteStream`](super::byte_stream::ByteStream), which does not mind whether it is reached through
//! a reference.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};

use super::byte_stream::StreamSocket;
use super::{StreamReader, StreamWriter, TcpStream, UnixStream};

/// Reading and writing, for a type from which `$bytes` leads to the byte stream.
macro_rules! read {
    ([$($generics:tt)*] $Type:ty, $self:ident => $bytes:expr) => {
        impl<$($generics)*> AsyncRead for $Type {
            #[inline]
            fn poll_read(
                $self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffer: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                $bytes.poll_read(cx, buffer)
            }

            #[inline]
            fn poll_read_vectored(
                $self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffers: &mut [IoSliceMut<'_>],
            ) -> Poll<io::Result<usize>> {
                $bytes.poll_read_vectored(cx, buffers)
            }
        }
    };
}

macro_rules! write {
    ([$($generics:tt)*] $Type:ty, $self:ident => $bytes:expr) => {
        impl<$($generics)*> AsyncWrite for $Type {
            #[inline]
            fn poll_write(
                $self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                $bytes.poll_write(cx, bytes)
            }

            #[inline]
            fn poll_write_vectored(
                $self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffers: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                $bytes.poll_write_vectored(cx, buffers)
            }

            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(())) // what is written is with the kernel
            }

            #[inline]
            fn poll_close($self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready($bytes.shutdown(Shutdown::Write))
            }
        }
    };
}

read!([] TcpStream, self => self.bytes());
read!([] &TcpStream, self => self.bytes());
read!([] UnixStream, self => self.bytes());
read!([] &UnixStream, self => self.bytes());
read!([S: Deref<Target: StreamSocket>] StreamReader<S>, self => self.stream().bytes());

write!([] TcpStream, self => self.bytes());
write!([] &TcpStream, self => self.bytes());
write!([] UnixStream, self => self.bytes());
write!([] &UnixStream, self => self.bytes());
write!([S: Deref<Target: StreamSocket>] StreamWriter<S>, self => self.stream().bytes());
