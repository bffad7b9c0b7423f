//! What tells people which task is meant.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use super::TaskId;
use super::header::Header;

/// Which task it is: its number, its name if it has one, and where it was spawned.
///
/// Prints as `task 7 (spawned at src/main.rs:12:5)`.
#[derive(Clone, Debug)]
pub struct TaskInfo {
    id: TaskId,
    name: Option<Arc<str>>,
    location: &'static Location<'static>,
}

impl TaskInfo {
    pub(super) fn new(task: &Header) -> Self {
        Self {
            id: task.id(),
            name: task.shared_name(),
            location: task.location(),
        }
    }

    /// The task's number.
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// The task's name, if it was given one.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Where the task was spawned.
    pub fn location(&self) -> &'static Location<'static> {
        self.location
    }
}

impl fmt::Display for TaskInfo {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task {}", self.id)?;
        if let Some(name) = &self.name {
            write!(f, " `{name}`")?;
        }
        write!(f, " (spawned at {})", self.location)
    }
}
