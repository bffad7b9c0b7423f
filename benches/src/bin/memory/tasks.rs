//! Tasks that do nothing: they wait for ever, or sleep.
//!
//! The one thread runs the main future and the tasks in turn, so a task that has begun to wait has been polled once, and has
//! all that it will ever have.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use wakeful_benches::cli::Result;
use wakeful_benches::memory::{Cost, Tables};

use crate::counting::Counted;
use crate::each;
use crate::runtime::Runtime;

/// Tasks with futures of 32 to 152 bytes, since an allocation may be rounded up; without the futures. (A smaller future may be
/// kept where its task has room for more anyway, for how it ends.)
pub(crate) fn waiting<R: Runtime>(tables: Tables) -> Result<Cost> {
    let spawn_each: [fn(); 16] = [
        spawn_waiting::<R, 4>,
        spawn_waiting::<R, 5>,
        spawn_waiting::<R, 6>,
        spawn_waiting::<R, 7>,
        spawn_waiting::<R, 8>,
        spawn_waiting::<R, 9>,
        spawn_waiting::<R, 10>,
        spawn_waiting::<R, 11>,
        spawn_waiting::<R, 12>,
        spawn_waiting::<R, 13>,
        spawn_waiting::<R, 14>,
        spawn_waiting::<R, 15>,
        spawn_waiting::<R, 16>,
        spawn_waiting::<R, 17>,
        spawn_waiting::<R, 18>,
        spawn_waiting::<R, 19>,
    ];
    let mut cost = cost::<R>(tables, |index| spawn_each[index % spawn_each.len()]())?;
    cost.bytes -= f64::from(8 * (4..=19).sum::<u32>()) / 16.0;
    Ok(cost)
}

/// Tasks that sleep for an hour, in all.
pub(crate) fn sleeping<R: Runtime>(tables: Tables) -> Result<Cost> {
    cost::<R>(tables, |_| {
        R::spawn(async {
            note_beginning();
            R::sleep(HOUR).await;
        });
    })
}

fn cost<R: Runtime>(tables: Tables, spawn: impl Fn(usize)) -> Result<Cost> {
    let more = match tables {
        Tables::Full => 0,
        Tables::JustGrown => 1,
    };
    let (few, many) = (FEW + more, MANY + more);
    R::run(async {
        // In small crowds: it is not the queue of those that are due that is to be counted.
        let have = async |count| {
            while BEGUN.get() < count {
                let begun = BEGUN.get();
                let crowd = begun..count.min(begun + CROWD);
                let wanted = crowd.end;
                crowd.for_each(&spawn);
                while BEGUN.get() < wanted {
                    Yield::default().await;
                }
            }
            Counted::now()
        };
        let before = have(few).await;
        each(before, have(many).await, many - few)
    })
}

fn spawn_waiting<R: Runtime, const WORDS: usize>() {
    R::spawn(Waiting([0; WORDS]));
}

/// Never ends, and keeps its words until then.
struct Waiting<const WORDS: usize>([usize; WORDS]);

impl<const WORDS: usize> Future for Waiting<WORDS> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        note_beginning();
        self.0[0] += 1;
        Poll::Pending
    }
}

/// Gives the tasks a turn.
#[derive(Default)]
struct Yield {
    has_yielded: bool,
}

impl Future for Yield {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.has_yielded {
            return Poll::Ready(());
        }
        self.has_yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

fn note_beginning() {
    BEGUN.set(BEGUN.get() + 1);
}

thread_local! {
    /// How many tasks have been polled.
    static BEGUN: Cell<usize> = const { Cell::new(0) };
}

/// Powers of two; their difference is a multiple of the kinds of futures.
const FEW: usize = 1 << 11;
const MANY: usize = 1 << 14;
const CROWD: usize = 64;
const HOUR: Duration = Duration::from_secs(3600);
