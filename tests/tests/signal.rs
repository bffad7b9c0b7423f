//! Signals: who hears of them, how often, and what becomes of handlers that the program has itself.
//!
//! What a signal does is a matter of the whole process, so every test has one of its own.
#![expect(
    unsafe_code,
    reason = "signals are raised, and handlers of the program installed, by libc only"
)]

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use futures::{FutureExt, StreamExt, poll};
use wakeful::net::{TcpListener, TcpStream};
use wakeful::signal::{SignalKind, ctrl_c, signal};
use wakeful_tests::process::{Process, fds_count, threads_count};
use wakeful_tests::runtimes::{assert_baseline, runtime};
use wakeful_tests::watchdog::LIMIT;
use wakeful_tests::{Bytes, alone, eventually, panic_of, within};

const USR1: SignalKind = SignalKind::user_defined1();

#[test]
fn ctrl_c_resolves_on_an_interrupt_and_the_process_lives() {
    alone(
        "ctrl_c_resolves_on_an_interrupt_and_the_process_lives",
        || {
            let interrupt = ctrl_c();
            raise(SignalKind::interrupt()); // heard although it comes before the first poll
            within(LIMIT, || wakeful::block_on(interrupt)).unwrap();
            raise(SignalKind::interrupt()); // nobody listens
        },
    );
}

#[test]
fn a_signal_wakes_a_worker_that_sleeps_while_nobody_else_is_awake() {
    alone(
        "a_signal_wakes_a_worker_that_sleeps_while_nobody_else_is_awake",
        || {
            let process = Process::this();
            within(LIMIT, move || {
                let mut listener = signal(USR1).unwrap();
                let asleep = thread_sleeps();
                let sender = thread::spawn(move || {
                    for _ in 0..200 {
                        asleep();
                        kill(process, USR1);
                        thread::park(); // until it was heard
                    }
                });
                wakeful::block_on(async {
                    for _ in 0..200 {
                        listener.recv().await.unwrap();
                        sender.thread().unpark();
                    }
                });
                sender.join().unwrap();
            });
        },
    );
}

#[test]
fn every_listener_on_every_worker_of_every_runtime_hears_of_it() {
    alone(
        "every_listener_on_every_worker_of_every_runtime_hears_of_it",
        || {
            within(LIMIT, || {
                let runtimes = [runtime(1), runtime(2), runtime(4)];
                let (heard, hearings) = mpsc::channel();
                let mut tasks = Vec::new();
                for runtime in &runtimes {
                    for _ in 0..8 {
                        let (mut listener, heard) = (signal(USR1).unwrap(), heard.clone());
                        tasks.push(runtime.handle().spawn(async move {
                            while listener.recv().await.is_ok() {
                                heard.send(()).unwrap();
                            }
                        }));
                    }
                }
                thread::scope(|scope| {
                    // A runtime of one worker runs only inside `block_on`.
                    let (end, ended) = futures::channel::oneshot::channel::<()>();
                    scope.spawn(|| runtimes[0].block_on(ended));
                    for _ in 0..100 {
                        raise(USR1);
                        for _ in 0..24 {
                            hearings.recv().unwrap();
                        }
                    }
                    drop(end);
                });
                assert!(hearings.try_recv().is_err(), "heard of twice");
                tasks.iter().for_each(|task| task.abort());
                runtimes.iter().for_each(assert_baseline);
            });
        },
    );
}

#[test]
fn arrivals_that_nobody_has_looked_at_are_heard_of_together() {
    alone(
        "arrivals_that_nobody_has_looked_at_are_heard_of_together",
        || {
            wakeful::block_on(async {
                let mut listener = signal(USR1).unwrap();
                for _ in 0..10 {
                    raise(USR1);
                }
                listener.recv().await.unwrap();
                assert!(poll!(pin!(listener.recv())).is_pending());
                raise(USR1);
                listener.recv().await.unwrap();
                assert!(poll!(pin!(listener.recv())).is_pending());
            });
        },
    );
}

#[test]
fn a_listener_hears_of_its_own_kind_only_and_of_nothing_before_its_time() {
    alone(
        "a_listener_hears_of_its_own_kind_only_and_of_nothing_before_its_time",
        || {
            wakeful::block_on(async {
                let mut early = signal(USR1).unwrap();
                let mut other = signal(SignalKind::user_defined2()).unwrap();
                raise(USR1);
                let mut late = signal(USR1).unwrap();
                early.recv().await.unwrap();
                wakeful_tests::yields(100).await;
                assert!(poll!(pin!(other.recv())).is_pending());
                assert!(poll!(pin!(late.recv())).is_pending());
            });
        },
    );
}

#[test]
fn a_dropped_wait_loses_nothing() {
    alone("a_dropped_wait_loses_nothing", || {
        within(LIMIT, || {
            wakeful::block_on(async {
                let mut listener = signal(USR1).unwrap();
                for _ in 0..100 {
                    // Before the signal, and after it but before the wait is polled again.
                    assert!(listener.recv().now_or_never().is_none());
                    let mut wait = Box::pin(listener.recv());
                    assert!(poll!(&mut wait).is_pending());
                    raise(USR1);
                    drop(wait);
                    listener.recv().await.unwrap();
                }
            });
        });
    });
}

#[test]
fn it_is_a_stream() {
    alone("it_is_a_stream", || {
        within(LIMIT, || {
            wakeful::block_on(async {
                let mut listener = signal(USR1).unwrap();
                assert!(poll!(listener.next()).is_pending());
                for _ in 0..3 {
                    raise(USR1);
                    assert_eq!(listener.next().await, Some(()));
                }
                assert!(poll!(listener.next()).is_pending());
            });
        });
    });
}

/// Each signal is sent when all listeners have heard of the one before: then the system joins none, and a lost one hangs.
#[test]
fn of_ten_thousand_signals_no_listener_misses_one() {
    alone("of_ten_thousand_signals_no_listener_misses_one", || {
        const SIGNALS: usize = 10_000;
        within(LIMIT * 2, || {
            let runtimes = [runtime(2), runtime(2)];
            let (heard, hearings) = mpsc::channel();
            for listener in 0..4 {
                let (mut signals, heard) = (signal(USR1).unwrap(), heard.clone());
                runtimes[listener % 2].handle().spawn(async move {
                    while signals.recv().await.is_ok() {
                        heard.send(listener).unwrap();
                    }
                });
            }
            for _ in 0..SIGNALS {
                kill(Process::this(), USR1);
                let mut by = [0; 4].map(|_: usize| hearings.recv().unwrap());
                by.sort_unstable();
                assert_eq!(by, [0, 1, 2, 3]);
            }
        });
    });
}

/// Without waiting for the listeners, from several threads: whatever is joined, each one hears of the last.
#[test]
fn every_listener_hears_of_the_last_signal_of_a_flood() {
    alone("every_listener_hears_of_the_last_signal_of_a_flood", || {
        static SENT: AtomicUsize = AtomicUsize::new(0);
        const ROUNDS: usize = 50;
        const SENDERS: usize = 3;
        const SIGNALS: usize = 400; // of each sender in each round
        within(LIMIT * 2, || {
            let runtimes = [runtime(2), runtime(2)];
            let (saw, sightings) = mpsc::channel();
            for listener in 0..6 {
                let (mut signals, saw) = (signal(USR1).unwrap(), saw.clone());
                runtimes[listener % 2].handle().spawn(async move {
                    while signals.recv().await.is_ok() {
                        saw.send((listener, SENT.load(SeqCst))).unwrap();
                    }
                });
            }
            for round in 1..=ROUNDS {
                thread::scope(|scope| {
                    for _ in 0..SENDERS {
                        scope.spawn(|| {
                            for _ in 0..SIGNALS {
                                SENT.fetch_add(1, SeqCst);
                                raise(USR1);
                            }
                        });
                    }
                });
                let all = round * SENDERS * SIGNALS;
                let mut seen = [0; 6];
                while seen.iter().any(|&count| count < all) {
                    let (listener, count) = sightings.recv().unwrap();
                    seen[listener] = count;
                }
            }
        });
    });
}

#[test]
fn a_handler_that_the_program_had_before_is_called_too() {
    alone(
        "a_handler_that_the_program_had_before_is_called_too",
        || {
            install(USR1, on_signal);
            let mut listener = signal(USR1).unwrap();
            let _another = signal(USR1).unwrap(); // does not add a second layer
            for count in 1..4 {
                raise(USR1);
                assert_eq!(CALLS.load(SeqCst), count);
                listener.recv().now_or_never().expect("heard of").unwrap();
            }
        },
    );
}

#[test]
fn a_handler_that_is_installed_later_takes_the_place_of_ours() {
    alone(
        "a_handler_that_is_installed_later_takes_the_place_of_ours",
        || {
            let mut listener = signal(USR1).unwrap();
            install(USR1, on_signal);
            let mut later = signal(USR1).unwrap();
            raise(USR1);
            assert_eq!(CALLS.load(SeqCst), 1);
            wakeful::block_on(async {
                assert!(poll!(pin!(listener.recv())).is_pending());
                assert!(poll!(pin!(later.recv())).is_pending());
            });
        },
    );
}

#[test]
fn signals_that_must_not_be_caught_are_refused_with_a_sentence() {
    for number in [
        libc::SIGKILL,
        libc::SIGSTOP,
        libc::SIGSEGV,
        libc::SIGBUS,
        libc::SIGFPE,
        libc::SIGILL,
        33,
        0,
        -1,
        1_000,
    ] {
        let refused = signal(SignalKind::from_raw(number)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        assert!(
            refused.to_string().contains(&format!("signal {number}: ")),
            "{refused}"
        );
    }
}

#[test]
fn every_other_signal_can_be_listened_for() {
    alone("every_other_signal_can_be_listened_for", || {
        let named = [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
            SignalKind::quit(),
            SignalKind::user_defined1(),
            SignalKind::user_defined2(),
            SignalKind::child(),
            SignalKind::window_change(),
            SignalKind::alarm(),
            SignalKind::pipe(),
            SignalKind::io(),
        ];
        let real_time = (libc::SIGRTMIN()..=libc::SIGRTMAX()).map(SignalKind::from_raw);
        for kind in named.into_iter().chain(real_time) {
            let mut listener = signal(kind).unwrap();
            raise(kind);
            let heard = listener.recv().now_or_never();
            assert!(matches!(heard, Some(Ok(()))), "{kind:?}: {heard:?}");
        }
    });
}

#[cfg(wakeful_sim)]
#[test]
fn a_signal_that_could_not_be_caught_does_what_it_did_and_can_be_tried_again() {
    use wakeful::sim::{self, Call, Plan};
    alone(
        "a_signal_that_could_not_be_caught_does_what_it_did_and_can_be_tried_again",
        || {
            install(USR1, on_signal);
            let calls = [
                (Call::EventFdCreate, libc::EMFILE, 0),
                (Call::Duplicate, libc::EMFILE, 1), // the eventfd stays
                (Call::SignalAction, libc::EINVAL, 1),
            ];
            let baseline = fds_count();
            for (count, (call, errno, kept)) in calls.into_iter().enumerate() {
                sim::install(Plan::new().fail(call, 1..2, errno));
                let refused = signal(USR1).unwrap_err();
                assert_eq!(refused.raw_os_error(), Some(errno));
                assert_eq!(sim::clear().injected(call), 1);
                raise(USR1);
                assert_eq!(CALLS.load(SeqCst), count + 1);
                assert_eq!(fds_count(), baseline + kept);
            }
            let mut listener = signal(USR1).unwrap();
            raise(USR1);
            listener.recv().now_or_never().expect("heard of").unwrap();
        },
    );
}

#[test]
fn listeners_cost_a_descriptor_each_and_no_thread_and_leave_nothing() {
    alone(
        "listeners_cost_a_descriptor_each_and_no_thread_and_leave_nothing",
        || {
            let runtime = runtime(2);
            drop(signal(USR1).unwrap()); // what the process has from then on
            let baseline = (fds_count(), threads_count());
            for _ in 0..100 {
                let listeners: Vec<_> = (0..10).map(|_| signal(USR1).unwrap()).collect();
                assert_eq!((fds_count() - 10, threads_count()), baseline);
                runtime.block_on(async {
                    for mut listener in listeners {
                        assert!(poll!(pin!(listener.recv())).is_pending());
                        drop(poll!(pin!(ctrl_c())));
                    }
                });
            }
            // The descriptor of the first `ctrl_c` is gone; that it has no eventfd of its own shows here too.
            assert_eq!((fds_count(), threads_count()), baseline);
            assert_baseline(&runtime);
        },
    );
}

#[test]
fn after_the_end_of_its_runtime_a_wait_fails_and_the_stream_ends() {
    alone(
        "after_the_end_of_its_runtime_a_wait_fails_and_the_stream_ends",
        || {
            let runtime = runtime(2);
            let mut listener = signal(USR1).unwrap();
            runtime.block_on(async {
                assert!(poll!(pin!(listener.recv())).is_pending());
            });
            drop(runtime);
            let waited = within(LIMIT, move || {
                wakeful::block_on(async { (listener.recv().await, listener.next().await) })
            });
            assert!(waited.0.is_err());
            assert_eq!(waited.1, None);
        },
    );
}

#[test]
fn outside_a_runtime_it_says_what_to_do() {
    alone("outside_a_runtime_it_says_what_to_do", || {
        let mut listener = signal(USR1).unwrap();
        let text = panic_of(|| listener.recv().now_or_never());
        assert!(text.contains("block_on"), "{text}");
    });
}

/// Ten thousand a second for two seconds, to the threads of the runtime and to the process, while it works.
#[test]
fn a_storm_of_signals_is_no_error_to_anybody() {
    alone("a_storm_of_signals_is_no_error_to_anybody", || {
        static OVER: AtomicBool = AtomicBool::new(false);
        within(LIMIT * 2, || {
            let runtime = runtime(2);
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let mut signals = signal(USR1).unwrap();
            let handle = runtime.handle();
            let heard = handle.spawn(async move {
                let mut heard = 0;
                while !OVER.load(SeqCst) {
                    signals.recv().await.unwrap();
                    heard += 1;
                }
                heard
            });
            handle.spawn(async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    wakeful::spawn(echo(stream));
                }
            });
            let workers = worker_threads();
            let stormed = thread::spawn(move || {
                let began = Instant::now();
                let mut sent = 0_u32;
                while began.elapsed() < Duration::from_secs(2) {
                    match sent as usize % (workers.len() + 1) {
                        0 => kill(Process::this(), USR1),
                        index => kill_thread(workers[index - 1], USR1),
                    }
                    sent += 1;
                    // As many as are due at 10 kHz; late ones follow at once.
                    thread::sleep(
                        (Duration::from_micros(100) * sent).saturating_sub(began.elapsed()),
                    );
                }
                OVER.store(true, SeqCst);
                raise(USR1);
                sent
            });
            let clients = [1, 2, 3].map(|seed| {
                thread::spawn(move || {
                    let mut rounds = 0;
                    while !OVER.load(SeqCst) {
                        let mut stream = std::net::TcpStream::connect(address).unwrap();
                        let bytes = Bytes(seed).take(20_000);
                        uninterrupted(&mut stream, &bytes);
                        rounds += 1;
                    }
                    rounds
                })
            });
            let sent = stormed.join().unwrap();
            let rounds = clients.map(|client| client.join().unwrap());
            let heard = wakeful::block_on(heard).unwrap();
            println!("{sent} signals, heard {heard} times, during {rounds:?} round trips");
            assert!(sent > 2_000 && heard > 0 && rounds.iter().all(|&count| count > 0));
        });
    });
}

async fn echo(mut stream: TcpStream) {
    let mut buffer = vec![0; 4096];
    loop {
        match stream.read(&mut buffer).await.unwrap() {
            0 => break,
            count => stream.write_all(&buffer[..count]).await.unwrap(),
        }
    }
}

/// Sends the bytes and gets them back.
fn uninterrupted(stream: &mut std::net::TcpStream, bytes: &[u8]) {
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(bytes).unwrap();
    let mut back = vec![0; bytes.len()];
    stream.read_exact(&mut back).unwrap();
    assert!(back == bytes);
}

#[test]
fn listeners_that_come_and_go_during_a_flood_harm_nobody() {
    alone(
        "listeners_that_come_and_go_during_a_flood_harm_nobody",
        || {
            static OVER: AtomicBool = AtomicBool::new(false);
            within(LIMIT * 2, || {
                let runtime = runtime(2);
                let start = Barrier::new(2);
                let mut steady = signal(USR1).unwrap();
                let before = fds_count();
                thread::scope(|scope| {
                    scope.spawn(|| {
                        start.wait();
                        while !OVER.load(SeqCst) {
                            raise(USR1);
                        }
                    });
                    start.wait();
                    runtime.block_on(async {
                        for _ in 0..2_000 {
                            let mut passing = signal(USR1).unwrap();
                            passing.recv().await.unwrap();
                            steady.recv().await.unwrap();
                        }
                    });
                    OVER.store(true, SeqCst);
                });
                drop(steady);
                eventually("descriptors as before", || fds_count() == before - 1);
                assert_baseline(&runtime);
            });
        },
    );
}

/// Waits until the thread that calls this, the outer function, is asleep.
fn thread_sleeps() -> impl Fn() {
    // SAFETY: the call touches no memory of ours.
    let thread = unsafe { libc::gettid() };
    move || {
        eventually("the worker sleeps", || {
            let stat = fs::read_to_string(format!("/proc/self/task/{thread}/stat")).unwrap();
            stat.rsplit_once(") ").unwrap().1.starts_with('S')
        });
    }
}

/// The threads of this process that belong to a runtime, one at least. A new thread gives itself its name a moment later.
fn worker_threads() -> Vec<libc::c_long> {
    let mut workers = Vec::new();
    eventually("a thread with the name of a worker", || {
        let tasks = fs::read_dir("/proc/self/task").unwrap().map(Result::unwrap);
        let named = tasks.filter(|task| {
            let name = fs::read_to_string(task.path().join("comm"));
            name.is_ok_and(|name| name.starts_with("wakeful"))
        });
        workers = named
            .map(|task| task.file_name().to_str().unwrap().parse().unwrap())
            .collect();
        !workers.is_empty()
    });
    workers
}

/// How often [`on_signal`] was called.
static CALLS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn on_signal(_: libc::c_int) {
    CALLS.fetch_add(1, SeqCst);
}

/// Sends it to the thread that asks. Has been handled when it returns.
fn raise(kind: SignalKind) {
    // SAFETY: the call touches no memory of ours, and the handler is the library's or `on_signal`.
    assert_eq!(unsafe { libc::raise(kind.as_raw()) }, 0);
}

/// Sends it to any thread of the process.
fn kill(process: Process, kind: SignalKind) {
    process.signal(kind.as_raw());
}

/// Sends it to one thread of this process.
fn kill_thread(thread: libc::c_long, kind: SignalKind) {
    // SAFETY: as for `raise`; with the number of this process, a thread that has ended is an error and nobody else's.
    let sent = unsafe {
        libc::syscall(
            libc::SYS_tgkill,
            libc::c_long::from(std::process::id().cast_signed()),
            thread,
            libc::c_long::from(kind.as_raw()),
        )
    };
    assert_eq!(sent, 0);
}

/// Installs a handler of the program.
fn install(kind: SignalKind, handler: extern "C" fn(libc::c_int)) {
    // SAFETY: the handler only counts, which is allowed at any time.
    let before = unsafe { libc::signal(kind.as_raw(), handler as *const () as usize) };
    assert_ne!(before, libc::SIG_ERR);
}
