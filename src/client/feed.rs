//! What servers tell once a second of themselves, as their console shows it. The newest is all that matters, so nothing is
//! resumed.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::Value;
use tokio::time::sleep;

use super::search::Search;
use super::stream::Stream;
use super::{Client, ClientError};

/// Where it is told.
const ROUTE: &str = "/console/feed";

/// A sample comes each second.
const SILENCE_MAX: Duration = Duration::from_secs(4);

/// What a feed tells.
#[derive(Debug)]
pub enum Told {
    /// How the cluster, its topics and the server that is asked fare.
    Sample(Value),
    /// There is no connection, for this reason; the next server is asked.
    Away(Option<ClientError>),
}

/// Samples, from one server after the other.
#[derive(Debug)]
pub struct Feed<'a> {
    client: &'a Client,
    stream: Option<Stream>,
    samples: VecDeque<Value>,
    /// Over once a sample has come.
    search: Search,
}

impl Client {
    /// What servers tell of themselves. Does not connect yet.
    #[must_use]
    pub fn feed(&self) -> Feed<'_> {
        Feed { client: self, stream: None, samples: VecDeque::new(), search: Search::new(self.patience) }
    }
}

impl Feed<'_> {
    /// Waits for what comes next. It never ends by itself.
    ///
    /// # Errors
    /// A server refuses for good, or none of them can be reached: at the beginning, or for as long as was said.
    pub async fn next(&mut self) -> Result<Told, ClientError> {
        loop {
            if let Some(sample) = self.samples.pop_front() {
                return Ok(Told::Sample(sample));
            }
            let Some(stream) = &mut self.stream else {
                match self.search.ask(Stream::open(self.client, ROUTE, |request| request)).await {
                    Ok(stream) => self.stream = Some(stream),
                    Err(error) => return self.lose(Some(error)).await,
                }
                continue;
            };
            let samples = &mut self.samples;
            let heard = stream
                .next(SILENCE_MAX, |event, _| samples.extend(serde_json::from_str::<Value>(&event.data).ok()))
                .await;
            match heard {
                Ok(()) if self.samples.is_empty() => {}
                Ok(()) => self.search.found(),
                Err(error) => return self.lose(error).await,
            }
        }
    }

    /// Goes to the next server, after a while if all have failed.
    async fn lose(&mut self, error: Option<ClientError>) -> Result<Told, ClientError> {
        self.stream = None;
        let (pause, error) = self.search.lost(self.client.next_server(), None, error)?;
        sleep(pause).await;
        Ok(Told::Away(error))
    }
}
