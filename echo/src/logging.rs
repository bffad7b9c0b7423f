//! What the server says while it serves: lines by level, on the standard error.
//!
//! Whoever starts it reads its addresses on the standard output; the lines here are for whoever looks after it. A line of the
//! level `info` looks like any other that this program prints; the others name their level. There is no time in it: whatever
//! collects the lines of servers adds one.
//!
//! Lines and the live line of `--stats` share the terminal, so everything goes through a [`Console`], which takes the live line
//! away meanwhile. An error of writing is ignored: a server does not end because nobody listens to it.
//!
//! **What a peer can cause comes at most once a second** ([`Limited`]): a line for each of his deeds would let him fill
//! the disk.

use std::fmt;
use std::io::{self, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use log::{Level, LevelFilter, warn};

/// Lines of this level, and of those that matter more, are printed from now on.
pub(crate) fn init(level: LevelFilter, console: &Console) {
    env_logger::Builder::new()
        .filter_level(level)
        .format(|line, record| {
            let text = record.args();
            match record.level() {
                Level::Info => writeln!(line, "echo: {text}"),
                Level::Warn => writeln!(line, "echo: warning: {text}"),
                level => writeln!(line, "echo: {}: {text}", level.as_str().to_lowercase()),
            }
        })
        .target(env_logger::Target::Pipe(Box::new(console.clone())))
        .init();
}

/// The standard error, on the last line of which there may be one that changes.
#[derive(Clone)]
pub(crate) struct Console {
    live: ProgressBar,
}

impl Console {
    /// With this as its last line, if it is a terminal.
    pub(crate) fn with_live_line(live: ProgressBar) -> Self {
        Self { live }
    }

    /// Prints what does not depend on the level.
    pub(crate) fn print(&self, text: &str) {
        let _ = self.clone().write_all(text.as_bytes()); // nobody listens
    }

    /// Changes the live line; prints a line if there is none.
    pub(crate) fn set_live(&self, line: String) {
        match self.live.is_hidden() {
            true => self.print(&format!("echo: {line}\n")),
            false => self.live.set_message(line),
        }
    }

    /// The live line is not needed any more.
    pub(crate) fn clear_live(&self) {
        self.live.finish_and_clear();
    }
}

impl Write for Console {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.live.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Warnings of one kind, of which one a second is printed, with the number of those that were not.
#[derive(Default)]
pub(crate) struct Limited(Mutex<Past>);

#[derive(Default)]
struct Past {
    printed: Option<Instant>,
    /// How many there were since then.
    held_back: u64,
}

impl Limited {
    /// Prints it, or counts it.
    pub(crate) fn warn(&self, what: impl fmt::Display) {
        match self.admit(Instant::now()) {
            None => {}
            Some(0) => warn!("{what}"),
            Some(count) => warn!("{what} (and {count} more warnings like this before it)"),
        }
    }

    /// Whether one may be printed `now`; if so, how many have been held back since the last.
    fn admit(&self, now: Instant) -> Option<u64> {
        let mut past = self.0.lock().expect("nothing panics while it has it");
        match past.printed {
            Some(printed) if now.saturating_duration_since(printed) < PERIOD => {
                past.held_back += 1;
                None
            }
            _ => {
                past.printed = Some(now);
                Some(std::mem::take(&mut past.held_back))
            }
        }
    }
}

const PERIOD: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_warnings_one_a_second_is_printed_and_none_is_forgotten() {
        let (limited, start) = (Limited::default(), Instant::now());
        let at = |ms| limited.admit(start + Duration::from_millis(ms));
        assert_eq!(at(0), Some(0));
        assert_eq!([at(1), at(500), at(999)], [None; 3]);
        assert_eq!(at(1_000), Some(3));
        assert_eq!(at(1_999), None);
        assert_eq!(at(10_000), Some(1));
        assert_eq!(at(20_000), Some(0));
    }
}
