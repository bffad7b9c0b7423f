//! No event waits behind a busy worker, and none that it takes in waits for more than its turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use futures::future::join_all;
use wakeful::net::{TcpListener, UnixStream};
use wakeful::{Metrics, spawn, yield_now};
use wakeful_tests::runtimes::runtime;
use wakeful_tests::watchdog::LIMIT;
use wakeful_tests::{eventually, on_workers, within};

#[test]
fn what_comes_while_a_task_computes_is_served_before_that_task_goes_on() {
    within(LIMIT, || {
        for (computing, quick) in [(1, 0), (1, 3), (2, 1), (3, 0)] {
            let runtime = runtime(1);
            let stop = Arc::new(AtomicBool::new(false));
            runtime.block_on(async {
                let quick = (0..quick).map(|_| spawn(yield_until(stop.clone())));
                let quick: Vec<_> = quick.collect();
                let tasks = (0..computing).map(|_| spawn(compute_beside_a_message()));
                for task in join_all(tasks).await {
                    task.unwrap();
                }
                stop.store(true, SeqCst);
                join_all(quick).await;
            });
        }
    });
}

/// Sends itself a message and computes, again and again: the message must have been read when it computes again.
///
/// Not the first ones, until its worker knows that the polls are slow; and a pause of the machine between quick polls may have it
/// forget that for a moment.
async fn compute_beside_a_message() {
    const LEARNING: usize = 20;
    const FORGOTTEN_MAX: usize = 10;
    let (here, there) = UnixStream::pair().unwrap();
    let served = Arc::new(AtomicUsize::new(0));
    let reader = spawn({
        let served = served.clone();
        async move {
            while let Ok(count @ 1..) = there.read(&mut [0; 64]).await {
                served.fetch_add(count, SeqCst);
            }
        }
    });
    let mut late = 0;
    for sent in 1..=60 {
        assert_eq!(here.try_write(&[7]).unwrap(), 1);
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(1) {}
        yield_now().await;
        if sent > LEARNING && served.load(SeqCst) < sent {
            late += 1;
        }
    }
    assert!(late <= FORGOTTEN_MAX, "{late} of 40 came late");
    drop(here);
    reader.await.unwrap();
}

#[test]
fn what_was_injected_gets_its_share_beside_events_that_fill_the_ring() {
    on_workers([1], |runtime| {
        const PAIRS: usize = 200; // as many tasks again as the ring has room for, with those of the other ends
        const INJECTED: usize = 100;
        let (stop, polls) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let echo = |stream: UnixStream| {
            let (stop, polls) = (stop.clone(), polls.clone());
            spawn(async move {
                while !stop.load(SeqCst) && stream.write(&[7]).await.is_ok() {
                    let received = stream.read(&mut [0; 64]).await;
                    polls.fetch_add(1, SeqCst);
                    if !matches!(received, Ok(1..)) {
                        return;
                    }
                }
            })
        };
        let waited = runtime.block_on(async {
            let pairs = (0..PAIRS).map(|_| UnixStream::pair().unwrap());
            let tasks: Vec<_> = pairs
                .flat_map(|(left, right)| [echo(left), echo(right)])
                .collect();
            while polls.load(SeqCst) < 20 * PAIRS {
                yield_now().await;
            }
            let handle = wakeful::Handle::current();
            let spawning = thread::spawn({
                let polls = polls.clone();
                move || {
                    let tasks = [(); INJECTED].map(|()| {
                        let polls = polls.clone();
                        handle.spawn(async move { polls.load(SeqCst) })
                    });
                    (tasks, polls.load(SeqCst))
                }
            });
            while !spawning.is_finished() {
                yield_now().await;
            }
            let (injected, before) = spawning.join().unwrap();
            let mut last = 0;
            for task in injected {
                last = last.max(task.await.unwrap());
            }
            stop.store(true, SeqCst);
            join_all(tasks).await;
            last.saturating_sub(before)
        });
        // Half of the places that come free are theirs, and then they wait for a ring.
        assert!(
            waited <= 2 * INJECTED + 2 * 256,
            "{waited} polls of others came first"
        );
    });
}

#[test]
fn a_worker_that_has_nothing_to_do_looks_after_one_that_is_stuck() {
    on_workers([2, 4], |runtime| {
        let (begin, begun) = mpsc::channel();
        let (release, held) = mpsc::channel::<()>();
        let stuck = runtime.spawn(async move {
            begin.send(()).unwrap();
            held.recv().unwrap();
        });
        begun.recv().unwrap();
        let sweeps = |metrics: Metrics| metrics.each_worker.iter().map(|w| w.sweeps).sum::<u64>();
        let before = sweeps(runtime.metrics());
        eventually("it has looked again and again", || {
            sweeps(runtime.metrics()) > before + 20
        });
        release.send(()).unwrap();
        runtime.block_on(stuck).unwrap();
    });
}

#[test]
fn beside_tasks_that_stay_the_connections_of_a_stuck_worker_are_served() {
    on_workers([2], |runtime| {
        const CONNECTIONS: usize = 20;
        let stop = Arc::new(AtomicBool::new(false));
        // Whichever worker is stuck later, the other has only tasks that are not `Send`, and they leave it no rest.
        let staying = [0, 0, 1, 1].map(|worker| {
            let stop = stop.clone();
            (runtime.handle()).spawn_pinned(worker, || yield_until(stop))
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = runtime.spawn(async move {
            let mut connections = Vec::new();
            for _ in 0..CONNECTIONS {
                let (stream, _) = listener.accept().await.unwrap();
                connections.push(spawn(async move {
                    let mut byte = [0];
                    while stream.read(&mut byte).await.unwrap() == 1 {
                        assert_eq!(stream.write(&byte).await.unwrap(), 1);
                    }
                }));
            }
            join_all(connections).await;
        });
        let connect = |()| std::net::TcpStream::connect(address).unwrap();
        let mut clients = [(); CONNECTIONS].map(connect);
        let mut echo_all = || {
            use std::io::{Read, Write};
            for client in &mut clients {
                client.write_all(&[7]).unwrap();
            }
            for client in &mut clients {
                client.read_exact(&mut [0]).unwrap();
            }
        };
        echo_all();
        let (begin, begun) = mpsc::channel();
        let (release, held) = mpsc::channel::<()>();
        let stuck = runtime.spawn(async move {
            begin.send(()).unwrap();
            held.recv().unwrap();
        });
        begun.recv().unwrap();
        echo_all();
        release.send(()).unwrap();
        runtime.block_on(stuck).unwrap();
        stop.store(true, SeqCst);
        drop(clients);
        runtime.block_on(server).unwrap();
        for task in staying {
            runtime.block_on(task).unwrap();
        }
    });
}

async fn yield_until(stop: Arc<AtomicBool>) {
    while !stop.load(SeqCst) {
        yield_now().await;
    }
}
