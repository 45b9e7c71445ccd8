//! What must not come back: the faults of an earlier implementation, and of brokers like it, each as the fact that it
//! is not so any more.

use std::io::{Read, Write};
use std::net::TcpStream;

use futures_util::future::join_all;
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::cluster::{Cluster, DEADLINE, LEADER_STAYS, Message, Seen, Stalled, Subscriber, Subscription};

/// Publishes so many messages at the same time.
async fn burst(cluster: &Cluster, node: usize, topic: &str, count: u64) -> Vec<Message> {
    let publish = |value: u64| tokio::spawn(cluster.client.publish(cluster.url(node), topic, value.into()));
    let publishes: Vec<_> = (0..count).map(publish).collect();
    let mut messages = Vec::new();
    for publish in publishes {
        messages.push(publish.await.expect("published"));
    }
    messages.sort_unstable_by_key(|message| message.seq);
    messages
}

#[tokio::test]
async fn a_publish_on_a_follower_is_stored_everywhere_and_answered_once_it_is_readable_there() {
    let mut cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    cluster.client.make(cluster.url(leader), "orders").await;
    let mut published = Vec::new();
    for value in 0..20 {
        for follower in (0..3).filter(|node| *node != leader) {
            let message = cluster.client.publish(cluster.url(follower), "orders", value.into()).await;
            let messages = cluster.client.messages(cluster.url(follower), "orders").await.expect("a page");
            assert_eq!(messages.last(), Some(&message), "it is read where it was written");
            published.push(message);
        }
    }
    cluster.all_keep("orders", &published).await;
}

#[tokio::test]
async fn a_topic_created_on_a_follower_is_created() {
    // An election would make it an answer to a repetition.
    let mut cluster = Cluster::with(3, &LEADER_STAYS).await;
    let leader = cluster.leader().await;
    for follower in (0..3).filter(|node| *node != leader) {
        let topic = format!("of-node-{follower}");
        let created = cluster.client.create(cluster.url(follower), &topic).await.expect(201);
        assert_eq!(created.json()["name"], topic.as_str());
        cluster.client.get(cluster.url(follower), &format!("/topics/{topic}")).await.expect(200);
        cluster.client.create(cluster.url(follower), &topic).await.expect(200);
        cluster.client.create(cluster.url(leader), &topic).await.expect(200);
    }
}

#[tokio::test]
async fn a_topic_that_was_just_created_is_streamed_by_any_node() {
    let mut cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    let follower = (leader + 1) % 3;
    // Before the follower has heard of it: a 404 would end an EventSource for good.
    for number in 0..30 {
        let topic = format!("new-{number}");
        cluster.client.make(cluster.url(leader), &topic).await;
        let url = format!("{}/topics/{topic}/sse", cluster.url(follower));
        let stream = cluster.client.request(Method::GET, &url).send().await.expect("an answer");
        assert_eq!(stream.status(), 200, "{topic}");
    }
}

#[tokio::test]
async fn creating_an_existing_topic_leaves_its_subscribers_alone() {
    let cluster = Cluster::of(1).await;
    let (client, node) = (&cluster.client, cluster.url(0));
    client.make(node, "orders").await;
    let subscriber = Subscriber::live(client, node, "/topics/orders/sse").await;

    client.create(node, "orders").await.expect(200);
    let other = json!({ "name": "orders", "retention": { "maxMessages": 7 } });
    client.post(node, "/topics", &other).await.expect(409);
    let message = client.publish(node, "orders", json!("still here")).await;

    subscriber.has_seen(&[message]).await;
    assert_eq!(subscriber.streams(), 1);
}

#[tokio::test]
async fn a_stalled_subscriber_holds_up_neither_publishers_nor_other_subscribers() {
    let cluster = Cluster::of(1).await;
    let (client, node) = (&cluster.client, cluster.url(0));
    client.make(node, "orders").await;
    client.make(node, "other").await;
    let mut stalled = Vec::new();
    for path in ["/topics/orders/sse", "/sse?topic=orders&topic=other", "/sse?match=**"] {
        stalled.push(Stalled::open(node, path).await);
    }
    let healthy = Subscriber::live(client, node, "/topics/orders/sse").await;
    let elsewhere = Subscriber::live(client, node, "/sse?match=*").await;

    // Far more than the network takes for a client that doesn't read, and than the broker keeps for it.
    let large = Value::from("x".repeat(60_000));
    let (mut orders, mut all) = (Vec::new(), Vec::new());
    for round in 0..300 {
        orders.push(client.publish(node, "orders", large.clone()).await);
        all.extend(orders.last().cloned());
        if round % 50 == 0 {
            all.push(client.publish(node, "other", json!(round)).await);
        }
    }

    healthy.has_seen(&orders).await;
    elsewhere.has_seen(&all).await;
    assert_eq!((healthy.streams(), elsewhere.streams()), (1, 1));
    // Of 18 MB that were published the broker keeps what a topic's log may keep.
    let kept = client.metric(node, "repl_fanout_kept_bytes").await.expect("a number");
    assert!(kept < 2_000_000, "{kept} bytes are kept");
}

#[tokio::test]
async fn a_subscriber_that_reads_on_too_late_is_told_what_it_has_missed() {
    let cluster = Cluster::of(1).await;
    let (client, node) = (&cluster.client, cluster.url(0));
    client.make_keeping(node, "orders", 10).await;
    let mut stalled = Stalled::open(node, "/topics/orders/sse").await;
    let large = Value::from("x".repeat(60_000));
    // At once: who takes nothing is closed after 25 seconds.
    join_all((0..100).map(|_| client.publish(node, "orders", large.clone()))).await;
    let kept = client.messages(node, "orders").await.expect("a page");
    assert_eq!(kept.len(), 10);

    let mut before = stalled.event("repl.gap").await;
    let gap = before.pop().expect("the gap").json();
    assert_eq!((&gap["reason"], &gap["firstAvailable"]), (&json!("overrun"), &json!(kept[0].id)));
    let seqs: Vec<_> = before.iter().map(|event| event.json()["seq"].as_u64().expect("a number")).collect();
    assert_eq!(seqs, (1..=u64::try_from(seqs.len()).expect("a number")).collect::<Vec<_>>(), "until then, all of them");
}

#[tokio::test]
async fn bursts_arrive_whole_and_in_order() {
    let cluster = Cluster::of(1).await;
    let (client, node) = (&cluster.client, cluster.url(0));
    client.make_keeping(node, "orders", 5_000).await;
    let subscriber = Subscriber::live(client, node, "/topics/orders/sse").await;
    let by_pattern = Subscriber::live(client, node, "/sse?match=*").await;
    let mut messages = Vec::new();
    for count in [1, 63, 64, 65, 1_000] {
        messages.extend(burst(&cluster, 0, "orders", count).await);
        subscriber.has_seen(&messages).await;
        by_pattern.has_seen(&messages).await;
    }
}

#[tokio::test]
async fn after_a_restart_nothing_old_is_sent_as_if_it_were_new() {
    let mut cluster = Cluster::of(1).await;
    let client = cluster.client.clone();
    client.make(cluster.url(0), "orders").await;
    let old = client.publish_all(cluster.url(0), "orders", 0..50).await;
    cluster.nodes[0].kill();
    // They knock from before the port is open.
    let paths = ["/sse?topic=orders", "/sse?match=**"];
    let subscribers = paths.map(|path| Subscriber::of(&client, cluster.url(0), path));
    cluster.nodes[0].start().await;
    for subscriber in &subscribers {
        subscriber.event("repl.ready").await;
    }

    let new = client.publish(cluster.url(0), "orders", json!("new")).await;
    for subscriber in &subscribers {
        subscriber.has_seen(std::slice::from_ref(&new)).await;
    }
    let kept: Vec<Message> = old.into_iter().chain([new]).collect();
    cluster.all_keep("orders", &kept).await;
}

#[tokio::test]
async fn nothing_that_a_client_sends_stops_a_node() {
    let mut cluster = Cluster::of(3).await;
    cluster.client.make(cluster.url(0), "orders").await;
    let deep = format!("{{\"value\": {}1{}}}", "[".repeat(100), "]".repeat(100));
    let large = format!("{{\"value\": \"{}\"}}", "x".repeat(100_000));
    let bodies: [(&str, &[u8]); 12] = [
        ("/topics/orders", b""),
        ("/topics/orders", b"{"),
        ("/topics/orders", b"[1, 2]"),
        ("/topics/orders", b"{\"valeu\": 1}"),
        ("/topics/orders", b"{\"value\": \xff}"),
        ("/topics/orders", b"{\"value\": 1, \"type\": \"a\\nid: 9\"}"),
        ("/topics/orders", b"{\"value\": 1, \"type\": \"repl.gap\"}"),
        ("/topics/orders", deep.as_bytes()),
        ("/topics/orders", large.as_bytes()),
        ("/topics/nowhere", b"{\"value\": 1}"),
        ("/topics", b"{\"name\": \"repl.own\"}"),
        ("/topics", b"{\"name\": \"a\", \"retention\": {\"maxMessages\": -1}}"),
    ];
    let paths = [
        "/topics/%00",
        "/topics/%ff/messages",
        "/topics/orders/messages?after=nowhere",
        "/topics/orders/sse?after=00000000-99999999999999999999999",
        "/sse",
        "/sse?match=**:a",
    ];
    for node in 0..3 {
        let url = cluster.url(node).to_owned();
        for (path, body) in bodies {
            let request = cluster.client.request(Method::POST, &format!("{url}{path}"));
            let request = request.header("content-type", "application/json").body(body.to_vec());
            let answer = cluster.client.settled(request).await;
            assert!((400..500).contains(&answer.status) && answer.code().is_some(), "{path}: {answer:?}");
        }
        for path in paths {
            let answer = cluster.client.get(&url, path).await;
            assert!((400..500).contains(&answer.status) && answer.code().is_some(), "{path}: {answer:?}");
        }
        for address in [url.trim_start_matches("http://"), cluster.nodes[node].started().peer.as_str()] {
            shout(address);
        }
    }

    // What was refused is in the log too, and must not stop the node that replays it.
    for node in 0..3 {
        assert!(cluster.nodes[node].is_running());
        cluster.nodes[node].kill();
        cluster.nodes[node].start().await;
    }
    let message = cluster.client.publish(cluster.url(1), "orders", json!("fine")).await;
    cluster.all_keep("orders", &[message]).await;
}

/// Sends bytes that make no sense to whoever listens there, and reads until the other side has had enough.
fn shout(address: &str) {
    for bytes in [b"\0\0\0\0\xff\xff\xff\xff".repeat(64), b"repl\x01".repeat(100), b"GET / HTTP/9\r\n\r\n".to_vec()] {
        let mut stream = TcpStream::connect(address).expect("somebody listens");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        // Either may fail, if the other side closes at the first byte that it doesn't like.
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let closed = stream.read_to_end(&mut Vec::new());
        let waited = closed.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        assert!(!waited, "{address} keeps a connection that it can't read");
    }
}

#[tokio::test]
async fn every_event_of_the_broker_has_data_and_an_id() {
    let cluster = Cluster::with(1, &["--keep-alive", "100ms"]).await;
    let (client, node) = (&cluster.client, cluster.url(0));
    for topic in ["orders", "other"] {
        client.make_keeping(node, topic, 2).await;
    }
    let first = client.publish(node, "orders", json!(1)).await;
    client.publish_all(node, "orders", 2..6).await;
    let subscription = Subscription::new([node], "/sse?topic=orders").after(&first.id);
    let subscriber = Subscriber::start(client, subscription);

    subscriber.event("repl.gap").await;
    let ready = subscriber.event("repl.ready").await;
    let elsewhere = client.publish(node, "other", json!(1)).await;
    let moved = subscriber.event("repl.cursor").await;
    client.send(client.request(Method::DELETE, &format!("{node}/topics/orders"))).await.expect(204);
    let deleted = subscriber.event("repl.topic").await;

    assert_eq!(ready.json(), json!({ "cursor": ready.id }));
    assert_eq!((moved.json(), &moved.id), (json!({ "cursor": elsewhere.id }), &elsewhere.id));
    assert_eq!(deleted.json(), json!({ "topic": "orders", "deleted": true }));
    for event in subscriber.events() {
        assert!(event.has_id && !event.id.is_empty() && event.json().is_object(), "{event:?}");
    }
}

#[tokio::test]
async fn a_quiet_stream_shows_that_it_lives_and_no_client_takes_that_for_an_event() {
    let mut cluster = Cluster::with(1, &["--keep-alive", "100ms"]).await;
    let subscriber = Subscriber::live(&cluster.client, cluster.url(0), "/sse?topic=quiet").await;
    // One that came later has had some signs of life, so the first has had more.
    let mut second = Stalled::open(cluster.url(0), "/sse?topic=quiet").await;
    second.comments(5).await;
    assert_eq!(cluster.nodes[0].stop().await, Some(0));

    let closed = |seen: &[Seen]| seen.iter().find(|seen| matches!(seen, Seen::Closed { .. })).cloned();
    let closed = subscriber.until("the end of the stream", closed).await;
    let Seen::Closed { in_order, within_event, comments, ghosts } = closed else { panic!("it is closed") };
    assert!(in_order && !within_event && comments >= 4, "{comments} comments");
    assert_eq!(ghosts, 0);
}

#[tokio::test]
async fn an_id_resumes_on_any_node_without_a_hole_or_a_repetition() {
    let cluster = Cluster::of(3).await;
    let client = &cluster.client;
    client.make(cluster.url(0), "orders").await;
    client.make(cluster.url(0), "other").await;
    let urls = cluster.urls();
    let nodes = urls.iter().map(String::as_str);
    let subscriber = Subscriber::start(client, Subscription::new(nodes, "/sse?topic=orders&match=*"));
    subscriber.event("repl.ready").await;

    let mut expected = Vec::new();
    for round in 0..6 {
        for topic in ["orders", "other"] {
            expected.extend(client.publish_all(cluster.url(round % 3), topic, 0..3).await);
        }
        subscriber.has_seen(&expected).await;
        // What is published while it is away, it gets where it comes back.
        subscriber.hop((round + 1) % 3);
        expected.extend(client.publish_all(cluster.url(round % 3), "orders", 3..6).await);
        subscriber.has_seen(&expected).await;
    }
}

#[tokio::test]
async fn a_node_that_is_behind_a_cursor_waits_until_it_is_not() {
    let mut cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    let follower = (leader + 1) % 3;
    let client = cluster.client.clone();
    client.make(cluster.url(leader), "orders").await;
    cluster.all_keep("orders", &[]).await;
    let urls = [cluster.url(leader), cluster.url(follower)];
    let subscriber = Subscriber::start(&client, Subscription::new(urls, "/topics/orders/sse"));
    subscriber.event("repl.ready").await;

    cluster.nodes[follower].signal(Signal::STOP);
    let mut messages = client.publish_all(cluster.url(leader), "orders", 0..50).await;
    subscriber.has_seen(&messages).await;
    subscriber.hop(1);
    cluster.nodes[follower].signal(Signal::CONT);
    subscriber.opened(2).await;
    messages.extend(client.publish_all(cluster.url(leader), "orders", 50..60).await);

    subscriber.has_seen(&messages).await;
    let gaps: Vec<_> = subscriber.events().into_iter().filter(|event| event.kind == "repl.gap").collect();
    assert_eq!(gaps, []);
}

#[tokio::test]
async fn who_comes_back_after_retention_is_told_before_the_next_message() {
    let cluster = Cluster::of(3).await;
    let client = &cluster.client;
    client.make_keeping(cluster.url(0), "orders", 5).await;
    let first = client.publish(cluster.url(0), "orders", json!("seen")).await;
    client.publish_all(cluster.url(0), "orders", 0..20).await;
    let kept = client.messages(cluster.url(0), "orders").await.expect("a page");
    assert_eq!(kept.len(), 5);
    cluster.all_keep("orders", &kept).await;

    for node in 0..3 {
        let subscription = Subscription::new([cluster.url(node)], "/topics/orders/sse").after(&first.id);
        let subscriber = Subscriber::start(client, subscription);
        subscriber.has_seen(&kept).await;
        let gap = subscriber.events().into_iter().next().expect("an event");
        assert_eq!(gap.kind, "repl.gap");
        let expected = json!({
            "requested": first.id, "firstAvailable": kept[0].id, "reason": "retention", "topics": ["orders"],
        });
        assert_eq!(gap.json(), expected);
    }
}

#[tokio::test]
async fn who_comes_back_is_told_that_a_topic_was_deleted_also_if_there_is_a_new_one() {
    let mut cluster = Cluster::of(1).await;
    let client = cluster.client.clone();
    client.make(cluster.url(0), "other").await;
    client.make(cluster.url(0), "orders").await;
    let before = client.publish(cluster.url(0), "other", json!("before")).await;
    let old = client.publish(cluster.url(0), "orders", json!("old")).await;
    let orders = format!("{}/topics/orders", cluster.url(0));
    client.send(client.request(Method::DELETE, &orders)).await.expect(204);
    client.make(cluster.url(0), "orders").await;
    let new = client.publish(cluster.url(0), "orders", json!("new")).await;
    assert_eq!((old.seq, new.seq), (1, 1));
    let told = async |cluster: &Cluster, last: &Message| {
        let subscription = Subscription::new([cluster.url(0)], "/topics/orders/sse").after(&last.id);
        let subscriber = Subscriber::start(&client, subscription);
        subscriber.event("repl.ready").await;
        subscriber.events().into_iter().map(|event| (event.kind.clone(), event.json())).collect::<Vec<_>>()
    };
    for _ in 0..2 {
        let new_topic = ["repl.topic", "message", "repl.ready"];
        let seen = told(&cluster, &old).await;
        assert_eq!(seen.iter().map(|(kind, _)| kind.as_str()).collect::<Vec<_>>(), new_topic);
        assert_eq!(seen[0].1, json!({ "topic": "orders", "deleted": true }));
        assert_eq!(seen[1].1["id"], new.id.as_str());

        let seen = told(&cluster, &before).await;
        assert_eq!(seen.iter().skip(1).map(|(kind, _)| kind.as_str()).collect::<Vec<_>>(), new_topic);
        assert_eq!((seen[0].0.as_str(), &seen[0].1["reason"]), ("repl.gap", &json!("recreated")));

        let seen = told(&cluster, &new).await;
        assert_eq!(seen.iter().map(|(kind, _)| kind.as_str()).collect::<Vec<_>>(), ["repl.ready"]);
        // It is so from the checkpoint, too.
        assert_eq!(cluster.nodes[0].stop().await, Some(0));
        cluster.nodes[0].start().await;
    }
}

#[tokio::test]
async fn who_starts_with_what_is_kept_is_not_told_what_is_not() {
    let cluster = Cluster::of(1).await;
    let (client, node) = (&cluster.client, cluster.url(0));
    client.make(node, "whole").await;
    client.make_keeping(node, "short", 1).await;
    client.make(node, "gone").await;
    let mut kept = vec![client.publish(node, "whole", json!(1)).await];
    client.publish_all(node, "short", 0..5).await;
    client.publish(node, "gone", json!(1)).await;
    client.send(client.request(Method::DELETE, &format!("{node}/topics/gone"))).await.expect(204);
    kept.extend(client.messages(node, "short").await.expect("a page"));
    assert_eq!(kept.len(), 2);

    let foreign = "00000000-1";
    for topics in ["topic=whole&topic=short&topic=gone", "match=*"] {
        for (after, announced) in [("earliest", &[] as &[&str]), (foreign, &["epoch"])] {
            let subscriber = Subscriber::live(client, node, &format!("/sse?{topics}&after={after}")).await;
            subscriber.has_seen(&kept).await;
            let own: Vec<_> = subscriber.events().into_iter().filter(|event| event.kind.starts_with("repl.")).collect();
            let (ready, gaps) = own.split_last().expect("events");
            assert_eq!(ready.kind, "repl.ready");
            assert_eq!(gaps.iter().map(|gap| gap.json()["reason"].clone()).collect::<Vec<_>>(), announced);
        }
    }
}

#[tokio::test]
async fn a_publish_that_is_repeated_under_its_key_is_stored_once() {
    let mut cluster = Cluster::of(3).await;
    let client = cluster.client.clone();
    client.make(cluster.url(0), "orders").await;
    let publish = |cluster: &Cluster, node: usize, value: Value| {
        let request = client.publication(cluster.url(node), "orders", &value).header("Idempotency-Key", "order-1");
        client.settled(request)
    };
    let first = publish(&cluster, 0, json!("paid")).await;
    assert!(matches!(first.status, 200 | 201), "{first:?}");
    for node in 0..3 {
        assert_eq!(publish(&cluster, node, json!("paid")).await.expect(200).text, first.text);
        let other = publish(&cluster, node, json!("unpaid")).await.expect(422);
        assert_eq!(other.code().as_deref(), Some("key-reused"));
    }
    let leader = cluster.leader().await;
    cluster.nodes[leader].kill();
    let after = publish(&cluster, (leader + 1) % 3, json!("paid")).await.expect(200);
    assert_eq!(after.text, first.text, "through a change of leader too");
    cluster.nodes[leader].start().await;
    let stored: Message = serde_json::from_value(first.json()).expect("a message");
    cluster.all_keep("orders", &[stored]).await;
}
