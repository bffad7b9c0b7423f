//! A chat: everybody who is connected gets every line that somebody says, and those that are typed in at the server.
//!
//! `cargo run -p wakeful --example chat`, and then twice or more `nc 127.0.0.1 7008`. Another address can be given as the
//! argument. What is typed in where the server runs is announced by an ordinary thread, which may block.
//!
//! Each member has an [`Outbox`], so whoever has something to say puts it there and goes on. Who takes nothing until it is full
//! loses its connection: memory is bounded, and nobody waits for the slowest.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use wakeful::codec::{Framed, Lines, Outbox, SendError};
use wakeful::net::{Connection, Server, TcpListener, TcpStream};
use wakeful::signal::ctrl_c;
use wakeful::time::timeout;
use wakeful::{ShutdownToken, TaskGroup};

#[wakeful::main]
async fn main() -> io::Result<()> {
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:7008");
    let listener = TcpListener::bind(address)?;
    println!("listening on {}", listener.local_addr()?);
    let room = Arc::new(Room::default());
    thread::spawn({
        let room = room.clone();
        move || announce(&room)
    });
    let report = Server::new()
        .listen(listener, move |stream, connection| {
            visit(room.clone(), stream, connection)
        })
        .run_until(ctrl_c())
        .await?;
    eprintln!("{report}");
    Ok(())
}

/// The ordinary thread. It knows nothing of tasks and sockets.
fn announce(room: &Room) {
    for line in io::stdin().lines().map_while(Result::ok) {
        room.say(&format!("* {}", line.trim_end()));
    }
}

/// All of a member's visit.
async fn visit(room: Arc<Room>, stream: TcpStream, connection: Connection) -> io::Result<()> {
    // It connects.
    let name = stream.peer_addr()?;
    let end = connection.shutdown_token(); // of this visit, or of all
    let (outbox, writer) = Outbox::new(Lines::new());
    let (reader, write_half) = stream.into_split();
    let mut writing = TaskGroup::new(); // ends with this future
    writing.spawn(writer.run(write_half));
    let mut ending = end.wait();
    room.enter(Member {
        outbox,
        end: end.clone(),
    });
    room.say(&format!("* {name} has come"));

    // Its messages.
    let mut lines = Framed::new(reader, Lines::new().max_bytes(LINE_MAX_BYTES));
    let heard = loop {
        match ending.unless_shutdown(lines.next()).await {
            Some(Some(Ok(line))) => room.say(&format!("{name}: {}", line.trim_end())),
            Some(Some(Err(error))) => break Err(error),
            Some(None) | None => break Ok(()),
        }
    };

    // It disconnects.
    end.shutdown();
    room.say(&format!("* {name} has left"));
    let _ = timeout(FAREWELL, writing.join_next()).await; // what was said before
    heard
}

/// Who is there.
#[derive(Default)]
struct Room(Mutex<Vec<Member>>);

/// The way to somebody in the room.
struct Member {
    outbox: Outbox<Lines>,
    /// Of the visit.
    end: ShutdownToken,
}

impl Room {
    fn enter(&self, member: Member) {
        let mut members = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        members.push(member);
    }

    /// Says it to all whose visit goes on, and ends the visits of those who have no room for it.
    fn say(&self, line: &str) {
        let mut members = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        members.retain(|member| member.is_told(line));
    }
}

impl Member {
    fn is_told(&self, line: &str) -> bool {
        if self.end.is_shutting_down() {
            return false;
        }
        match self.outbox.try_send(line) {
            Err(SendError::Full | SendError::Closed) => {
                self.end.shutdown();
                false
            }
            Ok(()) | Err(SendError::Encode(_)) => true,
        }
    }
}

const LINE_MAX_BYTES: usize = 1024;

/// How long a member that leaves may take for what was said before.
const FAREWELL: Duration = Duration::from_secs(10);
