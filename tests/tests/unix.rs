//! Unix sockets, as a program on the runtime uses them.
#![expect(unsafe_code, reason = "locks and limits are changed by libc only")]

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{
    SocketAddr, UnixDatagram as StdDatagram, UnixListener as StdListener, UnixStream as StdStream,
};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{Child, Stdio};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Waker};
use std::thread;

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt, poll};
use wakeful::net::{
    OwnedReadHalf, OwnedWriteHalf, Received, TcpListener, UdpSocket, UnixDatagram, UnixListener,
    UnixStream,
};
use wakeful::yield_now;
use wakeful_tests::process::fds_count;
use wakeful_tests::server::example;
use wakeful_tests::unix::small_listener;
use wakeful_tests::watchdog::LIMIT;
use wakeful_tests::{Bytes, alone, impatiently, on_workers, within, yields};

// Connections.

#[test]
fn bytes_come_back_through_names_of_every_kind() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let directory = Directory::new();
            let by_path = SocketAddr::from_pathname(directory.path("echo")).unwrap();
            for address in [by_path, abstract_name("echo")] {
                let listener = UnixListener::bind_addr(&address).unwrap();
                let server = wakeful::spawn(echo_to_all(listener));
                let clients = [1, 2, 3].map(|seed| {
                    let address = address.clone();
                    wakeful::spawn(async move {
                        let stream = UnixStream::connect_addr(&address).await.unwrap();
                        through(stream, Bytes(seed), 300_000).await;
                    })
                });
                for client in clients {
                    client.await.unwrap();
                }
                let _: Result<(), _> = server.cancel().await; // it has no end
            }
        });
    });
}

#[test]
fn both_ends_know_who_is_at_the_other() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let directory = Directory::new();
            let path = directory.path("who");
            let listener = UnixListener::bind(&path).unwrap();
            assert_eq!(listener.local_addr().unwrap().as_pathname(), Some(&*path));
            let client = UnixStream::connect(&path).await.unwrap();
            let (server, from) = listener.accept().await.unwrap();
            assert!(from.is_unnamed() && client.local_addr().unwrap().is_unnamed());
            assert_eq!(client.peer_addr().unwrap().as_pathname(), Some(&*path));
            assert_eq!(server.local_addr().unwrap().as_pathname(), Some(&*path));
            assert!(server.peer_addr().unwrap().is_unnamed());

            let me = fs::metadata("/proc/self").unwrap();
            let (one, other) = UnixStream::pair().unwrap();
            for stream in [&client, &server, &one, &other] {
                let peer = stream.peer_credentials().unwrap();
                assert_eq!(peer.pid(), Some(std::process::id()));
                assert_eq!((peer.uid(), peer.gid()), (me.uid(), me.gid()));
            }
            let name = format!("{listener:?}");
            assert!(
                name.starts_with("UnixListener { local: ") && name.contains("who"),
                "{name}"
            );

            let incoming = pin!(listener.incoming());
            let _client = UnixStream::connect(&path).await.unwrap();
            incoming.into_future().await.0.unwrap().unwrap();
            assert_eq!(
                listener.try_accept().unwrap_err().kind(),
                ErrorKind::WouldBlock
            );
            let cx = &mut Context::from_waker(Waker::noop());
            assert!(listener.poll_accept(cx).is_pending());
        });
    });
}

#[test]
fn who_was_at_the_other_end_is_known_when_it_has_gone() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let directory = Directory::new();
            let path = directory.path("gone");
            let listener = UnixListener::bind(&path).unwrap();
            let client = UnixStream::connect(&path).await.unwrap();
            client.write(b"unread").await.unwrap();
            // Gone before it is accepted, and after, with something unread, which is a reset.
            let (server, _) = listener.accept().await.unwrap();
            let impatient = UnixStream::connect(&path).await.unwrap();
            drop((server, impatient));
            let (server, _) = listener.accept().await.unwrap();
            for stream in [&client, &server] {
                stream.hung_up().await.unwrap();
                let peer = stream.peer_credentials().unwrap();
                assert_eq!(peer.pid(), Some(std::process::id()));
                stream.shutdown(Shutdown::Both).unwrap();
            }
        });
    });
}

#[test]
fn halves_work_apart_and_find_each_other_again() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let (mut one, other) = UnixStream::pair().unwrap();
            {
                let (reader, mut writer) = UnixStream::split(&mut one);
                writer.write_all(b"abc").await.unwrap();
                assert!(reader.try_read(&mut [0; 8]).is_err());
                writer.writable().await.unwrap();
            }
            assert_eq!(other.read(&mut [0; 8]).await.unwrap(), 3);
            let (reader, writer): (OwnedReadHalf<UnixStream>, OwnedWriteHalf<UnixStream>) =
                UnixStream::into_split(one);
            let (_, stranger) = UnixStream::into_split(UnixStream::pair().unwrap().0);
            let error = reader.reunite(stranger).unwrap_err();
            let mut one = error.0.reunite(writer).unwrap();
            one.write_all(b"defg").await.unwrap();
            let mut buffer = [0; 8];
            assert_eq!(other.peek(&mut buffer).await.unwrap(), 4);
            assert_eq!(other.read(&mut buffer).await.unwrap(), 4);
            // The end of the half that writes is the end of what is written.
            let (reader, writer) = UnixStream::into_split(one);
            drop(writer);
            assert_eq!(other.read(&mut buffer).await.unwrap(), 0);
            other.write(b"x").await.unwrap();
            assert_eq!(reader.read(&mut buffer).await.unwrap(), 1);

            // Deadlines are those of all streams.
            reader
                .as_ref()
                .set_read_deadline(Some(wakeful::time::Instant::now()));
            let error = reader.read(&mut buffer).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);

            // And through the traits, by value and by reference.
            let (mut one, mut other) = UnixStream::pair().unwrap();
            AsyncWriteExt::write_all(&mut &one, b"hello ")
                .await
                .unwrap();
            AsyncWriteExt::write_all(&mut one, b"there").await.unwrap();
            AsyncWriteExt::close(&mut one).await.unwrap();
            let mut text = String::new();
            (&other).take(6).read_to_string(&mut text).await.unwrap();
            other.read_to_string(&mut text).await.unwrap();
            assert_eq!(text, "hello there");
        });
    });
}

#[test]
fn vectored_and_immediate_operations() {
    on_workers([1], |runtime| {
        runtime.block_on(async {
            let (one, other) = UnixStream::pair().unwrap();
            let parts = [IoSlice::new(b"ab"), IoSlice::new(b"cde")];
            assert_eq!(one.write_vectored(&parts).await.unwrap(), 5);
            assert_eq!(one.try_write_vectored(&parts).unwrap(), 5);
            assert_eq!(one.try_write(b"f").unwrap(), 1);
            let (mut first, mut second) = ([0; 4], [0; 16]);
            let mut buffers = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
            assert_eq!(other.read_vectored(&mut buffers).await.unwrap(), 11);
            assert_eq!((&first, &second[..7]), (b"abcd", &b"eabcdef"[..]));
            let nothing = other.try_read_vectored(&mut [IoSliceMut::new(&mut [0])]);
            assert_eq!(nothing.unwrap_err().kind(), ErrorKind::WouldBlock);
            one.set_send_buffer_size(50_000).unwrap();
            assert_eq!(one.send_buffer_size().unwrap(), 100_000);
            one.set_recv_buffer_size(50_000).unwrap();
            assert_eq!(one.recv_buffer_size().unwrap(), 100_000);
        });
    });
}

#[test]
fn the_end_and_the_hang_up_are_seen_and_a_gone_peer_is_an_error_without_a_signal() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let (one, other) = UnixStream::pair().unwrap();
            one.write(b"abc").await.unwrap();
            other.readable().await.unwrap();
            assert!(poll!(pin!(other.read_closed())).is_pending());
            one.shutdown(Shutdown::Write).unwrap();
            other.read_closed().await.unwrap();
            assert!(poll!(pin!(other.hung_up())).is_pending());
            other.write(b"still open").await.unwrap();
            drop(one);
            other.hung_up().await.unwrap();
            let mut buffer = [0; 8];
            assert_eq!(other.read(&mut buffer).await.unwrap(), 3);
            for _ in 0..3 {
                // It was closed with something unread.
                let error = other.read(&mut buffer).await;
                assert!(matches!(
                    error.map_err(|error| error.kind()),
                    Ok(0) | Err(ErrorKind::ConnectionReset)
                ));
                let error = other.write(b"x").await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::BrokenPipe);
            }
            for how in [Shutdown::Write, Shutdown::Both, Shutdown::Read] {
                other.shutdown(how).unwrap();
            }
        });
    });
}

#[test]
fn futures_may_be_dropped_at_every_await_without_loss() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            const TOTAL: usize = 400_000;
            let address = abstract_name("dropped");
            let listener = UnixListener::bind_addr(&address).unwrap();
            let client = UnixStream::connect_addr(&address).await.unwrap();
            let server = wakeful::spawn(async move {
                let (stream, _) = impatiently!(listener.accept()).unwrap();
                let (mut buffer, mut received) = ([0; 3_000], Vec::new());
                while received.len() < TOTAL {
                    let count = impatiently!(stream.read(&mut buffer)).unwrap();
                    assert_ne!(count, 0);
                    received.extend_from_slice(&buffer[..count]);
                }
                received
            });
            let bytes = Bytes(9).take(TOTAL);
            let mut sent = 0;
            while sent < TOTAL {
                let end = TOTAL.min(sent + 7_000);
                sent += impatiently!(client.write(&bytes[sent..end])).unwrap();
            }
            assert!(server.await.unwrap() == bytes);
        });
    });
}

// A full backlog.

#[test]
fn a_full_backlog_is_an_error_and_not_for_ever() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let directory = Directory::new();
            let path = directory.path("full");
            let listener = small_listener(&path);
            let mut clients = Vec::new();
            let error = loop {
                match UnixStream::connect(&path).await {
                    Ok(client) => clients.push(client),
                    Err(error) => break error,
                }
                assert!(clients.len() < 10, "the backlog has no end");
            };
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            let text = error.to_string();
            assert!(
                text.contains("full: the listener's backlog is full"),
                "{text}"
            );
            listener.accept().await.unwrap();
            UnixStream::connect(&path).await.unwrap();
        });
    });
}

#[test]
fn a_listener_in_the_same_runtime_has_its_turn_before_connecting_gives_up() {
    on_workers([1], |runtime| {
        runtime.block_on(async {
            let directory = Directory::new();
            let path = directory.path("small");
            let listener = small_listener(&path);
            let server = wakeful::spawn(async move {
                loop {
                    listener.accept().await.unwrap();
                }
            });
            for _ in 0..100 {
                UnixStream::connect(&path).await.unwrap();
            }
            let _: Result<(), _> = server.cancel().await; // it has no end
        });
    });
}

#[test]
fn what_cannot_be_connected_to_says_why_and_what() {
    on_workers([1], |runtime| {
        runtime.block_on(async {
            let directory = Directory::new();
            let path = directory.path("nobody");
            let error = UnixStream::connect(&path).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound);
            let text = error.to_string();
            assert!(
                text.starts_with(&format!("cannot connect to {}: ", path.display())),
                "{text}"
            );
            leave_behind(&path);
            let error = UnixStream::connect(&path).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            let error = UnixStream::connect_addr(&abstract_name("\n"))
                .await
                .unwrap_err();
            assert!(error.to_string().contains("\\n: "), "{error}");
            let too_long = directory.path(&"x".repeat(200));
            let error = UnixStream::connect(&too_long).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            for path in [&too_long, Path::new("")] {
                let error = UnixListener::bind(path).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
            }
        });
    });
}

// Names.

#[test]
fn a_name_that_was_left_behind_is_replaced_and_one_in_use_is_not() {
    on_workers([1], |runtime| {
        runtime.block_on(async {
            let directory = Directory::new();
            let path = directory.path("name");
            for _ in 0..3 {
                leave_behind(&path);
                let listener = UnixListener::bind(&path).unwrap();
                let error = UnixListener::bind(&path).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::AddrInUse);
                let text = error.to_string();
                assert!(
                    text.starts_with(&format!("cannot bind {}: ", path.display())),
                    "{text}"
                );
                assert!(
                    UnixDatagram::bind(&path).is_err(),
                    "a stream's name is in use, too"
                );
                let client = UnixStream::connect(&path).await.unwrap();
                listener.accept().await.unwrap();
                drop(client);
            }
            assert!(!path.exists());
            // One whose backlog is full lives.
            let _listener = small_listener(&path);
            let mut clients = Vec::new();
            while let Ok(client) = UnixStream::connect(&path).await {
                clients.push(client);
                assert!(clients.len() < 10, "the backlog has no end");
            }
            let error = UnixListener::bind(&path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AddrInUse);
            assert!(path.exists());

            let path = directory.path("datagrams");
            drop(StdDatagram::bind(&path).unwrap());
            assert!(path.exists());
            let socket = UnixDatagram::bind(&path).unwrap();
            let error = UnixDatagram::bind(&path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AddrInUse);
            drop(socket);
            assert!(!path.exists());
        });
    });
}

#[test]
fn what_is_no_socket_stays_where_it_is() {
    let directory = Directory::new();
    let (file, link) = (directory.path("file"), directory.path("link"));
    fs::write(&file, "precious").unwrap();
    let stale = directory.path("stale");
    leave_behind(&stale);
    for target in [&file, &stale, &directory.path("nothing")] {
        symlink(target, &link).unwrap();
        for path in [&file, &link, &directory.0] {
            let error = UnixListener::bind(path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AddrInUse, "{path:?}");
        }
        assert_eq!(fs::read_link(&link).unwrap(), *target);
        fs::remove_file(&link).unwrap();
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    assert!(
        fs::symlink_metadata(&stale)
            .unwrap()
            .file_type()
            .is_socket()
    );
    let error = UnixListener::bind(directory.path("no/such/directory")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn of_many_who_replace_a_name_at_the_same_time_one_succeeds_and_is_found() {
    const RIVALS: usize = 4;
    const ROUNDS: usize = 200;
    within(LIMIT, || {
        let directory = Directory::new();
        let path = directory.path("contested");
        let start = Barrier::new(RIVALS);
        for round in 0..ROUNDS {
            leave_behind(&path);
            let listeners: Vec<_> = thread::scope(|scope| {
                let rivals: Vec<_> = (0..RIVALS)
                    .map(|_| {
                        scope.spawn(|| {
                            start.wait();
                            UnixListener::bind(&path)
                        })
                    })
                    .collect();
                let results = rivals.into_iter().map(|rival| rival.join().unwrap());
                results.filter_map(Result::ok).collect()
            });
            assert_eq!(listeners.len(), 1, "in round {round}");
            let _client = StdStream::connect(&path).unwrap();
            wakeful::block_on(listeners[0].accept()).unwrap();
        }
    });
}

#[test]
fn a_name_goes_with_its_listener_unless_it_is_anothers_by_then() {
    let directory = Directory::new();
    let (path, aside) = (directory.path("name"), directory.path("aside"));
    drop(UnixListener::bind(&path).unwrap());
    assert!(!path.exists());

    let first = UnixListener::bind(&path).unwrap();
    fs::rename(&path, &aside).unwrap();
    let second = UnixListener::bind(&path).unwrap();
    drop(first);
    assert!(path.exists() && aside.exists());
    StdStream::connect(&path).unwrap();
    fs::remove_file(&path).unwrap();
    drop(second); // there is nothing to remove

    // It is found from another working directory, too: here, by a relative name.
    let relative = PathBuf::from(format!("{}.socket", std::process::id()));
    let listener = UnixListener::bind(&relative).unwrap();
    assert!(relative.exists());
    drop(listener);
    assert!(!relative.exists());

    // Who gives the socket away gives its name away.
    let listener = UnixListener::bind(&path).unwrap().into_std();
    assert!(path.exists());
    let listener = UnixListener::from_std(listener).unwrap();
    drop(listener);
    assert!(path.exists());
    drop(OwnedFd::from(
        UnixDatagram::bind(directory.path("other")).unwrap(),
    ));
    assert!(directory.path("other").exists());
}

#[test]
fn permissions_are_there_from_the_first_moment() {
    let directory = Directory::new();
    for mode in [0o600, 0o640, 0o700] {
        let path = directory.path("mode");
        let _listener = UnixListener::bind_with_mode(&path, mode).unwrap();
        let found = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(found & 0o777, mode);
    }
}

#[test]
fn a_directory_that_another_process_has_locked_is_not_waited_for_without_end() {
    within(LIMIT, || {
        let directory = Directory::new();
        let path = directory.path("name");
        let lock = File::open(&directory.0).unwrap();
        let flock = |operation| {
            // SAFETY: the call touches no memory of ours.
            assert_eq!(unsafe { libc::flock(lock.as_raw_fd(), operation) }, 0);
        };
        flock(libc::LOCK_EX);
        let error = UnixListener::bind(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResourceBusy);
        assert!(!path.exists());
        flock(libc::LOCK_UN);
        drop(UnixListener::bind(&path).unwrap());
    });
}

// Descriptors.

#[test]
fn what_comes_after_bytes_with_descriptors_is_read_without_another_event() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let (one, other) = UnixStream::pair().unwrap();
            let (pipe, _writer) = io::pipe().unwrap();
            for _ in 0..20 {
                // Known to be unreadable; then everything comes, and after that no event.
                let mut buffer = [0; 64];
                let mut reading = Box::pin(other.read(&mut buffer));
                assert!(poll!(reading.as_mut()).is_pending());
                for bytes in [b"a", b"b", b"c"] {
                    one.send_with_fds(bytes, &[pipe.as_fd()]).await.unwrap();
                }
                one.write(b"d").await.unwrap();
                let mut received = reading.await.unwrap();
                yields(10).await; // all events have been seen
                while received < 4 {
                    received += other.read(&mut buffer).await.unwrap();
                }
                let mut reading = pin!(other.read(&mut buffer));
                assert!(poll!(reading.as_mut()).is_pending());
            }
        });
    });
}

#[test]
fn descriptors_that_nobody_asked_for_do_not_stay() {
    alone("descriptors_that_nobody_asked_for_do_not_stay", || {
        on_workers([1, 2], |runtime| {
            runtime.block_on(async {
                const MESSAGES: usize = 100_000;
                let (one, other) = UnixStream::pair().unwrap();
                let (pipe, _writer) = io::pipe().unwrap();
                yields(10).await;
                let fds_before = fds_count();
                let sender = wakeful::spawn(async move {
                    for number in 0..MESSAGES {
                        let fds = [pipe.as_fd(), one.as_fd(), pipe.as_fd()];
                        let bytes = [number as u8];
                        while let Err(error) =
                            one.send_with_fds(&bytes, &fds[..1 + number % 3]).await
                        {
                            assert_eq!(error.raw_os_error(), Some(libc::ETOOMANYREFS));
                            yield_now().await;
                        }
                    }
                });
                let (mut buffer, mut received) = ([0; 64], 0);
                while received < MESSAGES {
                    let count = match received % 3 {
                        0 => other.read(&mut buffer).await.unwrap(),
                        1 => {
                            let mut parts = [IoSliceMut::new(&mut buffer)];
                            other.read_vectored(&mut parts).await.unwrap()
                        }
                        _ => {
                            other.peek(&mut buffer).await.unwrap();
                            let message = other.recv_with_fds(&mut buffer, 0).await.unwrap();
                            assert!(message.fds.is_empty() && message.fds_lost);
                            message.received.len
                        }
                    };
                    assert_eq!((count, buffer[0]), (1, received as u8));
                    received += 1;
                    if received % 10_000 == 0 {
                        assert!(fds_count() <= fds_before, "they stay");
                    }
                }
                sender.await.unwrap();
            });
        });
    });
}

#[test]
fn descriptors_that_come_unasked_with_datagrams_do_not_stay() {
    alone(
        "descriptors_that_come_unasked_with_datagrams_do_not_stay",
        || {
            on_workers([1, 2], |runtime| {
                runtime.block_on(async {
                    const MESSAGES: usize = 100_000;
                    let (one, other) = UnixDatagram::pair().unwrap();
                    let (pipe, _writer) = io::pipe().unwrap();
                    yields(10).await;
                    let fds_before = fds_count();
                    let sender = wakeful::spawn(async move {
                        for number in 0..MESSAGES {
                            let fds = [pipe.as_fd(), one.as_fd(), pipe.as_fd()];
                            let bytes = [number as u8];
                            while let Err(error) =
                                one.send_with_fds(&bytes, &fds[..1 + number % 3]).await
                            {
                                assert_eq!(error.raw_os_error(), Some(libc::ETOOMANYREFS));
                                yield_now().await;
                            }
                        }
                    });
                    let mut buffer = [0; 8];
                    for number in 0..MESSAGES {
                        let received = match number % 3 {
                            0 => other.recv(&mut buffer).await.unwrap(),
                            1 => other.recv_from(&mut buffer).await.unwrap().0,
                            _ => {
                                let _ = other.peek(&mut buffer).await.unwrap();
                                let message = other.recv_with_fds(&mut buffer, 0).await.unwrap();
                                assert!(message.fds.is_empty() && message.fds_lost);
                                message.received
                            }
                        };
                        assert_eq!((received.len, buffer[0]), (1, number as u8));
                        if number % 10_000 == 0 {
                            assert!(fds_count() <= fds_before, "they stay");
                        }
                    }
                    sender.await.unwrap();
                });
            });
        },
    );
}

#[test]
fn descriptors_arrive_with_their_bytes() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let streams = UnixStream::pair().unwrap();
            let datagrams = UnixDatagram::pair().unwrap();
            let pipes: Vec<_> = (0..5).map(|_| io::pipe().unwrap()).collect();
            let writers: Vec<BorrowedFd<'_>> =
                pipes.iter().map(|(_, writer)| writer.as_fd()).collect();
            let mut buffer = [0; 16];
            let mut write_to_all = Vec::new();

            // Waiting already, and not.
            let mut receiving = Box::pin(streams.1.recv_with_fds(&mut buffer, 9));
            assert!(poll!(receiving.as_mut()).is_pending());
            assert_eq!(
                streams
                    .0
                    .send_with_fds(b"abc", &writers[..2])
                    .await
                    .unwrap(),
                3
            );
            let message = receiving.await.unwrap();
            assert_eq!(
                (message.received.len, message.fds.len(), message.fds_lost),
                (3, 2, false)
            );
            write_to_all.extend(message.fds);
            assert_eq!(
                datagrams.0.try_send_with_fds(b"", &writers[2..]).unwrap(),
                0
            );
            let message = datagrams.1.try_recv_with_fds(&mut buffer, 9).unwrap();
            assert_eq!((message.received.len, message.fds.len()), (0, 3));
            write_to_all.extend(message.fds);
            for (fd, number) in write_to_all.into_iter().zip(0..) {
                File::from(fd).write_all(&[number]).unwrap();
            }
            for ((mut reader, writer), number) in pipes.into_iter().zip(0..) {
                drop(writer);
                let mut bytes = Vec::new();
                reader.read_to_end(&mut bytes).unwrap(); // no duplicate is left
                assert_eq!(bytes, [number]);
            }

            // A datagram that does not fit, and descriptors that do not.
            let me = datagrams.0.as_fd();
            datagrams
                .0
                .send_with_fds(&[7; 40], &[me, me, me])
                .await
                .unwrap();
            let message = datagrams.1.recv_with_fds(&mut buffer, 2).await.unwrap();
            let cut = Received {
                len: 16,
                full_len: 40,
            };
            assert_eq!(
                (message.received, message.fds.len(), message.fds_lost),
                (cut, 2, true)
            );
            assert_eq!(
                datagrams
                    .1
                    .try_recv_with_fds(&mut buffer, 2)
                    .unwrap_err()
                    .kind(),
                ErrorKind::WouldBlock
            );
            let error = streams.0.try_send_with_fds(b"", &[me]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            let error = streams.0.send_with_fds(b"x", &[me; 254]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            drop(streams.0);
            let end = streams.1.recv_with_fds(&mut buffer, 2).await.unwrap();
            assert_eq!((end.received.len, end.fds.len()), (0, 0));
        });
    });
}

#[test]
fn descriptors_that_the_process_may_not_have_are_lost_and_said_to_be() {
    alone(
        "descriptors_that_the_process_may_not_have_are_lost_and_said_to_be",
        || {
            wakeful::block_on(async {
                let (one, other) = UnixStream::pair().unwrap();
                one.send_with_fds(b"abc", &[one.as_fd(); 200])
                    .await
                    .unwrap();
                let fds_before = fds_count();
                let most = libc::rlimit {
                    rlim_cur: fds_before as u64 + 10,
                    rlim_max: fds_before as u64 + 10,
                };
                // SAFETY: `most` is readable.
                let set = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const most) };
                assert_eq!(set, 0);
                let message = other.recv_with_fds(&mut [0; 8], 253).await.unwrap();
                assert_eq!(message.received.len, 3);
                assert!(message.fds_lost && message.fds.len() < 200, "{message:?}");
                drop(message);
                assert_eq!(fds_count(), fds_before);
            });
        },
    );
}

// Datagrams.

#[test]
fn datagrams_keep_their_ends_and_their_senders() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let directory = Directory::new();
            let server = UnixDatagram::bind(directory.path("server")).unwrap();
            let server_address = server.local_addr().unwrap();
            let client_path = directory.path("client");
            let clients = [
                UnixDatagram::bind(&client_path).unwrap(),
                UnixDatagram::bind_addr(&abstract_name("datagrams")).unwrap(),
                UnixDatagram::unbound().unwrap(),
            ];
            let mut buffer = [0; 4];
            for client in &clients {
                client.send_to(b"a", &server_address).await.unwrap();
                client.connect(directory.path("server")).unwrap();
                client.send(b"").await.unwrap();
                client.send(b"too long").await.unwrap();
                let (received, from) = server.recv_from(&mut buffer).await.unwrap();
                assert_eq!((received.len, received.full_len), (1, 1));
                assert_eq!(
                    from.as_pathname(),
                    client.local_addr().unwrap().as_pathname()
                );
                assert_eq!(
                    from.as_abstract_name(),
                    client.local_addr().unwrap().as_abstract_name()
                );
                assert_eq!(server.recv(&mut buffer).await.unwrap().full_len, 0);
                let peeked = server.peek(&mut buffer).await.unwrap();
                assert_eq!((peeked.len, peeked.full_len), (4, 8));
                assert_eq!(server.peek_from(&mut buffer).await.unwrap().0, peeked);
                assert_eq!(server.try_recv_from(&mut buffer).unwrap().0, peeked);
                if from.is_unnamed() {
                    assert!(server.send_to(b"x", &from).await.is_err());
                } else {
                    server.send_to(b"back", &from).await.unwrap();
                    assert_eq!(client.recv(&mut buffer).await.unwrap().len, 4);
                }
            }
            drop(server);
            for client in &clients {
                let error = client.send(b"x").await.unwrap_err();
                assert!(matches!(
                    error.kind(),
                    ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset
                ));
            }
        });
    });
}

#[test]
fn who_is_connected_waits_for_a_slow_receiver_and_who_is_not_is_told() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let directory = Directory::new();
            let server = UnixDatagram::bind(directory.path("slow")).unwrap();
            let address = server.local_addr().unwrap();
            let (connected, other) = (
                UnixDatagram::unbound().unwrap(),
                UnixDatagram::unbound().unwrap(),
            );
            connected.connect_addr(&address).unwrap();
            let mut sent = 0;
            while connected.try_send(b"x").is_ok() {
                sent += 1;
                assert!(sent < 100_000, "the queue has no end");
            }
            let error = other.send_to(b"x", &address).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            let mut sending = Box::pin(connected.send(b"y"));
            assert!(poll!(sending.as_mut()).is_pending());
            yields(10).await;
            assert!(poll!(sending.as_mut()).is_pending());
            let mut buffer = [0; 8];
            for _ in 0..sent {
                assert_eq!(server.recv(&mut buffer).await.unwrap().len, 1);
            }
            sending.await.unwrap();
            // The refusal has not made the socket unwritable for ever.
            other.send_to(b"x", &address).await.unwrap();
            assert_eq!(other.try_send_to(b"x", &address).unwrap(), 1);
            for _ in 0..3 {
                assert_eq!(server.recv(&mut buffer).await.unwrap().len, 1);
            }
        });
    });
}

#[test]
fn all_datagrams_arrive_though_their_futures_are_dropped() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            const DATAGRAMS: u32 = 3_000;
            let (one, other) = UnixDatagram::pair().unwrap();
            let receiver = wakeful::spawn(async move {
                let mut buffer = [0; 8];
                for number in 0..DATAGRAMS {
                    let received = match number % 2 {
                        0 => impatiently!(other.recv(&mut buffer)).unwrap(),
                        _ => impatiently!(other.recv_from(&mut buffer)).unwrap().0,
                    };
                    assert_eq!(buffer[..received.len], number.to_ne_bytes());
                }
            });
            for number in 0..DATAGRAMS {
                impatiently!(one.send(&number.to_ne_bytes())).unwrap();
            }
            receiver.await.unwrap();
        });
    });
}

#[test]
fn who_sends_without_end_lets_the_others_have_their_turn() {
    on_workers([1], |runtime| {
        runtime.block_on(async {
            let address = abstract_name("flood");
            let server = UnixDatagram::bind_addr(&address).unwrap();
            let receiver = wakeful::spawn(async move {
                loop {
                    assert_eq!(server.recv(&mut [0; 8]).await.unwrap().len, 1);
                }
            });
            let sender = wakeful::spawn(async move {
                let client = UnixDatagram::unbound().unwrap();
                loop {
                    let _ = client.send_to(b"x", &address).await; // it may be refused
                }
            });
            yields(1_000).await;
            let _: Result<(), _> = sender.cancel().await;
            let _: Result<(), _> = receiver.cancel().await;
        });
    });
}

// Elsewhere.

#[test]
fn sockets_go_to_the_standard_library_and_back() {
    let (std_one, std_other) = StdStream::pair().unwrap();
    let (datagram, std_datagram) = StdDatagram::pair().unwrap();
    let one = UnixStream::from_std(std_one).unwrap();
    let datagram = UnixDatagram::from_std(datagram).unwrap();
    within(LIMIT, move || {
        wakeful::block_on(async {
            assert!(poll!(pin!(one.read(&mut [0; 8]))).is_pending());
            (&std_other).write_all(b"abc").unwrap();
            assert_eq!(one.read(&mut [0; 8]).await.unwrap(), 3);
            one.into_std().write_all(b"abcd").unwrap();
            assert_eq!((&std_other).read(&mut [0; 8]).unwrap(), 4);
            std_datagram.send(b"x").unwrap();
            assert_eq!(datagram.recv(&mut [0; 8]).await.unwrap().len, 1);
            datagram.into_std().send(b"xy").unwrap();
            assert_eq!(std_datagram.recv(&mut [0; 8]).unwrap(), 2);

            let refused = UnixListener::try_from(OwnedFd::from(std_other)).unwrap_err();
            assert!(
                refused
                    .to_string()
                    .starts_with("the socket does not listen")
            );
            let refused = UnixStream::try_from(OwnedFd::from(std_datagram)).unwrap_err();
            assert_eq!(refused.to_string(), "not a Unix socket for streams");
            let stream = StdStream::pair().unwrap().0;
            let refused = UnixDatagram::try_from(OwnedFd::from(stream)).unwrap_err();
            assert_eq!(refused.to_string(), "not a Unix socket for datagrams");
            let stream = StdStream::pair().unwrap().0;
            let refused = TcpListener::try_from(OwnedFd::from(stream)).unwrap_err();
            assert_eq!(refused.to_string(), "not a TCP socket");
            let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            assert!(UnixDatagram::try_from(OwnedFd::from(udp)).is_err());
        });
    });
}

#[test]
fn the_example_takes_its_name_over_from_one_that_was_killed() {
    let directory = Directory::new();
    let path = directory.path("echo");
    for _ in 0..3 {
        let mut server = Killed(
            example("unix_echo")
                .arg(&path)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap(),
        );
        let mut output = BufReader::new(server.0.stdout.take().unwrap());
        let client = within(LIMIT, {
            let path = path.clone();
            move || {
                let mut line = String::new();
                output.read_line(&mut line).unwrap();
                assert_eq!(line.trim_end(), format!("listening on {}", path.display()));
                let mut client = StdStream::connect(&path).unwrap();
                client.write_all(b"hello").unwrap();
                let mut back = [0; 5];
                client.read_exact(&mut back).unwrap();
                assert_eq!(&back, b"hello");
                line.clear();
                output.read_line(&mut line).unwrap();
                assert!(
                    line.contains(&format!("process Some({})", std::process::id())),
                    "{line}"
                );
                client
            }
        });
        drop(server);
        drop(client);
        assert!(path.exists());
    }
}

async fn echo_to_all(listener: UnixListener) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        drop(wakeful::spawn(async move {
            let mut buffer = vec![0; 16 << 10];
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                if stream.write_all(&buffer[..count]).await.is_err() {
                    break;
                }
            }
        }));
    }
}

/// Sends so many bytes to an echo server while it reads and compares them, then half-closes and expects the end.
async fn through(stream: UnixStream, bytes: Bytes, total: usize) {
    let (reader, mut writer) = UnixStream::into_split(stream);
    let writing = wakeful::spawn(async move {
        writer.write_all(&bytes.take(total)).await.unwrap();
    });
    let (mut received, mut buffer) = (Vec::new(), vec![0; 9_000]);
    while let count @ 1.. = reader.read(&mut buffer).await.unwrap() {
        received.extend_from_slice(&buffer[..count]);
    }
    writing.await.unwrap();
    assert!(received == bytes.take(total));
}

/// Makes a name whose owner is gone.
fn leave_behind(path: &Path) {
    let _ = fs::remove_file(path);
    drop(StdListener::bind(path).unwrap());
    assert!(path.exists());
}

/// An abstract name that no other test has.
fn abstract_name(what: &str) -> SocketAddr {
    let name = format!("wakeful {} {} {what}", std::process::id(), unique());
    SocketAddr::from_abstract_name(name).unwrap()
}

fn unique() -> usize {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    NUMBER.fetch_add(1, Relaxed)
}

/// A process that does not get to do anything at its end.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // Both fail only if it has been waited for, and nobody else does that.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A directory that no other test has, for a while.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let name = format!("wakeful-{}-{}", std::process::id(), unique());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0); // what is left of it is in the way of nobody
    }
}
