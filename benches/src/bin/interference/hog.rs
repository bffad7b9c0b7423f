//! The task that disturbs.

use std::hint;
use std::thread;
use std::time::Instant;

use wakeful_benches::interference::{Hog, Work};

use crate::runtime::Runtime;

/// Rests, keeps its worker, and so on for ever.
pub(crate) async fn keep_busy<R: Runtime>(hog: Hog) {
    loop {
        if hog.rest.is_zero() {
            R::yield_now().await;
        } else {
            R::sleep(hog.rest).await;
        }
        match hog.work {
            // By the clock, so that a thread which gets less of its CPU keeps the worker no longer.
            Work::Compute => {
                let begin = Instant::now();
                while begin.elapsed() < hog.busy {
                    hint::spin_loop();
                }
            }
            Work::Block => thread::sleep(hog.busy),
        }
    }
}
