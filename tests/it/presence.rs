//! Who is there, while nodes come and go under the members.

use std::collections::{BTreeMap, BTreeSet};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::cluster::{Client, Cluster, Event, Seen, Subscriber, Subscription, until};

/// What a watcher makes of what it is told.
#[derive(Debug, Default)]
struct Watched {
    version: u64,
    members: BTreeSet<String>,
    /// How often somebody came and went, of whom it was told one by one.
    joined: BTreeMap<String, usize>,
    left: BTreeMap<String, usize>,
}

impl Watched {
    fn of(seen: &[Seen]) -> Self {
        let mut watched = Self::default();
        let events = seen.iter().filter_map(Seen::as_event).filter(|event| event.kind == "repl.presence");
        events.map(Event::json).filter(|told| told["topic"] == "room").for_each(|told| watched.take(&told));
        watched
    }

    fn take(&mut self, told: &Value) {
        let version = told["version"].as_u64().expect("a version");
        if let Some(members) = told["members"].as_array() {
            self.version = version;
            self.members = ids(members);
        } else if version > self.version {
            self.version = version;
            for id in ids(told["joined"].as_array().expect("a list")) {
                *self.joined.entry(id.clone()).or_default() += 1;
                assert!(self.members.insert(id), "who comes was not there: {told}");
            }
            for id in told["left"].as_array().expect("a list") {
                let id = id.as_str().expect("an id");
                *self.left.entry(id.to_owned()).or_default() += 1;
                assert!(self.members.remove(id), "who goes was there: {told}");
            }
        }
    }
}

fn ids(members: &[Value]) -> BTreeSet<String> {
    members.iter().map(|member| member["id"].as_str().expect("an id").to_owned()).collect()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// Waits until a watcher knows just these.
async fn knows(watcher: &Subscriber, members: &BTreeSet<String>) {
    let what = format!("a watcher knows {} members", members.len());
    watcher.until(&what, |seen| (Watched::of(seen).members == *members).then_some(())).await;
}

/// Waits until a node lists just these.
async fn lists(client: &Client, node: &str, members: &BTreeSet<String>) {
    let what = format!("{node} lists {} members", members.len());
    until(&what, async || {
        let page = client.get(node, "/topics/room/presence").await;
        (page.status == 200 && ids(page.json()["members"].as_array()?) == *members).then_some(())
    })
    .await;
}

async fn make_room(cluster: &Cluster) {
    cluster.client.make_as(cluster.url(0), &json!({"name": "room", "presence": true})).await;
}

/// What a node has said of nodes that it, as the leader, took for gone.
fn dismissals(cluster: &Cluster, node: usize) -> Vec<String> {
    let log = cluster.nodes[node].log();
    log.lines().filter(|line| line.contains("a node is gone, and its readers with it")).map(str::to_owned).collect()
}

/// A user who reads the room at the first of these nodes, and comes back to them in turn.
fn reader(client: &Client, user: &str, nodes: &[&String]) -> Subscriber {
    let path = format!("/sse?topic=room&topic=inbox:{user}&as={user}");
    Subscriber::start(client, Subscription::new(nodes.iter().map(|node| node.as_str()), &path))
}

#[tokio::test]
async fn two_users_outlive_the_node_under_one_of_them_and_nobody_takes_them_for_gone() {
    let mut cluster = Cluster::with(3, &["--presence-grace", "12s"]).await;
    let client = cluster.client.clone();
    let urls = cluster.urls();
    make_room(&cluster).await;
    for inbox in ["inbox:ada", "inbox:bob"] {
        client.make(&urls[0], inbox).await;
    }
    let leader = cluster.leader().await;
    let (one, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let watchers = [
        Subscriber::live(&client, &urls[one], "/sse?presence=room&user=ada").await,
        Subscriber::live(&client, &urls[other], "/sse?presence=room").await,
    ];
    let ada = reader(&client, "ada", &[&urls[leader], &urls[one]]);
    let bob = reader(&client, "bob", &[&urls[other]]);
    let eve = reader(&client, "eve", &[&urls[leader]]);
    for watcher in &watchers {
        knows(watcher, &names(&["ada", "bob", "eve"])).await;
    }
    let mut in_room = vec![client.publish(&urls[leader], "room", json!("hello")).await];
    let mut to_ada = vec![in_room[0].clone(), client.publish(&urls[other], "inbox:ada", json!("psst")).await];

    cluster.nodes[leader].kill();
    in_room.push(client.publish(&urls[one], "room", json!("still here?")).await);
    to_ada.push(in_room[1].clone());
    to_ada.push(client.publish(&urls[other], "inbox:ada", json!("in private")).await);
    let to_bob = client.publish(&urls[one], "inbox:bob", json!("yes")).await;
    bob.has_seen(&[&in_room[..], &[to_bob]].concat()).await;
    ada.has_seen(&to_ada).await;

    // Only who has not come back is gone, once.
    for watcher in &watchers {
        knows(watcher, &names(&["ada", "bob"])).await;
        let watched = Watched::of(&watcher.seen());
        assert_eq!(watched.left, BTreeMap::from([("eve".to_owned(), 1)]), "nobody else was ever away");
    }
    let status: Vec<Value> =
        watchers[0].events().iter().map(Event::json).filter(|told| told["user"] == "ada").collect();
    assert_eq!(status.iter().map(|told| &told["online"]).collect::<Vec<_>>(), [false, true], "{status:?}");
    drop(eve);
    cluster.nodes[leader].start().await;
    for url in &urls {
        lists(&client, url, &names(&["ada", "bob"])).await;
    }

    // Whoever is sent elsewhere by a node that stops was not away either.
    let gone = format!("peer={}", cluster.nodes[one].started().node);
    assert_eq!(cluster.nodes[one].stop().await, Some(0));
    ada.opened(3).await;
    let after = client.publish(&urls[leader], "inbox:ada", json!("after the move")).await;
    to_ada.push(after);
    ada.has_seen(&to_ada).await;
    // Whoever leads by then says so.
    until("the node is taken for gone", async || {
        let mut lines = [leader, other].into_iter().flat_map(|node| dismissals(&cluster, node));
        lines.any(|line| line.contains(&gone)).then_some(())
    })
    .await;
    for url in [&urls[leader], &urls[other]] {
        lists(&client, url, &names(&["ada", "bob"])).await;
    }
    let left = Watched::of(&watchers[1].seen()).left;
    assert_eq!(left, BTreeMap::from([("eve".to_owned(), 1)]));
}

#[tokio::test]
async fn a_thousand_members_of_a_killed_node_leave_once_each_on_every_watcher() {
    const MEMBERS: usize = 1_000;
    // Longer than a node is ever silent because the machine has too much to do.
    let mut cluster = Cluster::with(3, &["--presence-grace", "12s"]).await;
    let client = cluster.client.clone();
    let urls = cluster.urls();
    make_room(&cluster).await;
    let victim = cluster.follower().await;
    let others = [(victim + 1) % 3, (victim + 2) % 3];
    let mut watchers = Vec::new();
    for node in others {
        watchers.push(Subscriber::live(&client, &urls[node], "/sse?presence=room").await);
    }
    let stays = reader(&client, "stays", &[&urls[others[0]]]);
    let users: Vec<String> = (0..MEMBERS).map(|number| format!("user-{number}")).collect();
    let readers: Vec<Subscriber> = users.iter().map(|user| reader(&client, user, &[&urls[victim]])).collect();
    let all: BTreeSet<String> = users.iter().cloned().chain(["stays".to_owned()]).collect();
    for watcher in &watchers {
        knows(watcher, &all).await;
    }

    cluster.nodes[victim].kill();
    drop(readers);
    for watcher in &watchers {
        knows(watcher, &names(&["stays"])).await;
    }
    let [one, other] = [&watchers[0], &watchers[1]].map(|watcher| Watched::of(&watcher.seen()));
    assert_eq!(one.left, users.iter().map(|user| (user.clone(), 1)).collect(), "each once, and nobody else");
    assert_eq!((one.version, &one.left, &one.joined), (other.version, &other.left, &other.joined));
    let told: Vec<String> = others.into_iter().flat_map(|node| dismissals(&cluster, node)).collect();
    assert!(told.len() == 1 && told[0].contains("members=1000"), "one entry of the log for all of them: {told:?}");
    cluster.nodes[victim].start().await;
    lists(&client, &urls[victim], &names(&["stays"])).await;
    drop(stays);
}

#[tokio::test]
async fn after_a_restart_of_all_nodes_who_comes_back_was_never_away_and_nobody_else_is_there() {
    let mut cluster = Cluster::with(3, &["--presence-grace", "12s"]).await;
    let client = cluster.client.clone();
    let urls = cluster.urls();
    make_room(&cluster).await;
    let ada = reader(&client, "ada", &[&urls[0], &urls[1]]);
    let bob = reader(&client, "bob", &[&urls[2]]);
    for url in &urls {
        lists(&client, url, &names(&["ada", "bob"])).await;
    }
    let since = client.get(&urls[0], "/users/ada/presence").await.json()["since"].clone();

    drop(bob);
    cluster.nodes.iter_mut().for_each(|node| node.kill());
    cluster.nodes.iter_mut().for_each(|node| node.spawn());
    for node in &mut cluster.nodes {
        node.serves().await;
    }
    for url in &urls {
        lists(&client, url, &names(&["ada"])).await;
        let user = client.get(url, "/users/ada/presence").await.json();
        assert_eq!((&user["online"], &user["since"]), (&json!(true), &since));
    }
    drop(ada);
    for url in &urls {
        lists(&client, url, &names(&[])).await;
    }
}

#[tokio::test]
async fn a_node_that_was_taken_for_dead_puts_its_readers_in_again() {
    let mut cluster = Cluster::with(3, &["--presence-grace", "3s"]).await;
    let client = cluster.client.clone();
    let urls = cluster.urls();
    make_room(&cluster).await;
    let paused = cluster.follower().await;
    let other = (paused + 1) % 3;
    let watcher = Subscriber::live(&client, &urls[other], "/sse?presence=room").await;
    let ada = reader(&client, "ada", &[&urls[paused]]);
    knows(&watcher, &names(&["ada"])).await;

    cluster.nodes[paused].signal(Signal::STOP);
    knows(&watcher, &names(&[])).await;
    cluster.nodes[paused].signal(Signal::CONT);
    knows(&watcher, &names(&["ada"])).await;
    assert_eq!(ada.streams(), 1, "her stream was open all the time");
    for url in &urls {
        lists(&client, url, &names(&["ada"])).await;
    }
}

#[tokio::test]
async fn a_stream_that_comes_back_is_told_who_is_there_now_and_goes_on_from_its_last_id() {
    let cluster = Cluster::with(3, &["--presence-grace", "100ms"]).await;
    let client = cluster.client.clone();
    let urls = cluster.urls();
    make_room(&cluster).await;
    let path = "/sse?topic=room&presence=room";
    let nodes = urls.iter().map(String::as_str);
    let watcher = Subscriber::start(&client, Subscription::new(nodes, path));
    watcher.event("repl.ready").await;
    let ada = reader(&client, "ada", &[&urls[1]]);
    knows(&watcher, &names(&["ada"])).await;
    let mut messages = vec![client.publish(&urls[2], "room", json!(0)).await];
    watcher.has_seen(&messages).await;

    for node in [1, 2, 0] {
        watcher.hop(node);
        messages.push(client.publish(&urls[node], "room", json!(node)).await);
        let bob = reader(&client, "bob", &[&urls[2]]);
        knows(&watcher, &names(&["ada", "bob"])).await;
        watcher.has_seen(&messages).await;
        drop(bob);
        knows(&watcher, &names(&["ada"])).await;
    }
    let has_id = |event: &Event| event.has_id;
    assert!(watcher.events().iter().all(has_id), "so that the last id is never one of another stream");
    drop(ada);
}

#[tokio::test]
async fn without_presence_nothing_is_written_to_the_log_for_those_who_read() {
    let cluster = Cluster::of(1).await;
    let client = cluster.client.clone();
    let url = cluster.url(0);
    client.make(url, "room").await;
    let entries = async || client.metric(url, "repl_raft_last_log_index").await.expect("a number");
    let before = entries().await;
    for user in ["ada", "bob"] {
        let stream = Subscriber::live(&client, url, &format!("/sse?topic=room&as={user}")).await;
        drop(stream);
    }
    // A topic with presence shows that changes would have been told by now.
    client.make_as(url, &json!({"name": "other", "presence": true})).await;
    let other = Subscriber::live(&client, url, "/sse?topic=other&as=ada").await;
    until("the other topic has a member", async || {
        let page = client.get(url, "/topics/other/presence").await.json();
        (page["count"] == 1).then_some(())
    })
    .await;
    assert_eq!(entries().await - before, 2, "the topic, and its member");
    drop(other);
}

#[tokio::test]
async fn what_is_said_in_private_reaches_its_owner_on_whatever_node_either_is() {
    let mut cluster = Cluster::with(3, &["--inboxes", "--presence", "inbox:*"]).await;
    let client = cluster.client.clone();
    let urls = cluster.urls();
    // Nobody has created anything. Ada is there once she reads her inbox, and Bob's is there once somebody writes to it.
    let ada = Subscriber::live(&client, &urls[1], "/topics/inbox:ada/sse?as=ada").await;
    let mut to_ada = Vec::new();
    for url in &urls {
        to_ada.push(client.publish(url, "inbox:ada", json!("psst")).await);
    }
    ada.has_seen(&to_ada).await;
    let to_bob = client.publish(&urls[0], "inbox:bob", json!("call me")).await;
    let bob =
        Subscriber::start(&client, Subscription::new([urls[2].as_str()], "/sse?topic=inbox:bob&after=earliest&as=bob"));
    bob.has_seen(&[to_bob]).await;
    for (url, user) in [(&urls[0], "ada"), (&urls[0], "bob"), (&urls[2], "ada")] {
        until("the user is online", async || {
            let status = client.get(url, &format!("/users/{user}/presence")).await.json();
            (status["online"] == true && status["topics"][0]["topic"] == format!("inbox:{user}")).then_some(())
        })
        .await;
    }
    assert_eq!(cluster.nodes[0].stop().await, Some(0));
}

#[tokio::test]
async fn streams_are_counted_on_all_nodes_whether_a_topic_has_presence_or_not() {
    let mut cluster = Cluster::of(3).await;
    let client = cluster.client.clone();
    let urls = cluster.urls();
    client.make(&urls[0], "plain").await;
    let mut subscribers = Vec::new();
    for (url, path) in
        [(0, "/topics/plain/sse"), (1, "/sse?topic=plain"), (1, "/sse?topic=plain&as=ada"), (2, "/sse?match=*")]
    {
        subscribers.push(Subscriber::live(&client, &urls[url], path).await);
    }
    // A pattern meets a topic with its next message.
    let message = client.publish(&urls[0], "plain", json!(1)).await;
    for subscriber in &subscribers {
        subscriber.has_seen(std::slice::from_ref(&message)).await;
    }
    // Who doesn't answer in time is not waited for.
    let counts = async |url: &str, streams: u64, complete: bool| {
        until(&format!("{streams} streams, complete: {complete}"), async || {
            let counted = client.get(url, "/topics/plain/occupancy").await.expect(200).json();
            (counted == json!({"topic": "plain", "streams": streams, "complete": complete})).then_some(())
        })
        .await;
    };
    for url in &urls {
        counts(url, 4, true).await;
    }
    assert_eq!(client.get(&urls[0], "/topics/none/occupancy").await.code().as_deref(), Some("topic-not-found"));

    cluster.nodes[2].kill();
    drop(subscribers.pop());
    counts(&urls[0], 3, false).await;
}

#[tokio::test]
async fn readers_of_a_node_that_is_removed_from_the_cluster_have_the_grace_to_go_elsewhere() {
    let mut cluster = Cluster::with(3, &["--presence-grace", "8s"]).await;
    let client = cluster.client.clone();
    let urls = cluster.urls();
    make_room(&cluster).await;
    let leader = cluster.leader().await;
    let (removed, stays) = ((leader + 1) % 3, (leader + 2) % 3);
    let watcher = Subscriber::live(&client, &urls[stays], "/sse?presence=room").await;
    let ada = reader(&client, "ada", &[&urls[removed], &urls[stays]]);
    let eve = reader(&client, "eve", &[&urls[removed]]);
    knows(&watcher, &names(&["ada", "eve"])).await;

    let id = cluster.nodes[removed].started().node.to_string();
    cluster.nodes[leader].ordered(&["remove", &id]).await;
    knows(&watcher, &names(&["ada"])).await;
    assert_eq!(Watched::of(&watcher.seen()).left, BTreeMap::from([("eve".to_owned(), 1)]));
    drop((ada, eve));
}
