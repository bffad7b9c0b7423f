//! A package that is nothing but an echo server, in a folder beside the results.

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use wakeful_benches::cli::Result;
use wakeful_benches::process::Server;
use wakeful_benches::results;
use wakeful_benches::sys;

/// A package that is ready to be built.
pub(crate) struct Package {
    pub(crate) name: &'static str,
    folder: PathBuf,
}

/// How a build went.
pub(crate) struct Built {
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: f64,
    pub(crate) crates: f64,
    /// Of the program.
    pub(crate) bytes: f64,
}

impl Package {
    /// Writes it, with one dependency, locks its versions to those of this workspace, and fetches what is not there yet.
    pub(crate) fn new(name: &'static str, dependency: &str, source: &str) -> Result<Self> {
        let folder = results::folder()?
            .join("build")
            .join(name.replace(", ", "-"));
        fs::create_dir_all(folder.join("src"))?;
        // A workspace of its own, or cargo would take it for a lost member of the one around it.
        let manifest = format!(
            "[package]\nname = \"smallest-echo\"\nedition = \"2024\"\n\n[dependencies]\n{dependency}\n\n[workspace]\n"
        );
        fs::write(folder.join("Cargo.toml"), manifest)?;
        fs::write(folder.join("src/main.rs"), source)?;
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        fs::copy(workspace.join("Cargo.lock"), folder.join("Cargo.lock"))?;
        let package = Self { name, folder };
        // What is locked stays; what is missing or not needed is added or dropped.
        if package.cargo(&["fetch", "--offline"]).is_err() {
            package.cargo(&["fetch"])?;
        }
        Ok(package)
    }

    /// Builds it from nothing.
    pub(crate) fn build(&self) -> Result<Built> {
        let target = self.target();
        if target.exists() {
            fs::remove_dir_all(&target)?;
        }
        let cpu_before = sys::children_cpu_time()?;
        let begin = Instant::now();
        let output = self.cargo(&["build", "--release", "--offline", "--locked"])?;
        let elapsed = begin.elapsed();
        let cpu = sys::children_cpu_time()? - cpu_before;
        let messages = String::from_utf8_lossy(&output.stderr);
        let compiled = messages
            .lines()
            .filter(|line| line.trim_start().starts_with("Compiling "));
        Ok(Built {
            seconds: elapsed.as_secs_f64(),
            cpu_seconds: Duration::from_nanos(cpu.total_ns()).as_secs_f64(),
            crates: compiled.count() as f64,
            bytes: fs::metadata(self.program())?.len() as f64,
        })
    }

    /// Starts what was built, and sends it something.
    pub(crate) fn has_to_echo(&self) -> Result<()> {
        let server = Server::start(&mut Command::new(self.program()), None)?;
        let mut stream = TcpStream::connect(server.address())?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        stream.write_all(MESSAGE)?;
        let mut echo = [0; MESSAGE.len()];
        stream
            .read_exact(&mut echo)
            .map_err(|error| format!("{} does not echo: {error}", self.name))?;
        if echo != *MESSAGE {
            return Err(format!("{} does not echo what it is sent", self.name).into());
        }
        Ok(())
    }

    fn cargo(&self, arguments: &[&str]) -> Result<Output> {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(arguments)
            .current_dir(&self.folder)
            .env("CARGO_TARGET_DIR", self.target())
            .output()?;
        if output.status.success() {
            return Ok(output);
        }
        let messages = String::from_utf8_lossy(&output.stderr);
        let error = messages.lines().find(|line| line.starts_with("error"));
        let error = error.unwrap_or("it says nothing");
        Err(format!("cargo {} of {}: {error}", arguments[0], self.name).into())
    }

    fn target(&self) -> PathBuf {
        self.folder.join("target")
    }

    fn program(&self) -> PathBuf {
        self.target().join("release/smallest-echo")
    }
}

const MESSAGE: &[u8; 5] = b"hello";
