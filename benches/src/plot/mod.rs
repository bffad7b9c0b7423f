//! Lines in a picture: one for each contender, drawn as SVG.
//!
//! The legend stands beside the lines and not among them, where it would hide some. What is no number, or below zero, is left
//! out: a ratio to nothing has no place on any axis.

mod ruler;

use std::io;

use plotters::coord::Shift;
use plotters::prelude::*;
use serde::{Deserialize, Serialize};

use self::ruler::{Ruler, is_drawn};

/// A picture with lines.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Plot {
    /// What its file is called behind the name of the bench.
    pub name: String,
    /// What stands above it.
    pub title: String,
    /// From left to right.
    pub x: Axis,
    /// From bottom to top.
    pub y: Axis,
    /// In the order of the legend.
    pub lines: Vec<Line>,
}

/// An axis.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Axis {
    /// What is measured, and its unit.
    pub label: String,
    /// How far a number is from the origin.
    pub scale: Scale,
}

impl Axis {
    /// On which a step is a difference. It begins at zero.
    pub fn linear(label: &str) -> Self {
        Self::new(label, Scale::Linear)
    }

    /// On which a step is a factor.
    pub fn log(label: &str) -> Self {
        Self::new(label, Scale::Log)
    }

    /// For percentiles.
    pub fn percentiles(label: &str) -> Self {
        Self::new(label, Scale::Percentiles)
    }

    fn new(label: &str, scale: Scale) -> Self {
        let label = label.to_owned();
        Self { label, scale }
    }
}

/// How far a number is from the origin of an axis.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// So far as it is large.
    Linear,
    /// By its logarithm. Zero has a place too, before all others.
    Log,
    /// Percent, from 90 to 99 as far as from 99 to 99.9.
    Percentiles,
}

/// What belongs to one contender.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Line {
    /// Whose it is.
    pub name: String,
    /// From left to right.
    pub points: Vec<(f64, f64)>,
}

impl Plot {
    /// The picture, as the text of an SVG file.
    pub fn draw(&self) -> io::Result<String> {
        let mut text = String::new();
        let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        self.draw_on(&area).map_err(io::Error::other)?;
        drop(area);
        Ok(text)
    }

    fn draw_on<'a>(&self, area: &DrawingArea<SVGBackend<'a>, Shift>) -> Drawn<'a> {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let x = Ruler::new(self.x.scale, points().map(|point| point.0), true);
        let y = Ruler::new(self.y.scale, points().map(|point| point.1), false);

        area.fill(&WHITE)?;
        let (picture, legend) = area.split_horizontally(SIZE.0 - LEGEND_WIDTH);
        let mut chart = ChartBuilder::on(&picture)
            .caption(&self.title, (FONT, 22))
            .margin(16)
            .x_label_area_size(44)
            .y_label_area_size(80)
            .build_cartesian_2d(x, y)?;
        chart
            .configure_mesh()
            .x_desc(&self.x.label)
            .y_desc(&self.y.label)
            .label_style((FONT, 16))
            .light_line_style(WHITE)
            .draw()?;
        for (number, line) in self.lines.iter().enumerate() {
            let style = colour(number).stroke_width(2);
            let points = line.points.iter().copied();
            let points = points.filter(|point| is_drawn(point.0) && is_drawn(point.1));
            chart.draw_series(LineSeries::new(points.clone(), style))?;
            let dot = |point| Circle::new(point, 3, colour(number).filled());
            chart.draw_series(points.map(dot))?;

            let height = 60 + 22 * number as i32;
            let sample = PathElement::new(vec![(0, height), (20, height)], style);
            legend.draw(&sample)?;
            let name = Text::new(line.name.as_str(), (28, height - 7), (FONT, 16));
            legend.draw(&name)?;
        }
        area.present()
    }
}

type Drawn<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

fn colour(number: usize) -> RGBColor {
    let (red, green, blue) = COLOURS[number % COLOURS.len()];
    RGBColor(red, green, blue)
}

/// That are told apart by the colour-blind too; ours, the first, is blue.
const COLOURS: [(u8, u8, u8); 8] = [
    (0, 114, 178),
    (213, 94, 0),
    (0, 0, 0),
    (0, 158, 115),
    (204, 121, 167),
    (86, 180, 233),
    (230, 159, 0),
    (128, 128, 128),
];

const SIZE: (u32, u32) = (960, 460);

const LEGEND_WIDTH: u32 = 170;

const FONT: &str = "sans-serif";

#[cfg(test)]
mod tests {
    use super::{Axis, Line, Plot};

    fn plot(x: Axis, y: Axis, points: Vec<(f64, f64)>) -> Plot {
        Plot {
            name: "idle".to_owned(),
            title: "One & many".to_owned(),
            x,
            y,
            lines: vec![Line {
                name: "ours <fast>".to_owned(),
                points,
            }],
        }
    }

    #[test]
    fn a_picture_names_its_lines_axes_and_values() {
        let points = vec![(0.0, 12.5), (10.0, 12.6), (15_000.0, 13.0)];
        let plot = plot(
            Axis::log("idle connections"),
            Axis::linear("p50, µs"),
            points,
        );
        let svg = plot.draw().unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        for text in [
            "One &amp; many",
            "ours &lt;fast&gt;",
            "idle connections",
            "p50, µs",
        ] {
            assert!(svg.contains(text), "no {text:?}");
        }
        // The values that were measured stand below the axis, zero too.
        let lines: Vec<&str> = svg.lines().map(str::trim).collect();
        for text in ["0", "10", "15 000"] {
            assert!(lines.contains(&text), "no {text:?}");
        }
    }

    #[test]
    fn a_picture_is_drawn_of_nothing_of_one_point_and_of_what_is_no_number() {
        let axes = [Axis::linear, Axis::log, Axis::percentiles];
        for x in axes {
            for y in axes {
                for points in [
                    vec![],
                    vec![(0.0, 0.0)],
                    vec![(1.0, 1.0)],
                    vec![(1.0, f64::NAN), (f64::INFINITY, 2.0), (50.0, 3.0)],
                    vec![(100.0, 100.0)],
                ] {
                    plot(x("x"), y("y"), points).draw().unwrap();
                }
            }
        }
    }
}
