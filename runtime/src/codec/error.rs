//! What goes wrong with frames, in sentences.
//!
//! | kind | what it says | whose fault |
//! |---|---|---|
//! | `InvalidData` | what arrived is no frame, or one beyond the limit | the peer's |
//! | `UnexpectedEof` | the stream has ended within a frame | the peer's, or the network's |
//! | `InvalidInput` | what should be sent cannot be a frame | ours |

use std::fmt;
use std::io::{self, ErrorKind};

/// What arrived is longer than it may be, and need not have arrived as a whole.
#[inline]
pub(super) fn too_long(what: &'static str, max_bytes: usize) -> io::Error {
    io::Error::new(
        ErrorKind::InvalidData,
        format!("{what} is longer than the {max_bytes} bytes that it may have"),
    )
}

/// What arrived is no frame.
pub(super) fn malformed(sentence: impl fmt::Display) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, sentence.to_string())
}

/// The stream ended, and of the last frame only `arrived` bytes are there.
#[inline]
pub(super) fn truncated(what: &'static str, arrived: usize) -> io::Error {
    io::Error::new(
        ErrorKind::UnexpectedEof,
        format!("the stream ended within {what}, after {arrived} bytes of it"),
    )
}

/// The same where it is known how many there should be.
#[inline]
pub(super) fn truncated_of(what: &'static str, arrived: usize, announced: usize) -> io::Error {
    io::Error::new(
        ErrorKind::UnexpectedEof,
        format!("the stream ended within {what}, after {arrived} of its {announced} bytes"),
    )
}

/// What should be sent would arrive as something else, or not at all.
pub(super) fn unsendable(sentence: impl fmt::Display) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, sentence.to_string())
}

/// What should be sent is longer than it may be.
#[inline]
pub(super) fn unsendable_length(what: &'static str, len: usize, max_bytes: usize) -> io::Error {
    unsendable(format_args!(
        "{what} of {len} bytes is longer than the {max_bytes} that it may have"
    ))
}
