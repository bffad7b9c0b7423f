//! What a runtime tells of its tasks, one by one.

use std::future::pending;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use wakeful::net::{TcpListener, TcpStream};
use wakeful::time::{Instant, sleep, timeout};
use wakeful::{Handle, TaskReport, TaskState, Wait, spawn, spawn_local, spawn_named};
use wakeful_tests::runtimes::runtime;
use wakeful_tests::tcp::pair;
use wakeful_tests::watchdog::LIMIT;
use wakeful_tests::{Parked, eventually, on_workers, within, yields};

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn a_task_that_waits_for_a_socket_names_descriptor_and_direction() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let client = TcpStream::connect(address).await.unwrap();
            let (_silent, _) = listener.accept().await.unwrap(); // reads nothing, so what comes for it stays
            let (client_fd, listener_fd) = (client.as_raw_fd(), listener.as_raw_fd());
            let accepts = spawn_named("accepts", async move { listener.accept().await });
            let writes = spawn_named("writes", async move {
                loop {
                    client.write(&[0; 65536]).await.unwrap(); // until nothing more fits
                }
            });
            reaches(
                "accepts",
                TaskState::Waiting(vec![Wait::Readable(listener_fd)]),
            )
            .await;
            reaches(
                "writes",
                TaskState::Waiting(vec![Wait::Writable(client_fd)]),
            )
            .await;
            let _ = (accepts.cancel().await, writes.cancel().await);
        });
    });
}

#[test]
fn a_task_that_reads_names_the_socket_until_data_comes() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let client = TcpStream::connect(address).await.unwrap();
            let (server, _) = listener.accept().await.unwrap();
            let fd = server.as_raw_fd();
            let reads = spawn_named("reads", async move { server.read(&mut [0]).await });
            reaches("reads", TaskState::Waiting(vec![Wait::Readable(fd)])).await;
            client.write(b"x").await.unwrap();
            assert_eq!(reads.await.unwrap().unwrap(), 1);
        });
    });
}

#[test]
fn a_task_that_waits_for_a_timer_names_the_moment() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let sleeps = spawn_named("sleeps", sleep(HOUR));
            let waits = waits_of("sleeps").await;
            let [Wait::Timer(due_in)] = waits[..] else {
                panic!("{waits:?}")
            };
            assert!(
                HOUR / 2 < due_in && due_in <= HOUR + Duration::from_secs(1),
                "{due_in:?}"
            );
            let _ = sleeps.cancel().await;
            let never = spawn_named("never", sleep(Duration::MAX));
            let waits = waits_of("never").await;
            assert!(
                waits.is_empty() || waits == [Wait::Timer(Duration::MAX)],
                "{waits:?}"
            );
            let _ = never.cancel().await;
        });
    });
}

#[test]
fn a_task_that_waits_for_either_of_two_names_both() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let fd = listener.as_raw_fd();
            let task = spawn_named("either", async move {
                timeout(HOUR, listener.accept()).await.unwrap().unwrap();
            });
            let waits = waits_of("either").await;
            assert!(
                matches!(waits[..], [Wait::Readable(of), Wait::Timer(_)] if of == fd),
                "{waits:?}"
            );
            let _ = task.cancel().await;
        });
    });
}

#[test]
fn a_read_with_a_deadline_names_the_socket_and_the_moment_that_holds_now() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let (stream, _peer) = pair().await;
            let (fd, stream) = (stream.as_raw_fd(), Arc::new(stream));
            let until = |hours: u32| stream.set_read_deadline(Some(Instant::now() + HOUR * hours));
            until(1);
            let reading = stream.clone();
            let reads = spawn_named("reads", async move { reading.read(&mut [0]).await });
            reaches_until("reads", Wait::Readable(fd), Some(HOUR)).await;
            until(3); // the timer stays where it is
            reaches_until("reads", Wait::Readable(fd), Some(HOUR * 3)).await;
            until(2);
            reaches_until("reads", Wait::Readable(fd), Some(HOUR * 2)).await;
            stream.set_read_deadline(None);
            reaches_until("reads", Wait::Readable(fd), None).await;
            let _ = reads.cancel().await;
        });
    });
}

#[test]
fn each_direction_has_its_own_deadline_and_who_waits_for_the_end_of_the_stream_has_none() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let (stream, _peer) = pair().await; // which reads nothing
            let (fd, stream) = (stream.as_raw_fd(), Arc::new(stream));
            stream.set_read_deadline(Some(Instant::now() + HOUR));
            stream.set_write_deadline(Some(Instant::now() + HOUR * 2));
            let (reading, writing, watching) = (stream.clone(), stream.clone(), stream.clone());
            let tasks = [
                spawn_named("watches", async move { watching.read_closed().await }),
                spawn_named("reads", async move { reading.readable().await }),
                spawn_named("writes", async move {
                    loop {
                        writing.write(&[0; 65536]).await?;
                    }
                }),
            ];
            reaches_until("watches", Wait::Readable(fd), None).await;
            reaches_until("reads", Wait::Readable(fd), Some(HOUR)).await;
            reaches_until("writes", Wait::Writable(fd), Some(HOUR * 2)).await;
            // Still, now that there are limits.
            reaches_until("watches", Wait::Readable(fd), None).await;
            for task in tasks {
                let _ = task.cancel().await;
            }
        });
    });
}

#[test]
fn of_a_deadline_and_an_idle_timeout_the_one_that_comes_first_is_named() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let (stream, _peer) = pair().await;
            let (fd, stream) = (stream.as_raw_fd(), Arc::new(stream));
            stream.set_idle_timeout(Some(HOUR * 2));
            let reading = stream.clone();
            let reads = spawn_named("reads", async move { reading.read(&mut [0]).await });
            reaches_until("reads", Wait::Readable(fd), Some(HOUR * 2)).await;
            stream.set_read_deadline(Some(Instant::now() + HOUR * 3));
            reaches_until("reads", Wait::Readable(fd), Some(HOUR * 2)).await;
            stream.set_read_deadline(Some(Instant::now() + HOUR));
            reaches_until("reads", Wait::Readable(fd), Some(HOUR)).await;
            stream.set_read_deadline(None);
            stream.set_idle_timeout(None);
            reaches_until("reads", Wait::Readable(fd), None).await;
            let _ = reads.cancel().await;
        });
    });
}

#[test]
fn a_task_that_waits_for_a_channel_or_a_lock_waits_for_nothing_of_the_runtimes() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let (sender, receiver) = async_channel::bounded::<()>(1);
            let receives = spawn_named("receives", async move { receiver.recv().await });
            let lock = Arc::new(async_lock::Mutex::new(()));
            let guard = lock.lock_arc().await;
            let locks = spawn_named("locks", async move { drop(lock.lock().await) });
            let joins = spawn_named("joins", async move {
                receives.await.unwrap().unwrap_err();
            });
            for name in ["receives", "locks", "joins"] {
                reaches(name, TaskState::Waiting(Vec::new())).await;
            }
            drop((sender, guard));
            locks.await.unwrap();
            joins.await.unwrap();
        });
    });
}

#[test]
fn a_task_that_runs_names_its_worker_and_one_behind_it_is_queued() {
    within(LIMIT, || {
        let runtime = runtime(2);
        let (began, has_begun) = mpsc::channel();
        let (go, may_go) = mpsc::channel::<()>();
        let busy = runtime.handle().spawn_pinned(1, move || async move {
            began.send(()).unwrap();
            may_go.recv().unwrap();
        });
        has_begun.recv().unwrap();
        let tasks = runtime.handle().tasks();
        assert_eq!(tasks.len(), 1);
        assert_eq!(tasks[0].state, TaskState::Running { worker: Some(1) });
        assert_eq!(tasks[0].polls, 1);
        go.send(()).unwrap();
        runtime.block_on(busy).unwrap();
    });
    within(LIMIT, || {
        wakeful::block_on(async {
            let itself = spawn_named("itself", async {
                let queued = spawn_named("queued", async {});
                let state = |name| report(name).unwrap().state;
                assert_eq!(state("itself"), TaskState::Running { worker: Some(0) });
                assert_eq!(state("queued"), TaskState::Queued);
                assert_eq!(report("queued").unwrap().polls, 0);
                assert_eq!(report("queued").unwrap().since_poll, None);
                queued.await.unwrap();
            });
            itself.await.unwrap();
        });
    });
}

#[test]
fn local_tasks_are_listed_beside_the_others() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let (polled, has_been_polled) = mpsc::channel();
            let local = spawn_local(Parked::new(polled));
            yields(1).await;
            has_been_polled.recv().unwrap();
            let tasks = Handle::current().tasks();
            assert_eq!(tasks.len(), 1);
            assert_eq!(tasks[0].state, TaskState::Waiting(Vec::new()));
            assert!(tasks[0].info.location().file().ends_with("dump.rs"));
            let _ = local.cancel().await;
        });
    });
}

#[test]
fn polls_and_ages_are_told_and_a_task_that_has_ended_is_not() {
    within(LIMIT, || {
        wakeful::block_on(async {
            let task = spawn_named("counted", async {
                yields(4).await;
                pending::<()>().await;
            });
            let ended = spawn_named("ended", async {});
            ended.await.unwrap();
            sleep(Duration::from_millis(50)).await;
            yields(8).await;
            let counted = report("counted").unwrap();
            assert_eq!(counted.polls, 5);
            assert!(counted.age >= Duration::from_millis(40), "{counted}");
            assert!(counted.since_poll.unwrap() >= Duration::from_millis(40));
            assert!(report("ended").is_none());
            assert!(
                counted.to_string().contains("`counted` (spawned at "),
                "{counted}"
            );
            let _ = task.cancel().await;
        });
    });
}

#[test]
fn ten_thousand_tasks_are_dumped_while_the_load_goes_on() {
    within(LIMIT, || {
        let runtime = runtime(2);
        const WAITING: usize = 10_000;
        let tasks: Vec<_> = (0..WAITING).map(|_| runtime.spawn(sleep(HOUR))).collect();
        let load: Vec<_> = (0..8).map(|_| runtime.spawn(yields(usize::MAX))).collect();
        let asleep = || {
            let tasks = runtime.handle().tasks();
            let waits = |task: &&TaskReport| matches!(&task.state, TaskState::Waiting(waits) if matches!(waits[..], [Wait::Timer(_)]));
            (tasks.len(), tasks.iter().filter(waits).count())
        };
        eventually("all have begun to wait", || {
            asleep() == (WAITING + 8, WAITING)
        });
        let mut times: Vec<_> = (0..10)
            .map(|_| {
                let begun = Instant::now();
                assert_eq!(asleep(), (WAITING + 8, WAITING));
                begun.elapsed()
            })
            .collect();
        times.sort_unstable();
        println!("10 000 tasks: {:?}, {:?} at most", times[5], times[9]);
        drop((tasks, load));
    });
}

#[test]
fn tasks_come_and_go_while_they_are_listed() {
    within(LIMIT, || {
        let runtime = runtime(2);
        let churn: Vec<_> = (0..4)
            .map(|_| {
                runtime.spawn(async {
                    for _ in 0..2_000 {
                        let local = spawn(yields(2));
                        let timed = spawn(sleep(Duration::from_micros(1)));
                        local.await.unwrap();
                        timed.await.unwrap();
                    }
                })
            })
            .collect();
        let mut lists = 0;
        while !churn.iter().all(|task| task.is_finished()) {
            for task in runtime.handle().tasks() {
                assert!(task.info.location().file().ends_with("dump.rs"));
            }
            lists += 1;
        }
        assert!(lists > 0);
        eventually("all are gone", || {
            runtime.block_on(yields(2));
            runtime.handle().tasks().is_empty()
        });
    });
}

fn report(name: &str) -> Option<TaskReport> {
    let tasks = Handle::current().tasks();
    tasks
        .into_iter()
        .find(|task| task.info.name() == Some(name))
}

/// Waits until the task with this name is in this state.
async fn reaches(name: &str, state: TaskState) {
    let begun = Instant::now();
    while report(name).is_none_or(|task| task.state != state) {
        assert!(begun.elapsed() < LIMIT / 2, "{:?}", report(name));
        sleep(Duration::from_millis(1)).await;
    }
}

/// Waits until the task with this name waits for this descriptor, and for no longer than about so long from now.
async fn reaches_until(name: &str, descriptor: Wait, limit: Option<Duration>) {
    let begun = Instant::now();
    let is_right = |state: &TaskState| match (state, limit) {
        (TaskState::Waiting(waits), None) => waits[..] == [descriptor],
        (TaskState::Waiting(waits), Some(limit)) => {
            matches!(waits[..], [first, Wait::Timer(due_in)]
                if first == descriptor && due_in <= limit && limit - due_in < HOUR / 2)
        }
        _ => false,
    };
    while report(name).is_none_or(|task| !is_right(&task.state)) {
        assert!(begun.elapsed() < LIMIT / 2, "{:?}", report(name));
        sleep(Duration::from_millis(1)).await;
    }
}

/// What the task with this name waits for, when it has been polled and waits.
async fn waits_of(name: &str) -> Vec<Wait> {
    let begun = Instant::now();
    loop {
        if let Some(TaskReport {
            state: TaskState::Waiting(waits),
            polls: 1..,
            ..
        }) = report(name)
        {
            return waits;
        }
        assert!(begun.elapsed() < LIMIT / 2, "{:?}", report(name));
        sleep(Duration::from_millis(1)).await;
    }
}
