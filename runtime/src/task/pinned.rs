//! A future that comes into being on the thread where it stays.

use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

pin_project! {
    /// A closure until the first poll, then the future that it returned.
    pub(super) struct PinnedFuture<C, F> {
        make: Option<C>,
        #[pin]
        future: Option<F>,
    }
}

impl<C, F> PinnedFuture<C, F> {
    pub(super) fn new(make: C) -> Self {
        Self {
            make: Some(make),
            future: None,
        }
    }
}

impl<C: FnOnce() -> F, F: Future> Future for PinnedFuture<C, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        if let Some(make) = this.make.take() {
            this.future.set(Some(make()));
        }
        this.future
            .as_pin_mut()
            .expect("made at the first poll")
            .poll(cx)
    }
}
