//! Idle connections: each has echoed one message, so that the server holds all that it ever holds for one that waits.

use std::net::SocketAddr;
use std::thread;
use std::time::Instant;

use wakeful_benches::cli::Result;
use wakeful_benches::sys;

use crate::connection::{self, Connection, STALLED};

/// Opens `count` connections, prints a line when all have echoed, and holds them until killed.
///
/// They come in small crowds: a server that looks at all its connections for each message needs a minute for 15 000 that come one
/// by one.
pub(crate) fn hold(address: SocketAddr, count: usize, size: usize) -> Result<()> {
    sys::raise_descriptor_limit()?;
    let mut buffer = vec![0; size];
    let mut connections = Vec::with_capacity(count);
    while connections.len() < count {
        let echoed = connections.len();
        for index in echoed..count.min(echoed + CROWD) {
            let mut connection = Connection::open(address, index, size)?;
            connection.stream().set_read_timeout(Some(STALLED))?;
            connection.start(Instant::now())?;
            connections.push(connection);
        }
        for connection in &mut connections[echoed..] {
            // The socket blocks, so one step goes all the way, or it waits in vain.
            if !connection.advance(&mut buffer)? {
                return Err(connection::stalled());
            }
        }
    }
    println!("holding {count} connections");
    loop {
        thread::park();
    }
}

const CROWD: usize = 64;
