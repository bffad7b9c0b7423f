//! Ten thousand connections through the proxy of the examples, which is `copy_bidirectional` and a loop.
//!
//! One process may have 20 000 descriptors here, which is what so many connections cost the proxy alone: two sockets each. So
//! there are two proxies, the server behind them is a process of its own, and the clients are in this one.

use std::io::{Read, Write};

use wakeful_tests::server::{RunningServer, echo, example};
use wakeful_tests::watchdog::LIMIT;
use wakeful_tests::{Bytes, eventually, within};

#[test]
fn a_proxied_connection_that_is_idle_costs_no_memory_for_data_and_no_pipe() {
    const FEW: usize = 1_000;
    const MANY: usize = 10_000;
    let server = RunningServer::start(&mut echo(&["serve", "--listen", "127.0.0.1:0"]));
    let to = server.address.to_string();
    let proxies =
        [(), ()].map(|()| RunningServer::start(example("proxy").args(["127.0.0.1:0", &*to])));
    let running = [*proxies[0], *proxies[1]];
    let message = Bytes(1).take(20_000);
    within(LIMIT * 4, move || {
        let own = running.map(|proxy| proxy.process.fds_count());
        let (mut clients, mut answer) = (Vec::new(), vec![0; message.len()]);
        let mut fill_up_to = |count: usize| {
            while clients.len() < count {
                let mut client = running[clients.len() % 2].connect();
                client.write_all(&message).unwrap();
                client.read_exact(&mut answer).unwrap();
                assert!(answer == message);
                clients.push(client);
            }
            for (proxy, own) in running.iter().zip(own) {
                // Two sockets for each, and nothing else.
                eventually("all are connected", || {
                    proxy.process.fds_count() == own + count
                });
            }
            running.map(|proxy| proxy.process.anonymous_bytes())
        };
        let (few, many) = (fill_up_to(FEW), fill_up_to(MANY));
        for (few, many) in few.into_iter().zip(many) {
            let each = many.saturating_sub(few) / ((MANY - FEW) / 2);
            println!("an idle proxied connection: {each} bytes");
            assert!(each <= 2_000, "{each} bytes");
        }
    });
}
