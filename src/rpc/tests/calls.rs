use std::io::{self, Read};
use std::sync::Arc;

use futures_util::future::join_all;
use proptest::prelude::*;

use super::super::handshake::answer;
use super::*;

fn assert_lost(result: Result<Bytes, CallError>, expected: fn(&LinkError) -> bool) {
    match result {
        Err(CallError::Unanswered(Unanswered::Lost(error))) if expected(&error) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn many_calls_at_once_each_get_their_own_answer() {
    for secret in [None, Some(SECRET)] {
        let peer = peer(&echo(node(2, secret)).await, secret);
        // More than there is room for at once.
        let calls = (0..3000).map(|n| {
            let peer = peer.clone();
            async move { peer.call(0, payload(&n.to_string()), PATIENCE).await.map(|answer| (n, answer)) }
        });
        for answered in soon(join_all(calls)).await {
            let (n, answer) = answered.expect("answered");
            assert_eq!(answer, payload(&n.to_string()));
        }
    }
}

#[tokio::test]
async fn a_request_arrives_with_what_the_caller_gave_and_its_time_left() {
    let (address, mut connections) = listen(node(2, Some(SECRET))).await;
    let peer = peer(&address, Some(SECRET));
    let time = PATIENCE * 2;
    let sent = peer.send(42, payload("hello"), time).await.expect("room");
    let mut connection = accepted(&mut connections).await;
    assert_eq!(connection.hello().from, Some(NodeId::new(1)));
    let request = request(&mut connection).await;
    assert_eq!((request.kind, &request.payload), (42, &payload("hello")));
    let left = request.deadline.saturating_duration_since(tokio::time::Instant::now());
    assert!(left > time - PATIENCE && left <= time, "{left:?}");
    request.replier.answer(payload("there")).expect("small");
    assert_eq!(soon(sent.answer()).await.expect("answered"), payload("there"));
}

#[tokio::test]
async fn calls_arrive_in_order_and_may_be_answered_in_any() {
    let (address, mut connections) = listen(node(2, Some(SECRET))).await;
    let peer = peer(&address, Some(SECRET));
    let mut pending = Vec::new();
    for n in 0..500_u32 {
        pending.push(soon(peer.send(0, payload(&n.to_string()), PATIENCE)).await.expect("room"));
    }
    let mut connection = accepted(&mut connections).await;
    let mut requests = Vec::new();
    for n in 0..500_u32 {
        let request = request(&mut connection).await;
        assert_eq!(request.payload, payload(&n.to_string()));
        requests.push(request);
    }
    for request in requests.into_iter().rev() {
        request.replier.answer(request.payload).expect("small");
    }
    for (n, pending) in pending.into_iter().enumerate() {
        assert_eq!(soon(pending.answer()).await.expect("answered"), payload(&n.to_string()));
    }
}

#[tokio::test]
async fn the_largest_payload_passes_both_ways_and_a_larger_one_is_not_sent() {
    let (address, mut connections) = listen(node(2, Some(SECRET))).await;
    let peer = peer(&address, Some(SECRET));
    let largest = Bytes::from(vec![7; PAYLOAD_BYTES_MAX]);
    let sent = peer.send(0, largest.clone(), PATIENCE).await.expect("room");
    let mut connection = accepted(&mut connections).await;
    let request = request(&mut connection).await;
    assert!(request.payload == largest);
    request.replier.answer(request.payload).expect("as large as may be");
    assert!(soon(sent.answer()).await.expect("answered") == largest);

    let larger = Bytes::from(vec![7; PAYLOAD_BYTES_MAX + 1]);
    let refused = peer.send(0, larger.clone(), PATIENCE).await.map(drop);
    assert!(matches!(refused, Err(CallError::TooLarge { bytes }) if bytes == larger.len()), "{refused:?}");

    let sent = peer.send(0, payload("small"), PATIENCE).await.expect("room");
    let request = soon(connection.next_request()).await.expect("a request");
    assert_eq!(request.replier.answer(larger.clone()), Err(AnswerTooLarge { bytes: larger.len() }));
    let answer = soon(sent.answer()).await;
    assert!(matches!(answer, Err(CallError::Unanswered(Unanswered::GivenUp))), "{answer:?}");
}

#[tokio::test]
async fn many_large_answers_all_arrive() {
    let peer = peer(&echo(node(2, Some(SECRET))).await, Some(SECRET));
    let calls = (0..60_u8).map(|n| {
        let peer = peer.clone();
        async move { (n, peer.call(0, vec![n; 150_000].into(), PATIENCE).await) }
    });
    for (n, answer) in soon(join_all(calls)).await {
        assert!(answer.expect("answered") == vec![n; 150_000]);
    }
}

#[tokio::test]
async fn a_call_to_an_address_where_nobody_listens_was_certainly_not_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    drop(listener);
    match soon(peer(&address, None).call(0, payload("x"), PATIENCE)).await {
        Err(CallError::NotSent(NotSent::Connect(error))) => match &*error {
            ConnectError::Socket(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_refused_caller_is_told_why() {
    let (address, mut connections) = listen(node(2, Some(SECRET))).await;
    let refused = soon(peer(&address, None).call(0, payload("x"), PATIENCE)).await;
    assert!(matches!(refused, Err(CallError::Refused(Refusal::SecretMissing))), "{refused:?}");
    let accepted = soon(connections.recv()).await.expect("listening");
    assert!(matches!(accepted, Err(HandshakeError::Refused(Refusal::SecretMissing))));

    let other = Target { node: Some(NodeId::new(3)), ..target(&address) };
    let refused = soon(Peer::new(node(1, Some(SECRET)), other).call(0, payload("x"), PATIENCE)).await;
    let actual = Some(NodeId::new(2));
    assert!(matches!(refused, Err(CallError::Refused(Refusal::WrongNode { actual: found })) if found == actual));
}

#[tokio::test]
async fn a_call_that_expires_before_the_connection_is_made_was_certainly_not_sent() {
    // Accepts, in the kernel, and never says a word.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let peer = peer(&listener.local_addr().expect("bound").to_string(), None);
    let expired = soon(peer.call(0, payload("x"), Duration::from_millis(50))).await;
    assert!(matches!(expired, Err(CallError::NotSent(NotSent::Expired { .. }))), "{expired:?}");
}

#[tokio::test]
async fn calls_that_nobody_waits_for_any_more_are_not_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let peer = peer(&listener.local_addr().expect("bound").to_string(), None);
    let expired = soon(peer.call(0, payload("expired"), Duration::from_millis(20))).await;
    assert!(matches!(expired, Err(CallError::NotSent(_))), "{expired:?}");
    drop(peer.send(0, payload("dropped"), PATIENCE).await.expect("room"));
    let wanted = peer.send(0, payload("wanted"), PATIENCE).await.expect("room");

    let (stream, _) = listener.accept().await.expect("a caller");
    let mut connection = soon(Connection::accept(&node(2, None), stream, |_| None)).await.expect("admitted");
    let request = request(&mut connection).await;
    assert_eq!(request.payload, payload("wanted"));
    drop(request);
    assert!(matches!(soon(wanted.answer()).await, Err(CallError::Unanswered(Unanswered::GivenUp))));
}

#[tokio::test]
async fn a_peer_that_falls_silent_fails_the_call_in_its_time_and_others_with_it_and_the_next_call_connects_anew() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let peer = peer(&listener.local_addr().expect("bound").to_string(), Some(SECRET));
    let other = peer.send(0, payload("other"), PATIENCE).await.expect("room");
    // Shakes hands, and says no more: not even that it is alive.
    let called = node(2, Some(SECRET));
    let (mut stream, _) = listener.accept().await.expect("a caller");
    let (hello, seals) = soon(answer(&mut stream, &called, |_| true)).await.expect("admitted");
    let expired = soon(peer.call(0, payload("x"), EXPIRING)).await;
    assert!(matches!(expired, Err(CallError::Unanswered(Unanswered::Expired { .. }))), "{expired:?}");
    assert_lost(soon(other.answer()).await, |error| matches!(error, LinkError::Unresponsive));

    let (read, write) = stream.into_split();
    let mut first = Connection::open(&called, Caller::of(hello), seals, read, write);
    assert_eq!(request(&mut first).await.payload, payload("other"));
    assert_eq!(request(&mut first).await.payload, payload("x"));
    assert!(soon(first.next_request()).await.is_none(), "the caller closed it");

    let again = peer.send(0, payload("again"), PATIENCE).await.expect("room");
    let (stream, _) = listener.accept().await.expect("a caller");
    let mut second = soon(Connection::accept(&called, stream, |_| None)).await.expect("admitted");
    let request = request(&mut second).await;
    assert_eq!(request.payload, payload("again"));
    request.replier.answer(payload("back")).expect("small");
    assert_eq!(soon(again.answer()).await.expect("answered"), payload("back"));
}

#[tokio::test]
async fn one_slow_answer_does_not_cost_the_connection() {
    let (address, mut connections) = listen(node(2, None)).await;
    let peer = peer(&address, None);
    let slow = peer.send(0, payload("slow"), EXPIRING).await.expect("room");
    let mut connection = accepted(&mut connections).await;
    let kept = request(&mut connection).await;
    let quick = peer.send(0, payload("quick"), PATIENCE).await.expect("room");
    request(&mut connection).await.replier.answer(payload("done")).expect("small");
    soon(quick.answer()).await.expect("answered");

    let expired = soon(slow.answer()).await;
    assert!(matches!(expired, Err(CallError::Unanswered(Unanswered::Expired { .. }))), "{expired:?}");
    kept.replier.answer(payload("too late")).expect("small");
    let next = peer.send(0, payload("next"), PATIENCE).await.expect("room");
    request(&mut connection).await.replier.answer(payload("on the same connection")).expect("small");
    assert_eq!(soon(next.answer()).await.expect("answered"), payload("on the same connection"));
}

#[tokio::test]
async fn a_request_that_is_dropped_unanswered_fails_its_call_at_once() {
    let (address, mut connections) = listen(node(2, None)).await;
    let peer = peer(&address, None);
    let sent = peer.send(0, payload("x"), Duration::from_secs(3600)).await.expect("room");
    drop(request(&mut accepted(&mut connections).await).await);
    let answer = soon(sent.answer()).await;
    assert!(matches!(answer, Err(CallError::Unanswered(Unanswered::GivenUp))), "{answer:?}");
}

#[tokio::test]
async fn dropping_the_last_clone_of_a_peer_closes_its_connection_and_ends_its_task() {
    let (address, mut connections) = listen(node(2, None)).await;
    let local = node(1, None);
    let peer = Peer::new(local.clone(), target(&address));
    let clone = peer.clone();
    let sent = peer.send(0, payload("x"), PATIENCE).await.expect("room");
    let mut connection = accepted(&mut connections).await;
    let kept = request(&mut connection).await;
    drop(peer);
    let more = clone.send(0, payload("y"), PATIENCE).await.expect("room");
    assert_eq!(request(&mut connection).await.payload, payload("y"));

    drop(clone);
    assert!(soon(connection.next_request()).await.is_none());
    assert_lost(soon(sent.answer()).await, |error| matches!(error, LinkError::Released));
    assert_lost(soon(more.answer()).await, |error| matches!(error, LinkError::Released));
    local.tasks.close();
    soon(local.tasks.wait()).await;
    kept.replier.answer(payload("to nobody")).expect("small");
}

#[tokio::test]
async fn stopping_a_node_ends_all_its_connections_and_tasks() {
    let (caller, called) = (node(1, None), node(2, None));
    let (address, mut connections) = listen(called.clone()).await;
    let peer = Peer::new(caller.clone(), target(&address));
    let sent = peer.send(0, payload("x"), PATIENCE).await.expect("room");
    let mut connection = accepted(&mut connections).await;
    let kept = request(&mut connection).await;
    called.stop.cancel();
    assert!(soon(connection.next_request()).await.is_none());
    assert_lost(soon(sent.answer()).await, |error| matches!(error, LinkError::Closed));

    caller.stop.cancel();
    let stopped = soon(peer.call(0, payload("y"), PATIENCE)).await;
    assert!(matches!(stopped, Err(CallError::NotSent(NotSent::Lost(_)))), "{stopped:?}");
    for node in [caller, called] {
        node.tasks.close();
        soon(node.tasks.wait()).await;
    }
    drop(kept);
}

#[tokio::test]
async fn what_a_dropped_connection_has_handed_out_can_still_be_answered_and_the_next_call_connects_anew() {
    let (address, mut connections) = listen(node(2, None)).await;
    let peer = peer(&address, None);
    let sent = peer.send(0, payload("x"), PATIENCE).await.expect("room");
    let mut connection = accepted(&mut connections).await;
    let kept = request(&mut connection).await;
    drop(connection);
    kept.replier.answer(payload("late")).expect("small");
    assert_eq!(soon(sent.answer()).await.expect("answered"), payload("late"));

    // The connection may still be closing under this call; then it wasn't answered, and the one after it is.
    let serve = async {
        let mut connection = accepted(&mut connections).await;
        request(&mut connection).await.replier.answer(payload("anew")).expect("small");
        connection
    };
    let call = async {
        loop {
            if let Ok(answer) = peer.call(0, payload("y"), PATIENCE).await {
                return answer;
            }
        }
    };
    let (answer, _connection) = soon(async { tokio::join!(call, serve) }).await;
    assert_eq!(answer, payload("anew"));
}

#[tokio::test]
async fn the_log_names_a_trouble_once_and_its_end_and_never_the_secret() {
    let mut log = tempfile::NamedTempFile::new().expect("a temporary file");
    let writer = Arc::new(log.reopen().expect("the same file"));
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(writer).finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let peer = peer(&listener.local_addr().expect("bound").to_string(), Some(SECRET));
    // Refused four times for one reason, then for another, then admitted.
    let calling = async {
        for _ in 0..5 {
            assert!(matches!(peer.call(0, payload("x"), PATIENCE).await, Err(CallError::Refused(_))));
        }
        peer.send(0, payload("x"), PATIENCE).await.expect("room").answer().await
    };
    let accepting = async {
        let other = node(3, Some(SECRET));
        let accept = async |local: &Endpoint| {
            Connection::accept(local, listener.accept().await.expect("a caller").0, |_| None).await
        };
        for local in [&node(2, None), &node(2, None), &node(2, None), &node(2, None), &other] {
            assert!(accept(local).await.is_err());
        }
        let mut connection = accept(&node(2, Some(SECRET))).await.expect("admitted");
        request(&mut connection).await.replier.answer(payload("y")).expect("small");
        connection
    };
    let (answer, _connection) = soon(async { tokio::join!(calling, accepting) }).await;
    answer.expect("answered");

    let mut text = String::new();
    log.read_to_string(&mut text).expect("text");
    let count = |part: &str| text.lines().filter(|line| line.contains(part)).count();
    assert_eq!((count("WARN"), count("no connection"), count("connected again")), (2, 2, 1), "{text}");
    assert_eq!((count("the called node has none"), count("node 3"), count(SECRET)), (1, 1, 0), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn payloads_of_every_size_come_back(sizes in prop::collection::vec(0..300_000_usize, 1..8), secret: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let secret = secret.then_some(SECRET);
            let peer = peer(&echo(node(2, secret)).await, secret);
            for size in sizes {
                let sent: Bytes = (0..size).map(|at| u8::try_from(at % 251).expect("small")).collect();
                assert!(soon(peer.call(0, sent.clone(), PATIENCE)).await.expect("answered") == sent);
            }
        });
    }
}
