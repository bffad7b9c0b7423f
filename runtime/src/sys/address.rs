//! IP socket addresses in the kernel's form and in that of `std::net`.
//!
//! Ports and IPv4 addresses are in network byte order there. Flow label and scope pass as they are, as in std.
#![expect(unsafe_code, reason = "reads the union that the kernel wrote")]

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// A `sockaddr` with room for either family. All variants begin with the family.
#[repr(C)]
pub(super) union RawAddress {
    family: libc::sa_family_t,
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

impl RawAddress {
    /// Room for the kernel to write to, and how much: all of it.
    pub(super) fn room() -> (Self, libc::socklen_t) {
        let unspecified = SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, 0, 0, 0);
        let mut room = Self {
            v6: raw_v6(&unspecified),
        };
        room.family = libc::AF_UNSPEC as libc::sa_family_t;
        (room, size_of::<Self>() as libc::socklen_t)
    }

    /// `address` for the kernel to read, and how much of it.
    pub(super) fn new(address: &SocketAddr) -> (Self, libc::socklen_t) {
        let (raw, len) = match address {
            SocketAddr::V4(address) => {
                let v4 = raw_v4(address);
                (Self { v4 }, size_of_val(&v4))
            }
            SocketAddr::V6(address) => {
                let v6 = raw_v6(address);
                (Self { v6 }, size_of_val(&v6))
            }
        };
        (raw, len as libc::socklen_t)
    }

    /// The address that the kernel wrote into the [room](Self::room) it was given.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if it is of another family: the socket was made elsewhere and is none of TCP or UDP.
    pub(super) fn get(&self) -> io::Result<SocketAddr> {
        // SAFETY: all variants begin with the family, and every constructor sets it.
        let family = unsafe { self.family };
        match libc::c_int::from(family) {
            libc::AF_INET => {
                // SAFETY: the family says that this variant was written.
                let v4 = unsafe { &self.v4 };
                let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
                Ok(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
            }
            libc::AF_INET6 => {
                // SAFETY: the family says that this variant was written.
                let v6 = unsafe { &self.v6 };
                let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                let port = u16::from_be(v6.sin6_port);
                Ok(SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id).into())
            }
            family => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("not an IP socket: its address is of family {family}"),
            )),
        }
    }

    pub(super) fn as_ptr(&self) -> *const libc::sockaddr {
        (&raw const *self).cast()
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut libc::sockaddr {
        (&raw mut *self).cast()
    }
}

fn raw_v4(address: &SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from(*address.ip()).to_be(),
        },
        sin_zero: [0; 8],
    }
}

fn raw_v6(address: &SocketAddrV6) -> libc::sockaddr_in6 {
    libc::sockaddr_in6 {
        sin6_family: libc::AF_INET6 as libc::sa_family_t,
        sin6_port: address.port().to_be(),
        sin6_flowinfo: address.flowinfo(),
        sin6_addr: libc::in6_addr {
            s6_addr: address.ip().octets(),
        },
        sin6_scope_id: address.scope_id(),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};

    use super::RawAddress;

    #[test]
    fn addresses_come_back_as_they_went() {
        let link_local = Ipv6Addr::new(0xfe80, 1, 2, 3, 4, 5, 6, 0x708);
        let addresses: [SocketAddr; 4] = [
            "0.0.0.0:0".parse().unwrap(),
            "192.0.2.1:8080".parse().unwrap(),
            "[::1]:65535".parse().unwrap(),
            SocketAddrV6::new(link_local, 443, 0x1_2345, 7).into(),
        ];
        for address in addresses {
            let (raw, len) = RawAddress::new(&address);
            assert_eq!(raw.get().unwrap(), address);
            assert_eq!(len, if address.is_ipv4() { 16 } else { 28 });
        }
    }

    #[test]
    fn the_kernel_sees_network_byte_order() {
        let (raw, _) = RawAddress::new(&"1.2.3.4:258".parse().unwrap());
        // SAFETY: the constructor wrote this variant.
        let v4 = unsafe { raw.v4 };
        assert_eq!(v4.sin_port.to_ne_bytes(), [1, 2]);
        assert_eq!(v4.sin_addr.s_addr.to_ne_bytes(), [1, 2, 3, 4]);
    }

    #[test]
    fn another_family_is_refused() {
        let (room, len) = RawAddress::room();
        assert_eq!(len, 28);
        assert!(room.get().unwrap_err().to_string().contains("family 0"));
    }
}
