//! Clients that mean no good, of one kind ([`wakeful_benches::abuse::Abuse`]), in one thread.
//!
//! Prints a line when everybody is there, goes on for a time, prints another line, and holds what it has until it is killed. What
//! ends by itself ends with the second line. After [`LIMIT`] it ends whatever happens.
//!
//! Real ones have their own machines. These [give way](sys::give_way) to the clients whose latency is measured beside them.

mod kinds;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use lexopt::prelude::*;
use wakeful_benches::abuse::Abuse;
use wakeful_benches::cli::{self, Result};
use wakeful_benches::sys;

fn main() -> ExitCode {
    cli::finish("abuse", run())
}

fn run() -> Result<()> {
    let Some(options) = Options::parse()? else {
        println!("{USAGE}");
        return Ok(());
    };
    thread::spawn(|| {
        thread::sleep(LIMIT);
        eprintln!("abuse: nobody has ended this for {LIMIT:?}");
        std::process::exit(1);
    });
    sys::raise_descriptor_limit()?;
    sys::give_way()?;
    let count = options.abuse.count();
    let _held = match options.abuse {
        Abuse::SlowReaders => kinds::read_slowly(&options, count)?,
        Abuse::OneByte => kinds::send_single_bytes(&options, count)?,
        Abuse::HalfOpen => kinds::say_nothing(&options, count)?,
        Abuse::ResetStorm => kinds::reset(&options, count)?,
        Abuse::Killed => kinds::be_killed(&options, count)?,
        Abuse::SignalStorm => kinds::send_signals(&options)?,
    };
    println!("over");
    loop {
        thread::park();
    }
}

/// What the command line asks for.
struct Options {
    abuse: Abuse,
    connect: SocketAddr,
    server_pid: u32,
    time: Duration,
}

impl Options {
    fn parse() -> Result<Option<Self>> {
        let (mut abuse, mut connect, mut server_pid, mut time) = (None, None, None, None);
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("connect") => {
                    connect = Some(cli::value(&mut parser, "--connect", "ADDRESS:PORT")?);
                }
                Long("server-pid") => {
                    server_pid = Some(cli::value(&mut parser, "--server-pid", "a process id")?);
                }
                Long("seconds") => time = Some(cli::seconds(&mut parser, "--seconds", 0.1)?),
                Short('h') | Long("help") => return Ok(None),
                Value(name) => {
                    let name = name.to_string_lossy();
                    let parsed = name.parse();
                    abuse = Some(parsed.map_err(|()| format!("there is no abuse '{name}'"))?);
                }
                other => {
                    return Err(format!("{}; `abuse --help` helps", other.unexpected()).into());
                }
            }
        }
        Ok(Some(Self {
            abuse: abuse.ok_or("name an abuse; `abuse --help` lists them")?,
            connect: connect.ok_or("name a server: `--connect 127.0.0.1:7007`")?,
            server_pid: server_pid.ok_or("name the server's process: `--server-pid PID`")?,
            time: time.unwrap_or(Duration::from_secs(2)),
        }))
    }

    /// Says that everybody is there, and returns when it has to be over.
    fn ready(&self) -> Instant {
        println!("ready");
        Instant::now() + self.time
    }
}

/// No measurement is longer.
const LIMIT: Duration = Duration::from_secs(120);

const USAGE: &str = "\
usage: abuse KIND --connect ADDRESS:PORT --server-pid PID [--seconds S]
  KIND is slow-readers, one-byte, half-open, reset-storm, killed or signal-storm; for S seconds (2)";
