//! Timers: what is to happen at which tick, and what is due. Pure: it reads no clock, `now` is an argument.
//!
//! ```text
//!   Duration ──▶ Tick ──▶ Wheel::insert ──▶ TimerKey        Wheel::next_deadline ──▶ how long may the thread sleep?
//!   (since the clock's zero)                                Wheel::advance(now)  ──▶ every (key, value) that is due
//! ```
//!
//! * A [`Tick`] is 1.024 µs. Deadlines round up to one and the present rounds down, so a timer is never early.
//! * A [`Wheel`] is generic over what fires, and calls nobody but the closure it is lent. It belongs to one core and knows no
//!   locks.
//! * [`Tick::with_slack`] lets timers that end close together end together. It is the caller's to apply: the wheel keeps
//!   deadlines exactly as given.

mod tick;
mod wheel;

#[cfg(all(test, not(loom)))]
mod tests;

pub(crate) use self::tick::Tick;
pub(crate) use self::wheel::{TimerKey, Wheel};
