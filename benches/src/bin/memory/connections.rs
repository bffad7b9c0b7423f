//! Connections that have echoed and wait: the server on the main thread, its client on another, which is not counted.
//!
//! A second echo shows that the server has done all for a connection that the first one left to do: it has waited since.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process;
use std::thread;

use wakeful_benches::cli::Result;
use wakeful_benches::memory::Cost;
use wakeful_benches::sys;

use crate::counting::{self, Counted};
use crate::each;

/// Has `serve` serve connections, and ends the process when they are counted.
pub(crate) fn cost(serve: fn(TcpListener) -> Result<()>) -> Result<Cost> {
    sys::raise_descriptor_limit()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        counting::leave_out_this_thread();
        let error = match count(address) {
            Ok(cost) => {
                let line = serde_json::to_string(&cost).expect("numbers have a form in JSON");
                println!("{line}");
                process::exit(0);
            }
            Err(error) => error,
        };
        eprintln!("memory: {error}");
        process::exit(1);
    });
    serve(listener)?;
    Err("the server has ended".into())
}

fn count(address: SocketAddr) -> Result<Cost> {
    let mut connections = Vec::new();
    let mut have = |count| -> Result<Counted> {
        while connections.len() < count {
            connections.push(TcpStream::connect(address)?);
        }
        for _ in 0..2 {
            for connection in &mut connections {
                let mut message = *b"ping";
                connection.write_all(&message)?;
                connection.read_exact(&mut message)?;
            }
        }
        Ok(Counted::now())
    };
    let before = have(FEW)?;
    Ok(each(before, have(MANY)?, MANY - FEW))
}

/// Two descriptors each, in one process.
const FEW: usize = 400;
const MANY: usize = 2_000;
