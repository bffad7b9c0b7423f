//! The thread's large buffer, lent to one closure at a time.
//!
//! A server with ten thousand idle connections wants one buffer per thread that is busy, not ten thousand. The buffer is
//! taken out of its place while it is lent: a closure that borrows inside a borrow finds the place empty and gets a fresh
//! one, and of several that come back one is kept. A closure that panics gives it back on the way out.

use std::cell::Cell;
use std::mem::ManuallyDrop;

/// Lends a buffer of 64 KiB to `use_buffer`.
///
/// The buffer belongs to the thread and is allocated at its first use, so a task that reads into it, and keeps only what
/// it could not deal with at once, needs no memory while it waits. Calls may be nested: the inner one gets another buffer.
/// What stands in the buffer at first is left over from its last use.
///
/// `use_buffer` cannot await. Wait with [`readable`](crate::net::TcpStream::readable), then borrow and use the `try_`
/// operations.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use wakeful::io::with_scratch;
/// use wakeful::net::{TcpListener, TcpStream};
///
/// wakeful::block_on(async {
///     let listener = TcpListener::bind("127.0.0.1:0")?;
///     let client = TcpStream::connect(listener.local_addr()?).await?;
///     let (server, _) = listener.accept().await?;
///     client.write(b"ping").await?;
///
///     let count = loop {
///         server.readable().await?;
///         match with_scratch(|buffer| server.try_read(buffer)) {
///             Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
///             result => break result?,
///         }
///     };
///     assert_eq!(count, 4);
///     Ok(())
/// })
/// # }
/// ```
#[inline]
pub fn with_scratch<R>(use_buffer: impl FnOnce(&mut [u8]) -> R) -> R {
    let mut lent = Lent(Some(take()));
    match &mut lent.0 {
        Some(buffer) => use_buffer(&mut buffer[..]),
        None => unreachable!("it goes back with the drop"),
    }
}

/// Its length is in its type, so that what a closure asks of it is known when it is compiled.
type Buffer = Box<[u8; SCRATCH_BYTES]>;

/// A buffer on loan. Goes back when dropped, in a panic too.
struct Lent(Option<Buffer>);

impl Drop for Lent {
    #[inline]
    fn drop(&mut self) {
        let mut replaced = SPARE.replace(ManuallyDrop::new(self.0.take()));
        if let Some(second) = replaced.take() {
            keep_one(second);
        }
    }
}

#[inline]
fn take() -> Buffer {
    SPARE.take().take().unwrap_or_else(allocate)
}

#[cold]
fn allocate() -> Buffer {
    if END.try_with(|_| ()).is_err() {
        // The thread is dying, and nobody will come to free what is kept: who gives this one back is to find another.
        SPARE.set(ManuallyDrop::new(Some(zeroed())));
    }
    zeroed()
}

fn zeroed() -> Buffer {
    let buffer = vec![0; SCRATCH_BYTES].into_boxed_slice();
    buffer.try_into().expect("it has this length")
}

/// There was a buffer already when another one was given back.
#[cold]
fn keep_one(second: Buffer) {
    drop(second);
    if END.try_with(|_| ()).is_err() {
        free_spare();
    }
}

fn free_spare() {
    drop(ManuallyDrop::into_inner(SPARE.take()));
}

/// Frees the spare buffer with the end of the thread.
struct End;

impl Drop for End {
    fn drop(&mut self) {
        free_spare();
    }
}

// The buffer has no destructor of its own, so that nobody has to ask whether it is still there, which took nine instructions of an
// echo. END has one, and exists from the first allocation on.
thread_local! {
    static SPARE: Cell<ManuallyDrop<Option<Buffer>>> = const { Cell::new(ManuallyDrop::new(None)) };
    static END: End = const { End };
}

/// As much as one system call moves on loopback in bulk; more brings little and leaves the second-level cache.
const SCRATCH_BYTES: usize = 64 << 10;

#[cfg(all(test, not(loom)))]
mod tests {
    use std::cell::Cell;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::mpsc;
    use std::thread;

    use super::{END, SCRATCH_BYTES, SPARE, with_scratch};

    #[test]
    fn the_same_buffer_is_lent_again_and_again() {
        let first = with_scratch(|buffer| {
            assert_eq!(buffer.len(), SCRATCH_BYTES);
            buffer.as_ptr().addr()
        });
        assert_eq!(with_scratch(|buffer| buffer.as_ptr().addr()), first);
    }

    #[test]
    fn a_borrow_inside_a_borrow_gets_another_buffer() {
        with_scratch(|outer| {
            outer[0] = 1;
            with_scratch(|inner| inner[0] = 2);
            assert_eq!(outer[0], 1);
        });
    }

    #[test]
    fn a_panic_brings_the_buffer_back() {
        let mut lent = 0;
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            with_scratch(|buffer| {
                lent = buffer.as_ptr().addr();
                panic!("in the closure");
            })
        }));
        assert!(panicked.is_err());
        assert_eq!(with_scratch(|buffer| buffer.as_ptr().addr()), lent);
    }

    #[test]
    fn nothing_is_kept_that_the_end_of_the_thread_would_not_free() {
        struct Late(Cell<Option<mpsc::Sender<(bool, bool)>>>);

        impl Drop for Late {
            fn drop(&mut self) {
                with_scratch(|_| with_scratch(|_| ()));
                let ended = END.try_with(|_| ()).is_err();
                let found = (ended, SPARE.take().take().is_some());
                self.0.take().unwrap().send(found).unwrap();
            }
        }

        thread_local!(static LATE: Late = const { Late(Cell::new(None)) });

        let (sender, receiver) = mpsc::channel();
        let thread = thread::spawn(|| {
            LATE.with(|late| late.0.set(Some(sender))); // what is there first goes last
            with_scratch(|_| ());
        });
        assert_eq!(receiver.recv(), Ok((true, false)));
        thread.join().unwrap();
    }
}
