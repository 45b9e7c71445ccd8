//! Someone in between who changes what travels.

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use super::super::frame::{Decoder, Frame};
use super::super::handshake::{answer, call};
use super::super::hello::{Challenge, Hello, PREFIX_BYTES, Welcome};
use super::*;

const TO_CALLED_BYTES: usize = PREFIX_BYTES + Hello::REST_BYTES + 32;
const TO_CALLER_BYTES: usize = PREFIX_BYTES + Challenge::REST_BYTES + Welcome::BYTES;
const TEXT: &str = "the text";
const FRAME_BYTES: usize = 19 + TEXT.len() + 16;

/// Lets `skip` bytes pass, changes the next `window`, and lets the rest pass.
#[derive(Clone)]
struct Change {
    to_called: bool,
    skip: usize,
    window: usize,
    change: Arc<dyn Fn(Vec<u8>) -> Vec<u8> + Send + Sync>,
}

impl Change {
    fn flip(to_called: bool, at: usize) -> Self {
        let change = Arc::new(|mut byte: Vec<u8>| {
            byte[0] ^= 1;
            byte
        });
        Self { to_called, skip: at, window: 1, change }
    }

    /// Changes the frames that follow the handshake, given each as bytes.
    fn frames(count: usize, change: fn(&[&[u8]]) -> Vec<u8>) -> Self {
        let change = Arc::new(move |bytes: Vec<u8>| change(&bytes.chunks(FRAME_BYTES).collect::<Vec<_>>()));
        Self { to_called: true, skip: TO_CALLED_BYTES, window: count * FRAME_BYTES, change }
    }

    async fn pass(self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> std::io::Result<()> {
        let mut passed = vec![0; self.skip];
        // Byte by byte, since a handshake may end before `skip`.
        for byte in &mut passed {
            *byte = from.read_u8().await?;
            to.write_u8(*byte).await?;
        }
        let mut window = vec![0; self.window];
        from.read_exact(&mut window).await?;
        to.write_all(&(self.change)(window)).await?;
        copy(&mut from, &mut to).await.map(drop)
    }
}

/// An address before `address`, where one direction is changed.
async fn between(address: String, change: Change) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let own = listener.local_addr().expect("bound").to_string();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let change = change.clone();
            let far = TcpStream::connect(&address).await.expect("the called node listens");
            for socket in [&near, &far] {
                socket.set_nodelay(true).expect("a socket");
            }
            let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
            let unchanged = Change { to_called: !change.to_called, skip: 0, window: 0, change: Arc::new(|none| none) };
            let (to_called, to_caller) = if change.to_called { (change, unchanged) } else { (unchanged, change) };
            tokio::spawn(to_called.pass(near_read, far_write));
            tokio::spawn(to_caller.pass(far_read, near_write));
        }
    });
    own
}

/// A node that echoes, and tells of each connection, when it has ended, how many requests it was asked to carry out.
async fn counting() -> (String, mpsc::UnboundedReceiver<usize>) {
    let (address, mut connections) = listen(node(2, Some(SECRET))).await;
    let (sender, asked) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(connection) = connections.recv().await {
            let Ok(mut connection) = connection else { continue };
            let sender = sender.clone();
            tokio::spawn(async move {
                let mut asked = 0;
                while let Some(request) = connection.next_request().await {
                    assert_eq!((request.kind, &request.payload), (7, &payload(TEXT)), "only what was sent is asked");
                    asked += 1;
                    request.replier.answer(request.payload).expect("small");
                }
                sender.send(asked)
            });
        }
    });
    (address, asked)
}

/// Time enough for a call, if nothing is wrong; a length that was made larger is noticed only when it is over.
const TIME: Duration = Duration::from_secs(8);

/// Calls three times at once through `change`; how many were carried out, and how many answered.
async fn call_thrice(change: Change) -> (usize, usize) {
    let (address, mut asked) = counting().await;
    let peer = peer(&between(address, change).await, Some(SECRET));
    let mut pending = Vec::new();
    for _ in 0..3 {
        pending.push(peer.send(7, payload(TEXT), TIME).await.expect("room"));
    }
    let mut answered = 0;
    for pending in pending {
        match soon(pending.answer()).await {
            Ok(answer) => {
                assert_eq!(answer, payload(TEXT), "only what was answered is believed");
                answered += 1;
            }
            Err(CallError::Unanswered(_)) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    drop(peer);
    (soon(asked.recv()).await.expect("a connection"), answered)
}

#[tokio::test]
async fn who_only_passes_bytes_on_is_not_noticed() {
    assert_eq!(call_thrice(Change::frames(3, |frames| frames.concat())).await, (3, 3));
}

#[tokio::test]
async fn a_handshake_with_one_changed_byte_leads_to_no_call() {
    let (address, mut asked) = counting().await;
    for (to_called, bytes) in [(true, TO_CALLED_BYTES), (false, TO_CALLER_BYTES)] {
        for at in 0..bytes {
            let between = between(address.clone(), Change::flip(to_called, at)).await;
            let called = soon(peer(&between, Some(SECRET)).call(7, payload(TEXT), PATIENCE)).await;
            assert!(matches!(called, Err(CallError::NotSent(_) | CallError::Refused(_))), "{at}: {called:?}");
        }
    }
    while let Ok(asked) = asked.try_recv() {
        assert_eq!(asked, 0);
    }
}

#[tokio::test]
async fn a_request_with_one_changed_byte_is_not_carried_out() {
    let outcomes = join_all((0..FRAME_BYTES).map(|at| call_thrice(Change::flip(true, TO_CALLED_BYTES + at)))).await;
    assert_eq!(outcomes, [(0, 0); FRAME_BYTES]);
}

#[tokio::test]
async fn an_answer_with_one_changed_byte_is_not_believed() {
    let outcomes = join_all((0..FRAME_BYTES).map(|at| call_thrice(Change::flip(false, TO_CALLER_BYTES + at)))).await;
    // They were carried out, hence the name of the error.
    assert_eq!(outcomes, [(3, 0); FRAME_BYTES]);
}

#[tokio::test]
async fn frames_that_are_repeated_left_out_or_moved_are_not_carried_out() {
    let asked = async |change| call_thrice(Change::frames(3, change)).await.0;
    assert_eq!(asked(|frames| [frames[0], frames[0], frames[1], frames[2]].concat()).await, 1);
    assert_eq!(asked(|frames| [frames[1], frames[2]].concat()).await, 0);
    assert_eq!(asked(|frames| [frames[0], frames[2], frames[1]].concat()).await, 1);
    assert_eq!(asked(|frames| [frames[0], frames[1], frames[2], frames[0]].concat()).await, 3);
}

#[tokio::test]
async fn a_frame_is_of_no_use_in_the_other_direction_or_on_another_connection() {
    let seals = async || {
        let (mut near, mut far) = tokio::io::duplex(1024);
        let (caller, called) = (node(1, Some(SECRET)), node(2, Some(SECRET)));
        let (calling, answering) =
            tokio::join!(call(&mut near, &caller, Lane::Append, None), answer(&mut far, &called, |_| true));
        (calling.expect("admitted"), answering.expect("admitted").1)
    };
    let check = |sent: &bytes::BytesMut, seal, expected| {
        let mut decoder = Decoder::new(seal);
        decoder.room().extend_from_slice(sent);
        assert_eq!(decoder.next(), expected);
    };
    let ((mut caller, called), (other_caller, other_called)) = (seals().await, seals().await);
    let mut sent = bytes::BytesMut::new();
    Frame::Pulse.encode(caller.sending.as_mut(), &mut sent);
    check(&sent, called.receiving, Ok(Some(Frame::Pulse)));
    check(&sent, caller.receiving, Err(FrameError::Tag));
    check(&sent, other_called.receiving, Err(FrameError::Tag));
    check(&sent, other_caller.receiving, Err(FrameError::Tag));
}
