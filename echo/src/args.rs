//! The command line.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use wakeful::BusyPoll;

/// What was asked for. A bare `echo` means `echo serve`.
pub(crate) fn parse() -> ServeArgs {
    let Cli { command, serve } = Cli::parse();
    match command {
        Some(Command::Serve(serve)) => serve,
        None => serve,
    }
}

/// A TCP echo server on the wakeful runtime.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Accept connections and send every byte back (the default)
    Serve(ServeArgs),
}

/// How to serve.
#[derive(Args)]
pub(crate) struct ServeArgs {
    /// Address to listen on; with port 0 the system chooses one, and the first line printed says which
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7007")]
    listen: String,

    /// Number of workers [default: one per available CPU]
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<usize>,

    /// Whether workers look for events for a while before they sleep: `off`, `always`, or for at most so many microseconds
    #[arg(long, value_name = "MICROSECONDS", default_value = "50", value_parser = parse_busy_poll)]
    pub(crate) busy_poll: BusyPoll,
}

fn parse_busy_poll(text: &str) -> Result<BusyPoll, String> {
    match text {
        "off" => Ok(BusyPoll::Off),
        "always" => Ok(BusyPoll::Always),
        number => match number.parse() {
            Ok(micros) => Ok(BusyPoll::Adaptive(Duration::from_micros(micros))),
            Err(_) => Err("write it as `off`, `always` or a number of microseconds".to_owned()),
        },
    }
}

impl ServeArgs {
    /// The address to listen on.
    pub(crate) fn listen_address(&self) -> io::Result<SocketAddr> {
        self.listen.parse().map_err(|_| {
            let problem = format!(
                "`{}` is no address to listen on: write it as 127.0.0.1:7007 or [::1]:7007",
                self.listen
            );
            io::Error::new(io::ErrorKind::InvalidInput, problem)
        })
    }
}
