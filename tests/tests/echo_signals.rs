//! How the echo server ends: it loses no byte that was acknowledged before the signal, and it ends in time.
//!
//! **Acknowledged** is what the server's system has told the client's to have received: it lies in the receive buffer of the
//! server's socket, accepted or still in the backlog. The client's system knows how much of what was sent is not
//! acknowledged yet (`SIOCOUTQ`), so what has been sent at a moment, less that, has been acknowledged by then. All of it has to
//! come back, in order, followed by the end of the stream and not by a reset.
#![expect(
    unsafe_code,
    reason = "the kernel is asked what is acknowledged, by libc only"
)]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use wakeful_tests::server::{RunningServer, Server, echo};
use wakeful_tests::watchdog::LIMIT;
use wakeful_tests::{Bytes, eventually, within};

#[test]
fn with_nobody_connected_it_ends_at_once() {
    for (signal, workers) in [(libc::SIGINT, 1), (libc::SIGTERM, 2)] {
        let server = start(workers);
        let began = Instant::now();
        assert_ends_well(server, signal);
        assert!(began.elapsed() < GRACE);
    }
}

#[test]
fn an_idle_client_gets_the_end_of_the_stream() {
    for workers in [1, 2] {
        let mut server = start(workers);
        let mut clients: Vec<_> = (0..20).map(|_| server.connect()).collect();
        for client in &mut clients[..10] {
            client.write_all(b"ping").unwrap();
            client.read_exact(&mut [0; 4]).unwrap();
        }
        server.process.signal(libc::SIGTERM);
        for mut client in clients {
            assert_eq!(client.read(&mut [0]).unwrap(), 0);
        }
        assert_eq!(server.ended().code(), Some(0));
    }
}

/// While the server is stopped, the kernel goes on acknowledging, and everything is in its buffers when the signal comes.
#[test]
fn what_the_server_has_not_looked_at_yet_comes_back_too() {
    for workers in [1, 2] {
        const BYTES: usize = 100_000;
        let mut server = start(workers);
        let mut known: Vec<_> = (0..5).map(|_| server.connect()).collect();
        for client in &mut known[..3] {
            client.write_all(b"ping").unwrap();
            client.read_exact(&mut [0; 4]).unwrap();
        }
        server.process.signal(libc::SIGSTOP);
        let in_the_backlog = (0..5).map(|_| server.connect());
        let clients: Vec<_> = known.into_iter().chain(in_the_backlog).collect();
        for (seed, client) in clients.iter().enumerate() {
            Bytes(seed as u64).send(client, BYTES, BYTES).unwrap();
        }
        eventually("all of it is acknowledged", || {
            clients.iter().all(|client| unacknowledged(client) == 0)
        });
        server.process.signal(libc::SIGTERM);
        server.process.signal(libc::SIGCONT);
        for (seed, client) in clients.iter().enumerate() {
            Bytes(seed as u64).expect(client, BYTES, 10_000).unwrap();
            assert_eq!({ client }.read(&mut [0]).unwrap(), 0);
        }
        drop(clients);
        assert_eq!(server.ended().code(), Some(0));
        refused(*server);
    }
}

/// The same line by line: what was received as a whole line comes back, and of another nothing.
#[test]
fn with_frames_every_whole_line_comes_back_too() {
    for workers in ["1", "2"] {
        let mut server = RunningServer::start(
            echo(&["serve", "--listen", "127.0.0.1:0", "--frames", "--workers"])
                .arg(workers)
                .stderr(Stdio::null()),
        );
        let mut known: Vec<_> = (0..5).map(|_| server.connect()).collect();
        for client in &mut known[..3] {
            client.write_all(b"ping\nhal").unwrap();
            client.read_exact(&mut [0; 5]).unwrap();
        }
        let whole: String = (0..10_000).map(|number| format!("f {number}\n")).collect();
        server.process.signal(libc::SIGSTOP);
        let in_the_backlog = (0..5).map(|_| server.connect());
        let mut clients: Vec<_> = known.into_iter().chain(in_the_backlog).collect();
        for client in &mut clients {
            client.write_all(whole.as_bytes()).unwrap();
            client.write_all(b"not the whole li").unwrap();
        }
        eventually("all of it is acknowledged", || {
            clients.iter().all(|client| unacknowledged(client) == 0)
        });
        server.process.signal(libc::SIGTERM);
        server.process.signal(libc::SIGCONT);
        for (number, client) in clients.iter_mut().enumerate() {
            let mut back = String::new();
            client
                .read_to_string(&mut back)
                .expect("an end, not a reset");
            let begun = if number < 3 { "hal" } else { "" };
            assert!(back == format!("{begun}{whole}"), "{} bytes", back.len());
        }
        drop(clients);
        assert_eq!(server.ended().code(), Some(0));
    }
}

#[test]
fn with_frames_who_never_stops_sending_does_not_keep_it() {
    let mut server = RunningServer::start(
        echo(&[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--frames",
            "--grace",
            "30s",
        ])
        .stderr(Stdio::null()),
    );
    let (mut client, over) = (server.connect(), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            let lines = "a line\n".repeat(1_000);
            while !over.load(SeqCst) {
                if { &client }.write_all(lines.as_bytes()).is_err() {
                    break;
                }
            }
            client.shutdown(Shutdown::Write).unwrap();
        });
        { &client }.read_exact(&mut [0; 100_000]).unwrap();
        server.process.signal(libc::SIGTERM);
        let mut back = String::new();
        { &client }
            .read_to_string(&mut back)
            .expect("an end, not a reset");
        over.store(true, SeqCst);
        assert!(back.ends_with("a line\n"));
    });
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    assert_eq!(server.ended().code(), Some(0));
}

/// The kernel's buffers are full in both directions, and the client goes on sending when the server has said its last.
#[test]
fn a_slow_reader_that_goes_on_sending_gets_everything_back() {
    for workers in [1, 2] {
        let mut server = start(workers);
        let (client, bytes) = (server.connect(), Bytes(7));
        let sent = AtomicUsize::new(0);
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| send_until(&client, bytes, 30_000, &sent, &over));
            let mut before = usize::MAX;
            while before != sent.load(SeqCst) {
                before = sent.load(SeqCst);
                thread::sleep(Duration::from_millis(100)); // until nothing moves any more
            }
            let acknowledged = acknowledged(&client, &sent);
            server.process.signal(libc::SIGTERM);
            thread::sleep(Duration::from_millis(100)); // so that it is waiting for this client
            let back = read_to_end(&client, bytes, 20_000);
            over.store(true, SeqCst);
            assert!(back >= acknowledged, "{back} of {acknowledged} bytes");
        });
        drop(client);
        assert_eq!(server.ended().code(), Some(0));
    }
}

#[test]
fn who_does_not_leave_is_cut_off_in_the_end() {
    let mut server = start(1);
    let mut client = server.connect();
    server.process.signal(libc::SIGTERM);
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    let began = Instant::now();
    assert_eq!(server.ended().code(), Some(0));
    let took = began.elapsed();
    assert!((GRACE / 2..GRACE * 2).contains(&took), "{took:?}");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for (first, second, code) in [
        (libc::SIGINT, libc::SIGINT, 130),
        (libc::SIGINT, libc::SIGTERM, 143),
    ] {
        let mut server = start(2);
        let mut client = server.connect();
        server.process.signal(first);
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        let began = Instant::now();
        server.process.signal(second);
        assert_eq!(server.ended().code(), Some(code));
        assert!(began.elapsed() < GRACE / 2);
    }
}

#[test]
fn at_a_thousand_random_moments_under_load_it_ends_well() {
    let runs = if cfg!(debug_assertions) { 50 } else { 1_000 };
    let seed = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_nanos() as u64;
    println!("seed {seed}");
    let mut slowest = Duration::ZERO;
    for run in 0..runs {
        let took = within(LIMIT, move || end_under_load(seed.wrapping_add(run), run));
        slowest = slowest.max(took);
    }
    println!("{runs} ends, the slowest took {slowest:?}");
}

/// One run; says how long the server took to end.
fn end_under_load(seed: u64, run: u64) -> Duration {
    let random = Bytes(seed).take(4);
    let workers = 1 + usize::from(random[0] % 2);
    let signal = [libc::SIGINT, libc::SIGTERM][usize::from(random[1] % 2)];
    let delay = Duration::from_micros(u64::from(u16::from_le_bytes([random[2], random[3]])) / 4); // 16 ms at most
    let note =
        format!("run {run}: seed {seed}, signal {signal} after {delay:?}, {workers} worker(s)");
    let _note = Note(note);

    let mut running = start(workers);
    let server = *running;
    // Of every kind of client one or more: bytes at a time, whether it waits for the answer or goes on sending.
    let chunks = [64, 1_000, 16 << 10];
    let clients = chunks.map(|_| server.connect());
    let sent = chunks.map(|_| AtomicUsize::new(0));
    let over = chunks.map(|_| AtomicBool::new(false));
    let signalled = AtomicBool::new(false);
    thread::scope(|scope| {
        let mut readers = Vec::new();
        for index in 0..chunks.len() {
            let (client, sent, over) = (&clients[index], &sent[index], &over[index]);
            let (bytes, chunk) = (Bytes(seed ^ index as u64), chunks[index]);
            scope.spawn(move || send_until(client, bytes, chunk, sent, over));
            readers.push(scope.spawn(move || {
                let back = read_to_end(client, bytes, chunk);
                over.store(true, SeqCst);
                back
            }));
        }
        scope.spawn(|| come_and_go(server, &signalled));

        thread::sleep(delay);
        let acknowledged: Vec<_> = (0..chunks.len())
            .map(|index| acknowledged(&clients[index], &sent[index]))
            .collect();
        signalled.store(true, SeqCst);
        let began = Instant::now();
        server.process.signal(signal);
        for (reader, acknowledged) in readers.into_iter().zip(acknowledged) {
            let back = reader.join().expect("the stream ends without an error");
            assert!(back >= acknowledged, "{back} of {acknowledged} bytes");
        }
        for client in &clients {
            client.shutdown(Shutdown::Write).unwrap();
        }
        assert_eq!(running.ended().code(), Some(0));
        let took = began.elapsed();
        assert!(took < GRACE, "{took:?}");
        took
    })
}

/// Connects, sends and expects it back, again and again until the server is there no more. What was acknowledged before
/// the signal has to come back; what came later may be refused.
fn come_and_go(server: Server, signalled: &AtomicBool) {
    loop {
        let round = || -> std::io::Result<()> {
            let mut stream = TcpStream::connect(server.address)?;
            stream.set_read_timeout(Some(LIMIT))?;
            stream.write_all(b"a short visit")?;
            let owed = unacknowledged(&stream) == 0 && !signalled.load(SeqCst);
            let mut back = [0; 13];
            match stream.read_exact(&mut back) {
                Ok(()) => assert_eq!(&back, b"a short visit"),
                Err(error) => assert!(!owed, "acknowledged, and lost: {error}"),
            }
            Ok(())
        };
        match round() {
            Ok(()) => {}
            Err(error) => {
                assert!(signalled.load(SeqCst), "before the signal: {error}");
                return;
            }
        }
    }
}

/// Sends until it is `over`, `chunk` bytes at a time, and counts.
fn send_until(
    stream: &TcpStream,
    bytes: Bytes,
    chunk: usize,
    sent: &AtomicUsize,
    over: &AtomicBool,
) {
    let mut buffer = vec![0; chunk];
    let mut count = 0;
    while !over.load(SeqCst) {
        bytes.fill(count, &mut buffer);
        match { stream }.write(&buffer) {
            Ok(written) => count += written,
            // Its reader has seen the end meanwhile, and this side been closed.
            Err(error) if error.kind() == ErrorKind::BrokenPipe && over.load(SeqCst) => break,
            Err(error) => panic!("while sending: {error}"),
        }
        sent.store(count, SeqCst);
    }
}

/// Reads to the end of the stream, compares, and says how much it was.
fn read_to_end(mut stream: &TcpStream, bytes: Bytes, chunk: usize) -> usize {
    let (mut buffer, mut expected) = (vec![0; chunk], vec![0; chunk]);
    let mut total = 0;
    loop {
        match stream.read(&mut buffer).expect("an end, not a reset") {
            0 => return total,
            count => {
                bytes.fill(total, &mut expected[..count]);
                assert!(
                    buffer[..count] == expected[..count],
                    "other bytes at {total}"
                );
                total += count;
            }
        }
    }
}

/// At least so many bytes of those that were sent have been acknowledged.
fn acknowledged(stream: &TcpStream, sent: &AtomicUsize) -> usize {
    let sent = sent.load(SeqCst); // before: what is sent meanwhile counts as not acknowledged
    sent.saturating_sub(unacknowledged(stream))
}

/// How many bytes that were sent have not been acknowledged.
fn unacknowledged(stream: &TcpStream) -> usize {
    let mut count: libc::c_int = 0;
    // SAFETY: SIOCOUTQ (which has the number of TIOCOUTQ) writes an integer to where it is told, and `count` is one.
    let result = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
    assert_eq!(result, 0);
    count as usize
}

fn start(workers: usize) -> RunningServer {
    let workers = workers.to_string();
    RunningServer::start(
        echo(&["serve", "--listen", "127.0.0.1:0", "--workers", &workers]).stderr(Stdio::null()),
    )
}

#[track_caller]
fn assert_ends_well(mut server: RunningServer, signal: libc::c_int) {
    server.process.signal(signal);
    assert_eq!(server.ended().code(), Some(0));
    refused(*server);
}

/// Nobody listens there any more.
fn refused(server: Server) {
    let error = TcpStream::connect(server.address).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

/// Says which run failed.
struct Note(String);

impl Drop for Note {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("… in {}", self.0);
        }
    }
}

/// How long the server lets its connections go on.
const GRACE: Duration = Duration::from_secs(5);
