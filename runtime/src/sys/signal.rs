//! Signals: a handler counts them and rings one bell for all who listen.
//!
//! ```text
//!                    ┌ count of the signal + 1 ┐
//!  kernel ─▶ handler ┤ write to the bell       │─▶ the handler that the program had before, if it had one
//!                    └ errno as it was         ┘
//!                            │ an edge for each
//!                            ▼
//!   Arrivals: a duplicate of the bell in anybody's epoll instance, and the count to look at
//! ```
//!
//! * **The bell** is one eventfd for the whole process, made when the first signal is caught, and as that of a reactor
//!   ([`EventFd`]) never read: every write is an edge for every duplicate. After 2⁶⁴ − 2 signals it would be full and
//!   silent, which at a million a second is half a million years away. It rings for all signals; the counts tell which.
//! * **None is lost.** The handler counts, then rings. A listener takes note of the edges it has seen, looks at the count,
//!   and if that has not changed waits for an edge after those. A signal that it did not see in the count rings later.
//! * **The handler** reads atomics, counts, and calls getpid(2) and write(2), all of them async-signal-safe. It takes no
//!   lock, allocates nothing, and passes by the faults of a simulation, which do both.
//! * **It stands for good**, installed once per signal. A handler that replaced or surrounds it later is left in place:
//!   to install ours again around one that calls ours would have the two call each other without end.
//! * **A child of fork(2)** shares the bell with its parent. There the handler neither counts (after vfork(2) even the
//!   count is the parent's) nor rings, and nothing can be caught; a program that was started by exec(2) begins anew.
//!
//! Rejected: `signalfd`, for which every thread of the program would have to block the signals, and which hands them to one
//! listener only; a pipe that is read, which needs a reader to hand them on, as a task or a thread of its own.
#![expect(unsafe_code, reason = "installs a signal handler, and is one")]

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{
    AtomicI32, AtomicPtr, AtomicUsize,
    Ordering::{Acquire, Release},
};
use std::sync::{Mutex, PoisonError};

pub(crate) use libc::{
    SIGALRM, SIGCHLD, SIGHUP, SIGINT, SIGIO, SIGPIPE, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH,
};

use super::call::{Call, retry};
use super::eventfd::EventFd;
use super::fd;

/// The arrivals of one signal: how many there were, and a descriptor that becomes readable anew with each.
///
/// Other signals make the descriptor readable too.
#[derive(Debug)]
pub(crate) struct Arrivals {
    count: &'static AtomicUsize,
    bell: OwnedFd,
}

impl Arrivals {
    /// Catches signal `number` from now on, and says how often it had been caught before.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the signal cannot be caught or should not be, `Unsupported` in a child of fork(2) whose parent
    /// has caught a signal, and a lack of descriptors. After an error the signal does what it did.
    #[inline]
    pub(crate) fn catch(number: i32) -> io::Result<(Self, usize)> {
        let slot = SLOTS
            .get(usize::try_from(number).unwrap_or(usize::MAX))
            .ok_or_else(|| refusal(number, "there is no signal with this number"))?;
        if let Some(reason) = reason_to_refuse(number) {
            return Err(refusal(number, reason));
        }
        let mut caught = CAUGHT.lock().unwrap_or_else(PoisonError::into_inner);
        let bell = caught.bell()?.as_fd();
        let arrivals = Self {
            count: &slot.count,
            bell: fd::duplicate(bell)?,
        };
        let before = arrivals.count(); // an arrival as soon as the handler stands is a new one
        if !caught.installed[number as usize] {
            install(number, slot)?;
            caught.installed[number as usize] = true;
        }
        Ok((arrivals, before))
    }

    /// How often the signal has been caught. Wraps around.
    #[inline]
    pub(crate) fn count(&self) -> usize {
        self.count.load(Acquire)
    }
}

impl AsFd for Arrivals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

/// What has been done so far to catch signals. The handler knows nothing of it.
struct Caught {
    /// Never closed: the handler writes to it.
    bell: Option<EventFd>,
    installed: [bool; SLOTS_COUNT],
}

impl Caught {
    /// The bell of this process, made if there is none.
    #[inline]
    fn bell(&mut self) -> io::Result<&EventFd> {
        let process = this_process();
        if self.bell.is_none() {
            let bell = EventFd::new()?;
            BELL.store(bell.as_fd().as_raw_fd(), Release);
            OWNER.store(process, Release);
            self.bell = Some(bell);
        }
        if OWNER.load(Acquire) != process {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "this process was forked from one that listens for signals, and shares the means with it: listen for \
                 signals after the fork only, or start another program in the child",
            ));
        }
        Ok(self.bell.as_ref().expect("made above"))
    }
}

/// Whether signal `number` does nothing at present, as a Rust program has it with `SIGPIPE` unless it says otherwise.
pub(crate) fn is_ignored(number: i32) -> bool {
    exchange(number, None).is_ok_and(|action| action.sa_sigaction == libc::SIG_IGN)
}

/// What the handler knows of one signal.
struct Slot {
    count: AtomicUsize,
    /// What the handler calls in the end: null, or an action with a function, which is never freed.
    previous: AtomicPtr<libc::sigaction>,
}

/// Puts the handler in place of what `number` does now, which it calls from then on if that is a function.
#[inline]
fn install(number: i32, slot: &Slot) -> io::Result<()> {
    let before = exchange(number, None)?;
    // SAFETY: integers and an optional function, for which zero is a value; a mask of zeroes is the empty one.
    let mut ours: libc::sigaction = unsafe { mem::zeroed() };
    ours.sa_sigaction = on_signal as *const () as usize;
    ours.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_ONSTACK;
    if is_function(&before) {
        ours.sa_mask = before.sa_mask; // what it wants kept away while it runs
    }
    slot.chain(&before); // before ours can run
    let replaced = exchange(number, Some(&ours))?;
    if replaced.sa_sigaction != before.sa_sigaction {
        slot.chain(&replaced); // somebody else came between
    }
    Ok(())
}

impl Slot {
    const fn new() -> Self {
        Self {
            count: AtomicUsize::new(0),
            previous: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Has the handler call `action` in the end, if that is a function.
    #[inline]
    fn chain(&self, action: &libc::sigaction) {
        let previous = match is_function(action) {
            true => Box::into_raw(Box::new(*action)),
            false => ptr::null_mut(),
        };
        self.previous.store(previous, Release); // one that was there may be running: it is not freed
    }

    /// Calls what has been replaced, as the kernel would have done.
    fn call_previous(
        &self,
        number: libc::c_int,
        info: *mut libc::siginfo_t,
        context: *mut libc::c_void,
    ) {
        // SAFETY: null, or a box that was leaked for this.
        let Some(previous) = (unsafe { self.previous.load(Acquire).as_ref() }) else {
            return;
        };
        let function = previous.sa_sigaction as *const ();
        if previous.sa_flags & libc::SA_SIGINFO != 0 {
            // SAFETY: whoever installed it said by the flag that it is a function of this type.
            let function: HandlerWithInfo = unsafe { mem::transmute(function) };
            function(number, info, context);
        } else {
            // SAFETY: without the flag it is a function of this type: `chain` keeps no action without a function.
            let function: Handler = unsafe { mem::transmute(function) };
            function(number);
        }
    }
}

/// Runs on whichever thread the kernel interrupts, between any two of its instructions.
extern "C" fn on_signal(
    number: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    let Some(slot) = SLOTS.get(number as usize) else {
        return; // installed for those that have one only
    };
    if this_process() == OWNER.load(Acquire) {
        slot.count.fetch_add(1, Release);
        ring();
    }
    slot.call_previous(number, info, context);
}

/// An edge for everyone who watches the bell. The interrupted code finds `errno` as it was.
fn ring() {
    let one = 1_u64.to_ne_bytes();
    // SAFETY: every thread has its `errno`, which is valid as long as the thread runs, and this one does.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above; no reference to it exists.
    let before = unsafe { errno.read() };
    // SAFETY: `one` is readable for its whole length. It fails only if the counter is full; see the top.
    unsafe { libc::write(BELL.load(Acquire), one.as_ptr().cast(), one.len()) };
    // SAFETY: as above.
    unsafe { errno.write(before) };
}

/// What `number` does now; does `action` instead from now on, if there is one.
#[inline]
fn exchange(number: i32, action: Option<&libc::sigaction>) -> io::Result<libc::sigaction> {
    // SAFETY: as in `install`.
    let mut before: libc::sigaction = unsafe { mem::zeroed() };
    let action = action.map_or(ptr::null(), ptr::from_ref);
    retry(Call::SignalAction, || {
        // SAFETY: both are null or actions of ours that live through the call; the function of the new one is a handler that
        // may run at any time.
        unsafe { libc::sigaction(number, action, &raw mut before) }
    })?;
    Ok(before)
}

/// Whether `action` calls a function, and is neither the default nor "ignore".
fn is_function(action: &libc::sigaction) -> bool {
    !matches!(action.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN)
}

/// Why `number` is not caught, if it is not.
#[inline]
fn reason_to_refuse(number: i32) -> Option<&'static str> {
    match number {
        libc::SIGKILL | libc::SIGSTOP => Some("the kernel lets no process catch it"),
        libc::SIGSEGV | libc::SIGBUS | libc::SIGFPE | libc::SIGILL => Some(
            "it reports a fault of the instruction that is being executed, which would be executed again when the handler \
             returns, and fail again, without end",
        ),
        32.. if number < libc::SIGRTMIN() => {
            Some("the C library keeps it for itself, for its threads")
        }
        _ if number < 1 || number > libc::SIGRTMAX() => Some("there is no signal with this number"),
        _ => None,
    }
}

#[inline]
fn refusal(number: i32, reason: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("cannot listen for signal {number}: {reason}"),
    )
}

/// The number of this process, from the kernel each time: a copy would be wrong in a child.
fn this_process() -> libc::pid_t {
    // SAFETY: the call touches no memory of ours.
    unsafe { libc::getpid() }
}

type Handler = extern "C" fn(libc::c_int);
type HandlerWithInfo = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);

static CAUGHT: Mutex<Caught> = Mutex::new(Caught {
    bell: None,
    installed: [false; SLOTS_COUNT],
});

/// What the handler rings, and in which process. Set before a handler is installed, and never changed.
static BELL: AtomicI32 = AtomicI32::new(-1);
static OWNER: AtomicI32 = AtomicI32::new(0);

static SLOTS: [Slot; SLOTS_COUNT] = [const { Slot::new() }; SLOTS_COUNT];

/// One for each signal: they are numbered from 1 to 64, and to 127 on MIPS.
const SLOTS_COUNT: usize = 128;

#[cfg(all(test, not(loom)))]
mod tests {
    use std::io::ErrorKind;
    use std::os::fd::{AsFd, AsRawFd};
    use std::sync::atomic::{AtomicI32, Ordering::Relaxed};
    use std::sync::{Mutex, MutexGuard, PoisonError};
    use std::time::Duration;

    use super::{Arrivals, exchange};
    use crate::sys::epoll::{Epoll, EventBuffer, Events};
    use crate::sys::fd;

    #[test]
    fn every_arrival_is_counted_and_is_an_edge_for_every_listener() {
        let _turn = in_turn();
        let edge = Events::READABLE | Events::EDGE;
        let epoll = Epoll::new().unwrap();
        let listeners = [0, 1].map(|token| {
            let (arrivals, before) = Arrivals::catch(libc::SIGURG).unwrap();
            epoll.add(arrivals.as_fd(), edge, token).unwrap();
            (arrivals, before)
        });
        let mut events = EventBuffer::with_capacity(4);
        epoll.wait(&mut events, 4, Some(Duration::ZERO)).unwrap(); // what the bell was when it was added
        for count in 1..4 {
            raise(libc::SIGURG);
            epoll.wait(&mut events, 4, Some(Duration::ZERO)).unwrap();
            assert_eq!(events.iter().count(), 2);
            for (arrivals, before) in &listeners {
                assert_eq!(arrivals.count() - before, count);
            }
        }
    }

    #[test]
    fn the_interrupted_code_finds_errno_as_it_was() {
        let _turn = in_turn();
        let (arrivals, before) = Arrivals::catch(libc::SIGURG).unwrap();
        drain(&arrivals);
        write(&arrivals, u64::MAX - 1); // full: the handler's write fails, and says so in `errno`
        // SAFETY: this thread's `errno`, valid while it runs, and written by nobody else.
        unsafe { *libc::__errno_location() = libc::EXDEV };
        // SAFETY: its handler is ours.
        let raised = unsafe { libc::raise(libc::SIGURG) };
        let errno = std::io::Error::last_os_error().raw_os_error();
        assert_eq!((raised, errno), (0, Some(libc::EXDEV)));
        assert_eq!(arrivals.count(), before + 1);
        assert_eq!(drain(&arrivals), u64::MAX - 1);
    }

    #[test]
    fn functions_of_both_types_that_were_there_are_called_too() {
        let _turn = in_turn();
        static PLAIN: AtomicI32 = AtomicI32::new(0);
        static WITH_INFO: AtomicI32 = AtomicI32::new(0);
        extern "C" fn plain(number: libc::c_int) {
            PLAIN.fetch_add(number, Relaxed);
        }
        extern "C" fn with_info(
            number: libc::c_int,
            info: *mut libc::siginfo_t,
            context: *mut libc::c_void,
        ) {
            // SAFETY: the kernel passes it to a function that was installed with SA_SIGINFO.
            let told = unsafe { (*info).si_signo };
            assert!(told == number && !context.is_null());
            WITH_INFO.fetch_add(number, Relaxed);
        }
        let actions = [
            (libc::SIGTTIN, plain as *const () as usize, 0),
            (
                libc::SIGTTOU,
                with_info as *const () as usize,
                libc::SA_SIGINFO,
            ),
        ];
        for (number, function, flags) in actions {
            // SAFETY: zero is a value of all its fields.
            let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
            action.sa_sigaction = function;
            action.sa_flags = flags;
            exchange(number, Some(&action)).unwrap();
            let (arrivals, before) = Arrivals::catch(number).unwrap();
            raise(number);
            raise(number);
            assert_eq!(arrivals.count(), before + 2);
        }
        let called = (PLAIN.load(Relaxed), WITH_INFO.load(Relaxed));
        assert_eq!(called, (2 * libc::SIGTTIN, 2 * libc::SIGTTOU));
    }

    #[test]
    fn a_forked_child_neither_counts_nor_wakes_its_parent() {
        let _turn = in_turn();
        let (arrivals, before) = Arrivals::catch(libc::SIGURG).unwrap();
        drain(&arrivals);
        // SAFETY: the child calls nothing that takes a lock or allocates.
        let child = unsafe { libc::fork() };
        if child == 0 {
            raise(libc::SIGURG);
            let counted = arrivals.count() != before;
            // SAFETY: ends the child, without destructors and handlers of the parent's.
            unsafe { libc::_exit(libc::c_int::from(counted)) };
        }
        let mut status = -1;
        // SAFETY: `status` is an integer of ours that lives through the call.
        let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert_eq!((waited, status), (child, 0));
        assert_eq!(drain(&arrivals), 0, "the bell has been rung");
    }

    #[test]
    fn what_must_not_be_caught_is_refused_with_the_reason() {
        let refused = [
            (libc::SIGKILL, "kernel"),
            (libc::SIGSTOP, "kernel"),
            (libc::SIGSEGV, "without end"),
            (libc::SIGBUS, "without end"),
            (libc::SIGFPE, "without end"),
            (libc::SIGILL, "without end"),
            (32, "C library"),
            (libc::SIGRTMIN() - 1, "C library"),
            (libc::SIGRTMAX() + 1, "no signal"),
            (0, "no signal"),
            (-1, "no signal"),
            (i32::MIN, "no signal"),
            (i32::MAX, "no signal"),
        ];
        for (number, reason) in refused {
            let error = Arrivals::catch(number).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            let text = error.to_string();
            assert!(
                text.contains(reason) && text.contains(&number.to_string()),
                "{text}"
            );
        }
    }

    #[test]
    fn the_bell_and_its_duplicates_are_close_on_exec_and_nonblocking() {
        let (arrivals, _) = Arrivals::catch(libc::SIGURG).unwrap();
        assert!(fd::is_close_on_exec(arrivals.as_fd()));
        assert!(fd::is_nonblocking(arrivals.as_fd()).unwrap());
    }

    /// The bell is one: the tests that ring it take turns.
    fn in_turn() -> MutexGuard<'static, ()> {
        static TURN: Mutex<()> = Mutex::new(());
        TURN.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has been handled when it returns.
    fn raise(number: i32) {
        // SAFETY: its handler is one of this file.
        assert_eq!(unsafe { libc::raise(number) }, 0);
    }

    /// What the counter of the bell stood at. It is zero afterwards.
    fn drain(arrivals: &Arrivals) -> u64 {
        let mut count = 0_u64;
        // SAFETY: `count` is writable for its whole length. With the counter at zero this fails and leaves it alone.
        unsafe { libc::read(arrivals.as_fd().as_raw_fd(), (&raw mut count).cast(), 8) };
        count
    }

    fn write(arrivals: &Arrivals, count: u64) {
        // SAFETY: `count` is readable for its whole length.
        let written =
            unsafe { libc::write(arrivals.as_fd().as_raw_fd(), (&raw const count).cast(), 8) };
        assert_eq!(written, 8);
    }
}
