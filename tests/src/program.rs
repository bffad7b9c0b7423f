//! A program that runs to its end: what it is given, what it prints, how it ends.

use std::io::Write;
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use crate::process::Process;
use crate::watchdog::{LIMIT, within};

/// What a program left behind.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; `None` if a signal has ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: Vec<u8>,
    /// What it said about that.
    pub stderr: String,
}

/// Runs `command` with `input`, through pipes.
///
/// # Panics
///
/// If it does not start, or has not ended in time.
#[track_caller]
pub fn run(command: &mut Command, input: impl Into<Vec<u8>>) -> Ended {
    let mut child = start(command.stdin(Stdio::piped()));
    let mut stdin = child.stdin.take().expect("it is piped");
    let input = input.into();
    thread::spawn(move || {
        let _ = stdin.write_all(&input); // it need not read all of it
    });
    ended(child)
}

/// Starts `command`, with pipes for what it prints.
///
/// # Panics
///
/// If it does not start.
#[track_caller]
pub fn start(command: &mut Command) -> Child {
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts")
}

/// Waits until a program has ended that was started with pipes.
///
/// # Panics
///
/// If that takes too long. Then it is killed.
#[track_caller]
pub fn ended(child: Child) -> Ended {
    let killed = KilledInPanic(Process::of(child.id()));
    let output = within(LIMIT * 2, move || child.wait_with_output());
    std::mem::forget(killed); // its number may be another's from now on
    let Output {
        status,
        stdout,
        stderr,
    } = output.expect("a child of ours");
    Ended {
        code: status.code(),
        stdout,
        stderr: String::from_utf8(stderr).expect("a text"),
    }
}

struct KilledInPanic(Process);

impl Drop for KilledInPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.signal(libc::SIGKILL);
        }
    }
}

impl Ended {
    /// What it printed, as a text.
    ///
    /// # Panics
    ///
    /// If it is none.
    #[track_caller]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("a text")
    }

    /// Why it did not do what it should: one line, after `echo: `. Its exit code was 1, and it had printed `stdout`.
    ///
    /// # Panics
    ///
    /// If that is not so.
    #[track_caller]
    pub fn problem(&self, stdout: &[u8]) -> &str {
        assert_eq!(self.code, Some(1), "{}", self.stderr);
        assert_eq!(self.stdout, stdout, "{}", self.stderr);
        let sentence = self
            .stderr
            .strip_prefix("echo: ")
            .expect("the program's name");
        let sentence = sentence.strip_suffix('\n').expect("a line");
        assert!(!sentence.contains('\n'), "{sentence}");
        sentence
    }
}
