//! The allocation of a task, and the only code that reads it through a pointer.
//!
//! ```text
//!   Task ──► ┌────────────────────────┐  TaskCell<F, S, H>, repr(C), one Box, laid out by the compiler
//!            │ Header                 │  state word, VTable, join waker, what describes the task
//!            │ scheduler: S           │
//!            │ home: H                │  no bytes, or the thread that may touch the future
//!            │ stage: future │ outcome│  a union: the state word says which
//!            └────────────────────────┘
//! ```
//!
//! [`Task`] is one counted reference and does not know the types; the [`VTable`] in the header leads back to the functions
//! that do. The other files of the module use [`Task`] and [`Joiner`] and stay safe.
//!
//! What must hold:
//!
//! * The pointer is the one that the allocation gave, for the whole cell, although its type names only the header. The cell is
//!   lent out shared (what changes in it is atomic or an `UnsafeCell`), and never after the caller's reference is released.
//! * The stage holds the future until COMPLETE is set, then the outcome until it is taken. While RUNNING the stage is the
//!   runner's, which may lend the future to itself only: the future never moves, and is dropped where it stands (W25).
//!   After COMPLETE it is the handle's, or the runner's if `complete` found no handle.
//! * A future that is not `Send`, and an outcome that is not, are touched on the home thread only (W17). The last reference may
//!   go anywhere: elsewhere, an unfinished task of that kind is leaked whole, since memory of a pinned future that was not
//!   dropped must not be used again.
//! * No panic of the future, of its drop, of its output's drop or of a joiner's waker leaves this file; the first becomes the
//!   outcome, and those that have nobody to go to are discarded.
//!
//! The cell is built on the stack and boxed. An optimised build constructs it in place; an unoptimised one copies the future at each
//! call on the way, so one of hundreds of kilobytes has to be boxed by its author (W23).
#![expect(
    unsafe_code,
    reason = "a task is shared by pointer, without its type, and frees itself"
)]

use std::marker::PhantomData;
use std::mem::{self, ManuallyDrop, MaybeUninit};
use std::num::NonZeroU64;
use std::panic::{self, AssertUnwindSafe};
use std::pin::Pin;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};

use super::again::noting;
use super::error::{Failure, Payload};
use super::header::Header;
use super::pinned::PinnedFuture;
use super::runnable::{Ended, Ran, Runnable};
use super::state::{
    Claim, Completed, Detach, EndPoll, JoinWaker, StartRun, State, WakeByRef, WakeByValue,
};
use super::waker::with_waker;
use super::{JoinError, Meta, Schedule};
use crate::util::sync::UnsafeCell;
use crate::util::thread_number;

/// One counted reference to a task.
pub(super) struct Task(NonNull<Header>);

// SAFETY: through a reference one reaches atomics, cells whose owner the state word names, the scheduler (`Send + Sync`), and the
// future and outcome, which `Home` allows here only if they are `Send` or the thread is their own. `Joiner` adds the output's type.
unsafe impl Send for Task {}
// SAFETY: as for `Send`; everything a shared `Task` offers is safe from many threads at once.
unsafe impl Sync for Task {}

impl Task {
    /// A task that may run anywhere: the references of its `TaskRef` and of its `Runnable`, and its handle's.
    pub(super) fn new<F, S>(future: F, scheduler: S, meta: Meta) -> (Self, Self, Joiner<F::Output>)
    where
        F: Future<Output: Send> + Send + 'static,
        S: Schedule,
    {
        TaskCell::allocate(future, scheduler, Anywhere, meta)
    }

    /// The same for a task that runs on this thread only.
    pub(super) fn new_local<F, S>(
        future: F,
        scheduler: S,
        meta: Meta,
    ) -> (Self, Self, Joiner<F::Output>)
    where
        F: Future + 'static,
        S: Schedule,
    {
        TaskCell::allocate(
            future,
            scheduler,
            HomeThread(thread_number::current()),
            meta,
        )
    }

    /// The same for a task that belongs to whichever thread runs or ends it first.
    pub(super) fn new_pinned<C, F, S>(
        future: PinnedFuture<C, F>,
        scheduler: S,
        meta: Meta,
    ) -> (Self, Self, Joiner<F::Output>)
    where
        C: FnOnce() -> F + Send + 'static,
        F: Future<Output: Send> + 'static,
        S: Schedule,
    {
        TaskCell::allocate(future, scheduler, FirstThread(AtomicU64::new(0)), meta)
    }

    #[inline]
    pub(super) fn header(&self) -> &Header {
        // SAFETY: this reference keeps the task alive.
        unsafe { self.0.as_ref() }
    }

    #[inline]
    pub(super) fn as_ptr(&self) -> NonNull<Header> {
        self.0
    }

    /// The pointer, together with the reference.
    #[inline]
    pub(super) fn into_raw(self) -> NonNull<Header> {
        ManuallyDrop::new(self).0
    }

    /// Makes a pointer a reference again.
    ///
    /// # Safety
    ///
    /// * `task` comes from [`as_ptr`](Self::as_ptr) or [`into_raw`](Self::into_raw), and the task is alive.
    /// * One reference passes from the caller to the result.
    #[inline]
    pub(super) unsafe fn from_raw(task: NonNull<Header>) -> Self {
        Self(task)
    }

    /// Runs the task, of whose `Runnable` this is the reference.
    #[inline]
    pub(super) fn run(self, now_ms: u32) -> Ran {
        let run = self.header().vtable.run;
        // SAFETY: the table is the task's own.
        unsafe { run(self, now_ms) }
    }

    /// Drops the future, or has it dropped.
    pub(super) fn shutdown(&self) {
        // SAFETY: the table is the task's own.
        unsafe { (self.header().vtable.shutdown)(self) }
    }

    /// Wakes the task with a waker's reference.
    #[inline]
    pub(super) fn wake(self) {
        let wake = self.header().vtable.wake;
        // SAFETY: the table is the task's own.
        unsafe { wake(self) }
    }

    /// Wakes the task and keeps the reference.
    #[inline]
    pub(super) fn wake_by_ref(&self) {
        self.follow(self.state().wake_by_ref());
    }

    /// Has the future dropped by whoever runs the task next.
    pub(super) fn abort(&self) {
        self.follow(self.state().abort());
    }

    fn follow(&self, verdict: WakeByRef) {
        if verdict == WakeByRef::Submit {
            // SAFETY: the transition has counted a reference, which passes to this value.
            let runnable = Runnable(unsafe { Self::from_raw(self.0) });
            // SAFETY: the table is the task's own.
            unsafe { (self.header().vtable.schedule)(self, runnable) }
        }
    }

    #[inline]
    fn state(&self) -> &State {
        &self.header().state
    }

    /// Drops two references at once, which costs no more than to drop one.
    #[inline]
    pub(super) fn drop_both(self, other: Self) {
        debug_assert_eq!(self.0, other.0, "two references to one task");
        if self.0 != other.0 {
            return;
        }
        if self.state().release_references(2) {
            // SAFETY: the state word says that these two were the last references.
            unsafe { self.free() }
        } else {
            self.released();
        }
        other.released();
    }

    /// Forgets a reference that a transition has already released.
    #[inline]
    fn released(self) {
        mem::forget(self);
    }

    /// Frees the task whose last reference, this one, a transition has already released.
    ///
    /// # Safety
    ///
    /// The caller was told by the state word that this was the last reference.
    #[cold]
    unsafe fn free(self) {
        let free = self.header().vtable.free;
        // SAFETY: the table is the task's own, and the rest is the caller's demand.
        unsafe { free(self.into_raw()) }
    }

    /// Takes the join waker out of its cell.
    ///
    /// # Safety
    ///
    /// The cell is the caller's: see JOIN_WAKER.
    unsafe fn take_join_waker(&self) -> Option<Waker> {
        // SAFETY: the cell is the caller's, so nobody else looks at it during the access.
        self.header()
            .join_waker
            .with_mut(|waker| unsafe { (*waker).take() })
    }
}

impl Clone for Task {
    #[inline]
    fn clone(&self) -> Self {
        self.state().add_reference();
        Self(self.0)
    }
}

impl Drop for Task {
    #[inline]
    fn drop(&mut self) {
        if self.state().release_references(1) {
            // SAFETY: the state word says that this was the last reference; the copy made here is the one that `free` forgets.
            unsafe { Self(self.0).free() }
        }
    }
}

impl Runnable {
    /// Makes a pointer a `Runnable` again.
    ///
    /// # Safety
    ///
    /// * `task` comes from [`Runnable::into_raw`].
    /// * It is used this once only.
    #[inline]
    pub(crate) unsafe fn from_raw(task: NonNull<Header>) -> Self {
        // SAFETY: `into_raw` kept the reference counted, and by the caller's demand it passes to this value alone.
        Self(unsafe { Task::from_raw(task) })
    }
}

/// A handle's reference: the right to the outcome, and for as long as JOIN_WAKER is clear, to the join waker's cell.
pub(super) struct Joiner<T> {
    task: ManuallyDrop<Task>,
    /// Whether the outcome has been returned.
    taken: bool,
    output: PhantomData<T>,
}

// SAFETY: a shared `Joiner` gives nobody the output, which only `poll` takes, with the joiner borrowed mutably.
unsafe impl<T: Send> Sync for Joiner<T> {}

impl<T> Joiner<T> {
    #[inline]
    pub(super) fn task(&self) -> &Task {
        &self.task
    }

    /// Returns the outcome, or has the waker of `cx`, and no other, woken when it is there.
    ///
    /// A panic of that waker's `clone` goes to the caller, who brought it; the next poll finds everything in order.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, JoinError>> {
        assert!(
            !self.taken,
            "a JoinHandle was polled after it had returned the task's result"
        );
        if !self.task.state().is_complete() && self.register(cx.waker()) == JoinWaker::Changed {
            return Poll::Pending;
        }
        // SAFETY: the task is COMPLETE, and the outcome was not taken before: asserted above.
        let outcome = unsafe { self.take_outcome() };
        Poll::Ready(outcome.map_err(|failure| JoinError::new(self.task.header(), failure)))
    }

    /// Puts `waker` into the cell: reclaims it, fills it, gives it away again.
    fn register(&self, waker: &Waker) -> JoinWaker {
        let state = self.task.state();
        if state.reclaim_join_waker() == JoinWaker::Complete {
            return JoinWaker::Complete;
        }
        // SAFETY: the cell was just reclaimed.
        let old = unsafe { self.task.take_join_waker() };
        let (new, replaced) = match old {
            Some(old) if old.will_wake(waker) => (old, None),
            old => (waker.clone(), old),
        };
        // SAFETY: the cell is still the handle's.
        self.task
            .header()
            .join_waker
            .with_mut(|cell| unsafe { *cell = Some(new) });
        let given = state.give_join_waker();
        if given == JoinWaker::Complete {
            // SAFETY: the cell was not given away, and the completer has not asked for it.
            discard(unsafe { self.task.take_join_waker() });
        }
        discard(replaced);
        given
    }

    /// # Safety
    ///
    /// The task is COMPLETE and the outcome has not been taken.
    unsafe fn take_outcome(&mut self) -> Result<T, Failure> {
        let mut outcome = MaybeUninit::<Result<T, Failure>>::uninit();
        self.taken = true;
        // SAFETY: the table is the task's own; `T` is the output of its future, for `allocate` made this joiner; the outcome is
        // there, and the handle's, since `complete` found JOIN_INTEREST set. It is written before it is read.
        unsafe {
            (self.task.header().vtable.take_outcome)(
                &self.task,
                NonNull::from(&mut outcome).cast(),
            );
            outcome.assume_init()
        }
    }
}

impl<T> Drop for Joiner<T> {
    fn drop(&mut self) {
        match self.task.state().detach() {
            // SAFETY: not used again; the reference is released.
            Detach::Done => unsafe { ManuallyDrop::take(&mut self.task) }.released(),
            // SAFETY: not used again; the state word says it was the last reference.
            Detach::Last => unsafe { ManuallyDrop::take(&mut self.task).free() },
            Detach::DropWaker => {
                // SAFETY: `detach` reclaimed the cell.
                discard(unsafe { self.task.take_join_waker() });
                // SAFETY: not used again; the reference is still counted.
                unsafe { ManuallyDrop::drop(&mut self.task) }
            }
            Detach::DropOutcome => {
                if !self.taken {
                    // SAFETY: the task is COMPLETE, and the outcome was not taken.
                    discard(unsafe { self.take_outcome() });
                }
                // SAFETY: not used again; the reference is still counted.
                unsafe { ManuallyDrop::drop(&mut self.task) }
            }
        }
    }
}

/// A task that is due, with its scheduler of type `S`.
///
/// Once the `Runnable` is out of one's hands, another thread may run the task to its end and free the scheduler with it; so
/// the scheduler is lent for only as long as this holds the `Runnable`.
pub(crate) struct Due<S> {
    runnable: Runnable,
    /// In the task of `runnable`.
    scheduler: NonNull<S>,
}

impl<S: Schedule> Due<S> {
    #[inline]
    pub(crate) fn scheduler(&self) -> &S {
        // SAFETY: it is in the task that `runnable` keeps alive, and is not changed.
        unsafe { self.scheduler.as_ref() }
    }

    #[inline]
    pub(crate) fn into_runnable(self) -> Runnable {
        self.runnable
    }

    /// Gives the `Runnable` to `schedule`, and keeps the scheduler alive until that returns.
    pub(crate) fn hold(self, schedule: impl FnOnce(&S, Runnable)) {
        let held = Self {
            runnable: Runnable(self.runnable.0.clone()),
            scheduler: self.scheduler,
        };
        schedule(held.scheduler(), self.runnable);
    }
}

/// The functions of a task that know its types. Each demands that the task is one of `TaskCell<F, S, H>` with its types.
pub(super) struct VTable {
    run: unsafe fn(Task, now_ms: u32) -> Ran,
    shutdown: unsafe fn(&Task),
    wake: unsafe fn(Task),
    schedule: unsafe fn(&Task, Runnable),
    /// Writes a `Result<F::Output, Failure>`. Demands also that the task is COMPLETE, that the caller owns the outcome, which
    /// was not taken before, and that the second argument points to memory for it.
    take_outcome: unsafe fn(&Task, NonNull<()>),
    /// Demands also that no reference is left.
    free: unsafe fn(NonNull<Header>),
}

/// A task as it lies in memory. The header is first: a pointer to the cell is a pointer to it.
#[repr(C)]
pub(super) struct TaskCell<F: Future, S, H> {
    header: Header,
    scheduler: S,
    home: H,
    stage: UnsafeCell<Stage<F>>,
}

/// What a task leaves behind; the handle makes a [`JoinError`] of a failure.
type Outcome<F> = Result<<F as Future>::Output, Failure>;

union Stage<F: Future> {
    future: ManuallyDrop<F>,
    outcome: ManuallyDrop<Outcome<F>>,
}

impl<F, S, H> TaskCell<F, S, H>
where
    F: Future + 'static,
    S: Schedule,
    H: Home<F>,
{
    const VTABLE: VTable = VTable {
        run: Self::run,
        shutdown: Self::shutdown,
        wake: Self::wake,
        schedule: Self::schedule,
        take_outcome: Self::take_outcome,
        free: Self::free,
    };

    /// The three references that [`State::new`] counts.
    fn allocate(future: F, scheduler: S, home: H, meta: Meta) -> (Task, Task, Joiner<F::Output>) {
        let cell = Box::new(Self {
            header: Header::new(&Self::VTABLE, meta),
            scheduler,
            home,
            stage: UnsafeCell::new(Stage {
                future: ManuallyDrop::new(future),
            }),
        });
        let task = NonNull::from(Box::leak(cell)).cast::<Header>();
        let joiner = Joiner {
            task: ManuallyDrop::new(Task(task)),
            taken: false,
            output: PhantomData,
        };
        (Task(task), Task(task), joiner)
    }

    /// # Safety
    ///
    /// `task` is one of these types, and a reference outlives the result.
    #[inline]
    unsafe fn of<'a>(task: NonNull<Header>) -> &'a Self {
        // SAFETY: the pointer has the provenance of the whole cell, whose first field the header is; the rest is the caller's.
        unsafe { task.cast().as_ref() }
    }

    /// # Safety
    ///
    /// See [`VTable`].
    unsafe fn run(task: Task, now_ms: u32) -> Ran {
        // SAFETY: the types are the caller's; `task` is released only when `cell` is no longer used.
        let cell = unsafe { Self::of(task.0) };
        if !cell.home.is_here() {
            // A stale Runnable may come to its end anywhere; so may one that a shutdown elsewhere is about to make stale, for
            // who but a shutdown can have decided on the home of a task that never ran?
            let id = cell.header.id();
            let stale =
                cell.header.state.is_taken() || (H::DECIDED_LATE && cell.header.polls_count() == 0);
            assert!(
                stale,
                "task {id} is not Send and was run away from its thread"
            );
            return Ran::Idle;
        }
        let outcome = match cell.header.state.start_run() {
            StartRun::Stale => return Ran::Idle,
            StartRun::Cancel => Err(Failure::Cancelled),
            StartRun::Poll => {
                cell.header.note_poll(now_ms);
                let (polled, again) = noting(cell.header.address(), || {
                    // SAFETY: `start_run` made the task RUNNING in our name, and this is its home.
                    unsafe { cell.poll(&task) }
                });
                match polled {
                    Poll::Ready(outcome) => outcome,
                    Poll::Pending => match cell.header.state.end_poll(again) {
                        EndPoll::Idle => {
                            task.released();
                            return Ran::Idle;
                        }
                        EndPoll::Last => {
                            // SAFETY: the state word says that it was the last reference.
                            unsafe { task.free() };
                            return Ran::Idle;
                        }
                        EndPoll::Again => return Ran::Again(Runnable(task)),
                        EndPoll::Cancel => Err(Failure::Cancelled),
                    },
                }
            }
        };
        // SAFETY: the task is RUNNING in our name, and this is its home.
        unsafe { cell.finish(outcome) };
        Ran::Complete(Ended(task))
    }

    /// # Safety
    ///
    /// See [`VTable`].
    unsafe fn shutdown(task: &Task) {
        // SAFETY: the types are the caller's, who holds a reference.
        let cell = unsafe { Self::of(task.0) };
        if !cell.home.is_here() {
            return task.abort();
        }
        if cell.header.state.claim() == Claim::Claimed {
            // SAFETY: `claim` made the task RUNNING in our name, and this is its home.
            unsafe { cell.finish(Err(Failure::Cancelled)) }
        }
    }

    /// # Safety
    ///
    /// See [`VTable`].
    unsafe fn wake(task: Task) {
        // SAFETY: the types are the caller's; `task` is released only when `cell` is no longer used.
        let cell = unsafe { Self::of(task.0) };
        match cell.header.state.wake_by_value() {
            WakeByValue::Submit => S::schedule_due(Due {
                runnable: Runnable(task),
                scheduler: NonNull::from(&cell.scheduler),
            }),
            WakeByValue::Done => task.released(),
            // SAFETY: the state word says that it was the last reference.
            WakeByValue::Last => unsafe { task.free() },
        }
    }

    /// # Safety
    ///
    /// See [`VTable`].
    unsafe fn schedule(task: &Task, runnable: Runnable) {
        // SAFETY: the types are the caller's, whose reference outlives the call, whatever becomes of the Runnable.
        unsafe { Self::of(task.0) }.scheduler.schedule(runnable);
    }

    /// # Safety
    ///
    /// See [`VTable`].
    unsafe fn take_outcome(task: &Task, to: NonNull<()>) {
        // SAFETY: the types are the caller's, who holds a reference.
        let cell = unsafe { Self::of(task.0) };
        // SAFETY: the outcome is there and the caller's, and `to` has room for it: the caller's demands.
        unsafe { to.cast::<Outcome<F>>().write(cell.take()) }
    }

    /// # Safety
    ///
    /// See [`VTable`].
    unsafe fn free(task: NonNull<Header>) {
        // SAFETY: the types are the caller's; no reference is left, so nobody frees the task before we do.
        let cell = unsafe { Self::of(task) };
        if !cell.header.state.is_complete() {
            if !cell.home.is_here() {
                return;
            }
            // SAFETY: not COMPLETE, so the future is in place; no reference is left, so it is nobody else's; this is its home.
            if let Err(payload) = unsafe { cell.drop_future() } {
                discard(payload);
            }
        }
        // For the models: every access to the cells came before this.
        cell.stage.with_mut(|_| ());
        cell.header.join_waker.with_mut(|_| ());
        // SAFETY: the pointer is that of the Box, and `cell` is not used again. The stage holds nothing that needs a drop: the
        // future was dropped, and an outcome is taken by the handle, or by `finish` if there is none, before their references go.
        drop(unsafe { Box::from_raw(task.cast::<Self>().as_ptr()) });
    }

    /// # Safety
    ///
    /// The task is RUNNING in the caller's name, and this is its home.
    #[inline]
    unsafe fn poll(&self, task: &Task) -> Poll<Outcome<F>> {
        let polled = self.stage.with_mut(|stage| {
            // SAFETY: RUNNING: the future is in place and the caller's alone.
            let future: &mut ManuallyDrop<F> = unsafe { &mut (*stage).future };
            // SAFETY: the cell never moves, and the future is dropped where it stands.
            let future = unsafe { Pin::new_unchecked(&mut **future) };
            with_waker(task, |waker| {
                contain(|| future.poll(&mut Context::from_waker(waker)))
            })
        });
        match polled {
            Ok(polled) => polled.map(Ok),
            Err(payload) => Poll::Ready(Err(Failure::Panicked(payload))),
        }
    }

    /// Drops the future, leaves the outcome in its place, and tells the handle.
    ///
    /// If the future panics as it is dropped, that is the outcome, whatever the poll returned, unless it was a panic already.
    ///
    /// # Safety
    ///
    /// The task is RUNNING in the caller's name, and this is its home.
    unsafe fn finish(&self, outcome: Outcome<F>) {
        // SAFETY: RUNNING: the future is in place and the caller's alone.
        let outcome = match (unsafe { self.drop_future() }, outcome) {
            (Ok(()), outcome) => outcome,
            (Err(later), Err(Failure::Panicked(first))) => {
                discard(later);
                Err(Failure::Panicked(first))
            }
            (Err(payload), unseen) => {
                discard(unseen);
                Err(Failure::Panicked(payload))
            }
        };
        // SAFETY: the stage is still the caller's; the future in it is gone.
        self.stage.with_mut(|stage| unsafe {
            stage.write(Stage {
                outcome: ManuallyDrop::new(outcome),
            })
        });
        match self.header.state.complete() {
            // SAFETY: without a handle the outcome stays the caller's, and this is its home.
            Completed::Unobserved => discard(unsafe { self.take() }),
            Completed::Observed => {}
            Completed::Awaited => {
                // SAFETY: JOIN_WAKER was set at completion, so the cell is the completer's.
                let waker = self
                    .header
                    .join_waker
                    .with_mut(|waker| unsafe { (*waker).take() });
                let waker = waker.expect("JOIN_WAKER was set over an empty cell");
                if let Err(payload) = contain(|| waker.wake()) {
                    discard(payload);
                }
            }
        }
    }

    /// Drops the future in place and returns its panic, if it does.
    ///
    /// # Safety
    ///
    /// The future is in the stage, is the caller's, and is never touched again; this is its home.
    unsafe fn drop_future(&self) -> Result<(), Payload> {
        // SAFETY: the caller's demands.
        self.stage
            .with_mut(|stage| contain(|| unsafe { ManuallyDrop::drop(&mut (*stage).future) }))
    }

    /// Moves the outcome out.
    ///
    /// # Safety
    ///
    /// The outcome is in the stage, is the caller's, and is never touched again.
    unsafe fn take(&self) -> Outcome<F> {
        // SAFETY: the caller's demands.
        self.stage
            .with_mut(|stage| unsafe { ManuallyDrop::take(&mut (*stage).outcome) })
    }
}

/// Where the future `F` may be polled and dropped.
pub(super) trait Home<F> {
    /// Whether the first to ask decides, and not the spawner.
    const DECIDED_LATE: bool = false;

    /// Whether this thread may touch the future when it is its turn.
    fn is_here(&self) -> bool;
}

/// On every thread.
pub(super) struct Anywhere;

impl<F: Future<Output: Send> + Send> Home<F> for Anywhere {
    #[inline]
    fn is_here(&self) -> bool {
        true
    }
}

/// On the thread with this number.
pub(super) struct HomeThread(NonZeroU64);

impl<F> Home<F> for HomeThread {
    #[inline]
    fn is_here(&self) -> bool {
        self.0 == thread_number::current()
    }
}

/// On the thread with the number inside; as long as that is 0, on any, and the first to ask becomes that one.
pub(super) struct FirstThread(AtomicU64);

/// Until its first poll there is only the closure, which is `Send`.
impl<C: Send, F> Home<PinnedFuture<C, F>> for FirstThread
where
    PinnedFuture<C, F>: Future<Output: Send>,
{
    const DECIDED_LATE: bool = true;

    fn is_here(&self) -> bool {
        let here = thread_number::current().get();
        // Relaxed: whoever touches the future afterwards is ordered by the state word.
        match self.0.compare_exchange(0, here, Relaxed, Relaxed) {
            Ok(_) => true,
            Err(home) => home == here,
        }
    }
}

/// Runs foreign code and catches its panic. What the panic may have left half done is not used again, or is the foreign code's
/// own concern.
#[inline]
fn contain<R>(foreign: impl FnOnce() -> R) -> Result<R, Payload> {
    panic::catch_unwind(AssertUnwindSafe(foreign))
}

/// Drops a value of foreign type, and swallows its panic. A payload that panics in turn as it is dropped is leaked.
fn discard<T>(value: T) {
    if let Err(payload) = contain(|| drop(value))
        && let Err(worse) = contain(|| drop(payload))
    {
        mem::forget(worse);
    }
}
