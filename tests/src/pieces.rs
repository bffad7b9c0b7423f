//! A stream that comes in pieces, and what a decoder makes of it.
//!
//! Polled by hand, without a runtime. The fuzz targets include this file, too.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use futures_io::AsyncRead;
use wakeful::codec::{Decoder, Encoder, Framed};

/// Gives one piece per read, and would block before each.
#[derive(Clone, Debug, Default)]
pub struct Pieces {
    pieces: VecDeque<Vec<u8>>,
    is_there: bool,
}

impl Pieces {
    /// `bytes` cut as `seed` decides: not at all, after each byte, or anywhere.
    pub fn cut(bytes: &[u8], seed: u64) -> Self {
        let mut random = seed;
        let mut rest = bytes;
        let mut pieces = VecDeque::new();
        while !rest.is_empty() {
            random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            let len = match seed % 4 {
                0 => rest.len(),
                1 => 1,
                2 => 1 + (random >> 33) as usize % rest.len().min(4),
                _ => 1 + (random >> 33) as usize % rest.len(),
            };
            let (piece, others) = rest.split_at(len);
            pieces.push_back(piece.to_vec());
            rest = others;
        }
        Self {
            pieces,
            is_there: false,
        }
    }
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.is_there = !self.is_there;
        if self.is_there {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Some(piece) = self.pieces.pop_front() else {
            return Poll::Ready(Ok(0));
        };
        let count = piece.as_slice().read(buffer)?;
        if count < piece.len() {
            self.pieces.push_front(piece[count..].to_vec());
        }
        Poll::Ready(Ok(count))
    }
}

/// Frames, and the error that ended them.
pub type Decoded<F> = (Vec<F>, Option<(ErrorKind, String)>);

/// What `decoder` makes of a stream. The future of each frame is dropped whenever it is pending.
///
/// # Panics
///
/// If something comes after an error.
pub fn decoded<D: Decoder>(decoder: D, stream: Pieces) -> Decoded<D::Frame> {
    let mut framed = Framed::new(stream, decoder);
    let mut frames = Vec::new();
    loop {
        match next(&mut framed) {
            Some(Ok(frame)) => frames.push(frame),
            Some(Err(error)) => {
                assert!(next(&mut framed).is_none(), "something comes after {error}");
                return (frames, Some((error.kind(), error.to_string())));
            }
            None => return (frames, None),
        }
    }
}

/// The bytes of some frames.
///
/// # Errors
///
/// The encoder's.
pub fn encoded<'a, E: Encoder<F>, F: ?Sized + 'a>(
    encoder: &E,
    frames: impl IntoIterator<Item = &'a F>,
) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for frame in frames {
        encoder.encode(frame, &mut bytes)?;
    }
    Ok(bytes)
}

fn next<D: Decoder>(framed: &mut Framed<Pieces, D>) -> Option<io::Result<D::Frame>> {
    loop {
        let mut cx = Context::from_waker(Waker::noop());
        if let Poll::Ready(item) = pin!(framed.next()).poll(&mut cx) {
            return item;
        }
    }
}
