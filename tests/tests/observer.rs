//! Being told of every task: when it is spawned, polled and gone.

use std::collections::HashMap;
use std::future::{pending, poll_fn};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::thread::{self, ThreadId};
use std::time::Duration;

use wakeful::{Builder, Observer, Runtime, TaskId, TaskInfo, spawn, spawn_local, spawn_named};
use wakeful_tests::watchdog::LIMIT;
use wakeful_tests::{within, yields};

#[test]
fn each_task_is_told_of_in_order_however_it_ends() {
    for workers in [1, 2] {
        within(LIMIT, move || {
            let (runtime, seen) = observed(workers);
            let refused = runtime.handle().clone();
            runtime.block_on(async {
                let tasks: Vec<_> = (0..100).map(|count| spawn(yields(count % 5))).collect();
                let panics = spawn_named("panics", async { panic!("as it should") });
                let aborted = spawn_named("aborted", pending::<()>());
                let local = spawn_local(yields(3));
                let pinned = wakeful::Handle::current().spawn_pinned(0, || yields(1));
                spawn_named("left behind", pending::<()>());
                for task in tasks {
                    task.await.unwrap();
                }
                assert!(panics.await.unwrap_err().is_panic());
                yields(2).await;
                let _ = aborted.cancel().await;
                local.await.unwrap();
                pinned.await.unwrap();
            });
            drop(runtime);
            let too_late = refused.spawn_named("too late", async {});
            assert!(too_late.is_finished());
            let seen = seen.0.lock().unwrap();
            assert_eq!(seen.len(), 100 + 5 + 1);
            for life in seen.values() {
                life.is_in_order();
            }
            let polls = |name: &str| {
                let life = seen
                    .values()
                    .find(|life| life.name.as_deref() == Some(name));
                life.unwrap().polls
            };
            assert_eq!(polls("panics"), 1);
            assert_eq!(polls("too late"), 0);
            assert!(polls("aborted") >= 1);
        });
    }
}

#[test]
fn polls_of_a_task_that_was_counted_by_itself_are_told_one_by_one() {
    within(LIMIT, || {
        let (runtime, seen) = observed(2);
        let id = runtime.block_on(async {
            let task = spawn(yields(500));
            let id = task.id();
            task.await.unwrap();
            id
        });
        drop(runtime);
        assert_eq!(seen.0.lock().unwrap()[&id].polls, 501);
    });
}

#[test]
fn a_task_that_is_spawned_in_a_call_of_the_observer_is_told_of_too() {
    struct Spawns;
    impl Observer for Spawns {
        fn ended(&self, task: &TaskInfo) {
            if task.name() == Some("first") {
                drop(spawn_named("second", async {}));
            } else {
                panic!("which nobody hears of but the panic hook");
            }
        }
    }
    within(LIMIT, || {
        let runtime = Builder::new().workers(1).observer(Spawns).build().unwrap();
        runtime.block_on(async {
            spawn_named("first", async {}).await.unwrap();
            // The registry is empty again when the second has come and gone, and its end has panicked.
            poll_fn(|cx| {
                cx.waker().wake_by_ref();
                let metrics = wakeful::Handle::current().metrics();
                if metrics.tasks == 0 && metrics.polls() >= 4 {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
            .await;
        });
    });
}

fn observed(workers: usize) -> (Runtime, Arc<Lives>) {
    let seen = Arc::new(Lives::default());
    let builder = Builder::new().workers(workers).observer(seen.clone());
    (builder.build().unwrap(), seen)
}

/// What was told of each task.
#[derive(Default)]
struct Lives(Mutex<HashMap<TaskId, Life>>);

#[derive(Default)]
struct Life {
    name: Option<String>,
    spawned: u32,
    polls: u32,
    polled_on: Option<ThreadId>,
    ended: u32,
    out_of_order: bool,
}

impl Life {
    fn is_in_order(&self) {
        assert!(!self.out_of_order, "{:?}", self.name);
        assert_eq!((self.spawned, self.ended), (1, 1), "{:?}", self.name);
    }
}

impl Lives {
    fn note(&self, task: &TaskInfo, note: impl FnOnce(&mut Life) -> bool) {
        let mut lives = self.0.lock().unwrap();
        let life = lives.entry(task.id()).or_default();
        life.name = task.name().map(str::to_owned);
        life.out_of_order |= !note(life) || life.spawned != 1;
    }
}

impl Observer for Lives {
    fn spawned(&self, task: &TaskInfo) {
        self.note(task, |life| {
            life.spawned += 1;
            life.polls == 0
        });
    }

    fn poll_begins(&self, task: &TaskInfo) {
        self.note(task, |life| {
            life.polls += 1;
            life.polled_on.replace(thread::current().id()).is_none()
        });
    }

    fn poll_ends(&self, task: &TaskInfo) {
        self.note(task, |life| {
            life.polled_on.take() == Some(thread::current().id())
        });
    }

    fn ended(&self, task: &TaskInfo) {
        self.note(task, |life| {
            life.ended += 1;
            life.polled_on.is_none()
        });
    }
}

#[test]
fn an_observer_that_sees_nothing_changes_nothing() {
    struct Blind;
    impl Observer for Blind {}
    within(LIMIT, || {
        let runtime = Builder::new().workers(2).observer(Blind).build().unwrap();
        runtime.block_on(async {
            wakeful::time::sleep(Duration::from_millis(1)).await;
            spawn(yields(10)).await.unwrap();
        });
    });
}
