//! What bad clients cost the good ones, and what they leave: `cargo bench -p wakeful-benches --bench abuse`, `-- --help` for the
//! options.
//!
//! Servers share a CPU. Well-behaved clients (`echo load`, at a fixed rate, every byte checked, latency counted from when a
//! message was due) use the first one. Each round measures their 99th percentile three times: with nothing else going on; with
//! the abuse on the same server; and with the same abuse on *another* server of ours, which is what it costs to share a machine with
//! it, whatever the server does. Then the abusers do nothing more, but stay: the idle timeout has to get rid of them. The same
//! clients and the same abuse then go to a hand-written epoll loop, and to tokio, each alone and under it.
//!
//! How to read the numbers:
//!
//! - *÷ alone* is what the good clients notice, as a median over the rounds of the ratio within a round. *beside* is the same
//!   for abuse on the other server: below that nothing can be had on this machine. A p99 of some hundred µs is moved by every pause
//!   of a machine that does anything else, so only what is far from *beside* is the server's doing.
//! - *floor* and *tokio* are alone and under it, the ratio, and how much of its CPU the server needs for both, of which the floor's is
//!   what is needed at least: with a server that has no rest left, who waits longer is a matter of who came first, and no
//!   bound holds. The rates are such that there is rest.
//! - *memory* is the server's own, before, towards the end of it and afterwards, in MB; *at most* is what the limits allow: 64 KiB
//!   for each connection that does not read, and 1 KiB for each. What was freed the allocator keeps for the next, because something that
//!   lives is above it: of the 11 MB after 10 000 connections, `malloc_trim(0)` by a debugger left 1.6. So from the third round
//!   on it may not grow any more: by 100 bytes for each of those connections, and it fails. (Nine storms in a row: 10.6, 10.9, and
//!   then 10.924 each time.)
//! - *gone* is how long after its end the abuse had left no socket, with an idle timeout of two seconds.
//!
//! It fails if a byte is wrong, a connection of a good client fails, a socket stays, memory grows beyond what the limits allow or
//! from round to round, or the server uses CPU time because it has no descriptors. A latency does not make it fail.

mod options;
mod shortage;

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use wakeful_benches::abuse::{Abuse, Abuser};
use wakeful_benches::accounting::{anonymous_bytes, run_time, sockets_count};
use wakeful_benches::cli::{self, Result};
use wakeful_benches::contender::{Contender, Programs};
use wakeful_benches::process::Server;
use wakeful_benches::results::{Bound, Claim, Results};
use wakeful_benches::stats::median;
use wakeful_benches::sys;
use wakeful_benches::table::{Table, grouped};

use crate::options::Options;

fn main() -> ExitCode {
    cli::finish("abuse bench", run())
}

fn run() -> Result<()> {
    let Some(options) = Options::parse()? else {
        println!("{}", options::USAGE);
        return Ok(());
    };
    let programs = Programs::new(env!("CARGO_BIN_EXE_peer"), env!("CARGO_BIN_EXE_load"))?;
    programs.build_echo()?;
    let &[server_cpu, client_cpu, ..] = sys::allowed_cpus()?.as_slice() else {
        return Err("servers and clients need a CPU each, and only one is allowed".into());
    };
    sys::raise_descriptor_limit()?;
    let results = Results::new("abuse", options.quick)?;
    results.text(format!(
        "one worker; servers on CPU {server_cpu}, clients on CPU {client_cpu}; good clients: {GOOD_CONNECTIONS} connections, \
         {GOOD_RATE} messages/s"
    ));
    for abuse in &options.abuses {
        if let Some(rate) = abuse.rate() {
            let (count, rate) = (grouped(abuse.count() as f64), grouped(rate));
            results.text(format!(
                "{abuse}: {count} connections, {rate} messages/s in all"
            ));
        }
    }
    if !options.abuses.is_empty() {
        let start = |command: &mut Command| Server::start(command, Some(server_cpu));
        let mut peers = Vec::new();
        for peer in PEERS {
            peers.push(start(&mut peer.command(&programs, 1))?);
        }
        let bench = Bench {
            own: start(&mut server(&programs))?,
            other: start(&mut server(&programs))?,
            peers,
            programs: &programs,
            client_cpu,
            measured: options.measured,
        };
        bench.good_clients_p99_us(&bench.own)?; // the server's first
        let mut all: Vec<_> = options.abuses.iter().map(|_| Vec::new()).collect();
        let mut kept = 0;
        for number in 0..options.rounds {
            for (abuse, rounds) in options.abuses.iter().zip(&mut all) {
                let round = bench.round(*abuse)?;
                let after = round.memory.after;
                match number {
                    0 | 1 => kept = kept.max(after),
                    _ if after > kept + GROWTH_MAX => {
                        return Err(format!(
                            "{abuse}: {after} bytes of memory after it, {kept} at most the first times"
                        )
                        .into());
                    }
                    _ => {}
                }
                rounds.push(round);
            }
        }
        let title = format!(
            "p99 of the good clients in µs, {} rounds of {:.1} s",
            options.rounds,
            options.measured.as_secs_f64()
        );
        results.table(&title, table(&options.abuses, &all));
        for (abuse, rounds) in options.abuses.iter().zip(&all) {
            results.claim(claim(*abuse, rounds));
        }
    }
    if options.shortage {
        shortage::run(&programs, server_cpu, options.lack, &results)?;
    }
    results.write()
}

/// The server that is abused, and says nothing about it.
fn server(programs: &Programs) -> Command {
    let mut command = Contender::Ours.command(programs, 1);
    command
        .args(["--idle-timeout", "2s", "--log", "error"])
        .stderr(Stdio::null());
    command
}

struct Bench<'a> {
    /// Serves the good clients.
    own: Server,
    other: Server,
    /// Those of [`PEERS`], which serve them too, in their turn.
    peers: Vec<Server>,
    programs: &'a Programs,
    client_cpu: usize,
    measured: Duration,
}

/// What one round has shown of one abuse.
struct Round {
    alone_us: f64,
    abused_us: f64,
    beside_us: f64,
    /// By [`PEERS`]; empty if they have no part in it.
    peers: Vec<AtPeer>,
    memory: Memory,
    gone: Duration,
}

/// What the good clients of a peer have noticed.
struct AtPeer {
    alone_us: f64,
    abused_us: f64,
    /// How much of a CPU the peer has used.
    busy: f64,
}

/// Of the server, in bytes.
struct Memory {
    before: u64,
    height: u64,
    after: u64,
}

impl Bench<'_> {
    fn round(&self, abuse: Abuse) -> Result<Round> {
        let alone_us = self.good_clients_p99_us(&self.own)?;
        let before = anonymous_bytes(self.own.pid())?;
        let (abused_us, height, gone) = self.abuse(abuse, &self.own)?;
        let after = anonymous_bytes(self.own.pid())?;
        let (beside_us, _, _) = self.abuse(abuse, &self.other)?;
        let memory = Memory {
            before,
            height,
            after,
        };
        let most = memory_max(abuse);
        if height.max(after) > before + most {
            return Err(format!(
                "{abuse}: {height} bytes of memory under it and {after} after it, {before} before: {most} more are allowed"
            )
            .into());
        }
        let peers = self.peers.iter().filter(|_| abuse.connects());
        Ok(Round {
            alone_us,
            abused_us,
            beside_us,
            peers: peers
                .map(|peer| self.at_peer(abuse, peer))
                .collect::<Result<_>>()?,
            memory,
            gone,
        })
    }

    /// The p99 of the good clients under the abuse, the abused server's memory at its height, and how long its sockets have stayed.
    fn abuse(&self, abuse: Abuse, server: &Server) -> Result<(f64, u64, Duration)> {
        let sockets = sockets_count(server.pid())?;
        let mut abuser = self.abuser(abuse, server)?;
        let p99_us = self.good_clients_p99_us(&self.own)?;
        let height = anonymous_bytes(server.pid())?;
        abuser.over()?;
        let gone = wait_until_gone(abuse, server, sockets)?;
        Ok((p99_us, height, gone))
    }

    /// The same at a peer, which has no idle timeout: there the abusers leave.
    fn at_peer(&self, abuse: Abuse, server: &Server) -> Result<AtPeer> {
        let alone_us = self.good_clients_p99_us(server)?;
        let sockets = sockets_count(server.pid())?;
        let abuser = self.abuser(abuse, server)?;
        let (begin, ran) = (Instant::now(), run_time(server.pid())?);
        let abused_us = self.good_clients_p99_us(server)?;
        let ran = run_time(server.pid())? - ran;
        let busy = ran.as_secs_f64() / begin.elapsed().as_secs_f64();
        drop(abuser);
        wait_until_gone(abuse, server, sockets)?;
        Ok(AtPeer {
            alone_us,
            abused_us,
            busy,
        })
    }

    fn abuser(&self, abuse: Abuse, server: &Server) -> Result<Abuser> {
        let program = self.programs.load.with_file_name("abuse");
        let time = self.measured + MARGIN;
        Abuser::start(&program, abuse, server, time, self.client_cpu)
    }

    fn good_clients_p99_us(&self, server: &Server) -> Result<f64> {
        let report = env::temp_dir().join(format!("wakeful-abuse-{}.json", std::process::id()));
        let measured = self.run_good_clients(server, &report);
        let text = fs::read_to_string(&report);
        let _ = fs::remove_file(&report); // it may never have been there
        measured?;
        let report: Value = serde_json::from_str(&text?)?;
        let p99_ns = report["latency_ns"]["p99"].as_f64();
        Ok(p99_ns.ok_or("`echo load` reports no p99")? / 1e3)
    }

    fn run_good_clients(&self, server: &Server, report: &Path) -> Result<()> {
        let mut command = Command::new(&self.programs.echo);
        command
            .args(["load", &server.address().to_string()])
            .args(["--connections", &GOOD_CONNECTIONS.to_string()])
            .args(["--rate", &GOOD_RATE.to_string()])
            .args(["--duration", &self.measured.as_secs_f64().to_string()])
            .arg("--json")
            .arg(report);
        sys::confine(&mut command, Some(self.client_cpu));
        let output = command.output()?;
        match output.status.success() {
            true => Ok(()),
            false => Err(format!(
                "a good client was not served:\n{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            )
            .into()),
        }
    }
}

/// Waits until a server has no more than so many `sockets`, and says how long that took.
fn wait_until_gone(abuse: Abuse, server: &Server, sockets: usize) -> Result<Duration> {
    let over = Instant::now();
    while sockets_count(server.pid())? > sockets {
        if over.elapsed() > GONE_MAX {
            let left = sockets_count(server.pid())? - sockets;
            return Err(format!("{abuse}: {left} sockets are left after {GONE_MAX:?}").into());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(over.elapsed())
}

fn table(abuses: &[Abuse], all: &[Vec<Round>]) -> Table {
    let mut table = Table::new([
        "abuse", "how many", "alone", "under it", "÷ alone", "beside", "floor", "tokio", "memory",
        "at most", "gone",
    ]);
    for (abuse, rounds) in abuses.iter().zip(all) {
        let of = |value: fn(&Round) -> f64| median(rounds.iter().map(value));
        let at_peer = |number: usize| {
            let peers = || {
                rounds
                    .iter()
                    .filter_map(move |round| round.peers.get(number))
            };
            if peers().count() == 0 {
                return "-".to_owned();
            }
            let of = |value: fn(&AtPeer) -> f64| median(peers().map(value));
            format!(
                "{:.0} → {:.0}, {:.2}; {:.0} %",
                of(|peer| peer.alone_us),
                of(|peer| peer.abused_us),
                of(|peer| peer.abused_us / peer.alone_us),
                of(|peer| peer.busy * 100.0)
            )
        };
        let mb = |bytes: f64| format!("{:.1}", bytes / 1e6);
        table.row(vec![
            abuse.to_string(),
            grouped(abuse.count() as f64),
            format!("{:.0}", of(|round| round.alone_us)),
            format!("{:.0}", of(|round| round.abused_us)),
            format!("{:.2}", of(Round::ratio)),
            format!("{:.2}", of(Round::ratio_beside)),
            at_peer(0),
            at_peer(1),
            format!(
                "{} → {} → {}",
                mb(of(|round| round.memory.before as f64)),
                mb(of(|round| round.memory.height as f64)),
                mb(of(|round| round.memory.after as f64))
            ),
            mb(of(|round| round.memory.before as f64) + memory_max(*abuse) as f64),
            format!("{:.1} s", of(|round| round.gone.as_secs_f64())),
        ]);
    }
    table
}

/// That good clients notice little.
fn claim(abuse: Abuse, rounds: &[Round]) -> Claim {
    let of = |value: fn(&Round) -> f64| median(rounds.iter().map(value));
    let beside = of(Round::ratio_beside);
    Claim {
        work: format!("{abuse}, p99 of the good clients"),
        ours: format!("{:.0} µs", of(|round| round.abused_us)),
        peer: format!("alone {:.0} µs", of(|round| round.alone_us)),
        figure: Some(of(Round::ratio)),
        bound: Bound::AtMost(RATIO_MAX),
        excuse: match beside > RATIO_MAX {
            true => format!("the machine's doing: {beside:.2} at another server"),
            false => String::new(),
        },
    }
}

impl Round {
    fn ratio(&self) -> f64 {
        self.abused_us / self.alone_us
    }

    fn ratio_beside(&self) -> f64 {
        self.beside_us / self.alone_us
    }
}

/// Who is under the same abuse, in the order of the columns.
const PEERS: [Contender; 2] = [Contender::Floor, Contender::TokioCurrent];

/// By how much longer the good clients may wait.
const RATIO_MAX: f64 = 2.0;

/// By how much a server may grow.
fn memory_max(abuse: Abuse) -> u64 {
    let (unsent, all) = (abuse.unsent_count() as u64, abuse.count_at_a_time() as u64);
    (unsent << 16) + (all << 10) + SLACK
}

/// By how much memory may grow from the third round on: 100 bytes for each of the most connections.
const GROWTH_MAX: u64 = 1 << 20;

/// What a server has whoever comes, and an allocator keeps.
const SLACK: u64 = 4 << 20;

const GOOD_CONNECTIONS: usize = 40;
const GOOD_RATE: usize = 4_000;

/// How much longer the abuse goes on than the good clients do, who take a while to begin.
const MARGIN: Duration = Duration::from_millis(300);

/// How long sockets may stay: several times the idle timeout.
const GONE_MAX: Duration = Duration::from_secs(15);
