//! The tables of a comparison: one line for each work, and, where it is worth it, all about one work.

use wakeful_benches::load::Report;
use wakeful_benches::results::Results;
use wakeful_benches::table::{Table, grouped};

use crate::options::Options;
use crate::rounds::Comparison;
use crate::series::{Cell, Figure, Series};
use crate::work::SMALL;

/// Throughput and latency of all servers, a line for each work.
pub(crate) fn overview(results: &Results, comparison: &Comparison, cells: &[Cell]) {
    for figure in [Figure::Throughput, Figure::P50, Figure::P99] {
        let names = comparison.servers.iter().map(|server| server.name());
        let mut table = Table::new(["work"].into_iter().chain(names));
        for cell in cells {
            let value = |series: &Series| text(figure, series.median(|report| figure.of(report)));
            let servers = comparison.servers.iter();
            let cells = servers.map(|server| cell.of(*server).map_or_else(String::new, value));
            table.row([cell.work.to_string()].into_iter().chain(cells).collect());
        }
        let title = format!("{}: {}, {}", comparison.title, figure.name(), figure.unit());
        results.table(&title, table);
    }
}

/// All about a work that has a bound or was asked for, and of a comparison without bounds about all.
pub(crate) fn details(results: &Results, comparison: &Comparison, cell: &Cell, options: &Options) {
    let has_bound = |bounded: &crate::bounds::Bounded| bounded.connections == cell.work.connections;
    let is_bounded = cell.work.size == SMALL && comparison.bounds.iter().any(has_bound);
    if !is_bounded && !comparison.bounds.is_empty() && !options.names_works() {
        return;
    }
    let spins = cell.work.plan(Default::default()).spins();
    let title = format!(
        "{}: {}, {} rounds",
        comparison.title, cell.work, cell.rounds
    );
    results.table(&title, measurements(&cell.all, spins));
    for reference in comparison
        .references
        .iter()
        .filter_map(|server| cell.of(*server))
    {
        let others = cell.all.iter();
        let others: Vec<&Series> = others
            .filter(|series| series.server != reference.server)
            .collect();
        if !others.is_empty() {
            results.table("", ratios(&others, reference, spins));
        }
    }
    if !spins && cell.all.iter().any(Series::is_client_bound) {
        results.text("  * client-bound: the load generator's core was ≥ 90 % busy");
    }
}

/// A figure as it stands in tables and claims.
pub(crate) fn text(figure: Figure, value: f64) -> String {
    match figure {
        Figure::Throughput => grouped(value),
        Figure::P50 | Figure::P99 => format!("{value:.1}"),
    }
}

fn ratios(others: &[&Series], reference: &Series, spins: bool) -> Table {
    let title = format!("÷ {}", reference.server);
    let columns = ["echoes/s", "p50", "p99", "user CPU", "CPU"];
    let mut table = Table::new([title.as_str()].into_iter().chain(columns));
    let (reference_user, reference_system) = reference.cpu_per_request();
    for series in others {
        let is_bound = !spins && (series.is_client_bound() || reference.is_client_bound());
        let mark = if is_bound { "*" } else { " " };
        let ratio = |figure: Figure| {
            let ratio = series.ratio(reference, |report| figure.of(report));
            format!("{ratio:.3}")
        };
        let (user, system) = series.cpu_per_request();
        let cpu = (user + system) / (reference_user + reference_system);
        // Of short runs the kernel may have sampled nothing in user space.
        let user = match user / reference_user {
            user if user.is_finite() => format!("{user:.2}"),
            _ => String::new(),
        };
        table.row(vec![
            series.server.to_string(),
            ratio(Figure::Throughput) + mark,
            ratio(Figure::P50),
            ratio(Figure::P99),
            user,
            format!("{cpu:.3}"),
        ]);
    }
    table
}

fn measurements(all: &[Series], spins: bool) -> Table {
    let mut table = Table::new([
        "server",
        "echoes/s",
        "p50 µs",
        "p90 µs",
        "p99 µs",
        "p99.9 µs",
        "user ns/echo",
        "sys ns/echo",
        "server busy",
        "load busy",
    ]);
    for series in all {
        let us =
            |value: fn(&Report) -> u64| format!("{:.1}", series.median(|r| value(r) as f64) / 1e3);
        let percent = |part: f64| format!("{:.0} %", part * 100.0);
        let (user, system) = series.cpu_per_request();
        table.row(vec![
            series.server.to_string(),
            grouped(series.median(Report::requests_per_second)),
            us(|report| report.p50_ns),
            us(|report| report.p90_ns),
            us(|report| report.p99_ns),
            us(|report| report.p999_ns),
            grouped(user),
            grouped(system),
            percent(series.median(Report::server_busy)),
            if spins {
                "polls".to_owned()
            } else {
                percent(series.median(Report::load_busy))
            },
        ]);
    }
    table
}
