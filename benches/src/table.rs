//! Tables for the terminal: the first column to the left, numbers to the right.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Rows under a heading. Displayed, every column is as wide as its widest cell.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Table {
    /// The first is the heading.
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with a heading and no row yet.
    pub fn new<S: Into<String>>(heading: impl IntoIterator<Item = S>) -> Self {
        let heading = heading.into_iter().map(Into::into).collect();
        Self {
            rows: vec![heading],
        }
    }

    /// Adds a row, with as many cells as the heading has.
    pub fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.rows[0].len());
        self.rows.push(cells);
    }

    /// The heading, then the rows.
    pub fn rows(&self) -> impl Iterator<Item = &[String]> {
        self.rows.iter().map(Vec::as_slice)
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths: Vec<usize> = (0..self.rows[0].len()).map(|c| self.width(c)).collect();
        for row in &self.rows {
            write!(f, "  {:<1$}", row[0], widths[0])?;
            for (cell, width) in row.iter().zip(&widths).skip(1) {
                write!(f, "  {cell:>width$}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// A whole number in groups of three digits.
pub fn grouped(number: f64) -> String {
    let digits = format!("{:.0}", number.max(0.0));
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn digits_come_in_groups_of_three() {
        assert_eq!(grouped(7.4), "7");
        assert_eq!(grouped(123_456.0), "123 456");
        assert_eq!(grouped(1_234_567.0), "1 234 567");
    }
}
