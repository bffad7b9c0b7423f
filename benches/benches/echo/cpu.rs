//! CPU time per echo, with enough of it that the kernel's sampling tells user space from kernel: a minute a side, in slices
//! that alternate between servers which live from the first slice to the last.

use std::time::Duration;

use wakeful_benches::accounting::CpuTime;
use wakeful_benches::cli::Result;
use wakeful_benches::contender::Contender;
use wakeful_benches::process::Server;
use wakeful_benches::table::{Table, grouped};

use crate::options::Options;
use crate::setup::Setup;
use crate::work::Work;

/// Shows nanoseconds per echo for every server, and the ratio of user time to tokio's.
pub(crate) fn per_echo(setup: &Setup, options: &Options) -> Result<()> {
    let work = Work {
        connections: options.connections.as_ref().map_or(64, |counts| counts[0]),
        size: options.size(),
    };
    let slices = options.rounds.unwrap_or(60);
    let measured = options.measured.unwrap_or(Duration::from_secs(1));
    let plan = work.plan(measured);

    let mut accounts = Vec::new();
    for contender in options.among(&SERVERS) {
        accounts.push(Account {
            contender,
            server: setup.start(contender, 1, setup.pinned)?,
            cpu: CpuTime::default(),
            requests: 0,
        });
    }
    for slice in 0..slices {
        for turn in 0..accounts.len() {
            let position = (slice + turn) % accounts.len();
            let account = &mut accounts[position];
            let report = setup.load(plan, &account.server, setup.pinned)?;
            account.cpu += report.server_cpu;
            account.requests += report.requests;
        }
    }

    let tokio = accounts
        .iter()
        .find(|account| account.contender == Contender::TokioCurrent);
    let tokio_user = tokio.map(|account| account.cpu.per(account.requests).0);
    let mut table = Table::new([
        "server",
        "echoes",
        "user ns",
        "sys ns",
        "user ÷ tokio-current",
    ]);
    for account in &accounts {
        let (user, system) = account.cpu.per(account.requests);
        table.row(vec![
            account.contender.to_string(),
            grouped(account.requests as f64),
            format!("{user:.1}"),
            grouped(system),
            tokio_user.map_or_else(String::new, |tokio| format!("{:.2}", user / tokio)),
        ]);
    }
    let title = format!(
        "CPU per echo: {work}, one worker, pinned, {slices} slices of {:.0} s a side",
        measured.as_secs_f64()
    );
    setup.results.table(&title, table);
    Ok(())
}

/// What one server has done in all its slices.
struct Account {
    contender: Contender,
    server: Server,
    cpu: CpuTime,
    requests: u64,
}

const SERVERS: [Contender; 3] = [Contender::Ours, Contender::TokioCurrent, Contender::Floor];
