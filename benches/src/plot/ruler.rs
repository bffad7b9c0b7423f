//! An axis of a picture: where on it a value is, and which numbers stand beside it.
//!
//! The axes of the plotting library would do but for two things: a logarithmic one with a place for zero (one connection beside
//! *no* idle one), and numbers that are the values measured, where these are few.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

use super::Scale;
use crate::table::grouped;

/// An axis with its numbers.
pub(super) struct Ruler {
    scale: Scale,
    /// The least value above zero, and the largest.
    values: Range<f64>,
    /// Where the axis begins and ends, as [`Ruler::place`] counts.
    places: Range<f64>,
    /// Those that stand beside it.
    numbers: Vec<f64>,
}

impl Ruler {
    /// For these values. `names_values`: the numbers beside a stretched axis are the values themselves, if they are few.
    pub(super) fn new(scale: Scale, values: impl Iterator<Item = f64>, names_values: bool) -> Self {
        let mut values: Vec<f64> = values.filter(|value| is_drawn(*value)).collect();
        values.sort_by(f64::total_cmp);
        values.dedup();
        let least = values.iter().copied().find(|value| *value > 0.0);
        let least = least.unwrap_or(1.0);
        let most = values.last().copied().unwrap_or(1.0).max(least);
        let first = match scale {
            Scale::Log => values.first().copied().unwrap_or(least),
            Scale::Linear | Scale::Percentiles => 0.0,
        };

        let mut ruler = Self {
            scale,
            values: least..most,
            places: 0.0..0.0,
            numbers: Vec::new(),
        };
        let (low, high) = (ruler.place(first), ruler.place(most));
        // A single value needs room too.
        let margin = if high > low { (high - low) * 0.05 } else { 0.5 };
        ruler.places = match scale {
            Scale::Log => low - margin..high + margin,
            Scale::Linear | Scale::Percentiles => low..high + margin,
        };
        let mut numbers = match scale {
            Scale::Linear => round_numbers(most),
            Scale::Log | Scale::Percentiles if names_values && values.len() <= FEW => values,
            Scale::Log => decades(least, most),
            Scale::Percentiles => vec![0.0, 90.0, 99.0, 99.9, 99.99, 99.999],
        };
        numbers.retain(|number| ruler.places.contains(&ruler.place(*number)));
        ruler.numbers = numbers;
        ruler
    }

    /// How far along the axis a value is, in a unit of the scale's own.
    fn place(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => value,
            Scale::Log if value <= 0.0 => self.values.start.log10() - 0.5,
            Scale::Log => value.log10(),
            Scale::Percentiles => -(1.0 - value.min(PERCENT_MAX) / 100.0).log10(),
        }
    }
}

impl Ranged for Ruler {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (first, last): (i32, i32)) -> i32 {
        let length = self.places.end - self.places.start;
        let part = (self.place(*value) - self.places.start) / length;
        first + (part * f64::from(last - first)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.numbers.clone()
    }

    fn range(&self) -> Range<f64> {
        self.values.clone()
    }
}

impl ValueFormatter<f64> for Ruler {
    fn format_ext(&self, number: &f64) -> String {
        text_of(*number)
    }
}

/// Whether a value has a place on an axis.
pub(super) fn is_drawn(value: f64) -> bool {
    value.is_finite() && value >= 0.0
}

/// From zero on, some six to the largest value, and a few beyond it.
fn round_numbers(most: f64) -> Vec<f64> {
    let rough = most / 6.0;
    let power = 10_f64.powf(rough.log10().floor());
    let mut steps = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * power).into_iter();
    let step = steps.find(|step| *step >= rough).unwrap_or(rough);
    (0..=8).map(|count| f64::from(count) * step).collect()
}

/// 1, 2 and 5 of each power of ten about these, or 1 alone where that would be many.
fn decades(least: f64, most: f64) -> Vec<f64> {
    let exponents = least.log10().floor() as i32..=most.log10().ceil() as i32;
    let digits: &[f64] = match exponents.end() - exponents.start() {
        ..4 => &[1.0, 2.0, 5.0],
        4.. => &[1.0],
    };
    let of_power = |exponent| {
        digits
            .iter()
            .map(move |digit| digit * 10_f64.powi(exponent))
    };
    exponents.flat_map(of_power).collect()
}

fn text_of(number: f64) -> String {
    if number >= 1e3 {
        return grouped(number);
    }
    let text = format!("{number:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// So many values have room for a number each.
const FEW: usize = 12;

/// All of a hundred would be infinitely far.
const PERCENT_MAX: f64 = 99.999_99;

#[cfg(test)]
mod tests {
    use plotters::coord::ranged1d::Ranged;

    use super::{Ruler, Scale, decades, round_numbers, text_of};

    #[test]
    fn on_a_logarithmic_axis_zero_is_before_all_others() {
        let values = [0.0, 10.0, 1000.0];
        let ruler = Ruler::new(Scale::Log, values.into_iter(), true);
        let places = values.map(|value| ruler.map(&value, (0, 1000)));
        assert!(0 < places[0] && places[0] < places[1] && places[2] < 1000);
        assert_eq!(ruler.numbers, values);
    }

    #[test]
    fn a_percentile_is_as_far_from_the_next_as_that_from_its_own() {
        let ruler = Ruler::new(Scale::Percentiles, [50.0, 99.9].into_iter(), false);
        let [a, b, c] = [90.0, 99.0, 99.9].map(|percent| ruler.map(&percent, (0, 1000)));
        assert!((b - a).abs_diff(c - b) <= 1);
        assert_eq!(ruler.numbers, [0.0, 90.0, 99.0, 99.9]);
    }

    #[test]
    fn numbers_beside_an_axis_are_round_and_few() {
        assert_eq!(round_numbers(58.0)[..4], [0.0, 10.0, 20.0, 30.0]);
        assert_eq!(decades(3.0, 700.0)[..4], [1.0, 2.0, 5.0, 10.0]);
        assert_eq!(decades(1.0, 1e6).len(), 7);
        let texts = [0.0, 0.25, 99.9, 100.0, 15_000.0].map(text_of);
        assert_eq!(texts, ["0", "0.25", "99.9", "100", "15 000"]);
    }
}
