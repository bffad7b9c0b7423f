//! What the comparisons of wakeful with its peers have in common.
//!
//! A comparison has three kinds of process, so that none of them shares an allocator, a core or a CPU account with another:
//!
//! ```text
//!   the bench (harness) ──starts──▶ a server: our `echo`, or `peer` (tokio, or the hand-written floor)   first CPU
//!          │                            ▲ │
//!          └────────────starts──▶ `load`: closed loop, checks every byte, prints one JSON line             second CPU
//! ```
//!
//! Timers, scheduler and memory have no load: their benches start one process of that name for each measurement, which runs one
//! case ([`timers::Case`], [`scheduler::Case`], [`memory::Case`]) on one runtime and prints its figures. Servers and load of UDP are
//! one program too, `udp`. Servers beside a task that keeps its worker are `interference`.
//! Clients that mean no good are the program `abuse`, beside which `echo load` measures what well-behaved ones see.
//!
//! - The floor and the load generator are written on the kernel ([`sys`]) and share no code with what they measure.
//! - A server is ready when it has printed a line that contains its address; it ends when the harness kills it. No child
//!   outlives the harness, not even a harness that was killed.
//! - Rounds are interleaved: every server has its turn in each round, in rotated order, so that a change of the machine's
//!   mood meets them all. Absolute numbers of two runs do not compare; ratios within one run do.
//! - What a bench finds it says through [`results::Results`], which prints it and writes it down.

pub mod abuse;
pub mod accounting;
pub mod cli;
pub mod contender;
pub mod datagrams;
pub mod executors;
pub mod interference;
pub mod load;
pub mod machine;
pub mod memory;
pub mod page;
pub mod plot;
pub mod process;
pub mod rescan;
pub mod results;
pub mod rounds;
pub mod scheduler;
pub mod stats;
pub mod sys;
pub mod table;
pub mod throughput;
pub mod timers;
pub mod udp;
