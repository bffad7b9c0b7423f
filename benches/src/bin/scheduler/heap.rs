//! What a task takes of the heap: the allocator counts, for each thread.
#![expect(unsafe_code, reason = "an allocator has no safe interface")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::future::poll_fn;
use std::hint::black_box;
use std::task::Poll;

use wakeful_benches::executors::Executor;

/// Bytes for each of many tasks that wait, beyond those of its future; and allocations.
pub(crate) async fn per_task<E: Executor>() -> Vec<f64> {
    let before = COST.get();
    for _ in 0..BATCHES_COUNT {
        for _ in 0..BATCH_LEN {
            let message = [0_u8; FUTURE_LEN];
            E::launch(poll_fn(move |_| {
                black_box(&message);
                Poll::Pending
            }));
        }
        E::yield_now().await; // so that no queue grows
    }
    let cost = COST.get();
    let per_task = |count: isize| count as f64 / (BATCHES_COUNT * BATCH_LEN) as f64;
    vec![
        per_task(cost.bytes - before.bytes) - FUTURE_LEN as f64,
        per_task(cost.allocations - before.allocations),
    ]
}

/// What this thread has allocated and not freed, and how often it has allocated.
#[derive(Clone, Copy)]
struct Cost {
    bytes: isize,
    allocations: isize,
}

thread_local! {
    static COST: Cell<Cost> = const { Cell::new(Cost { bytes: 0, allocations: 0 }) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

impl Counting {
    #[inline]
    fn note(&self, allocations: isize, bytes: isize) {
        // In the destructors of a dying thread there is nothing to count.
        let _ = COST.try_with(|cost| {
            let noted = cost.get();
            cost.set(Cost {
                bytes: noted.bytes + bytes,
                allocations: noted.allocations + allocations,
            });
        });
    }
}

// SAFETY: every call is passed on to the system's allocator as it came; counting allocates nothing, since the thread-local is
// a plain value that needs neither initialisation nor a destructor.
unsafe impl GlobalAlloc for Counting {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.note(1, layout.size().cast_signed());
        // SAFETY: the caller's promises are those that the system's allocator demands.
        unsafe { System.alloc(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        self.note(0, -layout.size().cast_signed());
        // SAFETY: as for `alloc`; the block is from the same allocator.
        unsafe { System.dealloc(block, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        self.note(0, size.cast_signed() - layout.size().cast_signed());
        // SAFETY: as for `alloc`; the block is from the same allocator.
        unsafe { System.realloc(block, layout, size) }
    }
}

const BATCHES_COUNT: usize = 100;
const BATCH_LEN: usize = 100;
const FUTURE_LEN: usize = 32;
