//! Every interleaving, within a bound, of events with the tasks that wait for them.
//!
//! | part | what the models hold it to |
//! |---|---|
//! | [`ReadinessWord`] | no event is forgotten for which there is something to do |
//! | [`Slots`](super::slots::Slots) | an event reaches the source it was reported for, or nobody |
//! | [`Source`] | whoever waits is woken, and the waker of whoever waits no longer is gone |
//! | [`Registration`] | the same for a source that is registered, moves and leaves meanwhile |
//!
//! The reactors are real, with an epoll instance that loom does not see: no model waits in one. What would be reported is
//! delivered by hand, or looked up with a timeout of zero.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize as Counter;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use loom::thread::{self, JoinHandle};

use super::readiness::{Readiness, ReadinessWord};
use super::source::{Interest, Source, WaitKey, Waited};
use super::token::Token;
use super::{EVENTS_MAX, Place, Reactor, Reactors, Registration, Stand, set_turned_here};
use crate::sys::epoll::EventBuffer;
use crate::sys::eventfd::EventFd;
use crate::util::sync::atomic::Ordering::Relaxed;
use crate::util::sync::atomic::{AtomicBool, AtomicUsize};
use crate::util::sync::model;
use crate::util::wake::wake_all;

// The readiness word.

#[test]
fn data_that_arrives_between_a_read_and_its_clear_stays_announced() {
    model(|| {
        let pipe = Pipe::announced_and_empty();
        let arriving = pipe.data_arrives_elsewhere();
        pipe.read_until_it_would_block();
        arriving.join().unwrap();
        pipe.announces_its_data();
    });
}

#[test]
fn neither_of_two_arrivals_is_lost_on_a_reader_that_clears_twice() {
    model(|| {
        let pipe = Pipe::announced_and_empty();
        let arriving = [(); 2].map(|()| pipe.data_arrives_elsewhere());
        pipe.read_until_it_would_block();
        pipe.read_until_it_would_block();
        join_all(arriving);
        pipe.announces_its_data();
    });
}

#[test]
fn a_clear_of_one_direction_leaves_the_other_to_its_event() {
    model(|| {
        let word = Arc::new(ReadinessWord::new());
        word.deliver(Readiness::READABLE);
        let delivering = thread::spawn({
            let word = word.clone();
            move || word.deliver(Readiness::WRITABLE)
        });
        let clearing = thread::spawn({
            let word = word.clone();
            move || word.clear(word.load(), Readiness::READABLE)
        });
        join_all([delivering, clearing]);
        assert!(word.load().readiness().intersects(Readiness::WRITABLE));
        word.clear(word.load(), Readiness::READABLE);
        assert_eq!(word.load().readiness(), Readiness::WRITABLE);
    });
}

#[test]
fn what_is_reported_only_once_survives_every_clear() {
    model(|| {
        let word = Arc::new(ReadinessWord::new());
        let ended = Readiness::READABLE | Readiness::WRITABLE | Readiness::HUNG_UP;
        let delivering = thread::spawn({
            let word = word.clone();
            move || word.deliver(ended)
        });
        let closing = thread::spawn({
            let word = word.clone();
            move || word.close()
        });
        let all = Readiness::READABLE | Readiness::WRITABLE | Readiness::HUNG_UP;
        word.clear(word.load(), all | Readiness::SHUT_DOWN);
        word.clear(word.load(), all | Readiness::SHUT_DOWN);
        join_all([delivering, closing]);
        assert!(word.load().readiness().intersects(Readiness::HUNG_UP));
        assert!(word.load().readiness().intersects(Readiness::SHUT_DOWN));
    });
}

// Slots and their generations.

/// The event was reported before its source left; the next source has the same slot by the time it is delivered.
#[test]
fn an_event_of_a_source_that_has_left_neither_marks_nor_wakes_the_next_user_of_its_slot() {
    model(|| {
        let (reactors, fds) = (
            reactors(1),
            [EventFd::new().unwrap(), EventFd::new().unwrap()],
        );
        let former = Arc::new(Source::default());
        let token = reactors.get(0).join(fds[0].as_fd(), &former).unwrap();
        let turning = thread::spawn({
            let reactors = reactors.clone();
            move || deliver(&reactors, token, Readiness::READABLE)
        });
        reactors.get(0).leave(fds[0].as_fd().as_raw_fd(), token);
        let (next, task) = (Arc::new(Source::default()), Task::new());
        let next_token = reactors.get(0).join(fds[1].as_fd(), &next).unwrap();
        assert_eq!(
            next_token.index, token.index,
            "the slot is used again at once"
        );
        let mut key = None;
        assert!(
            task.wait(&next, Interest::Readable, Some(&mut key))
                .is_pending()
        );
        turning.join().unwrap();
        assert_eq!(next.readiness().readiness(), Readiness::NONE);
        assert_eq!(task.wakes(), 0);
        reactors
            .get(0)
            .leave(fds[1].as_fd().as_raw_fd(), next_token);
        next.forget(&key.unwrap());
        task.left_no_waker();
    });
}

#[test]
fn a_source_that_joins_as_the_reactor_closes_is_refused_or_told() {
    model(|| {
        let (reactors, fd, task) = (reactors(1), EventFd::new().unwrap(), Task::new());
        let closing = thread::spawn({
            let reactors = reactors.clone();
            move || reactors.get(0).close()
        });
        let source = Arc::new(Source::default());
        if let Ok(token) = reactors.get(0).join(fd.as_fd(), &source) {
            let mut key = None;
            let waited = task.wait(&source, Interest::Readable, Some(&mut key));
            closing.join().unwrap();
            assert!(waited.is_ready() || task.wakes() == 1);
            assert!(
                source
                    .readiness()
                    .readiness()
                    .intersects(Readiness::SHUT_DOWN)
            );
            reactors.get(0).leave(fd.as_fd().as_raw_fd(), token);
            key.into_iter().for_each(|key| source.forget(&key));
        }
        task.left_no_waker();
    });
}

/// By way of the kernel: the descriptor is ready all the time.
#[test]
fn a_source_that_leaves_during_a_turn_is_not_touched_afterwards() {
    model(|| {
        let (reactors, fd) = (reactors(1), EventFd::new().unwrap());
        let source = Arc::new(Source::default());
        let token = reactors.get(0).join(fd.as_fd(), &source).unwrap();
        let leaving = thread::spawn({
            let (reactors, source) = (reactors.clone(), source.clone());
            move || {
                reactors.get(0).leave(fd.as_fd().as_raw_fd(), token);
                source.readiness().readiness()
            }
        });
        turn(&reactors, 0);
        let left_with = leaving.join().unwrap();
        assert_eq!(source.readiness().readiness(), left_with);
        assert_eq!(reactors.get(0).sources_count(), 0);
        assert_eq!(Arc::strong_count(&source), 1);
    });
}

// Turns by a sibling.

/// The owner is asleep in its turn, or about to begin it: an event that is left for it would end that.
#[test]
fn a_sibling_that_turns_for_the_owner_leaves_it_its_wake_up() {
    model(|| {
        let reactors = reactors(1);
        let notifying = thread::spawn({
            let reactors = reactors.clone();
            move || in_any_order(&reactors, 0).wake_up()
        });
        turn_for_owner(&reactors, 0);
        notifying.join().unwrap();
        turn_for_owner(&reactors, 0);
        let mut buffer = EventBuffer::with_capacity(EVENTS_MAX);
        let reactor = reactors.get(0);
        reactor.turn(
            &mut buffer,
            EVENTS_MAX,
            Some(Duration::ZERO),
            &mut Vec::new(),
        );
        assert!(!buffer.is_empty(), "the owner would sleep on");
    });
}

#[test]
fn an_owner_and_a_sibling_that_turn_at_the_same_time_wake_a_task_once() {
    model(|| {
        let socket = Arc::new(Socket::new(1));
        let (polled, task) = socket.poll_on(0);
        assert!(polled.is_pending());
        socket.fd.notify();
        let helping = thread::spawn({
            let reactors = socket.reactors.clone();
            move || turn_for_owner(&reactors, 0)
        });
        turn(&socket.reactors, 0);
        helping.join().unwrap();
        assert_eq!(task.wakes(), 1);
    });
}

// Waiters.

#[test]
fn a_future_that_begins_to_wait_as_the_event_arrives_is_ready_or_woken() {
    model(|| {
        let (source, task) = (Arc::new(Source::default()), Task::new());
        let delivering = deliver_elsewhere(&source);
        let mut key = None;
        let waited = task.wait(&source, Interest::Readable, Some(&mut key));
        delivering.join().unwrap();
        assert!(waited.is_ready() || task.wakes() == 1);
        key.into_iter().for_each(|key| source.forget(&key));
        task.left_no_waker();
    });
}

/// An event of the other direction, which does not collect the waker.
#[test]
fn a_future_dropped_as_an_event_arrives_leaves_no_waker() {
    model(|| {
        let (source, reader, writer) = (Arc::new(Source::default()), Task::new(), Task::new());
        let mut keys = [None; 2];
        assert!(
            reader
                .wait(&source, Interest::Readable, Some(&mut keys[0]))
                .is_pending()
        );
        assert!(
            writer
                .wait(&source, Interest::Writable, Some(&mut keys[1]))
                .is_pending()
        );
        let delivering = thread::spawn({
            let source = source.clone();
            move || deliver_to(&source, Readiness::WRITABLE)
        });
        source.forget(&keys[0].unwrap());
        source.forget(&keys[1].unwrap());
        delivering.join().unwrap();
        assert_eq!(reader.wakes(), 0);
        reader.left_no_waker();
        writer.left_no_waker();
    });
}

/// The first to leave hands its place on.
#[test]
fn a_future_dropped_as_the_event_arrives_keeps_no_other_from_being_woken() {
    model(|| {
        let (source, dropped, waiting) = (Arc::new(Source::default()), Task::new(), Task::new());
        let mut keys = [None; 2];
        assert!(
            dropped
                .wait(&source, Interest::Readable, Some(&mut keys[0]))
                .is_pending()
        );
        assert!(
            waiting
                .wait(&source, Interest::Readable, Some(&mut keys[1]))
                .is_pending()
        );
        let delivering = deliver_elsewhere(&source);
        source.forget(&keys[0].unwrap());
        delivering.join().unwrap();
        assert_eq!(waiting.wakes(), 1);
        source.forget(&keys[1].unwrap());
        dropped.left_no_waker();
        waiting.left_no_waker();
    });
}

#[test]
fn one_event_finds_two_futures_that_begin_to_wait() {
    model(|| {
        let source = Arc::new(Source::default());
        let other = thread::spawn({
            let source = source.clone();
            move || wait_once(&source)
        });
        let delivering = deliver_elsewhere(&source);
        let (waited, task) = wait_once(&source);
        let (others_waited, others_task) = other.join().unwrap();
        delivering.join().unwrap();
        assert!(waited.is_ready() || task.wakes() == 1);
        assert!(others_waited.is_ready() || others_task.wakes() == 1);
        task.left_no_waker();
        others_task.left_no_waker();
    });
}

#[test]
fn a_future_polled_again_with_another_waker_has_the_last_one_woken() {
    model(|| {
        let (source, first, last) = (Arc::new(Source::default()), Task::new(), Task::new());
        let mut key = None;
        assert!(
            first
                .wait(&source, Interest::Readable, Some(&mut key))
                .is_pending()
        );
        let delivering = deliver_elsewhere(&source);
        let waited = last.wait(&source, Interest::Readable, Some(&mut key));
        delivering.join().unwrap();
        assert!(waited.is_ready() || last.wakes() == 1);
        source.forget(&key.unwrap());
        first.left_no_waker();
        last.left_no_waker();
    });
}

/// As the contract of `poll_read` has it: the waker of the last call counts.
#[test]
fn of_two_callers_of_a_poll_method_the_last_is_woken() {
    model(|| {
        let (source, first, last) = (Arc::new(Source::default()), Task::new(), Task::new());
        assert!(first.wait(&source, Interest::Writable, None).is_pending());
        let delivering = thread::spawn({
            let source = source.clone();
            move || deliver_to(&source, Readiness::WRITABLE)
        });
        let waited = last.wait(&source, Interest::Writable, None);
        delivering.join().unwrap();
        assert!(waited.is_ready() || last.wakes() == 1);
        first.left_no_waker();
        last.left_no_waker();
    });
}

#[test]
fn a_reader_and_a_writer_each_get_their_own_event() {
    model(|| {
        let (source, reader, writer) = (Arc::new(Source::default()), Task::new(), Task::new());
        let delivering = [Readiness::READABLE, Readiness::WRITABLE].map(|readiness| {
            let source = source.clone();
            thread::spawn(move || deliver_to(&source, readiness))
        });
        let mut keys = [None; 2];
        let read = reader.wait(&source, Interest::Readable, Some(&mut keys[0]));
        let write = writer.wait(&source, Interest::Writable, Some(&mut keys[1]));
        join_all(delivering);
        assert!(read.is_ready() || reader.wakes() == 1);
        assert!(write.is_ready() || writer.wakes() == 1);
        keys.into_iter()
            .flatten()
            .for_each(|key| source.forget(&key));
        reader.left_no_waker();
        writer.left_no_waker();
    });
}

#[test]
fn a_wait_that_meets_the_end_of_the_runtime_ends() {
    model(|| {
        let (source, task) = (Arc::new(Source::default()), Task::new());
        let closing = thread::spawn({
            let source = source.clone();
            move || {
                let mut woken = Vec::new();
                source.close(&mut woken);
                wake_all(&mut woken);
            }
        });
        let mut key = None;
        let waited = task.wait(&source, Interest::HungUp, Some(&mut key));
        closing.join().unwrap();
        assert!(waited.is_ready() || task.wakes() == 1);
        assert!(
            task.wait(&source, Interest::HungUp, Some(&mut key))
                .is_ready()
        );
        task.left_no_waker();
    });
}

// Registrations.

#[test]
fn two_tasks_that_wait_first_at_the_same_time_register_once_and_are_both_woken() {
    model(|| {
        let socket = Arc::new(Socket::new(1));
        let other = thread::spawn({
            let socket = socket.clone();
            move || socket.poll_on(0)
        });
        let (polled, task) = socket.poll_on(0);
        let (others_polled, others_task) = other.join().unwrap();
        assert!(polled.is_pending() && others_polled.is_pending());
        assert_eq!(socket.sources_counts(), [1]);
        socket.fd.notify();
        turn(&socket.reactors, 0);
        assert_eq!((task.wakes(), others_task.wakes()), (1, 1));
    });
}

/// The event may be on its way in the old reactor, or come up in the new one.
#[test]
fn a_source_that_moves_between_reactors_misses_no_event() {
    model(|| {
        let socket = Arc::new(Socket::new(2));
        let (polled, task) = socket.poll_on(0);
        assert!(polled.is_pending());
        socket.fd.notify();
        let moving = thread::spawn({
            let socket = socket.clone();
            move || socket.poll_on(1)
        });
        turn(&socket.reactors, 0);
        let (polled, moved_task) = moving.join().unwrap();
        turn(&socket.reactors, 1);
        assert_eq!(task.wakes(), 1);
        assert!(polled.is_ready() || moved_task.wakes() == 1);
        assert_eq!(socket.sources_counts().iter().sum::<u32>(), 1);
    });
}

#[test]
fn a_source_that_moves_as_the_runtime_ends_has_its_waits_ended() {
    model(|| {
        let socket = Socket::new(2);
        let (polled, task) = socket.poll_on(0);
        assert!(polled.is_pending());
        let closing = thread::spawn({
            let reactors = socket.reactors.clone();
            move || reactors.iter().for_each(|reactor| reactor.close())
        });
        let (polled, moved_task) = socket.poll_on(1);
        closing.join().unwrap();
        assert_eq!(task.wakes(), 1);
        assert!(matches!(polled, Poll::Ready(Err(_))) || moved_task.wakes() == 1);
        assert!(matches!(socket.poll_on(1).0, Poll::Ready(Err(_))));
    });
}

// What the models share.

/// Something that is read until it would block, and announced by edges.
#[derive(Default)]
struct Pipe {
    word: ReadinessWord,
    has_data: AtomicBool,
    crossing: AtomicUsize,
}

impl Pipe {
    /// It was read to the end, and is still thought readable: a clear has something to take away, or it would do nothing.
    fn announced_and_empty() -> Arc<Self> {
        let pipe = Self::default();
        pipe.word.deliver(Readiness::READABLE);
        Arc::new(pipe)
    }

    fn data_arrives_elsewhere(self: &Arc<Self>) -> JoinHandle<()> {
        let pipe = self.clone();
        thread::spawn(move || {
            pipe.cross();
            pipe.has_data.store(true, Relaxed);
            pipe.word.deliver(Readiness::READABLE);
        })
    }

    /// One attempt to read, made whether or not it is thought ready.
    fn read_until_it_would_block(&self) {
        let seen = self.word.load();
        if !self.has_data.swap(false, Relaxed) {
            self.cross();
            self.word.clear(seen, Readiness::READABLE);
        }
    }

    /// A step that makes loom try both orders. By itself it does not try to deliver between the read and the clear: a
    /// clear that finds nothing is only a load, and loom forgets it when the delivery begins with a load of its own.
    fn cross(&self) {
        self.crossing.fetch_add(1, Relaxed);
    }

    fn announces_its_data(&self) {
        let readable = self.word.load().readiness().intersects(Readiness::READABLE);
        assert!(
            readable || !self.has_data.load(Relaxed),
            "data, and nobody will ever look"
        );
    }
}

/// A task, as far as it waits and is woken.
struct Task(Arc<CountWakes>);

#[derive(Default)]
struct CountWakes(Counter);

impl Wake for CountWakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

impl Task {
    fn new() -> Self {
        Self(Arc::default())
    }

    /// What [`Registration::wait`] does with a source that is registered.
    fn wait(
        &self,
        source: &Source,
        interest: Interest,
        key: Option<&mut Option<WaitKey>>,
    ) -> Poll<()> {
        let waker: Waker = self.0.clone().into();
        match source.wait(interest, key, &mut Context::from_waker(&waker)) {
            Waited::Ready(_) => Poll::Ready(()),
            Waited::Pending | Waited::SteadilyElsewhere => Poll::Pending,
        }
    }

    fn wakes(&self) -> usize {
        self.0.0.load(SeqCst)
    }

    fn left_no_waker(&self) {
        assert_eq!(Arc::strong_count(&self.0), 1);
    }
}

/// A future that is polled once and, when everything else has happened, dropped.
fn wait_once(source: &Source) -> (Poll<()>, Task) {
    let (task, mut key) = (Task::new(), None);
    let waited = task.wait(source, Interest::Readable, Some(&mut key));
    (waited, task)
}

fn join_all<const N: usize>(threads: [JoinHandle<()>; N]) {
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
}

/// What a turn does with an event.
fn deliver(reactors: &Reactors, token: Token, readiness: Readiness) {
    let mut woken = Vec::new();
    let slots = reactors.get(0).slots.lock();
    if let Some(source) = slots.get(token) {
        source.deliver(readiness, &mut woken);
    }
    drop(slots);
    wake_all(&mut woken);
}

/// The same for a source that is known.
fn deliver_to(source: &Source, readiness: Readiness) {
    let mut woken = Vec::new();
    source.deliver(readiness, &mut woken);
    wake_all(&mut woken);
}

fn deliver_elsewhere(source: &Arc<Source>) -> JoinHandle<()> {
    let source = source.clone();
    thread::spawn(move || deliver_to(&source, Readiness::READABLE))
}

fn reactors(count: usize) -> Arc<Reactors> {
    Arc::new(Reactors::new(count).expect("descriptors"))
}

fn turn(reactors: &Reactors, which: usize) {
    let (mut buffer, mut woken) = (EventBuffer::with_capacity(EVENTS_MAX), Vec::new());
    let reactor = in_any_order(reactors, which);
    reactor.turn(&mut buffer, EVENTS_MAX, Some(Duration::ZERO), &mut woken);
    wake_all(&mut woken);
}

/// As a sibling of the worker whose reactor it is.
fn turn_for_owner(reactors: &Reactors, which: usize) {
    let (mut buffer, mut woken) = (EventBuffer::with_capacity(EVENTS_MAX), Vec::new());
    let reactor = in_any_order(reactors, which);
    reactor.turn_for_owner(&mut buffer, EVENTS_MAX, &mut woken);
    wake_all(&mut woken);
}

/// For what is done to the kernel's side of a reactor, which loom does not see: by this step it knows that the order matters.
fn in_any_order(reactors: &Reactors, which: usize) -> &Reactor {
    let reactor = reactors.get(which);
    drop(reactor.slots.lock());
    reactor
}

/// A descriptor with its registration.
struct Socket {
    fd: EventFd,
    registration: Registration,
    reactors: Arc<Reactors>,
}

impl Socket {
    /// Among so many reactors.
    fn new(reactors_count: usize) -> Self {
        let fd = EventFd::new().expect("a descriptor");
        Self {
            fd,
            registration: Registration::waiting(),
            reactors: reactors(reactors_count),
        }
    }

    /// A future on `worker` is polled once. It is not dropped before the end of the model.
    fn poll_on(&self, worker: usize) -> (Poll<io::Result<()>>, Task) {
        let task = Task::new();
        let waker: Waker = task.0.clone().into();
        let mut key = None;
        PLACE.set(Some((self.reactors.clone(), worker)));
        set_turned_here(Some(worker));
        let (fd, interest) = (self.fd.as_fd(), Interest::Readable);
        let source = match self.registration.source_for(fd, interest, place) {
            Ok(Some(source)) => source,
            Ok(None) => unreachable!("it is known to have to wait"),
            Err(error) => return (Poll::Ready(Err(error)), task),
        };
        let cx = &mut Context::from_waker(&waker);
        let polled = (self.registration).wait(source, fd, interest, Some(&mut key), place, cx);
        (polled.map_ok(|_seen| ()), task)
    }

    fn sources_counts(&self) -> Vec<u32> {
        self.reactors
            .iter()
            .map(|reactor| reactor.sources_count())
            .collect()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.registration.deregister();
        assert!(self.sources_counts().iter().all(|&count| count == 0));
    }
}

fn place() -> Option<Place> {
    PLACE.with_borrow(|place| {
        place.clone().map(|(reactors, worker)| Place {
            reactors,
            stand: Stand::Worker(worker),
        })
    })
}

std::thread_local! {
    /// Where the threads of the model stand that poll: loom runs them all on one thread of the system.
    static PLACE: RefCell<Option<(Arc<Reactors>, usize)>> = const { RefCell::new(None) };
}
