//! Copying: from reader to writer, between sockets, from files, and exact reads and writes that are resumed.
//!
//! Most tests run over both kinds of copying, that of `io` for anything and that of `net` for sockets, with clients that are
//! threads with sockets of the standard library.

use std::fs::{self, File};
use std::io::{self, Cursor, ErrorKind, Read, Seek, SeekFrom, Write};
use std::net::{Shutdown, TcpListener as StdListener, TcpStream as StdStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as UnixStd;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use futures::io::{AsyncRead, AsyncWrite, BufWriter};
use futures::poll;
use wakeful::io::{CopyError, copy, copy_bidirectional};
use wakeful::net::{self, TcpStream, UnixStream};
use wakeful::signal::{SignalKind, signal};
use wakeful::{spawn, spawn_blocking, yield_now};
use wakeful_tests::process::{anonymous_bytes, fds_count};
use wakeful_tests::watchdog::LIMIT;
use wakeful_tests::{Bytes, alone, eventually, impatiently, on_workers, tcp};

// Two connections, and a task that copies between them.

#[test]
fn every_byte_arrives_in_both_directions() {
    const THERE: usize = 100 << 20;
    const BACK: usize = 20 << 20;
    on_workers([1, 2], |runtime| {
        for kind in KINDS {
            let copied = runtime.block_on(relayed(kind, |client, server| {
                thread::scope(|scope| {
                    scope.spawn(|| send_and_end(Bytes(1), &client, THERE));
                    scope.spawn(|| send_and_end(Bytes(2), &server, BACK));
                    scope.spawn(|| expect_and_end(Bytes(1), &server, THERE));
                    expect_and_end(Bytes(2), &client, BACK);
                });
            }));
            assert_eq!(copied.unwrap(), (THERE as u64, BACK as u64), "{kind:?}");
        }
    });
}

#[test]
fn messages_of_every_size_go_to_and_fro() {
    on_workers([1, 2], |runtime| {
        for kind in KINDS {
            let copied = runtime.block_on(relayed(kind, |client, server| {
                let mut sum = 0;
                for size in [
                    1, 100, 5_000, 40_000, 65_536, 200_000, 3, 1_000_000, 70_000, 2,
                ] {
                    thread::scope(|scope| {
                        scope.spawn(|| Bytes(7).send(&client, size, size).unwrap());
                        Bytes(7).expect(&server, size, size).unwrap();
                        scope.spawn(|| Bytes(8).send(&server, size, size).unwrap());
                        Bytes(8).expect(&client, size, size).unwrap();
                    });
                    sum += size as u64;
                }
                assert_eq!(sum, 1_380_642);
            }));
            assert_eq!(copied.unwrap(), (1_380_642, 1_380_642), "{kind:?}");
        }
    });
}

#[test]
fn a_half_closed_connection_stays_half_closed() {
    on_workers([1, 2], |runtime| {
        for kind in KINDS {
            for client_is_first in [true, false] {
                let copied = runtime.block_on(relayed(kind, move |client, server| {
                    let (first, other) = match client_is_first {
                        true => (client, server),
                        false => (server, client),
                    };
                    send_and_end(Bytes(1), &first, 100_000);
                    expect_and_end(Bytes(1), &other, 100_000); // its end is passed on
                    thread::sleep(Duration::from_millis(5));
                    send_and_end(Bytes(2), &other, 300_000); // and the way back is still open
                    expect_and_end(Bytes(2), &first, 300_000);
                }));
                let expected = match client_is_first {
                    true => (100_000, 300_000),
                    false => (300_000, 100_000),
                };
                assert_eq!(copied.unwrap(), expected, "{kind:?}");
            }
        }
    });
}

#[test]
fn a_reset_ends_both_directions_and_tells_what_had_been_copied() {
    on_workers([1, 2], |runtime| {
        for kind in KINDS {
            let error = runtime
                .block_on(relayed(kind, |client, server| {
                    thread::scope(|scope| {
                        scope.spawn(|| Bytes(1).send(&client, 1 << 20, 1 << 16).unwrap());
                        Bytes(1).expect(&server, 1 << 20, 1 << 16).unwrap();
                    });
                    Bytes(2).send(&server, 1_000, 1_000).unwrap();
                    Bytes(2).expect(&client, 1_000, 1_000).unwrap();
                    reset(server);
                    // The other connection is closed then.
                    let end = { &client }.read(&mut [0]);
                    assert!(matches!(end, Ok(0)), "{end:?}");
                }))
                .unwrap_err();
            assert_eq!(error.copied, (1 << 20, 1_000), "{kind:?}");
            assert_eq!(error.source.kind(), ErrorKind::ConnectionReset, "{kind:?}");
            let error = io::Error::from(error);
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            assert!(
                error.to_string().contains("(1048576, 1000) bytes"),
                "{error}"
            );
        }
    });
}

#[test]
fn one_direction_tells_what_had_been_copied_when_nobody_takes_more() {
    on_workers([1, 2], |runtime| {
        for kind in KINDS {
            runtime.block_on(async {
                let ((client, from), (server, to)) = (pair(), pair());
                let copying = spawn(async move { kind.copy(&from, &to).await });
                let received = spawn_blocking(move || {
                    let sending = thread::spawn(move || {
                        let failed = Bytes(1).send(&client, 1 << 30, 1 << 16);
                        assert!(failed.is_err(), "nobody takes a gigabyte");
                    });
                    Bytes(1).expect(&server, 10 << 20, 1 << 16).unwrap();
                    reset(server);
                    sending
                });
                let sending = received.await.unwrap();
                let error = copying.await.unwrap().unwrap_err();
                assert!(is_gone(&error.source), "{error}");
                assert!(error.copied >= 10 << 20, "{error}");
                spawn_blocking(move || sending.join().unwrap())
                    .await
                    .unwrap();
            });
        }
    });
}

#[test]
fn a_connection_copied_to_itself_is_an_echo() {
    on_workers([1, 2], |runtime| {
        for kind in KINDS {
            runtime.block_on(async {
                let (client, server) = pair();
                let echo =
                    spawn(async move { kind.copy(&server, &server).await.map(|n| (n, server)) });
                spawn_blocking(move || {
                    thread::scope(|scope| {
                        scope.spawn(|| send_and_end(Bytes(3), &client, 30 << 20));
                        Bytes(3).expect(&client, 30 << 20, 1 << 16).unwrap();
                    });
                })
                .await
                .unwrap();
                let (copied, _server) = echo.await.unwrap().unwrap();
                assert_eq!(copied, 30 << 20);
            });
        }
    });
}

#[test]
fn halves_are_copied_between_too() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let ((client, mut from), (server, to)) = (pair(), pair());
            let (_, writer) = to.into_split();
            let copying = spawn(async move {
                let (reader, _) = TcpStream::split(&mut from);
                net::copy(reader, writer).await // dropped, it ends what is written
            });
            spawn_blocking(move || {
                thread::scope(|scope| {
                    scope.spawn(|| send_and_end(Bytes(4), &client, 5 << 20));
                    expect_and_end(Bytes(4), &server, 5 << 20);
                });
            })
            .await
            .unwrap();
            assert_eq!(copying.await.unwrap().unwrap(), 5 << 20);
        });
    });
}

#[test]
fn sockets_of_different_kinds_are_copied_between() {
    const LEN: usize = 20 << 20;
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let ((client, from), (server, to)) = (pair(), unix_pair());
            let copying = spawn(async move { net::copy_bidirectional(from, to).await });
            let ends = spawn_blocking(move || {
                thread::scope(|scope| {
                    scope.spawn(|| send_and_end(Bytes(1), &client, LEN));
                    scope.spawn(|| Bytes(2).send(&server, LEN, 1 << 16).unwrap());
                    scope.spawn(|| Bytes(1).expect(&server, LEN, 1 << 16).unwrap());
                    Bytes(2).expect(&client, LEN, 1 << 16).unwrap();
                });
                assert_eq!({ &server }.read(&mut [0]).unwrap(), 0);
            });
            ends.await.unwrap();
            assert_eq!(copying.await.unwrap().unwrap(), (LEN as u64, LEN as u64));

            let ((client, from), (server, to)) = (unix_pair(), unix_pair());
            let copying = spawn(async move { net::copy(from, &to).await });
            let received = spawn_blocking(move || {
                thread::scope(|scope| {
                    scope.spawn(move || Bytes(3).send(client, LEN, 1 << 16).unwrap());
                    Bytes(3).expect(&server, LEN, 1 << 16).unwrap();
                });
            });
            received.await.unwrap();
            assert_eq!(copying.await.unwrap().unwrap(), LEN as u64);
        });
    });
}

#[test]
fn what_stands_behind_descriptors_on_a_unix_socket_is_copied_too() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let (client, from) = UnixStream::pair().unwrap();
            let (to, mut server) = tcp::pair().await;
            let copying = spawn(async move { net::copy(from, to).await });
            for _ in 0..20 {
                // No read goes past the descriptors, however much room it has, and no event tells of what is behind.
                client
                    .send_with_fds(b"one", &[client.as_fd()])
                    .await
                    .unwrap();
                client.write(b"two").await.unwrap();
                client
                    .send_with_fds(b"three", &[client.as_fd()])
                    .await
                    .unwrap();
                let mut received = [0; 11];
                server.read_exact(&mut received).await.unwrap();
                assert_eq!(&received, b"onetwothree");
            }
            drop(client);
            assert_eq!(copying.await.unwrap().unwrap(), 20 * 11);
        });
    });
}

// What it costs.

#[test]
fn a_peer_that_does_not_read_costs_no_more_memory_than_a_buffer() {
    alone(
        "a_peer_that_does_not_read_costs_no_more_memory_than_a_buffer",
        || {
            on_workers([1], |runtime| {
                for kind in KINDS {
                    let copied = runtime.block_on(relayed(kind, |client, server| {
                        let before = anonymous_bytes();
                        let sent = fill(&client, 1 << 20);
                        let grown = anonymous_bytes().saturating_sub(before);
                        assert!(
                            grown <= 512 << 10,
                            "{grown} bytes for {sent} that nobody reads"
                        );
                        client.shutdown(Shutdown::Write).unwrap();
                        let mut received = 0;
                        let mut buffer = vec![0; 1 << 16];
                        while let count @ 1.. = { &server }.read(&mut buffer).unwrap() {
                            received += count;
                        }
                        assert_eq!(received, sent);
                    }));
                    copied.unwrap();
                }
            });
        },
    );
}

#[test]
fn an_idle_pair_costs_no_memory_for_data_and_no_pipe() {
    alone("an_idle_pair_costs_no_memory_for_data_and_no_pipe", || {
        const PAIRS: usize = 200;
        on_workers([1], |runtime| {
            for kind in KINDS {
                runtime.block_on(async {
                    let mut ends = Vec::new();
                    let mut tasks = Vec::new();
                    let fds_before = fds_count();
                    for _ in 0..PAIRS {
                        let ((client, a), (server, b)) = (pair(), pair());
                        tasks.push(spawn(relay(kind, a, b)));
                        ends.push((client, server));
                    }
                    let before = anonymous_bytes();
                    let ends = spawn_blocking(move || {
                        for (client, server) in &ends {
                            thread::scope(|scope| {
                                scope.spawn(|| Bytes(1).send(client, 150_000, 1 << 16).unwrap());
                                Bytes(1).expect(server, 150_000, 1 << 16).unwrap();
                            });
                        }
                        ends
                    })
                    .await
                    .unwrap();
                    let grown = anonymous_bytes().saturating_sub(before) / PAIRS;
                    assert!(
                        grown <= 4 << 10,
                        "{kind:?}: {grown} bytes for each that is idle"
                    );
                    let pipes = (fds_count() - fds_before).saturating_sub(4 * PAIRS);
                    assert!(pipes <= 16, "{kind:?}: {pipes} descriptors");
                    drop(ends);
                    for task in tasks {
                        task.await.unwrap().unwrap();
                    }
                });
            }
        });
    });
}

#[test]
fn stalled_connections_keep_few_pipes_and_no_one_from_being_served() {
    alone(
        "stalled_connections_keep_few_pipes_and_no_one_from_being_served",
        || {
            const STALLED: usize = 75; // more than there are pipes
            on_workers([1, 2], |runtime| {
                runtime.block_on(async {
                    let fds_before = fds_count();
                    let mut ends = Vec::new();
                    let mut tasks = Vec::new();
                    for _ in 0..STALLED {
                        let ((client, a), (server, b)) = (narrow_pair(), narrow_pair());
                        tasks.push(spawn(relay(Kind::Net, a, b)));
                        ends.push((client, server));
                    }
                    let mut ends = spawn_blocking(move || {
                        ends.into_iter()
                            .map(|(client, server)| (fill(&client, 1 << 19), client, server))
                            .collect::<Vec<_>>()
                    })
                    .await
                    .unwrap();
                    let pipes = move || (fds_count() - fds_before) / 2 - 2 * STALLED;
                    spawn_blocking(move || eventually("some keep pipes", || pipes() > 0))
                        .await
                        .unwrap();
                    assert!(pipes() <= 72, "{} pipes", pipes()); // some are other descriptors

                    let copied = relayed(Kind::Net, |client, server| {
                        thread::scope(|scope| {
                            scope.spawn(|| send_and_end(Bytes(5), &client, 1 << 20));
                            expect_and_end(Bytes(5), &server, 1 << 20);
                        });
                    });
                    assert_eq!(copied.await.unwrap(), (1 << 20, 0));

                    spawn_blocking(move || {
                        for (sent, client, server) in ends.drain(..) {
                            client.shutdown(Shutdown::Write).unwrap();
                            let mut received = 0;
                            let mut buffer = vec![0; 1 << 16];
                            while let count @ 1.. = { &server }.read(&mut buffer).unwrap() {
                                received += count;
                            }
                            assert_eq!(received, sent);
                        }
                    })
                    .await
                    .unwrap();
                    for task in tasks {
                        task.await.unwrap().unwrap();
                    }
                    let left = fds_count().saturating_sub(fds_before);
                    assert!(left <= 24, "{left} descriptors are left");
                });
            });
        },
    );
}

#[test]
fn copying_that_is_given_up_leaves_no_descriptor() {
    alone("copying_that_is_given_up_leaves_no_descriptor", || {
        on_workers([1, 2], |runtime| {
            let before = fds_count();
            for round in 0..24 {
                runtime.block_on(async {
                    let ((client, a), (server, b)) = (narrow_pair(), narrow_pair());
                    let task = spawn(relay(KINDS[round % 2], a, b));
                    let ends = spawn_blocking(move || (fill(&client, 1 << 19), client, server));
                    let _ends = ends.await.unwrap();
                    task.cancel().await.unwrap_err();
                });
            }
            // What the workers keep.
            eventually("the descriptors are closed", || fds_count() <= before + 16);
        });
    });
}

#[test]
fn nothing_raises_sigpipe() {
    alone("nothing_raises_sigpipe", || {
        on_workers([1, 2], |runtime| {
            runtime.block_on(async {
                let mut arrivals = signal(SignalKind::pipe()).unwrap();
                let file = temporary_file(10 << 20);
                for kind in KINDS {
                    let error = relayed(kind, |client, server| {
                        let sending = thread::spawn(move || {
                            let _ = Bytes(1).send(&client, 1 << 30, 1 << 16); // it fails
                        });
                        Bytes(1).expect(&server, 1 << 20, 1 << 16).unwrap();
                        reset(server);
                        sending.join().unwrap();
                    });
                    assert!(is_gone(&error.await.unwrap_err().source));
                }
                let (client, mut server) = pair();
                reset(client);
                let error = loop {
                    match server.send_file(&file, ..).await {
                        Ok(_) => yield_now().await,
                        Err(error) => break error,
                    }
                };
                assert!(is_gone(&error.source), "{error}");
                let error = server.send_file(&file, ..).await.unwrap_err();
                assert_eq!(error.source.kind(), ErrorKind::BrokenPipe);
                assert!(poll!(pin!(arrivals.recv())).is_pending());
            });
        });
    });
}

// Readers and writers of any kind.

#[test]
fn what_was_written_is_flushed_before_the_reader_is_waited_for() {
    on_workers([1, 2], |runtime| {
        for kind_of_end in [Shutdown::Write, Shutdown::Both] {
            runtime.block_on(async {
                let ((mut client, from), (mut server, to)) = (pair(), pair());
                let copying =
                    spawn(async move { copy(&from, BufWriter::with_capacity(1 << 20, to)).await });
                spawn_blocking(move || {
                    client.write_all(b"hello").unwrap();
                    server.read_exact(&mut [0; 5]).unwrap(); // though the buffer had room
                    client.write_all(b"bye").unwrap();
                    client.shutdown(kind_of_end).unwrap();
                    server.read_exact(&mut [0; 3]).unwrap();
                })
                .await
                .unwrap();
                assert_eq!(copying.await.unwrap().unwrap(), 8);
            });
        }
    });
}

#[test]
fn errors_of_reader_and_writer_tell_what_was_copied() {
    on_workers([1], |runtime| {
        runtime.block_on(async {
            for (readable, writable, expected) in
                [(1_000, 5_000, 1_000), (200_000, 150_000, 150_000)]
            {
                let mut written = Vec::new();
                let writer = Limited {
                    left: writable,
                    inner: &mut written,
                };
                let error = copy(
                    Limited {
                        left: readable,
                        inner: Pattern(0),
                    },
                    writer,
                )
                .await
                .unwrap_err();
                assert_eq!(
                    (error.copied, error.source.kind()),
                    (expected, ErrorKind::Other)
                );
                assert!(written == Bytes(9).take(expected as usize));
            }
            let error = copy(&b"hello"[..], TakesNothing).await.unwrap_err();
            assert_eq!(
                (error.copied, error.source.kind()),
                (0, ErrorKind::WriteZero)
            );
        });
    });
}

#[test]
fn a_reader_that_is_always_ready_lets_others_run() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let endless = [(), ()].map(|()| spawn(copy(Pattern(0), futures::io::sink())));
            for _ in 0..20 {
                spawn(async {}).await.unwrap();
            }
            for task in endless {
                assert!(task.cancel().await.unwrap_err().is_cancelled());
            }
        });
    });
}

// Files.

#[test]
fn a_file_is_sent_as_a_whole_or_in_part_and_keeps_its_position() {
    on_workers([1, 2], |runtime| {
        const LEN: usize = 20 << 20;
        let whole = LEN as u64;
        runtime.block_on(async {
            let file = Arc::new(temporary_file(LEN));
            { &*file }.seek(SeekFrom::Start(17)).unwrap();
            for range in [
                0..whole,
                5..100_000,
                whole - 3..u64::MAX,
                whole..whole + 9,
                whole + 5..whole + 9,
                7..7,
            ] {
                let (client, mut server) = pair();
                let expected = range.start.min(whole) as usize..range.end.min(whole) as usize;
                let sending = spawn({
                    let (file, range) = (file.clone(), range.clone());
                    async move { server.send_file(&file, range).await }
                });
                let received = spawn_blocking(move || {
                    let mut received = Vec::new();
                    { &client }.read_to_end(&mut received).unwrap();
                    received
                });
                assert_eq!(
                    sending.await.unwrap().unwrap(),
                    expected.len() as u64,
                    "{range:?}"
                );
                let mut bytes = vec![0; expected.len()];
                Bytes(9).fill(expected.start, &mut bytes);
                assert!(received.await.unwrap() == bytes, "{range:?}");
            }
            assert_eq!({ &*file }.stream_position().unwrap(), 17);
            let (mut client, mut server) = unix_pair();
            assert_eq!(server.send_file(&file, 3..=6).await.unwrap(), 4);
            let (_, mut writer) = server.into_split();
            assert_eq!(writer.send_file(&file, whole - 2..).await.unwrap(), 2);
            drop(writer);
            let mut received = Vec::new();
            client.read_to_end(&mut received).unwrap();
            assert_eq!(received.len(), 6);
        });
    });
}

#[test]
fn a_file_that_the_kernel_does_not_send_is_read_and_written() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            // The kernel makes up what is in these as it is read.
            for path in ["/proc/self/mounts", "/proc/version"] {
                let (mut client, mut server) = pair();
                let sent = server
                    .send_file(&File::open(path).unwrap(), ..)
                    .await
                    .unwrap();
                drop(server);
                let mut received = String::new();
                client.read_to_string(&mut received).unwrap();
                assert_eq!(received.len() as u64, sent);
                assert_eq!(received, fs::read_to_string(path).unwrap(), "{path}");
            }
        });
    });
}

#[test]
fn what_is_no_file_to_be_sent_is_an_error() {
    on_workers([1], |runtime| {
        runtime.block_on(async {
            let (_client, mut server) = pair();
            let directory = File::open("/").unwrap();
            let error = server.send_file(&directory, ..).await.unwrap_err();
            assert_eq!(
                (error.copied, error.source.kind()),
                (0, ErrorKind::IsADirectory)
            );
        });
    });
}

// Exact reads and writes that are resumed.

#[test]
fn an_exact_read_goes_on_where_it_was_dropped() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let (client, mut server) = pair();
            let bytes = Bytes(6).take(100_000);
            let mut message = Cursor::new(vec![0; 1_000]);
            { &client }.write_all(&bytes[..300]).unwrap();
            while message.position() < 300 {
                assert!(poll!(pin!(server.read_exact_into(&mut message))).is_pending());
                yield_now().await;
            }
            let sending = {
                let bytes = bytes.clone();
                spawn_blocking(move || {
                    for part in bytes[300..].chunks(777) {
                        { &client }.write_all(part).unwrap();
                        thread::yield_now();
                    }
                    client
                })
            };
            let mut received = Vec::new();
            while received.len() < bytes.len() {
                impatiently!(server.read_exact_into(&mut message)).unwrap();
                received.extend_from_slice(message.get_ref());
                message.set_position(0);
            }
            assert!(received == bytes);

            let client = sending.await.unwrap();
            { &client }.write_all(b"the en").unwrap();
            drop(client);
            let error = server.read_exact_into(&mut message).await.unwrap_err();
            assert_eq!(
                (error.kind(), message.position()),
                (ErrorKind::UnexpectedEof, 6)
            );
            message.set_position(u64::MAX); // there is nothing left to fill
            server.read_exact_into(&mut message).await.unwrap();
        });
    });
}

#[test]
fn a_write_goes_on_where_it_was_dropped() {
    on_workers([1, 2], |runtime| {
        runtime
            .block_on(async {
                const LEN: usize = 8 << 20; // there is no room for so many
                let (client, server) = narrow_pair();
                let (mut reader, mut writer) = server.into_split();
                let mut message = Cursor::new(Bytes(6).take(LEN));
                assert!(poll!(pin!(writer.write_all_from(&mut message))).is_pending());
                assert!((1..LEN as u64).contains(&message.position()));
                let receiving = spawn_blocking(move || {
                    Bytes(6).expect(&client, LEN, 1_000).unwrap();
                    { &client }.write_all(b"ok").unwrap();
                    client
                });
                impatiently!(writer.write_all_from(&mut message))?;
                assert_eq!(message.position(), LEN as u64);
                let mut answer = Cursor::new([0; 2]);
                reader.read_exact_into(&mut answer).await?;
                assert_eq!(answer.get_ref(), b"ok");
                drop(receiving.await.unwrap());
                io::Result::Ok(())
            })
            .unwrap();
    });
}

/// Which copying is meant.
#[derive(Copy, Clone, Debug)]
enum Kind {
    Io,
    Net,
}

const KINDS: [Kind; 2] = [Kind::Io, Kind::Net];

impl Kind {
    async fn copy(self, from: &TcpStream, to: &TcpStream) -> Result<u64, CopyError> {
        match self {
            Self::Io => copy(from, to).await,
            Self::Net => net::copy(from, to).await,
        }
    }
}

async fn relay(
    kind: Kind,
    mut a: TcpStream,
    mut b: TcpStream,
) -> Result<(u64, u64), CopyError<(u64, u64)>> {
    match kind {
        Kind::Io => copy_bidirectional(&mut a, &mut b).await,
        Kind::Net => net::copy_bidirectional(&mut a, &mut b).await,
    }
}

/// Calls `body` with the outer ends of two connections, while a task copies between the inner ones, whose end it awaits.
async fn relayed(
    kind: Kind,
    body: impl FnOnce(StdStream, StdStream) + Send + 'static,
) -> Result<(u64, u64), CopyError<(u64, u64)>> {
    let ((client, a), (server, b)) = (pair(), pair());
    let relay = spawn(relay(kind, a, b));
    spawn_blocking(move || body(client, server)).await.unwrap();
    relay.await.unwrap()
}

/// A connection: the one end of the standard library, the other of ours.
fn pair() -> (StdStream, TcpStream) {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let outer = StdStream::connect(listener.local_addr().unwrap()).unwrap();
    outer.set_read_timeout(Some(LIMIT)).unwrap();
    outer.set_write_timeout(Some(LIMIT)).unwrap();
    let (inner, _) = listener.accept().unwrap();
    (outer, TcpStream::from_std(inner).unwrap())
}

/// One whose sockets do not have room for megabytes.
fn narrow_pair() -> (StdStream, TcpStream) {
    let (outer, inner) = pair();
    inner.set_send_buffer_size(64 << 10).unwrap();
    inner.set_recv_buffer_size(256 << 10).unwrap();
    let outer = TcpStream::from_std(outer).unwrap();
    outer.set_send_buffer_size(256 << 10).unwrap();
    outer.set_recv_buffer_size(64 << 10).unwrap();
    let outer = outer.into_std();
    outer.set_nonblocking(false).unwrap();
    (outer, inner)
}

/// The same within the host.
fn unix_pair() -> (UnixStd, UnixStream) {
    let (outer, inner) = UnixStd::pair().unwrap();
    outer.set_read_timeout(Some(LIMIT)).unwrap();
    outer.set_write_timeout(Some(LIMIT)).unwrap();
    (outer, UnixStream::from_std(inner).unwrap())
}

fn send_and_end(bytes: Bytes, stream: &StdStream, total: usize) {
    bytes.send(stream, total, 1 << 16).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
}

#[track_caller]
fn expect_and_end(bytes: Bytes, mut stream: &StdStream, total: usize) {
    bytes.expect(stream, total, 1 << 16).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0, "more than was sent");
}

/// Sends `least` bytes, and then until for a while nobody has taken anything more. Returns how much that was.
fn fill(mut stream: &StdStream, least: usize) -> usize {
    let pause = Duration::from_millis(10);
    stream.set_write_timeout(Some(pause)).unwrap();
    let (chunk, mut sent, began) = (vec![0; 1 << 16], 0, Instant::now());
    loop {
        match stream.write(&chunk) {
            Ok(count) => sent += count,
            Err(_) if sent >= least => return sent,
            Err(_) => assert!(began.elapsed() < LIMIT / 2, "{sent} bytes fill it"),
        }
    }
}

/// Closes it in a way that the other end hears of at once.
fn reset(stream: StdStream) {
    let stream = TcpStream::from_std(stream).unwrap();
    stream.set_zero_linger(true).unwrap();
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
    )
}

/// A file without a name, with the first bytes of `Bytes(9)` in it.
fn temporary_file(len: usize) -> File {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, SeqCst);
    let path = std::env::temp_dir().join(format!("wakeful-copy-{}-{number}", std::process::id()));
    let mut file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .unwrap();
    fs::remove_file(&path).unwrap();
    file.write_all(&Bytes(9).take(len)).unwrap();
    file
}

/// `Bytes(9)`, without an end, from this offset.
struct Pattern(usize);

impl AsyncRead for Pattern {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let count = buffer.len().min(30_000);
        Bytes(9).fill(self.0, &mut buffer[..count]);
        self.0 += count;
        Poll::Ready(Ok(count))
    }
}

/// Fails after so many bytes.
struct Limited<T> {
    left: usize,
    inner: T,
}

impl<T> Limited<T> {
    /// How many of `wanted` bytes may go.
    fn admit(&self, wanted: usize) -> io::Result<usize> {
        match self.left {
            0 => Err(io::Error::other("enough")),
            left => Ok(left.min(wanted)),
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Limited<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let most = self.admit(buffer.len())?;
        let result = Pin::new(&mut self.inner).poll_read(cx, &mut buffer[..most]);
        if let Poll::Ready(Ok(count)) = &result {
            self.left -= count;
        }
        result
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Limited<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let most = self.admit(bytes.len())?;
        let result = Pin::new(&mut self.inner).poll_write(cx, &bytes[..most]);
        if let Poll::Ready(Ok(count)) = &result {
            self.left -= count;
        }
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

struct TakesNothing;

impl AsyncWrite for TakesNothing {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(0))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
