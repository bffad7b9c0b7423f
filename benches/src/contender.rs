//! Who is compared: our echo server, its peers, and the floor below which no server on epoll can be.

use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use crate::cli::Result;

/// An echo server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contender {
    /// The `echo` binary of this workspace.
    Ours,
    /// The same, whose workers sleep as soon as they have nothing to do.
    OursSleeping,
    /// tokio, current-thread.
    TokioCurrent,
    /// tokio, multi-thread.
    TokioMulti,
    /// tokio, current-thread, with a buffer of 64 KiB for each connection in place of 4, as smol and monoio have it here.
    TokioLarge,
    /// smol: one executor, run by as many threads as there are workers.
    Smol,
    /// monoio on its epoll driver: a runtime and a listener per thread.
    Monoio,
    /// A hand-written epoll loop that does nothing else.
    Floor,
    /// The same loop, which polls for 50 µs before it sleeps.
    FloorPolling,
}

impl Contender {
    /// All of them, ours first, in the order of the tables.
    pub const ALL: [Self; 9] = [
        Self::Ours,
        Self::OursSleeping,
        Self::TokioCurrent,
        Self::TokioMulti,
        Self::TokioLarge,
        Self::Smol,
        Self::Monoio,
        Self::Floor,
        Self::FloorPolling,
    ];

    /// The name on the command line and in the tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::OursSleeping => "ours-sleeping",
            Self::TokioCurrent => "tokio-current",
            Self::TokioMulti => "tokio-multi",
            Self::TokioLarge => "tokio-large",
            Self::Smol => "smol",
            Self::Monoio => "monoio",
            Self::Floor => "floor",
            Self::FloorPolling => "floor-polling",
        }
    }

    /// The command that serves on a free port of the loopback interface, with `workers` threads where it can have more than one.
    pub fn command(self, programs: &Programs, workers: usize) -> Command {
        let workers = workers.to_string();
        let (program, arguments): (&Path, &[&str]) = match self {
            Self::Ours => (&programs.echo, &["serve", "--workers", &workers]),
            Self::OursSleeping => (
                &programs.echo,
                &["serve", "--workers", &workers, "--busy-poll", "off"],
            ),
            Self::TokioCurrent => (&programs.peer, &["tokio-current"]),
            Self::TokioMulti => (&programs.peer, &["tokio-multi", "--workers", &workers]),
            Self::TokioLarge => (&programs.peer, &["tokio-large"]),
            Self::Smol => (&programs.peer, &["smol", "--workers", &workers]),
            Self::Monoio => (&programs.peer, &["monoio", "--workers", &workers]),
            Self::Floor => (&programs.peer, &["floor"]),
            Self::FloorPolling => (&programs.peer, &["floor", "--spin-us", "50"]),
        };
        let mut command = Command::new(program);
        command.args(arguments).args(["--listen", "127.0.0.1:0"]);
        command
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Contender {
    type Err = ();

    fn from_str(name: &str) -> std::result::Result<Self, ()> {
        let mut all = Self::ALL.into_iter();
        all.find(|contender| contender.name() == name).ok_or(())
    }
}

/// Where the programs of a comparison are.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The peers.
    pub peer: PathBuf,
    /// The load generator.
    pub load: PathBuf,
    /// Our echo server; it is there after [`Programs::build_echo`].
    pub echo: PathBuf,
}

impl Programs {
    /// Takes the binaries of this crate from its caller, a bench, to which cargo tells their paths, and looks for the
    /// echo server beside them: `release/deps/echo-…` is the bench, `release/echo` the server.
    pub fn new(peer: &str, load: &str) -> Result<Self> {
        let bench = env::current_exe()?;
        let profile = bench.ancestors().nth(2).ok_or("the bench has no folder")?;
        Ok(Self {
            peer: peer.into(),
            load: load.into(),
            echo: profile.join("echo"),
        })
    }

    /// Builds our echo server with cargo, as its users do, into the target folder from which the bench runs.
    pub fn build_echo(&self) -> Result<()> {
        self.build(&["--package", "echo"])
    }

    /// Builds the proxy, which is an example of the library, in the same way, and says where it is.
    pub fn build_proxy(&self) -> Result<PathBuf> {
        self.build(&["--package", "wakeful", "--example", "proxy"])?;
        Ok(self.echo.with_file_name("examples").join("proxy"))
    }

    fn build(&self, what: &[&str]) -> Result<()> {
        let target = self.echo.ancestors().nth(2).ok_or("no target folder")?;
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo)
            .args(["build", "--release"])
            .args(what)
            .arg("--target-dir")
            .arg(target)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()?;
        if !status.success() {
            return Err(format!("{what:?} does not build; `--servers` can leave it out").into());
        }
        Ok(())
    }
}

/// With whom we compare ourselves, by the names of their packages.
pub const PEERS: [&str; 3] = ["tokio", "smol", "monoio"];

/// The version of the peer that every bench has.
pub fn tokio_version() -> String {
    version_of("tokio")
}

/// The version of a package, from the lock file of the workspace.
pub fn version_of(package: &str) -> String {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let lock = fs::read_to_string(workspace.join("Cargo.lock")).unwrap_or_default();
    let version = lock
        .split_once(&format!("name = \"{package}\"\nversion = \""))
        .and_then(|(_, package)| package.split_once('"'))
        .map_or("of unknown version", |(version, _)| version);
    version.to_owned()
}
