//! Servers as child processes: started on a CPU, ready when they say so, killed when dropped.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde::Serialize;

use crate::cli::Result;
use crate::sys;

/// A server that listens. Dropping it kills it.
#[derive(Debug)]
pub struct Server {
    child: Running,
    address: SocketAddr,
}

impl Server {
    /// Starts a server, on one CPU if one is named, and waits for the line with its address.
    pub fn start(command: &mut Command, cpu: Option<usize>) -> Result<Self> {
        let mut child = Running::start(command, cpu)?;
        let line = child.line()?;
        let address = address_in(&line).ok_or_else(|| {
            format!("{command:?} printed '{line}' where an address was expected, for instance 'listening on 127.0.0.1:7007'")
        })?;
        Ok(Self { child, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.process.id()
    }
}

/// A child with its standard output. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    name: String,
    process: Child,
    output: BufReader<ChildStdout>,
}

impl Running {
    /// Starts a child, on one CPU if one is named.
    pub fn start(command: &mut Command, cpu: Option<usize>) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        sys::confine(command, cpu);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = command
            .spawn()
            .map_err(|error| format!("{name} does not start: {error}"))?;
        let output = process.stdout.take().expect("stdout was asked for");
        Ok(Self {
            name,
            process,
            output: BufReader::new(output),
        })
    }

    /// The next line that the child prints.
    pub fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            let status = self.process.wait()?;
            return Err(format!("{} ended without an answer, {status}", self.name).into());
        }
        Ok(line.trim_end().to_owned())
    }
}

/// Has `program` make a measurement in a process of its own, on one CPU if one is named: it is asked for in one argument, `plan` as
/// JSON, and answers with one line, its figures.
pub fn measure(program: &Path, plan: &impl Serialize, cpu: Option<usize>) -> Result<Vec<f64>> {
    let mut command = Command::new(program);
    command.arg(serde_json::to_string(plan)?);
    let line = Running::start(&mut command, cpu)?.line()?;
    Ok(serde_json::from_str(&line)?)
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only for a child that has ended already, which is what they are for.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn address_in(line: &str) -> Option<SocketAddr> {
    line.split_ascii_whitespace()
        .find_map(|word| word.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::address_in;

    #[test]
    fn the_first_address_in_a_line_counts() {
        let address = address_in("listening on 127.0.0.1:7007 (2 workers)");
        assert_eq!(address, "127.0.0.1:7007".parse().ok());
        assert_eq!(address_in("address in use"), None);
    }
}
