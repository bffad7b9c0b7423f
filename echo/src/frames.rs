//! The echo of `--frames`: line by line, through the codec.
//!
//! A line is UTF-8 text of at most 64 KiB that ends with `\n`; it comes back as the very same bytes. Lines that have arrived
//! together go back together. A connection that sends something else, or ends within a line, gets back the lines before it and
//! then the end of the stream: nobody knows where the next line would begin.
//!
//! With `--idle-timeout` a whole line has to come in that time. Any byte would do for the streams' own limit, and a peer who sends one
//! now and then could stay for ever and never be served.
//!
//! When the server ends, every line that was received whole comes back. The same loop does it: the codec is told that the
//! stream ends where nothing more [has been received](Received).

use std::io::{self, ErrorKind};
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_lite::future::poll_once;
use futures_lite::{AsyncRead, AsyncWrite};
use wakeful::codec::{Framed, Lines};
use wakeful::net::Connection;
use wakeful::time::timeout;

use crate::args::ServeArgs;
use crate::logging::Limited;
use crate::stats::Echoed;
use crate::stream::{PeerName, Stream};

/// What the connections of a server have in common.
pub(crate) struct Frames {
    echoed: Arc<Echoed>,
    malformed: Limited,
    /// How long a line may take.
    line_max: Duration,
}

impl Frames {
    pub(crate) fn new(args: &ServeArgs, echoed: &Arc<Echoed>) -> Arc<Self> {
        Arc::new(Self {
            echoed: echoed.clone(),
            malformed: Limited::default(),
            line_max: args.idle_timeout.unwrap_or(Duration::MAX), // which never ends
        })
    }

    /// Serves one connection until the peer has sent its last line and got it back, or the server ends.
    pub(crate) async fn echo(
        self: Arc<Self>,
        stream: impl Stream,
        mut connection: Connection,
    ) -> io::Result<()> {
        let received = Received {
            stream,
            owed: None,
            read: 0,
            written: 0,
        };
        let mut lines = Framed::new(received, Lines::lf());
        let ended = self.echo_all(&mut lines, &mut connection).await;
        lines.get_mut().count(&mut connection);
        ended
    }

    /// All of it, but for the count of what was moved last.
    async fn echo_all<S: Stream>(
        &self,
        lines: &mut Framed<Received<S>, Lines>,
        connection: &mut Connection,
    ) -> io::Result<()> {
        let ended = self.echo_lines(lines, connection).await;
        let patience = match &ended {
            Ok(()) => Duration::MAX,
            Err(error) if is_malformed(error) => {
                self.echoed.add_malformed();
                let peer = PeerName::of(connection);
                self.malformed
                    .warn(format_args!("{peer} is cut off: {error}"));
                PATIENCE
            }
            Err(_) => return ended,
        };
        lines.close().await?;
        // Not to close the connection before the peer does: its system would throw away what has not been taken yet.
        if let Ok(left) = timeout(patience, lines.get_mut().read_to_end()).await {
            left?;
        }
        ended
    }

    /// Sends lines back until there are no more.
    async fn echo_lines<S: Stream>(
        &self,
        lines: &mut Framed<Received<S>, Lines>,
        connection: &mut Connection,
    ) -> io::Result<()> {
        loop {
            if connection.is_shutting_down() {
                lines.get_mut().end()?;
            }
            let next = match poll_once(lines.next()).await {
                Some(next) => next,
                None => {
                    lines.flush().await?; // before it waits for the peer
                    lines.get_mut().count(connection);
                    let next = timeout(self.line_max, lines.next());
                    match connection.unless_shutdown(next).await {
                        Some(next) => next.map_err(|_| self.no_line())?,
                        None => continue,
                    }
                }
            };
            match next {
                Some(Ok(line)) => lines.feed(&line).await?,
                None => return Ok(()),
                Some(Err(error)) if lines.get_ref().is_cut(&error) => return Ok(()),
                Some(Err(error)) => return Err(error),
            }
            self.echoed.add_line();
        }
    }

    fn no_line(&self) -> io::Error {
        let problem = format!("no whole line has come within {:?}", self.line_max);
        io::Error::new(ErrorKind::TimedOut, problem)
    }
}

/// A stream that can end before the peer ends it: where nothing more has been received.
struct Received<S> {
    stream: S,
    /// How many bytes the receive buffer can still have held when the end was decided on.
    owed: Option<usize>,
    /// Bytes that have not been counted yet.
    read: usize,
    written: usize,
}

impl<S: Stream> Received<S> {
    /// Ends it, if that has not been said yet.
    fn end(&mut self) -> io::Result<()> {
        if self.owed.is_none() {
            self.owed = Some(2 * self.stream.recv_buffer_size()?); // the system lets it overflow a little
        }
        Ok(())
    }

    /// Whether this is because it was ended within a line: of that, not all had been received.
    fn is_cut(&self, error: &io::Error) -> bool {
        self.owed.is_some() && error.kind() == ErrorKind::UnexpectedEof
    }

    /// Reads what comes too late to be sent back.
    async fn read_to_end(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; 4096];
        while let count @ 1.. = self.stream.read(&mut buffer).await? {
            self.read += count;
        }
        Ok(())
    }

    /// Counts for `connection` what was moved since the last time.
    fn count(&mut self, connection: &mut Connection) {
        connection.count_bytes(mem::take(&mut self.read), mem::take(&mut self.written));
    }
}

impl<S: Stream> AsyncRead for Received<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let Some(owed) = self.owed else {
            let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
            self.read += moved(&read);
            return read;
        };
        let room = buffer.len().min(owed);
        let count = match self.stream.try_read(&mut buffer[..room]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            read => read?,
        };
        self.owed = Some(owed - count);
        self.read += count;
        Poll::Ready(Ok(count))
    }
}

impl<S: Stream> AsyncWrite for Received<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written += moved(&written);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

/// How many bytes an operation has moved.
fn moved(polled: &Poll<io::Result<usize>>) -> usize {
    match polled {
        Poll::Ready(Ok(count)) => *count,
        _ => 0,
    }
}

/// What the codec says of a peer that does not keep to lines.
fn is_malformed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::InvalidData | ErrorKind::UnexpectedEof
    )
}

/// For how long a peer that is cut off may go on sending, while it takes what was sent back before.
const PATIENCE: Duration = Duration::from_secs(1);
