//! Who is there.

use serde_json::json;

use super::access::{new_token, patterns, sign, with_policy};
use super::*;
use crate::auth::{NewToken, Policy};
use crate::domain::{JsonText, MemberData};

/// Opens a stream, and reads it until it is live.
async fn open(api: &Api, path: &str) -> (Body, String) {
    let response = api.answer(request(Method::GET, path, "")).await;
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    let mut body = response.into_body();
    let text = until(&mut body, "event: repl.ready\n").await;
    (body, text)
}

async fn until(body: &mut Body, wanted: &str) -> String {
    let mut text = String::new();
    while !text.contains(wanted) {
        text.push_str(&next(body).await);
    }
    text
}

/// The data of the presence events in a piece of a stream.
fn presence(text: &str) -> Vec<Value> {
    let mut found = Vec::new();
    let mut is_presence = false;
    for line in text.lines() {
        if let Some(event) = line.strip_prefix("event: ") {
            is_presence = event == "repl.presence";
        } else if let Some(data) = line.strip_prefix("data: ").filter(|_| is_presence) {
            found.push(serde_json::from_str(data).expect("JSON"));
        }
    }
    found
}

fn ids(members: &Value) -> Vec<&str> {
    members.as_array().expect("a list").iter().map(|member| member["id"].as_str().unwrap_or_default()).collect()
}

async fn with_room() -> Api {
    let api = Api::start().await;
    let room = api.post("/topics", r#"{"name":"room","presence":true}"#).await;
    assert_eq!((room.status, room.at("/presence")), (StatusCode::CREATED, json!(true)));
    api
}

#[tokio::test]
async fn watchers_are_sent_who_is_there_and_then_who_comes_and_goes() {
    let api = with_room().await;
    let (mut watcher, text) = open(&api, "/sse?presence=room&user=ada").await;
    let [roster, ada] = presence(&text).try_into().expect("two events");
    assert_eq!((&roster["topic"], &roster["members"]), (&json!("room"), &json!([])));
    assert_eq!((&ada["user"], &ada["online"], ada.get("since")), (&json!("ada"), &json!(false), None));

    let (stream, _) = open(&api, "/sse?topic=room&as=ada").await;
    let text = until(&mut watcher, "\"online\":true").await;
    let [change, status] = presence(&text).try_into().expect("two events");
    assert_eq!((ids(&change["joined"]), &change["left"]), (vec!["ada"], &json!([])));
    assert!(change["version"].as_u64() > roster["version"].as_u64());
    assert_eq!((&status["user"], &status["since"]), (&json!("ada"), &change["joined"][0]["since"]));

    // Whoever comes later is sent her, too, and the name of the topic is enough.
    let (_later, text) = open(&api, "/topics/room/sse?as=bob").await;
    assert_eq!(presence(&text), Vec::<Value>::new(), "who reads is not told of who else does");
    until(&mut watcher, "\"bob\"").await;
    let (_third, text) = open(&api, "/sse?presence=room").await;
    assert_eq!(ids(&presence(&text)[0]["members"]), ["ada", "bob"]);

    drop(stream);
    let text = until(&mut watcher, "\"online\":false").await;
    assert_eq!(presence(&text)[0]["left"], json!(["ada"]));
}

#[tokio::test]
async fn members_and_users_are_asked_for() {
    let api = with_room().await;
    api.post("/topics", r#"{"name":"plain"}"#).await;
    let (mut watcher, _) = open(&api, "/sse?presence=room").await;
    let mut streams = Vec::new();
    for user in ["ada", "bob", "carl%20x"] {
        streams.push(open(&api, &format!("/sse?topic=room&topic=plain&as={user}")).await);
    }
    // Who finds a topic by a pattern only looks on.
    let (_onlooker, _) = open(&api, "/sse?match=**&as=eve").await;
    let mut text = String::new();
    while !text.contains("carl x") {
        text.push_str(&next(&mut watcher).await);
    }
    assert!(!text.contains("\"eve\""), "{text}");

    let page = api.get("/topics/room/presence?limit=2").await;
    assert_eq!(
        (ids(&page.at("/members")), page.at("/count"), page.at("/next")),
        (vec!["ada", "bob"], json!(3), json!("bob"))
    );
    let rest = api.get("/topics/room/presence?limit=2&after=bob").await;
    assert_eq!((ids(&rest.at("/members")), rest.json().get("next")), (vec!["carl x"], None));

    let user = api.get("/users/carl%20x/presence").await;
    assert_eq!(
        (user.at("/online"), user.at("/topics/0/topic"), user.at("/topics/0/nodes")),
        (json!(true), json!("room"), json!([1]))
    );
    assert_eq!(user.at("/topics").as_array().map(Vec::len), Some(1), "the other topic has no presence");
    let nobody = api.get("/users/eve/presence").await;
    assert_eq!(nobody.json(), json!({"id": "eve", "online": false, "topics": []}));
    assert_eq!(api.get("/topics/plain/presence").await.code(), "presence-off");
    assert_eq!(api.get("/topics/none/presence").await.code(), "topic-not-found");

    // Presence may come later, and go.
    api.patch("/topics/plain", r#"{"presence":true}"#).await;
    let (mut plain, _) = open(&api, "/sse?presence=plain").await;
    until(&mut plain, "carl x").await;
    api.patch("/topics/plain", r#"{"presence":false}"#).await;
    assert_eq!(presence(&until(&mut plain, "\"left\":[\"ada\"").await)[0]["left"], json!(["ada", "bob", "carl x"]));
}

#[tokio::test]
async fn tokens_tell_who_is_there_and_who_may_know() {
    let api = Api::with_auth(&[]).await;
    let token = |subject: &str, subscribe: &[&str]| NewToken {
        subject: Some(subject.to_owned()),
        subscribe: patterns(subscribe),
        ..new_token()
    };
    let data = MemberData::new(JsonText::parse(r#"{"name":"Ada","n":1.0}"#).expect("JSON")).expect("small");
    let own = sign(&NewToken { manage: patterns(&["room"]), data: Some(data), ..token("ada", &["room"]) });
    let create = json(Method::POST, "/topics", r#"{"name":"room","presence":true}"#);
    assert_eq!(api.send_as(&own, create).await.status, StatusCode::CREATED);
    let as_somebody = request(Method::GET, "/topics/room/sse?as=eve", "");
    assert_eq!(api.send_as(&own, as_somebody).await.code(), "invalid-query");

    let mut stream = request(Method::GET, "/topics/room/sse", "");
    stream.headers_mut().insert("authorization", format!("Bearer {own}").parse().expect("a value"));
    let _stream = api.answer(stream).await;
    let members = || async { api.send_as(&own, request(Method::GET, "/topics/room/presence", "")).await };
    let page = timeout(SOON, async {
        loop {
            let page = members().await;
            if page.at("/count") == 1 {
                return page;
            }
            tokio::task::yield_now().await;
        }
    });
    let page = page.await.expect("she comes soon");
    assert_eq!(
        (page.at("/members/0/id"), page.at("/members/0/data")),
        (json!("ada"), json!({"name": "Ada", "n": 1.0}))
    );

    // Of himself everybody may know; of others who has the right. Topics are told to those who may read them.
    let of_ada = || request(Method::GET, "/users/ada/presence", "");
    let herself = api.send_as(&own, of_ada()).await;
    assert_eq!((herself.at("/topics/0/topic"), herself.at("/topics/0/nodes")), (json!("room"), Value::Null));
    let friend = sign(&NewToken { presence: patterns(&["*"]), ..token("bob", &["inbox:bob"]) });
    let seen = api.send_as(&friend, of_ada()).await;
    assert_eq!((seen.at("/online"), seen.at("/topics")), (json!(true), json!([])));
    let stranger = sign(&token("eve", &["inbox:eve"]));
    assert_eq!(api.send_as(&stranger, of_ada()).await.code(), "forbidden");
    assert_eq!(api.send_as(&stranger, request(Method::GET, "/sse?user=ada", "")).await.code(), "forbidden");
    assert_eq!(api.send_as(&stranger, request(Method::GET, "/sse?presence=room", "")).await.code(), "forbidden");
    assert_eq!(
        api.send_as(&stranger, request(Method::GET, "/topics/room/presence", "")).await.code(),
        "topic-not-found"
    );
    assert_eq!(api.get("/users/ada/presence").await.code(), "unauthenticated");
}

#[tokio::test]
async fn an_inbox_is_there_once_its_owner_reads_it_or_anybody_writes_to_it() {
    let api = Api::with(with_policy(Policy { inboxes: true, ..Policy::default() })).await;
    let [ada, bob] = ["ada", "bob"].map(|user| sign(&NewToken { subject: Some(user.to_owned()), ..new_token() }));
    let say = |topic: &str| json(Method::POST, &format!("/topics/{topic}"), r#"{"value":"psst"}"#);
    let read = |topic: &str| request(Method::GET, &format!("/topics/{topic}/sse"), "");

    assert_eq!(api.send_as(&bob, say("inbox:ada")).await.status, StatusCode::CREATED);
    assert_eq!(
        api.send_as(&ada, request(Method::GET, "/topics/inbox:ada/messages", "")).await.at("/messages/0/value"),
        "psst"
    );
    assert_eq!(api.send_as(&bob, read("inbox:bob")).await.status, StatusCode::OK);
    assert_eq!(api.send_as(&ada, say("inbox:bob")).await.at("/seq"), 1);

    // Nobody else reads it, creates it otherwise, or makes any other topic by publishing.
    assert_eq!(api.send_as(&bob, read("inbox:ada")).await.code(), "forbidden");
    assert_eq!(api.send_as(&bob, request(Method::GET, "/sse?match=inbox:*", "")).await.status, StatusCode::OK);
    let create = json(Method::POST, "/topics", r#"{"name":"inbox:eve"}"#);
    assert_eq!(api.send_as(&bob, create).await.code(), "forbidden");
    for topic in ["inbox:a:b", "inbox", "room"] {
        assert_eq!(api.send_as(&bob, say(topic)).await.code(), "topic-not-found", "{topic}");
    }
    assert_eq!(api.send(say("inbox:ada")).await.code(), "unauthenticated");
}
