//! What the runtime tells of itself, for Prometheus: every connection is answered with its figures in the text format.
//!
//! `cargo run -p wakeful --example metrics`, and then `curl 127.0.0.1:7012/metrics`. Another address can be given as the argument.

use std::fmt::{self, Display, Write};
use std::io;
use std::time::Duration;

use wakeful::net::{TcpListener, TcpStream};
use wakeful::time::timeout;
use wakeful::{Handle, Histogram, Metrics};

#[wakeful::main]
async fn main() -> io::Result<()> {
    let address = std::env::args().nth(1);
    let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:7012"))?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, _peer) = listener.accept().await?;
        wakeful::spawn(async move {
            // Who asks and then goes, or does not ask, has a reason of their own.
            let _ = timeout(Duration::from_secs(10), answer(stream)).await;
        });
    }
}

/// Reads a request, of which nothing matters but its end, and answers it.
async fn answer(mut stream: TcpStream) -> io::Result<()> {
    let (mut request, mut buffer) = (Vec::new(), [0; 1024]);
    while !request.ends_with(b"\r\n\r\n") && request.len() < 8192 {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            n => request.extend_from_slice(&buffer[..n]),
        }
    }
    let mut body = String::new();
    write_metrics(&mut body, &Handle::current().metrics()).map_err(io::Error::other)?;
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown(std::net::Shutdown::Write)
}

fn write_metrics(text: &mut String, metrics: &Metrics) -> fmt::Result {
    let mut gauge = |name, value: usize| one(text, name, "gauge", value);
    gauge("workers", metrics.workers)?;
    gauge("workers_parked", metrics.workers_parked)?;
    gauge("tasks", metrics.tasks)?;
    gauge("tasks_injected", metrics.tasks_injected)?;
    gauge("timers", metrics.timers)?;
    gauge("blocking_threads", metrics.blocking_threads)?;
    gauge("blocking_closures", metrics.blocking_closures)?;
    gauge("blocking_queue", metrics.blocking_queue)?;
    let mut counter = |name, value: u64| one(text, name, "counter", value);
    counter("stale_events_total", metrics.stale_events)?;
    counter("watch_sweeps_total", metrics.watch_sweeps)?;
    counter(
        "blocking_threads_refused_total",
        metrics.blocking_threads_refused,
    )?;
    per_worker(text, "sources", "gauge", &metrics.sources)?;
    let mut counters = |name: &str, value: fn(&wakeful::WorkerMetrics) -> u64| {
        let values: Vec<_> = metrics.each_worker.iter().map(value).collect();
        per_worker(text, name, "counter", &values)
    };
    counters("polls_total", |worker| worker.polls)?;
    counters("parks_total", |worker| worker.parks)?;
    counters("notifications_sent_total", |worker| {
        worker.notifications_sent
    })?;
    counters("notifications_coalesced_total", |worker| {
        worker.notifications_coalesced
    })?;
    counters("steals_tried_total", |worker| worker.steals_tried)?;
    counters("steals_made_total", |worker| worker.steals_made)?;
    counters("injected_total", |worker| worker.injected)?;
    counters("turns_total", |worker| worker.turns)?;
    counters("events_total", |worker| worker.events)?;
    counters("sweeps_total", |worker| worker.sweeps)?;
    let busy: Vec<_> = (metrics.each_worker.iter())
        .map(|worker| worker.busy.as_secs_f64())
        .collect();
    per_worker(text, "busy_seconds_total", "counter", &busy)?;
    histogram(text, "poll_seconds", &metrics.poll_times())?;
    histogram(text, "wait_seconds", &metrics.waits())
}

fn one(text: &mut String, name: &str, kind: &str, value: impl Display) -> fmt::Result {
    writeln!(text, "# TYPE wakeful_{name} {kind}\nwakeful_{name} {value}")
}

fn per_worker(text: &mut String, name: &str, kind: &str, values: &[impl Display]) -> fmt::Result {
    writeln!(text, "# TYPE wakeful_{name} {kind}")?;
    for (worker, value) in values.iter().enumerate() {
        writeln!(text, "wakeful_{name}{{worker=\"{worker}\"}} {value}")?;
    }
    Ok(())
}

/// In this format a bucket holds those of the buckets before it too.
fn histogram(text: &mut String, name: &str, histogram: &Histogram) -> fmt::Result {
    writeln!(text, "# TYPE wakeful_{name} histogram")?;
    let mut below = 0;
    for (bound, count) in histogram.buckets() {
        below += count;
        let bound = bound.map_or("+Inf".to_owned(), |bound| bound.as_secs_f64().to_string());
        writeln!(text, "wakeful_{name}_bucket{{le=\"{bound}\"}} {below}")?;
    }
    let sum = histogram.sum().as_secs_f64();
    writeln!(
        text,
        "wakeful_{name}_sum {sum}\nwakeful_{name}_count {below}"
    )
}
