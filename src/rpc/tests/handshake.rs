use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::time::Instant;

use super::super::handshake::{answer, call};
use super::super::hello::{Challenge, Hello, MAGIC, PREFIX_BYTES, VERSION, Welcome};
use super::*;

type Called = Result<(), HandshakeError>;
type Answered = Result<PeerHello, HandshakeError>;

async fn shake(caller: &Endpoint, called: &Endpoint, lane: Lane, to: Option<NodeId>) -> (Called, Answered) {
    let (mut near, mut far) = duplex(1024);
    let calling = async move { call(&mut near, caller, lane, to).await.map(drop) };
    let answering = async move { answer(&mut far, called, |_| true).await.map(|(hello, _)| hello) };
    soon(async { tokio::join!(calling, answering) }).await
}

/// Both sides name the same reason.
async fn check_refused(caller: &Endpoint, called: &Endpoint, lane: Lane, to: Option<NodeId>, expected: Refusal) {
    let (called, answered) = shake(caller, called, lane, to).await;
    assert!(matches!(called, Err(HandshakeError::Refused(refusal)) if refusal == expected), "{called:?}");
    assert!(matches!(answered, Err(HandshakeError::Refused(refusal)) if refusal == expected), "{answered:?}");
}

#[tokio::test]
async fn a_caller_with_the_same_secret_or_none_like_the_called_node_is_admitted_as_who_it_says() {
    for secret in [None, Some(SECRET)] {
        for lane in [Lane::Append, Lane::Control, Lane::Snapshot, Lane::Forward, Lane::Status, Lane::Join] {
            let to = Some(NodeId::new(2));
            let (called, answered) = shake(&node(1, secret), &node(2, secret), lane, to).await;
            called.expect("admitted");
            let expected = PeerHello { lane, cluster: Some(CLUSTER), from: Some(NodeId::new(1)), is_at_home: true };
            assert_eq!(answered.expect("admitted"), expected);
        }
    }
}

#[tokio::test]
async fn secrets_that_differ_are_refused_in_the_same_words_on_both_sides() {
    let other = Some("incorrect horse battery staple");
    for (caller, called, expected) in [
        (None, Some(SECRET), Refusal::SecretMissing),
        (Some(SECRET), None, Refusal::SecretUnexpected),
        (other, Some(SECRET), Refusal::SecretMismatch),
        (Some(SECRET), other, Refusal::SecretMismatch),
    ] {
        check_refused(&node(1, caller), &node(2, called), Lane::Append, None, expected).await;
        assert!(expected.to_string().contains("secret file"), "{expected} tells what to check");
    }
}

#[tokio::test]
async fn another_cluster_is_refused_by_name() {
    for secret in [None, Some(SECRET)] {
        let other = Endpoint { cluster: Some(Uuid::from_u128(7)), ..node(1, secret) };
        let expected = Refusal::ForeignCluster { actual: Some(CLUSTER) };
        check_refused(&other, &node(2, secret), Lane::Append, None, expected).await;
        check_refused(&other, &node(2, secret), Lane::Join, None, expected).await;
        assert!(expected.to_string().contains(&CLUSTER.to_string()));

        let fresh = Endpoint { secret: node(2, secret).secret, ..Endpoint::default() };
        let expected = Refusal::ForeignCluster { actual: None };
        check_refused(&node(1, secret), &fresh, Lane::Append, None, expected).await;
    }
}

#[tokio::test]
async fn a_caller_without_a_cluster_may_only_join() {
    for secret in [None, Some(SECRET)] {
        let fresh = Endpoint { cluster: None, node: None, ..node(1, secret) };
        let (called, answered) = shake(&fresh, &node(2, secret), Lane::Join, None).await;
        called.expect("admitted");
        assert_eq!(
            answered.expect("admitted"),
            PeerHello { lane: Lane::Join, cluster: None, from: None, is_at_home: true }
        );
        for lane in [Lane::Append, Lane::Control, Lane::Snapshot, Lane::Forward, Lane::Status] {
            check_refused(&fresh, &node(2, secret), lane, None, Refusal::NotMember).await;
        }
    }
}

#[tokio::test]
async fn an_address_that_another_node_has_now_is_refused_with_its_number() {
    let expected = Refusal::WrongNode { actual: Some(NodeId::new(3)) };
    check_refused(&node(1, Some(SECRET)), &node(3, Some(SECRET)), Lane::Append, Some(NodeId::new(2)), expected).await;
    let unnumbered = Endpoint { node: None, ..node(2, None) };
    let expected = Refusal::WrongNode { actual: None };
    check_refused(&node(1, None), &unnumbered, Lane::Append, Some(NodeId::new(2)), expected).await;
}

#[tokio::test]
async fn an_unknown_lane_and_another_version_are_refused_by_name() {
    for (at, value, expected) in
        [(PREFIX_BYTES + 1, 99, Refusal::Lane), (PREFIX_BYTES - 1, VERSION + 1, Refusal::Version { called: VERSION })]
    {
        let (mut near, mut far) = duplex(1024);
        let mut hello = Hello::new(false, Lane::Append, Some(CLUSTER), None, None).encode();
        hello[at] = value;
        let called = node(2, None);
        let (answered, challenge) = soon(async {
            tokio::join!(answer(&mut far, &called, |_| true), async {
                near.write_all(&hello).await.expect("sent");
                let mut challenge = [0; PREFIX_BYTES + Challenge::REST_BYTES];
                near.read_exact(&mut challenge).await.expect("a refusal");
                drop(near);
                challenge
            })
        })
        .await;
        assert!(matches!(answered, Err(HandshakeError::Refused(refusal)) if refusal == expected));
        let challenge = Challenge::decode(challenge.last_chunk().expect("longer")).expect("a challenge");
        assert_eq!(challenge.verdict, Err(expected));
    }

    let (mut near, mut far) = duplex(1024);
    far.write_all(&[MAGIC.as_slice(), &[7]].concat()).await.expect("sent");
    let called = soon(call(&mut near, &node(1, None), Lane::Append, None)).await.map(drop);
    assert!(matches!(called, Err(HandshakeError::Refused(Refusal::Version { called: 7 }))), "{called:?}");
}

#[tokio::test]
async fn what_speaks_http_is_told_apart_from_a_peer() {
    let (mut near, mut far) = duplex(1024);
    near.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
    let answered = soon(answer(&mut far, &node(2, None), |_| true)).await.map(|(hello, _)| hello);
    assert!(matches!(answered, Err(HandshakeError::Foreign)), "{answered:?}");

    let (mut near, mut far) = duplex(1024);
    far.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.expect("sent");
    let called = soon(call(&mut near, &node(1, None), Lane::Append, None)).await.map(drop);
    assert!(matches!(called, Err(HandshakeError::Foreign)), "{called:?}");
}

#[tokio::test]
async fn a_called_node_that_does_not_know_the_secret_is_found_out() {
    let (mut near, mut far) = duplex(1024);
    let impostor = async move {
        let mut unread = [0; PREFIX_BYTES + Hello::REST_BYTES];
        far.read_exact(&mut unread).await.expect("a hello");
        far.write_all(&Challenge::new(Ok(())).encode()).await.expect("sent");
        far.read_exact(&mut [0; 32]).await.expect("a proof");
        far.write_all(&Welcome { verdict: Ok(()), proof: [7; 32] }.encode()).await.expect("sent");
    };
    let caller = node(1, Some(SECRET));
    let (called, ()) = tokio::join!(soon(call(&mut near, &caller, Lane::Append, None)), impostor);
    assert!(matches!(called.map(drop), Err(HandshakeError::Impostor)));
}

/// Says hello and then whatever `proof` is; the called node's verdict on it.
async fn stranger(hello: &[u8], proof: &[u8]) -> (Answered, Welcome) {
    let (mut near, mut far) = duplex(1024);
    let called = node(2, Some(SECRET));
    let calling = async {
        near.write_all(hello).await.expect("sent");
        near.read_exact(&mut [0; PREFIX_BYTES + Challenge::REST_BYTES]).await.expect("a challenge");
        near.write_all(proof).await.expect("sent");
        let mut welcome = [0; Welcome::BYTES];
        near.read_exact(&mut welcome).await.expect("a verdict");
        drop(near);
        Welcome::decode(&welcome).expect("a verdict")
    };
    let (answered, welcome) = soon(async { tokio::join!(answer(&mut far, &called, |_| true), calling) }).await;
    (answered.map(|(hello, _)| hello), welcome)
}

#[tokio::test]
async fn a_handshake_that_was_overheard_opens_no_door() {
    let (near, mut far) = duplex(1024);
    let (mut near, sent) = Recorded::new(near);
    let (caller, called) = (node(1, Some(SECRET)), node(2, Some(SECRET)));
    let (admitted, _) = tokio::join!(call(&mut near, &caller, Lane::Append, None), answer(&mut far, &called, |_| true));
    admitted.map(drop).expect("admitted");

    let sent = sent.lock().expect("not poisoned").clone();
    let (hello, proof) = sent.split_at(PREFIX_BYTES + Hello::REST_BYTES);
    let (answered, welcome) = stranger(hello, proof).await;
    assert!(matches!(answered, Err(HandshakeError::Refused(Refusal::SecretMismatch))), "{answered:?}");
    assert_eq!(welcome.proof, [0; 32], "a stranger gets nothing to test guesses against");
}

#[tokio::test]
async fn the_secret_never_travels() {
    let (near, far) = duplex(1024);
    let ((near, sent), (far, answered)) = (Recorded::new(near), Recorded::new(far));
    let (mut near, mut far) = (near, far);
    let (caller, called) = (node(1, Some(SECRET)), node(2, Some(SECRET)));
    let (admitted, _) = tokio::join!(call(&mut near, &caller, Lane::Append, None), answer(&mut far, &called, |_| true));
    admitted.map(drop).expect("admitted");
    for bytes in [sent, answered] {
        let bytes = bytes.lock().expect("not poisoned");
        assert!(bytes.len() > 64, "recorded");
        for part in SECRET.as_bytes().windows(4) {
            assert!(!bytes.windows(4).any(|window| window == part), "{bytes:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_or_a_called_node_that_falls_silent_holds_a_handshake_no_longer_than_its_deadline() {
    let prefix = [MAGIC.as_slice(), &[VERSION]].concat();
    for said in [b"".as_slice(), b"re", &prefix, &[prefix.as_slice(), &[0; 40]].concat()] {
        let started = Instant::now();
        let (mut near, mut far) = duplex(1024);
        near.write_all(said).await.expect("sent");
        assert!(matches!(answer(&mut far, &node(2, None), |_| true).await.map(drop), Err(HandshakeError::Timeout)));
        assert_eq!(started.elapsed(), HANDSHAKE_MAX);
    }
    let started = Instant::now();
    let (mut near, _far) = duplex(1024);
    assert!(matches!(
        call(&mut near, &node(1, None), Lane::Append, None).await.map(drop),
        Err(HandshakeError::Timeout)
    ));
    assert_eq!(started.elapsed(), HANDSHAKE_MAX);
}

proptest! {
    #[test]
    fn any_bytes_are_refused_within_the_deadline_or_an_open_connection_that_ends_in_silence(
        hello in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            prop::collection::vec(any::<u8>(), 0..200).prop_map(|rest| [&MAGIC, [VERSION].as_slice(), &rest].concat()),
            Just(Hello::new(false, Lane::Append, Some(CLUSTER), None, None).encode()),
        ],
        later in prop::collection::vec(any::<u8>(), 0..200),
        secret: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let called = node(2, secret.then_some(SECRET));
            let (mut near, mut far) = duplex(4096);
            near.write_all(&hello).await.expect("sent");
            near.write_all(&later).await.expect("sent");
            let started = Instant::now();
            let answered = answer(&mut far, &called, |_| true).await;
            assert!(started.elapsed() <= HANDSHAKE_MAX);
            assert!(answered.is_err(), "nobody guesses a proof");
        });
    }

    #[test]
    fn any_bytes_after_a_handshake_end_the_connection_and_nothing_else(
        bytes in prop::collection::vec(any::<u8>(), 1..200),
        secret: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let secret = secret.then_some(SECRET);
            let (mut near, far) = duplex(4096);
            let mut connection = admitted(&mut near, far, secret).await;
            near.write_all(&bytes).await.expect("sent");
            let started = Instant::now();
            assert!(connection.next_request().await.is_none());
            assert!(started.elapsed() <= SILENCE_MAX);
        });
    }
}

/// Shakes hands over a pipe; the called node's connection.
async fn admitted(near: &mut DuplexStream, mut far: DuplexStream, secret: Option<&str>) -> Connection {
    let (caller, called) = (node(1, secret), node(2, secret));
    let (called_ok, answered) =
        tokio::join!(call(near, &caller, Lane::Append, None), answer(&mut far, &called, |_| true));
    called_ok.map(drop).expect("admitted");
    let (hello, seals) = answered.expect("admitted");
    let (read, write) = tokio::io::split(far);
    Connection::open(&called, Caller::of(hello), seals, read, write)
}

/// Remembers what was written to a stream.
struct Recorded {
    stream: DuplexStream,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Recorded {
    fn new(stream: DuplexStream) -> (Self, Arc<Mutex<Vec<u8>>>) {
        let written = Arc::new(Mutex::new(Vec::new()));
        (Self { stream, written: Arc::clone(&written) }, written)
    }
}

impl AsyncRead for Recorded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Recorded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.written.lock().expect("not poisoned").extend_from_slice(bytes);
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
