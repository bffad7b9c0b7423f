//! Bytes as they come.

use std::io;

use super::{Decoder, Encoder};

/// No framing at all: a frame is what has arrived, at most 64 KiB at a time, and what is sent is sent as it is.
///
/// For streams whose bytes are passed on, and for an [`Outbox`](super::Outbox) of messages that are encoded already, such as
/// one that goes to a thousand peers.
///
/// # Examples
///
/// ```
/// use wakeful::codec::{Bytes, Framed};
/// use wakeful::io::duplex;
///
/// wakeful::block_on(async {
///     let (mut client, server) = duplex(1024);
///     client.write_all(b"whatever").await?;
///     let mut server = Framed::new(server, Bytes);
///     assert_eq!(server.next().await.unwrap()?, b"whatever");
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
#[derive(Copy, Clone, Debug, Default)]
pub struct Bytes;

impl Decoder for Bytes {
    type Frame = Vec<u8>;

    #[inline]
    fn decode(&mut self, input: &mut &[u8]) -> io::Result<Option<Vec<u8>>> {
        let frame = std::mem::take(input);
        Ok((!frame.is_empty()).then(|| frame.to_vec()))
    }
}

impl<F: AsRef<[u8]> + ?Sized> Encoder<F> for Bytes {
    fn encode(&self, frame: &F, output: &mut Vec<u8>) -> io::Result<()> {
        output.extend_from_slice(frame.as_ref());
        Ok(())
    }
}
