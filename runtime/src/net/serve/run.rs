//! A server that runs: it accepts until its end begins, and waits until everybody has gone or the grace is over.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::census::{Census, Stage};
use super::report::ServerReport;
use super::{House, Loops, Server};
use crate::shutdown::ShutdownToken;
use crate::time::timeout;

/// Running it.
impl Server {
    /// Serves until the [token](Self::shutdown_token) is shut down, and then until all connections have ended or the grace is
    /// over.
    ///
    /// # Errors
    ///
    /// If a listener cannot be waited for, or goes on failing for seconds for another reason than a lack of descriptors or memory; or
    /// if [no worker](Self::listen_pinned) has a handler.
    /// The server has ended then as if it had been shut down.
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the listeners and cuts all connections off, without waiting for that.
    pub async fn run(self) -> io::Result<ServerReport> {
        let Self {
            doors,
            limits,
            times,
            grace,
            token,
            on_accept_error,
            stats,
        } = self;
        let census = Arc::new(Census::new(token.clone(), limits));
        stats.begin(&census);
        let house = House {
            census: census.clone(),
            times,
            on_accept_error,
        };
        let rest = CutOff(&census);
        let mut loops = Loops::new();
        let mut outcome = Ok(());
        for door in doors {
            outcome = outcome.and_then(|()| door(&mut loops, &house));
        }
        if outcome.is_ok() {
            outcome = until_the_end(&token, &mut loops).await;
        }
        token.shutdown();
        census.begin(Stage::Ending);
        let all_gone = async {
            while let Some(ended) = loops.join_next().await {
                drop(ended); // of several errors, the first is told
            }
            census.all_gone().await;
        };
        if timeout(grace, all_gone).await.is_err() {
            drop(loops);
            drop(rest);
            let _ = timeout(LAST_POLLS, census.all_gone()).await; // one that is stuck in a poll is reported as active
        }
        outcome.map(|()| census.report())
    }

    /// [`run`](Self::run), until `end` is ready: that shuts the server down, whatever its output is.
    ///
    /// # Errors
    ///
    /// As for `run`.
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    ///
    /// # Cancel safety
    ///
    /// As for `run`.
    ///
    /// # Examples
    ///
    /// ```
    /// # wakeful::block_on(async {
    /// use std::time::Duration;
    /// use wakeful::net::{Server, TcpListener};
    /// use wakeful::time::sleep;
    ///
    /// let report = Server::new()
    ///     .listen(TcpListener::bind("127.0.0.1:0")?, |mut stream, _connection| async move {
    ///         stream.write_all(b"hello\n").await
    ///     })
    ///     .run_until(sleep(Duration::from_millis(10)))
    ///     .await?;
    /// assert_eq!(report.active(), 0);
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub async fn run_until<E: Future>(self, end: E) -> io::Result<ServerReport> {
        let token = self.token.clone();
        let (mut run, mut end) = (pin!(self.run()), pin!(end));
        poll_fn(|cx| {
            if !token.is_shutting_down() && end.as_mut().poll(cx).is_ready() {
                token.shutdown();
            }
            run.as_mut().poll(cx)
        })
        .await
    }
}

/// Waits until the token is shut down, or an accept loop has ended before: with an error.
async fn until_the_end(token: &ShutdownToken, loops: &mut Loops) -> io::Result<()> {
    let mut shutdown = token.wait();
    while let Some(Some(ended)) = shutdown.unless_shutdown(loops.join_next()).await {
        ended.map_err(io::Error::other)??; // the first: it has panicked
    }
    shutdown.await; // also where there is no listener
    Ok(())
}

/// Whoever is still there when this is dropped is cut off.
struct CutOff<'a>(&'a Census);

impl Drop for CutOff<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.begin(Stage::CutOff);
    }
}

/// How long handlers that are cut off have to come back from the poll that they are in.
const LAST_POLLS: Duration = Duration::from_secs(1);
