//! The echo service for datagrams (RFC 862): each goes back to where it came from.
//!
//! They are taken and answered many at a time, one system call each way. A datagram that cannot be answered is lost, as any may
//! be: it must not keep the others waiting, nor end the service. When the server ends, what lies in the socket's buffer is answered.
//!
//! **Loops.** A sender's address is easily forged. If it is that of another echo service, the two would send each other the same
//! datagram for ever, as fast as they can, so nothing is sent to a port where a service answers whatever comes: to our
//! own ports, which the services of other machines may have too, and to those of the old small services.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use wakeful::ShutdownToken;
use wakeful::net::{Datagram, RecvBatch, UdpSocket};
use wakeful::time::sleep;

use crate::stats::Echoed;

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

    /// Sends back what comes until the token is shut down, and what has come by then.
    pub(crate) async fn run(self, token: ShutdownToken, echoed: Arc<Echoed>) {
        let mut shutdown = token.wait();
        let mut batch = RecvBatch::new(BATCH, DATAGRAM_MAX);
        while let Some(received) = shutdown
            .unless_shutdown(self.socket.recv_many(&mut batch))
            .await
        {
            match received {
                Ok(_) => self.answer(&batch, &echoed).await,
                // Out of memory, most likely. An error that stays must not keep the worker.
                Err(_) => sleep(PAUSE).await,
            }
        }
        self.take_leave(&mut batch, &echoed).await;
    }

    /// Answers what the buffer can have held, and no more: a peer that never stops sending does not keep the server.
    async fn take_leave(&self, batch: &mut RecvBatch, echoed: &Echoed) {
        let mut owed = self.socket.recv_buffer_size().unwrap_or(0) / DATAGRAM_COST;
        while owed > 0 {
            match self.socket.try_recv_many(batch) {
                Ok(count) => owed = owed.saturating_sub(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => owed -= 1, // such as that an earlier answer met nobody
            }
            self.answer(batch, echoed).await;
        }
    }

    async fn answer(&self, batch: &RecvBatch, echoed: &Echoed) {
        let answers = self.answers(batch);
        let mut left = &answers[..];
        while !left.is_empty() {
            left = match self.socket.try_send_many(left.iter().copied()) {
                Ok(sent) => {
                    echoed.add_datagrams(sent);
                    &left[sent..]
                }
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

/// What the system counts a datagram as at least, beside its bytes, of the receive buffer.
const DATAGRAM_COST: usize = 256;

/// How long to wait after receiving has failed.
const PAUSE: Duration = Duration::from_millis(10);
