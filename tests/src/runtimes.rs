//! The same test on runtimes of several sizes.

use wakeful::{Builder, Metrics, Runtime};

use crate::futures::yields;
use crate::watchdog::{LIMIT, eventually, within};

/// Runs `body` on a fresh runtime of each size, and checks that it leaves neither a task nor a timer nor a source behind.
///
/// # Panics
///
/// As `body` does; when it hangs; when something is left.
#[track_caller]
pub fn on_workers<const N: usize>(counts: [usize; N], body: fn(&Runtime)) {
    for count in counts {
        within(LIMIT, move || {
            let _note = Note(count);
            let runtime = runtime(count);
            body(&runtime);
            assert_baseline(&runtime);
        });
    }
}

/// A runtime with so many workers.
///
/// # Panics
///
/// When the system refuses one.
pub fn runtime(workers: usize) -> Runtime {
    Builder::new()
        .workers(workers)
        .build()
        .expect("threads and descriptors for a runtime")
}

/// Runs the runtime until it holds no task, no timer and no source.
///
/// # Panics
///
/// When it goes on holding some.
#[track_caller]
pub fn assert_baseline(runtime: &Runtime) {
    let metrics = || runtime.handle().metrics();
    let is_base = |metrics: Metrics| {
        let sources: usize = metrics.sources.iter().sum();
        (metrics.tasks, metrics.timers, sources) == (0, 0, 0)
    };
    // A task leaves the registry a moment after its handle has resolved, and on one worker only in a `block_on`.
    eventually(
        &format!("back at the baseline; at first {:?}", metrics()),
        || {
            runtime.block_on(yields(4));
            is_base(metrics())
        },
    );
}

/// Says with which size a test failed.
struct Note(usize);

impl Drop for Note {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("… with {} worker(s)", self.0);
        }
    }
}
