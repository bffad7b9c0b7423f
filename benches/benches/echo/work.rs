//! What the clients do, and where it is measured: the points of the plots.

use std::fmt;
use std::time::Duration;

use wakeful_benches::load::Plan;

use crate::options::Options;

/// Closed loops over a number of connections, with messages of one size.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Work {
    pub(crate) connections: usize,
    /// Bytes of a message.
    pub(crate) size: usize,
}

impl Work {
    /// One measurement of it; its warm-up is a quarter of it, at most half a second.
    pub(crate) fn plan(self, measured: Duration) -> Plan {
        Plan {
            connections: self.connections,
            size: self.size,
            measured,
            warm_up: (measured / 4).min(Duration::from_millis(500)),
        }
    }

    /// The rounds that make its figures. What bounds are set for is measured more often.
    fn rounds(self, options: &Options, bounded: &[usize]) -> usize {
        let is_bounded = self.size == SMALL && bounded.contains(&self.connections);
        let own = if is_bounded && !options.quick { 15 } else { 5 };
        options.rounds.unwrap_or(own)
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", connections(self.connections), bytes(self.size))
    }
}

/// What a section measures, each with its rounds: small messages over every number of connections, and, if `with_sizes`,
/// larger ones over one and over many. In a hurry only what bounds are set for, `bounded` connections with small messages.
///
/// Numbers or sizes on the command line replace all that: each number is measured with each size.
pub(crate) fn works(options: &Options, bounded: &[usize], with_sizes: bool) -> Vec<(Work, usize)> {
    let each = |counts: &[usize], sizes: &[usize]| -> Vec<Work> {
        let with = |&size| {
            let of = move |&connections| Work { connections, size };
            counts.iter().map(of).collect::<Vec<_>>()
        };
        sizes.iter().flat_map(with).collect()
    };
    let works = match (&options.connections, &options.sizes) {
        (None, None) if options.quick => each(bounded, &[SMALL]),
        (None, None) if with_sizes => {
            [each(&COUNTS, &[SMALL]), each(&SIZE_COUNTS, &LARGER)].concat()
        }
        (None, None) => each(&COUNTS, &[SMALL]),
        (counts, sizes) => each(
            counts.as_deref().unwrap_or(&SIZE_COUNTS),
            sizes.as_deref().unwrap_or(&[SMALL]),
        ),
    };
    let with_rounds = |work: Work| (work, work.rounds(options, bounded));
    works.into_iter().map(with_rounds).collect()
}

/// A number of bytes, in the largest unit in which it is whole.
pub(crate) fn bytes(count: usize) -> String {
    match count {
        count if count >= 1 << 10 && count % (1 << 10) == 0 => format!("{} KiB", count >> 10),
        count => format!("{count} B"),
    }
}

/// A number of connections.
pub(crate) fn connections(count: usize) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} connection{plural}")
}

/// The size of a message that measures what a message costs, and not its bytes.
pub(crate) const SMALL: usize = 64;

/// Over how many connections larger messages go: over one, which waits, and over many, which do not.
pub(crate) const SIZE_COUNTS: [usize; 2] = [1, 64];

const COUNTS: [usize; 10] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512];

const LARGER: [usize; 5] = [256, 1 << 10, 4 << 10, 16 << 10, 64 << 10];
