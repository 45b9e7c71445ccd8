//! A publisher that goes on whatever happens: each message is sent until it is acknowledged, to whichever node answers.

use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::interval;

use super::client::{Client, Message};
use super::patience::{LOOK_EVERY, within};

/// A running publisher. It stops with this handle.
#[derive(Debug)]
pub(crate) struct Publisher {
    nodes: Arc<Mutex<Vec<String>>>,
    stop: watch::Sender<bool>,
    count: watch::Receiver<usize>,
    running: JoinHandle<Vec<Message>>,
}

impl Publisher {
    /// Publishes to a topic, by way of any of these nodes.
    pub(crate) fn start(client: &Client, nodes: Vec<String>, topic: &str) -> Self {
        let nodes = Arc::new(Mutex::new(nodes));
        let (stop, stopped) = watch::channel(false);
        let (counter, count) = watch::channel(0);
        let running = tokio::spawn(run(client.clone(), Arc::clone(&nodes), topic.to_owned(), stopped, counter));
        Self { nodes, stop, count, running }
    }

    /// From now on, by way of these.
    pub(crate) fn knows(&self, nodes: Vec<String>) {
        *self.nodes.lock().expect("no panic") = nodes;
    }

    /// Waits until so many more messages are acknowledged.
    pub(crate) async fn publishes(&mut self, more: usize) {
        let target = *self.count.borrow() + more;
        within("more messages", self.count.wait_for(|count| *count >= target)).await.expect("it runs");
    }

    /// Stops it. Answers what was acknowledged, in its order.
    pub(crate) async fn stop(self) -> Vec<Message> {
        self.stop.send_replace(true);
        within("the last acknowledgement", self.running).await.expect("no panic")
    }
}

async fn run(
    client: Client,
    nodes: Arc<Mutex<Vec<String>>>,
    topic: String,
    stopped: watch::Receiver<bool>,
    counter: watch::Sender<usize>,
) -> Vec<Message> {
    let mut acknowledged: Vec<Message> = Vec::new();
    while !*stopped.borrow() {
        let (key, value) = (format!("{:032x}", fastrand::u128(..)), json!(acknowledged.len()));
        let mut attempts = interval(LOOK_EVERY);
        let message = loop {
            attempts.tick().await;
            let node = fastrand::choice(&*nodes.lock().expect("no panic")).cloned().expect("a node");
            let publication = client.publication(&node, &topic, &value).header("Idempotency-Key", &key);
            match client.try_send(publication).await {
                Ok(answer) if matches!(answer.status, 200 | 201) => {
                    break serde_json::from_value(answer.json()).expect("a message");
                }
                Ok(answer) => assert!(matches!(answer.status, 503 | 504), "{answer:?}"),
                // The node has gone: before, meanwhile or after, nobody knows.
                Err(_) => {}
            }
        };
        acknowledged.push(message);
        counter.send_modify(|count| *count += 1);
    }
    acknowledged
}
