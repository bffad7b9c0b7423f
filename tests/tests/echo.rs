//! The echo server as its users meet it: a process with a command line, and a port.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use wakeful_tests::impostor::reset;
use wakeful_tests::program;
use wakeful_tests::server::{RunningServer, Server, echo, echo_binary, with_servers};
use wakeful_tests::watchdog::LIMIT;
use wakeful_tests::{Bytes, eventually, within};

#[test]
fn it_prints_one_line_with_the_address_that_it_has_bound() {
    for (workers, words) in [("1", "1 worker"), ("2", "2 workers")] {
        let server = RunningServer::start(&mut echo(&[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--workers",
            workers,
        ]));
        assert_ne!(server.address.port(), 0);
        let expected = format!("listening on {} ({words})\n", server.address);
        assert_eq!(server.first_line(), expected);
        assert_serves(&server);
    }
}

#[test]
fn it_listens_on_ipv6_too() {
    let server = RunningServer::start(&mut echo(&["serve", "--listen", "[::1]:0"]));
    assert!(server.address.is_ipv6());
    assert_serves(&server);
}

#[test]
fn without_a_subcommand_it_serves() {
    let server = RunningServer::start(&mut echo(&["--listen", "127.0.0.1:0", "--workers", "2"]));
    assert_serves(&server);
}

#[test]
fn without_any_argument_it_serves_on_port_7007() {
    // Two that are started at the same time cannot both have the port, and somebody else may have it.
    let holder = TcpListener::bind("127.0.0.1:7007");
    let problem = failure(&mut echo(&[]));
    assert!(problem.contains("127.0.0.1:7007"), "{problem}");
    drop(holder);
}

#[test]
fn what_it_cannot_do_it_says_in_one_sentence() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    for (arguments, named) in [
        (["--listen", &taken], taken.as_str()),
        (["--listen", "nonsense"], "nonsense"),
        (["--listen", "127.0.0.1"], "127.0.0.1"),
        (["--listen", "127.0.0.1:99999"], "127.0.0.1:99999"),
        (["--listen", "localhost:7007"], "localhost:7007"),
        // Reserved for documentation: no machine has it.
        (["--listen", "192.0.2.1:7007"], "192.0.2.1:7007"),
        (["--workers", "0"], "worker"),
        (["--workers", "5000"], "worker"),
    ] {
        let problem = failure(echo(&["serve"]).args(arguments));
        assert!(problem.contains(named), "{arguments:?}: {problem}");
        assert!(problem.len() > named.len() + 20, "no sentence: {problem}");
    }
}

#[test]
fn a_hundred_megabytes_come_back_equal() {
    with_servers([1, 2], LIMIT * 2, |server| {
        Bytes(1).through(&server.connect(), 100_000_000, 1 << 18);
    });
}

#[test]
fn two_hundred_connections_at_the_same_time_get_back_their_own_bytes() {
    with_servers([1, 2], LIMIT * 2, |server| {
        const CONNECTIONS: usize = 200;
        let all_are_there = Barrier::new(CONNECTIONS);
        thread::scope(|scope| {
            for seed in 0..CONNECTIONS as u64 {
                let all_are_there = &all_are_there;
                scope.spawn(move || {
                    let stream = server.connect();
                    all_are_there.wait();
                    Bytes(seed).through(&stream, 64_000_000 / CONNECTIONS, 10_000);
                });
            }
        });
    });
}

#[test]
fn one_byte_at_a_time_comes_back() {
    with_servers([1, 2], LIMIT, |server| {
        Bytes(2).through(&server.connect(), 20_000, 1);
        let mut stream = server.connect();
        for byte in Bytes(3).take(3_000) {
            stream.write_all(&[byte]).unwrap();
            let mut back = [0];
            stream.read_exact(&mut back).unwrap();
            assert_eq!(back, [byte]);
        }
    });
}

#[test]
fn a_client_that_half_closes_early_gets_everything_back() {
    with_servers([1, 2], LIMIT, |server| {
        const BYTES: usize = 1 << 20;
        for seed in 0..20 {
            let (stream, bytes) = (&server.connect(), Bytes(seed));
            let (all_is_sent, sent) = mpsc::channel();
            thread::scope(|scope| {
                scope.spawn(move || {
                    bytes.send(stream, BYTES, BYTES).unwrap();
                    stream.shutdown(Shutdown::Write).unwrap();
                    let _ = all_is_sent.send(()); // the other may have given up waiting
                });
                // All of it in flight, if the kernel has room for so much.
                let _ = sent.recv_timeout(Duration::from_millis(100));
                bytes.expect(stream, BYTES, 5_000).unwrap();
                assert_eq!({ stream }.read(&mut [0]).unwrap(), 0);
            });
        }
        // Nothing sent at all, and a single byte.
        for count in [0, 1] {
            Bytes(9).through(&server.connect(), count, 1);
        }
    });
}

#[test]
fn a_client_that_does_not_read_is_not_read_from_and_costs_no_memory() {
    with_servers([1, 2], LIMIT * 2, |server| {
        for seed in 0..20 {
            Bytes(seed).through(&server.connect(), 200_000, 64 << 10); // so that it has what it needs
        }
        let before = server.process.anonymous_bytes();
        let (mut stream, bytes) = (server.connect(), Bytes(4));
        let (mut sent, mut buffer) = (0, vec![0; 64 << 10]);
        stream.set_nonblocking(true).unwrap();
        let mut last_progress = Instant::now();
        // The kernel's buffers are full when nothing has moved for a while.
        while last_progress.elapsed() < Duration::from_secs(1) {
            bytes.fill(sent, &mut buffer);
            match stream.write(&buffer) {
                Ok(count) => {
                    sent += count;
                    last_progress = Instant::now();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    thread::sleep(Duration::from_millis(5));
                }
                Err(error) => panic!("{error}"),
            }
            assert!(sent < 1 << 28, "the server goes on reading");
        }
        let growth = server.process.anonymous_bytes().saturating_sub(before);
        assert!(growth <= 256 << 10, "{growth} bytes for a slow reader");
        let idle = cpu_share(server, Duration::from_millis(500), || {});
        assert!(idle < 0.2, "busy with a client that does not read: {idle}");
        assert_serves(&server);

        stream.set_nonblocking(false).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        bytes.expect(&stream, sent, 100_000).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    });
}

#[test]
fn connections_that_end_by_reset_leave_nothing() {
    with_servers([1, 2], LIMIT * 8, |server| {
        const THREADS: usize = 4;
        let count = if cfg!(debug_assertions) {
            20_000
        } else {
            100_000
        };
        assert_serves(&server);
        let baseline = (idle_fds(server), server.process.threads_count());
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(move || {
                    for round in 0..count / THREADS {
                        let mut stream = server.connect();
                        match round % 3 {
                            0 => {}
                            1 => stream.write_all(b"nobody will read the answer").unwrap(),
                            _ => assert_echo(&mut stream),
                        }
                        reset(stream);
                    }
                });
            }
        });
        eventually("descriptors and threads as before", || {
            let process = server.process;
            (process.fds_count(), process.threads_count()) == baseline
        });
        assert_serves(&server);
    });
}

#[test]
fn out_of_descriptors_it_serves_those_who_are_there_and_later_the_others() {
    for workers in ["1", "2"] {
        let mut limited = Command::new("sh");
        limited
            .args(["-c", "ulimit -n 64; exec \"$0\" \"$@\""])
            .arg(echo_binary())
            .args(["serve", "--listen", "127.0.0.1:0", "--workers", workers])
            .args(["--max-connections", "1000"])
            .stderr(Stdio::null());
        let server = RunningServer::start(&mut limited);
        let server = *server;
        within(LIMIT * 2, move || starve(server));
    }
}

/// A server with room for 64 descriptors, and 200 clients.
fn starve(server: Server) {
    const SERVED: usize = 40; // at least; the server needs some descriptors for itself
    let mut clients: Vec<_> = (0..200).map(|_| server.connect()).collect();
    let mut waiting = clients.split_off(SERVED);
    for client in &mut clients {
        assert_echo(client);
    }
    for client in &mut waiting {
        client.write_all(b"x").unwrap();
    }
    eventually("it has run out", || server.process.fds_count() >= 63);
    let busy = cpu_share(server, Duration::from_secs(1), || {
        for client in &mut clients {
            assert_echo(client);
        }
    });
    assert!(busy < 0.2, "{busy} of a CPU");

    let seconds = if cfg!(debug_assertions) { 1 } else { 10 };
    let busy = cpu_share(server, Duration::from_secs(seconds), || {});
    assert!(busy < 0.05, "{busy} of a CPU for those who knock");

    drop(clients); // 40 of them
    let began = Instant::now();
    for client in &mut waiting[..SERVED] {
        client.read_exact(&mut [0]).unwrap();
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(10), "accepted after {took:?}");
    for client in &mut waiting[..SERVED] {
        assert_echo(client);
    }
    drop(waiting);
    eventually("nobody is left", || server.process.fds_count() < 20);
    assert_serves(&server);
}

/// Debug builds are not measured: the layout of the tasks is another one.
#[cfg(not(debug_assertions))]
#[test]
fn an_idle_connection_needs_at_most_600_bytes() {
    with_servers([1, 2], LIMIT * 2, |server| {
        let own = server.process.fds_count();
        let mut clients = Vec::new();
        let mut fill_up_to = |count: usize| {
            while clients.len() < count {
                let mut client = server.connect();
                assert_echo(&mut client);
                clients.push(client);
            }
            eventually("all are accepted", || {
                server.process.fds_count() == own + count
            });
            server.process.anonymous_bytes()
        };
        let (few, many) = (fill_up_to(2_000), fill_up_to(10_000));
        let each = many.saturating_sub(few) / 8_000;
        println!("an idle connection: {each} bytes");
        assert!(each <= 600, "{each} bytes");
    });
}

/// What it says on the way out when it cannot serve.
#[track_caller]
fn failure(command: &mut Command) -> String {
    program::run(command, "").problem(b"").to_owned()
}

#[track_caller]
fn assert_serves(server: &Server) {
    Bytes(5).through(&server.connect(), 1_000, 100);
}

#[track_caller]
fn assert_echo(stream: &mut TcpStream) {
    stream.write_all(b"ping").unwrap();
    let mut back = [0; 4];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"ping");
}

/// How many descriptors it has when nobody is connected.
fn idle_fds(server: Server) -> usize {
    let mut last = (server.process.fds_count(), Instant::now());
    while last.1.elapsed() < Duration::from_millis(200) {
        let count = server.process.fds_count();
        if count != last.0 {
            last = (count, Instant::now());
        }
        thread::sleep(Duration::from_millis(1));
    }
    last.0
}

/// Which part of one CPU it needs, for as long as this takes, while `meanwhile` happens at first.
fn cpu_share(server: Server, duration: Duration, meanwhile: impl FnOnce()) -> f64 {
    let (began, before) = (Instant::now(), server.process.cpu_time());
    meanwhile();
    thread::sleep(duration.saturating_sub(began.elapsed()));
    (server.process.cpu_time() - before).as_secs_f64() / began.elapsed().as_secs_f64()
}
