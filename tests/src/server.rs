//! A server as a process of its own: the `echo` binary, or an example.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use crate::process::Process;
use crate::watchdog::{LIMIT, eventually, within};

/// Runs `body` against a fresh server for each number of workers.
///
/// # Panics
///
/// As `body` does; when it takes longer than `limit`.
#[track_caller]
pub fn with_servers<const N: usize>(workers: [usize; N], limit: Duration, body: fn(Server)) {
    for count in workers {
        let server = RunningServer::start(&mut echo(&[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--workers",
            &count.to_string(),
        ]));
        eprintln!("with {count} worker(s):");
        let running = *server;
        within(limit, move || body(running));
    }
}

/// A server that serves until this is dropped.
#[derive(Debug)]
pub struct RunningServer {
    child: Child,
    server: Server,
    first_line: String,
}

/// Where a server is found.
#[derive(Copy, Clone, Debug)]
pub struct Server {
    /// The address that it listens on.
    pub address: SocketAddr,
    /// Its process.
    pub process: Process,
}

impl RunningServer {
    /// Starts `command` and waits for the line that says where it listens.
    ///
    /// # Panics
    ///
    /// If it does not say so.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let stdout = child.stdout.take().expect("it is piped");
        let first_line = within(LIMIT, move || {
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line).unwrap();
            line
        });
        let address = first_line
            .strip_prefix("listening on ")
            .and_then(|rest| rest.split_ascii_whitespace().next()?.parse().ok());
        let Some(address) = address else {
            let status = child.kill().and_then(|()| child.wait());
            panic!("not a server's first line: {first_line:?} ({status:?})");
        };
        let process = Process::of(child.id());
        Self {
            child,
            server: Server { address, process },
            first_line,
        }
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    ///
    /// If it does not.
    #[track_caller]
    pub fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the server has ended", || {
            status = self.child.try_wait().expect("a child of ours");
            status.is_some()
        });
        status.expect("waited for")
    }

    /// Writes to its standard input.
    ///
    /// # Panics
    ///
    /// If it has closed that.
    #[track_caller]
    pub fn type_in(&mut self, text: &str) {
        let stdin = self.child.stdin.as_mut().expect("it is piped");
        stdin.write_all(text.as_bytes()).unwrap();
    }

    /// What it printed when it was ready.
    pub fn first_line(&self) -> &str {
        &self.first_line
    }
}

impl Deref for RunningServer {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        // Both fail only if it has ended and been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// A connection to it, without delay. Its operations fail when they have waited for as long as a test may take.
    ///
    /// # Panics
    ///
    /// If it cannot be had.
    #[track_caller]
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("the server listens");
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_write_timeout(Some(LIMIT)).unwrap();
        stream
    }
}

/// The command that runs the `echo` binary with these arguments.
pub fn echo(arguments: &[&str]) -> Command {
    let mut command = Command::new(echo_binary());
    command.args(arguments);
    command
}

/// Where the `echo` binary is, after it has been built, with the profile of this test.
///
/// # Panics
///
/// If it cannot be built.
pub fn echo_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| build(&["--package", "echo"]).join("echo"))
}

/// The command that runs an example of the library, after it has been built, with the profile of this test.
///
/// # Panics
///
/// If it cannot be built.
pub fn example(name: &str) -> Command {
    let directory = build(&["--package", "wakeful", "--example", name]);
    Command::new(directory.join("examples").join(name))
}

/// The same for an example that needs other crates, which is a program of a package for those.
///
/// # Panics
///
/// If it cannot be built.
pub fn ecosystem_example(name: &str) -> Command {
    let directory = build(&["--package", "wakeful-examples", "--bin", name]);
    Command::new(directory.join(name))
}

/// Cargo tells a test where the binaries of its own package are, and these belong to others. So: built beside the test.
/// Returns the directory of the profile.
fn build(what: &[&str]) -> PathBuf {
    let test_binary = env::current_exe().expect("the path of this test binary");
    // <target>[/<triple>]/<profile>/deps/<test>
    let profile_directory = test_binary.ancestors().nth(2).expect("`cargo test` ran it");
    let above = profile_directory.parent().expect("as before");
    let profile = match profile_directory.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--quiet", "--profile", profile]);
    command.args(what);
    // What cargo has told this test about its package would be news to build scripts: they would build again, now and the
    // next time that cargo runs without it.
    for (name, _) in env::vars_os() {
        let is_news = |name: &str| {
            ["CARGO_PKG_", "CARGO_MANIFEST_"]
                .iter()
                .any(|prefix| name.starts_with(prefix))
        };
        if name.to_str().is_some_and(is_news) {
            command.env_remove(name);
        }
    }
    // Only the directory on top has this file.
    if above.join(".rustc_info.json").exists() {
        command.arg("--target-dir").arg(above);
    } else {
        let triple = above.file_name().expect("a triple");
        let target = above.parent().expect("a target directory");
        command.arg("--target").arg(triple);
        command.arg("--target-dir").arg(target);
    }
    let status = command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .expect("cargo starts");
    assert!(status.success(), "{what:?} is not built: {status}");
    profile_directory.to_owned()
}
