//! The worker: a thread that holds a core, and the loop it runs.
//!
//! [`Worker::run`] is the heart of the runtime. Everything it calls is a short step with a name; what the steps share is
//! in the [`Core`], which can be handed to another thread between any two of them.

use std::cell::{Cell, Ref, RefCell};
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::budget::{is_in_poll, with_budget};
use super::core::{Core, Harvest};
use super::counters::{Counters, MAIN_FUTURE, Sampler};
use super::local::{LOCAL, LocalTasks};
use super::observer::Observing;
use super::shared::{Home, Remote, Shared};
use super::timers::Timer;
use super::watch::LATE;
use crate::reactor::{EVENTS_MAX, Stand, set_turned_here};
use crate::sys::{clock, thread::ThreadId};
use crate::task::{Due, Ended, Ran, Runnable};
use crate::util::sync::thread;
use crate::util::wake::wake_all;

/// A thread that runs tasks.
#[derive(Debug)]
pub(crate) struct Worker {
    home: Arc<Home>,
    /// What the siblings see of this worker.
    remote: Arc<Remote>,
    /// The runtime's, at hand.
    poll_budget: u32,
    /// `None` while another thread holds it.
    core: RefCell<Option<Core>>,
    local: LocalTasks,
    /// Holds the searching token; see [`super::idle`].
    searching: Cell<bool>,
    /// The time of the last look at the clock, in the runtime's milliseconds.
    now_ms: Cell<u32>,
    /// Whether what is being polled runs on this thread only.
    polls_pinned: Cell<bool>,
    sampler: Sampler,
    observer: Option<Observing>,
    /// Whether the tasks that are sent to this worker are for this thread.
    takes_arrivals: bool,
    /// A timer of this core that nobody waits for any more, for the next who arms one; see [`super::timers`]. Taken back before
    /// the worker looks outside, sleeps, or gives its core away.
    spare_timer: RefCell<Option<Timer>>,
}

impl Worker {
    /// For the current thread. It brings its core with [`put_core`](Self::put_core).
    pub(crate) fn new(home: Arc<Home>) -> Self {
        let local = LocalTasks::new(&home.shared);
        let remote = home.remote.clone();
        Self {
            observer: remote.registry.observer().cloned(),
            takes_arrivals: true,
            poll_budget: home.shared.poll_budget,
            home,
            remote,
            core: RefCell::new(None),
            local,
            searching: Cell::new(false),
            now_ms: Cell::new(0),
            polls_pinned: Cell::new(false),
            sampler: Sampler::default(),
            spare_timer: RefCell::new(None),
        }
    }

    /// For a thread that drives the core while its owner blocks; see [`super::in_place`]. What is sent to the owner's thread is not
    /// for this one.
    pub(crate) fn stand_in(home: Arc<Home>) -> Self {
        Self {
            takes_arrivals: false,
            ..Self::new(home)
        }
    }

    /// Runs tasks until `stop`, which is asked between any two of them, gives a result.
    pub(crate) fn run<R>(&self, mut stop: impl FnMut() -> Option<R>) -> R {
        loop {
            if let Some(result) = stop() {
                return result;
            }
            match self.next_task().or_else(|| self.find_task()) {
                Some(task) => self.poll(task),
                None => self.rest(),
            }
        }
    }

    /// Runs the thread's own tasks while another thread holds the core, until `stop` gives a result. It is asked again
    /// whenever the thread is unparked.
    pub(crate) fn run_without_core<R>(&self, mut stop: impl FnMut() -> Option<R>) -> R {
        loop {
            if let Some(result) = stop() {
                return result;
            }
            match self.local.pop() {
                Some(task) => self.settle(self.run_observed(task)),
                None => thread::park(),
            }
        }
    }

    /// Calls `poll` of the main future.
    pub(crate) fn poll_main<R>(&self, poll: impl FnOnce() -> R) -> R {
        self.polls_pinned.set(true);
        self.counted(MAIN_FUTURE, || self.with_task_budget(poll))
    }

    /// Calls `poll` of what has this address, and shows it.
    #[inline]
    fn counted<R>(&self, address: usize, poll: impl FnOnce() -> R) -> R {
        let counters = self.counters();
        counters.begin_poll(address);
        let result = poll();
        counters.end_poll();
        result
    }

    /// Calls `poll` with the I/O budget of a task.
    #[inline]
    fn with_task_budget<R>(&self, poll: impl FnOnce() -> R) -> R {
        if self.searching.get() {
            self.stop_searching();
        }
        with_budget(self.poll_budget, poll)
    }

    pub(crate) fn home(&self) -> &Arc<Home> {
        &self.home
    }

    pub(crate) fn local(&self) -> &LocalTasks {
        &self.local
    }

    /// Where something that has to wait here would best be registered.
    pub(crate) fn stand(&self) -> Stand {
        match &*self.core.borrow() {
            Some(core) if self.polls_pinned.get() => Stand::Pinned(core.index()),
            Some(core) => Stand::Worker(core.index()),
            None => Stand::Elsewhere,
        }
    }

    pub(crate) fn now_ms(&self) -> u32 {
        self.now_ms.get()
    }

    /// Whether the thread holds the core with this number.
    #[inline]
    pub(crate) fn holds(&self, core: usize) -> bool {
        self.core
            .borrow()
            .as_ref()
            .is_some_and(|own| own.index() == core)
    }

    /// Whether the thread holds its core.
    pub(crate) fn has_core(&self) -> bool {
        self.core.borrow().is_some()
    }

    /// When the reactor was last visited, if the thread holds a core.
    #[inline]
    pub(crate) fn visited_at(&self) -> Option<Duration> {
        self.core.borrow().as_ref().map(Core::visited_at)
    }

    /// The thread takes a core.
    pub(crate) fn put_core(&self, core: Core) {
        let index = core.index();
        *self.remote.thread.lock() = Some(ThreadId::current());
        *self.core.borrow_mut() = Some(core);
        self.local.move_to(Some(index));
        set_turned_here(Some(index));
    }

    /// The thread gives its core away.
    pub(crate) fn take_core(&self) -> Core {
        let core = self
            .core
            .take()
            .expect("a worker gives away the core it holds");
        *self.remote.thread.lock() = None;
        self.local.move_to(None);
        set_turned_here(None);
        drop(self.take_spare_timer());
        // Nobody may drive it for a while, so what relied on this worker is for others to look after.
        if self.searching.get() {
            self.stop_searching();
        } else if !core.queue.is_empty() {
            self.shared().work_published();
        }
        core
    }

    /// Keeps `timer` for the next who arms one, if it is of this core, and leaves the one that it kept before in its place.
    #[inline]
    pub(crate) fn keep_timer(&self, timer: &mut Option<Timer>) {
        let is_own = (timer.as_ref()).is_some_and(|timer| timer.is_of(&self.home));
        if is_own && self.core.borrow().is_some() {
            mem::swap(timer, &mut self.spare_timer.borrow_mut());
        }
    }

    /// The timer that it keeps. It is armed, so to drop it is to take it back.
    #[inline]
    pub(crate) fn take_spare_timer(&self) -> Option<Timer> {
        self.spare_timer.take()
    }

    /// A task was woken on this thread, by no other task: delivered by the reactor, in the order of the events. Who turned it asks
    /// for help, once for all of them. Returns the task if the ring is full, or with another thread.
    #[inline]
    pub(crate) fn schedule_delivered(&self, due: Due<Arc<Home>>) -> Option<Due<Arc<Home>>> {
        match self.core.try_borrow().as_deref() {
            Ok(Some(core)) => core.queue.push_as(due, Due::into_runnable).err(),
            _ => Some(due),
        }
    }

    /// A task was woken on this thread.
    #[inline]
    pub(crate) fn schedule_woken(&self, task: Runnable) {
        let core = self.core.borrow();
        match &*core {
            None => self.shared().inject([task]),
            Some(core) if is_in_poll() => self.schedule_next(core, task),
            Some(core) => self.push(core, task),
        }
    }

    /// A task was woken by the one that is being polled.
    fn schedule_next(&self, core: &Core, task: Runnable) {
        self.sampler.note(&task);
        if let Err(task) = core.queue.set_next(task) {
            self.push(core, task);
            self.ask_for_help(core);
        }
    }

    /// A task was spawned on this thread.
    #[inline]
    pub(crate) fn schedule_spawned(&self, task: Runnable) {
        let core = self.core.borrow();
        let Some(core) = &*core else {
            return self.shared().inject([task]);
        };
        self.sampler.note(&task);
        self.push(core, task);
        self.ask_for_help(core);
    }

    /// The next task of this worker, after a visit to the outside if one is due: its own and those that may be stolen in
    /// turn.
    #[inline(always)] // the loop is instantiated for each kind of thread, and a call would cost each poll
    fn next_task(&self) -> Option<Runnable> {
        self.polls_pinned.set(false);
        let mut core = self.core();
        if core.look_is_due() {
            drop(core);
            if let Some(task) = self.look_up() {
                return Some(task);
            }
            core = self.core();
        }
        match self.local.has_tasks() && !core.local_was_first.replace(!core.local_was_first.get()) {
            true => self.next_local().or_else(|| core.next_task()),
            false => core.next_task().or_else(|| self.next_local()),
        }
    }

    fn next_local(&self) -> Option<Runnable> {
        let task = self.local.pop();
        self.polls_pinned.set(task.is_some());
        task
    }

    /// The worker has nothing of its own: looks everywhere.
    #[cold]
    fn find_task(&self) -> Option<Runnable> {
        drop(self.take_spare_timer());
        self.take_arrivals();
        self.next_local()
            .or_else(|| self.take_injected(usize::MAX))
            .or_else(|| self.steal())
    }

    fn steal(&self) -> Option<Runnable> {
        let (remotes, counters) = (&self.shared().remotes, self.counters());
        if remotes.len() == 1 {
            return None;
        }
        counters.steals_tried.add(1);
        let stolen = self.core().steal(remotes);
        counters.steals_made.add(u64::from(stolen.is_some()));
        stolen
    }

    #[inline(always)] // the loop is instantiated for each kind of thread, and a call would cost each poll
    fn poll(&self, task: Runnable) {
        let header = task.header();
        match header.is_marked() || self.observer.is_some() {
            false => self.settle(self.counted(header.address(), || self.run_task(task))),
            true => self.poll_watched(task),
        }
    }

    #[inline]
    fn run_task(&self, task: Runnable) -> Ran {
        let now_ms = self.now_ms();
        self.with_task_budget(|| task.run(now_ms))
    }

    /// Runs a task, and tells the observer if there is one.
    fn run_observed(&self, task: Runnable) -> Ran {
        match &self.observer {
            None => self.run_task(task),
            Some(observer) => observer.around(&task.info(), || self.run_task(task)),
        }
    }

    /// Polls a task that is to be timed or observed: measures how long it has waited and how long the poll takes.
    #[cold]
    #[inline(never)]
    fn poll_watched(&self, task: Runnable) {
        let (counters, address) = (self.counters(), task.header().address());
        if !task.header().is_marked() {
            return self.settle(self.counted(address, || self.run_observed(task)));
        }
        let begin = clock::now();
        let waited = task.header().take_mark(begin);
        let ran = self.counted(address, || self.run_observed(task));
        counters.poll_times.add(clock::now().saturating_sub(begin));
        counters.waits.add(waited);
        self.settle(ran);
    }

    /// Sees to what a poll has left to do; nearly always that is nothing.
    #[inline]
    fn settle(&self, ran: Ran) {
        match ran {
            Ran::Idle => {}
            Ran::Again(task) => self.queue_again(task),
            Ran::Complete(ended) => self.let_go(ended),
        }
    }

    /// A task has completed.
    #[inline(never)]
    fn let_go(&self, ended: Ended) {
        match ended.key().core() {
            LOCAL => {
                self.shared().local_tasks_count.fetch_sub(1, Relaxed); // a statistic
                self.local.remove(ended);
            }
            core => self.shared().remotes[core as usize].registry.remove(ended),
        }
    }

    /// A task was woken in its own poll: it goes to the end of the queue, and where a visit is due, behind what that brings.
    #[inline(never)]
    fn queue_again(&self, task: Runnable) {
        if task.header().key().core() == LOCAL {
            return self.local.push(task);
        }
        let visits = match &*self.core.borrow() {
            Some(core) => core.visit_is_due_before_yield(),
            None => return self.shared().inject([task]),
        };
        if !visits {
            let core = self.core();
            self.end_wait_behind_ring(&core);
            self.sampler.note(&task);
            return self.push(&core, task);
        }
        let injected = self.visit();
        let core = self.core();
        if let Some(injected) = injected {
            self.push(&core, injected);
        }
        self.sampler.note(&task);
        if let Err(task) = core.wait_behind_ring(task) {
            self.push(&core, task);
        }
    }

    /// Whoever waits behind the ring goes before what is appended from here on.
    #[inline]
    fn end_wait_behind_ring(&self, core: &Core) {
        if let Some(task) = core.end_wait_behind_ring() {
            self.push(core, task);
        }
    }

    /// Between tasks, every few of them: visits the outside if it is time to. If not, it still takes the oldest of what others have
    /// woken, of which it knows by reading a word: without that, a task that another thread wakes waits for twice as long as
    /// with tokio, with it for half as long.
    ///
    /// What has overflowed from the rings waits for the visit, where many are taken at once: to fetch it one by one, or into a
    /// ring that is full again soon, takes up to a tenth of what 1 000 pairs of tasks take that wake each other.
    #[cold]
    fn look_up(&self) -> Option<Runnable> {
        let visits = self.core().interval_is_over();
        match visits {
            true => self.visit(),
            false if self.shared().injector.len() <= WOKEN_MAX => self.take_injected(1),
            false => None,
        }
    }

    /// Between tasks: what has happened outside? Returns a task from there that has waited long enough to go first.
    #[cold]
    fn visit(&self) -> Option<Runnable> {
        if self.spare_timer.borrow().is_some() {
            drop(self.take_spare_timer());
        }
        self.end_wait_behind_ring(&self.core());
        self.turn(Some(Duration::ZERO));
        self.ask_for_help(&self.core());
        self.take_arrivals();
        self.take_injected(usize::MAX)
    }

    /// The worker has found nothing to run.
    fn rest(&self) {
        self.counters().note_idle_round();
        if self.core().may_give_way() {
            self.give_way();
        } else if !self.polls_before_sleep() {
            self.park();
        }
    }

    /// Before it sleeps, a worker of several that has had more than one message lets others have its CPU, once: who sends the
    /// next ones may be waiting for it, and they then come together and cost one turn, not a sleep and a wake-up each.
    ///
    /// Measured with two workers and their load on two CPUs, 64 connections: throughput 1.1 to 1.3 times as high and the 99th
    /// percentile 0.8 times. With one message at a time it would only cost.
    fn give_way(&self) {
        let since = self.core().note_pause(self.counters());
        thread::yield_now();
        self.turn(Some(Duration::ZERO));
        let core = self.core();
        core.contention.note_way_given(since, core.visited_at());
        self.ask_for_help(&self.core());
    }

    /// Looks for events for a while, if that has paid of late; see [`super::polling`]. Whether there is something to do.
    #[inline]
    fn polls_before_sleep(&self) -> bool {
        let window = self.core().polling.window();
        window.is_some_and(|window| self.poll_for(window))
    }

    #[cold]
    fn poll_for(&self, window: Duration) -> bool {
        let begun = self.core().note_pause(self.counters());
        if self.core().contention.is_known(begun) && !self.core().polling.never_sleeps() {
            return false;
        }
        let Some(_poller) = self.shared().pollers.enter() else {
            return false;
        };
        let mut before = begun;
        let mut next_way = begun;
        loop {
            let gives_way = before >= next_way;
            if gives_way {
                thread::yield_now();
            }
            self.turn(Some(Duration::ZERO));
            let core = self.core();
            let now = core.visited_at();
            let mut is_alone = true;
            if gives_way {
                is_alone = core.contention.note_way_given(before, now);
                next_way = now + GIVE_WAY_EVERY;
            }
            if self.remote().parker.is_notified() {
                return false; // it does not sleep then: the notification is taken where sleeps begin
            }
            if self.has_work_at_hand(&core) {
                return true;
            }
            if !is_alone || now.saturating_sub(begun) >= window {
                return core.polling.never_sleeps(); // it looks at everything, and polls again
            }
            before = now;
        }
    }

    /// Whether there is a task that this worker would find without a look at its siblings.
    fn has_work_at_hand(&self, core: &Core) -> bool {
        !core.queue.is_empty() || self.local.has_tasks() || self.shared().injector.len() > 0
    }

    /// Sleeps until there is an event or a notification, unless there is work.
    fn park(&self) {
        let shared = self.shared();
        let searching = self.searching.take();
        let searching = shared.idle.sleep(
            self.home.core,
            &self.remote().parker,
            searching,
            || shared.has_work(),
            || self.sleep(),
        );
        self.searching.set(searching);
        shared.watch.worker_awake();
        self.ask_for_help(&self.core()); // not before: it would have been itself whom it found asleep
    }

    /// Waits in the reactor until there is an event or a notification, or a timer is due.
    fn sleep(&self) {
        let shared = self.shared();
        self.counters().parks.add(1);
        if shared.clock.is_virtual() {
            return self.sleep_virtually();
        }
        let on_guard =
            (self.core().siblings).mount_guard(&shared.guard, &shared.remotes, clock::now);
        let deadline = self.remote().timers.begin_sleep();
        let timeout = deadline.map(|deadline| deadline.saturating_sub(clock::now()));
        let slept = self.turn(timeout.into_iter().chain(on_guard).min());
        let core = self.core();
        core.polling.note_sleep(slept);
        if on_guard.is_some() {
            let has_work = self.has_work_at_hand(&core);
            core.siblings.leave_guard(&shared.guard, has_work);
        }
    }

    /// Where time stands still until nothing can happen without it: if that is so, it is moved on to the next deadline.
    #[cold]
    fn sleep_virtually(&self) {
        let shared = self.shared();
        // First: one that has ended since then is seen below by whom it woke.
        let closures_are_out = shared.blocking.outstanding() > 0;
        self.turn(Some(Duration::ZERO));
        let deadline = self.remote().timers.begin_sleep(); // a waker may have armed a timer
        let may_go_on = self.has_work_at_hand(&self.core()) || !self.remote().parker.is_parked();
        match deadline {
            _ if may_go_on => {}
            Some(deadline) if !closures_are_out => {
                shared.clock.advance_to(deadline);
                self.turn(Some(Duration::ZERO));
            }
            _ => drop(self.turn(None)),
        }
    }

    /// Takes events from the reactor and wakes their tasks, and fires timers; at times also for siblings that do not come to it.
    /// Says how long it has waited for them.
    fn turn(&self, timeout: Option<Duration>) -> Duration {
        let (shared, counters) = (self.shared(), self.counters());
        let begun = self.core().note_pause(counters);
        self.harvest(|harvest, events_max| {
            let Harvest { events, woken } = harvest;
            shared
                .reactors
                .get(self.home.core)
                .turn(events, events_max, timeout, woken);
            counters.turns.add(1);
            counters.events.add(events.len() as u64);
        });
        let now = self.core().note_visit();
        (shared.reactors.get(self.home.core)).note_slow(self.core().is_slow());
        self.now_ms.set(shared.millis(now));
        let time = shared.clock.at(|| now);
        if self.remote().timers.may_be_due(time) {
            self.harvest(|harvest, _| self.remote().timers.fire(time, &mut harvest.woken));
        }
        for sibling in self.core().siblings.stuck(now, &shared.remotes) {
            counters.sweeps.add(1);
            self.harvest(|harvest, events_max| {
                let Harvest { events, woken } = harvest;
                shared
                    .reactors
                    .get(sibling)
                    .turn_for_owner(events, events_max, woken);
                (shared.remotes[sibling].timers).fire(time.saturating_sub(LATE), woken);
            });
        }
        now.saturating_sub(begun)
    }

    /// Has `turn` take as many events as the ring has room for, and wakes whom it says. Half of the room stays for what others
    /// have injected: the connections of a stuck sibling come that way, and would else get what these here leave, which is nothing.
    fn harvest(&self, turn: impl FnOnce(&mut Harvest, usize)) {
        let mut woken = {
            let core = self.core();
            let mut harvest = core.harvest.borrow_mut();
            let room = core.queue.room();
            let events_max = room - self.injected_share().min(room / 2);
            let events_max = events_max.clamp(EVENTS_MIN, EVENTS_MAX);
            turn(&mut harvest, events_max);
            if harvest.woken.is_empty() {
                return;
            }
            mem::take(&mut harvest.woken)
        };
        self.sampler.note_all(&woken);
        wake_all(&mut woken); // may be anybody's code: nothing is borrowed
        self.core().harvest.borrow_mut().woken = woken;
    }

    fn take_arrivals(&self) {
        if !self.takes_arrivals {
            return;
        }
        let Some(arrivals) = self.remote().arrivals.take() else {
            return;
        };
        for arrival in arrivals {
            arrival.pinned.bind(self.local.inbox());
            self.shared().local_tasks_count.fetch_add(1, Relaxed); // a statistic
            self.local.adopt(arrival.task, arrival.runnable);
        }
    }

    /// Takes this worker's share of the injector, but not more than `max`.
    ///
    /// The oldest is returned, to run now: tasks that yield again and again may fill the ring for ever, and what has
    /// overflowed from it would starve behind them.
    fn take_injected(&self, max: usize) -> Option<Runnable> {
        let share = self.injected_share().min(max);
        if share == 0 {
            return None;
        }
        let core = self.core();
        let (mut oldest, mut count) = (None, 0);
        let take = |task| {
            count += 1;
            if oldest.is_none() {
                oldest = Some(task);
            } else {
                (core.queue.push(task)).expect("only the owner pushes, and there was room");
            }
        };
        (self.shared().injector).pop(share.min(core.queue.room() + 1), take);
        self.counters().injected.add(count);
        oldest
    }

    /// How much of the injector is for this worker.
    fn injected_share(&self) -> usize {
        match self.shared().injector.len() {
            0 => 0, // nearly always, and to divide takes as long as a short poll
            waiting => waiting.div_ceil(self.shared().workers_count()),
        }
    }

    /// Appends to the ring.
    #[inline]
    fn push(&self, core: &Core, task: Runnable) {
        if let Err(task) = core.queue.push(task) {
            self.overflow(core, task);
        }
    }

    /// The ring is full: half of it goes where every worker looks.
    #[cold]
    fn overflow(&self, core: &Core, task: Runnable) {
        match core.queue.take_older_half() {
            Some(older_half) => self.shared().inject(older_half.chain([task])),
            None => self.push(core, task), // a thief has made room
        }
    }

    /// Has a sibling woken if there is more here than this worker can run before that one is awake.
    #[inline]
    fn ask_for_help(&self, core: &Core) {
        if core.is_backlogged() && self.shared().idle.somebody_could_help() {
            self.shared().work_published();
        }
    }

    /// This worker was woken for work and has found some, or something else to do: if there is more, the next one is woken
    /// before it begins.
    #[cold]
    fn stop_searching(&self) {
        self.searching.set(false);
        self.shared().idle.stop_searching();
        if self.shared().has_work() {
            self.shared().work_published();
        }
    }

    #[inline]
    fn core(&self) -> Ref<'_, Core> {
        Ref::map(self.core.borrow(), |core| {
            core.as_ref().expect("the worker loop runs with a core")
        })
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.home.shared
    }

    fn remote(&self) -> &Remote {
        &self.remote
    }

    #[inline]
    fn counters(&self) -> &Counters {
        &self.remote.counters
    }
}

/// A worker that polls gives its CPU away first, and then so often. That takes three times as long as a look at the reactor: with
/// it at every look, a single connection's messages were answered 2 % later.
const GIVE_WAY_EVERY: Duration = Duration::from_micros(2);

/// With more than these, the injector holds what has overflowed from a ring.
const WOKEN_MAX: usize = 16;

/// Events are taken even when the ring is full, or I/O would wait for as long as the tasks keep it so.
const EVENTS_MIN: usize = 8;
