//! From what a caller writes to the addresses it means.
//!
//! ```text
//!   ToSocketAddrs ── target() ──▶ Target::Addresses ──────────────────────────┐
//!    (no waiting: text is parsed)  Target::Name ── look_up, on the pool ──▶ addresses
//! ```
//!
//! The first step is plain code, and says by itself whether there is a name to look up; so `bind`, which does not wait,
//! takes the same arguments as `connect`, and refuses a name with a sentence instead of blocking a worker for the name
//! server. The second is the resolver of the system, getaddrinfo(3): it knows `/etc/hosts`, search domains and whatever
//! else the machine is set up with, and orders what it finds by RFC 6724. It blocks, so it runs on the blocking pool.
//!
//! What must hold:
//!
//! * **Names that nobody answers for do not take the pool from others.** A lookup may block for half a minute, and cannot be
//!   interrupted: at most [`LOOKUPS_MAX`] are on the pool at a time, for the whole process. Others wait for their turn outside of
//!   it, in order, and cost no thread. A lookup that was given up keeps its permit until it really ends.
//! * **A lookup holds up no shutdown**: it changes nothing, and who wanted to know is gone.
//!
//! Rejected: a resolver of our own, which would answer otherwise than the rest of the machine; a cache, which the system
//! has if it is wanted; a limit for each runtime, since the name server that does not answer is the same for all of them.

use std::fmt;
use std::io;
use std::net::{
    IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6,
    ToSocketAddrs as StdToSocketAddrs,
};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::vec;

use self::sealed::Sealed;
use super::error::{cannot, cannot_with_any};
use super::permits::Permits;
use crate::executor::spawn_spared;
use crate::task::JoinHandle;

/// What [`TcpStream::connect`](super::TcpStream::connect), [`TcpListener::bind`](super::TcpListener::bind),
/// [`UdpSocket::bind`](super::UdpSocket::bind) and [`lookup_host`] take: an address, several of them, or a name with a port.
///
/// | | |
/// |---|---|
/// | `"127.0.0.1:80"`, `"[::1]:80"`, `"example.com:80"`, also as a `String` | text |
/// | `("example.com", 80)`, `("::1", 80)`, also with a `String` | host and port apart |
/// | [`SocketAddr`], [`SocketAddrV4`], [`SocketAddrV6`], `(IpAddr, u16)` and the like | an address |
/// | `&[SocketAddr]`, `[SocketAddr; N]`, `Vec<SocketAddr>` | several, the preferred first |
///
/// What is written as an address is one, and is not looked up. References to all of these will do too. The trait is that of
/// std in all but one point: it is sealed, because std's looks names up by itself and blocks the thread.
pub trait ToSocketAddrs: Sealed {}

/// Looks up the addresses of a host, by the resolver of the system.
///
/// They come in the order in which the system prefers them. What is an address already is returned as it is. The lookup
/// runs on the [blocking pool](crate::spawn_blocking); at most 32 of a process do at a time, the others wait for their turn.
///
/// A lookup takes as long as the resolver of the system wants, which may be half a minute if the name server does not
/// answer: put a [`timeout`](crate::time::timeout) around it.
///
/// # Errors
///
/// Those of getaddrinfo(3), with the name; [`InvalidInput`](io::ErrorKind::InvalidInput) for a text that is no host with a
/// port; and when the runtime shuts down meanwhile.
///
/// # Panics
///
/// Outside a runtime, if there is a name to look up.
///
/// # Cancel safety
///
/// Safe. A lookup that has begun cannot be interrupted: it goes on until the system answers, and nobody is told. It holds
/// up no [shutdown](crate::Runtime::shutdown).
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use wakeful::net::{TcpListener, lookup_host};
///
/// wakeful::block_on(async {
///     let addresses: Vec<_> = lookup_host("localhost:0").await?.collect();
///     assert!(addresses.iter().all(|address| address.ip().is_loopback()));
///     let listener = TcpListener::bind(addresses)?;
///     # drop(listener);
///     Ok(())
/// })
/// # }
/// ```
pub async fn lookup_host(host: impl ToSocketAddrs) -> io::Result<Addresses> {
    let addresses = host.target()?.into_addresses().await?;
    Ok(Addresses(addresses.into_iter()))
}

/// The addresses of a host, the preferred first; made by [`lookup_host`].
#[derive(Clone, Debug)]
#[must_use = "iterators do nothing unless asked"]
pub struct Addresses(vec::IntoIter<SocketAddr>);

impl Iterator for Addresses {
    type Item = SocketAddr;

    fn next(&mut self) -> Option<SocketAddr> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for Addresses {}

/// Does with the addresses of `host`, one after the other, what need not wait, until it succeeds.
///
/// # Errors
///
/// If it fails for all, what became of each, in an error that begins with "cannot" and `what`. `InvalidInput` for a name.
pub(super) fn first_of<T>(
    what: &'static str,
    host: impl ToSocketAddrs,
    mut attempt: impl FnMut(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let target = host.target()?;
    let label = target.to_string();
    let addresses = target.into_known_addresses();
    let mut failures = Vec::new();
    for address in addresses.map_err(cannot(what, label.clone()))? {
        match attempt(address) {
            Ok(done) => return Ok(done),
            Err(error) => failures.push((address, error)),
        }
    }
    Err(cannot_with_any(what, label, failures))
}

/// What a caller has named.
#[derive(Clone, Debug)]
pub enum Target {
    /// At least one.
    Addresses(Vec<SocketAddr>),
    /// To be looked up.
    Name(Name),
}

/// A host's name, not empty, and a port.
#[derive(Clone, Debug)]
pub struct Name {
    host: String,
    port: u16,
}

impl Target {
    /// Its addresses, at least one. A name is looked up.
    pub(super) async fn into_addresses(self) -> io::Result<Vec<SocketAddr>> {
        match self {
            Self::Addresses(addresses) => Ok(addresses),
            Self::Name(name) => name.look_up().await,
        }
    }

    /// Its addresses, at least one, if they are known without waiting.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a name, with a sentence that says what to do.
    fn into_known_addresses(self) -> io::Result<Vec<SocketAddr>> {
        match self {
            Self::Addresses(addresses) => Ok(addresses),
            Self::Name(_) => Err(invalid(
                "this is a name, and to look it up may take long: get its addresses from \
                 `wakeful::net::lookup_host` first"
                    .to_owned(),
            )),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addresses(addresses) => match addresses.as_slice() {
                [address] => write!(f, "{address}"),
                addresses => write!(f, "any of {} addresses", addresses.len()),
            },
            Self::Name(Name { host, port }) => write!(f, "{host}:{port}"),
        }
    }
}

impl Name {
    async fn look_up(self) -> io::Result<Vec<SocketAddr>> {
        let Self { host, port } = self;
        let label = format!("lookup of {host}");
        let look_up = {
            let host = host.clone();
            move || (host.as_str(), port).to_socket_addrs().map(Vec::from_iter)
        };
        let found =
            bounded(&LOOKUPS, label, look_up)
                .await
                .and_then(|found| match found.is_empty() {
                    true => Err(io::Error::new(
                        io::ErrorKind::NotFound,
                        "the host has no address",
                    )),
                    false => Ok(found),
                });
        found.map_err(cannot("look up", host))
    }
}

/// Calls a closure on the blocking pool once there is a permit for it, which it keeps until it has returned.
async fn bounded<T: Send + 'static>(
    permits: &'static Permits,
    label: String,
    closure: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let permit = permits.acquire().await;
    let called = spawn_spared("looking up a name", &label, move || {
        let _permit = permit;
        closure()
    });
    AbortOnDrop(called).await
}

/// A closure that nobody waits for any more need not begin.
struct AbortOnDrop<T>(JoinHandle<io::Result<T>>);

impl<T> Future for AbortOnDrop<T> {
    type Output = io::Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let ended = Pin::new(&mut self.0).poll(cx);
        ended.map(|ended| ended.unwrap_or_else(|error| Err(error.into())))
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The step that does not wait. Not to be named, and so not to be implemented, outside of this crate.
mod sealed {
    use std::io;

    use super::Target;

    pub trait Sealed {
        /// What is meant.
        fn target(&self) -> io::Result<Target>;
    }
}

impl<T: ToSocketAddrs + ?Sized> ToSocketAddrs for &T {}

impl<T: ToSocketAddrs + ?Sized> Sealed for &T {
    fn target(&self) -> io::Result<Target> {
        (**self).target()
    }
}

impl ToSocketAddrs for str {}

impl Sealed for str {
    fn target(&self) -> io::Result<Target> {
        if let Ok(address) = self.parse::<SocketAddr>() {
            return address.target();
        }
        let (host, port) = self.rsplit_once(':').ok_or_else(|| {
            invalid(format!(
                "`{self}` has no port: write `{self}:80`, with the port that is meant"
            ))
        })?;
        let port: u16 = port
            .parse()
            .map_err(|_| invalid(format!("`{self}` does not end with a port, 0 to 65535")))?;
        // In brackets is an address with a zone, as in `[fe80::1%eth0]:80`, of which the system knows the number.
        let host = match host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
        {
            Some(host) => host,
            None if host.as_bytes().contains(&b':') => {
                return Err(invalid(format!(
                    "`{self}` has too many colons: an IPv6 address is put in brackets, as in `[::1]:80`"
                )));
            }
            None => host,
        };
        (host, port).target()
    }
}

impl ToSocketAddrs for String {}

impl Sealed for String {
    fn target(&self) -> io::Result<Target> {
        self.as_str().target()
    }
}

impl ToSocketAddrs for (&str, u16) {}

impl Sealed for (&str, u16) {
    fn target(&self) -> io::Result<Target> {
        let (host, port) = *self;
        if let Ok(ip) = host.parse::<IpAddr>() {
            return (ip, port).target();
        }
        if host.is_empty() {
            return Err(invalid(format!(
                "`:{port}` names no host: for all interfaces write `0.0.0.0:{port}` or `[::]:{port}`"
            )));
        }
        Ok(Target::Name(Name {
            host: host.to_owned(),
            port,
        }))
    }
}

impl ToSocketAddrs for (String, u16) {}

impl Sealed for (String, u16) {
    fn target(&self) -> io::Result<Target> {
        (self.0.as_str(), self.1).target()
    }
}

impl ToSocketAddrs for SocketAddr {}

impl Sealed for SocketAddr {
    fn target(&self) -> io::Result<Target> {
        Ok(Target::Addresses(vec![*self]))
    }
}

impl ToSocketAddrs for SocketAddrV4 {}

impl Sealed for SocketAddrV4 {
    fn target(&self) -> io::Result<Target> {
        SocketAddr::from(*self).target()
    }
}

impl ToSocketAddrs for SocketAddrV6 {}

impl Sealed for SocketAddrV6 {
    fn target(&self) -> io::Result<Target> {
        SocketAddr::from(*self).target()
    }
}

impl ToSocketAddrs for (IpAddr, u16) {}

impl Sealed for (IpAddr, u16) {
    fn target(&self) -> io::Result<Target> {
        SocketAddr::from(*self).target()
    }
}

impl ToSocketAddrs for (Ipv4Addr, u16) {}

impl Sealed for (Ipv4Addr, u16) {
    fn target(&self) -> io::Result<Target> {
        SocketAddr::from(*self).target()
    }
}

impl ToSocketAddrs for (Ipv6Addr, u16) {}

impl Sealed for (Ipv6Addr, u16) {
    fn target(&self) -> io::Result<Target> {
        SocketAddr::from(*self).target()
    }
}

impl ToSocketAddrs for [SocketAddr] {}

impl Sealed for [SocketAddr] {
    fn target(&self) -> io::Result<Target> {
        match self {
            [] => Err(invalid("an empty list has no address".to_owned())),
            addresses => Ok(Target::Addresses(addresses.to_vec())),
        }
    }
}

impl<const N: usize> ToSocketAddrs for [SocketAddr; N] {}

impl<const N: usize> Sealed for [SocketAddr; N] {
    fn target(&self) -> io::Result<Target> {
        self.as_slice().target()
    }
}

impl ToSocketAddrs for Vec<SocketAddr> {}

impl Sealed for Vec<SocketAddr> {
    fn target(&self) -> io::Result<Target> {
        self.as_slice().target()
    }
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

/// Lookups at a time. Enough for a burst of names, a sixteenth of the threads that a pool may have by default.
const LOOKUPS_MAX: usize = 32;

static LOOKUPS: Permits = Permits::new(LOOKUPS_MAX);

#[cfg(all(test, not(loom)))]
mod tests {
    use std::io::ErrorKind;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::sync::{Arc, Mutex, mpsc};
    use std::time::Duration;

    use super::super::permits::Permits;
    use super::sealed::Sealed;
    use super::{Target, ToSocketAddrs, bounded};
    use crate::{Builder, Handle, spawn, yield_now};

    fn channel() -> (mpsc::Sender<()>, Arc<Mutex<mpsc::Receiver<()>>>) {
        let (sender, receiver) = mpsc::channel();
        (sender, Arc::new(Mutex::new(receiver)))
    }

    fn addresses(target: impl ToSocketAddrs) -> Vec<String> {
        match target.target().unwrap() {
            Target::Addresses(addresses) => addresses.iter().map(SocketAddr::to_string).collect(),
            Target::Name(name) => panic!("not to be looked up: {name:?}"),
        }
    }

    fn name(target: impl ToSocketAddrs) -> (String, u16) {
        match target.target().unwrap() {
            Target::Addresses(addresses) => panic!("to be looked up: {addresses:?}"),
            Target::Name(name) => (name.host, name.port),
        }
    }

    #[test]
    fn what_is_an_address_is_not_looked_up_in_whatever_form_it_comes() {
        let (v4, v6) = (Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
        let four = SocketAddr::from((v4, 80));
        for text in [
            addresses("127.0.0.1:80"),
            addresses("127.0.0.1:80".to_owned()),
            addresses(("127.0.0.1", 80)),
            addresses(("127.0.0.1".to_owned(), 80)),
            addresses(four),
            addresses(SocketAddrV4::new(v4, 80)),
            addresses((v4, 80)),
            addresses((IpAddr::from(v4), 80)),
            addresses([four]),
        ] {
            assert_eq!(text, ["127.0.0.1:80"]);
        }
        for text in [
            addresses("[::1]:80"),
            addresses(("::1", 80)),
            addresses((v6, 80)),
            addresses(SocketAddrV6::new(v6, 80, 0, 0)),
        ] {
            assert_eq!(text, ["[::1]:80"]);
        }
        let both = [four, SocketAddr::from((v6, 80))];
        for several in [
            addresses(both),
            addresses(&both[..]),
            addresses(both.to_vec()),
        ] {
            assert_eq!(several, ["127.0.0.1:80", "[::1]:80"]);
        }
    }

    #[test]
    fn what_is_no_address_is_a_name() {
        assert_eq!(name("example.com:80"), ("example.com".to_owned(), 80));
        assert_eq!(name(("example.com", 80)), ("example.com".to_owned(), 80));
        let owned = ("example.com".to_owned(), 80);
        assert_eq!(name(owned.clone()), owned);
        assert_eq!(name("[fe80::1%eth0]:80").0, "fe80::1%eth0");
        assert_eq!(name("[127.0.0.256]:80").0, "127.0.0.256"); // the system says what it thinks of it
    }

    #[test]
    fn what_is_neither_is_refused_with_a_sentence() {
        for (text, part) in [
            ("example.com", "write `example.com:80`"),
            ("", "no port"),
            (":80", "names no host"),
            ("example.com:", "port"),
            ("example.com:65536", "0 to 65535"),
            ("example.com:http", "0 to 65535"),
            ("::1:80", "brackets"),
            ("[::1]", "does not end with a port"),
        ] {
            let error = text.target().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains(part), "{error}");
        }
        let none: [SocketAddr; 0] = [];
        assert!(none.target().unwrap_err().to_string().contains("empty"));
    }

    #[test]
    fn lookups_that_nobody_answers_leave_the_pool_to_others_and_hold_up_no_shutdown() {
        static PERMITS: Permits = Permits::new(2);
        const PATIENCE: Duration = Duration::from_secs(20);
        let runtime = (Builder::new().workers(1))
            .blocking_threads_max(3)
            .build()
            .unwrap();
        let begun_count = Arc::new(AtomicUsize::new(0));
        let lookup = |answers: &Arc<Mutex<mpsc::Receiver<()>>>| {
            let (answers, begun_count) = (answers.clone(), begun_count.clone());
            bounded(&PERMITS, "lookup of nobody".to_owned(), move || {
                begun_count.fetch_add(1, SeqCst);
                let _ = answers.lock().unwrap().recv_timeout(PATIENCE);
                Ok(())
            })
        };
        let (answer, answers) = channel();
        let (_never, none) = channel();
        runtime.block_on(async {
            let lookups = [(); 8].map(|()| spawn(lookup(&answers)));
            while begun_count.load(SeqCst) < 2 {
                yield_now().await;
            }
            // As many as may are on the pool, and there is a thread for others.
            assert_eq!(crate::spawn_blocking(|| 7).await.unwrap(), 7);
            assert_eq!(Handle::current().metrics().blocking_threads, 3);
            assert_eq!(begun_count.load(SeqCst), 2);
            // One that is given up is not in the way, and all others have their turn.
            let [given_up, others @ ..] = lookups;
            given_up.abort();
            for _ in 0..8 {
                answer.send(()).unwrap();
            }
            for lookup in others {
                lookup.await.unwrap().unwrap();
            }
            let begun_before = begun_count.load(SeqCst);
            drop([(); 2].map(|()| spawn(lookup(&none))));
            while begun_count.load(SeqCst) < begun_before + 2 {
                yield_now().await;
            }
        });
        let report = runtime.shutdown(PATIENCE);
        assert!(report.is_clean(), "{report}");
        let users_count = Arc::strong_count(&none);
        assert_eq!(users_count, 3, "the two lookups are still under way");
    }
}
