//! Fuzzing the decoders: whatever the bytes, and in whatever pieces they come.
//!
//! One binary for all, since building is what takes long; the variable `DECODER` says which. `fuzz/run` builds it, and gives each
//! decoder its time and its corpus. The first bytes of an input are settings, the others what arrives.
//!
//! What must hold for every input:
//!
//! * Bytes that come in pieces give the same frames, and the same error, as in one piece.
//! * Frames that were decoded can be encoded, and what is encoded gives these frames. Where nothing is lost in decoding, it is
//!   also the bytes that were decoded.
//! * Whatever is taken as a frame and can be encoded arrives as it was: nobody can make one frame look like two.
#![no_main]

#[path = "../../tests/src/pieces.rs"]
mod pieces;

use std::env;
use std::fmt::Debug;
use std::sync::LazyLock;

use libfuzzer_sys::{Corpus, fuzz_target};
use wakeful::codec::{Bytes, Decoder, Delimited, Encoder, LengthDelimited, Lines};

use self::pieces::{Pieces, decoded, encoded};

fuzz_target!(|data: &[u8]| -> Corpus {
    match data.split_first_chunk() {
        Some((settings, bytes)) => {
            TARGET(*settings, bytes);
            Corpus::Keep
        }
        None => Corpus::Reject,
    }
});

type Settings = [u8; 4];

static TARGET: LazyLock<fn(Settings, &[u8])> =
    LazyLock::new(|| match env::var("DECODER").as_deref() {
        Ok("lines") => lines,
        Ok("delimited") => delimited,
        Ok("length") => length,
        Ok("bytes") => bytes,
        other => panic!("DECODER must be lines, delimited, length or bytes, and is {other:?}"),
    });

fn lines([kind, max_bytes, seed, _]: Settings, input: &[u8]) {
    let (lines, is_lossless) = match kind % 3 {
        0 => (Lines::new(), false),
        1 => (Lines::lf(), true),
        _ => (Lines::crlf(), true),
    };
    let lines = lines.max_bytes(max_bytes.into());
    let frames = pieces_do_not_matter(&lines, input, seed);
    comes_back(&lines, &frames, is_lossless.then_some(input));
    if let Ok(line) = str::from_utf8(input) {
        stays_whole(&lines, line, |frame| frame == line);
    }
}

/// The delimiter is the beginning of the input.
fn delimited([len, max_bytes, seed, _]: Settings, input: &[u8]) {
    let len = 1 + usize::from(len % 8);
    let Some((delimiter, input)) = input.split_at_checked(len) else {
        return;
    };
    let codec = Delimited::new(delimiter).max_bytes(max_bytes.into());
    let frames = pieces_do_not_matter(&codec, input, seed);
    comes_back(&codec, &frames, Some(input));
    stays_whole(&codec, input, |frame| frame == input);
}

fn length([shape, adjustment, seed, max_bytes]: Settings, input: &[u8]) {
    let mut codec = LengthDelimited::new()
        .width(1 << (shape % 4))
        .offset(usize::from(shape >> 2) % 5)
        .adjustment(i32::from(adjustment.cast_signed()))
        .max_bytes(16 * usize::from(max_bytes));
    if shape >= 128 {
        codec = codec.little_endian();
    }
    let frames = pieces_do_not_matter(&codec, input, seed);
    comes_back(&codec, &frames, Some(input));
    stays_whole(&codec, input, |frame| frame == input);
}

fn bytes([_, _, seed, _]: Settings, input: &[u8]) {
    let (frames, error) = decoded(Bytes, Pieces::cut(input, seed.into()));
    assert_eq!(error, None);
    assert_eq!(frames.concat(), input);
    assert_eq!(encoded(&Bytes, &frames).unwrap(), input);
}

fn pieces_do_not_matter<D>(decoder: &D, input: &[u8], seed: u8) -> Vec<D::Frame>
where
    D: Decoder<Frame: PartialEq + Debug> + Clone,
{
    let whole = decoded(decoder.clone(), Pieces::cut(input, 0));
    let pieces = decoded(decoder.clone(), Pieces::cut(input, seed.into()));
    assert_eq!(whole, pieces);
    whole.0
}

/// With `input`, the frames are made of its bytes.
fn comes_back<C, F>(codec: &C, frames: &[F], input: Option<&[u8]>)
where
    C: Decoder<Frame = F> + Encoder<F> + Clone,
    F: PartialEq + Debug,
{
    let bytes = match encoded(codec, frames) {
        Ok(bytes) => bytes,
        // A line may be read with a `\r` at its end that it could not be sent with.
        Err(_) if input.is_none() => return,
        Err(error) => panic!("what was decoded cannot be encoded: {error}"),
    };
    assert!(input.is_none_or(|input| input.starts_with(&bytes)));
    let (again, error) = decoded(codec.clone(), Pieces::cut(&bytes, 3));
    assert_eq!((again.as_slice(), error), (frames, None));
}

fn stays_whole<C, F: ?Sized>(codec: &C, frame: &F, is_it: impl Fn(&C::Frame) -> bool)
where
    C: Decoder<Frame: Debug> + Encoder<F> + Clone,
{
    let mut bytes = b"before".to_vec();
    if codec.encode(frame, &mut bytes).is_ok() {
        let (frames, error) = decoded(codec.clone(), Pieces::cut(&bytes[6..], 2));
        assert!(bytes.starts_with(b"before"));
        assert!(error.is_none() && frames.len() == 1 && is_it(&frames[0]));
    }
}
