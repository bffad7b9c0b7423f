//! A keyed store for one thread (or behind one lock): insert gives a key, remove takes the value back, both in O(1).

/// Values under small reusable keys.
///
/// A key is valid until its value is removed; then the next insertion may give it out again. Whoever must tell an old
/// holder of a key from a new one keeps a generation beside it.
///
/// The vacant keys are a list of their own, so that a value that has a niche, as a pointer has, takes no more than itself.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    entries: Vec<Option<T>>,
    vacant: Vec<u32>,
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self {
            entries: Vec::new(),
            vacant: Vec::new(),
        }
    }

    /// How many values are stored.
    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.vacant.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Stores what `make` builds when told its key.
    #[inline]
    pub(crate) fn insert_with(&mut self, make: impl FnOnce(usize) -> T) -> usize {
        let Some(&key) = self.vacant.last() else {
            let key = self.entries.len();
            assert!(key < u32::MAX as usize, "four thousand million values");
            self.entries.push(Some(make(key)));
            return key;
        };
        let key = key as usize;
        self.entries[key] = Some(make(key));
        self.vacant.pop(); // not before `make` has returned
        key
    }

    pub(crate) fn get_mut(&mut self, key: usize) -> Option<&mut T> {
        self.entries.get_mut(key)?.as_mut()
    }

    /// Takes the value out, if there is one under `key`.
    #[inline]
    pub(crate) fn remove(&mut self, key: usize) -> Option<T> {
        let value = self.entries.get_mut(key)?.take()?;
        self.vacant.push(key as u32);
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
        entries.filter_map(|(key, entry)| Some((key, entry.as_ref()?)))
    }

    /// Every stored value, to be changed.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.entries.iter_mut().flatten()
    }

    /// Takes every value out and forgets the keys.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = T> + use<T> {
        std::mem::take(self).entries.into_iter().flatten()
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
