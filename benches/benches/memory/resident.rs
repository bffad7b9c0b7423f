//! Memory per idle connection: the slope of a server's anonymous memory between 2 000 and 10 000 connections, each of which
//! has echoed one message and waits. The slope leaves out what a server costs before its first connection; the kernel's
//! socket buffers are not in it, being the same for all.

use wakeful_benches::accounting::anonymous_bytes;
use wakeful_benches::cli::Result;
use wakeful_benches::contender::{Contender, Programs};
use wakeful_benches::load::IdleConnections;
use wakeful_benches::process::Server;
use wakeful_benches::results::{Bound, Claim, Results};
use wakeful_benches::stats::median;
use wakeful_benches::sys;
use wakeful_benches::table::{Table, grouped};

/// Shows bytes per connection for every server.
pub(crate) fn per_idle_connection(
    programs: &Programs,
    rounds: usize,
    results: &Results,
) -> Result<()> {
    let descriptors_max = sys::raise_descriptor_limit()?;
    if descriptors_max < DESCRIPTORS_MIN {
        results.text(format!(
            "user memory per connection is left out: it needs {DESCRIPTORS_MIN} descriptors per process, and the hard limit is {descriptors_max}"
        ));
        return Ok(());
    }
    let mut slopes = SERVERS.map(|server| (server, Vec::new()));
    for round in 0..rounds {
        for turn in 0..slopes.len() {
            let position = (round + turn) % slopes.len();
            let (server, series) = &mut slopes[position];
            series.push(Slope::of(*server, programs)?);
        }
    }

    let columns = ["KiB at 2 000", "KiB at 10 000", "bytes per connection"];
    let mut table = Table::new(["server"].into_iter().chain(columns));
    let middle = |series: &[Slope], value: fn(&Slope) -> f64| median(series.iter().map(value));
    for (server, series) in &slopes {
        table.row(vec![
            server.to_string(),
            grouped(middle(series, |slope| slope.at_few) / 1024.0),
            grouped(middle(series, |slope| slope.at_many) / 1024.0),
            grouped(middle(series, Slope::per_connection)),
        ]);
    }
    let title = format!(
        "user memory of the server, each connection has echoed {MESSAGE_BYTES} B and waits; {rounds} round(s)"
    );
    results.table(&title, table);
    let [ours, tokio, ..] = &slopes;
    let [ours, theirs] = [&ours.1, &tokio.1].map(|series| middle(series, Slope::per_connection));
    results.claim(Claim {
        work: "user memory per idle echo connection".to_owned(),
        ours: format!("{} B", grouped(ours)),
        peer: format!("{} {} B", tokio.0, grouped(theirs)),
        figure: Some(ours),
        bound: Bound::AtMost(600.0),
        excuse: String::new(),
    });
    Ok(())
}

/// Anonymous memory of a server, in bytes, with few and with many connections.
struct Slope {
    at_few: f64,
    at_many: f64,
}

impl Slope {
    fn of(server: Contender, programs: &Programs) -> Result<Self> {
        let server = Server::start(&mut server.command(programs, 1), None)?;
        let open = |count| {
            let (load, address) = (&programs.load, server.address());
            IdleConnections::open(load, address, count, MESSAGE_BYTES, None)
        };
        let _few = open(FEW)?;
        let at_few = anonymous_bytes(server.pid())? as f64;
        let _rest = open(MANY - FEW)?;
        let at_many = anonymous_bytes(server.pid())? as f64;
        Ok(Self { at_few, at_many })
    }

    fn per_connection(&self) -> f64 {
        (self.at_many - self.at_few) / (MANY - FEW) as f64
    }
}

const SERVERS: [Contender; 4] = [
    Contender::Ours,
    Contender::TokioCurrent,
    Contender::TokioMulti,
    Contender::Floor,
];
const MESSAGE_BYTES: usize = 64;
const FEW: usize = 2_000;
const MANY: usize = 10_000;
/// The connections, and some for everything else.
const DESCRIPTORS_MIN: u64 = MANY as u64 + 100;
