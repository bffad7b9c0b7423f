//! What bad clients cost the good ones, and what they leave: `cargo bench -p wakeful-benches --bench abuse`, `-- --help` for the
//! options.
//!
//! Two servers share a CPU. Well-behaved clients (`echo load`, at a fixed rate, every byte checked, latency counted from when a
//! message was due) use the first one. Each round measures their 99th percentile three times: with nothing else going on; with
//! the abuse on the same server; and with the same abuse on the *other* server, which is what it costs to share a machine with
//! it, whatever the server does. Then the abusers do nothing more, but stay: the idle timeout has to get rid of them.
//!
//! How to read the numbers:
//!
//! - *÷ alone* is what the good clients notice, as a median over the rounds of the ratio within a round; *beside ÷ alone* is the
//!   same for abuse on the other server: below that nothing can be had on this machine.
//! - *memory* is the server's own, before, towards the end of it and afterwards, in MB; *at most* is what the limits allow: 64 KiB
//!   for each connection that does not read, and 1 KiB for each. The allocator keeps what was freed; no later round may add to it.
//! - *gone* is how long after its end the abuse had left no socket, with an idle timeout of two seconds.
//!
//! It fails if a byte is wrong, a connection of a good client fails, a socket stays, memory grows beyond what the limits allow, or
//! the server uses CPU time because it has no descriptors. A latency does not make it fail.

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
use wakeful_benches::accounting::{anonymous_bytes, sockets_count};
use wakeful_benches::cli::{self, Result};
use wakeful_benches::contender::{Contender, Programs};
use wakeful_benches::process::Server;
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
    println!(
        "one worker; servers on CPU {server_cpu}, clients on CPU {client_cpu}; good clients: {GOOD_CONNECTIONS} connections, \
         {GOOD_RATE} messages/s"
    );
    if !options.abuses.is_empty() {
        let start = || Server::start(&mut server(&programs), Some(server_cpu));
        let bench = Bench {
            own: start()?,
            other: start()?,
            programs: &programs,
            client_cpu,
            measured: options.measured,
        };
        bench.good_clients_p99_us()?; // the server's first
        let mut all: Vec<_> = options.abuses.iter().map(|_| Vec::new()).collect();
        let mut kept = 0;
        for number in 0..options.rounds {
            for (abuse, rounds) in options.abuses.iter().zip(&mut all) {
                let round = bench.round(*abuse)?;
                match number {
                    0 => kept = kept.max(round.memory.after),
                    _ if round.memory.after > kept + SLACK => {
                        let after = round.memory.after;
                        return Err(format!(
                            "{abuse}: {after} bytes of memory after it, {kept} at most the first time"
                        )
                        .into());
                    }
                    _ => {}
                }
                rounds.push(round);
            }
        }
        println!(
            "\np99 of the good clients in µs, {} rounds of {:.1} s",
            options.rounds,
            options.measured.as_secs_f64()
        );
        print!("{}", table(&options.abuses, &all));
    }
    if options.shortage {
        shortage::run(&programs, server_cpu, options.lack)?;
    }
    Ok(())
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
    programs: &'a Programs,
    client_cpu: usize,
    measured: Duration,
}

/// What one round has shown of one abuse.
struct Round {
    alone_us: f64,
    abused_us: f64,
    beside_us: f64,
    memory: Memory,
    gone: Duration,
}

/// Of the server, in bytes.
struct Memory {
    before: u64,
    height: u64,
    after: u64,
}

impl Bench<'_> {
    fn round(&self, abuse: Abuse) -> Result<Round> {
        let alone_us = self.good_clients_p99_us()?;
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
        Ok(Round {
            alone_us,
            abused_us,
            beside_us,
            memory,
            gone,
        })
    }

    /// The p99 of the good clients under the abuse, the abused server's memory at its height, and how long its sockets have stayed.
    fn abuse(&self, abuse: Abuse, server: &Server) -> Result<(f64, u64, Duration)> {
        let sockets = sockets_count(server.pid())?;
        let program = self.programs.load.with_file_name("abuse");
        let time = self.measured + MARGIN;
        let mut abuser = Abuser::start(&program, abuse, server, time, self.client_cpu)?;
        let p99_us = self.good_clients_p99_us()?;
        let height = anonymous_bytes(server.pid())?;
        abuser.over()?;
        let over = Instant::now();
        while sockets_count(server.pid())? > sockets {
            if over.elapsed() > GONE_MAX {
                let left = sockets_count(server.pid())? - sockets;
                return Err(format!("{abuse}: {left} sockets are left after {GONE_MAX:?}").into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok((p99_us, height, over.elapsed()))
    }

    fn good_clients_p99_us(&self) -> Result<f64> {
        let report = env::temp_dir().join(format!("wakeful-abuse-{}.json", std::process::id()));
        let measured = self.run_good_clients(&report);
        let text = fs::read_to_string(&report);
        let _ = fs::remove_file(&report); // it may never have been there
        measured?;
        let report: Value = serde_json::from_str(&text?)?;
        let p99_ns = report["latency_ns"]["p99"].as_f64();
        Ok(p99_ns.ok_or("`echo load` reports no p99")? / 1e3)
    }

    fn run_good_clients(&self, report: &Path) -> Result<()> {
        let mut command = Command::new(&self.programs.echo);
        command
            .args(["load", &self.own.address().to_string()])
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

fn table(abuses: &[Abuse], all: &[Vec<Round>]) -> Table {
    let mut table = Table::new([
        "abuse",
        "how many",
        "alone",
        "under it",
        "÷ alone",
        "beside ÷ alone",
        "memory",
        "at most",
        "gone",
    ]);
    for (abuse, rounds) in abuses.iter().zip(all) {
        let of = |value: fn(&Round) -> f64| median(rounds.iter().map(value));
        let mb = |bytes: f64| format!("{:.1}", bytes / 1e6);
        table.row(vec![
            abuse.to_string(),
            grouped(abuse.count() as f64),
            format!("{:.0}", of(|round| round.alone_us)),
            format!("{:.0}", of(|round| round.abused_us)),
            format!("{:.2}", of(|round| round.abused_us / round.alone_us)),
            format!("{:.2}", of(|round| round.beside_us / round.alone_us)),
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

/// By how much a server may grow.
fn memory_max(abuse: Abuse) -> u64 {
    let (unsent, all) = (abuse.unsent_count() as u64, abuse.count_at_a_time() as u64);
    (unsent << 16) + (all << 10) + SLACK
}

/// What a server has whoever comes, and an allocator keeps.
const SLACK: u64 = 4 << 20;

const GOOD_CONNECTIONS: usize = 40;
const GOOD_RATE: usize = 4_000;

/// How much longer the abuse goes on than the good clients do, who take a while to begin.
const MARGIN: Duration = Duration::from_millis(300);

/// How long sockets may stay: several times the idle timeout.
const GONE_MAX: Duration = Duration::from_secs(15);
