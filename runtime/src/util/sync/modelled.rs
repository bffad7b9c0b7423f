//! What loom lacks, or has in a form that our models cannot use.

#[cfg(test)]
use std::sync::Arc;
#[cfg(test)]
use std::sync::atomic::{AtomicUsize as Counter, Ordering::SeqCst};

use loom::sync::atomic::{
    AtomicBool,
    Ordering::{Acquire, Release},
};

/// Runs `model` in every order of its threads' steps that preempts them at most twice, or `LOOM_MAX_PREEMPTIONS` times, and
/// prints how many there are.
#[cfg(test)]
pub(crate) fn model(model: impl Fn() + Send + Sync + 'static) {
    let orders = Arc::new(Counter::new(0));
    let mut explorer = loom::model::Builder::new();
    explorer.preemption_bound.get_or_insert(2);
    explorer.check({
        let orders = orders.clone();
        move || {
            orders.fetch_add(1, SeqCst);
            model();
        }
    });
    println!("{} orders", orders.load(SeqCst));
}

/// Parking, as in `std::thread`. Loom's own loses the token of an `unpark` that meets the thread blocked on a lock.
pub(crate) mod thread {
    use std::sync::Arc;
    use std::time::Duration;

    pub(crate) use loom::thread::yield_now;

    use loom::sync::{Condvar, Mutex};

    #[derive(Clone, Debug, Default)]
    pub(crate) struct Thread(Arc<Bell>);

    impl Thread {
        pub(crate) fn unpark(&self) {
            self.0.ring();
        }

        pub(crate) fn id(&self) -> *const Bell {
            Arc::as_ptr(&self.0)
        }
    }

    pub(crate) fn current() -> Thread {
        CURRENT.with(Thread::clone)
    }

    pub(crate) fn park() {
        current().0.wait();
    }

    /// No model looks at the time.
    pub(crate) fn park_timeout(_: Duration) {
        yield_now();
    }

    loom::thread_local! {
        static CURRENT: Thread = Thread::default();
    }

    /// A ring ends the present or the next wait: a parked thread's token, and in a model also an eventfd.
    #[derive(Debug, Default)]
    pub(crate) struct Bell {
        rung: Mutex<bool>,
        changed: Condvar,
    }

    impl Bell {
        pub(crate) fn ring(&self) {
            *self.rung.lock().unwrap() = true;
            self.changed.notify_one();
        }

        pub(crate) fn wait(&self) {
            let mut rung = self.rung.lock().unwrap();
            while !*rung {
                rung = self.changed.wait(rung).unwrap();
            }
            *rung = false;
        }
    }
}

/// `std::thread_local` for one constant. Loom's threads all run on one thread of the system, so the standard one is shared.
macro_rules! loom_thread_local {
    (static $name:ident: $value:ty = const $init:block;) => {
        loom::thread_local! { static $name: $value = $init; }
    };
}
pub(crate) use loom_thread_local as thread_local;

/// `std::sync::OnceLock`, with loom seeing that the value is published. `init` must not give way to another thread.
#[derive(Debug, Default)]
pub(crate) struct OnceLock<T> {
    value: std::sync::OnceLock<T>,
    published: AtomicBool,
}

impl<T> OnceLock<T> {
    pub(crate) fn new() -> Self {
        Self {
            value: std::sync::OnceLock::new(),
            published: AtomicBool::new(false),
        }
    }

    pub(crate) fn get(&self) -> Option<&T> {
        self.published
            .load(Acquire)
            .then(|| self.value.get())
            .flatten()
    }

    pub(crate) fn get_or_init(&self, init: impl FnOnce() -> T) -> &T {
        let value = self.value.get_or_init(init);
        self.published.store(true, Release);
        value
    }
}
