//! Why a task has no output.

use std::any::Any;
use std::error::Error;
use std::sync::{Mutex, PoisonError};
use std::{fmt, io};

use super::header::Header;
use super::{TaskId, TaskInfo};

/// The task was cancelled, or it panicked.
///
/// What [`JoinHandle`](super::JoinHandle) resolves to in place of an output.
pub struct JoinError {
    task: TaskInfo,
    reason: Reason,
}

/// What ended a task without an output.
#[derive(Debug)]
pub(super) enum Failure {
    Cancelled,
    Panicked(Payload),
}

/// What a panic carries.
pub(super) type Payload = Box<dyn Any + Send>;

enum Reason {
    Cancelled,
    /// A payload can be sent but not shared; the lock makes the error `Sync`, and is only ever taken to print.
    Panicked(Mutex<Payload>),
}

impl JoinError {
    pub(super) fn new(task: &Header, failure: Failure) -> Self {
        Self {
            task: TaskInfo::new(task),
            reason: match failure {
                Failure::Cancelled => Reason::Cancelled,
                Failure::Panicked(payload) => Reason::Panicked(Mutex::new(payload)),
            },
        }
    }

    /// Whether the task was aborted, or its runtime shut down, before it finished.
    pub fn is_cancelled(&self) -> bool {
        matches!(self.reason, Reason::Cancelled)
    }

    /// Whether the task panicked, in its own code or as its future was dropped.
    pub fn is_panic(&self) -> bool {
        matches!(self.reason, Reason::Panicked(_))
    }

    /// The payload of the panic, to look at or to hand to [`std::panic::resume_unwind`].
    ///
    /// # Panics
    ///
    /// If the task did not panic but was cancelled; see [`try_into_panic`](Self::try_into_panic).
    #[track_caller]
    pub fn into_panic(self) -> Box<dyn Any + Send + 'static> {
        self.try_into_panic()
            .expect("`JoinError::into_panic` on a task that was cancelled and did not panic")
    }

    /// The payload of the panic.
    ///
    /// # Errors
    ///
    /// The error itself, if the task was cancelled.
    #[inline]
    pub fn try_into_panic(self) -> Result<Box<dyn Any + Send + 'static>, Self> {
        match self.reason {
            Reason::Panicked(payload) => {
                Ok(payload.into_inner().unwrap_or_else(PoisonError::into_inner))
            }
            Reason::Cancelled => Err(self),
        }
    }

    /// Which task it was.
    pub fn id(&self) -> TaskId {
        self.task.id()
    }
}

impl fmt::Display for JoinError {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.task)?;
        match &self.reason {
            Reason::Cancelled => f.write_str(" was cancelled"),
            Reason::Panicked(payload) => {
                f.write_str(" panicked")?;
                match message(&payload.lock().unwrap_or_else(PoisonError::into_inner)) {
                    Some(message) => write!(f, ": {message}"),
                    None => Ok(()),
                }
            }
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinError({self})")
    }
}

impl Error for JoinError {}

impl From<JoinError> for io::Error {
    /// [`Interrupted`](io::ErrorKind::Interrupted) would invite a retry, so both reasons are [`Other`](io::ErrorKind::Other).
    fn from(error: JoinError) -> Self {
        Self::other(error)
    }
}

/// What `panic!` was called with, if it was text.
fn message(payload: &Payload) -> Option<&str> {
    payload
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
}
