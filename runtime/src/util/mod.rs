//! Plain data structures that know nothing of the runtime.
//!
//! Nothing here makes a system call, blocks (except for a lock held a few instructions), or names another module of the
//! crate.

pub(crate) mod cache_padded;
pub(crate) mod rng;
pub(crate) mod scratch;
pub(crate) mod slab;
pub(crate) mod sync;
pub(crate) mod thread_number;
pub(crate) mod wake;
