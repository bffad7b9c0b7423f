//! System calls of a connection that comes for one echo, counted by strace.
//!
//! A count runs from the start of a server to its end, so what it does once is in it, divided by thousands. The tracer is a child
//! of the server and not the other way round (`-D`), so that what the harness kills is the server.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use wakeful_benches::cli::Result;
use wakeful_benches::contender::{Contender, Programs};
use wakeful_benches::load::Plan;
use wakeful_benches::process::Server;
use wakeful_benches::results::{self, Results};
use wakeful_benches::table::Table;

/// Shows how many there are of each kind, or why they were not counted.
pub(crate) fn per_connection(
    programs: &Programs,
    plan: Plan,
    connections: u64,
    results: &Results,
) -> Result<()> {
    let mut table = Table::new(
        ["server"]
            .into_iter()
            .chain(KINDS.map(|(kind, _)| kind))
            .chain(["others", "all"]),
    );
    for server in [Contender::Ours, Contender::TokioCurrent, Contender::Floor] {
        let command = server.command(programs, 1);
        let calls = match count(&command, plan, connections, &programs.load) {
            Ok(calls) => calls,
            Err(error) => {
                results.text(format!("\nsystem calls were not counted: {error}"));
                return Ok(());
            }
        };
        let each = |calls: u64| format!("{:.3}", calls as f64 / connections as f64);
        let of = |names: &[&str]| {
            names
                .iter()
                .filter_map(|name| calls.get(*name))
                .sum::<u64>()
        };
        let named: u64 = KINDS.iter().map(|(_, names)| of(names)).sum();
        let all: u64 = calls.values().sum();
        let mut row = vec![server.to_string()];
        row.extend(KINDS.iter().map(|(_, names)| each(of(names))));
        row.extend([each(all - named), each(all)]);
        table.row(row);
    }
    let title = format!(
        "system calls per connection, {} at a time, one worker, {connections} in all",
        plan.connections
    );
    results.table(&title, table);
    Ok(())
}

/// How often a server made which call while so many connections came and went.
fn count(
    server: &Command,
    plan: Plan,
    connections: u64,
    load: &Path,
) -> Result<BTreeMap<String, u64>> {
    let folder = results::folder()?;
    fs::create_dir_all(&folder)?;
    let counts = folder.join("churn-calls.txt");
    fs::write(&counts, "")?;
    let mut command = Command::new("strace");
    command
        .args(["-D", "-f", "-c", "-o"])
        .arg(&counts)
        .arg(server.get_program())
        .args(server.get_args());
    let server = Server::start(&mut command, None)?;
    plan.run_churn_of(connections, load, &server)?;
    drop(server);

    // The tracer sees that the server has ended, and writes.
    let begin = Instant::now();
    while begin.elapsed() < WRITTEN_WITHIN {
        let calls = parse(&fs::read_to_string(&counts)?);
        if let Some(calls) = calls {
            return Ok(calls);
        }
        thread::sleep(Duration::from_millis(10));
    }
    Err("strace has written no total".into())
}

/// The calls by name, from lines that have their number in the fourth column and their name in the last. `None` before the line
/// with the total, the last.
fn parse(counts: &str) -> Option<BTreeMap<String, u64>> {
    let mut calls = BTreeMap::new();
    for line in counts.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let (Some(name), Some(number)) = (words.last(), words.get(3)) else {
            continue;
        };
        if *name == "total" {
            return Some(calls);
        }
        if let Ok(number) = number.parse() {
            calls.insert((*name).to_owned(), number);
        }
    }
    None
}

/// What is counted apart, and under which names.
const KINDS: [(&str, &[&str]); 6] = [
    ("accept", &["accept", "accept4"]),
    ("recv", &["recvfrom", "recvmsg", "read"]),
    ("send", &["sendto", "sendmsg", "write"]),
    ("epoll_ctl", &["epoll_ctl"]),
    ("epoll_wait", &["epoll_wait", "epoll_pwait", "epoll_pwait2"]),
    ("close", &["close"]),
];

const WRITTEN_WITHIN: Duration = Duration::from_secs(30);
