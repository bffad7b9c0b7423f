//! The echo service for datagrams (RFC 862): each goes back to where it came from.
//!
//! They are taken and answered many at a time, one system call each way. A datagram that cannot be answered is lost, as any may
//! be: it must not keep the others waiting, nor end the service.
//!
//! **Loops.** A sender's address is easily forged. If it is that of another echo service, the two would send each other the same
//! datagram for ever, as fast as they can, so nothing is sent to a port where a service answers whatever comes: to our
//! own ports, which the services of other machines may have too, and to those of the old small services.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use wakeful::net::{Datagram, RecvBatch, UdpSocket};
use wakeful::time::sleep;

/// A socket, and whom it does not answer.
pub(crate) struct Service {
    socket: UdpSocket,
    /// Of all sockets of this process.
    own_ports: Arc<[u16]>,
}

/// Binds a socket to each address.
pub(crate) fn bind(addresses: &[SocketAddr]) -> io::Result<Vec<Service>> {
    let bound = addresses.iter().map(|&address| UdpSocket::bind(address));
    let sockets = bound.collect::<io::Result<Vec<_>>>()?;
    let ports = sockets.iter().map(|socket| Ok(socket.local_addr()?.port()));
    let own_ports = ports.collect::<io::Result<Arc<_>>>()?;
    let service = |socket| Service {
        socket,
        own_ports: own_ports.clone(),
    };
    Ok(sockets.into_iter().map(service).collect())
}

impl Service {
    /// Where it is found.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Sends back what comes, until it is dropped.
    pub(crate) async fn run(self) {
        let mut batch = RecvBatch::new(BATCH, DATAGRAM_MAX);
        loop {
            match self.socket.recv_many(&mut batch).await {
                Ok(_) => self.answer(&batch).await,
                // Out of memory, most likely. An error that stays must not keep the worker.
                Err(_) => sleep(PAUSE).await,
            }
        }
    }

    async fn answer(&self, batch: &RecvBatch) {
        let answers = self.answers(batch);
        let mut left = &answers[..];
        while !left.is_empty() {
            left = match self.socket.try_send_many(left.iter().copied()) {
                Ok(sent) => &left[sent..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    match self.socket.writable().await {
                        Ok(()) => left,
                        Err(_) => return,
                    }
                }
                Err(_) => &left[1..], // it is that of the first: the others still get theirs
            };
        }
    }

    fn answers<'a>(&self, batch: &'a RecvBatch) -> Vec<(&'a [u8], SocketAddr)> {
        batch
            .iter()
            .filter(|datagram| self.is_answered(datagram))
            .map(|datagram| (datagram.bytes(), datagram.from()))
            .collect()
    }

    fn is_answered(&self, datagram: &Datagram<'_>) -> bool {
        let port = datagram.from().port();
        port != 0 && !SMALL_SERVICES.contains(&port) && !self.own_ports.contains(&port)
    }
}

/// Echo, discard, daytime, quote of the day, character generator, time.
const SMALL_SERVICES: [u16; 6] = [7, 9, 13, 17, 19, 37];

/// Datagrams in one call.
const BATCH: usize = 32;

/// As long as a datagram may be.
const DATAGRAM_MAX: usize = 65_535;

/// How long to wait after receiving has failed.
const PAUSE: Duration = Duration::from_millis(10);
