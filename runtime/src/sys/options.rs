//! Socket options: getters and setters, with the units of Rust.
//!
//! All but [`take_error`](Socket::take_error) and those that say what a socket is only pass a value. The kernel doubles buffer
//! sizes, rounds [`defer_accept`](Socket::defer_accept) to retransmissions, and refuses what is out of its bounds: a getter
//! need not answer what a setter was told. Times are rounded up to the kernel's unit and are one unit at least, so that
//! none turns into the zero that means "the default".
//!
//! There is no linger but zero: a positive one makes `close` wait, on a non-blocking socket too.
#![expect(unsafe_code, reason = "calls getsockopt and setsockopt")]

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::time::Duration;

use libc::{IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, SOL_SOCKET, SOL_UDP, c_int};

use super::call::{Call, retry};
use super::socket::{Domain, Socket, Type};

impl Socket {
    /// Takes the error pending on the socket, such as that of a connection that failed in the background.
    pub(crate) fn take_error(&self) -> io::Result<Option<io::Error>> {
        let code = self.int(SOL_SOCKET, libc::SO_ERROR)?;
        Ok((code != 0).then(|| io::Error::from_raw_os_error(code)))
    }

    /// # Errors
    ///
    /// `InvalidInput` if it is neither an IP nor a Unix socket.
    pub(crate) fn domain(&self) -> io::Result<Domain> {
        match self.int(SOL_SOCKET, libc::SO_DOMAIN)? {
            libc::AF_INET => Ok(Domain::V4),
            libc::AF_INET6 => Ok(Domain::V6),
            libc::AF_UNIX => Ok(Domain::Unix),
            _ => Err(invalid("neither an IP nor a Unix socket")),
        }
    }

    /// # Errors
    ///
    /// `InvalidInput` if it is for neither streams nor datagrams.
    pub(crate) fn socket_type(&self) -> io::Result<Type> {
        match self.int(SOL_SOCKET, libc::SO_TYPE)? {
            libc::SOCK_STREAM => Ok(Type::Stream),
            libc::SOCK_DGRAM => Ok(Type::Datagram),
            _ => Err(invalid("a socket for neither streams nor datagrams")),
        }
    }

    /// Whether `listen` has been called on it.
    pub(crate) fn is_listening(&self) -> io::Result<bool> {
        self.flag(SOL_SOCKET, libc::SO_ACCEPTCONN)
    }

    /// Whether small writes are sent at once.
    pub(crate) fn nodelay(&self) -> io::Result<bool> {
        self.flag(IPPROTO_TCP, libc::TCP_NODELAY)
    }

    pub(crate) fn set_nodelay(&self, on: bool) -> io::Result<()> {
        self.set(IPPROTO_TCP, libc::TCP_NODELAY, [on.into()])
    }

    /// Whether acknowledgements are sent at once. The kernel switches back on its own.
    pub(crate) fn quickack(&self) -> io::Result<bool> {
        self.flag(IPPROTO_TCP, libc::TCP_QUICKACK)
    }

    pub(crate) fn set_quickack(&self, on: bool) -> io::Result<()> {
        self.set(IPPROTO_TCP, libc::TCP_QUICKACK, [on.into()])
    }

    /// How many hops a packet may take: time to live in IPv4, unicast hops in IPv6.
    pub(crate) fn ttl(&self) -> io::Result<u32> {
        let (level, name) = self.ttl_option()?;
        Ok(self.int(level, name)? as u32)
    }

    pub(crate) fn set_ttl(&self, hops: u32) -> io::Result<()> {
        let (level, name) = self.ttl_option()?;
        self.set(level, name, [saturated(hops)])
    }

    fn ttl_option(&self) -> io::Result<(c_int, c_int)> {
        self.by_family(libc::IP_TTL, libc::IPV6_UNICAST_HOPS)
    }

    /// How packets are marked for routers: type of service in IPv4, traffic class in IPv6.
    pub(crate) fn tos(&self) -> io::Result<u32> {
        let (level, name) = self.tos_option()?;
        Ok(self.int(level, name)? as u32)
    }

    pub(crate) fn set_tos(&self, tos: u32) -> io::Result<()> {
        let (level, name) = self.tos_option()?;
        self.set(level, name, [saturated(tos)])
    }

    fn tos_option(&self) -> io::Result<(c_int, c_int)> {
        self.by_family(libc::IP_TOS, libc::IPV6_TCLASS)
    }

    /// Whether datagrams may be sent to everybody on a network.
    pub(crate) fn broadcast(&self) -> io::Result<bool> {
        self.flag(SOL_SOCKET, libc::SO_BROADCAST)
    }

    pub(crate) fn set_broadcast(&self, on: bool) -> io::Result<()> {
        self.set(SOL_SOCKET, libc::SO_BROADCAST, [on.into()])
    }

    /// Whether what is sent to a group comes back to this host's members.
    pub(crate) fn multicast_loop(&self) -> io::Result<bool> {
        let (level, name) = self.multicast_loop_option()?;
        self.flag(level, name)
    }

    pub(crate) fn set_multicast_loop(&self, on: bool) -> io::Result<()> {
        let (level, name) = self.multicast_loop_option()?;
        self.set(level, name, [on.into()])
    }

    fn multicast_loop_option(&self) -> io::Result<(c_int, c_int)> {
        self.by_family(libc::IP_MULTICAST_LOOP, libc::IPV6_MULTICAST_LOOP)
    }

    /// How many hops a packet to a group may take.
    pub(crate) fn multicast_ttl(&self) -> io::Result<u32> {
        let (level, name) = self.multicast_ttl_option()?;
        Ok(self.int(level, name)? as u32)
    }

    pub(crate) fn set_multicast_ttl(&self, hops: u32) -> io::Result<()> {
        let (level, name) = self.multicast_ttl_option()?;
        self.set(level, name, [saturated(hops)])
    }

    fn multicast_ttl_option(&self) -> io::Result<(c_int, c_int)> {
        self.by_family(libc::IP_MULTICAST_TTL, libc::IPV6_MULTICAST_HOPS)
    }

    /// Chooses the interface, by one of its addresses, through which packets to groups leave.
    pub(crate) fn set_multicast_interface_v4(&self, interface: Ipv4Addr) -> io::Result<()> {
        self.set(IPPROTO_IP, libc::IP_MULTICAST_IF, [raw_v4(interface)])
    }

    /// Chooses the interface, by its number, through which packets to groups leave.
    pub(crate) fn set_multicast_interface_v6(&self, interface: u32) -> io::Result<()> {
        let interface = [saturated(interface)];
        self.set(IPPROTO_IPV6, libc::IPV6_MULTICAST_IF, interface)
    }

    pub(crate) fn join_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        let request = [raw_v4(group), raw_v4(interface)]; // `struct ip_mreq`
        self.set(IPPROTO_IP, libc::IP_ADD_MEMBERSHIP, request)
    }

    pub(crate) fn leave_multicast_v4(
        &self,
        group: Ipv4Addr,
        interface: Ipv4Addr,
    ) -> io::Result<()> {
        let request = [raw_v4(group), raw_v4(interface)];
        self.set(IPPROTO_IP, libc::IP_DROP_MEMBERSHIP, request)
    }

    pub(crate) fn join_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
        let request = membership_v6(group, interface);
        self.set(IPPROTO_IPV6, libc::IPV6_ADD_MEMBERSHIP, request)
    }

    pub(crate) fn leave_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
        let request = membership_v6(group, interface);
        self.set(IPPROTO_IPV6, libc::IPV6_DROP_MEMBERSHIP, request)
    }

    /// Whether datagrams of one sender may arrive glued together.
    pub(crate) fn gro(&self) -> io::Result<bool> {
        self.flag(SOL_UDP, libc::UDP_GRO)
    }

    pub(crate) fn set_gro(&self, on: bool) -> io::Result<()> {
        self.set(SOL_UDP, libc::UDP_GRO, [on.into()])
    }

    /// Whether the kernel knows how to cut one buffer into many datagrams. One that does not would send it as one.
    pub(crate) fn knows_segments(&self) -> io::Result<bool> {
        match self.int(SOL_UDP, libc::UDP_SEGMENT) {
            Ok(_) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Process, user and group of who connected, or listened, at the other end.
    #[inline]
    pub(crate) fn peer_credentials(&self) -> io::Result<(c_int, u32, u32)> {
        let [pid, uid, gid] = self.get(SOL_SOCKET, libc::SO_PEERCRED)?; // `struct ucred`
        Ok((pid, uid as u32, gid as u32))
    }

    /// The level and the name of an option that the two families of IP have under different names.
    fn by_family(&self, v4: c_int, v6: c_int) -> io::Result<(c_int, c_int)> {
        match self.domain()? {
            Domain::V4 => Ok((IPPROTO_IP, v4)),
            Domain::V6 => Ok((IPPROTO_IPV6, v6)),
            Domain::Unix => Err(invalid("not an IP socket")),
        }
    }

    /// Whether an IPv6 socket leaves IPv4 alone.
    pub(crate) fn only_v6(&self) -> io::Result<bool> {
        self.flag(IPPROTO_IPV6, libc::IPV6_V6ONLY)
    }

    pub(crate) fn set_only_v6(&self, on: bool) -> io::Result<()> {
        self.set(IPPROTO_IPV6, libc::IPV6_V6ONLY, [on.into()])
    }

    /// Bytes of the send buffer, the kernel's own overhead included: twice what was set.
    pub(crate) fn send_buffer_size(&self) -> io::Result<usize> {
        Ok(self.int(SOL_SOCKET, libc::SO_SNDBUF)? as usize)
    }

    pub(crate) fn set_send_buffer_size(&self, bytes: usize) -> io::Result<()> {
        self.set(SOL_SOCKET, libc::SO_SNDBUF, [saturated(bytes)])
    }

    /// Bytes of the receive buffer, the kernel's own overhead included: twice what was set.
    pub(crate) fn recv_buffer_size(&self) -> io::Result<usize> {
        Ok(self.int(SOL_SOCKET, libc::SO_RCVBUF)? as usize)
    }

    pub(crate) fn set_recv_buffer_size(&self, bytes: usize) -> io::Result<()> {
        self.set(SOL_SOCKET, libc::SO_RCVBUF, [saturated(bytes)])
    }

    /// Whether a listener may take a port whose last connections have not timed out yet.
    pub(crate) fn reuse_address(&self) -> io::Result<bool> {
        self.flag(SOL_SOCKET, libc::SO_REUSEADDR)
    }

    pub(crate) fn set_reuse_address(&self, on: bool) -> io::Result<()> {
        self.set(SOL_SOCKET, libc::SO_REUSEADDR, [on.into()])
    }

    /// Whether several sockets may listen on one port, each with a queue of its own.
    pub(crate) fn reuse_port(&self) -> io::Result<bool> {
        self.flag(SOL_SOCKET, libc::SO_REUSEPORT)
    }

    pub(crate) fn set_reuse_port(&self, on: bool) -> io::Result<()> {
        self.set(SOL_SOCKET, libc::SO_REUSEPORT, [on.into()])
    }

    /// Whether a silent connection is probed.
    pub(crate) fn keepalive(&self) -> io::Result<bool> {
        self.flag(SOL_SOCKET, libc::SO_KEEPALIVE)
    }

    pub(crate) fn set_keepalive(&self, on: bool) -> io::Result<()> {
        self.set(SOL_SOCKET, libc::SO_KEEPALIVE, [on.into()])
    }

    /// After how long a silence the first probe goes out, how long after it the next, and how many may stay unanswered.
    pub(crate) fn keepalive_timing(&self) -> io::Result<(Duration, Duration, u32)> {
        let idle = self.int(IPPROTO_TCP, libc::TCP_KEEPIDLE)?;
        let interval = self.int(IPPROTO_TCP, libc::TCP_KEEPINTVL)?;
        let count = self.int(IPPROTO_TCP, libc::TCP_KEEPCNT)?;
        Ok((seconds(idle), seconds(interval), count as u32))
    }

    /// Sets what is given and leaves the rest as it is. The kernel refuses (`EINVAL`) more than 32767 seconds and more
    /// than 127 probes.
    pub(crate) fn set_keepalive_timing(
        &self,
        idle: Option<Duration>,
        interval: Option<Duration>,
        count: Option<u32>,
    ) -> io::Result<()> {
        if let Some(idle) = idle {
            self.set(IPPROTO_TCP, libc::TCP_KEEPIDLE, [in_units(idle, SECOND)])?;
        }
        if let Some(interval) = interval {
            self.set(
                IPPROTO_TCP,
                libc::TCP_KEEPINTVL,
                [in_units(interval, SECOND)],
            )?;
        }
        if let Some(count) = count {
            self.set(IPPROTO_TCP, libc::TCP_KEEPCNT, [saturated(count)])?;
        }
        Ok(())
    }

    /// How long sent data may stay unacknowledged before the connection is given up; `None` is the kernel's default.
    pub(crate) fn user_timeout(&self) -> io::Result<Option<Duration>> {
        let millis = self.int(IPPROTO_TCP, libc::TCP_USER_TIMEOUT)?;
        Ok((millis != 0).then(|| Duration::from_millis(millis as u64)))
    }

    pub(crate) fn set_user_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        let millis = timeout.map_or(0, |timeout| in_units(timeout, MILLISECOND));
        self.set(IPPROTO_TCP, libc::TCP_USER_TIMEOUT, [millis])
    }

    /// For how long a listener keeps a connection back until its first data; `None` is not at all.
    pub(crate) fn defer_accept(&self) -> io::Result<Option<Duration>> {
        let secs = self.int(IPPROTO_TCP, libc::TCP_DEFER_ACCEPT)?;
        Ok((secs != 0).then(|| seconds(secs)))
    }

    pub(crate) fn set_defer_accept(&self, timeout: Option<Duration>) -> io::Result<()> {
        let secs = timeout.map_or(0, |timeout| in_units(timeout, SECOND));
        self.set(IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, [secs])
    }

    /// Whether closing the socket throws away what is unsent and resets the connection.
    #[inline]
    pub(crate) fn zero_linger(&self) -> io::Result<bool> {
        let [on, seconds] = self.get::<2>(SOL_SOCKET, libc::SO_LINGER)?;
        Ok(on != 0 && seconds == 0)
    }

    pub(crate) fn set_zero_linger(&self, on: bool) -> io::Result<()> {
        self.set(SOL_SOCKET, libc::SO_LINGER, [on.into(), 0])
    }

    fn flag(&self, level: c_int, name: c_int) -> io::Result<bool> {
        Ok(self.int(level, name)? != 0)
    }

    fn int(&self, level: c_int, name: c_int) -> io::Result<c_int> {
        let [value] = self.get(level, name)?;
        Ok(value)
    }

    /// An option of `N` integers: every option here is one, or a structure of nothing else.
    fn get<const N: usize>(&self, level: c_int, name: c_int) -> io::Result<[c_int; N]> {
        let mut value = [0; N];
        retry(Call::GetOption, || {
            let mut len = size_of_val(&value) as libc::socklen_t;
            let place = value.as_mut_ptr().cast();
            // SAFETY: `value` is writable for `len` bytes, and both live through the call.
            unsafe { libc::getsockopt(self.as_raw_fd(), level, name, place, &raw mut len) }
        })?;
        Ok(value)
    }

    fn set<const N: usize>(&self, level: c_int, name: c_int, value: [c_int; N]) -> io::Result<()> {
        let len = size_of_val(&value) as libc::socklen_t;
        retry(Call::SetOption, || {
            // SAFETY: `value` is readable for `len` bytes.
            unsafe { libc::setsockopt(self.as_raw_fd(), level, name, value.as_ptr().cast(), len) }
        })?;
        Ok(())
    }
}

/// `duration` in `unit`s, rounded up, one at least.
fn in_units(duration: Duration, unit: Duration) -> c_int {
    saturated(duration.as_nanos().div_ceil(unit.as_nanos()).max(1))
}

fn saturated(value: impl TryInto<c_int>) -> c_int {
    value.try_into().unwrap_or(c_int::MAX)
}

fn seconds(value: c_int) -> Duration {
    Duration::from_secs(value as u64)
}

/// An address of four bytes, which are in network byte order, in the place of an integer.
fn raw_v4(address: Ipv4Addr) -> c_int {
    c_int::from_ne_bytes(address.octets())
}

/// `struct ipv6_mreq`.
fn membership_v6(group: &Ipv6Addr, interface: u32) -> [c_int; 5] {
    let mut request = [saturated(interface); 5];
    for (place, bytes) in request.iter_mut().zip(group.octets().as_chunks().0) {
        *place = c_int::from_ne_bytes(*bytes);
    }
    request
}

#[cold]
fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

#[cfg(all(test, not(loom)))]
mod tests {
    use std::io;
    use std::time::Duration;

    use super::{MILLISECOND, SECOND, in_units, membership_v6};
    use crate::sys::socket::{Domain, Socket, Type};

    #[test]
    fn flags_are_set_and_got() {
        type Get = fn(&Socket) -> io::Result<bool>;
        type Set = fn(&Socket, bool) -> io::Result<()>;
        let flags: [(Get, Set); 7] = [
            (Socket::nodelay, Socket::set_nodelay),
            (Socket::quickack, Socket::set_quickack),
            (Socket::reuse_address, Socket::set_reuse_address),
            (Socket::reuse_port, Socket::set_reuse_port),
            (Socket::keepalive, Socket::set_keepalive),
            (Socket::only_v6, Socket::set_only_v6),
            (Socket::zero_linger, Socket::set_zero_linger),
        ];
        let socket = Socket::stream(Domain::V6).unwrap();
        for (index, (get, set)) in flags.into_iter().enumerate() {
            for on in [true, false, true] {
                set(&socket, on).unwrap();
                assert_eq!(get(&socket).unwrap(), on, "flag {index}");
            }
        }
    }

    #[test]
    fn hops_are_set_and_got_in_both_families() {
        for domain in [Domain::V4, Domain::V6] {
            let socket = Socket::stream(domain).unwrap();
            assert_eq!(socket.domain().unwrap(), domain);
            socket.set_ttl(42).unwrap();
            assert_eq!(socket.ttl().unwrap(), 42);
            assert!(socket.set_ttl(u32::MAX).is_err());
        }
    }

    #[test]
    fn a_socket_says_what_it_is() {
        for domain in [Domain::V4, Domain::V6, Domain::Unix] {
            for ty in [Type::Stream, Type::Datagram] {
                let socket = Socket::new(domain, ty).unwrap();
                assert_eq!(socket.domain().unwrap(), domain);
                assert_eq!(socket.socket_type().unwrap(), ty);
            }
        }
        let unix = Socket::stream(Domain::Unix).unwrap();
        let error = unix.ttl().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn options_of_datagrams_are_set_and_got_in_both_families() {
        for domain in [Domain::V4, Domain::V6] {
            let socket = Socket::new(domain, Type::Datagram).unwrap();
            socket.set_tos(0x20).unwrap();
            assert_eq!(socket.tos().unwrap(), 0x20);
            socket.set_multicast_ttl(7).unwrap();
            assert_eq!(socket.multicast_ttl().unwrap(), 7);
            for on in [false, true] {
                socket.set_broadcast(on).unwrap();
                assert_eq!(socket.broadcast().unwrap(), on);
                socket.set_multicast_loop(on).unwrap();
                assert_eq!(socket.multicast_loop().unwrap(), on);
            }
        }
    }

    #[test]
    fn a_membership_is_the_group_and_then_the_interface() {
        let request = membership_v6(&"ff02::1:2".parse().unwrap(), 9);
        let expected = [[0xff, 2, 0, 0], [0; 4], [0; 4], [0, 1, 0, 2]].map(i32::from_ne_bytes);
        assert_eq!((&request[..4], request[4]), (&expected[..], 9));
    }

    #[test]
    fn buffer_sizes_are_doubled_by_the_kernel() {
        let socket = Socket::stream(Domain::V4).unwrap();
        socket.set_send_buffer_size(16 << 10).unwrap();
        assert_eq!(socket.send_buffer_size().unwrap(), 32 << 10);
        socket.set_recv_buffer_size(8 << 10).unwrap();
        assert_eq!(socket.recv_buffer_size().unwrap(), 16 << 10);
        socket.set_recv_buffer_size(usize::MAX).unwrap(); // capped by the kernel
    }

    #[test]
    fn keepalive_timing_changes_only_what_is_given() {
        let socket = Socket::stream(Domain::V4).unwrap();
        let (idle, interval) = (Duration::from_millis(7_001), Duration::ZERO);
        socket
            .set_keepalive_timing(Some(idle), Some(interval), Some(5))
            .unwrap();
        assert_eq!(socket.keepalive_timing().unwrap(), (8 * SECOND, SECOND, 5));
        socket
            .set_keepalive_timing(None, Some(9 * SECOND), None)
            .unwrap();
        assert_eq!(
            socket.keepalive_timing().unwrap(),
            (8 * SECOND, 9 * SECOND, 5)
        );
        assert!(
            socket
                .set_keepalive_timing(Some(Duration::MAX), None, None)
                .is_err()
        );
    }

    #[test]
    fn timeouts_are_set_got_and_taken_back() {
        let socket = Socket::stream(Domain::V4).unwrap();
        assert_eq!(socket.user_timeout().unwrap(), None);
        socket
            .set_user_timeout(Some(Duration::from_micros(1_500)))
            .unwrap();
        assert_eq!(socket.user_timeout().unwrap(), Some(2 * MILLISECOND));
        socket.set_user_timeout(None).unwrap();
        assert_eq!(socket.user_timeout().unwrap(), None);

        socket.set_defer_accept(Some(5 * SECOND)).unwrap();
        assert!(socket.defer_accept().unwrap() >= Some(5 * SECOND));
        socket.set_defer_accept(None).unwrap();
        assert_eq!(socket.defer_accept().unwrap(), None);
    }

    #[test]
    fn a_time_rounds_up_and_is_never_zero() {
        assert_eq!(in_units(Duration::ZERO, SECOND), 1);
        assert_eq!(in_units(Duration::from_nanos(1_000_000_001), SECOND), 2);
        assert_eq!(in_units(Duration::MAX, SECOND), i32::MAX);
    }
}
