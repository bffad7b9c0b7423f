//! Text, line by line.
//!
//! A line is looked through once, however it arrives: the decoder remembers how far it has seen no end. It is refused as
//! soon as so much has arrived that it must be too long, not when its end does.
//!
//! Lines are text, checked. Where bytes are wanted, `Delimited::new(b"\n")` gives them as they came.

use std::io;

use super::error::{malformed, too_long, truncated, unsendable, unsendable_length};
use super::scan::find_byte;
use super::{Decoder, Encoder};

/// Lines of UTF-8 text.
///
/// The frame is a `String` without the line's end: one allocation and one copy per line. Anything that is a `str` by
/// reference can be sent.
///
/// | | a line ends with | and is sent with |
/// |---|---|---|
/// | [`new`](Self::new) | `\n`; a `\r` before it is removed | `\n` |
/// | [`lf`](Self::lf) | `\n`; a `\r` is like any other character | `\n` |
/// | [`crlf`](Self::crlf) | `\r\n`; a `\n` alone is like any other character | `\r\n` |
///
/// The last two lose nothing: what is read and sent again is the same bytes. Where others read the same lines, choose what
/// they choose: two programs that disagree on where a line ends can be played off against each other.
///
/// A line may have 64 KiB, unless [`max_bytes`](Self::max_bytes) says otherwise. One that is longer, or is not UTF-8, is
/// malformed; so is the end of the stream within a line, since nobody knows what is missing. To send a line that would
/// arrive as several, or as another one, is an error too, so nobody can smuggle a second line into what you send.
///
/// # Examples
///
/// ```
/// use wakeful::codec::{Framed, Lines};
/// use wakeful::io::duplex;
///
/// wakeful::block_on(async {
///     let (mut client, server) = duplex(1024);
///     client.write_all(b"HELO me\r\nQUIT\n").await?;
///
///     let mut server = Framed::new(server, Lines::new().max_bytes(512));
///     assert_eq!(server.next().await.unwrap()?, "HELO me");
///     assert_eq!(server.next().await.unwrap()?, "QUIT");
///     server.send("221 bye").await?;
///     assert!(server.send("221 bye\n250 forged").await.is_err());
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Debug)]
pub struct Lines {
    end: End,
    max_bytes: usize,
    /// So many bytes of the input are known to have no end of a line among them.
    scanned: usize,
}

impl Lines {
    /// Lines that end with `\n` or `\r\n`, and are sent with `\n`.
    pub fn new() -> Self {
        Self::ending_with(End::Either)
    }

    /// Lines that end with `\n`. A `\r` before it is a part of the line.
    pub fn lf() -> Self {
        Self::ending_with(End::Lf)
    }

    /// Lines that end with `\r\n`. Neither of the two alone ends a line.
    pub fn crlf() -> Self {
        Self::ending_with(End::CrLf)
    }

    /// Sets how many bytes a line may have, its end not counted.
    pub fn max_bytes(self, max_bytes: usize) -> Self {
        Self { max_bytes, ..self }
    }

    fn ending_with(end: End) -> Self {
        Self {
            end,
            max_bytes: MAX_BYTES,
            scanned: 0,
        }
    }
}

impl Default for Lines {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder for Lines {
    type Frame = String;

    #[inline]
    fn decode(&mut self, input: &mut &[u8]) -> io::Result<Option<String>> {
        let Some(newline) = self.end.find(input, self.scanned) else {
            self.scanned = input.len();
            // A `\r` that is the last may be the beginning of the end.
            return match self.end.strip(input).len() > self.max_bytes {
                true => Err(too_long(WHAT, self.max_bytes)),
                false => Ok(None),
            };
        };
        let line = self.end.strip(&input[..newline]);
        *input = &input[newline + 1..];
        self.scanned = 0;
        if line.len() > self.max_bytes {
            return Err(too_long(WHAT, self.max_bytes));
        }
        match str::from_utf8(line) {
            Ok(line) => Ok(Some(line.to_owned())),
            Err(error) => Err(malformed(format_args!("a line is not UTF-8: {error}"))),
        }
    }

    fn truncated(&self, rest: &[u8]) -> io::Error {
        truncated(WHAT, rest.len())
    }
}

impl<F: AsRef<str> + ?Sized> Encoder<F> for Lines {
    fn encode(&self, frame: &F, output: &mut Vec<u8>) -> io::Result<()> {
        let line = frame.as_ref().as_bytes();
        if line.len() > self.max_bytes {
            return Err(unsendable_length(WHAT, line.len(), self.max_bytes));
        }
        let start = output.len();
        output.extend_from_slice(line);
        output.extend_from_slice(self.end.bytes());
        let sent = &output[start..];
        let newline = self.end.find(sent, 0);
        if newline != Some(sent.len() - 1) {
            return Err(unsendable(
                "a line that contains the end of a line would arrive as two",
            ));
        }
        if self.end.strip(&sent[..sent.len() - 1]) != line {
            return Err(unsendable(
                "a line that ends with \\r would arrive without it",
            ));
        }
        Ok(())
    }
}

/// Where a line ends.
#[derive(Copy, Clone, Debug)]
enum End {
    Either,
    Lf,
    CrLf,
}

impl End {
    fn bytes(self) -> &'static [u8] {
        match self {
            Self::Either | Self::Lf => b"\n",
            Self::CrLf => b"\r\n",
        }
    }

    /// The place of the first `\n` that ends a line. None is among the first `scanned` bytes.
    #[inline]
    fn find(self, input: &[u8], mut scanned: usize) -> Option<usize> {
        loop {
            let newline = scanned + find_byte(b'\n', &input[scanned..])?;
            if !matches!(self, Self::CrLf) || input[..newline].ends_with(b"\r") {
                return Some(newline);
            }
            scanned = newline + 1;
        }
    }

    /// What stands before a `\n`, without what belongs to the line's end.
    #[inline]
    fn strip(self, line: &[u8]) -> &[u8] {
        match self {
            Self::Lf => line,
            Self::Either | Self::CrLf => line.strip_suffix(b"\r").unwrap_or(line),
        }
    }
}

const WHAT: &str = "a line";

/// What a line may have: more than a person types or a header holds.
const MAX_BYTES: usize = 64 << 10;
