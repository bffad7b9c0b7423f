//! Memory per idle connection: the slope of a server's anonymous memory between 2 000 and 10 000 connections, each of which
//! has echoed one message and waits. The slope leaves out what a server costs before its first connection; the kernel's
//! socket buffers are not in it, being the same for all.

use wakeful_benches::accounting::anonymous_bytes;
use wakeful_benches::cli::Result;
use wakeful_benches::contender::Contender;
use wakeful_benches::load::IdleConnections;
use wakeful_benches::table::{Table, grouped};

use crate::options::Options;
use crate::setup::Setup;

/// Prints bytes per connection for every server.
pub(crate) fn per_idle_connection(setup: &Setup, options: &Options) -> Result<()> {
    if setup.descriptors_max < DESCRIPTORS_MIN {
        setup.results.text(format!(
            "\nmemory is left out: it needs {DESCRIPTORS_MIN} descriptors per process, and the hard limit is {}",
            setup.descriptors_max
        ));
        return Ok(());
    }
    let columns = ["KiB at 2 000", "KiB at 10 000", "bytes per connection"];
    let mut table = Table::new(["server"].into_iter().chain(columns));
    for contender in options.among(&SERVERS) {
        let server = setup.start(contender, 1, setup.pinned)?;
        let open = |count| {
            let program = &setup.programs.load;
            IdleConnections::open(
                program,
                server.address(),
                count,
                options.size(),
                setup.pinned.load,
            )
        };
        let _few = open(FEW)?;
        let at_few = anonymous_bytes(server.pid())? as f64;
        let _rest = open(MANY - FEW)?;
        let at_many = anonymous_bytes(server.pid())? as f64;
        table.row(vec![
            contender.to_string(),
            grouped(at_few / 1024.0),
            grouped(at_many / 1024.0),
            grouped((at_many - at_few) / (MANY - FEW) as f64),
        ]);
    }
    let title = format!(
        "memory: anonymous memory of the server, each connection has echoed {} B and waits",
        options.size()
    );
    setup.results.table(&title, table);
    Ok(())
}

const SERVERS: [Contender; 4] = [
    Contender::Ours,
    Contender::TokioCurrent,
    Contender::TokioMulti,
    Contender::Floor,
];
const FEW: usize = 2_000;
const MANY: usize = 10_000;
/// The connections, and some for everything else.
const DESCRIPTORS_MIN: u64 = MANY as u64 + 100;
