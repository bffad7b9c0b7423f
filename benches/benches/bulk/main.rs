//! Much data over one connection: `cargo bench -p wakeful-benches --bench bulk`, `-- --help` for the options.
//!
//! The *echo* servers send everything back to where it came from, the *proxies* pass it on to another connection. The client,
//! which is also what the proxies lead to, is one thread of this process on a CPU of its own ([`pump`]).
//!
//! How to read the numbers:
//!
//! - *Ratios* are medians over interleaved rounds of the ratio within a round; a server is a fresh process in each.
//! - The client sends and receives as much as the server. Where it is *busy* to 90 % and more, a faster server could not have
//!   shown it, and a ratio to it is marked `*` as client-bound. *CPU* still tells what the server needs: in seconds per gigabyte,
//!   summed over the rounds.
//! - Loopback copies once on each side whatever the server does; a network card does not, so `splice` saves a larger part of
//!   the work there than here.

mod options;
mod pump;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use wakeful_benches::accounting::CpuTime;
use wakeful_benches::cli::{self, Result};
use wakeful_benches::contender::Programs;
use wakeful_benches::process::Server;
use wakeful_benches::results::{Bound, Claim, Results};
use wakeful_benches::stats::median;
use wakeful_benches::sys;
use wakeful_benches::table::Table;

use crate::options::Options;

fn main() -> ExitCode {
    cli::finish("bulk bench", run())
}

fn run() -> Result<()> {
    let Some(options) = Options::parse()? else {
        println!("{}", options::USAGE);
        return Ok(());
    };
    let programs = Programs::new(env!("CARGO_BIN_EXE_peer"), env!("CARGO_BIN_EXE_load"))?;
    programs.build_echo()?;
    let proxy = programs.build_proxy()?;
    let &[server_cpu, client_cpu, ..] = sys::allowed_cpus()?.as_slice() else {
        return Err("server and client need a CPU each, and only one is allowed".into());
    };
    let results = Results::new("bulk", options.quick)?;
    sys::confine_thread(&[client_cpu])?;
    results.text(format!(
        "one worker, server on CPU {server_cpu}, client on CPU {client_cpu}"
    ));

    let bench = Bench {
        programs,
        proxy,
        server_cpu,
        options,
        results,
    };
    if bench.options.echo {
        bench.echo()?;
    }
    if bench.options.proxy {
        bench.proxy()?;
    }
    bench.results.write()
}

struct Bench {
    programs: Programs,
    /// Our proxy.
    proxy: PathBuf,
    server_cpu: usize,
    options: Options,
    results: Results,
}

/// A server, and what it did in each round.
struct Series {
    name: &'static str,
    command: Command,
    gigabytes_per_second: Vec<f64>,
    /// The part of the time that a core spent in the client.
    client_busy: Vec<f64>,
    cpu: CpuTime,
    gigabytes: f64,
}

impl Bench {
    fn echo(&self) -> Result<()> {
        let peer = |arguments: &[&str]| {
            let mut command = Command::new(&self.programs.peer);
            command.args(arguments).args(["--listen", "127.0.0.1:0"]);
            command
        };
        let mut ours = Command::new(&self.programs.echo);
        ours.args(["serve", "--workers", "1", "--listen", "127.0.0.1:0"]);
        let mut all = [
            Series::new("ours", ours),
            Series::new("floor", peer(&["floor"])),
            Series::new("floor, splice", peer(&["floor", "--splice"])),
            Series::new("tokio, 4 KiB", peer(&["tokio-current"])),
            Series::new("tokio, 64 KiB", peer(&["tokio-large"])),
        ];
        let title = self.rounds("echo", &mut all, |address| {
            let stream = TcpStream::connect(address)?;
            Ok((stream.try_clone()?, stream))
        })?;
        let [ours, floor, floor_splice, tokio, _] = &all;
        let best = match floor.median() >= floor_splice.median() {
            true => floor,
            false => floor_splice,
        };
        self.results.table(&title, table(&all, ours));
        self.results.claim(claim("bulk echo", ours, best, 0.9));
        self.results.claim(claim("bulk echo", ours, tokio, 3.0));
        Ok(())
    }

    fn proxy(&self) -> Result<()> {
        let behind = TcpListener::bind("127.0.0.1:0")?;
        let to = behind.local_addr()?.to_string();
        let mut ours = Command::new(&self.proxy);
        ours.args(["127.0.0.1:0", &to]); // one worker on one CPU
        let mut tokio = Command::new(&self.programs.peer);
        tokio.args(["tokio-proxy", "--listen", "127.0.0.1:0", "--to", &to]);
        let mut all = [Series::new("ours", ours), Series::new("tokio", tokio)];
        let title = self.rounds("proxy", &mut all, |address| {
            let stream = TcpStream::connect(address)?;
            Ok((stream, behind.accept()?.0))
        })?;
        let [ours, tokio] = &all;
        self.results.table(&title, table(&all, ours));
        self.results.claim(claim("proxy", ours, tokio, 2.5));
        Ok(())
    }

    /// Gives every server a turn in every round, in rotated order, and says what stands above the table. `connect` returns where
    /// data goes in, and where it comes out.
    fn rounds(
        &self,
        title: &str,
        all: &mut [Series],
        connect: impl Fn(SocketAddr) -> Result<(TcpStream, TcpStream)>,
    ) -> Result<String> {
        let Options { rounds, bytes, .. } = self.options;
        for round in 0..rounds {
            for turn in 0..all.len() {
                let position = (round + turn) % all.len();
                let series = &mut all[position];
                let server = Server::start(&mut series.command, Some(self.server_cpu))?;
                let (into, out) = connect(server.address())?;
                let mut pump = pump::Pump::new(into, out)?;
                pump.run(bytes / 8)?; // warm-up
                let before = CpuTime::of_process(server.pid())?;
                let client_before = sys::own_cpu_time()?;
                let elapsed = pump.run(bytes)?.as_secs_f64();
                let client = sys::own_cpu_time()? - client_before;
                series.cpu += CpuTime::of_process(server.pid())? - before;
                let gigabytes = bytes as f64 / 1e9;
                series.gigabytes += gigabytes;
                series
                    .client_busy
                    .push(client.total_ns() as f64 / 1e9 / elapsed);
                series.gigabytes_per_second.push(gigabytes / elapsed);
            }
        }
        Ok(format!(
            "{title}: one connection, {rounds} rounds of {:.2} GB",
            bytes as f64 / 1e9
        ))
    }
}

impl Series {
    fn new(name: &'static str, command: Command) -> Self {
        Self {
            name,
            command,
            gigabytes_per_second: Vec::new(),
            client_busy: Vec::new(),
            cpu: CpuTime::default(),
            gigabytes: 0.0,
        }
    }

    fn median(&self) -> f64 {
        median(self.gigabytes_per_second.iter().copied())
    }

    fn client_busy(&self) -> f64 {
        median(self.client_busy.iter().copied())
    }

    /// Behind a ratio of ours to another.
    fn mark(&self) -> &'static str {
        if self.client_busy() >= 0.9 { "*" } else { "" }
    }

    /// How many times the throughput of `other`.
    fn ratio(&self, other: &Self) -> f64 {
        let rounds = self
            .gigabytes_per_second
            .iter()
            .zip(&other.gigabytes_per_second);
        median(rounds.map(|(ours, theirs)| ours / theirs))
    }

    /// Seconds of the server's CPU.
    fn cpu_per_gigabyte(&self) -> f64 {
        self.cpu.total_ns() as f64 / 1e9 / self.gigabytes
    }
}

fn table(all: &[Series], ours: &Series) -> Table {
    let mut table = Table::new([
        "server",
        "GB/s",
        "client busy",
        "CPU s/GB",
        "ours ÷ it",
        "its CPU ÷ ours",
    ]);
    let mark = ours.mark();
    for series in all {
        table.row(vec![
            series.name.to_owned(),
            format!("{:.2}", series.median()),
            format!("{:.0} %", series.client_busy() * 100.0),
            format!("{:.3}", series.cpu_per_gigabyte()),
            format!("{:.2}{mark}", ours.ratio(series)),
            format!("{:.2}", series.cpu_per_gigabyte() / ours.cpu_per_gigabyte()),
        ]);
    }
    table
}

/// At least `least` times the throughput of `other`.
fn claim(work: &str, ours: &Series, other: &Series, least: f64) -> Claim {
    Claim {
        work: format!("{work}, one connection, throughput"),
        ours: format!("{:.2} GB/s", ours.median()),
        peer: format!("{} {:.2} GB/s", other.name, other.median()),
        figure: Some(ours.ratio(other)),
        bound: Bound::AtLeast(least),
        excuse: match ours.mark() {
            "" => String::new(),
            _ => "client-bound".to_owned(),
        },
    }
}
