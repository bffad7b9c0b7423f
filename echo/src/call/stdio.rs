//! Standard input and output, awaited.
//!
//! | it is | how it is awaited |
//! |---|---|
//! | a pipe or a terminal | opened once more, in non-blocking mode, as an [`AsyncFd`] |
//! | anything else: a file, a socket, `/dev/null` | on a thread for what blocks |
//!
//! Opened once more, because the mode belongs to the open file description, and that is shared: with the shell at a
//! terminal, and with the rest of a pipeline. To set it there would leave others a standard output that answers
//! `WouldBlock`. A file is not opened again, for it would begin at the front; epoll refuses it anyway.

use std::error::Error;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::sync::Arc;

use wakeful::io::{AsyncFd, with_scratch};
use wakeful::{JoinHandle, spawn_blocking};

/// Standard input.
pub(crate) struct Input {
    file: Stdio,
    /// What was begun on another thread and not awaited to its end.
    reading: Option<JoinHandle<io::Result<Vec<u8>>>>,
}

impl Input {
    /// Opens it.
    pub(crate) fn open() -> io::Result<Self> {
        let file = Stdio::open(io::stdin().as_fd(), OpenOptions::new().read(true))?;
        let reading = None;
        Ok(Self { file, reading })
    }

    /// What comes next; nothing at the end.
    ///
    /// Cancel safe: what was read by then is there at the next call.
    pub(crate) async fn read(&mut self) -> io::Result<Vec<u8>> {
        let read = match &self.file {
            Stdio::Pollable(file) => file.read_with(read).await,
            Stdio::Blocking(file) => {
                let reading = self.reading.get_or_insert_with(|| {
                    let file = file.clone();
                    spawn_blocking(move || read(&file))
                });
                let read = reading.await;
                self.reading = None;
                read?
            }
        };
        read.map_err(|error| about("read the standard input", error))
    }
}

/// Standard output.
pub(crate) struct Output(Stdio);

impl Output {
    /// Opens it.
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self(Stdio::open(
            io::stdout().as_fd(),
            OpenOptions::new().write(true),
        )?))
    }

    /// Writes all of it.
    pub(crate) async fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        let written = match &self.0 {
            Stdio::Pollable(file) => write_all(file, bytes).await,
            Stdio::Blocking(file) => {
                let (file, bytes) = (file.clone(), bytes.to_vec());
                spawn_blocking(move || (&*file).write_all(&bytes)).await?
            }
        };
        written.map_err(|error| match error.kind() {
            kind @ io::ErrorKind::BrokenPipe => io::Error::new(kind, OutputClosed),
            _ => about("write to the standard output", error),
        })
    }
}

/// Whether it is the error of an output that nobody reads any more.
pub(crate) fn is_output_closed(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(|inner| inner.is::<OutputClosed>())
}

#[derive(Debug)]
struct OutputClosed;

impl fmt::Display for OutputClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody reads the standard output any more")
    }
}

impl Error for OutputClosed {}

enum Stdio {
    Pollable(AsyncFd<File>),
    Blocking(Arc<File>),
}

impl Stdio {
    fn open(standard: impl AsFd, again: &mut OpenOptions) -> io::Result<Self> {
        let fd = standard.as_fd();
        let file = File::from(fd.try_clone_to_owned()?);
        let kind = file.metadata()?.file_type();
        if kind.is_fifo() || io::IsTerminal::is_terminal(&file) {
            let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
            // In this mode from the start: a pipe without another end would be waited for. It may be refused, as for a
            // terminal of another user.
            let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
            if let Ok(reopened) = again.custom_flags(flags).open(path) {
                return Ok(Self::Pollable(AsyncFd::new(reopened)?));
            }
        }
        Ok(Self::Blocking(Arc::new(file)))
    }
}

fn read(mut file: &File) -> io::Result<Vec<u8>> {
    with_scratch(|buffer| {
        loop {
            match file.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                count => return Ok(buffer[..count?].to_vec()),
            }
        }
    })
}

async fn write_all(file: &AsyncFd<File>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let count = file.write_with(|mut file| file.write(bytes)).await?;
        bytes = &bytes[count..];
    }
    Ok(())
}

fn about(what: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot {what}: {error}"))
}
