//! The connection in memory: bytes in order, a bound, an end.

use std::io::ErrorKind;
use std::time::Duration;

use futures::io::{AsyncReadExt, AsyncWriteExt};
use wakeful::Builder;
use wakeful::io::duplex;
use wakeful::time::{Instant, interval, sleep, timeout};
use wakeful_tests::on_workers;

#[test]
fn what_one_end_writes_the_other_reads_in_order() {
    on_workers([1, 2], |runtime| {
        for capacity in [1, 7, 100] {
            runtime.block_on(async {
                let (mut client, mut server) = duplex(capacity);
                let sent: Vec<u8> = (0..2_000 * capacity)
                    .map(|n| (n * 31 % 251) as u8)
                    .collect();
                let expected = sent.clone();
                let writer = wakeful::spawn(async move {
                    client.write_all(&sent).await.unwrap();
                    client.close().await.unwrap();
                    let mut echoed = Vec::new();
                    client.read_to_end(&mut echoed).await.unwrap();
                    echoed
                });
                let mut received = Vec::new();
                server.read_to_end(&mut received).await.unwrap();
                assert_eq!(received, expected);
                server.write_all(&received[..10]).await.unwrap();
                drop(server);
                assert_eq!(writer.await.unwrap(), expected[..10]);
            });
        }
    });
}

#[test]
fn a_writer_is_no_more_than_the_capacity_ahead() {
    on_workers([1], |runtime| {
        runtime.block_on(async {
            let (mut client, mut server) = duplex(10);
            assert_eq!(client.write(&[1; 64]).await.unwrap(), 10);
            let mut more = Box::pin(client.write(&[2; 64]));
            assert!(futures::poll!(&mut more).is_pending());
            assert_eq!(server.read(&mut [0; 3]).await.unwrap(), 3);
            assert_eq!(more.await.unwrap(), 3);
        });
    });
}

#[test]
fn an_end_that_is_gone_is_told_to_whoever_waits() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let (mut client, server) = duplex(4);
            let reader = wakeful::spawn(async move {
                let read = client.read(&mut [0; 4]).await;
                (client, read)
            });
            wakeful::yield_now().await;
            drop(server);
            let (mut client, read) = reader.await.unwrap();
            assert_eq!(read.unwrap(), 0);
            let error = client.write(b"x").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        });
    });
}

/// The whole life of a connection that dies of silence after a day, with a heartbeat each minute until then.
#[test]
fn a_server_with_a_day_of_patience_is_tested_in_no_time() {
    let really = std::time::Instant::now();
    let runtime = Builder::new().virtual_time(true).build().unwrap();
    runtime.block_on(async {
        const PATIENCE: Duration = Duration::from_secs(24 * 60 * 60);
        let begun = Instant::now();
        let (mut client, mut server) = duplex(64);
        let server = wakeful::spawn(async move {
            let mut beats = 0;
            let mut byte = [0];
            while let Ok(read) = timeout(PATIENCE, server.read_exact(&mut byte)).await {
                read.unwrap();
                server.write_all(&byte).await.unwrap();
                beats += 1;
            }
            (beats, begun.elapsed())
        });
        let mut minute = interval(Duration::from_secs(60));
        for number in 0..100_u8 {
            minute.tick().await;
            client.write_all(&[number]).await.unwrap();
            let mut answer = [0];
            client.read_exact(&mut answer).await.unwrap();
            assert_eq!(answer, [number]);
            assert_eq!(
                begun.elapsed().as_secs() / 60,
                u64::from(number),
                "the answer takes no time"
            );
        }
        sleep(PATIENCE / 2).await;
        assert!(!server.is_finished());
        let (beats, lasted) = server.await.unwrap();
        assert_eq!(beats, 100);
        assert_eq!(lasted.as_secs() / 60, 99 + 24 * 60);
    });
    assert!(really.elapsed() < Duration::from_secs(10));
}
