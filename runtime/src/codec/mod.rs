//! Frames: messages with a beginning and an end, in a stream of bytes that has neither.
//!
//! * A [`Decoder`] takes frames off the bytes that have arrived; an [`Encoder`] makes bytes of frames. There are some for
//!   [`Lines`], for frames with a [length in front](LengthDelimited) or a [delimiter behind](Delimited), and for
//!   [`Bytes`] as they come. One of your own is a method or two.
//! * [`Framed`] puts them around a connection: [`next`](Framed::next) is the next frame, [`send`](Framed::send) sends one.
//! * An [`Outbox`] is a handle to the writing side of a connection that any thread and any number of tasks may use.
//!
//! All of this works on whatever implements the traits of `futures-io`, the streams of [`net`](crate::net) among others,
//! and on any runtime.
//!
//! **What a peer can do is bounded.** Every decoder here has a finite limit on the size of a frame, allocates nothing for a
//! length that is only announced, and looks at each byte once, also of a peer that sends one at a time. An error of a decoder
//! ends the stream of frames: after it nobody knows where the next frame begins. Reading takes one system call for up to
//! 64 KiB, into a buffer that belongs to the thread; a connection keeps only the bytes of a frame that is not complete, so
//! one that is idle keeps none.
//!
//! **Nothing is half done.** A future that is dropped leaves whole frames: those that have been read wait for the next call, and
//! one that was to be sent is in the buffer, or it is not.
//!
//! # Reading and writing at the same time
//!
//! A [`Framed`] needs no stream that can do both. Where one task reads while another writes, each has a `Framed` of its own,
//! around its half or around a reference:
//!
//! ```
//! use wakeful::codec::{Framed, Lines};
//! use wakeful::net::{TcpListener, TcpStream};
//!
//! wakeful::block_on(async {
//!     let listener = TcpListener::bind("127.0.0.1:0")?;
//!     let client = TcpStream::connect(listener.local_addr()?).await?;
//!     let (server, _) = listener.accept().await?;
//!
//!     let (reader, writer) = server.into_split();
//!     let echo = wakeful::spawn(async move {
//!         let (mut reader, mut writer) = (Framed::new(reader, Lines::new()), Framed::new(writer, Lines::new()));
//!         while let Some(line) = reader.next().await {
//!             writer.send(&line?).await?;
//!         }
//!         std::io::Result::Ok(())
//!     });
//!
//!     let mut writer = Framed::new(&client, Lines::new());
//!     let mut reader = Framed::new(&client, Lines::new());
//!     writer.send("hello").await?;
//!     assert_eq!(reader.next().await.unwrap()?, "hello");
//!     writer.close().await?;
//!     assert!(reader.next().await.is_none());
//!     echo.await?
//! })?;
//! # std::io::Result::Ok(())
//! ```
//!
//! Where several write, they share an [`Outbox`].

mod buffer;
mod bytes;
mod delimited;
mod error;
mod framed;
mod length_delimited;
mod lines;
mod outbox;
mod scan;

use std::io;

pub use self::bytes::Bytes;
pub use self::delimited::Delimited;
pub use self::framed::{Framed, Parts};
pub use self::length_delimited::LengthDelimited;
pub use self::lines::Lines;
pub use self::outbox::{Outbox, OutboxWriter, SendError};

/// Takes frames off the bytes that have arrived.
///
/// What it answers says what happens next:
///
/// | | |
/// |---|---|
/// | `Ok(Some(frame))` | a whole frame, whose bytes are gone from the input |
/// | `Ok(None)` | more bytes are needed |
/// | `Err(error)` | malformed: the reader gets the error, and after it the end |
///
/// # Examples
///
/// Frames of a fixed size, which are not allocated:
///
/// ```
/// use wakeful::codec::{Decoder, Framed};
///
/// struct Numbers;
///
/// impl Decoder for Numbers {
///     type Frame = u32;
///
///     fn decode(&mut self, input: &mut &[u8]) -> std::io::Result<Option<u32>> {
///         let Some((number, rest)) = input.split_first_chunk() else {
///             return Ok(None);
///         };
///         *input = rest;
///         Ok(Some(u32::from_be_bytes(*number)))
///     }
/// }
///
/// wakeful::block_on(async {
///     let (mut client, server) = wakeful::io::duplex(64);
///     client.write_all(&[0, 0, 0, 1, 0, 0, 0, 2, 0]).await?;
///     drop(client);
///     let mut numbers = Framed::new(server, Numbers);
///     assert_eq!(numbers.next().await.unwrap()?, 1);
///     assert_eq!(numbers.next().await.unwrap()?, 2);
///     let error = numbers.next().await.unwrap().unwrap_err();
///     assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
pub trait Decoder {
    /// What it makes of the bytes.
    type Frame;

    /// Takes the next frame off the front of `input`, by moving the beginning of that slice.
    ///
    /// Bytes may be taken without giving a frame, too. Those that are left come again in the next call, at the front, with
    /// more behind them. So a decoder may remember how far it has looked; it should, where looking is not cheap, since the
    /// peer decides how many calls there are. It also bounds how many bytes it leaves: they are kept until it takes them.
    ///
    /// It is called with at least one byte.
    ///
    /// # Errors
    ///
    /// What arrived cannot be a frame, or not one that is wanted; usually [`InvalidData`](io::ErrorKind::InvalidData). Nothing
    /// is decoded after an error.
    fn decode(&mut self, input: &mut &[u8]) -> io::Result<Option<Self::Frame>>;

    /// The same after the end of the stream, until there are no frames any more.
    ///
    /// Where the end of the stream ends the last frame, a decoder says it here. It may be called with no bytes.
    ///
    /// # Errors
    ///
    /// Those of [`decode`](Self::decode), and [`truncated`](Self::truncated) if bytes are left that are no frame.
    fn decode_end(&mut self, input: &mut &[u8]) -> io::Result<Option<Self::Frame>> {
        if input.is_empty() {
            return Ok(None);
        }
        match self.decode(input)? {
            None if !input.is_empty() => Err(self.truncated(input)),
            decoded => Ok(decoded),
        }
    }

    /// The error for a stream that ends within a frame, of which `rest` has arrived.
    fn truncated(&self, rest: &[u8]) -> io::Error {
        error::truncated("a frame", rest.len())
    }
}

/// Makes bytes of frames of type `F`.
///
/// It takes frames by reference: whoever could not send one still has it. It takes itself by a shared reference, since the
/// senders of an [`Outbox`] encode at the same time. What an encoder must remember from one frame to the next is in a
/// `Cell`; then it serves in a [`Framed`], and the compiler keeps it from an `Outbox`, which has no order of encoding.
///
/// # Examples
///
/// ```
/// use wakeful::codec::{Encoder, Framed};
///
/// struct Numbers;
///
/// impl Encoder<u32> for Numbers {
///     fn encode(&self, number: &u32, output: &mut Vec<u8>) -> std::io::Result<()> {
///         output.extend_from_slice(&number.to_be_bytes());
///         Ok(())
///     }
/// }
///
/// wakeful::block_on(async {
///     let (client, mut server) = wakeful::io::duplex(64);
///     let mut numbers = Framed::new(client, Numbers);
///     numbers.send(&1).await?;
///     let mut bytes = [0; 4];
///     assert_eq!(server.read(&mut bytes).await?, 4);
///     assert_eq!(bytes, [0, 0, 0, 1]);
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
pub trait Encoder<F: ?Sized> {
    /// Appends the bytes of `frame` to `output`, and leaves alone what stands there.
    ///
    /// # Errors
    ///
    /// The frame cannot be sent; usually [`InvalidInput`](io::ErrorKind::InvalidInput). Whatever was appended is removed by
    /// the caller, and the next frame may be sent.
    fn encode(&self, frame: &F, output: &mut Vec<u8>) -> io::Result<()>;
}

/// Encodes a frame behind what stands in `output`, or leaves that as it was.
fn encode_whole<F: ?Sized>(
    encoder: &impl Encoder<F>,
    frame: &F,
    output: &mut Vec<u8>,
) -> io::Result<()> {
    let len = output.len();
    let encoded = encoder.encode(frame, output);
    if encoded.is_err() {
        output.truncate(len);
    }
    encoded
}
