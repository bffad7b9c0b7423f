//! Every interleaving, within a bound, of senders, a writer and the end of either.
//!
//! Loom reports who is left waiting as a deadlock. Frames are one byte, and there is room for one.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use loom::thread;

use super::*;
use crate::codec::Bytes;
use crate::util::sync::model;
use crate::util::sync::thread::Bell;

#[test]
fn who_waits_is_let_in_and_each_order_is_kept() {
    model(|| {
        let (outbox, writer) = Outbox::with_capacity(Bytes, 1);
        let first = sends(outbox.clone(), b"ab");
        let second = sends(outbox, b"c");
        let mut written = write(writer);
        assert_eq!((first.join().unwrap(), second.join().unwrap()), (2, 1));
        written.retain(|byte| *byte != b'c');
        assert_eq!(written, b"ab");
    });
}

#[test]
fn a_close_meets_a_sender_that_waits_and_what_was_accepted_is_written() {
    model(|| {
        let (outbox, writer) = Outbox::with_capacity(Bytes, 1);
        let sender = sends(outbox.clone(), b"ab");
        let closer = thread::spawn(move || outbox.close());
        let written = write(writer);
        assert_eq!(sender.join().unwrap(), written.len());
        closer.join().unwrap();
    });
}

#[test]
fn all_hear_of_a_writer_that_is_gone() {
    model(|| {
        let (outbox, writer) = Outbox::with_capacity(Bytes, 1);
        let sender = sends(outbox.clone(), b"ab");
        let watcher = thread::spawn(move || wait(outbox.closed()));
        drop(writer);
        sender.join().unwrap();
        watcher.join().unwrap();
    });
}

#[test]
fn who_gives_up_lets_the_next_one_in() {
    model(|| {
        let (outbox, writer) = Outbox::with_capacity(Bytes, 1);
        outbox.try_send("a").unwrap();
        let impatient = thread::spawn({
            let outbox = outbox.clone();
            move || poll_once(outbox.send("b"))
        });
        let sender = sends(outbox, b"c");
        let written = write(writer);
        impatient.join().unwrap();
        assert_eq!(sender.join().unwrap(), 1);
        assert!(written.starts_with(b"a") && written.contains(&b'c'));
    });
}

/// A thread that sends each byte as a frame, and returns how many were accepted.
fn sends(outbox: Outbox<Bytes>, frames: &'static [u8]) -> thread::JoinHandle<usize> {
    thread::spawn(move || {
        let frames = frames.chunks(1);
        frames
            .take_while(|frame| outbox.send_blocking(*frame).is_ok())
            .count()
    })
}

/// Runs the writer to its end, and returns what it has written.
fn write(writer: OutboxWriter) -> Vec<u8> {
    let mut written = Vec::new();
    wait(writer.run(&mut OneByOne(&mut written))).unwrap();
    written
}

/// The waker is called between the polls, unlike the token of `park` by nobody else.
fn wait<F: Future>(future: F) -> F::Output {
    let bell = Arc::new(RingOnWake::default());
    let waker = bell.clone().into();
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => bell.0.wait(),
        }
    }
}

fn poll_once(future: impl Future) {
    let _ = pin!(future).poll(&mut Context::from_waker(Waker::noop()));
}

#[derive(Default)]
struct RingOnWake(Bell);

impl Wake for RingOnWake {
    fn wake(self: Arc<Self>) {
        self.0.ring();
    }
}

/// Takes a byte at a time.
struct OneByOne<'a>(&'a mut Vec<u8>);

impl futures_io::AsyncWrite for OneByOne<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.push(bytes[0]);
        Poll::Ready(Ok(1))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
