//! Clients that nobody here has written, against the echo server and the examples; and our clients against foreign servers.
//!
//! ```text
//! cargo test --release -p wakeful-tests --test foreign_clients --features foreign-programs
//! ```
//!
//! They are `curl`, `ab`, `openssl`, `socat`, `ncat`, and Debian's Python with its package `websockets`. A test fails where its
//! program is missing.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;

use wakeful_tests::impostor;
use wakeful_tests::process::Process;
use wakeful_tests::program;
use wakeful_tests::server::{RunningServer, echo, ecosystem_example, with_servers};
use wakeful_tests::watchdog::LIMIT;
use wakeful_tests::{Bytes, eventually};

#[test]
fn socat_and_ncat_get_back_what_they_send() {
    with_servers([1, 2], LIMIT * 2, |server| {
        let address = server.address.to_string();
        let (host, port) = address.rsplit_once(':').unwrap();
        let sent = Bytes(1).take(3_000_000);
        // `-t`: how long socat goes on after its input has ended.
        let socat = ["socat", "-t60", "-", &format!("TCP:{address}")];
        for command in [&socat[..], &["ncat", host, port]] {
            assert!(output_of(command, sent.clone()) == sent, "{command:?}");
        }
    });
}

#[test]
fn echo_call_and_echo_load_talk_to_echo_servers_of_socat_and_ncat() {
    // They share the port with a socket that does not listen, so that nobody else can have it.
    let holder = impostor::refusing();
    let address = holder.local_addr().unwrap().to_string();
    let port = &address["127.0.0.1:".len()..];
    let listen = format!("TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork,backlog=64");
    let socat = ["socat", "-dd", &listen, "EXEC:cat"];
    let ncat = [
        "ncat",
        "-v",
        "-l",
        "-k",
        "127.0.0.1",
        port,
        "-e",
        "/bin/cat",
    ];
    for command in [&socat[..], &ncat] {
        let mut server = Command::new("timeout")
            .arg("60")
            .args(command)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("timeout(1) starts");
        let mut words = BufReader::new(server.stderr.take().unwrap()).lines();
        let listens = words.find(|line| line.as_ref().is_ok_and(|line| line.contains(&address)));
        assert!(listens.is_some(), "{command:?}");
        // After a half-close, ncat throws away what its program has not answered yet.
        if command[0] == "socat" {
            let sent = Bytes(3).take(1_000_000);
            let ended = program::run(&mut echo(&["call", &address]), sent.clone());
            assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
            assert!(ended.stdout == sent);
        }
        // No more on the way than their pipes take: they write to the program before they read from it.
        for options in [
            "--count 2000 --connections 8",
            "--count 1000 --connections 4 --size 10k --pipeline 2",
        ] {
            let mut load = echo(&["load", &address]);
            let ended = program::run(load.args(options.split_ascii_whitespace()), "");
            assert_eq!(
                ended.code,
                Some(0),
                "{command:?}: {}{}",
                ended.text(),
                ended.stderr
            );
        }
        // It passes this signal on.
        Process::of(server.id()).signal(libc::SIGTERM);
        server.wait().unwrap();
        drop(words); // until now, or it would have nobody to tell
    }
}

#[test]
fn curl_keeps_its_connection_for_several_requests() {
    let server = start("http", &[]);
    let url = format!("http://{}/", server.address);
    let mut command = vec!["curl", "-sS", "-w", "%{http_code} %{num_connects}\n"];
    command.extend([url.as_str(); 5]);
    let text = text_output_of(&command, "");
    let expected = format!("hello\n200 1\n{}", "hello\n200 0\n".repeat(4));
    assert_eq!(text, expected);
}

#[test]
fn curl_gets_back_a_large_body() {
    let server = start("http", &[]);
    let url = format!("http://{}/echo", server.address);
    let sent = Bytes(2).take(5_000_000);
    let command = ["curl", "-sS", "--data-binary", "@-", &url];
    assert!(output_of(&command, sent.clone()) == sent);
}

#[test]
fn curl_gets_the_whole_answer_of_a_server_that_ends_meanwhile() {
    let mut server = start("http", &[]);
    let url = format!("http://{}/echo", server.address);
    // `-T .` sends its input as it comes, `-N` prints the answer as it comes.
    let mut curl = Talking::start(&["curl", "-sSN", "-X", "POST", "-T", ".", &url]);
    curl.say("before\n");
    assert_eq!(curl.hear(), "before\n");
    server.process.signal(libc::SIGINT);
    eventually("nobody new is accepted", || {
        std::net::TcpStream::connect(server.address).is_err()
    });
    curl.say("after\n");
    assert_eq!(curl.hear(), "after\n");
    assert_eq!(curl.end(), "");
    assert_eq!(server.ended().code(), Some(0));
}

#[test]
fn ab_loads_the_http_server_and_no_request_fails() {
    let server = start("http", &[]);
    let url = format!("http://{}/", server.address);
    for options in [
        &["-n", "20000", "-c", "50", "-k"][..], // on connections that are kept
        &["-n", "2000", "-c", "50"],            // on one for each request
    ] {
        let command = [&["ab", "-q"], options, &[&url]].concat();
        let report = text_output_of(&command, "");
        let figure = |name: &str| {
            let line = report.lines().find_map(|line| line.strip_prefix(name));
            line.map(|rest| rest.trim().to_owned())
        };
        let count = Some(options[1].to_owned());
        assert_eq!(figure("Complete requests:"), count, "{report}");
        assert_eq!(figure("Failed requests:"), Some("0".into()), "{report}");
        assert_eq!(figure("Non-2xx responses:"), None, "{report}");
        if options.contains(&"-k") {
            assert_eq!(figure("Keep-Alive requests:"), count, "{report}");
        }
    }
}

#[test]
fn openssl_trusts_the_certificate_and_gets_back_what_it_sends() {
    let file = std::env::temp_dir().join(format!("wakeful-openssl-{}.pem", std::process::id()));
    let file = file.to_str().unwrap();
    let server = start("tls", &["127.0.0.1:0", file]);
    let address = server.address.to_string();
    let mut command = vec!["openssl", "s_client", "-quiet", "-no_ign_eof"];
    command.extend(["-connect", &address, "-CAfile", file]);
    command.extend(["-servername", "localhost", "-verify_hostname", "localhost"]);
    command.push("-verify_return_error");
    let mut openssl = Talking::start(&command);
    for number in 0..100 {
        let line = format!("line {number}: {}\n", "x".repeat(number * 100));
        openssl.say(&line);
        assert_eq!(openssl.hear(), line);
    }
    assert_eq!(openssl.end(), "");
    fs::remove_file(file).unwrap();
}

#[test]
fn python_exchanges_websocket_messages() {
    let server = start("websocket", &[]);
    let script = r#"
import asyncio, sys, websockets

async def main():
    async with websockets.connect(sys.argv[1]) as socket:
        for message in ["hello", "", "ä" * 100_000, b"bytes", bytes(500_000)]:
            await socket.send(message)
            assert await socket.recv() == message
        await (await socket.ping())
        await asyncio.gather(*(socket.send(str(n)) for n in range(100)))
        assert sorted([int(await socket.recv()) for n in range(100)]) == list(range(100))
    assert socket.close_code == 1000, socket.close_code
    print("said farewell")

asyncio.run(main())
"#;
    let url = format!("ws://{}/", server.address);
    let said = text_output_of(&["/usr/bin/python3", "-c", script, &url], "");
    assert_eq!(said, "said farewell\n");
}

fn start(example: &str, arguments: &[&str]) -> RunningServer {
    let arguments = if arguments.is_empty() {
        &["127.0.0.1:0"]
    } else {
        arguments
    };
    RunningServer::start(ecosystem_example(example).args(arguments))
}

/// What a program prints to whom this is said.
#[track_caller]
fn output_of(command: &[&str], said: Vec<u8>) -> Vec<u8> {
    let mut child = spawn(command);
    let mut stdin = child.stdin.take().expect("it is piped");
    let saying = thread::spawn(move || stdin.write_all(&said));
    let output = child.wait_with_output().expect("a child of ours");
    assert!(output.status.success(), "{command:?}: {}", output.status);
    saying.join().unwrap().expect("it reads all of its input");
    output.stdout
}

#[track_caller]
fn text_output_of(command: &[&str], said: &str) -> String {
    String::from_utf8(output_of(command, said.into())).expect("a text")
}

/// A program that is talked to line by line.
struct Talking {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Talking {
    fn start(command: &[&str]) -> Self {
        let mut child = spawn(command);
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, stdout }
    }

    fn say(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("it has not ended");
        stdin.write_all(line.as_bytes()).expect("it reads");
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("a line of text");
        line
    }

    /// Ends its input, and returns what else it prints.
    fn end(mut self) -> String {
        drop(self.child.stdin.take());
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).expect("a text");
        let status = self.child.wait().expect("a child of ours");
        assert!(status.success(), "{status}");
        rest
    }
}

/// Starts a program, which is killed after a minute.
#[track_caller]
fn spawn(command: &[&str]) -> Child {
    Command::new("timeout")
        .arg("60")
        .args(command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("timeout(1) starts")
}
