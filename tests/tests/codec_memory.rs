//! What frames cost in memory: counted by the allocator of this test program, on the thread that asks.
#![expect(unsafe_code, reason = "an allocator that counts is one")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::ErrorKind;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use wakeful::codec::{Bytes, Decoder, Encoder, Framed, LengthDelimited, Lines, Outbox};
use wakeful::io::duplex;
use wakeful_tests::pieces::Pieces;

#[test]
fn an_idle_connection_owns_no_buffer_and_after_a_burst_none_again() {
    let (client, server) = duplex(1 << 20);
    let mut client = Framed::new(client, LengthDelimited::new());
    let mut server = Framed::new(server, LengthDelimited::new());
    // The pipe's own memory, and the thread's buffer.
    ready(client.send(&[0; 300_000])).unwrap();
    ready(server.next()).unwrap().unwrap();
    pending(server.next());
    for len in [0, 100, 100_000] {
        let ((), cost) = counted(|| {
            for _ in 0..3 {
                ready(client.feed(&vec![1; len])).unwrap();
                ready(client.feed(&vec![2; len])).unwrap();
                ready(client.flush()).unwrap();
                for _ in 0..2 {
                    assert!(ready(server.next()).unwrap().unwrap().len() == len);
                }
                pending(server.next());
            }
        });
        assert_eq!(cost.kept_bytes, 0, "after frames of {len} bytes");
    }
    // A frame of which a little has arrived costs a little.
    let ((), cost) = counted(|| {
        ready(client.send(&vec![1; 100_000])).unwrap();
        ready(client.get_mut().write_all(&[0, 0, 0, 200, 1, 2, 3])).unwrap();
        ready(server.next()).unwrap().unwrap();
        pending(server.next());
    });
    assert!((7..=2_000).contains(&cost.kept_bytes), "{cost:?}");
    assert_eq!(server.into_parts().unread, [0, 0, 0, 200, 1, 2, 3]);
    let codec_and_buffers = size_of::<Framed<(), Lines>>();
    assert!(codec_and_buffers <= 128, "{codec_and_buffers} bytes");
}

#[test]
fn nothing_is_allocated_on_the_word_of_a_length() {
    for width in [4, 8] {
        for max_bytes in [1 << 20, usize::MAX] {
            let mut bytes = vec![0xff; width];
            bytes[0] = 0x0f;
            bytes.extend([0; 1_000]);
            let codec = LengthDelimited::new().width(width).max_bytes(max_bytes);
            let mut framed = Framed::new(Pieces::cut(&bytes, 3), codec);
            with_the_threads_buffer();
            let (error, cost) = counted(|| ready(framed.next()).unwrap().unwrap_err());
            let is_refused = max_bytes == 1 << 20;
            let kind = match is_refused {
                true => ErrorKind::InvalidData,
                false => ErrorKind::UnexpectedEof,
            };
            assert_eq!(error.kind(), kind);
            assert!(cost.peak_bytes < 4_000, "{cost:?}");
        }
    }
}

/// A buffer that was moved for each byte, or given back and taken again, would show here.
#[test]
fn a_frame_that_comes_byte_by_byte_moves_its_buffer_a_few_times() {
    let line = [vec![b'x'; 60_000], b"\n".to_vec()].concat();
    let mut framed = Framed::new(Pieces::cut(&line, 1), Lines::new());
    with_the_threads_buffer();
    let (line, cost) = counted(|| ready(framed.next()).unwrap().unwrap());
    assert_eq!(line.len(), 60_000);
    assert!(cost.allocations_count < 40, "{cost:?}");
    assert!(cost.peak_bytes < 3 * 64 * 1024, "{cost:?}");
}

#[test]
fn frames_that_are_plain_values_are_read_without_allocating() {
    struct Numbers;

    impl Decoder for Numbers {
        type Frame = u64;

        fn decode(&mut self, input: &mut &[u8]) -> std::io::Result<Option<u64>> {
            let Some((number, rest)) = input.split_first_chunk() else {
                return Ok(None);
            };
            *input = rest;
            Ok(Some(u64::from_be_bytes(*number)))
        }
    }

    impl Encoder<u64> for Numbers {
        fn encode(&self, number: &u64, output: &mut Vec<u8>) -> std::io::Result<()> {
            output.extend_from_slice(&number.to_be_bytes());
            Ok(())
        }
    }

    let (client, server) = duplex(64);
    let mut server = Framed::new(server, Numbers);
    let mut client = Framed::new(client, Numbers);
    let mut exchange = |numbers: std::ops::Range<u64>| {
        for number in numbers {
            ready(client.send(&number)).unwrap();
            assert_eq!(ready(server.next()).unwrap().unwrap(), number);
            pending(server.next());
        }
    };
    exchange(0..1);
    let ((), cost) = counted(|| exchange(1..101));
    // Reading takes nothing. The buffer for writing comes and goes.
    assert_eq!((cost.allocations_count, cost.kept_bytes), (100, 0));
}

#[test]
fn an_outbox_of_a_peer_that_does_not_read_is_bounded_and_one_that_is_idle_owns_no_buffer() {
    let (client, mut server) = duplex(1);
    let (outbox, writer) = Outbox::with_capacity(Bytes, 10_000);
    let mut writing = pin!(writer.run(client));
    pending(writing.as_mut());
    let (accepted, cost) = counted(|| {
        let mut accepted = 0;
        for round in 0..10_000 {
            if outbox.try_send(&[1; 100][..1 + round % 100]).is_ok() {
                accepted += 1 + round % 100;
            }
            pending(writing.as_mut());
        }
        accepted
    });
    assert!((9_900..=10_001).contains(&accepted), "{accepted}");
    // Two buffers that grow by doubling: one that is filled, one that is written.
    assert!(cost.peak_bytes < 4 * 10_000, "{cost:?}");
    let mut read = 0;
    for _ in 0..2 * accepted {
        pending(writing.as_mut());
        if let Poll::Ready(count) = poll(server.read(&mut [0])) {
            read += count.unwrap();
        }
    }
    assert_eq!(read, accepted);
    assert!(cost.kept_bytes > 0);
    let (_, cost) = counted(|| {
        outbox.try_send(b"x").unwrap();
        pending(writing.as_mut());
        pending(writing.as_mut());
    });
    assert_eq!(cost.kept_bytes, 0, "what was kept before is gone");
}

fn poll<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn pending<F: Future<Output: std::fmt::Debug>>(future: F) {
    let polled = poll(future);
    assert!(polled.is_pending(), "{polled:?}");
}

/// Polls it until it is ready, which must not need anybody else.
fn ready<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    for _ in 0..1_000_000 {
        if let Poll::Ready(output) = poll(future.as_mut()) {
            return output;
        }
    }
    panic!("it waits for somebody else");
}

fn with_the_threads_buffer() {
    wakeful::io::with_scratch(|_| {});
}

#[derive(Copy, Clone, Debug, Default)]
struct Cost {
    allocations_count: usize,
    /// More than before it, at the end.
    kept_bytes: isize,
    /// More than before it, at the worst moment.
    peak_bytes: isize,
}

/// What this thread allocates in `body`.
fn counted<R>(body: impl FnOnce() -> R) -> (R, Cost) {
    COST.set(Cost::default());
    let result = body();
    (result, COST.get())
}

thread_local! {
    static COST: Cell<Cost> = const { Cell::new(Cost { allocations_count: 0, kept_bytes: 0, peak_bytes: 0 }) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

impl Counting {
    fn note(&self, allocations_count: usize, bytes: isize) {
        // In the destructors of a dying thread there is nothing to count.
        let _ = COST.try_with(|cost| {
            let mut noted = cost.get();
            noted.allocations_count += allocations_count;
            noted.kept_bytes += bytes;
            noted.peak_bytes = noted.peak_bytes.max(noted.kept_bytes);
            cost.set(noted);
        });
    }
}

// SAFETY: every call is passed on to the system's allocator as it came; counting allocates nothing, since the thread-local is
// a plain value that needs neither initialisation nor a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.note(1, layout.size().cast_signed());
        // SAFETY: the caller's promises are those that the system's allocator demands.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        self.note(0, -layout.size().cast_signed());
        // SAFETY: as for `alloc`; the block is from the same allocator.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        self.note(1, size.cast_signed() - layout.size().cast_signed());
        // SAFETY: as for `alloc`; the block is from the same allocator.
        unsafe { System.realloc(block, layout, size) }
    }
}
