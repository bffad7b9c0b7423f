//! The tables, one for each kind of measurement.

use wakeful_benches::cli::Result;
use wakeful_benches::results::{Bound, Claim, Results};
use wakeful_benches::table::{Table, grouped};
use wakeful_benches::timers::{Case, Plan, Runtime};

use crate::rounds::Rounds;

/// A part of the bench, with a table of its own.
#[derive(Clone, Copy)]
pub(crate) enum Section {
    Late,
    Staggered,
    ArmAndDrop,
    LimitedReads,
    PutOff,
}

impl Section {
    pub(crate) const ALL: [Self; 5] = [
        Self::Late,
        Self::Staggered,
        Self::ArmAndDrop,
        Self::LimitedReads,
        Self::PutOff,
    ];

    /// Measures, and shows the table and what is to hold.
    pub(crate) fn measure(self, rounds: &Rounds, results: &Results) -> Result<()> {
        let mut claims = Vec::new();
        let (title, table) = match self {
            Self::Late => (
                "sleeps in a runtime with one worker and nothing else to do: late by, in µs",
                late(rounds, &mut claims)?,
            ),
            Self::Staggered => (
                "10 000 tasks, one worker, each sleeps until the next entry of its timetable of 1 to 100 ms",
                staggered(rounds)?,
            ),
            Self::ArmAndDrop => (
                "a sleep that is polled once and dropped: ns for each, of the thread that does it",
                arm_and_drop(rounds, &mut claims)?,
            ),
            Self::LimitedReads => (
                "reads of 64 B that have to wait, 64 connections, one worker: ns, and what a limit adds",
                limited_reads(rounds, &mut claims)?,
            ),
            Self::PutOff => (
                "an armed sleep whose deadline is set to a minute from now: ns for each time",
                put_off(rounds)?,
            ),
        };
        results.table(title, table);
        for claim in claims {
            results.claim(claim);
        }
        Ok(())
    }
}

fn late(rounds: &Rounds, claims: &mut Vec<Claim>) -> Result<Table> {
    let mut table = Table::new([
        "sleep",
        "p50",
        "tokio's p50",
        "÷ tokio",
        "p99",
        "tokio's p99",
        "÷ tokio",
    ]);
    for duration_us in [50, 100, 500, 2000] {
        let count = if rounds.quick { 200 } else { 1000 };
        let (ours, tokio) = rounds.compare(Case::Late { duration_us, count })?;
        let mut row = vec![format!("{duration_us} µs")];
        for percentile in [0, 1] {
            row.push(format!("{:.1}", ours.median(percentile) / 1e3));
            row.push(format!("{:.1}", tokio.median(percentile) / 1e3));
            row.push(format!("{:.3}", ours.ratio(percentile, &tokio)));
        }
        if duration_us == 100 {
            let late_us = ours.median(0) / 1e3;
            claims.push(Claim {
                work: "sleep(100 µs), late by".to_owned(),
                ours: row[1].clone() + " µs",
                peer: format!("tokio {} µs", row[2]),
                figure: Some(late_us),
                bound: Bound::AtMost(60.0),
                excuse: String::new(),
            });
        }
        table.row(row);
    }
    Ok(table)
}

fn staggered(rounds: &Rounds) -> Result<Table> {
    let mut table = Table::new(["", "CPU", "sleeps/s", "CPU ns/sleep", "CPU ÷ tokio"]);
    let seconds = if rounds.quick { 1.0 } else { 3.0 };
    let (ours, tokio) = rounds.compare(Case::Staggered { seconds })?;
    for (name, series) in [("ours", &ours), ("tokio", &tokio)] {
        let (cpu, sleeps) = (series.median(0), series.median(1));
        table.row(vec![
            name.to_owned(),
            format!("{:.1} %", cpu / 1e7),
            grouped(sleeps),
            grouped(cpu / sleeps),
            format!("{:.3}", series.ratio(0, &tokio)),
        ]);
    }
    Ok(table)
}

fn arm_and_drop(rounds: &Rounds, claims: &mut Vec<Claim>) -> Result<Table> {
    let mut table = Table::new([
        "timer",
        "workers",
        "threads",
        "ours",
        "tokio",
        "÷ tokio",
        "÷ ours apart",
    ]);
    let seconds = if rounds.quick { 0.1 } else { 0.3 };
    for (boxed, earlier) in [(true, false), (true, true), (false, false), (false, true)] {
        let plan = |runtime, workers, tasks| {
            let case = Case::ArmAndDrop {
                boxed,
                earlier,
                tasks,
                seconds,
            };
            Plan {
                runtime,
                workers,
                case,
            }
        };
        let setups = [(1, 1), (2, 1), (1, 2), (2, 2)];
        let plans: Vec<_> = setups
            .into_iter()
            .flat_map(|(workers, tasks)| {
                [Runtime::Ours, Runtime::Tokio].map(|runtime| plan(runtime, workers, tasks))
            })
            .collect();
        let all = rounds.run(&plans)?;
        let apart = &all[4]; // two runtimes with a worker each, at once
        for ((workers, threads), series) in setups.into_iter().zip(all.chunks(2)) {
            let [ours, tokio] = series else {
                unreachable!("two runtimes")
            };
            let timer = format!(
                "{}, {}",
                if boxed { "boxed" } else { "unboxed" },
                if earlier {
                    "another is earlier"
                } else {
                    "the earliest"
                }
            );
            if boxed && (workers, threads) == (1, 1) {
                // Where it is the earliest, tokio wakes its driver for it.
                let most = if earlier { 0.8 } else { 0.4 };
                let work = format!("a timer armed and dropped: {timer}");
                let (own, tokios) = (ours.median(0), tokio.median(0));
                claims.push(ratio(work, own, tokios, ours.ratio(0, tokio), most));
            }
            table.row(vec![
                timer,
                match (workers, threads) {
                    (1, 2) => "1 each".to_owned(),
                    _ => workers.to_string(),
                },
                threads.to_string(),
                format!("{:.1}", ours.median(0)),
                format!("{:.1}", tokio.median(0)),
                format!("{:.3}", ours.ratio(0, tokio)),
                match workers.min(threads) {
                    1 => String::new(),
                    _ => format!("{:.3}", ours.ratio(0, apart)),
                },
            ]);
        }
    }
    Ok(table)
}

fn limited_reads(rounds: &Rounds, claims: &mut Vec<Claim>) -> Result<Table> {
    let mut table = Table::new(["", "ours", "tokio", "÷ tokio"]);
    let seconds = if rounds.quick { 0.5 } else { 1.5 };
    let (ours, tokio) = rounds.compare(Case::LimitedReads { seconds })?;
    // tokio's streams have no deadline: there a time-out is what one has.
    let lines = [
        ("a read", 0, 0),
        ("+ a time-out around it", 1, 1),
        ("+ a deadline of the socket", 2, 1),
    ];
    for (name, own, tokios) in lines {
        let (own, tokios) = (ours.median(own), tokio.median(tokios));
        if let Some(limit) = name.strip_prefix("+ ") {
            let work = format!("{limit} of a read that has to wait: what it adds");
            claims.push(ratio(work, own, tokios, own / tokios, 0.4));
        }
        table.row(vec![
            name.to_owned(),
            format!("{own:.1}"),
            format!("{tokios:.1}"),
            format!("{:.3}", own / tokios),
        ]);
    }
    Ok(table)
}

fn put_off(rounds: &Rounds) -> Result<Table> {
    let mut table = Table::new(["ours", "tokio", "÷ tokio"]);
    let seconds = if rounds.quick { 0.1 } else { 0.3 };
    let (ours, tokio) = rounds.compare(Case::PutOff { seconds })?;
    table.row(vec![
        format!("{:.1}", ours.median(0)),
        format!("{:.1}", tokio.median(0)),
        format!("{:.3}", ours.ratio(0, &tokio)),
    ]);
    Ok(table)
}

/// Ours is to take at most so many times the nanoseconds of tokio's.
fn ratio(work: String, ours: f64, tokio: f64, ratio: f64, most: f64) -> Claim {
    Claim {
        work,
        ours: format!("{ours:.1} ns"),
        peer: format!("tokio {tokio:.1} ns"),
        figure: Some(ratio),
        bound: Bound::AtMost(most),
        excuse: String::new(),
    }
}
