//! Many datagrams in one system call, as the floor and the load generator of the UDP bench move them.
//!
//! The kernel's arrays are made once and point to each other's elements. All of them are on the heap and never grow, so they
//! may move with their owner. IPv4 only: everything here is on the loopback interface.
#![expect(
    unsafe_code,
    reason = "sendmmsg, recvmmsg and their control messages have no safe interface in std"
)]

use std::fmt;
use std::io;
use std::mem;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr;

use crate::cli::Result;
use crate::sys::check;

/// A socket that does not block, with a receive buffer that holds what the load has on its way.
pub fn bind(address: SocketAddr) -> Result<UdpSocket> {
    let socket =
        UdpSocket::bind(address).map_err(|error| format!("cannot bind {address}: {error}"))?;
    socket.set_nonblocking(true)?;
    set_option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUF, BUFFER_BYTES)?;
    Ok(socket)
}

/// Has datagrams of one sender arrive glued together.
pub fn set_gro(socket: &UdpSocket) -> io::Result<()> {
    set_option(socket, libc::SOL_UDP, libc::UDP_GRO, 1)
}

fn set_option(socket: &UdpSocket, level: i32, option: i32, value: i32) -> io::Result<()> {
    let len = size_of_val(&value) as libc::socklen_t;
    // SAFETY: `value` is readable for `len` bytes.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            len,
        )
    })?;
    Ok(())
}

/// Room for datagrams, and those that were received last.
pub struct Arrivals {
    buffer: Box<[u8]>,
    room: usize,
    parts: Box<[libc::iovec]>,
    addresses: Box<[libc::sockaddr_in]>,
    controls: Box<[Control]>,
    headers: Box<[libc::mmsghdr]>,
    count: usize,
}

impl Arrivals {
    /// Room for so many datagrams of so many bytes.
    pub fn new(datagrams: usize, room: usize) -> Self {
        let mut this = Self {
            buffer: vec![0; datagrams * room].into(),
            room,
            parts: vec![no_bytes(); datagrams].into(),
            // SAFETY: integers, for which zero is a value.
            addresses: vec![unsafe { mem::zeroed() }; datagrams].into(),
            controls: vec![Control::default(); datagrams].into(),
            headers: vec![no_message(); datagrams].into(),
            count: datagrams, // so that all are prepared
        };
        let places = this.buffer.chunks_exact_mut(room).zip(&mut this.parts);
        let names = this.addresses.iter_mut().zip(&mut this.controls);
        for (((bytes, part), (address, control)), header) in
            places.zip(names).zip(&mut this.headers)
        {
            part.iov_base = bytes.as_mut_ptr().cast();
            let header = &mut header.msg_hdr;
            header.msg_iov = part;
            header.msg_iovlen = 1;
            header.msg_name = (&raw mut *address).cast();
            header.msg_control = (&raw mut *control).cast();
        }
        this
    }

    /// Takes what has come and says how many there are, 0 if nothing has.
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        // Only those that were used last have changed.
        for (part, header) in self
            .parts
            .iter_mut()
            .zip(&mut self.headers)
            .take(self.count)
        {
            part.iov_len = self.room;
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
            header.msg_hdr.msg_controllen = size_of::<Control>();
        }
        self.count = 0;
        let (headers, len) = (self.headers.as_mut_ptr(), self.headers.len() as u32);
        // SAFETY: all headers name places in boxes of ours, writable for the lengths beside them.
        let received =
            check(unsafe { libc::recvmmsg(socket.as_raw_fd(), headers, len, 0, ptr::null_mut()) });
        self.count = none_if_blocked(received)?;
        Ok(self.count)
    }

    /// The datagrams that were received last, apart, also if they came glued together.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let places = self.buffer.chunks_exact(self.room).zip(&self.headers);
        places.take(self.count).flat_map(|(place, header)| {
            let len = header.msg_len as usize;
            let segment = segment_len(&header.msg_hdr).map_or(len, usize::from);
            place[..len].chunks(segment.max(1))
        })
    }

    /// Sends every datagram back to where it came from, glued together as it came.
    pub fn send_back(&mut self, socket: &UdpSocket) -> Result<()> {
        let received = &mut self.headers[..self.count];
        for ((header, part), control) in received
            .iter_mut()
            .zip(&mut self.parts)
            .zip(&mut self.controls)
        {
            part.iov_len = header.msg_len as usize;
            header.msg_hdr.msg_controllen = match segment_len(&header.msg_hdr) {
                Some(len) => control.cut_into(len),
                None => 0,
            };
        }
        send_all(socket, received)
    }
}

/// Datagrams of one length that are sent together to the peer of a socket, over and over.
pub struct Burst {
    buffer: Box<[u8]>,
    datagram_len: usize,
    // Below: what the headers point to.
    _parts: Box<[libc::iovec]>,
    _control: Box<Control>,
    headers: Box<[libc::mmsghdr]>,
}

impl Burst {
    /// So many datagrams of so many bytes. `is_cut`: handed to the kernel in one piece, which it cuts up.
    pub fn new(datagrams: usize, datagram_len: usize, is_cut: bool) -> Self {
        let mut buffer: Box<[u8]> = vec![0; datagrams * datagram_len].into();
        let part_len = if is_cut { buffer.len() } else { datagram_len };
        let mut parts: Box<[_]> = buffer
            .chunks_exact_mut(part_len)
            .map(|part| libc::iovec {
                iov_base: part.as_mut_ptr().cast(),
                iov_len: part.len(),
            })
            .collect();
        let mut control = Box::new(Control::default());
        let mut headers: Box<[_]> = vec![no_message(); parts.len()].into();
        for (header, part) in headers.iter_mut().zip(&mut parts) {
            header.msg_hdr.msg_iov = part;
            header.msg_hdr.msg_iovlen = 1;
            if is_cut {
                header.msg_hdr.msg_control = (&raw mut *control).cast();
                header.msg_hdr.msg_controllen = control.cut_into(datagram_len as u16);
            }
        }
        Self {
            buffer,
            datagram_len,
            _parts: parts,
            _control: control,
            headers,
        }
    }

    /// The datagrams, to be written.
    pub fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = &mut [u8]> {
        self.buffer.chunks_exact_mut(self.datagram_len)
    }

    /// Sends all of them.
    pub fn send(&mut self, socket: &UdpSocket) -> Result<()> {
        send_all(socket, &mut self.headers)
    }
}

impl fmt::Debug for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl fmt::Debug for Burst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let datagrams = self.buffer.chunks(self.datagram_len);
        f.debug_list().entries(datagrams).finish()
    }
}

/// The loopback interface delivers as it sends, so there is always room in a send buffer.
fn send_all(socket: &UdpSocket, headers: &mut [libc::mmsghdr]) -> Result<()> {
    let mut sent = 0;
    while sent < headers.len() {
        let rest = &mut headers[sent..];
        let (start, len) = (rest.as_mut_ptr(), rest.len() as u32);
        // SAFETY: all headers name places in boxes of their owner, readable for the lengths beside them.
        let count = check(unsafe { libc::sendmmsg(socket.as_raw_fd(), start, len, 0) });
        sent += count.map_err(|error| format!("cannot send: {error}"))? as usize;
    }
    Ok(())
}

/// Room for one control message with an integer, aligned for its head.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Control([usize; CONTROL_WORDS]);

impl Control {
    /// Makes it the order to cut a message into datagrams of so many bytes, and says how long the order is.
    fn cut_into(&mut self, len: u16) -> usize {
        // SAFETY: arithmetic on a length.
        let (head_len, space) =
            unsafe { (libc::CMSG_LEN(2) as usize, libc::CMSG_SPACE(2) as usize) };
        let head = (&raw mut *self).cast::<libc::cmsghdr>();
        // SAFETY: there is room, aligned, for the head and for an integer behind it.
        unsafe {
            (*head).cmsg_level = libc::SOL_UDP;
            (*head).cmsg_type = libc::UDP_SEGMENT;
            (*head).cmsg_len = head_len;
            libc::CMSG_DATA(head).cast::<u16>().write_unaligned(len);
        }
        space
    }
}

/// How long the datagrams are that were glued together, if they were.
fn segment_len(header: &libc::msghdr) -> Option<u16> {
    // SAFETY: the kernel wrote the control messages and how long they are; the integer is as long as UDP_GRO says.
    unsafe {
        let head = libc::CMSG_FIRSTHDR(header);
        let is_it = !head.is_null()
            && (*head).cmsg_level == libc::SOL_UDP
            && (*head).cmsg_type == libc::UDP_GRO;
        is_it.then(|| libc::CMSG_DATA(head).cast::<libc::c_int>().read_unaligned() as u16)
    }
}

fn none_if_blocked(result: io::Result<i32>) -> io::Result<usize> {
    match result {
        Ok(count) => Ok(count as usize),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        Err(error) => Err(error),
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

/// What every kernel allows; it counts double, for its own book-keeping.
const BUFFER_BYTES: i32 = 212_992;

/// A head of two words at most and an integer.
const CONTROL_WORDS: usize = 4;
