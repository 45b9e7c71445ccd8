//! What a stranger may send to the nodes' port, and a node with the secret.

use bytes::BytesMut;
use tokio::io::{join, sink};
use tokio::runtime::Builder;

use super::super::frame::{Decoder, Frame};
use super::super::handshake;
use super::super::hello::{Challenge, Hello, Welcome};
use super::*;
use crate::fuzz::Target;

#[test]
fn fuzz_frames() {
    let frames = [
        Frame::Request { id: 1, kind: 2, left_ms: 500, payload: payload("a request") },
        Frame::Answer { id: 1, payload: payload("an answer") },
        Frame::NoAnswer { id: 7 },
        Frame::Pulse,
    ];
    let encoded = |frames: &[Frame]| {
        let mut bytes = BytesMut::new();
        frames.iter().for_each(|frame| frame.encode(None, &mut bytes));
        bytes.to_vec()
    };
    let mut corpus: Vec<_> = frames.iter().map(|frame| encoded(std::slice::from_ref(frame))).collect();
    corpus.push(encoded(&frames));
    // One frame may announce as much as it may hold, and then there is room for it.
    let allocated_max = (2 * PAYLOAD_BYTES_MAX as u64, 64);
    Target { allocated_max, ..Target::new("frames between nodes", corpus) }.run(|mut input| {
        let mut decoder = Decoder::new(None);
        while !input.is_empty() {
            let room = decoder.room();
            let (now, later) = input.split_at(input.len().min(room.capacity() - room.len()));
            room.extend_from_slice(now);
            input = later;
            loop {
                match decoder.next() {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(_) => return,
                }
            }
        }
    });
}

#[test]
fn fuzz_handshakes() {
    let hello = |secret| Hello::new(secret, Lane::Append, Some(CLUSTER), Some(NodeId::new(1)), Some(NodeId::new(2)));
    let join = Hello::new(true, Lane::Join, None, None, None);
    let proof = [7; 32];
    let called = [hello(true), hello(false), join].map(|hello| [hello.encode().as_slice(), &proof].concat());
    let welcome = Welcome { verdict: Ok(()), proof };
    let calling = [Ok(()), Err(Refusal::SecretMismatch)]
        .map(|verdict| [Challenge::new(verdict).encode(), welcome.encode()].concat());
    let corpus = called.into_iter().chain(calling).collect();
    let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
    let (with, without) = (node(2, Some(SECRET)), node(2, None));
    Target { cost: 4, ..Target::new("handshakes of nodes", corpus) }.run(|input| {
        runtime.block_on(async {
            for local in [&with, &without] {
                let _ = handshake::answer(&mut join_both(input), local, |_| true).await;
                let _ = handshake::call(&mut join_both(input), local, Lane::Append, Some(NodeId::new(1))).await;
            }
        });
    });
}

/// What is read, while what is written is lost.
fn join_both(input: &[u8]) -> impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin {
    join(input, sink())
}
