//! `echo call`: what is typed or piped in goes to the server, what comes back is printed.
//!
//! [`stream`] is the conversation over a connection, [`datagrams`] the one by UDP, [`stdio`] the user's side. One worker,
//! and no other thread unless standard input or output is something that cannot be waited for.
//!
//! The exit code is 0 when the input has ended and all of it was answered: as many bytes, or datagrams, as were sent.

mod datagrams;
mod stdio;
mod stream;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::peer::Peer;
use crate::units;

/// How to call.
#[derive(Args)]
pub(crate) struct CallArgs {
    #[command(flatten)]
    peer: Peer,

    /// Send each line as a datagram
    #[arg(long, conflicts_with = "unix")]
    udp: bool,

    /// How long to wait for the connection, and for an answer that is due
    /// [default: no limit; with --udp, where answers get lost, 5s]
    #[arg(long, value_name = "TIME", value_parser = units::parse_time)]
    timeout: Option<Duration>,
}

/// Talks to the server until the input and the answers have ended.
pub(crate) fn call(args: &CallArgs) -> io::Result<ExitCode> {
    let conversation = async {
        if args.udp {
            datagrams::converse(&args.peer, args.timeout.unwrap_or(UDP_TIMEOUT)).await
        } else {
            stream::converse(&args.peer, args.timeout).await
        }
    };
    match wakeful::block_on(conversation) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        // As for `… | head`: there is nobody left to be told.
        Err(error) if stdio::is_output_closed(&error) => Ok(ExitCode::FAILURE),
        Err(error) => Err(error),
    }
}

/// How long to wait for a datagram: it does not come any more.
const UDP_TIMEOUT: Duration = Duration::from_secs(5);
