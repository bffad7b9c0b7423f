//! What `strace` says about the echo server: which system calls it makes, and how many.
//!
//! ```text
//! cargo test --release -p wakeful-tests --test foreign --features foreign-programs
//! ```
//!
//! The counts hold in a release build; in any build the tests fail where `strace` is missing or may not attach.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use wakeful_tests::eventually;
use wakeful_tests::server::{Server, with_servers};
use wakeful_tests::watchdog::LIMIT;

#[test]
fn an_echo_is_one_recv_and_one_send() {
    with_servers([1, 2], LIMIT * 2, |server| {
        const CONNECTIONS: usize = 64;
        const ROUNDS: usize = 200;
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
        let registered = count(&["epoll_ctl"]) / CONNECTIONS as f64;
        assert!(registered <= 1.05, "{registered} times registered");
    });
}

#[test]
fn a_server_with_nothing_to_do_makes_no_system_call() {
    with_servers([1, 2], LIMIT, |server| {
        let mut clients: Vec<_> = (0..10).map(|_| server.connect()).collect();
        round(&mut clients);
        eventually("it sleeps", || {
            let path = format!("/proc/{}/stat", server.process.id());
            let stat = fs::read_to_string(path).unwrap();
            stat.rsplit_once(") ").unwrap().1.starts_with('S')
        });
        let mut trace = Trace::of(&server, "idle");
        // To be observed interrupts every wait, and the watch rests after 100 ms in which nothing happened.
        thread::sleep(Duration::from_millis(500));
        trace.begin_here();
        thread::sleep(Duration::from_secs(2)); // the time in which nothing may happen
        assert_eq!(trace.end(), BTreeMap::new());
    });
}

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
        let log = std::env::temp_dir().join(format!("wakeful-strace-{name}-{id}"));
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
        let mut counts = BTreeMap::new();
        // `PID name(arguments) = result`, or in two lines the second of which is `PID <... name resumed>…`.
        for line in text[this.skipped_bytes..].lines() {
            let call = line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
            if let Some((name, _)) = call.split_once('(')
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            {
                *counts.entry(name.to_owned()).or_default() += 1;
            }
        }
        counts
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        // All of it may have happened already.
        let _ = self.strace.kill();
        let _ = self.strace.wait();
        let _ = fs::remove_file(&self.log);
    }
}
