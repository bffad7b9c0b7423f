//! The part of a task that does not depend on its future: what a pointer to a task points to.
//!
//! Shared by everyone who holds a reference, and therefore never borrowed mutably: what changes is atomic, or a cell whose
//! owner the [state](super::state) names. The numbers that only describe a task (key, counts, times) are standard atomics,
//! written and read relaxed; no protocol depends on them, so no model needs to see them.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::task::Waker;
use std::time::Duration;

use super::raw::VTable;
use super::state::State;
use super::{Meta, RegistryKey, TaskId};
use crate::util::sync::UnsafeCell;

/// The first field of every task; 88 bytes.
pub(crate) struct Header {
    pub(super) state: State,
    pub(super) vtable: &'static VTable,
    /// Whom to wake at completion. JOIN_WAKER says whose the cell is; while it is the handle's, it is empty between polls.
    pub(super) join_waker: UnsafeCell<Option<Waker>>,
    id: TaskId,
    name: Option<Arc<str>>,
    location: &'static Location<'static>,
    key: AtomicU64,
    polls_count: AtomicU32,
    last_poll_ms: AtomicU32,
    spawned_ms: u32,
    /// When it was queued, in microseconds that come round; 0 unless that is to be measured.
    queued_us: AtomicU32,
}

impl Header {
    pub(super) fn new(vtable: &'static VTable, meta: Meta) -> Self {
        Self {
            state: State::new(),
            vtable,
            join_waker: UnsafeCell::new(None),
            id: TaskId::next(),
            name: meta.name,
            location: meta.location,
            key: AtomicU64::new(RegistryKey::NONE.0),
            polls_count: AtomicU32::new(0),
            last_poll_ms: AtomicU32::new(meta.spawned_ms),
            spawned_ms: meta.spawned_ms,
            queued_us: AtomicU32::new(0),
        }
    }

    pub(crate) fn id(&self) -> TaskId {
        self.id
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    pub(super) fn shared_name(&self) -> Option<Arc<str>> {
        self.name.clone()
    }

    /// Where the task was spawned.
    pub(crate) fn location(&self) -> &'static Location<'static> {
        self.location
    }

    /// The key the registry gave; every bit set before it did.
    #[inline]
    pub(crate) fn key(&self) -> RegistryKey {
        RegistryKey(self.key.load(Relaxed))
    }

    pub(super) fn set_key(&self, key: RegistryKey) {
        self.key.store(key.0, Relaxed);
    }

    /// How often the task was polled (modulo 2³²).
    #[inline]
    pub(crate) fn polls_count(&self) -> u32 {
        self.polls_count.load(Relaxed)
    }

    /// When the last poll began; when the task was spawned, before the first.
    pub(crate) fn last_poll_ms(&self) -> u32 {
        self.last_poll_ms.load(Relaxed)
    }

    pub(crate) fn spawned_ms(&self) -> u32 {
        self.spawned_ms
    }

    /// Marks the task, which is about to be queued, as one of which the wait is measured; unless it is marked.
    pub(crate) fn mark_queued(&self, now: Duration) {
        if !self.is_marked() {
            self.queued_us
                .store((now.as_micros() as u32).max(1), Relaxed);
        }
    }

    #[inline]
    pub(crate) fn is_marked(&self) -> bool {
        self.queued_us.load(Relaxed) != 0
    }

    /// How long the task has waited since it was marked, to the microsecond. Takes the mark away.
    ///
    /// Of more than 71 minutes it tells what is left over.
    pub(crate) fn take_mark(&self, now: Duration) -> Duration {
        let marked_us = self.queued_us.load(Relaxed);
        self.queued_us.store(0, Relaxed); // a mark that is made at this moment may go with it
        let waited_us = (now.as_micros() as u32).wrapping_sub(marked_us);
        Duration::from_micros(waited_us.into())
    }

    /// What tells the task from every other that lives: to be compared, never to be followed.
    #[inline]
    pub(crate) fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// A poll begins. Only the runner writes, so a load and a store make a count.
    #[inline]
    pub(super) fn note_poll(&self, now_ms: u32) {
        self.polls_count
            .store(self.polls_count().wrapping_add(1), Relaxed);
        self.last_poll_ms.store(now_ms, Relaxed);
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("id", &self.id())
            .field("name", &self.name())
            .field("location", &format_args!("{}", self.location))
            .field("polls", &self.polls_count())
            .field("spawned_ms", &self.spawned_ms())
            .field("last_poll_ms", &self.last_poll_ms())
            .finish_non_exhaustive()
    }
}
