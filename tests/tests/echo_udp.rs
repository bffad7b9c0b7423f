//! `echo serve --udp`: datagrams come back, but never to a port that would send them back again.

use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use wakeful_tests::process::Process;
use wakeful_tests::program::{self, run};
use wakeful_tests::server::echo;
use wakeful_tests::watchdog::LIMIT;
use wakeful_tests::{Bytes, within};

#[test]
fn datagrams_of_every_size_come_back_to_their_senders() {
    for workers in ["1", "2"] {
        let service = Service::start(&["--workers", workers, "--udp", "127.0.0.1:0"]);
        let clients: Vec<_> = (0..5).map(|_| client(service.addresses[0])).collect();
        for (number, len) in [0, 1, 100, 1_472, 1_473, 9_000, 65_507]
            .into_iter()
            .enumerate()
        {
            for (seed, client) in clients.iter().enumerate() {
                let sent = Bytes((seed * 100 + number) as u64).take(len);
                client.send(&sent).unwrap();
                assert!(receive(client) == sent, "{len} bytes for client {seed}");
            }
        }
    }
}

#[test]
fn many_that_come_at_once_all_come_back() {
    let service = Service::start(&["--workers", "1", "--udp", "127.0.0.1:0"]);
    let client = client(service.addresses[0]);
    for _ in 0..50 {
        // So few that they fit into the buffers of both.
        for number in 0..100_u32 {
            client.send(&number.to_le_bytes()).unwrap();
        }
        let mut numbers: Vec<_> = (0..100)
            .map(|_| u32::from_le_bytes(receive(&client).try_into().unwrap()))
            .collect();
        numbers.sort_unstable(); // the order is nobody's promise
        assert!(numbers.into_iter().eq(0..100));
    }
}

#[test]
fn it_serves_ipv6_and_several_addresses_beside_tcp() {
    let service = Service::start(&["--udp", "127.0.0.1:0", "--udp", "[::1]:0"]);
    for &address in &service.addresses {
        let client = client(address);
        client.send(b"ping").unwrap();
        assert_eq!(receive(&client), b"ping");
    }
    let ended = run(&mut echo(&["call", &service.tcp.to_string()]), "by TCP");
    assert_eq!(ended.text(), "by TCP");
    let address = service.addresses[0].to_string();
    let ended = run(&mut echo(&["call", "--udp", &address]), "by UDP\n");
    assert_eq!(ended.text(), "by UDP\n");
}

/// The address of a sender is easily forged: two services would send each other the same datagram for ever.
#[test]
fn who_would_send_it_back_is_not_answered() {
    let service = Service::start(&["--workers", "1", "--udp", "127.0.0.1:0"]);
    let address = service.addresses[0];
    // Another address of this machine with the service's port, as another machine's service would have.
    let other_service = UdpSocket::bind(("127.0.0.2", address.port())).unwrap();
    let other_service = connected(other_service, address);
    let client = client(address);
    for _ in 0..3 {
        other_service.send(b"for ever").unwrap();
    }
    // What came before this has been dealt with when this has come back.
    client.send(b"ping").unwrap();
    assert_eq!(receive(&client), b"ping");
    other_service.set_nonblocking(true).unwrap();
    let error = other_service.recv(&mut [0; 100]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}

/// While the server is stopped, they lie in the buffer of its socket.
#[test]
fn what_has_come_before_the_signal_is_answered() {
    for workers in ["1", "2"] {
        let service = Service::start(&["--workers", workers, "--udp", "127.0.0.1:0"]);
        let client = client(service.addresses[0]);
        client.send(b"ping").unwrap();
        assert_eq!(receive(&client), b"ping");
        let process = Process::of(service.child.id());
        process.signal(libc::SIGSTOP);
        for number in 0..100_u32 {
            client.send(&number.to_le_bytes()).unwrap();
        }
        process.signal(libc::SIGTERM);
        process.signal(libc::SIGCONT);
        let mut numbers: Vec<_> = (0..100)
            .map(|_| u32::from_le_bytes(receive(&client).try_into().unwrap()))
            .collect();
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..100));
        let report = service.ended();
        assert_eq!(
            report,
            "echo: connections: 0 accepted; 101 datagrams echoed\n"
        );
    }
}

#[test]
fn who_never_stops_sending_does_not_keep_it() {
    let service = Service::start(&["--workers", "1", "--udp", "127.0.0.1:0"]);
    let client = client(service.addresses[0]);
    let (sender, over) = (
        client.try_clone().unwrap(),
        Arc::new(AtomicBool::new(false)),
    );
    let is_over = over.clone();
    let sending = thread::spawn(move || {
        while !is_over.load(Relaxed) {
            let _ = sender.send(&[7; 100]); // which fails once nobody is there
        }
    });
    for _ in 0..100 {
        receive(&client);
    }
    Process::of(service.child.id()).signal(libc::SIGTERM);
    let report = service.ended();
    over.store(true, Relaxed);
    sending.join().unwrap();
    assert!(report.ends_with(" datagrams echoed\n"), "{report}");
}

#[test]
fn an_address_that_it_cannot_have_is_named() {
    let holder = UdpSocket::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    for address in [taken.as_str(), "nonsense"] {
        let mut command = echo(&["serve", "--listen", "127.0.0.1:0", "--udp", address]);
        let ended = run(&mut command, "");
        assert!(ended.problem(b"").contains(address), "{}", ended.stderr);
    }
}

/// A server with sockets for datagrams.
struct Service {
    child: Child,
    addresses: Vec<SocketAddr>,
    tcp: SocketAddr,
    /// It prints to somebody.
    _stdout: Option<BufReader<ChildStdout>>,
}

impl Service {
    fn start(arguments: &[&str]) -> Self {
        let mut command = echo(&["serve", "--listen", "127.0.0.1:0"]);
        command.args(arguments).stdin(Stdio::null());
        let mut service = Self {
            child: program::start(&mut command),
            addresses: Vec::new(),
            tcp: SocketAddr::from(([0; 4], 0)),
            _stdout: None,
        };
        let stdout = service.child.stdout.take().unwrap();
        let (lines, stdout) = within(LIMIT, move || {
            let (mut lines, mut stdout) = (Vec::new(), BufReader::new(stdout));
            // The line about TCP is the last.
            while lines
                .last()
                .is_none_or(|line: &String| !line.starts_with("listening"))
            {
                let mut line = String::new();
                assert_ne!(stdout.read_line(&mut line).unwrap(), 0, "it has ended");
                lines.push(line);
            }
            (lines, stdout)
        });
        service._stdout = Some(stdout);
        for line in lines {
            let words: Vec<_> = line.split_whitespace().collect();
            match words[..] {
                ["echoing", "datagrams", "on", address] => {
                    service.addresses.push(address.parse().unwrap());
                }
                _ => service.tcp = words[2].parse().unwrap(),
            }
        }
        service
    }
}

impl Service {
    /// Waits until it has ended well, and returns what it has said.
    #[track_caller]
    fn ended(mut self) -> String {
        let mut stderr = self.child.stderr.take().unwrap();
        let report = within(LIMIT, move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).unwrap();
            text
        });
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{report}");
        report
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Both fail only if it has ended and been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn client(of: SocketAddr) -> UdpSocket {
    let any = SocketAddr::new(of.ip(), 0);
    connected(UdpSocket::bind(any).unwrap(), of)
}

fn connected(socket: UdpSocket, to: SocketAddr) -> UdpSocket {
    socket.connect(to).unwrap();
    let limit = Some(LIMIT);
    socket.set_read_timeout(limit).unwrap();
    socket
}

fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 70_000];
    let count = socket.recv(&mut buffer).expect("an answer");
    buffer.truncate(count);
    buffer
}
