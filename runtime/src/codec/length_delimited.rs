//! Frames that begin with their length.
//!
//! A length is a promise of the peer, and no memory is allocated for it: a frame is copied out of the input when it is there.
//! Reserving a part in advance was left out, since a buffer that grows by doubling copies each byte once or twice anyway.

use std::io;

use super::error::{malformed, too_long, truncated, truncated_of, unsendable, unsendable_length};
use super::{Decoder, Encoder};

/// Frames of bytes, each with its length in front of it.
///
/// ```text
///   ┌─ offset ─┬─ width ──┬──────────────────┐
///   │  header  │  length  │       body       │      length = bytes of the body + adjustment
///   └──────────┴──────────┴──────────────────┘      frame  = header and body
/// ```
///
/// The frame is a `Vec<u8>` of everything but the length: one allocation and one copy per frame. Anything that is a `[u8]`
/// by reference can be sent.
///
/// | protocol | |
/// |---|---|
/// | 32 bits, big-endian, then so many bytes | `LengthDelimited::new()` |
/// | 16 bits, as DNS over TCP | `LengthDelimited::new().width(2)` |
/// | 32 bits, little-endian | `LengthDelimited::new().little_endian()` |
/// | PostgreSQL: a type byte, then 32 bits that count their own four bytes too | `LengthDelimited::new().offset(1).adjustment(4)` |
/// | a body followed by four bytes of checksum that the length does not count | `LengthDelimited::new().adjustment(-4)` |
///
/// A frame may have 1 MiB, unless [`max_bytes`](Self::max_bytes) says otherwise. A length beyond that, or less than the
/// adjustment, is malformed, and so is the end of the stream within a frame.
///
/// # Examples
///
/// ```
/// use wakeful::codec::{Framed, LengthDelimited};
/// use wakeful::io::duplex;
///
/// wakeful::block_on(async {
///     let (client, mut server) = duplex(1024);
///     let mut client = Framed::new(client, LengthDelimited::new().width(2));
///     client.send(b"ping").await?;
///     let mut bytes = [0; 16];
///     assert_eq!(server.read(&mut bytes).await?, 6);
///     assert_eq!(&bytes[..6], b"\0\x04ping");
///
///     server.write_all(b"\0\x04po").await?;
///     drop(server);
///     let error = client.next().await.unwrap().unwrap_err();
///     assert_eq!(error.to_string(), "the stream ended within a frame, after 4 of its 6 bytes");
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Debug)]
pub struct LengthDelimited {
    width_bytes: usize,
    is_little_endian: bool,
    offset_bytes: usize,
    adjustment: i32,
    max_bytes: usize,
}

impl LengthDelimited {
    /// Frames that begin with their length as a big-endian number of 32 bits.
    pub fn new() -> Self {
        Self {
            width_bytes: 4,
            is_little_endian: false,
            offset_bytes: 0,
            adjustment: 0,
            max_bytes: MAX_BYTES,
        }
    }

    /// Sets how many bytes the length itself takes.
    ///
    /// # Panics
    ///
    /// If that is not 1, 2, 4 or 8.
    #[track_caller]
    pub fn width(self, bytes: usize) -> Self {
        assert!(
            matches!(bytes, 1 | 2 | 4 | 8),
            "a length takes 1, 2, 4 or 8 bytes, not {bytes}"
        );
        Self {
            width_bytes: bytes,
            ..self
        }
    }

    /// The length has its least significant byte first.
    pub fn little_endian(self) -> Self {
        Self {
            is_little_endian: true,
            ..self
        }
    }

    /// Sets how many bytes of each frame stand in front of its length.
    ///
    /// # Panics
    ///
    /// If there are more than 64 KiB of them.
    #[track_caller]
    pub fn offset(self, bytes: usize) -> Self {
        assert!(bytes <= 64 << 10, "a header of {bytes} bytes is none");
        Self {
            offset_bytes: bytes,
            ..self
        }
    }

    /// Sets what the length says beyond the number of bytes that follow it: what it counts besides them, or, negative, how
    /// many of them it does not count.
    pub fn adjustment(self, adjustment: i32) -> Self {
        Self { adjustment, ..self }
    }

    /// Sets how many bytes a frame may have, the length not counted.
    pub fn max_bytes(self, max_bytes: usize) -> Self {
        Self { max_bytes, ..self }
    }

    /// How many bytes stand before the body.
    fn head_bytes(&self) -> usize {
        self.offset_bytes + self.width_bytes
    }

    /// How many bytes the body has whose head is at the beginning of `input`, if the head is there and can be right.
    #[inline]
    fn body_bytes(&self, input: &[u8]) -> io::Result<Option<usize>> {
        let Some(head) = input.get(..self.head_bytes()) else {
            return Ok(None);
        };
        let length = self.read_length(&head[self.offset_bytes..]);
        let body = i128::from(length) - i128::from(self.adjustment);
        if body < 0 {
            let adjustment = self.adjustment;
            return Err(malformed(format_args!(
                "a frame has the length {length}, of which {adjustment} are not its own"
            )));
        }
        match usize::try_from(body) {
            Ok(body) if self.offset_bytes.saturating_add(body) <= self.max_bytes => Ok(Some(body)),
            _ => Err(too_long(WHAT, self.max_bytes)),
        }
    }

    #[inline]
    fn read_length(&self, field: &[u8]) -> u64 {
        let mut bytes = [0; 8];
        if self.is_little_endian {
            bytes[..field.len()].copy_from_slice(field);
            return u64::from_le_bytes(bytes);
        }
        bytes[8 - field.len()..].copy_from_slice(field);
        u64::from_be_bytes(bytes)
    }

    #[inline]
    fn write_length(&self, length: u64, output: &mut Vec<u8>) {
        match self.is_little_endian {
            true => output.extend_from_slice(&length.to_le_bytes()[..self.width_bytes]),
            false => output.extend_from_slice(&length.to_be_bytes()[8 - self.width_bytes..]),
        }
    }

    /// The greatest length that there is room for.
    fn length_max(&self) -> u64 {
        u64::MAX >> (64 - 8 * self.width_bytes)
    }
}

impl Default for LengthDelimited {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder for LengthDelimited {
    type Frame = Vec<u8>;

    #[inline]
    fn decode(&mut self, input: &mut &[u8]) -> io::Result<Option<Vec<u8>>> {
        let Some(body_bytes) = self.body_bytes(input)? else {
            return Ok(None);
        };
        let (head, rest) = input.split_at(self.head_bytes());
        let Some((body, rest)) = rest.split_at_checked(body_bytes) else {
            return Ok(None);
        };
        let mut frame = Vec::with_capacity(self.offset_bytes + body_bytes);
        frame.extend_from_slice(&head[..self.offset_bytes]);
        frame.extend_from_slice(body);
        *input = rest;
        Ok(Some(frame))
    }

    #[inline]
    fn truncated(&self, rest: &[u8]) -> io::Error {
        match self.body_bytes(rest) {
            Ok(Some(body_bytes)) => truncated_of(WHAT, rest.len(), self.head_bytes() + body_bytes),
            _ => truncated(WHAT, rest.len()),
        }
    }
}

impl<F: AsRef<[u8]> + ?Sized> Encoder<F> for LengthDelimited {
    fn encode(&self, frame: &F, output: &mut Vec<u8>) -> io::Result<()> {
        let frame = frame.as_ref();
        if frame.len() > self.max_bytes {
            return Err(unsendable_length(WHAT, frame.len(), self.max_bytes));
        }
        let Some((header, body)) = frame.split_at_checked(self.offset_bytes) else {
            let (len, offset) = (frame.len(), self.offset_bytes);
            return Err(unsendable(format_args!(
                "a frame of {len} bytes lacks a part of the {offset} that stand before its length"
            )));
        };
        let length = body.len() as i128 + i128::from(self.adjustment);
        match u64::try_from(length) {
            Ok(length) if length <= self.length_max() => {
                output.reserve(frame.len() + self.width_bytes);
                output.extend_from_slice(header);
                self.write_length(length, output);
                output.extend_from_slice(body);
                Ok(())
            }
            _ => {
                let width = self.width_bytes;
                Err(unsendable(format_args!(
                    "the length {length} does not fit into {width} bytes"
                )))
            }
        }
    }
}

const WHAT: &str = "a frame";

/// What a frame may have: a generous message, and of ten thousand peers that all send one, still in memory.
const MAX_BYTES: usize = 1 << 20;
