//! What a case of frames, of an outbox, of a server or of its end does.

use std::collections::BTreeSet;
use std::future::{Future, pending};
use std::io;

use futures::channel::oneshot;
use wakeful::codec::{Framed, Lines, Outbox, OutboxWriter};
use wakeful::io::{Duplex, duplex};
use wakeful::net::{Server, ServerReport, TcpListener, TcpStream};
use wakeful::{JoinHandle, spawn, yield_now};
use wakeful_tests::Drops;
use wakeful_tests::futures::given_up_at;

/// So many frames are sent in a case.
pub(crate) const FRAMES: usize = 100;

pub(crate) fn frame(number: usize) -> String {
    format!("frame number {number}")
}

/// Both ends of a connection with little room, one of them framed.
pub(crate) fn framed() -> (Framed<Duplex, Lines>, Duplex) {
    let (one, other) = duplex(32);
    (Framed::new(one, Lines::new()).with_high_water(64), other)
}

/// Reads frames to the end, slowly.
pub(crate) fn read(stream: Duplex) -> JoinHandle<Vec<String>> {
    spawn(async move {
        let mut frames = Vec::new();
        let mut lines = Framed::new(stream, Lines::new());
        while let Some(line) = lines.next().await {
            frames.push(line.expect("frames stay whole"));
            yield_now().await;
        }
        frames
    })
}

/// Sends them all, slowly.
pub(crate) fn send(stream: Duplex) -> JoinHandle<()> {
    spawn(async move {
        let mut lines = Framed::new(stream, Lines::new());
        for number in 0..FRAMES {
            lines.send(&*frame(number)).await.unwrap();
            yield_now().await;
        }
        lines.close().await.unwrap();
    })
}

pub(crate) async fn assert_all_arrive(reading: JoinHandle<Vec<String>>) {
    let expected: Vec<_> = (0..FRAMES).map(frame).collect();
    assert_eq!(reading.await.unwrap(), expected);
}

/// Frames whose sending was given up may have been sent or not; the others have been.
pub(crate) async fn assert_whole(reading: JoinHandle<Vec<String>>, sent: &BTreeSet<usize>) {
    let arrived = reading.await.unwrap();
    let numbers: Vec<usize> = arrived
        .iter()
        .map(|text| text.rsplit(' ').next().unwrap().parse().unwrap())
        .collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "each once, in order");
    assert!(sent.is_subset(&numbers.into_iter().collect()));
    assert!(sent.len() < FRAMES, "some were given up");
}

/// An outbox with little room, and who reads what is written.
pub(crate) fn outbox() -> (Outbox<Lines>, OutboxWriter, Duplex, JoinHandle<Vec<String>>) {
    let (one, other) = duplex(32);
    let (outbox, writer) = Outbox::with_capacity(Lines::new(), 64);
    (outbox, writer, one, read(other))
}

/// A server whose future is dropped cuts its connection off.
pub(crate) async fn cuts_off<F>(run: impl FnOnce(Server) -> F)
where
    F: Future<Output = io::Result<ServerReport>>,
{
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let drops = Drops::new();
    let guard = drops.guard();
    let (came, has_come) = oneshot::channel();
    let mut served = Some((came, guard));
    let server = Server::new().listen(listener, move |_stream, _connection| {
        let (came, guard) = served.take().expect("there is one client");
        async move {
            let _guard = guard;
            came.send(()).unwrap();
            pending::<()>().await;
        }
    });
    let mut running = Box::pin(run(server));
    assert!(given_up_at(1, running.as_mut()).await.is_none());
    let client = TcpStream::connect(address).await.unwrap();
    futures::future::select(running.as_mut(), has_come).await;
    drop(running);
    let ended = client.read(&mut [0]).await;
    assert!(!matches!(ended, Ok(1)));
    while drops.count() == 0 {
        yield_now().await;
    }
    assert!(TcpStream::connect(address).await.is_err());
}

/// What drops `held`, when it is dropped itself, before that is ready.
pub(crate) async fn drops_what_it_holds<F: Future>(
    hold: impl FnOnce(std::pin::Pin<Box<dyn Future<Output = ()> + Send>>) -> F,
) {
    let drops = Drops::new();
    let guard = drops.guard();
    let held = Box::pin(async move {
        let _guard = guard;
        pending::<()>().await;
    });
    assert!(given_up_at(1, hold(held)).await.is_none());
    assert_eq!(drops.count(), 1);
}
