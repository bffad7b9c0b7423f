//! Interleaved rounds: every round makes each measurement once, in rotated order.

use crate::cli::Result;
use crate::stats::median;

/// Makes `count` measurements in each of so many rounds, and gives the series of each. `measure` is told which it is to make.
pub fn interleaved(
    rounds: usize,
    count: usize,
    mut measure: impl FnMut(usize) -> Result<Vec<f64>>,
) -> Result<Vec<Series>> {
    let mut all = vec![Series::default(); count];
    for round in 0..rounds {
        for turn in 0..count {
            let position = (round + turn) % count;
            all[position].0.push(measure(position)?);
        }
    }
    Ok(all)
}

/// The figures of one measurement, round by round.
#[derive(Clone, Debug, Default)]
pub struct Series(Vec<Vec<f64>>);

impl Series {
    /// The median of a figure.
    pub fn median(&self, figure: usize) -> f64 {
        median(self.0.iter().map(|figures| figures[figure]))
    }

    /// How a figure compares with that of another series: the median of the ratio within a round.
    pub fn ratio(&self, figure: usize, other: &Self) -> f64 {
        let rounds = self.0.iter().zip(&other.0);
        median(rounds.map(|(own, other)| own[figure] / other[figure]))
    }
}

#[cfg(test)]
mod tests {
    use super::interleaved;

    #[test]
    fn every_round_makes_each_measurement_once_in_rotated_order() {
        let mut order = Vec::new();
        let all = interleaved(3, 3, |position| {
            order.push(position);
            Ok(vec![order.len() as f64])
        });
        assert_eq!(order, [0, 1, 2, 1, 2, 0, 2, 0, 1]);
        assert_eq!(all.unwrap()[0].median(0), 6.0);
    }
}
