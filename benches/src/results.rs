//! What a bench has found: printed as it is found, and in the end written for programs and people.
//!
//! A bench makes one [`Results`] and says everything through it, in the order in which it is to be read:
//!
//! ```text
//!   text      a sentence: where servers run, what a mark means
//!   table     a title and what was measured
//!   claim     one bound: what ours has, what the peer has, the figure, the bound, kept or missed
//!   plot      lines; only in the files
//! ```
//!
//! [`Results::write`] leaves `NAME.json`, a [`Record`] with all of it, and one `NAME-PLOT.svg` for each plot in the folder
//! [`folder`]; the `report` bench reads the records of all benches and makes a page of them. A claim carries what was measured
//! as a number; a table has cells as they were printed, since it is for people.
//!
//! The methods take `&self`, as those of the standard output do, so that whatever measures can hold the results beside the
//! programs and CPUs it needs.

use std::cell::RefCell;
use std::env;
use std::fmt;
use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::cli::Result;
use crate::machine::Machine;
use crate::plot::Plot;
use crate::table::Table;

/// What a bench has found so far.
#[derive(Debug)]
pub struct Results(RefCell<Record>);

impl Results {
    /// None yet, of the bench of that name. Prints where it runs.
    pub fn new(bench: &str, quick: bool) -> Result<Self> {
        let record = Record {
            bench: bench.to_owned(),
            quick,
            machine: Machine::new()?,
            items: Vec::new(),
        };
        println!("{}", record.machine);
        Ok(Self(RefCell::new(record)))
    }

    /// Says something.
    pub fn text(&self, text: impl Into<String>) {
        let text = text.into();
        println!("{text}");
        self.add(Item::Text(text));
    }

    /// Shows what was measured. The title may be empty.
    pub fn table(&self, title: &str, table: Table) {
        println!();
        if !title.is_empty() {
            println!("{title}");
        }
        print!("{table}");
        let title = title.to_owned();
        self.add(Item::Table { title, table });
    }

    /// Says whether a bound is kept.
    pub fn claim(&self, claim: Claim) {
        println!("  {claim}");
        self.add(Item::Claim(claim));
    }

    /// Has lines drawn.
    pub fn plot(&self, plot: Plot) {
        self.add(Item::Plot(plot));
    }

    /// Writes the files, and prints where.
    pub fn write(&self) -> Result<()> {
        let record = self.0.borrow();
        let folder = folder()?;
        fs::create_dir_all(&folder)?;
        for item in &record.items {
            if let Item::Plot(plot) = item {
                let file = format!("{}-{}.svg", record.bench, plot.name);
                fs::write(folder.join(file), plot.draw()?)?;
            }
        }
        let file = Record::path(&record.bench)?;
        fs::write(&file, serde_json::to_string_pretty(&*record)? + "\n")?;
        println!("\nwritten to {}", file.display());
        Ok(())
    }

    fn add(&self, item: Item) {
        self.0.borrow_mut().items.push(item);
    }
}

/// All that a bench has found, as it is written.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Record {
    /// Its name.
    pub bench: String,
    /// Whether it was made in a hurry.
    pub quick: bool,
    /// Where it ran.
    pub machine: Machine,
    /// What it said, in order.
    pub items: Vec<Item>,
}

impl Record {
    /// What the bench of that name has written last.
    pub fn read(bench: &str) -> Result<Self> {
        let path = Self::path(bench)?;
        let text = fs::read_to_string(&path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Where that is.
    pub fn path(bench: &str) -> Result<PathBuf> {
        Ok(folder()?.join(format!("{bench}.json")))
    }
}

/// One thing that a bench says.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Item {
    /// A sentence.
    Text(String),
    /// What was measured.
    Table {
        /// What stands above it.
        title: String,
        /// The figures.
        table: Table,
    },
    /// Whether a bound is kept.
    Claim(Claim),
    /// Lines.
    Plot(Plot),
}

/// A bound, and what was measured.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Claim {
    /// What was done.
    pub work: String,
    /// What ours has, with its unit.
    pub ours: String,
    /// What the peer has, and who it is. Empty where the bound is absolute.
    pub peer: String,
    /// What is bounded: a ratio of ours to the peer, or an amount. `null` where it could not be measured.
    pub figure: Option<f64>,
    /// Its bound.
    pub bound: Bound,
    /// Why a figure beyond its bound does not count, for instance "client-bound". Empty where it counts.
    pub excuse: String,
}

impl Claim {
    /// Whether the figure is within its bound.
    pub fn is_kept(&self) -> bool {
        self.figure.is_some_and(|figure| match self.bound {
            Bound::AtMost(most) => figure <= most,
            Bound::AtLeast(least) => figure >= least,
        })
    }

    /// The figure as text.
    pub fn figure_text(&self) -> String {
        match self.figure {
            Some(figure) if figure.abs() < 100.0 => format!("{figure:.3}"),
            Some(figure) => format!("{figure:.0}"),
            None => "not measured".to_owned(),
        }
    }

    /// `kept`, or `MISSED`, or why missing it does not count.
    pub fn verdict(&self) -> &str {
        match (self.is_kept(), self.excuse.as_str()) {
            (true, _) => "kept",
            (false, "") => "MISSED",
            (false, excuse) => excuse,
        }
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.work, self.ours)?;
        if !self.peer.is_empty() {
            write!(f, ", {}", self.peer)?;
        }
        let (figure, verdict) = (self.figure_text(), self.verdict());
        write!(f, "; {figure}, to be {}: {verdict}", self.bound)
    }
}

/// What a figure must not pass.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Less is better.
    AtMost(f64),
    /// More is better.
    AtLeast(f64),
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "≤ {most}"),
            Self::AtLeast(least) => write!(f, "≥ {least}"),
        }
    }
}

/// Where results are written: `wakeful-benches` in the target folder from which the bench runs, whatever its name;
/// `TARGET/release/deps/echo-…` is the bench.
pub fn folder() -> Result<PathBuf> {
    let bench = env::current_exe()?;
    let target = bench.ancestors().nth(3).ok_or("the bench has no folder")?;
    Ok(target.join("wakeful-benches"))
}

#[cfg(test)]
mod tests {
    use super::{Bound, Claim, Item, Record};
    use crate::machine::Machine;
    use crate::plot::{Axis, Line, Plot, Scale};
    use crate::table::Table;

    fn claim(figure: Option<f64>, bound: Bound) -> Claim {
        Claim {
            work: "echo".to_owned(),
            ours: "26 µs".to_owned(),
            peer: "tokio 58 µs".to_owned(),
            figure,
            bound,
            excuse: String::new(),
        }
    }

    #[test]
    fn a_bound_is_kept_up_to_its_rim() {
        assert!(claim(Some(0.45), Bound::AtMost(0.45)).is_kept());
        assert!(!claim(Some(0.46), Bound::AtMost(0.45)).is_kept());
        assert!(claim(Some(1.1), Bound::AtLeast(1.1)).is_kept());
        assert!(!claim(Some(1.0), Bound::AtLeast(1.1)).is_kept());
        assert!(!claim(None, Bound::AtMost(1.0)).is_kept());
    }

    #[test]
    fn a_claim_says_all_in_one_line() {
        let mut claim = claim(Some(0.5), Bound::AtMost(0.45));
        let line = "echo: 26 µs, tokio 58 µs; 0.500, to be ≤ 0.45: MISSED";
        assert_eq!(claim.to_string(), line);
        claim.excuse = "client-bound".to_owned();
        assert!(claim.to_string().ends_with("client-bound"));
        claim.figure = Some(0.4);
        assert!(claim.to_string().ends_with("kept"));
    }

    #[test]
    fn what_is_written_can_be_read() {
        let mut table = Table::new(["server", "p50"]);
        table.row(vec!["ours".to_owned(), "1.5".to_owned()]);
        let axis = |label: &str, scale| Axis {
            label: label.to_owned(),
            scale,
        };
        let record = Record {
            bench: "echo".to_owned(),
            quick: true,
            machine: Machine::new().unwrap(),
            items: vec![
                Item::Text("a sentence".to_owned()),
                Item::Table {
                    title: String::new(),
                    table,
                },
                Item::Claim(claim(None, Bound::AtLeast(1.0))),
                Item::Plot(Plot {
                    name: "latency".to_owned(),
                    title: "Latency".to_owned(),
                    x: axis("connections", Scale::Log),
                    y: axis("µs", Scale::Linear),
                    lines: vec![Line {
                        name: "ours".to_owned(),
                        points: vec![(1.0, 2.5)],
                    }],
                }),
            ],
        };
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
    }
}
