//! Connecting to one of several addresses, as RFC 8305 ("Happy Eyeballs") says: soon, and without a storm of attempts.
//!
//! ```text
//!   [v6 a, v6 b, v4 c]  interleaved: a, c, b
//!
//!   0 ms      250 ms     500 ms
//!   a ────────┼──────────┼──────────▶ …          an attempt begins when the one before has had 250 ms, or any has failed
//!             c ─────────┼────✓                  the first that succeeds wins
//!                        b ───✗                  the others are dropped, which closes their sockets
//! ```
//!
//! * **Order.** The resolver has put the addresses in order (RFC 6724), which on a host with IPv6 begins with IPv6. The family
//!   of the first address keeps the first place; then the families take turns, so that a network in which one of them leads
//!   nowhere costs one delay, and not one for each address.
//! * **Attempts** are never more than there are addresses, and one begins at most every 250 ms unless others fail. None is
//!   given up before another has succeeded: the system knows when to, after two minutes or so, and whoever does not want to
//!   wait for that says so with `connect_timeout`.
//!
//! The function that connects is a parameter; so the tests have a network in which every answer comes at its moment, in
//! virtual time.
//!
//! Rejected: *IPv6 first in any case*, against the order of the resolver, which knows when a host has no way to it, and against
//! that of a caller who passes a list. *To look up A and AAAA apart* (RFC 8305, section 3) and begin with what comes first:
//! getaddrinfo(3) answers both at once. *Attempts as tasks*: they would need a runtime to be spawned on, and a drop would
//! only ask them to end.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use super::error::{cannot, cannot_with_any};
use super::resolve::Target;
use crate::time::{Sleep, sleep, timeout};

/// Connects to the first address of `target` that answers.
///
/// # Errors
///
/// Those of the lookup; if all attempts fail, one that says what became of each.
pub(super) async fn connect<T, A>(
    target: Target,
    attempt: impl FnMut(SocketAddr) -> A,
) -> io::Result<T>
where
    A: Future<Output = io::Result<T>>,
{
    let label = target.to_string();
    let addresses = target.into_addresses().await;
    let addresses = addresses.map_err(cannot(CONNECT, label.clone()))?;
    let raced = race(interleaved(addresses), attempt).await;
    raced.map_err(|failures| cannot_with_any(CONNECT, label, failures))
}

/// [`connect`], for `limit` at most, the lookup included.
pub(super) async fn connect_within<T, A>(
    limit: Duration,
    target: Target,
    attempt: impl FnMut(SocketAddr) -> A,
) -> io::Result<T>
where
    A: Future<Output = io::Result<T>>,
{
    let label = target.to_string();
    match timeout(limit, connect(target, attempt)).await {
        Ok(connected) => connected,
        Err(elapsed) => Err(cannot(CONNECT, label)(elapsed.into())),
    }
}

/// The first connection that succeeds, or all failures in the order in which they came.
async fn race<T, A>(
    addresses: Vec<SocketAddr>,
    mut attempt: impl FnMut(SocketAddr) -> A,
) -> Result<T, Vec<(SocketAddr, io::Error)>>
where
    A: Future<Output = io::Result<T>>,
{
    let mut upcoming = addresses.into_iter();
    let mut attempts: Vec<(SocketAddr, Pin<Box<A>>)> = Vec::new();
    let mut failures = Vec::new();
    let mut delay: Option<Sleep> = None;
    poll_fn(move |cx| {
        loop {
            let failures_before = failures.len();
            let mut connected = None;
            attempts.retain_mut(|(address, attempt)| {
                if connected.is_some() {
                    return true;
                }
                match attempt.as_mut().poll(cx) {
                    Poll::Pending => return true,
                    Poll::Ready(Ok(stream)) => connected = Some(stream),
                    Poll::Ready(Err(error)) => failures.push((*address, error)),
                }
                false
            });
            if let Some(stream) = connected {
                return Poll::Ready(Ok(stream));
            }
            if attempts.is_empty() && upcoming.as_slice().is_empty() {
                return Poll::Ready(Err(std::mem::take(&mut failures)));
            }
            let is_due = attempts.is_empty()
                || failures.len() > failures_before
                || (delay.as_mut()).is_some_and(|delay| Pin::new(delay).poll(cx).is_ready());
            if !is_due {
                return Poll::Pending;
            }
            delay = None;
            if let Some(address) = upcoming.next() {
                attempts.push((address, Box::pin(attempt(address))));
                if !upcoming.as_slice().is_empty() {
                    delay = Some(sleep(ATTEMPT_DELAY));
                }
            }
        }
    })
    .await
}

/// The addresses in an order in which the families take turns, that of the first one first. Within a family the order stays.
#[inline]
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = addresses.first() else {
        return addresses;
    };
    let is_first_family = |address: &SocketAddr| address.is_ipv6() == first.is_ipv6();
    let (preferred, others): (Vec<_>, Vec<_>) = addresses.iter().partition(|a| is_first_family(a));
    let mut others = others.into_iter();
    let mut order = Vec::with_capacity(addresses.len());
    for address in preferred {
        order.push(address);
        order.extend(others.next());
    }
    order.extend(others);
    order
}

/// What cannot be done, in errors.
const CONNECT: &str = "connect to";

/// What RFC 8305 recommends as the Connection Attempt Delay (section 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

#[cfg(all(test, not(loom)))]
mod tests {
    use std::cell::RefCell;
    use std::error::Error;
    use std::io::{self, ErrorKind};
    use std::net::SocketAddr;
    use std::rc::Rc;
    use std::time::Duration;

    use super::super::resolve::Target;
    use super::{connect, connect_within, interleaved, race};
    use crate::Builder;
    use crate::time::{Instant, sleep};

    /// What a network of the tests does with an attempt.
    #[derive(Copy, Clone)]
    enum Answer {
        Connects(u64),
        Refuses(u64),
        Nothing,
    }
    use Answer::{Connects, Nothing, Refuses};

    /// What happened, and after how many milliseconds: rounded down to tens, since a timer may be late by one.
    #[derive(Debug, PartialEq, Eq)]
    enum Event {
        Begun(&'static str, u64),
        Dropped(&'static str, u64),
    }
    use Event::{Begun, Dropped};

    type Outcome = Result<&'static str, io::Error>;

    const A: &str = "[2001:db8::a]:80";
    const B: &str = "[2001:db8::b]:80";
    const C: &str = "192.0.2.3:80";
    const D: &str = "192.0.2.4:80";

    #[test]
    fn the_families_take_turns_and_the_first_keeps_its_place() {
        let order = |addresses: &[&str]| -> Vec<String> {
            let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
            let ordered = interleaved(addresses);
            ordered.iter().map(SocketAddr::to_string).collect()
        };
        assert_eq!(order(&[A, B, C, D]), [A, C, B, D]);
        assert_eq!(order(&[C, D, A]), [C, A, D]);
        assert_eq!(order(&[A, C, D]), [A, C, D]);
        assert_eq!(order(&[B, A]), [B, A]);
        assert_eq!(order(&[]), [""; 0]);
    }

    #[test]
    fn one_that_answers_at_once_is_the_only_one_that_is_tried() {
        let (outcome, events) = run(&[(A, Connects(100)), (C, Connects(0))]);
        assert_eq!(outcome.unwrap(), A);
        assert_eq!(events, [Begun(A, 0), Dropped(A, 100)]);
    }

    #[test]
    fn the_next_begins_after_250_ms_and_the_loser_is_dropped_with_the_success() {
        let (outcome, events) = run(&[(A, Nothing), (C, Connects(30)), (B, Connects(0))]);
        assert_eq!(outcome.unwrap(), C);
        assert_eq!(
            events,
            [Begun(A, 0), Begun(C, 250), Dropped(C, 280), Dropped(A, 280)]
        );
    }

    #[test]
    fn one_that_was_only_slow_still_wins_if_it_answers_first() {
        let (outcome, events) = run(&[(A, Connects(260)), (C, Connects(30))]);
        assert_eq!(outcome.unwrap(), A);
        assert_eq!(
            events,
            [Begun(A, 0), Begun(C, 250), Dropped(A, 260), Dropped(C, 260)]
        );
    }

    #[test]
    fn a_failure_lets_the_next_begin_at_once_and_its_delay_begins_anew() {
        let (outcome, events) = run(&[(A, Refuses(10)), (C, Nothing), (B, Connects(10))]);
        assert_eq!(outcome.unwrap(), B);
        assert_eq!(
            events,
            [
                Begun(A, 0),
                Dropped(A, 10),
                Begun(C, 10),
                Begun(B, 260),
                Dropped(B, 270),
                Dropped(C, 270)
            ]
        );
    }

    #[test]
    fn an_attempt_that_fails_in_the_first_poll_costs_no_delay() {
        let (outcome, events) = run(&[(A, Refuses(0)), (C, Refuses(0)), (B, Connects(1))]);
        assert_eq!(outcome.unwrap(), B);
        let begun: Vec<_> = events
            .into_iter()
            .filter(|event| matches!(event, Begun(..)))
            .collect();
        assert_eq!(begun, [Begun(A, 0), Begun(C, 0), Begun(B, 0)]);
    }

    #[test]
    fn when_all_fail_the_error_names_each_and_is_of_the_kind_of_the_last() {
        let (outcome, events) = run(&[(A, Refuses(300)), (C, Refuses(10))]);
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let text = error.to_string();
        assert_eq!(
            text,
            format!(
                "cannot connect to any of 2 addresses: {C} (refused by {C}), {A} (refused by {A})"
            )
        );
        let source = error.source().unwrap().to_string();
        assert_eq!(source, format!("refused by {A}"));
        assert_eq!(events.last(), Some(&Dropped(A, 300)));
    }

    #[test]
    fn of_a_single_address_the_error_is_plain() {
        let (outcome, _) = run(&[(C, Refuses(1))]);
        let text = outcome.unwrap_err().to_string();
        assert_eq!(text, format!("cannot connect to {C}: refused by {C}"));
    }

    #[test]
    fn a_time_limit_drops_all_attempts_when_it_is_over() {
        let limit = Duration::from_millis(400);
        let (outcome, events) = run_with(
            &[(A, Nothing), (C, Nothing), (B, Connects(0))],
            async |target, net| connect_within(limit, target, |address| net.attempt(address)).await,
        );
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(error.to_string().contains("any of 3 addresses"), "{error}");
        assert_eq!(
            events,
            [Begun(A, 0), Begun(C, 250), Dropped(A, 400), Dropped(C, 400)]
        );
    }

    #[test]
    fn as_long_as_nobody_answers_or_fails_it_waits() {
        let runtime = virtual_runtime();
        runtime.block_on(async {
            let net = Network::new(&[(A, Nothing), (C, Nothing)]);
            let addresses = vec![A.parse().unwrap(), C.parse().unwrap()];
            let racing = race(addresses, |address| net.attempt(address));
            let day = Duration::from_secs(24 * 60 * 60);
            assert!(crate::time::timeout(day, racing).await.is_err());
            assert_eq!(net.events.borrow().len(), 4, "each once, and both dropped");
        });
    }

    fn run(answers: &[(&'static str, Answer)]) -> (Outcome, Vec<Event>) {
        run_with(answers, async |target, net| {
            connect(target, |address| net.attempt(address)).await
        })
    }

    /// Connects to the addresses of `answers` in a network that answers so.
    fn run_with(
        answers: &[(&'static str, Answer)],
        connect: impl AsyncFnOnce(Target, &Network) -> Outcome,
    ) -> (Outcome, Vec<Event>) {
        virtual_runtime().block_on(async {
            let net = Network::new(answers);
            let addresses = answers.iter().map(|(text, _)| text.parse().unwrap());
            let outcome = connect(Target::Addresses(addresses.collect()), &net).await;
            (outcome, net.events.take())
        })
    }

    fn virtual_runtime() -> crate::Runtime {
        Builder::new().virtual_time(true).build().unwrap()
    }

    struct Network {
        answers: Vec<(&'static str, Answer)>,
        events: Rc<RefCell<Vec<Event>>>,
        begun: Instant,
    }

    impl Network {
        fn new(answers: &[(&'static str, Answer)]) -> Self {
            Self {
                answers: answers.to_vec(),
                events: Rc::default(),
                begun: Instant::now(),
            }
        }

        fn attempt(&self, address: SocketAddr) -> impl Future<Output = Outcome> + use<> {
            let is_it = |(text, _): &&(&str, Answer)| *text == address.to_string();
            let (text, answer) = *self.answers.iter().find(is_it).unwrap();
            let socket = OpenSocket {
                text,
                events: self.events.clone(),
                begun: self.begun,
            };
            socket.note(Begun(text, socket.millis()));
            async move {
                let _socket = socket;
                match answer {
                    Nothing => std::future::pending().await,
                    Connects(0) => Ok(text),
                    Connects(millis) => {
                        sleep(Duration::from_millis(millis)).await;
                        Ok(text)
                    }
                    Refuses(millis) => {
                        if millis > 0 {
                            sleep(Duration::from_millis(millis)).await;
                        }
                        let what = format!("refused by {text}");
                        Err(io::Error::new(ErrorKind::ConnectionRefused, what))
                    }
                }
            }
        }
    }

    struct OpenSocket {
        text: &'static str,
        events: Rc<RefCell<Vec<Event>>>,
        begun: Instant,
    }

    impl OpenSocket {
        fn note(&self, event: Event) {
            self.events.borrow_mut().push(event);
        }

        fn millis(&self) -> u64 {
            u64::try_from(self.begun.elapsed().as_millis()).unwrap() / 10 * 10
        }
    }

    impl Drop for OpenSocket {
        fn drop(&mut self) {
            self.note(Dropped(self.text, self.millis()));
        }
    }
}
