//! Any descriptor can be awaited: prints what is created, changed or removed in a directory, through `AsyncFd` and inotify(7).
//!
//! `cargo run -p wakeful --example watcher -- /tmp`, and then `touch /tmp/something`. Without an argument it is this directory.
#![expect(
    unsafe_code,
    reason = "the standard library has no inotify: two calls into libc"
)]

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd};

use wakeful::io::AsyncFd;

fn main() -> io::Result<()> {
    let directory = std::env::args().nth(1).unwrap_or(".".to_owned());
    // One thread is enough to wait.
    wakeful::block_on(async {
        let inotify = AsyncFd::new(watch(&directory)?)?;
        println!("watching {directory}");
        let mut buffer = [0; 4096];
        loop {
            let count = inotify
                .read_with(|mut inotify| inotify.read(&mut buffer))
                .await?;
            print_events(&buffer[..count]);
        }
    })
}

/// An inotify instance, which is read like a file.
fn watch(directory: &str) -> io::Result<File> {
    // SAFETY: the call touches no memory of ours.
    let fd = unsafe { libc::inotify_init1(libc::IN_NONBLOCK | libc::IN_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made, and nobody else has it.
    let inotify = unsafe { File::from_raw_fd(fd) };
    let (path, events) = (
        CString::new(directory)?,
        libc::IN_CREATE | libc::IN_CLOSE_WRITE | libc::IN_DELETE,
    );
    // SAFETY: `path` is a C string that lives until the call returns.
    match unsafe { libc::inotify_add_watch(inotify.as_raw_fd(), path.as_ptr(), events) } {
        0.. => Ok(inotify),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Each is a `struct inotify_event` of four numbers (watch, mask, cookie, length) and a name that is padded with zeros.
fn print_events(mut bytes: &[u8]) {
    let number = |at: &[u8]| u32::from_ne_bytes([at[0], at[1], at[2], at[3]]);
    while bytes.len() >= 16 {
        let (mask, name_bytes) = (number(&bytes[4..]), number(&bytes[12..]) as usize);
        let (name, rest) = bytes[16..].split_at(name_bytes);
        let what = match mask & (libc::IN_CREATE | libc::IN_CLOSE_WRITE | libc::IN_DELETE) {
            libc::IN_CREATE => "created",
            libc::IN_CLOSE_WRITE => "written",
            libc::IN_DELETE => "removed",
            _ => "other", // the directory is gone, or there were more events than the kernel keeps
        };
        println!(
            "{what} {}",
            String::from_utf8_lossy(name).trim_end_matches('\0')
        );
        bytes = rest;
    }
}
