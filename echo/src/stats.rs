//! What a running server tells of itself: in the end, every second with `--stats`, and everything that its runtime knows on
//! SIGUSR1.
//!
//! It is printed on a thread for blocking calls, so a terminal that is stopped, or a pipe that nobody reads, keeps no worker.

use std::fmt::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use wakeful::net::ServerStats;
use wakeful::signal::Signal;
use wakeful::time::{Instant, interval};
use wakeful::{Handle, spawn_blocking};

use crate::logging::Console;
use crate::terminal;
use crate::units::count;

/// All that is known of what has been served.
#[derive(Clone)]
pub(crate) struct Served {
    pub(crate) connections: ServerStats,
    pub(crate) echoed: Arc<Echoed>,
}

/// What was echoed piece by piece. Bytes are counted with their connection.
#[derive(Default)]
pub(crate) struct Echoed {
    datagrams: AtomicU64,
    lines: AtomicU64,
    /// Connections that ended because of what they sent.
    malformed: AtomicU64,
}

impl Echoed {
    /// So many datagrams have been sent back.
    pub(crate) fn add_datagrams(&self, count: usize) {
        self.datagrams.fetch_add(count as u64, Relaxed);
    }

    /// One more line has been sent back.
    pub(crate) fn add_line(&self) {
        self.lines.fetch_add(1, Relaxed);
    }

    /// One more connection has sent what is no line.
    pub(crate) fn add_malformed(&self) {
        self.malformed.fetch_add(1, Relaxed);
    }
}

/// Such as `connections: 3 accepted (3 done); 12 datagrams echoed`.
impl fmt::Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.connections.report().fmt(f)?;
        let echoed = &self.echoed;
        for (number, one, many) in [
            (&echoed.datagrams, "datagram echoed", "datagrams echoed"),
            (&echoed.lines, "line echoed", "lines echoed"),
            (&echoed.malformed, "malformed line", "malformed lines"),
        ] {
            match number.load(Relaxed) {
                0 => {}
                1 => write!(f, "; 1 {one}")?,
                number => write!(f, "; {number} {many}")?,
            }
        }
        Ok(())
    }
}

/// A line that changes, on a terminal. Nothing is to be seen of it elsewhere, or if it is not `wanted`.
pub(crate) fn live_line(wanted: bool) -> ProgressBar {
    if !wanted {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_msg}").expect("a template");
    terminal::line(0).with_style(style)
}

/// Says every second what is going on, for ever: on the live line, or on a line each where there is no terminal.
pub(crate) async fn tell_every_second(served: Served, console: Console) {
    let runtime = Handle::current();
    let mut period = interval(Duration::from_secs(1));
    let mut before = Sample::take(period.tick().await, &runtime, &served);
    loop {
        let now = Sample::take(period.tick().await, &runtime, &served);
        let line = now.since(&before, &served);
        before = now;
        let console = console.clone();
        let _ = spawn_blocking(move || console.set_live(line)).await; // refused at the end only
    }
}

/// The counts at a moment.
struct Sample {
    at: Instant,
    workers: usize,
    polls: u64,
    busy: Duration,
    datagrams: u64,
    lines: u64,
}

impl Sample {
    fn take(at: Instant, runtime: &Handle, served: &Served) -> Self {
        let metrics = runtime.metrics();
        Self {
            at,
            workers: metrics.workers,
            polls: metrics.polls(),
            busy: metrics.each_worker.iter().map(|worker| worker.busy).sum(),
            datagrams: served.echoed.datagrams.load(Relaxed),
            lines: served.echoed.lines.load(Relaxed),
        }
    }

    /// Such as `connections: 3 active, 12 accepted; 10 240 polls/s, workers 17 % busy`.
    fn since(&self, before: &Self, served: &Served) -> String {
        let seconds = (self.at - before.at).as_secs_f64().max(1e-3);
        let rate = |now: u64, before: u64| count(((now - before) as f64 / seconds) as u64);
        let report = served.connections.report();
        let busy = self.busy.saturating_sub(before.busy).as_secs_f64();
        let mut line = format!(
            "connections: {} active, {} accepted; {} polls/s, workers {:.0} % busy",
            report.active(),
            report.accepted,
            rate(self.polls, before.polls),
            (100.0 * busy / seconds / self.workers as f64).min(100.0),
        );
        for (now, before, what) in [
            (self.datagrams, before.datagrams, "datagrams"),
            (self.lines, before.lines, "lines"),
        ] {
            if now > 0 {
                let _ = write!(line, ", {} {what}/s", rate(now, before)); // to a string
            }
        }
        line
    }
}

/// Prints the metrics and every task at each `request`.
pub(crate) async fn tell_on_request(mut request: Signal, served: Served, console: Console) {
    while request.recv().await.is_ok() {
        let (runtime, served, console) = (Handle::current(), served.clone(), console.clone());
        let tell = move || console.print(&everything(&runtime, &served));
        let _ = spawn_blocking(tell).await; // refused at the end only
    }
}

fn everything(runtime: &Handle, served: &Served) -> String {
    let (metrics, tasks) = (runtime.metrics(), runtime.tasks());
    let mut text = format!("echo: {served}\n{metrics}\n");
    for task in tasks {
        let _ = writeln!(text, "{task}"); // to a string
    }
    text
}
