//! Waiting for moments: never early, not lost, taken back when nobody waits any more.

use std::future::{pending, poll_fn, ready};
use std::io::{Read, Write};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use wakeful::Builder;
use wakeful::time::{
    Instant, MissedTick, Sleep, advance, interval, interval_at, sleep, sleep_until, timeout,
    timeout_at,
};
use wakeful_tests::futures::waker;
use wakeful_tests::runtimes::{assert_baseline, runtime};
use wakeful_tests::watchdog::LIMIT;
use wakeful_tests::{eventually, on_workers, panic_of, within};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn a_sleep_is_never_early() {
    on_workers([1, 2, 4], |runtime| {
        let sleepers: Vec<_> = (0..200)
            .map(|number| {
                runtime.spawn(async move {
                    let duration = Duration::from_micros(37 * number);
                    let (begun, std_begun) = (Instant::now(), std::time::Instant::now());
                    sleep(duration).await;
                    assert!(begun.elapsed() >= duration);
                    assert!(std_begun.elapsed() >= duration);
                })
            })
            .collect();
        runtime.block_on(async {
            for sleeper in sleepers {
                sleeper.await.unwrap();
            }
        });
    });
}

#[test]
fn sleeps_end_in_the_order_of_their_deadlines() {
    let order = virtually(async {
        let order = Arc::new(Mutex::new(Vec::new()));
        let begun = Instant::now();
        let sleepers: Vec<_> = [5, 1, 4, 2, 3, 9, 8, 7, 6]
            .map(|number| {
                let order = order.clone();
                wakeful::spawn(async move {
                    sleep_until(begun + SECOND * number).await;
                    order.lock().unwrap().push(number);
                })
            })
            .into();
        for sleeper in sleepers {
            sleeper.await.unwrap();
        }
        Arc::into_inner(order).unwrap().into_inner().unwrap()
    });
    assert_eq!(order, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
}

#[test]
fn what_has_passed_is_over_at_once_and_arms_nothing() {
    on_workers([1], |runtime| {
        runtime.block_on(async {
            assert!(sleep(Duration::ZERO).now_or_never().is_some());
            let past = Instant::now() - HOUR;
            assert!(sleep_until(past).now_or_never().is_some());
            assert!(
                timeout_at(past, pending::<()>())
                    .now_or_never()
                    .unwrap()
                    .is_err()
            );
            assert_eq!(wakeful::Handle::current().metrics().timers, 0);
        });
    });
}

#[test]
fn forever_is_never() {
    virtually(async {
        let never = [
            sleep(Duration::MAX),
            sleep_until(Instant::now() + Duration::MAX),
            sleep(Duration::from_secs(u64::MAX)),
            sleep_until(Instant::now() + Duration::MAX + Duration::MAX),
        ];
        for never in never {
            // The hundred years are over first, though nothing else happens.
            assert!(timeout(HOUR * 24 * 36_500, never).await.is_err());
        }
    });
}

#[test]
fn a_sleep_without_end_is_woken_at_its_new_deadline() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let sleeping = Arc::new(Mutex::new(sleep(Duration::MAX)));
            let waiting = wakeful::spawn({
                let sleeping = sleeping.clone();
                poll_fn(move |cx| Pin::new(&mut *sleeping.lock().unwrap()).poll(cx))
            });
            sleep(MS).await;
            sleeping.lock().unwrap().reset(Instant::now() + MS);
            waiting.await.unwrap();
        });
    });
}

#[test]
fn a_loop_of_sleeps_or_ticks_that_are_over_starves_nobody() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let stop = Arc::new(AtomicBool::new(false));
            let is_over = || {
                let stop = stop.clone();
                move || stop.load(SeqCst)
            };
            let loops = [(); 4].map(|()| {
                let is_over = is_over();
                wakeful::spawn(async move {
                    let mut ticks = interval(Duration::from_nanos(10));
                    while !is_over() {
                        sleep(Duration::ZERO).await;
                        ticks.tick().await;
                    }
                })
            });
            wakeful::spawn(async move { stop.store(true, SeqCst) })
                .await
                .unwrap();
            for task in loops {
                task.await.unwrap();
            }
        });
    });
}

/// A waker may be anybody's code, and this one runs on the worker that is about to sleep.
#[test]
fn a_timer_that_a_waker_arms_counts_in_virtual_time() {
    virtually(async {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let reader = wakeful::io::AsyncFd::new_nonblocking(reader).unwrap();
        assert!(
            reader
                .try_read_with(|mut pipe| pipe.read(&mut [0; 8]))
                .is_err()
        );
        let armed = Arc::new(Mutex::new(None::<Sleep>));
        let mut is_set_up = false;
        poll_fn(|cx| {
            if let Some(sleep) = &mut *armed.lock().unwrap() {
                return Pin::new(sleep).poll(cx);
            }
            if !std::mem::replace(&mut is_set_up, true) {
                let (armed, main) = (armed.clone(), cx.waker().clone());
                let arms = waker(move || {
                    let mut sleep = sleep(SECOND);
                    let polled = Pin::new(&mut sleep).poll(&mut Context::from_waker(&main));
                    assert!(polled.is_pending());
                    *armed.lock().unwrap() = Some(sleep);
                });
                let waits = reader.poll_readable(&mut Context::from_waker(&arms));
                assert!(waits.is_pending());
                writer.write_all(b"x").unwrap(); // the event is there when the worker is about to sleep
            }
            Poll::Pending
        })
        .await;
    });
}

/// Deadlines around the places where the wheel turns, with a far one beside them.
#[test]
fn a_far_timer_beside_near_ones_keeps_none_of_them_waiting() {
    virtually(async {
        let far = wakeful::spawn(sleep(HOUR * 24 * 365 * 100));
        wakeful::yield_now().await;
        for power in 0..40 {
            for offset in [-1_i64, 0, 1] {
                let ticks = ((1_i64 << power) + offset).max(0) as u64;
                let duration = Duration::from_nanos(ticks * 1024);
                let begun = Instant::now();
                sleep(duration).await;
                let slept = begun.elapsed();
                assert!(slept >= duration, "{duration:?} took {slept:?}");
                let slack = duration / 100 + Duration::from_micros(3);
                assert!(
                    slept <= duration + slack.min(MS * 2),
                    "{duration:?} took {slept:?}"
                );
            }
        }
        far.abort();
    });
}

#[test]
fn a_timer_that_is_dropped_is_gone() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let mut sleeps: Vec<_> = (0..1000).map(|n| Box::pin(sleep(HOUR + MS * n))).collect();
            for sleep in &mut sleeps {
                assert!(futures::poll!(sleep).is_pending());
            }
            let timers = || wakeful::Handle::current().metrics().timers;
            assert_eq!(timers(), 1000);
            sleeps.truncate(1);
            assert_eq!(timers(), 1);
        });
    });
}

/// The worker keeps the timer for the next limit, whose deadline may be earlier, later, or another task's.
#[test]
fn each_of_many_limits_in_a_row_ends_at_its_own_deadline() {
    virtually(async {
        let task = wakeful::spawn(async {
            for ms in [5, 3, 9, 1, 86_400_000, 2, 2, 4_u32] {
                for _ in 0..3 {
                    assert!(timeout(MS * 7, wakeful::yield_now()).await.is_ok());
                    assert!(timeout(HOUR, wakeful::yield_now()).await.is_ok());
                }
                let begun = Instant::now();
                assert!(timeout(MS * ms, pending::<()>()).await.is_err());
                assert!(begun.elapsed() >= MS * ms);
                assert!(begun.elapsed() <= MS * (ms + 2), "it has slack");
            }
        });
        for _ in 0..20 {
            assert!(timeout(HOUR, wakeful::yield_now()).await.is_ok());
            sleep(MS).await;
        }
        task.await.unwrap();
        assert_eq!(wakeful::Handle::current().metrics().timers, 0);
    });
}

/// One that is kept for the next goes off for that one only, with the clock that everybody has.
#[test]
fn a_limit_after_another_is_not_early_and_wakes_its_own_task() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let tasks = [(); 4].map(|()| {
                wakeful::spawn(async {
                    for _ in 0..5 {
                        assert!(timeout(SECOND, wakeful::yield_now()).await.is_ok());
                        let begun = Instant::now();
                        assert!(timeout(MS * 3, pending::<()>()).await.is_err());
                        assert!(begun.elapsed() >= MS * 3);
                    }
                })
            });
            for task in tasks {
                task.await.unwrap();
            }
            // Kept for more than a second, it may go off a little too soon; the limit holds all the same.
            let begun = Instant::now();
            assert!(timeout(MS * 1050, wakeful::yield_now()).await.is_ok());
            assert!(timeout(MS * 1050, pending::<()>()).await.is_err());
            assert!(begun.elapsed() >= MS * 1050);
        });
    });
}

/// A timer that is kept for the next must not keep its task.
#[test]
fn what_a_dropped_sleep_would_have_woken_is_released_when_the_worker_looks_around() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let held = Arc::new(());
            let of_waker = held.clone();
            let waker = waker(move || drop(of_waker.clone()));
            let mut sleeping = Box::pin(sleep(HOUR));
            let polled = sleeping.as_mut().poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
            drop((sleeping, waker));
            wakeful::yield_now().await; // the worker has nothing to do, and looks for it
            assert_eq!(Arc::strong_count(&held), 1);
        });
        assert_baseline(runtime);
    });
}

#[test]
fn a_timer_armed_by_a_foreign_thread_ends_the_sleep_of_the_worker() {
    on_workers([1, 2], |runtime| {
        let handle = runtime.handle().clone();
        let (done, is_done) = futures::channel::oneshot::channel();
        let foreign = thread::spawn(move || {
            let _entered = handle.enter();
            for _ in 0..20 {
                thread::sleep(MS); // so that the worker is asleep, most of the time
                let (fired, has_fired) = mpsc::channel();
                let _sleep = armed(MS, &waker(move || fired.send(()).unwrap()));
                has_fired.recv().unwrap();
            }
            done.send(()).unwrap();
        });
        runtime.block_on(async {
            // The worker sleeps for an hour otherwise.
            let waited = timeout(HOUR, is_done).await;
            waited.unwrap().unwrap();
        });
        foreign.join().unwrap();
    });
}

#[test]
#[expect(clippy::async_yields_async, reason = "the sleep goes on elsewhere")]
fn a_timer_dropped_on_another_worker_or_thread_is_gone() {
    on_workers([1, 2, 4], |runtime| {
        for _ in 0..100 {
            let mut sleep = runtime.block_on(async {
                let mut sleep = sleep(HOUR);
                assert!(futures::poll!(&mut sleep).is_pending());
                sleep
            });
            runtime
                .block_on(runtime.spawn(async move {
                    assert!(futures::poll!(&mut sleep).is_pending());
                    thread::spawn(move || drop(sleep)).join().unwrap();
                }))
                .unwrap();
        }
    });
}

#[test]
fn the_last_task_that_polled_a_sleep_is_woken() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let sleep = armed(MS * 5, Waker::noop());
            wakeful::spawn(sleep).await.unwrap();
        });
    });
}

#[test]
fn a_sleep_that_is_moved_is_over_at_its_new_deadline() {
    virtually(async {
        let begun = Instant::now();
        let mut later = sleep(SECOND);
        assert!(futures::poll!(&mut later).is_pending());
        later.reset(begun + SECOND * 10);
        later.reset(begun + SECOND * 20);
        (&mut later).await;
        assert_eq!(begun.elapsed().as_secs(), 20);

        let begun = Instant::now();
        later.reset(begun + HOUR); // it was over, and begins again
        assert!(futures::poll!(&mut later).is_pending());
        later.reset(begun + SECOND);
        (&mut later).await;
        assert_eq!(begun.elapsed().as_secs(), 1);
    });
}

/// It is left where it was armed: it fires there, the sleep looks, and arms it where it is due by then.
#[test]
fn a_deadline_that_moves_later_moves_its_timer_when_that_fires() {
    virtually(async {
        let begun = Instant::now();
        let mut idle = sleep(SECOND);
        assert!(futures::poll!(&mut idle).is_pending());
        for message in 1..100 {
            idle.reset(begun + SECOND * message * 10);
        }
        let mut polled_at = Vec::new();
        poll_fn(|cx| {
            polled_at.push(begun.elapsed().as_secs());
            Pin::new(&mut idle).poll(cx)
        })
        .await;
        assert_eq!(
            polled_at,
            [0, 1, 990],
            "once at the first deadline, and not at every other"
        );
    });
}

#[test]
fn a_time_out_polls_its_future_first() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            assert_eq!(timeout(Duration::ZERO, ready(1)).await, Ok(1));
            assert_eq!(timeout_at(Instant::now() - SECOND, ready(2)).await, Ok(2));
        });
    });
    // Outside a runtime too: what is ready needs no timer.
    assert_eq!(timeout(SECOND, ready(3)).now_or_never(), Some(Ok(3)));
}

#[test]
fn a_time_out_counts_from_the_first_poll() {
    virtually(async {
        let in_time = timeout(SECOND, sleep(MS * 2500));
        sleep(SECOND * 2).await;
        assert!(
            in_time.await.is_ok(),
            "the sleep began before, and has half a second left"
        );
    });
}

#[test]
fn an_elapsed_time_is_an_io_error_that_says_so() {
    let error = virtually(async { timeout(SECOND, pending::<()>()).await.unwrap_err() });
    assert_eq!(
        std::io::Error::from(error).kind(),
        std::io::ErrorKind::TimedOut
    );
    assert_eq!(error.to_string(), "the time for the operation is over");
}

#[test]
fn an_interval_keeps_its_timetable_while_it_is_asked_in_time() {
    virtually(async {
        let begun = Instant::now();
        let mut ticks = interval(SECOND);
        for expected in 0..100 {
            let due = ticks.tick().await;
            assert_eq!(due, begun + SECOND * expected);
            sleep(MS * 300).await;
        }
    });
}

#[test]
fn what_an_interval_does_with_a_missed_tick() {
    let after_a_miss = |policy| {
        virtually(async move {
            let begun = Instant::now();
            let mut ticks = interval_at(begun + SECOND, SECOND);
            ticks.set_missed_tick(policy);
            sleep(MS * 3_500).await; // three are due
            let mut seen = Vec::new();
            for _ in 0..5 {
                ticks.tick().await;
                seen.push(begun.elapsed().as_millis() / 100);
            }
            seen
        })
    };
    assert_eq!(after_a_miss(MissedTick::Delay), [35, 45, 55, 65, 75]);
    assert_eq!(after_a_miss(MissedTick::Skip), [35, 40, 50, 60, 70]);
    assert_eq!(after_a_miss(MissedTick::Burst), [35, 35, 35, 40, 50]);
}

#[test]
fn an_interval_is_a_stream_and_can_be_put_off() {
    virtually(async {
        let begun = Instant::now();
        let mut ticks = interval(SECOND);
        ticks.next().await;
        sleep(MS * 500).await;
        ticks.reset();
        ticks.next().await;
        assert_eq!(begun.elapsed().as_millis() / 100, 15);
        assert_eq!(ticks.period(), SECOND);
    });
    assert!(panic_of(|| interval(Duration::ZERO)).contains("yield_now"));
}

/// A server that drops a peer after a day without a sign of life, and one that sends a heartbeat each minute.
#[test]
fn a_day_of_virtual_time_passes_in_order_and_takes_no_time() {
    let really_begun = std::time::Instant::now();
    let events = virtually(async {
        let events = Arc::new(Mutex::new(Vec::new()));
        let note = {
            let (events, begun) = (events.clone(), Instant::now());
            move |what: &str| {
                events
                    .lock()
                    .unwrap()
                    .push(format!("{what} {}", begun.elapsed().as_secs() / 60))
            }
        };
        let heartbeat = wakeful::spawn({
            let note = note.clone();
            async move {
                let mut ticks = interval(SECOND * 60);
                loop {
                    ticks.tick().await;
                    note("beat");
                }
            }
        });
        assert!(timeout(HOUR * 24, pending::<()>()).await.is_err());
        note("gone");
        let _ = heartbeat.cancel().await;
        Arc::clone(&events)
    });
    let events = events.lock().unwrap();
    let expected: Vec<_> = (0..24 * 60)
        .map(|minute| format!("beat {minute}"))
        .collect();
    assert_eq!(events[..expected.len()], expected);
    let last = &events[expected.len()..];
    assert!(
        last.contains(&"gone 1440".to_owned()) && last.len() <= 2,
        "{last:?}"
    );
    assert!(really_begun.elapsed() < SECOND * 10);
}

#[test]
fn virtual_time_stands_still_while_something_can_be_done() {
    virtually(async {
        let begun = Instant::now();
        let timer = wakeful::spawn(sleep(MS));
        for _ in 0..1000 {
            wakeful::yield_now().await;
        }
        thread::sleep(MS * 5);
        assert_eq!(begun.elapsed(), Duration::ZERO);
        assert!(!timer.is_finished());
        timer.await.unwrap();
        assert!(begun.elapsed() >= MS);
    });
}

#[test]
fn virtual_time_is_moved_by_hand_and_fires_what_lies_on_the_way() {
    virtually(async {
        let fired = Arc::new(Mutex::new(Vec::new()));
        for minute in [1, 2, 3, 5] {
            let fired = fired.clone();
            drop(wakeful::spawn(async move {
                let begun = Instant::now();
                sleep(SECOND * 60 * minute).await;
                fired
                    .lock()
                    .unwrap()
                    .push((minute, begun.elapsed().as_secs() / 60));
            }));
        }
        advance(Duration::ZERO).await; // all have begun
        advance(SECOND * 60 * 4).await;
        assert_eq!(
            *fired.lock().unwrap(),
            [(1, 1), (2, 2), (3, 3)],
            "each at its own time"
        );
        advance(SECOND * 61).await;
        assert_eq!(fired.lock().unwrap().len(), 4);
    });
}

#[test]
fn virtual_time_waits_for_blocking_closures() {
    virtually(async {
        for _ in 0..20 {
            let begun = Instant::now();
            let closure = wakeful::spawn_blocking(|| thread::sleep(MS));
            assert!(
                timeout(HOUR, closure).await.is_ok(),
                "the hour does not pass meanwhile"
            );
            assert_eq!(begun.elapsed(), Duration::ZERO);
            // Nobody waits for this one, and the time goes on when it has ended.
            drop(wakeful::spawn_blocking(|| thread::sleep(MS)));
            sleep(HOUR).await;
        }
    });
}

#[test]
fn only_a_runtime_with_virtual_time_is_advanced() {
    let text = panic_of(|| wakeful::block_on(advance(SECOND)));
    assert!(text.contains("Builder::virtual_time"), "{text}");
    let error = Builder::new()
        .virtual_time(true)
        .workers(2)
        .build()
        .unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
}

#[test]
fn a_virtual_clock_is_nobody_elses() {
    let elsewhere = virtually(async {
        let begun = Instant::now();
        sleep(HOUR * 1000).await;
        let elsewhere = thread::spawn(Instant::now).join().unwrap();
        assert!(begun.elapsed() >= HOUR * 1000);
        elsewhere - begun
    });
    assert!(elsewhere < HOUR);
}

#[test]
fn moments_convert_from_and_to_those_of_the_standard_library() {
    let std_now = std::time::Instant::now();
    let ours = Instant::from(std_now + SECOND);
    let back = std::time::Instant::from(ours);
    assert!(back.max(std_now + SECOND) - back.min(std_now + SECOND) < MS * 100);
    let past = Instant::from(std_now) - SECOND;
    assert!(past < Instant::now() && std::time::Instant::from(past) <= std::time::Instant::now());
    let far = std::time::Instant::from(Instant::now() + Duration::MAX);
    assert!(far > std::time::Instant::now() + HOUR * 24 * 365);
}

#[test]
fn timers_fire_on_time_beside_tasks_that_never_rest() {
    on_workers([1, 2], |runtime| {
        let busy: Vec<_> = (0..4)
            .map(|_| {
                runtime.spawn(async {
                    loop {
                        wakeful::yield_now().await;
                    }
                })
            })
            .collect();
        runtime.block_on(async {
            for _ in 0..20 {
                sleep(MS).await; // hangs if a busy worker does not look at its timers
            }
        });
        for task in busy {
            task.abort();
        }
    });
}

#[test]
fn the_timers_of_a_worker_that_is_stuck_fire_elsewhere() {
    on_workers([2, 4], |runtime| {
        let (release, held) = mpsc::channel::<()>();
        let (begin, begun) = mpsc::channel();
        let timers = runtime.handle().spawn_pinned(1, move || async move {
            // Armed on worker 1, by tasks that may run anywhere.
            let sleepers: Vec<_> = (1..20).map(|n| wakeful::spawn(sleep(MS * n))).collect();
            for _ in 0..10 {
                wakeful::yield_now().await; // until they have begun
            }
            begin.send(sleepers).unwrap();
            held.recv().unwrap();
        });
        let sleepers = begun.recv().unwrap();
        runtime.block_on(async {
            for sleeper in sleepers {
                sleeper.await.unwrap();
            }
        });
        release.send(()).unwrap();
        runtime.block_on(timers).unwrap();
    });
}

#[test]
fn a_sleep_may_be_dropped_by_the_wake_of_another() {
    within(LIMIT, || {
        let runtime = runtime(1);
        runtime.block_on(async {
            let victim = Mutex::new(Some(armed(MS * 2, Waker::noop())));
            let (dropped, is_dropped) = mpsc::channel();
            let waker = waker(move || {
                drop(victim.lock().unwrap().take());
                let _ = dropped.send(());
            });
            let _first = armed(MS, &waker);
            sleep(MS * 4).await;
            is_dropped.try_recv().unwrap();
        });
        assert_baseline(&runtime);
    });
}

#[test]
#[expect(clippy::async_yields_async, reason = "the sleep goes on elsewhere")]
fn a_runtime_ends_with_timers_armed_and_what_is_left_of_them_is_harmless() {
    within(LIMIT, || {
        for workers in [1, 2, 4] {
            let runtime = runtime(workers);
            let handle = runtime.handle().clone();
            for n in 0..1000 {
                drop(runtime.spawn(sleep(HOUR * n)));
            }
            let mut left = runtime.block_on(async {
                let mut left = sleep(HOUR);
                assert!(futures::poll!(&mut left).is_pending());
                left
            });
            drop(runtime);
            left.reset(Instant::now());
            assert!(left.is_elapsed());
            let text = panic_of(|| handle.block_on(sleep(HOUR)));
            assert!(text.contains("shut down"), "{text}");
        }
    });
}

#[test]
fn a_guest_that_sleeps_hears_of_the_end() {
    within(LIMIT, || {
        let runtime = runtime(2);
        let handle = runtime.handle().clone();
        let guest = thread::spawn(move || {
            panic_of(|| handle.block_on(async { futures::join!(sleep(HOUR), pending::<()>()) }))
        });
        eventually("it sleeps", || runtime.handle().metrics().timers == 1);
        drop(runtime);
        assert!(guest.join().unwrap().contains("shut down"));
    });
}

#[test]
fn outside_a_runtime_a_sleep_says_what_it_needs() {
    let mut sleep = sleep(HOUR);
    let text = panic_of(|| {
        let _ = Pin::new(&mut sleep).poll(&mut Context::from_waker(Waker::noop()));
    });
    assert!(text.contains("a timer needs a wakeful runtime"), "{text}");
}

/// Runs a future in virtual time.
/// A sleep that `waker` is woken by. Where the machine pauses, one may be over before it is polled: then it is another one.
fn armed(duration: Duration, waker: &Waker) -> Sleep {
    loop {
        let mut sleep = sleep(duration);
        let polled = Pin::new(&mut sleep).poll(&mut Context::from_waker(waker));
        if polled.is_pending() {
            return sleep;
        }
    }
}

fn virtually<F: Future<Output: Send> + Send + 'static>(future: F) -> F::Output
where
    F::Output: 'static,
{
    let (result, has_result) = mpsc::channel();
    within(LIMIT, move || {
        let runtime = Builder::new().virtual_time(true).build().unwrap();
        result.send(runtime.block_on(future)).unwrap();
        assert_baseline(&runtime);
    });
    has_result.recv().unwrap()
}
