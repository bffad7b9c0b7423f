//! What the handles of an outbox and its writer share: one lock, under which bytes are moved.
//!
//! A frame is *accepted* when its bytes are in `queued`, and then it is written unless the connection fails. It is accepted if
//! nobody waits and there is room: it fits into the capacity together with all that is accepted and not written, or it is
//! alone. Otherwise a sender may wait: its frame stands under a ticket, and who makes room accepts the frames that wait, the
//! lowest ticket first, as long as they fit. So nobody overtakes, and nothing is handed to a sender that may be gone: a ticket
//! that is not there any more has been accepted, and a sender that goes away takes its own back.
//!
//! What must hold:
//!
//! * While frames wait and the outbox is open, accepted bytes are unwritten: the writer will make room. (With none, the first
//!   frame would be alone.) So whoever accepts a waiting frame need not wake the writer.
//! * `writer` is the waker of a writer that has found nothing. Accepting a frame, and closing, take it and call it.
//! * Once closed, always closed; nothing is accepted any more, and frames that wait are taken back by their senders.
//! * Wakers are cloned, called and dropped outside the lock.

use std::collections::BTreeMap;
use std::mem;
use std::task::{Poll, Waker};

use super::SendError;
use crate::codec::buffer::Buffer;
use crate::util::slab::Slab;
use crate::util::sync::Mutex;
use crate::util::wake::wake_all;

#[derive(Debug)]
pub(super) struct Shared {
    capacity_bytes: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    is_closed: bool,
    handles_count: usize,
    /// Accepted, and not taken by the writer.
    queued: Vec<u8>,
    /// How many bytes the writer has taken and not written.
    taken_bytes: usize,
    waiting: BTreeMap<u64, Waiting>,
    next_ticket: u64,
    writer: Option<Waker>,
    watchers: Slab<Waker>,
}

/// A frame that is not accepted yet.
#[derive(Debug)]
struct Waiting {
    bytes: Vec<u8>,
    /// None before its sender has been polled.
    waker: Option<Waker>,
}

/// What the writer has to do.
#[must_use]
pub(super) enum Taken {
    /// Write them.
    Frames,
    /// Sleep.
    Nothing,
    /// End.
    End,
}

/// For senders.
impl Shared {
    /// With one handle.
    pub(super) fn new(capacity_bytes: usize) -> Self {
        Self {
            capacity_bytes,
            state: Mutex::new(State {
                is_closed: false,
                handles_count: 1,
                queued: Vec::new(),
                taken_bytes: 0,
                waiting: BTreeMap::new(),
                next_ticket: 0,
                writer: None,
                watchers: Slab::new(),
            }),
        }
    }

    /// Accepts a frame or refuses it.
    #[inline]
    pub(super) fn push(&self, bytes: &[u8]) -> Result<(), SendError> {
        let mut state = self.state.lock();
        if state.is_closed {
            return Err(SendError::Closed);
        }
        if !state.may_accept(bytes.len(), self.capacity_bytes) {
            return Err(SendError::Full);
        }
        let writer = state.accept(bytes);
        drop(state);
        writer.into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// Accepts a frame, or lets it wait under the ticket that is returned.
    #[inline]
    pub(super) fn push_or_wait(&self, bytes: Vec<u8>) -> Result<Option<u64>, SendError> {
        let mut state = self.state.lock();
        if state.is_closed {
            return Err(SendError::Closed);
        }
        if !state.may_accept(bytes.len(), self.capacity_bytes) {
            let ticket = state.next_ticket;
            state.next_ticket += 1;
            let waker = None;
            state.waiting.insert(ticket, Waiting { bytes, waker });
            return Ok(Some(ticket));
        }
        let writer = state.accept(&bytes);
        drop(state);
        writer.into_iter().for_each(Waker::wake);
        Ok(None)
    }

    /// Whether the frame under a ticket has been accepted.
    #[inline]
    pub(super) fn poll_ticket(&self, ticket: u64, waker: &Waker) -> Poll<Result<(), SendError>> {
        let fresh = waker.clone();
        let mut state = self.state.lock();
        let is_closed = state.is_closed;
        let (polled, unused) = match state.waiting.get_mut(&ticket) {
            None => (Poll::Ready(Ok(())), Some(fresh)),
            Some(_) if is_closed => {
                state.waiting.remove(&ticket); // its waker was called when it was closed
                (Poll::Ready(Err(SendError::Closed)), Some(fresh))
            }
            Some(waiting) => (Poll::Pending, waiting.waker.replace(fresh)),
        };
        drop(state);
        drop(unused);
        polled
    }

    /// Takes a frame back that is not accepted yet. Others may fit now that it is out of their way.
    #[inline]
    pub(super) fn give_up(&self, ticket: u64) {
        let mut wakers = Vec::new();
        let mut state = self.state.lock();
        let given_up = state.waiting.remove(&ticket);
        state.accept_waiting(self.capacity_bytes, &mut wakers);
        drop(state);
        drop(given_up);
        wake_all(&mut wakers);
    }

    pub(super) fn add_handle(&self) {
        self.state.lock().handles_count += 1;
    }

    /// The last one closes.
    #[inline]
    pub(super) fn drop_handle(&self) {
        let mut wakers = Vec::new();
        let mut state = self.state.lock();
        state.handles_count -= 1;
        if state.handles_count == 0 {
            state.close(&mut wakers);
        }
        drop(state);
        wake_all(&mut wakers);
    }

    #[inline]
    pub(super) fn close(&self) {
        let mut wakers = Vec::new();
        self.state.lock().close(&mut wakers);
        wake_all(&mut wakers);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.lock().is_closed
    }

    /// Waits for the close, under the key that it leaves in `key`.
    #[inline]
    pub(super) fn poll_closed(&self, key: &mut Option<usize>, waker: &Waker) -> Poll<()> {
        let fresh = waker.clone();
        let mut state = self.state.lock();
        if state.is_closed {
            drop(state);
            drop(fresh);
            return Poll::Ready(());
        }
        let replaced = match key.and_then(|key| state.watchers.get_mut(key)) {
            Some(place) => Some(mem::replace(place, fresh)),
            None => {
                *key = Some(state.watchers.insert_with(|_| fresh));
                None
            }
        };
        drop(state);
        drop(replaced);
        Poll::Pending
    }

    #[inline]
    pub(super) fn forget_watcher(&self, key: usize) {
        let forgotten = self.state.lock().watchers.remove(key);
        drop(forgotten);
    }
}

/// For the writer.
impl Shared {
    /// Takes all that is accepted into `buffer`, which is empty. If there is nothing, the writer is woken when there is.
    #[inline]
    pub(super) fn take(&self, buffer: &mut Buffer, waker: &Waker) -> Taken {
        let fresh = waker.clone();
        let mut state = self.state.lock();
        let (taken, unused) = if !state.queued.is_empty() {
            buffer.swap(&mut state.queued);
            state.taken_bytes = buffer.len();
            (Taken::Frames, Some(fresh))
        } else if state.is_closed {
            (Taken::End, Some(fresh))
        } else {
            state.queued = Vec::new(); // the memory of the last burst
            (Taken::Nothing, state.writer.replace(fresh))
        };
        drop(state);
        drop(unused);
        taken
    }

    /// Makes room: so many of the bytes that were taken are written.
    #[inline]
    pub(super) fn wrote(&self, bytes: usize) {
        let mut wakers = Vec::new();
        let mut state = self.state.lock();
        state.taken_bytes -= bytes;
        state.accept_waiting(self.capacity_bytes, &mut wakers);
        drop(state);
        wake_all(&mut wakers);
    }

    /// The writer is gone, and what was accepted with it.
    #[inline]
    pub(super) fn abandon(&self) {
        let mut wakers = Vec::new();
        let mut state = self.state.lock();
        state.close(&mut wakers);
        let lost = mem::take(&mut state.queued);
        drop(state);
        drop(lost);
        wake_all(&mut wakers);
    }
}

impl State {
    fn may_accept(&self, len: usize, capacity_bytes: usize) -> bool {
        self.waiting.is_empty() && self.has_room(len, capacity_bytes)
    }

    fn has_room(&self, len: usize, capacity_bytes: usize) -> bool {
        let accepted = self.queued.len() + self.taken_bytes;
        accepted == 0 || accepted.saturating_add(len) <= capacity_bytes
    }

    /// Returns the writer's waker if the writer sleeps.
    #[must_use]
    fn accept(&mut self, bytes: &[u8]) -> Option<Waker> {
        self.queued.extend_from_slice(bytes);
        self.writer.take()
    }

    #[inline]
    fn accept_waiting(&mut self, capacity_bytes: usize, wakers: &mut Vec<Waker>) {
        while !self.is_closed
            && let Some((_, first)) = self.waiting.first_key_value()
            && self.has_room(first.bytes.len(), capacity_bytes)
            && let Some((_, first)) = self.waiting.pop_first()
        {
            self.queued.extend_from_slice(&first.bytes);
            wakers.extend(first.waker);
        }
    }

    #[inline]
    fn close(&mut self, wakers: &mut Vec<Waker>) {
        if !mem::replace(&mut self.is_closed, true) {
            wakers.extend(self.writer.take());
            wakers.extend(self.watchers.take_all());
            wakers.extend(
                self.waiting
                    .values_mut()
                    .filter_map(|frame| frame.waker.take()),
            );
        }
    }
}
