//! A WebSocket server that sends every message back: `async-tungstenite` on wakeful.
//!
//! `cargo run -p wakeful-examples --bin websocket`, and then, in the console of a browser:
//! `ws = new WebSocket("ws://127.0.0.1:7009"); ws.onmessage = m => console.log(m.data); ws.onopen = () => ws.send("hello")`.
//! Another address can be given as the argument.

use std::io;
use std::time::Duration;

use async_tungstenite::accept_async_with_config;
use async_tungstenite::tungstenite::Error;
use async_tungstenite::tungstenite::protocol::WebSocketConfig;
use futures_lite::StreamExt;
use wakeful::net::TcpStream;
use wakeful::time::timeout;
use wakeful_examples::listen;

#[wakeful::main]
async fn main() -> io::Result<()> {
    let listener = listen("127.0.0.1:7009")?;
    loop {
        let (stream, _peer) = listener.accept().await?;
        wakeful::spawn(echo(stream));
    }
}

async fn echo(stream: TcpStream) -> Result<(), Error> {
    let config = WebSocketConfig::default().max_message_size(Some(MESSAGE_MAX_BYTES));
    let handshake = accept_async_with_config(stream, Some(config));
    let mut socket = timeout(HANDSHAKE_MAX, handshake)
        .await
        .map_err(io::Error::from)??;
    // Pings and the closing handshake are answered by the crate, for as long as messages are read.
    while let Some(message) = socket.next().await {
        let message = message?;
        if message.is_text() || message.is_binary() {
            socket.send(message).await?;
        }
    }
    Ok(())
}

const MESSAGE_MAX_BYTES: usize = 1 << 20;

const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
