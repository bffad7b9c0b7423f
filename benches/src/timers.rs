//! One measurement of timers, as the bench asks for it and the `timers` program makes it.
//!
//! A measurement is a process of its own: an allocator and a wheel that nobody has used before, and a CPU account that is only
//! its own. It is asked for in one argument, a [`Plan`] as JSON, and answers with one line, the figures of its [`Case`].

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::cli::Result;
use crate::process;

/// A case, and where it runs.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Plan {
    /// On which runtime.
    pub runtime: Runtime,
    /// With how many workers. tokio's runtime with one is its current-thread runtime.
    pub workers: usize,
    /// What is measured.
    pub case: Case,
}

/// A runtime that has timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Runtime {
    /// wakeful.
    Ours,
    /// tokio.
    Tokio,
}

/// What is measured.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub enum Case {
    /// Sleeps one after the other, while nothing else happens. Figures: nanoseconds by which half of them were late at most, and
    /// 99 in 100.
    Late {
        /// How long each is.
        duration_us: u64,
        /// How many there are.
        count: usize,
    },
    /// 10 000 tasks with timetables of periods from 1 to 100 ms, which sleep until the next entry, again and again. Figures, per
    /// second: nanoseconds of CPU time, and sleeps that ended.
    Staggered {
        /// For how long that is watched.
        seconds: f64,
    },
    /// Sleeps that are polled once and dropped. Figure: nanoseconds for each, of the thread that does it.
    ArmAndDrop {
        /// Whether each is in a box of its own.
        boxed: bool,
        /// Whether the driver sleeps for a timer that is earlier; otherwise each is the earliest, and tokio wakes its driver for it.
        earlier: bool,
        /// How many tasks do it at once, on a worker and a CPU each. With one worker, each has a runtime of its own.
        tasks: usize,
        /// For how long.
        seconds: f64,
    },
    /// Reads that have to wait, on 64 connections: each is written to in turn, and then all are read. Figures: nanoseconds of a
    /// read, and what is added to them by a time-out around it, and by a deadline of the socket (where sockets have them).
    LimitedReads {
        /// How long each of the kinds has.
        seconds: f64,
    },
    /// An armed sleep whose deadline is moved later. Figure: nanoseconds for each time.
    PutOff {
        /// For how long.
        seconds: f64,
    },
}

impl Plan {
    /// Whether one thread makes the measurement.
    pub fn has_one_thread(&self) -> bool {
        let has_one_task = !matches!(self.case, Case::ArmAndDrop { tasks: 2.., .. });
        self.workers == 1 && has_one_task
    }

    /// Has `program` make the measurement, on one CPU if one is named.
    pub fn run(&self, program: &Path, cpu: Option<usize>) -> Result<Vec<f64>> {
        process::measure(program, self, cpu)
    }
}
