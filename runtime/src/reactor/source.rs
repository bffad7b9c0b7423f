//! One registered descriptor: its readiness, who waits for it, and where it is registered.
//!
//! The protocol between an event and a task that begins to wait:
//!
//! 1. An event first changes the readiness word, then takes the lock and collects the waiters of its directions.
//! 2. A task that found the word not ready takes the lock, **looks at the word again**, and only then leaves its waker.
//!
//! Whichever takes the lock second sees what the other did, so no event passes a waiter by. Wakers are cloned before the
//! lock is taken, and called and dropped after it is released: a waker may be anybody's code and may come back here.
//!
//! A waiter has a key. `poll_*` methods share the key [`POLL_KEY`] per direction, so the last caller replaces the one
//! before, as their contract says; each future has a key of its own and takes its waker away when it is dropped. An event
//! empties the whole list. It also counts [`Source::drains`] up, so a future that was woken learns without the lock that
//! there is nothing left of it to take away.
//!
//! Who looks from outside what a task waits for ([`Source::visit_waiters`]) wants to know until when, too. A [`Limit`] knows it, and
//! the source knows the limits that have ever been armed for it; the key says whether they concern the waiter.

use std::fmt;
use std::os::fd::RawFd;
use std::sync::{Arc, Weak};
use std::task::{Context, Waker};
use std::time::Duration;

use super::readiness::{Readiness, ReadinessWord, Snapshot};
use super::token::Token;
use super::{NOWHERE, Reactors, turned_here};
use crate::sys::lock::{Mutex, MutexGuard};
use crate::util::sync::atomic::{
    AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};

/// Shared between the socket that owns it and the reactor that reports its events.
#[derive(Debug, Default)]
pub(crate) struct Source {
    readiness: ReadinessWord,
    /// How often the waiters of a direction were collected: by events, and in steps of [`COLLECTED`] without one. Counted under
    /// the lock of `waiters`.
    drains: [AtomicU32; 2],
    waiters: Mutex<Waiters>,
}

impl Source {
    #[inline]
    pub(crate) fn readiness(&self) -> Snapshot {
        self.readiness.load()
    }

    /// See [`ReadinessWord::clear`].
    #[inline]
    pub(crate) fn clear(&self, seen: Snapshot, readiness: Readiness) {
        self.readiness.clear(seen, readiness);
    }

    /// Takes note of an event and collects whom it wakes.
    #[inline(always)] // part of the turn, and 16 instructions more as a call
    pub(crate) fn deliver(&self, readiness: Readiness, woken: &mut Vec<Waker>) {
        self.readiness.deliver(readiness);
        let mut waiters = self.waiters.lock();
        for direction in [Direction::Read, Direction::Write] {
            if readiness.intersects(direction.wakes_on()) {
                self.drain(&mut waiters, direction, woken, 1);
            }
        }
    }

    /// Leaves the task's waker, unless `interest` is satisfied by now.
    ///
    /// A future passes a place for its key, which is filled; `None` stands for the key that `poll_*` methods share.
    #[inline]
    pub(crate) fn wait(
        &self,
        interest: Interest,
        key: Option<&mut Option<WaitKey>>,
        cx: &mut Context<'_>,
    ) -> Waited {
        match key {
            Some(key @ None) => self.wait_first(interest, key, cx.waker().clone()),
            Some(Some(key)) => {
                let number = key.number;
                self.wait_again(interest, number, Some(key), cx)
            }
            None => self.wait_again(interest, POLL_KEY, None, cx),
        }
    }

    /// A future waits for the first time.
    #[inline]
    fn wait_first(&self, interest: Interest, key: &mut Option<WaitKey>, waker: Waker) -> Waited {
        let direction = interest.direction();
        let mut waiters = self.waiters.lock();
        let seen = self.readiness.load();
        if seen.ends_wait_for(interest) {
            drop(waiters);
            return Waited::Ready(seen);
        }
        let number = waiters.fresh_key(interest);
        let drains = self.drains[direction as usize].load(Relaxed); // under the lock nobody else counts
        *key = Some(WaitKey {
            number,
            drains,
            direction,
        });
        waiters.add(direction, number, waker);
        match waiters.is_steadily_elsewhere() {
            false => Waited::Pending,
            true => steadily_elsewhere(waiters),
        }
    }

    /// Somebody may have left a waker before, which may still be there and may still be the right one.
    #[inline(never)]
    fn wait_again(
        &self,
        interest: Interest,
        number: u32,
        key: Option<&mut WaitKey>,
        cx: &mut Context<'_>,
    ) -> Waited {
        let direction = interest.direction();
        let mut fresh = None;
        let mut waiters = loop {
            let waiters = self.waiters.lock();
            let seen = self.readiness.load();
            if seen.ends_wait_for(interest) {
                drop(waiters);
                return Waited::Ready(seen);
            }
            if waiters
                .get(direction, number)
                .is_some_and(|waker| waker.will_wake(cx.waker()))
            {
                return Waited::Pending;
            }
            if fresh.is_some() {
                break waiters;
            }
            drop(waiters);
            fresh = Some(cx.waker().clone());
        };
        if let Some(key) = key {
            key.drains = self.drains[direction as usize].load(Relaxed); // under the lock nobody else counts
        }
        let replaced = waiters.take(direction, number);
        waiters.add(direction, number, fresh.expect("the loop ends with one"));
        let is_elsewhere = waiters.is_steadily_elsewhere();
        drop(waiters);
        drop(replaced);
        match is_elsewhere {
            false => Waited::Pending,
            true => Waited::SteadilyElsewhere,
        }
    }

    /// Takes away the waker that a dropped or finished future left here.
    #[inline]
    pub(crate) fn forget(&self, key: &WaitKey) {
        // Otherwise an event has collected it.
        if self.drains[key.direction as usize].load(Acquire) == key.drains {
            self.take_away(key);
        }
    }

    /// Collects those who wait in this direction, without an event.
    pub(crate) fn collect(&self, direction: Direction, woken: &mut Vec<Waker>) {
        let mut waiters = self.waiters.lock();
        self.drain(&mut waiters, direction, woken, COLLECTED);
    }

    /// Has changed when there was an event in this direction since the last look.
    ///
    /// There is room for writing nearly always, and nearly every event says so. So of those that nobody waits for it counts not
    /// the event, but that somebody has given up waiting.
    pub(crate) fn events_count(&self, direction: Direction) -> u32 {
        let given_up = match direction {
            Direction::Read => 0,
            Direction::Write => u32::from(self.waiters.lock().writers_given_up),
        };
        self.drains[direction as usize].load(Acquire) % COLLECTED + given_up
    }

    #[cold]
    fn take_away(&self, key: &WaitKey) {
        let mut waiters = self.waiters.lock();
        let waker = waiters.take(key.direction, key.number);
        if key.direction == Direction::Write {
            waiters.writers_given_up = waiters.writers_given_up.wrapping_add(1);
        }
        drop(waiters);
        drop(waker);
    }

    /// Operations in this direction may wait no longer than `limit` says.
    #[cold]
    pub(crate) fn note_limit(&self, direction: Direction, limit: Weak<dyn Limit>) {
        let mut waiters = self.waiters.lock();
        let limits = &mut waiters.rare.get_or_insert_default().limits;
        limits.reserve_exact(1);
        limits.push((direction, limit));
    }

    /// Until when operations may wait, in each direction.
    #[inline]
    fn moments(&self) -> [Option<Duration>; 2] {
        let limits = match &self.waiters.lock().rare {
            Some(rare) => rare.limits.clone(),
            None => return [None; 2],
        };
        // Not under the lock: a limit that is dropped here takes something of its owner's with it.
        let moment = |(_, limit): &(Direction, Weak<dyn Limit>)| limit.upgrade()?.moment();
        [Direction::Read, Direction::Write].map(|direction| {
            let own = limits.iter().filter(|(of, _)| *of == direction);
            own.filter_map(moment).min()
        })
    }

    /// Shows who waits, and until when at most, while it is registered; see [`super::Reactor::visit_waiters`].
    pub(crate) fn visit_waiters(
        &self,
        show: &mut impl FnMut(RawFd, Direction, Option<Duration>, &Waker),
    ) {
        let moments = self.moments();
        let until = |direction, key| match is_of_operation(key) {
            true => moments[direction as usize],
            false => None,
        };
        let waiters = self.waiters.lock();
        let Some(fd) = waiters.home.as_ref().map(|home| home.fd) else {
            return;
        };
        for direction in [Direction::Read, Direction::Write] {
            if let Some(waker) = &waiters.first[direction as usize] {
                let key = waiters.first_keys[direction as usize];
                show(fd, direction, until(direction, key), waker);
            }
        }
        for waiter in waiters.more() {
            let until = until(waiter.direction, waiter.key);
            show(fd, waiter.direction, until, &waiter.waker);
        }
    }

    /// Where the source is registered, if it is.
    pub(crate) fn home(&self) -> Option<Home> {
        self.waiters.lock().home.clone()
    }

    /// Notes where the source is registered from now on, and says where it was.
    pub(crate) fn set_home(&self, home: Option<Home>) -> Option<Home> {
        std::mem::replace(&mut self.waiters.lock().home, home)
    }

    /// Tells everybody who waits, now or later, that the runtime is gone.
    pub(crate) fn close(&self, woken: &mut Vec<Waker>) {
        self.readiness.close();
        let mut waiters = self.waiters.lock();
        self.drain(&mut waiters, Direction::Read, woken, 1);
        self.drain(&mut waiters, Direction::Write, woken, 1);
    }

    #[inline]
    fn drain(
        &self,
        waiters: &mut Waiters,
        direction: Direction,
        woken: &mut Vec<Waker>,
        counts: u32,
    ) {
        let drains = &self.drains[direction as usize];
        let count = || drains.store(drains.load(Relaxed).wrapping_add(counts), Release);
        let first = &mut waiters.first[direction as usize];
        if first.is_none() {
            debug_assert!(
                waiters.more().all(|waiter| waiter.direction != direction),
                "the first place is filled first"
            );
            if direction == Direction::Read {
                count();
            }
            return;
        }
        woken.extend(first.take());
        if waiters.rare.is_some() {
            waiters.drain_more(direction, woken);
        }
        count(); // whoever sees it has nothing left in the list
    }
}

/// How an attempt to wait ended.
#[derive(Debug)]
pub(crate) enum Waited {
    /// There is nothing to wait for.
    Ready(Snapshot),
    /// The waker is left.
    Pending,
    /// The waker is left, and it was for the [`VISITS_TO_MOVE`]th time in a row that somebody waited from the same other
    /// reactor's thread.
    SteadilyElsewhere,
}

/// Apart, so that a wait need not ask once more what it has come to after it has given the lock back.
#[cold]
fn steadily_elsewhere(_: MutexGuard<'_, Waiters>) -> Waited {
    Waited::SteadilyElsewhere
}

/// Where a source is registered.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    pub(crate) reactors: Arc<Reactors>,
    pub(crate) token: Token,
    /// Which of the reactors.
    pub(crate) reactor: u16,
    /// The descriptor that is registered, by its number.
    pub(crate) fd: RawFd,
}

/// Under which a future's waker was left.
#[derive(Copy, Clone, Debug)]
pub(crate) struct WaitKey {
    number: u32,
    drains: u32,
    direction: Direction,
}

impl Snapshot {
    /// Whether there is no point in waiting for `interest`.
    #[inline]
    fn ends_wait_for(self, interest: Interest) -> bool {
        self.readiness()
            .intersects(interest.satisfied_by() | Readiness::SHUT_DOWN)
    }
}

/// The two sides of a source that are waited for separately.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Direction {
    Read,
    Write,
}

impl Direction {
    /// Every change that could be news for somebody who waits in this direction.
    fn wakes_on(self) -> Readiness {
        match self {
            Self::Read => Readiness::READABLE | Readiness::READ_CLOSED | Readiness::HUNG_UP,
            Self::Write => Readiness::WRITABLE | Readiness::HUNG_UP,
        }
    }
}

/// What a task waits for. Stands in memory as the bit that satisfies it.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Interest {
    /// A read that does not block.
    Readable = Readiness::READABLE.bits(),
    /// A write that does not block.
    Writable = Readiness::WRITABLE.bits(),
    /// The peer's end of stream, also while unread data waits before it.
    ReadClosed = Readiness::READ_CLOSED.bits(),
    /// Hang-up or error.
    HungUp = Readiness::HUNG_UP.bits(),
}

impl Interest {
    #[inline]
    pub(crate) fn direction(self) -> Direction {
        match self {
            Self::Writable => Direction::Write,
            Self::Readable | Self::ReadClosed | Self::HungUp => Direction::Read,
        }
    }

    #[inline]
    pub(crate) fn satisfied_by(self) -> Readiness {
        Readiness::from_bits(self as u8)
    }
}

/// Everything under the lock. Nearly always there is at most one waiter per direction, and it costs no allocation.
#[derive(Debug, Default)]
struct Waiters {
    /// Per direction; filled before `more` is used.
    first: [Option<Waker>; 2],
    first_keys: [u32; 2],
    last_key: u32,
    /// One word in every idle connection, for what few have.
    rare: Option<Box<Rare>>,
    home: Option<Home>,
    /// Who waited here last, if that was on the thread of another reactor, and how many times in a row.
    visitor: u16,
    visits: u8,
    /// How many futures were dropped that waited for room; comes round.
    writers_given_up: u8,
}

#[derive(Debug, Default)]
struct Rare {
    /// Those who have no place in [`Waiters::first`].
    waiters: Vec<Waiter>,
    /// Those that have been armed; nearly always there is one.
    limits: Vec<(Direction, Weak<dyn Limit>)>,
}

/// Ends the waits of operations at a moment that only it knows, and that may move.
pub(crate) trait Limit: fmt::Debug + Send + Sync {
    /// Until when they may wait, if there is an end to it.
    fn moment(&self) -> Option<Duration>;
}

#[derive(Debug)]
struct Waiter {
    direction: Direction,
    key: u32,
    waker: Waker,
}

impl Waiters {
    #[inline]
    fn fresh_key(&mut self, interest: Interest) -> u32 {
        self.last_key = self.last_key.wrapping_add(KEY_STEP); // even, also when it comes round
        self.last_key | u32::from(interest as u8 & NO_OPERATION)
    }

    /// Those who have no place in `first`.
    fn more(&self) -> impl Iterator<Item = &Waiter> {
        self.rare.iter().flat_map(|rare| &rare.waiters)
    }

    fn get(&self, direction: Direction, key: u32) -> Option<&Waker> {
        let at = direction as usize;
        if self.first_keys[at] == key && self.first[at].is_some() {
            return self.first[at].as_ref();
        }
        self.more()
            .find(|waiter| waiter.key == key && waiter.direction == direction)
            .map(|waiter| &waiter.waker)
    }

    /// Leaves `waker` under `key`, under which there is none.
    #[inline]
    fn add(&mut self, direction: Direction, key: u32, waker: Waker) {
        let at = direction as usize;
        if self.first[at].is_none() {
            (self.first[at], self.first_keys[at]) = (Some(waker), key);
        } else {
            self.add_more(Waiter {
                direction,
                key,
                waker,
            });
        }
    }

    #[cold]
    fn add_more(&mut self, waiter: Waiter) {
        self.rare.get_or_insert_default().waiters.push(waiter);
    }

    #[cold]
    fn take(&mut self, direction: Direction, key: u32) -> Option<Waker> {
        let at = direction as usize;
        let place = |waiters: &Self, key: Option<u32>| {
            (waiters.more()).position(|waiter| {
                waiter.direction == direction && key.is_none_or(|key| waiter.key == key)
            })
        };
        if self.first[at].is_some() && self.first_keys[at] == key {
            let waker = self.first[at].take();
            // Somebody else moves up: the first place is filled while there is more.
            if let Some(next) = place(self, None) {
                let next = self.remove_more(next);
                (self.first[at], self.first_keys[at]) = (Some(next.waker), next.key);
            }
            return waker;
        }
        let place = place(self, Some(key))?;
        Some(self.remove_more(place).waker)
    }

    fn remove_more(&mut self, place: usize) -> Waiter {
        let rare = self.rare.as_mut().expect("the caller found a place in it");
        let waiter = rare.waiters.swap_remove(place);
        self.drop_empty_rare();
        waiter
    }

    #[cold]
    fn drain_more(&mut self, direction: Direction, woken: &mut Vec<Waker>) {
        let Some(rare) = &mut self.rare else { return };
        if rare.waiters.is_empty() {
            return;
        }
        let (now, later): (Vec<_>, Vec<_>) =
            (rare.waiters.drain(..)).partition(|waiter| waiter.direction == direction);
        woken.extend(now.into_iter().map(|waiter| waiter.waker));
        rare.waiters = later;
        self.drop_empty_rare();
    }

    /// Keeps no memory for nothing.
    fn drop_empty_rare(&mut self) {
        let is_empty = |rare: &Rare| rare.waiters.is_empty() && rare.limits.is_empty();
        if self.rare.as_deref().is_some_and(is_empty) {
            self.rare = None;
        }
    }

    /// Counts a wait on this thread, and says if the reactor that it turns would be the better home.
    #[inline]
    fn is_steadily_elsewhere(&mut self) -> bool {
        let here = turned_here();
        match &self.home {
            Some(home) if home.reactor != here => self.count_visit(here),
            _ => {
                self.visits = 0;
                false
            }
        }
    }

    #[cold]
    fn count_visit(&mut self, here: u16) -> bool {
        if here == NOWHERE {
            self.visits = 0;
            return false;
        }
        if self.visitor != here {
            (self.visitor, self.visits) = (here, 0);
        }
        self.visits += 1;
        let leaves = |home: &Home| (home.reactors).leaves(home.reactor.into(), here.into());
        let is_enough = match self.home.as_ref().is_some_and(leaves) {
            true => self.visits >= VISITS_TO_LEAVE,
            false => self.visits >= VISITS_TO_MOVE,
        };
        if is_enough {
            self.visits = 0;
        }
        is_enough
    }
}

/// Stands for whoever calls `poll_*` methods, which are operations. The keys of futures are even, and have the bits of
/// [`NO_OPERATION`] in them.
const POLL_KEY: u32 = 1;

/// The interests of those who wait for no operation: no limit concerns them.
const NO_OPERATION: u8 = Interest::ReadClosed as u8 | Interest::HungUp as u8;

/// Above all bits of an interest.
const KEY_STEP: u32 = 16;

fn is_of_operation(key: u32) -> bool {
    key & u32::from(NO_OPERATION) == 0
}

/// Above what counts events: more than come between two looks at them.
const COLLECTED: u32 = 1 << 24;

/// How many waits in a row on another worker make a source move there. Moving costs two `epoll_ctl`, and a message that
/// wakes a task on another worker an eventfd write and that worker's wake-up. With 16, two workers that stole from each
/// other dragged every tenth source to and fro.
/// One under loom, so that a model reaches the move.
const VISITS_TO_MOVE: u8 = if cfg!(loom) { 1 } else { 64 };

/// The same where the tasks of the source's worker are slow and those of the visitor are not. Few, since that worker looks at its
/// reactor between two slow polls and then runs some of these tasks itself.
const VISITS_TO_LEAVE: u8 = if cfg!(loom) { 1 } else { 2 };

#[cfg(all(test, not(loom)))]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::super::{Stand, set_turned_here};
    use super::*;

    fn wait(source: &Source, interest: Interest, key: Option<&mut Option<WaitKey>>) -> Waited {
        source.wait(interest, key, &mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn an_idle_source_is_small() {
        assert!(size_of::<Source>() <= 120, "{} bytes", size_of::<Source>());
    }

    #[test]
    fn an_event_wakes_everybody_in_its_direction_and_nobody_else() {
        let source = Source::default();
        let mut keys = [None; 3];
        for key in &mut keys {
            assert!(matches!(
                wait(&source, Interest::Readable, Some(key)),
                Waited::Pending
            ));
        }
        assert!(matches!(
            wait(&source, Interest::Readable, None),
            Waited::Pending
        ));
        for _ in 0..2 {
            assert!(
                matches!(wait(&source, Interest::Writable, None), Waited::Pending),
                "one key, one place"
            );
        }
        source.forget(&keys[0].unwrap());
        let mut woken = Vec::new();
        source.deliver(Readiness::READABLE, &mut woken);
        assert_eq!(woken.len(), 3, "two futures and the poll_* caller");
        source.deliver(Readiness::WRITABLE, &mut woken);
        assert_eq!(woken.len(), 4);
        source.forget(&keys[1].unwrap());
        source.close(&mut woken);
        assert_eq!(woken.len(), 4, "everybody has been woken");
    }

    #[test]
    fn a_forgotten_waiter_makes_room_for_those_behind_it() {
        let source = Source::default();
        let mut keys = [None; 4];
        for key in &mut keys {
            assert!(matches!(
                wait(&source, Interest::Readable, Some(key)),
                Waited::Pending
            ));
        }
        source.forget(&keys[0].unwrap());
        source.forget(&keys[2].unwrap());
        let mut woken = Vec::new();
        source.close(&mut woken);
        assert_eq!(woken.len(), 2);
    }

    #[test]
    fn a_source_leaves_a_slow_worker_for_one_that_is_not_after_few_visits() {
        let reactors = Arc::new(Reactors::new(2).unwrap());
        let sockets = [(); 3].map(|()| UnixStream::pair().unwrap().0);
        let register = |socket: &UnixStream, reactor| {
            let home = reactors.join(socket.as_fd(), &Arc::default(), reactor);
            home.unwrap()
        };
        let mut waiters = Waiters {
            home: Some(register(&sockets[0], 0)),
            ..Waiters::default()
        };
        let _elsewhere = [1, 2].map(|socket| register(&sockets[socket], 1));
        set_turned_here(Some(1));
        let mut visits_and_move = || {
            let visits = (1..=u8::MAX).find(|_| waiters.is_steadily_elsewhere());
            (
                visits.unwrap(),
                reactors.better_than(0, Stand::Worker(1)).is_some(),
            )
        };
        let stays = (VISITS_TO_MOVE, false); // there are more already
        assert_eq!(visits_and_move(), stays);
        reactors.get(0).note_slow(true);
        assert_eq!(visits_and_move(), (VISITS_TO_LEAVE, true));
        reactors.get(1).note_slow(true);
        assert_eq!(visits_and_move(), stays);
        reactors.get(0).note_slow(false);
        assert_eq!(visits_and_move(), stays);
        set_turned_here(None);
    }

    #[test]
    fn only_steady_visits_from_one_other_thread_suggest_a_move() {
        let mut waiters = Waiters::default();
        let mut visit = |here| waiters.count_visit(here);
        for _ in 1..VISITS_TO_MOVE {
            assert!(!visit(1));
        }
        assert!(!visit(2), "another visitor");
        for _ in 1..VISITS_TO_MOVE {
            assert!(!visit(1));
        }
        assert!(visit(1));
        assert!(!visit(1), "the count begins again");
    }
}
