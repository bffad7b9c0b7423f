//! What other crates make of our streams, unchanged: the extension traits, TLS, WebSocket, HTTP/1 and HTTP/2.
//!
//! Both ends of each connection are on the runtime, and when a test ends, neither a task nor a timer nor a source is left.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_compat::Compat;
use async_tungstenite::tungstenite::Message;
use async_tungstenite::{WebSocketStream, accept_async, client_async};
use futures::future::join;
use futures::io::BufWriter;
use futures::{
    AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt, TryStreamExt,
};
use futures_rustls::pki_types::CertificateDer;
use futures_rustls::rustls::ServerConfig;
use futures_rustls::{TlsAcceptor, client, server};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes as Body, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::rt::{Executor as _, Timer as _};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use rcgen::CertifiedKey;
use wakeful::net::TcpStream;
use wakeful::time::Instant;
use wakeful_examples::hyper_rt::{Executor, Io, Timer};
use wakeful_tests::tcp::pair;
use wakeful_tests::{Bytes, on_workers, tls};

#[test]
fn the_extension_traits_of_futures_read_and_write_our_streams() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            let (client, server) = pair().await;
            let speaking = wakeful::spawn(async move {
                let mut writer = BufWriter::new(client);
                for number in 0..1000 {
                    let line = format!("line {number}\n");
                    AsyncWriteExt::write_all(&mut writer, line.as_bytes())
                        .await
                        .unwrap();
                }
                writer.close().await.unwrap();
            });
            let lines = futures::io::BufReader::new(server).lines();
            let lines: Vec<String> = lines.try_collect().await.unwrap();
            assert!(lines.into_iter().eq((0..1000).map(|n| format!("line {n}"))));
            speaking.await.unwrap();
        });
    });
}

#[test]
fn futures_splits_our_streams_and_copies_between_them() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            let (client, server) = pair().await;
            let echo = wakeful::spawn(async move {
                let (reader, mut writer) = AsyncReadExt::split(server);
                let count = futures::io::copy(reader, &mut writer).await.unwrap();
                writer.close().await.unwrap();
                count
            });
            comes_back(client, 1_000_000).await;
            assert_eq!(echo.await.unwrap(), 1_000_000);
        });
    });
}

#[test]
fn futures_lite_copies_through_references_to_one_stream() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            let (client, server) = pair().await;
            let echo =
                wakeful::spawn(
                    async move { futures_lite::io::copy(&server, &server).await.unwrap() },
                );
            comes_back(client, 1_000_000).await;
            assert_eq!(echo.await.unwrap(), 1_000_000);
        });
    });
}

#[test]
fn tls_carries_a_megabyte_there_and_back() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            let (client, server) = tls_pair("localhost").await.unwrap();
            let echo = wakeful::spawn(async move {
                let (reader, mut writer) = server.split();
                futures::io::copy(reader, &mut writer).await.unwrap();
                writer.close().await.unwrap();
            });
            comes_back(client, 1_000_000).await;
            echo.await.unwrap();
        });
    });
}

#[test]
fn tls_refuses_a_server_of_another_name() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let error = tls_pair("elsewhere").await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        });
    });
}

#[test]
fn websocket_messages_come_back_until_both_have_said_farewell() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            let (client, server) = pair().await;
            let echo =
                wakeful::spawn(async { echo_messages(accept_async(server).await.unwrap()).await });
            let (mut socket, _) = client_async("ws://localhost/", client).await.unwrap();
            let big = Bytes(1).take(1_000_000);
            for message in [
                Message::text("hello"),
                Message::binary(""),
                Message::binary(big),
            ] {
                socket.send(message.clone()).await.unwrap();
                assert_eq!(socket.next().await.unwrap().unwrap(), message);
            }
            socket
                .send(Message::Ping("are you there".into()))
                .await
                .unwrap();
            let pong = socket.next().await.unwrap().unwrap();
            assert_eq!(pong, Message::Pong("are you there".into()));
            socket.close(None).await.unwrap();
            assert!(socket.next().await.unwrap().unwrap().is_close());
            assert!(socket.next().await.is_none());
            assert_eq!(echo.await.unwrap(), 3);
        });
    });
}

#[test]
fn websocket_runs_over_tls() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let (client, server) = tls_pair("localhost").await.unwrap();
            let echo =
                wakeful::spawn(async { echo_messages(accept_async(server).await.unwrap()).await });
            let (mut socket, _) = client_async("wss://localhost/", client).await.unwrap();
            for number in 0..100 {
                let message = Message::text(format!("message {number}"));
                socket.send(message.clone()).await.unwrap();
                assert_eq!(socket.next().await.unwrap().unwrap(), message);
            }
            socket.close(None).await.unwrap();
            while socket.next().await.is_some() {}
            assert_eq!(echo.await.unwrap(), 100);
        });
    });
}

/// `h2` knows only the traits of tokio; `async-compat` translates.
#[test]
fn http_2_runs_on_our_streams_although_it_insists_on_tokios_traits() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            let (client, server) = pair().await;
            let serving = wakeful::spawn(async move {
                let mut connection = h2::server::handshake(Compat::new(server)).await.unwrap();
                while let Some(request) = connection.accept().await {
                    let (request, mut respond) = request.unwrap();
                    let mut stream = respond.send_response(Response::new(()), false).unwrap();
                    let path = request.uri().path().to_owned();
                    stream.send_data(path.into(), true).unwrap();
                }
            });
            let (requests, connection) = h2::client::handshake(Compat::new(client)).await.unwrap();
            let connection = wakeful::spawn(connection);
            let mut requests = requests.ready().await.unwrap();
            let mut responses = Vec::new();
            for number in 0..50 {
                // All on one connection, at the same time.
                let uri = format!("http://localhost/{number}");
                let request = Request::get(uri).body(()).unwrap();
                responses.push(requests.send_request(request, true).unwrap().0);
                requests = requests.ready().await.unwrap();
            }
            for (number, response) in responses.into_iter().enumerate() {
                let mut body = response.await.unwrap().into_body();
                let path = body.data().await.unwrap().unwrap();
                assert_eq!(path, format!("/{number}"));
            }
            drop(requests);
            connection.await.unwrap().unwrap();
            serving.await.unwrap();
        });
    });
}

#[test]
fn hyper_serves_many_requests_on_one_connection() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            let (client, server) = pair().await;
            let serving = wakeful::spawn(
                http1::Builder::new().serve_connection(Io(server), service_fn(echo_body)),
            );
            let mut requests = hyper_client(client).await;
            let big = Bytes(2).take(1_000_000);
            for number in 0..100 {
                let body = if number % 10 == 0 { &big[..] } else { b"hello" };
                let (answer, closes) = post(&mut requests, body).await.unwrap();
                assert!(answer == body);
                assert!(!closes);
            }
            drop(requests);
            serving.await.unwrap().unwrap();
        });
    });
}

#[test]
fn hyper_ends_gracefully_after_the_request_that_has_begun() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            let (client, server) = pair().await;
            let (begun, has_begun) = async_channel::bounded::<()>(1);
            let (go_on, may_go_on) = async_channel::bounded::<()>(1);
            let (stop, stopped) = async_channel::bounded::<()>(1);
            let serving = wakeful::spawn(async move {
                let service = service_fn(|request| async {
                    begun.send(()).await.unwrap();
                    may_go_on.recv().await.unwrap();
                    echo_body(request).await
                });
                let mut connection =
                    pin!(http1::Builder::new().serve_connection(Io(server), service));
                let stopped = async { stopped.recv().await.unwrap() };
                futures_lite::future::or(async { connection.as_mut().await.unwrap() }, stopped)
                    .await;
                connection.as_mut().graceful_shutdown();
                go_on.send(()).await.unwrap();
                connection.await.unwrap();
            });
            let mut requests = hyper_client(client).await;
            let stopping = async {
                has_begun.recv().await.unwrap();
                stop.send(()).await.unwrap();
            };
            let (answer, ()) = join(post(&mut requests, b"hello"), stopping).await;
            let (answer, closes) = answer.unwrap();
            assert_eq!(answer, b"hello");
            assert!(closes, "it says that this was the last");
            serving.await.unwrap();
            assert!(post(&mut requests, b"hello").await.is_err());
        });
    });
}

#[test]
fn hyper_hangs_up_by_our_timer_when_no_request_comes() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            let (client, server) = pair().await;
            let began = Instant::now();
            let limit = Duration::from_millis(50);
            let serving = wakeful::spawn(
                http1::Builder::new()
                    .timer(Timer)
                    .header_read_timeout(limit)
                    .serve_connection(Io(server), service_fn(echo_body)),
            );
            client.write(b"GET / HTTP/1.1\r\nHost: ").await.unwrap();
            let mut said = [0; 1000];
            while client.read(&mut said).await.unwrap() > 0 {}
            assert!(began.elapsed() >= limit);
            assert!(serving.await.unwrap().unwrap_err().is_timeout());
        });
    });
}

#[test]
fn hypers_timers_are_ours_and_can_be_put_off() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let (began, limit) = (Instant::now(), Duration::from_millis(300));
            let mut sleep = Timer.sleep(Duration::ZERO);
            Timer.reset(&mut sleep, std::time::Instant::now() + limit);
            assert_eq!(futures::poll!(&mut sleep), std::task::Poll::Pending);
            let timers = wakeful::Handle::current().metrics().timers;
            assert_eq!(timers, 1);
            sleep.await;
            assert!(began.elapsed() >= limit);
        });
    });
}

/// Sends bytes, reads as many at the same time, compares, and expects the end of the stream after its own.
async fn comes_back<S: AsyncRead + AsyncWrite>(stream: S, count: usize) {
    let (mut reader, mut writer) = stream.split();
    let sent = Bytes(3).take(count);
    let mut back = Vec::new();
    let writing = async {
        writer.write_all(&sent).await.unwrap();
        writer.close().await.unwrap();
    };
    let (read, ()) = join(reader.read_to_end(&mut back), writing).await;
    assert_eq!(read.unwrap(), count);
    assert!(back == sent);
}

/// Both ends of a connection whose server shows a certificate for `localhost`, and whose client expects `name`.
async fn tls_pair(
    name: &'static str,
) -> io::Result<(client::TlsStream<TcpStream>, server::TlsStream<TcpStream>)> {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = CertificateDer::from(cert);
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], signing_key.into())
        .unwrap();
    let (client, server) = pair().await;
    let connecting = tls::connector(certificate).connect(name.try_into().unwrap(), client);
    let accepting = TlsAcceptor::from(Arc::new(config)).accept(server);
    let (client, server) = join(connecting, accepting).await;
    Ok((client?, server?))
}

/// Sends each message back, and says how many it was.
async fn echo_messages<S: AsyncRead + AsyncWrite + Unpin>(mut socket: WebSocketStream<S>) -> usize {
    let mut count = 0;
    while let Some(message) = socket.next().await {
        let message = message.unwrap();
        if message.is_text() || message.is_binary() {
            count += 1;
            socket.send(message).await.unwrap();
        }
    }
    count
}

async fn echo_body(request: Request<Incoming>) -> Result<Response<Incoming>, Infallible> {
    Ok(Response::new(request.into_body()))
}

/// A client whose connection runs as a task of its own.
async fn hyper_client(stream: TcpStream) -> SendRequest<Full<Body>> {
    let (requests, connection) = hyper::client::conn::http1::handshake(Io(stream))
        .await
        .unwrap();
    Executor.execute(async { connection.await.unwrap() });
    requests
}

/// The body of the answer, and whether the server says that it closes the connection.
async fn post(
    requests: &mut SendRequest<Full<Body>>,
    body: &[u8],
) -> hyper::Result<(Vec<u8>, bool)> {
    requests.ready().await?;
    let body = Full::new(Body::copy_from_slice(body));
    let request = Request::post("/").header("Host", "localhost").body(body);
    let answer = requests.send_request(request.unwrap()).await?;
    let closes = answer
        .headers()
        .get("connection")
        .is_some_and(|value| value == "close");
    let bytes = answer.into_body().collect().await?.to_bytes();
    Ok((bytes.to_vec(), closes))
}
