//! Bytes up to a delimiter.
//!
//! Each byte is looked at once, also where the delimiter begins like itself and the peer sends nothing but beginnings of
//! it: the search is in `scan.rs`. A frame is refused as soon as it must be too long, wherever its end will be.

use std::io;
use std::sync::Arc;

use super::error::{too_long, truncated, unsendable, unsendable_length};
use super::scan::{Needle, Search};
use super::{Decoder, Encoder};

/// Frames that are separated by a row of bytes, which is in none of them.
///
/// The frame is a `Vec<u8>` without the delimiter: one allocation and one copy per frame. Anything that is a `[u8]` by
/// reference can be sent, unless the delimiter is in it.
///
/// A frame may have 64 KiB, unless [`max_bytes`](Self::max_bytes) says otherwise; one that is longer is malformed. So is the
/// end of the stream after a frame without its delimiter.
///
/// # Examples
///
/// ```
/// use wakeful::codec::{Delimited, Framed};
/// use wakeful::io::duplex;
///
/// wakeful::block_on(async {
///     let (mut client, server) = duplex(1024);
///     client.write_all(b"one\0two\0thr").await?;
///     drop(client);
///
///     let mut server = Framed::new(server, Delimited::new(b"\0"));
///     assert_eq!(server.next().await.unwrap()?, b"one");
///     assert_eq!(server.next().await.unwrap()?, b"two");
///     let error = server.next().await.unwrap().unwrap_err();
///     assert_eq!(error.to_string(), "the stream ended within a frame, after 3 bytes of it");
///     assert!(server.next().await.is_none());
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Debug)]
pub struct Delimited {
    /// Shared by the clones, of which a server has one per connection.
    delimiter: Arc<Needle>,
    max_bytes: usize,
    search: Search,
}

impl Delimited {
    /// Frames that end with `delimiter`.
    ///
    /// # Panics
    ///
    /// If it is empty.
    #[track_caller]
    pub fn new(delimiter: impl AsRef<[u8]>) -> Self {
        let delimiter = delimiter.as_ref();
        assert!(
            !delimiter.is_empty(),
            "a delimiter of no bytes would be everywhere"
        );
        Self {
            delimiter: Needle::new(delimiter),
            max_bytes: MAX_BYTES,
            search: Search::default(),
        }
    }

    /// Sets how many bytes a frame may have, the delimiter not counted.
    pub fn max_bytes(self, max_bytes: usize) -> Self {
        Self { max_bytes, ..self }
    }
}

impl Decoder for Delimited {
    type Frame = Vec<u8>;

    #[inline]
    fn decode(&mut self, input: &mut &[u8]) -> io::Result<Option<Vec<u8>>> {
        let found = self.search.find(&self.delimiter, input);
        if found.unwrap_or(self.search.ruled_out()) > self.max_bytes {
            return Err(too_long(WHAT, self.max_bytes));
        }
        Ok(found.map(|end| {
            let frame = input[..end].to_vec();
            *input = &input[end + self.delimiter.bytes().len()..];
            self.search = Search::default();
            frame
        }))
    }

    fn truncated(&self, rest: &[u8]) -> io::Error {
        truncated(WHAT, rest.len())
    }
}

impl<F: AsRef<[u8]> + ?Sized> Encoder<F> for Delimited {
    fn encode(&self, frame: &F, output: &mut Vec<u8>) -> io::Result<()> {
        let frame = frame.as_ref();
        if frame.len() > self.max_bytes {
            return Err(unsendable_length(WHAT, frame.len(), self.max_bytes));
        }
        let start = output.len();
        output.extend_from_slice(frame);
        output.extend_from_slice(self.delimiter.bytes());
        // The end of a frame and the beginning of the delimiter can be a delimiter, too.
        let found = Search::default().find(&self.delimiter, &output[start..]);
        match found == Some(frame.len()) {
            true => Ok(()),
            false => Err(unsendable(
                "a frame that contains the delimiter would arrive as two",
            )),
        }
    }
}

const WHAT: &str = "a frame";

/// What a frame may have: as a line.
const MAX_BYTES: usize = 64 << 10;
