//! The whole of it, under fire: publishers on random nodes, subscribers that hop between them, and leaders that are
//! killed in the midst of it. At the end [`checker`] goes through all that happened.
//!
//! `REPL_CHAOS_MESSAGES` and `REPL_CHAOS_KILLS` make it longer; `make chaos` does.

mod checker;

use std::collections::{BTreeMap, BTreeSet};
use std::env;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::interval;

use self::checker::{Acknowledged, Story, check};
use crate::cluster::{self, Client, Cluster, Event, LOOK_EVERY, Subscriber, Subscription, within};

const TOPICS: usize = 20;
const PUBLISHERS: usize = 8;

/// Messages after which a subscriber goes on at another node.
const MESSAGES_PER_STREAM: std::ops::Range<usize> = 20..80;

/// A number from the environment, or the one for the tests of every day.
fn setting(name: &str, default: usize) -> usize {
    env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn topic(number: usize) -> String {
    format!("chaos:{number}")
}

/// What a node, or two, may meet with. In the end all are there again.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// The leader is killed and comes back.
    LeaderDies,
    /// The leader stands still, and wakes up when there is another one.
    LeaderSleeps,
    /// A follower is stopped in order and comes back.
    FollowerLeaves,
    /// A follower loses all that it has stored, and joins as a new node.
    FollowerLosesDisk,
    /// Without the leader and a follower there is no majority for a while.
    MajorityDies,
}

impl Trouble {
    async fn strike(self, cluster: &mut Cluster) {
        let leader = cluster.leader().await;
        let (follower, other) = ((leader + 1) % 3, (leader + 2) % 3);
        let id = cluster.nodes[leader].started().node;
        let is_followed = |view: &cluster::View| view.leader.is_some_and(|leader| leader != id);
        match self {
            Self::LeaderDies => {
                cluster.nodes[leader].kill();
                // Sometimes it is back before anybody has noticed.
                if fastrand::bool() {
                    cluster.client.sees(cluster.url(other), "another leader", is_followed).await;
                }
                cluster.nodes[leader].start().await;
            }
            Self::LeaderSleeps => {
                cluster.nodes[leader].signal("STOP");
                cluster.client.sees(cluster.url(other), "another leader", is_followed).await;
                cluster.nodes[leader].signal("CONT");
            }
            Self::FollowerLeaves => {
                assert_eq!(cluster.nodes[follower].stop().await, Some(0));
                cluster.nodes[follower].start().await;
            }
            Self::FollowerLosesDisk => {
                // The founder's own line would found another cluster.
                let follower = if follower == 0 { other } else { follower };
                cluster.nodes[follower].kill();
                cluster.nodes[follower].wipe();
                let new = cluster.nodes[follower].start().await.node;
                let replaced = |view: &cluster::View| {
                    view.nodes.len() == 3 && view.ids(|member| member.role != "learner").contains(&new)
                };
                cluster.all_see("the new node votes in the place of the lost one", replaced).await;
            }
            Self::MajorityDies => {
                for node in [leader, follower] {
                    cluster.nodes[node].kill();
                }
                for node in [leader, follower] {
                    cluster.nodes[node].spawn();
                }
                for node in [leader, follower] {
                    cluster.nodes[node].serves().await;
                }
            }
        }
    }
}

#[tokio::test]
async fn everybody_sees_the_same_messages_although_leaders_die() {
    let kills = setting("REPL_CHAOS_KILLS", 2);
    run(Cluster::of(3).await, setting("REPL_CHAOS_MESSAGES", 1_500), &vec![Trouble::LeaderDies; kills]).await;
}

#[tokio::test]
async fn everybody_sees_the_same_messages_whatever_happens_while_the_log_is_purged() {
    let arguments = ["--checkpoint-bytes", "32KiB", "--checkpoint-interval", "500ms"];
    let troubles = [
        Trouble::LeaderSleeps,
        Trouble::FollowerLeaves,
        Trouble::MajorityDies,
        Trouble::FollowerLosesDisk,
        Trouble::LeaderDies,
    ];
    run(Cluster::with(3, &arguments).await, setting("REPL_CHAOS_MESSAGES", 1_500), &troubles).await;
}

async fn run(mut cluster: Cluster, messages: usize, troubles: &[Trouble]) {
    let client = cluster.client.clone();
    for number in 0..TOPICS {
        let retention = u64::try_from(messages + TOPICS).expect("a number");
        client.make_keeping(cluster.url(0), &topic(number), retention).await;
    }
    let subscribers = subscribe(&cluster);
    let (count, mut acknowledged) = watch::channel(0);
    let urls = cluster.urls();
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|number| {
            let share = messages / PUBLISHERS + usize::from(number < messages % PUBLISHERS);
            tokio::spawn(publish(client.clone(), urls.clone(), number, share, count.clone()))
        })
        .collect();

    for (number, trouble) in troubles.iter().enumerate() {
        let due = messages * (number + 1) / (troubles.len() + 1);
        within("more messages", acknowledged.wait_for(|count| *count >= due)).await.expect("publishers");
        trouble.strike(&mut cluster).await;
    }
    let mut story = Story::default();
    for publisher in publishers {
        story.acknowledged.extend(publisher.await.expect("all was published"));
    }
    // Who has seen the last message of each of its topics has been sent all that it will ever be sent.
    for number in 0..TOPICS {
        let key = format!("last-{number}");
        let request = publication(&client, cluster.url(number % 3), &topic(number), &key);
        let answer = client.settled(request).await;
        story.acknowledged.push(Acknowledged { key, id: text(&answer.json()["id"]) });
    }
    story.keys = story.acknowledged.iter().map(|told| told.key.clone()).collect();
    assert_eq!(story.keys.len(), messages + TOPICS);

    for (subscriber, topics) in subscribers {
        let lasts: BTreeSet<String> = topics.iter().map(|topic| topic.replace("chaos:", "last-")).collect();
        let all_lasts = |seen: &[cluster::Seen]| {
            let events = seen.iter().filter_map(cluster::Seen::as_event).filter(|event| event.data.contains("last-"));
            let keys: BTreeSet<String> = events.map(|event| text(&event.json()["value"]["key"])).collect();
            (keys == lasts).then_some(())
        };
        subscriber.until("the last message of each topic", all_lasts).await;
        let streams = subscriber.streams();
        let name = format!("subscriber of {} topics in {streams} streams", topics.len());
        let seen = seen(&subscriber.events());
        assert!(seen.iter().all(|seen| matches!(seen, checker::Seen::Message(_))), "{name}: nothing was evicted");
        story.subscribers.push(checker::Subscriber { name, topics, seen });
    }
    for node in 0..3 {
        let kept = kept(&cluster, node).await;
        story.nodes.insert(cluster.url(node).to_owned(), kept);
    }
    // What nobody reads counts, too: keys, tombstones, settings.
    cluster.nodes[0].ordered(&["verify"]).await;
    let faults = check(&story);
    assert!(faults.is_empty(), "{} faults, among them {:#?}", faults.len(), &faults[..faults.len().min(10)]);
}

/// One subscriber for each topic, and some for many; each hops between all nodes.
fn subscribe(cluster: &Cluster) -> Vec<(Subscriber, BTreeSet<String>)> {
    let mut wanted: Vec<(String, BTreeSet<String>)> =
        (0..TOPICS).map(|number| (format!("/topics/{}/sse", topic(number)), BTreeSet::from([topic(number)]))).collect();
    for part in 0..3 {
        let topics: BTreeSet<String> = (0..TOPICS).filter(|number| number % 3 == part).map(topic).collect();
        let query: Vec<String> = topics.iter().map(|topic| format!("topic={topic}")).collect();
        wanted.push((format!("/sse?{}", query.join("&")), topics));
        wanted.push(("/sse?match=chaos:*".to_owned(), (0..TOPICS).map(topic).collect()));
    }
    let start = |(number, (path, topics)): (usize, (String, BTreeSet<String>))| {
        let mut nodes = cluster.urls();
        nodes.rotate_left(number % 3);
        let after = if path.contains('?') { "&after=earliest" } else { "?after=earliest" };
        let subscription = Subscription {
            nodes,
            path: path + after,
            last_id: None,
            messages_per_stream: Some(fastrand::usize(MESSAGES_PER_STREAM)),
        };
        (Subscriber::start(&cluster.client, subscription), topics)
    };
    wanted.into_iter().enumerate().map(start).collect()
}

/// Publishes to random topics on random nodes, each message until it is acknowledged.
async fn publish(
    client: Client,
    nodes: Vec<String>,
    publisher: usize,
    messages: usize,
    count: watch::Sender<usize>,
) -> Vec<Acknowledged> {
    let mut acknowledged = Vec::new();
    for number in 0..messages {
        let (key, topic) = (format!("{publisher}-{number}"), topic(fastrand::usize(..TOPICS)));
        let mut attempts = interval(LOOK_EVERY);
        let id = async {
            loop {
                attempts.tick().await;
                let node = &nodes[fastrand::usize(..nodes.len())];
                match client.try_send(publication(&client, node, &topic, &key)).await {
                    Ok(answer) if matches!(answer.status, 200 | 201) => return text(&answer.json()["id"]),
                    Ok(answer) if matches!(answer.status, 503 | 504) => {}
                    Ok(answer) => panic!("{answer:?}"),
                    // The node has died: before, meanwhile or after, nobody knows.
                    Err(_) => {}
                }
            }
        };
        let id = within("an acknowledgement", id).await;
        acknowledged.push(Acknowledged { key, id });
        count.send_modify(|count| *count += 1);
    }
    acknowledged
}

fn publication(client: &Client, node: &str, topic: &str, key: &str) -> reqwest::RequestBuilder {
    client.publication(node, topic, &json!({ "key": key })).header("Idempotency-Key", key)
}

/// What a node keeps, once it has the last message of each topic.
async fn kept(cluster: &Cluster, node: usize) -> BTreeMap<String, Vec<checker::Message>> {
    let mut topics = BTreeMap::new();
    for number in 0..TOPICS {
        let last = format!("last-{number}");
        let messages = cluster::until("the last message of each topic on each node", async || {
            let messages = cluster.client.messages(cluster.url(node), &topic(number)).await?;
            messages.iter().any(|message| message.value["key"] == last.as_str()).then_some(messages)
        });
        let messages = messages.await.into_iter().map(|message| checker::Message {
            position: position(&message.id),
            key: text(&message.value["key"]),
            topic: message.topic,
            id: message.id,
            seq: message.seq,
        });
        topics.insert(topic(number), messages.collect());
    }
    topics
}

/// What the checker wants to know of a subscriber's events.
fn seen(events: &[Event]) -> Vec<checker::Seen> {
    let read = |event: &Event| {
        let data = event.json();
        match event.kind.as_str() {
            "message" => {
                assert_eq!(data["id"], event.id.as_str());
                Some(checker::Seen::Message(checker::Message {
                    topic: text(&data["topic"]),
                    position: position(&event.id),
                    seq: data["seq"].as_u64().expect("a number"),
                    key: text(&data["value"]["key"]),
                    id: event.id.clone(),
                }))
            }
            "repl.gap" => Some(checker::Seen::Gap { first_available: position(&text(&data["firstAvailable"])) }),
            _ => None,
        }
    };
    events.iter().filter_map(read).collect()
}

/// A client doesn't look into an id, but the order of ids is the order of messages.
fn position(id: &str) -> u64 {
    id.rsplit_once('-').and_then(|(_, number)| number.parse().ok()).expect("an id")
}

#[track_caller]
fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}
