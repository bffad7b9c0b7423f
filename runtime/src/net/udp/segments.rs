//! One buffer as many datagrams.
//!
//! The kernel can take a buffer and cut it up late, if not in the network card, which costs one way through the stack instead
//! of many. Where it cannot — it is too old, a segment does not fit into a packet, something on the way does not allow it —
//! the same datagrams are sent by one call, each on its own way. Which of the two it was, the caller is told.

use std::io;
use std::net::SocketAddr;
use std::sync::OnceLock;

use crate::sys::datagram::{BATCH_MAX, is_segmentation_refused};
use crate::sys::socket::Socket;

/// What [`UdpSocket::send_segmented`](super::UdpSocket::send_segmented) has sent.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[must_use = "it may be less than all"]
pub struct SentSegments {
    /// How many bytes: all, or whole segments of them.
    pub len: usize,
    /// Whether the system did the cutting.
    pub offloaded: bool,
}

/// Sends as many of the segments of `bytes` as one call can.
#[inline]
pub(super) fn send(
    socket: &Socket,
    bytes: &[u8],
    segment_len: usize,
    to: Option<SocketAddr>,
) -> io::Result<SentSegments> {
    if segment_len == 0 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a segment has one byte at least",
        ));
    }
    let at_once = (BYTES_MAX / segment_len).min(BATCH_MAX) * segment_len;
    let part = &bytes[..bytes.len().min(at_once)];
    if let Ok(len) = u16::try_from(segment_len)
        && part.len() > segment_len // otherwise there is nothing to cut
        && knows_segments(socket)?
    {
        match socket.send_segmented(part, len, to.as_ref()) {
            Err(error) if is_segmentation_refused(&error) => {}
            Err(error) => return Err(error),
            Ok(len) => {
                let offloaded = true;
                return Ok(SentSegments { len, offloaded });
            }
        }
    }
    send_apart(socket, bytes, segment_len, to)
}

#[inline]
fn send_apart(
    socket: &Socket,
    bytes: &[u8],
    segment_len: usize,
    to: Option<SocketAddr>,
) -> io::Result<SentSegments> {
    let (first, others) = bytes.split_at(segment_len.min(bytes.len()));
    let segments = std::iter::once(first).chain(others.chunks(segment_len));
    let count = socket.send_batch(segments.map(|segment| (segment, to)))?;
    Ok(SentSegments {
        len: bytes.len().min(count * segment_len),
        offloaded: false,
    })
}

/// The first clear answer holds for the process.
#[inline]
fn knows_segments(socket: &Socket) -> io::Result<bool> {
    static KNOWS: OnceLock<bool> = OnceLock::new();
    match KNOWS.get() {
        Some(&knows) => Ok(knows),
        None => {
            let knows = socket.knows_segments()?;
            Ok(*KNOWS.get_or_init(|| knows))
        }
    }
}

/// What a packet of IPv4 can carry, which is a little less than one of IPv6 can.
const BYTES_MAX: usize = 65_507;
