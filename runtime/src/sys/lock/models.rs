//! Every interleaving, within a bound, of threads that want a lock, with a futex that loom sees.
//!
//! loom finds two threads at the value, and a sleeper that nobody wakes.

use std::collections::BTreeMap;
use std::sync::Arc;

use loom::cell::Cell;
use loom::sync::{Condvar, Mutex as ModelMutex};
use loom::thread;

use super::mutex::Mutex;
use crate::util::sync::model;

/// A count that loom watches for two threads at once.
type Count = Mutex<Cell<u32>>;

fn add_one(count: &Count) {
    let guard = count.lock();
    guard.set(guard.get() + 1);
}

#[test]
fn two_threads_have_the_value_again_and_again_one_after_the_other() {
    model(|| {
        let count = Arc::new(Count::default());
        let other = thread::spawn({
            let count = count.clone();
            move || (0..2).for_each(|_| add_one(&count))
        });
        (0..2).for_each(|_| add_one(&count));
        other.join().unwrap();
        assert_eq!(count.lock().get(), 4);
    });
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

/// futex(2): a set of sleepers for each word. The comparison and the sleep are one step, as they are in the kernel.
pub(super) mod futex {
    use super::*;
    use loom::sync::atomic::{AtomicU32, Ordering::Relaxed};

    loom::lazy_static! {
        static ref SLEEPERS: ModelMutex<BTreeMap<usize, Arc<Condvar>>> = ModelMutex::default();
    }

    pub(in super::super) fn wait(word: &AtomicU32, expected: u32) {
        let mut sleepers = SLEEPERS.lock().unwrap();
        if word.load(Relaxed) == expected {
            let sleepers_here = sleepers.entry(address(word)).or_default().clone();
            drop(sleepers_here.wait(sleepers));
        }
    }

    pub(in super::super) fn wake_one(word: &AtomicU32) {
        if let Some(sleepers_here) = SLEEPERS.lock().unwrap().get(&address(word)) {
            sleepers_here.notify_one();
        }
    }

    fn address(word: &AtomicU32) -> usize {
        std::ptr::from_ref(word).addr()
    }
}
