//! Values that belong to a task, or to a part of one.

use std::cell::Cell;
use std::future::pending;
use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Waker};

use wakeful::{TaskLocal, spawn, spawn_local};
use wakeful_tests::{on_workers, panic_of, yields};

static NUMBER: TaskLocal<u32> = TaskLocal::new();
static OTHER: TaskLocal<u32> = TaskLocal::new();
static COUNT: TaskLocal<Cell<u32>> = TaskLocal::new();

#[test]
fn each_task_sees_its_own_value_wherever_it_runs() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            let tasks: Vec<_> = (0..100)
                .map(|number| {
                    spawn(NUMBER.scope(number, async move {
                        for _ in 0..20 {
                            assert_eq!(NUMBER.get(), Some(number));
                            yields(1).await;
                        }
                    }))
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            assert_eq!(NUMBER.get(), None);
        });
    });
}

#[test]
fn a_task_that_is_spawned_in_a_scope_is_outside_of_it() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(NUMBER.scope(1, async {
            assert_eq!(spawn(async { NUMBER.get() }).await.unwrap(), None);
            assert_eq!(spawn_local(async { NUMBER.get() }).await.unwrap(), None);
            assert_eq!(NUMBER.get(), Some(1));
        }));
    });
}

#[test]
fn an_inner_scope_hides_the_outer_one_of_its_key_only() {
    wakeful::block_on(NUMBER.scope(
        1,
        OTHER.scope(2, async {
            NUMBER
                .scope(3, async {
                    yields(1).await;
                    assert_eq!((NUMBER.get(), OTHER.get()), (Some(3), Some(2)));
                })
                .await;
            assert_eq!((NUMBER.get(), OTHER.get()), (Some(1), Some(2)));
        }),
    ));
}

#[test]
fn a_value_that_is_not_sync_keeps_its_changes() {
    on_workers([1, 2], |runtime| {
        let task = runtime.spawn(COUNT.scope(Cell::new(0), async {
            for _ in 0..10 {
                COUNT.with(|count| count.set(count.get() + 1)).unwrap();
                yields(1).await;
            }
            COUNT.with(Cell::get)
        }));
        assert_eq!(runtime.block_on(task).unwrap(), Some(10));
    });
}

#[test]
fn a_future_that_is_dropped_sees_the_value_and_the_value_goes_after_it() {
    static SEEN: Mutex<Vec<&str>> = Mutex::new(Vec::new());
    struct Value;
    impl Drop for Value {
        fn drop(&mut self) {
            SEEN.lock().unwrap().push("value");
        }
    }
    static KEY: TaskLocal<Value> = TaskLocal::new();
    struct Looks;
    impl Drop for Looks {
        fn drop(&mut self) {
            let is_there = KEY.with(|_| ()).is_some();
            SEEN.lock().unwrap().push(if is_there {
                "future in scope"
            } else {
                "future"
            });
        }
    }
    let looks = Looks;
    let mut scope = Box::pin(KEY.scope(Value, async move {
        let _looks = looks;
        pending::<()>().await;
    }));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(scope.as_mut().poll(&mut cx).is_pending());
    drop(scope);
    assert_eq!(*SEEN.lock().unwrap(), ["future in scope", "value"]);
}

#[test]
fn looking_may_poll_another_scope() {
    wakeful::block_on(NUMBER.scope(1, async {
        NUMBER.with(|one| {
            let mut inner = pin!(NUMBER.scope(2, async { NUMBER.get() }));
            let polled = inner.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert_eq!((*one, polled), (1, std::task::Poll::Ready(Some(2))));
        });
        assert_eq!(NUMBER.get(), Some(1));
    }));
}

#[test]
fn after_a_panic_the_scope_has_been_left() {
    let text = panic_of(|| {
        wakeful::block_on(NUMBER.scope(1, async { panic!("in the scope of {:?}", NUMBER.get()) }))
    });
    assert_eq!(text, "in the scope of Some(1)");
    assert_eq!(NUMBER.get(), None);
    wakeful::block_on(async {
        let task = spawn(NUMBER.scope(2, async { panic!("again") }));
        assert!(task.await.unwrap_err().is_panic());
        assert_eq!(NUMBER.get(), None);
    });
}
