//! When a connection sends its messages.
//!
//! | | a message begins | its latency counts from |
//! |---|---|---|
//! | closed loop | when fewer than the depth are on their way | that moment |
//! | open loop (`--rate`) | at a moment that was fixed in advance | that moment, even if it could not be sent then |
//!
//! A closed loop waits for slow answers instead of sending on, so the answers that would have been slow are never asked for
//! (*coordinated omission*). The open loop does not mind what comes back; what a server that falls behind has not got by the end
//! is reported as not sent.
//!
//! The moments of the open loop are computed, not kept: the connections take turns, and message `k` of connection `c` is number
//! `k × connections + c` of the whole run.

use std::collections::VecDeque;
use std::time::Duration;

use wakeful::time::Instant;

use super::args::LoadArgs;

/// The plan of one connection.
pub(super) struct Pace {
    kind: Kind,
    /// How many messages in all.
    count: u64,
    /// From when on no message begins.
    end: Option<Instant>,
}

enum Kind {
    Closed {
        depth: u64,
        /// When those on their way began.
        begun_at: VecDeque<Instant>,
    },
    Open {
        start: Instant,
        connection: u64,
        connections: u64,
        per_second: f64,
    },
}

impl Pace {
    /// Connection number `connection` of the run that begins at `start`.
    pub(super) fn of(args: &LoadArgs, connection: u64, start: Instant) -> Self {
        let connections = args.connections;
        let of_all = match (args.count, args.rate) {
            (Some(count), _) => count,
            (None, Some(rate)) => (rate * args.duration.as_secs_f64()).ceil() as u64,
            (None, None) => u64::MAX,
        };
        let kind = match args.rate {
            None => Kind::Closed {
                depth: args.pipeline,
                begun_at: VecDeque::new(),
            },
            Some(per_second) => Kind::Open {
                start,
                connection,
                connections,
                per_second,
            },
        };
        Self {
            kind,
            count: of_all.saturating_sub(connection).div_ceil(connections),
            end: args.count.is_none().then(|| start + args.duration),
        }
    }

    /// How many messages have begun by `now`, of which `before` had begun before and `echoed` have come back.
    pub(super) fn begun(&mut self, now: Instant, before: u64, echoed: u64) -> u64 {
        match &mut self.kind {
            Kind::Closed { depth, begun_at } => {
                let begun = self.count.min(echoed.saturating_add(*depth));
                begun_at.extend((before..begun).map(|_| now));
                begun
            }
            Kind::Open { .. } => {
                // Not only the next: a sleep may have been late for several.
                let mut begun = before;
                while begun < self.count && self.intended(begun).is_some_and(|moment| moment <= now)
                {
                    begun += 1;
                }
                begun
            }
        }
    }

    /// From when on to count the latency of message `number`, the first that is on its way.
    pub(super) fn began(&mut self, number: u64) -> Instant {
        match &mut self.kind {
            Kind::Closed { begun_at, .. } => begun_at.pop_front(),
            Kind::Open { .. } => self.intended(number),
        }
        .expect("it has begun")
    }

    /// Whether no message begins after `begun` ones.
    pub(super) fn is_over(&self, now: Instant, begun: u64) -> bool {
        begun >= self.count || self.is_late(now)
    }

    /// Whether the time is up.
    pub(super) fn is_late(&self, now: Instant) -> bool {
        self.end.is_some_and(|end| now >= end)
    }

    /// How many messages an open loop meant to send by `now`, beyond the `sent` ones. A closed loop means nothing beforehand.
    pub(super) fn missed(&self, now: Instant, begun: u64, sent: u64) -> u64 {
        match self.kind {
            Kind::Closed { .. } => 0,
            Kind::Open { .. } if self.is_late(now) => self.count - sent,
            Kind::Open { .. } => begun - sent,
        }
    }

    /// When to look again, if nothing comes back until then and `begun` messages have begun.
    pub(super) fn next_moment(&self, begun: u64) -> Option<Instant> {
        let next = (begun < self.count).then(|| self.intended(begun)).flatten();
        match (next, self.end) {
            (Some(next), Some(end)) => Some(next.min(end)),
            (next, end) => next.or(end),
        }
    }

    /// The moment that message `number` of an open loop is meant for.
    fn intended(&self, number: u64) -> Option<Instant> {
        let Kind::Open {
            start,
            connection,
            connections,
            per_second,
        } = &self.kind
        else {
            return None;
        };
        let of_all = number * connections + connection;
        let offset = Duration::try_from_secs_f64(of_all as f64 / per_second);
        Some(*start + offset.unwrap_or(Duration::MAX))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        load: LoadArgs,
    }

    fn args(options: &[&str]) -> LoadArgs {
        let program = ["load", "localhost:7"].iter();
        Cli::parse_from(program.chain(options)).load
    }

    /// All paces of a run.
    fn paces(args: &LoadArgs, start: Instant) -> impl Iterator<Item = Pace> {
        (0..args.connections).map(move |index| Pace::of(args, index, start))
    }

    #[test]
    fn a_count_is_shared_out_to_the_last_message() {
        let start = Instant::now();
        for (connections, count) in [
            ("1", "1"),
            ("3", "10"),
            ("7", "7"),
            ("8", "5"),
            ("64", "1000"),
        ] {
            let args = args(&["--connections", connections, "--count", count]);
            let shares: Vec<_> = paces(&args, start).map(|pace| pace.count).collect();
            assert_eq!(shares.iter().sum::<u64>().to_string(), count);
            assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1);
        }
    }

    #[test]
    fn a_closed_loop_keeps_its_depth_on_the_way() {
        let start = Instant::now();
        let args = args(&["--pipeline", "3", "--count", "5", "--connections", "1"]);
        let mut pace = Pace::of(&args, 0, start);
        assert_eq!(pace.begun(start, 0, 0), 3);
        let later = start + Duration::from_secs(1);
        assert_eq!(pace.began(0), start);
        assert_eq!(pace.begun(later, 3, 1), 4);
        assert!(!pace.is_over(later, 4));
        assert_eq!(pace.begun(later, 4, 3), 5);
        assert!(pace.is_over(later, 5));
        assert_eq!(
            [pace.began(1), pace.began(2), pace.began(3)],
            [start, start, later]
        );
        assert_eq!(pace.next_moment(3), None);
    }

    #[test]
    fn an_open_loop_sends_at_even_distances_whatever_comes_back() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let args = args(&["--rate", "10", "--connections", "4", "--duration", "2"]);
        let mut paces: Vec<_> = paces(&args, start).collect();
        assert_eq!(paces.iter().map(|pace| pace.count).sum::<u64>(), 20);
        let begun = |paces: &mut Vec<Pace>, now| -> u64 {
            paces.iter_mut().map(|pace| pace.begun(now, 0, 0)).sum()
        };
        assert_eq!(begun(&mut paces, start), 1);
        assert_eq!(begun(&mut paces, start + second / 10), 2);
        assert_eq!(begun(&mut paces, start + second), 11);
        assert_eq!(begun(&mut paces, start + 9 * second), 20);
        let pace = &mut paces[3];
        assert_eq!(pace.began(1) - start, second * 7 / 10);
        assert_eq!(pace.next_moment(1), Some(start + second * 7 / 10));
        assert_eq!(pace.next_moment(5), Some(start + 2 * second), "the end");
        assert!(!pace.is_over(start + second, 1));
        assert!(pace.is_over(start + 2 * second, 1));
    }

    #[test]
    fn a_duration_ends_a_closed_loop() {
        let start = Instant::now();
        let args = args(&["--duration", "100ms"]);
        let pace = Pace::of(&args, 0, start);
        assert!(!pace.is_over(start, 1 << 40));
        assert!(pace.is_over(start + Duration::from_millis(100), 0));
    }
}
