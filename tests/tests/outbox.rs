//! The outbox: whole frames, in order, within bounds, from anywhere; and its end.

use std::io::ErrorKind;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use wakeful::codec::{Bytes, Framed, LengthDelimited, Lines, Outbox, SendError};
use wakeful::io::duplex;
use wakeful::{Builder, Handle};
use wakeful_tests::futures::waker;
use wakeful_tests::tcp::pair;
use wakeful_tests::{bytes, on_workers, within};

/// Half of the senders are threads of no runtime, the others tasks.
#[test]
fn a_million_frames_of_eight_senders_arrive_whole_and_in_their_senders_order() {
    within(Duration::from_secs(300), || {
        let runtime = Builder::new().workers(2).build().unwrap();
        runtime.block_on(async {
            let (sending, receiving) = pair().await;
            let codec = LengthDelimited::new().max_bytes(LEN_MAX);
            let (outbox, writer) = Outbox::new(codec.clone());
            let writing = wakeful::spawn(writer.run(sending));

            let mut threads = Vec::new();
            let mut tasks = Vec::new();
            for sender in 0..SENDERS_COUNT {
                let outbox = outbox.clone();
                if sender % 2 == 0 {
                    threads.push(thread::spawn(move || {
                        let mut bytes = vec![0; LEN_MAX];
                        for number in 0..FRAMES_PER_SENDER {
                            outbox
                                .send_blocking(frame(sender, number, &mut bytes))
                                .unwrap();
                        }
                    }));
                } else {
                    tasks.push(wakeful::spawn(async move {
                        let mut bytes = vec![0; LEN_MAX];
                        for number in 0..FRAMES_PER_SENDER {
                            let frame = frame(sender, number, &mut bytes);
                            match outbox.try_send(frame) {
                                Err(SendError::Full) => outbox.send(frame).await.unwrap(),
                                sent => sent.unwrap(),
                            }
                        }
                    }));
                }
            }
            drop(outbox);

            let mut expected = [0; SENDERS_COUNT];
            let mut bytes = vec![0; LEN_MAX];
            let mut frames = Framed::new(receiving, codec);
            while let Some(received) = frames.next().await {
                let received = received.unwrap();
                let sender = usize::from(received[0]);
                let due = frame(sender, expected[sender], &mut bytes);
                assert!(
                    received == due,
                    "frame {} of sender {sender}",
                    expected[sender]
                );
                expected[sender] += 1;
            }
            assert_eq!(expected, [FRAMES_PER_SENDER; SENDERS_COUNT]);
            writing.await.unwrap().unwrap();
            for task in tasks {
                task.await.unwrap();
            }
            threads
                .into_iter()
                .for_each(|thread| thread.join().unwrap());
        });
    });

    /// One in a hundred is long.
    fn frame(sender: usize, number: usize, bytes: &mut [u8]) -> &[u8] {
        let mut dice = [0; 8];
        bytes::Bytes(sender as u64).fill(8 * number, &mut dice);
        let dice = u64::from_le_bytes(dice) as usize;
        let len_max = if dice.is_multiple_of(100) {
            LEN_MAX
        } else {
            200
        };
        let len = 8 + (dice >> 8) % (len_max - 8);
        let frame = &mut bytes[..len];
        frame.fill(number as u8);
        frame[0] = sender as u8;
        frame[1..8].copy_from_slice(&(number as u64).to_le_bytes()[..7]);
        frame
    }

    const SENDERS_COUNT: usize = 8;
    const LEN_MAX: usize = 8_000;
    const FRAMES_PER_SENDER: usize = if cfg!(debug_assertions) {
        12_500
    } else {
        125_000
    };
}

#[test]
fn a_full_outbox_refuses_and_a_waiting_sender_gets_in_by_its_turn() {
    on_workers([1], |runtime| {
        runtime.block_on(async {
            let (client, mut server) = duplex(1);
            let (outbox, writer) = Outbox::with_capacity(Bytes, 4);
            outbox.try_send("abcdefgh").unwrap(); // alone, it may be larger
            assert!(matches!(outbox.try_send("x"), Err(SendError::Full)));

            let mut first = Box::pin(outbox.send("1"));
            let mut impatient = Box::pin(outbox.send("2222"));
            let mut third = Box::pin(outbox.send("33"));
            let mut fourth = Box::pin(outbox.send("4444"));
            assert!(futures::poll!(&mut first).is_pending());
            assert!(futures::poll!(&mut impatient).is_pending());
            assert!(futures::poll!(&mut third).is_pending());
            assert!(futures::poll!(&mut fourth).is_pending());
            drop(impatient);

            let writing = wakeful::spawn(writer.run(client));
            let reading = wakeful::spawn(async move {
                let (mut all, mut byte) = (Vec::new(), [0]);
                while server.read(&mut byte).await.unwrap() == 1 {
                    all.push(byte[0]);
                }
                String::from_utf8(all).unwrap()
            });
            // The last one first: being asked does not matter, having asked does.
            fourth.await.unwrap();
            first.await.unwrap();
            third.await.unwrap();
            drop(outbox);
            assert_eq!(reading.await.unwrap(), "abcdefgh1334444");
            writing.await.unwrap().unwrap();
        });
    });
}

#[test]
fn who_waits_behind_one_that_gives_up_is_let_in() {
    let (outbox, _writer) = Outbox::with_capacity(Bytes, 4);
    outbox.try_send("a").unwrap();
    let wakes = Arc::new(AtomicUsize::new(0));
    let counts = wakes.clone();
    let waker = waker(move || {
        counts.fetch_add(1, SeqCst);
    });
    let mut cx = Context::from_waker(&waker);
    let mut large = Box::pin(outbox.send("2222"));
    let mut small = pin!(outbox.send("33"));
    assert!(large.as_mut().poll(&mut cx).is_pending());
    assert!(small.as_mut().poll(&mut cx).is_pending());
    assert!(
        matches!(outbox.try_send("4"), Err(SendError::Full)),
        "nobody overtakes"
    );
    drop(large);
    assert_eq!(wakes.load(SeqCst), 1);
    assert!(matches!(small.as_mut().poll(&mut cx), Poll::Ready(Ok(()))));
    outbox.try_send("4").unwrap();
    assert!(matches!(outbox.try_send("5"), Err(SendError::Full)));
}

#[test]
fn a_frame_that_cannot_be_encoded_is_refused_and_the_next_one_goes() {
    wakeful::block_on(async {
        let (client, server) = duplex(64);
        let (outbox, writer) = Outbox::new(Lines::new());
        let error = outbox.send("one\ntwo").await.unwrap_err();
        assert!(matches!(error, SendError::Encode(_)));
        assert_eq!(std::io::Error::from(error).kind(), ErrorKind::InvalidInput);
        outbox.send("three").await.unwrap();
        drop(outbox);
        writer.run(client).await.unwrap();
        let mut lines = Framed::new(server, Lines::new());
        assert_eq!(lines.next().await.unwrap().unwrap(), "three");
        assert!(lines.next().await.is_none());
    });
}

#[test]
fn a_close_refuses_who_waits_and_writes_what_was_accepted() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let (client, server) = duplex(64);
            let (outbox, writer) = Outbox::with_capacity(Lines::new(), 4);
            outbox.send("one").await.unwrap();
            let mut waiting = Box::pin(outbox.send("two"));
            assert!(futures::poll!(&mut waiting).is_pending());
            let mut closed = Box::pin(outbox.closed());
            assert!(futures::poll!(&mut closed).is_pending());
            outbox.clone().close();
            closed.await;
            assert!(outbox.is_closed());
            assert!(matches!(waiting.await, Err(SendError::Closed)));
            let error = outbox.try_send("three").unwrap_err();
            assert_eq!(error.to_string(), "the connection takes no frames any more");
            assert_eq!(std::io::Error::from(error).kind(), ErrorKind::BrokenPipe);

            writer.run(client).await.unwrap();
            let mut lines = Framed::new(server, Lines::new());
            assert_eq!(lines.next().await.unwrap().unwrap(), "one");
            assert!(lines.next().await.is_none());
        });
    });
}

/// Whether the writer is aborted, fails, or never runs.
#[test]
fn all_hear_of_a_connection_that_is_gone() {
    on_workers([1, 2], |runtime| {
        for how in ["aborted", "failed", "never run"] {
            runtime.block_on(async {
                let (client, server) = duplex(1);
                let (outbox, writer) = Outbox::with_capacity(Bytes, 1);
                outbox.send("ab").await.unwrap();
                let thread = thread::spawn({
                    let outbox = outbox.clone();
                    move || outbox.send_blocking("c")
                });
                let task = wakeful::spawn({
                    let outbox = outbox.clone();
                    async move { outbox.send("d").await }
                });
                let watching = wakeful::spawn({
                    let outbox = outbox.clone();
                    async move { outbox.closed().await }
                });
                match how {
                    "aborted" => {
                        assert!(wakeful::spawn(writer.run(client)).cancel().await.is_err())
                    }
                    "failed" => {
                        drop(server);
                        let error = writer.run(client).await.unwrap_err();
                        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
                    }
                    _ => drop(writer),
                }
                watching.await.unwrap();
                assert!(matches!(task.await.unwrap(), Err(SendError::Closed)));
                assert!(matches!(thread.join().unwrap(), Err(SendError::Closed)));
                assert!(matches!(outbox.send("e").await, Err(SendError::Closed)));
            });
        }
    });
}

#[test]
fn the_peer_reads_the_end_when_the_last_handle_is_dropped_and_can_still_talk() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let (client, server) = pair().await;
            let (outbox, writer) = Outbox::new(Lines::new());
            let client = Arc::new(client);
            let writing = wakeful::spawn({
                let client = client.clone();
                async move { writer.run(&*client).await }
            });
            let other = outbox.clone();
            drop(outbox);
            other.send("hello").await.unwrap();
            drop(other);
            writing.await.unwrap().unwrap();
            let mut server = Framed::new(server, Lines::new());
            assert_eq!(server.next().await.unwrap().unwrap(), "hello");
            assert!(server.next().await.is_none());
            server.send("goodbye").await.unwrap();
            let mut client = Framed::new(&*client, Lines::new());
            assert_eq!(client.next().await.unwrap().unwrap(), "goodbye");
        });
    });
}

/// The one thread that owns the socket, and another that talks to the peer through it.
#[test]
fn a_thread_sends_through_a_runtime_that_sleeps() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let (client, server) = pair().await;
            let (outbox, writer) = Outbox::new(Lines::new());
            let writing = wakeful::spawn(writer.run(client));
            let (heard, next) = async_channel::unbounded();
            let thread = thread::spawn(move || {
                assert!(Handle::try_current().is_none());
                for number in 0..100 {
                    outbox.send_blocking(&number.to_string()).unwrap();
                    assert_eq!(next.recv_blocking().unwrap(), number.to_string());
                }
            });
            let mut lines = Framed::new(server, Lines::new());
            while let Some(line) = lines.next().await {
                heard.send(line.unwrap()).await.unwrap();
            }
            writing.await.unwrap().unwrap();
            thread.join().unwrap();
        });
    });
}
