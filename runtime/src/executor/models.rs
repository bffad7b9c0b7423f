//! Every interleaving, within a bound, of two or three threads that share a part of the executor.
//!
//! | part | what the models hold it to |
//! |---|---|
//! | [`LocalQueue`] | each task is taken once, whoever pops, steals, refills or inherits the queue |
//! | [`Injector`] | what was pushed is popped or released; a length of zero that was seen in vain is not believed for ever |
//! | [`Watch`] | it rests only while everybody sleeps, and is woken by the first who does not |
//! | [`Parker`], [`Idle`] | work is never left beside a worker that sleeps, and there is one searching token |
//! | [`help`], and a sibling's turn | nothing of a worker is left behind that parks or comes back meanwhile |
//! | [`LocalTasks`] | a local task that is woken from elsewhere finds its thread, wherever that sits |
//! | [`MainWaker`] | so does a wake of the main future |
//! | [`Timer`] | a timer is woken for once or taken back, and never slept past |
//! | [`Seat`] | core 0 is driven by one thread, is asked for in vain by none, and is retired once |
//! | [`Shared`] | the end of a runtime ends every task once, whatever was on its way, and is told to who waits for it |
//!
//! The tasks are real, and loom sees their state words. An `Arc` of loom's in each makes it report one that is never freed. The
//! end of a runtime is modelled on a real [`Shared`], whose epoll instance loom does not see and nobody waits in: a worker's
//! sleep is modelled by a [`Bell`], or by what its parker says when all others are done.

use std::future::poll_fn;
use std::os::fd::AsFd;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize as Counter;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use loom::sync::Mutex;
use loom::thread::{self, JoinHandle as ThreadHandle};

use super::block_on::MainWaker;
use super::builder::Threads;
use super::clock::Clock;
use super::context::{self, Context as Place, Entered};
use super::core::{Core, Harvest};
use super::idle::{Idle, Parker};
use super::in_place::Lease;
use super::injector::Injector;
use super::local::LocalTasks;
use super::polling::BusyPoll;
use super::queue::{CAPACITY, LocalQueue, Stealer};
use super::registry::Registry;
use super::seat::{Claim, Seat};
use super::shared::{Home, Remote, Settings, Shared};
use super::timers::Timer;
use super::watch::{Watch, help};
use crate::blocking::Limits;
use crate::reactor::{EVENTS_MAX, Interest, Reactors, Registration};
use crate::sys::clock::{self, Deadline};
use crate::sys::eventfd::EventFd;
use crate::task::{self, JoinHandle, Meta, Ran, Runnable, Schedule, TaskId, TaskRef};
use crate::util::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use crate::util::sync::atomic::{AtomicBool, AtomicUsize};
use crate::util::sync::model;
use crate::util::sync::thread::{Bell, park};
use crate::util::wake::wake_all;

// The local queue.

#[test]
fn an_owner_that_pops_and_a_thief_take_each_task_once() {
    model(|| {
        let (tasks, queue) = (Tasks::default(), LocalQueue::new(true));
        tasks.push(&queue, 3);
        let thief = tasks.thief(&queue, Thief::steal_all);
        tasks.run_queued(&queue);
        thief.join().unwrap();
        tasks.all_ran();
    });
}

#[test]
fn a_push_around_the_end_of_the_ring_overwrites_nothing_that_is_being_stolen() {
    model(|| {
        let (tasks, queue) = (Tasks::default(), LocalQueue::new(true));
        tasks.push(&queue, CAPACITY - 1);
        tasks.run_queued(&queue);
        tasks.push(&queue, CAPACITY); // full, and around the end
        let thief = tasks.thief(&queue, Thief::steal);
        for _ in 0..2 {
            // Refused until the thief has made room; a worker then sends it to the injector.
            queue
                .push(tasks.spawn())
                .unwrap_or_else(|refused| tasks.run(refused));
        }
        tasks.run_queued(&queue);
        thief.join().unwrap();
        tasks.all_ran();
    });
}

#[test]
fn an_owner_that_takes_half_of_a_full_ring_and_a_thief_take_each_task_once() {
    model(|| {
        let (tasks, queue) = (Tasks::default(), LocalQueue::new(true));
        tasks.push(&queue, 1);
        tasks.run_queued(&queue);
        tasks.push(&queue, CAPACITY); // full, and around the end
        let thief = tasks.thief(&queue, Thief::steal);
        for task in queue.take_older_half().into_iter().flatten() {
            tasks.run(task);
        }
        tasks.push(&queue, 1); // either of them has made room
        tasks.run_queued(&queue);
        thief.join().unwrap();
        tasks.all_ran();
    });
}

/// Less than half may be left.
#[test]
fn an_owner_takes_no_half_of_a_ring_that_a_thief_has_emptied() {
    model(|| {
        let (tasks, queue) = (Tasks::default(), LocalQueue::new(true));
        tasks.push(&queue, CAPACITY);
        tasks.thief(&queue, Thief::steal_all).join().unwrap();
        assert!(queue.take_older_half().is_none());
        tasks.all_ran();
    });
}

#[test]
fn two_thieves_and_an_owner_never_take_the_same_task() {
    model(|| {
        let (tasks, queue) = (Tasks::default(), LocalQueue::new(true));
        tasks.push(&queue, 2);
        let thieves = [(); 2].map(|()| tasks.thief(&queue, Thief::steal));
        tasks.push(&queue, 1);
        tasks.run_queued(&queue);
        join_all(thieves);
        tasks.all_ran();
    });
}

/// The slots that the thief looked at hold other tasks by the time it claims them, and the head is where it was, modulo the
/// capacity.
#[test]
fn a_thief_that_was_overtaken_by_a_refill_takes_nothing_stale() {
    model(|| {
        let (tasks, queue) = (Tasks::default(), LocalQueue::new(true));
        tasks.push(&queue, CAPACITY);
        let thief = tasks.thief(&queue, Thief::steal);
        tasks.run_queued(&queue);
        tasks.push(&queue, 2);
        thief.join().unwrap();
        tasks.run_queued(&queue);
        tasks.all_ran();
    });
}

/// The same for one that takes them one by one.
#[test]
fn who_takes_the_oldest_and_was_overtaken_by_a_refill_takes_nothing_stale() {
    model(|| {
        let (tasks, queue) = (Tasks::default(), LocalQueue::new(true));
        tasks.push(&queue, CAPACITY);
        let thief = tasks.thief(&queue, Thief::steal_oldest_twice);
        tasks.run_queued(&queue);
        tasks.push(&queue, 2);
        thief.join().unwrap();
        tasks.run_queued(&queue);
        tasks.all_ran();
    });
}

#[test]
fn the_next_slot_gives_its_task_to_one_and_is_free_then() {
    model(|| {
        let (tasks, queue) = (Tasks::default(), LocalQueue::new(true));
        assert!(queue.set_next(tasks.spawn()).is_ok());
        let thieves = [(); 2].map(|()| tasks.thief(&queue, Thief::steal_next));
        queue
            .take_next()
            .into_iter()
            .for_each(|task| tasks.run(task));
        queue
            .set_next(tasks.spawn())
            .expect("it is empty, and only the owner fills it");
        queue
            .take_next()
            .into_iter()
            .for_each(|task| tasks.run(task));
        join_all(thieves);
        tasks.all_ran();
    });
}

/// The watch may take what waits behind the ring, as all that is in the next slot. A thief has the ring.
#[test]
fn what_waits_behind_the_ring_runs_last_and_no_thief_takes_it() {
    model(|| {
        let (tasks, core) = (Tasks::default(), Core::new(0, 2, 0, BusyPoll::Off));
        let slow = tasks.spawn();
        let id = slow.header().id();
        tasks.push(&core.queue, 2);
        core.wait_behind_ring(slow).expect("the place is free");
        let thief = tasks.thief(&core.queue, Thief::steal_all);
        let own = std::iter::from_fn(|| core.next_task());
        let own: Vec<_> = own
            .map(|task| (task.header().id(), tasks.run(task)).0)
            .collect();
        assert_eq!(own.last(), Some(&id));
        thief.join().unwrap();
        tasks.all_ran();
    });
}

#[test]
fn the_watch_and_an_owner_take_what_waits_behind_the_ring_once() {
    model(|| {
        let (tasks, core) = (Tasks::default(), Core::new(0, 2, 0, BusyPoll::Off));
        core.wait_behind_ring(tasks.spawn())
            .expect("the place is free");
        let watch = tasks.thief(&core.queue, Thief::steal_next);
        // It gets its place in the ring, unless it is gone.
        if let Some(task) = core.end_wait_behind_ring() {
            core.queue.push(task).expect("there is room");
        }
        (core.queue.set_next(tasks.spawn())).expect("the place is free again");
        while let Some(task) = core.next_task() {
            tasks.run(task);
        }
        watch.join().unwrap();
        tasks.all_ran();
    });
}

/// Core 0 goes from the stand-in to the thread in `block_on` in the middle of a steal.
#[test]
fn a_queue_changes_its_thread_while_a_thief_is_at_it() {
    model(|| {
        let (tasks, queue) = (Tasks::default(), LocalQueue::new(true));
        tasks.push(&queue, 1);
        let thief = tasks.thief(&queue, Thief::steal_all);
        let seat = Arc::new(Mutex::new(None));
        let heir = thread::spawn({
            let (tasks, seat) = (tasks.clone(), seat.clone());
            move || {
                let queue: Option<LocalQueue> = seat.lock().unwrap().take();
                if let Some(queue) = queue {
                    tasks.push(&queue, 1);
                    tasks.run_queued(&queue);
                }
            }
        });
        tasks.push(&queue, 2);
        queue.pop().into_iter().for_each(|task| tasks.run(task));
        *seat.lock().unwrap() = Some(queue);
        join_all([thief, heir]);
        if let Some(left) = seat.lock().unwrap().take() {
            tasks.run_queued(&left);
        }
        tasks.all_ran();
    });
}

/// The slots that a thief fills before its claim were stolen from a moment ago.
#[test]
fn a_thief_that_is_robbed_in_turn_overwrites_nothing() {
    model(|| {
        let (tasks, victim) = (Tasks::default(), LocalQueue::new(true));
        tasks.push(&victim, CAPACITY);
        let thief = Thief {
            from: victim.stealer(),
            own: LocalQueue::new(true),
            tasks: tasks.clone(),
        };
        tasks.push(&thief.own, CAPACITY - 1);
        let robber = tasks.thief(&thief.own, Thief::steal_all);
        tasks.run_queued(&thief.own);
        thief.steal();
        robber.join().unwrap();
        tasks.run_queued(&victim);
        tasks.all_ran();
    });
}

// The injector.

#[test]
fn what_is_pushed_while_others_pop_is_popped_once() {
    model(|| {
        let (tasks, injector) = (Tasks::default(), Arc::new(Injector::new()));
        injector.push([tasks.spawn()]);
        let pushing = thread::spawn({
            let (injector, two) = (injector.clone(), [tasks.spawn(), tasks.spawn()]);
            move || injector.push(two)
        });
        let popping = thread::spawn({
            let (injector, tasks) = (injector.clone(), tasks.clone());
            move || injector.pop(2, |task| tasks.run(task))
        });
        injector.pop(1, |task| tasks.run(task));
        join_all([pushing, popping]);
        injector.pop(usize::MAX, |task| tasks.run(task));
        tasks.all_ran();
    });
}

#[test]
fn a_push_that_meets_the_close_is_released() {
    model(|| {
        let (tasks, injector) = (Tasks::default(), Arc::new(Injector::new()));
        let pushing = thread::spawn({
            let (injector, two) = (injector.clone(), [tasks.spawn(), tasks.spawn()]);
            move || injector.push(two)
        });
        injector.close();
        pushing.join().unwrap();
        assert_eq!(injector.len(), 0);
        injector.pop(usize::MAX, |_| panic!("popped after the close"));
        tasks.none_ran_and_all_are_freed();
    });
}

/// The length is read without the lock; zero must not hide a task from someone who was told of it.
#[test]
fn whoever_was_told_of_a_push_finds_it() {
    model(|| {
        let (tasks, injector) = (Tasks::default(), Arc::new(Injector::new()));
        let told = Arc::new(AtomicBool::new(false));
        injector.push([tasks.spawn()]);
        let pushing = thread::spawn({
            let (injector, told, task) = (injector.clone(), told.clone(), tasks.spawn());
            move || {
                injector.push([task]);
                told.store(true, Release);
            }
        });
        injector.pop(1, |task| tasks.run(task));
        if told.load(Acquire) {
            injector.pop(1, |task| tasks.run(task));
            tasks.all_ran();
        }
        pushing.join().unwrap();
        injector.pop(usize::MAX, |task| tasks.run(task));
        tasks.all_ran();
    });
}

// One worker's sleep.

#[test]
fn a_worker_never_sleeps_beside_what_it_was_notified_of() {
    model(|| {
        let world = Arc::new((Parker::new(), Bell::default(), AtomicBool::new(false)));
        let publisher = thread::spawn({
            let world = world.clone();
            move || {
                let (parker, bell, published) = &*world;
                published.store(true, Relaxed);
                if parker.notify() {
                    bell.ring();
                }
            }
        });
        let (parker, bell, published) = &*world;
        while !published.load(Relaxed) {
            if parker.prepare_park() {
                bell.wait();
                parker.unpark();
            }
        }
        publisher.join().unwrap();
    });
}

#[test]
fn notifications_of_one_sleep_ring_once_and_both_are_seen() {
    model(|| {
        let world = Arc::new((Parker::new(), Bell::default(), Counter::new(0)));
        let published = Arc::new([AtomicBool::new(false), AtomicBool::new(false)]);
        let (parker, bell, rings) = &*world;
        assert!(parker.prepare_park());
        let publishers = [0, 1].map(|which| {
            let (world, published) = (world.clone(), published.clone());
            thread::spawn(move || {
                let (parker, bell, rings) = &*world;
                published[which].store(true, Relaxed);
                if parker.notify() {
                    rings.fetch_add(1, SeqCst);
                    bell.ring();
                }
            })
        });
        let mut sleeps = 1;
        bell.wait();
        parker.unpark();
        while !published.iter().all(|published| published.load(Relaxed)) {
            if parker.prepare_park() {
                sleeps += 1;
                bell.wait();
                parker.unpark();
            }
        }
        join_all(publishers);
        assert!(rings.load(SeqCst) <= sleeps, "a ring is a system call");
    });
}

// The sleep of all workers.

#[test]
fn a_worker_that_parks_sees_the_work_or_is_woken_for_it() {
    model(|| {
        let crew = Crew::new(1);
        let publisher = crew.publisher();
        crew.work_as(0, false, 1);
        publisher.join().unwrap();
        crew.ends_at_rest();
    });
}

/// One publisher holds the token, has found nobody to wake, and is about to give it back; the other relies on it; and the
/// worker parks in between.
#[test]
fn two_publishers_and_a_worker_that_parks_leave_no_work_behind() {
    model(|| {
        let crew = Crew::new(1);
        let publishers = [crew.publisher(), crew.publisher()];
        crew.work_as(0, false, 2);
        join_all(publishers);
        crew.ends_at_rest();
    });
}

#[test]
fn a_searcher_that_finds_nothing_and_parks_answers_for_who_relied_on_it() {
    model(|| {
        let crew = Crew::new(1);
        let searching = crew.claimed_in_its_sleep(0);
        let publisher = crew.publisher();
        crew.work_as(0, searching, 1);
        publisher.join().unwrap();
        crew.ends_at_rest();
    });
}

#[test]
fn a_searcher_that_finds_work_answers_for_who_relied_on_it() {
    model(|| {
        let crew = Crew::new(1);
        let searching = crew.claimed_in_its_sleep(0);
        crew.work.store(1, Relaxed);
        let publishers = [crew.publisher(), crew.publisher()];
        crew.work_as(0, searching, 3);
        join_all(publishers);
        crew.ends_at_rest();
    });
}

#[test]
fn a_worker_that_wakes_by_itself_while_it_is_claimed_holds_the_token_or_nobody_does() {
    model(|| {
        let crew = Crew::new(1);
        let claiming = thread::spawn({
            let crew = crew.clone();
            move || crew.idle.worker_to_wake(|| false)
        });
        let woke_by_itself = || {};
        let searching = crew
            .idle
            .sleep(0, &crew.parkers[0], false, || false, woke_by_itself);
        let claimed = claiming.join().unwrap();
        assert_eq!(claimed.is_some(), searching);
        if searching {
            crew.idle.stop_searching();
        }
        crew.ends_at_rest();
    });
}

/// A worker that was woken and finds more than it takes wakes the next; and the end wakes them all.
#[test]
fn two_workers_share_what_was_published_and_both_hear_of_the_end() {
    model(|| {
        let crew = Crew::new(2);
        let workers = [0, 1].map(|worker| {
            let crew = crew.clone();
            thread::spawn(move || crew.work_until_the_end(worker))
        });
        crew.publish(2);
        crew.end();
        join_all(workers);
        crew.work_as(0, false, crew.work.load(Relaxed)); // what they left as the end came
        crew.ends_at_rest();
    });
}

// The watch.

/// It may fall asleep just before the worker leaves its sleep, or just after.
#[test]
fn a_watch_that_goes_to_rest_is_woken_by_a_worker_that_leaves_its_sleep() {
    model(|| {
        let (watch, parker) = (Arc::new(Watch::default()), Arc::new(Parker::new()));
        assert!(parker.prepare_park());
        let resting = watch_rests(&watch, &parker);
        parker.unpark();
        watch.worker_awake();
        resting.join().unwrap();
    });
}

#[test]
fn a_watch_that_goes_to_rest_hears_of_the_end() {
    model(|| {
        let (watch, parker) = (Arc::new(Watch::default()), Arc::new(Parker::new()));
        assert!(parker.prepare_park());
        let resting = watch_rests(&watch, &parker);
        let _ = parker.notify();
        watch.call();
        resting.join().unwrap();
    });
}

/// The first of two workers that wake ends the rest, and the second finds it ended.
#[test]
fn two_workers_that_leave_their_sleep_wake_a_watch_that_goes_to_rest() {
    model(|| {
        let (watch, parker) = (Arc::new(Watch::default()), Arc::new(Parker::new()));
        assert!(parker.prepare_park());
        let resting = watch_rests(&watch, &parker);
        let other = thread::spawn({
            let (watch, parker) = (watch.clone(), Parker::new());
            assert!(parker.prepare_park());
            move || {
                parker.unpark();
                watch.worker_awake();
            }
        });
        parker.unpark();
        watch.worker_awake();
        join_all([resting, other]);
    });
}

fn watch_rests(watch: &Arc<Watch>, parker: &Arc<Parker>) -> ThreadHandle<()> {
    let (watch, parker) = (watch.clone(), parker.clone());
    thread::spawn(move || {
        watch.begin();
        watch.rest([&*parker].into_iter());
    })
}

// What others do for a worker that does not come.

/// The sibling leaves it with the owner's thread, which is about to sleep or does so already.
#[test]
fn a_local_task_that_a_sibling_wakes_from_the_owners_reactor_is_run_by_an_owner_that_parks() {
    model(|| {
        let owner = Owner::new();
        let _socket = owner.socket_with_data({
            let inbox = owner.local.inbox().clone();
            move |task| inbox.schedule(task)
        });
        let helping = owner.is_helped_by(|shared| {
            let Harvest { events, woken } = &mut Harvest::new();
            (shared.reactors.get(0)).turn_for_owner(events, EVENTS_MAX, woken);
            wake_all(woken);
        });
        owner.works_beside([helping]);
    });
}

/// What would end the owner's sleep is in the reactor, and the sibling takes it out.
#[test]
fn an_owner_that_parks_is_woken_for_its_mail_although_a_sibling_turns_its_reactor() {
    model(|| {
        let owner = Owner::new();
        let helping = owner.is_helped_by(|shared| {
            let Harvest { events, woken } = &mut Harvest::new();
            (shared.reactors.get(0)).turn_for_owner(events, EVENTS_MAX, woken);
        });
        let sending = thread::spawn({
            let (inbox, task) = (owner.local.inbox().clone(), owner.tasks.spawn());
            move || inbox.schedule(task)
        });
        owner.works_beside([helping, sending]);
    });
}

/// The watch has found it stuck; it runs what it was to run next itself, or finds it gone.
#[test]
fn a_stuck_worker_that_comes_back_as_it_is_helped_leaves_nothing_that_was_to_run_next() {
    model(|| {
        let owner = Owner::new();
        (owner.core.queue.set_next(owner.tasks.spawn())).expect("the place is free");
        let helping = owner.is_helped_by(the_watch_helps);
        owner.works_beside([helping]);
    });
}

/// The watch moves what it had queued to where both look.
#[test]
fn a_stuck_worker_that_comes_back_as_it_is_helped_and_the_watch_take_each_task_once() {
    model(|| {
        let owner = Owner::new();
        for _ in 0..2 {
            (owner.core.queue.push(owner.tasks.spawn())).expect("there is room");
        }
        let helping = owner.is_helped_by(the_watch_helps);
        (owner.core.queue.push(owner.tasks.spawn())).expect("there is room"); // it has come back, and goes on
        owner.works_beside([helping]);
    });
}

/// Whoever turns the reactor has the task queued where both look.
#[test]
fn a_stuck_worker_that_comes_back_as_it_is_helped_leaves_no_event_behind() {
    model(|| {
        let owner = Owner::new();
        let _socket = owner.socket_with_data({
            let shared = owner.shared.clone();
            move |task| shared.inject([task])
        });
        let helping = owner.is_helped_by(the_watch_helps);
        owner.works_beside([helping]);
    });
}

/// Nobody is notified of what a worker pushes onto its own ring, as long as it seems to be able to run that soon.
#[test]
fn a_sibling_that_parks_is_woken_for_what_a_stuck_worker_has_queued() {
    model(|| {
        let (shared, mut others) = runtime(2);
        let stuck = shared.seat.claim_as_driver(|| ()).expect("core 0");
        let owner = Owner::of(shared, others.pop().expect("core 1"));
        let kept = Arc::new(std::sync::Mutex::new(None)); // what it holds is stolen at some time
        let helping = owner.is_helped_by({
            let (task, kept) = (owner.tasks.spawn(), kept.clone());
            move |shared| {
                stuck.queue.push(task).expect("there is room");
                *kept.lock().unwrap() = Some(stuck);
                help(shared, 0, &mut Harvest::new());
            }
        });
        owner.works_beside([helping]);
    });
}

// Local tasks and where their thread sits.

#[test]
fn a_local_task_woken_from_elsewhere_finds_the_thread_that_takes_a_core() {
    model(|| {
        let (tasks, shared) = (Tasks::default(), runtime(1).0);
        let local = LocalTasks::new(&shared);
        let sender = thread::spawn({
            let (inbox, task) = (local.inbox().clone(), tasks.spawn());
            move || inbox.schedule(task)
        });
        local.move_to(Some(0));
        let parker = &shared.remotes[0].parker;
        let early = local.pop();
        let parked = early.is_none() && parker.prepare_park();
        sender.join().unwrap();
        if parked {
            assert!(
                !parker.is_parked(),
                "asleep in the reactor, beside the mail"
            );
            parker.unpark();
        }
        early
            .or_else(|| local.pop())
            .into_iter()
            .for_each(|task| tasks.run(task));
        tasks.all_ran();
        local.close();
    });
}

#[test]
fn a_local_task_woken_from_elsewhere_finds_the_thread_that_gives_its_core_away() {
    model(|| {
        let (tasks, shared) = (Tasks::default(), runtime(1).0);
        let local = LocalTasks::new(&shared);
        local.move_to(Some(0));
        let sender = thread::spawn({
            let (inbox, task) = (local.inbox().clone(), tasks.spawn());
            move || inbox.schedule(task)
        });
        local.move_to(None);
        let task = loop {
            match local.pop() {
                Some(task) => break task,
                None => park(),
            }
        };
        tasks.run(task);
        sender.join().unwrap();
        tasks.all_ran();
        local.close();
    });
}

#[test]
fn a_local_task_woken_as_its_thread_leaves_is_taken_or_released() {
    model(|| {
        let (tasks, shared) = (Tasks::default(), runtime(1).0);
        let local = LocalTasks::new(&shared);
        local.move_to(Some(0));
        let sender = thread::spawn({
            let (inbox, two) = (local.inbox().clone(), [tasks.spawn(), tasks.spawn()]);
            move || two.into_iter().for_each(|task| inbox.schedule(task))
        });
        local.close();
        sender.join().unwrap();
        assert!(local.pop().is_none());
        tasks.none_ran_and_all_are_freed();
    });
}

#[test]
fn a_task_sent_to_a_worker_that_parks_is_not_left_waiting() {
    model(|| {
        let shared = runtime(1).0;
        let future = Tracked::default();
        let sender = thread::spawn({
            let (home, pending) = (home(&shared, 0), future.pending());
            move || home.spawn_pinned(0, move || pending, Location::caller())
        });
        let remote = &shared.remotes[0];
        let mut arrived = remote.arrivals.take().unwrap_or_default();
        let parked = arrived.is_empty() && remote.parker.prepare_park();
        let handle = sender.join().unwrap();
        if parked {
            assert!(
                !remote.parker.is_parked(),
                "asleep, and the task has arrived"
            );
            remote.parker.unpark();
        }
        arrived.extend(remote.arrivals.take().unwrap_or_default());
        assert_eq!(arrived.len(), 1);
        arrived
            .into_iter()
            .for_each(|arrival| arrival.task.shutdown());
        future.was_cancelled(handle);
    });
}

// The main future's waker.

#[test]
fn a_wake_of_the_main_future_reaches_the_thread_that_begins_to_drive() {
    model(|| {
        let shared = runtime(1).0;
        let main = polled_once(&shared);
        let waking = wake_from_elsewhere(&main);
        main.set_driving(true);
        let parker = &shared.remotes[0].parker;
        let early = main.take_wake();
        let parked = !early && parker.prepare_park();
        waking.join().unwrap();
        if parked {
            assert!(
                !parker.is_parked(),
                "asleep in the reactor, and the wake unheard"
            );
            parker.unpark();
        }
        assert!(early || main.take_wake());
    });
}

#[test]
fn a_wake_of_the_main_future_reaches_the_thread_that_stops_driving() {
    model(|| {
        let shared = runtime(1).0;
        let main = polled_once(&shared);
        main.set_driving(true);
        let waking = wake_from_elsewhere(&main);
        main.set_driving(false);
        while !main.take_wake() {
            main.park();
        }
        waking.join().unwrap();
    });
}

#[test]
fn a_wake_is_heard_after_a_poll_that_used_up_its_unpark() {
    model(|| {
        let shared = runtime(1).0;
        let main = polled_once(&shared);
        let waking = wake_from_elsewhere(&main);
        park(); // in the poll of the main future, which knows nothing of ours
        main.park();
        assert!(main.take_wake());
        waking.join().unwrap();
    });
}

#[test]
fn the_poll_after_two_wakes_of_the_main_future_sees_what_both_announced() {
    model(|| {
        let shared = runtime(1).0;
        let main = polled_once(&shared);
        let announced = Arc::new([AtomicBool::new(false), AtomicBool::new(false)]);
        let waking = [0, 1].map(|which| {
            let (main, announced) = (main.clone(), announced.clone());
            thread::spawn(move || {
                announced[which].store(true, Relaxed);
                main.wake_by_ref();
            })
        });
        while !announced.iter().all(|announced| announced.load(Relaxed)) {
            while !main.take_wake() {
                main.park();
            }
        }
        join_all(waking);
    });
}

// The seat of core 0.

#[test]
fn a_driver_gets_the_core_that_a_stand_in_holds_and_the_stand_in_gets_it_back() {
    model(|| {
        let house = House::new();
        let stand_in = thread::spawn({
            let house = house.clone();
            move || house.stand_in()
        });
        let core = house.claim().expect("nobody else drives");
        house.drive(core);
        house.close();
        stand_in.join().unwrap();
        house.was_retired_once();
    });
}

#[test]
fn a_driver_that_waits_for_the_core_hears_of_the_end() {
    model(|| {
        let house = House::new();
        let stand_in = thread::spawn({
            let house = house.clone();
            move || house.stand_in()
        });
        let driver = thread::spawn({
            let house = house.clone();
            move || house.claim().into_iter().for_each(|core| house.drive(core))
        });
        house.close();
        stand_in.join().unwrap();
        driver.join().unwrap();
        house.was_retired_once();
    });
}

/// On a runtime with one worker, whoever comes second waits until the first has left, and then drives.
#[test]
fn a_guest_inherits_the_core_of_a_driver_that_leaves() {
    model(|| {
        let house = House::new();
        let other = thread::spawn({
            let house = house.clone();
            move || house.drive_or_wait()
        });
        house.drive_or_wait();
        other.join().unwrap();
        house.close();
        house.was_retired_once();
    });
}

// A core that is lent.

/// As `stand_in`: drives the core until it is wanted.
fn stand_in_for(lease: &Lease, parker: &Parker, bell: &Bell) -> bool {
    let Some(core) = lease.take() else {
        return false;
    };
    parker.unpark(); // a new holder looks at everything first
    while !lease.is_wanted() {
        if parker.prepare_park() {
            bell.wait();
            parker.unpark();
        }
    }
    lease.give_back(Some(core));
    true
}

#[test]
fn an_owner_gets_its_core_back_whether_or_not_a_stand_in_has_come() {
    model(|| {
        let lease = Arc::new(Lease::new(Core::new(0, 1, 0, BusyPoll::Off)));
        let (parker, bell) = (Arc::new(Parker::new()), Arc::new(Bell::default()));
        let stand_in = thread::spawn({
            let (lease, parker, bell) = (lease.clone(), parker.clone(), bell.clone());
            move || _ = stand_in_for(&lease, &parker, &bell)
        });
        let call_holder = || {
            if parker.notify() {
                bell.ring();
            }
        };
        assert!(lease.reclaim(call_holder).is_some());
        assert!(lease.take().is_none(), "there is but one core");
        stand_in.join().unwrap();
    });
}

#[test]
fn a_core_is_lent_to_one_of_two_stand_ins() {
    model(|| {
        let lease = Arc::new(Lease::new(Core::new(0, 1, 0, BusyPoll::Off)));
        let (parker, bell) = (Arc::new(Parker::new()), Arc::new(Bell::default()));
        let take = |lease: &Arc<Lease>| {
            let lease = lease.clone();
            thread::spawn(move || {
                if let Some(core) = lease.take() {
                    lease.give_back(Some(core));
                }
            })
        };
        let takers = [take(&lease), take(&lease)];
        let core = lease.reclaim(|| {
            if parker.notify() {
                bell.ring();
            }
        });
        assert!(core.is_some());
        join_all(takers);
    });
}

#[test]
fn an_owner_hears_that_its_core_was_passed_on() {
    model(|| {
        let lease = Arc::new(Lease::new(Core::new(0, 1, 0, BusyPoll::Off)));
        let passer = thread::spawn({
            let lease = lease.clone();
            move || {
                let core = lease.take();
                let had_it = core.is_some();
                drop(core);
                if had_it {
                    lease.give_back(None);
                }
                had_it
            }
        });
        let reclaimed = lease.reclaim(|| {});
        assert_eq!(reclaimed.is_none(), passer.join().unwrap());
    });
}

// Timers.

/// Whoever finds it in the wheel has its waker: one calls it, the other drops it.
#[test]
fn a_timer_that_is_dropped_as_it_fires_is_woken_for_once_or_never() {
    model(|| {
        let (timers, wakes) = (ModelTimers::new(), Wakes::default());
        let timer = timers.arm(1, &wakes).unwrap();
        let firing = timers.fire_elsewhere(1);
        drop(timer);
        let fired = firing.join().unwrap();
        assert!(fired <= 1);
        assert_eq!(wakes.count(), fired);
        wakes.are_awaited_by_nobody();
        assert_eq!(timers.armed_count(), 0);
    });
}

#[test]
fn a_timer_that_is_put_off_as_it_fires_fires_once_at_one_of_its_deadlines() {
    model(|| {
        let (timers, wakes) = (ModelTimers::new(), Wakes::default());
        let timer = timers.arm(1, &wakes).unwrap();
        let firing = timers.fire_elsewhere(1);
        let was_put_off = timers.reset(&timer, 3);
        let fired_early = firing.join().unwrap();
        assert_eq!(fired_early, usize::from(!was_put_off));
        assert_eq!(timers.fire(2), 0);
        assert_eq!(timers.fire(3), usize::from(was_put_off));
        assert_eq!(wakes.count(), 1);
        wakes.are_awaited_by_nobody();
        assert!(!timers.reset(&timer, 5), "it has fired");
    });
}

#[test]
fn a_timer_that_fires_as_it_is_polled_by_another_task_wakes_the_one_that_it_knew_last() {
    model(|| {
        let (timers, wakes) = (ModelTimers::new(), [(); 2].map(|()| Wakes::default()));
        let timer = timers.arm(1, &wakes[0]).unwrap();
        let firing = timers.fire_elsewhere(1);
        let is_known = timer.set_waker(&wakes[1].waker());
        assert_eq!(firing.join().unwrap(), 1);
        assert_eq!(wakes[usize::from(is_known)].count(), 1);
        assert_eq!(wakes[usize::from(!is_known)].count(), 0);
        wakes.iter().for_each(Wakes::are_awaited_by_nobody);
    });
}

/// A sibling fires a worker's spare timer.
#[test]
fn a_timer_that_fires_as_it_is_armed_anew_serves_the_former_or_the_next() {
    model(|| {
        let (timers, wakes) = (ModelTimers::new(), [(); 2].map(|()| Wakes::default()));
        let timer = timers.arm(1, &wakes[0]).unwrap();
        let firing = timers.fire_elsewhere(1);
        let serves_the_next = timer.arm_anew(timers.at(3), timers.begin, &wakes[1].waker());
        let fired_early = firing.join().unwrap();
        assert_eq!(fired_early, wakes[0].count() + wakes[1].count());
        assert_eq!(timers.fire(2), 0);
        assert_eq!(timers.fire(3), usize::from(serves_the_next));
        assert_eq!(fired_early, usize::from(!serves_the_next));
        assert_eq!(wakes[1].count(), usize::from(serves_the_next));
        wakes.iter().for_each(Wakes::are_awaited_by_nobody);
        drop(timer);
    });
}

#[test]
fn a_timer_armed_anew_as_the_runtime_ends_is_woken_for_or_refused() {
    model(|| {
        let (timers, wakes) = (ModelTimers::new(), [(); 2].map(|()| Wakes::default()));
        let timer = timers.arm(9, &wakes[0]).unwrap();
        let closing = thread::spawn({
            let timers = timers.clone();
            move || timers.remote().timers.close()
        });
        let serves_the_next = timer.arm_anew(timers.at(9), timers.begin, &wakes[1].waker());
        closing.join().unwrap();
        assert_eq!(wakes[usize::from(serves_the_next)].count(), 1);
        assert_eq!(wakes[usize::from(!serves_the_next)].count(), 0);
        wakes.iter().for_each(Wakes::are_awaited_by_nobody);
        drop(timer);
        assert_eq!(timers.armed_count(), 0);
    });
}

#[test]
fn a_worker_does_not_sleep_past_a_timer_that_is_armed_anew_elsewhere() {
    model(|| {
        let (timers, wakes) = (ModelTimers::new(), Wakes::default());
        let timer = timers.arm(9, &wakes).unwrap();
        let arming = thread::spawn({
            let (timers, wakes) = (timers.clone(), wakes.clone());
            move || {
                assert!(timer.arm_anew(timers.at(1), timers.begin, &wakes.waker()));
                timer
            }
        });
        let sleep = timers.begin_sleep();
        let timer = arming.join().unwrap();
        timers.ends_by(1, sleep);
        drop(timer);
    });
}

/// Its worker, and a sibling that looks after it.
#[test]
fn two_threads_that_fire_the_same_timers_wake_for_each_once() {
    model(|| {
        let (timers, wakes) = (ModelTimers::new(), [(); 2].map(|()| Wakes::default()));
        let armed = [1, 2].map(|n| timers.arm(n, &wakes[n as usize - 1]).unwrap());
        let firing = timers.fire_elsewhere(2);
        let fired = timers.fire(1);
        assert_eq!(fired + firing.join().unwrap(), 2);
        for wakes in &wakes {
            assert_eq!(wakes.count(), 1);
            wakes.are_awaited_by_nobody();
        }
        drop(armed);
    });
}

#[test]
fn a_worker_does_not_sleep_past_a_timer_that_is_armed_elsewhere() {
    model(|| {
        let (timers, wakes) = (ModelTimers::new(), Wakes::default());
        let arming = thread::spawn({
            let (timers, wakes) = (timers.clone(), wakes.clone());
            move || timers.arm(1, &wakes).unwrap()
        });
        let sleep = timers.begin_sleep();
        let timer = arming.join().unwrap();
        timers.ends_by(1, sleep);
        drop(timer);
        wakes.are_awaited_by_nobody();
    });
}

#[test]
fn a_worker_does_not_sleep_past_a_timer_that_is_moved_forwards_elsewhere() {
    model(|| {
        let (timers, wakes) = (ModelTimers::new(), Wakes::default());
        let timer = timers.arm(9, &wakes).unwrap();
        let moving = thread::spawn({
            let timers = timers.clone();
            move || {
                assert!(timers.reset(&timer, 1));
                timer
            }
        });
        let sleep = timers.begin_sleep();
        let timer = moving.join().unwrap();
        timers.ends_by(1, sleep);
        drop(timer);
    });
}

/// What it waits for does not come any more.
#[test]
fn a_timer_armed_as_the_runtime_ends_is_woken_for_or_refused() {
    model(|| {
        let (timers, wakes) = (ModelTimers::new(), Wakes::default());
        let closing = thread::spawn({
            let timers = timers.clone();
            move || timers.remote().timers.close()
        });
        let timer = timers.arm(1, &wakes);
        closing.join().unwrap();
        assert_eq!(wakes.count(), usize::from(timer.is_ok()));
        drop(timer);
        wakes.are_awaited_by_nobody();
        assert_eq!(timers.armed_count(), 0);
        assert!(timers.arm(1, &wakes).is_err(), "armed after the end");
    });
}

/// The timers of core 0. Moments are seconds after the model's begin.
#[derive(Clone)]
pub(crate) struct ModelTimers {
    home: Arc<Home>,
    begin: Duration,
}

impl ModelTimers {
    pub(crate) fn new() -> Self {
        Self {
            home: home(&runtime(1).0, 0),
            begin: clock::now(),
        }
    }

    fn remote(&self) -> &Remote {
        &self.home.remote
    }

    fn armed_count(&self) -> usize {
        self.remote().timers.len()
    }

    fn arm(&self, second: u32, wakes: &Wakes) -> Result<Timer, Waker> {
        Timer::arm_on(&self.home, self.at(second), self.begin, wakes.waker())
    }

    fn reset(&self, timer: &Timer, second: u32) -> bool {
        timer.reset(self.at(second), self.begin)
    }

    /// Fires what is due at `second`, and says how many were.
    fn fire(&self, second: u32) -> usize {
        let mut woken = Vec::new();
        let now = self.at(second) + SECOND / 2; // timers have slack
        self.remote().timers.fire(now, &mut woken);
        let count = woken.len();
        wake_all(&mut woken);
        count
    }

    pub(crate) fn fire_elsewhere(&self, second: u32) -> ThreadHandle<usize> {
        let timers = self.clone();
        thread::spawn(move || timers.fire(second))
    }

    /// As `Worker::park`. Until when it sleeps, if it does and nobody wakes it.
    fn begin_sleep(&self) -> Option<Duration> {
        let parked = self.remote().parker.prepare_park();
        parked.then(|| self.remote().timers.begin_sleep().unwrap_or(Duration::MAX))
    }

    /// The worker's sleep, if it is in one, was ended or ends by itself.
    fn ends_by(&self, second: u32, sleep: Option<Duration>) {
        let parker = &self.remote().parker;
        if let Some(until) = sleep
            && parker.is_parked()
        {
            assert!(until < self.at(second) + SECOND / 2, "asleep past a timer");
        }
        parker.unpark();
        assert_eq!(self.fire(second), 1);
    }

    /// The thread is in the runtime's context, but no worker of it, until the guard is dropped.
    pub(crate) fn enter(&self) -> Entered {
        context::enter(Place::Guest(self.home.clone()).into())
    }

    /// How many are due at `second`, which are not woken.
    pub(crate) fn due_count(&self, second: u32) -> usize {
        let mut due = Vec::new();
        let now = self.at(second) + SECOND / 2; // timers have slack
        self.remote().timers.fire(now, &mut due);
        due.len()
    }

    pub(crate) fn at(&self, second: u32) -> Duration {
        self.begin + SECOND * second
    }
}

/// Somebody who waits, and counts how often they are woken.
#[derive(Clone, Default)]
pub(crate) struct Wakes(Arc<CountWakes>);

impl Wakes {
    pub(crate) fn waker(&self) -> Waker {
        self.0.clone().into()
    }

    pub(crate) fn count(&self) -> usize {
        self.0.0.load(SeqCst)
    }

    fn are_awaited_by_nobody(&self) {
        assert_eq!(Arc::strong_count(&self.0), 1, "a waker was kept");
    }
}

#[derive(Default)]
struct CountWakes(Counter);

impl Wake for CountWakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

const SECOND: Duration = Duration::from_secs(1);

// The end of a runtime.

#[test]
fn a_task_spawned_as_the_runtime_ends_is_ended_once() {
    model(|| {
        let shared = runtime(1).0;
        let closing = close_elsewhere(&shared);
        let future = Tracked::default();
        let handle = home(&shared, 0).spawn(future.pending(), None, Location::caller());
        closing.join().unwrap();
        future.was_cancelled(handle);
        is_kept_by_nobody(shared);
    });
}

#[test]
fn a_task_woken_as_the_runtime_ends_is_ended_once() {
    model(|| {
        let shared = runtime(1).0;
        let future = Tracked::default();
        let handle = home(&shared, 0).spawn(future.pending(), None, Location::caller());
        run_injected(&shared);
        let waker = future.waker();
        let waking = thread::spawn(move || waker.wake());
        shared.close();
        waking.join().unwrap();
        future.was_cancelled(handle);
        is_kept_by_nobody(shared);
    });
}

#[test]
fn a_task_sent_to_a_worker_as_the_runtime_ends_is_ended_once() {
    model(|| {
        let shared = runtime(1).0;
        let closing = close_elsewhere(&shared);
        let future = Tracked::default();
        let pending = future.pending();
        let handle = home(&shared, 0).spawn_pinned(0, move || pending, Location::caller());
        closing.join().unwrap();
        future.was_cancelled(handle);
        is_kept_by_nobody(shared);
    });
}

#[test]
fn a_task_aborted_as_the_runtime_ends_is_ended_once() {
    model(|| {
        let shared = runtime(1).0;
        let future = Tracked::default();
        let handle = home(&shared, 0).spawn(future.pending(), None, Location::caller());
        run_injected(&shared);
        drop(future.waker());
        let closing = close_elsewhere(&shared);
        handle.abort();
        closing.join().unwrap();
        future.was_cancelled(handle);
        is_kept_by_nobody(shared);
    });
}

#[test]
fn a_registration_that_meets_the_close_ends_its_task_or_is_refused() {
    model(|| {
        let registry = Arc::new(Registry::new(0, None));
        let future = Tracked::default();
        let (task, runnable, handle) = task::new(future.pending(), Unscheduled::default(), meta());
        let inserting = thread::spawn({
            let registry = registry.clone();
            move || {
                if let Err(refused) = registry.insert(task) {
                    refused.shutdown();
                }
            }
        });
        registry.close();
        inserting.join().unwrap();
        assert_eq!(registry.len(), 0);
        drop(runnable);
        future.was_cancelled(handle);
    });
}

/// One core is retired by its worker, the other is given up out of its seat.
#[test]
fn the_only_worker_thread_ends_what_was_left_on_either_core() {
    model(|| {
        let (shared, mut others) = runtime(2);
        let futures = [Tracked::default(), Tracked::default()];
        let worker = thread::spawn({
            let (shared, future) = (shared.clone(), futures[0].pending());
            let (home, core) = (home(&shared, 1), others.pop().expect("core 1"));
            move || {
                let handle = home.spawn(future, None, Location::caller());
                retire_at_the_end(&shared, core);
                handle
            }
        });
        let handle = home(&shared, 0).spawn(futures[1].pending(), None, Location::caller());
        shared.close();
        let [first, second] = futures;
        first.was_cancelled(worker.join().unwrap());
        second.was_cancelled(handle);
        is_kept_by_nobody(shared);
    });
}

/// The runner drops the future, or the one who ends the runtime does, and either may find the other at it.
#[test]
fn a_task_polled_as_the_runtime_ends_is_ended_once() {
    model(|| {
        let shared = runtime(1).0;
        let future = Tracked::default();
        let handle = home(&shared, 0).spawn(future.pending(), None, Location::caller());
        let polling = thread::spawn({
            let shared = shared.clone();
            move || work_injected(&shared)
        });
        shared.close();
        polling.join().unwrap();
        drop(future.waker.lock().unwrap().take()); // if it was polled
        future.was_cancelled(handle);
        assert_eq!(shared.remotes[0].registry.len(), 0);
        is_kept_by_nobody(shared);
    });
}

/// The thread that waits gives up on worker 1, and ends what is left, as that comes back from its poll.
#[test]
fn a_worker_that_comes_back_as_it_is_given_up_ends_what_is_its_own() {
    model(|| {
        let (shared, mut others) = runtime(2);
        let futures = [Tracked::default(), Tracked::default()];
        let handles =
            [0, 1].map(|n| home(&shared, n).spawn(futures[n].pending(), None, Location::caller()));
        let worker = thread::spawn({
            let (shared, core) = (shared.clone(), others.pop().expect("core 1"));
            move || {
                work_injected(&shared);
                retire_at_the_end(&shared, core);
            }
        });
        shared.close();
        shared.end_the_rest();
        worker.join().unwrap();
        for (future, handle) in futures.into_iter().zip(handles) {
            drop(future.waker.lock().unwrap().take());
            future.was_cancelled(handle);
        }
        assert_eq!(shared.report().tasks_dropped, 2);
        is_kept_by_nobody(shared);
    });
}

#[test]
fn whoever_waits_for_the_end_is_woken_by_the_last() {
    model(|| {
        let (shared, mut others) = runtime(2);
        shared.ending.expect_threads(1);
        let worker = thread::spawn({
            let (shared, core) = (shared.clone(), others.pop().expect("core 1"));
            move || {
                retire_at_the_end(&shared, core);
                shared.ending.thread_ended();
            }
        });
        shared.close();
        assert!(shared.ending.wait(Deadline::after(Duration::MAX)));
        assert!(shared.report().is_clean());
        worker.join().unwrap();
        is_kept_by_nobody(shared);
    });
}

// What the models share.

/// Tasks that are run where they are found, and each only once.
#[derive(Clone, Default)]
struct Tasks {
    seen: Arc<std::sync::Mutex<TasksSeen>>,
    futures_dropped: Arc<Counter>,
}

#[derive(Default)]
struct TasksSeen {
    /// References, so that a task that is taken twice is still there to be recognised.
    spawned: Vec<TaskRef>,
    ran: Vec<TaskId>,
}

impl Tasks {
    fn spawn(&self) -> Runnable {
        let counted = CountDrop(self.futures_dropped.clone());
        let future = async { drop(counted) };
        let (task, runnable, _handle) = task::new(future, Unscheduled::default(), meta());
        self.seen().spawned.push(task);
        runnable
    }

    fn push(&self, queue: &LocalQueue, count: usize) {
        (0..count).for_each(|_| queue.push(self.spawn()).expect("there is room"));
    }

    fn run(&self, task: Runnable) {
        if self.seen().ran.contains(&task.header().id()) {
            std::mem::forget(task); // its reference has been used
            panic!("a task was taken twice");
        }
        self.seen().ran.push(task.header().id());
        assert!(matches!(task.run(0), Ran::Complete(_)));
    }

    fn run_queued(&self, queue: &LocalQueue) {
        while let Some(task) = queue.pop() {
            self.run(task);
        }
    }

    fn thief(&self, victim: &LocalQueue, steals: fn(&Thief)) -> ThreadHandle<()> {
        let (from, tasks) = (victim.stealer(), self.clone());
        thread::spawn(move || {
            steals(&Thief {
                from,
                own: LocalQueue::new(true),
                tasks,
            })
        })
    }

    fn have_all_run(&self) -> bool {
        let seen = self.seen();
        seen.ran.len() == seen.spawned.len()
    }

    fn all_ran(&self) {
        let seen = self.seen();
        assert_eq!(seen.ran.len(), seen.spawned.len(), "a task was lost");
        assert_eq!(self.futures_dropped.load(SeqCst), seen.spawned.len());
    }

    fn none_ran_and_all_are_freed(&self) {
        assert!(self.seen().ran.is_empty());
        let spawned = std::mem::take(&mut self.seen().spawned);
        let count = spawned.len();
        drop(spawned);
        assert_eq!(self.futures_dropped.load(SeqCst), count);
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, TasksSeen> {
        self.seen.lock().unwrap()
    }
}

struct CountDrop(Arc<Counter>);

impl Drop for CountDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// A worker without work, which runs what it steals.
struct Thief {
    from: Stealer,
    own: LocalQueue,
    tasks: Tasks,
}

impl Thief {
    fn try_steal(&self) -> bool {
        assert_eq!(self.own.len(), 0); // as `Worker::steal` looks before it steals
        let Some(oldest) = self.from.steal_into(&self.own) else {
            return false;
        };
        self.tasks.run(oldest);
        self.tasks.run_queued(&self.own);
        true
    }

    fn steal(&self) {
        self.try_steal();
    }

    fn steal_all(&self) {
        while self.try_steal() {}
    }

    fn steal_oldest_twice(&self) {
        for _ in 0..2 {
            let oldest = self.from.steal_oldest();
            oldest.into_iter().for_each(|task| self.tasks.run(task));
        }
    }

    fn steal_next(&self) {
        self.from
            .steal_next()
            .into_iter()
            .for_each(|task| self.tasks.run(task));
    }
}

/// For tasks that nobody wakes. Loom reports its `Arc` if the task is never freed.
#[derive(Default)]
struct Unscheduled(#[expect(dead_code)] loom::sync::Arc<()>);

impl Schedule for Unscheduled {
    fn schedule(&self, _: Runnable) {
        unreachable!("nobody wakes these tasks")
    }
}

#[track_caller]
fn meta() -> Meta {
    Meta {
        name: None,
        location: Location::caller(),
        spawned_ms: 0,
    }
}

/// Workers, as far as finding work and sleeping goes: [`Shared`] and `Worker::run` in small.
struct Crew {
    idle: Idle,
    parkers: Vec<Parker>,
    bells: Vec<Bell>,
    /// How many pieces of work wait.
    work: AtomicUsize,
    ended: AtomicBool,
}

impl Crew {
    fn new(workers_count: usize) -> Arc<Self> {
        Arc::new(Self {
            idle: Idle::new(workers_count),
            parkers: (0..workers_count).map(|_| Parker::new()).collect(),
            bells: (0..workers_count).map(|_| Bell::default()).collect(),
            work: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
        })
    }

    fn publish(&self, count: usize) {
        self.work.fetch_add(count, Release);
        self.work_published();
    }

    fn publisher(self: &Arc<Self>) -> ThreadHandle<()> {
        let crew = self.clone();
        thread::spawn(move || crew.publish(1))
    }

    fn work_published(&self) {
        if let Some(worker) = self.idle.worker_to_wake(|| self.has_work()) {
            self.notify(worker);
        }
    }

    fn notify(&self, worker: usize) {
        if self.parkers[worker].notify() {
            self.bells[worker].ring();
        }
    }

    fn end(&self) {
        self.ended.store(true, Relaxed);
        (0..self.parkers.len()).for_each(|worker| self.notify(worker));
    }

    fn has_work(&self) -> bool {
        self.work.load(Acquire) > 0
    }

    fn take(&self) -> bool {
        self.has_work()
            && self
                .work
                .fetch_update(Acquire, Relaxed, |count| count.checked_sub(1))
                .is_ok()
    }

    /// Works until it has taken `count` pieces; deadlocks if it is left asleep.
    fn work_as(&self, worker: usize, mut searching: bool, count: usize) {
        for _ in 0..count {
            while !self.take() {
                searching = self.sleep(worker, searching);
            }
            self.found_work(&mut searching);
        }
        if searching {
            self.idle.stop_searching();
        }
    }

    fn work_until_the_end(&self, worker: usize) {
        let mut searching = false;
        while !self.ended.load(Relaxed) {
            match self.take() {
                true => self.found_work(&mut searching),
                false => searching = self.sleep(worker, searching),
            }
        }
        if searching {
            self.idle.stop_searching();
        }
    }

    /// As `Worker::next_task`.
    fn found_work(&self, searching: &mut bool) {
        if std::mem::replace(searching, false) {
            self.idle.stop_searching();
            if self.has_work() {
                self.work_published();
            }
        }
    }

    fn sleep(&self, worker: usize, searching: bool) -> bool {
        let has_work = || self.has_work();
        self.idle
            .sleep(worker, &self.parkers[worker], searching, has_work, || {
                self.bells[worker].wait()
            })
    }

    /// As if woken for work that somebody else has taken since.
    fn claimed_in_its_sleep(&self, worker: usize) -> bool {
        let searching = self.idle.sleep(
            worker,
            &self.parkers[worker],
            false,
            || false,
            || {
                assert_eq!(self.idle.worker_to_wake(|| true), Some(worker));
            },
        );
        assert!(searching);
        searching
    }

    /// No work is left, and the token is free: a worker that sleeps can be woken.
    fn ends_at_rest(&self) {
        assert!(!self.has_work());
        self.parkers.iter().for_each(|parker| parker.unpark());
        let searching = self.claimed_in_its_sleep(0);
        assert!(searching);
    }
}

/// A worker whose thread sleeps in its reactor: `Worker::run` in small.
struct Owner {
    shared: Arc<Shared>,
    core: Core,
    local: LocalTasks,
    tasks: Tasks,
    /// Changed before each look at the reactor, of which loom does not know that their order matters.
    looks: Arc<AtomicUsize>,
}

/// As the watch does for worker 0.
fn the_watch_helps(shared: &Shared) {
    help(shared, 0, &mut Harvest::new());
}

impl Owner {
    /// Of two workers, of which the other does not exist.
    fn new() -> Self {
        let shared = runtime(2).0;
        let core = shared.seat.claim_as_driver(|| ()).expect("core 0");
        Self::of(shared, core)
    }

    fn of(shared: Arc<Shared>, core: Core) -> Self {
        let local = LocalTasks::new(&shared);
        local.move_to(Some(core.index()));
        Self {
            shared,
            core,
            local,
            tasks: Tasks::default(),
            looks: Arc::default(),
        }
    }

    /// A descriptor in its reactor that has become readable, for which a task waits. Its wake calls `queue`.
    fn socket_with_data(
        &self,
        queue: impl Fn(Runnable) + Send + Sync + 'static,
    ) -> (Registration, EventFd) {
        let (fd, registration) = (
            EventFd::new().expect("a descriptor"),
            Registration::waiting(),
        );
        let waker = Waker::from(Arc::new(QueuedByWake {
            task: Some(self.tasks.spawn()).into(),
            queue,
        }));
        let _entered = context::enter(Place::Guest(home(&self.shared, 0)).into());
        let mut cx = Context::from_waker(&waker);
        let (borrowed, interest) = (fd.as_fd(), Interest::Readable);
        let source = (registration.source_for(borrowed, interest, context::place))
            .expect("a descriptor for epoll")
            .expect("it is known to have to wait");
        let polled = registration.wait(source, borrowed, interest, None, context::place, &mut cx);
        assert!(polled.is_pending());
        self.turn(); // there is room for writing, which nobody waits for
        fd.notify();
        (registration, fd)
    }

    fn is_helped_by(&self, helps: impl FnOnce(&Shared) + Send + 'static) -> ThreadHandle<()> {
        let (shared, looks) = (self.shared.clone(), self.looks.clone());
        thread::spawn(move || {
            looks.fetch_add(1, AcqRel);
            helps(&shared);
        })
    }

    /// Runs tasks until each has been run, and would sleep for ever if one was left while the `others` are done.
    fn works_beside<const N: usize>(self, others: [ThreadHandle<()>; N]) {
        let (mut others, mut searching) = (Some(others), false);
        while !self.tasks.have_all_run() {
            match self.next_task() {
                Some(task) => {
                    if std::mem::take(&mut searching) {
                        self.shared.idle.stop_searching();
                    }
                    self.tasks.run(task);
                }
                None => searching = self.park(searching, &mut others),
            }
        }
        others.into_iter().for_each(join_all);
        assert!(self.next_task().is_none());
        self.tasks.all_ran();
        self.local.close();
    }

    fn next_task(&self) -> Option<Runnable> {
        let mut injected = None;
        let own = || self.core.next_task().or_else(|| self.local.pop());
        own()
            .or_else(|| {
                self.shared.injector.pop(1, |task| injected = Some(task));
                injected
            })
            .or_else(|| self.core.steal(&self.shared.remotes))
    }

    /// As `Worker::park`.
    fn park<const N: usize>(
        &self,
        searching: bool,
        others: &mut Option<[ThreadHandle<()>; N]>,
    ) -> bool {
        let shared = &self.shared;
        let worker = self.core.index();
        let parker = &shared.remotes[worker].parker;
        let has_work = || shared.has_work();
        (shared.idle).sleep(worker, parker, searching, has_work, || {
            if !self.turn() {
                others.take().into_iter().for_each(join_all);
                assert!(self.turn(), "asleep, and nothing ends that");
            }
        })
    }

    /// Whether there were events.
    fn turn(&self) -> bool {
        let Harvest { events, woken } = &mut *self.core.harvest.borrow_mut();
        let reactor = self.shared.reactors.get(self.core.index());
        self.looks.fetch_add(1, AcqRel);
        reactor.turn(events, EVENTS_MAX, Some(Duration::ZERO), woken);
        wake_all(woken);
        !events.is_empty()
    }
}

/// The waker of a task that is queued once.
struct QueuedByWake<F> {
    task: std::sync::Mutex<Option<Runnable>>,
    queue: F,
}

impl<F: Fn(Runnable) + Send + Sync> Wake for QueuedByWake<F> {
    fn wake(self: Arc<Self>) {
        let task = self.task.lock().unwrap().take();
        task.into_iter().for_each(&self.queue);
    }
}

/// A runtime without threads: core 0 lies in its seat, the others are the caller's.
fn runtime(workers_count: usize) -> (Arc<Shared>, Vec<Core>) {
    let mut cores: Vec<_> = (0..workers_count)
        .map(|index| Core::new(index, workers_count, 0, BusyPoll::Off))
        .collect();
    let remotes = cores
        .iter()
        .map(|core| Arc::new(Remote::new(core, &Clock::System, None)))
        .collect();
    let reactors = Reactors::new(workers_count).expect("descriptors");
    let others = cores.split_off(1);
    let seat = Seat::new(cores.pop().expect("core 0"));
    let threads = Threads {
        name: "model".to_owned(),
        stack_size: None,
        cpus: None,
    };
    let blocking = Limits {
        threads_max: 1,
        queue_max: 1,
        idle: Duration::MAX,
    };
    let shared = Shared::new(
        remotes,
        reactors,
        seat,
        Clock::System,
        Settings {
            poll_budget: 128,
            busy_poll: BusyPoll::Off,
            threads,
            blocking,
        },
    );
    (Arc::new(shared), others)
}

fn home(shared: &Arc<Shared>, core: usize) -> Arc<Home> {
    Home::new(shared, core)
}

fn join_all<const N: usize>(threads: [ThreadHandle<()>; N]) {
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
}

fn close_elsewhere(shared: &Arc<Shared>) -> ThreadHandle<()> {
    let shared = shared.clone();
    thread::spawn(move || shared.close())
}

/// As a worker that sees between two tasks that the runtime has been closed.
fn retire_at_the_end(shared: &Arc<Shared>, core: Core) {
    while !shared.is_closed() {
        thread::yield_now();
    }
    shared.retire(core);
}

/// What is still queued would keep it, by way of the task and its scheduler.
fn is_kept_by_nobody(shared: Arc<Shared>) {
    assert!(
        Arc::into_inner(shared).is_some(),
        "the runtime has ended, and is not freed"
    );
}

/// Runs what waits in the injector, as a worker would.
fn run_injected(shared: &Shared) {
    shared
        .injector
        .pop(usize::MAX, |task| assert!(matches!(task.run(0), Ran::Idle)));
}

/// The same as another thread ends the runtime: the task may end in its poll, which holds no lock of the injector.
fn work_injected(shared: &Shared) {
    let mut tasks = Vec::new();
    shared.injector.pop(usize::MAX, |task| tasks.push(task));
    for task in tasks {
        finish_poll(shared, task.run(0));
    }
}

/// As `Worker::poll`.
fn finish_poll(shared: &Shared, ran: Ran) {
    match ran {
        Ran::Complete(ended) => shared.remotes[ended.key().core() as usize]
            .registry
            .remove(ended),
        Ran::Idle => {}
        Ran::Again(_) => unreachable!("nobody wakes it"),
    }
}

/// A future that never finishes, and what becomes of it.
#[derive(Default)]
struct Tracked {
    drops: Arc<Counter>,
    waker: Arc<std::sync::Mutex<Option<Waker>>>,
}

impl Tracked {
    fn pending(&self) -> impl Future<Output = ()> + Send + use<> {
        let (drops, waker) = (CountDrop(self.drops.clone()), self.waker.clone());
        let freed = loom::sync::Arc::new(());
        poll_fn(move |cx| {
            let _ = (&drops, &freed);
            *waker.lock().unwrap() = Some(cx.waker().clone());
            Poll::Pending
        })
    }

    /// What its first poll left.
    fn waker(&self) -> Waker {
        self.waker.lock().unwrap().take().expect("it was polled")
    }

    fn was_cancelled(self, mut handle: JoinHandle<()>) {
        let result = Pin::new(&mut handle).poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(result, Poll::Ready(Err(error)) if error.is_cancelled()));
        assert_eq!(self.drops.load(SeqCst), 1);
    }
}

/// The waker of a main future that has been polled and waits.
fn polled_once(shared: &Arc<Shared>) -> Arc<MainWaker> {
    let main = Arc::new(MainWaker::new(shared));
    assert!(main.take_wake(), "the first poll needs no wake");
    main
}

fn wake_from_elsewhere(main: &Arc<MainWaker>) -> ThreadHandle<()> {
    let main = main.clone();
    thread::spawn(move || main.wake())
}

/// Core 0, its seat, and who holds it.
struct House {
    seat: Seat,
    parker: Parker,
    bell: Bell,
    closed: AtomicBool,
    held: AtomicBool,
    retired: Counter,
}

impl House {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            seat: Seat::new(Core::new(0, 1, 0, BusyPoll::Off)),
            parker: Parker::new(),
            bell: Bell::default(),
            closed: AtomicBool::new(false),
            held: AtomicBool::new(false),
            retired: Counter::new(0),
        })
    }

    fn notify(&self) {
        if self.parker.notify() {
            self.bell.ring();
        }
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
    }

    fn claim(&self) -> Option<Core> {
        self.seat.claim_as_driver(|| self.notify())
    }

    /// As `Shared::close`.
    fn close(&self) {
        let core = self.seat.close();
        self.closed.store(true, Release);
        self.notify();
        self.retire(core);
    }

    fn retire(&self, core: Option<Core>) {
        self.retired.fetch_add(core.into_iter().count(), SeqCst);
    }

    /// A `block_on` that is done at once.
    fn drive(&self, core: Core) {
        self.hold();
        self.leave(core, true);
    }

    /// As `block_on` on a runtime with one worker.
    fn drive_or_wait(&self) {
        loop {
            if let Some(core) = self.claim() {
                return self.drive(core);
            }
            while !self.seat.is_vacant() {
                park();
            }
        }
    }

    /// As `run_stand_in`.
    fn stand_in(&self) {
        loop {
            match self.seat.claim_as_stand_in() {
                Claim::Core(core) => {
                    self.hold();
                    while !self.seat.is_wanted() && !self.is_closed() {
                        if self.parker.prepare_park() {
                            self.bell.wait();
                            self.parker.unpark();
                        }
                    }
                    self.leave(core, false);
                }
                Claim::Wait => park(),
                Claim::Closed => return,
            }
        }
    }

    fn hold(&self) {
        assert!(!self.held.swap(true, Relaxed), "two threads drive one core");
    }

    fn leave(&self, core: Core, was_driver: bool) {
        self.held.store(false, Relaxed);
        self.retire(self.seat.give_back(core, was_driver));
    }

    fn was_retired_once(&self) {
        assert_eq!(self.retired.load(SeqCst), 1);
    }
}
