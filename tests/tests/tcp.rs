//! TCP and descriptors of any kind, as a program on the runtime uses them.
#![expect(unsafe_code, reason = "urgent data can be sent by libc only")]

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;

use futures::channel::oneshot;
use futures::{AsyncReadExt, StreamExt, poll};
use wakeful::io::AsyncFd;
use wakeful::net::{Keepalive, TcpListener, TcpSocket, TcpStream};
use wakeful::yield_now;
use wakeful_tests::process::{Process, fds_count};
use wakeful_tests::runtimes::{assert_baseline, runtime};
use wakeful_tests::tcp::pair;
use wakeful_tests::{Bytes, alone, eventually, impatiently, on_workers, panic_of, within, yields};

// The reactor.

#[test]
fn a_descriptor_is_not_told_what_happened_to_the_one_that_had_its_number() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            const ROUNDS: usize = 3_000;
            let (quiet, _peer) = UnixStream::pair().unwrap();
            let mut reused_count = 0;
            for _ in 0..ROUNDS {
                let ((first, first_peer), (second, second_peer)) = (unix_pair(), unix_pair());
                register(&first).await;
                register(&second).await;
                // Both events are in the same batch, and the second is not looked at before its descriptor is gone.
                (&first_peer).write_all(b"x").unwrap();
                (&second_peer).write_all(b"x").unwrap();
                first.readable().await.unwrap();
                let number = second.as_raw_fd();
                drop(second);
                let third = AsyncFd::new_nonblocking(quiet.try_clone().unwrap()).unwrap();
                reused_count += usize::from(third.as_raw_fd() == number);
                let nothing = third.try_read_with(|mut stream| stream.read(&mut [0]));
                assert_eq!(nothing.unwrap_err().kind(), ErrorKind::WouldBlock);
                let mut readable = pin!(third.readable());
                for _ in 0..3 {
                    assert!(poll!(readable.as_mut()).is_pending(), "a phantom");
                    yield_now().await;
                }
            }
            assert!(reused_count > ROUNDS / 2, "{reused_count} proves nothing");
        });
    });
}

#[test]
fn a_duplicate_of_a_dropped_descriptor_is_not_listened_to() {
    on_workers([1], |runtime| {
        runtime.block_on(async {
            let (first, mut first_peer) = unix_pair();
            let (second, mut second_peer) = unix_pair();
            register(&first).await;
            register(&second).await;
            let _duplicate = first.get_ref().try_clone().unwrap();
            drop(first);
            first_peer.write_all(b"x").unwrap();
            second_peer.write_all(b"x").unwrap();
            second.readable().await.unwrap(); // by then the other event, if there was one, has been looked at, too
            assert_eq!(runtime.handle().metrics().stale_events, 0);
        });
    });
}

#[test]
fn one_that_floods_does_not_shut_out_the_others() {
    on_workers([1, 2], |runtime| {
        let ended = runtime.block_on(async {
            let listener = TcpListener::bind(anywhere()).unwrap();
            let address = listener.local_addr().unwrap();
            let server = wakeful::spawn(serve(listener));
            let (ended, clients) = oneshot::channel();
            let clients_thread = thread::spawn(move || {
                let stop = AtomicBool::new(false);
                let flooder = std::net::TcpStream::connect(address).unwrap();
                thread::scope(|scope| {
                    scope.spawn(|| {
                        while !stop.load(SeqCst) {
                            (&flooder).write_all(&[7; 65536]).unwrap();
                        }
                        flooder.shutdown(Shutdown::Write).unwrap();
                    });
                    let flood = scope.spawn(|| io::copy(&mut &flooder, &mut io::sink()).unwrap());
                    let pings: Vec<_> = (0..20)
                        .map(|_| scope.spawn(move || ping_pong(address, 50)))
                        .collect();
                    for ping in pings {
                        ping.join().unwrap();
                    }
                    stop.store(true, SeqCst);
                    assert_ne!(flood.join().unwrap(), 0);
                });
                let _ = ended.send(());
            });
            let ended = clients.await;
            clients_thread.join().unwrap();
            server.cancel().await.unwrap_or(());
            ended
        });
        ended.unwrap();
    });
}

#[test]
fn the_end_that_comes_with_the_last_bytes_is_seen() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            for round in 0..500 {
                let (client, server) = pair().await;
                if round % 2 == 0 {
                    assert!(poll!(pin!(server.read(&mut [0; 64]))).is_pending());
                }
                client.write(b"0123456789").await.unwrap();
                client.shutdown(Shutdown::Write).unwrap();
                let mut buffer = [0; 64];
                assert_eq!(server.read(&mut buffer).await.unwrap(), 10);
                for _ in 0..3 {
                    assert_eq!(server.read(&mut buffer).await.unwrap(), 0);
                }
                server.set_zero_linger(true).unwrap(); // so that 500 ports do not wait for a minute
            }
        });
    });
}

#[test]
fn nobody_spins_on_a_connection_that_is_half_closed_or_reset() {
    alone(
        "nobody_spins_on_a_connection_that_is_half_closed_or_reset",
        || {
            on_workers([1, 2], |runtime| {
                runtime.block_on(async {
                    let (client, server) = pair().await;
                    client.shutdown(Shutdown::Write).unwrap();
                    server.read_closed().await.unwrap();
                    let sent = fill(&server);
                    let polls_count = Arc::new(AtomicUsize::new(0));
                    let writer = wakeful::spawn({
                        let polls_count = polls_count.clone();
                        async move {
                            let mut writable = Box::pin(server.writable());
                            std::future::poll_fn(|cx| {
                                polls_count.fetch_add(1, SeqCst);
                                writable.as_mut().poll(cx)
                            })
                            .await
                            .unwrap();
                            drop(writable);
                            server
                        }
                    });
                    // Nobody waits for this one, and its peer is gone.
                    let (lost, reset) = pair().await;
                    assert!(poll!(pin!(reset.read(&mut [0]))).is_pending());
                    lost.set_zero_linger(true).unwrap();
                    drop(lost);

                    rest(Duration::from_millis(50)).await;
                    let before = Process::this().cpu_time();
                    rest(Duration::from_millis(500)).await;
                    let used = Process::this().cpu_time() - before;
                    assert!(used <= Duration::from_millis(100), "{used:?} of 500 ms");
                    assert!(polls_count.load(SeqCst) <= 2);

                    let mut received = 0;
                    let mut buffer = vec![0; 1 << 16];
                    while received < sent {
                        received += client.read(&mut buffer).await.unwrap();
                    }
                    writer.await.unwrap();
                    let error = reset.read(&mut buffer).await.unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                });
            });
        },
    );
}

#[test]
fn a_peer_that_ends_its_own_direction_makes_no_room_and_does_not_hang_up() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let (fd, peer) = unix_pair();
            while fd
                .try_write_with(|mut stream| stream.write(&[7; 4096]))
                .is_ok()
            {}
            let (mut writable, mut hung_up) = (pin!(fd.writable()), pin!(fd.hung_up()));
            for peer_has_ended in [false, true] {
                if peer_has_ended {
                    peer.shutdown(Shutdown::Write).unwrap();
                    fd.read_closed().await.unwrap();
                }
                assert!(poll!(writable.as_mut()).is_pending());
                assert!(poll!(hung_up.as_mut()).is_pending());
            }
        });
    });
}

#[test]
fn sockets_that_other_threads_drop_leave_the_reactor() {
    alone("sockets_that_other_threads_drop_leave_the_reactor", || {
        on_workers([1, 2], |runtime| {
            let before = fds_count();
            for _ in 0..10 {
                let pairs: Vec<_> = (0..400).map(|_| unix_pair()).collect();
                runtime.block_on(async {
                    for (fd, _) in &pairs {
                        register(fd).await;
                    }
                    let (ended, all_are_dropped) = oneshot::channel();
                    let thread = thread::spawn(move || {
                        for (fd, peer) in pairs {
                            (&peer).write_all(b"x").unwrap(); // its event is on the way
                            drop(fd);
                        }
                        let _ = ended.send(());
                    });
                    all_are_dropped.await.unwrap();
                    thread.join().unwrap();
                });
                eventually("no descriptor is left", || fds_count() == before);
                assert_baseline(runtime);
            }
        });
    });
}

#[test]
fn connections_that_arrive_one_by_one_are_spread_over_the_workers() {
    on_workers([2], |runtime| {
        const CONNECTIONS: usize = 1_000;
        let listener = TcpListener::bind(anywhere()).unwrap();
        let address = listener.local_addr().unwrap();
        let server = runtime.spawn(serve(listener));
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut client = std::net::TcpStream::connect(address).unwrap();
            client.write_all(b"x").unwrap();
            client.read_exact(&mut [0]).unwrap();
            clients.push(client);
        }
        eventually("all of them wait", || {
            runtime.handle().metrics().sources.iter().sum::<usize>() > CONNECTIONS
        });
        let sources = runtime.handle().metrics().sources;
        let (few, many) = (sources[0].min(sources[1]), sources[0].max(sources[1]));
        assert!(many <= 2 * few, "{sources:?}");
        for client in clients {
            reset(client);
        }
        runtime.block_on(server.cancel()).unwrap_or(());
    });
}

// Connecting and accepting.

#[test]
fn a_refused_connection_is_an_error_that_names_the_address() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let listener = TcpListener::bind(anywhere()).unwrap();
            let address = listener.local_addr().unwrap();
            drop(listener);
            let error = TcpStream::connect(address).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            assert!(error.to_string().contains(&address.to_string()), "{error}");
        });
    });
}

#[test]
fn a_connection_that_nobody_answers_stays_pending_and_can_be_given_up() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            // What does not fit into the backlog is not answered.
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(anywhere()).unwrap();
            let listener = socket.listen(1).unwrap();
            let address = listener.local_addr().unwrap();
            let connecting: Vec<_> = (0..8)
                .map(|_| wakeful::spawn(TcpStream::connect(address)))
                .collect();
            rest(Duration::from_millis(100)).await;
            let (done, mut pending): (Vec<_>, Vec<_>) =
                connecting.into_iter().partition(|task| task.is_finished());
            assert!(!pending.is_empty() && !done.is_empty());
            let waits_on = pending.pop().unwrap();
            for task in pending {
                assert!(task.cancel().await.unwrap_err().is_cancelled());
            }
            for task in done {
                let client = task.await.unwrap().unwrap();
                let (server, peer) = listener.accept().await.unwrap();
                assert!(peer.ip().is_loopback());
                drop((client, server));
            }
            // The kernel asks again after a second, and finds room.
            waits_on.await.unwrap().unwrap();
        });
    });
}

#[test]
fn a_connection_given_up_after_any_number_of_polls_leaves_nothing() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let listener = TcpListener::bind(anywhere()).unwrap();
            let address = listener.local_addr().unwrap();
            for round in 0..200 {
                let mut connecting = Box::pin(TcpStream::connect(address));
                for _ in 0..round % 4 {
                    if poll!(connecting.as_mut()).is_ready() {
                        break;
                    }
                    yield_now().await;
                }
            }
        });
    });
}

#[test]
fn two_acceptors_share_the_connections_and_none_is_lost() {
    on_workers([1, 2], |runtime| {
        const CONNECTIONS: usize = 2_000;
        runtime.block_on(async {
            let listener = Arc::new(TcpListener::bind(anywhere()).unwrap());
            let address = listener.local_addr().unwrap();
            let accepted_count = Arc::new(AtomicUsize::new(0));
            let acceptors = [0, 1, 2].map(|number| {
                let (listener, accepted_count) = (listener.clone(), accepted_count.clone());
                wakeful::spawn(async move {
                    let mut incoming = listener.incoming();
                    loop {
                        let stream = match number {
                            0 => incoming.next().await.unwrap().unwrap(),
                            1 => listener.accept().await.unwrap().0,
                            _ => impatiently!(listener.accept()).unwrap().0,
                        };
                        assert!(stream.nodelay().unwrap());
                        accepted_count.fetch_add(1, SeqCst);
                        stream.set_zero_linger(true).unwrap();
                    }
                })
            });
            let (ended, clients_are_done) = oneshot::channel();
            let clients = thread::spawn(move || {
                for _ in 0..CONNECTIONS {
                    // The reset may come before `connect` has returned.
                    let error = std::net::TcpStream::connect(address)
                        .and_then(|mut client| client.read(&mut [0]))
                        .unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                }
                let _ = ended.send(());
            });
            clients_are_done.await.unwrap();
            clients.join().unwrap();
            assert_eq!(accepted_count.load(SeqCst), CONNECTIONS);
            for acceptor in acceptors {
                let _ = acceptor.cancel().await; // it has no end
            }
        });
    });
}

// One stream.

#[test]
fn the_end_and_the_hang_up_are_seen_past_unread_bytes() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let (client, server) = pair().await;
            client.write(b"abc").await.unwrap();
            server.readable().await.unwrap();
            assert!(poll!(pin!(server.read_closed())).is_pending());
            assert!(poll!(pin!(server.hung_up())).is_pending());
            client.shutdown(Shutdown::Write).unwrap();
            server.read_closed().await.unwrap();
            assert!(poll!(pin!(server.hung_up())).is_pending());
            assert_eq!(server.write(b"still open").await.unwrap(), 10);
            let mut buffer = [0; 8];
            assert_eq!(server.read(&mut buffer).await.unwrap(), 3);
            assert_eq!(server.read(&mut buffer).await.unwrap(), 0);

            let (client, server) = pair().await;
            client.write(b"abc").await.unwrap();
            server.readable().await.unwrap();
            client.set_zero_linger(true).unwrap();
            assert!(client.zero_linger().unwrap());
            drop(client);
            server.hung_up().await.unwrap();
            server.read_closed().await.unwrap();
            // What came before the reset is still there; and writing fails without a signal.
            assert_eq!(server.read(&mut buffer).await.unwrap(), 3);
            let error = server.read(&mut buffer).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            for _ in 0..3 {
                let error = server.write(b"x").await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::BrokenPipe);
                let error = server
                    .write_vectored(&[IoSlice::new(b"x")])
                    .await
                    .unwrap_err();
                assert_eq!(error.kind(), ErrorKind::BrokenPipe);
            }
            server.shutdown(Shutdown::Both).unwrap();
            server.shutdown(Shutdown::Write).unwrap();
        });
    });
}

#[test]
fn all_who_wait_for_one_stream_are_woken() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            const READERS: usize = 50;
            let (client, server) = pair().await;
            let server = Arc::new(server);
            assert!(server.try_read(&mut [0]).is_err());
            let watchers: Vec<_> = (0..READERS)
                .map(|_| {
                    wakeful::spawn({
                        let server = server.clone();
                        async move { server.readable().await }
                    })
                })
                .collect();
            yields(10).await;
            client.write(b"x").await.unwrap();
            for watcher in watchers {
                watcher.await.unwrap().unwrap();
            }
            assert_eq!(server.read(&mut [0; 9]).await.unwrap(), 1);

            let readers: Vec<_> = (0..READERS)
                .map(|_| {
                    let server = server.clone();
                    wakeful::spawn(async move {
                        let mut byte = [0];
                        assert_eq!(server.read(&mut byte).await.unwrap(), 1);
                        byte[0]
                    })
                })
                .collect();
            yields(10).await;
            let bytes: Vec<u8> = (0..READERS as u8).collect();
            client.write(&bytes).await.unwrap();
            let mut received = Vec::new();
            for reader in readers {
                received.push(reader.await.unwrap());
            }
            received.sort_unstable();
            assert_eq!(received, bytes);
        });
    });
}

#[test]
fn halves_work_apart_and_find_each_other_again() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let (client, server) = pair().await;
            let echo = wakeful::spawn(async move {
                let (reader, mut writer) = AsyncReadExt::split(server);
                futures::io::copy(reader, &mut writer).await.unwrap()
            });
            let (mut reader, mut writer) = client.into_split();
            let bytes = Bytes(1).take(3_000_000);
            let writing = wakeful::spawn({
                let bytes = bytes.clone();
                async move {
                    writer.write_all(&bytes).await.unwrap();
                    writer
                }
            });
            let mut received = vec![0; bytes.len()];
            reader.read_exact(&mut received).await.unwrap();
            assert!(received == bytes);
            let whole = reader.reunite(writing.await.unwrap()).unwrap();
            let (reader, writer) = whole.into_split();
            drop(writer); // which ends the writing direction
            assert_eq!(reader.read(&mut [0; 8]).await.unwrap(), 0);
            assert_eq!(echo.await.unwrap(), bytes.len() as u64);

            let ((one, _one_peer), (other, _other_peer)) = (pair().await, pair().await);
            let ((reader, _writer), (_reader, writer)) = (one.into_split(), other.into_split());
            let error = reader.reunite(writer).unwrap_err();
            assert!(!error.to_string().is_empty());

            let (mut client, mut server) = pair().await;
            let (mut reader, mut writer) = TcpStream::split(&mut client);
            let mut three = [0; 3];
            let (written, read) = futures::join!(writer.write_all(b"abc"), async {
                server.write_all(b"xyz").await.unwrap();
                reader.read_exact(&mut three).await
            });
            written.unwrap();
            read.unwrap();
            assert_eq!(&three, b"xyz");
            server.shutdown(Shutdown::Write).unwrap();
            let error = client.read_exact(&mut three).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        });
    });
}

#[test]
fn peeking_vectored_and_immediate_operations() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let (client, mut server) = pair().await;
            for _ in 0..2 {
                let error = server.try_read(&mut [0]).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
            }
            // Nothing to move is nothing to wait for.
            assert_eq!(server.read(&mut []).await.unwrap(), 0);
            assert_eq!(server.peek(&mut []).await.unwrap(), 0);
            assert_eq!(server.read_vectored(&mut []).await.unwrap(), 0);
            assert_eq!(server.write(&[]).await.unwrap(), 0);
            assert_eq!(server.write_vectored(&[]).await.unwrap(), 0);

            let parts = [
                IoSlice::new(b"ab"),
                IoSlice::new(b""),
                IoSlice::new(b"cdef"),
            ];
            assert_eq!(client.write_vectored(&parts).await.unwrap(), 6);
            let mut buffer = [0; 4];
            for _ in 0..3 {
                assert_eq!(server.peek(&mut buffer).await.unwrap(), 4);
                assert_eq!(&buffer, b"abcd");
            }
            let (mut one, mut many) = ([0; 1], [0; 8]);
            let mut into = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut many)];
            assert_eq!(server.read_vectored(&mut into).await.unwrap(), 6);
            assert_eq!((one[0], &many[..5]), (b'a', &b"bcdef"[..]));

            assert_eq!(client.try_write(b"12").unwrap(), 2);
            assert_eq!(
                client.try_write_vectored(&[IoSlice::new(b"34")]).unwrap(),
                2
            );
            let mut received = Vec::new();
            while received.len() < 4 {
                server.readable().await.unwrap();
                let mut into = [IoSliceMut::new(&mut buffer)];
                match server.try_read_vectored(&mut into) {
                    Ok(count) => received.extend_from_slice(&buffer[..count]),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
            }
            assert_eq!(received, b"1234");

            // More buffers than the kernel looks at.
            let many: Vec<_> = (0..2_000).map(|_| IoSlice::new(b"ab")).collect();
            let count = client.write_vectored(&many).await.unwrap();
            assert!((1..=4_000).contains(&count));
            let mut received = vec![0; count];
            server.read_exact(&mut received).await.unwrap();
            assert!(received == b"ab".repeat(count / 2));
        });
    });
}

#[test]
fn bytes_behind_an_urgent_one_are_read() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let (client, server) = pair().await;
            assert!(poll!(pin!(server.read(&mut [0; 64]))).is_pending());
            client.write(b"abc").await.unwrap();
            let number = client.as_raw_fd();
            // SAFETY: the socket is open, and the byte is there for the call.
            let sent = unsafe { libc::send(number, b"!".as_ptr().cast(), 1, libc::MSG_OOB) };
            assert_eq!(sent, 1);
            client.write(b"def").await.unwrap();
            let (mut received, mut buffer) = (Vec::new(), [0; 64]);
            while received.len() < 6 {
                let count = server.read(&mut buffer).await.unwrap();
                received.extend_from_slice(&buffer[..count]);
            }
            assert_eq!(received, b"abcdef");
        });
    });
}

#[test]
fn futures_may_be_dropped_at_every_await_without_loss() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            const BYTES: usize = 400_000;
            let listener = TcpListener::bind(anywhere()).unwrap();
            let address = listener.local_addr().unwrap();
            let client = wakeful::spawn(TcpStream::connect(address));
            let (server, _) = impatiently!(listener.accept()).unwrap();
            let client = client.await.unwrap().unwrap();
            client.set_send_buffer_size(5_000).unwrap(); // so that writing has to wait
            let writing = wakeful::spawn(async move {
                let (bytes, mut sent) = (Bytes(7).take(BYTES), 0);
                while sent < BYTES {
                    let rest = &bytes[sent..];
                    sent += match sent % 3 {
                        0 => impatiently!(client.write(rest)).unwrap(),
                        1 => {
                            let parts = [IoSlice::new(rest)];
                            impatiently!(client.write_vectored(&parts)).unwrap()
                        }
                        _ => {
                            impatiently!(client.writable()).unwrap();
                            client.try_write(rest).unwrap_or(0)
                        }
                    };
                }
                client
            });
            let (mut received, mut buffer) = (Vec::new(), [0; 1_000]);
            while received.len() < BYTES {
                let count = match received.len() % 4 {
                    0 => impatiently!(server.read(&mut buffer)).unwrap(),
                    1 => {
                        let mut into = [IoSliceMut::new(&mut buffer)];
                        impatiently!(server.read_vectored(&mut into)).unwrap()
                    }
                    2 => {
                        let mut seen = [0; 10];
                        let count = impatiently!(server.peek(&mut seen)).unwrap();
                        let read = server.try_read(&mut buffer[..count]).unwrap();
                        assert_eq!(seen[..read], buffer[..read]);
                        read
                    }
                    _ => {
                        impatiently!(server.readable()).unwrap();
                        server.try_read(&mut buffer).unwrap_or(0)
                    }
                };
                received.extend_from_slice(&buffer[..count]);
            }
            assert!(received == Bytes(7).take(BYTES));
            let client = writing.await.unwrap();
            drop(client);
            impatiently!(server.read_closed()).unwrap();
        });
    });
}

// Options, conversions, and where a socket may be used.

#[test]
fn options_are_what_they_were_set_to() {
    on_workers([1], |runtime| {
        runtime.block_on(async {
            let socket = TcpSocket::new_v4().unwrap();
            assert!(socket.nodelay().unwrap());
            for on in [true, false] {
                socket.set_reuse_address(on).unwrap();
                assert_eq!(socket.reuse_address().unwrap(), on);
                socket.set_reuse_port(on).unwrap();
                assert_eq!(socket.reuse_port().unwrap(), on);
                socket.set_nodelay(on).unwrap();
                assert_eq!(socket.nodelay().unwrap(), on);
            }
            assert_eq!(socket.defer_accept().unwrap(), None);
            socket
                .set_defer_accept(Some(Duration::from_secs(3)))
                .unwrap();
            assert!(socket.defer_accept().unwrap() >= Some(Duration::from_secs(3)));
            socket.set_defer_accept(None).unwrap();
            assert_eq!(socket.defer_accept().unwrap(), None);
            let v6 = TcpSocket::new_v6().unwrap();
            v6.set_only_v6(true).unwrap();
            assert!(v6.only_v6().unwrap());

            let (stream, _peer) = pair().await;
            assert!(stream.nodelay().unwrap());
            stream.set_nodelay(false).unwrap();
            assert!(!stream.nodelay().unwrap());
            stream.set_ttl(33).unwrap();
            assert_eq!(stream.ttl().unwrap(), 33);
            stream.set_send_buffer_size(20_000).unwrap();
            assert_eq!(stream.send_buffer_size().unwrap(), 40_000);
            stream.set_recv_buffer_size(30_000).unwrap();
            assert_eq!(stream.recv_buffer_size().unwrap(), 60_000);
            stream
                .set_user_timeout(Some(Duration::from_micros(1_500)))
                .unwrap();
            assert_eq!(
                stream.user_timeout().unwrap(),
                Some(Duration::from_millis(2))
            );
            stream.set_user_timeout(None).unwrap();
            assert_eq!(stream.user_timeout().unwrap(), None);
            stream.set_quickack(true).unwrap();
            assert!(stream.quickack().unwrap());
            stream.set_zero_linger(true).unwrap();
            assert!(stream.zero_linger().unwrap());
            stream.set_zero_linger(false).unwrap();
            assert!(!stream.zero_linger().unwrap());

            assert_eq!(stream.keepalive().unwrap(), None);
            let keepalive = Keepalive::new()
                .with_idle(Duration::from_secs(30))
                .with_interval(Duration::from_secs(5))
                .with_count(4);
            stream.set_keepalive(Some(keepalive)).unwrap();
            assert_eq!(stream.keepalive().unwrap(), Some(keepalive));
            stream.set_keepalive(None).unwrap();
            assert_eq!(stream.keepalive().unwrap(), None);
        });
    });
}

#[test]
fn sockets_go_to_the_standard_library_and_back() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            // Blocking ones: they must not block a worker from here on.
            let listener = std::net::TcpListener::bind(anywhere()).unwrap();
            let address = listener.local_addr().unwrap();
            let listener = TcpListener::from_std(listener).unwrap();
            assert!(poll!(pin!(listener.accept())).is_pending());
            let client = std::net::TcpStream::connect(address).unwrap();
            let client = TcpStream::try_from(client).unwrap();
            let (server, peer) = listener.accept().await.unwrap();
            assert_eq!(peer, client.local_addr().unwrap());
            assert!(poll!(pin!(client.read(&mut [0; 4]))).is_pending());

            // Registered, and given away.
            let mut client = client.into_std();
            client.set_nonblocking(false).unwrap();
            server.write(b"hey").await.unwrap();
            let mut three = [0; 3];
            client.read_exact(&mut three).unwrap();
            assert_eq!(&three, b"hey");
            let mut client = TcpStream::try_from(OwnedFd::from(client)).unwrap();
            server.write(b"you").await.unwrap();
            client.read_exact(&mut three).await.unwrap();
            assert_eq!(&three, b"you");
            let listener = listener.into_std();
            assert_eq!(listener.local_addr().unwrap(), address);

            let (one, _other) = UnixStream::pair().unwrap();
            let error = TcpStream::try_from(OwnedFd::from(one)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            let udp = std::net::UdpSocket::bind(anywhere()).unwrap();
            assert!(TcpListener::try_from(OwnedFd::from(udp)).is_err());
        });
    });
}

#[test]
fn a_socket_that_is_made_outside_a_runtime_is_used_inside() {
    let listener = TcpListener::bind(anywhere()).unwrap();
    let address = listener.local_addr().unwrap();
    let nobody = listener.try_accept().unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::WouldBlock);
    let text = panic_of(|| {
        let mut cx = Context::from_waker(Waker::noop());
        let _ = listener.poll_accept(&mut cx);
    });
    assert!(text.contains("runtime"), "{text}");

    let client = TcpStream::from_std(std::net::TcpStream::connect(address).unwrap()).unwrap();
    within(Duration::from_secs(10), move || {
        runtime(2).block_on(async move {
            let (server, _) = listener.accept().await.unwrap();
            client.write(b"abc").await.unwrap();
            assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 3);
        });
    });
}

#[test]
fn a_socket_belongs_to_the_runtime_that_it_first_waited_in() {
    within(Duration::from_secs(20), || {
        let (first, second) = (runtime(2), runtime(1));
        let (client, server) = first.block_on(async {
            let (client, server) = pair().await;
            assert!(poll!(pin!(server.read(&mut [0]))).is_pending());
            (client, server)
        });
        // Another runtime may wait for it, as long as the first lives.
        let server = second.block_on(async {
            let reading = wakeful::spawn(async move {
                assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 3);
                server
            });
            yields(5).await;
            client.write(b"abc").await.unwrap();
            reading.await.unwrap()
        });
        drop(first);
        second.block_on(async {
            let error = impatiently!(server.read(&mut [0])).unwrap_err();
            assert!(error.to_string().contains("runtime"), "{error}");
            // What need not wait still works, and a new registration makes it whole again.
            assert_eq!(server.write(b"x").await.unwrap(), 1);
            let server = TcpStream::from_std(server.into_std()).unwrap();
            assert!(poll!(pin!(server.read(&mut [0]))).is_pending());
            client.write(b"abc").await.unwrap();
            assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 3);
        });
    });
}

#[test]
fn who_waits_when_the_runtime_ends_is_told() {
    within(Duration::from_secs(20), || {
        let (first, second) = (runtime(2), runtime(1));
        let (_client, server) = first.block_on(async {
            let (client, server) = pair().await;
            assert!(poll!(pin!(server.read(&mut [0]))).is_pending());
            (client, server)
        });
        second.block_on(async {
            let waiting = wakeful::spawn(async move { server.read(&mut [0]).await });
            yields(5).await;
            assert!(!waiting.is_finished());
            thread::spawn(move || drop(first));
            waiting.await.unwrap().unwrap_err();
        });
    });
}

// Other descriptors.

#[test]
fn pipes_are_awaited() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let (reader, writer) = io::pipe().unwrap();
            let error = AsyncFd::new(&reader).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            let reader = AsyncFd::new_nonblocking(reader).unwrap();
            let writer = AsyncFd::new_nonblocking(writer).unwrap();
            const BYTES: usize = 500_000; // far more than a pipe holds
            let writing = wakeful::spawn(async move {
                let (bytes, mut sent) = (Bytes(8).take(BYTES), 0);
                while sent < BYTES {
                    let rest = &bytes[sent..];
                    sent += writer
                        .write_with(|mut pipe| pipe.write(rest))
                        .await
                        .unwrap();
                }
            });
            let (mut received, mut buffer) = (Vec::new(), [0; 3_000]);
            loop {
                match impatiently!(reader.read_with(|mut pipe| pipe.read(&mut buffer))).unwrap() {
                    0 => break,
                    count => received.extend_from_slice(&buffer[..count]),
                }
            }
            writing.await.unwrap();
            assert!(received == Bytes(8).take(BYTES));
            reader.hung_up().await.unwrap();
            reader.read_closed().await.unwrap();

            // Given back, it can be wrapped again.
            let (reader, _writer) = io::pipe().unwrap();
            let wrapped = AsyncFd::new_nonblocking(reader).unwrap();
            assert!(poll!(pin!(wrapped.hung_up())).is_pending());
            let twice = AsyncFd::new(wrapped.get_ref()).unwrap();
            let error = twice.hung_up().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AlreadyExists);
            drop(twice);
            let again = AsyncFd::new(wrapped.into_inner()).unwrap();
            assert!(poll!(pin!(again.hung_up())).is_pending());
        });
    });
}

#[test]
fn a_regular_file_is_read_and_cannot_be_waited_for() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
            let file = AsyncFd::new_nonblocking(file).unwrap();
            let mut magic = [0; 4];
            file.read_with(|mut file| file.read(&mut magic))
                .await
                .unwrap();
            assert_eq!(&magic, b"\x7fELF");
            let error = file.hung_up().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains("regular file"), "{error}");
        });
    });
}

/// Echoes to everybody, for ever.
async fn serve(listener: TcpListener) {
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

fn ping_pong(address: SocketAddr, count: usize) {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    for _ in 0..count {
        stream.write_all(b"ping").unwrap();
        let mut back = [0; 4];
        stream.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"ping");
    }
}

/// An awaitable end, and the other one.
fn unix_pair() -> (AsyncFd<UnixStream>, UnixStream) {
    let (one, other) = UnixStream::pair().unwrap();
    (AsyncFd::new_nonblocking(one).unwrap(), other)
}

/// Makes it known to the reactor, and known not to be readable.
async fn register(fd: &AsyncFd<UnixStream>) {
    assert!(poll!(pin!(fd.read_with(|mut stream| stream.read(&mut [0])))).is_pending());
}

/// Writes until nothing more fits.
fn fill(stream: &TcpStream) -> usize {
    let (chunk, mut sent) = (vec![0; 1 << 16], 0);
    loop {
        match stream.try_write(&chunk) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return sent,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Lets the runtime idle for a while.
async fn rest(duration: Duration) {
    let (ended, end) = oneshot::channel();
    thread::spawn(move || {
        thread::sleep(duration);
        let _ = ended.send(());
    });
    end.await.unwrap();
}

/// Closes it so that its port is free at once.
fn reset(stream: std::net::TcpStream) {
    let stream = TcpStream::from_std(stream).unwrap();
    stream.set_zero_linger(true).unwrap();
}

fn anywhere() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}
