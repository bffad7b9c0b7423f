//! The latency by percentile, drawn as SVG.
//!
//! The axis of the percentiles is stretched towards its end, as the interest is: from 90 % to 99 % it is as far as from 99 % to
//! 99.9 %. That of the latencies is logarithmic, so the fastest and the slowest message are on the same picture.

use std::io;

use plotters::prelude::*;

use super::report::Report;
use crate::units;

/// The picture, as the text of an SVG file.
pub(super) fn draw(report: &Report) -> io::Result<String> {
    let mut text = String::new();
    let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
    draw_on(&area, report).map_err(io::Error::other)?;
    drop(area);
    Ok(text)
}

fn draw_on<'a>(
    area: &DrawingArea<SVGBackend<'a>, plotters::coord::Shift>,
    report: &Report,
) -> Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>> {
    let messages = report.percentiles.last().map_or(0, |last| last.messages);
    // As many nines as there are messages to tell them apart.
    let nines_max = (messages.max(10) as f64).log10().ceil().min(NINES_MAX);
    let points = report.percentiles.iter().map(|point| {
        let nines = -(1.0 - point.percent / 100.0).log10();
        (nines.min(nines_max), micros(point.latency_ns))
    });
    let (low, high) = (micros(report.latency_ns.min), micros(report.latency_ns.max));

    area.fill(&WHITE)?;
    let caption = format!(
        "Latency of {} echoes by {}",
        units::count(messages),
        report.target
    );
    let mut chart = ChartBuilder::on(area)
        .caption(caption, (FONT, 20))
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(80)
        .build_cartesian_2d(0.0..nines_max, (low * 0.8..high * 1.25).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("percentile")
        .y_desc("latency")
        .x_labels(nines_max as usize + 1)
        .x_label_formatter(&|nines| percentile(*nines))
        .y_label_formatter(&|micros| units::time(micros * 1e3))
        .label_style((FONT, 13))
        .light_line_style(WHITE)
        .draw()?;
    chart.draw_series(LineSeries::new(points, BLUE.stroke_width(2)))?;
    area.present()
}

/// `90 %`, `99 %`, `99.9 %`; nothing between them.
fn percentile(nines: f64) -> String {
    if nines.fract() != 0.0 {
        return String::new();
    }
    let decimals = (nines as usize).saturating_sub(2);
    let percent = 100.0 * (1.0 - 10_f64.powf(-nines));
    format!("{percent:.decimals$} %")
}

/// Above zero, or it would have no logarithm.
fn micros(nanoseconds: u64) -> f64 {
    nanoseconds.max(1) as f64 / 1e3
}

const SIZE: (u32, u32) = (960, 540);

const FONT: &str = "sans-serif";

/// One message in ten million.
const NINES_MAX: f64 = 7.0;
