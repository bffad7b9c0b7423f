//! Every interleaving, within a bound, of connections that come and go with those who wait for that, and with the end.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};

use loom::thread;

use super::census::{Census, Fate, Place, Stage};
use super::limits::Limits;
use crate::shutdown::ShutdownToken;
use crate::util::sync::model;

#[test]
fn an_accept_loop_without_room_is_woken_when_a_connection_goes() {
    model(|| {
        let census = census(1);
        let place = place(&census);
        let going = thread::spawn(move || drop(place));
        let wakes = Arc::new(Wakes::default());
        let mut waits = pin!(census.place());
        let polled = wakes.poll(waits.as_mut());
        going.join().unwrap();
        wakes.end(polled.map(drop), || wakes.poll(waits.as_mut()).map(drop));
    });
}

#[test]
fn a_pause_ends_when_a_connection_goes_and_not_when_none_does() {
    model(|| {
        let census = census(3);
        let (mut served, vacant) = (place(&census), place(&census));
        served.fate = Fate::Done;
        let wakes = Arc::new(Wakes::default());
        let mut waits = pin!(census.departure(0));
        let going = thread::spawn(move || {
            drop(vacant);
            served
        });
        let polled = wakes.poll(waits.as_mut());
        assert!(polled.is_pending());
        let served = going.join().unwrap();
        let going = thread::spawn(move || drop(served));
        let polled = wakes.poll(waits.as_mut());
        going.join().unwrap();
        wakes.end(polled, || wakes.poll(waits.as_mut()));
    });
}

#[test]
fn who_waits_for_all_to_go_is_woken_by_the_last() {
    model(|| {
        let census = census(2);
        let going = [place(&census), place(&census)];
        let going = going.map(|place| thread::spawn(move || drop(place)));
        let wakes = Arc::new(Wakes::default());
        let mut waits = pin!(census.all_gone());
        let polled = wakes.poll(waits.as_mut());
        going.into_iter().for_each(|thread| thread.join().unwrap());
        wakes.end(polled, || wakes.poll(waits.as_mut()));
    });
}

/// Its task is polled when it is spawned, and then when it is woken only.
#[test]
fn a_connection_sees_each_stage_whenever_it_begins() {
    model(|| {
        let census = census(1);
        let mut place = place(&census);
        let beginning = thread::spawn({
            let census = census.clone();
            move || {
                census.begin(Stage::Ending);
                census.begin(Stage::CutOff);
            }
        });
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(wakes.clone());
        let mut seen = wakes.0.load(SeqCst);
        let mut is_over = place.is_cut_off(&waker);
        beginning.join().unwrap();
        while !is_over {
            let count = wakes.0.load(SeqCst);
            assert_ne!(count, seen, "not woken");
            seen = count;
            assert!(census.is_ending());
            is_over = place.is_cut_off(&waker);
        }
    });
}

fn census(max: usize) -> Arc<Census> {
    let mut limits = Limits::default();
    limits.set_max(max);
    Arc::new(Census::new(ShutdownToken::new(), limits))
}

fn place(census: &Arc<Census>) -> Place {
    match pin!(census.place()).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready((place, _)) => place,
        Poll::Pending => panic!("there is room"),
    }
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wakes {
    fn poll<F: Future>(self: &Arc<Self>, future: Pin<&mut F>) -> Poll<F::Output> {
        let waker = Waker::from(self.clone());
        future.poll(&mut Context::from_waker(&waker))
    }

    /// What was waited for has come: it was ready, or there was a wake since, and now it is.
    fn end(&self, polled: Poll<()>, again: impl FnOnce() -> Poll<()>) {
        if polled.is_pending() {
            assert!(self.0.load(SeqCst) > 0, "not woken");
            assert!(again().is_ready());
        }
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}
