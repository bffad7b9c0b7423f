//! UDP, as a program on the runtime uses it.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket as StdSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use futures::channel::mpsc;
use futures::{StreamExt, poll};
use wakeful::net::{Received, RecvBatch, SentSegments, TcpStream, UdpSocket};
use wakeful::yield_now;
use wakeful_tests::server::{RunningServer, example};
use wakeful_tests::watchdog::LIMIT;
use wakeful_tests::{Bytes, impatiently, on_workers, yields};

// What one datagram is.

#[test]
fn a_datagram_that_does_not_fit_says_how_long_it_was() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let (client, server) = pair();
            let from = client.local_addr().unwrap();
            let cut = Received {
                len: 100,
                full_len: 2_000,
            };
            let mut buffer = [0; 100];
            let bytes = Bytes(1).take(2_000);
            for _ in 0..5 {
                assert_eq!(client.send(&bytes).await.unwrap(), 2_000);
            }
            assert_eq!(server.peek(&mut buffer).await.unwrap(), cut);
            assert_eq!(server.peek_from(&mut buffer).await.unwrap(), (cut, from));
            assert_eq!(server.try_peek(&mut buffer).unwrap(), cut);
            assert_eq!(server.try_peek_from(&mut buffer).unwrap(), (cut, from));
            assert!(cut.is_truncated() && buffer == bytes[..100]);

            assert_eq!(server.recv(&mut buffer).await.unwrap(), cut);
            assert_eq!(server.recv_from(&mut buffer).await.unwrap(), (cut, from));
            assert_eq!(server.try_recv(&mut buffer).unwrap(), cut);
            assert_eq!(server.try_recv_from(&mut buffer).unwrap(), (cut, from));
            let mut batch = RecvBatch::new(2, 100);
            assert_eq!(server.recv_many(&mut batch).await.unwrap(), 1);
            let datagram = batch.iter().next().unwrap();
            assert!(datagram.is_truncated() && datagram.bytes() == &bytes[..100]);
            assert_eq!((datagram.full_len(), datagram.from()), (2_000, from));

            // Exactly as long as there is room is not too long.
            client.send(&bytes[..100]).await.unwrap();
            assert!(!server.recv(&mut buffer).await.unwrap().is_truncated());
        });
    });
}

#[test]
fn an_empty_datagram_is_a_datagram_and_no_end() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let (client, server) = pair();
            let empty = Received {
                len: 0,
                full_len: 0,
            };
            let mut buffer = [0; 8];
            let mut receiving = Box::pin(server.recv(&mut buffer));
            assert!(poll!(receiving.as_mut()).is_pending());
            assert_eq!(client.send(b"").await.unwrap(), 0);
            assert_eq!(receiving.await.unwrap(), empty);

            client.send(b"").await.unwrap();
            client.send(b"x").await.unwrap();
            assert_eq!(server.recv(&mut buffer).await.unwrap(), empty);
            assert_eq!(server.recv(&mut buffer).await.unwrap().len, 1);

            // Nor is no room a reason not to take one.
            client.send(b"abc").await.unwrap();
            let none_of_three = Received {
                len: 0,
                full_len: 3,
            };
            assert_eq!(server.recv(&mut []).await.unwrap(), none_of_three);
            assert!(server.try_recv(&mut buffer).is_err());

            let mut batch = RecvBatch::new(8, 8);
            let to = server.local_addr().unwrap();
            client
                .send_many([(&b""[..], to), (&b""[..], to)])
                .await
                .unwrap();
            server.recv_many(&mut batch).await.unwrap();
            assert_eq!(batch.len(), 2);
            let segments = batch.iter().flat_map(|datagram| datagram.segments());
            assert!(segments.eq([&b""[..], &b""[..]]));
        });
    });
}

#[test]
fn all_that_came_with_one_edge_is_received() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            const DATAGRAMS: u8 = 100;
            let (client, server) = pair();
            for round in 0..20 {
                let mut buffer = [0; 1_500];
                {
                    let mut receiving = pin!(server.recv(&mut buffer));
                    assert!(poll!(receiving.as_mut()).is_pending());
                    for number in 0..DATAGRAMS {
                        client.send(&[number]).await.unwrap();
                    }
                    assert_eq!(receiving.await.unwrap().len, 1);
                }
                assert_eq!(buffer[0], 0);
                for number in 1..DATAGRAMS {
                    assert_eq!(server.recv(&mut buffer).await.unwrap().len, 1);
                    assert_eq!(buffer[0], number, "in round {round}");
                }
            }
        });
    });
}

// Errors of former datagrams.

#[test]
fn nobody_listening_is_told_once_and_the_socket_lives_on() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let nobody = StdSocket::bind(anywhere()).unwrap();
            let address = nobody.local_addr().unwrap();
            drop(nobody);
            let client = UdpSocket::bind(anywhere()).unwrap();
            client.connect(address).unwrap();
            let mut buffer = [0; 8];
            for _ in 0..50 {
                // Waiting already when the error comes, for the first time and again.
                let mut receiving = Box::pin(client.recv(&mut buffer));
                assert!(poll!(receiving.as_mut()).is_pending());
                client.send(b"x").await.unwrap();
                let error = receiving.await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
                let mut receiving = pin!(client.recv(&mut buffer));
                assert!(poll!(receiving.as_mut()).is_pending(), "told twice");
            }
            // Or it comes out of sending.
            client.send(b"x").await.unwrap();
            let error = client.send(b"x").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            // Or out of a batch.
            client.send(b"x").await.unwrap();
            let mut batch = RecvBatch::new(4, 8);
            let error = client.recv_many(&mut batch).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            assert!(batch.is_empty());

            let server = UdpSocket::bind(address).unwrap();
            client.send(b"abc").await.unwrap();
            let (_, from) = server.recv_from(&mut buffer).await.unwrap();
            server.send_to(b"def", from).await.unwrap();
            assert_eq!(client.recv(&mut buffer).await.unwrap().len, 3);
        });
    });
}

#[test]
fn a_server_survives_clients_that_do_not_wait_for_their_answers() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let server = UdpSocket::bind(anywhere()).unwrap();
            let address = server.local_addr().unwrap();
            let echo = wakeful::spawn(async move {
                let mut buffer = [0; 64];
                loop {
                    let (received, from) = server.recv_from(&mut buffer).await?;
                    server.send_to(&buffer[..received.len], from).await?;
                }
            });
            let client = UdpSocket::bind(anywhere()).unwrap();
            client.connect(address).unwrap();
            for _ in 0..50 {
                for _ in 0..20 {
                    let impatient = UdpSocket::bind(anywhere()).unwrap();
                    impatient.send_to(b"x", address).await.unwrap();
                }
                client.send(b"still there?").await.unwrap();
                assert_eq!(client.recv(&mut [0; 64]).await.unwrap().len, 12);
            }
            let ended: Option<io::Result<()>> = echo.cancel().await.ok();
            assert!(ended.is_none(), "the server has given up: {ended:?}");
        });
    });
}

#[test]
fn a_datagram_that_is_too_long_is_refused_whole() {
    on_workers([1], |runtime| {
        runtime.block_on(async {
            let (client, server) = pair();
            let to = server.local_addr().unwrap();
            let long = vec![0; 70_000];
            for _ in 0..3 {
                assert!(client.send(&long).await.is_err());
                assert!(client.send_to(&long, to).await.is_err());
            }
            // In a batch it ends what comes before it, and then it is the first.
            let batch = [
                (&b"a"[..], to),
                (&b"b"[..], to),
                (&long[..], to),
                (&b"c"[..], to),
            ];
            assert_eq!(client.send_many(batch).await.unwrap(), 2);
            assert!(client.send_many(batch.into_iter().skip(2)).await.is_err());
            assert_eq!(
                client.send_many(batch.into_iter().skip(3)).await.unwrap(),
                1
            );
            for expected in *b"abc" {
                let mut buffer = [0; 8];
                assert_eq!(server.recv(&mut buffer).await.unwrap().len, 1);
                assert_eq!(buffer[0], expected);
            }
        });
    });
}

// Batches.

#[test]
fn batches_move_what_single_operations_move() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let (client, server) = pair();
            let (to, from) = (server.local_addr().unwrap(), client.local_addr().unwrap());
            assert_eq!(client.send_many([]).await.unwrap(), 0);
            let datagrams: Vec<_> = (0..150).map(|len| Bytes(len as u64).take(len)).collect();
            let mut batch = RecvBatch::new(40, 200);
            assert!(batch.is_empty());
            assert_eq!(
                server.try_recv_many(&mut batch).unwrap_err().kind(),
                ErrorKind::WouldBlock
            );
            for _ in 0..10 {
                let mut sent = 0;
                while sent < datagrams.len() {
                    let rest = datagrams[sent..].iter().map(|bytes| (&bytes[..], to));
                    let count = match sent {
                        0 => client.try_send_many(rest).unwrap(),
                        _ => client.send_many(rest).await.unwrap(),
                    };
                    assert!((1..=64).contains(&count));
                    sent += count;
                }
                let mut received = 0;
                while received < datagrams.len() {
                    let count = server.recv_many(&mut batch).await.unwrap();
                    assert_eq!((batch.len(), batch.iter().len()), (count, count));
                    for datagram in batch.iter() {
                        assert!(datagram.bytes() == &datagrams[received][..]);
                        assert!(!datagram.is_truncated() && datagram.from() == from);
                        assert!(datagram.segments().eq([datagram.bytes()]));
                        received += 1;
                    }
                }
            }
            // Room for nothing is room for something.
            let mut least = RecvBatch::new(0, 0);
            client.send(b"x").await.unwrap();
            assert_eq!(server.recv_many(&mut least).await.unwrap(), 1);
            assert_eq!(least.iter().next().unwrap().bytes(), b"x");
        });
    });
}

#[test]
fn segments_are_datagrams_and_may_arrive_glued_together() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let bytes = Bytes(3).take(10_500);
            for (glued, connected) in [(false, true), (false, false), (true, true), (true, false)] {
                let (client, server) = pair();
                let to = (!connected).then(|| server.local_addr().unwrap());
                if glued && server.set_gro(true).is_err() {
                    return println!("this kernel cannot glue datagrams together");
                }
                assert_eq!(server.gro().unwrap(), glued);
                let mut batch = RecvBatch::new(8, 65_535);
                let sent = client.send_segmented(&bytes, 1_000, to).await.unwrap();
                assert_eq!(sent.len, bytes.len());
                println!("cut by the system: {}", sent.offloaded);
                let (mut datagrams_count, mut segments) = (0, Vec::new());
                while segments.len() < 11 {
                    datagrams_count += server.recv_many(&mut batch).await.unwrap();
                    for datagram in batch.iter() {
                        let is_one = datagram.full_len() <= 1_000;
                        let segment_len = datagram.segment_len();
                        assert_eq!(segment_len, (!is_one).then_some(1_000));
                        segments.extend(datagram.segments().map(<[u8]>::to_vec));
                    }
                }
                assert!(segments.iter().map(Vec::as_slice).eq(bytes.chunks(1_000)));
                if glued && sent.offloaded {
                    assert_eq!(datagrams_count, 1, "they came in one piece");
                } else if !glued {
                    assert_eq!(datagrams_count, 11);
                }
            }
        });
    });
}

#[test]
fn one_call_sends_so_many_segments_and_says_how_far_it_came() {
    on_workers([1], |runtime| {
        runtime.block_on(async {
            let (client, server) = pair();
            let zero = client.send_segmented(b"abc", 0, None).await.unwrap_err();
            assert_eq!(zero.kind(), ErrorKind::InvalidInput);
            let sent = |len: usize, segment_len: usize| {
                let (client, bytes) = (&client, vec![1; len]);
                let sent = client.try_send_segmented(&bytes, segment_len, None);
                async move { sent.unwrap() }
            };
            let mut batch = RecvBatch::new(64, 65_535);
            let cases = [
                (1_000, 1, 64),
                (80_000, 1_000, 64_000),
                (65_000, 20_000, 60_000),
            ];
            for (len, segment_len, expected) in cases {
                let SentSegments { len, .. } = sent(len, segment_len).await;
                assert_eq!(len, expected);
                let mut received = 0;
                while received < len {
                    server.recv_many(&mut batch).await.unwrap();
                    for datagram in batch.iter() {
                        assert_eq!(datagram.full_len(), segment_len);
                        received += datagram.full_len();
                    }
                }
            }
            // What is not longer than a segment is one, also when it is empty.
            for len in [0, 5] {
                let whole = sent(len, 70_000).await;
                assert_eq!((whole.len, whole.offloaded), (len, false));
                assert_eq!(server.recv(&mut [0; 8]).await.unwrap().full_len, len);
            }
            assert!(
                client
                    .send_segmented(&[0; 140_000], 70_000, None)
                    .await
                    .is_err()
            );
        });
    });
}

// Many tasks, and futures that are dropped.

#[test]
fn each_datagram_goes_to_one_of_those_who_receive() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            const DATAGRAMS: u32 = 2_000;
            let (client, server) = pair();
            let server = Arc::new(server);
            let (seen, mut all_seen) = mpsc::unbounded();
            let receivers = [0, 1, 2].map(|number| {
                let (server, seen) = (server.clone(), seen.clone());
                wakeful::spawn(async move {
                    let (mut buffer, mut batch) = ([0; 4], RecvBatch::new(4, 4));
                    loop {
                        match number {
                            0 => drop(server.recv(&mut buffer).await.unwrap()),
                            1 => drop(impatiently!(server.recv_from(&mut buffer)).unwrap()),
                            _ => {
                                impatiently!(server.recv_many(&mut batch)).unwrap();
                                for datagram in batch.iter() {
                                    let bytes = datagram.bytes().try_into().unwrap();
                                    seen.unbounded_send(u32::from_ne_bytes(bytes)).unwrap();
                                }
                                continue;
                            }
                        }
                        seen.unbounded_send(u32::from_ne_bytes(buffer)).unwrap();
                    }
                })
            });
            let to = server.local_addr().unwrap();
            let mut numbers = BTreeSet::new();
            for number in 0..DATAGRAMS {
                let bytes = number.to_ne_bytes();
                let sent = match number % 3 {
                    0 => impatiently!(client.send(&bytes)),
                    1 => impatiently!(client.send_to(&bytes, to)),
                    _ => impatiently!(client.send_many([(&bytes[..], to)])).map(|count| 4 * count),
                };
                assert_eq!(sent.unwrap(), 4);
                // So that the receive buffer never overflows.
                if number % 50 == 49 {
                    while numbers.len() <= number as usize {
                        assert!(
                            numbers.insert(all_seen.next().await.unwrap()),
                            "taken twice"
                        );
                    }
                }
            }
            assert!(numbers.into_iter().eq(0..DATAGRAMS));
            for receiver in receivers {
                let _: Result<(), _> = receiver.cancel().await; // it has no end
            }
        });
    });
}

#[test]
fn who_sends_without_end_lets_the_others_have_their_turn() {
    on_workers([1], |runtime| {
        runtime.block_on(async {
            let (client, server) = pair();
            let sender = wakeful::spawn(async move {
                loop {
                    let _ = client.send(b"x").await; // it is thrown away when nobody takes it
                }
            });
            let receiver = wakeful::spawn(async move {
                let mut batch = RecvBatch::new(1, 8);
                loop {
                    let _ = server.recv_many(&mut batch).await;
                }
            });
            yields(1_000).await;
            let _: Result<(), _> = sender.cancel().await;
            let _: Result<(), _> = receiver.cancel().await;
        });
    });
}

#[test]
fn polling_by_hand() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let (client, server) = pair();
            let (to, mut buffer) = (server.local_addr().unwrap(), [0; 8]);
            let cx = &mut Context::from_waker(Waker::noop());
            assert!(server.poll_recv(cx, &mut buffer).is_pending());
            assert!(server.poll_recv_from(cx, &mut buffer).is_pending());
            assert!(client.poll_send(cx, b"abc").is_ready());
            assert!(client.poll_send_to(cx, b"def", to).is_ready());
            server.readable().await.unwrap();
            let received = std::future::poll_fn(|cx| server.poll_recv(cx, &mut buffer));
            assert_eq!(received.await.unwrap().len, 3);
            let received = std::future::poll_fn(|cx| server.poll_recv_from(cx, &mut buffer));
            assert_eq!(received.await.unwrap().1, client.local_addr().unwrap());
            client.writable().await.unwrap();
            assert_eq!(client.try_send(b"x").unwrap(), 1);
            assert_eq!(client.try_send_to(b"x", to).unwrap(), 1);
        });
    });
}

// Names, options, descriptors.

#[test]
fn of_several_addresses_the_first_that_can_be_had_is_bound() {
    let holder = UdpSocket::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap();
    let mut tried = 0;
    let socket = UdpSocket::bind_with([taken, anywhere()], |_| {
        tried += 1;
        Ok(())
    })
    .unwrap();
    assert_ne!(socket.local_addr().unwrap(), taken);
    assert_eq!(tried, 2, "each with the options");
    assert!(UdpSocket::bind(("127.0.0.1", 0)).is_ok());

    let error = UdpSocket::bind(vec![taken, taken]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    let text = error.to_string();
    assert!(
        text.starts_with("cannot bind any of 2 addresses: "),
        "{text}"
    );
    assert_eq!(text.matches(&taken.to_string()).count(), 2, "{text}");
}

#[test]
fn of_several_addresses_the_first_that_there_is_a_way_to_is_connected_to() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let six = "[::1]:9".parse().unwrap(); // not from a socket of the other family
    let good = socket.local_addr().unwrap();
    socket.connect([six, good]).unwrap();
    assert_eq!(socket.peer_addr().unwrap(), good);
    socket.connect(good.to_string()).unwrap();

    let error = socket.connect([six, six]).unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("cannot connect to any of 2 addresses: "),
        "{text}"
    );
    let text = socket.connect(six).unwrap_err().to_string();
    assert!(text.starts_with("cannot connect to [::1]:9: "), "{text}");
    assert_eq!(socket.peer_addr().unwrap(), good, "it stays");
}

#[test]
fn a_name_is_neither_bound_nor_connected_to_and_the_error_says_what_to_do() {
    let bound = UdpSocket::bind("localhost:0").unwrap_err();
    let socket = UdpSocket::bind(anywhere()).unwrap();
    let connected = socket.connect("localhost:9").unwrap_err();
    for (error, what) in [
        (bound, "bind localhost:0"),
        (connected, "connect to localhost:9"),
    ] {
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let text = error.to_string();
        assert!(text.starts_with(&format!("cannot {what}: ")), "{text}");
        assert!(text.contains("lookup_host"), "{text}");
    }
}

#[test]
fn a_group_receives_what_is_sent_to_it() {
    on_workers([1], |runtime| {
        runtime.block_on(async {
            let (mut buffer, lo) = ([0; 8], Ipv4Addr::LOCALHOST);
            let group = Ipv4Addr::new(239, 255, 77, 1);
            let member = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
            let to: SocketAddr = (group, member.local_addr().unwrap().port()).into();
            member.join_multicast_v4(group, lo).unwrap();
            let sender = UdpSocket::bind(anywhere()).unwrap();
            sender.set_multicast_interface_v4(lo).unwrap();
            sender.send_to(b"v4", to).await.unwrap();
            let (_, from) = member.recv_from(&mut buffer).await.unwrap();
            assert_eq!(from, sender.local_addr().unwrap());
            // After leaving, nothing arrives.
            member.leave_multicast_v4(group, lo).unwrap();
            sender.send_to(b"v4", to).await.unwrap();
            yields(10).await;
            let nothing = member.try_recv(&mut buffer).unwrap_err();
            assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
            assert!(member.leave_multicast_v4(group, lo).is_err());

            // The loopback interface has no route for groups of IPv6, so the kernel's list of members has to do.
            const LO: u32 = 1; // its number, in every network namespace
            let group = "ff01::77:1".parse().unwrap();
            let is_member = || {
                let groups = std::fs::read_to_string("/proc/net/igmp6").unwrap();
                groups.contains("ff010000000000000000000000770001")
            };
            let member = UdpSocket::bind("[::1]:0").unwrap();
            member.set_multicast_interface_v6(LO).unwrap();
            assert!(!is_member());
            member.join_multicast_v6(&group, LO).unwrap();
            assert!(is_member());
            member.leave_multicast_v6(&group, LO).unwrap();
            assert!(!is_member());
            assert!(member.leave_multicast_v6(&group, LO).is_err());
        });
    });
}

#[test]
fn options_are_what_they_were_set_to() {
    for address in [anywhere(), "[::1]:0".parse().unwrap()] {
        let socket = UdpSocket::bind_with(address, |socket| {
            socket.set_reuse_address(true)?;
            socket.set_reuse_port(true)
        })
        .unwrap();
        assert!(socket.reuse_address().unwrap() && socket.reuse_port().unwrap());
        socket.set_ttl(9).unwrap();
        socket.set_tos(0x10).unwrap();
        socket.set_multicast_ttl(3).unwrap();
        socket.set_broadcast(true).unwrap();
        socket.set_multicast_loop(false).unwrap();
        socket.set_send_buffer_size(20_000).unwrap();
        socket.set_recv_buffer_size(30_000).unwrap();
        assert_eq!((socket.ttl().unwrap(), socket.tos().unwrap()), (9, 0x10));
        assert_eq!(socket.multicast_ttl().unwrap(), 3);
        assert!(socket.broadcast().unwrap() && !socket.multicast_loop().unwrap());
        assert_eq!(socket.send_buffer_size().unwrap(), 40_000);
        assert_eq!(socket.recv_buffer_size().unwrap(), 60_000);
    }
    let v6 = UdpSocket::bind_with("[::]:0", |socket| socket.set_only_v6(true));
    assert!(v6.unwrap().only_v6().unwrap());
    let refused = UdpSocket::bind_with(anywhere(), |_| Err(ErrorKind::Other.into()));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Other);

    let first = UdpSocket::bind(anywhere()).unwrap();
    let address = first.local_addr().unwrap();
    let error = UdpSocket::bind(address).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert!(
        error
            .to_string()
            .starts_with(&format!("cannot bind {address}"))
    );
    assert_eq!(
        first.peer_addr().unwrap_err().kind(),
        ErrorKind::NotConnected
    );
    first.connect(address).unwrap();
    assert_eq!(first.peer_addr().unwrap(), address);
    assert!(format!("{first:?}").starts_with("UdpSocket { local: 127.0.0.1:"));
}

#[test]
fn sockets_go_to_the_standard_library_and_back() {
    on_workers([1, 2], |runtime| {
        let std_socket = StdSocket::bind(anywhere()).unwrap();
        let address = std_socket.local_addr().unwrap();
        let server = UdpSocket::from_std(std_socket).unwrap();
        runtime.block_on(async {
            let client = UdpSocket::bind(anywhere()).unwrap();
            assert!(poll!(pin!(server.recv(&mut [0; 8]))).is_pending());
            client.send_to(b"abc", address).await.unwrap();
            assert_eq!(server.recv(&mut [0; 8]).await.unwrap().len, 3);
            let std_server = server.into_std();
            std_server.set_nonblocking(false).unwrap();
            client.send_to(b"abcd", address).await.unwrap();
            assert_eq!(std_server.recv(&mut [0; 8]).unwrap(), 4);

            let client = OwnedFd::from(client);
            let error = TcpStream::try_from(client.try_clone().unwrap()).unwrap_err();
            assert_eq!(error.to_string(), "not a TCP socket");
            let client = UdpSocket::try_from(client).unwrap();
            client.send_to(b"abcd", address).await.unwrap();
            let duplicate = client.as_fd().try_clone_to_owned().unwrap();
            assert!(UdpSocket::try_from(duplicate).is_ok());
            let (pipe, _writer) = io::pipe().unwrap();
            assert!(UdpSocket::try_from(OwnedFd::from(pipe)).is_err());
            let unix = std::os::unix::net::UnixDatagram::unbound().unwrap();
            let error = UdpSocket::try_from(OwnedFd::from(unix)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            yield_now().await;
        });
    });
}

#[test]
fn the_example_answers_every_datagram() {
    let server = RunningServer::start(example("udp_echo").arg("127.0.0.1:0"));
    let address = server.address;
    let client = StdSocket::bind(anywhere()).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    client.connect(address).unwrap();
    let mut buffer = [0; 2_000];
    for round in 0..20 {
        let datagrams: Vec<_> = (0..20).map(|len| Bytes(round).take(len * 70)).collect();
        for datagram in &datagrams {
            client.send(datagram).unwrap();
        }
        for datagram in &datagrams {
            let count = client.recv(&mut buffer).unwrap();
            assert!(buffer[..count] == *datagram);
        }
    }
    client.send(&[1; 1_600]).unwrap();
    assert_eq!(client.recv(&mut buffer).unwrap(), 1_500);
}

/// Two that are connected to each other.
fn pair() -> (UdpSocket, UdpSocket) {
    let sockets = [(); 2].map(|()| UdpSocket::bind(anywhere()).unwrap());
    let [one, other] = sockets;
    one.connect(other.local_addr().unwrap()).unwrap();
    other.connect(one.local_addr().unwrap()).unwrap();
    (one, other)
}

fn anywhere() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}
