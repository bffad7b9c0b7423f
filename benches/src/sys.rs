//! The kernel, as the floor, the load generator and the harness need it, and as `std` does not offer it.
//!
//! Thin on purpose: one function is one system call. It is not wakeful's `sys`, because what is measured must not be
//! its own yardstick.
#![expect(
    unsafe_code,
    reason = "epoll, CPU affinity, rusage and limits have no safe interface in std"
)]

use std::io;
use std::mem::{self, MaybeUninit};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use crate::accounting::CpuTime;

/// Ready to be read.
pub const READABLE: u32 = libc::EPOLLIN as u32;
/// Ready to be written.
pub const WRITABLE: u32 = libc::EPOLLOUT as u32;
/// Report changes only, not states.
pub const EDGE_TRIGGERED: u32 = libc::EPOLLET as u32;

/// An epoll instance.
#[derive(Debug)]
pub struct Epoll(OwnedFd);

impl Epoll {
    /// Creates an instance.
    pub fn new() -> io::Result<Self> {
        // SAFETY: the call takes no pointer.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the kernel has just handed out this descriptor, so nobody else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Reports `interest` in `source` under `key` from now on. Closing the source ends it.
    pub fn add(&self, source: impl AsFd, interest: u32, key: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, source, interest, key)
    }

    /// Replaces the interest in a source.
    pub fn modify(&self, source: impl AsFd, interest: u32, key: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, source, interest, key)
    }

    /// Waits for events, at most `timeout` (`None`: for ever), rounded down to milliseconds. Without any: `events` is empty.
    pub fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        let timeout_ms = timeout.map_or(-1, |timeout| timeout.as_millis() as i32);
        events.count = 0;
        let capacity = events.slots.len() as i32;
        // SAFETY: the pointer and the capacity describe one live, exclusively borrowed buffer.
        let result = check(unsafe {
            libc::epoll_wait(
                self.0.as_raw_fd(),
                events.slots.as_mut_ptr(),
                capacity,
                timeout_ms,
            )
        });
        match result {
            Ok(count) => events.count = count as usize,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn control(
        &self,
        operation: i32,
        source: impl AsFd,
        interest: u32,
        key: u64,
    ) -> io::Result<()> {
        let source = source.as_fd().as_raw_fd();
        let mut event = libc::epoll_event {
            events: interest,
            u64: key,
        };
        // SAFETY: `event` lives through the call; the kernel copies it.
        check(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), operation, source, &mut event) })?;
        Ok(())
    }
}

/// The events of one [`Epoll::wait`].
pub struct Events {
    slots: Box<[libc::epoll_event]>,
    count: usize,
}

impl Events {
    /// Room for this many events per wait.
    pub fn with_capacity(capacity: usize) -> Self {
        let empty = libc::epoll_event { events: 0, u64: 0 };
        Self {
            slots: vec![empty; capacity].into_boxed_slice(),
            count: 0,
        }
    }

    /// The keys of the sources that are ready.
    pub fn keys(&self) -> impl Iterator<Item = u64> {
        (0..self.count).map(|position| self.key(position))
    }

    /// The key of the event at a position.
    pub fn key(&self, position: usize) -> u64 {
        self.slots[..self.count][position].u64
    }

    /// How many events there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether the wait ended without an event.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.keys()).finish()
    }
}

/// A pipe through which bytes go from one socket to another without coming to user space.
#[derive(Debug)]
pub struct Pipe {
    out: OwnedFd,
    into: OwnedFd,
}

impl Pipe {
    /// Creates one.
    pub fn new() -> io::Result<Self> {
        let mut ends = [-1; 2];
        // SAFETY: `ends` has room for two descriptors.
        check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) })?;
        // SAFETY: the kernel has just handed out these descriptors, so nobody else owns them.
        let [out, into] = ends.map(|end| unsafe { OwnedFd::from_raw_fd(end) });
        Ok(Self { out, into })
    }

    /// Moves what a socket has into the pipe, which is empty. 0: the peer has ended its stream.
    pub fn fill(&self, socket: impl AsFd) -> io::Result<usize> {
        splice(&socket, &self.into, PIPE_FILL_MAX)
    }

    /// Moves what a socket takes of the `held` bytes in the pipe.
    pub fn drain(&self, socket: impl AsFd, held: usize) -> io::Result<usize> {
        splice(&self.out, &socket, held)
    }
}

fn splice(from: &impl AsFd, to: &impl AsFd, most: usize) -> io::Result<usize> {
    let (from, to) = (from.as_fd().as_raw_fd(), to.as_fd().as_raw_fd());
    let flags = libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK;
    // SAFETY: sockets and pipes have no offsets, so both pointers are null.
    let count = unsafe {
        libc::splice(
            from,
            std::ptr::null_mut(),
            to,
            std::ptr::null_mut(),
            most,
            flags,
        )
    };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

const PIPE_FILL_MAX: usize = 1 << 20;

/// Gives a listener a backlog that a burst of connections does not overflow (`std` gives 128).
pub fn set_backlog(listener: &TcpListener, backlog: i32) -> io::Result<()> {
    // SAFETY: the call takes no pointer.
    check(unsafe { libc::listen(listener.as_raw_fd(), backlog) })?;
    Ok(())
}

/// Makes a child that dies with the thread that starts it, and that runs on one CPU only if one is named.
pub fn confine(command: &mut Command, cpu: Option<usize>) {
    let cpus = cpu.map(|cpu| set_of(&[cpu]));
    let before_exec = move || {
        // SAFETY: the option takes an integer and no pointer.
        check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) })?;
        if let Some(set) = &cpus {
            stay_on(set)?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes two system calls; it neither allocates nor takes a lock.
    unsafe { command.pre_exec(before_exec) };
}

/// Has the calling thread, and whatever it starts from now on, run on these CPUs only.
pub fn confine_thread(cpus: &[usize]) -> io::Result<()> {
    stay_on(&set_of(cpus))
}

fn set_of(cpus: &[usize]) -> libc::cpu_set_t {
    // SAFETY: an all-zero cpu_set_t is the empty set.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    for &cpu in cpus {
        // SAFETY: `set` is a valid set; the index is checked against its size by `CPU_SET`.
        unsafe { libc::CPU_SET(cpu, &mut set) };
    }
    set
}

fn stay_on(set: &libc::cpu_set_t) -> io::Result<()> {
    // SAFETY: `set` is a valid set of the size that is passed.
    check(unsafe { libc::sched_setaffinity(0, size_of_val(set), set) })?;
    Ok(())
}

/// The CPUs on which this process may run.
pub fn allowed_cpus() -> io::Result<Vec<usize>> {
    // SAFETY: an all-zero cpu_set_t is the empty set.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: `set` is writable and of the size that is passed.
    check(unsafe { libc::sched_getaffinity(0, size_of_val(&set), &mut set) })?;
    // SAFETY: `CPU_ISSET` reads within the set, and the range ends with it.
    let is_allowed = |cpu: &usize| unsafe { libc::CPU_ISSET(*cpu, &set) };
    Ok((0..libc::CPU_SETSIZE as usize).filter(is_allowed).collect())
}

/// Raises this process's limit of open descriptors as far as it may, for its children too, and returns it.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a writable rlimit.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) })?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` is an initialised rlimit.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) })?;
    Ok(limit.rlim_cur)
}

/// Has a child begin with room for so many descriptors and no more.
pub fn limit_descriptors(command: &mut Command, count: u64) {
    let limit = libc::rlimit {
        rlim_cur: count,
        rlim_max: count,
    };
    // SAFETY: `limit` is an initialised rlimit.
    let before_exec = move || check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) });
    // SAFETY: between fork and exec the closure makes one system call; it neither allocates nor takes a lock.
    unsafe { command.pre_exec(move || before_exec().map(drop)) };
}

/// Has the calling thread, and what it starts, give way to whatever else wants its CPU: at once, and whenever it does.
pub fn give_way() -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: `parameters` outlives the call, which only reads it; zero stands for the caller.
    check(unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameters) })?;
    Ok(())
}

/// Sends a process the signal by which `echo serve` is asked to tell of itself.
pub fn send_user_signal(pid: u32) -> io::Result<()> {
    // SAFETY: the call touches no memory of ours.
    check(unsafe { libc::kill(pid.cast_signed(), libc::SIGUSR1) })?;
    Ok(())
}

/// Has the connection end with a reset when it is closed.
pub fn reset_on_close(stream: &TcpStream) -> io::Result<()> {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    set_option(stream, libc::SO_LINGER, &linger)
}

/// Gives a connection a send buffer of so many bytes, or as few as the system allows.
pub fn shrink_send_buffer(stream: &TcpStream, bytes: i32) -> io::Result<()> {
    set_option(stream, libc::SO_SNDBUF, &bytes)
}

fn set_option<T: Copy>(stream: &TcpStream, option: i32, value: &T) -> io::Result<()> {
    // SAFETY: the pointer and the size describe `value`, which the kernel copies.
    check(unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    })?;
    Ok(())
}

/// The CPU time of this process so far.
pub fn own_cpu_time() -> io::Result<CpuTime> {
    cpu_time(libc::RUSAGE_SELF)
}

/// The CPU time of its children that have ended, and of theirs.
pub fn children_cpu_time() -> io::Result<CpuTime> {
    cpu_time(libc::RUSAGE_CHILDREN)
}

fn cpu_time(who: i32) -> io::Result<CpuTime> {
    let mut usage = MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: the pointer is valid for writing one rusage.
    check(unsafe { libc::getrusage(who, usage.as_mut_ptr()) })?;
    // SAFETY: the call succeeded, so it filled the whole structure.
    let usage = unsafe { usage.assume_init() };
    let ns = |time: libc::timeval| time.tv_sec as u64 * 1_000_000_000 + time.tv_usec as u64 * 1_000;
    Ok(CpuTime {
        user_ns: ns(usage.ru_utime),
        system_ns: ns(usage.ru_stime),
    })
}

/// How many of `/proc`'s clock ticks make a second.
pub fn clock_ticks_per_second() -> u64 {
    // SAFETY: the call takes no pointer.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    u64::try_from(ticks).expect("every Linux has a clock tick")
}

/// What a call returned, or its error.
pub(crate) fn check(result: i32) -> io::Result<i32> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
