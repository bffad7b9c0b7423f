//! The command line of the report.

use lexopt::prelude::*;
use wakeful_benches::cli::{self, Result};

/// What the command line asks for.
pub(crate) struct Options {
    pub(crate) benches: Vec<String>,
    pub(crate) quick: bool,
    /// Whether they are run; otherwise what they have left is read.
    pub(crate) runs: bool,
}

impl Options {
    /// Reads the command line. `None`: it asks for help.
    pub(crate) fn parse() -> Result<Option<Self>> {
        let mut options = Self {
            benches: all(),
            quick: false,
            runs: true,
        };
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("quick") => options.quick = true,
                Long("only") => {
                    let takes = format!("names of {}", all().join(", "));
                    let only: Vec<String> = cli::list(&mut parser, "--only", &takes)?;
                    if let Some(unknown) = only.iter().find(|name| !all().contains(name)) {
                        return Err(format!("--only takes {takes}, not '{unknown}'").into());
                    }
                    options.benches = only;
                }
                Long("again") => options.runs = false,
                // cargo says it to every bench.
                Long("bench") => {}
                Short('h') | Long("help") => return Ok(None),
                other => {
                    return Err(
                        format!("{}; `-- --help` lists the options", other.unexpected()).into(),
                    );
                }
            }
        }
        Ok(Some(options))
    }
}

/// The benches of this package, in the order of its manifest, without this one.
fn all() -> Vec<String> {
    let manifest = include_str!("../../Cargo.toml");
    let benches = manifest.split("[[bench]]\nname = \"").skip(1);
    let names = benches.filter_map(|rest| rest.split('"').next());
    let others = names.filter(|name| *name != "report");
    others.map(str::to_owned).collect()
}

pub(crate) const USAGE: &str = "\
usage: cargo bench -p wakeful-benches --bench report [-- OPTIONS]

  --quick              every bench in a hurry: some minutes in all
  --only A,B           only these benches
  --again              runs none; makes the page of what they have left in the target folder";
