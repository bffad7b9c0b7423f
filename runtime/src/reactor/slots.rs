//! The sources of one reactor under the tokens that epoll reports.
//!
//! A slot is used again as soon as its source has left. The use after that has another generation, so an event that the
//! kernel had reported before finds nothing.

use std::io;
use std::sync::Arc;

use super::shut_down;
use super::source::Source;
use super::token::Token;

/// Tokens given out, and what they stand for. Behind a lock.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    slots: Vec<Slot>,
    vacant: Vec<u32>,
    closed: bool,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    source: Option<Arc<Source>>,
}

impl Slots {
    /// Gives `source` a token.
    pub(crate) fn insert(&mut self, source: Arc<Source>) -> io::Result<Token> {
        if self.closed {
            return Err(shut_down());
        }
        let index = match self.vacant.pop() {
            Some(index) => index,
            None => {
                let index =
                    u32::try_from(self.slots.len()).map_err(|_| io::ErrorKind::OutOfMemory)?;
                self.slots.push(Slot {
                    generation: 1,
                    source: None,
                });
                index
            }
        };
        let slot = &mut self.slots[index as usize];
        slot.source = Some(source);
        Ok(Token {
            index,
            generation: slot.generation,
        })
    }

    /// The source under `token`, unless it has left.
    #[inline]
    pub(crate) fn get(&self, token: Token) -> Option<&Source> {
        let slot = self.slots.get(token.index as usize)?;
        if slot.generation != token.generation {
            return None;
        }
        slot.source.as_deref()
    }

    /// The sources in at most `step` slots, of which `from` is the first, and the slot that follows; `None` if there is none.
    #[inline]
    pub(crate) fn some_from(&self, from: usize, step: usize) -> (Vec<Arc<Source>>, Option<usize>) {
        let end = self.slots.len().min(from + step);
        let slots = self.slots.get(from..end).unwrap_or_default();
        let sources = slots.iter().filter_map(|slot| slot.source.clone());
        (sources.collect(), (end < self.slots.len()).then_some(end))
    }

    /// Ends the use of the slot. `None` if that has been done.
    pub(crate) fn remove(&mut self, token: Token) -> Option<Arc<Source>> {
        let slot = &mut self.slots[token.index as usize];
        if slot.generation != token.generation {
            return None;
        }
        let source = slot.source.take()?;
        slot.generation = slot.generation.checked_add(1).unwrap_or(1);
        self.vacant.push(token.index);
        Some(source)
    }

    /// Refuses sources from now on and takes out those that are there. Their tokens stay valid, for [`remove`](Self::remove)
    /// to find nothing.
    pub(crate) fn close(&mut self) -> Vec<Arc<Source>> {
        self.closed = true;
        self.slots
            .iter_mut()
            .filter_map(|slot| slot.source.take())
            .collect()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn source() -> Arc<Source> {
        Arc::default()
    }

    #[test]
    fn a_slot_is_used_again_and_its_former_token_finds_nothing() {
        let mut slots = Slots::default();
        let first = slots.insert(source()).unwrap();
        assert!(slots.get(first).is_some());
        assert!(slots.remove(first).is_some());
        assert!(slots.remove(first).is_none(), "a slot is given back once");
        let second = slots.insert(source()).unwrap();
        assert_eq!(second.index, first.index);
        assert!(
            slots.get(first).is_none(),
            "an event that was reported before"
        );
        assert!(slots.get(second).is_some());
    }

    #[test]
    fn after_the_close_nothing_is_found_and_nothing_taken_in() {
        let mut slots = Slots::default();
        let token = slots.insert(source()).unwrap();
        assert_eq!(slots.close().len(), 1);
        assert!(slots.get(token).is_none());
        assert!(slots.remove(token).is_none());
        assert!(slots.insert(source()).is_err());
    }
}
