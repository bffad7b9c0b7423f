//! Where a bench has run, and against which versions: without it no figure means anything.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::cli::Result;
use crate::contender::{PEERS, version_of};
use crate::sys;

/// The machine, the compiler and the peers of a run.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Machine {
    /// The model, as the kernel names it.
    pub cpu: String,
    /// How many CPUs this process may use.
    pub cpus: usize,
    /// Whether there is a hypervisor below.
    pub is_virtual: bool,
    /// The release of Linux.
    pub kernel: String,
    /// The version of the compiler.
    pub rustc: String,
    /// Versions by name.
    pub peers: BTreeMap<String, String>,
}

impl Machine {
    /// This one, now.
    pub fn new() -> Result<Self> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let rustc = Command::new("rustc").arg("--version").output();
        let rustc = rustc.map_or_else(|_| String::new(), |output| lossy(&output.stdout));
        let version = rustc.split_ascii_whitespace().nth(1);
        let peers = PEERS.map(|peer| (peer.to_owned(), version_of(peer)));
        Ok(Self {
            cpu: field(&cpuinfo, "model name")
                .unwrap_or(std::env::consts::ARCH)
                .to_owned(),
            cpus: sys::allowed_cpus()?.len(),
            is_virtual: field(&cpuinfo, "flags")
                .is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
            kernel: kernel.trim().to_owned(),
            rustc: version.unwrap_or("of unknown version").to_owned(),
            peers: peers.into(),
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_virtual { " (virtual)" } else { "" };
        write!(
            f,
            "{} CPU(s) of {}{kind}, Linux {}, rustc {}",
            self.cpus, self.cpu, self.kernel, self.rustc
        )?;
        for (peer, version) in &self.peers {
            write!(f, ", {peer} {version}")?;
        }
        Ok(())
    }
}

/// The first value of that name in `/proc/cpuinfo`.
fn field<'a>(cpuinfo: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = fields.find(|(key, _)| key.trim_end() == name)?;
    Some(value.trim())
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::field;

    #[test]
    fn the_first_of_several_processors_names_the_model() {
        let cpuinfo = "processor\t: 0\nmodel\t\t: 17\nmodel name\t: A CPU @ 3: fast\n\nmodel name\t: another\n";
        assert_eq!(field(cpuinfo, "model name"), Some("A CPU @ 3: fast"));
        assert_eq!(field(cpuinfo, "flags"), None);
    }
}
