//! Everything at once, by chance: tasks that spawn, wait, wake, abort, block and panic, threads from outside that interfere, and a
//! runtime that ends in the middle of it.
//!
//! What single tests show of single parts must hold of them together: nothing hangs, and each future is dropped, once. A failure
//! names its seed. What comes out of a seed also depends on how the threads happen to run, so the same one may pass the next time.

use std::future::{pending, poll_fn};
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use futures::io::{Cursor, sink};
use wakeful::net::UnixStream;
use wakeful::time::{Instant, sleep, timeout};
use wakeful::{Builder, Handle, JoinHandle, Observer, Runtime, TaskInfo};
use wakeful::{block_in_place, spawn, spawn_blocking, spawn_local, yield_now};
use wakeful_tests::watchdog::LIMIT;
use wakeful_tests::{eventually, within};

#[test]
fn on_one_worker_nothing_hangs_and_nothing_is_left() {
    (0..ROUNDS).for_each(|seed| round(1, seed));
}

#[test]
fn on_two_workers_nothing_hangs_and_nothing_is_left() {
    (0..ROUNDS).for_each(|seed| round(2, seed));
}

#[test]
fn on_four_workers_nothing_hangs_and_nothing_is_left() {
    (0..ROUNDS).for_each(|seed| round(4, seed));
}

#[test]
fn in_several_runtimes_at_once_nothing_hangs_and_nothing_is_left() {
    for seed in 0..ROUNDS / 4 {
        thread::scope(|scope| {
            for number in 0..4 {
                scope.spawn(move || round(1 + number % 3, 1000 + 4 * seed + number as u64));
            }
        });
    }
}

const ROUNDS: u64 = 16;

/// So many steps of tasks, and the runtime ends.
const STEPS: usize = 3_000;

/// How many futures there are at a time, about.
const LIVE_MAX: usize = 200;

#[track_caller]
fn round(workers: usize, seed: u64) {
    let _note = Note(workers, seed);
    within(LIMIT, move || {
        let world = Arc::new(World::default());
        let mut dice = Dice(seed * 2 + 1);
        let mut builder = Builder::new().workers(workers).seed(seed);
        if dice.below(2) == 0 {
            builder = builder.observer(Nervous);
        }
        if dice.below(2) == 0 {
            builder = builder.poll_budget(1 + dice.below(3) as u32);
        }
        let runtime = builder.build().unwrap();
        let handle = runtime.handle().clone();
        let strangers = [0, 1].map(|number| {
            let (world, handle) = (world.clone(), runtime.handle().clone());
            let dice = Dice(seed * 1000 + number);
            thread::spawn(move || interfere(&world, &handle, dice))
        });
        runtime.block_on(async {
            while world.steps.load(SeqCst) < STEPS {
                if world.has_room() {
                    drop(spawn(life(world.clone(), dice.next())));
                }
                yield_now().await;
            }
        });
        match dice.below(3) {
            0 => drop(runtime),
            1 => assert!(runtime.shutdown(LIMIT).is_clean()),
            _ => end_inside(runtime),
        }
        world.is_over.store(true, SeqCst);
        strangers.into_iter().for_each(|it| it.join().unwrap());
        let left = std::mem::take(&mut *world.wakers.lock().unwrap());
        left.into_iter().for_each(Waker::wake);
        drop(std::mem::take(&mut *world.handles.lock().unwrap()));
        eventually("each future is dropped", || world.live() == 0);
        eventually("each task is counted once", || handle.metrics().tasks == 0);
    });
}

/// Drops the runtime in a task of its own.
fn end_inside(runtime: Runtime) {
    let handle = runtime.handle().clone();
    let dropping = handle.spawn(async move { drop(runtime) });
    let _ = handle.block_on(dropping); // cancelled where it had no turn before
}

/// What all tasks of one runtime share.
#[derive(Default)]
struct World {
    made: AtomicUsize,
    dropped: AtomicUsize,
    steps: AtomicUsize,
    is_over: AtomicBool,
    wakers: Mutex<Vec<Waker>>,
    handles: Mutex<Vec<JoinHandle<()>>>,
}

impl World {
    fn live(&self) -> usize {
        self.made.load(SeqCst) - self.dropped.load(SeqCst)
    }

    fn has_room(&self) -> bool {
        self.made.load(SeqCst) < self.dropped.load(SeqCst) + LIVE_MAX
    }

    fn take_waker(&self, dice: &mut Dice) -> Option<Waker> {
        let mut wakers = self.wakers.lock().unwrap();
        let count = wakers.len();
        (count > 0).then(|| wakers.swap_remove(dice.below(count)))
    }

    fn take_handle(&self, dice: &mut Dice) -> Option<JoinHandle<()>> {
        let mut handles = self.handles.lock().unwrap();
        let count = handles.len();
        (count > 0).then(|| handles.swap_remove(dice.below(count)))
    }
}

/// Is in each future.
struct Life(Arc<World>);

impl Life {
    fn new(world: &Arc<World>) -> Self {
        world.made.fetch_add(1, SeqCst);
        Self(world.clone())
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if let Some(waker) = self
            .0
            .take_waker(&mut Dice(self.0.made.load(SeqCst) as u64))
        {
            waker.wake(); // also as the runtime ends, and of tasks that are over
        }
        self.0.dropped.fetch_add(1, SeqCst);
    }
}

/// A task that does some steps, each a thing by chance.
fn life(world: Arc<World>, seed: u64) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    let life = Life::new(&world);
    Box::pin(async move {
        let _life = life;
        let mut dice = Dice(seed);
        for _ in 0..dice.below(20) {
            world.steps.fetch_add(1, SeqCst);
            step(&world, &mut dice).await;
        }
    })
}

async fn step(world: &Arc<World>, dice: &mut Dice) {
    let short = Duration::from_micros(dice.below(300) as u64);
    let choice = dice.below(20);
    let child = (5..=10).contains(&choice) && world.has_room();
    let child = child.then(|| life(world.clone(), dice.next()));
    match (choice, child) {
        (0, _) => sleep(short).await,
        (1, _) => drop(timeout(short, pending::<()>()).await),
        (2, _) => {
            leave_waker(world).await;
        }
        (3, _) => drop(world.take_waker(dice).map(|waker| waker.wake_by_ref())),
        (4, _) => drop(world.take_waker(dice).map(Waker::wake)),
        (5, Some(child)) => drop(spawn(child)),
        (6, Some(child)) => drop(spawn(child).await),
        (7, Some(child)) => {
            let child = spawn(child);
            child.abort();
            drop(child.await);
        }
        (8, Some(child)) => drop(spawn(child).cancel().await),
        (9, Some(child)) => world.handles.lock().unwrap().push(spawn(child)),
        (10, Some(child)) => {
            let runtime = Handle::current();
            let worker = dice.below(runtime.workers_count());
            drop(runtime.spawn_pinned(worker, || child));
        }
        (11, _) => block_in_place(|| thread::sleep(short / 4)),
        (12, _) => drop(spawn_blocking(|| ()).await),
        (13, _) => {
            let (here, there) = UnixStream::pair().unwrap();
            match dice.below(3) {
                0 => drop(timeout(short, here.read(&mut [0])).await),
                1 => {
                    here.set_read_deadline(Some(Instant::now() + short));
                    let _ = here.read(&mut [0]).await;
                    here.set_read_deadline(None);
                }
                _ => {
                    here.set_idle_timeout(Some(short));
                    let _ = here.read(&mut [0]).await;
                    here.set_idle_timeout(None);
                }
            }
            let _ = there.write(&[7]).await; // the runtime may be over
            let _ = here.read(&mut [0]).await;
        }
        (14, _) => {
            let life = Life::new(world);
            drop(spawn_local(async move { (yield_now().await, drop(life)) }));
        }
        (15, _) => {
            let bytes = vec![7; dice.below(1 << 18)];
            drop(wakeful::io::copy(Cursor::new(bytes), sink()).await);
        }
        (16, _) if dice.below(20) == 0 => drop(Handle::current().tasks()),
        (17, _) if dice.below(4) == 0 => resume_unwind(Box::new("by chance")),
        (18, _) => {
            if let Some(handle) = world.take_handle(dice) {
                drop(timeout(short, handle).await);
            }
        }
        _ => yield_now().await,
    }
}

/// Leaves the task's waker for whoever takes it, and waits for one poll.
async fn leave_waker(world: &World) {
    let mut is_left = false;
    poll_fn(|cx| match std::mem::replace(&mut is_left, true) {
        true => Poll::Ready(()),
        false => {
            world.wakers.lock().unwrap().push(cx.waker().clone());
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await;
}

/// A thread that is no worker.
fn interfere(world: &Arc<World>, runtime: &Handle, mut dice: Dice) {
    while !world.is_over.load(SeqCst) {
        match dice.below(6) {
            0 if world.has_room() => drop(runtime.spawn(life(world.clone(), dice.next()))),
            1 => drop(world.take_waker(&mut dice).map(Waker::wake)),
            2 => drop(world.take_handle(&mut dice)),
            3 => {
                if let Some(handle) = world.take_handle(&mut dice) {
                    handle.abort();
                }
            }
            4 => drop(runtime.metrics()),
            _ => thread::sleep(Duration::from_micros(dice.below(200) as u64)),
        }
    }
}

/// Panics now and then, whatever it is told.
struct Nervous;

impl Observer for Nervous {
    fn poll_begins(&self, task: &TaskInfo) {
        panic_sometimes(task);
    }

    fn ended(&self, task: &TaskInfo) {
        panic_sometimes(task);
    }
}

fn panic_sometimes(task: &TaskInfo) {
    if format!("{:?}", task.id()).len() % 5 == 0 {
        resume_unwind(Box::new("an observer"));
    }
}

/// Numbers by chance: splitmix64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// Says with which seed a test failed.
struct Note(usize, u64);

impl Drop for Note {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("… with {} worker(s) and seed {}", self.0, self.1);
        }
    }
}
