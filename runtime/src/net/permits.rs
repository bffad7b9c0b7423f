//! A number of permits, given out in the order in which they were asked for.
//!
//! Who waits has a ticket; tickets are numbered, and the waiter with `n` others before it may take a permit when more than
//! `n` are free. Nothing is handed over, so a waiter that goes away while its permit is free loses nothing for the others.
//!
//! What must hold: **of the waiters, as many as there are free permits have been woken**, the first ones. A permit that comes
//! back makes one more waiter eligible; one of those before it that goes away does too; one that takes a permit leaves the
//! others' chances as they were. In both cases it is the one that now is last among the eligible, and it is woken.
//!
//! Wakers are called, and dropped, after the lock is released.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Permits for something that not everybody may do at the same time.
#[derive(Debug)]
pub(super) struct Permits {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    free_count: usize,
    next_ticket: u64,
    waiting: BTreeMap<u64, Waker>,
}

impl Permits {
    pub(super) const fn new(count: usize) -> Self {
        Self {
            state: Mutex::new(State {
                free_count: count,
                next_ticket: 0,
                waiting: BTreeMap::new(),
            }),
        }
    }

    /// Waits for a permit. Dropping the future gives up its place.
    pub(super) fn acquire(&'static self) -> Acquire {
        Acquire {
            permits: self,
            ticket: None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The waker of the last waiter for whom there is a permit.
    #[inline]
    fn last_eligible(&self) -> Option<Waker> {
        let index = self.free_count.checked_sub(1)?;
        self.waiting.values().nth(index).cloned()
    }
}

/// The future of [`Permits::acquire`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub(super) struct Acquire {
    permits: &'static Permits,
    /// The place in the queue, once it has had to wait.
    ticket: Option<u64>,
}

impl Future for Acquire {
    type Output = Permit;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Permit> {
        let waker = cx.waker().clone();
        let permits = self.permits;
        let mut state = permits.lock();
        let before_count = match self.ticket {
            Some(ticket) => state.waiting.range(..ticket).count(),
            None => state.waiting.len(),
        };
        let former;
        if before_count < state.free_count {
            state.free_count -= 1;
            former = self
                .ticket
                .take()
                .and_then(|own| state.waiting.remove(&own));
            drop(state);
            drop((former, waker));
            return Poll::Ready(Permit(permits));
        }
        let ticket = self.ticket.unwrap_or(state.next_ticket);
        if self.ticket.is_none() {
            state.next_ticket += 1;
        }
        former = state.waiting.insert(ticket, waker);
        drop(state);
        drop(former);
        self.ticket = Some(ticket);
        Poll::Pending
    }
}

impl Drop for Acquire {
    #[inline]
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            let mut state = self.permits.lock();
            let own = state.waiting.remove(&ticket);
            let next = state.last_eligible();
            drop(state);
            drop(own);
            next.into_iter().for_each(Waker::wake);
        }
    }
}

/// Comes back when it is dropped.
#[derive(Debug)]
pub(super) struct Permit(&'static Permits);

impl Drop for Permit {
    #[inline]
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.free_count += 1;
        let next = state.last_eligible();
        drop(state);
        next.into_iter().for_each(Waker::wake);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::task::{Context, Poll, Wake, Waker};
    use std::thread;

    use super::{Permit, Permits};
    use crate::yield_now;

    #[test]
    fn permits_are_taken_in_the_order_of_asking_and_nobody_overtakes() {
        static PERMITS: Permits = Permits::new(1);
        let permits = &PERMITS;
        let first = now(&mut permits.acquire());
        let (mut second, mut third) = (permits.acquire(), permits.acquire());
        let (wakes, waker) = counter();
        assert!(poll(&mut second, &waker).is_pending());
        assert!(poll(&mut third, Waker::noop()).is_pending());
        drop(first);
        assert_eq!(wakes.0.load(SeqCst), 1);
        assert!(poll(&mut third, Waker::noop()).is_pending());
        assert!(poll(&mut permits.acquire(), Waker::noop()).is_pending());
        let permit = now(&mut second);
        drop(permit);
        now(&mut third);
    }

    #[test]
    fn who_gives_up_its_place_passes_the_chance_on() {
        static PERMITS: Permits = Permits::new(2);
        let permits = &PERMITS;
        let held = [(); 2].map(|()| now(&mut permits.acquire()));
        let (mut first, mut second, mut third) =
            (permits.acquire(), permits.acquire(), permits.acquire());
        let (wakes, waker) = counter();
        assert!(poll(&mut first, Waker::noop()).is_pending());
        assert!(poll(&mut second, Waker::noop()).is_pending());
        assert!(poll(&mut third, &waker).is_pending());
        let [one, other] = held;
        drop(one);
        assert_eq!(wakes.0.load(SeqCst), 0, "two are before it");
        drop(first); // it was woken, and goes away
        assert_eq!(wakes.0.load(SeqCst), 0, "one is before it");
        drop(second);
        assert_eq!(wakes.0.load(SeqCst), 1);
        now(&mut third);
        drop(other);
        assert_eq!(permits.lock().free_count, 2);
        assert!(permits.lock().waiting.is_empty());
    }

    #[test]
    fn a_storm_of_tasks_gets_through_on_several_threads_also_when_some_give_up() {
        const COUNT: usize = 3;
        static PERMITS: Permits = Permits::new(COUNT);
        let permits = &PERMITS;
        let held_count = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let held_count = held_count.clone();
                thread::spawn(move || {
                    crate::block_on(async move {
                        for round in 0..300 {
                            if (thread + round) % 5 == 0 {
                                let mut given_up = pin!(permits.acquire());
                                let waker = Waker::noop();
                                let _ = given_up.as_mut().poll(&mut Context::from_waker(waker));
                            }
                            let permit = permits.acquire().await;
                            assert!(held_count.fetch_add(1, SeqCst) < COUNT);
                            yield_now().await;
                            held_count.fetch_sub(1, SeqCst);
                            drop(permit);
                        }
                    });
                })
            })
            .collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        assert_eq!(permits.lock().free_count, COUNT);
        assert!(permits.lock().waiting.is_empty());
    }

    fn poll<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
        pin!(future).poll(&mut Context::from_waker(waker))
    }

    fn now(acquire: &mut super::Acquire) -> Permit {
        match poll(acquire, Waker::noop()) {
            Poll::Ready(permit) => permit,
            Poll::Pending => panic!("a permit is free, and it is this one's turn"),
        }
    }

    fn counter() -> (Arc<Wakes>, Waker) {
        let wakes = Arc::new(Wakes(AtomicUsize::new(0)));
        (wakes.clone(), wakes.into())
    }

    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }
}
