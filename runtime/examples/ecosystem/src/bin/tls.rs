//! An echo server behind TLS: `futures-rustls` on wakeful.
//!
//! `cargo run -p wakeful-examples --bin tls -- 127.0.0.1:7443 /tmp/certificate.pem`, and then
//! `openssl s_client -connect 127.0.0.1:7443 -CAfile /tmp/certificate.pem`. Both arguments may be missing. The certificate is made
//! anew at each start, for `localhost`; a real server reads its own from a file.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::io::{AsyncReadExt, AsyncWriteExt};
use futures_rustls::TlsAcceptor;
use futures_rustls::rustls::ServerConfig;
use rcgen::CertifiedKey;
use wakeful::net::TcpStream;
use wakeful::time::timeout;
use wakeful_examples::listen;

#[wakeful::main]
async fn main() -> io::Result<()> {
    let acceptor = acceptor()?;
    let listener = listen("127.0.0.1:7443")?;
    loop {
        let (stream, _peer) = listener.accept().await?;
        wakeful::spawn(echo(acceptor.clone(), stream));
    }
}

/// Who does not know the protocol, or takes his time over it, is not waited for.
async fn echo(acceptor: TlsAcceptor, stream: TcpStream) -> io::Result<()> {
    let mut stream = timeout(HANDSHAKE_MAX, acceptor.accept(stream)).await??;
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return stream.close().await,
            count => stream.write_all(&buffer[..count]).await?,
        }
        stream.flush().await?;
    }
}

fn acceptor() -> io::Result<TlsAcceptor> {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).map_err(io::Error::other)?;
    if let Some(path) = std::env::args().nth(2) {
        std::fs::write(path, cert.pem())?;
    }
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert.into()], signing_key.into())
        .map_err(io::Error::other)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
