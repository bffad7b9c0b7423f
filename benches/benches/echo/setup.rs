//! The machine and the programs of this run.

use wakeful_benches::cli::Result;
use wakeful_benches::contender::{Contender, Programs};
use wakeful_benches::load::{Plan, Report};
use wakeful_benches::process::Server;
use wakeful_benches::results::Results;
use wakeful_benches::sys;

use crate::options::Options;

/// Everything that must be there before the first measurement.
pub(crate) struct Setup {
    pub(crate) results: Results,
    pub(crate) programs: Programs,
    pub(crate) pinned: Cpus,
}

/// Where a server and its load run. `None`: on any of the two CPUs.
#[derive(Clone, Copy)]
pub(crate) struct Cpus {
    pub(crate) server: Option<usize>,
    pub(crate) load: Option<usize>,
}

impl Cpus {
    pub(crate) const SHARED: Self = Self {
        server: None,
        load: None,
    };
}

impl Setup {
    /// Finds two CPUs and the programs, and builds our server if it takes part.
    pub(crate) fn new(options: &Options) -> Result<Self> {
        sys::raise_descriptor_limit()?;
        let programs = Programs::new(env!("CARGO_BIN_EXE_peer"), env!("CARGO_BIN_EXE_load"))?;
        let ours = [Contender::Ours, Contender::OursSleeping];
        if options.servers.iter().any(|server| ours.contains(server)) {
            programs.build_echo()?;
        }
        let &[server, load, ..] = sys::allowed_cpus()?.as_slice() else {
            return Err(
                "server and load generator need a CPU each, and only one is allowed".into(),
            );
        };
        let results = Results::new("echo", options.quick)?;
        // All that it starts is confined with it, so that two workers are as short of CPUs on a large machine as on a small one.
        sys::confine_thread(&[server, load])?;
        results.text(format!(
            "where pinned, server on CPU {server}, load on CPU {load}"
        ));
        Ok(Self {
            results,
            programs,
            pinned: Cpus {
                server: Some(server),
                load: Some(load),
            },
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
