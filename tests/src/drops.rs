//! How often something was dropped, and where.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, ThreadId};

/// The common record of all guards made from it.
#[derive(Clone, Debug, Default)]
pub struct Drops(Arc<Mutex<Vec<ThreadId>>>);

impl Drops {
    /// An empty record.
    pub fn new() -> Self {
        Self::default()
    }

    /// Something to put into a future or to return from it.
    pub fn guard(&self) -> DropGuard {
        DropGuard(self.clone())
    }

    /// How many guards have been dropped.
    pub fn count(&self) -> usize {
        self.threads().len()
    }

    /// On which threads, in order.
    pub fn threads(&self) -> Vec<ThreadId> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Leaves a note when it is dropped.
#[derive(Debug)]
pub struct DropGuard(Drops);

impl Drop for DropGuard {
    fn drop(&mut self) {
        let here = thread::current().id();
        self.0
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(here);
    }
}
