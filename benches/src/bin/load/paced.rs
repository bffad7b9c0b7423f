//! The paced loop: every connection has a message to send at regular times, whatever the server does.
//!
//! The times are spread over the period. A connection that still waits for an echo when its next message is due sends that
//! as soon as it can, and the latency counts from when it was due: a server that stands still cannot hide it. Who is free sends up to
//! a millisecond late, because this thread sleeps in such steps; that is its own doing and counts from when it is sent.

use std::time::{Duration, Instant};

use wakeful_benches::cli::Result;

use crate::closed_loop::ClosedLoop;
use crate::connection::{self, STALLED};

/// When each connection has something to send.
pub(crate) struct Pace {
    period: Duration,
    /// By connection: its next message.
    due: Vec<Instant>,
}

impl Pace {
    pub(crate) fn new(period: Duration, connections: usize) -> Self {
        let begin = Instant::now();
        let offset = |index: usize| period.mul_f64(index as f64 / connections as f64);
        Self {
            period,
            due: (0..connections)
                .map(|index| begin + offset(index))
                .collect(),
        }
    }

    /// Goes on for a time.
    pub(crate) fn drive(&mut self, clients: &mut ClosedLoop, time: Duration) -> Result<()> {
        let mut now = Instant::now();
        let deadline = now + time;
        let mut last_echo = now;
        while now < deadline {
            for index in 0..self.due.len() {
                if self.due[index] <= now && !clients.connections[index].is_waiting() {
                    clients.connections[index].start(now)?;
                    self.due[index] += self.period;
                }
            }
            let (events, connections) = (&mut clients.events, &mut clients.connections);
            clients.epoll.wait(events, Some(STEP))?;
            now = Instant::now();
            for key in events.keys() {
                let connection = &mut connections[key as usize];
                if connection.advance(&mut clients.buffer)? {
                    now = Instant::now();
                    last_echo = now;
                    let latency = now - connection.started();
                    clients
                        .latencies
                        .saturating_record(latency.as_nanos() as u64);
                    let due = &mut self.due[key as usize];
                    if *due <= now {
                        connection.start(*due)?;
                        *due += self.period;
                    }
                }
            }
            if now - last_echo >= STALLED {
                return Err(connection::stalled());
            }
        }
        Ok(())
    }
}

const STEP: Duration = Duration::from_millis(1);
