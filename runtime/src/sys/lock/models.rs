//! Every interleaving, within a bound, of threads that want a lock or wait for a signal, with a futex that loom sees.
//!
//! loom finds two threads at the value, and a sleeper that nobody wakes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use loom::cell::Cell;
use loom::sync::{Condvar as ModelCondvar, Mutex as ModelMutex};
use loom::thread;

use super::{Condvar, Mutex};
use crate::util::sync::model;

/// A count that loom watches for two threads at once.
type Count = Mutex<Cell<u32>>;

fn add_one(count: &Count) {
    let guard = count.lock();
    guard.set(guard.get() + 1);
}

#[test]
fn three_threads_have_the_value_one_after_the_other() {
    model(|| {
        let count = Arc::new(Count::default());
        let others = [(); 2].map(|()| {
            let count = count.clone();
            thread::spawn(move || add_one(&count))
        });
        add_one(&count);
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(count.lock().get(), 3);
    });
}

#[test]
fn who_waits_for_a_signal_gets_it() {
    model(|| {
        let state = Arc::new((Count::default(), Condvar::new()));
        let signaller = thread::spawn({
            let state = state.clone();
            move || {
                add_one(&state.0);
                state.1.notify_one();
            }
        });
        let mut guard = state.0.lock();
        while guard.get() == 0 {
            guard = state.1.wait(guard);
        }
        drop(guard);
        signaller.join().unwrap();
    });
}

#[test]
fn all_who_wait_for_a_signal_get_it() {
    model(|| {
        let state = Arc::new((Count::default(), Condvar::new()));
        let other = thread::spawn({
            let state = state.clone();
            move || wait_in_time(&state)
        });
        let signaller = thread::spawn({
            let state = state.clone();
            move || {
                add_one(&state.0);
                state.1.notify_all();
            }
        });
        wait_in_time(&state);
        other.join().unwrap();
        signaller.join().unwrap();
    });
}

/// No time passes while a model runs.
fn wait_in_time((count, changed): &(Count, Condvar)) {
    let mut guard = count.lock();
    while guard.get() == 0 {
        let is_over;
        (guard, is_over) = changed.wait_timeout(guard, Duration::MAX);
        assert!(!is_over);
    }
}

/// futex(2): a set of sleepers for each word. The comparison and the sleep are one step, as they are in the kernel.
pub(super) mod futex {
    use super::*;
    use loom::sync::atomic::{AtomicU32, Ordering::Relaxed};

    loom::lazy_static! {
        static ref SLEEPERS: ModelMutex<BTreeMap<usize, Arc<ModelCondvar>>> = ModelMutex::default();
    }

    /// Without an end of its own.
    pub(in super::super) fn wait(word: &AtomicU32, expected: u32, _: Option<Duration>) -> bool {
        let mut sleepers = SLEEPERS.lock().unwrap();
        if word.load(Relaxed) == expected {
            let woken = sleepers
                .entry(address(word))
                .or_insert_with(|| Arc::new(ModelCondvar::new()));
            let woken = woken.clone();
            drop(woken.wait(sleepers));
        }
        false
    }

    pub(in super::super) fn wake(word: &AtomicU32, most: i32) {
        let sleepers = SLEEPERS.lock().unwrap();
        match sleepers.get(&address(word)) {
            Some(woken) if most == 1 => woken.notify_one(),
            Some(woken) => woken.notify_all(),
            None => {}
        }
    }

    fn address(word: &AtomicU32) -> usize {
        std::ptr::from_ref(word).addr()
    }
}
