//! The command line.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use log::LevelFilter;
use wakeful::BusyPoll;

use crate::call::CallArgs;
use crate::load::LoadArgs;
use crate::units::{parse_busy_poll, parse_time};

/// What was asked for. A bare `echo` means `echo serve`.
pub(crate) fn parse() -> Command {
    let Cli { command, serve } = Cli::parse();
    command.unwrap_or(Command::Serve(serve))
}

/// An echo server on the wakeful runtime, its client, and its load generator.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Accept connections and send every byte back (the default)
    Serve(ServeArgs),
    /// Send what is typed or piped in, and print what comes back
    Call(CallArgs),
    /// Put a server under load, check every byte, and report throughput and latency
    Load(LoadArgs),
}

/// How to serve.
#[derive(Args)]
pub(crate) struct ServeArgs {
    /// Address to listen on, may be given several times; with port 0 the system chooses one, and a line on the standard output
    /// says which [default: 127.0.0.1:7007, unless there is --unix]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Vec<String>,

    /// Name of a Unix socket to listen on, may be given several times
    #[arg(long, value_name = "PATH")]
    pub(crate) unix: Vec<PathBuf>,

    /// Address to echo datagrams on as well, may be given several times
    #[arg(long, value_name = "ADDRESS:PORT")]
    udp: Vec<String>,

    /// Echo line by line: a connection that sends anything but lines of UTF-8 of at most 64 KiB is cut off
    #[arg(long)]
    pub(crate) frames: bool,

    /// Number of workers [default: one per available CPU]
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<usize>,

    /// Whether workers look for events for a while before they sleep: `off`, `always`, or for at most so many microseconds
    #[arg(long, value_name = "MICROSECONDS", default_value = "50", value_parser = parse_busy_poll)]
    pub(crate) busy_poll: BusyPoll,

    /// Connections at the same time; further ones wait [default: as many as there are descriptors for, but for some]
    #[arg(long, value_name = "N")]
    pub(crate) max_connections: Option<usize>,

    /// Connections of one address at the same time; further ones are closed [default: no limit]
    #[arg(long, value_name = "N")]
    pub(crate) max_per_peer: Option<usize>,

    /// How long a peer may neither send, nor take what it is sent, as 500ms, 30s or 5m; with --frames, how long a line may take
    /// [default: for ever]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) idle_timeout: Option<Duration>,

    /// How long connections may go on after the signal to end
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_time)]
    pub(crate) grace: Duration,

    /// What to tell of on the standard error: this, and what matters more
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = level_parser())]
    pub(crate) log: LevelFilter,

    /// Tell once a second on the standard error how many connections there are and how busy the workers are
    #[arg(long)]
    pub(crate) stats: bool,

    /// Warn of a task that keeps a worker from all others for so long [default: 1s, and not at all with --workers 1]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    stall: Option<Duration>,
}

impl ServeArgs {
    /// The addresses to listen on.
    pub(crate) fn listen_addresses(&self) -> io::Result<Vec<SocketAddr>> {
        if self.listen.is_empty() && self.unix.is_empty() {
            return Ok(vec![([127, 0, 0, 1], 7007).into()]);
        }
        self.listen.iter().map(|text| address(text)).collect()
    }

    /// From when on a task that keeps its worker is told of. A single worker would need another thread to watch it, which is
    /// there only for those who ask for it.
    pub(crate) fn stall_threshold(&self) -> Option<Duration> {
        self.stall
            .or((self.workers != Some(1)).then_some(Duration::from_secs(1)))
    }

    /// The addresses to echo datagrams on.
    pub(crate) fn udp_addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.udp.iter().map(|text| address(text)).collect()
    }
}

fn address(text: &str) -> io::Result<SocketAddr> {
    text.parse().map_err(|_| {
        let problem = format!(
            "`{text}` is no address to listen on: write it as 127.0.0.1:7007 or [::1]:7007"
        );
        io::Error::new(io::ErrorKind::InvalidInput, problem)
    })
}

fn level_parser() -> impl TypedValueParser<Value = LevelFilter> {
    PossibleValuesParser::new(["error", "warn", "info", "debug"]).try_map(|name| name.parse())
}
