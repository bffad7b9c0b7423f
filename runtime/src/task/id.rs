//! Numbers for tasks.

use std::cell::Cell;
use std::fmt;
use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Names a task among all tasks of the process, of every runtime, for as long as the process lives.
///
/// Each thread that spawns hands out numbers from a block of its own, so they tell nothing about the order in which tasks
/// were spawned.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(NonZeroU64);

impl TaskId {
    /// The next number of this thread's block. One counter for all would be written by every core at each spawn.
    #[inline]
    pub(super) fn next() -> Self {
        BLOCK.with(|block| {
            let Range { start, end } = block.replace(0..0);
            let Range { start, end } = if start < end {
                start..end
            } else {
                fresh_block()
            };
            block.set(start + 1..end);
            Self(
                NonZeroU64::new(start)
                    .expect("blocks begin above zero, and 2^64 tasks are never spawned"),
            )
        })
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskId({self})")
    }
}

#[cold]
fn fresh_block() -> Range<u64> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let start = NEXT.fetch_add(BLOCK_LEN, Relaxed);
    start..start + BLOCK_LEN
}

thread_local! {
    /// What is left of this thread's block.
    static BLOCK: Cell<Range<u64>> = const { Cell::new(0..0) };
}

const BLOCK_LEN: u64 = 256;

#[cfg(all(test, not(loom)))]
mod tests {
    use std::collections::HashSet;
    use std::thread;

    use super::*;

    #[test]
    fn no_number_is_given_twice_on_any_thread() {
        let spawners = [(); 4]
            .map(|()| thread::spawn(|| (0..1000).map(|_| TaskId::next()).collect::<Vec<_>>()));
        let all: Vec<_> = spawners
            .into_iter()
            .flat_map(|spawner| spawner.join().unwrap())
            .collect();
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), 4000);
    }
}
