//! The run queue of one core: a ring that its owner fills and empties, and that thieves may halve.
//!
//! ```text
//!            head                      tail
//!             ▼                         ▼
//!   ┌───┬───┬───┬───┬───┬───┬───┬───┬───┬───┐
//!   │   │   │ ● │ ● │ ● │ ● │ ● │ ● │   │   │  slots: head..tail modulo the capacity
//!   └───┴───┴───┴───┴───┴───┴───┴───┴───┴───┘
//!             └── thieves and owner ──┘ owner pushes
//! ```
//!
//! * Only the owner writes `tail` and the slots. A push is two stores; no read-modify-write.
//! * Owner and thieves take by a compare-and-swap on `head`. A thief first copies the slots and then claims them all at
//!   once; if the claim succeeds, `head` had not moved since, so the owner had no room to overwrite what was copied. The
//!   counters are 64 bits wide and never come round.
//! * A slot is an atomic pointer, so a thief that copies while the owner overwrites reads a stale value, never a torn one,
//!   and its claim then fails.
//!
//! Beside the ring there is one **next** slot: the first task that the running task wakes runs right after it, while
//! what they share is warm in the cache. Filling an empty slot is a plain store, for only the owner fills it and thieves
//! only empty it. A second wake goes to the ring, so it costs no read-modify-write either and the order stays first in,
//! first out.
//!
//! The queue of a runtime with one worker has no thieves: there the owner takes by a store, and each task costs a
//! compare-and-swap less.
//!
//! Rejected: *a packed pair of heads* (steal in progress, taken), which lets a thief copy after its claim. It saves
//! the copy of a failed claim, and costs a second word of state that every pop must understand.
#![expect(
    unsafe_code,
    reason = "a slot holds a task as a raw pointer, because only that fits an atomic word"
)]

use std::array;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use crate::task::{Header, Runnable};
use crate::util::cache_padded::CachePadded;
use crate::util::sync::atomic::{
    AtomicPtr, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

/// The owner's end. It can be handed to another thread, but not shared.
#[derive(Debug)]
pub(crate) struct LocalQueue {
    ring: Arc<Ring>,
    not_sync: PhantomData<std::cell::Cell<()>>,
}

impl LocalQueue {
    /// Without thieves, those who have its [`Stealer`] find nothing, and to take a task costs no read-modify-write.
    pub(crate) fn new(has_thieves: bool) -> Self {
        Self {
            ring: Arc::new(Ring::new(has_thieves)),
            not_sync: PhantomData,
        }
    }

    pub(crate) fn stealer(&self) -> Stealer {
        Stealer {
            ring: self.ring.clone(),
        }
    }

    /// How many tasks wait in the ring.
    pub(crate) fn len(&self) -> usize {
        self.ring.len()
    }

    /// Whether nothing waits, neither in the ring nor in the next slot.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0 && !self.has_next()
    }

    /// Whether there may be a task in the next slot.
    #[inline]
    pub(crate) fn has_next(&self) -> bool {
        !self.ring.next.load(Relaxed).is_null() // only the owner fills it
    }

    /// How many more tasks the ring can take.
    pub(crate) fn room(&self) -> usize {
        CAPACITY - self.len()
    }

    /// Appends a task, unless the ring is full.
    #[inline]
    pub(crate) fn push(&self, task: Runnable) -> Result<(), Runnable> {
        self.push_as(task, |task| task)
    }

    /// The same with the task that `value` becomes, if there is room for it.
    #[inline]
    pub(crate) fn push_as<T>(
        &self,
        value: T,
        into_task: impl FnOnce(T) -> Runnable,
    ) -> Result<(), T> {
        let ring = &*self.ring;
        let tail = ring.tail.load(Relaxed); // only the owner writes it
        if tail - ring.head.load(Acquire) >= CAPACITY as u64 {
            return Err(value);
        }
        // Acquire above: whoever took the slot's former task has read it.
        let task = into_task(value);
        ring.slot(tail).store(task.into_raw().as_ptr(), Relaxed);
        ring.tail.store(tail + 1, Release); // publishes the slot
        Ok(())
    }

    /// Takes the oldest task.
    #[inline]
    pub(crate) fn pop(&self) -> Option<Runnable> {
        let ring = &*self.ring;
        let mut head = ring.head.load(Relaxed); // only a guess: the exchange decides
        loop {
            if head == ring.tail.load(Relaxed) {
                return None;
            }
            let task = ring.slot(head).load(Relaxed); // written by this thread, or handed over with the whole queue
            if !ring.has_thieves {
                ring.head.store(head + 1, Release); // others look at the length
                // SAFETY: the slot at `head` held a task of `into_raw`; `Stealer` takes nothing, so it is ours alone.
                return Some(unsafe { Runnable::from_raw(NonNull::new_unchecked(task)) });
            }
            // Release: a later push that sees this head knows that the slot has been read.
            match ring
                .head
                .compare_exchange_weak(head, head + 1, Release, Relaxed)
            {
                // SAFETY: the slot at `head` held a task of `into_raw`, and the exchange took it for us alone.
                Ok(_) => return Some(unsafe { Runnable::from_raw(NonNull::new_unchecked(task)) }),
                Err(actual) => head = actual,
            }
        }
    }

    /// Takes the older half of the ring at once, oldest first, if it is full.
    pub(crate) fn take_older_half(&self) -> Option<impl Iterator<Item = Runnable> + use<>> {
        let ring = &*self.ring;
        let head = ring.head.load(Relaxed); // only a guess: the exchange decides
        if ring.tail.load(Relaxed) - head < CAPACITY as u64 {
            return None; // a thief has been here
        }
        let older: [_; CAPACITY / 2] =
            array::from_fn(|offset| ring.slot(head + offset as u64).load(Relaxed));
        // Release: a later push that sees this head knows that the slots have been read.
        ring.head
            .compare_exchange(head, head + older.len() as u64, Release, Relaxed)
            .ok()?;
        // SAFETY: the slots from `head` on held tasks of `into_raw`, and the exchange took them for us alone.
        let task = |slot| unsafe { Runnable::from_raw(NonNull::new_unchecked(slot)) };
        Some(older.into_iter().map(task))
    }

    /// Puts a task in the next slot, unless it is taken.
    #[inline]
    pub(crate) fn set_next(&self, task: Runnable) -> Result<(), Runnable> {
        if !self.ring.next.load(Relaxed).is_null() {
            return Err(task);
        }
        // Nobody else fills it, so it is still empty. Release: publishes the task to a thief.
        self.ring.next.store(task.into_raw().as_ptr(), Release);
        Ok(())
    }

    /// Takes the task from the next slot.
    #[inline]
    pub(crate) fn take_next(&self) -> Option<Runnable> {
        self.ring.take_next()
    }
}

impl Drop for LocalQueue {
    /// Releases what was left. The registry has ended these tasks, or will.
    fn drop(&mut self) {
        while self.pop().is_some() {}
        drop(self.take_next());
    }
}

/// What other workers have of a queue.
#[derive(Debug)]
pub(crate) struct Stealer {
    ring: Arc<Ring>,
}

impl Stealer {
    /// Whether the ring looks empty. The next slot does not count: its task is about to run where it is.
    pub(crate) fn is_empty(&self) -> bool {
        self.ring.len() == 0
    }

    /// Takes the older half of the ring, at least one: returns the oldest, and puts the others into `into`, which must be
    /// empty.
    pub(crate) fn steal_into(&self, into: &LocalQueue) -> Option<Runnable> {
        let (ring, own) = (&*self.ring, &*into.ring);
        if !ring.has_thieves {
            return None;
        }
        let own_tail = own.tail.load(Relaxed);
        // Acquire: whoever emptied the ring has read the slots that are filled below.
        let own_head = own.head.load(Acquire);
        debug_assert_eq!(
            own_head, own_tail,
            "a worker steals only when it has run out of work"
        );
        loop {
            let head = ring.head.load(Acquire); // pairs with a pop or another thief
            let tail = ring.tail.load(Acquire); // sees the slots below it
            // The two loads are not one: after a burst of pops and pushes they may not belong together.
            let available = tail.saturating_sub(head).min(CAPACITY as u64);
            if available == 0 {
                return None;
            }
            let taken = available - available / 2;
            let oldest = ring.slot(head).load(Relaxed);
            for offset in 1..taken {
                // Not published yet, so a failed claim leaves nothing behind.
                own.slot(own_tail + offset - 1)
                    .store(ring.slot(head + offset).load(Relaxed), Relaxed);
            }
            // AcqRel: the tasks become ours; a later push of the victim knows that their slots have been read.
            if ring
                .head
                .compare_exchange(head, head + taken, AcqRel, Relaxed)
                .is_ok()
            {
                own.tail.store(own_tail + taken - 1, Release); // publishes them
                // SAFETY: `head` had not moved, so the copies are the tasks of `into_raw` in these slots, and they are
                // ours alone now.
                return Some(unsafe { Runnable::from_raw(NonNull::new_unchecked(oldest)) });
            }
        }
    }

    /// Takes the oldest task: for who has no ring of its own to put half of them in.
    pub(crate) fn steal_oldest(&self) -> Option<Runnable> {
        let ring = &*self.ring;
        if !ring.has_thieves {
            return None;
        }
        let mut head = ring.head.load(Acquire); // pairs with a pop or another thief
        loop {
            // Acquire: sees the slots below it.
            if head >= ring.tail.load(Acquire) {
                return None;
            }
            let oldest = ring.slot(head).load(Relaxed);
            // AcqRel: the task becomes ours; a later push of the victim knows that its slot has been read.
            match (ring.head).compare_exchange_weak(head, head + 1, AcqRel, Acquire) {
                Ok(_) => {
                    // SAFETY: `head` had not moved, so the slot held a task of `into_raw`; the exchange took it for us alone.
                    return Some(unsafe { Runnable::from_raw(NonNull::new_unchecked(oldest)) });
                }
                Err(actual) => head = actual,
            }
        }
    }

    /// Takes the task from the next slot: the last resort of a worker that found nothing else.
    pub(crate) fn steal_next(&self) -> Option<Runnable> {
        if !self.ring.has_thieves {
            return None;
        }
        self.ring.take_next()
    }
}

/// What owner and thieves share.
#[derive(Debug)]
struct Ring {
    head: CachePadded<AtomicU64>,
    tail: CachePadded<AtomicU64>,
    next: AtomicPtr<Header>,
    has_thieves: bool,
    slots: [AtomicPtr<Header>; CAPACITY],
}

impl Ring {
    fn new(has_thieves: bool) -> Self {
        Self {
            has_thieves,
            head: CachePadded(AtomicU64::new(0)),
            tail: CachePadded(AtomicU64::new(0)),
            next: AtomicPtr::new(ptr::null_mut()),
            slots: array::from_fn(|_| AtomicPtr::new(ptr::null_mut())),
        }
    }

    #[inline]
    fn slot(&self, position: u64) -> &AtomicPtr<Header> {
        &self.slots[position as usize % CAPACITY]
    }

    fn len(&self) -> usize {
        let head = self.head.load(Acquire);
        self.tail.load(Acquire).saturating_sub(head) as usize
    }

    #[inline]
    fn take_next(&self) -> Option<Runnable> {
        let seen = self.next.load(Relaxed);
        if seen.is_null() {
            return None; // the common case, without a read-modify-write
        }
        if !self.has_thieves {
            self.next.store(ptr::null_mut(), Relaxed); // nobody else takes from it
            // SAFETY: the slot held a task of `into_raw`; `Stealer` takes nothing, so it is the owner's alone.
            return Some(unsafe { Runnable::from_raw(NonNull::new_unchecked(seen)) });
        }
        // Not a swap: who comes too late writes nothing, so an empty slot stays untouched until its owner fills it.
        let task = self
            .next
            .compare_exchange(seen, ptr::null_mut(), Acquire, Relaxed)
            .ok()?;
        // SAFETY: the slot held a task of `into_raw` (that of the exchange, whatever lay there when it was first seen), and
        // the exchange took it for us alone.
        Some(unsafe { Runnable::from_raw(NonNull::new_unchecked(task)) })
    }
}

/// A power of two. Small under loom, so that a model reaches the edges.
pub(crate) const CAPACITY: usize = if cfg!(loom) { 4 } else { 256 };
