//! What something costs on the heap, as the bench asks for it and the `memory` program counts it.
//!
//! A count is a process of its own, asked for and answered as a measurement of timers is ([`crate::timers`]): its allocator has
//! counted nobody else's blocks.

use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::cli::Result;
use crate::process::Running;
use crate::timers::Runtime;

/// Of what there are many, and where.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Plan {
    /// On which runtime, with one worker.
    pub runtime: Runtime,
    /// What is counted.
    pub case: Case,
}

/// Of what there are many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Case {
    /// Tasks that wait for ever, with futures of 32, 40, … 152 bytes, as many of each. Their bytes are without the futures'.
    Waiting(Tables),
    /// Tasks that sleep for an hour. Their bytes are with the future's, which is mostly the runtime's.
    Sleeping(Tables),
    /// Connections that have echoed and wait, a task for each that owns a buffer of 4 KiB.
    OwnBuffer,
    /// The same without a buffer while they wait.
    NoBuffer,
}

/// How full the tables are that a runtime keeps of its tasks or timers, if it keeps some that double when they are full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Tables {
    /// As full as can be: as many as a power of two.
    Full,
    /// One more, so half of the room is not in use.
    JustGrown,
}

/// What each of them costs.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub struct Cost {
    /// How often memory was asked for, growth of what there was included.
    pub allocations: f64,
    /// What was asked for and is still held. The allocator's own use, some 8 to 16 bytes a block, is not in it.
    pub bytes: f64,
}

impl Plan {
    /// Has `program` count.
    pub fn run(&self, program: &Path) -> Result<Cost> {
        let mut command = Command::new(program);
        command.arg(serde_json::to_string(self)?);
        let line = Running::start(&mut command, None)?.line()?;
        Ok(serde_json::from_str(&line)?)
    }
}
