//! `echo call`, as it is met in a pipe, at a terminal, and by a server that does not behave.
#![expect(
    unsafe_code,
    reason = "a terminal of one's own, and the mode of a descriptor, are had by libc only"
)]

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;

use wakeful_tests::Bytes;
use wakeful_tests::impostor::{self, echo_with};
use wakeful_tests::program::{self, ended, run};
use wakeful_tests::server::{echo, with_servers};
use wakeful_tests::watchdog::LIMIT;

#[test]
fn what_is_piped_in_comes_out() {
    with_servers([1, 2], LIMIT * 4, |server| {
        for len in [0, 1, 1_000, 5_000_000] {
            let sent = Bytes(len as u64).take(len);
            let ended = run(&mut call(server.address, &[]), sent.clone());
            assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
            assert!(ended.stdout == sent, "{len} bytes are other ones");
        }
    });
}

#[test]
fn what_is_in_a_file_comes_into_a_file() {
    with_servers([1], LIMIT * 2, |server| {
        let (from, to) = (temporary("from"), temporary("to"));
        let sent = Bytes(1).take(3_000_000);
        fs::write(&from, &sent).unwrap();
        let mut command = call(server.address, &[]);
        command
            .stdin(File::open(&from).unwrap())
            .stdout(File::create(&to).unwrap());
        assert!(command.status().unwrap().success());
        assert!(fs::read(&to).unwrap() == sent);
        for file in [from, to] {
            fs::remove_file(file).unwrap();
        }
    });
}

#[test]
fn each_line_is_answered_before_the_next_is_there() {
    with_servers([1], LIMIT, |server| {
        let mut child = program::start(call(server.address, &[]).stdin(Stdio::piped()));
        let mut stdin = child.stdin.take().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        for number in 0..20 {
            let line = format!("line {number}\n");
            stdin.write_all(line.as_bytes()).unwrap();
            let mut back = String::new();
            stdout.read_line(&mut back).unwrap();
            assert_eq!(back, line);
        }
        drop(stdin);
        assert_eq!(ended(child).code, Some(0));
    });
}

#[test]
fn at_a_terminal_lines_are_answered_until_ctrl_d() {
    with_servers([1], LIMIT, |server| {
        let (mut user, terminal) = terminal();
        let mut command = call(server.address, &[]);
        let mut child = command
            .stdin(terminal.try_clone().unwrap())
            .stdout(terminal.try_clone().unwrap())
            .stderr(terminal.try_clone().unwrap())
            .spawn()
            .unwrap();
        let (back, shown) = (user.try_clone().unwrap(), &mut String::new());
        let mut screen = BufReader::new(back);
        for text in ["hello", "again"] {
            user.write_all(format!("{text}\n").as_bytes()).unwrap();
            for _ in ["what is typed", "what comes back"] {
                shown.clear();
                screen.read_line(shown).unwrap();
                assert_eq!(shown.trim_end(), text);
            }
        }
        user.write_all(b"\x04").unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0));
        assert!(!is_nonblocking(&terminal), "the shell shares it");
    });
}

#[test]
fn a_pipe_that_others_share_keeps_its_mode() {
    with_servers([1], LIMIT, |server| {
        let (input, mut said) = io::pipe().unwrap();
        let (mut heard, output) = io::pipe().unwrap();
        let (same_input, same_output) = (input.try_clone().unwrap(), output.try_clone().unwrap());
        let mut command = call(server.address, &[]);
        let mut child = command.stdin(input).stdout(output).spawn().unwrap();
        said.write_all(b"x").unwrap();
        heard.read_exact(&mut [0]).unwrap(); // it runs
        assert!(!is_nonblocking(&same_input) && !is_nonblocking(&same_output));
        drop(said);
        assert_eq!(child.wait().unwrap().code(), Some(0));
    });
}

#[test]
fn an_input_that_is_a_socket_is_read_too() {
    with_servers([1], LIMIT, |server| {
        let (input, mut said) = UnixStream::pair().unwrap();
        let mut command = call(server.address, &[]);
        let child = program::start(command.stdin(OwnedFd::from(input)));
        drop(command); // it holds the other end's copy
        said.write_all(b"through a socket").unwrap();
        drop(said);
        let ended = ended(child);
        assert_eq!((ended.code, ended.text()), (Some(0), "through a socket"));
    });
}

#[test]
fn when_nobody_reads_its_output_it_ends() {
    with_servers([1], LIMIT, |server| {
        let (mut heard, output) = io::pipe().unwrap();
        let mut command = call(server.address, &[]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(command);
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(b"x").unwrap();
        heard.read_exact(&mut [0]).unwrap();
        drop(heard);
        stdin.write_all(b"y").unwrap();
        let ended = ended(child);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(1), ""));
    });
}

#[test]
fn what_it_cannot_do_it_says_in_one_sentence() {
    let refusing = impostor::refusing();
    let refused = refusing.local_addr().unwrap().to_string();
    for (arguments, named) in [
        (&[refused.as_str()][..], refused.as_str()),
        (&["nonsense"], "nonsense"),
        (&["no.such.host.invalid:7"], "no.such.host.invalid"),
        (&["--unix", "/nowhere/at/all"], "/nowhere/at/all"),
        (&["--udp", "nonsense"], "nonsense"),
    ] {
        let ended = run(echo(&["call"]).args(arguments), "hello\n");
        let problem = ended.problem(b"");
        assert!(problem.contains(named), "{arguments:?}: {problem}");
        assert!(problem.len() > named.len() + 10, "no sentence: {problem}");
    }
}

#[test]
fn a_wrong_command_line_is_explained() {
    for (arguments, named) in [
        (&[][..], "HOST:PORT"),
        (&["localhost:7", "--unix", "x"], "--unix"),
        (&["--udp", "--unix", "x"], "--udp"),
        (&["localhost:7", "--timeout", "soon"], "1.5s"),
        (&["localhost:7", "--nonsense"], "--nonsense"),
    ] {
        let ended = run(echo(&["call"]).args(arguments), "");
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        assert!(ended.stderr.contains(named), "{}", ended.stderr);
    }
}

#[test]
fn a_server_that_ends_first_is_reported_after_what_it_said() {
    let address = impostor::serve(|_, mut stream| {
        let mut said = [0; 6];
        stream.read_exact(&mut said).unwrap();
        stream.write_all(b"no").unwrap();
    });
    // The input goes on: the pipe is not closed.
    let mut child = program::start(call(address, &[]).stdin(Stdio::piped()));
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"hello\n").unwrap();
    let ended = ended(child);
    let problem = ended.problem(b"no");
    assert!(problem.contains("closed the connection"), "{problem}");
    assert!(problem.contains("2 of 6 bytes"), "{problem}");
    drop(stdin);
}

#[test]
fn a_server_that_sends_back_less_is_reported() {
    let address = impostor::serve(|_, stream| {
        echo_with(stream, |_, bytes| {
            bytes.retain(|&byte| byte != b'l');
            true
        });
    });
    let ended = run(&mut call(address, &[]), "hello\n");
    let problem = ended.problem(b"heo\n");
    assert!(problem.contains("4 of 6 bytes"), "{problem}");
}

#[test]
fn a_silent_server_is_waited_for_as_long_as_the_user_says() {
    let address = impostor::serve(|_, stream| {
        thread::sleep(LIMIT * 4);
        drop(stream);
    });
    let mut child = program::start(call(address, &["--timeout", "200ms"]).stdin(Stdio::piped()));
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"hello\n").unwrap();
    let ended = ended(child);
    let problem = ended.problem(b"");
    assert!(problem.contains("200ms"), "{problem}");
    assert!(problem.contains("0 of 6 bytes"), "{problem}");
    drop(stdin);
}

#[test]
fn it_calls_through_a_unix_socket() {
    let path = temporary("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let server = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        io::copy(&mut &stream, &mut &stream).unwrap();
    });
    let sent = Bytes(3).take(1_000_000);
    let arguments = ["call", "--unix", path.to_str().unwrap()];
    let ended = run(&mut echo(&arguments), sent.clone());
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert!(ended.stdout == sent);
    server.join().unwrap();
    fs::remove_file(path).unwrap();
}

#[test]
fn each_line_is_a_datagram() {
    let (socket, address) = udp();
    let (sizes, got) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let mut buffer = vec![0; 70_000];
        loop {
            let (count, from) = socket.recv_from(&mut buffer).unwrap();
            sizes.send(count).unwrap(); // first: after the answer nobody waits
            socket.send_to(&buffer[..count], from).unwrap();
        }
    });
    let long = "x".repeat(65_506);
    let lines = [
        "a\n",
        "\n",
        &format!("{long}\n"),
        &"many\n".repeat(1_000),
        "end",
    ];
    let sent = lines.concat();
    let ended = run(
        &mut call(address, &["--udp", "--timeout", "60"]),
        sent.as_str(),
    );
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert!(ended.text() == sent);
    let sizes: Vec<_> = got.try_iter().collect();
    assert_eq!(sizes[..4], [2, 1, 65_507, 5]);
    assert_eq!(sizes.len(), 1_004);
}

#[test]
fn a_line_that_is_too_long_for_a_datagram_is_refused() {
    let (_socket, address) = udp();
    let ended = run(&mut call(address, &["--udp"]), "x".repeat(65_508));
    let problem = ended.problem(b"");
    assert!(problem.contains("65507"), "{problem}");
}

#[test]
fn a_lost_datagram_is_reported() {
    let (socket, address) = udp();
    thread::spawn(move || {
        let mut buffer = [0; 100];
        let (count, from) = socket.recv_from(&mut buffer).unwrap();
        socket.send_to(&buffer[..count], from).unwrap();
        loop {
            let _ = socket.recv_from(&mut buffer); // the others get lost
        }
    });
    let ended = run(
        &mut call(address, &["--udp", "--timeout", "2s"]),
        "one\ntwo\n",
    );
    let problem = ended.problem(b"one\n");
    assert!(problem.contains("1 of 2 datagrams"), "{problem}");
}

#[test]
fn nobody_at_an_udp_port_is_reported() {
    let (socket, address) = udp();
    socket.connect(address).unwrap(); // now it hears only itself
    let ended = run(
        &mut call(address, &["--udp", "--timeout", "20s"]),
        "hello\n",
    );
    let problem = ended.problem(b"");
    assert!(problem.contains("nobody"), "{problem}");
}

fn call(address: SocketAddr, options: &[&str]) -> Command {
    let mut command = echo(&["call", &address.to_string()]);
    command.args(options);
    command
}

fn udp() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// A path for this test alone.
fn temporary(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("wakeful-call-{name}-{}", std::process::id()))
}

/// The user's end of a terminal, and the program's.
fn terminal() -> (File, File) {
    let (mut user, mut program) = (-1, -1);
    let null = std::ptr::null_mut();
    // SAFETY: both places are written to, and the other arguments may be null.
    let result = unsafe { libc::openpty(&mut user, &mut program, null, null.cast(), null.cast()) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    // SAFETY: they have just been opened, and nobody else knows them.
    unsafe { (File::from_raw_fd(user), File::from_raw_fd(program)) }
}

fn is_nonblocking(file: &impl AsRawFd) -> bool {
    // SAFETY: the call touches no memory, and the descriptor is open.
    let flags = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) };
    assert_ne!(flags, -1);
    flags & libc::O_NONBLOCK != 0
}
