//! The load: peers of an echo server, each with a bounded number of datagrams on their way.
//!
//! A datagram begins with its number and goes on with bytes of its peer. On the loopback interface nothing overtakes, so the
//! echoes of a peer have to come back in order and without a gap: a datagram that is lost is seen at the next one, or, if there
//! is none, by the silence. Either ends the measurement with an error.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use wakeful_benches::cli::Result;
use wakeful_benches::datagrams::{self, Arrivals, Burst};
use wakeful_benches::sys::{Epoll, Events, READABLE};
use wakeful_benches::throughput::Tally;
use wakeful_benches::udp::{Order, Plan};

/// Carries an order out, and prints how many datagrams came back.
pub(crate) fn run(order: &Order) -> Result<()> {
    let mut load = Load::open(&order.plan, order.address)?;
    let measured = Duration::from_secs_f64(order.plan.seconds);
    load.drive(measured.mul_f64(WARM_UP))?;
    let tally = Tally::of(Some(order.server_pid), || load.drive(measured))?;
    load.drain()?;
    println!("{}", serde_json::to_string(&tally)?);
    Ok(())
}

struct Load {
    epoll: Epoll,
    events: Events,
    peers: Vec<Peer>,
    window: u64,
    burst: Burst,
    arrivals: Arrivals,
}

struct Peer {
    socket: UdpSocket,
    /// What its datagrams consist of, but for their numbers.
    pattern: Box<[u8]>,
    sent: u64,
    received: u64,
}

impl Load {
    fn open(plan: &Plan, server: SocketAddr) -> Result<Self> {
        let epoll = Epoll::new()?;
        let peers = (0..plan.peers).map(|index| {
            let socket = datagrams::bind((Ipv4Addr::LOCALHOST, 0).into())?;
            socket.connect(server)?;
            if plan.segments {
                datagrams::set_gro(&socket)?;
            }
            epoll.add(&socket, READABLE, index as u64)?;
            Ok(Peer {
                socket,
                pattern: (0..plan.size)
                    .map(|at| (index * 31 + at * 7) as u8)
                    .collect(),
                sent: 0,
                received: 0,
            })
        });
        let room = if plan.segments {
            usize::from(u16::MAX)
        } else {
            plan.size
        };
        let mut this = Self {
            peers: peers.collect::<Result<_>>()?,
            events: Events::with_capacity(plan.peers),
            window: plan.window as u64,
            burst: Burst::new(plan.burst, plan.size, plan.segments),
            arrivals: Arrivals::new(plan.window, room),
            epoll,
        };
        for peer in &mut this.peers {
            peer.fill_window(this.window, &mut this.burst)?;
        }
        Ok(this)
    }

    /// Goes on for a time, and says how many datagrams came back in it.
    fn drive(&mut self, time: Duration) -> Result<u64> {
        let deadline = Instant::now() + time;
        let mut count = 0;
        while Instant::now() < deadline {
            self.wait()?;
            for key in self.events.keys() {
                let peer = &mut self.peers[key as usize];
                count += peer.take(&mut self.arrivals)?;
                peer.fill_window(self.window, &mut self.burst)?;
            }
        }
        Ok(count)
    }

    /// Waits for all that is still on its way.
    fn drain(&mut self) -> Result<()> {
        while self.peers.iter().any(|peer| peer.received < peer.sent) {
            self.wait()?;
            for key in self.events.keys() {
                self.peers[key as usize].take(&mut self.arrivals)?;
            }
        }
        Ok(())
    }

    fn wait(&mut self) -> Result<()> {
        self.epoll.wait(&mut self.events, Some(SILENCE))?;
        if self.events.is_empty() {
            let missing: u64 = self
                .peers
                .iter()
                .map(|peer| peer.sent - peer.received)
                .sum();
            return Err(format!(
                "nothing came for {} s: {missing} datagrams are lost",
                SILENCE.as_secs()
            )
            .into());
        }
        Ok(())
    }
}

impl Peer {
    /// Sends as many whole bursts as the window allows.
    fn fill_window(&mut self, window: u64, burst: &mut Burst) -> Result<()> {
        let burst_len = burst.iter_mut().len() as u64;
        while self.sent + burst_len <= self.received + window {
            for datagram in burst.iter_mut() {
                datagram.copy_from_slice(&self.pattern);
                datagram[..STAMP].copy_from_slice(&self.sent.to_le_bytes());
                self.sent += 1;
            }
            burst.send(&self.socket)?;
        }
        Ok(())
    }

    /// Takes what has come, and says how many datagrams that were.
    fn take(&mut self, arrivals: &mut Arrivals) -> Result<u64> {
        let before = self.received;
        arrivals.receive(&self.socket)?;
        for datagram in arrivals.iter() {
            let (stamp, bytes) = datagram.split_at(STAMP.min(datagram.len()));
            if stamp != self.received.to_le_bytes() {
                return Err(format!(
                    "datagram {} is lost: after it came {stamp:?}",
                    self.received
                )
                .into());
            }
            if *bytes != self.pattern[STAMP..] {
                return Err(format!("datagram {} came back changed", self.received).into());
            }
            self.received += 1;
        }
        Ok(self.received - before)
    }
}

/// Bytes of a datagram's number.
const STAMP: usize = size_of::<u64>();
/// A server that has been silent for so long has lost what it has not answered.
const SILENCE: Duration = Duration::from_secs(10);
/// What goes before and is not measured, as a part of what is.
const WARM_UP: f64 = 0.25;
