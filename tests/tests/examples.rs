//! Each example as its reader meets it: it is started as a process, talked to, and ended.
//!
//! `hello` is talked to in `macros.rs`, and here through the proxy.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use async_tungstenite::client_async;
use async_tungstenite::tungstenite::Message;
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use futures_rustls::pki_types::CertificateDer;
use futures_rustls::pki_types::pem::PemObject;
use wakeful::net::{self, TcpSocket};
use wakeful_tests::server::{RunningServer, ecosystem_example, example};
use wakeful_tests::watchdog::LIMIT;
use wakeful_tests::{Bytes, eventually, tls, within};

/// Those of UDP and of Unix sockets are run by `udp.rs` and `unix.rs`, `hello` by `macros.rs` too.
const EXAMPLES: &[&str] = &[
    "chat",
    "heartbeat",
    "hello",
    "metrics",
    "proxy",
    "udp_echo",
    "unix_echo",
    "watcher",
];
const ECOSYSTEM_EXAMPLES: &[&str] = &["http", "tls", "websocket"];

#[test]
fn every_example_is_known_here_and_says_how_to_run_it() {
    for (directory, names, command) in [
        ("", EXAMPLES, "cargo run -p wakeful --example"),
        (
            "ecosystem/src/bin",
            ECOSYSTEM_EXAMPLES,
            "cargo run -p wakeful-examples --bin",
        ),
    ] {
        let directory = examples_directory().join(directory);
        let found: BTreeSet<String> = fs::read_dir(&directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter_map(|name| Some(name.strip_suffix(".rs")?.to_owned()))
            .collect();
        assert_eq!(found, names.iter().map(|name| (*name).to_owned()).collect());
        for name in names {
            let text = fs::read_to_string(directory.join(name).with_extension("rs")).unwrap();
            assert!(text.contains(&format!("//! `{command} {name}")), "{name}");
        }
    }
}

#[test]
fn chat_brings_every_line_to_everybody() {
    let server = start(example("chat"), &[]);
    let mut clients = Vec::new();
    for count in 1..=3 {
        clients.push(Line::connect(&server));
        let newcomer = clients[count - 1].local();
        for client in &mut clients {
            assert_eq!(client.read(), format!("* {newcomer} has come"));
        }
    }
    for speaker in 0..3 {
        let name = clients[speaker].local();
        clients[speaker].write("hello\r\n");
        for client in &mut clients {
            assert_eq!(client.read(), format!("{name}: hello"));
        }
    }
    let leaver = clients.pop().unwrap();
    let name = leaver.local();
    drop(leaver);
    for client in &mut clients {
        assert_eq!(client.read(), format!("* {name} has left"));
    }
}

#[test]
fn chat_brings_to_everybody_what_a_thread_announces() {
    let mut server = start(example("chat"), &[]);
    let mut first = Line::connect(&server);
    assert_eq!(first.read(), format!("* {} has come", first.local()));
    let mut second = Line::connect(&server);
    let name = second.local();
    for client in [&mut first, &mut second] {
        assert_eq!(client.read(), format!("* {name} has come"));
    }
    server.type_in("the doors close\n");
    for client in [&mut first, &mut second] {
        assert_eq!(client.read(), "* the doors close");
    }
}

#[test]
fn chat_gives_who_says_no_more_the_end_of_the_stream() {
    let server = start(example("chat"), &[]);
    let mut client = Line::connect(&server);
    let name = client.local();
    client.write("good bye\n");
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.read(), format!("* {name} has come"));
    assert_eq!(client.read(), format!("{name}: good bye"));
    assert_eq!(client.read(), "");
}

#[test]
fn chat_ends_at_a_signal_and_tells_everybody() {
    let mut server = start(example("chat"), &[]);
    let mut client = Line::connect(&server);
    assert_eq!(client.read(), format!("* {} has come", client.local()));
    server.process.signal(libc::SIGINT);
    assert_eq!(client.read(), "");
    assert_eq!(server.ended().code(), Some(0));
}

#[test]
fn chat_goes_on_for_the_others_and_parts_from_who_does_not_read() {
    let server = start(example("chat"), &[]);
    let mut silent = Line::connect(&server);
    let name_of_silent = silent.local();
    assert_eq!(silent.read(), format!("* {name_of_silent} has come")); // and that is all that it reads
    let mut client = Line::connect(&server);
    let name = client.local();
    assert_eq!(client.read(), format!("* {name} has come"));
    let (text, farewell) = ("x".repeat(1000), format!("* {name_of_silent} has left"));
    let (mut is_alone, mut sent_count) = (false, 0);
    while !is_alone {
        // 100 MB: more than the system's buffers for the silent one.
        assert!(sent_count < 100_000, "it is still in the room");
        sent_count += 1;
        client.write(&format!("{text}\n"));
        let mut line = client.read();
        if line == farewell {
            is_alone = true;
            line = client.read();
        }
        assert_eq!(line, format!("{name}: {text}"));
    }
    // What the system had taken for it, and then the end or a reset.
    let _ = silent.reader.read_to_end(&mut Vec::new());
}

#[test]
fn proxy_passes_on_in_both_directions_until_each_has_ended() {
    let behind = start(example("hello"), &["127.0.0.1:0"]);
    let server = start_proxy(&behind.address.to_string());
    for seed in 0..4 {
        Bytes(seed).through(&server.connect(), 1_000_000, 10_000);
    }
}

#[test]
fn proxy_hangs_up_when_there_is_no_server() {
    let bound = TcpSocket::new_v4().unwrap(); // nobody else has the port, and nobody listens
    bound.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let server = start_proxy(&bound.local_addr().unwrap().to_string());
    assert_eq!(server.connect().read(&mut [0]).unwrap(), 0);
}

#[test]
fn heartbeat_beats_for_whom_it_hears_and_leaves_the_silent() {
    let server = start(example("heartbeat"), &[]);
    let mut client = Line::connect(&server);
    for number in 1..=4 {
        assert_eq!(client.read(), format!("beat {number}"));
        client.write("\n");
    }
    let mut silent = Line::connect(&server);
    let mut count = 0;
    while !silent.read().is_empty() {
        count += 1;
    }
    assert!((1..10).contains(&count), "{count} beats");
}

#[test]
fn metrics_answers_with_every_figure_in_the_format_of_prometheus() {
    let server = start(example("metrics"), &[]);
    let mut samples = Vec::new();
    for _ in 0..2 {
        let mut client = Line::connect(&server);
        client.write("GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n");
        let (first, body) = client.response();
        assert_eq!(first, "HTTP/1.1 200 OK");
        for line in body.lines().filter(|line| !line.starts_with("# TYPE ")) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(name.starts_with("wakeful_"), "{line}");
            assert!(value.parse::<f64>().unwrap() >= 0.0, "{line}");
        }
        let polls = body
            .lines()
            .filter(|line| line.starts_with("wakeful_polls_total{worker="))
            .map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap())
            .sum::<u64>();
        samples.push(polls);
        let sum_of_buckets = "wakeful_poll_seconds_bucket{le=\"+Inf\"} ";
        assert!(body.contains(sum_of_buckets), "{body}");
    }
    assert!(0 < samples[0] && samples[0] < samples[1], "{samples:?}");
}

#[test]
fn watcher_prints_what_happens_in_a_directory() {
    let directory = std::env::temp_dir().join(format!("wakeful-watcher-{}", std::process::id()));
    fs::create_dir(&directory).unwrap();
    let watcher = Printing::start(example("watcher").arg(&directory));
    assert_eq!(watcher.line(), format!("watching {}", directory.display()));
    let file = directory.join("something");
    fs::write(&file, "new").unwrap();
    assert_eq!(watcher.line(), "created something");
    assert_eq!(watcher.line(), "written something");
    fs::remove_file(&file).unwrap();
    assert_eq!(watcher.line(), "removed something");
    fs::remove_dir(&directory).unwrap();
}

#[test]
fn http_answers_one_request_after_the_other() {
    let server = start(ecosystem_example("http"), &[]);
    let mut client = Line::connect(&server);
    for _ in 0..3 {
        client.write("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
        assert_eq!(
            client.response(),
            ("HTTP/1.1 200 OK".into(), "hello\n".into())
        );
        client.write("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc");
        assert_eq!(client.response(), ("HTTP/1.1 200 OK".into(), "abc".into()));
        client.write("GET /nowhere HTTP/1.1\r\nHost: test\r\n\r\n");
        assert_eq!(client.response().0, "HTTP/1.1 404 Not Found");
    }
}

#[test]
fn http_ends_without_cutting_off_a_request_that_has_begun() {
    let mut server = start(ecosystem_example("http"), &[]);
    let (mut idle, mut busy) = (Line::connect(&server), Line::connect(&server));
    idle.write("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    idle.response();
    busy.write("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 6\r\n\r\nabc");
    let mut head = busy.read(); // of an answer that began before all of the request was there
    server.process.signal(libc::SIGINT);
    assert_eq!(idle.read(), "", "an idle connection is closed");
    eventually("nobody new is accepted", || {
        TcpStream::connect(server.address).is_err()
    });
    busy.write("def");
    assert_eq!(head, "HTTP/1.1 200 OK");
    while !head.is_empty() {
        head = busy.read();
    }
    let mut body = String::new();
    busy.reader.read_to_string(&mut body).unwrap();
    assert_eq!(body, "abcdef");
    assert_eq!(server.ended().code(), Some(0));
}

#[test]
fn tls_sends_back_what_comes_encrypted() {
    let certificate = std::env::temp_dir().join(format!("wakeful-tls-{}.pem", std::process::id()));
    let server = start(
        ecosystem_example("tls"),
        &["127.0.0.1:0", certificate.to_str().unwrap()],
    );
    let trusted = CertificateDer::from_pem_file(&certificate).unwrap();
    fs::remove_file(&certificate).unwrap();
    let address = server.address;
    within(LIMIT, move || {
        wakeful::block_on(async {
            let stream = net::TcpStream::connect(address).await.unwrap();
            let name = "localhost".try_into().unwrap();
            let mut stream = tls::connector(trusted).connect(name, stream).await.unwrap();
            let sent = Bytes(5).take(3_000);
            for _ in 0..10 {
                stream.write_all(&sent).await.unwrap();
                let mut back = vec![0; sent.len()];
                stream.read_exact(&mut back).await.unwrap();
                assert!(back == sent);
            }
            stream.close().await.unwrap();
            assert_eq!(
                stream.read(&mut [0]).await.unwrap(),
                0,
                "it says farewell too"
            );
        });
    });
}

#[test]
fn websocket_sends_every_message_back() {
    let server = start(ecosystem_example("websocket"), &[]);
    let address = server.address;
    within(LIMIT, move || {
        wakeful::block_on(async {
            let stream = net::TcpStream::connect(address).await.unwrap();
            let url = format!("ws://{address}/");
            let (mut socket, _) = client_async(url, stream).await.unwrap();
            for message in [
                Message::text("hello"),
                Message::binary(Bytes(6).take(100_000)),
            ] {
                socket.send(message.clone()).await.unwrap();
                assert_eq!(socket.next().await.unwrap().unwrap(), message);
            }
            socket.close(None).await.unwrap();
            assert!(socket.next().await.unwrap().unwrap().is_close());
            assert!(socket.next().await.is_none());
        });
    });
}

/// Starts a server, on a port that the system chooses where nothing else is said.
fn start(mut command: Command, arguments: &[&str]) -> RunningServer {
    let arguments = if arguments.is_empty() {
        &["127.0.0.1:0"]
    } else {
        arguments
    };
    RunningServer::start(command.args(arguments))
}

fn start_proxy(to: &str) -> RunningServer {
    start(example("proxy"), &["127.0.0.1:0", to])
}

fn examples_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime/examples")
}

/// A client that speaks in lines.
struct Line {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Line {
    fn connect(server: &RunningServer) -> Self {
        let stream = server.connect();
        let reader = BufReader::new(stream.try_clone().unwrap());
        Self { stream, reader }
    }

    fn local(&self) -> String {
        self.stream.local_addr().unwrap().to_string()
    }

    fn write(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap();
    }

    /// The next line without its end; the empty text also at the end of the stream.
    fn read(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// The next HTTP response: its first line and its body.
    fn response(&mut self) -> (String, String) {
        let first = self.read();
        let mut length = 0;
        loop {
            let header = self.read().to_ascii_lowercase();
            if let Some(value) = header.strip_prefix("content-length: ") {
                length = value.parse().unwrap();
            } else if header.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body).unwrap();
        (first, String::from_utf8(body).unwrap())
    }
}

/// A program that prints until this is dropped.
struct Printing {
    child: Child,
    lines: Receiver<String>,
}

impl Printing {
    fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in stdout.lines() {
                let _ = sender.send(line.unwrap()); // nobody wants to know any more
            }
        });
        Self { child, lines }
    }

    #[track_caller]
    fn line(&self) -> String {
        self.lines.recv_timeout(LIMIT).expect("another line")
    }
}

impl Drop for Printing {
    fn drop(&mut self) {
        // Both fail only if it has ended and been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
