//! A set of tasks with an owner.

use std::fmt;
use std::future::poll_fn;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use pin_project_lite::pin_project;

use super::context;
use crate::task::{JoinError, JoinHandle};
use crate::util::slab::Slab;
use crate::util::sync::Mutex;

/// Tasks that end with their owner: dropping the group aborts them all.
///
/// A handle of [`spawn`](crate::spawn) detaches when it is dropped; a group never does, so no task outlives the part of the
/// program that needed it, and no error gets lost.
///
/// # Examples
///
/// ```
/// # wakeful::block_on(async {
/// let mut group = wakeful::TaskGroup::new();
/// for n in 0..10 {
///     group.spawn(async move { n * n });
/// }
/// let mut sum = 0;
/// while let Some(square) = group.join_next().await {
///     sum += square.unwrap();
/// }
/// assert_eq!(sum, 285);
/// # });
/// ```
pub struct TaskGroup<T> {
    members: Slab<JoinHandle<T>>,
    /// Members whose future is gone, in the order in which they ended.
    ended: Arc<Ended>,
}

impl<T: 'static> TaskGroup<T> {
    /// An empty group.
    pub fn new() -> Self {
        Self {
            members: Slab::new(),
            ended: Arc::default(),
        }
    }

    /// How many tasks have not been joined.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether every task has been joined.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Spawns a task into the group; see [`wakeful::spawn`](crate::spawn).
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    #[track_caller]
    pub fn spawn<F>(&mut self, future: F)
    where
        F: Future<Output = T> + Send + 'static,
        T: Send,
    {
        let (ended, location) = (self.ended.clone(), Location::caller());
        let home = context::expect_current("`TaskGroup::spawn`").home().clone();
        self.members.insert_with(|key| {
            home.spawn(
                Member {
                    future,
                    _report: Report { ended, key },
                },
                None,
                location,
            )
        });
    }

    /// Waits for the next task to end and returns its result; `None` when the group is empty.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn join_next(&mut self) -> Option<Result<T, JoinError>> {
        poll_fn(|cx| self.poll_join_next(cx)).await
    }

    /// Polls for the next task that has ended; see [`join_next`](Self::join_next).
    pub fn poll_join_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, JoinError>>> {
        if self.members.is_empty() {
            return Poll::Ready(None);
        }
        let Some(key) = self.ended.first(cx) else {
            return Poll::Pending;
        };
        let member = self
            .members
            .get_mut(key)
            .expect("a member is removed after it has reported");
        // Its future is gone, but its result may be a moment behind; then the handle wakes us.
        let Poll::Ready(result) = Pin::new(member).poll(cx) else {
            return Poll::Pending;
        };
        self.ended.remove_first();
        self.members.remove(key);
        Poll::Ready(Some(result))
    }

    /// Waits for all tasks and returns their results in the order in which they ended.
    ///
    /// # Cancel safety
    ///
    /// Results that were already taken are lost when the future is dropped. [`join_next`](Self::join_next) loses none.
    pub async fn join_all(&mut self) -> Vec<Result<T, JoinError>> {
        let mut results = Vec::with_capacity(self.len());
        while let Some(result) = self.join_next().await {
            results.push(result);
        }
        results
    }

    /// Aborts all tasks, without waiting. They stay in the group until they are joined.
    pub fn abort_all(&self) {
        self.members.iter().for_each(|(_, member)| member.abort());
    }

    /// Aborts all tasks and waits until every one of their futures has been dropped. Results are thrown away.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the tasks stay aborted; calling it again goes on waiting.
    pub async fn shutdown(&mut self) {
        self.abort_all();
        while self.join_next().await.is_some() {}
    }
}

impl<T: 'static> Default for TaskGroup<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Drop for TaskGroup<T> {
    fn drop(&mut self) {
        self.members.iter().for_each(|(_, member)| member.abort());
    }
}

impl<T> fmt::Debug for TaskGroup<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskGroup")
            .field("len", &self.members.len())
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// The future of a member: the user's, and a report that is made when it is dropped, however it ends.
    struct Member<F> {
        #[pin]
        future: F,
        // Declared last, so that it reports after the future is gone.
        _report: Report,
    }
}

impl<F: Future> Future for Member<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.project().future.poll(cx)
    }
}

struct Report {
    ended: Arc<Ended>,
    key: usize,
}

impl Drop for Report {
    #[inline]
    fn drop(&mut self) {
        self.ended.report(self.key);
    }
}

/// Which members have ended, and who waits to know.
#[derive(Default)]
struct Ended(Mutex<EndedState>);

#[derive(Default)]
struct EndedState {
    keys: std::collections::VecDeque<usize>,
    owner: Option<Waker>,
}

impl Ended {
    #[inline]
    fn report(&self, key: usize) {
        let owner = {
            let mut state = self.0.lock();
            state.keys.push_back(key);
            state.owner.take()
        };
        if let Some(owner) = owner {
            owner.wake();
        }
    }

    /// The member that ended first, or a place in line for the owner.
    #[inline]
    fn first(&self, cx: &mut Context<'_>) -> Option<usize> {
        let fresh = cx.waker().clone(); // anybody's code: not under the lock
        let mut state = self.0.lock();
        let first = state.keys.front().copied();
        let unused = match first {
            Some(_) => Some(fresh),
            None => state.owner.replace(fresh),
        };
        drop(state);
        drop(unused);
        first
    }

    #[inline]
    fn remove_first(&self) {
        self.0.lock().keys.pop_front();
    }
}
