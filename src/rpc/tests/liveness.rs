//! Connections over pipes, with a clock that jumps whenever nobody has anything to do.

use tokio::io::{AsyncWriteExt, DuplexStream, duplex, split};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use super::super::calls::{Answer, Call, Calls};
use super::super::client::converse;
use super::super::frame::Frame;
use super::super::handshake::Seals;
use super::super::room::Room;
use super::*;

fn unsealed() -> Seals {
    Seals { sending: None, receiving: None }
}

/// The called node's end of a pipe.
fn open(far: DuplexStream) -> Connection {
    let hello = PeerHello { lane: Lane::Append, cluster: Some(CLUSTER), from: Some(NodeId::new(1)), is_at_home: true };
    let (read, write) = split(far);
    Connection::open(&node(2, None), Caller::of(hello), unsealed(), read, write)
}

/// The caller's end of a pipe, with one call under way; the answer to it, and why the connection ended.
async fn dial(near: DuplexStream) -> (oneshot::Receiver<Answer>, oneshot::Receiver<LinkError>) {
    let (answer, answered) = oneshot::channel();
    let share = Room::new().take(1).await;
    let call = Call { kind: 0, payload: payload("x"), deadline: Instant::now() + PATIENCE, answer, share };
    let (calls, _) = Calls::starting_with(call);
    let (end, ended) = oneshot::channel();
    tokio::spawn(async move {
        let (read, write) = split(near);
        let error = converse(read, write, unsealed(), &calls, &Default::default()).await;
        end.send(error).expect("the test waits");
    });
    (answered, ended)
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_stays_open_while_both_sides_live() {
    let (near, far) = duplex(4096);
    let mut connection = open(far);
    let (answered, mut ended) = dial(near).await;
    let request = connection.next_request().await.expect("a request");
    sleep(Duration::from_secs(3600)).await;
    assert!(ended.try_recv().is_err(), "still open");
    request.replier.answer(payload("after an hour")).expect("small");
    assert_eq!(answered.await.expect("kept").expect("answered"), payload("after an hour"));
}

#[tokio::test(start_paused = true)]
async fn a_caller_gives_up_a_called_node_that_is_not_heard() {
    let (near, _far) = duplex(4096);
    let started = Instant::now();
    let (_answered, ended) = dial(near).await;
    assert!(matches!(ended.await, Ok(LinkError::Silent)));
    assert_eq!(started.elapsed(), SILENCE_MAX);
}

#[tokio::test(start_paused = true)]
async fn a_called_node_gives_up_a_caller_that_is_not_heard() {
    let (_near, far) = duplex(4096);
    let started = Instant::now();
    assert!(open(far).next_request().await.is_none());
    assert_eq!(started.elapsed(), SILENCE_MAX);
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_never_becomes_whole_is_silence_however_it_drips() {
    let (mut near, far) = duplex(4096);
    let mut connection = open(far);
    let started = Instant::now();
    let mut header = vec![0xb1, 1, 0];
    header.extend([0; 12]);
    header.extend(1_000_000_u32.to_be_bytes());
    near.write_all(&header).await.expect("open");
    let drip = async {
        while near.write_all(&[0]).await.is_ok() {
            sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        request = connection.next_request() => assert!(request.is_none()),
        () = drip => {}
    }
    assert!(started.elapsed() <= SILENCE_MAX + Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_is_given_up() {
    // Pulses in, nothing out: the pipe fills, and the answer never fits.
    let (near, far) = duplex(64);
    let (_deaf, mut speaking) = split(near);
    let mut connection = open(far);
    let mut bytes = bytes::BytesMut::new();
    Frame::Request { id: 0, kind: 0, left_ms: 1, payload: payload("x") }.encode(None, &mut bytes);
    speaking.write_all(&bytes).await.expect("open");
    let request = connection.next_request().await.expect("a request");
    request.replier.answer(vec![7; 1000].into()).expect("small");

    let started = Instant::now();
    let speak = async {
        let mut pulse = bytes::BytesMut::new();
        Frame::Pulse.encode(None, &mut pulse);
        loop {
            sleep(PULSE).await;
            if speaking.write_all(&pulse).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        request = connection.next_request() => assert!(request.is_none()),
        () = speak => {}
    }
    assert_eq!(started.elapsed(), STALL_MAX);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_sends_more_than_there_is_room_for_is_not_read_until_there_is() {
    let (near, far) = duplex(64 * 1024);
    let (_near, mut speaking) = split(near);
    let mut connection = open(far);
    let mut bytes = bytes::BytesMut::new();
    Frame::Request { id: 0, kind: 0, left_ms: 1, payload: Bytes::new() }.encode(None, &mut bytes);
    let room = IN_FLIGHT_BYTES_MAX / IN_FLIGHT_BYTES_MIN;
    for _ in 0..=room {
        speaking.write_all(&bytes).await.expect("open");
    }
    let mut requests = Vec::new();
    while let Ok(request) = timeout(SILENCE_MAX * 2, connection.next_request()).await {
        requests.push(request.expect("this side's own delay is not the caller's silence"));
    }
    assert_eq!(requests.len(), room);

    requests.truncate(room - 2);
    requests.push(connection.next_request().await.expect("now there is room"));
    sleep(PULSE).await;
    speaking.write_all(&bytes).await.expect("still open");
    requests.push(connection.next_request().await.expect("still open"));
}

#[tokio::test(start_paused = true)]
async fn a_side_that_hears_what_only_the_other_should_ends_the_connection() {
    let mut bytes = bytes::BytesMut::new();
    Frame::NoAnswer { id: 0 }.encode(None, &mut bytes);
    let (mut near, far) = duplex(4096);
    near.write_all(&bytes).await.expect("open");
    let started = Instant::now();
    assert!(open(far).next_request().await.is_none());

    bytes.clear();
    Frame::Request { id: 0, kind: 0, left_ms: 1, payload: Bytes::new() }.encode(None, &mut bytes);
    let (near, mut far) = duplex(4096);
    far.write_all(&bytes).await.expect("open");
    let (_answered, ended) = dial(near).await;
    assert!(matches!(ended.await, Ok(LinkError::Unexpected)));
    assert_eq!(started.elapsed(), Duration::ZERO);
}
