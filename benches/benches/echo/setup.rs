//! The machine and the programs of this run.

use std::fmt;
use std::time::Duration;

use wakeful_benches::cli::Result;
use wakeful_benches::contender::{Contender, Programs};
use wakeful_benches::load::{Plan, Report};
use wakeful_benches::process::Server;
use wakeful_benches::results::Results;
use wakeful_benches::sys;

use crate::options::Options;

/// Everything that must be there before the first measurement.
pub(crate) struct Setup {
    pub(crate) programs: Programs,
    pub(crate) pinned: Cpus,
    pub(crate) results: Results,
}

/// Where a server and its load run. `None`: where the kernel likes.
#[derive(Clone, Copy)]
pub(crate) struct Cpus {
    pub(crate) server: Option<usize>,
    pub(crate) load: Option<usize>,
}

impl Cpus {
    pub(crate) const UNPINNED: Self = Self {
        server: None,
        load: None,
    };
}

impl Setup {
    /// Finds two CPUs and the programs, and builds our server if it takes part.
    pub(crate) fn new(options: &Options) -> Result<Self> {
        sys::raise_descriptor_limit()?;
        let programs = Programs::new(env!("CARGO_BIN_EXE_peer"), env!("CARGO_BIN_EXE_load"))?;
        if options.servers.contains(&Contender::Ours) {
            programs.build_echo()?;
        }
        let &[server, load, ..] = sys::allowed_cpus()?.as_slice() else {
            return Err(
                "server and load generator need a CPU each, and only one is allowed".into(),
            );
        };
        Ok(Self {
            programs,
            pinned: Cpus {
                server: Some(server),
                load: Some(load),
            },
            results: Results::new("echo", options.quick)?,
        })
    }

    /// A fresh server with `workers` threads.
    pub(crate) fn start(&self, server: Contender, workers: usize, cpus: Cpus) -> Result<Server> {
        Server::start(&mut server.command(&self.programs, workers), cpus.server)
    }

    /// One measurement of a server that runs.
    pub(crate) fn load(&self, plan: Plan, server: &Server, cpus: Cpus) -> Result<Report> {
        plan.run(&self.programs.load, server, cpus.load)
    }
}

/// The plan of one measurement; its warm-up is a quarter of it, at most half a second.
pub(crate) fn plan(connections: usize, size: usize, measured: Duration) -> Plan {
    Plan {
        connections,
        size,
        measured,
        warm_up: (measured / 4).min(Duration::from_millis(500)),
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(server), Some(load)) = (self.pinned.server, self.pinned.load) {
            write!(
                f,
                "where pinned, server on CPU {server}, load on CPU {load}"
            )?;
        }
        Ok(())
    }
}
