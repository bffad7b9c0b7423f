//! The wheel by behaviour, and against an ordered map that does the same the slow way.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use super::*;
use crate::util::rng::Rng;

/// Distances at which timers come to lie at the rim of a slot or of a level.
const RIMS: [u64; 19] = [
    0,
    1,
    63,
    64,
    65,
    4095,
    4096,
    4097,
    (1 << 18) - 1,
    1 << 18,
    (1 << 18) + 1,
    (1 << 24) - 1,
    (1 << 24) + 1,
    (1 << 30) - 1,
    (1 << 30) + 1,
    (1 << 36) - 1,
    (1 << 36) + 1,
    (1 << 62) + 1,
    u64::MAX,
];

#[test]
fn a_lone_timer_costs_one_wake_up_however_far_it_is() {
    for now in [0, 1, 63, (1 << 36) - 1, (1 << 50) + 12_345] {
        for distance in RIMS.into_iter().filter(|&distance| distance != u64::MAX) {
            let (mut wheel, deadline) = (Wheel::new(Tick(now)), Tick(now + distance));
            wheel.insert(deadline, 'x');
            assert_eq!(wheel.next_deadline(), Some(deadline));
            if distance > 0 {
                assert_eq!(fired_until(&mut wheel, deadline.0 - 1), []);
                assert_eq!(wheel.next_deadline(), Some(deadline));
            }
            assert_eq!(fired_until(&mut wheel, deadline.0), ['x']);
            assert!(wheel.len() == 0 && wheel.next_deadline().is_none());
        }
    }
}

#[test]
fn while_nothing_is_taken_back_every_wake_up_fires_something() {
    let rng = Rng::new(3);
    for now in [0, (1 << 36) - 5000] {
        let mut wheel = Wheel::new(Tick(now));
        for _ in 0..5_000 {
            wheel.insert(Tick(now + any_distance(&rng).min(1 << 62)), ());
        }
        let mut now = Tick(now);
        while let Some(next) = wheel.next_deadline() {
            assert!(next >= now);
            now = next;
            assert_ne!(fired_until(&mut wheel, now.0), []);
        }
        assert_eq!(wheel.len(), 0);
    }
}

#[test]
fn a_timer_taken_back_costs_at_most_one_wake_up() {
    let mut wheel = Wheel::new(Tick(0));
    let first = wheel.insert(Tick(70_000), 'a');
    let second = wheel.insert(Tick(70_001), 'b');
    wheel.insert(Tick(70_002), 'c');
    wheel.insert(Tick(70_003), 'd');
    assert_eq!(wheel.remove(first), Some('a'));
    assert_eq!(fired_until(&mut wheel, 70_000), []);
    assert_eq!(wheel.next_deadline(), Some(Tick(70_001)));
    assert_eq!(wheel.remove(second), Some('b'));
    assert_eq!(wheel.next_deadline(), Some(Tick(70_002)));
}

#[test]
fn the_last_timer_of_many_is_as_good_as_a_lone_one() {
    let mut wheel = Wheel::new(Tick(0));
    let others: Vec<_> = (0..9)
        .map(|n| wheel.insert(Tick(70_000 + n), 'x'))
        .collect();
    wheel.insert(Tick(70_009), 'y');
    for key in others {
        wheel.remove(key);
    }
    assert_eq!(wheel.next_deadline(), Some(Tick(70_009)));
}

#[test]
fn what_never_fires_is_kept_and_can_be_taken_back() {
    let mut wheel = Wheel::new(Tick(0));
    let kept = wheel.insert(Tick::NEVER, 'a');
    let removed = wheel.insert(Tick::NEVER, 'b');
    let reset = wheel.insert(Tick::NEVER, 'c');
    assert_eq!(wheel.next_deadline(), None);
    assert_eq!(wheel.remove(removed), Some('b'));
    assert!(wheel.reset(reset, Tick(9)));
    assert_eq!(wheel.next_deadline(), Some(Tick(9)));
    assert_eq!(fired_until(&mut wheel, u64::MAX), ['c']);
    assert_eq!((wheel.len(), wheel.next_deadline()), (1, None));
    assert_eq!(wheel.get_mut(kept), Some(&mut 'a'));
}

#[test]
fn at_the_end_of_time_what_is_set_is_still_due() {
    for mut wheel in [Wheel::new(Tick::NEVER), Wheel::new(Tick(0))] {
        assert_eq!(fired_until(&mut wheel, u64::MAX), []);
        wheel.insert(Tick(5), 'a');
        wheel.insert(Tick(u64::MAX - 1), 'b');
        assert_eq!(fired_until(&mut wheel, 0), ['a', 'b']);
    }
}

#[test]
fn what_is_due_when_it_is_set_fires_at_the_next_call_even_if_time_stood_still() {
    let mut wheel = Wheel::new(Tick(1000));
    for (deadline, name) in [(1000, 'a'), (3, 'b'), (1000, 'c'), (1001, 'd')] {
        wheel.insert(Tick(deadline), name);
    }
    assert!(wheel.next_deadline().unwrap() <= Tick(1000));
    assert_eq!(fired_until(&mut wheel, 7), ['a', 'b', 'c']);
    assert_eq!(wheel.next_deadline(), Some(Tick(1001)));
}

#[test]
fn timers_of_one_deadline_fire_in_the_order_in_which_they_were_set() {
    let mut wheel = Wheel::new(Tick(0));
    let first = wheel.insert(Tick(5000), 'a');
    wheel.insert(Tick(5000), 'b');
    wheel.advance(Tick(4970), &mut |_, _| unreachable!("too early")); // the two are at a lower level now
    wheel.insert(Tick(5000), 'c');
    assert!(wheel.reset(first, Tick(5000)));
    assert_eq!(fired_until(&mut wheel, 6000), ['b', 'c', 'a']);
}

#[test]
fn a_key_finds_nothing_once_its_timer_has_gone() {
    let mut wheel = Wheel::new(Tick(0));
    let fired = wheel.insert(Tick(1), 'a');
    assert_eq!(fired_until(&mut wheel, 1), ['a']);
    let removed = wheel.insert(Tick(2), 'b');
    wheel.remove(removed);
    let taken = wheel.insert(Tick(3), 'c');
    assert_eq!(wheel.take_all().collect::<Vec<_>>(), ['c']);
    assert!(wheel.len() == 0 && wheel.next_deadline().is_none());
    let live = wheel.insert(Tick(4), 'd');
    for gone in [fired, removed, taken] {
        assert_eq!(gone.index, live.index, "its place is used again");
        assert_eq!(wheel.get_mut(gone), None);
        assert!(!wheel.reset(gone, Tick(9)));
        assert_eq!(wheel.remove(gone), None);
    }
    assert_eq!(fired_until(&mut wheel, 4), ['d']);
}

#[test]
fn a_panic_loses_the_timer_that_fired_and_no_other() {
    let mut wheel = Wheel::new(Tick(0));
    for (deadline, name) in [
        (5000, 'a'),
        (5000, 'b'),
        (5000, 'c'),
        (5001, 'd'),
        (9000, 'e'),
    ] {
        wheel.insert(Tick(deadline), name);
    }
    let panics = &mut |_, name| assert_ne!(name, 'b', "as this test wants it");
    catch_unwind(AssertUnwindSafe(|| wheel.advance(Tick(8000), panics))).unwrap_err();
    assert_eq!(wheel.len(), 3);
    wheel.insert(Tick(5000), 'x');
    assert_eq!(fired_until(&mut wheel, 8000), ['c', 'x', 'd']);
    assert_eq!(fired_until(&mut wheel, 9000), ['e']);
}

#[test]
fn a_million_timers_are_taken_back_and_their_places_used_again() {
    const TIMERS_COUNT: u32 = 1_000_000;
    let mut wheel = Wheel::new(Tick(77));
    for round in 0..2 {
        let set = |n: u32| wheel.insert(Tick(77 + u64::from(n) * 30), n + round);
        let keys: Vec<_> = (0..TIMERS_COUNT).map(set).collect();
        for (key, n) in keys.into_iter().zip(0..) {
            assert!(key.index < TIMERS_COUNT);
            assert_eq!(wheel.remove(key), Some(n + round));
        }
        assert_eq!((wheel.len(), wheel.next_deadline()), (0, None));
    }
}

/// 10⁶ operations in all, each run from its own epoch.
#[test]
fn it_does_what_an_ordered_map_does() {
    for seed in 0..1_000 {
        let _seed = PrintSeed(seed);
        let mut pair = Pair::new(seed);
        for _ in 0..1_000 {
            pair.operate();
            pair.compare();
        }
    }
}

/// A wheel, and what it should do.
struct Pair {
    rng: Rng,
    wheel: Wheel<u64>,
    now: u64,
    /// By deadline, then by when it was set: the key and the value.
    timers: BTreeMap<(u64, u64), (TimerKey, u64)>,
    sets_count: u64,
    /// There is always a timer at least as late, if not zero.
    far: u64,
    /// No more timers are set than this, and no place in the slab may be beyond the most there ever were.
    limit: usize,
    timers_max: usize,
    /// Keys of timers that have gone.
    gone: Vec<TimerKey>,
}

impl Pair {
    fn new(seed: u64) -> Self {
        let rng = Rng::new(seed);
        let now = match rng.below(8) {
            0 => 0,
            1 => u64::MAX - bits(&rng, 20),
            2 | 3 => (1 << (6 + rng.below(58))) - bits(&rng, 8).min(63), // soon at a rim
            _ => bits(&rng, 50),                                         // 2⁴⁰ ms
        };
        let far = match rng.below(4) {
            0 => u64::MAX - 1 - bits(&rng, 40),
            1 => u64::MAX,
            _ => 0,
        };
        Self {
            wheel: Wheel::new(Tick(now)),
            now: now.min(u64::MAX - 1),
            timers: BTreeMap::new(),
            sets_count: 0,
            far,
            limit: [2, 8, 40, 200][rng.below(4)],
            timers_max: 0,
            gone: Vec::new(),
            rng,
        }
    }

    fn operate(&mut self) {
        if self.last_deadline() < self.far {
            self.insert(self.far);
        }
        match self.rng.below(100) {
            0 => self.take_all(),
            1..20 => self.remove(),
            20..35 => self.reset(),
            35..70 if self.timers.len() < self.limit => self.insert(self.any_deadline()),
            _ => self.advance(),
        }
    }

    fn insert(&mut self, deadline: u64) {
        let value = self.sets_count;
        let key = self.wheel.insert(Tick(deadline), value);
        self.set(deadline, key, value);
        self.timers_max = self.timers_max.max(self.timers.len());
        assert!((key.index as usize) < self.timers_max, "the slab grows");
    }

    fn reset(&mut self) {
        if let Some((key, value)) = self.take_any() {
            let deadline = self.any_deadline();
            assert!(self.wheel.reset(key, Tick(deadline)));
            self.set(deadline, key, value);
        }
    }

    fn remove(&mut self) {
        if let Some((key, mut value)) = self.take_any() {
            assert_eq!(self.wheel.get_mut(key), Some(&mut value));
            assert_eq!(self.wheel.remove(key), Some(value));
            self.gone.push(key);
        }
    }

    fn take_all(&mut self) {
        let mut taken: Vec<_> = self.wheel.take_all().collect();
        taken.sort_unstable();
        let all = std::mem::take(&mut self.timers).into_values();
        let (keys, mut values): (Vec<_>, Vec<_>) = all.unzip();
        values.sort_unstable();
        assert_eq!(taken, values);
        self.gone.extend(keys);
    }

    fn advance(&mut self) {
        let next = self.wheel.next_deadline().unwrap_or(Tick(self.now)).0;
        let told = match self.rng.below(8) {
            0 => self.now,
            1 => self.now - bits(&self.rng, 40).min(self.now),
            2 => next,
            3 => next - 1.min(next),
            4 => next.saturating_add(any_distance(&self.rng)),
            5 => self.now.saturating_add(bits(&self.rng, 12)),
            6 => self.now.saturating_add(bits(&self.rng, 34)),
            _ => self
                .now
                .saturating_add(RIMS[self.rng.below(RIMS.len() - 2)]),
        };
        self.now = self.now.max(told.min(u64::MAX - 1));
        let mut fired = Vec::new();
        self.wheel
            .advance(Tick(told), &mut |key, value| fired.push((key, value)));
        let later = self.timers.split_off(&(self.now + 1, 0));
        let due: Vec<_> = std::mem::replace(&mut self.timers, later)
            .into_values()
            .collect();
        assert_eq!(fired, due, "until {}", self.now);
        self.gone.extend(due.into_iter().map(|(key, _)| key));
        let next = self.wheel.next_deadline();
        assert!(
            next.is_none_or(|next| next.0 > self.now),
            "{next:?} at {}",
            self.now
        );
    }

    /// What must hold after every operation.
    fn compare(&mut self) {
        assert_eq!(self.wheel.len(), self.timers.len());
        assert_eq!(self.wheel.len(), self.timers.len());
        let first = self
            .timers
            .first_key_value()
            .map(|((deadline, _), _)| *deadline);
        match (
            self.wheel.next_deadline(),
            first.filter(|&first| first != u64::MAX),
        ) {
            (None, None) => {}
            (Some(next), Some(first)) => assert!(
                self.now <= next.0 && next.0 <= first && (next.0 == first || self.timers.len() > 1),
                "{} <= {} <= {first}",
                self.now,
                next.0
            ),
            (next, first) => panic!("{next:?}, but {first:?}"),
        }
        if !self.gone.is_empty() {
            let gone = self.gone.swap_remove(self.rng.below(self.gone.len()));
            assert_eq!(self.wheel.get_mut(gone), None);
            assert_eq!(self.wheel.remove(gone), None);
            assert!(!self.wheel.reset(gone, Tick(self.now)));
        }
    }

    fn set(&mut self, deadline: u64, key: TimerKey, value: u64) {
        let effective = deadline.max(self.now);
        self.timers
            .insert((effective, self.sets_count), (key, value));
        self.sets_count += 1;
    }

    fn take_any(&mut self) -> Option<(TimerKey, u64)> {
        let nth = self.rng.below(self.timers.len().max(1));
        let at = *self.timers.keys().nth(nth)?;
        self.timers.remove(&at)
    }

    fn any_deadline(&self) -> u64 {
        match self.rng.below(10) {
            0 => self.now - bits(&self.rng, 63).min(self.now),
            1 => self.last_deadline(),
            _ => self.now.saturating_add(any_distance(&self.rng)),
        }
    }

    fn last_deadline(&self) -> u64 {
        self.timers
            .last_key_value()
            .map_or(0, |((deadline, _), _)| *deadline)
    }
}

struct PrintSeed(u64);

impl Drop for PrintSeed {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("with the seed {}", self.0);
        }
    }
}

fn any_distance(rng: &Rng) -> u64 {
    match rng.below(2) {
        0 => RIMS[rng.below(RIMS.len())],
        _ => bits(rng, 1 + rng.below(62) as u32),
    }
}

/// A random number below 2^`count`.
fn bits(rng: &Rng, count: u32) -> u64 {
    rng.below(1 << count) as u64
}

fn fired_until<T>(wheel: &mut Wheel<T>, now: u64) -> Vec<T> {
    let mut fired = Vec::new();
    wheel.advance(Tick(now), &mut |_, value| fired.push(value));
    fired
}
