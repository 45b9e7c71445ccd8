//! Calls between nodes: framed bytes with a deadline, over TCP.
//!
//! A [`Peer`] calls, a [`Connection`] is called. One connection serves one [`Lane`] in one direction and carries many
//! calls at once. What a call means is the affair of the layers above: here it is a number and some bytes.
//!
//! What holds:
//!
//! - Every wait has a bound: connecting, the handshake, a call, silence, a write. A partition that sends no reset is
//!   noticed within the time of the first call, and on an idle connection within [`SILENCE_MAX`].
//! - A failed call says whether it was certainly not sent or may have been carried out ([`CallError`]). Nothing is
//!   repeated here.
//! - Calls put in line one after another arrive in this order. Answers come in any.
//! - What is in flight has a bound that both sides know ([`IN_FLIGHT_BYTES_MAX`]), so every queue has one.
//! - With a [`Secret`], both sides prove that they know it before anything else happens, and no frame can be forged,
//!   changed, repeated, left out or moved unnoticed. Frames are *not* encrypted by it: who may read the network between the
//!   nodes can read messages. With TLS they are, and then certificates of the cluster's own authority prove who is a node;
//!   a caller that says it is a member must have a certificate for where the members' list has that one.
//!
//! This is not a place for Raft, for a format of payloads, or for a decision whom to call.

mod call_error;
mod calls;
mod client;
mod endpoint;
mod frame;
mod handshake;
mod health;
mod hello;
mod lane;
mod link;
mod refusal;
mod room;
mod seal;
mod secret;
mod server;
mod socket;
#[cfg(test)]
mod tests;

pub use call_error::{CallError, ConnectError, NotSent, Unanswered};
pub use client::{CONNECT_MAX, Peer, Pending, Target};
pub use endpoint::Endpoint;
pub use frame::{FrameError, PAYLOAD_BYTES_MAX};
pub use handshake::{HANDSHAKE_MAX, HandshakeError, PeerHello};
pub use lane::Lane;
pub use link::{LinkError, PULSE, SILENCE_MAX, STALL_MAX};
pub use refusal::Refusal;
pub use room::{IN_FLIGHT_BYTES_MAX, IN_FLIGHT_BYTES_MIN};
pub use secret::{Secret, SecretError};
pub use server::{AnswerTooLarge, Connection, Replier, Request};
