//! Looking for a server that serves: how long to wait before the next one is asked, and when to give up.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::{ClientError, Twice};

/// Between two rounds over all servers: at random up to the first, and then up to twice as much each time.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// How long to wait before the next server is asked: not at all within a round over all of them.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    failures: usize,
}

impl Rounds {
    /// One of so many servers has failed.
    pub(super) fn pause(&mut self, servers: usize) -> Duration {
        self.failures += 1;
        if !self.failures.is_multiple_of(servers) {
            return Duration::ZERO;
        }
        let doublings = u32::try_from(self.failures / servers - 1).unwrap_or(u32::MAX);
        let most = PAUSE_MIN.saturating_mul(2_u32.saturating_pow(doublings)).min(PAUSE_MAX);
        most.mul_f64(fastrand::f64())
    }

    /// Whether every one of so many servers has failed.
    fn is_over(&self, servers: usize) -> bool {
        self.failures >= servers
    }
}

/// The search for a server of a stream, at the beginning and whenever one is lost.
#[derive(Debug)]
pub(super) struct Search {
    /// How long it takes at most. If nothing was said: at the beginning one round, and later without end.
    patience: Option<Duration>,
    /// When this one began, if it is not over.
    since: Option<Instant>,
    rounds: Rounds,
    /// Whether a server was ever found.
    found: bool,
}

impl Search {
    pub(super) fn new(patience: Option<Duration>) -> Self {
        Self { patience, since: None, rounds: Rounds::default(), found: false }
    }

    /// What comes of asking a server, within the time that is left.
    ///
    /// # Errors
    /// What the server said, or that it said nothing in time.
    pub(super) async fn ask<T>(
        &mut self,
        asked: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        let since = self.since();
        let Some(patience) = self.patience else { return asked.await };
        timeout_at(since + patience, asked).await.unwrap_or(Err(ClientError::Timeout(patience)))
    }

    /// A server serves.
    pub(super) fn found(&mut self) {
        *self = Self { found: true, ..Self::new(self.patience) };
    }

    /// One of so many servers has failed, or is lost; without an error it has ended in order. Answers how long to wait
    /// before the next one is asked, and the error. After a round that is as long as the server has said, if it has.
    ///
    /// # Errors
    /// The search is over.
    pub(super) fn lost(
        &mut self,
        servers: usize,
        retry: Option<Duration>,
        error: Option<ClientError>,
    ) -> Result<(Duration, Option<ClientError>), ClientError> {
        let since = self.since();
        let pause = self.rounds.pause(servers);
        let pause = retry.filter(|_| !pause.is_zero()).unwrap_or(pause);
        let is_over = match self.patience {
            Some(patience) => since.elapsed() + pause >= patience,
            None => !self.found && self.rounds.is_over(servers),
        };
        match (error, self.patience) {
            (Some(error), _) if is_over || !error.may_pass(Twice::Same) => Err(error),
            (None, Some(patience)) if is_over => Err(ClientError::Timeout(patience)),
            (error, _) => Ok((pause, error)),
        }
    }

    fn since(&mut self) -> Instant {
        *self.since.get_or_insert_with(Instant::now)
    }
}
