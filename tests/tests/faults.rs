//! System calls that fail: nothing panics, hangs or leaks, and when they work again, so does everything.
//!
//! Exists in a build with faults only:
//!
//! ```text
//! RUSTFLAGS="--cfg wakeful_sim" cargo test -p wakeful -p wakeful-tests --target-dir target/sim
//! ```
//!
//! A plan of faults is the whole process's. So the tests take turns, and the clients that judge are threads with sockets of
//! the standard library, which no plan reaches.
#![cfg(wakeful_sim)]

#[path = "faults/copying.rs"] // what lies in `tests/` itself would be a test of its own
mod copying;

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream as StdStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as UnixStd;
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use futures::channel::oneshot;
use futures::poll;
use wakeful::io::AsyncFd;
use wakeful::net::{
    Connection, RecvBatch, Server, TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener,
    UnixStream,
};
use wakeful::sim::{self, Call, Plan, Report};
use wakeful::time::{Instant, sleep};
use wakeful::{Builder, Runtime, yield_now};
use wakeful_tests::process::fds_count;
use wakeful_tests::runtimes::assert_baseline;
use wakeful_tests::watchdog::LIMIT;
use wakeful_tests::{Bytes, eventually, within};

/// Tries until it is no shortage that stands in the way.
macro_rules! insist_on {
    ($future:expr) => {
        loop {
            match $future.await {
                Err(error) if is_shortage(&error) => yield_now().await,
                result => break result.unwrap(),
            }
        }
    };
}

#[test]
fn whichever_call_fails_the_next_connection_is_served() {
    use libc::*;
    let _turn = in_turn();
    let kinds: [(Call, &'static [i32]); 18] = [
        (Call::EpollCreate, &[EMFILE, ENFILE, ENOMEM]),
        (Call::EpollAdd, &[ENOSPC, ENOMEM, EPERM]),
        (Call::EpollDelete, &[ENOENT, EBADF]),
        (Call::EpollWait, &[EINTR]), // nothing else can go wrong with a descriptor of our own
        (Call::EventFdCreate, &[EMFILE, ENFILE, ENOMEM]),
        (Call::EventFdWrite, &[EINTR, EAGAIN]),
        (Call::DescriptorFlags, &[EBADF]),
        (
            Call::Socket,
            &[EINTR, EMFILE, ENFILE, ENOBUFS, ENOMEM, EAFNOSUPPORT],
        ),
        (Call::Bind, &[EADDRINUSE, EADDRNOTAVAIL, EACCES]),
        (Call::Listen, &[EADDRINUSE]),
        (
            Call::Accept,
            &[EINTR, EAGAIN, EMFILE, ENFILE, ENOBUFS, ENOMEM],
        ),
        (Call::Accept, &TRANSIENT_ACCEPT_ERRNOS),
        (
            Call::Connect,
            &[
                EINTR,
                EAGAIN,
                ECONNREFUSED,
                ETIMEDOUT,
                EADDRNOTAVAIL,
                ENETUNREACH,
            ],
        ),
        (Call::Recv, &[EINTR, EAGAIN, ECONNRESET, ETIMEDOUT, ENOMEM]),
        (
            Call::Send,
            &[EINTR, EAGAIN, ECONNRESET, EPIPE, ENOBUFS, ENOMEM],
        ),
        // Not Shutdown: there is nobody left to wait for the end of a socket that is not connected, and here there would be.
        (Call::SocketName, &[ENOBUFS]),
        (Call::GetOption, &[ENOBUFS]),
        (Call::SetOption, &[ENOMEM, ENOPROTOOPT]),
    ];
    let mut injected = 0;
    for (call, errnos) in kinds {
        for &errno in errnos {
            for first in 1..=20 {
                let fails = move |last| {
                    case(
                        format!("{call:?} {first}..={last} with errno {errno}"),
                        move || {
                            let plan = Plan::new().fail(call, first..last + 1, errno);
                            under(plan, 1 + (first % 2) as usize, meet_clients).injected(call)
                        },
                    )
                };
                let count = fails(first);
                if count == 0 {
                    break; // there are no more calls of this kind
                }
                injected += count;
            }
            injected += case(
                format!("the first 20 {call:?} with errno {errno}"),
                move || {
                    let plan = Plan::new().fail(call, 1..21, errno);
                    under(plan, 1, meet_clients).injected(call)
                },
            );
        }
    }
    println!("{injected} faults");
    assert!(injected > 1_000, "{injected} faults only");
}

#[test]
fn every_byte_comes_back_under_random_faults() {
    let injected = random_faults(SEEDS, echo_all);
    assert!(injected > SEEDS * 50, "{injected} faults only");
}

#[test]
fn ten_thousand_seeds_of_faults_leave_nothing_and_keep_nobody_waiting() {
    const SEEDS: u64 = 10_000;
    let injected = random_faults(SEEDS, |runtime, seed| {
        runtime.block_on(exchange_a_little(seed));
    });
    assert!(injected > SEEDS * 5, "{injected} faults only");
}

/// Has `body` run with faults out of each seed, with one worker and with two in turn. Returns how many there were.
fn random_faults(seeds: u64, body: fn(&Runtime, u64)) -> u64 {
    let _turn = in_turn();
    let injected = (0..seeds).map(|seed| {
        case(format!("seed {seed}"), move || {
            let plan = Plan::random(seed, 300);
            under(plan, 1 + (seed % 2) as usize, |runtime| body(runtime, seed)).injected_total()
        })
    });
    let injected = injected.sum();
    println!("{injected} faults");
    injected
}

#[test]
fn accept_tries_again_after_what_is_not_the_listeners_fault() {
    let _turn = in_turn();
    for errno in TRANSIENT_ACCEPT_ERRNOS {
        case(format!("accept with errno {errno}"), move || {
            wakeful::block_on(async {
                let listener = TcpListener::bind(anywhere()).unwrap();
                let _client = StdStream::connect(listener.local_addr().unwrap()).unwrap();
                sim::install(Plan::new().fail(Call::Accept, 1..6, errno));
                let error = listener.try_accept().unwrap_err();
                assert_eq!(error.raw_os_error(), Some(errno)); // that one tries only once
                listener.accept().await.unwrap();
                assert_eq!(sim::clear().injected(Call::Accept), 5);
            });
        });
    }
}

#[test]
fn whatever_accept_answers_a_server_serves_the_next_connection() {
    use libc::{EAGAIN, EBADF, EFAULT, EINTR, EINVAL, EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOTSOCK};
    let _turn = in_turn();
    let others = [
        EINTR, EAGAIN, EMFILE, ENFILE, ENOBUFS, ENOMEM, EBADF, EFAULT, EINVAL, ENOTSOCK,
    ];
    for errno in TRANSIENT_ACCEPT_ERRNOS.into_iter().chain(others) {
        for first in 1..8 {
            case(format!("accept {first} with errno {errno}"), move || {
                let plan = Plan::new().fail(Call::Accept, first..first + 2, errno);
                let report = under(plan, 1 + (first % 2) as usize, |runtime| {
                    runtime.block_on(async {
                        let listener = bound();
                        let address = insist(|| listener.local_addr());
                        let server = Server::new().listen(listener, |stream, _| async move {
                            let mut buffer = [0; 4096];
                            while let Ok(count @ 1..) = read(&stream, &mut buffer).await {
                                write_all(&stream, &buffer[..count]).await?;
                            }
                            io::Result::Ok(())
                        });
                        let clients = in_thread(move || {
                            for seed in 0..6 {
                                converse(address, seed).unwrap(); // it is served however often accepting has failed
                            }
                        });
                        let report = server.run_until(clients).await.unwrap();
                        assert_eq!((report.accepted, report.active()), (6, 0), "{report}");
                    });
                });
                assert_eq!(report.injected(Call::Accept), 2);
            });
        }
    }
}

#[test]
fn a_server_gives_a_broken_listener_its_time_however_many_connections_go() {
    let _turn = in_turn();
    case("accept with errno EINVAL".to_owned(), || {
        wakeful::block_on(async {
            const COUNT: u64 = 20;
            let listener = bound();
            let address = listener.local_addr().unwrap();
            let handler = |stream: TcpStream, mut connection: Connection| async move {
                connection.unless_shutdown(stream.read(&mut [0])).await;
            };
            let server = Server::new().listen(listener, handler);
            let stats = server.stats();
            let clients: Vec<_> = (0..COUNT).map(|_| connected(address)).collect();
            sim::install(Plan::new().fail(Call::Accept, COUNT + 1..1_000, libc::EINVAL));
            let one_goes_in_each_pause = async {
                for (client, count) in clients.into_iter().zip(0..) {
                    while stats.report().pauses <= count {
                        sleep(Duration::from_millis(1)).await;
                    }
                    drop(client);
                }
            };
            let begun = Instant::now();
            let ended = server.run_until(one_goes_in_each_pause).await;
            sim::clear();
            assert_eq!(ended.unwrap_err().raw_os_error(), Some(libc::EINVAL));
            assert!(begun.elapsed() >= Duration::from_secs(1));
        });
    });
}

#[test]
fn a_lack_that_lasted_takes_no_time_from_a_listener_that_fails_after_it() {
    let _turn = in_turn();
    case("accept with errno EMFILE, then EINVAL".to_owned(), || {
        let runtime = Builder::new().virtual_time(true).build().unwrap();
        runtime.block_on(async {
            const LACKS: u64 = 12; // the pause has its full length long before
            let listener = bound();
            let waiting = connected(listener.local_addr().unwrap()); // in the backlog
            sim::install(
                Plan::new()
                    .fail(Call::Accept, 1..LACKS + 1, libc::EMFILE)
                    .fail(Call::Accept, LACKS + 1..LACKS + 3, libc::EINVAL),
            );
            let errors = Arc::new(Mutex::new(Vec::new()));
            let told = errors.clone();
            let server = Server::new()
                .listen(listener, |_, _| async {})
                .on_accept_error(move |error| {
                    let errno = error.raw_os_error().unwrap();
                    told.lock().unwrap().push((errno, Instant::now()));
                });
            let stats = server.stats();
            let served = async {
                while stats.report().done == 0 {
                    sleep(Duration::from_secs(1)).await;
                }
            };
            let report = server.run_until(served).await;
            sim::clear();
            drop(waiting);
            assert_eq!(report.unwrap().pauses, LACKS + 2);
            let errors = errors.lock().unwrap();
            let [.., (before, lack), (first, fault), (second, again)] = errors[..] else {
                panic!("{errors:?}");
            };
            assert_eq!(
                [before, first, second],
                [libc::EMFILE, libc::EINVAL, libc::EINVAL]
            );
            assert!(fault - lack >= Duration::from_millis(900), "the longest");
            assert!(again - fault < Duration::from_millis(100), "a short one");
        });
    });
}

#[test]
fn a_server_that_lacks_descriptors_asks_seldom_and_answers_whom_it_has() {
    let _turn = in_turn();
    case("accept with errno EMFILE".to_owned(), || {
        wakeful::block_on(async {
            let listener = bound();
            let address = listener.local_addr().unwrap();
            let server = Server::new().listen(listener, |stream, _| async move {
                let mut byte = [0];
                while stream.read(&mut byte).await? == 1 {
                    stream.write(&byte).await?;
                }
                io::Result::Ok(())
            });
            let stats = server.stats();
            let echo = |mut client: &StdStream| {
                client.write_all(b"x").unwrap();
                client.read_exact(&mut [0]).unwrap();
            };
            let clients = in_thread(move || {
                let first = connected(address);
                echo(&first);
                let begun = std::time::Instant::now();
                sim::install(Plan::new().fail(Call::Accept, 1..u64::MAX, libc::EMFILE));
                let second = connected(address);
                while stats.report().pauses < 6 {
                    echo(&first);
                }
                // The first five are over, each twice as long as the one before.
                assert!(begun.elapsed() >= Duration::from_millis(5 * 31));
                sim::clear();
                echo(&second);
            });
            let report = server.run_until(clients).await.unwrap();
            assert_eq!(report.accepted, 2, "{report}");
        });
    });
}

#[test]
fn accept_returns_the_lack_of_something_and_works_again_afterwards() {
    let _turn = in_turn();
    for errno in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM] {
        case(format!("accept with errno {errno}"), move || {
            wakeful::block_on(async {
                let listener = TcpListener::bind(anywhere()).unwrap();
                // In one round it was waited for before, in the other not.
                for round in 0..2 {
                    let _client = StdStream::connect(listener.local_addr().unwrap()).unwrap();
                    sim::install(Plan::new().fail(Call::Accept, 1..4, errno));
                    for _ in 0..3 {
                        let error = listener.accept().await.unwrap_err();
                        assert_eq!(error.raw_os_error(), Some(errno));
                    }
                    listener.accept().await.unwrap();
                    assert_eq!(sim::clear().injected(Call::Accept), 3);
                    if round == 0 {
                        assert!(poll!(pin!(listener.accept())).is_pending());
                    }
                }
            });
        });
    }
}

#[test]
fn a_registration_that_fails_is_reported_and_leaves_nothing() {
    let _turn = in_turn();
    for (errno, workers) in [(libc::ENOSPC, 1), (libc::ENOMEM, 2), (libc::EPERM, 2)] {
        case(format!("epoll_ctl with errno {errno}"), move || {
            let runtime = Builder::new().workers(workers).build().unwrap();
            let sources = || runtime.handle().metrics().sources.iter().sum::<usize>();
            runtime.block_on(async {
                let listener = TcpListener::bind(anywhere()).unwrap();
                let mut client = StdStream::connect(listener.local_addr().unwrap()).unwrap();
                let (server, _) = listener.accept().await.unwrap();
                let (pipe, mut pipe_writer) = io::pipe().unwrap();
                let pipe = AsyncFd::new_nonblocking(pipe).unwrap();
                sim::install(Plan::new().fail(Call::EpollAdd, 1..101, errno));
                let is_it = |error: io::Error| match errno {
                    libc::EPERM => assert_eq!(error.kind(), io::ErrorKind::Unsupported),
                    _ => assert_eq!(error.raw_os_error(), Some(errno)),
                };
                for _ in 0..20 {
                    is_it(listener.accept().await.unwrap_err());
                    is_it(server.read(&mut [0; 8]).await.unwrap_err());
                    is_it(server.peek(&mut [0; 8]).await.unwrap_err());
                    is_it(server.hung_up().await.unwrap_err());
                    is_it(
                        pipe.read_with(|mut pipe| pipe.read(&mut [0]))
                            .await
                            .unwrap_err(),
                    );
                    assert_eq!(sources(), 0);
                }
                assert_eq!(sim::clear().injected(Call::EpollAdd), 100);

                assert!(poll!(pin!(server.read(&mut [0; 8]))).is_pending());
                assert!(poll!(pin!(listener.accept())).is_pending());
                assert_eq!(sources(), 2);
                client.write_all(b"abc").unwrap();
                assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 3);
                let _other = StdStream::connect(listener.local_addr().unwrap()).unwrap();
                listener.accept().await.unwrap();
                pipe_writer.write_all(b"x").unwrap();
                pipe.read_with(|mut pipe| pipe.read(&mut [0]))
                    .await
                    .unwrap();
            });
            assert_eq!(sources(), 0);
        });
    }
}

#[test]
fn a_connection_survives_an_interrupted_connect_and_is_not_made_by_a_failed_one() {
    let _turn = in_turn();
    case("connect".to_owned(), || {
        wakeful::block_on(async {
            let listener = TcpListener::bind(anywhere()).unwrap();
            let address = listener.local_addr().unwrap();
            sim::install(Plan::new().fail(Call::Connect, 1..2, libc::EINTR));
            let client = TcpStream::connect(address).await.unwrap();
            let (server, _) = listener.accept().await.unwrap();
            client.write(b"abc").await.unwrap();
            assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 3);
            sim::install(Plan::new().fail(Call::Connect, 1..2, libc::ETIMEDOUT));
            let error = TcpStream::connect(address).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            // No port was free, for one moment.
            sim::install(Plan::new().fail(Call::Connect, 1..2, libc::EADDRNOTAVAIL));
            TcpStream::connect(address).await.unwrap();
            sim::clear();
        });
    });
}

#[test]
fn what_is_gone_already_is_shut_down() {
    let _turn = in_turn();
    case("shutdown".to_owned(), || {
        wakeful::block_on(async {
            let listener = TcpListener::bind(anywhere()).unwrap();
            let address = listener.local_addr().unwrap();
            let client = TcpStream::connect(address).await.unwrap();
            sim::install(Plan::new().fail(Call::Shutdown, 1..4, libc::ENOTCONN));
            for how in [Shutdown::Read, Shutdown::Write, Shutdown::Both] {
                client.shutdown(how).unwrap();
            }
            assert_eq!(sim::clear().injected(Call::Shutdown), 3);
        });
    });
}

#[test]
fn a_datagram_that_was_refused_can_be_sent_again() {
    let _turn = in_turn();
    for errno in [libc::ENOBUFS, libc::ENOMEM, libc::EPERM, libc::ECONNREFUSED] {
        case(format!("send with errno {errno}"), move || {
            wakeful::block_on(async {
                let (client, server) = (udp(), udp());
                let to = server.local_addr().unwrap();
                client.connect(to).unwrap();
                let mut batch = RecvBatch::new(8, 8);
                sim::install(Plan::new().fail(Call::Send, 1..5, errno).fail(
                    Call::Recv,
                    1..4,
                    errno,
                ));
                let refused = [
                    client.send(b"x").await.map(drop),
                    client.send_to(b"x", to).await.map(drop),
                    client.send_many([(&b"x"[..], to)]).await.map(drop),
                    client.send_segmented(b"xy", 1, None).await.map(drop),
                    server.recv(&mut [0; 8]).await.map(drop),
                    server.recv_from(&mut [0; 8]).await.map(drop),
                    server.recv_many(&mut batch).await.map(drop),
                ];
                for result in refused {
                    assert_eq!(result.unwrap_err().raw_os_error(), Some(errno));
                }
                client.send(b"x").await.unwrap();
                assert_eq!(server.recv(&mut [0; 8]).await.unwrap().len, 1);
                assert_eq!(sim::clear().injected_total(), 7);
            });
        });
    }
}

#[test]
fn segments_that_the_system_does_not_cut_are_sent_all_the_same() {
    let _turn = in_turn();
    for errno in [libc::EIO, libc::EINVAL, libc::EOPNOTSUPP] {
        case(format!("segments with errno {errno}"), move || {
            wakeful::block_on(async {
                let (client, server) = (udp(), udp());
                let to = server.local_addr().unwrap();
                let bytes = Bytes(5).take(10_500);
                let cut = client
                    .send_segmented(&bytes, 1_000, Some(to))
                    .await
                    .unwrap();
                sim::install(Plan::new().fail(Call::Send, 1..2, errno));
                let sent = client
                    .send_segmented(&bytes, 1_000, Some(to))
                    .await
                    .unwrap();
                // If the system never cuts them, there was nothing that could be refused.
                assert_eq!(sim::clear().injected(Call::Send), u64::from(cut.offloaded));
                assert_eq!((cut.len, sent.len, sent.offloaded), (10_500, 10_500, false));
                let mut batch = RecvBatch::new(64, 2_000);
                let mut expected = bytes.chunks(1_000).chain(bytes.chunks(1_000));
                let mut received = 0;
                while received < 22 {
                    received += server.recv_many(&mut batch).await.unwrap();
                    for datagram in batch.iter() {
                        assert!(datagram.bytes() == expected.next().unwrap());
                    }
                }
            });
        });
    }
}

#[test]
fn every_datagram_and_every_descriptor_arrives_under_random_faults() {
    let _turn = in_turn();
    let mut injected = 0;
    for seed in 0..SEEDS {
        injected += case(format!("seed {seed}"), move || {
            under(
                Plan::random(seed, 300),
                1 + (seed % 2) as usize,
                |runtime| {
                    runtime.block_on(async {
                        exchange_datagrams().await;
                        pass_descriptors().await;
                    });
                },
            )
            .injected_total()
        });
    }
    println!("{injected} faults");
    assert!(injected > SEEDS * 50, "{injected} faults only");
}

#[test]
fn whichever_call_fails_a_unix_listener_serves_the_next_and_leaves_no_name() {
    use libc::*;
    let _turn = in_turn();
    let kinds: [(Call, &'static [i32]); 10] = [
        (Call::EpollAdd, &[ENOSPC, ENOMEM]),
        (Call::DescriptorFlags, &[EBADF, ENOLCK, EACCES]),
        (Call::Socket, &[EINTR, EMFILE, ENFILE, ENOMEM]),
        (Call::Bind, &[EADDRINUSE, EACCES, ENOENT, EROFS]),
        (Call::Listen, &[EADDRINUSE]),
        (Call::Accept, &[EINTR, EAGAIN, EMFILE, ENOMEM]),
        (Call::Connect, &[EINTR, ECONNREFUSED, ENOENT, EACCES]),
        (Call::Recv, &[EINTR, EAGAIN, ECONNRESET, ENOMEM]),
        (Call::Send, &[EINTR, EAGAIN, EPIPE, ENOBUFS, ETOOMANYREFS]),
        (Call::SocketName, &[ENOBUFS]),
    ];
    let mut injected = 0;
    for (call, errnos) in kinds {
        for &errno in errnos {
            for first in 1..=20 {
                let what = format!("{call:?} {first} with errno {errno}");
                let count = case(what, move || {
                    let plan = Plan::new().fail(call, first..first + 1, errno);
                    under(plan, 1 + (first % 2) as usize, meet_neighbours).injected(call)
                });
                if count == 0 {
                    break; // there are no more calls of this kind
                }
                injected += count;
            }
        }
    }
    println!("{injected} faults");
    assert!(injected > 40, "{injected} faults only");
}

/// Runs `body` under the plan, on a runtime that was built under it too, and checks that nothing is left.
fn under(plan: Plan, workers: usize, body: impl FnOnce(&Runtime)) -> Report {
    let fds_before = fds_count();
    sim::install(plan);
    let mut tries_left = 200;
    let runtime = loop {
        match Builder::new().workers(workers).build() {
            Ok(runtime) => break runtime,
            Err(error) if tries_left == 0 => panic!("still no runtime: {error}"),
            Err(_) => tries_left -= 1,
        }
    };
    body(&runtime);
    let report = sim::clear();
    assert_baseline(&runtime);
    drop(runtime);
    // A thread that has ended may hold its last descriptor for a moment.
    eventually("the descriptors are closed", || fds_count() == fds_before);
    report
}

/// Some clients while calls fail, which may be disappointed but not kept waiting; then, without faults, some that may not.
fn meet_clients(runtime: &Runtime) {
    runtime.block_on(async {
        let listener = bound();
        let address = insist(|| listener.local_addr());
        let server = wakeful::spawn(serve(listener));
        in_thread(move || {
            for seed in 0..4 {
                let _ = converse(address, seed); // it may fail
            }
        })
        .await;
        for seed in 0..4 {
            let _ = call(address, seed).await; // as above
        }
        adopt(address).await.unwrap_or(());
        // The plan stays in force, since its end would tell how many faults there were; but it has only a few.
        let mut tries_left = 100;
        while call(address, 7).await.is_err() {
            assert_ne!(tries_left, 0, "the fault has ended, and nothing works");
            tries_left -= 1;
        }
        for seed in 0..2 {
            in_thread(move || {
                let mut tries_left = 100;
                while let Err(error) = converse(address, seed) {
                    assert_ne!(tries_left, 0, "the fault has ended: {error}");
                    tries_left -= 1;
                }
            })
            .await;
        }
        let _ = server.cancel().await; // it has no end
    });
}

/// Three connections at the same time, all bytes of which have to come back.
fn echo_all(runtime: &Runtime, seed: u64) {
    runtime.block_on(async {
        let listener = bound();
        let address = insist(|| listener.local_addr());
        let server = wakeful::spawn(serve(listener));
        let clients = [0, 1].map(|number| {
            in_thread(move || {
                let stream = connected(address);
                Bytes(seed + number).through(&stream, 60_000, 1_000 + 7_000 * number as usize);
            })
        });
        let bytes = Bytes(seed + 2);
        let stream = loop {
            match TcpStream::connect(address).await {
                Ok(stream) => break stream,
                Err(error) => assert!(is_shortage(&error), "{error}"),
            }
            yield_now().await;
        };
        let (sent, mut received) = (bytes.take(30_000), Vec::new());
        for part in sent.chunks(3_000) {
            write_all(&stream, part).await.unwrap();
            let mut buffer = [0; 2_000];
            while received.len() < 3_000 {
                let count = read(&stream, &mut buffer).await.unwrap();
                assert_ne!(count, 0);
                received.extend_from_slice(&buffer[..count]);
            }
            assert!(received == part);
            received.clear();
        }
        for client in clients {
            client.await;
        }
        drop(stream);
        let _ = server.cancel().await; // it has no end
    });
}

/// A connection and a datagram, with all in one thread but what other workers steal.
async fn exchange_a_little(seed: u64) {
    let listener = bound();
    let address = insist(|| listener.local_addr());
    let server = wakeful::spawn(serve(listener));
    let client = insist_on!(TcpStream::connect(address));
    let (sent, mut received) = (Bytes(seed).take(700), Vec::new());
    write_all(&client, &sent).await.unwrap();
    while received.len() < sent.len() {
        let mut buffer = [0; 300];
        let count = read(&client, &mut buffer).await.unwrap();
        assert_ne!(count, 0, "the end, too early");
        received.extend_from_slice(&buffer[..count]);
    }
    assert!(received == sent, "other bytes than were sent");
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read(&client, &mut [0]).await.unwrap(), 0);
    let (one, other) = (insist_udp(), insist_udp());
    let to = insist(|| other.local_addr());
    insist_on!(one.send_to(&sent[..9], to));
    assert_eq!(insist_on!(other.recv(&mut [0; 20])).len, 9);
    let _ = server.cancel().await; // it has no end
}

/// A name that was left behind is taken over; a client comes and sends a descriptor; all that fails is tried again.
fn meet_neighbours(runtime: &Runtime) {
    runtime.block_on(async {
        let path = std::env::temp_dir().join(format!("wakeful-faults-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let listener = insist(|| match UnixListener::bind(&path) {
            Err(error) => {
                // Whatever has failed, nothing is there now that stands in the way.
                assert!(UnixStd::connect(&path).is_err());
                Err(error)
            }
            listener => listener,
        });
        let mut tries_left = 20;
        loop {
            match meet_neighbour(&path, &listener).await {
                Ok(()) => break,
                Err(error) => assert_ne!(tries_left, 0, "the fault has ended: {error}"),
            }
            tries_left -= 1;
        }
        drop(listener);
        assert!(!path.exists(), "the name stays");
    });
}

async fn meet_neighbour(path: &Path, listener: &UnixListener) -> io::Result<()> {
    let client = UnixStream::connect(path).await?;
    client.send_with_fds(b"abc", &[client.as_fd()]).await?;
    loop {
        let (server, _) = listener.accept().await?;
        server.peer_addr()?;
        let message = server.recv_with_fds(&mut [0; 8], 1).await?;
        // A client that has given up may be first.
        if message.received.len > 0 {
            assert_eq!((message.received.len, message.fds.len()), (3, 1));
            return Ok(());
        }
    }
}

/// There and back, one by one and in batches.
async fn exchange_datagrams() {
    let (client, server) = (insist_udp(), insist_udp());
    let (to, back) = (server.local_addr().unwrap(), client.local_addr().unwrap());
    let sent: Vec<_> = (0..40).map(|len| Bytes(len as u64).take(len * 9)).collect();
    let (mut buffer, mut batch) = ([0; 400], RecvBatch::new(16, 400));
    for bytes in &sent {
        insist_on!(client.send_to(bytes, to));
        let (received, from) = insist_on!(server.recv_from(&mut buffer));
        assert!(buffer[..received.len] == *bytes && from == back);
    }
    let (mut answered, mut received) = (0, 0);
    while received < sent.len() {
        if answered < sent.len() {
            let rest = sent[answered..].iter().map(|bytes| (&bytes[..], back));
            answered += insist_on!(server.send_many(rest.clone()));
        }
        insist_on!(client.recv_many(&mut batch));
        for datagram in batch.iter() {
            assert!(datagram.bytes() == sent[received] && datagram.from() == to);
            received += 1;
        }
    }
}

/// Through a stream and through datagrams, with no copy left in the end.
async fn pass_descriptors() {
    let stream = insist(UnixStream::pair);
    let datagram = insist(UnixDatagram::pair);
    for number in 0..20 {
        let (mut reader, writer) = io::pipe().unwrap();
        let (bytes, mut buffer) = ([number], [0; 8]);
        let mut message = if number % 2 == 0 {
            insist_on!(stream.0.send_with_fds(&bytes, &[writer.as_fd()]));
            insist_on!(stream.1.recv_with_fds(&mut buffer, 4))
        } else {
            insist_on!(datagram.0.send_with_fds(&bytes, &[writer.as_fd()]));
            insist_on!(datagram.1.recv_with_fds(&mut buffer, 4))
        };
        drop(writer);
        assert_eq!(
            (message.received.len, buffer[0], message.fds.len()),
            (1, number, 1)
        );
        let mut writer = io::PipeWriter::from(message.fds.pop().unwrap());
        writer.write_all(b"!").unwrap();
        drop(writer);
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"!");
    }
}

/// Echoes to everybody, and takes no shortage for an end.
async fn serve(listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(wakeful::spawn(async move {
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = read(&stream, &mut buffer).await {
                    if write_all(&stream, &buffer[..count]).await.is_err() {
                        break;
                    }
                }
            })),
            Err(_) => yield_now().await,
        }
    }
}

async fn read(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(buffer).await {
            Err(error) if is_shortage(&error) => yield_now().await,
            result => return result,
        }
    }
}

async fn write_all(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match stream.write(bytes).await {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if is_shortage(&error) => yield_now().await,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether it is the lack of something, which passes.
fn is_shortage(error: &io::Error) -> bool {
    use io::ErrorKind::{OutOfMemory, StorageFull};
    let errno = std::error::Error::source(error)
        .or_else(|| error.get_ref()?.source())
        .and_then(|source| source.downcast_ref::<io::Error>()?.raw_os_error())
        .or(error.raw_os_error());
    matches!(error.kind(), OutOfMemory | StorageFull)
        || matches!(errno, Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS))
}

fn udp() -> UdpSocket {
    UdpSocket::bind(anywhere()).unwrap()
}

fn insist_udp() -> UdpSocket {
    insist(|| UdpSocket::bind(anywhere()))
}

fn bound() -> TcpListener {
    insist(|| TcpListener::bind(anywhere()))
}

/// Tries until it succeeds.
fn insist<T>(mut attempt: impl FnMut() -> io::Result<T>) -> T {
    let mut result = attempt();
    for _ in 0..200 {
        if result.is_err() {
            result = attempt();
        }
    }
    result.expect("the fault has ended")
}

/// A short connection of a client that no fault reaches.
fn converse(address: SocketAddr, seed: u64) -> io::Result<()> {
    let mut stream = connected(address);
    let bytes = Bytes(seed).take(3_000);
    let mut back = [0; 1_000];
    for part in bytes.chunks(1_000) {
        stream.write_all(part)?;
        stream.read_exact(&mut back)?;
        assert!(back == *part, "other bytes than were sent");
    }
    if seed.is_multiple_of(2) {
        stream.shutdown(Shutdown::Write)?;
        let count = stream.read(&mut back)?;
        assert_eq!(count, 0, "more bytes than were sent");
    } else {
        // Closed with something unread, it is reset, so that its port is free again.
        stream.write_all(b"x")?;
        stream.peek(&mut [0])?;
    }
    Ok(())
}

fn connected(address: SocketAddr) -> StdStream {
    let stream = StdStream::connect(address).expect("the backlog has room");
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.set_write_timeout(Some(LIMIT)).unwrap();
    stream
}

/// The same by a client on the runtime, that faults do reach.
async fn call(address: SocketAddr, seed: u64) -> io::Result<()> {
    let stream = TcpStream::connect(address).await?;
    let bytes = Bytes(seed).take(1_000);
    write_all(&stream, &bytes).await?;
    let (mut received, mut buffer) = (Vec::new(), [0; 1_000]);
    while received.len() < bytes.len() {
        match read(&stream, &mut buffer).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => received.extend_from_slice(&buffer[..count]),
        }
    }
    assert!(received == bytes, "other bytes than were sent");
    stream.shutdown(Shutdown::Write)?;
    read(&stream, &mut buffer).await.map(drop)
}

/// The same with a stream that the standard library has connected.
async fn adopt(address: SocketAddr) -> io::Result<()> {
    let stream = TcpStream::from_std(connected(address))?;
    write_all(&stream, b"x").await?;
    read(&stream, &mut [0]).await.map(drop)
}

/// Runs `body` on a thread and waits for its end.
async fn in_thread(body: impl FnOnce() + Send + 'static) {
    let (ended, end) = oneshot::channel();
    let thread = thread::spawn(move || {
        body();
        let _ = ended.send(());
    });
    let _ = end.await; // an error means a panic, which comes out of the next line
    thread.join().unwrap();
}

/// Runs `body`, and says what it was about when it fails or hangs.
#[track_caller]
fn case<R: Send + 'static>(what: String, body: impl FnOnce() -> R + Send + 'static) -> R {
    struct Case(String);
    impl Drop for Case {
        fn drop(&mut self) {
            if thread::panicking() {
                sim::clear();
                eprintln!("… in this case: {}", self.0);
            }
        }
    }
    let case = Case(what);
    let result = within(LIMIT + Duration::from_secs(5), body);
    drop(case);
    result
}

fn in_turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn anywhere() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

const TRANSIENT_ACCEPT_ERRNOS: [i32; 10] = [
    libc::ECONNABORTED,
    libc::ENETDOWN,
    libc::EPROTO,
    libc::ENOPROTOOPT,
    libc::EHOSTDOWN,
    libc::ENONET,
    libc::EHOSTUNREACH,
    libc::EOPNOTSUPP,
    libc::ENETUNREACH,
    libc::EPERM,
];

const SEEDS: u64 = 250;
