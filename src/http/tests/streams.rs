//! Streams, without a listener.

use super::*;
use crate::http::StreamPlaces;
use crate::http::stream::{NotOpened, answer};
use crate::node::NotReady;

/// Opens a stream and checks its head and its first bytes.
async fn open(api: &Api, path: &str, last_event_id: Option<&str>) -> Body {
    let mut request = request(Method::GET, path, "");
    if let Some(id) = last_event_id {
        request.headers_mut().insert("last-event-id", id.parse().expect("a value"));
    }
    let response = api.answer(request).await;
    check_head(&response);
    let mut body = response.into_body();
    check_preamble(&next(&mut body).await);
    body
}

fn check_head(response: &axum::response::Response) {
    assert_eq!(response.status(), StatusCode::OK);
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    assert_eq!(header("content-type"), Some("text/event-stream; charset=utf-8"));
    assert_eq!(header("cache-control"), Some("no-store, no-transform"));
    assert_eq!(header("x-accel-buffering"), Some("no"));
    assert_eq!(header("content-length"), None);
}

/// A comment and when to come back, neither followed by a blank line.
fn check_preamble(text: &str) {
    let lines: Vec<_> = text.lines().collect();
    let [comment, retry] = lines.as_slice() else { panic!("{text:?}") };
    assert!(comment.starts_with(':') && text.ends_with('\n'), "{text:?}");
    let retry_ms: u64 =
        retry.strip_prefix("retry: ").and_then(|ms| ms.parse().ok()).unwrap_or_else(|| panic!("{text:?}"));
    assert!((1_000..=3_000).contains(&retry_ms), "{text:?}");
}

/// Reads on until the text has come.
async fn until(body: &mut Body, wanted: &str) -> String {
    let mut text = String::new();
    while !text.contains(wanted) {
        text.push_str(&next(body).await);
    }
    text
}

#[tokio::test]
async fn a_stream_starts_at_once_and_brings_what_is_published() {
    let api = Api::with_topics(&["a", "b", "c"]).await;
    let mut one = open(&api, "/topics/a/sse", None).await;
    let mut many = open(&api, "/sse?topic=a&match=b&topic=later&format=value", None).await;
    until(&mut one, "event: repl.ready\n").await;
    until(&mut many, "event: repl.ready\n").await;

    let stored = api.post("/topics/a", r#"{"value":{"n":1}}"#).await;
    api.post("/topics/c", r#"{"value":"of another topic"}"#).await;
    api.post("/topics/b", r#"{"value":2,"type":"paid"}"#).await;
    let whole = until(&mut one, "\n\n").await;
    assert!(whole.contains(&format!("data: {}\n", stored.text())), "{whole}");
    let values = until(&mut many, "event: paid").await;
    assert!(values.contains("data: {\"n\":1}\n") && !values.contains("another"), "{values}");
}

#[tokio::test]
async fn a_stream_resumes_from_the_header_before_the_query() {
    let api = Api::with_topics(&["t"]).await;
    let mut ids = Vec::new();
    for value in 1..=3 {
        let stored = api.post("/topics/t", format!(r#"{{"value":"v{value}"}}"#)).await;
        ids.push(stored.at("/id").as_str().expect("an id").to_owned());
    }
    let values = async |query: &str, header: Option<&str>| {
        let mut body = open(&api, &format!("/topics/t/sse?format=value{query}"), header).await;
        let text = until(&mut body, "event: repl.ready\n").await;
        text.lines()
            .filter_map(|line| line.strip_prefix("data: \""))
            .map(|value| value.replace('"', ""))
            .collect::<Vec<_>>()
    };
    let [first, second] = [&ids[0], &ids[1]];
    assert_eq!(values(&format!("&after={first}"), None).await, ["v2", "v3"]);
    assert_eq!(values(&format!("&after={first}"), Some(second)).await, ["v3"]);
    assert_eq!(values(&format!("&after={first}"), Some("")).await, ["v2", "v3"], "an empty header counts as absent");
    assert_eq!(values("&after=earliest", None).await, ["v1", "v2", "v3"]);
    assert_eq!(values("", None).await, [""; 0]);
}

#[tokio::test]
async fn only_faults_that_asking_again_can_not_mend_are_problems() {
    let api = Api::with_topics(&["t"]).await;
    let many = "topic=t&".repeat(257);
    for (query, code) in [
        ("", "invalid-query"),
        ("topic=t&tail=0", "invalid-query"),
        ("topic=t&tail=1001", "invalid-query"),
        ("topic=t&tail=5&after=10m", "invalid-query"),
        ("topic=t&tail=5&after=earliest", "invalid-query"),
        ("topic=t&format=xml", "invalid-query"),
        ("topic=t&lastEventId=1", "invalid-query"),
        ("topic=t&after=now&after=now", "invalid-query"),
        (&many, "invalid-query"),
        ("topic=t&after=1", "invalid-cursor"),
        ("topic=t&after=", "invalid-cursor"),
        ("topic=", "invalid-topic-name"),
        ("match=a:**:b", "invalid-pattern"),
    ] {
        assert_eq!(api.get(&format!("/sse?{query}")).await.code(), code, "{query}");
    }
    for header in ["1", "00000000-x", "ä"] {
        let mut request = request(Method::GET, "/sse?topic=t", "");
        request.headers_mut().insert("last-event-id", header.parse().expect("a value"));
        assert_eq!(api.send(request).await.code(), "invalid-cursor", "{header}");
    }
    assert_eq!(api.get("/topics/missing/sse").await.code(), "topic-not-found");
    assert_eq!(api.get("/sse?topic=missing").await.status, StatusCode::OK);
    assert_eq!(api.get(&format!("/sse?{}", "topic=t&".repeat(256))).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_node_that_can_not_serve_now_says_when_to_come_back_and_ends() {
    let app = Arc::new(app(Options::default()).await);
    let response = answer(&app, Err(NotOpened::NotServing(NotReady::Starting.into())));
    check_head(&response);
    let mut body = response.into_body();
    check_preamble(&next(&mut body).await);
    assert!(timeout(SOON, body.frame()).await.expect("an end soon").is_none());
}

#[tokio::test]
async fn one_party_has_so_many_streams_and_the_next_one_is_refused_softly() {
    let app = app(Options { stream_places: StreamPlaces::new(2), ..Options::default() }).await;
    let api = Api::new(app);
    let open_from = async |address: [u8; 4]| {
        let mut request = request(Method::GET, "/sse?topic=t", "");
        request.extensions_mut().insert(remote(address));
        let response = api.answer(request).await;
        assert_eq!(response.status(), StatusCode::OK);
        let mut body = response.into_body();
        check_preamble(&next(&mut body).await);
        let ready = timeout(SOON, body.frame()).await.expect("an event, or the end");
        ready.is_some().then_some(body)
    };
    let [one, two] = [open_from([10, 0, 0, 1]).await, open_from([10, 0, 0, 1]).await];
    assert!(one.is_some() && two.is_some() && open_from([10, 0, 0, 1]).await.is_none());
    assert!(open_from([10, 0, 0, 2]).await.is_some(), "others have theirs");
    api.check_metric(r#"repl_http_streams_opened_total{result="too_many"} 1"#).await;
    drop(one);
    assert!(open_from([10, 0, 0, 1]).await.is_some(), "a stream that has ended makes room");
}

#[tokio::test]
async fn a_stream_that_brought_enough_history_ends_and_one_that_resumes_goes_on() {
    let api = Api::with(Options { replay_bytes_max: 100_000, ..Options::default() }).await;
    api.post("/topics", r#"{"name":"t"}"#).await;
    let line = format!("{{\"value\":\"{}\"}}\n", "x".repeat(1024));
    api.post_lines("/topics/t", line.repeat(300)).await;
    let (mut seqs, mut last_id, mut requests) = (Vec::new(), None, 0);
    loop {
        requests += 1;
        let mut body = open(&api, "/sse?topic=t&after=earliest", last_id.as_deref()).await;
        let mut text = String::new();
        while !text.contains("event: repl.ready\n")
            && let Some(frame) = timeout(SOON, body.frame()).await.expect("bytes or an end soon")
        {
            text += std::str::from_utf8(frame.expect("no error").data_ref().expect("data")).expect("UTF-8");
        }
        assert!(!text.contains("repl.gap"), "nothing is missing");
        let field = |line: &str, from: &str, to: char| Some(line.split_once(from)?.1.split(to).next()?.to_owned());
        seqs.extend(text.lines().filter_map(|line| field(line, "\"seq\":", ',')));
        last_id = text.lines().rev().find_map(|line| field(line, "id: ", '\n'));
        if text.contains("event: repl.ready\n") {
            break;
        }
    }
    assert_eq!(seqs, (1..=300).map(|seq| seq.to_string()).collect::<Vec<_>>());
    assert_eq!(requests, 3, "two pages of 64 KiB each, and the rest");
    api.check_metric("repl_http_replays_cut_total 2").await;
}

#[tokio::test]
async fn the_head_of_a_stream_is_that_of_the_stream() {
    let api = Api::with_topics(&["t"]).await;
    for path in ["/topics/t/sse", "/sse?topic=t"] {
        let response = api.answer(request(Method::HEAD, path, "")).await;
        check_head(&response);
        let mut body = response.into_body();
        assert!(timeout(SOON, body.frame()).await.expect("an end soon").is_none());
    }
}

#[tokio::test]
async fn what_is_evicted_from_a_tail_that_is_being_read_is_told() {
    let api = Api::with_topics(&["t"]).await;
    // Several pages.
    let line = format!("{{\"value\":\"{}\"}}\n", "x".repeat(1024));
    api.post_lines("/topics/t", line.repeat(300)).await;
    let mut body = open(&api, "/sse?topic=t&tail=200", None).await;
    let first = next(&mut body).await;
    assert!(first.contains(r#""seq":101,"#) && !first.contains("event: repl."), "{first}");
    assert!(!first.contains(r#""seq":250,"#), "one page");

    api.patch("/topics/t", r#"{"retention":{"maxMessages":10}}"#).await;
    let rest = until(&mut body, "event: repl.ready\n").await;
    let (before, after) = rest.split_once("event: repl.gap\n").expect("a gap");
    assert!(!before.contains(r#""seq":"#), "before the next message");
    assert!(after.contains(r#""seq":291,"#) && !after.contains(r#""seq":290,"#), "{after}");
}

#[tokio::test]
async fn a_tail_holds_no_word_of_what_was_gone_before() {
    let api = Api::with_topics(&["t", "u"]).await;
    api.post("/topics/u", r#"{"value":0}"#).await;
    api.delete("/topics/t").await;
    api.post("/topics", r#"{"name":"t","retention":{"maxMessages":2}}"#).await;
    for value in 1..=3 {
        api.post("/topics/t", format!("{{\"value\":{value}}}")).await;
    }
    let mut body = open(&api, "/sse?topic=t&topic=u&tail=5", None).await;
    let text = until(&mut body, "event: repl.ready\n").await;
    let values: Vec<_> = text.lines().filter_map(|line| line.split_once("\"value\":")?.1.chars().next()).collect();
    assert_eq!(values, ['0', '2', '3'], "{text}");
    assert!(!text.contains("repl.gap") && !text.contains("repl.topic"), "{text}");
}

#[tokio::test]
async fn a_stop_ends_streams_between_events_and_open_streams_are_counted() {
    let app = app(Options::default()).await;
    let stop = app.stop.clone();
    let api = Api::new(app);
    let mut bodies = [open(&api, "/sse?topic=t", None).await, open(&api, "/sse?topic=t", None).await];
    for body in &mut bodies {
        until(body, "event: repl.ready\n").await;
    }
    api.check_metric("repl_http_streams 2").await;
    stop.cancel();
    for body in &mut bodies {
        assert!(timeout(SOON, body.frame()).await.expect("an end soon").is_none());
    }
    drop(bodies);
    api.check_metric("repl_http_streams 0").await;
    api.check_metric(r#"repl_http_streams_opened_total{result="served"} 2"#).await;
}

#[tokio::test]
async fn an_operator_sees_who_reads_what_in_pages() {
    let api = Api::with_topics(&["a"]).await;
    assert_eq!(api.get("/streams").await.json(), serde_json::json!({ "streams": [] }));
    let topics: String = (10..22).map(|n| format!("topic=t{n}&")).collect();
    let paths = ["/topics/a/sse?as=ada", &format!("/sse?{topics}match=x:*&presence=a"), "/sse?match=x:*&match=y"];
    let mut streams = Vec::new();
    for path in paths {
        let mut stream = open(&api, path, None).await;
        until(&mut stream, "repl.ready").await;
        streams.push(stream);
    }

    let page = api.get("/streams?limit=2").await;
    let (one, other) = (page.at("/streams/0"), page.at("/streams/1"));
    assert_eq!(
        (&one["user"], &one["topics"], &one["match"]),
        (&"ada".into(), &vec!["a"].into(), &Value::Array(vec![]))
    );
    assert_eq!((&one["phase"], &one["behind"]), (&"live".into(), &0.into()));
    assert!(one["bytes"].as_u64() > Some(0) && one.get("address").is_none(), "{one}");
    let named: Vec<_> = (10..20).map(|n| format!("t{n}")).collect();
    assert_eq!((&other["topics"], &other["more"], &other["watched"]), (&named.into(), &3.into(), &1.into()));

    let next = page.at("/next");
    assert_eq!((&next, &one["id"]), (&other["id"], &1.into()));
    let last = api.get(&format!("/streams?limit=2&after={next}")).await;
    assert_eq!((last.at("/streams/0/match"), last.at("/streams/1")), (vec!["x:*", "y"].into(), Value::Null));
    assert_eq!(last.at("/next"), Value::Null);

    drop(streams.remove(1));
    let left = api.get("/streams").await;
    assert_eq!(
        [left.at("/streams/0/id"), left.at("/streams/1/id"), left.at("/streams/2")],
        [1.into(), 3.into(), Value::Null]
    );
    for query in ["slow=1", "after=x", "limit=0", "limit=1001", "page=2"] {
        assert_eq!(api.get(&format!("/streams?{query}")).await.code(), "invalid-query", "{query}");
    }
}
