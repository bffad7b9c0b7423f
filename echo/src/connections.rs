//! Who is being served, and how they are told that the server ends.
//!
//! Each connection looks at one flag whenever it begins to wait, and has left its task's waker here the first time that it
//! did: a message costs no lock and no atomic write, an idle connection some 24 bytes. The end sets the flag first and
//! calls the wakers then; a connection leaves its waker first and looks at the flag again, so it cannot miss the end.
//!
//! (Rejected: a channel or an event that every connection waits for next to its socket. It would be locked and entered
//! anew for every message.)

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{
    AtomicBool,
    Ordering::{Acquire, Release},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// All connections of a server.
#[derive(Default)]
pub(crate) struct Connections {
    ending: AtomicBool,
    present: Mutex<Present>,
}

#[derive(Default)]
struct Present {
    /// A place for each: nobody, somebody who has not waited yet (a waker that does nothing), or whom to wake.
    places: Vec<Option<Waker>>,
    vacant: Vec<u32>,
    /// Waits for all to go.
    owner: Option<Waker>,
}

impl Connections {
    /// Somebody comes, and is there until it is dropped.
    pub(crate) fn enter(self: &Arc<Self>) -> Connection {
        let mut present = self.present();
        let place = present.vacant.pop().unwrap_or_else(|| {
            present.places.push(None);
            (present.places.len() - 1) as u32 // there are not so many descriptors
        });
        present.places[place as usize] = Some(Waker::noop().clone());
        Connection {
            all: self.clone(),
            place,
            is_known: false,
        }
    }

    /// Tells everybody, and whoever comes later, that the server ends.
    pub(crate) fn end(&self) {
        self.ending.store(true, Release);
        let wakers: Vec<_> = self.present().places.iter().flatten().cloned().collect();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// How many are there.
    pub(crate) fn count(&self) -> usize {
        self.present().count()
    }

    /// Waits until nobody is there.
    pub(crate) async fn all_gone(&self) {
        poll_fn(|cx| {
            let mut present = self.present();
            if present.count() == 0 {
                return Poll::Ready(());
            }
            present.owner = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn present(&self) -> MutexGuard<'_, Present> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Present {
    fn count(&self) -> usize {
        self.places.len() - self.vacant.len()
    }
}

/// One of them. It is waited with in one task only.
pub(crate) struct Connection {
    all: Arc<Connections>,
    place: u32,
    /// Whether the task's waker has been left. It stays the same for as long as the task lives.
    is_known: bool,
}

impl Connection {
    /// Waits for `event`, or until the server ends: then there is no answer, even if the event has come too.
    pub(crate) fn unless_ending<F: Future + Unpin>(
        &mut self,
        mut event: F,
    ) -> impl Future<Output = Option<F::Output>> {
        poll_fn(move |cx| {
            if !self.is_known {
                self.leave_waker(cx.waker());
            }
            if self.all.ending.load(Acquire) {
                return Poll::Ready(None);
            }
            Pin::new(&mut event).poll(cx).map(Some)
        })
    }

    #[cold]
    fn leave_waker(&mut self, waker: &Waker) {
        self.all.present().places[self.place as usize] = Some(waker.clone());
        self.is_known = true;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let (waker, owner) = {
            let mut present = self.all.present();
            present.vacant.push(self.place);
            let waker = present.places[self.place as usize].take();
            let is_last = present.count() == 0;
            (waker, present.owner.take_if(|_| is_last))
        };
        drop(waker); // not under the lock
        if let Some(owner) = owner {
            owner.wake();
        }
    }
}
