//! An HTTP/1 server: hyper on wakeful, with keep-alive, a limit for slow clients, and an end that cuts nobody off.
//!
//! `cargo run -p wakeful-examples --bin http`, and then `curl 127.0.0.1:7080` or `curl --data hello 127.0.0.1:7080/echo`. Another
//! address can be given as the argument. After Ctrl-C idle connections are closed and requests that have begun are answered.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::time::Duration;

use async_channel::{Receiver, Sender, bounded};
use futures_lite::future::or;
use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use wakeful::net::TcpStream;
use wakeful::signal::ctrl_c;
use wakeful::time::timeout;
use wakeful_examples::hyper_rt::{Io, Timer};
use wakeful_examples::listen;

#[wakeful::main]
async fn main() -> io::Result<()> {
    let interrupted = ctrl_c(); // listens from here on
    let listener = listen("127.0.0.1:7080")?;
    // Nothing is ever sent. That `stop` is dropped tells the connections, that the last `here` is, that all have gone.
    let (stop, stopped) = bounded::<Infallible>(1);
    let (here, all_gone) = bounded::<Infallible>(1);
    let accept_loop = async {
        loop {
            let (stream, _peer) = listener.accept().await?;
            wakeful::spawn(serve(stream, stopped.clone(), here.clone()));
        }
    };
    or(interrupted, accept_loop).await?;

    drop((listener, stop, here));
    if timeout(GRACE, all_gone.recv()).await.is_err() {
        eprintln!("http: some connections were cut off {GRACE:?} after the signal");
    }
    Ok(())
}

/// A connection, from its first request to its last.
async fn serve(stream: TcpStream, stopped: Receiver<Infallible>, _here: Sender<Infallible>) {
    let connection = http1::Builder::new()
        .timer(Timer)
        .header_read_timeout(HEADER_MAX) // also how long it may be idle
        .serve_connection(Io(stream), service_fn(answer));
    let mut connection = pin!(connection);
    let ended = async { Some(connection.as_mut().await) };
    let told = async { stopped.recv().await.err().and(None) };
    // A peer that resets its connection or sends no HTTP ends that connection, and that is all there is to say about it.
    if or(ended, told).await.is_none() {
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }
}

async fn answer(request: Request<Incoming>) -> hyper::http::Result<Response<Body>> {
    let (status, body) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/") => (StatusCode::OK, Body::Left("hello\n".into())),
        (&Method::POST, "/echo") => (StatusCode::OK, Body::Right(request.into_body())),
        _ => (StatusCode::NOT_FOUND, Body::Left("not found\n".into())),
    };
    Response::builder().status(status).body(body)
}

/// A text of ours, or what the client sends.
type Body = Either<Full<Bytes>, Incoming>;

/// How long a request's header may take.
const HEADER_MAX: Duration = Duration::from_secs(10);

/// How long requests may take to end after the signal.
const GRACE: Duration = Duration::from_secs(5);
