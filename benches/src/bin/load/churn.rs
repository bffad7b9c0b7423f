//! Connections that come and go: each connects, sends one message, gets it back, and closes.
//!
//! A number of them are there at a time; when one has had its echo, another takes its place. Connecting over the loopback
//! interface is done when the call returns, so only echoes are waited for. Who closes first keeps the port for a minute, and
//! that is this side: a measurement has to end before the ports do, some 28 000 for each server.

use std::time::{Duration, Instant};

use wakeful_benches::cli::Result;
use wakeful_benches::sys::{Epoll, Events, READABLE};
use wakeful_benches::throughput::Tally;

use crate::Options;
use crate::closed_loop::Extent;
use crate::connection::{self, Connection, STALLED};

/// Runs the whole of it, and says how many connections have had their echo.
pub(crate) fn run(options: &Options) -> Result<Tally> {
    let mut churn = Churn {
        epoll: Epoll::new()?,
        events: Events::with_capacity(options.connections),
        places: Vec::new(),
        buffer: vec![0; options.size],
        budget: 0,
        options,
    };
    match options.extent {
        Extent::Time { warm_up, measured } => {
            churn.start(u64::MAX)?;
            churn.drive(Some(warm_up))?;
            Tally::of(options.server_pid, || churn.drive(Some(measured)))
        }
        Extent::Count(count) => Tally::of(options.server_pid, || {
            churn.start(count)?;
            churn.drive(None)
        }),
    }
}

struct Churn<'a> {
    epoll: Epoll,
    events: Events,
    /// All that are there, each with its message on its way; `None` where no other has followed.
    places: Vec<Option<Connection>>,
    buffer: Vec<u8>,
    /// Connections that may still be opened.
    budget: u64,
    options: &'a Options,
}

impl Churn<'_> {
    /// Opens the first connections, of `budget` in all.
    fn start(&mut self, budget: u64) -> Result<()> {
        self.budget = budget;
        for place in 0..self.options.connections {
            let connection = self.open(place)?;
            self.places.push(connection);
        }
        Ok(())
    }

    /// Goes on for a time, or until the last echo has come, and says how many have.
    fn drive(&mut self, time: Option<Duration>) -> Result<u64> {
        let deadline = time.map(|time| Instant::now() + time);
        let mut count = 0;
        while self.places.iter().any(Option::is_some)
            && deadline.is_none_or(|deadline| Instant::now() < deadline)
        {
            self.epoll.wait(&mut self.events, Some(STALLED))?;
            if self.events.is_empty() {
                return Err(connection::stalled());
            }
            for position in 0..self.events.len() {
                let place = self.events.key(position) as usize;
                let connection = self.places[place]
                    .as_mut()
                    .ok_or("an event of a connection that is closed")?;
                // The socket blocks, so one step goes all the way.
                if connection.advance(&mut self.buffer)? {
                    self.places[place] = None;
                    self.places[place] = self.open(place)?;
                    count += 1;
                }
            }
        }
        Ok(count)
    }

    fn open(&mut self, place: usize) -> Result<Option<Connection>> {
        if self.budget == 0 {
            return Ok(None);
        }
        self.budget -= 1;
        let Options { connect, size, .. } = *self.options;
        let mut connection = Connection::open(connect, place, size)?;
        connection.start(Instant::now())?;
        self.epoll
            .add(connection.stream(), READABLE, place as u64)?;
        Ok(Some(connection))
    }
}
