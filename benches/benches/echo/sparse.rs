//! What polling costs where it brings little: CPU time per message when a thousand come in a second, one at a time, and of a
//! process that nobody talks to.

use std::thread;
use std::time::{Duration, Instant};

use wakeful_benches::accounting::run_time;
use wakeful_benches::cli::Result;
use wakeful_benches::contender::Contender;
use wakeful_benches::load::Plan;
use wakeful_benches::results::{Bound, Claim};
use wakeful_benches::stats::median;
use wakeful_benches::table::Table;

use crate::options::Options;
use crate::setup::Setup;

/// Prints both for every server, and whether ours keeps its bounds.
pub(crate) fn cost_of_polling(setup: &Setup, options: &Options) -> Result<()> {
    let mut all: Vec<Series> = options
        .among(&SERVERS)
        .into_iter()
        .map(Series::new)
        .collect();
    let rounds = options.rounds.unwrap_or(5);
    for round in 0..rounds {
        for turn in 0..all.len() {
            let position = (round + turn) % all.len();
            all[position].measure(setup, options)?;
        }
    }

    let sleeping = all
        .iter()
        .find(|series| series.server == Contender::OursSleeping);
    let mut table = Table::new([
        "server",
        "p50 µs",
        "CPU µs per message",
        "÷ ours-sleeping",
        "CPU when idle",
    ]);
    for series in &all {
        table.row(vec![
            series.server.to_string(),
            format!("{:.1}", series.p50_us()),
            format!("{:.1}", series.cpu_us()),
            sleeping.map_or_else(String::new, |sleeping| {
                format!("{:.3}", series.ratio(sleeping))
            }),
            format!("{:.3} %", series.idle_percent()),
        ]);
    }
    let title = format!(
        "one worker, pinned: a message of {} B each {} µs, {rounds} rounds",
        options.size(),
        EVERY.as_micros()
    );
    setup.results.table(&title, table);

    let ours = all.iter().find(|series| series.server == Contender::Ours);
    if let Some(ours) = ours {
        if let Some(sleeping) = sleeping {
            setup.results.claim(Claim {
                work: "1 000 messages a second, CPU time".to_owned(),
                ours: format!("ours {:.1} µs per message", ours.cpu_us()),
                peer: format!("with polling off {:.1} µs", sleeping.cpu_us()),
                figure: Some(ours.ratio(sleeping)),
                bound: Bound::AtMost(1.2),
                excuse: String::new(),
            });
        }
        setup.results.claim(Claim {
            work: "an idle process, percent of a CPU".to_owned(),
            ours: format!("ours {:.3} %", ours.idle_percent()),
            peer: String::new(),
            figure: Some(ours.idle_percent()),
            bound: Bound::AtMost(0.0),
            excuse: String::new(),
        });
    }
    Ok(())
}

/// What a server did, round by round.
struct Series {
    server: Contender,
    p50_us: Vec<f64>,
    cpu_us: Vec<f64>,
    idle_percent: Vec<f64>,
}

impl Series {
    fn new(server: Contender) -> Self {
        Self {
            server,
            p50_us: Vec::new(),
            cpu_us: Vec::new(),
            idle_percent: Vec::new(),
        }
    }

    fn measure(&mut self, setup: &Setup, options: &Options) -> Result<()> {
        let plan = Plan {
            connections: 1,
            size: options.size(),
            measured: options.measured.unwrap_or(Duration::from_secs(1)),
            warm_up: Duration::ZERO,
        };
        let server = setup.start(self.server, 1, setup.pinned)?;
        let before = run_time(server.pid())?;
        let load = &setup.programs.load;
        let report = plan.run_sparse(EVERY, load, &server, setup.pinned.load)?;
        let ran = run_time(server.pid())? - before;
        self.p50_us.push(report.p50_ns as f64 / 1e3);
        self.cpu_us
            .push(ran.as_secs_f64() * 1e6 / report.requests as f64);

        thread::sleep(SETTLED);
        let (before, begin) = (run_time(server.pid())?, Instant::now());
        thread::sleep(plan.measured / 4);
        let ran = run_time(server.pid())? - before;
        let part = ran.as_secs_f64() / begin.elapsed().as_secs_f64();
        self.idle_percent.push(part * 100.0);
        Ok(())
    }

    fn p50_us(&self) -> f64 {
        median(self.p50_us.iter().copied())
    }

    fn cpu_us(&self) -> f64 {
        median(self.cpu_us.iter().copied())
    }

    fn idle_percent(&self) -> f64 {
        median(self.idle_percent.iter().copied())
    }

    fn ratio(&self, other: &Self) -> f64 {
        let rounds = self.cpu_us.iter().zip(&other.cpu_us);
        median(rounds.map(|(own, other)| own / other))
    }
}

const SERVERS: [Contender; 5] = [
    Contender::Ours,
    Contender::OursSleeping,
    Contender::TokioCurrent,
    Contender::Floor,
    Contender::FloorPolling,
];

/// So that there are a thousand in a second.
const EVERY: Duration = Duration::from_millis(1);

/// By then a server has seen that its client has gone, and rests.
const SETTLED: Duration = Duration::from_millis(50);
