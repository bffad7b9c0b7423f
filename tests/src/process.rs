//! What the kernel says of a process, and how a test gets a process of its own.
#![expect(
    unsafe_code,
    reason = "the standard library sends no signal but SIGKILL, and changes no limit"
)]

use std::env;
use std::fs;
use std::process::Command;
use std::time::Duration;

/// Runs `body` in a process that runs nothing else: this test binary again, with only the test `name`.
///
/// For what is counted per process (threads, descriptors, memory): other tests of the binary would disturb it.
///
/// # Panics
///
/// When the child fails, with what it printed.
#[track_caller]
pub fn alone(name: &str, body: impl FnOnce()) {
    if env::var(CHILD).as_deref() == Ok(name) {
        return body();
    }
    let output = Command::new(env::current_exe().expect("the path of this test binary"))
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, name)
        .output()
        .expect("the test binary starts again");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(
        stdout.contains("1 passed") || !output.status.success(),
        "no test has the name {name}:\n{stdout}"
    );
    assert!(
        output.status.success(),
        "{}\n{stdout}\n{stderr}",
        output.status
    );
}

/// How many threads this process has.
///
/// # Panics
///
/// Without `/proc`.
pub fn threads_count() -> usize {
    Process::this().threads_count()
}

/// How many descriptors this process has open.
///
/// # Panics
///
/// Without `/proc`.
pub fn fds_count() -> usize {
    Process::this().fds_count() - 1 // the directory that is being read
}

/// Sees to it that this process may have so many descriptors open, and those that come after it.
///
/// # Panics
///
/// Where that is more than it may allow itself.
pub fn may_open(count: u64) {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is an rlimit of ours that lives through the call.
    let got = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    assert_eq!(got, 0);
    limit.rlim_cur = limit.rlim_cur.max(count);
    // SAFETY: `limit` is readable.
    let set = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    assert_eq!(set, 0, "at most {} descriptors", limit.rlim_max);
}

/// Anonymous memory of this process that is resident, in bytes.
///
/// # Panics
///
/// Without `/proc`.
pub fn anonymous_bytes() -> usize {
    Process::this().anonymous_bytes()
}

/// A process, this one or another, as `/proc` shows it. All methods panic when it is gone.
#[derive(Copy, Clone, Debug)]
pub struct Process {
    id: u32,
}

impl Process {
    /// This one.
    pub fn this() -> Self {
        Self::of(std::process::id())
    }

    /// The one with this number.
    pub fn of(id: u32) -> Self {
        Self { id }
    }

    /// Its number.
    pub fn id(self) -> u32 {
        self.id
    }

    /// How many threads it has.
    pub fn threads_count(self) -> usize {
        self.entries("task")
    }

    /// How many descriptors it has open.
    pub fn fds_count(self) -> usize {
        self.entries("fd")
    }

    /// How many of them are sockets. (Among the others are pipes, which a server may keep for the next who copies much.)
    pub fn sockets_count(self) -> usize {
        let links = fs::read_dir(self.path("fd"))
            .expect("the process lives")
            .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        links
            .filter(|target| target.to_string_lossy().starts_with("socket:"))
            .count()
    }

    /// Its resident anonymous memory in bytes.
    pub fn anonymous_bytes(self) -> usize {
        let status = self.text("status");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"))
            .expect("a kernel since 4.5");
        let kib: usize = line
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .expect("a number of kB");
        kib * 1024
    }

    /// How long its threads have run, in steps of a hundredth of a second.
    pub fn cpu_time(self) -> Duration {
        let stat = self.text("stat");
        // The name before it is in parentheses, and may contain anything.
        let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");
        let ticks: u64 = fields
            .split_ascii_whitespace()
            .skip(11)
            .take(2) // user, system
            .map(|field| field.parse::<u64>().expect("a number of ticks"))
            .sum();
        Duration::from_millis(ticks * 10)
    }

    /// Sends it a signal. It must be this one, or a child that has not been waited for: otherwise its number may be another's.
    pub fn signal(self, signal: libc::c_int) {
        // SAFETY: the call touches no memory of ours.
        let sent = unsafe { libc::kill(self.id.cast_signed(), signal) };
        assert_eq!(sent, 0, "the process lives");
    }

    fn entries(self, directory: &str) -> usize {
        fs::read_dir(self.path(directory))
            .expect("the process lives")
            .count()
    }

    fn text(self, file: &str) -> String {
        fs::read_to_string(self.path(file)).expect("the process lives")
    }

    fn path(self, entry: &str) -> String {
        format!("/proc/{}/{entry}", self.id)
    }
}

/// Set in the environment of a child, to the name of its test.
const CHILD: &str = "WAKEFUL_TEST_ALONE";
