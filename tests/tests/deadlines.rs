//! Deadlines of sockets: what waits past one fails, what need not wait does not, and nobody waits longer.

use std::future::poll_fn;
use std::io::{ErrorKind, Write};
use std::pin::Pin;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use wakeful::net::{TcpListener, TcpStream};
use wakeful::time::{Instant, sleep, timeout};
use wakeful_tests::runtimes::runtime;
use wakeful_tests::watchdog::LIMIT;
use wakeful_tests::{on_workers, within};

const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn a_read_that_waits_past_its_deadline_fails_and_loses_nothing() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let (mut stream, mut peer) = pair().await;
            let begun = Instant::now();
            stream.set_read_deadline(Some(begun + MS * 5));
            let mut buffer = [0; 8];
            assert_timed_out(stream.read(&mut buffer).await);
            assert!(begun.elapsed() >= MS * 5);
            // At once, until there is another deadline.
            assert_timed_out(stream.read(&mut buffer).await);
            assert_timed_out(stream.readable().await);
            assert_timed_out(stream.peek(&mut buffer).await);
            assert_timed_out(stream.read_exact(&mut buffer).await);
            assert_eq!(stream.read_deadline(), Some(begun + MS * 5));

            stream.set_read_deadline(None);
            peer.write_all(b"here").unwrap();
            assert_eq!(stream.read(&mut buffer).await.unwrap(), 4);
            assert_eq!(&buffer[..4], b"here");
            assert_eq!(stream.read_deadline(), None);
        });
    });
}

#[test]
fn what_need_not_wait_succeeds_after_the_deadline() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let (stream, mut peer) = pair().await;
            let past = Instant::now() - HOUR;
            stream.set_read_deadline(Some(past));
            stream.set_write_deadline(Some(past));
            peer.write_all(b"early").unwrap();
            assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 5);
            assert_eq!(stream.write(b"answer").await.unwrap(), 6);
        });
    });
}

#[test]
fn a_write_that_waits_past_its_deadline_fails_and_the_other_direction_does_not() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let (mut stream, mut peer) = pair().await;
            stream.set_write_deadline(Some(Instant::now() + MS * 10));
            let error = stream.write_all(&vec![7; 64 << 20]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            assert_timed_out(stream.writable().await);
            peer.write_all(b"x").unwrap();
            assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 1);
        });
    });
}

/// As a server does that wants a sign of life now and then.
#[test]
fn a_deadline_that_is_put_off_with_every_message_fires_when_the_messages_end() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let (stream, mut peer) = pair().await;
            let sender = thread::spawn(move || {
                for _ in 0..20 {
                    thread::sleep(MS * 2);
                    peer.write_all(b"x").unwrap();
                }
                peer
            });
            let (mut count, mut last) = (0, Instant::now());
            let error = loop {
                stream.set_read_deadline(Some(Instant::now() + MS * 1000));
                match stream.read(&mut [0; 1]).await {
                    Ok(read) => count += read,
                    Err(error) => break error,
                }
                last = Instant::now();
            };
            assert_eq!((count, error.kind()), (20, ErrorKind::TimedOut));
            assert!(last.elapsed() >= MS * 999);
            drop(sender.join().unwrap());
        });
    });
}

#[test]
fn a_deadline_set_while_somebody_waits_holds_for_him() {
    on_workers([1, 2, 4], |runtime| {
        for earlier_than in [None, Some(HOUR)] {
            runtime.block_on(async {
                let (stream, _peer) = pair().await;
                stream.set_read_deadline(earlier_than.map(|late| Instant::now() + late));
                let stream = std::sync::Arc::new(stream);
                let (waiting, waits) = mpsc::channel();
                let reader = wakeful::spawn({
                    let stream = stream.clone();
                    async move {
                        let mut buffer = [0; 1];
                        let mut read = std::pin::pin!(stream.read(&mut buffer));
                        poll_fn(|cx| {
                            let polled = read.as_mut().poll(cx);
                            if polled.is_pending() {
                                let _ = waiting.send(());
                            }
                            polled
                        })
                        .await
                    }
                });
                while waits.try_recv().is_err() {
                    wakeful::yield_now().await;
                }
                stream.set_read_deadline(Some(Instant::now() + MS * 3));
                assert_timed_out(reader.await.unwrap());
            });
        }
    });
}

#[test]
fn a_deadline_taken_away_while_somebody_waits_does_not_fire() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let (stream, mut peer) = pair().await;
            let mut read = loop {
                stream.set_read_deadline(Some(Instant::now() + MS * 5));
                let mut read = Box::pin(async { stream.read(&mut [0; 1]).await });
                if futures::poll!(&mut read).is_pending() {
                    break read; // where the machine pauses, the deadline may have passed before
                }
            };
            stream.set_read_deadline(None);
            assert!(timeout(MS * 20, &mut read).await.is_err());
            peer.write_all(b"x").unwrap();
            assert_eq!(read.await.unwrap(), 1);
        });
    });
}

#[test]
fn deadlines_move_to_and_fro_and_the_last_one_counts() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            let (stream, _peer) = pair().await;
            let stream = std::sync::Arc::new(stream);
            for round in 0..50 {
                stream.set_read_deadline(Some(Instant::now() + HOUR));
                let reader = wakeful::spawn({
                    let stream = stream.clone();
                    async move { stream.read(&mut [0; 1]).await }
                });
                for step in 0..round % 7 {
                    wakeful::yield_now().await;
                    stream.set_read_deadline(Some(
                        Instant::now() + [HOUR, MS * 50, HOUR * 2][step % 3],
                    ));
                }
                stream.set_read_deadline(Some(Instant::now() + MS));
                assert_timed_out(reader.await.unwrap());
            }
        });
    });
}

#[test]
fn the_end_of_the_stream_has_no_deadline() {
    on_workers([1], |runtime| {
        runtime.block_on(async {
            let (stream, peer) = pair().await;
            stream.set_read_deadline(Some(Instant::now() + MS));
            let mut closed = Box::pin(stream.read_closed());
            assert!(timeout(MS * 10, &mut closed).await.is_err());
            drop(peer);
            closed.await.unwrap();
        });
    });
}

#[test]
fn a_stream_that_is_dropped_takes_its_timers_along() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            for _ in 0..100 {
                let (stream, _peer) = pair().await;
                stream.set_read_deadline(Some(Instant::now() + HOUR));
                let mut buffer = [0; 1];
                let mut read = Box::pin(stream.read(&mut buffer));
                assert!(futures::poll!(&mut read).is_pending());
                assert_eq!(wakeful::Handle::current().metrics().timers, 1);
                drop(read);
                drop(stream);
                assert_eq!(wakeful::Handle::current().metrics().timers, 0);
            }
        });
    });
}

#[test]
fn a_deadline_in_virtual_time_takes_no_time() {
    let runtime = wakeful::Builder::new().virtual_time(true).build().unwrap();
    let really = std::time::Instant::now();
    runtime.block_on(async {
        let (stream, _peer) = pair().await;
        let begun = Instant::now();
        stream.set_read_deadline(Some(begun + HOUR * 24));
        assert_timed_out(stream.read(&mut [0; 1]).await);
        assert!(begun.elapsed() >= HOUR * 24);
        sleep(HOUR).await;
    });
    assert!(really.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_poll_function_has_the_deadline_too() {
    use futures::io::AsyncRead;
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let (mut stream, _peer) = pair().await;
            stream.set_read_deadline(Some(Instant::now() + MS * 3));
            let mut buffer = [0; 1];
            let read = poll_fn(|cx| Pin::new(&mut stream).poll_read(cx, &mut buffer));
            assert_timed_out(read.await);
        });
    });
}

/// Its timer was armed by whoever waited first, there.
#[test]
fn a_deadline_outlives_another_runtime_in_which_its_timer_was_armed() {
    within(LIMIT, || {
        let [here, there] = [runtime(1), runtime(1)];
        let (stream, _peer) = here.block_on(pair());
        let wait = || async { timeout(MS, stream.read(&mut [0; 1])).await.is_err() };
        assert!(here.block_on(wait()), "registered here");
        stream.set_read_deadline(Some(Instant::now() + MS * 1000));
        assert!(there.block_on(wait()), "armed there");
        let ends = thread::spawn(move || {
            thread::sleep(MS * 20);
            drop(there);
        });
        assert_timed_out(here.block_on(stream.read(&mut [0; 1])));
        ends.join().unwrap();
    });
}

/// A hundred attempts at a window of some nanoseconds.
#[test]
fn a_deadline_set_while_the_first_wait_begins_holds() {
    on_workers([1, 2], |runtime| {
        for _ in 0..100 {
            runtime.block_on(async {
                let (stream, _peer) = pair().await;
                let stream = std::sync::Arc::new(stream);
                let setter = thread::spawn({
                    let stream = stream.clone();
                    move || stream.set_read_deadline(Some(Instant::now() + MS))
                });
                assert_timed_out(stream.read(&mut [0; 1]).await);
                setter.join().unwrap();
            });
        }
    });
}

/// A stream, and its other end that blocks.
async fn pair() -> (TcpStream, std::net::TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    (stream, peer)
}

#[track_caller]
fn assert_timed_out<R: std::fmt::Debug>(result: std::io::Result<R>) {
    assert_eq!(result.unwrap_err().kind(), ErrorKind::TimedOut);
}
