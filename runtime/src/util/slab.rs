//! A keyed store for one thread (or behind one lock): insert gives a key, remove takes the value back, both in O(1).

/// Values under small reusable keys.
///
/// A key is valid until its value is removed; then the next insertion may give it out again. Whoever must tell an old
/// holder of a key from a new one keeps a generation beside it.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    entries: Vec<Entry<T>>,
    /// Head of the list of vacant entries; `entries.len()` when there is none.
    vacant: usize,
    len: usize,
}

#[derive(Debug)]
enum Entry<T> {
    Occupied(T),
    /// The next vacant entry.
    Vacant(usize),
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self {
            entries: Vec::new(),
            vacant: 0,
            len: 0,
        }
    }

    /// How many values are stored.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Stores what `make` builds when told its key.
    pub(crate) fn insert_with(&mut self, make: impl FnOnce(usize) -> T) -> usize {
        let key = self.vacant;
        let value = make(key);
        match self.entries.get_mut(key) {
            Some(entry) => {
                let Entry::Vacant(next) = *entry else {
                    unreachable!("the vacant list points at a stored value")
                };
                self.vacant = next;
                *entry = Entry::Occupied(value);
            }
            None => {
                self.entries.push(Entry::Occupied(value));
                self.vacant = key + 1;
            }
        }
        self.len += 1;
        key
    }

    pub(crate) fn get_mut(&mut self, key: usize) -> Option<&mut T> {
        match self.entries.get_mut(key) {
            Some(Entry::Occupied(value)) => Some(value),
            _ => None,
        }
    }

    /// Takes the value out, if there is one under `key`.
    pub(crate) fn remove(&mut self, key: usize) -> Option<T> {
        let entry = self.entries.get_mut(key)?;
        if matches!(entry, Entry::Vacant(_)) {
            return None;
        }
        let Entry::Occupied(value) = std::mem::replace(entry, Entry::Vacant(self.vacant)) else {
            unreachable!()
        };
        self.vacant = key;
        self.len -= 1;
        Some(value)
    }

    /// The stored value with the lowest key that is not below `from`.
    pub(crate) fn first_from(&self, from: usize) -> Option<(usize, &T)> {
        self.iter_from(from).next()
    }

    /// Every stored value with its key.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        self.iter_from(0)
    }

    /// Every stored value with a key that is not below `from`, with its key.
    pub(crate) fn iter_from(&self, from: usize) -> impl Iterator<Item = (usize, &T)> {
        let entries = self.entries.iter().enumerate().skip(from);
        entries.filter_map(|(key, entry)| match entry {
            Entry::Occupied(value) => Some((key, value)),
            Entry::Vacant(_) => None,
        })
    }

    /// Every stored value, to be changed.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.entries.iter_mut().filter_map(|entry| match entry {
            Entry::Occupied(value) => Some(value),
            Entry::Vacant(_) => None,
        })
    }

    /// Takes every value out and forgets the keys.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = T> + use<T> {
        let all = std::mem::take(self);
        all.entries.into_iter().filter_map(|entry| match entry {
            Entry::Occupied(value) => Some(value),
            Entry::Vacant(_) => None,
        })
    }
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::Slab;

    #[test]
    fn a_removed_key_is_given_out_again_and_the_others_stay() {
        let mut slab = Slab::new();
        let keys: Vec<usize> = ["a", "b", "c"]
            .map(|value| slab.insert_with(|_| value))
            .into();
        assert_eq!(slab.remove(keys[1]), Some("b"));
        assert_eq!(slab.remove(keys[1]), None);
        assert_eq!(slab.insert_with(|_| "d"), keys[1]);
        assert_eq!(slab.insert_with(|_| "e"), 3);
        assert_eq!(
            slab.iter().map(|(_, value)| *value).collect::<Vec<_>>(),
            ["a", "d", "c", "e"]
        );
        assert_eq!(slab.len(), 4);
        assert_eq!(slab.remove(2), Some("c"));
        assert_eq!(slab.first_from(1), Some((1, &"d")));
        assert_eq!(slab.first_from(2), Some((3, &"e")));
        assert_eq!(slab.first_from(4), None);
        assert_eq!(slab.insert_with(|_| "c"), 2);
        for key in 0..4 {
            slab.remove(key);
        }
        assert!(slab.is_empty());
    }
}
