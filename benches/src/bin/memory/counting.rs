//! The system's allocator, which counts what is asked of it.
//!
//! All threads are counted but those that asked not to be: the client of a server in the same process. Two relaxed counters are
//! enough: who reads them has made sure by other means that what is counted is done.
#![expect(
    unsafe_code,
    reason = "an allocator is an unsafe trait; this one hands every call on"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// The allocator.
pub(crate) struct Counting;

/// What was counted until now.
#[derive(Clone, Copy)]
pub(crate) struct Counted {
    pub(crate) allocations: u64,
    /// Held now.
    pub(crate) bytes: i64,
}

impl Counted {
    pub(crate) fn now() -> Self {
        Self {
            allocations: ALLOCATIONS.load(Relaxed),
            bytes: BYTES.load(Relaxed),
        }
    }
}

/// What this thread does is not counted from now on.
pub(crate) fn leave_out_this_thread() {
    IS_LEFT_OUT.set(true);
}

fn note(allocations: u64, bytes: i64) {
    // A thread that is ending, whose flag is gone, is counted as all are.
    if !IS_LEFT_OUT.try_with(Cell::get).unwrap_or(false) {
        ALLOCATIONS.fetch_add(allocations, Relaxed);
        BYTES.fetch_add(bytes, Relaxed);
    }
}

// SAFETY: every call is passed on to the system's allocator as it came; counting allocates nothing, since the thread-local is
// a plain value that needs neither initialisation nor a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(1, layout.size() as i64);
        // SAFETY: the caller's promises are those that the system's allocator demands.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        note(0, -(layout.size() as i64));
        // SAFETY: as for `alloc`; the block is from the same allocator.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(1, size as i64 - layout.size() as i64);
        // SAFETY: as for `alloc`; the block is from the same allocator.
        unsafe { System.realloc(block, layout, size) }
    }
}

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicI64 = AtomicI64::new(0);

thread_local! {
    static IS_LEFT_OUT: Cell<bool> = const { Cell::new(false) };
}
