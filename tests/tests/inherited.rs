//! Sockets that a process is given when it is started.
//!
//! The processes that are given some are this test binary again, started by a shell: it knows its number before it becomes the
//! program, and moves descriptors to where the protocol wants them.

use std::env;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream as StdStream};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;

use wakeful::net::{TcpListener, inherited};
use wakeful::time::timeout;
use wakeful_tests::watchdog::LIMIT;
use wakeful_tests::{eventually, within};

#[test]
fn who_was_given_nothing_has_nothing() {
    assert!(inherited::sockets().unwrap().is_empty());
    assert!(inherited::sockets().unwrap().is_empty());
}

#[test]
fn sockets_come_in_order_with_their_names_and_are_taken_once() {
    if !is_child("sockets") {
        let (udp, listener) = udp_and_listener();
        let address = listener.local_addr().unwrap();
        let output = program(
            "LISTEN_FDS=2 LISTEN_FDNAMES=dns:web LISTEN_PID=$$ exec \"$0\" \"$@\" 3<&0 4>&1 0</dev/null 1>&2",
            "sockets_come_in_order_with_their_names_and_are_taken_once",
        )
        .env(CHILD, "sockets")
        .env("ADDRESS", address.to_string())
        .stdin(OwnedFd::from(udp))
        .stdout(OwnedFd::from(listener))
        .output()
        .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && text.contains("1 passed"),
            "{text}"
        );
        return;
    }
    let [dns, web] = <[_; 2]>::try_from(inherited::sockets().unwrap()).unwrap();
    assert_eq!((dns.name(), web.name()), (Some("dns"), Some("web")));
    assert!(inherited::sockets().unwrap().is_empty(), "they are taken");
    // They are not passed on to children that nobody wants to have them.
    let test = Command::new("sh")
        .args([
            "-c",
            "test -e /proc/self/fd/0 && test ! -e /proc/self/fd/3 && test ! -e /proc/self/fd/4",
        ])
        .status();
    assert!(test.unwrap().success());

    let error = TcpListener::try_from(dns).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("inherited socket 3 (\"dns\")"), "{text}");
    let listener = TcpListener::try_from(web).unwrap();
    assert_eq!(
        listener.local_addr().unwrap().to_string(),
        env::var("ADDRESS").unwrap()
    );
}

#[test]
fn a_promise_that_is_not_kept_is_an_error_and_takes_nothing() {
    if !is_child("promise") {
        let (udp, listener) = udp_and_listener();
        let output = program(
            "LISTEN_FDS=500 LISTEN_PID=$$ exec \"$0\" \"$@\" 3<&0 4>&1 0</dev/null 1>&2",
            "a_promise_that_is_not_kept_is_an_error_and_takes_nothing",
        )
        .env(CHILD, "promise")
        .stdin(OwnedFd::from(udp))
        .stdout(OwnedFd::from(listener))
        .output()
        .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && text.contains("1 passed"),
            "{text}"
        );
        return;
    }
    for _ in 0..2 {
        let text = inherited::sockets().unwrap_err().to_string();
        assert!(
            text.contains("LISTEN_FDS announces 500 descriptors"),
            "{text}"
        );
    }
}

#[test]
fn what_is_meant_for_another_process_is_left_alone() {
    if !is_child("another") {
        let (udp, _) = udp_and_listener();
        let output = program(
            "LISTEN_FDS=1 LISTEN_PID=1 exec \"$0\" \"$@\" 3<&0 0</dev/null",
            "what_is_meant_for_another_process_is_left_alone",
        )
        .env(CHILD, "another")
        .stdin(OwnedFd::from(udp))
        .output()
        .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && text.contains("1 passed"),
            "{text}"
        );
        return;
    }
    assert!(inherited::sockets().unwrap().is_empty());
    assert!(std::path::Path::new("/proc/self/fd/3").exists());
}

/// The first generation is given the listener, and gives it to the second when a client asks for that; clients come all the time.
#[test]
fn a_restart_loses_no_connection() {
    if let Ok(generation) = env::var(GENERATION) {
        return serve_as(generation.parse().unwrap());
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut first = start_generation(1, listener);
    within(LIMIT, move || {
        let served_by = [0; 3].map(AtomicUsize::new);
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !stop.load(SeqCst) {
                        let generation = ask(address, HELLO);
                        served_by[usize::from(generation)].fetch_add(1, SeqCst);
                    }
                });
            }
            let _stop = OnDrop(|| stop.store(true, SeqCst)); // also when this fails
            eventually("the first serves", || served_by[1].load(SeqCst) > 100);
            assert_eq!(ask(address, RESTART), 1);
            eventually("the second serves", || served_by[2].load(SeqCst) > 100);
        });
        assert_eq!(ask(address, QUIT), 2);
        eventually("nobody listens any more", || {
            StdStream::connect(address).is_err()
        });
        // It has waited for the second, without the listener, and both have ended well.
        assert!(first.wait().unwrap().success());
    });
}

/// Serves until a client wants it to end, or to be replaced: then it waits for its successor, as somebody has to.
fn serve_as(generation: u8) {
    let socket = inherited::sockets()
        .unwrap()
        .pop()
        .expect("one was passed on");
    let serving = async {
        let listener = TcpListener::try_from(socket).unwrap();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let mut wish = [0];
            assert_eq!(stream.read(&mut wish).await.unwrap(), 1);
            let wish = wish[0];
            if wish == RESTART {
                let successor = start_generation(generation + 1, listener);
                stream.write(&[generation]).await.unwrap();
                return Some(successor);
            }
            stream.write(&[generation]).await.unwrap();
            if wish == QUIT {
                return None;
            }
        }
    };
    // It may be that nobody is there any more to end it.
    let successor = wakeful::block_on(timeout(LIMIT, serving)).expect("a client ends it");
    if let Some(mut successor) = successor {
        assert!(successor.wait().unwrap().success());
    }
}

/// Passes the listener on; nothing of it is left in this process.
fn start_generation(generation: u8, listener: TcpListener) -> Child {
    let script = "LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" \"$@\" 3<&0 0</dev/null";
    let child = program(script, "a_restart_loses_no_connection")
        .env(GENERATION, generation.to_string())
        .stdin(OwnedFd::from(listener))
        .stdout(Stdio::null())
        .spawn();
    child.expect("the test binary starts again")
}

/// One connection: says what it wants, and returns which generation has answered.
fn ask(address: SocketAddr, wish: u8) -> u8 {
    let mut stream = StdStream::connect(address).expect("somebody listens");
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(&[wish]).expect("somebody serves");
    let mut generation = [0];
    stream
        .read_exact(&mut generation)
        .expect("somebody answers");
    generation[0]
}

/// This test binary with only the test `name`, started by a shell that does `script` before.
fn program(script: &str, name: &str) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", script])
        .arg(env::current_exe().expect("the path of this test binary"))
        .args([name, "--exact", "--nocapture", "--test-threads=1"]);
    command
}

fn udp_and_listener() -> (std::net::UdpSocket, TcpListener) {
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    (udp, TcpListener::bind("127.0.0.1:0").unwrap())
}

fn is_child(name: &str) -> bool {
    env::var(CHILD).as_deref() == Ok(name)
}

struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

const HELLO: u8 = b'h';
const RESTART: u8 = b'r';
const QUIT: u8 = b'q';

/// Set in the environment of a child, to what it is to find out.
const CHILD: &str = "WAKEFUL_TEST_INHERITED";

/// Set in the environment of a server, to the number of its generation.
const GENERATION: &str = "WAKEFUL_TEST_GENERATION";
