//! Who is being served, and who waits for somebody to go.
//!
//! | who | does, in this order |
//! |---|---|
//! | an accept loop that has no room | under the lock: looks, and leaves its waker |
//! | a connection's task, when the stage is not the one that it knows | under the lock: leaves its waker, and notes the stage |
//! | who begins the next stage | under the lock: says so, and takes the wakers of the tasks; calls them |
//! | a connection that ends | under the lock: counts what became of it, gives its place up, takes the wakers of the loops and, if it was the last, of the owner; calls them |
//!
//! All meet at the lock, so nobody waits for what has been. The stage is also read without it, once for each poll of a connection's
//! task; a waker stays where it is for a whole stage. So a message costs that look, and an idle connection 16 bytes here.
//!
//! A [`Place`] is taken before a connection is accepted, so that there are never more than the limit allows; it is given up after
//! the handler's future has been dropped, and with that the descriptor closed, so that who is told of it can accept.
//!
//! (Rejected: *`Permits`*, the semaphore that lookups share. Accept loops wait for the same event when they have no room and when
//! the system has no descriptors, and they are few: a list of wakers that are all called is enough.)

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::limits::{Limits, PeerKey};
use super::report::ServerReport;
use crate::shutdown::ShutdownToken;
use crate::util::slab::Slab;
use crate::util::sync::Mutex;
use crate::util::sync::atomic::{
    AtomicU8,
    Ordering::{Acquire, Release},
};
use crate::util::wake::wake_all;

/// The connections of one server.
pub(super) struct Census {
    /// What the handlers see.
    pub(super) token: ShutdownToken,
    /// A [`Stage`]. Changed under the lock.
    stage: AtomicU8,
    max: usize,
    max_per_peer: Option<usize>,
    state: Mutex<State>,
}

/// How far the server is.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Stage {
    Open,
    /// Handlers are to come to an end. The token has been shut down before.
    Ending,
    /// They are dropped wherever they are.
    CutOff,
}

#[derive(Default)]
struct State {
    /// For each connection, and each that is about to be accepted, whom to wake; nobody before its task has run.
    places: Slab<Waker>,
    /// Of those who were there, refused ones included.
    departures: u64,
    report: ServerReport,
    /// Accept loops that wait for a departure.
    loops: Vec<Waker>,
    /// Waits for all to go.
    owner: Option<Waker>,
    /// Kept only if there is a limit per peer.
    peers: Peers,
}

#[derive(Default)]
struct Peers {
    counts: BTreeMap<PeerKey, usize>,
    /// By place.
    of: BTreeMap<u32, PeerKey>,
}

impl Census {
    #[inline]
    pub(super) fn new(token: ShutdownToken, limits: Limits) -> Self {
        Self {
            token,
            stage: AtomicU8::new(Stage::Open as u8),
            max: limits.max(),
            max_per_peer: limits.max_per_peer(),
            state: Mutex::default(),
        }
    }

    /// Whether those who come have to be known by their peer.
    pub(super) fn counts_peers(&self) -> bool {
        self.max_per_peer.is_some()
    }

    /// Waits for room for one more. Also says how many have gone, for [`departure`](Self::departure).
    pub(super) async fn place(self: &Arc<Self>) -> (Place, u64) {
        let taken = |state: &mut State| Some((state.take_place(self.max)?, state.departures));
        let (key, departures) = poll_fn(|cx| self.poll(cx, taken)).await;
        let place = Place {
            census: self.clone(),
            key,
            known_stage: NONE,
            fate: Fate::Vacant,
        };
        (place, departures)
    }

    /// Waits until more than `before` have gone.
    pub(super) async fn departure(&self, before: u64) {
        let gone = |state: &mut State| (state.departures != before).then_some(());
        poll_fn(|cx| self.poll(cx, gone)).await;
    }

    /// Asks `answer`; if it has none, the task is woken at the next departure.
    fn poll<R>(&self, cx: &mut Context<'_>, answer: impl Fn(&mut State) -> Option<R>) -> Poll<R> {
        if let Some(answer) = answer(&mut self.state.lock()) {
            return Poll::Ready(answer);
        }
        let fresh = cx.waker().clone(); // anybody's code: not under the lock
        let mut state = self.state.lock();
        if let Some(answer) = answer(&mut state) {
            drop(state);
            return Poll::Ready(answer);
        }
        let mut unused = None;
        match state.loops.iter().any(|waker| waker.will_wake(&fresh)) {
            true => unused = Some(fresh),
            false => state.loops.push(fresh),
        }
        drop(state);
        drop(unused);
        Poll::Pending
    }

    /// Waits until nobody is there.
    pub(super) async fn all_gone(&self) {
        poll_fn(|cx| {
            let fresh = cx.waker().clone();
            let mut state = self.state.lock();
            let (polled, unused) = match state.places.is_empty() {
                true => (Poll::Ready(()), Some(fresh)),
                false => (Poll::Pending, state.owner.replace(fresh)),
            };
            drop(state);
            drop(unused);
            polled
        })
        .await;
    }

    /// Begins `stage`, and tells every task.
    #[inline]
    pub(super) fn begin(&self, stage: Stage) {
        let mut state = self.state.lock();
        self.stage.store(stage as u8, Release);
        let mut woken = state.take_tasks();
        drop(state);
        wake_all(&mut woken);
    }

    #[inline]
    fn stage(&self) -> u8 {
        self.stage.load(Acquire)
    }

    /// Whether handlers are to come to an end.
    #[inline]
    pub(super) fn is_ending(&self) -> bool {
        self.stage() != Stage::Open as u8
    }

    /// Whether `waker` is the one that is called for the connection in the place `key`.
    #[inline]
    pub(super) fn wakes(&self, key: u32, waker: &Waker) -> bool {
        let mut state = self.state.lock();
        let known = state.places.get_mut(key as usize);
        known.is_some_and(|known| known.will_wake(waker))
    }

    /// That no connection could be accepted.
    pub(super) fn count_pause(&self) {
        self.state.lock().report.pauses += 1;
    }

    /// That handlers have moved so many bytes. They may say what they like, and no sum of it is a panic under the lock.
    pub(super) fn count_bytes(&self, received: u64, sent: u64) {
        let report = &mut self.state.lock().report;
        report.received = report.received.saturating_add(received);
        report.sent = report.sent.saturating_add(sent);
    }

    pub(super) fn report(&self) -> ServerReport {
        self.state.lock().report
    }
}

impl State {
    #[inline]
    fn take_place(&mut self, max: usize) -> Option<u32> {
        (self.places.len() < max).then(|| self.places.insert_with(|_| Waker::noop().clone()) as u32) // the limit fits
    }

    #[inline]
    fn take_tasks(&mut self) -> Vec<Waker> {
        let tasks = self.places.values_mut();
        tasks
            .map(|waker| std::mem::replace(waker, Waker::noop().clone()))
            .collect()
    }

    fn count(&mut self, fate: Fate) {
        let count = match fate {
            Fate::Vacant => return,
            Fate::Refused => &mut self.report.refused,
            Fate::Served => &mut self.report.aborted,
            Fate::Done => &mut self.report.done,
            Fate::Failed => &mut self.report.failed,
            Fate::Panicked => &mut self.report.panicked,
        };
        *count += 1;
    }
}

/// Room for a connection, from before it is accepted until it is gone.
pub(super) struct Place {
    census: Arc<Census>,
    key: u32,
    /// The stage in which the task's waker was left.
    known_stage: u8,
    /// What is to be counted when it is given up.
    pub(super) fate: Fate,
}

/// What becomes of a connection.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// There is none.
    Vacant,
    /// Its peer had too many.
    Refused,
    /// Its handler has not ended; if it goes like this, it is dropped.
    Served,
    Done,
    Failed,
    Panicked,
}

impl Place {
    pub(super) fn census(&self) -> &Arc<Census> {
        &self.census
    }

    /// A connection of `peer` takes the place, or is refused.
    #[inline]
    pub(super) fn occupy(&mut self, peer: Option<PeerKey>) -> bool {
        let mut state = self.census.state.lock();
        if let (Some(peer), Some(max)) = (peer, self.census.max_per_peer) {
            let count = state.peers.counts.entry(peer).or_default();
            if *count >= max {
                self.fate = Fate::Refused;
                return false;
            }
            *count += 1;
            state.peers.of.insert(self.key, peer);
        }
        state.report.accepted += 1;
        self.fate = Fate::Served;
        true
    }

    pub(super) fn key(&self) -> u32 {
        self.key
    }

    /// Whether the connection is to end at once. Otherwise its task, whose waker this is, is woken when the next stage begins.
    #[inline]
    pub(super) fn is_cut_off(&mut self, waker: &Waker) -> bool {
        self.known_stage != self.census.stage() && self.enter_stage(waker)
    }

    #[cold]
    fn enter_stage(&mut self, waker: &Waker) -> bool {
        let mut fresh = waker.clone();
        let mut state = self.census.state.lock();
        self.known_stage = self.census.stage();
        if let Some(place) = state.places.get_mut(self.key as usize) {
            std::mem::swap(place, &mut fresh);
        }
        drop(state);
        drop(fresh);
        self.known_stage == Stage::CutOff as u8
    }
}

impl Drop for Place {
    #[inline]
    fn drop(&mut self) {
        let mut state = self.census.state.lock();
        let waker = state.places.remove(self.key as usize);
        if let Some(peer) = state.peers.of.remove(&self.key)
            && let Some(count) = state.peers.counts.get_mut(&peer)
        {
            *count -= 1;
            if *count == 0 {
                state.peers.counts.remove(&peer);
            }
        }
        state.count(self.fate);
        state.departures += u64::from(self.fate != Fate::Vacant);
        let mut woken = std::mem::take(&mut state.loops);
        let is_last = state.places.is_empty();
        woken.extend(state.owner.take_if(|_| is_last));
        drop(state);
        drop(waker);
        wake_all(&mut woken);
    }
}

/// No stage.
const NONE: u8 = u8::MAX;
