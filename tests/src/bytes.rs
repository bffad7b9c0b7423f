//! Bytes that look random, and that both ends of a connection can make for themselves.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;

/// An endless row of bytes, different for each seed.
#[derive(Copy, Clone, Debug)]
pub struct Bytes(pub u64);

impl Bytes {
    /// Fills `buffer` with the bytes that begin at `offset`.
    pub fn fill(self, offset: usize, buffer: &mut [u8]) {
        let mut filled = 0;
        while filled < buffer.len() {
            let at = offset + filled;
            let word = mixed(self.0, (at / 8) as u64).to_le_bytes();
            let rest = &word[at % 8..];
            let count = rest.len().min(buffer.len() - filled);
            buffer[filled..filled + count].copy_from_slice(&rest[..count]);
            filled += count;
        }
    }

    /// The first `len` bytes.
    pub fn take(self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.fill(0, &mut bytes);
        bytes
    }

    /// Writes `total` bytes, `chunk` at a time.
    ///
    /// # Errors
    ///
    /// Those of writing.
    pub fn send(self, mut to: impl Write, total: usize, chunk: usize) -> io::Result<()> {
        let mut buffer = vec![0; chunk];
        let mut sent = 0;
        while sent < total {
            let count = chunk.min(total - sent);
            self.fill(sent, &mut buffer[..count]);
            to.write_all(&buffer[..count])?;
            sent += count;
        }
        Ok(())
    }

    /// Reads `total` bytes, `chunk` at a time, and compares them.
    ///
    /// # Errors
    ///
    /// Those of reading.
    ///
    /// # Panics
    ///
    /// If a byte differs.
    pub fn expect(self, mut from: impl Read, total: usize, chunk: usize) -> io::Result<()> {
        let (mut buffer, mut expected) = (vec![0; chunk], vec![0; chunk]);
        let mut received = 0;
        while received < total {
            let count = chunk.min(total - received);
            from.read_exact(&mut buffer[..count])?;
            self.fill(received, &mut expected[..count]);
            assert!(
                buffer[..count] == expected[..count],
                "other bytes than were sent, from {received} on, seed {}",
                self.0
            );
            received += count;
        }
        Ok(())
    }

    /// Sends `total` bytes to an echo server while it reads and compares them, then half-closes and expects the end.
    ///
    /// # Panics
    ///
    /// If anything fails.
    #[track_caller]
    pub fn through(self, stream: &TcpStream, total: usize, chunk: usize) {
        thread::scope(|scope| {
            scope.spawn(move || {
                self.send(stream, total, chunk).expect("the server reads");
                stream.shutdown(Shutdown::Write).unwrap();
            });
            self.expect(stream, total, chunk)
                .expect("the server answers");
            let end = { stream }.read(&mut [0]).expect("the server closes");
            assert_eq!(end, 0, "the server sent more than it got");
        });
    }
}

/// The `number`th word of the SplitMix64 generator.
fn mixed(seed: u64, number: u64) -> u64 {
    let mut word = seed.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
