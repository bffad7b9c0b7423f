//! Socket addresses in the kernel's form and in those of `std`.
//!
//! Ports and IPv4 addresses are in network byte order there. Flow label and scope pass as they are, as in std.
//!
//! A Unix address is as long as it says: no path at all is an unnamed socket, one that begins with a zero byte an abstract
//! name, in which zero bytes mean nothing special.
#![expect(unsafe_code, reason = "reads the union that the kernel wrote")]

use std::ffi::OsStr;
use std::io;
use std::mem::offset_of;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net as unix;

/// An address as the layers above see it. Public because it bounds what is; nobody outside can name it.
pub trait Address: Sized {
    /// For the kernel to read.
    fn to_raw(&self) -> RawAddress;

    /// What the kernel wrote.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if it is of another family: the socket was made elsewhere and is not what it was taken for.
    fn from_raw(raw: &RawAddress) -> io::Result<Self>;
}

/// A `sockaddr` with room for every family, and how much of it counts.
#[derive(Copy, Clone)]
#[expect(missing_debug_implementations, reason = "bytes of a union")]
pub struct RawAddress {
    storage: Storage,
    len: libc::socklen_t,
}

/// All variants begin with the family.
#[derive(Copy, Clone)]
#[repr(C)]
union Storage {
    family: libc::sa_family_t,
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
    unix: libc::sockaddr_un,
}

impl RawAddress {
    /// How much the kernel may write.
    pub(super) const ROOM: libc::socklen_t = size_of::<Storage>() as libc::socklen_t;

    /// Room for the kernel to write to: all of it.
    pub(super) fn room() -> Self {
        Self {
            storage: Storage {
                unix: raw_unix(libc::AF_UNSPEC, &[0; PATH_MAX]), // the largest variant: every byte is set
            },
            len: Self::ROOM,
        }
    }

    pub(super) fn as_ptr(&self) -> *const libc::sockaddr {
        (&raw const self.storage).cast()
    }

    pub(super) fn len(&self) -> libc::socklen_t {
        self.len
    }

    /// Where the kernel is to write an address, how much room there is, and where it is to write how long the address
    /// was.
    pub(super) fn as_mut_ptrs(&mut self) -> (*mut libc::sockaddr, *mut libc::socklen_t) {
        self.len = Self::ROOM;
        ((&raw mut self.storage).cast(), &raw mut self.len)
    }

    /// Notes how long the address is that the kernel wrote, where the call told it elsewhere.
    pub(super) fn set_len(&mut self, len: libc::socklen_t) {
        self.len = len;
    }

    fn family(&self) -> libc::c_int {
        // SAFETY: all variants begin with the family, and every constructor sets it.
        libc::c_int::from(unsafe { self.storage.family })
    }
}

impl Address for SocketAddr {
    fn to_raw(&self) -> RawAddress {
        let (storage, len) = match self {
            Self::V4(address) => {
                let v4 = raw_v4(address);
                (Storage { v4 }, size_of_val(&v4))
            }
            Self::V6(address) => {
                let v6 = raw_v6(address);
                (Storage { v6 }, size_of_val(&v6))
            }
        };
        let len = len as libc::socklen_t;
        RawAddress { storage, len }
    }

    fn from_raw(raw: &RawAddress) -> io::Result<Self> {
        match raw.family() {
            libc::AF_INET => {
                // SAFETY: the family says that this variant was written.
                let v4 = unsafe { &raw.storage.v4 };
                let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
                Ok(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
            }
            libc::AF_INET6 => {
                // SAFETY: the family says that this variant was written.
                let v6 = unsafe { &raw.storage.v6 };
                let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                let port = u16::from_be(v6.sin6_port);
                Ok(SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id).into())
            }
            family => Err(of_another_family("IP", family)),
        }
    }
}

/// The kernel's room for a path is one byte longer than that of `std`. Such a path comes back as no name at all: it must
/// not cost the receiver of a datagram the datagram.
impl Address for unix::SocketAddr {
    #[inline]
    fn to_raw(&self) -> RawAddress {
        let mut path = [0; PATH_MAX];
        let len = match (self.as_pathname(), self.as_abstract_name()) {
            (Some(name), _) => {
                let name = name.as_os_str().as_bytes();
                path[..name.len()].copy_from_slice(name); // `std` made sure that a zero byte fits behind it
                name.len() + 1
            }
            (None, Some(name)) => {
                path[1..=name.len()].copy_from_slice(name); // and here, one before it
                name.len() + 1
            }
            (None, None) => 0,
        };
        RawAddress {
            storage: Storage {
                unix: raw_unix(libc::AF_UNIX, &path),
            },
            len: (PATH_OFFSET + len) as libc::socklen_t,
        }
    }

    #[inline]
    fn from_raw(raw: &RawAddress) -> io::Result<Self> {
        match raw.family() {
            libc::AF_UNIX => {}
            libc::AF_UNSPEC if raw.len == 0 => {} // a datagram's sender that has no name is not written at all
            family => return Err(of_another_family("Unix", family)),
        }
        let len = (raw.len as usize).saturating_sub(PATH_OFFSET).min(PATH_MAX);
        // SAFETY: `room` and `to_raw` write this variant in full, whatever part of it the kernel overwrites.
        let path = unsafe { raw.storage.unix.sun_path }.map(|byte| byte as u8);
        let address = match &path[..len] {
            [0, name @ ..] => Self::from_abstract_name(name),
            path => {
                let end = path.iter().position(|&byte| byte == 0);
                Self::from_pathname(OsStr::from_bytes(&path[..end.unwrap_or(path.len())]))
            }
        };
        address.or_else(|_| Self::from_pathname("")) // the empty path is the unnamed address
    }
}

#[cold]
fn of_another_family(wanted: &str, family: libc::c_int) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("not a {wanted} socket: its address is of family {family}"),
    )
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

fn raw_unix(family: libc::c_int, path: &[u8; PATH_MAX]) -> libc::sockaddr_un {
    libc::sockaddr_un {
        sun_family: family as libc::sa_family_t,
        sun_path: path.map(|byte| byte as libc::c_char),
    }
}

/// How long the path of a Unix address can be, in the kernel's own view.
const PATH_MAX: usize = size_of::<libc::sockaddr_un>() - PATH_OFFSET;

const PATH_OFFSET: usize = offset_of!(libc::sockaddr_un, sun_path);

#[cfg(all(test, not(loom)))]
mod tests {
    use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net as unix;

    use super::{Address, PATH_MAX, RawAddress, raw_unix};

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
            let raw = address.to_raw();
            assert_eq!(SocketAddr::from_raw(&raw).unwrap(), address);
            assert_eq!(raw.len(), if address.is_ipv4() { 16 } else { 28 });
        }
    }

    #[test]
    fn unix_addresses_come_back_as_they_went() {
        let longest = "p".repeat(PATH_MAX - 1);
        for path in ["/run/x", "relative", &longest, ""] {
            let address = unix::SocketAddr::from_pathname(path).unwrap();
            let back = unix::SocketAddr::from_raw(&address.to_raw()).unwrap();
            assert_eq!(back.as_pathname(), address.as_pathname());
            assert_eq!(back.is_unnamed(), path.is_empty());
        }
        for name in [&b"name"[..], b"", b"\0with\0zeros\0", &[b'n'; PATH_MAX - 1]] {
            let address = unix::SocketAddr::from_abstract_name(name).unwrap();
            let back = unix::SocketAddr::from_raw(&address.to_raw()).unwrap();
            assert_eq!(back.as_abstract_name(), Some(name));
        }
    }

    #[test]
    fn a_path_that_std_has_no_room_for_is_no_name() {
        let mut raw = RawAddress::room();
        raw.storage.unix = raw_unix(libc::AF_UNIX, &[b'p'; PATH_MAX]);
        raw.set_len(size_of::<libc::sockaddr_un>() as libc::socklen_t + 1); // with the zero byte that did not fit
        assert!(unix::SocketAddr::from_raw(&raw).unwrap().is_unnamed());
    }

    #[test]
    fn the_kernel_sees_network_byte_order() {
        let address: SocketAddr = "1.2.3.4:258".parse().unwrap();
        // SAFETY: the constructor wrote this variant.
        let v4 = unsafe { address.to_raw().storage.v4 };
        assert_eq!(v4.sin_port.to_ne_bytes(), [1, 2]);
        assert_eq!(v4.sin_addr.s_addr.to_ne_bytes(), [1, 2, 3, 4]);
    }

    #[test]
    fn another_family_is_refused() {
        let room = RawAddress::room();
        let error = SocketAddr::from_raw(&room).unwrap_err();
        assert!(error.to_string().contains("family 0"));
        let ip: SocketAddr = "1.2.3.4:5".parse().unwrap();
        let error = unix::SocketAddr::from_raw(&ip.to_raw()).unwrap_err();
        assert!(error.to_string().contains("not a Unix socket"));
    }
}
