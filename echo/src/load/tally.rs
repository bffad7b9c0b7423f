//! What was counted on one worker, and in the end on all of them.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, ErrorKind};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;
use wakeful::time::Instant;

use crate::units;

/// The messages and the failures of any number of connections.
pub(super) struct Tally {
    /// Messages of which at least one byte was sent.
    pub(super) sent: u64,
    /// Messages that have come back, byte for byte.
    pub(super) echoed: u64,
    /// Messages that were due and of which no byte could be sent.
    pub(super) unsent: u64,
    /// Of those that were echoed, in nanoseconds.
    pub(super) latencies: Histogram<u64>,
    /// By what [`Failure::kind`] says.
    pub(super) failures: BTreeMap<&'static str, Failures>,
    /// When the last echo was complete.
    pub(super) last: Option<Instant>,
}

/// Connections that failed in the same way.
#[derive(Clone, Serialize)]
pub(super) struct Failures {
    pub(super) connections: u64,
    /// What exactly happened to the first.
    pub(super) first: String,
}

impl Tally {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self {
            sent: 0,
            echoed: 0,
            unsent: 0,
            latencies: Histogram::new_with_bounds(1, LATENCY_MAX_NS, DIGITS)
                .expect("bounds that are in order"),
            failures: BTreeMap::new(),
            last: None,
        }
    }

    /// A message that began at `began` has come back at `now`.
    pub(super) fn echoed(&mut self, began: Instant, now: Instant) {
        self.echoed += 1;
        let latency = (now - began).as_nanos().try_into().unwrap_or(u64::MAX);
        self.latencies.saturating_record(latency);
        self.last = self.last.max(Some(now));
    }

    /// A connection has failed.
    pub(super) fn failed(&mut self, failure: &Failure) {
        let failures = self.failures.entry(failure.kind());
        let first = || Failures {
            connections: 0,
            first: failure.to_string(),
        };
        failures.or_insert_with(first).connections += 1;
    }

    /// Adds what another worker has counted.
    pub(super) fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.echoed += other.echoed;
        self.unsent += other.unsent;
        self.latencies
            .add(other.latencies)
            .expect("the same bounds");
        for (kind, more) in other.failures {
            match self.failures.get_mut(kind) {
                Some(failures) => failures.connections += more.connections,
                None => drop(self.failures.insert(kind, more)),
            }
        }
        self.last = self.last.max(other.last);
    }
}

/// Why a connection ended before its time.
#[derive(Debug)]
pub(super) enum Failure {
    /// It was never there.
    NotConnected(io::Error),
    /// The byte at this position is not the one that was sent.
    WrongByte(u64),
    /// More has come back than was sent.
    Surplus,
    /// The server ended it, with so much owed.
    Closed { missing: u64 },
    /// Nothing has come for so long.
    Silence(Duration),
    /// Reading or writing failed.
    Broken(io::Error),
}

impl Failure {
    /// Under what it is counted. A part of the JSON report.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::NotConnected(_) => "not connected",
            Self::WrongByte(_) => "wrong bytes",
            Self::Surplus => "more bytes than were sent",
            Self::Closed { .. } => "closed early",
            Self::Silence(_) => "timed out",
            Self::Broken(error) => match error.kind() {
                // The second and the third are how a reset is told to whom it meets while writing.
                ErrorKind::ConnectionReset
                | ErrorKind::BrokenPipe
                | ErrorKind::ConnectionAborted => "reset",
                _ => "input or output failed",
            },
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConnected(error) | Self::Broken(error) => error.fmt(f),
            Self::WrongByte(position) => {
                write!(f, "byte {position} came back changed")
            }
            Self::Surplus => f.write_str("more came back than had been sent"),
            Self::Closed { missing: 0 } => f.write_str("the server ended the connection"),
            Self::Closed { missing } => {
                let missing = units::plural(*missing, "byte");
                write!(f, "the server ended the connection and owed {missing}")
            }
            Self::Silence(time) => write!(f, "nothing came back for {time:?}"),
        }
    }
}

/// An hour. What takes longer counts as that.
const LATENCY_MAX_NS: u64 = 3_600_000_000_000;

/// How exact the latencies are.
const DIGITS: u8 = 3;
