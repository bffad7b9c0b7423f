//! One measurement of a scheduler, as the bench asks for it and the `scheduler` program makes it.
//!
//! A measurement is a process of its own, as with the [timers](crate::timers). It is asked for in one argument, a [`Plan`] as
//! JSON, and answers with one line, the figures of its [`Case`].

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::cli::Result;
use crate::process;

/// A case, and where it runs.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Plan {
    /// On which executor.
    pub peer: Peer,
    /// With how many workers. tokio's runtime with one is its current-thread runtime.
    pub workers: usize,
    /// What is measured.
    pub case: Case,
    /// For how long.
    pub seconds: f64,
}

/// Whose scheduler it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Peer {
    /// wakeful's.
    Ours,
    /// tokio's.
    Tokio,
    /// `async-executor`, which is smol's.
    Smol,
}

impl Peer {
    /// Ours first.
    pub const ALL: [Self; 3] = [Self::Ours, Self::Tokio, Self::Smol];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Tokio => "tokio",
            Self::Smol => "smol",
        }
    }
}

/// What is measured. The first figure is nanoseconds for each of what is named, where nothing else is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Case {
    /// A task spawns 10 000 that do nothing, and waits for the last to end: for each of them.
    SpawnMany,
    /// A task spawns one that does nothing and waits for it, again and again: for each.
    SpawnAndAwait,
    /// 1 000 tasks, each of which spawns the next: for each.
    Chain,
    /// 200 tasks that yield 1 000 times each: for each yield.
    Yield,
    /// 1 000 tasks, each of which spawns a partner, sends it a message and waits for its answer, over two oneshots of
    /// `futures`: for each of the pairs.
    PingPong,
    /// A task spawns 64 that compute for 10 µs or so, and waits for all: for each of the 64.
    FanOut,
    /// A thread that is no worker wakes a task while all workers sleep: from before the wake to the sight of what the task
    /// did. Second figure: what the call of the wake takes.
    WakeSleeping,
    /// The same while the worker runs tasks that are always due.
    WakeRunning,
    /// Tasks that wait: bytes of heap for each, beyond its future. Second figure: allocations.
    Heap,
}

impl Case {
    /// Whether it tells something with so many workers.
    pub fn runs_with(self, workers: usize) -> bool {
        match self {
            Self::FanOut => workers > 1,
            // Two workers that are busy and the thread would share the CPUs of a small machine; heap is counted for each thread.
            Self::WakeRunning | Self::Heap => workers == 1,
            _ => true,
        }
    }

    /// Whether a thread that is no worker takes part.
    pub fn has_foreign_thread(self) -> bool {
        matches!(self, Self::WakeSleeping | Self::WakeRunning)
    }
}

impl Plan {
    /// Has `program` make the measurement, on one CPU if one is named.
    pub fn run(&self, program: &Path, cpu: Option<usize>) -> Result<Vec<f64>> {
        process::measure(program, self, cpu)
    }
}
