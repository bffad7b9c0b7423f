//! Faults on demand: system calls that fail, are interrupted or move less than they were asked to.
//!
//! Exists with `--cfg wakeful_sim` only. A [`Plan`] says which calls fail; [`install`] puts it in force for the whole
//! process, [`clear`] ends it and reports what was injected. A fault comes *before* the call, which is then not made
//! (except [`Call::Connect`]), so nothing is lost that a real failure would have left in place.
//!
//! ```ignore
//! sim::install(Plan::new().fail(Call::Accept, 3..5, libc::EMFILE)); // the third and the fourth
//! // … run a server …
//! assert_eq!(sim::clear().injected(Call::Accept), 2);
//! ```
//!
//! **Edges.** Sources are registered edge-triggered, and whoever reads takes `EAGAIN`, or less than was asked for, as a
//! promise of the kernel: there is no more, and when there is, you will be told. An injected one breaks that promise:
//! the data is there, its edge has gone by, the reader would wait forever. So the registrations of all epoll instances
//! are remembered here, and after such a fault the descriptor's are armed anew (`EPOLL_CTL_MOD` with the same events),
//! which reports what is true now as a new edge. The layers above can tell no difference from a kernel that ran dry and
//! was filled again at once. Other errors arm nothing: after `EMFILE` a real kernel gives no new edge either.
//!
//! **Locks.** A registration is changed under the lock of the table, so that a fault either sees it or comes before it,
//! in which case registering reports the data. The plan's lock is innermost and never held over a system call.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

pub use super::call::Call;
use super::epoll::{self, Events};
use crate::util::rng::Rng;

/// Which calls fail, and how. Rules come first, in the order they were given; then chance.
#[derive(Debug, Default)]
pub struct Plan {
    rules: Vec<Rule>,
    chance: Option<Chance>,
    only: Option<ThreadId>,
}

impl Plan {
    /// A plan under which nothing fails.
    pub fn new() -> Self {
        Self::default()
    }

    /// A plan that injects a fault into about `per_mille` of a thousand calls, as `seed` decides: one of
    /// [`Call::random_errnos`], or for a call that moves bytes ([`Call::Recv`], [`Call::Send`], [`Call::SendFile`],
    /// [`Call::Splice`]) one that moves less than it could.
    ///
    /// With one thread the same seed gives the same faults; with several, their order of calling decides too. Every
    /// fault is one that a correct program survives. `per_mille` is 900 at most, or loops on `EINTR` would not end.
    pub fn random(seed: u64, per_mille: u32) -> Self {
        let chance = Chance {
            rng: Rng::new(seed),
            per_mille: per_mille.min(900) as usize,
        };
        Self {
            chance: Some(chance),
            ..Self::default()
        }
    }

    /// Fails those of the calls of kind `call` whose number is in `calls` with `errno`.
    ///
    /// The first call after [`install`] is number 1. A call that is made again after `EINTR` counts again.
    #[must_use]
    pub fn fail(self, call: Call, calls: Range<u64>, errno: i32) -> Self {
        self.rule(call, calls, Fault::Error(errno))
    }

    /// Lets those of the calls of kind `call` whose number is in `calls` move `most` bytes at most, or `most` buffers if
    /// the call is vectored, or `most` datagrams. Has an effect on calls that move bytes only, and none on a call that
    /// moves one datagram, which a kernel never moves in part.
    #[must_use]
    pub fn shorten(self, call: Call, calls: Range<u64>, most: usize) -> Self {
        self.rule(call, calls, Fault::Short(most.max(1)))
    }

    /// Spares, and does not count, the calls of other threads than the one that says this.
    #[must_use]
    pub fn only_this_thread(mut self) -> Self {
        self.only = Some(thread::current().id());
        self
    }

    fn rule(mut self, call: Call, calls: Range<u64>, fault: Fault) -> Self {
        self.rules.push(Rule { call, calls, fault });
        self
    }

    /// What happens to the call of kind `call` with `number`, that is to move `len` items.
    fn choose(&self, call: Call, number: u64, len: usize) -> Option<Fault> {
        let mut rules = self.rules.iter();
        let rule = rules.find(|rule| rule.call == call && rule.calls.contains(&number));
        let fault = match rule {
            Some(rule) => rule.fault,
            None => self.chance.as_ref()?.choose(call, len)?,
        };
        // A call that is not shortened by it is no fault.
        (!matches!(fault, Fault::Short(most) if most >= len)).then_some(fault)
    }
}

impl Call {
    /// The errors that [`Plan::random`] chooses from. `EINTR` is never seen above the layer that makes the calls.
    pub fn random_errnos(self) -> &'static [i32] {
        use libc::{EAGAIN, ECONNABORTED, EINTR, EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOSPC};
        match self {
            Self::EpollCreate | Self::EventFdCreate | Self::PipeCreate => &[EMFILE, ENFILE, ENOMEM],
            Self::EpollAdd => &[ENOMEM, ENOSPC],
            Self::EpollWait => &[EINTR],
            Self::EventFdWrite => &[EINTR, EAGAIN],
            Self::Duplicate => &[EMFILE],
            Self::Socket => &[EMFILE, ENFILE, ENOBUFS, ENOMEM],
            Self::Accept => &[EINTR, EAGAIN, ECONNABORTED, EMFILE, ENFILE, ENOBUFS, ENOMEM],
            Self::Connect => &[EINTR],
            Self::Recv | Self::Send | Self::SendFile | Self::Splice => &[EINTR, EAGAIN],
            // These do not fail for lack of something, and no signal interrupts them.
            Self::EpollDelete
            | Self::DescriptorFlags
            | Self::SignalAction
            | Self::Bind
            | Self::Listen
            | Self::Shutdown
            | Self::SocketName
            | Self::GetOption
            | Self::SetOption => &[],
        }
    }

    fn can_be_short(self) -> bool {
        matches!(
            self,
            Self::Recv | Self::Send | Self::SendFile | Self::Splice
        )
    }
}

/// Puts `plan` in force for all threads, in place of the one that was, and counts from zero.
pub fn install(plan: Plan) {
    let report = Report::default();
    *lock(&IN_FORCE) = Some(InForce { plan, report });
}

/// Ends the plan in force, and says what it did: nothing if there was none.
pub fn clear() -> Report {
    let ended = lock(&IN_FORCE).take();
    ended.map(|ended| ended.report).unwrap_or_default()
}

/// What happened under a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report(BTreeMap<Call, Counts>);

impl Report {
    /// How many calls of kind `call` were reached, faults included.
    pub fn calls(&self, call: Call) -> u64 {
        self.0.get(&call).map_or(0, |counts| counts.calls)
    }

    /// How many faults were injected into calls of kind `call`.
    pub fn injected(&self, call: Call) -> u64 {
        self.0.get(&call).map_or(0, |counts| counts.injected)
    }

    /// How many faults were injected in all.
    pub fn injected_total(&self) -> u64 {
        self.0.values().map(|counts| counts.injected).sum()
    }
}

/// Fails `call` if the plan says so.
pub(super) fn inject(call: Call) -> io::Result<()> {
    match next(call, usize::MAX) {
        Some(Fault::Error(errno)) => Err(io::Error::from_raw_os_error(errno)),
        Some(Fault::Short(_)) | None => Ok(()),
    }
}

/// Makes `attempt`, which moves up to as many items through `fd` as it is told; or fails it, or tells it fewer than `len`,
/// if the plan says so.
pub(super) fn inject_transfer<T>(
    call: Call,
    fd: BorrowedFd<'_>,
    len: usize,
    attempt: impl FnOnce(usize) -> io::Result<T>,
) -> io::Result<T> {
    match next(call, len) {
        None => attempt(len),
        Some(Fault::Short(most)) => {
            let result = attempt(most.min(len));
            rearm(fd);
            result
        }
        Some(Fault::Error(errno)) => {
            if errno == libc::EAGAIN {
                rearm(fd);
            }
            Err(io::Error::from_raw_os_error(errno))
        }
    }
}

/// Makes `add`, which registers `fd`, and remembers it.
pub(super) fn register(
    epoll: BorrowedFd<'_>,
    fd: BorrowedFd<'_>,
    events: Events,
    token: u64,
    add: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    let mut registrations = lock(&REGISTRATIONS);
    add()?;
    registrations.insert((fd.as_raw_fd(), epoll.as_raw_fd()), (events, token));
    Ok(())
}

/// Makes `delete`, which ends the registration of `fd`, and forgets it whatever comes of it: nobody expects edges.
pub(super) fn deregister(
    epoll: BorrowedFd<'_>,
    fd: RawFd,
    delete: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    let mut registrations = lock(&REGISTRATIONS);
    registrations.remove(&(fd, epoll.as_raw_fd()));
    delete()
}

/// Forgets all registrations with `epoll`, which is about to be closed.
pub(super) fn forget(epoll: BorrowedFd<'_>) {
    lock(&REGISTRATIONS).retain(|&(_, watching), _| watching != epoll.as_raw_fd());
}

/// Has every epoll instance that watches `fd` report what is true of it now, as a new edge.
fn rearm(fd: BorrowedFd<'_>) {
    let fd = fd.as_raw_fd();
    let registrations = lock(&REGISTRATIONS);
    for (&(_, epoll), &(events, token)) in registrations.range((fd, 0)..=(fd, RawFd::MAX)) {
        // Fails where `fd` was closed without being deleted, and its number given out again: then there is nobody
        // to tell.
        let _ = epoll::control(epoll, libc::EPOLL_CTL_MOD, fd, events, token);
    }
}

/// What the plan in force has for a call of kind `call` that is to move `len` items.
fn next(call: Call, len: usize) -> Option<Fault> {
    let mut in_force = lock(&IN_FORCE);
    let InForce { plan, report } = in_force.as_mut()?;
    if plan.only.is_some_and(|only| only != thread::current().id()) {
        return None;
    }
    let counts = report.0.entry(call).or_default();
    counts.calls += 1;
    let fault = plan.choose(call, counts.calls, len)?;
    counts.injected += 1;
    Some(fault)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug)]
struct InForce {
    plan: Plan,
    report: Report,
}

#[derive(Debug)]
struct Rule {
    call: Call,
    calls: Range<u64>,
    fault: Fault,
}

#[derive(Copy, Clone, Debug)]
enum Fault {
    Error(i32),
    /// At most so many items are moved.
    Short(usize),
}

#[derive(Debug)]
struct Chance {
    rng: Rng,
    per_mille: usize,
}

impl Chance {
    fn choose(&self, call: Call, len: usize) -> Option<Fault> {
        if self.rng.below(1000) >= self.per_mille {
            return None;
        }
        let errnos = call.random_errnos();
        let can_be_short = call.can_be_short() && len > 1;
        let choices = errnos.len() + usize::from(can_be_short);
        if choices == 0 {
            return None;
        }
        Some(match errnos.get(self.rng.below(choices)) {
            Some(&errno) => Fault::Error(errno),
            None => Fault::Short(1 + self.rng.below(len - 1)),
        })
    }
}

#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
struct Counts {
    calls: u64,
    injected: u64,
}

static IN_FORCE: Mutex<Option<InForce>> = Mutex::new(None);

/// Events and token under (descriptor, epoll instance).
static REGISTRATIONS: Mutex<BTreeMap<(RawFd, RawFd), (Events, u64)>> = Mutex::new(BTreeMap::new());

#[cfg(all(test, not(loom)))]
mod tests {
    use std::io::ErrorKind;
    use std::net::SocketAddr;
    use std::os::fd::{AsFd, AsRawFd, OwnedFd};
    use std::os::unix::net::UnixStream;
    use std::sync::{Mutex, MutexGuard, PoisonError};
    use std::time::Duration;

    use super::{Call, Plan, clear, install};
    use crate::sys::epoll::{Epoll, EventBuffer, Events};
    use crate::sys::eventfd::EventFd;
    use crate::sys::socket::{Connect, Domain, Socket};

    #[test]
    fn the_nth_call_fails_and_the_others_do_not() {
        let _turn = in_turn();
        run(Plan::new().fail(Call::Socket, 2..4, libc::EMFILE));
        let failed = [(); 5].map(|()| Socket::stream(Domain::V4).is_err());
        let report = clear();
        assert_eq!(failed, [false, true, true, false, false]);
        assert_eq!(
            (report.calls(Call::Socket), report.injected(Call::Socket)),
            (5, 2)
        );
        assert_eq!(report.injected_total(), 2);
        assert_eq!(clear().calls(Call::Socket), 0);
    }

    #[test]
    fn an_interruption_is_invisible() {
        let _turn = in_turn();
        let (writer, reader) = pair();
        run(Plan::new()
            .fail(Call::Send, 1..4, libc::EINTR)
            .fail(Call::Recv, 1..2, libc::EINTR)
            .fail(Call::Socket, 1..9, libc::EINTR));
        assert_eq!(writer.send(b"abc").unwrap(), 3);
        assert_eq!(reader.recv(&mut [0; 8]).unwrap(), 3);
        Socket::stream(Domain::V6).unwrap();
        assert_eq!(clear().injected_total(), 3 + 1 + 8);
    }

    #[test]
    fn an_interrupted_wait_has_no_events_and_the_next_one_has_them() {
        let _turn = in_turn();
        let (epoll, mut events, writer, _reader) = watched_pair();
        writer.send(b"abc").unwrap();
        run(Plan::new().fail(Call::EpollWait, 1..2, libc::EINTR));
        assert!(!edge(&epoll, &mut events));
        assert!(edge(&epoll, &mut events));
        assert_eq!(clear().injected(Call::EpollWait), 1);
    }

    #[test]
    fn an_interrupted_connect_goes_on_by_itself() {
        let _turn = in_turn();
        let listener = Socket::stream(Domain::V4).unwrap();
        let anywhere: SocketAddr = "127.0.0.1:0".parse().unwrap();
        listener.bind(&anywhere).unwrap();
        listener.listen(1).unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let socket = Socket::stream(Domain::V4).unwrap();
        run(Plan::new().fail(Call::Connect, 1..2, libc::EINTR));
        assert_eq!(socket.connect(&address).unwrap(), Connect::InProgress);
        clear();
        let (epoll, mut events) = (Epoll::new().unwrap(), EventBuffer::with_capacity(1));
        epoll.add(socket.as_fd(), Events::WRITABLE, 1).unwrap();
        epoll
            .wait(&mut events, 1, Some(Duration::from_secs(20)))
            .unwrap();
        assert_eq!(socket.peer_addr::<SocketAddr>().unwrap(), address);
    }

    #[test]
    fn after_a_short_read_the_rest_is_a_new_edge() {
        let _turn = in_turn();
        let (epoll, mut events, writer, reader) = watched_pair();
        writer.send(b"abcdef").unwrap();
        assert!(edge(&epoll, &mut events));
        run(Plan::new().shorten(Call::Recv, 1..2, 2));
        assert_eq!(reader.recv(&mut [0; 8]).unwrap(), 2);
        assert!(edge(&epoll, &mut events), "the fault must not eat the edge");
        assert_eq!(events.iter().next().unwrap().1, 5);
        assert_eq!(reader.recv(&mut [0; 8]).unwrap(), 4);
        assert!(
            !edge(&epoll, &mut events),
            "a real short read promises no edge"
        );
        assert_eq!(clear().injected(Call::Recv), 1);
    }

    #[test]
    fn after_a_short_write_or_a_refusal_there_is_a_new_edge() {
        let _turn = in_turn();
        let (epoll, mut events, writer, reader) = watched_pair();
        assert!(!edge(&epoll, &mut events));
        run(Plan::new()
            .fail(Call::Send, 1..2, libc::EAGAIN)
            .shorten(Call::Send, 2..3, 1)
            .fail(Call::Recv, 1..2, libc::EAGAIN));
        epoll.delete(reader.as_raw_fd()).unwrap();
        epoll
            .add(writer.as_fd(), Events::WRITABLE | Events::EDGE, 6)
            .unwrap();
        assert!(edge(&epoll, &mut events));
        assert_eq!(
            writer.send(b"abc").unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
        assert!(edge(&epoll, &mut events));
        assert_eq!(writer.send(b"abc").unwrap(), 1);
        assert!(edge(&epoll, &mut events));
        assert_eq!(
            reader.recv(&mut [0; 8]).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
        assert!(
            !edge(&epoll, &mut events),
            "a deleted registration is not armed"
        );
        clear();
    }

    #[test]
    fn other_errors_give_no_edge() {
        let _turn = in_turn();
        let (epoll, mut events, writer, reader) = watched_pair();
        writer.send(b"abc").unwrap();
        assert!(edge(&epoll, &mut events));
        run(Plan::new().fail(Call::Recv, 1..2, libc::ENOMEM));
        assert!(reader.recv(&mut [0; 8]).is_err());
        assert!(!edge(&epoll, &mut events));
        clear();
    }

    #[test]
    fn a_registration_that_failed_can_be_tried_again() {
        let _turn = in_turn();
        let (writer, reader) = pair();
        let (epoll, mut events) = (Epoll::new().unwrap(), EventBuffer::with_capacity(1));
        run(Plan::new().fail(Call::EpollAdd, 1..2, libc::ENOSPC));
        let interest = Events::READABLE | Events::EDGE;
        assert!(epoll.add(reader.as_fd(), interest, 5).is_err());
        writer.send(b"abc").unwrap();
        assert!(!edge(&epoll, &mut events));
        epoll.add(reader.as_fd(), interest, 5).unwrap();
        assert!(edge(&epoll, &mut events));
        clear();
    }

    #[test]
    fn a_kernel_without_epoll_pwait2_is_waited_for_in_milliseconds() {
        let _turn = in_turn();
        let (epoll, mut events) = (Epoll::new().unwrap(), EventBuffer::with_capacity(1));
        run(Plan::new().fail(Call::EpollWait, 1..2, libc::ENOSYS));
        for _ in 0..2 {
            let before = crate::sys::clock::now();
            let timeout = Duration::from_micros(300);
            epoll.wait(&mut events, 1, Some(timeout)).unwrap();
            assert!(crate::sys::clock::now() - before >= timeout);
        }
        clear();
    }

    #[test]
    fn a_notification_survives_whatever_the_write_answers() {
        let _turn = in_turn();
        let event_fd = EventFd::new().unwrap();
        let (epoll, mut events) = (Epoll::new().unwrap(), EventBuffer::with_capacity(1));
        epoll
            .add(event_fd.as_fd(), Events::READABLE | Events::EDGE, 5)
            .unwrap();
        run(Plan::random(3, 900));
        for _ in 0..100 {
            event_fd.notify();
        }
        assert!(clear().injected(Call::EventFdWrite) > 100);
        assert!(edge(&epoll, &mut events));
    }

    #[test]
    fn every_byte_arrives_in_order_under_random_faults_and_a_seed_repeats_them() {
        let _turn = in_turn();
        let reports = [1, 2, 1].map(|seed| {
            run(Plan::random(seed, 400));
            let received = echo_through_edges(&pattern());
            let report = clear();
            assert!(received == pattern());
            report
        });
        assert!(reports[0].injected(Call::Recv) > 100 && reports[0].injected(Call::Send) > 100);
        assert_eq!(reports[0], reports[2]);
        assert_ne!(reports[0], reports[1]);
    }

    /// Sends and receives as the layers above do: each side goes on until `EAGAIN` or a short count, then waits for an
    /// edge.
    fn echo_through_edges(bytes: &[u8]) -> Vec<u8> {
        let (writer, reader) = pair();
        let epoll = Epoll::new().unwrap();
        while epoll
            .add(writer.as_fd(), Events::WRITABLE | Events::EDGE, 1)
            .is_err()
        {}
        while epoll
            .add(reader.as_fd(), Events::READABLE | Events::EDGE, 2)
            .is_err()
        {}
        let mut events = EventBuffer::with_capacity(2);
        let (mut sent, mut received) = (0, Vec::new());
        let (mut can_send, mut can_receive) = (true, true);
        let mut buffer = [0; 1000];
        while received.len() < bytes.len() {
            while can_send && sent < bytes.len() {
                let rest = &bytes[sent..bytes.len().min(sent + 700)];
                let count = writer.send(rest).unwrap_or(0);
                sent += count;
                can_send = count == rest.len();
            }
            while can_receive {
                let count = reader.recv(&mut buffer).unwrap_or(0);
                received.extend_from_slice(&buffer[..count]);
                can_receive = count == buffer.len();
            }
            // With a lost edge this would never end; a timeout longer than the test turns that into a failure.
            let before = crate::sys::clock::now();
            epoll
                .wait(&mut events, 2, Some(Duration::from_secs(20)))
                .unwrap();
            let waited = crate::sys::clock::now() - before;
            let done = received.len() == bytes.len();
            assert!(done || waited < Duration::from_secs(19), "an edge was lost");
            can_send |= events.iter().any(|(_, token)| token == 1);
            can_receive |= events.iter().any(|(_, token)| token == 2);
        }
        received
    }

    fn pattern() -> Vec<u8> {
        (0..1 << 20).map(|index: u32| (index % 251) as u8).collect()
    }

    /// A plan is the process's, and the tests run side by side: those of this file one after the other, and with plans
    /// that spare the rest.
    fn in_turn() -> MutexGuard<'static, ()> {
        static TURN: Mutex<()> = Mutex::new(());
        TURN.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(plan: Plan) {
        install(plan.only_this_thread());
    }

    fn edge(epoll: &Epoll, events: &mut EventBuffer) -> bool {
        epoll.wait(events, 1, Some(Duration::ZERO)).unwrap();
        !events.is_empty()
    }

    fn pair() -> (Socket, Socket) {
        let (one, other) = UnixStream::pair().unwrap();
        one.set_nonblocking(true).unwrap();
        other.set_nonblocking(true).unwrap();
        (OwnedFd::from(one).into(), OwnedFd::from(other).into())
    }

    /// A pair whose second end is watched for reading, under token 5.
    fn watched_pair() -> (Epoll, EventBuffer, Socket, Socket) {
        let (writer, reader) = pair();
        let epoll = Epoll::new().unwrap();
        epoll
            .add(reader.as_fd(), Events::READABLE | Events::EDGE, 5)
            .unwrap();
        (epoll, EventBuffer::with_capacity(1), writer, reader)
    }
}
