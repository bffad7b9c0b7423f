//! The connections of each worker: made, run and counted without another thread.
//!
//! They are made where they will run, because a socket stays with the reactor of the worker on which it first had to wait.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use futures_lite::future;
use wakeful::time::{Instant, sleep};
use wakeful::{Handle, JoinHandle, spawn_local};

use super::args::LoadArgs;
use super::connection::Connection;
use super::tally::{Failure, Tally};
use crate::peer::Stream;

/// The connections of a worker, with their numbers.
pub(super) type Crew = Vec<(u64, Stream)>;

/// What is seen of the workers while they run.
pub(super) struct Live {
    /// Messages that have come back; one for each worker.
    echoed: Vec<Arc<AtomicU64>>,
    /// They are to end at once.
    pub(super) is_interrupted: AtomicBool,
}

impl Live {
    /// For so many workers.
    pub(super) fn new(workers: usize) -> Self {
        Self {
            echoed: (0..workers).map(|_| Arc::default()).collect(),
            is_interrupted: AtomicBool::new(false),
        }
    }

    /// Messages that have come back until now.
    pub(super) fn echoed(&self) -> u64 {
        self.echoed.iter().map(|echoed| echoed.load(Relaxed)).sum()
    }
}

/// Makes all connections. Which could not be made is in the tally.
///
/// If the first of a worker cannot be made there is no server, and this is the error.
pub(super) async fn connect(
    handle: &Handle,
    args: &Arc<LoadArgs>,
) -> io::Result<(Vec<Crew>, Tally)> {
    let workers = handle.workers_count();
    let connecting: Vec<_> = (0..workers)
        .map(|worker| {
            let args = args.clone();
            let indices = (worker as u64..args.connections).step_by(workers);
            handle.spawn_pinned(worker, move || connect_crew(args, indices))
        })
        .collect();
    let mut crews = Vec::with_capacity(workers);
    let mut tally = Tally::new();
    for connecting in connecting {
        let (crew, failures) = connecting.await??;
        crews.push(crew);
        for failure in &failures {
            tally.failed(failure);
        }
    }
    Ok((crews, tally))
}

/// Makes the connections with these numbers, a few at a time.
async fn connect_crew(
    args: Arc<LoadArgs>,
    mut indices: impl Iterator<Item = u64> + 'static,
) -> io::Result<(Crew, Vec<Failure>)> {
    let mut crew = Crew::new();
    if let Some(first) = indices.next() {
        crew.push((first, args.peer.connect(Some(args.timeout)).await?));
    }
    let (crew, failures) = (Rc::new(Cell::new(crew)), Rc::new(Cell::new(Vec::new())));
    let indices = Rc::new(RefCell::new(indices));
    let lane = || {
        let (args, indices) = (args.clone(), indices.clone());
        let (crew, failures) = (crew.clone(), failures.clone());
        spawn_local(async move {
            loop {
                let next = indices.borrow_mut().next();
                let Some(index) = next else { return };
                match args.peer.connect(Some(args.timeout)).await {
                    Ok(stream) => push(&crew, (index, stream)),
                    Err(error) => push(&failures, Failure::NotConnected(error)),
                }
            }
        })
    };
    let lanes: Vec<_> = (0..LANES).map(|_| lane()).collect();
    for lane in lanes {
        lane.await?;
    }
    Ok((crew.take(), failures.take()))
}

fn push<T>(place: &Cell<Vec<T>>, item: T) {
    let mut items = place.take();
    items.push(item);
    place.set(items);
}

/// Starts all of them.
pub(super) fn run(
    handle: &Handle,
    args: &Arc<LoadArgs>,
    crews: Vec<Crew>,
    live: &Arc<Live>,
    start: Instant,
) -> Vec<JoinHandle<Tally>> {
    let start_one = |(worker, crew)| {
        let (args, live) = (args.clone(), live.clone());
        handle.spawn_pinned(worker, move || run_crew(args, crew, live, worker, start))
    };
    crews.into_iter().enumerate().map(start_one).collect()
}

/// Gives every connection a task, and waits until all have ended, or until they are to end.
async fn run_crew(
    args: Arc<LoadArgs>,
    crew: Crew,
    live: Arc<Live>,
    worker: usize,
    start: Instant,
) -> Tally {
    let tally = Rc::new(RefCell::new(Tally::new()));
    let mut tasks: Vec<_> = crew
        .into_iter()
        .map(|connection| {
            let echoed = live.echoed[worker].clone();
            let connection = Connection::new(&args, connection, start, tally.clone(), echoed);
            spawn_local(connection.run())
        })
        .collect();
    let all_end = async {
        while let Some(task) = tasks.last_mut() {
            let _ = task.await; // only a panic makes this fail, and has been printed
            tasks.pop();
        }
    };
    let interruption = async {
        while !live.is_interrupted.load(Relaxed) {
            sleep(LOOK_AGAIN).await;
        }
    };
    future::or(all_end, interruption).await;
    for task in tasks {
        let _ = task.cancel().await; // as above
    }
    tally.replace(Tally::new())
}

/// How many connections a worker makes at a time: a listener's backlog may be as short as 128.
const LANES: usize = 32;

/// How often to look whether there was a Ctrl-C. Seldom enough not to be measured.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
