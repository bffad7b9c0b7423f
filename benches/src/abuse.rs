//! What clients that mean no good can do to a server, as the bench sees it: what it is called, how many do it, when it is over.
//!
//! They run in processes of their own, the program `abuse`; what each of them does is told where it lives, in `src/bin/abuse`.

use std::fmt;
use std::path::Path;
use std::process::Command;
use std::str::FromStr;
use std::time::Duration;

use crate::cli::Result;
use crate::process::{Running, Server};

/// A way to be a bad client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abuse {
    /// They send all they can, and read a little now and then.
    SlowReaders,
    /// They send one byte now and then.
    OneByte,
    /// They connect and say nothing, or say their last at once and never read the answer.
    HalfOpen,
    /// They connect and are gone, with a reset.
    ResetStorm,
    /// They are killed in the midst of their work.
    Killed,
    /// No clients: signals, as fast as they are taken.
    SignalStorm,
}

impl Abuse {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::SlowReaders,
        Self::OneByte,
        Self::HalfOpen,
        Self::ResetStorm,
        Self::Killed,
        Self::SignalStorm,
    ];

    /// The name on the command line and in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::SlowReaders => "slow-readers",
            Self::OneByte => "one-byte",
            Self::HalfOpen => "half-open",
            Self::ResetStorm => "reset-storm",
            Self::Killed => "killed",
            Self::SignalStorm => "signal-storm",
        }
    }

    /// How many connections there are at a time, or of a storm in all.
    pub fn count(self) -> usize {
        match self {
            Self::SlowReaders | Self::HalfOpen | Self::Killed => 1_000,
            Self::OneByte => 10_000,
            Self::ResetStorm => 100_000,
            Self::SignalStorm => 0,
        }
    }

    /// How many connections there are at a time, at most.
    pub fn count_at_a_time(self) -> usize {
        match self {
            Self::ResetStorm => 4_096, // the backlog
            _ => self.count(),
        }
    }

    /// How many messages a second they send all together, if they send any.
    pub fn rate(self) -> Option<f64> {
        let period = match self {
            Self::SlowReaders => READ_PERIOD,
            Self::OneByte => BYTE_PERIOD,
            _ => return None,
        };
        Some(self.count() as f64 / period.as_secs_f64())
    }

    /// Whether it is for connections, so any server can have it.
    pub fn connects(self) -> bool {
        self != Self::SignalStorm
    }

    /// How many of its connections can have sent something that the server has not got rid of.
    pub fn unsent_count(self) -> usize {
        match self {
            Self::SlowReaders | Self::Killed => self.count(),
            _ => 0,
        }
    }
}

impl fmt::Display for Abuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Abuse {
    type Err = ();

    fn from_str(name: &str) -> std::result::Result<Self, ()> {
        let mut all = Self::ALL.into_iter();
        all.find(|abuse| abuse.name() == name).ok_or(())
    }
}

/// How often each of those reads that read slowly: more often than the idle timeout.
pub const READ_PERIOD: Duration = Duration::from_secs(1);

/// How often each of those sends that send single bytes: more often than the idle timeout.
pub const BYTE_PERIOD: Duration = Duration::from_millis(1_500);

/// Abuse that goes on. Dropping it closes all its connections.
#[derive(Debug)]
pub struct Abuser(Running);

impl Abuser {
    /// Begins, on one CPU, and returns when everybody is there. It goes on for a `time` (a storm of connections: until all have
    /// been there), and then does nothing more.
    pub fn start(
        program: &Path,
        abuse: Abuse,
        server: &Server,
        time: Duration,
        cpu: usize,
    ) -> Result<Self> {
        let mut command = Command::new(program);
        command
            .args([abuse.name(), "--connect", &server.address().to_string()])
            .args(["--server-pid", &server.pid().to_string()])
            .args(["--seconds", &time.as_secs_f64().to_string()]);
        let mut running = Running::start(&mut command, Some(cpu))?;
        running.line()?;
        Ok(Self(running))
    }

    /// Waits until it does nothing more. Its connections are still there.
    pub fn over(&mut self) -> Result<()> {
        self.0.line().map(drop)
    }
}
