//! A stream that outlives connections and servers.

use std::collections::VecDeque;
use std::time::Duration;

use reqwest::header::HeaderName;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::sleep;

use super::search::Search;
use super::sse::SseEvent;
use super::stream::Stream;
use super::{Client, ClientError, Server};

/// Behind which event a stream goes on.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// A server that is silent for longer is taken for dead. A sign of life comes every 15 s unless it was set otherwise.
const SILENCE_MAX: Duration = Duration::from_secs(45);

/// A message, as the server has written it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// Its cursor.
    pub id: String,
    /// Its topic.
    pub topic: String,
    /// Its number within the topic.
    pub seq: u64,
    /// Any JSON.
    pub value: Box<serde_json::value::RawValue>,
    /// Strings that travel with it.
    pub headers: Value,
    /// RFC 3339.
    pub created_at: String,
    /// The name of its event, if it has one.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// All of it, as one line of JSON.
    #[serde(skip)]
    pub json: String,
}

/// What a subscription tells.
#[derive(Debug)]
pub enum Event {
    /// A message, in order.
    Message(Box<Message>),
    /// All that was kept has been sent.
    Ready,
    /// Messages are missing here, for this reason; all that the server says of it is the second.
    Gap(String, Value),
    /// A topic was deleted.
    Deleted(String),
    /// Who is there, or who came and went; all that the server says of it.
    Presence(Value),
    /// There is no connection, for this reason; it is looked for.
    Away(Option<ClientError>),
}

/// Messages of some topics, from one server after the other.
#[derive(Debug)]
pub struct Subscription<'a> {
    client: &'a Client,
    /// What is asked for, as the parameters of the route.
    query: Vec<(&'static str, String)>,
    /// Where to go on.
    cursor: Option<String>,
    stream: Option<Stream>,
    events: VecDeque<Event>,
    /// Over once a server has begun to send.
    search: Search,
    /// Why it can't go on, told behind the events that came before.
    end: Option<ClientError>,
}

impl Client {
    /// Subscribes, with parameters of `/sse`. Does not connect yet.
    #[must_use]
    pub fn subscribe(&self, query: Vec<(&'static str, String)>) -> Subscription<'_> {
        Subscription {
            client: self,
            query,
            cursor: None,
            stream: None,
            events: VecDeque::new(),
            search: Search::new(self.patience),
            end: None,
        }
    }
}

impl Subscription<'_> {
    /// Waits for what comes next. It never ends by itself: when a connection breaks, another one is made. If the future is
    /// dropped nothing is lost.
    ///
    /// # Errors
    /// A server refuses for good, or none of them can be reached: at the beginning, or for as long as was said.
    pub async fn next(&mut self) -> Result<Event, ClientError> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            if let Some(error) = self.end.take() {
                return Err(error);
            }
            let Some(stream) = &mut self.stream else {
                self.connect().await?;
                continue;
            };
            let mut events = Vec::new();
            let heard = stream.next(SILENCE_MAX, |event, id| events.push((event, id.map(str::to_owned)))).await;
            self.take(events);
            match heard {
                Ok(()) => {}
                Err(Some(error @ ClientError::Garbled(_))) => self.end = Some(error),
                Err(error) => self.lose(error).await?,
            }
        }
    }

    async fn connect(&mut self) -> Result<(), ClientError> {
        let opened = Stream::open(self.client, "/sse", |mut request| {
            if let Some(cursor) = &self.cursor {
                request = request.header(LAST_EVENT_ID, cursor);
            }
            request.query(&self.query)
        });
        match self.search.ask(opened).await {
            Ok(stream) => {
                self.stream = Some(stream);
                Ok(())
            }
            Err(error) => self.lose(Some(error)).await,
        }
    }

    /// Goes to the next server, after a while if all have failed.
    async fn lose(&mut self, error: Option<ClientError>) -> Result<(), ClientError> {
        let retry = self.stream.take().and_then(|stream| stream.retry());
        let (pause, error) = self.search.lost(self.client.next_server(), retry, error)?;
        self.events.push_back(Event::Away(error));
        sleep(pause).await;
        Ok(())
    }

    fn take(&mut self, events: Vec<(SseEvent, Option<String>)>) {
        let Some(server) = self.stream.as_ref().map(|stream| stream.server.clone()) else { return };
        for (event, id) in events {
            self.cursor = id.or(self.cursor.take());
            self.search.found();
            match read_event(&event) {
                Some(Told::Event(event)) => self.events.push_back(event),
                Some(Told::Move(server)) => {
                    self.client.go_to(server);
                    self.stream = None;
                }
                Some(Told::End(reason)) => self.end = Some(ClientError::Ended(reason)),
                Some(Told::Nothing) => {}
                None => self.end = Some(ClientError::Garbled(server.clone())),
            }
        }
    }
}

/// What an event comes to.
enum Told {
    Event(Event),
    /// Go on at another server.
    Move(Server),
    /// No server lets this stream go on.
    End(String),
    Nothing,
}

/// What an event says. `None`: it is none of the broker's.
fn read_event(event: &SseEvent) -> Option<Told> {
    let told = match event.kind.strip_prefix("repl.") {
        None => {
            let mut message: Message = serde_json::from_str(&event.data).ok()?;
            event.data.clone_into(&mut message.json);
            Event::Message(Box::new(message))
        }
        Some("ready") => Event::Ready,
        Some(kind) => {
            let data: Value = serde_json::from_str(&event.data).ok()?;
            let text = |name: &str| data.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            match kind {
                "gap" => Event::Gap(text("reason"), data),
                "topic" => Event::Deleted(text("topic")),
                "presence" => Event::Presence(data),
                "auth" => return Some(Told::End(text("reason"))),
                "move" => {
                    let mut nodes = data.get("nodes")?.as_array()?.iter().filter_map(Value::as_str);
                    let server = nodes.find_map(|node| Server::parse(node).ok());
                    return Some(server.map_or(Told::Nothing, Told::Move));
                }
                // `repl.cursor`, and what later versions say.
                _ => return Some(Told::Nothing),
            }
        }
    };
    Some(Told::Event(told))
}
