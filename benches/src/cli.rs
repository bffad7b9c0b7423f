//! What the programs of this crate share on the command line: values that are checked, and errors that are one sentence.

use std::error::Error;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use lexopt::prelude::*;

/// A result whose error is a sentence for the person at the terminal.
pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The value of the option that was just read, or a sentence that says what `option` takes.
pub fn value<T: FromStr>(parser: &mut lexopt::Parser, option: &str, takes: &str) -> Result<T> {
    let expectation = || format!("{option} takes {takes}");
    let text = parser.value().map_err(|_| expectation())?;
    let text = text.to_string_lossy();
    let value = text.parse();
    value.map_err(|_| format!("{}, not '{text}'", expectation()).into())
}

/// As [`value`], for a number within a range.
pub fn number<T: FromStr + PartialOrd + Display>(
    parser: &mut lexopt::Parser,
    option: &str,
    range: RangeInclusive<T>,
) -> Result<T> {
    let takes = format!("a number from {} to {}", range.start(), range.end());
    let number = value(parser, option, &takes)?;
    if range.contains(&number) {
        Ok(number)
    } else {
        Err(format!("{option} takes {takes}, not {number}").into())
    }
}

/// As [`number`], for a number of seconds, at most an hour.
pub fn seconds(parser: &mut lexopt::Parser, option: &str, least: f64) -> Result<Duration> {
    Ok(Duration::from_secs_f64(number(
        parser,
        option,
        least..=3600.0,
    )?))
}

/// As [`value`], for values separated by commas.
pub fn list<T: FromStr>(parser: &mut lexopt::Parser, option: &str, takes: &str) -> Result<Vec<T>> {
    let text: String = value(parser, option, takes)?;
    let items = text.split(',').map(|item| {
        let item = item.parse();
        item.map_err(|_| format!("{option} takes {takes}, not '{text}'").into())
    });
    items.collect()
}

/// The options of a bench that takes no others: `--quick` and `--rounds N`.
#[derive(Clone, Copy, Debug)]
pub struct Rounds {
    /// Whether it is to be done in a hurry.
    pub quick: bool,
    /// How many rounds there are to be.
    pub count: usize,
}

impl Rounds {
    /// Reads the command line, for a bench that has so many rounds if nothing is said. `None`: it asks for help.
    pub fn parse(usual: usize, in_a_hurry: usize) -> Result<Option<Self>> {
        let (mut quick, mut count) = (false, None);
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("quick") => quick = true,
                Long("rounds") => count = Some(number(&mut parser, "--rounds", 1..=1000)?),
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
        let count = count.unwrap_or(if quick { in_a_hurry } else { usual });
        Ok(Some(Self { quick, count }))
    }
}

/// Turns the result of a program into its exit code, and an error into a sentence on stderr.
pub fn finish(program: &str, result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{program}: {error}");
            ExitCode::FAILURE
        }
    }
}
