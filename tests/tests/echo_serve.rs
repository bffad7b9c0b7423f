//! `echo serve` for whoever looks after it: lines by level, the live line, stalls and SIGUSR1; and its echo line by line.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::ops::Deref;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use wakeful_tests::program::run;
use wakeful_tests::server::{RunningServer, Server, echo};
use wakeful_tests::watchdog::LIMIT;
use wakeful_tests::within;

#[test]
fn lines_come_back_as_they_were() {
    for workers in ["1", "2"] {
        let server = start(&["--frames", "--workers", workers]);
        let mut client = server.connect();
        for text in [
            "ping\n",
            "\n",
            "\r\n",
            "ends with a return\r\n",
            "zwölf Boxkämpfer\n",
        ] {
            client.write_all(text.as_bytes()).unwrap();
            assert_eq!(receive(&client, text.len()), text);
        }
        // Many at once, the longest that there may be among them.
        let longest = "x".repeat(64 << 10) + "\n";
        let many: String = (0..5_000).map(|number| format!("{number}\n")).collect();
        for text in [&longest, &many, &longest] {
            thread::scope(|scope| {
                scope.spawn(|| { &client }.write_all(text.as_bytes()).unwrap());
                assert!(receive(&client, text.len()) == **text);
            });
        }
        // A byte at a time: nothing comes before the line is whole.
        for byte in "größer\n".bytes() {
            client.write_all(&[byte]).unwrap();
        }
        assert_eq!(receive(&client, "größer\n".len()), "größer\n");
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        let report = server.ends();
        let [last] = &report[..] else {
            panic!("{report:?}")
        };
        let counts = last.strip_prefix("echo: connections: 1 accepted (1 done); ");
        let bytes = counts.and_then(|counts| counts.strip_suffix(" sent; 5008 lines echoed"));
        let (received, sent) = bytes.unwrap().split_once(" bytes received, ").unwrap();
        assert_eq!(received, sent);
    }
}

#[test]
fn who_sends_no_lines_is_cut_off_and_nobody_else() {
    let too_long = [b"good\n", &[b'x'; (64 << 10) + 1][..]].concat();
    for (sent, problem) in [
        (&b"good\n\xff\xfe\nnever seen\n"[..], "a line is not UTF-8"),
        (&too_long, "a line is longer than the 65536 bytes"),
        (
            b"good\nhalf",
            "the stream ended within a line, after 4 bytes",
        ),
    ] {
        let server = start(&["--frames", "--workers", "2"]);
        let mut other = server.connect();
        other.write_all(b"before\n").unwrap();
        assert_eq!(receive(&other, 7), "before\n");

        let mut client = server.connect();
        let name = client.local_addr().unwrap();
        client.write_all(sent).unwrap();
        if sent.ends_with(b"half") {
            client.shutdown(Shutdown::Write).unwrap();
        }
        let mut back = String::new();
        client.read_to_string(&mut back).expect("no reset");
        assert_eq!(back, "good\n");
        drop(client);

        other.write_all(b"after\n").unwrap();
        assert_eq!(receive(&other, 6), "after\n");
        drop(other);
        let report = server.ends();
        let warning = format!("echo: warning: the peer {name} is cut off: {problem}");
        assert!(report[0].starts_with(&warning), "{report:?}");
        // How much was received of what is no line is the system's business.
        let [_, counts] = &report[..] else {
            panic!("{report:?}")
        };
        let accepted = "echo: connections: 2 accepted (1 done, 1 failed); ";
        let sent = " bytes received, 18 sent; 3 lines echoed; 1 malformed line";
        assert!(
            counts.starts_with(accepted) && counts.ends_with(sent),
            "{counts}"
        );
    }
}

#[test]
fn a_line_that_comes_byte_by_byte_is_not_waited_for_forever() {
    let server = start(&["--frames", "--idle-timeout", "1s", "--log", "debug"]);
    let mut client = server.connect();
    let name = client.local_addr().unwrap();
    client.write_all(b"good\n").unwrap();
    assert_eq!(receive(&client, 5), "good\n");
    // Never idle, and always within the same line: at this rate its limit of 64 KiB is an hour away.
    client
        .set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    let begun = Instant::now();
    loop {
        let _ = client.write(b"x"); // it may be over
        match client.read(&mut [0]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Ok(0) | Err(_) => break, // the end, or a reset for what was not read
            Ok(_) => panic!("a part of a line came back"),
        }
        assert!(begun.elapsed() < LIMIT, "it is still waited for");
    }
    server.line_with(&format!("echo: debug: the peer {name} has failed: "));
    server.ends();
}

#[test]
fn what_matters_less_than_its_level_is_not_told() {
    for (level, expected) in [
        ("error", None),
        ("warn", None),
        ("info", Some("1 accepted")),
    ] {
        let server = start(&["--log", level]);
        there_and_back(&mut server.connect());
        let report = server.ends();
        assert_eq!(report.len(), usize::from(expected.is_some()), "{report:?}");
        assert!(report.iter().all(|line| line.contains("1 accepted")));
    }
    let server = start(&["--log", "debug"]);
    let mut client = server.connect();
    let name = client.local_addr().unwrap();
    there_and_back(&mut client);
    drop(client);
    let report = server.ends();
    for line in ["is there", "is done"] {
        let line = format!("echo: debug: the peer {name} {line}");
        assert!(report.contains(&line), "{report:?}");
    }
}

#[test]
fn a_level_that_there_is_not_is_refused_with_those_that_there_are() {
    let ended = run(&mut echo(&["serve", "--log", "loud"]), "");
    assert_eq!(ended.code, Some(2));
    for word in ["loud", "error, warn, info, debug"] {
        assert!(ended.stderr.contains(word), "{}", ended.stderr);
    }
}

#[test]
fn whoever_is_cut_off_after_the_grace_is_told_of() {
    let server = start(&["--grace", "50ms", "--log", "warn"]);
    let mut client = server.connect();
    there_and_back(&mut client);
    let report = server.ends(); // the client does not leave
    let warning = "echo: warning: connections cut off after the grace of 50ms: 1";
    assert_eq!(report, [warning]);
}

#[test]
fn without_a_terminal_the_live_line_is_many() {
    let server = start(&["--stats", "--log", "error", "--frames"]);
    let mut clients: Vec<_> = (0..3).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.write_all(b"ping\n").unwrap();
        receive(client, 5);
    }
    drop(clients.pop());
    for _ in 0..2 {
        let line = server.line_with("echo: connections: 2 active, 3 accepted; ");
        for word in [" polls/s, workers ", " % busy", " lines/s"] {
            assert!(line.contains(word), "{line}");
        }
    }
}

#[test]
fn at_sigusr1_it_tells_of_its_runtime_and_goes_on() {
    for workers in ["1", "2"] {
        let server = start(&["--workers", workers, "--log", "error"]);
        let mut clients: Vec<_> = (0..5).map(|_| server.connect()).collect();
        for client in &mut clients {
            there_and_back(client);
        }
        // A task may still be busy with what it has just done, so it is asked again until all of them wait.
        let mut waiting = 0;
        while waiting <= clients.len() {
            server.process.signal(libc::SIGUSR1);
            server.line_with("echo: connections: 5 accepted (5 active)");
            let metrics = server.line_with(" tasks, ");
            server.line_with("worker 0: ");
            server.line_with("tasks waited ");
            let count = metrics.split(' ').next().unwrap().parse().unwrap();
            let tasks: Vec<_> = (0..count).map(|_| server.line_with("task ")).collect();
            let waits = |task: &&String| {
                task.contains("runtime/src/net/serve") && task.contains(" is readable; ")
            };
            waiting = tasks.iter().filter(waits).count(); // and the one that accepts
        }
        for client in &mut clients {
            there_and_back(client);
        }
        drop(clients);
        assert!(server.ends().is_empty());
    }
}

/// What keeps the worker here is a pipe that nobody reads, by way of the lines of a log.
#[test]
fn a_task_that_keeps_its_worker_is_told_of() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut command = echo(&["serve", "--listen", "127.0.0.1:0", "--workers", "1"]);
    command.args(["--log", "debug", "--stall", "20ms"]);
    let server = RunningServer::start(command.stderr(writer));
    command.stderr(Stdio::null()); // lets go of this process's end
    let (running, over) = (*server, Arc::new(AtomicBool::new(false)));
    let is_over = over.clone();
    let filling = thread::spawn(move || {
        while !is_over.load(Relaxed) {
            there_and_back(&mut running.connect());
        }
    });
    let (told, mut reader) = within(LIMIT * 2, move || {
        let mut told = String::new();
        while !told.contains("warning: worker 0 is kept by task ") {
            thread::sleep(Duration::from_millis(300)); // so that it is full, and stays so for some time
            let mut bytes = vec![0; 128 << 10];
            let count = reader.read(&mut bytes).unwrap();
            assert_ne!(count, 0, "it has ended");
            told.push_str(str::from_utf8(&bytes[..count]).unwrap());
        }
        (told, reader)
    });
    over.store(true, Relaxed);
    thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
    let (_, stall) = told.split_once("worker 0 is kept by task ").unwrap();
    assert!(stall.contains("(spawned at "), "{stall}");
    filling.join().unwrap();
}

/// A server, and what it says.
struct Serving {
    server: RunningServer,
    lines: Receiver<String>,
}

fn start(arguments: &[&str]) -> Serving {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = echo(&["serve", "--listen", "127.0.0.1:0"]);
    let server = RunningServer::start(command.args(arguments).stderr(writer));
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(reader).lines() {
            let _ = sender.send(line.unwrap()); // nobody wants to know any more
        }
    });
    Serving { server, lines }
}

impl Serving {
    /// The next line that contains `text`.
    #[track_caller]
    fn line_with(&self, text: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(LIMIT).expect(text);
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Ends it, and returns the rest of what it has said.
    #[track_caller]
    fn ends(mut self) -> Vec<String> {
        self.server.process.signal(libc::SIGTERM);
        assert_eq!(self.server.ended().code(), Some(0));
        let next = || match self.lines.recv_timeout(LIMIT) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("somebody else has its standard error"),
        };
        std::iter::from_fn(next).collect()
    }
}

impl Deref for Serving {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

/// So many bytes that are text.
#[track_caller]
fn receive(mut client: &TcpStream, len: usize) -> String {
    let mut bytes = vec![0; len];
    client.read_exact(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[track_caller]
fn there_and_back(client: &mut TcpStream) {
    client.write_all(b"ping").unwrap();
    assert_eq!(receive(client, 4), "ping");
}
