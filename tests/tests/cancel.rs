//! What is lost when a future is dropped: the table in `CANCEL_SAFETY.md`, against the sources and against what happens.
//!
//! A *case* drops futures of one operation at their first, second and third await, again and again, until one of them
//! resolves, or until enough was lost. It then compares what came through with what the table says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::future::poll_fn;
use std::io::{self, Cursor, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::Command;
use std::sync::Mutex;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use futures::channel::oneshot;
use wakeful::io::AsyncFd;
use wakeful::net::{
    self, Copying, OwnedReadHalf, OwnedWriteHalf, TcpListener, TcpSocket, TcpStream,
};
use wakeful::signal::{SignalKind, ctrl_c, signal};
use wakeful::time::{Instant, advance, interval, sleep, timeout};
use wakeful::{Builder, Runtime, TaskGroup, spawn, spawn_blocking, yield_now};
use wakeful_tests::watchdog::LIMIT;
use wakeful_tests::{Bytes, Drops, alone, on_workers};

#[test]
fn every_async_operation_has_a_row_and_every_row_an_operation() {
    let (table, found) = (table(), operations());
    assert!(found.len() > 40, "the sources have been read: {found:?}");
    let rows: BTreeSet<_> = table.keys().cloned().collect();
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
    let rows: BTreeSet<_> = table().into_iter().collect();
    let cases = CASES
        .iter()
        .map(|(name, safety, _)| (*name, safety.replace('_', " ")));
    let cases: BTreeSet<_> = cases
        .map(|(name, safety)| (name.to_owned(), safety))
        .collect();
    assert_eq!(cases.len(), CASES.len(), "no case is there twice");
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
            for (name, _, case) in CASES {
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

#[test]
fn the_reader_of_sources_sees_all_forms() {
    let text = "impl<T: AsFd> Thing<T> {\n    pub async fn one(&self) {}\n    pub fn two(\n        &self,\n    ) -> impl \
                Future<Output = ()> {\n    }\n    pub fn three(&self) -> u8 {}\n    pub(crate) async fn four() {}\n}\nimpl<S: \
                Deref<Target = X>> Other<S> {\n    pub fn five<F>(&self) -> impl Future<Output = ()>\n    where\n        F: \
                Fn(),\n    {\n}\npub struct Six;\nimpl<T> Future for Six {\n}\nstruct Seven;\nimpl Future for Seven {\n}\npub async fn \
                eight() {}\n// pub async fn nine() {}\n";
    let mut found = BTreeSet::new();
    read_operations("net", text, text, &mut found);
    let expected = [
        "Thing::one",
        "Thing::two",
        "Other::five",
        "futures::Six",
        "net::eight",
    ];
    assert_eq!(found, expected.map(str::to_owned).into());
}

type Case = fn(&Runtime);

/// Gives each name what it is, as the table says, and a future that shows it.
macro_rules! cases {
    ($($safety:ident $name:literal => $body:expr,)*) => {
        &[$(($name, stringify!($safety), |runtime| runtime.block_on($body))),*]
    };
}

/// Makes a future anew each time, and drops it at an await, until one resolves.
macro_rules! impatiently {
    ($future:expr) => {{
        let mut round = 0;
        loop {
            if let Some(output) = given_up_at(1 + round % 3, $future).await {
                break output;
            }
            round += 1;
            yield_now().await;
        }
    }};
}

const CASES: &[(&str, &str, Case)] = cases! {
    safe "TcpListener::accept" => accepts_all(),
    safe "TcpStream::connect" => connects(async |address| TcpStream::connect(address).await),
    safe "TcpSocket::connect" => connects(async |address| TcpSocket::new_v4()?.connect(address).await),

    safe "TcpStream::readable" => reads_all(whole, async |s, b| {
        impatiently!(s.readable()).unwrap();
        s.try_read(b)
    }),
    safe "TcpReader::readable" => reads_all(halves, async |s, b| {
        impatiently!(s.0.readable()).unwrap();
        s.0.try_read(b)
    }),
    safe "TcpStream::read_closed" => hears_of_the_end(whole, async |s| impatiently!(s.read_closed())),
    safe "TcpReader::read_closed" => hears_of_the_end(halves, async |s| impatiently!(s.0.read_closed())),
    safe "TcpStream::read" => reads_all(whole, async |s, b| impatiently!(s.read(b))),
    safe "TcpReader::read" => reads_all(halves, async |s, b| impatiently!(s.0.read(b))),
    safe "TcpStream::read_vectored" => reads_all(whole, async |s, b| {
        impatiently!(s.read_vectored(&mut [IoSliceMut::new(b)]))
    }),
    safe "TcpReader::read_vectored" => reads_all(halves, async |s, b| {
        impatiently!(s.0.read_vectored(&mut [IoSliceMut::new(b)]))
    }),
    safe "TcpStream::peek" => reads_all(whole, async |s, b| {
        let seen = impatiently!(s.peek(b))?;
        s.try_read(&mut b[..seen])
    }),
    safe "TcpReader::peek" => reads_all(halves, async |s, b| {
        let seen = impatiently!(s.0.peek(b))?;
        s.0.try_read(&mut b[..seen])
    }),
    safe "TcpStream::read_exact_into" => reads_all(whole, async |s, b| {
        let mut cursor = Cursor::new(b);
        impatiently!(s.read_exact_into(&mut cursor)).map(|()| cursor.position() as usize)
    }),
    safe "TcpReader::read_exact_into" => reads_all(halves, async |s, b| {
        let mut cursor = Cursor::new(b);
        impatiently!(s.0.read_exact_into(&mut cursor)).map(|()| cursor.position() as usize)
    }),
    not_safe "TcpStream::read_exact" => loses_what_it_read(whole, async |s, at, b| {
        drop(given_up_at(at, s.read_exact(b)).await);
    }, async |s, b| s.read(b).await),
    not_safe "TcpReader::read_exact" => loses_what_it_read(halves, async |s, at, b| {
        drop(given_up_at(at, s.0.read_exact(b)).await);
    }, async |s, b| s.0.read(b).await),

    safe "TcpStream::writable" => writes_all(whole, async |s, b| {
        impatiently!(s.writable()).unwrap();
        s.try_write(b)
    }),
    safe "TcpWriter::writable" => writes_all(halves, async |s, b| {
        impatiently!(s.1.writable()).unwrap();
        s.1.try_write(b)
    }),
    safe "TcpStream::hung_up" => hears_of_a_reset(whole, async |s| impatiently!(s.hung_up())),
    safe "TcpWriter::hung_up" => hears_of_a_reset(halves, async |s| impatiently!(s.1.hung_up())),
    safe "TcpStream::write" => writes_all(whole, async |s, b| impatiently!(s.write(b))),
    safe "TcpWriter::write" => writes_all(halves, async |s, b| impatiently!(s.1.write(b))),
    safe "TcpStream::write_vectored" => writes_all(whole, async |s, b| {
        impatiently!(s.write_vectored(&[IoSlice::new(b)]))
    }),
    safe "TcpWriter::write_vectored" => writes_all(halves, async |s, b| {
        impatiently!(s.1.write_vectored(&[IoSlice::new(b)]))
    }),
    safe "TcpStream::write_all_from" => writes_all(whole, async |s, b| {
        let mut cursor = Cursor::new(b);
        impatiently!(s.write_all_from(&mut cursor)).map(|()| cursor.position() as usize)
    }),
    safe "TcpWriter::write_all_from" => writes_all(halves, async |s, b| {
        let mut cursor = Cursor::new(b);
        impatiently!(s.1.write_all_from(&mut cursor)).map(|()| cursor.position() as usize)
    }),
    not_safe "TcpStream::write_all" => writes_a_part(whole, async |s, at, b| {
        given_up_at(at, s.write_all(b)).await.is_some()
    }),
    not_safe "TcpWriter::write_all" => writes_a_part(halves, async |s, at, b| {
        given_up_at(at, s.1.write_all(b)).await.is_some()
    }),
    not_safe "TcpStream::send_file" => writes_a_part(whole, async |s, at, b| {
        let file = file_of(b);
        given_up_at(at, s.send_file(&file, ..)).await.is_some()
    }),
    not_safe "TcpWriter::send_file" => writes_a_part(halves, async |s, at, b| {
        let file = file_of(b);
        given_up_at(at, s.1.send_file(&file, ..)).await.is_some()
    }),

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
    safe "AsyncFd::hung_up" => hears_of_a_reset(descriptor, async |s| impatiently!(s.hung_up())),

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
        assert!(given_up_at(1, ctrl_c()).await.is_none());
        raise("INT").await; // it is caught from the first call on, and ends nothing
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

// What a case does.

/// Polls the future until it resolves, or drops it at this of its awaits.
async fn given_up_at<F: Future>(at: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = at;
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => {
            left -= 1;
            if left == 0 {
                Poll::Ready(None)
            } else {
                Poll::Pending
            }
        }
    })
    .await
}

fn whole(stream: StdStream) -> TcpStream {
    TcpStream::from_std(stream).unwrap()
}

fn halves(stream: StdStream) -> (OwnedReadHalf, OwnedWriteHalf) {
    whole(stream).into_split()
}

fn descriptor(stream: StdStream) -> AsyncFd<StdStream> {
    AsyncFd::new_nonblocking(stream).unwrap()
}

/// Every byte that the peer sends, little by little, is read.
async fn reads_all<S>(
    open: fn(StdStream) -> S,
    mut read: impl AsyncFnMut(&mut S, &mut [u8]) -> io::Result<usize>,
) {
    let (mut peer, stream) = pair();
    let writing = spawn_blocking(move || {
        for part in BYTES.take(SOME).chunks(500) {
            peer.write_all(part).unwrap();
            thread::sleep(Duration::from_micros(20));
        }
        peer // a half of it may still be in use
    });
    let (mut stream, mut received, mut buffer) = (open(stream), Vec::new(), [0; 1_000]);
    while received.len() < SOME {
        match read(&mut stream, &mut buffer).await {
            Ok(count) => received.extend_from_slice(&buffer[..count]),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
    }
    assert!(received == BYTES.take(SOME));
    drop(writing.await.unwrap());
}

/// What a dropped read has taken does not come again, and nothing else is lost.
async fn loses_what_it_read<S>(
    open: fn(StdStream) -> S,
    mut give_up: impl AsyncFnMut(&mut S, usize, &mut [u8]),
    mut read: impl AsyncFnMut(&mut S, &mut [u8]) -> io::Result<usize>,
) {
    for at in 1..=3 {
        let (mut peer, stream) = pair();
        let writing = spawn_blocking(move || {
            for part in BYTES.take(SOME).chunks(500) {
                peer.write_all(part).unwrap();
                thread::sleep(Duration::from_micros(20));
            }
        });
        let (mut stream, mut rest, mut buffer) = (open(stream), Vec::new(), vec![0; SOME + 1]);
        give_up(&mut stream, at, &mut buffer).await;
        while let count @ 1.. = read(&mut stream, &mut buffer).await.unwrap() {
            rest.extend_from_slice(&buffer[..count]);
        }
        assert!(BYTES.take(SOME).ends_with(&rest));
        writing.await.unwrap();
    }
}

/// Every byte arrives at a peer that takes them little by little.
async fn writes_all<S>(
    open: fn(StdStream) -> S,
    mut write: impl AsyncFnMut(&mut S, &[u8]) -> io::Result<usize>,
) {
    let (mut peer, stream) = narrow_pair();
    let reading = spawn_blocking(move || BYTES.expect(&mut peer, MUCH, 1_000));
    let (mut stream, bytes, mut sent) = (open(stream), BYTES.take(MUCH), 0);
    while sent < MUCH {
        match write(&mut stream, &bytes[sent..MUCH.min(sent + 100_000)]).await {
            Ok(count) => sent += count,
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
    }
    reading.await.unwrap().unwrap();
}

/// The peer gets a part of it, from the beginning.
async fn writes_a_part<S>(
    open: fn(StdStream) -> S,
    mut give_up: impl AsyncFnMut(&mut S, usize, &[u8]) -> bool,
) {
    for at in 1..=3 {
        let (peer, stream) = narrow_pair();
        let reading = spawn_blocking(move || all_of(peer));
        let mut stream = open(stream);
        let is_whole = give_up(&mut stream, at, &BYTES.take(MUCH)).await;
        drop(stream);
        let received = reading.await.unwrap();
        assert!(BYTES.take(MUCH).starts_with(&received) && !received.is_empty());
        assert_eq!(received.len() == MUCH, is_whole);
    }
}

/// Everything arrives, although one `Copying` is made to do it in many futures.
async fn copies_all(mut copy: impl AsyncFnMut(&mut Copying, &TcpStream, &TcpStream)) {
    let ((mut peer, from), (receiver, to)) = (pair(), narrow_pair());
    let sending = spawn_blocking(move || BYTES.send(&mut peer, MUCH, 1 << 17));
    let receiving = spawn_blocking(move || all_of(receiver));
    let (from, to, mut copying) = (whole(from), whole(to), Copying::new());
    copy(&mut copying, &from, &to).await;
    assert_eq!(copying.copied(), MUCH as u64);
    to.shutdown(Shutdown::Write).unwrap();
    assert!(receiving.await.unwrap() == BYTES.take(MUCH));
    sending.await.unwrap().unwrap();
}

/// A part arrives, another part is still to be read, and nothing is out of place.
async fn copies_a_part(mut give_up: impl AsyncFnMut(usize, &mut TcpStream, &mut TcpStream)) {
    for at in 1..=3 {
        let ((mut peer, from), (receiver, to)) = (pair(), narrow_pair());
        let sending = spawn_blocking(move || BYTES.send(&mut peer, MUCH, 1 << 17));
        let receiving = spawn_blocking(move || all_of(receiver));
        let (mut from, mut to) = (whole(from), whole(to));
        give_up(at, &mut from, &mut to).await;
        drop(to);
        let received = receiving.await.unwrap();
        let (mut rest, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
        while let count @ 1.. = from.read(&mut buffer).await.unwrap() {
            rest.extend_from_slice(&buffer[..count]);
        }
        let bytes = BYTES.take(MUCH);
        assert!(bytes.starts_with(&received) && bytes.ends_with(&rest));
        assert!(received.len() + rest.len() <= MUCH);
        sending.await.unwrap().unwrap();
    }
}

async fn hears_of_the_end<S>(
    open: fn(StdStream) -> S,
    mut closed: impl AsyncFnMut(&mut S) -> io::Result<()>,
) {
    let (peer, stream) = pair();
    let mut stream = open(stream);
    let closing = spawn_blocking(move || {
        thread::sleep(Duration::from_millis(2));
        peer.shutdown(Shutdown::Write).unwrap();
        peer
    });
    closed(&mut stream).await.unwrap();
    closed(&mut stream).await.unwrap();
    drop(closing.await.unwrap());
}

async fn hears_of_a_reset<S>(
    open: fn(StdStream) -> S,
    mut closed: impl AsyncFnMut(&mut S) -> io::Result<()>,
) {
    let (peer, stream) = pair();
    let mut stream = open(stream);
    let closing = spawn_blocking(move || {
        thread::sleep(Duration::from_millis(2));
        whole(peer).set_zero_linger(true).unwrap();
    });
    closed(&mut stream).await.unwrap();
    closed(&mut stream).await.unwrap();
    closing.await.unwrap();
}

async fn accepts_all() {
    let listener = TcpListener::bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = listener.local_addr().unwrap();
    let connecting = spawn_blocking(move || {
        (0..50)
            .map(|_| {
                thread::sleep(Duration::from_micros(100));
                StdStream::connect(address).unwrap()
            })
            .map(|stream| stream.local_addr().unwrap())
            .collect::<Vec<_>>()
    });
    let mut accepted = Vec::new();
    while accepted.len() < 50 {
        accepted.push(impatiently!(listener.accept()).unwrap().1);
    }
    assert_eq!(accepted, connecting.await.unwrap());
}

/// A connection that was given up leaves nothing, and the next attempt is made.
async fn connects(mut connect: impl AsyncFnMut(SocketAddr) -> io::Result<TcpStream>) {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    for at in 1..=3 {
        drop(given_up_at(at, connect(address)).await);
    }
    let stream = connect(address).await.unwrap();
    let ours = stream.local_addr().unwrap();
    let mut peers = std::iter::repeat_with(|| listener.accept().unwrap().1);
    assert!(peers.any(|peer| peer == ours));
}

/// Tasks that end one after the other, each with its number.
fn group_of(count: usize) -> TaskGroup<usize> {
    let mut group = TaskGroup::new();
    for number in 0..count {
        group.spawn(async move {
            wakeful_tests::yields(number % 7).await;
            number
        });
    }
    group
}

/// Sends a signal to this process, which has got it afterwards.
async fn raise(signal: &'static str) {
    let kill = format!("kill -{signal} {}", std::process::id());
    let sent = spawn_blocking(|| Command::new("sh").args(["-c"]).arg(kill).status());
    assert!(sent.await.unwrap().unwrap().success());
}

fn pair() -> (StdStream, StdStream) {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let one = StdStream::connect(listener.local_addr().unwrap()).unwrap();
    let (other, _) = listener.accept().unwrap();
    one.set_read_timeout(Some(LIMIT)).unwrap();
    one.set_write_timeout(Some(LIMIT)).unwrap();
    (one, other)
}

/// One through which little goes at a time towards the first.
fn narrow_pair() -> (StdStream, StdStream) {
    let (one, other) = pair();
    let (one, other) = (whole(one), whole(other));
    one.set_recv_buffer_size(32 << 10).unwrap();
    other.set_send_buffer_size(32 << 10).unwrap();
    let (one, other) = (one.into_std(), other.into_std());
    one.set_nonblocking(false).unwrap();
    (one, other)
}

fn all_of(mut stream: StdStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

fn file_of(bytes: &[u8]) -> fs::File {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap();
    let path = std::env::temp_dir().join(format!("wakeful-cancel-{}", std::process::id()));
    fs::write(&path, bytes).unwrap();
    let file = fs::File::open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    file
}

const BYTES: Bytes = Bytes(11);
const SOME: usize = 20_000;
const MUCH: usize = 3_000_000;

// The table, and the sources.

/// What the table says of each operation: the type or module and the name, and the safety.
fn table() -> BTreeMap<String, String> {
    let text = fs::read_to_string(library().join("CANCEL_SAFETY.md")).unwrap();
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with('|')).skip(2) {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [of, operations, safety, when] = cells[..] else {
            panic!("four cells are expected: {line}");
        };
        assert!(["safe", "in part", "not safe"].contains(&safety), "{line}");
        assert!(!when.is_empty(), "{line}");
        for of in of.split(", ") {
            for operation in operations.split(", ") {
                let name = format!("{}::{}", of.trim_matches('`'), operation.trim_matches('`'));
                let twice = rows.insert(name, safety.to_owned());
                assert!(twice.is_none(), "it has a row already: {line}");
            }
        }
    }
    rows
}

/// Every public async operation of the library, and every public type that is a future.
fn operations() -> BTreeSet<String> {
    fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            match entry.path() {
                path if path.is_dir() => walk(&path, found),
                path => found.push(path),
            }
        }
    }
    let root = library().join("src");
    let mut paths = Vec::new();
    walk(&root, &mut paths);
    let texts: Vec<_> = paths
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let all = texts.concat();
    let mut found = BTreeSet::new();
    for (path, text) in paths.iter().zip(&texts) {
        let relative = path.strip_prefix(&root).unwrap();
        let module = relative
            .components()
            .next()
            .unwrap()
            .as_os_str()
            .to_str()
            .unwrap();
        let text = text.split("#[cfg(all(test").next().unwrap();
        read_operations(module.trim_end_matches(".rs"), text, &all, &mut found);
    }
    found
}

/// Those in the text of a file of `module`. What is public by name is in a text of `all`.
fn read_operations(module: &str, text: &str, all: &str, found: &mut BTreeSet<String>) {
    let mut of = module.to_owned();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let line = line.trim_end();
        if line.starts_with("impl") && line.ends_with('{') {
            of = implementor(line);
            let is_public = all.contains(&format!("pub struct {of}"));
            if line.contains(" Future for ") && is_public {
                found.insert(format!("futures::{of}"));
            }
        } else if line == "}" {
            of = module.to_owned();
        }
        let mut signature = line.trim_start().to_owned();
        if !signature.starts_with("pub fn ") && !signature.starts_with("pub async fn ") {
            continue;
        }
        while !signature.contains('{') {
            signature += lines.next().expect("a signature ends with its body");
        }
        let is_async = signature.starts_with("pub async") || signature.contains("-> impl Future");
        if is_async {
            let (_, name) = signature.split_once("fn ").unwrap();
            let name: String = name
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            found.insert(format!("{of}::{name}"));
        }
    }
}

/// The name of the type that a line `impl … {` is about.
fn implementor(line: &str) -> String {
    let after = line.trim_start_matches("impl");
    // Past the parameters, in which brackets may be nested.
    let mut depth = 0;
    let end = after.char_indices().find(|&(at, c)| {
        depth += i32::from(c == '<') - i32::from(c == '>' && !after[..at].ends_with('-'));
        depth == 0
    });
    let (at, first) = end.unwrap();
    let rest = if first == '>' {
        &after[at + 1..]
    } else {
        after
    };
    let subject = rest.split(" for ").last().unwrap().trim();
    subject
        .chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

fn library() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime")
}
