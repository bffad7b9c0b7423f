//! Names and several addresses: looking up, connecting to the first that answers, and what the errors say.
//!
//! Only names that need no name server are looked up. When which attempt begins is tested where the attempts are, in virtual
//! time; here are the sockets.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::time::{Duration, Instant};

use futures::poll;
use wakeful::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use wakeful::{Runtime, yield_now};
use wakeful_tests::process::fds_count;
use wakeful_tests::runtimes::runtime;
use wakeful_tests::{alone, eventually, on_workers, panic_of};

#[test]
fn a_name_is_looked_up_and_connected_to() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            let text = format!("localhost:{port}");
            // Where the name means ::1 too, nobody listens there.
            for client in [
                TcpStream::connect(("localhost", port)).await.unwrap(),
                TcpStream::connect(text).await.unwrap(),
                TcpStream::connect_timeout(("localhost", port), LONG)
                    .await
                    .unwrap(),
            ] {
                let (server, peer) = listener.accept().await.unwrap();
                assert_eq!(peer, client.local_addr().unwrap());
                assert!(client.nodelay().unwrap());
                client.write(b"abc").await.unwrap();
                assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 3);
            }
        });
        no_lookup_is_left(runtime);
    });
}

#[test]
fn what_is_an_address_already_needs_no_thread() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let address = listener.local_addr().unwrap();
            TcpStream::connect(address).await.unwrap();
            TcpStream::connect(address.to_string()).await.unwrap();
            TcpStream::connect(("127.0.0.1", address.port()))
                .await
                .unwrap();
            let found: Vec<_> = lookup_host([address]).await.unwrap().collect();
            assert_eq!(found, [address]);
        });
        assert_eq!(runtime.handle().metrics().blocking_threads, 0);
    });
}

#[test]
fn a_name_that_cannot_be_looked_up_is_an_error_that_names_it() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let name = "x".repeat(300); // no name server is asked for more than 255
            let Err(error) = lookup_host((name.as_str(), 80)).await else {
                panic!("it was found");
            };
            let text = error.to_string();
            assert!(
                text.starts_with(&format!("cannot look up {name}: ")),
                "{text}"
            );
            assert!(error.source().is_some());

            let error = TcpStream::connect((name.as_str(), 80)).await.unwrap_err();
            let text = error.to_string();
            assert!(
                text.starts_with(&format!("cannot connect to {name}:80: ")),
                "{text}"
            );

            let error = TcpStream::connect("localhost").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains("no port"), "{error}");
        });
        no_lookup_is_left(runtime);
    });
}

#[test]
fn of_many_more_lookups_than_may_be_made_at_a_time_each_has_its_turn() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let lookups: Vec<_> = (0..500)
                .map(|port| wakeful::spawn(lookup_host(("localhost", port))))
                .collect();
            for (port, lookup) in (0..).zip(lookups) {
                let mut found = lookup.await.unwrap().unwrap();
                assert!(found.len() > 0 && found.all(|address| address.port() == port));
            }
        });
        no_lookup_is_left(runtime);
    });
}

#[test]
fn a_lookup_outside_of_a_runtime_says_what_it_needs() {
    let text = panic_of(|| futures::executor::block_on(lookup_host("localhost:80")));
    assert!(
        text.starts_with("looking up a name needs a wakeful runtime"),
        "{text}"
    );
    // What is not to be looked up needs none.
    let found = futures::executor::block_on(lookup_host("127.0.0.1:80")).unwrap();
    assert_eq!(found.len(), 1);
}

#[test]
fn a_lookup_after_the_shutdown_is_an_error() {
    let runtime = runtime(2);
    let handle = runtime.handle().clone();
    drop(runtime);
    let Err(error) = handle.block_on(lookup_host("localhost:80")) else {
        panic!("who has looked it up?");
    };
    assert!(error.to_string().contains("localhost"), "{error}");
}

#[test]
fn a_name_is_not_bound_and_the_error_says_what_to_do() {
    let error = TcpListener::bind("localhost:0").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let text = error.to_string();
    assert!(text.starts_with("cannot bind localhost:0: "), "{text}");
    assert!(text.contains("lookup_host"), "{text}");
}

#[test]
fn the_first_address_that_can_be_had_is_bound() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap();
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = TcpListener::bind([taken, free]).unwrap();
    assert_ne!(listener.local_addr().unwrap(), taken);

    let error = TcpListener::bind(&[taken, taken][..]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    let text = error.to_string();
    assert_eq!(text.matches(&taken.to_string()).count(), 2, "{text}");
    assert!(
        text.starts_with("cannot bind any of 2 addresses: "),
        "{text}"
    );

    let error = TcpListener::bind(taken).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with(&format!("cannot bind {taken}: ")),
        "{error}"
    );
}

#[test]
fn of_two_addresses_the_one_that_answers_is_taken_and_if_none_does_both_are_named() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let (_six, six) = refusing(TcpSocket::new_v6().unwrap(), "[::1]:0");
            let (_four, four) = refusing(TcpSocket::new_v4().unwrap(), "127.0.0.1:0");
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let good = listener.local_addr().unwrap();
            let client = TcpStream::connect([six, four, good]).await.unwrap();
            assert_eq!(client.peer_addr().unwrap(), good);

            let error = TcpStream::connect([six, four]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            let text = error.to_string();
            assert!(text.contains(&six.to_string()), "{text}");
            assert!(text.contains(&four.to_string()), "{text}");
            let source = error.source().unwrap().downcast_ref::<io::Error>();
            assert!(source.unwrap().raw_os_error().is_some());

            // A single one is named once.
            let text = TcpStream::connect(four).await.unwrap_err().to_string();
            assert!(
                text.starts_with(&format!("cannot connect to {four}: ")),
                "{text}"
            );
            let text = TcpStream::connect(("localhost", four.port()))
                .await
                .unwrap_err()
                .to_string();
            let name = format!("cannot connect to localhost:{}: ", four.port());
            assert!(
                text.starts_with(&name) && text.contains(&four.to_string()),
                "{text}"
            );
        });
        no_lookup_is_left(runtime);
    });
}

#[test]
fn an_address_that_does_not_answer_holds_up_no_other_and_its_socket_is_closed() {
    alone(
        "an_address_that_does_not_answer_holds_up_no_other_and_its_socket_is_closed",
        || {
            on_workers([1, 2], |runtime| {
                runtime.block_on(async {
                    let (_full, silent, _clients) = silent_address().await;
                    let listener = TcpListener::bind("[::1]:0").unwrap();
                    let good = listener.local_addr().unwrap();
                    let fds_before = fds_count();
                    let begun = Instant::now();
                    let client = TcpStream::connect([silent, good]).await.unwrap();
                    assert_eq!(client.peer_addr().unwrap(), good);
                    assert!(begun.elapsed() >= Duration::from_millis(250));
                    assert_eq!(fds_count(), fds_before + 1);
                    drop(client);

                    // The other way round there is nothing to wait for.
                    let client = TcpStream::connect([good, silent]).await.unwrap();
                    assert_eq!(client.peer_addr().unwrap(), good);
                    drop(client);
                    assert_eq!(fds_count(), fds_before);
                });
            });
        },
    );
}

#[test]
fn a_limit_ends_the_wait_and_the_error_names_the_address() {
    alone(
        "a_limit_ends_the_wait_and_the_error_names_the_address",
        || {
            on_workers([1, 2], |runtime| {
                runtime.block_on(async {
                    let (_full, silent, _clients) = silent_address().await;
                    let fds_before = fds_count();
                    let limit = Duration::from_millis(30);
                    let begun = Instant::now();
                    let error = TcpStream::connect_timeout(silent, limit).await.unwrap_err();
                    assert!(begun.elapsed() >= limit);
                    assert_eq!(error.kind(), ErrorKind::TimedOut);
                    assert!(error.to_string().contains(&silent.to_string()), "{error}");
                    assert_eq!(fds_count(), fds_before);

                    let error = TcpStream::connect_timeout([silent, silent], limit)
                        .await
                        .unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::TimedOut);
                    assert_eq!(fds_count(), fds_before);
                });
            });
        },
    );
}

#[test]
fn a_connection_by_name_given_up_after_any_number_of_polls_leaves_nothing() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            for round in 0..200 {
                let mut connecting = pin!(TcpStream::connect_timeout(("localhost", port), LONG));
                for _ in 0..round % 20 {
                    if poll!(connecting.as_mut()).is_ready() {
                        break;
                    }
                    yield_now().await;
                }
            }
        });
        no_lookup_is_left(runtime);
        // And the permits are back.
        runtime.block_on(async {
            let lookups: Vec<_> = (0..100)
                .map(|_| wakeful::spawn(lookup_host("localhost:80")))
                .collect();
            for lookup in lookups {
                assert_ne!(lookup.await.unwrap().unwrap().len(), 0);
            }
        });
        no_lookup_is_left(runtime);
    });
}

/// The address of a listener whose backlog is full: who connects to it gets no answer. And what keeps it so.
async fn silent_address() -> (TcpListener, SocketAddr, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut clients = Vec::new();
    loop {
        match TcpStream::connect_timeout(address, Duration::from_millis(200)).await {
            Ok(client) => clients.push(client),
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                return (listener, address, clients);
            }
            Err(error) => panic!("{error}"),
        }
        assert!(clients.len() < 100, "the backlog was to be 1");
    }
}

/// An address that nobody else can have, and that nobody listens on, for as long as the socket is kept.
fn refusing(socket: TcpSocket, address: &str) -> (TcpSocket, SocketAddr) {
    socket.bind(address.parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// Lookups that were given up end by themselves.
#[track_caller]
fn no_lookup_is_left(runtime: &Runtime) {
    eventually("no lookup is left", || {
        runtime.handle().metrics().blocking_closures == 0
    });
}

const LONG: Duration = Duration::from_secs(20);
