//! One epoll instance, what it is asked for and what it reports.
//!
//! * A registration belongs to the pair of descriptor number and open file description. It outlives a `close` as long as
//!   a duplicate is open, and then reports a descriptor that no longer exists: [`Epoll::delete`] comes before `close`,
//!   always.
//! * [`Epoll::wait`] is never early. `epoll_pwait2` counts in nanoseconds; on a kernel without it (before 5.11), or in a
//!   sandbox that refuses it, a timeout is rounded up to the milliseconds of `epoll_wait`. Which of the two it is, the
//!   first refusal decides for the whole process.
//! * There is no `EPOLL_CTL_MOD`: sources are registered for both directions, edge-triggered, once.
#![expect(unsafe_code, reason = "calls epoll and reads what it wrote")]

use std::fmt;
use std::io;
use std::ops::BitOr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use super::call::{Call, is_interrupted, once, retry};
use super::fault;

/// An epoll instance.
#[derive(Debug)]
pub(crate) struct Epoll(OwnedFd);

impl Epoll {
    pub(crate) fn new() -> io::Result<Self> {
        let fd = retry(Call::EpollCreate, || {
            // SAFETY: the call touches no memory of ours.
            unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }
        })?;
        // SAFETY: the kernel just made this descriptor, and nobody else knows it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Reports `events` of `fd` under `token`, from what is true of it now.
    ///
    /// # Errors
    ///
    /// `EPERM` if `fd` cannot be waited for (a regular file, a directory), `EEXIST` if it is registered here already,
    /// `ENOSPC` or `ENOMEM` if a limit is reached.
    pub(crate) fn add(&self, fd: BorrowedFd<'_>, events: Events, token: u64) -> io::Result<()> {
        fault::register(self.0.as_fd(), fd, events, token, || {
            let (epoll, fd) = (self.0.as_raw_fd(), fd.as_raw_fd());
            retry(Call::EpollAdd, || {
                control(epoll, libc::EPOLL_CTL_ADD, fd, events, token)
            })?;
            Ok(())
        })
    }

    /// Ends the registration of `fd`. Events already handed out by [`wait`](Self::wait) may still name it.
    ///
    /// By its number, so that whoever registered it need not keep it: the number must still be that of the same descriptor.
    ///
    /// # Errors
    ///
    /// `ENOENT` if `fd` is not registered here, `EBADF` if it was closed.
    pub(crate) fn delete(&self, fd: RawFd) -> io::Result<()> {
        fault::deregister(self.0.as_fd(), fd, || {
            let epoll = self.0.as_raw_fd();
            retry(Call::EpollDelete, || {
                control(epoll, libc::EPOLL_CTL_DEL, fd, Events(0), 0)
            })?;
            Ok(())
        })
    }

    /// Waits for events, `timeout` at most and without end if there is none, and replaces what is in `into` by at most
    /// `max` of them.
    ///
    /// A signal ends the wait without events. With a timeout, no event means that the whole time has passed or that a
    /// signal came: whoever waits for a moment looks at the clock again.
    pub(crate) fn wait(
        &self,
        into: &mut EventBuffer,
        max: usize,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        match timeout {
            None => self.wait_millis(into, max, -1),
            Some(Duration::ZERO) => self.wait_millis(into, max, 0),
            Some(timeout) if PWAIT2_REFUSED.load(Relaxed) => {
                self.wait_millis(into, max, millis_rounded_up(timeout))
            }
            Some(timeout) => match self.wait_nanos(into, max, timeout) {
                // EPERM is what some sandboxes answer to a call they do not know; the call itself never does.
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                    PWAIT2_REFUSED.store(true, Relaxed); // a hint: a late reader is refused once more
                    self.wait_millis(into, max, millis_rounded_up(timeout))
                }
                result => result,
            },
        }
    }

    /// `epoll_wait`: −1 milliseconds are without end.
    fn wait_millis(&self, into: &mut EventBuffer, max: usize, millis: i32) -> io::Result<()> {
        into.fill(max, |events, max| {
            once(Call::EpollWait, || {
                // SAFETY: `fill` gives room for `max` events.
                unsafe { libc::epoll_wait(self.0.as_raw_fd(), events, max, millis) }
            })
        })
    }

    /// `epoll_pwait2`, which not every libc wraps.
    fn wait_nanos(&self, into: &mut EventBuffer, max: usize, timeout: Duration) -> io::Result<()> {
        let timeout = KernelTimespec {
            seconds: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            nanoseconds: i64::from(timeout.subsec_nanos()),
        };
        into.fill(max, |events, max| {
            let count = once(Call::EpollWait, || {
                // SAFETY: `fill` gives room for `max` events; `timeout` lives through the call; without a signal
                // mask (null) its size is not looked at.
                unsafe {
                    libc::syscall(
                        libc::SYS_epoll_pwait2,
                        self.0.as_raw_fd(),
                        events,
                        max,
                        &raw const timeout,
                        ptr::null::<libc::sigset_t>(),
                        0_usize,
                    )
                }
            })?;
            Ok(count as libc::c_int) // at most `max`, which is one
        })
    }
}

impl Drop for Epoll {
    fn drop(&mut self) {
        fault::forget(self.0.as_fd());
    }
}

/// What to wait for, or what happened: a set of epoll flags.
#[derive(Copy, Clone, PartialEq, Eq)]
pub(crate) struct Events(u32);

impl Events {
    /// There is something to read or to accept, or the peer closed.
    pub(crate) const READABLE: Self = Self(libc::EPOLLIN as u32);
    /// There is room to write, or a `connect` has ended, well or not.
    pub(crate) const WRITABLE: Self = Self(libc::EPOLLOUT as u32);
    /// The peer will send nothing more.
    pub(crate) const READ_HANG_UP: Self = Self(libc::EPOLLRDHUP as u32);
    /// Both directions are closed. Reported whether asked for or not.
    pub(crate) const HANG_UP: Self = Self(libc::EPOLLHUP as u32);
    /// An error is pending. Reported whether asked for or not.
    pub(crate) const ERROR: Self = Self(libc::EPOLLERR as u32);
    /// Out-of-band data, or an exceptional condition of a device.
    pub(crate) const PRIORITY: Self = Self(libc::EPOLLPRI as u32);
    /// Report changes only (edge-triggered). Asked for, never reported.
    pub(crate) const EDGE: Self = Self(libc::EPOLLET as u32);

    /// Whether all of `other` is in the set.
    #[inline]
    pub(crate) fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any of `other` is in the set.
    #[inline]
    pub(crate) fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl BitOr for Events {
    type Output = Self;

    #[inline]
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (Self::READABLE, "readable"),
            (Self::WRITABLE, "writable"),
            (Self::READ_HANG_UP, "read-hang-up"),
            (Self::HANG_UP, "hang-up"),
            (Self::ERROR, "error"),
            (Self::PRIORITY, "priority"),
            (Self::EDGE, "edge"),
        ];
        let present = names.iter().filter(|(bit, _)| self.contains(*bit));
        f.debug_set()
            .entries(present.map(|(_, name)| name))
            .finish()
    }
}

/// Room for the events of one wait, kept from one to the next.
pub(crate) struct EventBuffer(Vec<libc::epoll_event>);

impl EventBuffer {
    /// Room for `capacity` events, and for one at least.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity.max(1)))
    }

    /// What the last wait reported, each with the token of its registration.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Events, u64)> {
        self.0.iter().map(|event| (Events(event.events), event.u64))
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Empties the buffer and lets `wait` fill it: it is given the place for the events and how many at most, and says
    /// how many it wrote.
    fn fill(
        &mut self,
        max: usize,
        wait: impl FnOnce(*mut libc::epoll_event, libc::c_int) -> io::Result<libc::c_int>,
    ) -> io::Result<()> {
        self.0.clear();
        let max = max.clamp(1, self.0.capacity()).min(EVENTS_MAX);
        let count = match wait(self.0.as_mut_ptr(), max as libc::c_int) {
            Ok(count) => count as usize,
            Err(error) if is_interrupted(&error) => 0,
            Err(error) => return Err(error),
        };
        debug_assert!(count <= max);
        // SAFETY: the kernel wrote `count` events, no more than `max`, which is no more than the capacity.
        unsafe { self.0.set_len(count) };
        Ok(())
    }
}

impl fmt::Debug for EventBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// `epoll_ctl` on numbers, for those who keep no descriptor: whoever calls it answers for their being open.
pub(super) fn control(
    epoll: RawFd,
    operation: libc::c_int,
    fd: RawFd,
    events: Events,
    token: u64,
) -> libc::c_int {
    let mut event = libc::epoll_event {
        events: events.0,
        u64: token,
    };
    // SAFETY: `event` is an epoll_event of ours that lives through the call.
    unsafe { libc::epoll_ctl(epoll, operation, fd, &raw mut event) }
}

/// Milliseconds that are no shorter than `timeout`, as far as the kernel can count them (24 days).
fn millis_rounded_up(timeout: Duration) -> i32 {
    i32::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
}

/// The kernel's `__kernel_timespec`, which is 64 bits wide everywhere.
#[repr(C)]
struct KernelTimespec {
    seconds: i64,
    nanoseconds: i64,
}

/// Set for good when the kernel, or a sandbox, refuses `epoll_pwait2`.
static PWAIT2_REFUSED: AtomicBool = AtomicBool::new(false);

/// The kernel answers `EINVAL` above this (`EP_MAX_EVENTS`).
const EVENTS_MAX: usize = libc::c_int::MAX as usize / size_of::<libc::epoll_event>();

#[cfg(all(test, not(loom)))]
mod tests {
    use std::fs::File;
    use std::io::{self, PipeReader, PipeWriter, Write};
    use std::os::fd::{AsFd, AsRawFd};
    use std::time::Duration;

    use super::{Epoll, EventBuffer, Events, millis_rounded_up};
    use crate::sys::{clock, fd};

    const EDGE: Events = Events(Events::READABLE.0 | Events::EDGE.0);

    #[test]
    fn a_wait_is_never_early_and_ends_by_itself() {
        let (epoll, mut events) = (Epoll::new().unwrap(), EventBuffer::with_capacity(4));
        for micros in [1, 50, 300, 999, 1_000, 1_001, 5_000] {
            let timeout = Duration::from_micros(micros);
            let before = clock::now();
            epoll.wait(&mut events, 4, Some(timeout)).unwrap();
            let waited = clock::now() - before;
            assert!(waited >= timeout, "{timeout:?} took {waited:?}");
            assert!(
                waited < timeout + Duration::from_secs(10),
                "{timeout:?} took {waited:?}"
            );
        }
    }

    #[test]
    fn a_wait_in_milliseconds_is_never_early() {
        let (epoll, mut events) = (Epoll::new().unwrap(), EventBuffer::with_capacity(4));
        for micros in [1, 300, 999, 1_001, 5_001] {
            let timeout = Duration::from_micros(micros);
            let before = clock::now();
            let millis = millis_rounded_up(timeout);
            epoll.wait_millis(&mut events, 4, millis).unwrap();
            assert!(clock::now() - before >= timeout);
        }
    }

    #[test]
    fn milliseconds_round_up_and_saturate() {
        let rounded = [
            (Duration::ZERO, 0),
            (Duration::from_nanos(1), 1),
            (Duration::from_millis(1), 1),
            (Duration::from_nanos(1_000_001), 2),
            (Duration::from_secs(30 * 24 * 3600), i32::MAX),
            (Duration::MAX, i32::MAX),
        ];
        for (timeout, millis) in rounded {
            assert_eq!(millis_rounded_up(timeout), millis, "{timeout:?}");
        }
    }

    #[test]
    fn the_longest_timeouts_are_accepted_and_an_event_ends_them() {
        let (epoll, _reader, mut writer) = watched_pipe(3);
        let mut events = EventBuffer::with_capacity(4);
        let longest = [
            Some(Duration::MAX),
            Some(Duration::from_secs(1 << 40)),
            None,
        ];
        for timeout in longest {
            writer.write_all(b"x").unwrap();
            epoll.wait(&mut events, 4, timeout).unwrap();
            assert_eq!(events.iter().collect::<Vec<_>>(), [(Events::READABLE, 3)]);
        }
    }

    #[test]
    fn a_wait_takes_no_more_than_it_is_told_and_the_next_one_gets_the_rest() {
        let epoll = Epoll::new().unwrap();
        let pipes: Vec<_> = (0..5).map(|_| io::pipe().unwrap()).collect();
        for (token, (_, writer)) in pipes.iter().enumerate() {
            let room = Events::WRITABLE | Events::EDGE;
            epoll.add(writer.as_fd(), room, token as u64).unwrap();
        }
        let mut events = EventBuffer::with_capacity(4);
        let mut seen = Vec::new();
        for (max, expected) in [(0, 1), (2, 2), (100, 2), (100, 0)] {
            epoll.wait(&mut events, max, Some(Duration::ZERO)).unwrap();
            assert_eq!(
                (events.0.len(), events.is_empty()),
                (expected, expected == 0)
            );
            seen.extend(events.iter().map(|(_, token)| token));
        }
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2, 3, 4]);
        assert_eq!(events.0.capacity(), 4);
    }

    #[test]
    fn a_duplicate_keeps_a_registration_alive_unless_it_was_deleted() {
        let mut events = EventBuffer::with_capacity(4);
        for delete in [false, true] {
            let (epoll, reader, mut writer) = watched_pipe(3);
            let _duplicate = reader.try_clone().unwrap();
            if delete {
                epoll.delete(reader.as_raw_fd()).unwrap();
            }
            drop(reader);
            writer.write_all(b"x").unwrap();
            epoll.wait(&mut events, 4, Some(Duration::ZERO)).unwrap();
            assert_eq!(events.is_empty(), delete);
        }
    }

    #[test]
    fn what_cannot_be_registered_or_deleted_is_an_error() {
        let (epoll, reader, _writer) = watched_pipe(3);
        let code = |result: io::Result<()>| result.unwrap_err().raw_os_error();
        let file = File::open("/proc/self/exe").unwrap();
        assert_eq!(code(epoll.add(file.as_fd(), EDGE, 1)), Some(libc::EPERM));
        assert_eq!(code(epoll.add(reader.as_fd(), EDGE, 1)), Some(libc::EEXIST));
        epoll.delete(reader.as_raw_fd()).unwrap();
        assert_eq!(code(epoll.delete(reader.as_raw_fd())), Some(libc::ENOENT));
    }

    #[test]
    fn it_is_made_close_on_exec() {
        assert!(fd::is_close_on_exec(Epoll::new().unwrap().0.as_fd()));
    }

    #[test]
    fn events_print_their_names() {
        let events = Events::READABLE | Events::READ_HANG_UP;
        assert_eq!(format!("{events:?}"), r#"{"readable", "read-hang-up"}"#);
        assert!(events.contains(Events::READABLE) && !events.contains(EDGE));
        assert!(events.intersects(EDGE) && !events.intersects(Events::WRITABLE));
    }

    fn watched_pipe(token: u64) -> (Epoll, PipeReader, PipeWriter) {
        let epoll = Epoll::new().unwrap();
        let (reader, writer) = io::pipe().unwrap();
        epoll.add(reader.as_fd(), EDGE, token).unwrap();
        (epoll, reader, writer)
    }
}
