//! What is lost when a future is dropped: the table in `CANCEL_SAFETY.md`, against the sources and against what happens.
//!
//! A *case* drops futures of one operation at their first, second and third await, again and again, until one of them
//! resolves, or until enough was lost. It then compares what came through with what the table says. What the halves of a
//! stream do is shown with those of both kinds of streams.

#[path = "cancel/exchanges.rs"]
mod exchanges;
#[path = "cancel/servers.rs"]
mod servers;
#[path = "cancel/table.rs"] // what lies in `tests/` itself would be a test of its own
mod table;

use std::collections::BTreeSet;
use std::io::{Cursor, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixStream as UnixStd};
use std::pin::pin;
use std::thread;
use std::time::Duration;

use futures::channel::oneshot;
use wakeful::io::duplex;
use wakeful::net::{
    self, RecvBatch, Server, TcpListener, TcpSocket, TcpStream, UnixDatagram, UnixListener,
    UnixStream,
};
use wakeful::signal::{SignalKind, ctrl_c, signal};
use wakeful::time::{Instant, advance, interval, sleep, timeout};
use wakeful::{
    Builder, Runtime, ShutdownToken, TaskGroup, TaskLocal, spawn, spawn_blocking, yield_now,
};

use wakeful_tests::futures::given_up_at;
use wakeful_tests::watchdog::LIMIT;
use wakeful_tests::{Drops, alone, impatiently, on_workers};

use exchanges::*;
use servers::*;

#[test]
fn every_async_operation_has_a_row_and_every_row_an_operation() {
    let (rows, found) = (table::rows(), table::operations());
    assert!(found.len() > 80, "the sources have been read: {found:?}");
    let rows: BTreeSet<_> = rows.into_keys().collect();
    let missing: Vec<_> = found.difference(&rows).collect();
    let stale: Vec<_> = rows.difference(&found).collect();
    assert!(
        missing.is_empty(),
        "give them a row in CANCEL_SAFETY.md: {missing:?}"
    );
    assert!(stale.is_empty(), "there is no such operation: {stale:?}");
}

#[test]
fn every_row_has_a_case_that_says_the_same() {
    let rows: BTreeSet<_> = table::rows().into_iter().collect();
    let cases = CASES.iter().copied().flatten();
    let cases: BTreeSet<_> = cases
        .map(|(name, safety, _)| ((*name).to_owned(), safety.replace('_', " ")))
        .collect();
    let missing: Vec<_> = rows.difference(&cases).collect();
    let stale: Vec<_> = cases.difference(&rows).collect();
    assert!(
        missing.is_empty(),
        "give them a case in `CASES`: {missing:?}"
    );
    assert!(stale.is_empty(), "there is no such row: {stale:?}");
}

#[test]
fn what_the_table_says_is_what_happens() {
    alone("what_the_table_says_is_what_happens", || {
        on_workers([1, 2], |runtime| {
            for (name, _, case) in CASES.iter().copied().flatten() {
                struct Note(&'static str);
                impl Drop for Note {
                    fn drop(&mut self) {
                        if thread::panicking() {
                            eprintln!("… in the case of {}", self.0);
                        }
                    }
                }
                let _note = Note(name);
                println!("{name}"); // the last one, should it hang
                case(runtime);
            }
        });
    });
}

type Case = (&'static str, &'static str, fn(&Runtime));

/// Gives each name what it is, as the table says, and a future that shows it.
macro_rules! cases {
    ($($safety:ident $name:expr => $body:expr,)*) => {
        &[$(($name, stringify!($safety), |runtime| runtime.block_on($body))),*]
    };
}

/// What reads from a stream `$s` by `$reader`.
macro_rules! reading_cases {
    ($of:literal, $open:ident, $s:ident => $reader:expr) => {
        cases! {
            safe concat!($of, "::readable") => reads_all($open, async |$s, b| {
                impatiently!($reader.readable()).unwrap();
                $reader.try_read(b)
            }),
            safe concat!($of, "::read_closed") => {
                hears_of_the_end($open, async |$s| impatiently!($reader.read_closed()))
            },
            safe concat!($of, "::read") => {
                reads_all($open, async |$s, b| impatiently!($reader.read(b)))
            },
            safe concat!($of, "::read_vectored") => reads_all($open, async |$s, b| {
                impatiently!($reader.read_vectored(&mut [IoSliceMut::new(b)]))
            }),
            safe concat!($of, "::peek") => reads_all($open, async |$s, b| {
                let seen = impatiently!($reader.peek(b))?;
                $reader.try_read(&mut b[..seen])
            }),
            safe concat!($of, "::read_exact_into") => reads_all($open, async |$s, b| {
                let mut cursor = Cursor::new(b);
                impatiently!($reader.read_exact_into(&mut cursor))
                    .map(|()| cursor.position() as usize)
            }),
            not_safe concat!($of, "::read_exact") => loses_what_it_read($open, async |$s, at, b| {
                drop(given_up_at(at, $reader.read_exact(b)).await);
            }, async |$s, b| $reader.read(b).await),
        }
    };
}

/// What writes to a stream `$s` by `$writer`.
macro_rules! writing_cases {
    ($of:literal, $open:ident, $s:ident => $writer:expr) => {
        cases! {
            safe concat!($of, "::writable") => writes_all($open, async |$s, b| {
                impatiently!($writer.writable()).unwrap();
                $writer.try_write(b)
            }),
            safe concat!($of, "::hung_up") => {
                hears_of_a_hang_up($open, async |$s| impatiently!($writer.hung_up()))
            },
            safe concat!($of, "::write") => {
                writes_all($open, async |$s, b| impatiently!($writer.write(b)))
            },
            safe concat!($of, "::write_vectored") => writes_all($open, async |$s, b| {
                impatiently!($writer.write_vectored(&[IoSlice::new(b)]))
            }),
            safe concat!($of, "::write_all_from") => writes_all($open, async |$s, b| {
                let mut cursor = Cursor::new(b);
                impatiently!($writer.write_all_from(&mut cursor))
                    .map(|()| cursor.position() as usize)
            }),
            not_safe concat!($of, "::write_all") => writes_a_part($open, async |$s, at, b| {
                given_up_at(at, $writer.write_all(b)).await.is_some()
            }),
            not_safe concat!($of, "::send_file") => writes_a_part($open, async |$s, at, b| {
                let file = file_of(b);
                given_up_at(at, $writer.send_file(&file, ..)).await.is_some()
            }),
        }
    };
}

/// What datagram sockets have in common.
macro_rules! datagram_cases {
    ($of:literal, $open:ident, $towards:ident) => {
        cases! {
            safe concat!($of, "::readable") => receives_all($open, async |s, b| {
                impatiently!(s.readable()).unwrap();
                s.try_recv(b).map(|received| vec![received.len])
            }),
            safe concat!($of, "::recv") => receives_all($open, async |s, b| {
                impatiently!(s.recv(b)).map(|received| vec![received.len])
            }),
            safe concat!($of, "::recv_from") => receives_all($open, async |s, b| {
                impatiently!(s.recv_from(b)).map(|(received, _)| vec![received.len])
            }),
            safe concat!($of, "::peek") => receives_all($open, async |s, b| {
                let seen = impatiently!(s.peek(b))?;
                assert_eq!(s.try_recv(b)?, seen);
                Ok(vec![seen.len])
            }),
            safe concat!($of, "::peek_from") => receives_all($open, async |s, b| {
                let (seen, _) = impatiently!(s.peek_from(b))?;
                assert_eq!(s.try_recv(b)?, seen);
                Ok(vec![seen.len])
            }),
            safe concat!($of, "::writable") => sends_all($towards, async |s, _, datagrams| {
                impatiently!(s.writable()).unwrap();
                s.try_send(&datagrams[0]).map(|_| 1)
            }),
            safe concat!($of, "::send") => sends_all($towards, async |s, _, datagrams| {
                impatiently!(s.send(&datagrams[0])).map(|_| 1)
            }),
        }
    };
}

/// Descriptors between a pair of `$Socket`.
macro_rules! descriptor_cases {
    ($of:literal, $Socket:ident) => {
        cases! {
            safe concat!($of, "::send_with_fds") => async {
                let (one, other) = $Socket::pair().unwrap();
                passes_descriptors(
                    || one.try_send_with_fds(&[0; 100], &[]),
                    async |bytes, fd| impatiently!(one.send_with_fds(bytes, &[fd.as_fd()])),
                    async |b| other.recv_with_fds(b, 4).await,
                )
                .await;
            },
            safe concat!($of, "::recv_with_fds") => async {
                let (one, other) = $Socket::pair().unwrap();
                passes_descriptors(
                    || one.try_send_with_fds(&[0; 100], &[]),
                    async |bytes, fd| one.send_with_fds(bytes, &[fd.as_fd()]).await,
                    async |b| impatiently!(other.recv_with_fds(b, 4)),
                )
                .await;
            },
        }
    };
}

const CASES: &[&[Case]] = &[
    reading_cases!("TcpStream", tcp, s => s),
    reading_cases!("UnixStream", unix, s => s),
    reading_cases!("StreamReader", tcp_halves, s => s.0),
    reading_cases!("StreamReader", unix_halves, s => s.0),
    writing_cases!("TcpStream", tcp, s => s),
    writing_cases!("UnixStream", unix, s => s),
    writing_cases!("StreamWriter", tcp_halves, s => s.1),
    writing_cases!("StreamWriter", unix_halves, s => s.1),
    datagram_cases!("UdpSocket", udp, udp_towards),
    datagram_cases!("UnixDatagram", unix_datagrams, unix_towards),
    descriptor_cases!("UnixStream", UnixStream),
    descriptor_cases!("UnixDatagram", UnixDatagram),
    CONNECTIONS,
    COPIES,
    SERVERS,
    OTHERS,
];

const CONNECTIONS: &[Case] = cases! {
    safe "TcpListener::accept" => async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        accepts_all(
            move || Peer::tcp_to(address),
            async || impatiently!(listener.accept()).unwrap().0,
        )
        .await;
    },
    safe "UnixListener::accept" => async {
        let path = path("accept");
        let listener = UnixListener::bind(&path).unwrap();
        accepts_all(
            move || Peer::Unix(UnixStd::connect(&path).unwrap()),
            async || impatiently!(listener.accept()).unwrap().0,
        )
        .await;
    },
    safe "TcpStream::connect" => {
        connects(async |address| TcpStream::connect(address).await)
    },
    safe "TcpStream::connect_timeout" => {
        connects(async |address| TcpStream::connect_timeout(address, LIMIT).await)
    },
    safe "TcpSocket::connect" => {
        connects(async |address| TcpSocket::new_v4()?.connect(address).await)
    },
    safe "UnixStream::connect" => connects_where_there_is_no_room(async |path| {
        UnixStream::connect(path).await
    }),
    safe "UnixStream::connect_addr" => connects_where_there_is_no_room(async |path| {
        UnixStream::connect_addr(&UnixAddr::from_pathname(path)?).await
    }),
    safe "net::lookup_host" => async {
        for at in 1..=2 {
            drop(given_up_at(at, net::lookup_host("localhost:80")).await);
        }
        let mut addresses = impatiently!(net::lookup_host("localhost:80")).unwrap();
        assert!(addresses.all(|address| address.ip().is_loopback() && address.port() == 80));
    },
};

const COPIES: &[Case] = cases! {
    not_safe "io::copy" => copies_a_part(async |at, from, to| {
        drop(given_up_at(at, wakeful::io::copy(from, to)).await);
    }),
    not_safe "io::copy_bidirectional" => copies_a_part(async |at, from, to| {
        drop(given_up_at(at, wakeful::io::copy_bidirectional(from, to)).await);
    }),
    not_safe "net::copy" => copies_a_part(async |at, from, to| {
        drop(given_up_at(at, net::copy(from, to)).await);
    }),
    not_safe "net::copy_bidirectional" => copies_a_part(async |at, from, to| {
        drop(given_up_at(at, net::copy_bidirectional(from, to)).await);
    }),
    safe "Copying::run" => copies_all(async |copying, from, to| {
        impatiently!(copying.run(from, to)).map(drop).unwrap();
    }),
    safe "Copying::write_rest" => copies_all(async |copying, from, to| {
        // Every other time it reads nothing.
        let mut round = 0;
        while given_up_at(1 + round % 3, copying.run(from, to)).await.is_none() {
            impatiently!(copying.write_rest(to)).unwrap();
            round += 1;
            yield_now().await;
        }
    }),

    safe "AsyncFd::read_with" => reads_all(descriptor, async |s, b| {
        impatiently!(s.read_with(|mut stream| stream.read(b)))
    }),
    safe "AsyncFd::write_with" => writes_all(descriptor, async |s, b| {
        impatiently!(s.write_with(|mut stream| stream.write(b)))
    }),
    safe "AsyncFd::readable" => reads_all(descriptor, async |s, b| {
        impatiently!(s.readable()).unwrap();
        s.try_read_with(|mut stream| stream.read(b))
    }),
    safe "AsyncFd::writable" => writes_all(descriptor, async |s, b| {
        impatiently!(s.writable()).unwrap();
        s.try_write_with(|mut stream| stream.write(b))
    }),
    safe "AsyncFd::read_closed" => hears_of_the_end(descriptor, async |s| impatiently!(s.read_closed())),
    safe "AsyncFd::hung_up" => hears_of_a_hang_up(descriptor, async |s| impatiently!(s.hung_up())),
};

const SERVERS: &[Case] = cases! {
    safe "Framed::next" => async {
        let (mut lines, other) = framed();
        let sending = send(other);
        for number in 0..FRAMES {
            assert_eq!(impatiently!(lines.next()).unwrap().unwrap(), frame(number));
        }
        assert!(impatiently!(lines.next()).is_none());
        sending.await.unwrap();
    },
    safe "Framed::feed" => async {
        let (mut lines, other) = framed();
        let reading = read(other);
        for number in 0..FRAMES {
            impatiently!(lines.feed(&*frame(number))).unwrap();
        }
        lines.close().await.unwrap();
        assert_all_arrive(reading).await;
    },
    safe "Framed::flush" => async {
        let (mut lines, other) = framed();
        let reading = read(other);
        for number in 0..FRAMES {
            lines.feed(&*frame(number)).await.unwrap();
            impatiently!(lines.flush()).unwrap();
        }
        lines.close().await.unwrap();
        assert_all_arrive(reading).await;
    },
    safe "Framed::close" => async {
        let (mut lines, other) = framed();
        let reading = read(other);
        for number in 0..FRAMES {
            lines.feed(&*frame(number)).await.unwrap();
        }
        impatiently!(lines.close()).unwrap();
        assert_all_arrive(reading).await;
    },
    in_part "Framed::send" => async {
        let (mut lines, other) = framed();
        let reading = read(other);
        let mut sent = BTreeSet::new();
        for number in 0..FRAMES {
            if given_up_at(1, lines.send(&*frame(number))).await.is_some() {
                sent.insert(number);
            }
        }
        lines.close().await.unwrap();
        assert_whole(reading, &sent).await;
    },
    in_part "Outbox::send" => async {
        let (outbox, writer, stream, reading) = outbox();
        let writing = spawn(writer.run(stream));
        let mut sent = BTreeSet::new();
        for number in 0..FRAMES {
            if given_up_at(1, outbox.send(&*frame(number))).await.is_some() {
                sent.insert(number);
            }
            if number % 8 == 0 {
                yield_now().await;
            }
        }
        drop(outbox);
        writing.await.unwrap().unwrap();
        assert_whole(reading, &sent).await;
    },
    safe "Outbox::closed" => async {
        let (outbox, writer, _stream, reading) = outbox();
        assert!(given_up_at(1, outbox.closed()).await.is_none());
        drop(writer);
        impatiently!(outbox.closed());
        drop(_stream);
        assert!(reading.await.unwrap().is_empty());
    },
    not_safe "OutboxWriter::run" => async {
        let (outbox, writer, stream, reading) = outbox();
        for number in 0..3 {
            outbox.send(&*frame(number)).await.unwrap();
        }
        assert!(given_up_at(1, writer.run(stream)).await.is_none());
        assert!(outbox.send(&*frame(3)).await.is_err());
        // The third did not fit with the others, and its end is lost: the reader panics.
        assert!(reading.await.is_err());
    },
    not_safe "Server::run" => cuts_off(|server| server.run()),
    not_safe "Server::run_until" => cuts_off(|server| server.run_until(std::future::pending::<()>())),
    in_part "ShutdownToken::run_until" => {
        drops_what_it_holds(|held| ShutdownToken::new().run_until(held))
    },
    safe "futures::ShutdownWait" => async {
        let token = ShutdownToken::new();
        let mut wait = token.wait();
        for _ in 0..3 {
            assert!(given_up_at(1, &mut wait).await.is_none());
        }
        token.shutdown();
        impatiently!(&mut wait);
        impatiently!(token.wait());
    },
    in_part "futures::UnlessShutdown" => async {
        let mut wait = ShutdownToken::new().wait();
        drops_what_it_holds(|held| wait.unless_shutdown(held)).await;
    },
    in_part "futures::UnlessServerEnds" => async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let token = ShutdownToken::new();
        let ends = token.clone();
        let server = Server::new().shutdown_token(&token).listen(listener, move |_stream, mut connection| {
            let ends = ends.clone();
            async move {
                drops_what_it_holds(|held| connection.unless_shutdown(held)).await;
                ends.shutdown();
            }
        });
        let running = spawn(server.run());
        let _client = TcpStream::connect(address).await.unwrap();
        assert_eq!(running.await.unwrap().unwrap().panicked, 0);
    },
    in_part "futures::Scope" => async {
        static NUMBER: TaskLocal<u8> = TaskLocal::new();
        drops_what_it_holds(|held| NUMBER.scope(7, held)).await;
    },
};

const OTHERS: &[Case] = cases! {
    safe "UdpSocket::send_to" => sends_all(udp_towards, async |s, to, datagrams| {
        impatiently!(s.send_to(&datagrams[0], *to)).map(|_| 1)
    }),
    safe "UnixDatagram::send_to" => sends_all(unix_towards, async |s, to, datagrams| {
        impatiently!(s.send_to(&datagrams[0], to)).map(|_| 1)
    }),
    safe "UdpSocket::recv_many" => receives_all(udp, async |s, _| {
        let mut batch = RecvBatch::new(4, 400);
        impatiently!(s.recv_many(&mut batch))?;
        Ok(batch.iter().map(|datagram| datagram.bytes().len()).collect())
    }),
    safe "UdpSocket::send_many" => sends_all(udp_towards, async |s, to, datagrams| {
        let datagrams = datagrams.iter().take(3).map(|bytes| (&bytes[..], *to));
        impatiently!(s.send_many(datagrams.clone()))
    }),
    safe "UdpSocket::send_segmented" => sends_all(udp_towards, async |s, to, datagrams| {
        let bytes = &datagrams[0];
        impatiently!(s.send_segmented(bytes, bytes.len(), Some(*to))).map(|_| 1)
    }),
    safe "Duplex::read" => async {
        let (mut one, mut other) = duplex(64);
        let writing = spawn(async move {
            for part in BYTES.take(5_000).chunks(50) {
                one.write_all(part).await.unwrap();
                yield_now().await;
            }
        });
        let (mut received, mut buffer) = (Vec::new(), [0; 40]);
        while let count @ 1.. = impatiently!(other.read(&mut buffer)).unwrap() {
            received.extend_from_slice(&buffer[..count]);
        }
        assert!(received == BYTES.take(5_000));
        writing.await.unwrap();
    },
    not_safe "Duplex::write_all" => async {
        let (mut one, mut other) = duplex(16);
        assert!(given_up_at(1, one.write_all(&BYTES.take(100))).await.is_none());
        drop(one);
        let mut buffer = [0; 100];
        assert_eq!(other.read(&mut buffer).await.unwrap(), 16);
        assert_eq!(buffer[..16], BYTES.take(16));
        assert_eq!(other.read(&mut buffer).await.unwrap(), 0);
    },
    safe "Signal::recv" => async {
        let mut arrivals = signal(SignalKind::user_defined2()).unwrap();
        for _ in 0..5 {
            assert!(given_up_at(1, arrivals.recv()).await.is_none());
            raise("USR2").await;
            impatiently!(arrivals.recv()).unwrap();
        }
        assert!(given_up_at(1, arrivals.recv()).await.is_none(), "it was heard of once");
    },
    in_part "signal::ctrl_c" => async {
        let mut heard = signal(SignalKind::interrupt()).unwrap();
        assert!(given_up_at(1, ctrl_c()).await.is_none());
        raise("INT").await;
        heard.recv().await.unwrap();
        assert!(given_up_at(1, ctrl_c()).await.is_none(), "it was nobody's");
        let (mut kept, raising) = (pin!(ctrl_c()), raise("INT"));
        assert!(given_up_at(1, kept.as_mut()).await.is_none());
        raising.await;
        kept.await.unwrap();
    },
    in_part "time::advance" => async {
        // A runtime of its own, whose time is virtual.
        let advanced = spawn_blocking(|| {
            let runtime = Builder::new().virtual_time(true).build().unwrap();
            runtime.block_on(async {
                let begin = Instant::now();
                let _sleeper = spawn(sleep(Duration::from_secs(3)));
                yield_now().await;
                given_up_at(1, advance(Duration::from_secs(10))).await;
                let reached = Instant::now() - begin;
                assert!(reached <= Duration::from_secs(10));
                advance(Duration::from_secs(10) - reached).await;
                Instant::now() - begin
            })
        });
        assert_eq!(advanced.await.unwrap(), Duration::from_secs(10));
    },
    safe "Interval::tick" => async {
        let period = Duration::from_millis(2);
        let mut interval = interval(period);
        let mut before = impatiently!(interval.tick());
        for _ in 0..5 {
            let due = impatiently!(interval.tick());
            assert!(due - before >= period && due <= Instant::now());
            before = due;
        }
    },
    safe "futures::Sleep" => async {
        let begin = Instant::now();
        let mut slept = pin!(sleep(Duration::from_millis(5)));
        impatiently!(slept.as_mut());
        assert!(begin.elapsed() >= Duration::from_millis(5));
        assert!(given_up_at(1, sleep(LIMIT)).await.is_none()); // its timer is gone: see the baseline
    },
    in_part "futures::Timeout" => async {
        let drops = Drops::new();
        let guard = drops.guard();
        let held = async move {
            std::future::pending::<()>().await;
            drop(guard);
        };
        assert!(given_up_at(1, timeout(LIMIT, held)).await.is_none());
        assert_eq!(drops.count(), 1);
    },
    safe "futures::YieldNow" => async {
        for _ in 0..10 {
            assert!(given_up_at(1, yield_now()).await.is_none());
        }
    },
    safe "futures::JoinHandle" => async {
        for _ in 0..50 {
            let (go, gone) = oneshot::channel();
            let mut handle = spawn(gone);
            assert!(given_up_at(1, &mut handle).await.is_none());
            go.send(7).unwrap();
            assert_eq!(impatiently!(&mut handle).unwrap(), Ok(7));
        }
    },
    safe "futures::Cancel" => async {
        for _ in 0..50 {
            let drops = Drops::new();
            let guard = drops.guard();
            let handle = spawn(async move {
                let _guard = guard;
                std::future::pending::<()>().await;
            });
            yield_now().await;
            given_up_at(1, handle.cancel()).await;
            while drops.count() == 0 {
                yield_now().await;
            }
        }
    },
    safe "TaskGroup::join_next" => async {
        let mut group = group_of(100);
        let mut sum = 0;
        while let Some(result) = impatiently!(group.join_next()) {
            sum += result.unwrap();
        }
        assert_eq!(sum, 100 * 99 / 2);
    },
    in_part "TaskGroup::join_all" => async {
        let mut group = group_of(100);
        let mut lost = 100;
        for at in 1..=3 {
            if let Some(results) = given_up_at(at, group.join_all()).await {
                lost -= results.len();
            }
            lost = lost.min(100);
        }
        let left = group.len();
        assert!(left <= lost);
        assert_eq!(group.join_all().await.len(), left, "what was not taken is still there");
    },
    safe "TaskGroup::shutdown" => async {
        let drops = Drops::new();
        let mut group = TaskGroup::new();
        for _ in 0..50 {
            let guard = drops.guard();
            group.spawn(async move {
                let _guard = guard;
                std::future::pending::<()>().await;
            });
        }
        impatiently!(group.shutdown());
        assert_eq!((drops.count(), group.len()), (50, 0));
    },
};
