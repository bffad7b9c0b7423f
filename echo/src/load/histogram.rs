//! The latencies as bars in the terminal.
//!
//! The rows are steps of equal ratio, because latencies spread over orders of magnitude: as many steps for every factor of ten as
//! leave not more than [`ROWS_MAX`] rows between the fastest message and the 99th percentile. What is slower is in the last row.

use std::fmt;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::units;

/// So many messages took from (inclusive) to (exclusive).
#[derive(Serialize)]
pub(super) struct Row {
    from_ns: u64,
    /// `null` in the last row, which has no end.
    to_ns: Option<u64>,
    messages: u64,
}

/// The rows of a histogram.
pub(super) fn rows(latencies: &Histogram<u64>) -> Vec<Row> {
    if latencies.is_empty() {
        return Vec::new();
    }
    let (fastest, slow) = (latencies.min(), latencies.value_at_quantile(0.99));
    let steps = |per_decade| {
        let step = |value| step_of(value, per_decade);
        (per_decade, step(fastest), step(slow))
    };
    let (per_decade, first, last) = STEPS_PER_DECADE
        .into_iter()
        .map(steps)
        .find(|(_, first, last)| last - first < ROWS_MAX)
        .expect("one step for each factor of ten is enough for all that can be measured");
    let mut rows: Vec<_> = (first..=last)
        .map(|step| Row {
            from_ns: edge(step, per_decade),
            to_ns: (step < last).then(|| edge(step + 1, per_decade)),
            messages: 0,
        })
        .collect();
    for recorded in latencies.iter_recorded() {
        let value = recorded.value_iterated_to();
        let row = rows.partition_point(|row| row.from_ns <= value);
        rows[row.saturating_sub(1)].messages += recorded.count_at_value();
    }
    rows
}

/// Draws them, the longest bar over the whole width.
pub(super) fn write(f: &mut fmt::Formatter<'_>, rows: &[Row]) -> fmt::Result {
    let most = rows.iter().map(|row| row.messages).max().unwrap_or(0);
    let all: u64 = rows.iter().map(|row| row.messages).sum();
    for row in rows {
        writeln!(
            f,
            "  {:>8} {} {:<WIDTH$} {:>6.2} %",
            units::time(row.from_ns as f64),
            if row.to_ns.is_some() { '│' } else { '+' },
            bar(row.messages, most),
            row.messages as f64 * 100.0 / all as f64
        )?;
    }
    Ok(())
}

/// As long as `count` is beside `most`, to an eighth of a character, and to be seen if it is not zero.
fn bar(count: u64, most: u64) -> String {
    let eighths = (count as f64 / most.max(1) as f64 * (8 * WIDTH) as f64).round() as usize;
    let eighths = eighths.max(usize::from(count > 0));
    let mut bar = "█".repeat(eighths / 8);
    bar.extend(PARTS[..].get((eighths % 8).wrapping_sub(1)));
    bar
}

/// In which step `value` lies. What is faster than any echo can be counts as [`FASTEST_NS`].
fn step_of(value: u64, per_decade: u32) -> i64 {
    let value = value.max(FASTEST_NS);
    let near = ((value as f64).log10() * f64::from(per_decade)).round() as i64;
    // The logarithm may be off by a little, and edges are rounded.
    (near - 1..=near + 1)
        .rfind(|&step| edge(step, per_decade) <= value)
        .unwrap_or(near - 1)
}

/// Where a step begins.
fn edge(step: i64, per_decade: u32) -> u64 {
    10_f64.powf(step as f64 / f64::from(per_decade)).round() as u64
}

const PARTS: [char; 7] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/// Of a bar, in characters.
const WIDTH: usize = 50;

/// Below it, neighbouring edges would be rounded to the same number.
const FASTEST_NS: u64 = 100;

const ROWS_MAX: i64 = 20;

/// From the finest on.
const STEPS_PER_DECADE: [u32; 5] = [20, 10, 5, 2, 1];

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(values: impl IntoIterator<Item = u64>) -> Histogram<u64> {
        let mut histogram = Histogram::new_with_bounds(1, 3_600_000_000_000, 3).unwrap();
        for value in values {
            histogram.saturating_record(value);
        }
        histogram
    }

    #[test]
    fn every_message_is_in_one_row() {
        for values in [
            vec![],
            vec![0],
            vec![1],
            vec![50_000; 1_000],
            (1..2_000).collect(),
            (0..40).map(|power| 1 << power).collect(),
            vec![10, 100, 1_000, 10_000, 100_000, 1_000_000],
            vec![3_600_000_000_000; 3],
        ] {
            let histogram = histogram(values.iter().copied());
            let rows = rows(&histogram);
            let messages: u64 = rows.iter().map(|row| row.messages).sum();
            assert_eq!(messages, values.len() as u64, "{values:?}");
            assert!(rows.len() <= ROWS_MAX as usize);
            for pair in rows.windows(2) {
                assert_eq!(pair[0].to_ns, Some(pair[1].from_ns));
            }
            assert!(rows.last().is_none_or(|row| row.to_ns.is_none()));
        }
    }

    #[test]
    fn a_message_is_in_the_row_of_its_latency() {
        // 998 of a thousand are between 100 and 200 µs.
        let values = (0..998)
            .map(|n| 100_000 + n * 100)
            .chain([50_000, 3_000_000]);
        let rows = rows(&histogram(values));
        let first = &rows[0];
        assert!(first.from_ns <= 50_000 && first.to_ns.is_some_and(|to| to > 50_000));
        assert_eq!(first.messages, 1);
        let middle: u64 = rows
            .iter()
            .filter(|row| row.from_ns >= 100_000 && row.from_ns < 200_000)
            .map(|row| row.messages)
            .sum();
        assert_eq!(middle, 999, "with the slowest, which is in the last row");
    }

    #[test]
    fn a_bar_is_as_long_as_its_share() {
        assert_eq!(bar(0, 100), "");
        assert_eq!(bar(100, 100).chars().count(), WIDTH);
        assert_eq!(bar(50, 100).chars().count(), WIDTH / 2);
        assert_eq!(bar(1, 1_000_000), "▏");
        assert_eq!(bar(0, 0), "");
    }
}
