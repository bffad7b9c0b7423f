//! UDP: one datagram at a time, or in batches.
//!
//! An ICMP error makes the socket readable and writable, and comes out of the next operation, whichever that is, once. A
//! socket that is not connected is not told of any.

mod batch;
mod segments;
mod socket;

pub use self::batch::{Datagram, RecvBatch};
pub use self::segments::SentSegments;
pub use self::socket::UdpSocket;
