//! Takes the connections of one listener.
//!
//! ```text
//!      ┌──▶ room for one more ──▶ accept ──▶ taken: starts it ──┐
//!      │                            ├──▶ nobody there: gives the room up, waits until there is; at the end: returns
//!      │                            ├──▶ an error of one connection: passed over
//!      │                            └──▶ the lack of something: gives the room up, pauses
//!      └────────────────────────────────────────────────────────┘
//! ```
//!
//! A pause for want of descriptors or memory ends when a connection of this server does; every pause ends after a time that doubles
//! from one failure of its kind to the next. Readiness stays as it was: no event will come for those who wait in the backlog already.
//!
//! Any other error is waited out for the times that double, whoever goes meanwhile; one that is still there after that is
//! returned, and ends the server. It has times of its own: a lack that lasted long says nothing of a listener that fails after it.

use std::future::poll_fn;
use std::io;
use std::time::Duration;

use super::House;
use super::census::Place;
use super::connection::{Accepted, Start};
use super::listener::Listener;
use crate::executor::poll_proceed;
use crate::net::byte_stream::StreamSocket;
use crate::sys::socket::{is_shortage, is_transient_accept_error};
use crate::time::{Instant, sleep, timeout};

/// Accepts until the server ends, and then those who are in the backlog.
///
/// # Errors
///
/// What keeps it from accepting, or from serving, for good.
pub(super) async fn accept_loop<L: Listener>(
    listener: &L,
    house: &House,
    start: &mut impl Start<L::Stream>,
) -> io::Result<()> {
    let mut shutdown = house.census.token.wait();
    let (mut shortage, mut fault) = (Pause::default(), Pause::default());
    loop {
        let (mut place, departures) = house.census.place().await;
        poll_fn(poll_proceed).await; // a backlog that never empties must not keep the worker
        let is_ending = shutdown.is_shutting_down(); // before the look at the backlog
        let failed = match listener.acceptor().try_accept() {
            Ok((stream, address)) => {
                (shortage, fault) = (Pause::default(), Pause::default());
                if greet::<L>(&mut place, &stream, &address, house) {
                    let peer = L::peer_addr(&address);
                    start(Accepted {
                        stream,
                        peer,
                        place,
                    })?;
                }
                continue;
            }
            Err(error) if is_transient_accept_error(&error) => continue,
            Err(error) => error,
        };
        drop(place);
        let failed = match failed.kind() {
            io::ErrorKind::WouldBlock if is_ending => return Ok(()), // and nobody is left
            io::ErrorKind::WouldBlock => {
                let readable = listener.acceptor().readable();
                match shutdown.unless_shutdown(readable).await {
                    Some(Err(error)) => error,
                    Some(Ok(())) | None => continue,
                }
            }
            _ => failed,
        };
        house.census.count_pause();
        if let Some(on_accept_error) = &house.on_accept_error {
            on_accept_error(&failed);
        }
        if is_shortage(&failed) {
            let _ = timeout(shortage.next(), house.census.departure(departures)).await;
        } else if fault.is_longest() {
            return Err(failed);
        } else {
            sleep(fault.next()).await;
        }
    }
}

/// Whether the connection is to be served: its peer has not too many. Sets its limits of time.
fn greet<L: Listener>(
    place: &mut Place,
    stream: &L::Stream,
    address: &<L::Stream as StreamSocket>::Address,
    house: &House,
) -> bool {
    let peer = house
        .census
        .counts_peers()
        .then(|| L::peer(stream, address));
    if !place.occupy(peer.flatten()) {
        return false;
    }
    let io = stream.bytes().io();
    if let Some(limit) = house.times.handshake {
        let deadline = Some(Instant::now() + limit);
        io.set_read_deadline(deadline);
        io.set_write_deadline(deadline);
    }
    io.set_idle_timeout(house.times.idle);
    true
}

/// How long to wait for what is lacking.
#[derive(Debug)]
struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Self(PAUSE_MIN)
    }
}

impl Pause {
    fn next(&mut self) -> Duration {
        let now = self.0;
        self.0 = (now * 2).min(PAUSE_MAX);
        now
    }

    fn is_longest(&self) -> bool {
        self.0 == PAUSE_MAX
    }
}

const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_secs(1);
