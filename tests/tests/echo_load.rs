//! `echo load`: its figures add up, and it notices what a server does wrong.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use wakeful_tests::impostor::{self, echo_with, end, reset};
use wakeful_tests::process::Process;
use wakeful_tests::program::{self, Ended, ended, run};
use wakeful_tests::server::{echo, echo_binary, with_servers};
use wakeful_tests::watchdog::LIMIT;

#[test]
fn a_count_is_sent_to_the_last_message() {
    with_servers([1, 2], LIMIT * 8, |server| {
        for (count, options) in [
            (1, "--connections 1 --size 1"),
            (1_000, "--connections 1"),
            (5_000, "--connections 17 --size 100 --pipeline 8"),
            (
                5_000,
                "--connections 17 --workers 2 --size 3 --pipeline 100",
            ),
            (30, "--connections 4 --size 1M --pipeline 2 --workers 2"),
            (5, "--connections 8 --workers 16"),
        ] {
            let options = format!("--count {count} {options}");
            let report = Load::on(server.address, &options).succeeds();
            assert_eq!(report.message("echoed"), count, "{options}");
            let size = report.number("message_bytes");
            assert_eq!(report.number("bytes"), count * size, "{options}");
        }
    });
}

#[test]
fn a_duration_is_kept() {
    with_servers([1, 2], LIMIT * 2, |server| {
        let report = Load::on(server.address, "--duration 300ms --connections 4").succeeds();
        assert!(report.message("echoed") >= 4);
        let seconds = report.number("elapsed_ns") as f64 / 1e9;
        let per_second = report.message("echoed") as f64 / seconds;
        let reported = report.value("messages_per_second").as_f64().unwrap();
        assert!((per_second / reported - 1.0).abs() < 1e-6);
    });
}

#[test]
fn at_a_rate_no_message_is_sent_before_its_time() {
    with_servers([1], LIMIT * 2, |server| {
        for options in ["--connections 1", "--connections 7 --workers 2"] {
            let options = format!("--rate 500 --count 100 {options}");
            let report = Load::on(server.address, &options).succeeds();
            assert_eq!(report.message("echoed"), 100);
            // The last is due 99 five-hundredths of a second after the first.
            assert!(report.number("elapsed_ns") >= 198_000_000);
        }
        let options = "--rate 200 --duration 500ms --connections 3";
        let report = Load::on(server.address, options).succeeds();
        assert_eq!(report.message("echoed") + report.message("unsent"), 100);
    });
}

#[test]
fn at_a_rate_messages_that_have_to_wait_are_measured_from_their_time_on() {
    let address = impostor::serve(|_, stream| {
        let change = |position, _: &mut Vec<u8>| {
            if position == 0 {
                thread::sleep(Duration::from_millis(300));
            }
            true
        };
        drop(echo_with(stream, change));
    });
    let options = "--rate 1000 --count 500 --connections 1";
    let report = Load::on(address, options).succeeds();
    // Whatever was due in the first tenth of a second has waited for two tenths at least.
    let slow: u64 = report
        .rows("histogram")
        .filter(|row| row["to_ns"].is_null() || row["from_ns"].as_u64().unwrap() >= 150_000_000)
        .map(|row| row["messages"].as_u64().unwrap())
        .sum();
    assert!(slow >= 100, "{slow}");
}

#[test]
fn at_a_rate_that_the_server_does_not_keep_up_with_the_rest_is_reported() {
    let address = impostor::serve(|_, stream| {
        thread::sleep(LIMIT * 4); // it does not read
        drop(stream);
    });
    let options = "--rate 1000 --size 1M --duration 300ms --connections 2 --timeout 1s";
    let report = Load::on(address, options).fails(&[("timed out", 2)]);
    assert_eq!(report.message("sent") + report.message("unsent"), 300);
    assert_eq!(report.message("echoed"), 0);
    assert!(report.message("unsent") > 0);
    assert!(report.ended.text().contains("could not be sent in time"));
}

#[test]
fn bytes_that_were_changed_lost_or_doubled_are_noticed() {
    for (damage, kind) in [
        // A change in one byte.
        ((|bytes| bytes[0] ^= 1) as fn(&mut Vec<u8>), "wrong bytes"),
        (|bytes| bytes[99] ^= 128, "wrong bytes"),
        // What follows moves by one, and by a whole message, instead of which nothing comes.
        (|bytes| drop(bytes.drain(..1)), "wrong bytes"),
        (|bytes| bytes.clear(), "timed out"),
        (|bytes| bytes.insert(0, 0), "wrong bytes"),
        (|bytes| bytes.rotate_left(8), "wrong bytes"),
    ] {
        // Every read is one of a single message: the client sends none ahead of its echo.
        let address = impostor::serve(move |_, mut stream| {
            let mut message = vec![0; 100];
            for number in 0.. {
                if stream.read_exact(&mut message).is_err() {
                    return;
                }
                let mut back = message.clone();
                if number == 10 {
                    damage(&mut back);
                }
                if stream.write_all(&back).is_err() {
                    return;
                }
            }
        });
        let report = Load::on(
            address,
            "--connections 3 --count 100 --size 100 --timeout 2s",
        )
        .fails(&[(kind, 3)]);
        assert_eq!(report.message("echoed"), 30, "before the damage");
    }
}

#[test]
fn a_wrong_byte_is_reported_with_its_place() {
    let address = impostor::serve(|_, stream| {
        let change = |position, bytes: &mut Vec<u8>| {
            if let Some(byte) =
                usize::checked_sub(12_345, position).and_then(|at| bytes.get_mut(at))
            {
                *byte ^= 1;
            }
            true
        };
        drop(echo_with(stream, change));
    });
    let report = Load::on(
        address,
        "--connections 1 --count 50 --size 1000 --pipeline 4",
    )
    .fails(&[("wrong bytes", 1)]);
    let first = &report.value("errors")["wrong bytes"]["first"];
    assert_eq!(first, "byte 12345 came back changed");
}

#[test]
fn more_bytes_than_were_sent_are_noticed() {
    let address = impostor::serve(|_, mut stream| {
        let (mut bytes, mut count) = (vec![0; 640], 0);
        while let Ok(more @ 1..) = stream.read(&mut bytes[count..]) {
            stream.write_all(&bytes[count..count + more]).unwrap();
            count += more;
        }
        // The client has ended now.
        let _ = stream.write_all(b"and more"); // or it has gone
        let _ = stream.shutdown(Shutdown::Write);
    });
    let report =
        Load::on(address, "--connections 2 --count 20").fails(&[("more bytes than were sent", 2)]);
    assert_eq!(report.message("echoed"), 20);
}

#[test]
fn connections_that_end_early_are_counted_by_how() {
    // One each is closed, reset, silent; three do as they should.
    let address = impostor::serve(|number, stream| match number {
        0 => end(echo_with(stream, |position, _| position + 64 < 640)),
        1 => reset(echo_with(stream, |position, _| position + 64 < 640)),
        2 => {
            thread::sleep(LIMIT * 4);
            drop(stream);
        }
        _ => drop(echo_with(stream, |_, _| true)),
    });
    let options = "--connections 6 --count 600 --timeout 2s";
    let report =
        Load::on(address, options).fails(&[("closed early", 1), ("reset", 1), ("timed out", 1)]);
    assert_eq!(report.message("echoed"), 10 + 10 + 3 * 100);
    assert!(
        report
            .ended
            .text()
            .contains("the server ended the connection")
    );
}

#[test]
fn who_cannot_connect_is_counted() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        drop(listener); // who is in its backlog is reset, and who comes later is refused
        drop(echo_with(stream, |_, _| true));
    });
    let report = Load::on(address, "--connections 5 --count 500");
    assert_eq!(report.ended.code, Some(1));
    assert_eq!(report.errors().values().sum::<u64>(), 4);
    assert_eq!(report.message("echoed"), 100);
    server.join().unwrap();
}

#[test]
fn it_goes_through_a_unix_socket() {
    // What has a meaning in XML must not have it in the plot.
    let path = temporary("<socket & \"all\">");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
        }
    });
    let mut command = echo(&["load", "--unix", path.to_str().unwrap()]);
    command.args(["--connections", "200", "--count", "2000"]);
    let report = Load::by(command).succeeds();
    assert_eq!(report.message("echoed"), 2_000);
    assert_eq!(report.value("target"), path.to_str().unwrap());
    fs::remove_file(path).unwrap();
}

#[test]
fn what_it_prints_is_what_it_has_counted() {
    with_servers([1], LIMIT, |server| {
        let report = Load::on(server.address, "--count 1234 --connections 2").succeeds();
        let text = report.ended.text();
        for part in [
            "2 connections to 127.0.0.1:",
            "1 234 echoed",
            "messages/s",
            "p99.9",
            "│",
            "%",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains('\x1b') && !text.contains("errors"), "{text}");
        assert_eq!(report.ended.stderr, "", "no bar: it is no terminal");
    });
}

#[test]
fn ctrl_c_ends_it_with_what_there_is() {
    let (came, comes) = std::sync::mpsc::channel();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        echo_with(stream, |_, _| {
            let _ = came.send(());
            true
        });
    });
    let file = temporary("interrupted.json");
    let options = ["--connections", "1", "--duration", "1h", "--json"];
    let mut command = echo(&["load", &address.to_string()]);
    let child = program::start(command.args(options).arg(&file).stdin(Stdio::null()));
    // Its thread came by the handler of the signal before it sent anything.
    comes.recv_timeout(LIMIT).unwrap();
    comes.recv_timeout(LIMIT).unwrap();
    Process::of(child.id()).signal(libc::SIGINT);
    let ended = ended(child);
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    assert!(ended.text().contains("echoed"), "{}", ended.text());
    let report = Report::read(&file);
    assert!(report.message("echoed") >= 1);
}

#[test]
fn what_it_cannot_do_it_says_in_one_sentence() {
    let refusing = impostor::refusing();
    let refused = refusing.local_addr().unwrap().to_string();
    for (arguments, named) in [
        (&[refused.as_str()][..], refused.as_str()),
        (&["nonsense"], "nonsense"),
        (&["--unix", "/nowhere/at/all"], "/nowhere/at/all"),
        (
            &[&refused, "--json", "/nowhere/at.json"],
            "/nowhere/at.json",
        ),
        (&[&refused, "--svg", "/nowhere/at.svg"], "/nowhere/at.svg"),
    ] {
        let ended = run(echo(&["load"]).args(arguments), "");
        let problem = ended.problem(b"");
        assert!(problem.contains(named), "{arguments:?}: {problem}");
        assert!(problem.len() > named.len() + 10, "no sentence: {problem}");
    }
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "ulimit -n 100; exec \"$0\" load \"$@\""])
        .arg(echo_binary())
        .args([&refused, "--connections", "500"]);
    let ended = run(&mut limited, "");
    assert!(ended.problem(b"").contains("ulimit -n"), "{}", ended.stderr);
}

#[test]
fn a_wrong_command_line_is_explained() {
    for (arguments, named) in [
        ("", "HOST:PORT"),
        ("localhost:7 --connections 0", "--connections"),
        ("localhost:7 --connections many", "many"),
        ("localhost:7 --size 0", "16k"),
        ("localhost:7 --duration never", "250ms"),
        ("localhost:7 --duration 1s --count 5", "--count"),
        ("localhost:7 --rate 5 --pipeline 5", "--pipeline"),
        ("localhost:7 --rate -5", "-5"),
        ("localhost:7 --rate nan", "0.001"),
    ] {
        let ended = run(echo(&["load"]).args(arguments.split_ascii_whitespace()), "");
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        assert!(ended.stderr.contains(named), "{}", ended.stderr);
    }
}

/// A run with `--json` and `--svg`.
struct Load {
    ended: Ended,
    report: Report,
}

impl Load {
    #[track_caller]
    fn on(address: SocketAddr, options: &str) -> Self {
        let mut command = echo(&["load", &address.to_string()]);
        command.args(options.split_ascii_whitespace());
        Self::by(command)
    }

    #[track_caller]
    fn by(mut command: Command) -> Self {
        let (json, svg) = (temporary("report.json"), temporary("plot.svg"));
        command.arg("--json").arg(&json).arg("--svg").arg(&svg);
        let ended = run(&mut command, "");
        assert!(ended.stderr.is_empty(), "{}", ended.stderr);
        assert_is_a_plot(&svg);
        let report = Report::read(&json);
        Self { ended, report }
    }

    /// Every connection did what it should.
    #[track_caller]
    fn succeeds(self) -> Self {
        assert_eq!(self.ended.code, Some(0), "{}", self.ended.text());
        assert_eq!(self.errors(), BTreeMap::new());
        assert_eq!(self.message("unanswered"), 0);
        self
    }

    /// So many did not, of each kind.
    #[track_caller]
    fn fails(self, expected: &[(&str, u64)]) -> Self {
        assert_eq!(self.ended.code, Some(1), "{}", self.ended.text());
        let expected = expected
            .iter()
            .map(|&(kind, count)| (kind.to_owned(), count));
        let expected = BTreeMap::from_iter(expected);
        assert_eq!(self.errors(), expected, "{}", self.ended.text());
        for kind in expected.keys() {
            assert!(self.ended.text().contains(kind), "{}", self.ended.text());
        }
        self
    }
}

impl Deref for Load {
    type Target = Report;

    fn deref(&self) -> &Report {
        &self.report
    }
}

/// What was written as JSON.
struct Report(Value);

impl Report {
    /// Reads it, and checks that it adds up.
    #[track_caller]
    fn read(file: &Path) -> Self {
        let report = Self(serde_json::from_slice(&fs::read(file).unwrap()).unwrap());
        fs::remove_file(file).unwrap();
        let echoed = report.message("echoed");
        assert_eq!(
            report.message("sent"),
            echoed + report.message("unanswered")
        );
        assert_eq!(
            report.number("bytes"),
            echoed * report.number("message_bytes")
        );
        let in_rows = report
            .rows("histogram")
            .map(|row| row["messages"].as_u64().unwrap());
        assert_eq!(in_rows.sum::<u64>(), echoed);
        if echoed > 0 {
            let last = report.rows("percentiles").last().unwrap();
            assert_eq!(
                (&last["percent"], &last["messages"]),
                (&100.0.into(), &echoed.into())
            );
            let latency = report.value("latency_ns");
            let names = ["min", "p50", "p90", "p99", "p99.9", "p99.99", "max"];
            let values = names.map(|name| latency[name].as_u64().unwrap());
            assert!(values.is_sorted(), "{latency}");
        }
        report
    }

    #[track_caller]
    fn value(&self, name: &str) -> &Value {
        self.0
            .get(name)
            .unwrap_or_else(|| panic!("no {name}: {}", self.0))
    }

    #[track_caller]
    fn number(&self, name: &str) -> u64 {
        self.value(name).as_u64().unwrap()
    }

    #[track_caller]
    fn message(&self, name: &str) -> u64 {
        self.value("messages")[name].as_u64().unwrap()
    }

    #[track_caller]
    fn rows(&self, name: &str) -> impl Iterator<Item = &Value> {
        self.value(name).as_array().unwrap().iter()
    }

    /// How many connections failed, by kind.
    #[track_caller]
    fn errors(&self) -> BTreeMap<String, u64> {
        let errors = self.value("errors").as_object().unwrap();
        let counts = errors
            .iter()
            .map(|(kind, failures)| (kind.clone(), failures["connections"].as_u64().unwrap()));
        counts.collect()
    }
}

/// It is XML, it is an SVG, and something is drawn and written in it.
#[track_caller]
fn assert_is_a_plot(file: &Path) {
    let text = fs::read_to_string(file).unwrap();
    fs::remove_file(file).unwrap();
    let document = roxmltree::Document::parse(&text).unwrap();
    assert_eq!(document.root_element().tag_name().name(), "svg");
    let texts: Vec<_> = document
        .descendants()
        .filter_map(|node| node.text())
        .collect();
    assert!(texts.iter().any(|text| text.trim() == "90 %"), "{texts:?}");
}

/// A path for one run alone.
fn temporary(name: &str) -> PathBuf {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, SeqCst);
    let process = std::process::id();
    std::env::temp_dir().join(format!("wakeful-load-{process}-{number}-{name}"))
}
