//! A chat: everybody who is connected gets every line that somebody says. Channels of the crate `async-channel`.
//!
//! `cargo run -p wakeful-examples --bin chat`, and then twice or more `nc 127.0.0.1 7008`. Another address can be given as the
//! argument. Memory is bounded: a line that is too long is cut, and who does not read misses what is said meanwhile.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_channel::{Receiver, Sender, bounded};
use futures_lite::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use wakeful::net::{OwnedWriteHalf, TcpStream};
use wakeful_examples::listen;

#[wakeful::main]
async fn main() -> io::Result<()> {
    let listener = listen("127.0.0.1:7008")?;
    let room = Arc::new(Room::default());
    loop {
        let (stream, peer) = listener.accept().await?;
        wakeful::spawn(visit(room.clone(), stream, peer));
    }
}

/// From a member's entry until it says no more.
async fn visit(room: Arc<Room>, stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
    let (reader, writer) = stream.into_split();
    let (to_member, lines) = bounded(LINES_MAX);
    wakeful::spawn(tell(lines, writer));
    room.members().insert(peer, to_member);
    room.say(&format!("* {peer} has come\n"));

    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    while let Ok(1..) = (&mut reader)
        .take(LINE_MAX_BYTES)
        .read_until(b'\n', &mut line)
        .await
    {
        let text = String::from_utf8_lossy(&line);
        room.say(&format!("{peer}: {}\n", text.trim_end()));
        line.clear();
    }

    room.members().remove(&peer); // ends its channel, and with that `tell` and the connection
    room.say(&format!("* {peer} has left\n"));
    Ok(())
}

/// Writes to one member what is said, until it has left.
async fn tell(lines: Receiver<Arc<str>>, mut writer: OwnedWriteHalf) -> io::Result<()> {
    while let Ok(line) = lines.recv().await {
        writer.write_all(line.as_bytes()).await?;
    }
    Ok(())
}

/// Who is there, and the way to each.
#[derive(Default)]
struct Room(Mutex<HashMap<SocketAddr, Sender<Arc<str>>>>);

impl Room {
    fn say(&self, line: &str) {
        let line: Arc<str> = line.into();
        for member in self.members().values() {
            let _ = member.try_send(line.clone()); // a member that does not read misses it
        }
    }

    fn members(&self) -> MutexGuard<'_, HashMap<SocketAddr, Sender<Arc<str>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many lines wait for a member that reads slowly.
const LINES_MAX: usize = 64;

const LINE_MAX_BYTES: u64 = 1024;
