//! The peer port: what other nodes ask of this one.
//!
//! It gives meaning to the numbers that [`rpc`](crate::rpc) carries: Raft's own requests go to consensus, writes and
//! questions to the node. It decides nothing itself, and serves nobody but peers: clients have a port of their own.

mod metrics;
mod strangers;

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Duration, Instant, sleep, timeout_at};
use tracing::{debug, warn};

pub use self::metrics::Metrics;
use self::metrics::TurnedAway;
use self::strangers::{Stranger, Strangers};
use crate::consensus::ProposeError;
use crate::consensus::wire::{self, Announce, Join, JoinReply, Meet, Met, Propose, ProposeRefused, ProposeReply, kind};
use crate::node::{Meeting, Node};
use crate::rpc::{Connection, Endpoint, HandshakeError, Lane, Request};
use crate::state::EncodedCommand;

/// Connections of peers that have proven who they are. Ten lanes for each of a hundred nodes.
const CONNECTIONS_MAX: usize = 1_000;

/// Requests of one connection that are worked on at a time. Appends on their own lane don't count: they are queued in
/// order.
const REQUESTS_MAX: usize = 64;

/// After an error of the listener, such as no free descriptor.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// How often refused callers are reported.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// Answers other nodes as long as this one belongs to no cluster: that it lets nobody in, and what the `meeting` says. Never
/// returns.
pub async fn meet(listener: &TcpListener, meeting: &Meeting, endpoint: &Endpoint) -> Infallible {
    meeting.opened().await;
    let strangers = Arc::new(Strangers::default());
    loop {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "can't accept peers");
                sleep(ACCEPT_AGAIN_AFTER).await;
                continue;
            }
        };
        let (stranger, meeting, local) = (strangers.admit(), meeting.clone(), endpoint.clone());
        endpoint.tasks.spawn(async move {
            match stranger.prove(Connection::accept(&local, stream, |_| None)).await {
                Some(Ok(connection)) => introduce(connection, &meeting).await,
                Some(Err(error)) => {
                    debug!(peer = %address, error = &error as &dyn std::error::Error, "refused a caller");
                }
                None => {}
            }
        });
    }
}

/// Answers a caller, who may be a node that belongs to no cluster either, until the connection ends.
async fn introduce(mut connection: Connection, meeting: &Meeting) {
    while let Some(request) = connection.next_request().await {
        let answer = match request.kind {
            kind::JOIN => Some(wire::encode(&JoinReply::Elsewhere { leader: None })),
            kind::MEET if may_ask(&connection, &request) => {
                wire::decode(&request.payload).ok().and_then(|meet| meeting.answer(&meet)).map(|met| wire::encode(&met))
            }
            _ => None,
        };
        if let Some(answer) = answer {
            let _ = request.replier.answer(answer);
        }
    }
}

/// Serves peers until the endpoint's `stop`.
pub async fn serve(listener: TcpListener, node: Node, endpoint: Endpoint, metrics: Metrics) {
    let (strangers, slots) = (Arc::new(Strangers::default()), Arc::new(Semaphore::new(CONNECTIONS_MAX)));
    let mut reported: Option<Instant> = None;
    let (refused, mut refusals) = tokio::sync::mpsc::channel::<(std::net::SocketAddr, HandshakeError)>(16);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => {
                    let (node, endpoint, refused) = (node.clone(), endpoint.clone(), refused.clone());
                    let (stranger, slots, metrics) = (strangers.admit(), Arc::clone(&slots), metrics.clone());
                    let tasks = endpoint.tasks.clone();
                    tasks.spawn(async move {
                        match shake_hands(stranger, stream, &node, &endpoint).await {
                            Some(Ok(connection)) => match slots.try_acquire_owned() {
                                Ok(_slot) => serve_peer(connection, &node, &endpoint).await,
                                Err(_) => {
                                    metrics.turned_away(TurnedAway::Full);
                                    warn!(peer = %address, "too many connections of peers");
                                }
                            },
                            Some(Err(error)) => {
                                metrics.turned_away(TurnedAway::Refused);
                                let _ = refused.try_send((address, error));
                            }
                            None => {
                                metrics.turned_away(TurnedAway::CrowdedOut);
                                debug!(peer = %address, "a caller that had not said who it is made room");
                            }
                        }
                    });
                }
                Err(error) => {
                    warn!(error = &error as &dyn std::error::Error, "can't accept peers");
                    sleep(ACCEPT_AGAIN_AFTER).await;
                }
            },
            Some((address, error)) = refusals.recv() => {
                // A stranger may knock a thousand times a second.
                if reported.is_none_or(|at| at.elapsed() > REPORT_EVERY) {
                    reported = Some(Instant::now());
                    warn!(peer = %address, error = &error as &dyn std::error::Error, "refused a caller on the peer port");
                }
            },
            () = endpoint.stop.cancelled() => return,
        }
    }
}

/// Finds out who calls. `None`: it took so long that somebody else was let in.
async fn shake_hands(
    stranger: Stranger,
    stream: TcpStream,
    node: &Node,
    endpoint: &Endpoint,
) -> Option<Result<Connection, HandshakeError>> {
    let member_address = |id| node.consensus().member_address(id);
    stranger.prove(Connection::accept(endpoint, stream, member_address)).await
}

/// Answers a peer until the connection ends.
async fn serve_peer(mut connection: Connection, node: &Node, endpoint: &Endpoint) {
    let lane = connection.hello().lane;
    debug!(peer = %connection.address(), ?lane, "peer connected");
    let mut appends = node.consensus().appends();
    let workers = Arc::new(Semaphore::new(REQUESTS_MAX));
    while let Some(request) = connection.next_request().await {
        if lane == Lane::Append && request.kind == kind::APPEND {
            if appends.push(request).await.is_none() {
                break;
            }
            continue;
        }
        if !may_ask(&connection, &request) {
            warn!(peer = %connection.address(), "a caller with a certificate for another address was not answered");
            continue;
        }
        let worker = workers.clone().acquire_owned().await.expect("the semaphore is never closed");
        let node = node.clone();
        endpoint.tasks.spawn(async move {
            let _worker = worker;
            let Request { kind, payload, deadline, replier } = request;
            if let Some(answer) = answer(&node, lane, kind, &payload, deadline).await {
                // Too large can only be what this node itself has written; the caller learns that there is no answer.
                let _ = replier.answer(answer);
            }
        });
    }
}

/// Whether the caller's certificate, if nodes have them, allows a request: nobody enters or moves to an address of
/// somebody else, and who is not where it is known to be may only announce that it has moved.
fn may_ask(connection: &Connection, request: &Request) -> bool {
    let announced = match request.kind {
        kind::JOIN => wire::decode(&request.payload).ok().map(|join: Join| join.member),
        kind::ANNOUNCE => wire::decode(&request.payload).ok().map(|announce: Announce| announce.member),
        kind::MEET => wire::decode(&request.payload).ok().map(|meet: Meet| meet.candidate.member),
        _ => return connection.hello().is_at_home,
    };
    announced.is_some_and(|member| connection.may_be_at(&member.peer))
}

/// `None` if there is no such request on this lane, or it can't be read.
async fn answer(node: &Node, lane: Lane, kind: u8, payload: &Bytes, deadline: Instant) -> Option<Bytes> {
    match (lane, kind) {
        (Lane::Join, kind::JOIN) => Some(wire::encode(&node.consensus().join().await)),
        (Lane::Join, kind::MEET) => {
            let cluster = *node.consensus().cluster().as_bytes();
            Some(wire::encode(&Met::Member { cluster }))
        }
        (Lane::Join, _) => None,
        (_, kind::PROPOSE) => Some(wire::encode(&propose(node, Propose::decode(payload).ok()?, deadline).await)),
        (_, kind::ANNOUNCE) => {
            let announce: Announce = wire::decode(payload).ok()?;
            Some(wire::encode(&node.consensus().announce(announce).await))
        }
        (_, kind::ORDER) => Some(wire::encode(&node.carry_out(wire::decode(payload).ok()?).await)),
        (_, kind::INSPECT) => {
            let inspected = timeout_at(deadline, node.inspect(wire::decode(payload).ok()?)).await.ok()?;
            Some(wire::encode(&inspected))
        }
        (_, kind::COMMITTED) => Some(wire::encode(&node.consensus().confirmed().await)),
        (_, kind::OCCUPANCY) => Some(wire::encode(&node.streams_of(&wire::decode(payload).ok()?))),
        (_, kind::STATUS) => Some(wire::encode(&node.status())),
        (_, kind) => node.consensus().answer(kind, payload).await,
    }
}

async fn propose(node: &Node, request: Propose, deadline: Instant) -> ProposeReply {
    let commands: Result<Vec<_>, _> = request.commands.into_iter().map(EncodedCommand::parse).collect();
    // Bytes of another version must not come into the log: the node that sent them asks another leader later.
    let Ok(commands) = commands else { return Err(ProposeRefused::NotLeader) };
    match timeout_at(deadline, node.commit_forwarded(commands, request.traces)).await {
        Ok(Ok(proposed)) => Ok(proposed),
        Ok(Err(ProposeError::NotLeader)) => Err(ProposeRefused::NotLeader),
        Ok(Err(ProposeError::Stopping)) => Err(ProposeRefused::Stopping),
        Ok(Err(ProposeError::Unknown)) | Err(_) => Err(ProposeRefused::Unknown),
    }
}
