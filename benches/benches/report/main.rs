//! All benches, and a page of what they found: `cargo bench -p wakeful-benches --bench report`, `-- --help` for the options.
//!
//! Every bench is run by cargo as a person would run it, one after the other, and leaves its results in the target folder
//! ([`wakeful_benches::results`]); the page is made of those. A bench that fails is named on the page, and the others go on: a
//! comparison is not lost because one part of it does not work on a machine. The report then ends with an error.

mod options;

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use wakeful_benches::cli::{self, Result};
use wakeful_benches::page;
use wakeful_benches::results::{self, Record};

use crate::options::Options;

fn main() -> ExitCode {
    cli::finish("report", run())
}

fn run() -> Result<()> {
    let Some(options) = Options::parse()? else {
        println!("{}", options::USAGE);
        return Ok(());
    };
    let mut records = Vec::new();
    let mut failures = Vec::new();
    for bench in &options.benches {
        let record = match options.runs {
            true => run_bench(bench, options.quick),
            false => Record::read(bench),
        };
        match record {
            Ok(record) => records.push(record),
            Err(error) => failures.push(format!("{bench}: {error}")),
        }
    }
    let path = results::folder()?.join("report.html");
    fs::create_dir_all(results::folder()?)?;
    fs::write(&path, page::page(&records, &failures)?)?;
    println!("\nthe report: {}", path.display());
    if failures.is_empty() {
        Ok(())
    } else {
        Err(failures.join("; ").into())
    }
}

fn run_bench(bench: &str, quick: bool) -> Result<Record> {
    println!("\n=== {bench}");
    // What an earlier run has left is not what this one finds.
    let left = Record::path(bench)?;
    if left.exists() {
        fs::remove_file(&left)?;
    }
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["bench", "--package", "wakeful-benches", "--bench", bench])
        .arg("--target-dir")
        .arg(target()?)
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    if quick {
        command.args(["--", "--quick"]);
    }
    let status = command.status()?;
    if !status.success() {
        return Err(format!("ended with {status}").into());
    }
    Record::read(bench)
}

/// The target folder from which this bench runs.
fn target() -> Result<PathBuf> {
    let folder = results::folder()?;
    let target = folder.parent().ok_or("no target folder")?;
    Ok(target.to_owned())
}
