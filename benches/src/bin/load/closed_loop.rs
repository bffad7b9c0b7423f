//! The closed loop: one thread, one epoll instance, edge-triggered.
//!
//! Per echo it makes one `send`, one `recv` and its share of an `epoll_wait`, reads the clock once (the end of an echo is
//! the beginning of the next message) and compares the bytes: about as much as the floor does.
//!
//! A single connection can also send at a pace. Until its next message is due it keeps its CPU: what is measured is how the
//! server wakes up.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use wakeful_benches::accounting::{CpuTime, own_wait_ns};
use wakeful_benches::cli::Result;
use wakeful_benches::load::{PERCENTILES, Report};
use wakeful_benches::sys::{self, EDGE_TRIGGERED, Epoll, Events, READABLE, WRITABLE};

use crate::Options;
use crate::connection::{self, Connection, STALLED};
use crate::paced::Pace;

/// How long the loop runs.
#[derive(Clone, Copy)]
pub(crate) enum Extent {
    /// For a time, of which the first part is not measured. Messages on their way at the end are not waited for.
    Time {
        warm_up: Duration,
        measured: Duration,
    },
    /// For a number of messages, the first one included.
    Count(u64),
}

/// Runs the whole loop.
pub(crate) fn run(options: &Options) -> Result<Report> {
    let mut clients = ClosedLoop::open(options)?;
    match options.extent {
        Extent::Time { warm_up, measured } => {
            if let Some(period) = options.pace {
                let mut pace = Pace::new(period, options.connections);
                pace.drive(&mut clients, warm_up)?;
                return clients.measure(|clients| pace.drive(clients, measured));
            }
            clients.start(u64::MAX)?;
            clients.drive(Some(warm_up))?;
            clients.measure(|clients| clients.drive(Some(measured)))
        }
        Extent::Count(count) => clients.measure(|clients| {
            clients.start(count)?;
            clients.drive(None)
        }),
    }
}

/// Clients, and what was measured of their messages.
pub(crate) struct ClosedLoop {
    pub(crate) epoll: Epoll,
    pub(crate) events: Events,
    pub(crate) connections: Vec<Connection>,
    pub(crate) buffer: Vec<u8>,
    spin: bool,
    every: Duration,
    server_pid: Option<u32>,
    /// Messages that may still be sent.
    budget: u64,
    in_flight: usize,
    pub(crate) latencies: Histogram<u64>,
}

impl ClosedLoop {
    fn open(options: &Options) -> Result<Self> {
        let epoll = Epoll::new()?;
        let mut connections = Vec::with_capacity(options.connections);
        for index in 0..options.connections {
            let connection = Connection::open(options.connect, index, options.size)?;
            connection.stream().set_nonblocking(true)?;
            let interest = READABLE | WRITABLE | EDGE_TRIGGERED;
            epoll.add(connection.stream(), interest, index as u64)?;
            connections.push(connection);
        }
        Ok(Self {
            epoll,
            events: Events::with_capacity(options.connections),
            connections,
            buffer: vec![0; options.size],
            spin: options.spin,
            every: options.every,
            server_pid: options.server_pid,
            budget: 0,
            in_flight: 0,
            latencies: Histogram::new_with_bounds(1, LATENCY_MAX_NS, 3)?,
        })
    }

    /// Sends the first message of every connection, of `budget` in all.
    fn start(&mut self, budget: u64) -> Result<()> {
        self.budget = budget;
        for index in 0..self.connections.len() {
            self.send_next(index, Instant::now())?;
        }
        Ok(())
    }

    /// Goes on for a time, or until the last echo has come.
    fn drive(&mut self, time: Option<Duration>) -> Result<()> {
        let mut now = Instant::now();
        let deadline = time.map(|time| now + time);
        while self.in_flight > 0 && deadline.is_none_or(|deadline| now < deadline) {
            self.wait(now)?;
            // The whole batch, also past the deadline: an edge is reported once.
            for position in 0..self.events.len() {
                let index = self.events.key(position) as usize;
                if self.connections[index].advance(&mut self.buffer)? {
                    now = Instant::now();
                    self.in_flight -= 1;
                    let started = self.connections[index].started();
                    let latency = now - started;
                    self.latencies.saturating_record(latency.as_nanos() as u64);
                    while now < started + self.every {
                        now = Instant::now();
                    }
                    self.send_next(index, now)?;
                }
            }
        }
        Ok(())
    }

    fn send_next(&mut self, index: usize, now: Instant) -> Result<()> {
        if self.budget > 0 {
            self.budget -= 1;
            self.in_flight += 1;
            self.connections[index].start(now)?;
        }
        Ok(())
    }

    /// Waits for events. `since` is when the last echo came.
    fn wait(&mut self, since: Instant) -> Result<()> {
        let timeout = if self.spin { Duration::ZERO } else { STALLED };
        loop {
            self.epoll.wait(&mut self.events, Some(timeout))?;
            if !self.events.is_empty() {
                return Ok(());
            }
            if since.elapsed() >= STALLED {
                return Err(connection::stalled());
            }
        }
    }

    /// What `work` takes: from a histogram and CPU accounts that begin with it.
    fn measure(&mut self, work: impl FnOnce(&mut Self) -> Result<()>) -> Result<Report> {
        self.latencies.reset();
        let (server, load, waited) = (self.server_cpu()?, sys::own_cpu_time()?, own_wait_ns());
        let echoed = |connection: &Connection| connection.echoed();
        let echoed_before: Vec<u64> = self.connections.iter().map(echoed).collect();
        let begin = Instant::now();
        work(self)?;
        let elapsed = begin.elapsed();
        let echoes = self.connections.iter().map(echoed).zip(echoed_before);
        let fewest = echoes.map(|(after, before)| after - before).min();
        let on_their_way = self.connections.iter().filter(|one| one.is_waiting());
        let waiting = on_their_way.map(|one| one.started().elapsed()).max();
        let load_cpu = sys::own_cpu_time()? - load;
        let load_waited_ns = own_wait_ns() - waited;
        let server_cpu = self.server_cpu()? - server;
        Ok(Report {
            requests: self.latencies.len(),
            elapsed_ns: elapsed.as_nanos() as u64,
            p50_ns: self.latencies.value_at_quantile(0.5),
            p90_ns: self.latencies.value_at_quantile(0.9),
            p99_ns: self.latencies.value_at_quantile(0.99),
            p999_ns: self.latencies.value_at_quantile(0.999),
            max_ns: self.latencies.max(),
            fewest: fewest.unwrap_or(0),
            waiting_ns: waiting.unwrap_or_default().as_nanos() as u64,
            percentiles_ns: PERCENTILES
                .map(|percent| self.latencies.value_at_quantile(percent / 100.0))
                .into(),
            load_cpu,
            load_waited_ns,
            server_cpu,
        })
    }

    fn server_cpu(&self) -> Result<CpuTime> {
        self.server_pid
            .map_or(Ok(CpuTime::default()), CpuTime::of_process)
    }
}

const LATENCY_MAX_NS: u64 = 60_000_000_000;
