//! Plain HTTP, as curl would speak it.

use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::interval;

use super::patience::{LOOK_EVERY, until, within};

/// For one answer. A node that can't give one within this time stands still.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// A client of any node.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
}

/// What came back.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) media_type: String,
    pub(crate) text: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{self:?}: {error}"))
    }

    /// The stable code of a problem; nothing if it is none.
    pub(crate) fn code(&self) -> Option<String> {
        let problem: Value = serde_json::from_str(&self.text).ok()?;
        let is_problem = self.media_type == "application/problem+json";
        problem["code"].as_str().filter(|_| is_problem).map(str::to_owned)
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }
}

/// A message as a node keeps it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) topic: String,
    pub(crate) seq: u64,
    pub(crate) value: Value,
    pub(crate) created_at: String,
}

/// The cluster as a node sees it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct View {
    pub(crate) cluster: String,
    pub(crate) leader: Option<u64>,
    pub(crate) nodes: Vec<Member>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Member {
    pub(crate) id: u64,
    pub(crate) role: String,
    pub(crate) state: String,
    pub(crate) silent_ms: Option<u64>,
    pub(crate) lag: Option<u64>,
    pub(crate) cores: u32,
    pub(crate) connections: u64,
    pub(crate) client_url: String,
    /// Empty for those who are no operators.
    #[serde(default)]
    pub(crate) peer_addr: String,
}

/// As many as there may be: some tests have a thousand connections, and all are in one process.
fn raise_descriptors() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("no more than there may be");
}

impl View {
    /// The ids of the members with this role, in order.
    pub(crate) fn ids(&self, is: impl Fn(&Member) -> bool) -> Vec<u64> {
        let mut ids: Vec<u64> = self.nodes.iter().filter(|member| is(member)).map(|member| member.id).collect();
        ids.sort_unstable();
        ids
    }

    /// How many have a vote.
    pub(crate) fn voters(&self) -> usize {
        self.nodes.iter().filter(|member| member.role != "learner").count()
    }
}

impl Client {
    pub(crate) fn new() -> Self {
        raise_descriptors();
        let http = reqwest::Client::builder().no_proxy().connect_timeout(ANSWER_TIMEOUT).build();
        Self { http: http.expect("a client") }
    }

    pub(crate) fn request(&self, method: Method, url: &str) -> RequestBuilder {
        self.http.request(method, url)
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// There is no connection, or it broke: what was asked for may have been done.
    pub(crate) async fn try_send(&self, request: RequestBuilder) -> Result<Answer, reqwest::Error> {
        let response = request.timeout(ANSWER_TIMEOUT).send().await?;
        let media_type = response.headers().get("content-type").and_then(|value| value.to_str().ok());
        let media_type = media_type.unwrap_or_default().to_owned();
        let status = response.status().as_u16();
        Ok(Answer { status, media_type, text: response.text().await? })
    }

    pub(crate) async fn send(&self, request: RequestBuilder) -> Answer {
        self.try_send(request).await.expect("an answer")
    }

    pub(crate) async fn get(&self, node: &str, path: &str) -> Answer {
        self.send(self.request(Method::GET, &format!("{node}{path}"))).await
    }

    pub(crate) async fn post(&self, node: &str, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, &format!("{node}{path}")).json(body)).await
    }

    /// Asks for a topic, which may be refused.
    pub(crate) async fn create(&self, node: &str, topic: &str) -> Answer {
        self.post(node, "/topics", &json!({ "name": topic })).await
    }

    /// Sees to it that there is a topic.
    pub(crate) async fn make(&self, node: &str, topic: &str) {
        self.make_as(node, &json!({ "name": topic })).await;
    }

    /// Sees to it that there is a topic that keeps so many messages.
    pub(crate) async fn make_keeping(&self, node: &str, topic: &str, max_messages: u64) {
        self.make_as(node, &json!({ "name": topic, "retention": { "maxMessages": max_messages } })).await;
    }

    pub(crate) async fn make_as(&self, node: &str, topic: &Value) {
        let answer = self.settled(self.request(Method::POST, &format!("{node}/topics")).json(topic)).await;
        assert!(matches!(answer.status, 200 | 201), "{answer:?}");
    }

    /// Publishes once, however often that has to be tried, and answers the message as it was stored.
    pub(crate) fn publish(&self, node: &str, topic: &str, value: Value) -> impl Future<Output = Message> + use<> {
        let (client, node, topic) = (self.clone(), node.to_owned(), topic.to_owned());
        let key = format!("{:032x}", fastrand::u128(..));
        async move {
            let request = client.publication(&node, &topic, &value).header("Idempotency-Key", &key);
            let answer = client.settled(request).await;
            assert!(matches!(answer.status, 200 | 201), "{answer:?}");
            serde_json::from_value(answer.json()).expect("a message")
        }
    }

    /// Sends a write that may be repeated until it is answered by something else than that it has to be.
    pub(crate) async fn settled(&self, request: RequestBuilder) -> Answer {
        let mut attempts = interval(LOOK_EVERY);
        let settled = async {
            loop {
                attempts.tick().await;
                match self.try_send(request.try_clone().expect("its body is in memory")).await {
                    Ok(answer) if !matches!(answer.status, 503 | 504) => return answer,
                    Ok(_) => {}
                    Err(error) => assert!(error.is_timeout(), "no answer: {error:?}"),
                }
            }
        };
        within("an answer that settles it", settled).await
    }

    /// Asks for a stream until it is refused for good: not for that nobody can tell at the moment.
    pub(crate) async fn refused(&self, node: &str, path: &str) -> Answer {
        let what = format!("{node} refuses {path}");
        until(&what, async || Some(self.get(node, path).await).filter(|answer| answer.status != 200)).await
    }

    /// Publishes values one after another.
    pub(crate) async fn publish_all(
        &self,
        node: &str,
        topic: &str,
        values: impl IntoIterator<Item = u64>,
    ) -> Vec<Message> {
        let mut messages = Vec::new();
        for value in values {
            messages.push(self.publish(node, topic, value.into()).await);
        }
        messages
    }

    /// A publish that has not been sent yet.
    pub(crate) fn publication(&self, node: &str, topic: &str, value: &Value) -> RequestBuilder {
        self.request(Method::POST, &format!("{node}/topics/{topic}")).json(&json!({ "value": value }))
    }

    /// Everything that a node keeps of a topic, page by page; nothing if it has no such topic, or can't answer now.
    pub(crate) async fn messages(&self, node: &str, topic: &str) -> Option<Vec<Message>> {
        #[derive(Deserialize)]
        struct Page {
            messages: Vec<Message>,
            next: Option<String>,
        }
        let mut messages = Vec::new();
        let mut after = String::new();
        loop {
            let url = format!("{node}/topics/{topic}/messages?limit=1000{after}");
            let answer = self.try_send(self.request(Method::GET, &url)).await.ok()?;
            let page: Page = serde_json::from_str(&answer.text).ok().filter(|_| answer.status == 200)?;
            messages.extend(page.messages);
            match page.next {
                Some(next) => after = format!("&after={next}"),
                None => return Some(messages),
            }
        }
    }

    /// Waits until a node keeps exactly these messages of a topic.
    pub(crate) async fn keeps(&self, node: &str, topic: &str, expected: &[Message]) {
        let what = format!("{node} keeps {} messages of {topic}", expected.len());
        until(&what, async || self.messages(node, topic).await.filter(|messages| messages == expected)).await;
    }

    /// The cluster as a node sees it; nothing if it doesn't answer.
    pub(crate) async fn view(&self, node: &str) -> Option<View> {
        let answer = self.try_send(self.request(Method::GET, &format!("{node}/cluster"))).await.ok()?;
        serde_json::from_str(&answer.text).ok()
    }

    /// Waits until a node sees the cluster so.
    pub(crate) async fn sees(&self, node: &str, what: &str, is: impl Fn(&View) -> bool) -> View {
        until(what, async || self.view(node).await.filter(&is)).await
    }

    /// A number that a node tells on `/metrics`.
    pub(crate) async fn metric(&self, node: &str, name: &str) -> Option<u64> {
        let answer = self.try_send(self.request(Method::GET, &format!("{node}/metrics"))).await.ok()?;
        let mut values = answer.text.lines().filter_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        values.next()
    }

    /// Waits until `/readyz` answers so.
    pub(crate) async fn readiness(&self, node: &str, status: u16) -> Answer {
        let request = || self.request(Method::GET, &format!("{node}/readyz"));
        let what = format!("{node} answers {status} to /readyz");
        until(&what, async || self.try_send(request()).await.ok().filter(|answer| answer.status == status)).await
    }
}
