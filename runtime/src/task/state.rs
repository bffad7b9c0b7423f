//! The one atomic word of a task: six flags and the number of references.
//!
//! ```text
//!   63 … 6            5           4              3          2         1        0
//!   references   JOIN_WAKER   JOIN_INTEREST   CANCELLED   COMPLETE   RUNNING   SCHEDULED
//! ```
//!
//! The life of a task, by the flags that decide who may touch its future:
//!
//! ```text
//!                         wake, abort
//!              ┌──────────────────────────────┐
//!              │                              ▼
//!             idle ◄── end_poll: Idle ──┐  SCHEDULED ◄── spawned here
//!              │                        │     │    ▲
//!              │ claim                  │     │ start_run
//!              │ (shutdown)             │     ▼    │ end_poll: Again
//!              └───────────────────────► RUNNING ──┘
//!                                           │
//!                                           │ complete          (claim also takes SCHEDULED to RUNNING, and
//!                                           ▼                    leaves SCHEDULED set beside it)
//!                                        COMPLETE
//! ```
//!
//! What must hold:
//!
//! * RUNNING belongs to one thread. It alone touches the future, and it leaves by [`State::end_poll`] or [`State::complete`].
//! * There is at most one `Runnable` per task: the one who sets SCHEDULED on a task that is not RUNNING makes it, and
//!   `start_run` clears the flag as it takes it. A task that is woken while RUNNING gets its `Runnable` back from `end_poll`,
//!   which also sets the flag for a poll that has [asked for another](super::again).
//! * COMPLETE is final. The outcome was written before it, and belongs to the `JoinHandle` from then on.
//! * Every wake of a task that is not COMPLETE writes the word, also one that changes no flag: the poll it relies on begins by
//!   reading that write, and so sees everything that happened before the wake. (A wake that only looked would let the
//!   processor delay the waker's own stores past the poll.)
//! * The last reference is gone only once, and whoever is told so frees the task.
//!
//! Each transition is one compare-and-swap loop or one fetch operation, and says what the caller has to do.
//! Orderings: [`AcqRel`] for all that hand the future, the outcome or the join waker from thread to thread; exceptions carry
//! their reason.

use std::process;

use crate::util::sync::atomic::AtomicUsize;
use crate::util::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

/// The word. See the module for its states.
#[derive(Debug)]
pub(super) struct State(AtomicUsize);

/// Where a task is in its life.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It waits to be woken.
    Idle,
    /// It is due.
    Queued,
    /// Somebody polls or drops the future.
    Running,
    /// The future is gone.
    Complete,
}

/// What to do with a `Runnable` that wants to run.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum StartRun {
    /// Poll the future.
    Poll,
    /// The task was aborted: drop the future and complete.
    Cancel,
    /// A shutdown has claimed the task: release the reference.
    Stale,
}

/// What to do after a poll that returned `Pending`.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum EndPoll {
    /// The task waits; the runner's reference is released.
    Idle,
    /// As `Idle`, and that was the last reference: free the task.
    Last,
    /// The task was woken meanwhile: the runner's reference is a `Runnable` again.
    Again,
    /// The task was aborted meanwhile, and is still RUNNING: drop the future and complete.
    Cancel,
}

/// What to do with a finished task's outcome.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Completed {
    /// The handle is gone: drop the outcome.
    Unobserved,
    /// The handle will find the outcome when it looks.
    Observed,
    /// The handle waits: the join waker is the caller's, to take and to wake.
    Awaited,
}

/// Whether a shutdown may drop the future.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// The task is RUNNING in the caller's name: drop the future and complete.
    Claimed,
    /// Nothing is left to do: the task is COMPLETE, or its runner has been told.
    Left,
}

/// What to do after a wake that used up its reference.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum WakeByValue {
    /// The waker's reference is now a `Runnable`: schedule it.
    Submit,
    /// The reference is released.
    Done,
    /// As `Done`, and that was the last reference: free the task.
    Last,
}

/// What to do after a wake, or an abort, that keeps its own reference.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum WakeByRef {
    /// A reference was added for a `Runnable`: schedule it.
    Submit,
    /// Nothing.
    Done,
}

/// Whether the join waker's cell could change hands.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum JoinWaker {
    /// It did.
    Changed,
    /// It did not: the task is COMPLETE, and the outcome is there to take.
    Complete,
}

/// What to do as the `JoinHandle` goes away.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Detach {
    /// The handle's reference is released.
    Done,
    /// As `Done`, and that was the last reference: free the task.
    Last,
    /// Empty the join waker's cell, then release the reference.
    DropWaker,
    /// Drop the outcome, if it was not taken, then release the reference.
    DropOutcome,
}

impl State {
    /// A task that was just spawned: scheduled, with a handle, and one reference each for the `Runnable`, the `JoinHandle` and
    /// the registry's `TaskRef`.
    pub(super) fn new() -> Self {
        Self(AtomicUsize::new(SCHEDULED | JOIN_INTEREST | (3 * REF_ONE)))
    }

    /// Whether the outcome is there. [`Acquire`]: to read it.
    #[inline]
    pub(super) fn is_complete(&self) -> bool {
        self.0.load(Acquire) & COMPLETE != 0
    }

    /// Whether someone runs the task or has finished it, so that a `Runnable` of it is stale. [`Relaxed`]: nothing is read for it.
    pub(super) fn is_taken(&self) -> bool {
        self.0.load(Relaxed) & (RUNNING | COMPLETE) != 0
    }

    /// What the task does at this moment. [`Relaxed`]: for people to know.
    pub(super) fn phase(&self) -> Phase {
        match self.0.load(Relaxed) {
            word if word & COMPLETE != 0 => Phase::Complete,
            word if word & RUNNING != 0 => Phase::Running,
            word if word & SCHEDULED != 0 => Phase::Queued,
            _ => Phase::Idle,
        }
    }

    // For the one who runs the task.

    /// A `Runnable` wants to run.
    #[inline]
    pub(super) fn start_run(&self) -> StartRun {
        // Nearly always this, and with nothing else to tell apart it is a sum and a compare-and-swap.
        let started = self.move_while(
            |word| word & (RUNNING | COMPLETE | CANCELLED) == 0,
            |word| {
                debug_assert!(
                    word & SCHEDULED != 0,
                    "a Runnable of a task that is not scheduled: {word:#b}"
                );
                word - SCHEDULED + RUNNING
            },
        );
        match started {
            Some(_) => StartRun::Poll,
            None if self.start_cancelled() => StartRun::Cancel,
            None => StartRun::Stale,
        }
    }

    /// The task was aborted, or is taken: neither is ever undone. Whether it is the former.
    #[cold]
    fn start_cancelled(&self) -> bool {
        self.update(|word| match word & (RUNNING | COMPLETE) {
            0 => (true, Some((word & !SCHEDULED) | RUNNING)),
            _ => (false, None),
        })
    }

    /// The poll returned `Pending`, and has asked to run `again` or not.
    #[inline]
    pub(super) fn end_poll(&self, again: bool) -> EndPoll {
        if !again
            && let Some(waits) = self.move_while(
                |word| word & (SCHEDULED | CANCELLED) == 0,
                |word| {
                    debug_assert!(
                        word & RUNNING != 0 && word & COMPLETE == 0,
                        "end of a poll that never began: {word:#b}"
                    );
                    word - RUNNING - REF_ONE
                },
            )
        {
            return match waits < REF_ONE {
                false => EndPoll::Idle,
                true => EndPoll::Last,
            };
        }
        self.end_poll_again()
    }

    /// The task is to run again, or was aborted.
    #[inline(never)]
    fn end_poll_again(&self) -> EndPoll {
        self.update(|word| {
            debug_assert!(
                word & RUNNING != 0 && word & COMPLETE == 0,
                "end of a poll that never began: {word:#b}"
            );
            match word & CANCELLED {
                0 => (EndPoll::Again, Some((word | SCHEDULED) & !RUNNING)),
                _ => (EndPoll::Cancel, None),
            }
        })
    }

    /// The future has been dropped and the outcome written.
    #[inline]
    pub(super) fn complete(&self) -> Completed {
        let word = self.rmw().fetch_xor(RUNNING | COMPLETE, AcqRel);
        assert!(
            word & RUNNING != 0 && word & COMPLETE == 0,
            "completed out of turn: {word:#b}"
        );
        match word & (JOIN_INTEREST | JOIN_WAKER) {
            0 => Completed::Unobserved,
            JOIN_INTEREST => Completed::Observed,
            _ => Completed::Awaited,
        }
    }

    /// The runtime shuts down and wants the future dropped, whether or not the task is SCHEDULED.
    pub(super) fn claim(&self) -> Claim {
        self.update(|word| {
            if word & COMPLETE != 0 {
                (Claim::Left, None)
            } else if word & RUNNING != 0 {
                (Claim::Left, Some(word | CANCELLED))
            } else {
                (Claim::Claimed, Some(word | RUNNING | CANCELLED))
            }
        })
    }

    // For wakers and aborts.

    /// A waker is used up.
    #[inline]
    pub(super) fn wake_by_value(&self) -> WakeByValue {
        self.update(|word| {
            if word & (SCHEDULED | RUNNING | COMPLETE) == 0 {
                return (WakeByValue::Submit, Some(word | SCHEDULED));
            }
            let woken = if word & COMPLETE == 0 {
                word | SCHEDULED
            } else {
                word
            };
            let next = woken - REF_ONE;
            (
                if next < REF_ONE {
                    WakeByValue::Last
                } else {
                    WakeByValue::Done
                },
                Some(next),
            )
        })
    }

    /// A waker is used and stays.
    #[inline]
    pub(super) fn wake_by_ref(&self) -> WakeByRef {
        self.update(|word| {
            if word & COMPLETE != 0 {
                (WakeByRef::Done, None)
            } else if word & (SCHEDULED | RUNNING) != 0 {
                (WakeByRef::Done, Some(word | SCHEDULED))
            } else {
                (WakeByRef::Submit, Some(one_more(word) | SCHEDULED))
            }
        })
    }

    /// The task is to be cancelled by whoever runs it next; an idle one is scheduled for that.
    pub(super) fn abort(&self) -> WakeByRef {
        self.update(|word| {
            if word & COMPLETE != 0 {
                (WakeByRef::Done, None)
            } else if word & (SCHEDULED | RUNNING) != 0 {
                (WakeByRef::Done, Some(word | CANCELLED))
            } else {
                (
                    WakeByRef::Submit,
                    Some(one_more(word) | SCHEDULED | CANCELLED),
                )
            }
        })
    }

    // For the JoinHandle.

    /// The handle has put a waker into the cell and gives the cell away.
    pub(super) fn give_join_waker(&self) -> JoinWaker {
        self.update(|word| {
            debug_assert!(
                word & JOIN_INTEREST != 0 && word & JOIN_WAKER == 0,
                "not the handle's: {word:#b}"
            );
            if word & COMPLETE != 0 {
                (JoinWaker::Complete, None)
            } else {
                (JoinWaker::Changed, Some(word | JOIN_WAKER))
            }
        })
    }

    /// The handle wants the cell back, which may be its own already.
    pub(super) fn reclaim_join_waker(&self) -> JoinWaker {
        self.update(|word| {
            debug_assert!(
                word & JOIN_INTEREST != 0,
                "reclaimed without a handle: {word:#b}"
            );
            if word & COMPLETE != 0 {
                (JoinWaker::Complete, None)
            } else if word & JOIN_WAKER == 0 {
                (JoinWaker::Changed, None)
            } else {
                (JoinWaker::Changed, Some(word & !JOIN_WAKER))
            }
        })
    }

    /// The handle is dropped.
    pub(super) fn detach(&self) -> Detach {
        self.update(|word| {
            debug_assert!(word & JOIN_INTEREST != 0, "detached twice: {word:#b}");
            if word & COMPLETE != 0 {
                (Detach::DropOutcome, None)
            } else if word & JOIN_WAKER != 0 {
                (
                    Detach::DropWaker,
                    Some(word & !(JOIN_INTEREST | JOIN_WAKER)),
                )
            } else {
                let next = (word & !JOIN_INTEREST) - REF_ONE;
                (
                    if next < REF_ONE {
                        Detach::Last
                    } else {
                        Detach::Done
                    },
                    Some(next),
                )
            }
        })
    }

    // For every holder of a reference.

    /// Adds a reference. [`Relaxed`]: whoever adds one has one.
    #[inline]
    pub(super) fn add_reference(&self) {
        one_more(self.rmw().fetch_add(REF_ONE, Relaxed));
    }

    /// Releases `count` references of the caller's; `true` if they were the last, and the task is the caller's to free.
    ///
    /// If there are no others, nobody can add one or look at the word again, and it need not be written. [`Acquire`]: what
    /// came before the others were released.
    #[inline]
    #[must_use]
    pub(super) fn release_references(&self, count: usize) -> bool {
        if self.0.load(Acquire) < (count + 1) * REF_ONE {
            return true;
        }
        let word = self.rmw().fetch_sub(count * REF_ONE, AcqRel);
        debug_assert!(
            word >= count * REF_ONE,
            "released more often than held: {word:#b}"
        );
        word < (count + 1) * REF_ONE
    }

    /// Moves the word to what `next` makes of it, if anything, and returns the verdict that belongs to that move.
    ///
    /// `next` is asked for the verdict when the move is made: a verdict that is carried through the loop beside the new word
    /// costs a poll seven instructions more.
    #[inline]
    fn update<R>(&self, next: impl Fn(usize) -> (R, Option<usize>)) -> R {
        let mut word = self.0.load(Acquire);
        while let (_, Some(new)) = next(word) {
            match self.rmw().compare_exchange_weak(word, new, AcqRel, Acquire) {
                Ok(_) => break,
                Err(seen) => word = seen,
            }
        }
        next(word).0
    }

    /// Changes the word for as long as it `may` be, and returns the new one, or `None` if it may not.
    #[inline]
    fn move_while(
        &self,
        may: impl Fn(usize) -> bool,
        next: impl Fn(usize) -> usize,
    ) -> Option<usize> {
        let mut word = self.0.load(Acquire);
        while may(word) {
            let new = next(word);
            match self.rmw().compare_exchange_weak(word, new, AcqRel, Acquire) {
                Ok(_) => return Some(new),
                Err(seen) => word = seen,
            }
        }
        None
    }

    /// The word, for one read-modify-write: tests count them.
    #[inline]
    fn rmw(&self) -> &AtomicUsize {
        #[cfg(all(test, not(loom)))]
        tests::RMW_COUNT.set(tests::RMW_COUNT.get() + 1);
        &self.0
    }
}

/// `word` with another reference. A program that forgets wakers in a loop would in the end free a task that is in use; it is
/// stopped long before.
#[inline]
fn one_more(word: usize) -> usize {
    if word > isize::MAX as usize {
        process::abort();
    }
    word + REF_ONE
}

/// A `Runnable` exists or, beside RUNNING, is wanted. Set at spawn, by wakes and by abort; cleared by `start_run`. Not set by
/// anyone once COMPLETE, but may be left over from before.
const SCHEDULED: usize = 1 << 0;

/// Someone owns the future. Set by `start_run` and `claim`, cleared by `end_poll` and `complete`. Never together with COMPLETE.
const RUNNING: usize = 1 << 1;

/// The future is gone and the outcome written. Set by `complete`; never cleared.
const COMPLETE: usize = 1 << 2;

/// The future is to be dropped, not polled. Set by `abort` and `claim`, never cleared. Not set by anyone once COMPLETE. An idle
/// task never has it: whoever sets it makes the task SCHEDULED or RUNNING.
const CANCELLED: usize = 1 << 3;

/// The `JoinHandle` exists. Set at spawn, cleared by `detach` unless COMPLETE, after which nobody reads it.
const JOIN_INTEREST: usize = 1 << 4;

/// The join waker's cell holds a waker and belongs to whoever completes the task; while clear, the cell belongs to the
/// `JoinHandle`. Set by `give_join_waker`, cleared by `reclaim_join_waker` and `detach`; none of them changes it once COMPLETE.
/// Never set without JOIN_INTEREST.
const JOIN_WAKER: usize = 1 << 5;

/// One reference, in the bits above the flags.
const REF_ONE: usize = 1 << 6;

#[cfg(all(test, not(loom)))]
pub(super) mod tests {
    use std::cell::Cell;
    use std::process::Command;
    use std::{env, os::unix::process::ExitStatusExt};

    use super::*;

    thread_local! {
        /// Read-modify-writes of state words by this thread so far.
        pub(in crate::task) static RMW_COUNT: Cell<u32> = const { Cell::new(0) };
    }

    #[test]
    fn w20_too_many_references_abort_the_process() {
        const INNER: &str = "WAKEFUL_TEST_OVERFLOW";
        const SIGABRT: i32 = 6; // signal(7)
        if let Ok(how) = env::var(INNER) {
            let state = State(AtomicUsize::new(isize::MAX as usize + 1));
            match how.as_str() {
                "clone" => state.add_reference(),
                _ => drop(state.wake_by_ref()),
            }
            return;
        }
        let path = module_path!().split_once("::").unwrap().1;
        let name = format!("{path}::w20_too_many_references_abort_the_process");
        for how in ["clone", "wake"] {
            let status = Command::new(env::current_exe().unwrap())
                .args(["--exact", &name])
                .env(INNER, how)
                .output()
                .unwrap()
                .status;
            assert_eq!(status.signal(), Some(SIGABRT), "{how}: {status}");
        }
    }

    #[test]
    fn a_failed_transition_leaves_the_word_alone() {
        let state = State::new();
        assert_eq!(state.start_run(), StartRun::Poll);
        assert_eq!(state.complete(), Completed::Observed);
        let before = state.0.load(Relaxed);
        assert_eq!(state.start_run(), StartRun::Stale);
        assert_eq!(state.claim(), Claim::Left);
        assert_eq!(state.wake_by_ref(), WakeByRef::Done);
        assert_eq!(state.abort(), WakeByRef::Done);
        assert_eq!(state.give_join_waker(), JoinWaker::Complete);
        assert_eq!(state.reclaim_join_waker(), JoinWaker::Complete);
        assert_eq!(state.detach(), Detach::DropOutcome);
        assert_eq!(state.0.load(Relaxed), before);
    }

    #[test]
    #[should_panic = "completed out of turn"]
    fn completing_a_task_that_does_not_run_is_caught() {
        let _ = State::new().complete();
    }
}
