//! How many connections there may be.

use std::net::{IpAddr, SocketAddr};

use crate::sys::limits::descriptors_max;

/// Limits on connections, as far as they were set.
#[derive(Copy, Clone, Debug, Default)]
pub(super) struct Limits {
    max: Option<usize>,
    max_per_peer: Option<usize>,
}

impl Limits {
    pub(super) fn set_max(&mut self, count: usize) {
        self.max = Some(count.max(1));
    }

    pub(super) fn set_max_per_peer(&mut self, count: usize) {
        self.max_per_peer = Some(count.max(1));
    }

    /// How many there may be in all.
    #[inline]
    pub(super) fn max(&self) -> usize {
        self.max
            .unwrap_or_else(|| default_max(descriptors_max()))
            .min(u32::MAX as usize) // so that a number for each fits
    }

    /// How many of one peer, if there is such a limit.
    pub(super) fn max_per_peer(&self) -> Option<usize> {
        self.max_per_peer
    }
}

/// What counts as one peer. Public because a trait of what can be served names it; nobody outside can.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PeerKey {
    V4(u32),
    /// The network part. Who has one address of a network has all of them.
    V6(u64),
    User(u32),
}

impl PeerKey {
    #[inline]
    pub(super) fn of_address(address: &SocketAddr) -> Self {
        match address.ip().to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip.to_bits()),
            IpAddr::V6(ip) => Self::V6((ip.to_bits() >> 64) as u64),
        }
    }
}

fn default_max(descriptors: usize) -> usize {
    descriptors.saturating_sub(RESERVE).max(descriptors / 2)
}

/// Descriptors that are left for files, other sockets, and those of the runtime.
const RESERVE: usize = 64;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{Limits, PeerKey, default_max};

    #[test]
    fn by_default_some_descriptors_are_left_for_other_purposes() {
        let cases = [(20_000, 19_936), (1024, 960), (128, 64), (64, 32), (10, 5)];
        for (descriptors, expected) in cases {
            assert_eq!(default_max(descriptors), expected);
        }
        assert_eq!(Limits::default().max_per_peer(), None);
    }

    #[test]
    fn a_limit_of_zero_would_serve_nobody() {
        let mut limits = Limits::default();
        limits.set_max(0);
        limits.set_max_per_peer(0);
        assert_eq!((limits.max(), limits.max_per_peer()), (1, Some(1)));
    }

    #[test]
    fn a_peer_is_an_address_or_a_network() {
        let key = |text: &str| PeerKey::of_address(&text.parse().unwrap());
        assert_eq!(key("192.0.2.1:1"), key("192.0.2.1:2"));
        assert_eq!(key("192.0.2.1:1"), key("[::ffff:192.0.2.1]:2"));
        assert_ne!(key("192.0.2.1:1"), key("192.0.2.2:1"));
        assert_eq!(key("[2001:db8::1]:1"), key("[2001:db8::2:3]:1"));
        assert_ne!(key("[2001:db8::1]:1"), key("[2001:db8:0:1::1]:1"));
    }
}
