//! The live tasks of one core, or of one thread, so that a shutdown can end them all and name what it cannot.

use super::observer::Observing;
use crate::sys::lock::Mutex;
use crate::task::{Ended, RegistryKey, TaskInfo, TaskRef};
use crate::util::slab::Slab;

/// Tasks that have been spawned and have not completed.
///
/// One per core, and one per thread for its local tasks, so that `spawn` takes no lock that another worker takes; only a task that completes on another worker
/// than the one that spawned it comes here from there.
#[derive(Debug)]
pub(crate) struct Registry {
    core: u32,
    observer: Option<Observing>,
    tasks: Mutex<Tasks>,
}

#[derive(Debug, Default)]
struct Tasks {
    live: Slab<TaskRef>,
    closed: bool,
    /// Tasks removed since.
    ended_count: usize,
}

impl Registry {
    pub(crate) fn new(core: u32, observer: Option<Observing>) -> Self {
        Self {
            core,
            observer,
            tasks: Mutex::new(Tasks::default()),
        }
    }

    /// Who is told of the tasks.
    pub(crate) fn observer(&self) -> Option<&Observing> {
        self.observer.as_ref()
    }

    /// Takes a task in, unless the registry is closed.
    pub(crate) fn insert(&self, task: TaskRef) -> Result<(), TaskRef> {
        let Some(observer) = &self.observer else {
            return self.take_in(task);
        };
        let info = task.info();
        observer.spawned(&info); // first: from then on it may end at any time
        let taken_in = self.take_in(task);
        if taken_in.is_err() {
            observer.ended(&info);
        }
        taken_in
    }

    #[inline]
    fn take_in(&self, task: TaskRef) -> Result<(), TaskRef> {
        let mut tasks = self.tasks.lock();
        if tasks.closed {
            return Err(task);
        }
        let core = self.core;
        tasks.live.insert_with(|index| {
            task.set_key(RegistryKey::new(core, index as u32));
            task
        });
        Ok(())
    }

    /// Lets go of a task that its run has completed, unless [`close`](Self::close) has.
    #[inline]
    pub(crate) fn remove(&self, ended: Ended) {
        let removed = self.take_out(ended.key());
        ended.release(removed); // may free the task; not under the lock
    }

    fn take_out(&self, key: RegistryKey) -> Option<TaskRef> {
        debug_assert_eq!(key.core(), self.core);
        let removed = {
            let mut tasks = self.tasks.lock();
            let removed = tasks.live.remove(key.index());
            tasks.ended_count += usize::from(tasks.closed && removed.is_some());
            removed
        };
        if let (Some(observer), Some(task)) = (&self.observer, &removed) {
            observer.ended(&task.info());
        }
        removed
    }

    pub(crate) fn len(&self) -> usize {
        self.tasks.lock().live.len()
    }

    /// How many tasks have been let go of since the registry was closed.
    pub(crate) fn ended_count(&self) -> usize {
        self.tasks.lock().ended_count
    }

    /// Refuses tasks from now on, and ends those that live, except those that another thread is polling or ending.
    ///
    /// Several threads may do so at once. Each task stays until it is complete: whoever is stuck in it keeps no other from
    /// being ended, and can be named.
    pub(crate) fn close(&self) {
        self.tasks.lock().closed = true;
        let mut from = 0;
        while let Some((index, task)) = self.first_from(from) {
            from = index + 1;
            task.shutdown();
            if task.is_complete() {
                drop(self.take_out(task.header().key()));
            }
        }
    }

    /// Adds a reference to each live task to `into`. Takes the lock for at most `step` of them at a time.
    #[inline]
    pub(crate) fn collect(&self, step: usize, into: &mut Vec<TaskRef>) {
        let mut from = 0;
        loop {
            let before = into.len();
            let tasks = self.tasks.lock();
            for (index, task) in tasks.live.iter_from(from).take(step) {
                into.push(task.clone());
                from = index + 1;
            }
            drop(tasks);
            if into.len() == before {
                return;
            }
        }
    }

    /// The live task at this address, which is only compared.
    pub(crate) fn find(&self, address: usize) -> Option<TaskInfo> {
        let tasks = self.tasks.lock();
        let mut live = tasks.live.iter().map(|(_, task)| task);
        live.find(|task| task.header().address() == address)
            .map(TaskRef::info)
    }

    /// Adds the tasks that some thread is in to `running`, and says how many there are in all.
    #[inline]
    pub(crate) fn survey(&self, running: &mut Vec<TaskInfo>) -> usize {
        let tasks = self.tasks.lock();
        let live = (tasks.live.iter()).filter(|(_, task)| !task.is_complete());
        live.inspect(|(_, task)| running.extend(task.is_running().then(|| task.info())))
            .count()
    }

    fn first_from(&self, from: usize) -> Option<(usize, TaskRef)> {
        let tasks = self.tasks.lock();
        tasks
            .live
            .first_from(from)
            .map(|(index, task)| (index, task.clone()))
    }
}
