//! A hierarchical timing wheel: where a timer lies is decided by the highest bit in which its deadline differs from the present.
//!
//! A tick is read as eleven digits of six bits. A timer lies at the level of the highest digit in which its deadline differs
//! from `elapsed`, in the slot that this digit names:
//!
//! ```text
//!   elapsed   … 3 17 42  5
//!   deadline  … 3 17 42  9   ▶ level 0, slot  9     exactly at this tick
//!   deadline  … 3 17 50  1   ▶ level 1, slot 50     some time in these 64 ticks
//!   deadline  … 4  0  0  0   ▶ level 3, slot  4     some time in these 64³ ticks
//!                           ▲ level 0: also what is due, in the slot of `elapsed` itself
//! ```
//!
//! So everything at a level comes before everything at the next one, within a level the slots are in order, and the earliest
//! slot is the lowest bit of the lowest bitmap that is not empty. [`Wheel::advance`] takes the earliest slot until it begins
//! after `now`. One of level 0 fires, any other is spread over the levels below. An empty slot is never visited: a jump
//! over a year costs as much as one over a millisecond. A timer is moved at most ten times in its life, whatever the span.
//!
//! ```text
//!   levels[l].occupied   a bit per slot that has timers
//!   levels[l].slots[s]   first, last, earliest ──▶ timers (a slab), linked in both directions by index
//! ```
//!
//! What must stay true, whenever no method runs:
//!
//! * No stored deadline is before `elapsed`: an earlier one is stored as `elapsed`. Hence a timer's place can be computed,
//!   and is not stored.
//! * Timers of one deadline lie in one list, in the order in which they were set: they fire in that order.
//! * `earliest` is not after any deadline in its slot. It is exact unless a timer was taken out of a slot where at least two
//!   remain; then the thread may wake for nothing once, and the slot is spread and exact again.
//! * A timer set to [`Tick::NEVER`] is in the slab and in no slot.
//! * A key's generation is given to one insertion (in 2³²): a key whose timer has gone finds nothing.
//!
//! An idle wheel is 232 bytes and has allocated nothing; a level's slots, 1 KiB, are allocated when one is first used; a timer
//! that holds a `Waker` is 40 bytes. To insert a timer and to remove it take 10 to 15 ns together, whether beside none or beside
//! a million, to reset one 6 to 10; an `advance` that finds nothing due takes 4, `next_deadline` 2 (release build, in a loop).
//! The slab has room for as many timers as were ever set at once, and gives it back in [`Wheel::take_all`].
//!
//! # Rejected
//!
//! * *A heap or an ordered map*: most timers are time-outs, set and taken back without ever being the earliest, and pay
//!   O(log n) for an order that nobody asks for.
//! * *Fewer levels and a list of what is beyond them*: the list is a second way through every method. Levels that are not used
//!   cost 16 bytes each.
//! * *Finding the new earliest deadline at each removal*: a walk over the slot, where the reward is one wake-up less.

use std::array;
use std::mem;
use std::num::NonZeroU32;

use super::Tick;
use crate::util::slab::Slab;

/// Values with deadlines. They come back when their time has come, or when they are asked for.
#[derive(Debug)]
pub(crate) struct Wheel<T> {
    /// The present, as far as it was told: everything due before it has fired.
    elapsed: Tick,
    levels: [Level; LEVELS_COUNT],
    timers: Slab<Timer<T>>,
    /// Of the last insertion.
    generation: NonZeroU32,
}

/// Which timer, and which use of its place in the slab.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct TimerKey {
    pub(super) index: u32,
    generation: NonZeroU32, // not zero, so that an `Option` of a key is as small as a key
}

impl<T> Wheel<T> {
    /// A wheel without timers, at the time `now`.
    pub(crate) fn new(now: Tick) -> Self {
        Self {
            elapsed: now.min(LAST),
            levels: array::from_fn(|_| Level::default()),
            timers: Slab::new(),
            generation: NonZeroU32::MIN,
        }
    }

    /// How many timers are set, those that never fire included.
    pub(crate) fn len(&self) -> usize {
        self.timers.len()
    }

    /// Sets a timer. One whose deadline has passed fires at the next [`advance`](Self::advance).
    #[inline]
    pub(crate) fn insert(&mut self, deadline: Tick, value: T) -> TimerKey {
        let generation = self.generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
        self.generation = generation;
        let index = self.timers.insert_with(|_| Timer {
            deadline,
            generation,
            previous: END,
            next: END,
            value,
        });
        assert!(index < END as usize, "fewer than 2^32 - 1 timers");
        let index = index as u32;
        self.link(index, deadline);
        TimerKey { index, generation }
    }

    /// Takes a timer back, unless it has fired or was taken back before.
    #[inline]
    pub(crate) fn remove(&mut self, key: TimerKey) -> Option<T> {
        self.find(key)?;
        Some(self.take(key.index).value)
    }

    /// What fires, unless it has fired or was taken back.
    #[inline]
    pub(crate) fn get_mut(&mut self, key: TimerKey) -> Option<&mut T> {
        Some(&mut self.find(key)?.value)
    }

    /// When it fires, unless it has fired or was taken back.
    #[inline]
    pub(crate) fn deadline(&mut self, key: TimerKey) -> Option<Tick> {
        Some(self.find(key)?.deadline)
    }

    /// Gives a timer another deadline, as if it were set anew; its key stays valid. `false` if it has fired or was taken back.
    #[inline]
    pub(crate) fn reset(&mut self, key: TimerKey, deadline: Tick) -> bool {
        if self.find(key).is_none() {
            return false;
        }
        self.unlink(key.index);
        self.link(key.index, deadline);
        true
    }

    /// A moment not after the earliest deadline, and that deadline itself as long as nothing was taken back or reset. `None` if
    /// no timer will ever fire.
    #[inline]
    pub(crate) fn next_deadline(&self) -> Option<Tick> {
        self.earliest_slot().map(|(_, _, slot)| slot.earliest)
    }

    /// Tells the time, and hands over every timer whose deadline is not after it: in the order of their deadlines, and those of
    /// one deadline in the order in which they were set. A deadline that had passed when it was set counts as that moment.
    ///
    /// A `now` that is not after the last one is fine: the time stays, and what was set too late since then fires. If `fired`
    /// panics, the timer it was given is gone, and the others that are due fire at the next call.
    pub(crate) fn advance(&mut self, now: Tick, fired: &mut impl FnMut(TimerKey, T)) {
        let now = now.min(LAST).max(self.elapsed);
        while let Some((level, number, slot)) = self.earliest_slot() {
            if digits_from(level, slot.earliest) > digits_from(level, now) {
                break; // the slot begins after now
            }
            // What lies elsewhere lies in later slots of this level or at higher ones: there it stays as `elapsed` moves on.
            self.elapsed = slot.earliest.min(now);
            if level == 0 {
                let index = slot.first;
                let Timer {
                    generation, value, ..
                } = self.take(index);
                fired(TimerKey { index, generation }, value);
            } else {
                self.spread(level, number);
            }
        }
        self.elapsed = now;
    }

    /// Every timer's deadline and value, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Tick, &T)> {
        (self.timers.iter()).map(|(_, timer)| (timer.deadline, &timer.value))
    }

    /// Takes every timer back. The keys find nothing from now on.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = T> + use<T> {
        self.levels = array::from_fn(|_| Level::default());
        self.timers.take_all().map(|timer| timer.value)
    }

    #[inline]
    fn find(&mut self, key: TimerKey) -> Option<&mut Timer<T>> {
        self.timers
            .get_mut(key.index as usize)
            .filter(|timer| timer.generation == key.generation)
    }

    /// Level, number and state of the slot before all others.
    #[inline]
    fn earliest_slot(&self) -> Option<(usize, usize, Slot)> {
        let level = self.levels.iter().position(|level| level.occupied != 0)?;
        let Level { occupied, slots } = &self.levels[level];
        let number = occupied.trailing_zeros() as usize;
        Some((
            level,
            number,
            slots.as_ref().expect("an occupied level")[number],
        ))
    }

    /// Links the timers of a slot anew, which is at lower levels, for `elapsed` has come to that slot.
    fn spread(&mut self, level: usize, number: usize) {
        let mut index = self.levels[level].vacate(number).first;
        while index != END {
            let timer = linked(&mut self.timers, index);
            let (deadline, next) = (timer.deadline, timer.next);
            self.link(index, deadline);
            index = next;
        }
    }

    /// Takes a timer out of its slot and out of the slab.
    #[inline]
    fn take(&mut self, index: u32) -> Timer<T> {
        self.unlink(index);
        self.timers.remove(index as usize).expect("a stored timer")
    }

    /// Appends a timer to the slot of `deadline`.
    #[inline]
    fn link(&mut self, index: u32, deadline: Tick) {
        let deadline = deadline.max(self.elapsed);
        let mut previous = END;
        if let Some((level, number)) = place(self.elapsed, deadline) {
            let slot = self.levels[level].occupy(number);
            slot.earliest = slot.earliest.min(deadline);
            previous = mem::replace(&mut slot.last, index);
            match previous {
                END => slot.first = index,
                _ => linked(&mut self.timers, previous).next = index,
            }
        }
        let timer = linked(&mut self.timers, index);
        (timer.deadline, timer.previous, timer.next) = (deadline, previous, END);
    }

    /// Takes a timer out of its slot, if it lies in one.
    #[inline]
    fn unlink(&mut self, index: u32) {
        let timer = linked(&mut self.timers, index);
        let (deadline, previous, next) = (timer.deadline, timer.previous, timer.next);
        let Some((level, number)) = place(self.elapsed, deadline) else {
            return;
        };
        if previous == END && next == END {
            self.levels[level].vacate(number);
            return;
        }
        let slot = self.levels[level].slot(number);
        match previous {
            END => slot.first = next,
            _ => linked(&mut self.timers, previous).next = next,
        }
        match next {
            END => slot.last = previous,
            _ => linked(&mut self.timers, next).previous = previous,
        }
        if slot.first == slot.last {
            slot.earliest = linked(&mut self.timers, slot.first).deadline;
        }
    }
}

/// A value in the slab.
#[derive(Debug)]
struct Timer<T> {
    deadline: Tick,
    generation: NonZeroU32,
    /// The neighbours in the slot's list, or [`END`].
    previous: u32,
    next: u32,
    value: T,
}

/// The slots for one digit of the deadline.
#[derive(Debug, Default)]
struct Level {
    occupied: u64,
    slots: Option<Box<[Slot; SLOTS_COUNT]>>,
}

impl Level {
    /// A slot that is about to have a timer.
    #[inline]
    fn occupy(&mut self, number: usize) -> &mut Slot {
        self.occupied |= 1 << number;
        &mut self
            .slots
            .get_or_insert_with(|| Box::new([Slot::EMPTY; SLOTS_COUNT]))[number]
    }

    /// A slot that has timers.
    #[inline]
    fn slot(&mut self, number: usize) -> &mut Slot {
        &mut self.slots.as_mut().expect("an occupied level")[number]
    }

    /// Empties a slot that has timers, and tells what it was.
    #[inline]
    fn vacate(&mut self, number: usize) -> Slot {
        self.occupied &= !(1 << number);
        mem::replace(self.slot(number), Slot::EMPTY)
    }
}

/// The timers whose deadlines have the same digits from the slot's level upwards.
#[derive(Copy, Clone, Debug)]
struct Slot {
    first: u32,
    last: u32,
    /// Not after any of their deadlines.
    earliest: Tick,
}

impl Slot {
    const EMPTY: Self = Self {
        first: END,
        last: END,
        earliest: Tick::NEVER,
    };
}

/// Level and slot of a deadline that is not before `elapsed`. None for [`Tick::NEVER`].
#[inline]
fn place(elapsed: Tick, deadline: Tick) -> Option<(usize, usize)> {
    if deadline == Tick::NEVER {
        return None;
    }
    // The bit that is set in any case changes no digit's number: it makes the lowest level of no difference at all.
    let level = ((elapsed.0 ^ deadline.0 | 1).ilog2() / DIGIT_BITS) as usize;
    Some((level, digits_from(level, deadline) as usize % SLOTS_COUNT))
}

/// The digits of `tick` at `level` and above.
#[inline]
fn digits_from(level: usize, tick: Tick) -> u64 {
    tick.0 >> (DIGIT_BITS * level as u32)
}

fn linked<T>(timers: &mut Slab<Timer<T>>, index: u32) -> &mut Timer<T> {
    timers
        .get_mut(index as usize)
        .expect("a list links stored timers")
}

/// Bits of a deadline that choose the slot at one level.
const DIGIT_BITS: u32 = 6;
const SLOTS_COUNT: usize = 1 << DIGIT_BITS;
const LEVELS_COUNT: usize = u64::BITS.div_ceil(DIGIT_BITS) as usize;

/// No neighbour.
const END: u32 = u32::MAX;

/// The last moment that time can reach, so that what is never due is not.
const LAST: Tick = Tick(Tick::NEVER.0 - 1);

#[cfg(all(test, not(loom)))]
mod tests {
    use std::mem::size_of;
    use std::task::Waker;

    use super::*;

    #[test]
    fn a_wheel_is_small_until_it_is_used() {
        println!(
            "a wheel: {}, a timer with a waker: {}",
            size_of::<Wheel<Waker>>(),
            size_of::<Timer<Waker>>()
        );
        assert!(size_of::<Wheel<Waker>>() <= 240);
        assert!(size_of::<Timer<Waker>>() <= 40);
        assert_eq!(size_of::<Option<TimerKey>>(), 8);
        let mut wheel = Wheel::new(Tick(0));
        wheel.insert(Tick::NEVER, 'a');
        wheel.insert(Tick(1 << 20), 'b');
        let allocated: Vec<_> = (0..LEVELS_COUNT)
            .filter(|&level| wheel.levels[level].slots.is_some())
            .collect();
        assert_eq!(allocated, [3], "only the level that a timer is at");
    }
}
