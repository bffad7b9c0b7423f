//! System calls of copying that fail: `splice`, `pipe2`, `sendfile`. What passes is survived, what the system does not allow is
//! done through memory, and what fails says how far it came.

use std::fs::{self, File};
use std::io::{self, Read};
use std::net::{Shutdown, TcpListener as StdListener, TcpStream as StdStream};
use std::panic::resume_unwind;
use std::thread;

use wakeful::Runtime;
use wakeful::io::CopyError;
use wakeful::net::{self, TcpStream};
use wakeful::sim::{Call, Plan};
use wakeful_tests::Bytes;

use crate::{SEEDS, anywhere, case, connected, in_turn, under};

#[test]
fn copying_survives_what_passes_and_does_without_pipes() {
    use libc::*;
    let _turn = in_turn();
    let kinds: [(Call, &'static [i32], u64); 4] = [
        (Call::PipeCreate, &[EMFILE, ENFILE, ENOMEM], 3),
        (Call::SignalAction, &[EINVAL], 3), // whether SIGPIPE is ignored is not known then
        (Call::Splice, &[EINTR, EAGAIN], 20),
        (Call::Splice, &[EINVAL, ENOSYS, EPERM], 1), // this kernel, or a sandbox, does not allow it
    ];
    for (call, errnos, most) in kinds {
        for &errno in errnos {
            for first in 1..=most {
                let injected = case(
                    format!("{call:?} {first}.. with errno {errno}"),
                    move || {
                        let plan = Plan::new().fail(call, first..first + 3, errno);
                        let plan = plan.shorten(Call::Splice, first + 3..first + 9, 1_000);
                        under(plan, 1 + (first % 2) as usize, |runtime| {
                            let copied = relayed(runtime, 2 << 20);
                            assert_eq!(copied.unwrap(), 2 << 20);
                        })
                        .injected(call)
                    },
                );
                assert!(injected > 0 || first > 1, "{call:?} is not made");
            }
        }
    }
}

#[test]
fn every_byte_is_copied_under_random_faults() {
    let _turn = in_turn();
    let mut injected = 0;
    for seed in 0..SEEDS / 5 {
        injected += case(format!("seed {seed}"), move || {
            let workers = 1 + (seed % 2) as usize;
            let report = under(Plan::random(seed, 300), workers, |runtime| {
                // A source that cannot be registered is an error like any other, and so is a connection that is not made.
                while relayed(runtime, 1 << 20).is_err() {}
            });
            report.injected(Call::Splice) + report.injected(Call::PipeCreate)
        });
    }
    println!("{injected} faults");
    assert!(injected > SEEDS, "{injected} faults only");
}

#[test]
fn copying_that_fails_tells_how_far_it_came() {
    let _turn = in_turn();
    for first in 1..=20 {
        case(format!("splice {first} with ENOMEM"), move || {
            let plan = Plan::new().fail(Call::Splice, first..first + 1, libc::ENOMEM);
            under(plan, 1, |runtime| {
                if let Err(error) = relayed(runtime, 8 << 20) {
                    assert_eq!(error.source.raw_os_error(), Some(libc::ENOMEM));
                    assert!(error.copied < 8 << 20);
                }
            });
        });
    }
}

#[test]
fn a_file_is_sent_whatever_sendfile_answers() {
    use libc::*;
    let _turn = in_turn();
    const LEN: usize = 3 << 20;
    for errno in [EINTR, EAGAIN, EINVAL, ENOSYS, ENOMEM] {
        for first in 1..=20 {
            let injected = case(
                format!("sendfile {first}.. with errno {errno}"),
                move || {
                    let plan = Plan::new().fail(Call::SendFile, first..first + 2, errno);
                    let plan = plan.shorten(Call::SendFile, first + 2..first + 9, 700);
                    under(plan, 1 + (first % 2) as usize, |runtime| {
                        runtime.block_on(send_file(LEN, errno == ENOMEM));
                    })
                    .injected(Call::SendFile)
                },
            );
            assert!(injected > 0 || first > 10, "there are as many calls");
        }
    }
}

/// [`relay`] on a thread of its own, with which the pipes end that it keeps.
fn relayed(runtime: &Runtime, total: usize) -> Result<u64, CopyError> {
    thread::scope(|scope| {
        let thread = scope.spawn(|| runtime.block_on(relay(total)));
        thread
            .join()
            .unwrap_or_else(|payload| resume_unwind(payload))
    })
}

/// Copies so many bytes, of a client that no fault reaches, from one connection to another.
async fn relay(total: usize) -> Result<u64, CopyError> {
    let ((client, from), (peer, to)) = (adopted_pair(), adopted_pair());
    let sending = thread::spawn(move || {
        // It fails when the copying has.
        let _ = Bytes(1)
            .send(&client, total, 1 << 16)
            .and_then(|()| client.shutdown(Shutdown::Write));
    });
    let receiving = thread::spawn(move || {
        let (mut received, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
        while let Ok(count @ 1..) = { &peer }.read(&mut buffer) {
            received.extend_from_slice(&buffer[..count]);
        }
        received
    });
    let copied = match (from, to) {
        (Ok(from), Ok(to)) => net::copy(from, to).await,
        (Err(source), _) | (_, Err(source)) => Err(CopyError { copied: 0, source }),
    };
    sending.join().unwrap();
    let received = receiving.join().unwrap();
    if let Ok(copied) = &copied {
        assert_eq!(*copied, total as u64);
    }
    assert!(Bytes(1).take(total).starts_with(&received));
    let count = copied.as_ref().unwrap_or_else(|error| &error.copied);
    assert_eq!(*count, received.len() as u64, "what was copied arrives");
    copied
}

/// Sends a file, or the beginning of it where that may fail.
async fn send_file(len: usize, may_fail: bool) {
    let (client, stream) = adopted_pair();
    let path = std::env::temp_dir().join(format!("wakeful-faults-{}", std::process::id()));
    fs::write(&path, Bytes(2).take(len)).unwrap();
    let file = File::open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let receiving = thread::spawn(move || {
        let mut received = Vec::new();
        { &client }.read_to_end(&mut received).unwrap();
        received
    });
    let mut stream = stream.unwrap();
    let sent = match stream.send_file(&file, ..).await {
        Ok(count) => count,
        Err(error) => {
            assert!(may_fail, "{error}");
            error.copied
        }
    };
    drop(stream);
    let received = receiving.join().unwrap();
    assert_eq!(received.len() as u64, sent);
    assert!(Bytes(2).take(len).starts_with(&received));
    assert!(may_fail || received.len() == len);
}

/// A connection: one end that no fault reaches, and one of ours.
fn adopted_pair() -> (StdStream, io::Result<TcpStream>) {
    let listener = StdListener::bind(anywhere()).unwrap();
    let client = connected(listener.local_addr().unwrap());
    let (server, _) = listener.accept().unwrap();
    (client, TcpStream::from_std(server))
}
