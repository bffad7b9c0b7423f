//! Workers that look for events before they sleep miss nothing that would have ended the sleep; and workers on CPUs of their own.

use std::fs;
use std::io::{Read, Write};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use futures::channel::oneshot;
use wakeful::net::{TcpListener, TcpStream};
use wakeful::time::sleep;
use wakeful::{Builder, BusyPoll, Runtime};
use wakeful_tests::runtimes::assert_baseline;
use wakeful_tests::watchdog::LIMIT;
use wakeful_tests::{eventually, within, yields};

/// Not at all; so long that a worker polls nearly always; never anything else.
const MODES: [BusyPoll; 3] = [
    BusyPoll::Off,
    BusyPoll::Adaptive(Duration::from_secs(1)),
    BusyPoll::Always,
];

fn in_all_modes(test: impl Fn(&Runtime) + Clone + Send + 'static) {
    for mode in MODES {
        for workers in [1, 2, 4] {
            let test = test.clone();
            within(LIMIT, move || {
                let runtime = Builder::new()
                    .workers(workers)
                    .busy_poll(mode)
                    .build()
                    .unwrap();
                test(&runtime);
                assert_baseline(&runtime);
            });
        }
    }
}

#[test]
fn messages_timers_and_wakes_from_other_threads_arrive() {
    in_all_modes(|runtime| {
        let handle = runtime.handle().clone();
        runtime.block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let server = wakeful::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut buffer = [0; 8];
                while stream.read(&mut buffer).await.unwrap() > 0 {
                    stream.write_all(&buffer).await.unwrap();
                }
            });
            let mut client = TcpStream::connect(address).await.unwrap();
            for round in 0..200_u64 {
                client.write_all(&round.to_le_bytes()).await.unwrap();
                let mut back = [0; 8];
                client.read_exact(&mut back).await.unwrap();
                assert_eq!(u64::from_le_bytes(back), round);
                if round % 20 == 0 {
                    sleep(Duration::from_micros(300)).await;
                    let (sender, receiver) = oneshot::channel();
                    let handle = handle.clone();
                    let foreign = thread::spawn(move || {
                        drop(handle.spawn(yields(3)));
                        sender.send(()).unwrap();
                    });
                    receiver.await.unwrap();
                    foreign.join().unwrap();
                }
            }
            drop(client);
            server.await.unwrap();
        });
    });
}

/// A notification that is looked at and not taken would keep a worker from its sleep for ever.
#[test]
fn an_adaptive_worker_falls_asleep_in_the_end() {
    const ROUNDS: usize = 1000;
    for workers in [1, 2] {
        within(LIMIT, move || {
            let runtime = Builder::new()
                .workers(workers)
                .busy_poll(BusyPoll::Adaptive(Duration::from_millis(1)))
                .build()
                .unwrap();
            let handle = runtime.handle().clone();
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let (done, is_done) = oneshot::channel::<()>();
            let watching = thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                for _ in 0..ROUNDS {
                    stream.read_exact(&mut [0; 8]).unwrap();
                    stream.write_all(&[7; 8]).unwrap();
                }
                eventually("all workers sleep", || {
                    handle.metrics().workers_parked == workers
                });
                done.send(()).unwrap();
            });
            runtime.block_on(async {
                let mut stream = TcpStream::connect(address).await.unwrap();
                for _ in 0..ROUNDS {
                    stream.write_all(&[7; 8]).await.unwrap();
                    stream.read_exact(&mut [0; 8]).await.unwrap();
                }
                is_done.await.unwrap();
            });
            watching.join().unwrap();
        });
    }
}

/// What is injected for all, or waits with a sibling that does not come to it, finds a worker that never sleeps.
#[test]
fn a_worker_that_never_sleeps_looks_at_what_others_have() {
    in_all_modes(|runtime| {
        if runtime.handle().workers_count() == 1 {
            return;
        }
        runtime.block_on(async {
            let (sender, receiver) = mpsc::channel();
            for number in 0..300 {
                let sender = sender.clone();
                drop(wakeful::spawn(async move { sender.send(number).unwrap() }));
            }
            // This worker blocks until the others have run all that it has just queued.
            let mut ran: Vec<_> = (0..300).map(|_| receiver.recv().unwrap()).collect();
            ran.sort_unstable();
            assert!(ran.into_iter().eq(0..300));
        });
    });
}

#[test]
fn pinned_workers_have_a_cpu_each_and_what_they_start_is_free() {
    within(LIMIT, || {
        let allowed = allowed_here();
        let runtime = Builder::new().workers(2).pin_workers(true).build().unwrap();
        let of_workers: Vec<_> = (0..2)
            .map(|worker| {
                let task = runtime
                    .handle()
                    .spawn_pinned(worker, || async { allowed_here() });
                runtime.block_on(task).unwrap()
            })
            .collect();
        assert!(of_workers.iter().all(|cpus| cpus.len() == 1));
        assert_eq!(of_workers[0] == of_workers[1], allowed.len() == 1);
        let (blocking, main) = runtime.block_on(async {
            let blocking = wakeful::spawn_blocking(allowed_here).await.unwrap();
            (blocking, allowed_here())
        });
        assert_eq!((blocking, main), (allowed.clone(), of_workers[0].clone()));
        assert_eq!(allowed_here(), allowed, "it may run as before");
    });
}

/// The CPUs on which the calling thread may run.
fn allowed_here() -> Vec<usize> {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
        .expect("the kernel tells it");
    list.trim()
        .split(',')
        .flat_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            first.parse::<usize>().unwrap()..=last.parse().unwrap()
        })
        .collect()
}
