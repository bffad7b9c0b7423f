//! The live tasks of one core, so that a shutdown can end them all.

use crate::task::{RegistryKey, TaskRef};
use crate::util::slab::Slab;
use crate::util::sync::Mutex;

/// Tasks that have been spawned and have not completed.
///
/// One per core, so that `spawn` takes no lock that another worker takes; only a task that completes on another worker
/// than the one that spawned it comes here from there.
#[derive(Debug)]
pub(crate) struct Registry {
    core: u32,
    tasks: Mutex<Tasks>,
}

#[derive(Debug, Default)]
struct Tasks {
    live: Slab<TaskRef>,
    closed: bool,
}

impl Registry {
    pub(crate) fn new(core: usize) -> Self {
        Self {
            core: core as u32,
            tasks: Mutex::new(Tasks::default()),
        }
    }

    /// Takes a task in, unless the registry is closed.
    pub(crate) fn insert(&self, task: TaskRef) -> Result<(), TaskRef> {
        let mut tasks = self.tasks.lock();
        if tasks.closed {
            return Err(task);
        }
        let core = self.core;
        tasks.live.insert_with(|index| {
            task.set_key(RegistryKey {
                core,
                index: index as u32,
            });
            task
        });
        Ok(())
    }

    /// Lets go of a task that has completed.
    pub(crate) fn remove(&self, key: RegistryKey) {
        debug_assert_eq!(key.core, self.core);
        let removed = self.tasks.lock().live.remove(key.index as usize);
        drop(removed); // may free the task; not under the lock
    }

    pub(crate) fn len(&self) -> usize {
        self.tasks.lock().live.len()
    }

    /// Refuses tasks from now on, and ends those that live.
    pub(crate) fn close(&self) {
        let live = {
            let mut tasks = self.tasks.lock();
            tasks.closed = true;
            tasks.live.take_all()
        };
        live.for_each(|task| task.shutdown());
    }
}
