//! `echo load`: many connections at once, every byte checked, and then the figures.
//!
//! | file | what |
//! |---|---|
//! | [`args`] | what a load is made of |
//! | [`workers`] | the connections of each worker: made, run, counted |
//! | [`connection`] | one of them: sends, receives, checks |
//! | [`pace`] | when it sends; from when on a latency counts |
//! | [`pattern`] | the bytes |
//! | [`tally`] | what is counted, and what can go wrong |
//! | [`progress`] | the bar, as long as it runs |
//! | [`report`] | the figures, as a table and as JSON |
//! | [`histogram`], [`plot`] | the latencies, drawn in the terminal and as SVG |
//!
//! A connection belongs to one worker from its first moment to its last, and so do the counters that it writes: no two threads
//! share anything while it runs but one number each for the progress bar.

mod args;
mod connection;
mod histogram;
mod pace;
mod pattern;
mod plot;
mod progress;
mod report;
mod tally;
mod workers;

use std::fs::File;
use std::future::pending;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use futures_lite::future;
use wakeful::signal::ctrl_c;
use wakeful::time::Instant;
use wakeful::{Builder, Handle};

pub(crate) use args::LoadArgs;
use progress::Progress;
use report::Report;
use workers::Live;

use crate::units;

/// Runs the load, and prints what came of it. The exit code is 0 if every connection did what it should.
pub(crate) fn load(args: LoadArgs) -> io::Result<ExitCode> {
    // That a file cannot be written is said now, not when all the work is done.
    let (json, svg) = (create(args.json.as_deref())?, create(args.svg.as_deref())?);
    make_room(args.connections)?;
    let workers = args.workers.min(args.connections) as usize;
    let runtime = Builder::new()
        .workers(workers)
        .busy_poll(args.busy_poll)
        .build()?;
    let args = Arc::new(args);
    let (report, is_interrupted) = runtime.block_on(measure(runtime.handle(), &args))?;
    drop(runtime);
    if let Some(mut file) = json {
        serde_json::to_writer_pretty(&mut file, &report)?;
        file.write_all(b"\n")?;
    }
    if let Some(mut file) = svg {
        file.write_all(plot::draw(&report)?.as_bytes())?;
    }
    io::stdout().write_all(report.to_string().as_bytes())?;
    Ok(match report.is_clean() {
        _ if is_interrupted => ExitCode::from(130), // by convention: ended by SIGINT
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Connects, sends until the end or the first Ctrl-C, and says what came of it, and whether it was interrupted.
async fn measure(handle: &Handle, args: &Arc<LoadArgs>) -> io::Result<(Report, bool)> {
    let progress = Progress::begin(args);
    let (crews, mut tally) = workers::connect(handle, args).await?;
    let live = Arc::new(Live::new(crews.len()));
    let start = Instant::now();
    let running = workers::run(handle, args, crews, &live, start);
    let all_end = async {
        for worker in running {
            tally.add(worker.await?);
        }
        io::Result::Ok(())
    };
    let interruption = async {
        ctrl_c().await?;
        live.is_interrupted.store(true, Relaxed); // they look
        pending().await
    };
    let watching = future::or(interruption, progress.show(&live, start));
    future::or(all_end, watching).await?;
    drop(progress);
    let is_interrupted = live.is_interrupted.load(Relaxed);
    Ok((Report::of(args, &tally, start), is_interrupted))
}

fn create(path: Option<&Path>) -> io::Result<Option<File>> {
    path.map(|path| {
        File::create(path).map_err(|error| {
            let problem = format!("cannot write {}: {error}", path.display());
            io::Error::new(error.kind(), problem)
        })
    })
    .transpose()
}

/// Raises the limit on descriptors as far as it may be raised, and says so if that is not far enough.
fn make_room(connections: u64) -> io::Result<()> {
    let needed = connections + OTHER_DESCRIPTORS;
    let limit = rlimit::increase_nofile_limit(needed)?;
    if limit < needed {
        let problem = format!(
            "{} need {} descriptors, and this process may have {}: `ulimit -n` raises that",
            units::plural(connections, "connection"),
            units::count(needed),
            units::count(limit)
        );
        return Err(io::Error::new(io::ErrorKind::QuotaExceeded, problem));
    }
    Ok(())
}

/// For the runtime, the files, and whatever was inherited.
const OTHER_DESCRIPTORS: u64 = 64;
