//! What `strace` says about the echo server and about sleeps: which system calls they make, and how many. And what becomes of
//! sleeps where `strace` lets a call fail that not every kernel has.
//!
//! ```text
//! cargo test --release -p wakeful-tests --test foreign --features foreign-programs
//! ```
//!
//! The counts hold in a release build; in any build the tests fail where `strace` is missing or may not attach.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{self, Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use wakeful::Builder;
use wakeful::time::{Instant, sleep};
use wakeful_tests::eventually;
use wakeful_tests::server::{Server, with_servers};
use wakeful_tests::watchdog::LIMIT;

#[test]
fn an_echo_is_one_recv_and_one_send() {
    /// After so many waits in a row on another worker than its source's, a connection may move there.
    const WAITS_BEFORE_MOVE: usize = 64;
    with_servers([1], LIMIT * 2, |server| count_calls(server, 0));
    with_servers([2], LIMIT * 2, |server| {
        count_calls(server, ROUNDS / WAITS_BEFORE_MOVE);
    });
}

const CONNECTIONS: usize = 64;
const ROUNDS: usize = 200;

/// How often a server calls the kernel for each echo, and for each connection, of which each may move so often.
fn count_calls(server: Server, moves_max: usize) {
    let trace = Trace::of(&server, "counts");
    let mut clients: Vec<_> = (0..CONNECTIONS).map(|_| server.connect()).collect();
    for _ in 0..ROUNDS {
        round(&mut clients);
    }
    let counts = trace.end();
    let count = |names: &[&str]| -> f64 {
        let made = names.iter().map(|&name| counts.get(name).unwrap_or(&0));
        made.sum::<usize>() as f64
    };
    let echoes = (CONNECTIONS * ROUNDS) as f64;
    println!("{counts:?} for {echoes} echoes");
    let received = count(&["recvfrom", "recvmsg", "read"]) / echoes;
    // A `write` is the eventfd by which one worker wakes another; it is no part of an echo.
    let sent = count(&["sendto", "sendmsg"]) / echoes;
    assert!((1.0..1.05).contains(&received), "{received} times received");
    assert!((1.0..1.05).contains(&sent), "{sent} times sent");
    let waited = count(&["epoll_wait", "epoll_pwait", "epoll_pwait2"]) / echoes;
    assert!(waited <= 1.05, "{waited} times waited");
    // A move is two calls: into the other epoll instance, and out of the one before.
    let registered = count(&["epoll_ctl"]) / CONNECTIONS as f64;
    let most = 1.05 + 2.0 * moves_max as f64;
    assert!(registered <= most, "{registered} times registered");
}

#[test]
fn a_server_with_nothing_to_do_makes_no_system_call() {
    with_servers([1, 2, 8], LIMIT, |server| {
        let mut clients: Vec<_> = (0..10).map(|_| server.connect()).collect();
        round(&mut clients);
        eventually("it sleeps", || {
            let path = format!("/proc/{}/stat", server.process.id());
            let stat = fs::read_to_string(path).unwrap();
            stat.rsplit_once(") ").unwrap().1.starts_with('S')
        });
        let mut trace = Trace::of(&server, "idle");
        // To be observed interrupts every wait, and the watch rests after 100 ms in which nothing happened.
        thread::sleep(Duration::from_secs(1));
        trace.begin_here();
        thread::sleep(Duration::from_secs(10)); // the time in which nothing may happen
        assert_eq!(trace.end(), BTreeMap::new());
    });
}

#[test]
fn a_short_sleep_is_one_wait() {
    const NAME: &str = "a_short_sleep_is_one_wait";
    traced(NAME, &[], sleep_shortly, |counts| {
        println!("{counts:?} for {SLEEPS_COUNT} sleeps");
        let waits: usize = WAITS.iter().filter_map(|&name| counts.get(name)).sum();
        // A few more are the runtime's own, and those after a wait that was interrupted.
        assert!((SLEEPS_COUNT..=SLEEPS_COUNT * 5 / 4).contains(&waits));
        assert!(
            counts
                .get("epoll_pwait2")
                .is_some_and(|&waits| waits >= SLEEPS_COUNT)
        );
    });
}

/// As on a kernel before 5.11: it takes milliseconds then, and no more waits.
#[test]
fn a_short_sleep_is_one_wait_too_where_the_kernel_counts_in_milliseconds() {
    const NAME: &str = "a_short_sleep_is_one_wait_too_where_the_kernel_counts_in_milliseconds";
    let refused = ["--inject=epoll_pwait2:error=ENOSYS"];
    traced(NAME, &refused, sleep_shortly, |counts| {
        println!("{counts:?} for {SLEEPS_COUNT} sleeps");
        assert_eq!(counts.get("epoll_pwait2"), Some(&1), "asked for once");
        let waits = counts["epoll_wait"];
        assert!((SLEEPS_COUNT..=SLEEPS_COUNT * 5 / 4).contains(&waits));
    });
}

/// Sleeps that are never early, one after the other.
fn sleep_shortly() {
    let runtime = Builder::new().workers(1).build().unwrap();
    runtime.block_on(async {
        for _ in 0..SLEEPS_COUNT {
            let begun = Instant::now();
            sleep(SLEEP).await;
            assert!(begun.elapsed() >= SLEEP);
        }
    });
}

const SLEEPS_COUNT: usize = 1000;
const SLEEP: Duration = Duration::from_micros(100);
const WAITS: [&str; 3] = ["epoll_wait", "epoll_pwait", "epoll_pwait2"];

/// Runs the test `name` again under `strace`, where it comes to `body`, and shows `check` how often each way of waiting was
/// called.
fn traced(
    name: &str,
    options: &[&str],
    body: impl FnOnce(),
    check: impl FnOnce(BTreeMap<String, usize>),
) {
    if env::var_os(TRACED).is_some() {
        return body();
    }
    let log = env::temp_dir().join(format!("wakeful-strace-{name}-{}", process::id()));
    let traced = Command::new("strace")
        .args(["--follow-forks", "--quiet=all", "--output"])
        .arg(&log)
        .arg(format!("--trace={}", WAITS.join(",")))
        .args(options)
        .arg(env::current_exe().unwrap())
        .args([name, "--exact", "--test-threads=1"])
        .env(TRACED, "")
        .output()
        .expect("strace is installed");
    let text = fs::read_to_string(&log).unwrap();
    fs::remove_file(&log).unwrap();
    let output = String::from_utf8_lossy(&traced.stdout);
    assert!(
        traced.status.success() && output.contains("1 passed"),
        "{output}"
    );
    check(calls_in(&text));
}

const TRACED: &str = "WAKEFUL_TEST_TRACED";

/// Everybody sends, then everybody receives.
fn round(clients: &mut [TcpStream]) {
    for client in &mut *clients {
        client.write_all(&[7; 64]).unwrap();
    }
    for client in clients {
        client.read_exact(&mut [0; 64]).unwrap();
    }
}

/// An `strace` of a server, which ends with this.
struct Trace {
    strace: Child,
    log: PathBuf,
    /// How much of the log is not looked at.
    skipped_bytes: usize,
}

impl Trace {
    fn of(server: &Server, name: &str) -> Self {
        let id = server.process.id();
        let log = env::temp_dir().join(format!("wakeful-strace-{name}-{id}"));
        let strace = Command::new("strace")
            .args(["--follow-forks", "--quiet=all", "--attach"])
            .arg(id.to_string())
            .arg("--output")
            .arg(&log)
            .stdin(Stdio::null())
            .spawn()
            .expect("strace is installed");
        let trace = Self {
            strace,
            log,
            skipped_bytes: 0,
        };
        let tasks = format!("/proc/{id}/task");
        eventually("strace has attached to all threads", || {
            fs::read_dir(&tasks).unwrap().all(|task| {
                let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
                !status.contains("TracerPid:\t0\n")
            })
        });
        trace
    }

    /// What happened so far is not looked at.
    fn begin_here(&mut self) {
        self.skipped_bytes = fs::read(&self.log).unwrap().len();
    }

    /// How often each call was begun.
    fn end(self) -> BTreeMap<String, usize> {
        let id = self.strace.id().to_string();
        let told = Command::new("kill").args(["-INT", &id]).status().unwrap();
        assert!(told.success());
        let mut this = self;
        this.strace.wait().unwrap();
        let text = fs::read_to_string(&this.log).unwrap();
        calls_in(&text[this.skipped_bytes..])
    }
}

/// How often each call was begun, by a log of `strace`.
fn calls_in(log: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    // `PID name(arguments) = result`, or in two lines the second of which is `PID <... name resumed>…`.
    for line in log.lines() {
        let call = line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
        if let Some((name, _)) = call.split_once('(')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        {
            *counts.entry(name.to_owned()).or_default() += 1;
        }
    }
    counts
}

impl Drop for Trace {
    fn drop(&mut self) {
        // All of it may have happened already.
        let _ = self.strace.kill();
        let _ = self.strace.wait();
        let _ = fs::remove_file(&self.log);
    }
}
