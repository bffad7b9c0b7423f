//! What has to wait while a worker is stuck in a poll: the task that it polls, those that belong to its thread, and nothing else.

use std::future::poll_fn;
use std::io::{Read, Write};
use std::net;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::task::Poll;
use std::time::Duration;

use wakeful::net::TcpStream;
use wakeful::time::{Sleep, sleep};
use wakeful::{Runtime, spawn, spawn_local, yield_now};
use wakeful_tests::process::may_open;
use wakeful_tests::runtimes::{assert_baseline, runtime};
use wakeful_tests::watchdog::LIMIT;
use wakeful_tests::{alone, eventually, within};

const CONNECTIONS: usize = 1000;
const TIMERS: usize = 1000;
const QUEUED: usize = 200; // no more than a ring holds

#[test]
fn a_thousand_connections_of_both_workers_are_served_while_either_is_stuck() {
    on_two_workers(
        "a_thousand_connections_of_both_workers_are_served_while_either_is_stuck",
        |runtime| {
            let mut clients = Clients::connected(CONNECTIONS, |stream| {
                drop(runtime.spawn(echo(stream)));
            });
            clients.are_served();
            for worker in [0, 1] {
                has_sources(runtime, worker, CONNECTIONS / 4);
            }
            for worker in [0, 1, 0, 1] {
                while_stuck(runtime, worker, || {
                    for _ in 0..3 {
                        clients.are_served();
                    }
                });
                clients.are_served(); // now that it is back
            }
        },
    );
}

#[test]
fn a_thousand_connections_are_served_while_the_future_of_a_block_on_is_stuck() {
    on_two_workers(
        "a_thousand_connections_are_served_while_the_future_of_a_block_on_is_stuck",
        |runtime| {
            let mut clients = Clients::connected(CONNECTIONS, |stream| {
                drop(runtime.spawn(echo(stream)));
            });
            clients.are_served();
            runtime.block_on(async {
                for _ in 0..3 {
                    clients.are_served();
                }
            });
            clients.are_served();
        },
    );
}

#[test]
fn the_timers_of_a_worker_that_is_stuck_go_off_and_so_do_those_of_the_other() {
    on_two_workers(
        "the_timers_of_a_worker_that_is_stuck_go_off_and_so_do_those_of_the_other",
        |runtime| {
            let ticking = [0, 1].map(|worker| Ticking::begin(runtime, worker));
            for worker in [0, 1, 0, 1] {
                while_stuck(runtime, worker, || {
                    ticking.iter().for_each(Ticking::go_on);
                });
            }
            for ticking in ticking {
                ticking.end(runtime);
            }
        },
    );
}

/// Who always has something to run steals nothing.
#[test]
fn the_queue_of_a_worker_that_is_stuck_is_run_by_one_that_never_runs_out_of_work() {
    within(LIMIT, || {
        let runtime = runtime(2);
        for worker in [0, 1] {
            let is_over = Arc::new(AtomicBool::new(false));
            let busy = [(); 3].map(|()| {
                let is_over = is_over.clone();
                runtime.handle().spawn_pinned(1 - worker, || async move {
                    let yields = spawn(async move {
                        while !is_over.load(Relaxed) {
                            yield_now().await;
                        }
                    });
                    yields.await.unwrap();
                })
            });
            let (begin, begun) = mpsc::channel();
            let (run, has_run) = mpsc::channel();
            let (release, held) = mpsc::channel::<()>();
            let stuck = runtime.handle().spawn_pinned(worker, move || async move {
                for _ in 0..QUEUED {
                    let run = run.clone();
                    drop(spawn(async move { run.send(()).unwrap() }));
                }
                begin.send(()).unwrap();
                held.recv().unwrap();
            });
            begun.recv().unwrap();
            has_run.iter().take(QUEUED).for_each(drop);
            assert!(!stuck.is_finished());
            release.send(()).unwrap();
            is_over.store(true, Relaxed);
            runtime.block_on(async {
                stuck.await.unwrap();
                for busy in busy {
                    busy.await.unwrap();
                }
            });
        }
        assert_baseline(&runtime);
    });
}

/// It can pass nothing on to make room for them.
#[test]
fn a_worker_whose_own_tasks_are_all_local_serves_those_of_one_that_is_stuck() {
    on_two_workers(
        "a_worker_whose_own_tasks_are_all_local_serves_those_of_one_that_is_stuck",
        |runtime| {
            for (local, stuck) in [(0, 1), (1, 0)] {
                let (to_local, streams) = async_channel::unbounded();
                let serves_locally = runtime.handle().spawn_pinned(local, || async move {
                    while let Ok(stream) = streams.recv().await {
                        drop(spawn_local(echo(stream)));
                    }
                });
                let mut of_local = Clients::connected(CONNECTIONS / 2, |stream| {
                    to_local.try_send(stream).unwrap();
                });
                of_local.are_served();
                has_sources(runtime, local, CONNECTIONS / 2); // where their tasks are
                let mut of_either = Clients::connected(CONNECTIONS / 2, |stream| {
                    drop(runtime.spawn(echo(stream)));
                });
                of_either.are_served();
                has_sources(runtime, stuck, CONNECTIONS / 4);
                let ticking = Ticking::begin(runtime, stuck);
                while_stuck(runtime, stuck, || {
                    for _ in 0..3 {
                        of_local.are_served();
                        of_either.are_served();
                    }
                    ticking.go_on();
                });
                ticking.end(runtime);
                drop((to_local, of_local, of_either));
                runtime.block_on(serves_locally).unwrap();
                assert_baseline(runtime);
            }
        },
    );
}

/// Runs `body` in a process of its own, since it may open many descriptors there.
#[track_caller]
fn on_two_workers(name: &str, body: fn(&Runtime)) {
    alone(name, || {
        may_open(2 * CONNECTIONS as u64 + 100);
        within(LIMIT, move || {
            let runtime = runtime(2);
            body(&runtime);
            assert_baseline(&runtime);
        });
    });
}

/// Waits until so many sockets are this worker's: those that were served without a wait are nobody's before the next one.
fn has_sources(runtime: &Runtime, worker: usize, count: usize) {
    eventually("it has its share of the sockets", || {
        runtime.metrics().sources[worker] >= count
    });
}

/// Calls `body` while a task keeps this worker in one poll.
///
/// Before it gets stuck, the task arms many timers there, each of which one of the tasks waits for that it spawns; these have to run
/// elsewhere.
fn while_stuck(runtime: &Runtime, worker: usize, body: impl FnOnce()) {
    let (begin, begun) = mpsc::channel();
    let (release, held) = mpsc::channel::<()>();
    let (goes_off, have_gone_off) = mpsc::channel();
    let stuck = runtime.handle().spawn_pinned(worker, move || async move {
        for number in 0..TIMERS {
            let (mut sleep, goes_off) = (armed(timer(number)).await, goes_off.clone());
            drop(spawn(async move {
                sleep.as_mut().await;
                goes_off.send(()).unwrap();
            }));
        }
        begin.send(()).unwrap();
        held.recv().unwrap();
    });
    begun.recv().unwrap();
    body();
    have_gone_off.iter().take(TIMERS).for_each(drop);
    assert!(!stuck.is_finished());
    release.send(()).unwrap();
    runtime.block_on(stuck).unwrap();
}

/// A sleep for which this worker has a timer.
async fn armed(duration: Duration) -> Pin<Box<Sleep>> {
    let mut sleep = Box::pin(sleep(duration));
    poll_fn(|cx| {
        let _ = sleep.as_mut().poll(cx); // it may be over, on a machine that had no CPU for the thread
        Poll::Ready(())
    })
    .await;
    sleep
}

/// From one millisecond to twenty.
fn timer(number: usize) -> Duration {
    Duration::from_millis(1 + number as u64 % 20)
}

async fn echo(mut stream: TcpStream) {
    let mut byte = [0];
    while stream.read(&mut byte).await.unwrap() == 1 {
        stream.write_all(&byte).await.unwrap();
    }
}

/// Who sends to a server, one byte at a time through each connection.
struct Clients {
    streams: Vec<net::TcpStream>,
    round: u8,
}

impl Clients {
    /// Connects so many, and has `serve` take the server's end of each.
    fn connected(count: usize, mut serve: impl FnMut(TcpStream)) -> Self {
        let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let streams = (0..count).map(|_| {
            let client = net::TcpStream::connect(address).unwrap();
            let (server, _) = listener.accept().unwrap();
            serve(TcpStream::try_from(server).unwrap());
            client
        });
        Self {
            streams: streams.collect(),
            round: 0,
        }
    }

    /// Each gets its byte back.
    fn are_served(&mut self) {
        self.round = self.round.wrapping_add(1);
        for client in &mut self.streams {
            client.write_all(&[self.round]).unwrap();
        }
        for client in &mut self.streams {
            let mut byte = [0];
            client.read_exact(&mut byte).unwrap();
            assert_eq!(byte, [self.round]);
        }
    }
}

/// Tasks that sleep again and again.
struct Ticking {
    ticks: Arc<[AtomicUsize]>,
    tasks: Vec<wakeful::JoinHandle<()>>,
}

impl Ticking {
    /// Many, begun by this worker.
    fn begin(runtime: &Runtime, worker: usize) -> Self {
        let ticks: Arc<[AtomicUsize]> = (0..TIMERS).map(|_| AtomicUsize::new(0)).collect();
        let spawning = runtime.handle().spawn_pinned(worker, {
            let ticks = ticks.clone();
            move || async move {
                let task = |number| {
                    let ticks = ticks.clone();
                    async move {
                        loop {
                            sleep(timer(number)).await;
                            ticks[number].fetch_add(1, Relaxed);
                        }
                    }
                };
                (0..TIMERS).map(|number| spawn(task(number))).collect()
            }
        });
        let tasks = runtime.block_on(spawning).unwrap();
        Self { ticks, tasks }
    }

    /// Each of them comes back from its sleep, and again from the next two.
    fn go_on(&self) {
        let ticks = || self.ticks.iter().map(|ticks| ticks.load(Relaxed));
        let before: Vec<_> = ticks().collect();
        eventually("each has slept three times", || {
            ticks()
                .zip(&before)
                .all(|(ticks, before)| ticks >= before + 3)
        });
    }

    fn end(self, runtime: &Runtime) {
        runtime.block_on(async {
            for task in self.tasks {
                let _ = task.cancel().await;
            }
        });
    }
}
