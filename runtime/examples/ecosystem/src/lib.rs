//! What the examples of this package share.
//!
//! They are the programs in `src/bin/` that need other crates: channels, TLS, WebSocket, HTTP. Those that need only the runtime
//! are the examples of package `wakeful`, one directory up. A package of its own keeps these crates out of the library's manifest
//! and out of what a user of the library downloads; the tests use [`hyper_rt`] from here, so what is shown is what is tested.

use std::io;

use wakeful::net::TcpListener;

pub mod hyper_rt;

/// Listens on the address that is the program's first argument, or on `default`, and says so.
///
/// # Errors
///
/// Those of binding, and of an argument that is no address.
pub fn listen(default: &str) -> io::Result<TcpListener> {
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or(default);
    let listener = TcpListener::bind(address)?;
    println!("listening on {}", listener.local_addr()?);
    Ok(listener)
}
