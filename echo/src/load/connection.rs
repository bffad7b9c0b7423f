//! One connection under load: it sends by its [`Pace`], and checks what comes back.
//!
//! ```text
//!   begun ──────────▶ how far it may send: a message that has begun may go out
//!   sent  ────────▶   bytes, of which any number of messages fit into one write
//!   received ───▶     bytes, each compared with what was sent at its position
//! ```
//!
//! All messages have one size, so the three positions are the whole state of the conversation. When no message begins any more
//! and all have come back, it half-closes and waits for the server to do the same: an echo server owes that, too.
//!
//! A connection that fails ends there; it is counted and not replaced, so that a broken server is not hidden by new
//! connections.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use wakeful::io::with_scratch;
use wakeful::time::{Instant, Sleep, sleep_until};

use super::args::LoadArgs;
use super::pace::Pace;
use super::pattern::Pattern;
use super::tally::{Failure, Tally};
use crate::peer::Stream;

/// A connection that has not ended. What it has sent is counted when it is dropped.
pub(super) struct Connection {
    stream: Stream,
    pattern: Pattern,
    pace: Pace,
    /// Of a message, in bytes.
    size: u64,
    /// Messages that may be on their way or have been.
    begun: u64,
    /// Bytes.
    sent: u64,
    /// Bytes.
    received: u64,
    is_finishing: bool,
    /// Wakes it when the next message is to begin.
    next: Sleep,
    patience: Patience,
    tally: Rc<RefCell<Tally>>,
    /// For the progress bar.
    echoed: Arc<AtomicU64>,
}

impl Connection {
    /// Connection number `index` of a run that begins at `start`.
    pub(super) fn new(
        args: &LoadArgs,
        (index, stream): (u64, Stream),
        start: Instant,
        tally: Rc<RefCell<Tally>>,
        echoed: Arc<AtomicU64>,
    ) -> Self {
        Self {
            stream,
            pattern: Pattern::of(index),
            pace: Pace::of(args, index, start),
            size: args.size,
            begun: 0,
            sent: 0,
            received: 0,
            is_finishing: false,
            next: sleep_until(start),
            patience: Patience::new(args.timeout, start),
            tally,
            echoed,
        }
    }

    /// Sends and receives until both have come to their end, and counts how that was.
    pub(super) async fn run(mut self) {
        let ended = std::future::poll_fn(|cx| self.poll(cx)).await;
        if let Err(failure) = ended {
            self.tally.borrow_mut().failed(&failure);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        loop {
            let now = Instant::now();
            self.begin(now)?;
            let sends = self.poll_send(cx)?;
            match self.poll_receive(cx)? {
                Poll::Ready(Received::End) => return Poll::Ready(self.ended()),
                Poll::Ready(Received::Bytes) => {}
                // A write may have been short: one more try, which waits.
                Poll::Pending if sends.is_ready() => {}
                Poll::Pending => return self.poll_timers(cx, now),
            }
        }
    }

    /// Lets messages begin whose time has come, or says that there will be none.
    fn begin(&mut self, now: Instant) -> Result<(), Failure> {
        if self.is_finishing {
            return Ok(());
        }
        if self.pace.is_late(now) {
            self.begun = self.sent.div_ceil(self.size); // the others will not be sent
        } else {
            let was_settled = self.is_settled();
            let echoed = self.received / self.size;
            self.begun = self.pace.begun(now, self.begun, echoed);
            if was_settled {
                self.patience.renew(now); // it has waited for nothing until now
            }
        }
        if self.pace.is_over(now, self.begun) && self.is_settled() {
            self.is_finishing = true;
            self.patience.renew(now);
            self.stream.finish().map_err(Failure::Broken)?;
        }
        Ok(())
    }

    /// Ready if it has sent something, and pending if it has to wait before it can, or has nothing to send.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let due = self.begun * self.size - self.sent;
        if due == 0 {
            return Poll::Pending;
        }
        let sent = with_scratch(|buffer| {
            let count = usize::try_from(due).map_or(buffer.len(), |due| due.min(buffer.len()));
            self.pattern.fill(self.sent, &mut buffer[..count]);
            self.stream.poll_write(cx, &buffer[..count])
        });
        sent.map(|sent| {
            self.sent += sent.map_err(Failure::Broken)? as u64;
            Ok(())
        })
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Received, Failure>> {
        with_scratch(|buffer| {
            let count = match self.stream.poll_read(cx, buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Failure::Broken(error))),
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(Received::End)),
                Poll::Ready(Ok(count)) => count,
            };
            Poll::Ready(self.check(&buffer[..count]).map(|()| Received::Bytes))
        })
    }

    /// Compares what has come, and counts the messages that are complete with it.
    fn check(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if let Some(position) = self.pattern.first_difference(self.received, bytes) {
            // What was not sent yet cannot have come back changed.
            return Err(match position < self.sent {
                true => Failure::WrongByte(position),
                false => Failure::Surplus,
            });
        }
        let received = self.received + bytes.len() as u64;
        if received > self.sent {
            return Err(Failure::Surplus);
        }
        let now = Instant::now();
        let (before, after) = (self.received / self.size, received / self.size);
        if before < after {
            let mut tally = self.tally.borrow_mut();
            for number in before..after {
                tally.echoed(self.pace.began(number), now);
            }
            self.echoed.fetch_add(after - before, Relaxed);
        }
        self.received = received;
        self.patience.renew(now);
        Ok(())
    }

    /// The server will send nothing more.
    fn ended(&self) -> Result<(), Failure> {
        if self.is_finishing {
            return Ok(());
        }
        let missing = self.sent - self.received;
        Err(Failure::Closed { missing })
    }

    /// Waits for the time of the next message, and not for ever for the server.
    fn poll_timers(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<Result<(), Failure>> {
        let is_server_due = self.is_finishing || !self.is_settled();
        if is_server_due && self.patience.poll_over(cx).is_ready() {
            return Poll::Ready(Err(Failure::Silence(self.patience.limit)));
        }
        let may_send = self.begun * self.size > self.sent || !self.pace.is_over(now, self.begun);
        if may_send
            && !self.pace.is_late(now)
            && let Some(moment) = self.pace.next_moment(self.begun)
        {
            self.next.reset(moment);
            if Pin::new(&mut self.next).poll(cx).is_ready() {
                cx.waker().wake_by_ref(); // its time has come just now
            }
        }
        Poll::Pending
    }

    /// Whether everything that has begun has come back.
    fn is_settled(&self) -> bool {
        self.received == self.begun * self.size
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let sent = self.sent.div_ceil(self.size);
        let missed = self.pace.missed(Instant::now(), self.begun, sent);
        let mut tally = self.tally.borrow_mut();
        tally.sent += sent;
        tally.unsent += missed;
    }
}

/// What a successful read brought.
enum Received {
    Bytes,
    End,
}

/// Ends when the server has sent nothing for a time.
struct Patience {
    limit: Duration,
    over: Sleep,
}

impl Patience {
    fn new(limit: Duration, start: Instant) -> Self {
        let over = sleep_until(start + limit);
        Self { limit, over }
    }

    /// It begins anew. This costs a store: the timer finds out by itself.
    fn renew(&mut self, now: Instant) {
        self.over.reset(now + self.limit);
    }

    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.over).poll(cx)
    }
}
