//! History.

use super::*;

/// A topic of messages with these values, and other messages in between.
async fn with_values(values: std::ops::RangeInclusive<u32>) -> Api {
    let api = Api::with_topics(&["t", "other"]).await;
    for value in values {
        api.post("/topics/t", format!(r#"{{"value":{value}}}"#)).await;
        api.post("/topics/other", r#"{"value":"other"}"#).await;
    }
    api
}

fn values(page: &Answer) -> Vec<u64> {
    let messages = page.at("/messages");
    messages.as_array().expect("messages").iter().filter_map(|message| message["value"].as_u64()).collect()
}

/// Follows `next` from page to page.
async fn read_all(api: &Api, query: &str, cursor: &str) -> Vec<Vec<u64>> {
    let mut pages = Vec::new();
    let mut next = String::new();
    loop {
        let page = api.get(&format!("/topics/t/messages?{query}{next}")).await;
        pages.push(values(&page));
        match page.at("/next") {
            Value::String(id) => next = format!("&{cursor}={id}"),
            _ => return pages,
        }
    }
}

#[tokio::test]
async fn pages_follow_each_other_in_both_directions() {
    let api = with_values(1..=5).await;
    assert_eq!(read_all(&api, "", "after").await, [vec![1, 2, 3, 4, 5]]);
    assert_eq!(read_all(&api, "limit=2", "after").await, [vec![1, 2], vec![3, 4], vec![5]]);
    assert_eq!(read_all(&api, "limit=5", "after").await, [vec![1, 2, 3, 4, 5]], "a full last page has no next one");
    assert_eq!(read_all(&api, "limit=2&reverse=true", "before").await, [vec![5, 4], vec![3, 2], vec![1]]);
}

#[tokio::test]
async fn cursors_of_messages_and_of_streams_bound_a_page() {
    let api = with_values(1..=5).await;
    let page = api.get("/topics/t/messages").await;
    let [second, fourth] =
        ["/messages/1/id", "/messages/3/id"].map(|id| page.at(id).as_str().expect("an id").to_owned());
    let between = api.get(&format!("/topics/t/messages?after={second}&before={fourth}")).await;
    assert_eq!(values(&between), [3]);
    assert_eq!(values(&api.get(&format!("/topics/t/messages?before={second}")).await), [1]);
    let (epoch, _) = second.split_once('-').expect("a cursor");
    assert_eq!(values(&api.get(&format!("/topics/t/messages?after={epoch}-999")).await), [0_u64; 0]);
}

#[tokio::test]
async fn a_cursor_of_another_history_is_never_a_silent_match() {
    let api = with_values(1..=1).await;
    for parameter in ["after", "before"] {
        let answer = api.get(&format!("/topics/t/messages?{parameter}=zzzzzzzz-1")).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (410, "foreign-cursor"));
        let answer = api.get(&format!("/topics/t/messages?{parameter}=1")).await;
        assert_eq!(answer.code(), "invalid-cursor");
    }
}

#[tokio::test]
async fn a_page_of_large_messages_ends_early() {
    let api = Api::with_topics(&["t"]).await;
    let line = format!("{{\"value\":\"{}\"}}\n", "x".repeat(60_000));
    for _ in 0..2 {
        assert_eq!(api.post_lines("/topics/t", line.repeat(60)).await.status, StatusCode::CREATED);
    }
    let first = api.get("/topics/t/messages?limit=1000").await;
    assert!(first.body.len() <= 4 * 1024 * 1024 + 64, "{} bytes", first.body.len());
    let next = first.at("/next").as_str().expect("a next page").to_owned();
    let second = api.get(&format!("/topics/t/messages?limit=1000&after={next}")).await;
    let count = |page: &Answer| page.at("/messages").as_array().map_or(0, Vec::len);
    assert_eq!((count(&first) + count(&second), second.at("/next")), (120, Value::Null));
}

#[tokio::test]
async fn a_query_is_checked() {
    let api = with_values(1..=1).await;
    for query in ["limit=0", "limit=1001", "reverse=1", "reverse=true&reverse=true", "from=1", "after=x&after=y"] {
        assert_eq!(api.get(&format!("/topics/t/messages?{query}")).await.code(), "invalid-query", "{query}");
    }
}
