//! Intervals and time-outs: a server that sends a line at each beat, and hangs up when it hears nothing for three.
//!
//! `cargo run -p wakeful --example heartbeat`, and then `nc 127.0.0.1 7011`: press Enter now and then to keep the connection.
//! Another address can be given as the argument, and the milliseconds between two beats as a second one.

use std::io;
use std::time::Duration;

use wakeful::net::{OwnedReadHalf, OwnedWriteHalf, TcpListener, TcpStream};
use wakeful::time::{interval, timeout};

#[wakeful::main]
async fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or("127.0.0.1:7011".to_owned());
    let period_ms = arguments.next().unwrap_or("1000".to_owned());
    let period = Duration::from_millis(period_ms.parse().map_err(io::Error::other)?);
    let listener = TcpListener::bind(address)?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, _peer) = listener.accept().await?;
        wakeful::spawn(serve(stream, period));
    }
}

/// A connection: it is sent beats for as long as it is heard.
async fn serve(stream: TcpStream, period: Duration) {
    let (reader, writer) = stream.into_split();
    let beating = wakeful::spawn(beat(writer, period));
    hear(reader, period * 3).await;
    let _ = beating.cancel().await; // it has ended already if it could not write any more
}

/// Returns when nothing has come for so long, or nothing will.
async fn hear(reader: OwnedReadHalf, silence_max: Duration) {
    let mut buffer = [0; 64];
    while let Ok(Ok(1..)) = timeout(silence_max, reader.read(&mut buffer)).await {}
}

async fn beat(mut writer: OwnedWriteHalf, period: Duration) -> io::Result<()> {
    let mut beats = interval(period); // the first is at once
    for number in 1_u64.. {
        beats.tick().await;
        writer
            .write_all(format!("beat {number}\n").as_bytes())
            .await?;
    }
    Ok(())
}
