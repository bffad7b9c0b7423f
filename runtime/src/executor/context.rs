//! What the running thread knows of a runtime.

use std::cell::RefCell;
use std::mem::{self, ManuallyDrop};
use std::panic::Location;
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;

use super::shared::{Home, Shared};
use super::worker::Worker;
use crate::reactor::{Place, Stand};
use crate::task::JoinHandle;
use crate::util::sync::thread_local;

/// The thread's part in a runtime.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "one per thread, and on the way of every wake: not behind another pointer"
)]
pub(crate) enum Context {
    /// It runs tasks.
    Worker(Worker),
    /// It is inside `block_on`, but another thread holds the core.
    Guest(Arc<Home>),
    /// It has entered the runtime's context, to spawn or to make sockets, and has another part behind it.
    Entered {
        home: Arc<Home>,
        behind: Option<Rc<Self>>,
    },
    /// It is dropping what a runtime left behind.
    Finisher(Arc<Home>),
}

impl Context {
    #[inline]
    pub(crate) fn home(&self) -> &Arc<Home> {
        match self {
            Self::Worker(worker) => worker.home(),
            Self::Guest(home) | Self::Entered { home, .. } | Self::Finisher(home) => home,
        }
    }

    #[inline]
    pub(crate) fn worker(&self) -> Option<&Worker> {
        match self {
            Self::Worker(worker) => Some(worker),
            _ => None,
        }
    }

    /// Spawns a task onto this runtime.
    pub(crate) fn spawn<F>(
        &self,
        future: F,
        name: Option<Arc<str>>,
        location: &'static Location<'static>,
    ) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        (self.home()).spawn_by(self.worker(), future, name, location)
    }

    /// Whether a future is being driven on this thread, so that blocking it would be a mistake.
    fn drives_a_future(&self) -> bool {
        match self {
            Self::Worker(_) | Self::Guest(_) => true,
            Self::Entered { behind, .. } => behind
                .as_ref()
                .is_some_and(|behind| behind.drives_a_future()),
            Self::Finisher(_) => false,
        }
    }

    /// Whether this thread belongs to `shared` in such a way that waiting for its threads would wait for itself.
    pub(crate) fn is_part_of(&self, shared: &Arc<Shared>) -> bool {
        match self {
            Self::Worker(_) | Self::Finisher(_) => Arc::ptr_eq(&self.home().shared, shared),
            Self::Entered { behind, .. } => behind
                .as_ref()
                .is_some_and(|behind| behind.is_part_of(shared)),
            Self::Guest(_) => false,
        }
    }
}

/// The current context, if the thread is in one.
#[inline]
pub(crate) fn current() -> Option<Rc<Context>> {
    CURRENT.with(|current| (**current.borrow()).clone())
}

/// Gives `value` to `take` if this thread is a worker of `shared`, which is only compared. Returns it otherwise, or what `take`
/// leaves of it.
///
/// The cheap way, for what happens on every wake: no count is touched. `take` must not enter or leave a context. (Nothing here can
/// panic, or a wake would save registers for that.)
#[inline]
pub(crate) fn give_to_worker_of<T>(
    shared: *const Shared,
    value: T,
    take: impl FnOnce(&Worker, T) -> Option<T>,
) -> Option<T> {
    let mut value = Some(value);
    // Always there; `with` would be the same, and is not inlined.
    let _ = CURRENT.try_with(|current| {
        if let Ok(current) = current.try_borrow()
            && let Some(Context::Worker(worker)) = current.as_deref()
            && ptr::eq(Arc::as_ptr(&worker.home().shared), shared)
            && let Some(given) = value.take()
        {
            value = take(worker, given);
        }
    });
    value
}

/// Calls `use_worker` if this thread is a worker: the cheap way, without a count. It must not enter or leave a context, so it
/// must not drop what may be anybody's.
#[inline]
pub(crate) fn with_worker<R>(use_worker: impl FnOnce(&Worker) -> R) -> Option<R> {
    let used = CURRENT.try_with(|current| match current.borrow().as_deref() {
        Some(Context::Worker(worker)) => Some(use_worker(worker)),
        _ => None,
    });
    used.ok().flatten()
}

/// Whether this thread drives the core with this number of `shared`, and so looks at its timers before it sleeps.
#[inline]
pub(crate) fn holds_core(shared: &Arc<Shared>, core: usize) -> bool {
    let mut holds = false;
    give_to_worker_of(Arc::as_ptr(shared), (), |worker, ()| {
        holds = worker.holds(core);
        None
    });
    holds
}

/// The current context.
///
/// # Panics
///
/// Outside a runtime, with a sentence that names `what` needs one.
#[track_caller]
pub(crate) fn expect_current(what: &str) -> Rc<Context> {
    current().unwrap_or_else(|| refuse(what))
}

/// Calls `use_home` with the current context's home: the cheap way, without a count. It must not enter or leave a context.
///
/// # Panics
///
/// As [`expect_current`].
#[inline]
#[track_caller]
pub(crate) fn with_home<R>(what: &str, use_home: impl FnOnce(&Arc<Home>) -> R) -> R {
    let used = CURRENT.try_with(|current| {
        let current = current.borrow();
        current.as_ref().map(|context| use_home(context.home()))
    });
    used.ok().flatten().unwrap_or_else(|| refuse(what))
}

#[cold]
#[track_caller]
fn refuse(what: &str) -> ! {
    panic!(
        "{what} needs a wakeful runtime, and this thread is in none: call it inside `wakeful::block_on` or a spawned task, \
         or enter a runtime's context with `Handle::enter` first"
    )
}

/// Where a descriptor that must wait on this thread would be registered.
#[cold]
pub(crate) fn place() -> Option<Place> {
    current().map(|context| Place {
        reactors: context.home().shared.reactors.clone(),
        stand: context.worker().map_or(Stand::Elsewhere, Worker::stand),
    })
}

/// Panics where `block_on` would block a thread that drives other futures, or that is ending the very runtime of which it asks
/// for events.
#[track_caller]
pub(crate) fn refuse_nested_block_on(shared: Option<&Arc<Shared>>) {
    let Some(context) = current() else { return };
    assert!(
        !context.drives_a_future(),
        "`block_on` was called inside a future that a wakeful runtime is driving: it would block every task of this thread. \
         Use `.await`, or spawn the future"
    );
    let ends_it = matches!(&*context, Context::Finisher(home) if shared.is_some_and(|shared| Arc::ptr_eq(&home.shared, shared)));
    assert!(
        !ends_it,
        "`block_on` was called by a destructor or a waker on a thread that ends or watches the same wakeful runtime: nothing that \
         it waits for would come"
    );
}

/// Makes `context` the current one until the guard is dropped.
pub(crate) fn enter(context: Rc<Context>) -> Entered {
    Entered {
        before: replace(Some(context)),
    }
}

/// Brings the former context back when it is dropped.
#[derive(Debug)]
pub(crate) struct Entered {
    before: Option<Rc<Context>>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        drop(replace(self.before.take())); // outside the borrow: it may be the last one
    }
}

fn replace(context: Option<Rc<Context>>) -> Option<Rc<Context>> {
    CURRENT.with(|current| mem::replace(&mut **current.borrow_mut(), context))
}

// Emptied by the guards, not by the end of the thread: without a destructor it is there to the last moment, and nobody has to
// ask whether it is. A guard that is forgotten leaks its context.
thread_local! {
    static CURRENT: RefCell<ManuallyDrop<Option<Rc<Context>>>> = const { RefCell::new(ManuallyDrop::new(None)) };
}
