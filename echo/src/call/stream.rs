//! The conversation over a connection: both directions at the same time, each with its own end.
//!
//! ```text
//!   standard input ──▶ sending ──▶ server ──▶ receiving ──▶ standard output
//!          end ─────▶ half-close ──────────▶ end ────────▶ done
//! ```
//!
//! They are parts of one task. The end is the server's: it is waited for after the input has ended, and when it comes
//! earlier nothing more can be said.

use std::cell::Cell;
use std::fmt;
use std::future::{pending, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_lite::future;
use wakeful::time::{Instant, Sleep, sleep_until};

use super::stdio::{Input, Output};
use crate::peer::{Peer, Stream};
use crate::units;

/// Connects, and sends and prints until the server ends the connection.
pub(super) async fn converse(peer: &Peer, limit: Option<Duration>) -> io::Result<()> {
    let (input, output) = (Input::open()?, Output::open()?);
    let stream = peer.connect(limit).await?;
    let account = Account::open();
    let (sent, received) = (
        send(input, &stream, &account),
        receive(&stream, output, &account, limit),
    );
    // Sending goes first: what it has sent is then known to the other, which is waiting for it from now on. If it fails,
    // what the server has said before is still printed.
    let failure = Cell::new(None);
    let sending = async {
        if let Err(error) = sent.await {
            failure.set(Some(error));
            account.input_ended();
            let _ = stream.finish(); // or the server goes on waiting; it fails if that has gone
        }
        pending().await
    };
    let ended = future::or(sending, received).await;
    if let Some(error) = failure.take() {
        return Err(error);
    }
    match ended? {
        End::Silence(limit) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("no answer from {peer} for {limit:?}: {account}"),
        )),
        End::Closed if account.is_settled() => Ok(()),
        End::Closed => Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            format!("{peer} has closed the connection: {account}"),
        )),
    }
}

/// Sends the input, and then that it has ended.
async fn send(mut input: Input, stream: &Stream, account: &Account) -> io::Result<()> {
    loop {
        let bytes = input.read().await?;
        if bytes.is_empty() {
            account.input_ended();
            return stream.finish();
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let count = poll_fn(|cx| stream.poll_write(cx, rest)).await?;
            account.sent(count);
            rest = &rest[count..];
        }
    }
}

/// Prints what comes, until the end, or until nothing has come for so long although something is due.
async fn receive(
    stream: &Stream,
    output: Output,
    account: &Account,
    limit: Option<Duration>,
) -> io::Result<End> {
    let mut patience = limit.map(Patience::new);
    let mut buffer = vec![0; 64 << 10];
    loop {
        let received = poll_fn(|cx| {
            if let Poll::Ready(received) = stream.poll_read(cx, &mut buffer) {
                return Poll::Ready(received.map(Some));
            }
            match &mut patience {
                Some(patience) => patience.poll_over(cx, account).map(|()| Ok(None)),
                None => Poll::Pending,
            }
        });
        match received.await? {
            Some(0) => return Ok(End::Closed),
            Some(count) => {
                account.received(count);
                output.write_all(&buffer[..count]).await?;
            }
            None => return Ok(End::Silence(limit.unwrap_or_default())),
        }
    }
}

/// How a conversation ended.
enum End {
    Closed,
    /// The server owes something, and has said nothing for so long.
    Silence(Duration),
}

/// What was sent, and what has come back.
struct Account {
    sent: Cell<u64>,
    received: Cell<u64>,
    has_input_ended: Cell<bool>,
    /// When the server last gave something, or came to owe something.
    since: Cell<Instant>,
}

impl Account {
    fn open() -> Self {
        Self {
            sent: Cell::new(0),
            received: Cell::new(0),
            has_input_ended: Cell::new(false),
            since: Cell::new(Instant::now()),
        }
    }

    fn sent(&self, count: usize) {
        self.owes_more();
        self.sent.update(|sent| sent + count as u64);
    }

    fn input_ended(&self) {
        self.owes_more();
        self.has_input_ended.set(true);
    }

    fn owes_more(&self) {
        if !self.is_anything_due() {
            self.since.set(Instant::now());
        }
    }

    fn received(&self, count: usize) {
        self.received.update(|received| received + count as u64);
        self.since.set(Instant::now());
    }

    /// Whether the server owes something: bytes, or after the end of the input its own end.
    fn is_anything_due(&self) -> bool {
        self.has_input_ended.get() || self.received.get() < self.sent.get()
    }

    /// Whether everything was sent and as much has come back.
    fn is_settled(&self) -> bool {
        self.has_input_ended.get() && self.received.get() >= self.sent.get()
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sent = units::plural(self.sent.get(), "byte");
        let received = units::count(self.received.get());
        write!(f, "{received} of {sent} came back")
    }
}

/// Ends when nothing has come for a time although something is due.
struct Patience {
    limit: Duration,
    over: Sleep,
}

impl Patience {
    fn new(limit: Duration) -> Self {
        let over = sleep_until(Instant::now() + limit);
        Self { limit, over }
    }

    fn poll_over(&mut self, cx: &mut Context<'_>, account: &Account) -> Poll<()> {
        if !account.is_anything_due() {
            return Poll::Pending; // it is asked again when something was sent
        }
        self.over.reset(account.since.get() + self.limit);
        Pin::new(&mut self.over).poll(cx)
    }
}
