//! What a case does: it lets futures of one operation be dropped while bytes, datagrams, connections or descriptors are on
//! their way, and looks at what has come through.
//!
//! The far end of a connection is a thread's, a [`Peer`], which deals with bytes little by little.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{
    Ipv4Addr, Shutdown, SocketAddr, TcpListener as StdListener, TcpStream as StdStream,
    UdpSocket as UdpStd,
};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{
    SocketAddr as UnixAddr, UnixDatagram as UnixDatagramStd, UnixStream as UnixStd,
};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use futures::{AsyncRead, AsyncReadExt};
use wakeful::io::AsyncFd;
use wakeful::net::{
    Copying, OwnedReadHalf, OwnedWriteHalf, TcpStream, UdpSocket, UnixDatagram, UnixStream, WithFds,
};
use wakeful::{TaskGroup, spawn_blocking};
use wakeful_tests::futures::given_up_at;
use wakeful_tests::unix::small_listener;
use wakeful_tests::watchdog::LIMIT;
use wakeful_tests::{Bytes, yields};

// Connections, and what flows through them.

/// The far end of a connection.
pub(crate) enum Peer {
    Tcp(StdStream),
    Unix(UnixStd),
}

/// Makes a connection. Through a narrow one little goes at a time towards the peer.
pub(crate) type Open<S> = fn(Width) -> (Peer, S);

#[derive(Copy, Clone, PartialEq, Eq)]
pub(crate) enum Width {
    Usual,
    Narrow,
}

pub(crate) fn tcp(width: Width) -> (Peer, TcpStream) {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let peer = StdStream::connect(listener.local_addr().unwrap()).unwrap();
    let stream = TcpStream::from_std(listener.accept().unwrap().0).unwrap();
    peer.set_read_timeout(Some(LIMIT)).unwrap();
    peer.set_write_timeout(Some(LIMIT)).unwrap();
    if width == Width::Usual {
        return (Peer::Tcp(peer), stream);
    }
    let peer = TcpStream::from_std(peer).unwrap();
    peer.set_recv_buffer_size(32 << 10).unwrap();
    stream.set_send_buffer_size(32 << 10).unwrap();
    let peer = peer.into_std();
    peer.set_nonblocking(false).unwrap();
    (Peer::Tcp(peer), stream)
}

pub(crate) fn tcp_halves(width: Width) -> (Peer, (OwnedReadHalf, OwnedWriteHalf)) {
    let (peer, stream) = tcp(width);
    (peer, stream.into_split())
}

pub(crate) fn unix(width: Width) -> (Peer, UnixStream) {
    let (peer, stream) = UnixStd::pair().unwrap();
    peer.set_read_timeout(Some(LIMIT)).unwrap();
    peer.set_write_timeout(Some(LIMIT)).unwrap();
    let stream = UnixStream::from_std(stream).unwrap();
    if width == Width::Narrow {
        stream.set_send_buffer_size(32 << 10).unwrap(); // what is on the way counts as the sender's
    }
    (Peer::Unix(peer), stream)
}

pub(crate) fn unix_halves(
    width: Width,
) -> (
    Peer,
    (OwnedReadHalf<UnixStream>, OwnedWriteHalf<UnixStream>),
) {
    let (peer, stream) = unix(width);
    (peer, stream.into_split())
}

pub(crate) fn descriptor(width: Width) -> (Peer, AsyncFd<StdStream>) {
    let (peer, stream) = tcp(width);
    (peer, AsyncFd::new(stream.into_std()).unwrap())
}

impl Peer {
    pub(crate) fn tcp_to(address: SocketAddr) -> Self {
        Self::Tcp(StdStream::connect(address).unwrap())
    }

    fn end_writing(&self) {
        match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write).unwrap(),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write).unwrap(),
        }
    }

    /// Ends it in a way that the other end takes for more than the end of what is sent.
    fn hang_up(self) {
        match self {
            Self::Tcp(stream) => {
                let stream = TcpStream::from_std(stream).unwrap();
                stream.set_zero_linger(true).unwrap();
            }
            Self::Unix(stream) => drop(stream),
        }
    }
}

impl Read for Peer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Peer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Every byte that the peer sends, little by little, is read.
pub(crate) async fn reads_all<S>(
    open: Open<S>,
    mut read: impl AsyncFnMut(&mut S, &mut [u8]) -> io::Result<usize>,
) {
    let (peer, mut stream) = open(Width::Usual);
    let writing = spawn_blocking(move || written_little_by_little(peer));
    let (mut received, mut buffer) = (Vec::new(), [0; 1_000]);
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
pub(crate) async fn loses_what_it_read<S>(
    open: Open<S>,
    mut give_up: impl AsyncFnMut(&mut S, usize, &mut [u8]),
    mut read: impl AsyncFnMut(&mut S, &mut [u8]) -> io::Result<usize>,
) {
    for at in 1..=3 {
        let (peer, mut stream) = open(Width::Usual);
        let writing = spawn_blocking(move || drop(written_little_by_little(peer)));
        let (mut rest, mut buffer) = (Vec::new(), vec![0; SOME + 1]);
        give_up(&mut stream, at, &mut buffer).await;
        while let count @ 1.. = read(&mut stream, &mut buffer).await.unwrap() {
            rest.extend_from_slice(&buffer[..count]);
        }
        assert!(BYTES.take(SOME).ends_with(&rest));
        writing.await.unwrap();
    }
}

/// Every byte arrives at a peer that takes them little by little.
pub(crate) async fn writes_all<S>(
    open: Open<S>,
    mut write: impl AsyncFnMut(&mut S, &[u8]) -> io::Result<usize>,
) {
    let (mut peer, mut stream) = open(Width::Narrow);
    let reading = spawn_blocking(move || BYTES.expect(&mut peer, MUCH, 1_000));
    let (bytes, mut sent) = (BYTES.take(MUCH), 0);
    while sent < MUCH {
        match write(&mut stream, &bytes[sent..MUCH.min(sent + 100_000)]).await {
            Ok(count) => sent += count,
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
    }
    reading.await.unwrap().unwrap();
}

/// The peer gets a part of it, from the beginning.
pub(crate) async fn writes_a_part<S>(
    open: Open<S>,
    mut give_up: impl AsyncFnMut(&mut S, usize, &[u8]) -> bool,
) {
    for at in 1..=3 {
        let (peer, mut stream) = open(Width::Narrow);
        let reading = spawn_blocking(move || all_of(peer));
        let is_whole = give_up(&mut stream, at, &BYTES.take(MUCH)).await;
        drop(stream);
        let received = reading.await.unwrap();
        assert!(BYTES.take(MUCH).starts_with(&received) && !received.is_empty());
        assert_eq!(received.len() == MUCH, is_whole);
    }
}

/// Everything arrives, although one `Copying` is made to do it in many futures.
pub(crate) async fn copies_all(mut copy: impl AsyncFnMut(&mut Copying, &TcpStream, &TcpStream)) {
    let ((mut peer, from), (receiver, to)) = (tcp(Width::Usual), tcp(Width::Narrow));
    let sending = spawn_blocking(move || BYTES.send(&mut peer, MUCH, 1 << 17));
    let receiving = spawn_blocking(move || all_of(receiver));
    let mut copying = Copying::new();
    copy(&mut copying, &from, &to).await;
    assert_eq!(copying.copied(), MUCH as u64);
    to.shutdown(Shutdown::Write).unwrap();
    assert!(receiving.await.unwrap() == BYTES.take(MUCH));
    sending.await.unwrap().unwrap();
}

/// A part arrives, another part is still to be read, and nothing is out of place.
pub(crate) async fn copies_a_part(
    mut give_up: impl AsyncFnMut(usize, &mut TcpStream, &mut TcpStream),
) {
    for at in 1..=3 {
        let ((mut peer, mut from), (receiver, mut to)) = (tcp(Width::Usual), tcp(Width::Narrow));
        let sending = spawn_blocking(move || BYTES.send(&mut peer, MUCH, 1 << 17));
        let receiving = spawn_blocking(move || all_of(receiver));
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

pub(crate) async fn hears_of_the_end<S>(
    open: Open<S>,
    mut closed: impl AsyncFnMut(&mut S) -> io::Result<()>,
) {
    let (peer, mut stream) = open(Width::Usual);
    let closing = spawn_blocking(move || {
        thread::sleep(Duration::from_millis(2));
        peer.end_writing();
        peer
    });
    closed(&mut stream).await.unwrap();
    closed(&mut stream).await.unwrap();
    drop(closing.await.unwrap());
}

pub(crate) async fn hears_of_a_hang_up<S>(
    open: Open<S>,
    mut closed: impl AsyncFnMut(&mut S) -> io::Result<()>,
) {
    let (peer, mut stream) = open(Width::Usual);
    let closing = spawn_blocking(move || {
        thread::sleep(Duration::from_millis(2));
        peer.hang_up();
    });
    closed(&mut stream).await.unwrap();
    closed(&mut stream).await.unwrap();
    closing.await.unwrap();
}

/// Everybody who connects is accepted, in the order of their connecting.
pub(crate) async fn accepts_all<S: AsyncRead + Unpin>(
    mut connect: impl FnMut() -> Peer + Send + 'static,
    mut accept: impl AsyncFnMut() -> S,
) {
    const COUNT: u8 = 50;
    let connecting = spawn_blocking(move || {
        let connected = (0..COUNT).map(|number| {
            thread::sleep(Duration::from_micros(100));
            let mut peer = connect();
            peer.write_all(&[number]).unwrap();
            peer
        });
        connected.collect::<Vec<_>>()
    });
    for number in 0..COUNT {
        let mut said = [0];
        accept().await.read_exact(&mut said).await.unwrap();
        assert_eq!(said, [number]);
    }
    drop(connecting.await.unwrap());
}

/// A connection that was given up leaves nothing, and the next attempt is made.
pub(crate) async fn connects(mut connect: impl AsyncFnMut(SocketAddr) -> io::Result<TcpStream>) {
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

/// The same with a listener whose backlog is full, which is the only thing that such an attempt waits for.
pub(crate) async fn connects_where_there_is_no_room(
    mut connect: impl AsyncFnMut(&Path) -> io::Result<UnixStream>,
) {
    let path = path("no-room");
    let _ = fs::remove_file(&path);
    let listener = small_listener(&path);
    let is_full = |error: io::Error| error.kind() == io::ErrorKind::WouldBlock;
    let mut clients = Vec::new();
    let full = loop {
        match connect(&path).await {
            Ok(client) => clients.push(client),
            Err(error) => break error,
        }
    };
    assert!(is_full(full) && clients.len() < 10);
    assert!(given_up_at(1, connect(&path)).await.is_none());
    for at in 2..=3 {
        let attempt = given_up_at(at, connect(&path)).await;
        assert!(attempt.is_none_or(|result| is_full(result.unwrap_err())));
    }
    for _ in &clients {
        listener.try_accept().unwrap();
    }
    assert!(is_full(listener.try_accept().unwrap_err())); // nothing of those that were given up
    let _client = connect(&path).await.unwrap();
    listener.try_accept().unwrap();
    fs::remove_file(&path).unwrap();
}

// Datagrams.

/// A socket that receives, and what sends to it.
pub(crate) type Receiver<S> = fn() -> (S, Sending);
pub(crate) type Sending = Box<dyn Fn(&[u8]) + Send + Sync>;

pub(crate) fn udp() -> (UdpSocket, Sending) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let peer = UdpStd::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    peer.connect(socket.local_addr().unwrap()).unwrap();
    (
        socket,
        Box::new(move |bytes| assert_eq!(peer.send(bytes).unwrap(), bytes.len())),
    )
}

pub(crate) fn unix_datagrams() -> (UnixDatagram, Sending) {
    let (peer, socket) = UnixDatagramStd::pair().unwrap();
    let socket = UnixDatagram::from_std(socket).unwrap();
    (
        socket,
        Box::new(move |bytes| assert_eq!(peer.send(bytes).unwrap(), bytes.len())),
    )
}

/// Each datagram is received once. `receive` returns the lengths of those that it has received.
pub(crate) async fn receives_all<S>(
    open: Receiver<S>,
    mut receive: impl AsyncFnMut(&S, &mut [u8]) -> io::Result<Vec<usize>>,
) {
    let (socket, send) = open();
    let (send, mut buffer) = (Arc::new(send), [0; 400]);
    // No more at a time than there is room for.
    for first in (1..DATAGRAMS).step_by(2) {
        let sending = spawn_blocking({
            let send = send.clone();
            move || {
                for len in [first, first + 1] {
                    thread::sleep(Duration::from_micros(50));
                    send(&BYTES.take(len));
                }
            }
        });
        let mut lens = Vec::new();
        while lens.len() < 2 {
            match receive(&socket, &mut buffer).await {
                Ok(received) => lens.extend(received),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
        assert_eq!(lens, [first, first + 1]);
        sending.await.unwrap();
    }
}

/// Where datagrams are sent to, and what receives there.
pub(crate) type Towards<S, A> = fn() -> (S, A, Receive);
pub(crate) type Receive = Box<dyn FnMut(&mut [u8]) -> usize + Send>;

/// A UDP socket that is connected to another.
pub(crate) fn udp_towards() -> (UdpSocket, SocketAddr, Receive) {
    let peer = UdpStd::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    peer.set_read_timeout(Some(LIMIT)).unwrap();
    let address = peer.local_addr().unwrap();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.connect(address).unwrap();
    let receive = move |buffer: &mut [u8]| peer.recv(buffer).unwrap();
    (socket, address, Box::new(receive))
}

/// A Unix datagram socket that is connected to another, which has room for a few and takes its time.
pub(crate) fn unix_towards() -> (UnixDatagram, UnixAddr, Receive) {
    let name = format!("wakeful-cancel-{}", std::process::id());
    let address = UnixAddr::from_abstract_name(name).unwrap();
    let peer = UnixDatagramStd::bind_addr(&address).unwrap();
    peer.set_read_timeout(Some(LIMIT)).unwrap();
    let socket = UnixDatagram::unbound().unwrap();
    socket.connect_addr(&address).unwrap();
    let receive = move |buffer: &mut [u8]| {
        thread::sleep(Duration::from_micros(50));
        peer.recv(buffer).unwrap()
    };
    (socket, address, Box::new(receive))
}

/// Each datagram is sent once. `send` sends the first of those that it is given, and says how many that were.
pub(crate) async fn sends_all<S, A>(
    open: Towards<S, A>,
    mut send: impl AsyncFnMut(&S, &A, &[Vec<u8>]) -> io::Result<usize>,
) {
    let (socket, to, mut receive) = open();
    let receiving = spawn_blocking(move || {
        let mut buffer = [0; 400];
        for number in 0..DATAGRAMS {
            let len = receive(&mut buffer);
            assert!(buffer[..len] == BYTES.take(number + 1), "{number}");
        }
    });
    let datagrams: Vec<_> = (1..=DATAGRAMS).map(|len| BYTES.take(len)).collect();
    let mut sent = 0;
    while sent < DATAGRAMS {
        match send(&socket, &to, &datagrams[sent..]).await {
            Ok(count) => sent += count,
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                yields(1).await;
            }
        }
    }
    receiving.await.unwrap();
}

// Others.

/// Each descriptor arrives once. `fill` sends something without one, as long as there is room.
pub(crate) async fn passes_descriptors(
    mut fill: impl FnMut() -> io::Result<usize>,
    mut send: impl AsyncFnMut(&[u8], &OwnedFd) -> io::Result<usize>,
    mut receive: impl AsyncFnMut(&mut [u8]) -> io::Result<WithFds>,
) {
    for number in 0..20 {
        let (mut reader, writer) = io::pipe().unwrap();
        let (writer, mut said) = (OwnedFd::from(writer), [0]);
        // Every other time the sender waits for room, and otherwise the receiver for something to receive.
        let mut filled = 0;
        while number % 2 == 0
            && let Ok(count) = fill()
        {
            filled += count;
        }
        let receiving = async {
            let mut buffer = [0; 100];
            if filled > 0 {
                yields(5).await;
            }
            while filled > 0 {
                let message = receive(&mut buffer[..filled.min(100)]).await.unwrap();
                assert!(message.fds.is_empty());
                filled -= message.received.len;
            }
            receive(&mut said).await.unwrap()
        };
        let sending = async {
            if number % 2 == 1 {
                yields(5).await;
            }
            assert_eq!(send(&[number], &writer).await.unwrap(), 1);
        };
        let (mut message, ()) = futures::join!(receiving, sending);
        assert_eq!((said, message.fds.len()), ([number], 1));
        drop(writer);
        File::from(message.fds.pop().unwrap())
            .write_all(b"!")
            .unwrap();
        let mut text = Vec::new();
        reader.read_to_end(&mut text).unwrap(); // ends, so no copy is left
        assert_eq!(text, b"!");
    }
}

/// Tasks that end one after the other, each with its number.
pub(crate) fn group_of(count: usize) -> TaskGroup<usize> {
    let mut group = TaskGroup::new();
    for number in 0..count {
        group.spawn(async move {
            yields(number % 7).await;
            number
        });
    }
    group
}

/// Sends a signal to this process. The one or other thread will have got it soon.
pub(crate) async fn raise(signal: &'static str) {
    let kill = format!("kill -{signal} {}", std::process::id());
    let sent = spawn_blocking(|| Command::new("sh").args(["-c"]).arg(kill).status());
    assert!(sent.await.unwrap().unwrap().success());
}

/// Where a Unix listener may be.
pub(crate) fn path(what: &str) -> PathBuf {
    std::env::temp_dir().join(format!("wakeful-cancel-{}-{what}", std::process::id()))
}

pub(crate) fn file_of(bytes: &[u8]) -> File {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap();
    let path = std::env::temp_dir().join(format!("wakeful-cancel-{}", std::process::id()));
    fs::write(&path, bytes).unwrap();
    let file = File::open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    file
}

fn written_little_by_little(mut peer: Peer) -> Peer {
    for part in BYTES.take(SOME).chunks(500) {
        peer.write_all(part).unwrap();
        thread::sleep(Duration::from_micros(20));
    }
    peer // a half of it may still be in use
}

fn all_of(mut peer: Peer) -> Vec<u8> {
    let mut bytes = Vec::new();
    peer.read_to_end(&mut bytes).unwrap();
    bytes
}

pub(crate) const BYTES: Bytes = Bytes(11);
const SOME: usize = 20_000;
const MUCH: usize = 3_000_000;
const DATAGRAMS: usize = 50;
