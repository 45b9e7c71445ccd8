//! Which trace a request belongs to.

use axum::http::HeaderValue;

use super::*;

/// The trace that a problem names whose request came with these headers.
async fn trace(traceparents: &[&str]) -> String {
    let mut request = request(Method::GET, "/nowhere", "");
    request.headers_mut().remove("traceparent");
    for traceparent in traceparents {
        request.headers_mut().append("traceparent", HeaderValue::from_str(traceparent).expect("a value"));
    }
    let answer = Api::start().await.send(request).await;
    answer.at("/traceId").as_str().expect("a trace").to_owned()
}

#[tokio::test]
async fn a_problem_names_the_trace_that_its_caller_named() {
    assert_eq!(trace(&[TRACEPARENT]).await, &TRACEPARENT[3..35]);
    let later = format!("01{}-more", &TRACEPARENT[2..]);
    assert_eq!(trace(&[&later]).await, &TRACEPARENT[3..35]);
}

#[tokio::test]
async fn whoever_names_no_trace_begins_one() {
    let invalid = TRACEPARENT.replace("0af", "0AF");
    for traceparents in [&[][..], &[""], &[&invalid], &[TRACEPARENT, TRACEPARENT]] {
        let (one, another) = (trace(traceparents).await, trace(traceparents).await);
        assert!(one.len() == 32 && one != another && one != TRACEPARENT[3..35], "{traceparents:?}: {one} {another}");
    }
}
