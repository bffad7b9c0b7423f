//! What a process has used: CPU time and memory, as `/proc` tells it.
//!
//! The kernel of most machines samples user against system time at its timer tick and scales the two shares to the
//! run time, which it knows exactly. So the sum of both is right to 10 ms, and the shares become right slowly: an echo
//! server spends one part in twenty in user space, which one second of it tells to ±25 % and a minute to ±4 %.

use std::fs;
use std::ops::{AddAssign, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cli::Result;
use crate::sys;

/// CPU time, split as the kernel splits it.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub struct CpuTime {
    /// In user space.
    pub user_ns: u64,
    /// In the kernel, on behalf of the process.
    pub system_ns: u64,
}

impl CpuTime {
    /// What a process, all its threads together, has used so far.
    pub fn of_process(pid: u32) -> Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name, in parentheses, may contain anything. After it: field 3, the state. User and system time: 14 and 15.
        let (_, after_name) = stat.rsplit_once(") ").ok_or("no name in /proc/PID/stat")?;
        let mut times = after_name.split_ascii_whitespace().skip(14 - 3);
        let tick_ns = 1_000_000_000 / sys::clock_ticks_per_second();
        let mut next_ns = || -> Result<u64> {
            let ticks: u64 = times.next().ok_or("/proc/PID/stat ends early")?.parse()?;
            Ok(ticks * tick_ns)
        };
        Ok(Self {
            user_ns: next_ns()?,
            system_ns: next_ns()?,
        })
    }

    /// Both together.
    pub fn total_ns(self) -> u64 {
        self.user_ns + self.system_ns
    }

    /// Nanoseconds in user space and in the kernel for each of `requests`.
    pub fn per(self, requests: u64) -> (f64, f64) {
        let requests = requests as f64;
        (
            self.user_ns as f64 / requests,
            self.system_ns as f64 / requests,
        )
    }
}

impl Sub for CpuTime {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            user_ns: self.user_ns - earlier.user_ns,
            system_ns: self.system_ns - earlier.system_ns,
        }
    }
}

impl AddAssign for CpuTime {
    fn add_assign(&mut self, other: Self) {
        self.user_ns += other.user_ns;
        self.system_ns += other.system_ns;
    }
}

/// How long the threads of a process have run so far, those that have ended left out. Unlike [`CpuTime`] it is no sum of clock
/// ticks: it is right where there is little of it.
pub fn run_time(pid: u32) -> Result<Duration> {
    let mut sum = Duration::ZERO;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let schedstat = fs::read_to_string(thread?.path().join("schedstat"))?;
        let ran = schedstat.split_ascii_whitespace().next();
        sum += Duration::from_nanos(
            ran.ok_or("/proc/PID/task/TID/schedstat is empty")?
                .parse()?,
        );
    }
    Ok(sum)
}

/// How long the main thread of this process has waited for a CPU while it could have run; zero where the kernel does not tell.
pub fn own_wait_ns() -> u64 {
    let schedstat = fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let waited = schedstat.split_ascii_whitespace().nth(1);
    waited.and_then(|ns| ns.parse().ok()).unwrap_or(0)
}

/// How many sockets a process has.
pub fn sockets_count(pid: u32) -> Result<usize> {
    let links = fs::read_dir(format!("/proc/{pid}/fd"))?
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    Ok(links
        .filter(|target| target.to_string_lossy().starts_with("socket:"))
        .count())
}

/// The anonymous memory of a process that is resident: heap, stacks, everything that is no file's.
pub fn anonymous_bytes(pid: u32) -> Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let kib: u64 = rollup
        .lines()
        .find_map(|line| line.strip_prefix("Anonymous:"))
        .and_then(|value| value.trim().strip_suffix(" kB"))
        .ok_or("/proc/PID/smaps_rollup has no line `Anonymous:`")?
        .parse()?;
    Ok(kib * 1024)
}
