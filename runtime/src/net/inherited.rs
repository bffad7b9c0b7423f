//! Sockets that were open before the program began: socket activation, and restarts that lose no connection.
//!
//! A service manager, or an earlier instance of the program, opens the sockets and passes them on. So a server can listen on a
//! port for which it has no rights, be started by its first client, and be replaced without a moment in which nobody listens:
//! the queue of connections belongs to the socket, and the socket lives on.
//!
//! The protocol is that of systemd, sd_listen_fds(3), which other managers speak too:
//!
//! | variable | |
//! |---|---|
//! | `LISTEN_PID` | for which process the sockets are. For another than this one, there are none |
//! | `LISTEN_FDS` | how many there are: the descriptors 3, 4, … |
//! | `LISTEN_FDNAMES` | a name for each, with colons between them; may be missing |
//!
//! The variables stay in the environment, since to remove them would race with whatever reads the environment. A child
//! process that inherits them finds another's number in `LISTEN_PID`; and the sockets are close-on-exec as soon as they are
//! taken.
//!
//! # Examples
//!
//! A server that takes the socket it is given, and else makes one:
//!
//! ```
//! # fn main() -> std::io::Result<()> {
//! use wakeful::net::{TcpListener, inherited};
//!
//! let listener = match inherited::sockets()?.into_iter().next() {
//!     Some(socket) => TcpListener::try_from(socket)?,
//!     None => TcpListener::bind("127.0.0.1:0")?,
//! };
//! # drop(listener);
//! # Ok(())
//! # }
//! ```
//!
//! And one that starts its successor, which inherits the listener as its standard input, and a shell that makes descriptor 3
//! of that:
//!
//! ```no_run
//! # fn restart(listener: wakeful::net::TcpListener) -> std::io::Result<()> {
//! use std::os::fd::OwnedFd;
//! use std::process::Command;
//!
//! Command::new("sh")
//!     .args(["-c", "LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" 3<&0 0</dev/null"])
//!     .arg(std::env::current_exe()?)
//!     .stdin(OwnedFd::from(listener)) // this process accepts no more
//!     .spawn()?;
//! # Ok(())
//! # }
//! ```

use std::env::{self, VarError};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::process;
use std::sync::{Mutex, PoisonError};

use super::TcpListener;
use super::error::cannot;
use crate::sys::inherited;

/// Takes the sockets that this process was given when it was started, in their order. There are none where nobody gave any,
/// and where they have been taken before.
///
/// They need not be sockets: a manager may pass any descriptor. What it is turns out when something is made of it:
/// [`TcpListener::try_from`] says if it is no TCP socket that listens.
///
/// # Errors
///
/// [`InvalidData`](io::ErrorKind::InvalidData) if the variables contradict the protocol or each other, and when a descriptor that
/// they announce is not open or was opened by this program. Nothing is taken then.
#[inline]
pub fn sockets() -> io::Result<Vec<Inherited>> {
    static TAKEN: Mutex<bool> = Mutex::new(false);
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    if *taken {
        return Ok(Vec::new());
    }
    let announced = Announced::parse(variable, process::id())?;
    let numbers = (FIRST..).take(announced.count);
    let fds = inherited::take(numbers).map_err(|(number, error)| {
        invalid(format!(
            "LISTEN_FDS announces {} descriptors, but {number} is not one that was inherited: {error}",
            announced.count
        ))
    })?;
    *taken = true;
    let names = announced.names.into_iter().map(Some);
    let names = names.chain(std::iter::repeat(None));
    Ok(fds
        .into_iter()
        .zip(names)
        .map(|((number, fd), name)| Inherited { number, name, fd })
        .collect())
}

/// A socket, or another descriptor, that this process was given when it was started; see [`sockets`].
///
/// Closed when dropped. `OwnedFd::from` makes a descriptor of it, for other types than those of this crate.
#[derive(Debug)]
pub struct Inherited {
    number: RawFd,
    name: Option<String>,
    fd: OwnedFd,
}

impl Inherited {
    /// What whoever passed it on calls it, if the sockets have names (`FileDescriptorName=` of systemd, which otherwise takes
    /// the name of the unit).
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

/// With number and name, as in `inherited socket 3 ("http")`.
impl fmt::Display for Inherited {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "inherited socket {}", self.number)?;
        match &self.name {
            Some(name) => write!(f, " ({name:?})"),
            None => Ok(()),
        }
    }
}

impl TryFrom<Inherited> for TcpListener {
    type Error = io::Error;

    /// Takes over a TCP socket that listens, and puts it into non-blocking mode, also for others who share it. It is closed if
    /// it is another one.
    #[inline]
    fn try_from(socket: Inherited) -> io::Result<Self> {
        let label = socket.to_string();
        Self::try_from(socket.fd).map_err(cannot("listen on", label))
    }
}

impl From<Inherited> for OwnedFd {
    fn from(socket: Inherited) -> Self {
        socket.fd
    }
}

impl AsFd for Inherited {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Inherited {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// What the environment says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Announced {
    count: usize,
    /// As many as there are descriptors, or none.
    names: Vec<String>,
}

impl Announced {
    fn parse(
        variable: impl Fn(&'static str) -> io::Result<Option<String>>,
        own_pid: u32,
    ) -> io::Result<Self> {
        let (Some(pid), Some(count)) = (variable(PID)?, variable(COUNT)?) else {
            return Ok(Self::default());
        };
        if number::<u32>(PID, &pid)? != own_pid {
            return Ok(Self::default());
        }
        let count = usize::from(number::<u16>(COUNT, &count)?);
        let names: Vec<_> = match variable(NAMES)? {
            Some(names) => names.split(':').map(str::to_owned).collect(),
            None => Vec::new(),
        };
        if !names.is_empty() && names.len() != count {
            let names_count = names.len();
            return Err(invalid(format!(
                "{NAMES} has {names_count} names for the {count} descriptors of {COUNT}"
            )));
        }
        Ok(Self { count, names })
    }
}

#[inline]
fn variable(name: &'static str) -> io::Result<Option<String>> {
    match env::var(name) {
        Ok(value) => Ok(Some(value)),
        Err(VarError::NotPresent) => Ok(None),
        Err(error) => Err(invalid(format!("the variable {name}: {error}"))),
    }
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> io::Result<T> {
    value.parse().map_err(|_| {
        invalid(format!(
            "the variable {name} is no number that it can be: {value:?}"
        ))
    })
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// The first that is passed on (`SD_LISTEN_FDS_START`).
const FIRST: RawFd = 3;

const PID: &str = "LISTEN_PID";
const COUNT: &str = "LISTEN_FDS";
const NAMES: &str = "LISTEN_FDNAMES";

#[cfg(all(test, not(loom)))]
mod tests {
    use std::io;

    use super::{Announced, COUNT, NAMES, PID};

    #[test]
    fn what_is_announced_to_this_process_is_found() {
        let both = parse(&[(PID, "7"), (COUNT, "2")]).unwrap();
        assert_eq!((both.count, both.names.len()), (2, 0));
        let named = parse(&[(PID, "7"), (COUNT, "2"), (NAMES, "http:")]).unwrap();
        assert_eq!(
            (named.count, named.names),
            (2, vec!["http".into(), String::new()])
        );
        assert_eq!(parse(&[(PID, "7"), (COUNT, "0")]).unwrap().count, 0);
    }

    #[test]
    fn what_is_announced_to_nobody_or_to_another_is_not() {
        for variables in [
            &[][..],
            &[(PID, "7")],
            &[(COUNT, "2")],
            &[(PID, "8"), (COUNT, "2"), (NAMES, "a")],
        ] {
            assert_eq!(parse(variables).unwrap(), Announced::default());
        }
    }

    #[test]
    fn a_contradiction_is_an_error_that_names_the_variable() {
        for (variables, part) in [
            (&[(PID, "seven"), (COUNT, "2")][..], "LISTEN_PID"),
            (&[(PID, "7"), (COUNT, "-1")], "LISTEN_FDS"),
            (&[(PID, "7"), (COUNT, "70000")], "LISTEN_FDS"),
            (&[(PID, "7"), (COUNT, "2"), (NAMES, "a:b:c")], "has 3 names"),
        ] {
            let error = parse(variables).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    fn parse(variables: &[(&str, &str)]) -> io::Result<Announced> {
        let variable = |wanted: &str| {
            let found = variables.iter().find(|(name, _)| *name == wanted);
            Ok(found.map(|(_, value)| (*value).to_owned()))
        };
        Announced::parse(variable, 7)
    }
}
