//! Room for the datagrams of one call, and what it received.

use std::fmt;
use std::io;
use std::iter;
use std::net::SocketAddr;

use crate::sys::datagram::{Arrival, BATCH_MAX};
use crate::sys::socket::Socket;

/// Room for the datagrams that [`UdpSocket::recv_many`](super::UdpSocket::recv_many) takes in one call, and those that it
/// took last.
///
/// It is made once and used again and again.
pub struct RecvBatch {
    buffer: Box<[u8]>,
    /// Of each datagram in `buffer`.
    room: usize,
    arrivals: Box<[Arrival]>,
    /// So many of `arrivals` are of the last call.
    count: usize,
}

impl RecvBatch {
    /// Room for `datagrams` of up to `room` bytes each; for one of one byte at least.
    ///
    /// No more than 64 are received in one call, so there is room for no more. With
    /// [`set_gro`](super::UdpSocket::set_gro), `room` should be 65 535.
    #[inline]
    pub fn new(datagrams: usize, room: usize) -> Self {
        let (datagrams, room) = (datagrams.clamp(1, BATCH_MAX), room.max(1));
        Self {
            buffer: vec![0; datagrams * room].into(),
            room,
            arrivals: vec![Arrival::none(); datagrams].into(),
            count: 0,
        }
    }

    /// How many datagrams were received last.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether none was received last.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The datagrams that were received last, in the order in which they came.
    #[inline]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Datagram<'_>> + Clone {
        let places = self.buffer.chunks_exact(self.room);
        let arrivals = self.arrivals[..self.count].iter();
        arrivals.zip(places).map(|(arrival, place)| Datagram {
            bytes: &place[..arrival.full_len.min(place.len())],
            full_len: arrival.full_len,
            from: arrival
                .from()
                .expect("what a UDP socket receives is from an IP address"),
            segment_len: arrival.segment_len.map(usize::from),
        })
    }

    #[inline]
    pub(super) fn fill(&mut self, socket: &Socket) -> io::Result<usize> {
        self.count = 0;
        self.count = socket.recv_batch(&mut self.buffer, self.room, &mut self.arrivals)?;
        Ok(self.count)
    }
}

impl fmt::Debug for RecvBatch {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// A datagram in a [`RecvBatch`].
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Datagram<'a> {
    bytes: &'a [u8],
    full_len: usize,
    from: SocketAddr,
    segment_len: Option<usize>,
}

impl<'a> Datagram<'a> {
    /// Its bytes, as far as there was room for them. With [`set_gro`](super::UdpSocket::set_gro) it may be several
    /// datagrams: see [`segments`](Self::segments).
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// How many bytes it had. What did not fit is lost.
    pub fn full_len(&self) -> usize {
        self.full_len
    }

    /// Whether it was longer than there was room for.
    pub fn is_truncated(&self) -> bool {
        self.full_len > self.bytes.len()
    }

    /// Who sent it.
    pub fn from(&self) -> SocketAddr {
        self.from
    }

    /// If it is several datagrams glued together: how many bytes each of them has, but for the last, which may have fewer.
    ///
    /// To pass them on as they came, give this to [`send_segmented`](super::UdpSocket::send_segmented).
    pub fn segment_len(&self) -> Option<usize> {
        self.segment_len
    }

    /// The datagrams that it consists of: itself, unless the system has glued several of one sender together.
    #[inline]
    pub fn segments(&self) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        let len = self.segment_len.unwrap_or(usize::MAX);
        let (first, others) = self.bytes.split_at(len.min(self.bytes.len()));
        iter::once(first).chain(others.chunks(len)) // an empty one is one, too
    }
}
