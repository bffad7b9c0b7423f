//! What has become of the connections of a server.

use std::fmt;
use std::sync::{Arc, OnceLock};

use super::census::Census;

/// What a server has done until now, or in all.
///
/// It adds up: whoever was accepted is [active](Self::active), or has gone in one of four ways.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerReport {
    /// Connections that were given to a handler.
    pub accepted: u64,
    /// Their handler has ended well.
    pub done: u64,
    /// It has ended with an error.
    pub failed: u64,
    /// It has panicked.
    pub panicked: u64,
    /// It was dropped before its end: the grace was over, or the runtime has ended.
    pub aborted: u64,
    /// Connections that were closed at once, because their peer had too many.
    pub refused: u64,
    /// How often no connection could be accepted, for lack of descriptors or memory, and the server has paused.
    pub pauses: u64,
    /// Bytes that came from the peers, as far as handlers have [counted](super::Connection::count_bytes) them.
    pub received: u64,
    /// Bytes that were sent to the peers, as far as handlers have counted them.
    pub sent: u64,
}

impl ServerReport {
    /// How many connections there are.
    pub fn active(&self) -> u64 {
        self.accepted - self.done - self.failed - self.panicked - self.aborted
    }
}

impl fmt::Display for ServerReport {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            accepted,
            done,
            failed,
            panicked,
            aborted,
            refused,
            pauses,
            received,
            sent,
        } = *self;
        write!(f, "connections: {accepted} accepted")?;
        let ends = [
            (self.active(), "active"),
            (done, "done"),
            (failed, "failed"),
            (panicked, "panicked"),
            (aborted, "aborted"),
        ];
        let mut separator = " (";
        for (count, what) in ends.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, "{separator}{count} {what}")?;
            separator = ", ";
        }
        if separator == ", " {
            f.write_str(")")?;
        }
        if refused > 0 {
            write!(f, ", {refused} refused")?;
        }
        match pauses {
            0 => {}
            1 => f.write_str("; accepting has paused once")?,
            _ => write!(f, "; accepting has paused {pauses} times")?,
        }
        if received | sent > 0 {
            write!(f, "; {received} bytes received, {sent} sent")?;
        }
        Ok(())
    }
}

/// Can be asked for a server's report of the moment, from any thread; made by [`Server::stats`](super::Server::stats).
#[derive(Clone, Default)]
pub struct ServerStats {
    /// Once it runs.
    census: Arc<OnceLock<Arc<Census>>>,
}

impl ServerStats {
    /// The report, which adds up at every moment. All zero before the server runs.
    #[inline]
    pub fn report(&self) -> ServerReport {
        (self.census.get()).map_or_else(ServerReport::default, |census| census.report())
    }

    #[inline]
    pub(super) fn begin(&self, census: &Arc<Census>) {
        let _ = self.census.set(census.clone()); // a server runs once
    }
}

impl fmt::Debug for ServerStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServerStats").field(&self.report()).finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::ServerReport;

    #[test]
    fn a_report_says_what_there_is_to_say() {
        assert_eq!(
            ServerReport::default().to_string(),
            "connections: 0 accepted"
        );
        let report = ServerReport {
            accepted: 12,
            done: 7,
            failed: 2,
            panicked: 1,
            ..ServerReport::default()
        };
        assert_eq!(
            report.to_string(),
            "connections: 12 accepted (2 active, 7 done, 2 failed, 1 panicked)"
        );
        let report = ServerReport {
            accepted: 1,
            aborted: 1,
            refused: 3,
            pauses: 2,
            received: 70,
            sent: 64,
            ..ServerReport::default()
        };
        assert_eq!(
            report.to_string(),
            "connections: 1 accepted (1 aborted), 3 refused; accepting has paused 2 times; 70 bytes received, 64 sent"
        );
    }
}
