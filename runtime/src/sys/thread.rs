//! Threads by the kernel's numbers, and what the kernel says of them.
//!
//! `/proc/self/task/TID` has a file each for the state of a thread (`stat`), for the system call that it is in (`syscall`) and for
//! the place in the kernel where it waits (`wchan`). A process may read its own; where `/proc` is not mounted or a container
//! forbids it, what is not known is not told.
#![expect(unsafe_code, reason = "calls gettid")]

use std::fmt;
use std::fs;

/// The kernel's number for a thread.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct ThreadId(libc::pid_t);

impl ThreadId {
    /// That of the calling thread.
    pub(crate) fn current() -> Self {
        // SAFETY: the call touches no memory of ours.
        Self(unsafe { libc::gettid() })
    }

    /// What the kernel says of the thread at this moment.
    pub(crate) fn state(self) -> ThreadState {
        let read = |file| fs::read_to_string(format!("/proc/self/task/{}/{file}", self.0)).ok();
        let state = read("stat").and_then(|stat| letter_of(&stat));
        match state {
            Some('R') => ThreadState::Runs,
            Some('S' | 'D' | 'I') => {
                let call = read("syscall").and_then(|text| call_of(&text));
                let place = || read("wchan").filter(|place| !place.is_empty() && place != "0");
                ThreadState::Sleeps {
                    call: call.or_else(place),
                }
            }
            _ => ThreadState::Unknown,
        }
    }
}

/// What the kernel says a thread does.
///
/// Prints as `runs`, `sleeps in clock_nanosleep`, or `sleeps`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ThreadState {
    /// It runs, or waits for a CPU: it computes.
    Runs,
    /// It waits for something.
    Sleeps {
        /// The system call that it waits in by its name, or by its number where the name is not known here; a place in the kernel
        /// where it is in none, such as a page fault.
        call: Option<String>,
    },
    /// The kernel does not tell: `/proc` cannot be read, or the thread has ended or is stopped.
    Unknown,
}

impl fmt::Display for ThreadState {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Runs => f.write_str("runs"),
            Self::Sleeps { call: Some(call) } => write!(f, "sleeps in {call}"),
            Self::Sleeps { call: None } => f.write_str("sleeps"),
            Self::Unknown => f.write_str("is in a state that is not known"),
        }
    }
}

/// The state in a line of `stat`. It follows the thread's name, which may contain anything, in parentheses.
fn letter_of(stat: &str) -> Option<char> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.trim_ascii_start().chars().next()
}

/// The call in a line of `syscall`: its number and arguments, `running`, or -1 where the thread is in none.
fn call_of(syscall: &str) -> Option<String> {
    let (number, _arguments) = syscall.split_once(' ')?;
    let number: libc::c_long = number.parse().ok()?;
    let named = CALLS.iter().find(|(call, _)| *call == number);
    match named {
        Some((_, name)) => Some((*name).to_owned()),
        None if number >= 0 => Some(format!("system call {number}")),
        None => None,
    }
}

/// Those that a thread may be found in for long.
const CALLS: &[(libc::c_long, &str)] = &[
    (libc::SYS_clock_nanosleep, "clock_nanosleep"),
    (libc::SYS_nanosleep, "nanosleep"),
    (libc::SYS_futex, "futex"),
    (libc::SYS_epoll_pwait, "epoll_pwait"),
    (libc::SYS_epoll_pwait2, "epoll_pwait2"),
    (libc::SYS_ppoll, "ppoll"),
    (libc::SYS_pselect6, "pselect6"),
    (libc::SYS_read, "read"),
    (libc::SYS_readv, "readv"),
    (libc::SYS_pread64, "pread64"),
    (libc::SYS_write, "write"),
    (libc::SYS_writev, "writev"),
    (libc::SYS_pwrite64, "pwrite64"),
    (libc::SYS_recvfrom, "recvfrom"),
    (libc::SYS_recvmsg, "recvmsg"),
    (libc::SYS_sendto, "sendto"),
    (libc::SYS_sendmsg, "sendmsg"),
    (libc::SYS_connect, "connect"),
    (libc::SYS_accept, "accept"),
    (libc::SYS_accept4, "accept4"),
    (libc::SYS_openat, "openat"),
    (libc::SYS_close, "close"),
    (libc::SYS_fsync, "fsync"),
    (libc::SYS_fdatasync, "fdatasync"),
    (libc::SYS_fallocate, "fallocate"),
    (libc::SYS_ftruncate, "ftruncate"),
    (libc::SYS_flock, "flock"),
    (libc::SYS_fcntl, "fcntl"),
    (libc::SYS_getdents64, "getdents64"),
    (libc::SYS_unlinkat, "unlinkat"),
    (libc::SYS_newfstatat, "newfstatat"),
    (libc::SYS_statx, "statx"),
    (libc::SYS_wait4, "wait4"),
    (libc::SYS_waitid, "waitid"),
    (libc::SYS_mmap, "mmap"),
    (libc::SYS_munmap, "munmap"),
    (libc::SYS_madvise, "madvise"),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_epoll_wait, "epoll_wait"),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_poll, "poll"),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_select, "select"),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_open, "open"),
];

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn the_calling_thread_runs_and_one_that_sleeps_says_where() {
        assert_eq!(ThreadId::current().state(), ThreadState::Runs);
        let (sender, receiver) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let sleeper = thread::spawn(move || {
            sender.send(ThreadId::current()).unwrap();
            let _ = ended.recv();
        });
        let id = receiver.recv().unwrap();
        let begun = Instant::now();
        let asleep = ThreadState::Sleeps {
            call: Some("futex".to_owned()),
        };
        while id.state() != asleep {
            assert!(begun.elapsed() < Duration::from_secs(30), "{}", id.state());
            thread::sleep(Duration::from_millis(1));
        }
        drop(end);
        sleeper.join().unwrap();
    }

    #[test]
    fn lines_of_the_kernel_are_read() {
        assert_eq!(letter_of("7 (a) S (b)) D 1 2"), Some('D'));
        assert_eq!(letter_of("nothing"), None);
        let number = libc::SYS_fsync;
        assert_eq!(
            call_of(&format!("{number} 0x3 0x0\n")),
            Some("fsync".to_owned())
        );
        assert_eq!(call_of("running\n"), None);
        assert_eq!(call_of("-1 0x7ffc 0x7f12\n"), None);
        assert_eq!(call_of("99999 0x0"), Some("system call 99999".to_owned()));
    }

    #[test]
    fn a_thread_that_is_gone_is_not_known() {
        let id = thread::spawn(ThreadId::current).join().unwrap();
        let begun = Instant::now();
        while id.state() != ThreadState::Unknown {
            assert!(begun.elapsed() < Duration::from_secs(30), "{}", id.state());
            thread::sleep(Duration::from_millis(1));
        }
    }
}
