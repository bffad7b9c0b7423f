//! A value alone on its cache lines.

use std::ops::Deref;

/// Keeps a word that one thread writes often away from words that others read.
///
/// 128 bytes, because x86-64 fetches lines in adjacent pairs and several arm64 cores have lines of that size.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct CachePadded<T>(pub(crate) T);

impl<T> Deref for CachePadded<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}
