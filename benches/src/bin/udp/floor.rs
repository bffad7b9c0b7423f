//! The floor: an echo server for UDP written by hand that does nothing else.
//!
//! It waits in epoll, as everybody here does; takes up to 64 datagrams by one call, and sends them back by another.

use std::net::UdpSocket;

use wakeful_benches::cli::Result;
use wakeful_benches::datagrams::{self, Arrivals};
use wakeful_benches::sys::{EDGE_TRIGGERED, Epoll, Events, READABLE};
use wakeful_benches::udp::SIZE_MAX;

/// Serves until it is killed.
pub(crate) fn serve(socket: &UdpSocket, segments: bool) -> Result<()> {
    let mut arrivals = if segments {
        datagrams::set_gro(socket)?;
        Arrivals::new(super::BATCH, usize::from(u16::MAX))
    } else {
        Arrivals::new(super::BATCH, SIZE_MAX)
    };
    let epoll = Epoll::new()?;
    epoll.add(socket, READABLE | EDGE_TRIGGERED, 0)?;
    super::announce(socket)?;
    let mut events = Events::with_capacity(1);
    loop {
        while arrivals.receive(socket)? > 0 {
            arrivals.send_back(socket)?;
        }
        epoll.wait(&mut events, None)?;
    }
}
