//! Nothing that a publisher sends can forge an event, or a field of one: streams are read back by a parser of our own,
//! which was written from the standard.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::runtime::Builder;

use crate::cluster::{Client, Cluster, Event, Parser, within};

/// Text with whatever has a meaning in a stream, in HTTP or in JSON.
fn hostile() -> impl Strategy<Value = String> {
    let pieces = [
        "\r",
        "\n",
        "\r\n",
        "\n\n",
        "\0",
        "data: x\n\n",
        "\nid: 9\n",
        "event: repl.ready\n",
        ":",
        "\u{feff}",
        "\u{85}",
        "\u{2028}",
        "\"",
        "\\",
        "%0a",
        "0\r\n\r\n",
        "a",
    ];
    let piece = prop_oneof![3 => prop::sample::select(pieces.to_vec()).prop_map(str::to_owned), 1 => "\\p{Any}{0,4}"];
    prop::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat())
}

/// One field of a message is hostile, or all of them are; so that not each of them is refused for another's sake.
fn message() -> impl Strategy<Value = (String, Value)> {
    let or = |plain: &'static str| prop_oneof![Just(plain.to_owned()), hostile()];
    let headers = prop::collection::btree_map(or("name"), or("value"), 0..3);
    (or("orders"), or("paid"), headers, or("key"), or("value")).prop_map(|(topic, kind, headers, key, value)| {
        // A key is known once, and a message of its own each time.
        let key = format!("{key}{:x}", fastrand::u128(..));
        (topic, json!({ "value": { &value: [&value] }, "type": kind, "headers": headers, "key": key }))
    })
}

/// What a stream of everything has behind a cursor, up to where it is live.
async fn events(client: &Client, node: &str, format: &str, after: &str) -> Vec<Event> {
    let url = format!("{node}/sse?match=**&format={format}&after={after}");
    let mut answer = client.request(Method::GET, &url).send().await.expect("a stream");
    let (mut parser, mut events) = (Parser::default(), Vec::new());
    let read = async {
        while events.last().is_none_or(|event: &Event| event.kind != "repl.ready") {
            let bytes = answer.chunk().await.expect("no error").expect("no end");
            events.extend(parser.feed(&bytes));
        }
    };
    within("a stream that is live", read).await;
    assert_eq!((parser.ghosts(), parser.comments(), parser.is_within_event()), (0, 1, false));
    events
}

#[test]
fn nothing_that_is_published_forges_an_event_or_a_field() {
    let runtime = Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let cluster = runtime.block_on(Cluster::of(1));
    let (client, node) = (cluster.client.clone(), cluster.url(0));
    let (last_id, stored, refused) = (Mutex::new("earliest".to_owned()), AtomicU32::new(0), AtomicU32::new(0));
    proptest!(|((topic, message) in message())| {
        runtime.block_on(async {
            let created = client.create(node, &topic).await;
            assert!(matches!(created.status, 200 | 201 | 400), "{created:?}");
            let path = format!("/topics/{}", utf8_percent_encode(&topic, NON_ALPHANUMERIC));
            let answer = client.post(node, &path, &message).await;
            let after = last_id.lock().expect("no panic").clone();
            let (whole, values) =
                (events(&client, node, "message", &after).await, events(&client, node, "value", &after).await);
            whole.last().expect("it is live").id.clone_into(&mut last_id.lock().expect("no panic"));
            if answer.status == 201 {
                let sent = answer.json();
                assert_eq!((&sent["topic"], &sent["value"]), (&json!(topic), &message["value"]));
                assert_eq!((&sent["type"], &sent["headers"]), (&message["type"], &message["headers"]));
                let event = |data: &Value| Event {
                    kind: message["type"].as_str().expect("a type").to_owned(),
                    id: sent["id"].as_str().expect("an id").to_owned(),
                    has_id: true,
                    data: data.to_string(),
                };
                let seen = |events: &[Event]| match events {
                    [event, _ready] => Event { data: event.json().to_string(), ..event.clone() },
                    other => panic!("{other:?}"),
                };
                assert_eq!((seen(&whole), seen(&values)), (event(&sent), event(&message["value"])));
                stored.fetch_add(1, Ordering::Relaxed);
            } else {
                assert!(matches!(answer.status, 400 | 404), "{answer:?}");
                assert_eq!((whole.len(), values.len()), (1, 1), "what is refused is not sent: {whole:?}");
                refused.fetch_add(1, Ordering::Relaxed);
            }
        });
    });
    let (stored, refused) = (stored.into_inner(), refused.into_inner());
    assert!(stored > 0 && refused > 0, "{stored} were stored, {refused} refused");
}
