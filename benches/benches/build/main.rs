//! What it takes to build the smallest echo server: `cargo bench -p wakeful-benches --bench build`, `-- --help` for the options.
//!
//! How to read the numbers:
//!
//! - Every server is a package of its own, with the versions of this workspace's lock file, built by `cargo build --release` into
//!   an empty folder. What has to be fetched is fetched before.
//! - *tokio* has the features that the server needs and no macro, *tokio, full* is what its first page says. It is left out where
//!   its crates cannot be fetched.
//! - *Seconds* and *CPU s*, of all of cargo's children, are medians over interleaved rounds, ratios medians of the ratio within a
//!   round. *Crates* are those that are compiled. *KiB* is the size of the program, as it comes, with its symbols.
//! - Each server is started in the end, and has to echo.
//! - *CPU s* repeats on a machine that does something else too; *seconds* also tell what could not be done in parallel.
//!
//! Where our CPU time goes, in seconds, of rustc 1.95, beside what it was when all of the library was compiled in the library:
//!
//! | | before | now |
//! |---|---|---|
//! | libc with its build script, the traits of futures, pin-project-lite | 1.4 | 1.4 |
//! | the macros, beside libc | 0.3 | 0.3 |
//! | the library: parse, resolve, check of types and borrows | 2.5 | 2.8 |
//! | its MIR, and the choice of what is to be compiled | 1.6 | 1.3 |
//! | its machine code | 10.1 | 3.7 |
//! | the program, with the link | 0.9 | 1.0 |
//!
//! What a plain TCP server does not use is `#[inline]` in the library, and has its code made where it is called; that makes the
//! build of the crate that uses it the longer. The bound of half of tokio's time is out of reach: of its nine to ten seconds
//! everything but our machine code would take six, and the server needs four fifths of what is compiled now. With all of
//! the library deferred (`-Zhint-mostly-unused` of a nightly, before the change) the library and the program took 9.6 s; now they
//! take 8.8. Features would leave out checks of types too; there are none on purpose.

mod package;

use std::process::ExitCode;

use wakeful_benches::cli::{self, Result, Rounds};
use wakeful_benches::contender::version_of;
use wakeful_benches::results::{Bound, Claim, Results};
use wakeful_benches::stats::median;
use wakeful_benches::table::{Table, grouped};

use crate::package::{Built, Package};

fn main() -> ExitCode {
    cli::finish("build bench", run())
}

fn run() -> Result<()> {
    let Some(rounds) = Rounds::parse(5, 1)? else {
        println!("{USAGE}");
        return Ok(());
    };
    let results = Results::new("build", rounds.quick)?;
    let tokio = |features: &str| {
        let version = version_of("tokio");
        format!(
            r#"tokio = {{ version = "={version}", default-features = false, features = [{features}] }}"#
        )
    };
    let runtime = concat!(env!("CARGO_MANIFEST_DIR"), "/../runtime");
    let ours = format!("wakeful = {{ path = {runtime:?} }}");
    let lean = tokio(r#""rt", "net", "io-util""#);
    let mut all = vec![
        Series::new("ours", &ours, include_str!("ours.rs"))?,
        Series::new("tokio", &lean, include_str!("tokio.rs"))?,
    ];
    let full = tokio(r#""full""#);
    match Series::new("tokio, full", &full, include_str!("tokio_full.rs")) {
        Ok(series) => all.push(series),
        Err(error) => results.text(format!("tokio, full is left out: {error}")),
    }

    for round in 0..rounds.count {
        for turn in 0..all.len() {
            let position = (round + turn) % all.len();
            let series = &mut all[position];
            series.built.push(series.package.build()?);
        }
    }
    for series in &all {
        series.package.has_to_echo()?;
    }
    let title = format!(
        "clean release build of the smallest echo server, {} round(s)",
        rounds.count
    );
    results.table(&title, table(&all));
    let [ours, tokio, ..] = all.as_slice() else {
        unreachable!("two are always there")
    };
    results.claim(Claim {
        work: "clean release build of the smallest echo server".to_owned(),
        ours: format!("{:.1} s", ours.median(|built| built.seconds)),
        peer: format!("tokio {:.1} s", tokio.median(|built| built.seconds)),
        figure: Some(ours.ratio(tokio, |built| built.seconds)),
        bound: Bound::AtMost(0.5),
        excuse: String::new(),
    });
    results.write()
}

/// A server, and how each build of it went.
struct Series {
    package: Package,
    built: Vec<Built>,
}

impl Series {
    fn new(name: &'static str, dependency: &str, source: &str) -> Result<Self> {
        Ok(Self {
            package: Package::new(name, dependency, source)?,
            built: Vec::new(),
        })
    }

    fn median(&self, value: impl Fn(&Built) -> f64) -> f64 {
        median(self.built.iter().map(value))
    }

    fn ratio(&self, other: &Self, value: impl Fn(&Built) -> f64) -> f64 {
        let rounds = self.built.iter().zip(&other.built);
        median(rounds.map(|(own, other)| value(own) / value(other)))
    }
}

fn table(all: &[Series]) -> Table {
    let ours = &all[0];
    let mut table = Table::new([
        "server",
        "seconds",
        "CPU s",
        "crates",
        "KiB",
        "ours ÷ it",
        "CPU, ours ÷ it",
        "KiB, ours ÷ it",
    ]);
    for series in all {
        let ratio = |value: fn(&Built) -> f64| format!("{:.3}", ours.ratio(series, value));
        table.row(vec![
            series.package.name.to_owned(),
            format!("{:.1}", series.median(|built| built.seconds)),
            format!("{:.1}", series.median(|built| built.cpu_seconds)),
            grouped(series.median(|built| built.crates)),
            grouped(series.median(|built| built.bytes) / 1024.0),
            ratio(|built| built.seconds),
            ratio(|built| built.cpu_seconds),
            ratio(|built| built.bytes),
        ]);
    }
    table
}

const USAGE: &str = "\
usage: cargo bench -p wakeful-benches --bench build [-- OPTIONS]

  --quick              one round
  --rounds N           interleaved rounds (5; --quick 1)";
