//! Which public types may cross threads, be shared between them, and be moved. Proved when this file is compiled.
//!
//! A wrong `Send` is the most common way in which an async library turns out unsound, and a missing one the most common way
//! in which an update breaks its users, so both directions are written down.

use std::cell::Cell;
use std::future::Ready;
use std::marker::PhantomPinned;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::rc::Rc;
use std::time::Duration;

use wakeful::codec::{
    Bytes, Delimited, Framed, LengthDelimited, Lines, Outbox, OutboxWriter, Parts, SendError,
};
use wakeful::io::{AsyncFd, CopyError};
use wakeful::net::inherited::Inherited;
use wakeful::net::{
    Addresses, Connection, Copying, Datagram, Incoming, Keepalive, OwnedReadHalf, OwnedWriteHalf,
    PeerCredentials, ReadHalf, Received, RecvBatch, ReuniteError, SentSegments, Server,
    ServerReport, ServerStats, TcpListener, TcpSocket, TcpStream, UdpSocket, UnixDatagram,
    UnixListener, UnixStream, WithFds, WriteHalf, lookup_host,
};
use wakeful::signal::{Signal, SignalKind, ctrl_c};
use wakeful::{
    Builder, Cancel, Culprit, EnterGuard, Handle, Histogram, JoinError, JoinHandle, Metrics,
    Runtime, Scope, ShutdownReport, ShutdownToken, ShutdownWait, Stall, TaskGroup, TaskId,
    TaskInfo, TaskLocal, TaskReport, TaskState, ThreadState, UnlessShutdown, Wait, WorkerMetrics,
    YieldNow,
};

/// Compiles only if the type has the trait.
macro_rules! is {
    ($type:ty: $($bound:path),+) => {
        const _: fn() = || {
            fn check<T: ?Sized $(+ $bound)+>() {}
            check::<$type>();
        };
    };
}

/// Compiles only if the type does not have the trait: otherwise two implementations fit.
macro_rules! is_not {
    ($type:ty: $bound:path) => {
        const _: fn() = || {
            trait Ambiguous<Choice> {
                fn choose() {}
            }
            impl<T: ?Sized> Ambiguous<()> for T {}
            struct Has;
            impl<T: ?Sized + $bound> Ambiguous<Has> for T {}
            let _ = <$type as Ambiguous<_>>::choose;
        };
    };
}

/// `Send`, not `Sync`.
type SendOnly = Cell<u8>;
/// A descriptor that must stay where it is.
type OnOneThread = Rc<std::io::PipeReader>;
/// Neither.
type Neither = Rc<u8>;

is!(Runtime: Send, Sync, Unpin);
is!(Handle: Send, Sync, Unpin, Clone);
is!(Builder: Send, Sync, Unpin, Clone, UnwindSafe, RefUnwindSafe);
is!(Metrics: Send, Sync, Unpin, Clone, UnwindSafe, RefUnwindSafe);
is!(TaskId: Send, Sync, Unpin, Copy, Ord, std::hash::Hash, UnwindSafe, RefUnwindSafe);
is!(WorkerMetrics: Send, Sync, Unpin, Clone, std::fmt::Display, UnwindSafe, RefUnwindSafe);
is!(Histogram: Send, Sync, Unpin, Clone, Eq, std::fmt::Display, UnwindSafe, RefUnwindSafe);
is!(TaskReport: Send, Sync, Unpin, Clone, std::fmt::Display, UnwindSafe, RefUnwindSafe);
is!(TaskState: Send, Sync, Unpin, Clone, Eq, std::fmt::Display, UnwindSafe, RefUnwindSafe);
is!(Wait: Send, Sync, Unpin, Copy, Ord, std::fmt::Display, UnwindSafe, RefUnwindSafe);
is!(Stall: Send, Sync, Unpin, Clone, std::fmt::Display, UnwindSafe, RefUnwindSafe);
is!(Culprit: Send, Sync, Unpin, Clone, std::fmt::Display, UnwindSafe, RefUnwindSafe);
is!(ThreadState: Send, Sync, Unpin, Clone, Eq, std::fmt::Display, UnwindSafe, RefUnwindSafe);
is!(TaskLocal<Rc<()>>: Send, Sync, Unpin, UnwindSafe, RefUnwindSafe);
is!(Scope<Cell<u8>, Ready<()>>: Send, Unpin, UnwindSafe);
is!(TaskInfo: Send, Sync, Unpin, Clone, std::fmt::Display, UnwindSafe, RefUnwindSafe);
is!(ShutdownReport: Send, Sync, Unpin, Clone, std::fmt::Display, UnwindSafe, RefUnwindSafe);
is!(ShutdownToken: Send, Sync, Unpin, Clone, Default);
is!(ShutdownWait: Send, Sync, Unpin, Future);
is!(UnlessShutdown<'static, u8>: Send, Sync, Unpin);
is_not!(UnlessShutdown<'static, Neither>: Send);
is!(YieldNow: Send, Sync, Unpin);

// The guard changes a thread-local of the thread that made it.
is_not!(EnterGuard<'static>: Send);
is_not!(EnterGuard<'static>: Sync);

is!(JoinError: Send, Sync, Unpin, std::error::Error);
is!(std::io::Error: From<JoinError>);

is!(JoinHandle<u8>: Send, Sync, Unpin, UnwindSafe, RefUnwindSafe);
is!(JoinHandle<SendOnly>: Send, Sync, Unpin);
// Whoever has the handle of a local task gets its output, so the handle stays where the output must stay.
is_not!(JoinHandle<Neither>: Send);
is_not!(JoinHandle<Neither>: Sync);
is!(JoinHandle<Neither>: Unpin, UnwindSafe, RefUnwindSafe);

is!(Cancel<u8>: Send, Sync, Unpin);
is!(Cancel<SendOnly>: Send, Sync, Unpin);
is_not!(Cancel<Neither>: Send);
is_not!(Cancel<Neither>: Sync);
is!(Cancel<Neither>: Unpin);

is!(TaskGroup<u8>: Send, Sync, Unpin, Default);
is!(TaskGroup<SendOnly>: Send, Unpin);
is_not!(TaskGroup<Neither>: Send);

is!(AsyncFd<std::io::PipeReader>: Send, Sync, Unpin);
is!(TcpListener: Send, Sync, Unpin);
is!(TcpStream: Send, Sync, Unpin);
is!(TcpSocket: Send, Sync, Unpin);
is_not!(AsyncFd<OnOneThread>: Send);
is_not!(AsyncFd<OnOneThread>: Sync);
is!(Incoming<'static>: Send, Sync, Unpin);
is!(Server: Send, Unpin, Default);
is!(ServerStats: Send, Sync, Unpin, Clone);
is!(ServerReport: Send, Sync, Unpin, Copy, std::fmt::Display, UnwindSafe, RefUnwindSafe);
is!(Connection: Send, Sync, Unpin);
is!(OwnedReadHalf: Send, Sync, Unpin);
is!(OwnedWriteHalf: Send, Sync, Unpin);
is!(ReadHalf<'static>: Send, Sync, Unpin);
is!(WriteHalf<'static>: Send, Sync, Unpin);
is!(ReuniteError: Send, Sync, Unpin, std::error::Error);
is!(Keepalive: Send, Sync, Unpin);
is!(Addresses: Send, Sync, Unpin, Clone, ExactSizeIterator, UnwindSafe, RefUnwindSafe);
is!(Inherited: Send, Sync, Unpin, std::fmt::Display);
is!(UdpSocket: Send, Sync, Unpin);
is!(Received: Send, Sync, Unpin, Copy);
is!(RecvBatch: Send, Sync, Unpin);
is!(Datagram<'static>: Send, Sync, Unpin, Copy);
is!(SentSegments: Send, Sync, Unpin, Copy);
is!(UnixListener: Send, Sync, Unpin);
is!(UnixStream: Send, Sync, Unpin);
is!(UnixDatagram: Send, Sync, Unpin);
is!(Incoming<'static, UnixStream>: Send, Sync, Unpin);
is!(OwnedReadHalf<UnixStream>: Send, Sync, Unpin);
is!(OwnedWriteHalf<UnixStream>: Send, Sync, Unpin);
is!(ReadHalf<'static, UnixStream>: Send, Sync, Unpin);
is!(WriteHalf<'static, UnixStream>: Send, Sync, Unpin);
is!(ReuniteError<UnixStream>: Send, Sync, Unpin, std::error::Error);
is!(WithFds: Send, Sync, Unpin);
is!(PeerCredentials: Send, Sync, Unpin, Copy);
is!(Copying: Send, Sync, Unpin, Default);
is!(CopyError: Send, Sync, Unpin, std::error::Error);
is!(std::io::Error: From<CopyError>, From<CopyError<(u64, u64)>>);

is!(Lines: Send, Sync, Unpin, Clone, UnwindSafe, RefUnwindSafe);
is!(Delimited: Send, Sync, Unpin, Clone, UnwindSafe, RefUnwindSafe);
is!(LengthDelimited: Send, Sync, Unpin, Clone, UnwindSafe, RefUnwindSafe);
is!(Bytes: Send, Sync, Unpin, Copy, UnwindSafe, RefUnwindSafe);
is!(Framed<TcpStream, Lines>: Send, Sync, Unpin);
is!(Framed<TcpStream, PhantomPinned>: Unpin);
is!(Framed<&'static TcpStream, SendOnly>: Send);
is_not!(Framed<&'static TcpStream, Neither>: Send);
is!(Parts<TcpStream, Lines>: Send, Sync, Unpin);
is!(Outbox<Lines>: Send, Sync, Unpin, Clone);
// Its senders encode at the same time.
is_not!(Outbox<SendOnly>: Sync);
is!(OutboxWriter: Send, Sync, Unpin);
is!(SendError: Send, Sync, Unpin, std::error::Error);
is!(std::io::Error: From<SendError>);

is!(Signal: Send, Sync, Unpin);
is!(SignalKind: Send, Sync, Unpin, Copy, std::hash::Hash, UnwindSafe, RefUnwindSafe);

// A future that is made of them can be spawned.
const _: fn() = || {
    fn check(_: impl Future + Send + 'static) {}
    check(async { wakeful::yield_now().await });
    fn check_copying(mut a: TcpStream, mut b: TcpStream) {
        check(async move {
            let _ = wakeful::io::copy(&mut a, &mut b).await;
            let _ = wakeful::io::copy_bidirectional(&mut a, &mut b).await;
            let _ = wakeful::net::copy(&mut a, &mut b).await;
            wakeful::net::copy_bidirectional(&mut a, &mut b).await
        });
    }
    let _ = check_copying;
    check(async { wakeful::spawn(async {}).await });
    check(async { wakeful::spawn(async {}).cancel().await });
    check(async { ctrl_c().await });
    check(lookup_host("localhost:80"));
    check(TcpStream::connect("localhost:80"));
    check(TcpStream::connect_timeout(
        ("localhost".to_owned(), 80),
        Duration::MAX,
    ));
    check(async {
        let (outbox, writer) = Outbox::new(Lines::new());
        let mut lines = Framed::new(TcpStream::connect("localhost:80").await?, Lines::new());
        outbox.send(&lines.next().await.expect("a line")?).await?;
        outbox.closed().await;
        lines.send("end").await?;
        writer.run(lines.into_parts().stream).await
    });
    check(async { TaskGroup::<u8>::new().join_next().await });
    check(async { TaskGroup::<u8>::new().join_all().await });
    check(async { TaskGroup::<u8>::new().shutdown().await });
    check(async { UnixStream::connect("path").await });
    check(async { UnixListener::bind("path")?.accept().await });
    check(async { UnixStream::pair()?.0.recv_with_fds(&mut [0], 1).await });
    check(async {
        let socket = UnixDatagram::unbound()?;
        socket.send_to(b"x", &socket.local_addr()?).await
    });
    check(async {
        let socket = UdpSocket::from_std(std::net::UdpSocket::bind("[::1]:0")?)?;
        let (peer, mut batch) = (socket.local_addr()?, RecvBatch::new(1, 1));
        socket.recv_many(&mut batch).await?;
        let _ = socket.send_segmented(b"xyz", 1, Some(peer)).await?;
        socket.send_many([(&b"x"[..], peer)]).await
    });
};

#[test]
fn the_matrix_compiles() {}
