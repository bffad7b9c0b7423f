//! What the echo server does for those who want too much, and what it says in the end.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use wakeful_tests::server::{RunningServer, Server, echo, echo_binary};
use wakeful_tests::watchdog::LIMIT;
use wakeful_tests::{Bytes, eventually, within};

#[test]
fn it_listens_on_several_addresses_and_on_unix_sockets() {
    let path = std::env::temp_dir().join(format!("wakeful-echo-{}", std::process::id()));
    let mut command = echo(&["serve", "--workers", "2"]);
    command.args(["--listen", "127.0.0.1:0", "--listen", "[::1]:0", "--unix"]);
    let mut child = command
        .arg(&path)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = child.stdout.take().unwrap();
    let lines = within(LIMIT, move || {
        let mut text = Vec::new();
        while text.iter().filter(|byte| **byte == b'\n').count() < 3 {
            let mut byte = [0];
            output.read_exact(&mut byte).unwrap();
            text.push(byte[0]);
        }
        String::from_utf8(text).unwrap()
    });
    let names: Vec<_> = lines
        .lines()
        .map(|line| {
            let name = line.strip_prefix("listening on ").unwrap();
            name.strip_suffix(" (2 workers)").unwrap()
        })
        .collect();
    for name in &names[..2] {
        let address: SocketAddr = name.parse().unwrap();
        Bytes(1).through(&TcpStream::connect(address).unwrap(), 10_000, 1_000);
    }
    assert_eq!(names[2], path.to_str().unwrap());
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"ping").unwrap();
    stream.read_exact(&mut [0; 4]).unwrap();
    drop(stream);

    wakeful_tests::process::Process::of(child.id()).signal(libc::SIGTERM);
    let output = within(LIMIT, move || child.wait_with_output().unwrap());
    assert_eq!(output.status.code(), Some(0));
    let report = String::from_utf8(output.stderr).unwrap();
    let counts = "3 accepted (3 done); 20004 bytes received, 20004 sent";
    assert_eq!(report, format!("echo: connections: {counts}\n"));
    assert!(!path.exists(), "the name is removed");
}

#[test]
fn the_report_adds_up_when_somebody_is_cut_off() {
    let mut command = echo(&["serve", "--listen", "127.0.0.1:0", "--workers", "2"]);
    command.args(["--grace", "100ms", "--max-per-peer", "5"]);
    let (mut server, report) = start(&mut command);
    let mut clients: Vec<_> = (0..5).map(|_| server.connect()).collect();
    for client in &mut clients {
        there_and_back(client);
    }
    let mut refused = server.connect();
    assert!(matches!(refused.read(&mut [0]), Ok(0) | Err(_)));
    server.process.signal(libc::SIGTERM);
    for client in &mut clients[..2] {
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    }
    drop(clients.drain(..2));
    // The others do not leave.
    assert_eq!(server.ended().code(), Some(0));
    let report = report.join().unwrap();
    let (accepted, done, aborted) = (
        number(&report, "accepted"),
        number(&report, "done"),
        number(&report, "aborted"),
    );
    assert_eq!(
        (accepted, done + aborted, number(&report, "refused")),
        (5, 5, 1),
        "{report}"
    );
    assert!(aborted >= 3, "{report}");
}

/// Of every kind of client some: who stays, who comes and goes, who goes with a reset.
#[test]
fn the_report_of_an_end_under_load_is_what_its_clients_have_seen() {
    for workers in ["1", "2"] {
        let own_address = format!("{}:0", own_host());
        let mut command = echo(&["serve", "--grace", "25s", "--workers", workers]);
        let (mut server, report) = start(command.args(["--listen", &own_address]));
        let running = *server;
        let answers = AtomicU64::new(0);
        let seen = thread::scope(|scope| {
            let answers = &answers;
            let mut clients = Vec::new();
            for _ in 0..4 {
                let stream = server.connect(); // before there is an end
                clients.push(scope.spawn(move || stay(stream, answers)));
                clients.push(scope.spawn(move || come_and_go(running, answers, End::Well)));
                clients.push(scope.spawn(move || come_and_go(running, answers, End::Reset)));
            }
            eventually("there is load", || answers.load(SeqCst) > 500);
            server.process.signal(libc::SIGTERM);
            let seen = clients.into_iter().map(|client| client.join().unwrap());
            seen.reduce(Seen::with).unwrap()
        });
        assert_eq!(server.ended().code(), Some(0));
        let report = report.join().unwrap();
        assert_eq!(number(&report, "accepted"), seen.done + seen.reset);
        assert_eq!(number(&report, "done"), seen.done, "{report}");
        assert_eq!(number(&report, "failed"), seen.reset, "{report}");
        assert_eq!(number(&report, "sent"), seen.bytes, "{report}");
        let received = report.split(" bytes received").next().unwrap();
        let received: u64 = received.rsplit(' ').next().unwrap().parse().unwrap();
        assert!(received >= seen.bytes, "{report}");
        for word in ["active", "panicked", "aborted", "refused", "paused"] {
            assert!(!report.contains(word), "{report}");
        }
    }
}

/// What clients know of connections that the server must have accepted.
#[derive(Default)]
struct Seen {
    /// Ended with the end of the stream.
    done: u64,
    /// Ended by the client, with a reset.
    reset: u64,
    /// Came back.
    bytes: u64,
}

impl Seen {
    fn with(self, other: Self) -> Self {
        Self {
            done: self.done + other.done,
            reset: self.reset + other.reset,
            bytes: self.bytes + other.bytes,
        }
    }
}

/// How a client ends its connection.
#[derive(Copy, Clone)]
enum End {
    Well,
    Reset,
}

/// Sends and receives until the server says that this is all.
fn stay(mut stream: TcpStream, answers: &AtomicU64) -> Seen {
    let (mut bytes, mut buffer) = (0, [0; 64]);
    'visit: loop {
        stream.write_all(&[7; 64]).unwrap();
        let mut missing = buffer.len();
        while missing > 0 {
            let count = stream.read(&mut buffer[..missing]).expect("no reset");
            if count == 0 {
                break 'visit;
            }
            missing -= count;
            bytes += count as u64;
        }
        answers.fetch_add(1, SeqCst);
    }
    Seen {
        done: 1,
        bytes,
        ..Seen::default()
    }
}

/// Connects, sends, sees the answer, and leaves; again and again until nobody listens any more.
fn come_and_go(server: Server, answers: &AtomicU64, end: End) -> Seen {
    let mut seen = Seen::default();
    while let Ok(mut stream) = TcpStream::connect(server.address) {
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let mut buffer = [0; 64];
        let asked = stream.write_all(&[7; 64]);
        match asked.and_then(|()| stream.peek(&mut buffer)) {
            Ok(0) => seen.done += 1, // the end came before the question
            Ok(count) => {
                assert_eq!(count, 64);
                seen.bytes += 64;
                answers.fetch_add(1, SeqCst);
                match end {
                    End::Well => {
                        stream.read_exact(&mut buffer).unwrap();
                        stream.shutdown(Shutdown::Write).unwrap();
                        assert_eq!(stream.read(&mut buffer).unwrap(), 0);
                        seen.done += 1;
                    }
                    End::Reset => seen.reset += 1, // the answer has not been read: the system makes it one
                }
            }
            // It was still in the backlog when the listener was closed.
            Err(error) => assert!(
                [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe].contains(&error.kind()),
                "{error}"
            ),
        }
    }
    seen
}

/// As many as the system allows would leave none for anything else.
#[test]
fn by_default_it_does_not_use_up_its_descriptors() {
    for workers in ["1", "2"] {
        const SERVED: usize = 32;
        let mut limited = Command::new("sh");
        limited
            .args(["-c", "ulimit -n 64; exec \"$0\" \"$@\""])
            .arg(echo_binary())
            .args(["serve", "--listen", "127.0.0.1:0", "--workers", workers]);
        let (mut server, report) = start(&mut limited);
        let running = *server;
        within(LIMIT * 2, move || {
            let mut clients: Vec<_> = (0..200).map(|_| running.connect()).collect();
            for client in &mut clients {
                client.write_all(b"ping").unwrap();
            }
            for client in &mut clients[..SERVED] {
                client.read_exact(&mut [0; 4]).unwrap();
            }
            for _ in 0..3 {
                there_and_back(&mut clients[SERVED - 1]);
                assert!(running.process.fds_count() < SERVED + 24);
            }
            let mut rest = clients.split_off(SERVED);
            drop(clients.drain(..10));
            for client in &mut rest[..10] {
                client.read_exact(&mut [0; 4]).unwrap();
            }
        });
        server.process.signal(libc::SIGTERM);
        assert_eq!(server.ended().code(), Some(0));
        let report = report.join().unwrap();
        assert!(!report.contains("paused"), "{report}");
    }
}

#[test]
fn whoever_does_nothing_for_too_long_is_gone_and_costs_no_memory() {
    for workers in ["1", "2"] {
        let count = if cfg!(debug_assertions) { 100 } else { 1_000 };
        let mut command = echo(&["serve", "--listen", "127.0.0.1:0", "--workers", workers]);
        command.args(["--idle-timeout", "3s"]);
        let (mut server, report) = start(&mut command);
        let running = *server;
        within(LIMIT * 3, move || {
            there_and_back(&mut running.connect());
            eventually("the first has gone", || running.process.fds_count() < 20);
            let (sockets, memory) = (
                running.process.sockets_count(),
                running.process.anonymous_bytes(),
            );
            let mut clients = Vec::new();
            for number in 0..count {
                let mut client = running.connect();
                match number % 10 {
                    0 => fill(&client), // reads nothing
                    1 => {}             // says nothing
                    2 => client.write_all(b"half a line").unwrap(),
                    _ => client.write_all(b"x").unwrap(),
                }
                clients.push(client);
            }
            let growth = running.process.anonymous_bytes().saturating_sub(memory);
            let most = (4 << 20) + count / 10 * (256 << 10);
            assert!(growth <= most, "{growth} bytes");
            // One that does something now and then stays, however long it takes the others to go.
            let mut alive = running.connect();
            let began = Instant::now();
            while running.process.sockets_count() > sockets + 1 {
                there_and_back(&mut alive);
                assert!(began.elapsed() < LIMIT, "they stay");
                thread::sleep(Duration::from_millis(50));
            }
            there_and_back(&mut alive);
            drop(clients);
        });
        server.process.signal(libc::SIGTERM);
        assert_eq!(server.ended().code(), Some(0));
        let report = report.join().unwrap();
        assert_eq!(number(&report, "accepted"), count as u64 + 2);
        assert!(number(&report, "failed") >= count as u64, "{report}");
    }
}

/// Sends until the server takes no more, since nobody takes what it sends back.
fn fill(mut client: &TcpStream) {
    client.set_nonblocking(true).unwrap();
    let bytes = vec![7; 64 << 10];
    let mut waits = 0;
    while waits < 5 {
        match client.write(&bytes) {
            Ok(_) => waits = 0,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                waits += 1;
                thread::sleep(Duration::from_millis(1));
            }
            Err(_) => break, // it was idle for too long already
        }
    }
}

/// An address of this process: whoever gets the port of a server that has ended does not get it here.
fn own_host() -> Ipv4Addr {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, high, low, 7)
}

/// Starts a server; the thread returns what it has printed on its standard error when it has ended.
fn start(command: &mut Command) -> (RunningServer, thread::JoinHandle<String>) {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let server = RunningServer::start(command.stderr(writer));
    command.stderr(Stdio::null()); // lets go of this process's end
    let report = thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    });
    (server, report)
}

/// The number before a word of the report; 0 if it does not occur.
fn number(report: &str, word: &str) -> u64 {
    let words: Vec<_> = report
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    let at = words.iter().position(|other| *other == word);
    at.map_or(0, |at| words[at - 1].parse().unwrap())
}

#[track_caller]
fn there_and_back(client: &mut TcpStream) {
    client.write_all(b"ping").unwrap();
    let mut back = [0; 4];
    client.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"ping");
}
