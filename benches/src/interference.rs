//! Servers and timers beside a task that keeps its worker, as the bench asks for them and the `interference` program is them.
//!
//! Such a program is a process of its own. It is asked for in one argument, a [`Plan`] as JSON. As a server it prints one line
//! with its address and serves until it is killed; with [`Job::Timers`] it prints one line, a [`Lateness`] as JSON.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cli::Result;
use crate::process::{Running, Server};
use crate::timers::Runtime;

/// What runs on which runtime, with [`WORKERS`] workers, beside which task.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Plan {
    /// On which runtime.
    pub runtime: Runtime,
    /// What is disturbed.
    pub job: Job,
    /// What disturbs it.
    pub hog: Hog,
}

/// What is disturbed.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub enum Job {
    /// An echo server: an accept loop, and a task with a buffer for each connection.
    Echo,
    /// Tasks that sleep, each again and again.
    Timers {
        /// How many there are.
        count: usize,
        /// No sleep begins later than this.
        seconds: f64,
    },
}

/// A task that rests, keeps its worker, and so on for ever.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Hog {
    /// What it does with the worker's thread meanwhile.
    pub work: Work,
    /// How long it keeps the worker.
    pub busy: Duration,
    /// How long it sleeps before that, as a task does. Zero: it only yields.
    pub rest: Duration,
}

/// What a task does with the thread that it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Work {
    /// It computes.
    Compute,
    /// It has the thread sleep.
    Block,
}

/// By how much sleeps were late.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Lateness {
    /// Sleeps that ended.
    pub count: u64,
    /// Sleeps of the task that had the fewest.
    pub fewest: u64,
    /// All but one in a hundred were less late.
    pub p99_ns: u64,
    /// The latest.
    pub max_ns: u64,
}

impl Plan {
    /// Starts the server.
    pub fn serve(&self, program: &Path) -> Result<Server> {
        Server::start(&mut self.command(program)?, None)
    }

    /// Has the timers run to their end.
    pub fn lateness(&self, program: &Path) -> Result<Lateness> {
        let line = Running::start(&mut self.command(program)?, None)?.line()?;
        Ok(serde_json::from_str(&line)?)
    }

    fn command(&self, program: &Path) -> Result<Command> {
        let mut command = Command::new(program);
        command.arg(serde_json::to_string(self)?);
        Ok(command)
    }
}

/// Of each runtime: one for the task that disturbs, one for all the others.
pub const WORKERS: usize = 2;
