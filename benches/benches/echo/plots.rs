//! The pictures of a comparison: latency by percentile, throughput over connections, throughput over the size of a message.

use wakeful_benches::load::{PERCENTILES, Report};
use wakeful_benches::plot::{Axis, Line, Plot};
use wakeful_benches::results::Results;

use crate::rounds::Comparison;
use crate::series::{Cell, Series};
use crate::work::{SIZE_COUNTS, SMALL, Work, bytes, connections};

/// Draws what was measured; lines where they have more than one point.
pub(crate) fn draw(results: &Results, comparison: &Comparison, cells: &[Cell]) {
    let over_connections: Vec<&Cell> = of(cells, |work| work.size == SMALL).collect();
    for cell in &over_connections {
        if SIZE_COUNTS.contains(&cell.work.connections) {
            results.plot(latency(comparison, cell));
        }
    }
    if over_connections.len() > 1 {
        results.plot(Plot {
            name: format!("{}-connections", comparison.name),
            title: format!("Throughput, {}, {}", bytes(SMALL), comparison.title),
            x: Axis::log("connections"),
            y: Axis::linear("echoes per second"),
            lines: lines(comparison, &over_connections, |work, report| {
                (work.connections as f64, report.requests_per_second())
            }),
        });
    }
    for count in SIZE_COUNTS {
        let over_sizes: Vec<&Cell> = of(cells, |work| work.connections == count).collect();
        if over_sizes.len() > 1 {
            results.plot(Plot {
                name: format!("{}-sizes-{count}", comparison.name),
                title: format!("Throughput, {}, {}", connections(count), comparison.title),
                x: Axis::log("bytes of a message"),
                y: Axis::log("MB/s each way"),
                lines: lines(comparison, &over_sizes, |work, report| {
                    let size = work.size as f64;
                    (size, report.requests_per_second() * size / 1e6)
                }),
            });
        }
    }
}

fn of(cells: &[Cell], is_meant: impl Fn(Work) -> bool) -> impl Iterator<Item = &Cell> {
    cells.iter().filter(move |cell| is_meant(cell.work))
}

/// A line for each server, a point for each work that it has done.
fn lines(
    comparison: &Comparison,
    cells: &[&Cell],
    point: impl Fn(Work, &Report) -> (f64, f64),
) -> Vec<Line> {
    let line = |server| {
        let own = cells.iter().filter_map(|cell| {
            let series = cell.of(server)?;
            let (x, _) = point(cell.work, series.reports.first()?);
            Some((x, series.median(|report| point(cell.work, report).1)))
        });
        Line {
            name: server.name().to_owned(),
            points: own.collect(),
        }
    };
    let all = comparison.servers.iter().map(|&server| line(server));
    all.filter(|line| !line.points.is_empty()).collect()
}

fn latency(comparison: &Comparison, cell: &Cell) -> Plot {
    let line = |series: &Series| {
        let points = PERCENTILES.iter().enumerate().map(|(position, percent)| {
            let ns = series.median(|report| report.percentiles_ns[position] as f64);
            (*percent, ns / 1e3)
        });
        Line {
            name: series.server.name().to_owned(),
            points: points.collect(),
        }
    };
    Plot {
        name: format!("{}-latency-{}", comparison.name, cell.work.connections),
        title: format!("Latency, {}, {}", cell.work, comparison.title),
        x: Axis::percentiles("percent of the echoes came within"),
        y: Axis::log("µs"),
        lines: cell.all.iter().map(line).collect(),
    }
}
