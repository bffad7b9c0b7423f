//! Datagrams: one at a time, many in one call, and one buffer cut into many.
//!
//! * **A datagram is moved whole or not at all**, so a fault never shortens one; of a batch it moves fewer.
//! * **Nothing is cut silently.** Every receiving call asks for the length that the datagram had (`MSG_TRUNC`), which may
//!   be more than there was room for. An empty datagram is one.
//! * **A pending error comes first**, whichever datagram it was for, and once: the call that returns it takes it away. That
//!   is all that there is to an ICMP error, so nothing here asks for `SO_ERROR`.
//! * The kernel's arrays for a batch are built on the stack for each call. To keep them would save some nanoseconds per
//!   datagram, and cost structures full of pointers into themselves.
#![expect(unsafe_code, reason = "calls the datagram functions of libc")]

use std::array;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

use super::address::{Address, RawAddress};
use super::call::{Call, transfer};
use super::socket::{Socket, message};

impl Socket {
    /// Takes a datagram and says how long it was, which may be more than `buffer` had room for.
    #[inline]
    pub(crate) fn recv_datagram(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.recv_datagram_with(buffer, 0)
    }

    /// The same, and leaves the datagram where it was.
    #[inline]
    pub(crate) fn peek_datagram(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.recv_datagram_with(buffer, libc::MSG_PEEK)
    }

    /// Like [`recv_datagram`](Self::recv_datagram), and says who sent it.
    #[inline]
    pub(crate) fn recv_datagram_from<A: Address>(
        &self,
        buffer: &mut [u8],
    ) -> io::Result<(usize, A)> {
        self.recv_datagram_from_with(buffer, 0)
    }

    /// The same, and leaves the datagram where it was.
    pub(crate) fn peek_datagram_from<A: Address>(
        &self,
        buffer: &mut [u8],
    ) -> io::Result<(usize, A)> {
        self.recv_datagram_from_with(buffer, libc::MSG_PEEK)
    }

    #[inline]
    fn recv_datagram_with(&self, buffer: &mut [u8], flags: libc::c_int) -> io::Result<usize> {
        let (place, len) = (buffer.as_mut_ptr().cast(), buffer.len());
        let flags = flags | libc::MSG_TRUNC;
        let count = transfer(Call::Recv, self.as_fd(), ONE, |_| {
            // SAFETY: `buffer` is writable for `len` bytes: MSG_TRUNC changes what is returned, not what is written.
            unsafe { libc::recv(self.as_raw_fd(), place, len, flags) }
        })?;
        Ok(count as usize)
    }

    #[inline]
    fn recv_datagram_from_with<A: Address>(
        &self,
        buffer: &mut [u8],
        flags: libc::c_int,
    ) -> io::Result<(usize, A)> {
        let (place, len) = (buffer.as_mut_ptr().cast(), buffer.len());
        let flags = flags | libc::MSG_TRUNC;
        let mut raw = RawAddress::room();
        let count = transfer(Call::Recv, self.as_fd(), ONE, |_| {
            let (address, address_len) = raw.as_mut_ptrs();
            // SAFETY: `buffer` is writable for `len` bytes (MSG_TRUNC changes what is returned, not what is written), and
            // `address` for as many as `address_len` says.
            unsafe { libc::recvfrom(self.as_raw_fd(), place, len, flags, address, address_len) }
        })?;
        Ok((count as usize, A::from_raw(&raw)?))
    }

    /// Sends a datagram to the peer that the socket is connected to.
    #[inline]
    pub(crate) fn send_datagram(&self, bytes: &[u8]) -> io::Result<usize> {
        let (place, len) = (bytes.as_ptr().cast(), bytes.len());
        let count = transfer(Call::Send, self.as_fd(), ONE, |_| {
            // SAFETY: `bytes` is readable for `len` bytes.
            unsafe { libc::send(self.as_raw_fd(), place, len, libc::MSG_NOSIGNAL) }
        })?;
        Ok(count as usize)
    }

    /// Sends a datagram.
    #[inline]
    pub(crate) fn send_datagram_to(&self, bytes: &[u8], to: &impl Address) -> io::Result<usize> {
        let (place, len) = (bytes.as_ptr().cast(), bytes.len());
        let (to, flags) = (to.to_raw(), libc::MSG_NOSIGNAL);
        let count = transfer(Call::Send, self.as_fd(), ONE, |_| {
            // SAFETY: `bytes` is readable for `len` bytes, `to` for as many as its length says.
            unsafe { libc::sendto(self.as_raw_fd(), place, len, flags, to.as_ptr(), to.len()) }
        })?;
        Ok(count as usize)
    }

    /// Takes up to [`BATCH_MAX`] datagrams, each into a part of `buffer` of `room` bytes, and tells of each in `arrivals`.
    /// Says how many there were.
    ///
    /// An error in the middle of a batch ends it, and comes out of the next call.
    ///
    /// # Panics
    ///
    /// If `room` is 0.
    #[inline]
    pub(crate) fn recv_batch(
        &self,
        buffer: &mut [u8],
        room: usize,
        arrivals: &mut [Arrival],
    ) -> io::Result<usize> {
        let mut parts: [libc::iovec; BATCH_MAX] = array::from_fn(|_| no_bytes());
        let mut controls = [Control::<RECV_CONTROL_WORDS>::default(); BATCH_MAX];
        let mut headers: [libc::mmsghdr; BATCH_MAX] = array::from_fn(|_| no_message());
        let places = buffer.chunks_exact_mut(room).zip(&mut *arrivals);
        let arrays = parts.iter_mut().zip(&mut controls).zip(&mut headers);
        let mut most = 0;
        for ((bytes, arrival), ((part, control), header)) in places.zip(arrays) {
            part.iov_base = bytes.as_mut_ptr().cast();
            part.iov_len = bytes.len();
            let header = &mut header.msg_hdr;
            header.msg_iov = part;
            header.msg_iovlen = 1 as _;
            header.msg_name = arrival.address.as_mut_ptrs().0.cast();
            header.msg_namelen = RawAddress::ROOM;
            header.msg_control = control.0.as_mut_ptr().cast();
            header.msg_controllen = size_of_val(control) as _;
            most += 1;
        }
        let count = transfer(Call::Recv, self.as_fd(), most, |most| {
            let (headers, flags) = (headers.as_mut_ptr(), libc::MSG_TRUNC as _);
            // SAFETY: the first `most` of `headers` name places that nothing else uses until they are read below, each
            // writable for the length beside it. Without a timeout (null) the call does not wait for the batch to fill.
            unsafe { libc::recvmmsg(self.as_raw_fd(), headers, most as _, flags, ptr::null_mut()) }
        })? as usize;
        for (header, arrival) in headers.iter().zip(arrivals).take(count) {
            arrival.address.set_len(header.msg_hdr.msg_namelen);
            arrival.full_len = header.msg_len as usize;
            arrival.segment_len = segment_len(&header.msg_hdr);
        }
        Ok(count)
    }

    /// Sends the first [`BATCH_MAX`] of `datagrams`, each to its address, or to the peer that the socket is connected to.
    /// Says how many were sent.
    ///
    /// An error is that of the first. One of another ends the batch before it.
    pub(crate) fn send_batch<'a, A: Address>(
        &self,
        datagrams: impl Iterator<Item = (&'a [u8], Option<A>)>,
    ) -> io::Result<usize> {
        let mut parts: [libc::iovec; BATCH_MAX] = array::from_fn(|_| no_bytes());
        let mut addresses = [const { None::<RawAddress> }; BATCH_MAX];
        let mut headers: [libc::mmsghdr; BATCH_MAX] = array::from_fn(|_| no_message());
        let arrays = parts.iter_mut().zip(&mut addresses).zip(&mut headers);
        let mut most = 0;
        for (((part, address), header), (bytes, to)) in arrays.zip(datagrams) {
            part.iov_base = bytes.as_ptr().cast_mut().cast();
            part.iov_len = bytes.len();
            let header = &mut header.msg_hdr;
            header.msg_iov = part;
            header.msg_iovlen = 1 as _;
            if let Some(to) = to {
                let raw = address.insert(to.to_raw());
                header.msg_name = raw.as_ptr().cast_mut().cast();
                header.msg_namelen = raw.len();
            }
            most += 1;
        }
        let count = transfer(Call::Send, self.as_fd(), most, |most| {
            let (headers, flags) = (headers.as_mut_ptr(), libc::MSG_NOSIGNAL as _);
            // SAFETY: the first `most` of `headers` name places that live through the call, each readable for the length
            // beside it. The kernel writes to the headers only.
            unsafe { libc::sendmmsg(self.as_raw_fd(), headers, most as _, flags) }
        })?;
        Ok(count as usize)
    }

    /// Hands `bytes` to the kernel in one piece, to be cut into datagrams of `segment_len` bytes, the last of which may be
    /// shorter.
    ///
    /// # Errors
    ///
    /// Among others, `EINVAL` if there are too many segments or one does not fit into a packet, and `EIO` if what is
    /// between the socket and the wire cannot do it. A kernel that does not [know segments](Self::knows_segments) sends
    /// one large datagram.
    pub(crate) fn send_segmented(
        &self,
        bytes: &[u8],
        segment_len: u16,
        to: Option<&impl Address>,
    ) -> io::Result<usize> {
        let to = to.map(Address::to_raw);
        let mut part = no_bytes();
        part.iov_base = bytes.as_ptr().cast_mut().cast();
        part.iov_len = bytes.len();
        let mut control = Control::<SEND_CONTROL_WORDS>::default();
        let mut header = message(&raw mut part, 1);
        if let Some(to) = &to {
            header.msg_name = to.as_ptr().cast_mut().cast();
            header.msg_namelen = to.len();
        }
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = size_of_val(&control) as _;
        // SAFETY: `control` is aligned for a control message's head and has room for one with two bytes, so there is a
        // first message, and its data may be written.
        unsafe {
            let head = libc::CMSG_FIRSTHDR(&raw const header);
            (*head).cmsg_level = libc::SOL_UDP;
            (*head).cmsg_type = libc::UDP_SEGMENT;
            (*head).cmsg_len = libc::CMSG_LEN(size_of::<u16>() as u32) as _;
            libc::CMSG_DATA(head)
                .cast::<u16>()
                .write_unaligned(segment_len);
        }
        let count = transfer(Call::Send, self.as_fd(), ONE, |_| {
            // SAFETY: `header` names places that live through the call, each readable for the length beside it.
            unsafe { libc::sendmsg(self.as_raw_fd(), &raw const header, libc::MSG_NOSIGNAL) }
        })?;
        Ok(count as usize)
    }
}

/// What [`Socket::recv_batch`] tells of one datagram.
#[derive(Copy, Clone)]
pub(crate) struct Arrival {
    address: RawAddress,
    /// How long the datagram was, which may be more than it had room.
    pub(crate) full_len: usize,
    /// Set if it is several datagrams of one sender, glued together: each of them but the last is so long.
    pub(crate) segment_len: Option<u16>,
}

impl Arrival {
    /// None yet.
    pub(crate) fn none() -> Self {
        Self {
            address: RawAddress::room(),
            full_len: 0,
            segment_len: None,
        }
    }

    /// Who sent it.
    pub(crate) fn from<A: Address>(&self) -> io::Result<A> {
        A::from_raw(&self.address)
    }
}

/// Whether the kernel could not send in segments, and may send the same as single datagrams.
pub(crate) fn is_segmentation_refused(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINVAL | libc::EIO | libc::EOPNOTSUPP)
    )
}

/// The length of the datagrams that were glued together, if they were.
#[inline]
fn segment_len(header: &libc::msghdr) -> Option<u16> {
    // SAFETY: the kernel wrote the control messages and how long they are, and between the heads of libc's walk nothing
    // is modified.
    unsafe {
        let head = libc::CMSG_FIRSTHDR(header);
        if head.is_null() {
            return None; // the usual case
        }
        let is_it = (*head).cmsg_level == libc::SOL_UDP && (*head).cmsg_type == libc::UDP_GRO;
        let len = is_it.then(|| libc::CMSG_DATA(head).cast::<libc::c_int>().read_unaligned())?;
        u16::try_from(len).ok().filter(|&len| len > 0)
    }
}

fn no_bytes() -> libc::iovec {
    libc::iovec {
        iov_base: ptr::null_mut(),
        iov_len: 0,
    }
}

fn no_message() -> libc::mmsghdr {
    // SAFETY: integers and pointers, for which zero is a value.
    unsafe { mem::zeroed() }
}

/// Room for control messages, aligned for their heads.
#[derive(Copy, Clone)]
#[repr(C)]
struct Control<const WORDS: usize>([usize; WORDS]);

impl<const WORDS: usize> Default for Control<WORDS> {
    fn default() -> Self {
        Self([0; WORDS])
    }
}

/// As many words as a control message of `len` bytes takes.
const fn control_words(len: usize) -> usize {
    // SAFETY: arithmetic on a length.
    let space = unsafe { libc::CMSG_SPACE(len as u32) };
    (space as usize).div_ceil(size_of::<usize>())
}

const RECV_CONTROL_WORDS: usize = control_words(size_of::<libc::c_int>());
const SEND_CONTROL_WORDS: usize = control_words(size_of::<u16>());

/// One datagram is one item to move: it is not moved in part.
const ONE: usize = 1;

/// How many datagrams one call moves at most.
pub(crate) const BATCH_MAX: usize = 64;

#[cfg(all(test, not(loom)))]
mod tests {
    use std::io;
    use std::net::SocketAddr;

    use super::{Arrival, BATCH_MAX};
    use crate::sys::socket::{Domain, Socket, Type};

    #[test]
    fn a_datagram_that_does_not_fit_says_how_long_it_was() {
        let (one, other, from) = pair();
        let mut buffer = [0; 4];
        for len in [0, 4, 5, 9000] {
            for _ in 0..2 {
                one.send_datagram(&vec![7; len]).unwrap();
            }
            assert_eq!(other.peek_datagram(&mut buffer).unwrap(), len);
            assert_eq!(other.recv_datagram(&mut buffer).unwrap(), len);
            let peeked = other.peek_datagram_from(&mut buffer).unwrap();
            assert_eq!(peeked, (len, from));
            let received = other.recv_datagram_from(&mut buffer).unwrap();
            assert_eq!(received, (len, from));
        }
        let nothing = other.recv_datagram(&mut buffer).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_batch_takes_what_there_is_and_the_empty_ones_too() {
        let (one, other, from) = pair();
        let to: SocketAddr = other.local_addr().unwrap();
        let sent: [&[u8]; 4] = [b"a", b"", b"longer than four", b"b"];
        let with_and_without = sent.iter().enumerate();
        let datagrams = with_and_without.map(|(at, &bytes)| (bytes, (at % 2 == 0).then_some(to)));
        assert_eq!(one.send_batch(datagrams).unwrap(), 4);

        let (mut buffer, mut arrivals) = ([0; 4 * 10], [Arrival::none(); 10]);
        assert_eq!(other.recv_batch(&mut buffer, 4, &mut arrivals).unwrap(), 4);
        for (at, bytes) in sent.iter().enumerate() {
            let fitted = bytes.len().min(4);
            assert_eq!(arrivals[at].full_len, bytes.len());
            assert_eq!(arrivals[at].from::<SocketAddr>().unwrap(), from);
            assert_eq!(arrivals[at].segment_len, None);
            assert_eq!(buffer[4 * at..][..fitted], bytes[..fitted]);
        }
        let nothing = other.recv_batch(&mut buffer, 4, &mut arrivals).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_batch_is_bounded() {
        let (one, other, _) = pair();
        let many = [(&b"x"[..], None::<SocketAddr>); BATCH_MAX + 6];
        assert_eq!(one.send_batch(many.into_iter()).unwrap(), BATCH_MAX);
        let mut arrivals = [Arrival::none(); BATCH_MAX + 6];
        let mut buffer = [0; BATCH_MAX + 6];
        let count = other.recv_batch(&mut buffer, 1, &mut arrivals).unwrap();
        assert_eq!(count, BATCH_MAX);
    }

    #[test]
    fn segments_arrive_apart_or_glued_as_the_receiver_likes() {
        for glued in [false, true] {
            let (one, other, _) = pair();
            if !one.knows_segments().unwrap() {
                return println!("this kernel does not know segments");
            }
            other.set_gro(glued).unwrap();
            assert_eq!(other.gro().unwrap(), glued);
            let bytes: Vec<u8> = (0..2500_u32).map(|at| at as u8).collect();
            let to = None::<&SocketAddr>;
            assert_eq!(one.send_segmented(&bytes, 1000, to).unwrap(), 2500);

            let (mut buffer, mut arrivals) = ([0; 4 * 5000], [Arrival::none(); 4]);
            let count = other.recv_batch(&mut buffer, 5000, &mut arrivals).unwrap();
            let lens = arrivals[..count].iter().map(|arrival| arrival.full_len);
            if glued {
                assert_eq!(lens.collect::<Vec<_>>(), [2500]);
                assert_eq!(arrivals[0].segment_len, Some(1000));
                assert!(buffer[..2500] == bytes);
            } else {
                assert_eq!(lens.collect::<Vec<_>>(), [1000, 1000, 500]);
                assert_eq!(arrivals[0].segment_len, None);
            }
        }
    }

    /// Two that are connected to each other, and the address of the first.
    fn pair() -> (Socket, Socket, SocketAddr) {
        let anywhere: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let sockets = [(); 2].map(|()| {
            let socket = Socket::new(Domain::V4, Type::Datagram).unwrap();
            socket.bind(&anywhere).unwrap();
            socket
        });
        let addresses = sockets
            .each_ref()
            .map(|socket| socket.local_addr().unwrap());
        for (socket, peer) in sockets.iter().zip(addresses.iter().rev()) {
            let _ = socket.connect(peer).unwrap();
        }
        let [one, other] = sockets;
        (one, other, addresses[0])
    }
}
