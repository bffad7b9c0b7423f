//! How far it has come, as a bar in the terminal: on the standard error, and only if that is one.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use wakeful::time::{Instant, interval};

use super::args::LoadArgs;
use super::workers::Live;
use crate::{terminal, units};

/// The bar. It vanishes when this is dropped.
pub(super) struct Progress {
    bar: ProgressBar,
    /// Whether its length is a number of messages, or else a time in milliseconds.
    counts_messages: bool,
}

impl Progress {
    /// Shows that connections are being made.
    pub(super) fn begin(args: &LoadArgs) -> Self {
        let time = args.duration.as_millis() as u64;
        let bar = terminal::line(args.count.unwrap_or(time));
        let style = ProgressStyle::with_template("{bar:40} {percent:>3} %  {msg}")
            .expect("a template")
            .progress_chars("█▉▊▋▌▍▎▏ ");
        bar.set_style(style);
        bar.set_message(format!("connecting to {}", args.peer));
        bar.tick();
        Self {
            bar,
            counts_messages: args.count.is_some(),
        }
    }

    /// Moves it, for ever.
    pub(super) async fn show<T>(&self, live: &Live, start: Instant) -> T {
        let mut period = interval(PERIOD);
        let (mut last, mut echoed) = (start, 0);
        loop {
            let now = period.tick().await;
            let before = std::mem::replace(&mut echoed, live.echoed());
            let since = (now - std::mem::replace(&mut last, now)).as_secs_f64();
            if since > 0.0 {
                let rate = (echoed - before) as f64 / since;
                let rate = units::count(rate as u64);
                self.bar.set_message(format!("{rate} messages/s"));
            }
            self.bar.set_position(match self.counts_messages {
                true => echoed,
                false => (now - start).as_millis() as u64,
            });
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

const PERIOD: Duration = Duration::from_millis(200);
