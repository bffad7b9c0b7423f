//! `net::Server`: who is served, who waits, who is refused, and how it ends.
//!
//! Where time matters it is virtual, and the connections are Unix sockets: what is written to one is there at once, so time does
//! not run away while a byte is on its way.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::{Future, Ready, pending};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr as UnixAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::Duration;

use futures::StreamExt;
use futures::channel::{mpsc, oneshot};
use futures::stream::FuturesUnordered;
use wakeful::net::{
    Connection, Server, TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream,
};
use wakeful::time::{Instant, sleep};
use wakeful::{Builder, ShutdownToken, yield_now};
use wakeful_tests::watchdog::LIMIT;
use wakeful_tests::{Drops, on_workers, within};

const HOUR: Duration = Duration::from_secs(3600);
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn connections_of_all_its_listeners_are_served() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            let (one, first) = tcp();
            let (other, second) = tcp();
            let (unix, name) = unix();
            let server = Server::new()
                .listen(one, echo)
                .listen(other, echo)
                .listen(unix, echo_unix);
            let stats = server.stats();
            let clients = async {
                let mut clients = FuturesUnordered::new();
                for number in 0..60 {
                    clients.push(visit([first, second][number % 2]));
                }
                while let Some(visited) = clients.next().await {
                    visited.unwrap();
                }
                let mut stream = UnixStream::connect_addr(&name).await.unwrap();
                stream.write_all(b"ping").await.unwrap();
                stream.read_exact(&mut [0; 4]).await.unwrap();
                assert_eq!(stats.report().accepted, 61);
                assert!(stats.report().active() >= 1);
            };
            let report = server.run_until(clients).await.unwrap();
            assert_eq!((report.accepted, report.done), (61, 61), "{report}");
            assert_eq!(stats.report(), report);
            assert_nobody_listens(&name).await;
        });
    });
}

#[test]
fn as_many_as_the_limit_allows_are_served_and_the_others_when_one_of_them_goes() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            const LIMIT: usize = 5;
            let (listener, address) = tcp();
            let present = Arc::new(AtomicUsize::new(0));
            let most = Arc::new(AtomicUsize::new(0));
            let server = Server::new().max_connections(LIMIT).listen(listener, {
                let most = most.clone();
                move |stream, connection| {
                    let (present, most) = (present.clone(), most.clone());
                    async move {
                        most.fetch_max(present.fetch_add(1, SeqCst) + 1, SeqCst);
                        let served = echo(stream, connection).await;
                        present.fetch_sub(1, SeqCst);
                        served
                    }
                }
            });
            let stats = server.stats();
            let clients = async {
                let mut clients = Vec::new();
                for _ in 0..LIMIT * 3 {
                    let mut client = TcpStream::connect(address).await.unwrap();
                    client.write_all(b"ping").await.unwrap(); // it is connected, whoever waits in the backlog
                    clients.push(client);
                }
                while stats.report().accepted < LIMIT as u64 {
                    yield_now().await;
                }
                for (number, mut client) in clients.into_iter().enumerate() {
                    client.read_exact(&mut [0; 4]).await.unwrap();
                    assert!(stats.report().active() <= LIMIT as u64);
                    assert!(stats.report().accepted <= (LIMIT + number) as u64);
                }
            };
            let report = server.run_until(clients).await.unwrap();
            assert_eq!(report.accepted, 3 * LIMIT as u64);
            assert!(most.load(SeqCst) <= LIMIT);
            assert_eq!(report.pauses, 0);
        });
    });
}

#[test]
fn two_listeners_share_room_for_one() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let (one, first) = tcp();
            let (other, second) = tcp();
            let server = (Server::new().max_connections(1))
                .listen(one, echo)
                .listen(other, echo);
            let clients = async {
                for number in 0..20 {
                    visit([first, second][number / 2 % 2]).await.unwrap();
                }
            };
            assert_eq!(server.run_until(clients).await.unwrap().done, 20);
        });
    });
}

#[test]
fn a_peer_that_has_too_many_is_refused_and_others_are_not() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let listener = TcpListener::bind("0.0.0.0:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            let server = (Server::new().max_connections_per_peer(2)).listen(listener, echo);
            let stats = server.stats();
            let from = async |host: [u8; 4]| {
                let socket = TcpSocket::new_v4().unwrap();
                socket.bind((host, 0).into()).unwrap();
                let mut stream = socket.connect(([127, 0, 0, 1], port).into()).await.unwrap();
                let there_and_back = async {
                    stream.write_all(b"ping").await?;
                    stream.read_exact(&mut [0; 4]).await
                };
                there_and_back.await.map(|()| stream)
            };
            let clients = async {
                let (one, other) = ([127, 0, 0, 1], [127, 0, 0, 2]);
                let first = from(one).await.unwrap();
                let _second = from(one).await.unwrap();
                for _ in 0..10 {
                    from(one).await.unwrap_err();
                }
                let _third = from(other).await.unwrap();
                drop(first);
                while stats.report().done == 0 {
                    yield_now().await;
                }
                from(one).await.unwrap();
            };
            let report = server.run_until(clients).await.unwrap();
            assert_eq!((report.accepted, report.refused), (4, 10), "{report}");
            assert_eq!(report.done, 4);
        });
    });
}

#[test]
fn a_user_is_a_peer_on_a_unix_socket() {
    on_workers([1], |runtime| {
        runtime.block_on(async {
            let (listener, name) = unix();
            let server = (Server::new().max_connections_per_peer(1)).listen(listener, echo_unix);
            let clients = async {
                let mut first = UnixStream::connect_addr(&name).await.unwrap();
                first.write_all(b"x").await.unwrap();
                first.read_exact(&mut [0]).await.unwrap();
                let second = UnixStream::connect_addr(&name).await.unwrap();
                assert_eq!(second.read(&mut [0]).await.unwrap(), 0);
            };
            let report = server.run_until(clients).await.unwrap();
            assert_eq!((report.accepted, report.refused), (1, 1), "{report}");
        });
    });
}

#[test]
fn a_handler_that_panics_or_fails_ends_its_connection_and_no_other() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            let count = if cfg!(debug_assertions) { 400 } else { 4_000 };
            let (listener, address) = tcp();
            let mut number = 0;
            let server = Server::new().listen(listener, move |mut stream: TcpStream, _| {
                let this = number;
                number += 1;
                if this % 10 == 4 {
                    quiet_panic(); // before there is a future
                }
                async move {
                    match this % 10 {
                        7 => quiet_panic(),
                        8 => Err(io::Error::other("not today")),
                        _ => stream.write_all(b"hello").await,
                    }
                }
            });
            let clients = async {
                for number in 0..count {
                    let mut client = TcpStream::connect(address).await.unwrap();
                    let greeted = client.read_exact(&mut [0; 5]).await.is_ok();
                    assert_eq!(greeted, ![4, 7, 8].contains(&(number % 10)));
                }
            };
            let report = server.run_until(clients).await.unwrap();
            let tenth = count / 10;
            assert_eq!((report.accepted, report.done), (count, 7 * tenth));
            assert_eq!((report.panicked, report.failed), (2 * tenth, tenth));
        });
    });
}

#[test]
fn a_handler_whose_output_panics_as_it_is_dropped_has_panicked() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let (listener, address) = tcp();
            let handler = |_: TcpStream, _| async { io::Result::<PanicsInDrop>::Ok(PanicsInDrop) };
            let server = Server::new().listen(listener, handler);
            let client = async {
                let client = TcpStream::connect(address).await.unwrap();
                assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
            };
            let report = server.run_until(client).await.unwrap();
            assert_eq!((report.panicked, report.done), (1, 0), "{report}");
        });
    });
}

#[test]
fn a_handler_that_panics_as_it_is_cut_off_is_aborted_and_gives_its_place_up() {
    in_virtual_time(async {
        let (listener, name) = unix();
        let handler = |_stream: UnixStream, _| async {
            let _kept = PanicsInDrop;
            pending::<()>().await;
        };
        let server = Server::new().listen(listener, handler).grace(SECOND);
        let client = UnixStream::connect_addr(&name).await.unwrap();
        let report = server.run_until(sleep(SECOND)).await.unwrap();
        assert_eq!((report.aborted, report.active()), (1, 0), "{report}");
        drop(client);
    });
}

#[test]
fn whoever_is_connected_when_the_shutdown_begins_is_served() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            let (listener, address) = tcp();
            let token = ShutdownToken::new();
            let server = (Server::new().max_connections(3))
                .listen(
                    listener,
                    |mut stream: TcpStream, connection: Connection| async move {
                        let mut buffer = [0; 4];
                        stream.read_exact(&mut buffer).await?; // what it has begun, it finishes
                        assert!(connection.is_shutting_down());
                        stream.write_all(&buffer).await
                    },
                )
                .shutdown_token(&token);
            // All of them in the backlog, and more than there is room for.
            let mut clients = Vec::new();
            for _ in 0..20 {
                clients.push(TcpStream::connect(address).await.unwrap());
            }
            token.shutdown();
            let (report, ()) = futures::join!(server.run(), async {
                for client in &mut clients {
                    client.write_all(b"ping").await.unwrap();
                    client.read_exact(&mut [0; 4]).await.unwrap();
                }
            });
            assert_eq!(report.unwrap().done, 20);
        });
    });
}

#[test]
fn a_handler_is_told_of_the_shutdown_wherever_it_waits() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            let (listener, address) = tcp();
            let server = (Server::new().grace(HOUR)).listen(
                listener,
                |_, mut connection: Connection| async move {
                    // In its own task, in a part of that with its own waker, in another task, by the token.
                    let mut parts = FuturesUnordered::new();
                    parts.push(async move {
                        assert!(connection.unless_shutdown(yield_now()).await.is_some());
                        assert_eq!(connection.unless_shutdown(pending::<()>()).await, None);
                        connection
                    });
                    let connection = parts.next().await.unwrap();
                    let other = wakeful::spawn(async move {
                        let token = connection.shutdown_token();
                        let mut connection = connection;
                        assert_eq!(connection.unless_shutdown(pending::<()>()).await, None);
                        token.wait().await;
                    });
                    other.await
                },
            );
            let (begun, begins) = oneshot::channel();
            let clients = async {
                let client = TcpStream::connect(address).await.unwrap();
                begun.send(client).unwrap();
                for _ in 0..50 {
                    yield_now().await; // some of the time its handler waits by now
                }
            };
            let report = server.run_until(clients).await.unwrap();
            drop(begins);
            assert_eq!((report.done, report.aborted), (1, 0), "{report}");
        });
    });
}

#[test]
fn a_connections_token_ends_what_watches_it_and_neither_another_nor_the_server() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let (listener, address) = tcp();
            let (passed, mut passes) = mpsc::unbounded();
            let server = Server::new().listen(listener, move |stream, connection: Connection| {
                let tokens = [connection.shutdown_token(), connection.shutdown_token()];
                passed.unbounded_send(tokens).unwrap();
                echo(stream, connection)
            });
            let clients = async {
                let mut client = there_and_back(address).await.unwrap();
                let [one, other] = passes.next().await.unwrap();
                one.shutdown();
                one.wait().await;
                assert!(!other.is_shutting_down());
                client.write_all(b"ping").await.unwrap(); // it goes on
                client.read_exact(&mut [0; 4]).await.unwrap();
                visit(address).await.unwrap();
                (client, other)
            };
            let clients = async { clients.await.1 };
            let mut kept = None;
            let report = server.run_until(async { kept = Some(clients.await) }).await;
            assert_eq!(report.unwrap().done, 2);
            assert!(kept.unwrap().is_shutting_down());
        });
    });
}

#[test]
fn a_handler_knows_where_its_peer_is_also_when_that_has_gone() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let (tcp, address) = tcp();
            let (unix, name) = unix();
            let (told, mut tells) = mpsc::unbounded();
            let of_tcp = told.clone();
            let server = Server::new()
                .listen(tcp, move |stream: TcpStream, connection: Connection| {
                    let told = of_tcp.clone();
                    async move {
                        let _ = stream.hung_up().await;
                        told.unbounded_send(connection.peer_addr()).unwrap();
                    }
                })
                .listen(unix, move |_stream: UnixStream, connection: Connection| {
                    told.unbounded_send(connection.peer_addr()).unwrap();
                    async {}
                });
            let clients = async {
                let client = TcpStream::connect(address).await.unwrap();
                let own = client.local_addr().unwrap();
                client.set_zero_linger(true).unwrap();
                drop(client);
                assert_eq!(tells.next().await, Some(Some(own)));
                let _client = UnixStream::connect_addr(&name).await.unwrap();
                assert_eq!(tells.next().await, Some(None));
            };
            assert_eq!(server.run_until(clients).await.unwrap().done, 2);
        });
    });
}

#[test]
fn the_bytes_that_handlers_count_are_in_the_report_in_the_end_and_many_before() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            const MUCH: usize = 5 << 20;
            let (listener, address) = tcp();
            let server = Server::new().listen(
                listener,
                |mut stream: TcpStream, mut connection| async move {
                    let mut buffer = [0; 4096];
                    while let count @ 1.. = stream.read(&mut buffer).await? {
                        connection.count_bytes(count, 0);
                        stream.write_all(&buffer[..1]).await?;
                        connection.count_bytes(0, 1);
                    }
                    connection.count_bytes(0, MUCH);
                    stream.write_all(b"end").await?;
                    let end = connection.unless_shutdown(pending::<()>()).await;
                    assert_eq!(end, None);
                    io::Result::Ok(())
                },
            );
            let stats = server.stats();
            let clients = async {
                for _ in 0..3 {
                    let mut client = TcpStream::connect(address).await.unwrap();
                    client.write_all(b"ping").await.unwrap();
                    client.read_exact(&mut [0; 1]).await.unwrap();
                    client.shutdown(std::net::Shutdown::Write).unwrap();
                    client.read_exact(&mut [0; 3]).await.unwrap();
                }
                let report = stats.report();
                assert_eq!((report.received, report.sent), (12, 3 * (MUCH + 1) as u64));
            };
            let report = server.run_until(clients).await.unwrap();
            assert_eq!((report.received, report.sent), (12, 3 * (MUCH + 1) as u64));
        });
    });
}

#[test]
fn handlers_that_count_more_bytes_than_there_are_harm_nobody() {
    on_workers([1], |runtime| {
        runtime.block_on(async {
            let (listener, address) = tcp();
            let server = Server::new().listen(
                listener,
                |mut stream: TcpStream, mut connection| async move {
                    connection.count_bytes(usize::MAX, usize::MAX);
                    connection.count_bytes(usize::MAX, usize::MAX);
                    stream.write_all(b"end").await
                },
            );
            let clients = async {
                for _ in 0..2 {
                    let mut client = TcpStream::connect(address).await.unwrap();
                    client.read_exact(&mut [0; 3]).await.unwrap();
                }
            };
            let report = server.run_until(clients).await.unwrap();
            assert_eq!((report.done, report.panicked), (2, 0), "{report}");
            assert_eq!((report.received, report.sent), (u64::MAX, u64::MAX));
        });
    });
}

#[test]
fn a_connection_that_is_given_to_another_task_tells_that_one() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let (listener, address) = tcp();
            let (told, mut tells) = mpsc::unbounded();
            let server = Server::new().listen(listener, move |_, mut connection: Connection| {
                let told = told.clone();
                drop(wakeful::spawn(async move {
                    told.unbounded_send("it waits").unwrap();
                    assert_eq!(connection.unless_shutdown(pending::<()>()).await, None);
                    told.unbounded_send("it was told").unwrap();
                }));
                async {} // the handler itself is over
            });
            let end = async {
                let _client = TcpStream::connect(address).await.unwrap();
                assert_eq!(tells.next().await, Some("it waits"));
            };
            assert_eq!(server.run_until(end).await.unwrap().done, 1);
            assert_eq!(tells.next().await, Some("it was told"));
        });
    });
}

#[test]
fn who_does_not_come_to_an_end_is_cut_off_when_the_grace_is_over() {
    in_virtual_time(async {
        let (listener, name) = unix();
        let (drops, count) = (Drops::default(), 10);
        let handler_drops = drops.clone();
        let server = (Server::new().grace(HOUR)).listen(
            listener,
            move |_stream, mut connection: Connection| {
                let guard = handler_drops.guard();
                async move {
                    assert_eq!(connection.unless_shutdown(pending::<()>()).await, None);
                    let _guard = guard;
                    pending::<()>().await
                }
            },
        );
        let stats = server.stats();
        let begun = Instant::now();
        let clients = async {
            let mut clients = Vec::new();
            for _ in 0..count {
                clients.push(UnixStream::connect_addr(&name).await.unwrap());
            }
            while stats.report().accepted < count {
                yield_now().await;
            }
            clients
        };
        let report = server.run_until(clients).await.unwrap();
        assert_eq!((report.aborted, report.active()), (count, 0), "{report}");
        assert_eq!(drops.count(), count as usize);
        assert!((HOUR..HOUR + SECOND).contains(&begun.elapsed()));
    });
}

#[test]
fn a_server_that_is_dropped_cuts_everybody_off() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let (listener, name) = unix();
            let server = Server::new().listen(listener, |stream: UnixStream, _| async move {
                let _stream = stream;
                pending::<()>().await
            });
            let stats = server.stats();
            let client = {
                let mut running = pin!(server.run());
                let connecting = async {
                    let client = UnixStream::connect_addr(&name).await.unwrap();
                    while stats.report().accepted == 0 {
                        yield_now().await;
                    }
                    client
                };
                match futures::future::select(&mut running, pin!(connecting)).await {
                    futures::future::Either::Left(_) => panic!("nothing ends it"),
                    futures::future::Either::Right((client, _)) => client,
                }
            };
            assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
            while stats.report().active() > 0 {
                yield_now().await;
            }
            assert_eq!(stats.report().aborted, 1);
            assert_nobody_listens(&name).await;
        });
    });
}

#[test]
fn a_connection_is_closed_when_it_has_been_idle_for_too_long_and_not_before() {
    in_virtual_time(async {
        let (listener, name) = unix();
        let server = (Server::new().idle_timeout(SECOND * 10)).listen(listener, echo_unix);
        let clients = async {
            let begun = Instant::now();
            let mut client = UnixStream::connect_addr(&name).await.unwrap();
            for _ in 0..5 {
                sleep(SECOND * 6).await;
                client.write_all(b"ping").await.unwrap();
                client.read_exact(&mut [0; 4]).await.unwrap();
            }
            assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
            let lived = begun.elapsed();
            assert!((SECOND * 40..SECOND * 42).contains(&lived), "{lived:?}");
        };
        let report = server.run_until(clients).await.unwrap();
        assert_eq!((report.accepted, report.failed), (1, 1), "{report}");
    });
}

/// Neither does the peer take anything, nor is there anything to be read: the one does not make up for the other.
#[test]
fn a_peer_that_takes_nothing_is_idle_also_if_it_sends() {
    in_virtual_time(async {
        let (listener, name) = unix();
        let server = (Server::new().idle_timeout(SECOND * 10))
            .listen(listener, |mut stream: UnixStream, _| async move {
                stream.write_all(&vec![0; 8 << 20]).await
            });
        let stats = server.stats();
        let clients = async {
            let mut client = UnixStream::connect_addr(&name).await.unwrap();
            let begun = Instant::now();
            while stats.report().failed == 0 {
                sleep(SECOND).await;
                let _ = client.write_all(b"x").await; // until it is closed
            }
            let lived = begun.elapsed();
            assert!((SECOND * 10..SECOND * 13).contains(&lived), "{lived:?}");
        };
        assert_eq!(server.run_until(clients).await.unwrap().failed, 1);
    });
}

#[test]
fn a_peer_that_does_not_finish_its_handshake_is_gone_in_time_however_busy_it_is() {
    in_virtual_time(async {
        let (listener, name) = unix();
        let server = Server::new()
            .handshake_timeout(SECOND * 10)
            .idle_timeout(SECOND * 5)
            .listen(listener, |mut stream: UnixStream, connection| async move {
                stream.read_exact(&mut [0; 100]).await?;
                stream.set_read_deadline(None);
                stream.set_write_deadline(None);
                echo_unix(stream, connection).await
            });
        let stats = server.stats();
        let clients = async {
            let mut slow = UnixStream::connect_addr(&name).await.unwrap();
            let mut quick = UnixStream::connect_addr(&name).await.unwrap();
            quick.write_all(&[0; 100]).await.unwrap();
            let begun = Instant::now();
            while stats.report().failed == 0 {
                for client in [&mut slow, &mut quick] {
                    let _ = client.write_all(b"x").await;
                }
                sleep(SECOND).await;
            }
            let lived = begun.elapsed();
            assert!((SECOND * 10..SECOND * 12).contains(&lived), "{lived:?}");
            for _ in 0..30 {
                sleep(SECOND).await;
                quick.write_all(b"x").await.unwrap();
            }
            assert_eq!(stats.report().active(), 1, "the other has passed");
        };
        server.run_until(clients).await.unwrap();
    });
}

#[test]
fn a_read_that_is_given_up_and_taken_up_again_is_idle_all_the_time() {
    in_virtual_time(async {
        let (stream, _peer) = UnixStream::pair().unwrap();
        stream.set_idle_timeout(Some(SECOND * 10));
        assert_eq!(stream.idle_timeout(), Some(SECOND * 10));
        let begun = Instant::now();
        loop {
            match wakeful::time::timeout(SECOND * 3, stream.read(&mut [0])).await {
                Err(_) => assert!(begun.elapsed() < SECOND * 12),
                Ok(read) => {
                    assert_eq!(read.unwrap_err().kind(), ErrorKind::TimedOut);
                    break;
                }
            }
        }
        assert!(begun.elapsed() >= SECOND * 10);
        // Whoever goes on all the same has the time once more, and without a limit as long as he likes.
        let again = Instant::now();
        stream.read(&mut [0]).await.unwrap_err();
        assert!(again.elapsed() >= SECOND * 10);
        stream.set_idle_timeout(None);
        wakeful::time::timeout(HOUR, stream.read(&mut [0]))
            .await
            .unwrap_err();
    });
}

#[test]
fn an_event_that_came_while_nobody_waited_counts() {
    in_virtual_time(async {
        let (stream, mut peer) = UnixStream::pair().unwrap();
        stream.set_idle_timeout(Some(SECOND * 10));
        let mut buffer = [0; 8];
        wakeful::time::timeout(SECOND * 6, stream.read(&mut buffer))
            .await
            .unwrap_err();
        peer.write_all(b"x").await.unwrap();
        sleep(SECOND * 6).await;
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 1);
        let begun = Instant::now();
        stream.read(&mut buffer).await.unwrap_err();
        assert!(begun.elapsed() >= SECOND * 10);
    });
}

#[test]
fn handlers_that_are_not_send_stay_on_their_worker_and_share_the_connections_evenly() {
    on_workers([1, 2, 4], |runtime| {
        let workers = runtime.handle().workers_count();
        runtime.block_on(async {
            const EACH: usize = 8;
            let (listener, address) = tcp();
            let threads = Arc::new(Mutex::new(BTreeMap::new()));
            let server = Server::new().listen_pinned(listener, {
                let threads = threads.clone();
                move || {
                    let (own, visitors) = (thread::current().id(), Rc::new(Cell::new(0)));
                    let threads = threads.clone();
                    move |stream: TcpStream, connection: Connection| {
                        let (visitors, threads) = (visitors.clone(), threads.clone());
                        async move {
                            visitors.set(visitors.get() + 1);
                            (threads.lock().unwrap()).insert(format!("{own:?}"), visitors.get());
                            let served = echo(stream, connection).await;
                            assert_eq!(thread::current().id(), own);
                            served
                        }
                    }
                }
            });
            let clients = async {
                let mut clients = Vec::new();
                for _ in 0..EACH * workers {
                    clients.push(there_and_back(address).await.unwrap());
                }
            };
            let report = server.run_until(clients).await.unwrap();
            assert_eq!(report.done, (EACH * workers) as u64, "{report}");
            let counts: Vec<_> = threads.lock().unwrap().values().copied().collect();
            assert_eq!(counts, vec![EACH; workers]);
        });
    });
}

#[test]
fn a_worker_whose_handler_cannot_be_made_leaves_the_connections_to_the_others() {
    within(LIMIT, || {
        let runtime = Builder::new().workers(4).build().unwrap();
        runtime.block_on(async {
            let (listener, address) = tcp();
            let made = AtomicUsize::new(0);
            let server = Server::new().listen_pinned(listener, move || {
                if made.fetch_add(1, SeqCst) == 1 {
                    quiet_panic();
                }
                echo
            });
            let clients = async {
                let mut failed = 0;
                for _ in 0..100 {
                    failed += usize::from(visit(address).await.is_err());
                }
                assert!(failed <= 1, "it was sent there before that was known");
            };
            let report = server.run_until(clients).await.unwrap();
            assert_eq!(report.active(), 0, "{report}");
        });
    });
}

#[test]
fn a_server_whose_handler_no_worker_can_make_ends_with_an_error() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            let (listener, address) = tcp();
            let make = || -> fn(TcpStream, Connection) -> Ready<()> { quiet_panic() };
            let server = wakeful::spawn(Server::new().listen_pinned(listener, make).run());
            while visit(address).await.is_err() && !server.is_finished() {
                yield_now().await;
            }
            let error = server.await.unwrap().unwrap_err();
            assert!(error.to_string().contains("no worker"), "{error}");
        });
    });
}

#[test]
fn each_worker_can_have_a_listener() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_reuse_port(true).unwrap();
            socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
            let listener = socket.listen(128).unwrap();
            let address = listener.local_addr().unwrap();
            let server = Server::new().listen_per_worker(listener, || {
                let home: Rc<ThreadId> = Rc::new(thread::current().id());
                move |stream, connection| {
                    let home = home.clone();
                    async move {
                        let served = echo(stream, connection).await;
                        assert_eq!(thread::current().id(), *home);
                        served
                    }
                }
            });
            let clients = async {
                for _ in 0..100 {
                    visit(address).await.unwrap();
                }
            };
            let report = server.run_until(clients).await.unwrap();
            assert_eq!((report.accepted, report.done), (100, 100), "{report}");
        });
    });
}

#[test]
fn a_listener_that_does_not_share_its_port_cannot_be_had_for_each_worker() {
    within(LIMIT, || {
        let runtime = Builder::new().workers(2).build().unwrap();
        let (listener, _) = tcp();
        let server = Server::new().listen_per_worker(listener, || echo);
        let error = runtime.block_on(server.run()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("set_reuse_port"), "{error}");
    });
}

#[test]
fn a_server_without_listeners_waits_for_its_end() {
    in_virtual_time(async {
        let begun = Instant::now();
        Server::new().run_until(sleep(HOUR)).await.unwrap();
        assert!(begun.elapsed() >= HOUR);
    });
}

#[test]
fn connections_that_are_reset_again_and_again_leave_nothing() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let count = if cfg!(debug_assertions) {
                2_000
            } else {
                20_000
            };
            let (listener, address) = tcp();
            let server = (Server::new().max_connections(50)).listen(listener, echo);
            let clients = async {
                for number in 0..count {
                    let mut client = TcpStream::connect(address).await.unwrap();
                    if number % 2 == 0 {
                        client
                            .write_all(b"nobody will read the answer")
                            .await
                            .unwrap();
                    }
                    client.set_zero_linger(true).unwrap();
                }
                visit(address).await.unwrap();
            };
            let report = server.run_until(clients).await.unwrap();
            assert_eq!(
                report.active() + report.panicked + report.aborted,
                0,
                "{report}"
            );
            assert!(report.accepted <= count + 1 && report.done >= 1, "{report}");
        });
    });
}

async fn echo(mut stream: TcpStream, mut connection: Connection) -> io::Result<()> {
    let mut buffer = [0; 1024];
    while let Some(count) = connection.unless_shutdown(stream.read(&mut buffer)).await {
        match count? {
            0 => break,
            count => stream.write_all(&buffer[..count]).await?,
        }
    }
    Ok(())
}

async fn echo_unix(mut stream: UnixStream, mut connection: Connection) -> io::Result<()> {
    let mut buffer = [0; 1024];
    while let Some(count) = connection.unless_shutdown(stream.read(&mut buffer)).await {
        match count? {
            0 => break,
            count => stream.write_all(&buffer[..count]).await?,
        }
    }
    Ok(())
}

/// A client that is answered, and goes.
async fn visit(address: SocketAddr) -> io::Result<()> {
    let client = there_and_back(address).await?;
    client.shutdown(std::net::Shutdown::Write)?;
    match client.read(&mut [0]).await? {
        0 => Ok(()),
        _ => Err(io::Error::other("more than was sent")),
    }
}

/// A client that is answered, and stays.
async fn there_and_back(address: SocketAddr) -> io::Result<TcpStream> {
    let mut client = TcpStream::connect(address).await?;
    client.write_all(b"ping").await?;
    let mut back = [0; 4];
    client.read_exact(&mut back).await?;
    assert_eq!(&back, b"ping");
    Ok(client)
}

/// A name is this test's own, as a port is not.
async fn assert_nobody_listens(name: &UnixAddr) {
    let error = UnixStream::connect_addr(name).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

fn tcp() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn unix() -> (UnixListener, UnixAddr) {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, SeqCst);
    let name = format!("wakeful server {} {number}", std::process::id());
    let name = UnixAddr::from_abstract_name(name).unwrap();
    (UnixListener::bind_addr(&name).unwrap(), name)
}

fn in_virtual_time(future: impl Future<Output = ()> + Send + 'static) {
    within(LIMIT, || {
        let runtime = Builder::new().virtual_time(true).build().unwrap();
        runtime.block_on(future);
    });
}

struct PanicsInDrop;

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        quiet_panic();
    }
}

/// Without a message on the way.
fn quiet_panic() -> ! {
    std::panic::resume_unwind(Box::new("quiet"))
}
