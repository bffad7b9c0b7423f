//! The last line of the terminal, which changes: a bar, or a line of counts.
//!
//! `indicatif` draws it, and fills it with blanks up to the right edge. There the terminal itself puts what is typed, the `^C` of who
//! has seen enough above all: that goes to the next line, which is then taken for the one to be cleared, and the bar stays. So it is told
//! of a terminal that is a little narrower.

use std::io;

use console::Term;
use indicatif::{ProgressBar, ProgressDrawTarget, TermLike};

/// So long a line on the standard error, and nothing at all where that is no terminal.
pub(crate) fn line(length: u64) -> ProgressBar {
    let usual = ProgressDrawTarget::stderr();
    let target = match usual.is_hidden() {
        true => usual,
        false => ProgressDrawTarget::term_like_with_hz(
            Box::new(Margin(Term::buffered_stderr())),
            DRAWN_HZ,
        ),
    };
    ProgressBar::with_draw_target(Some(length), target)
}

/// A terminal of which the right edge is left alone.
#[derive(Debug)]
struct Margin(Term);

impl TermLike for Margin {
    fn width(&self) -> u16 {
        TermLike::width(&self.0).saturating_sub(MARGIN).max(1)
    }

    fn height(&self) -> u16 {
        TermLike::height(&self.0)
    }

    fn move_cursor_up(&self, count: usize) -> io::Result<()> {
        self.0.move_cursor_up(count)
    }

    fn move_cursor_down(&self, count: usize) -> io::Result<()> {
        self.0.move_cursor_down(count)
    }

    fn move_cursor_right(&self, count: usize) -> io::Result<()> {
        self.0.move_cursor_right(count)
    }

    fn move_cursor_left(&self, count: usize) -> io::Result<()> {
        self.0.move_cursor_left(count)
    }

    fn write_line(&self, line: &str) -> io::Result<()> {
        self.0.write_line(line)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.0.write_str(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.0.clear_line()
    }

    fn flush(&self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Room for three times `^C`.
const MARGIN: u16 = 6;

/// How often a second it is drawn at most, as usual.
const DRAWN_HZ: u8 = 20;
