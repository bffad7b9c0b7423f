//! Values that belong to a task, or to a part of one: found by everything that it calls.
//!
//! The value lies in the future that [`TaskLocal::scope`] returns, so it goes where the task goes and is dropped with it. For as
//! long as that future is polled, or dropped, the value is at the head of a list of the thread:
//!
//! ```text
//!   SCOPES (thread) ──▶ { key, value } ──▶ { key, value } ──▶ nothing
//!                       the inner scope     the outer one
//! ```
//!
//! Who asks goes along the list to the first value of the key. An entry is made for each poll and is taken apart after it; so a
//! value can be in one list only, need not be `Sync`, and no list is borrowed while code of others runs. That costs an
//! allocation per poll of such a future, and those without values nothing.
//!
//! A key is its address: hence `&'static self`, and a byte that keeps two keys apart.
//!
//! Rejected: *a map in the task's header*. It would be a word in every task, and a scope within a task would still need the list.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::AtomicU8;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

/// A value that a future and everything that it calls can see: the number of a request, say.
///
/// It is made a `static`. A future that is wrapped in a [`scope`](Self::scope) sees the value wherever it is polled; tasks that it
/// spawns do not, unless they get a scope of their own. It works in any future, also where no runtime is.
///
/// # Examples
///
/// ```
/// use wakeful::TaskLocal;
///
/// static REQUEST: TaskLocal<u64> = TaskLocal::new();
///
/// fn log(line: &str) -> String {
///     match REQUEST.get() {
///         Some(request) => format!("request {request}: {line}"),
///         None => line.to_owned(),
///     }
/// }
///
/// wakeful::block_on(async {
///     let task = wakeful::spawn(REQUEST.scope(7, async {
///         wakeful::yield_now().await;
///         log("begins")
///     }));
///     assert_eq!(task.await.unwrap(), "request 7: begins");
///     assert_eq!(log("ends"), "ends");
/// });
/// ```
pub struct TaskLocal<T> {
    /// Never read. It changes, as far as the compiler knows, so no two keys are merged.
    _place: AtomicU8,
    value: PhantomData<fn() -> T>,
}

impl<T: 'static> TaskLocal<T> {
    /// A key, for a `static`.
    #[expect(clippy::new_without_default, reason = "only a `static` is of use")]
    pub const fn new() -> Self {
        Self {
            _place: AtomicU8::new(0),
            value: PhantomData,
        }
    }

    /// Wraps `future` so that it sees `value` whenever it is polled, and when it is dropped. An inner scope hides an outer one.
    ///
    /// # Cancel safety
    ///
    /// That of `future`. The value is dropped after it.
    pub fn scope<F: Future>(&'static self, value: T, future: F) -> Scope<T, F> {
        Scope {
            key: self,
            value: Some(Box::new(value)),
            future: Some(future),
        }
    }

    /// Shows the value to `look`. `None` outside of every scope.
    pub fn with<R>(&'static self, look: impl FnOnce(&T) -> R) -> Option<R> {
        let key = self.address();
        let mut entry = SCOPES.with(|scopes| scopes.borrow().clone());
        while let Some(present) = entry {
            if present.key == key {
                return present.value.downcast_ref().map(look);
            }
            entry = present.outer.clone();
        }
        None
    }

    /// A copy of the value. `None` outside of every scope.
    pub fn get(&'static self) -> Option<T>
    where
        T: Clone,
    {
        self.with(T::clone)
    }

    fn address(&'static self) -> usize {
        std::ptr::from_ref(self).addr()
    }
}

impl<T> fmt::Debug for TaskLocal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskLocal").finish_non_exhaustive()
    }
}

pin_project! {
    /// A future that sees a value; see [`TaskLocal::scope`].
    #[must_use = "futures do nothing unless you `.await` or poll them"]
    pub struct Scope<T: 'static, F> {
        key: &'static TaskLocal<T>,
        // None only while it is in the list of a thread, and after a poll that panicked there.
        value: Option<Box<T>>,
        // None when it has ended.
        #[pin]
        future: Option<F>,
    }

    impl<T: 'static, F> PinnedDrop for Scope<T, F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if this.future.is_some() {
                enter(this.key, this.value, || this.future.set(None));
            }
        }
    }
}

impl<T: 'static, F: Future> Future for Scope<T, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        enter(this.key, this.value, || {
            let future = this.future.as_mut().as_pin_mut();
            let polled = future
                .expect("a scope was polled after it had ended")
                .poll(cx);
            if polled.is_ready() {
                this.future.set(None);
            }
            polled
        })
    }
}

impl<T: 'static, F> fmt::Debug for Scope<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").finish_non_exhaustive()
    }
}

/// A value of the scope that is being polled.
struct Entry {
    key: usize,
    value: Box<dyn Any>,
    outer: Option<Rc<Self>>,
}

/// Calls `body` with the value at the head of the thread's list, and puts it back.
fn enter<T: 'static, R>(
    key: &'static TaskLocal<T>,
    value: &mut Option<Box<T>>,
    body: impl FnOnce() -> R,
) -> R {
    /// Takes the head away again, also when the body panics.
    struct Leave<'a, T: 'static>(&'a mut Option<Box<T>>);

    impl<T: 'static> Drop for Leave<'_, T> {
        fn drop(&mut self) {
            let head = SCOPES.with(|scopes| {
                let mut scopes = scopes.borrow_mut();
                let head = scopes.take();
                *scopes = head.as_ref().and_then(|head| head.outer.clone());
                head
            });
            // Whoever looked at it has done so within the body, so nobody else holds it.
            let entry = head.and_then(Rc::into_inner);
            *self.0 = entry.and_then(|entry| entry.value.downcast().ok());
        }
    }

    let Some(own) = value.take() else {
        return body(); // a poll before this one was in the middle of another: it has no value any more
    };
    SCOPES.with(|scopes| {
        let mut scopes = scopes.borrow_mut();
        let outer = scopes.take();
        *scopes = Some(Rc::new(Entry {
            key: key.address(),
            value: own,
            outer,
        }));
    });
    let _leave = Leave(value);
    body()
}

thread_local! {
    /// The values of the scopes that are being polled on this thread, the innermost first.
    static SCOPES: RefCell<Option<Rc<Entry>>> = const { RefCell::new(None) };
}
