//! A subscriber as a browser's `EventSource` is one: it reads, remembers the last id, and comes back with it. Unlike one
//! it comes back to whichever node it is told to, and forgets nothing of what it has seen.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use reqwest::Method;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::interval;

use super::client::{Client, Message};
use super::patience::{LOOK_EVERY, within};
use super::sse::{Event, Parser};

/// What a subscriber has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// A stream began.
    Opened,
    Event(Event),
    /// The stream ended, by whomever.
    Closed {
        /// Whether the server ended it in order, with the end of the body.
        in_order: bool,
        /// Whether that was in the middle of an event.
        within_event: bool,
        /// Comments that it had.
        comments: usize,
        /// Blocks that were no event; see [`Parser::ghosts`].
        ghosts: usize,
    },
    /// There was an answer, but no stream.
    Refused {
        status: u16,
    },
}

/// Where to read, and how.
#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    /// URLs of nodes. It starts with the first, and goes on with the next when a stream ends.
    pub(crate) nodes: Vec<String>,
    /// Path and query, the same on every node.
    pub(crate) path: String,
    /// An id to begin after.
    pub(crate) last_id: Option<String>,
    /// After so many messages of one stream it leaves for another node by itself.
    pub(crate) messages_per_stream: Option<usize>,
}

/// A running subscriber. It stops with this handle.
#[derive(Debug)]
pub(crate) struct Subscriber {
    seen: Arc<Mutex<Vec<Seen>>>,
    count: watch::Receiver<usize>,
    hops: mpsc::UnboundedSender<usize>,
    reader: JoinHandle<()>,
}

impl Subscriber {
    /// Reads from one node, and comes back to it.
    pub(crate) fn of(client: &Client, node: &str, path: &str) -> Self {
        Self::start(client, Subscription::new([node], path))
    }

    /// Reads from one node, and waits until it is told that all that is past has been sent.
    pub(crate) async fn live(client: &Client, node: &str, path: &str) -> Self {
        let subscriber = Self::of(client, node, path);
        subscriber.event("repl.ready").await;
        subscriber
    }

    pub(crate) fn start(client: &Client, subscription: Subscription) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (hops, commands) = mpsc::unbounded_channel();
        let (counter, count) = watch::channel(0);
        let reader = Reader {
            client: client.clone(),
            node: 0,
            last_id: subscription.last_id.clone(),
            subscription,
            seen: Arc::clone(&seen),
            counter,
            hops: commands,
        };
        Self { seen, count, hops, reader: tokio::spawn(reader.run()) }
    }

    /// Has it leave its stream, if it has one, and go on at the node with this number.
    pub(crate) fn hop(&self, node: usize) {
        self.hops.send(node).expect("it runs");
    }

    /// All it has seen so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no panic").clone()
    }

    /// The events it has seen so far.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.seen().into_iter().filter_map(Seen::event).collect()
    }

    /// The ids of the messages it has seen so far.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.events().into_iter().filter(|event| event.kind == "message").map(|event| event.id).collect()
    }

    /// Waits until something holds of all that it has seen.
    pub(crate) async fn until<T>(&self, what: &str, mut look: impl FnMut(&[Seen]) -> Option<T>) -> T {
        let mut count = self.count.clone();
        let met = async {
            loop {
                count.borrow_and_update();
                if let Some(met) = look(&self.seen.lock().expect("no panic")) {
                    return met;
                }
                count.changed().await.expect("it runs");
            }
        };
        within(what, met).await
    }

    /// Waits for the first event of this type.
    pub(crate) async fn event(&self, kind: &str) -> Event {
        let what = format!("an event of the type {kind}");
        let find = |seen: &[Seen]| seen.iter().filter_map(Seen::as_event).find(|event| event.kind == kind).cloned();
        self.until(&what, find).await
    }

    /// Waits until so many streams have begun.
    pub(crate) async fn opened(&self, streams: usize) {
        let enough = |seen: &[Seen]| (count(seen, |seen| *seen == Seen::Opened) >= streams).then_some(());
        self.until(&format!("{streams} streams"), enough).await;
    }

    /// Waits until it has seen these messages, and asserts that it saw no others, and in this order.
    pub(crate) async fn has_seen(&self, expected: &[Message]) {
        let what = format!("{} messages", expected.len());
        let is_message = |seen: &Seen| seen.as_event().is_some_and(|event| event.kind == "message");
        self.until(&what, |seen| (count(seen, is_message) >= expected.len()).then_some(())).await;
        let ids: Vec<&str> = expected.iter().map(|message| message.id.as_str()).collect();
        assert_eq!(self.ids(), ids);
    }

    /// How many streams have begun so far.
    pub(crate) fn streams(&self) -> usize {
        count(&self.seen(), |seen| *seen == Seen::Opened)
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Subscription {
    pub(crate) fn new<'a>(nodes: impl IntoIterator<Item = &'a str>, path: &str) -> Self {
        let nodes = nodes.into_iter().map(str::to_owned).collect();
        Self { nodes, path: path.to_owned(), last_id: None, messages_per_stream: None }
    }

    /// Begins after this id.
    pub(crate) fn after(self, id: &str) -> Self {
        Self { last_id: Some(id.to_owned()), ..self }
    }
}

impl Seen {
    pub(crate) fn as_event(&self) -> Option<&Event> {
        match self {
            Self::Event(event) => Some(event),
            Self::Opened | Self::Closed { .. } | Self::Refused { .. } => None,
        }
    }

    fn event(self) -> Option<Event> {
        match self {
            Self::Event(event) => Some(event),
            Self::Opened | Self::Closed { .. } | Self::Refused { .. } => None,
        }
    }
}

fn count(seen: &[Seen], is: impl Fn(&Seen) -> bool) -> usize {
    seen.iter().filter(|seen| is(seen)).count()
}

/// The task behind a subscriber.
struct Reader {
    client: Client,
    subscription: Subscription,
    /// Number of the node it reads from.
    node: usize,
    last_id: Option<String>,
    seen: Arc<Mutex<Vec<Seen>>>,
    counter: watch::Sender<usize>,
    hops: mpsc::UnboundedReceiver<usize>,
}

impl Reader {
    async fn run(mut self) {
        // Whoever is refused comes back soon, but not at once.
        let mut attempts = interval(LOOK_EVERY);
        loop {
            attempts.tick().await;
            if self.stream().await.is_break() {
                return;
            }
        }
    }

    /// Reads one stream to its end, and says where to go next.
    async fn stream(&mut self) -> ControlFlow<()> {
        let nodes = self.subscription.nodes.len();
        let next = (self.node + 1) % nodes;
        let url = format!("{}{}", self.subscription.nodes[self.node], self.subscription.path);
        let mut request = self.client.request(Method::GET, &url);
        if let Some(id) = &self.last_id {
            request = request.header("Last-Event-ID", id);
        }
        let response = tokio::select! {
            response = request.send() => response,
            hop = self.hops.recv() => return self.go(hop),
        };
        let Ok(mut response) = response else { return self.go(Some(next)) };
        let status = response.status().as_u16();
        if status != 200 {
            self.record([Seen::Refused { status }]);
            return self.go(Some(next));
        }
        self.record([Seen::Opened]);
        let (mut parser, mut messages) = (Parser::default(), 0);
        let (in_order, hop) = loop {
            if self.subscription.messages_per_stream.is_some_and(|most| messages >= most) {
                break (false, Some((self.node + fastrand::usize(1..nodes)) % nodes));
            }
            tokio::select! {
                chunk = response.chunk() => match chunk {
                    Ok(Some(bytes)) => messages += self.read(&mut parser, &bytes),
                    Ok(None) => break (true, Some(next)),
                    Err(_) => break (false, Some(next)),
                },
                hop = self.hops.recv() => break (false, hop),
            }
        };
        let (comments, ghosts) = (parser.comments(), parser.ghosts());
        self.record([Seen::Closed { in_order, within_event: parser.is_within_event(), comments, ghosts }]);
        self.go(hop)
    }

    /// Records the events in a piece of a stream, and answers how many messages they hold.
    fn read(&mut self, parser: &mut Parser, bytes: &[u8]) -> usize {
        let events = parser.feed(bytes);
        if let Some(event) = events.last().filter(|event| !event.id.is_empty()) {
            self.last_id = Some(event.id.clone());
        }
        let messages = events.iter().filter(|event| event.kind == "message").count();
        self.record(events.into_iter().map(Seen::Event));
        messages
    }

    fn record(&self, what: impl IntoIterator<Item = Seen>) {
        let mut seen = self.seen.lock().expect("no panic");
        seen.extend(what);
        self.counter.send_replace(seen.len());
    }

    fn go(&mut self, node: Option<usize>) -> ControlFlow<()> {
        // No node: the handle is gone.
        match node {
            Some(node) => {
                self.node = node;
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(()),
        }
    }
}
