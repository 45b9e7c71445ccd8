//! Puts a node together: listeners, node, ports, and the order in which they start and stop.
//!
//! The clients' port answers from the first moment, if only to say that the node is starting; so an `EventSource` that
//! comes back too early comes back again. Stopping goes the other way: leadership is handed over and streams are sent to
//! other nodes while this one still serves, then streams end between two events, then the engine stops and what is in
//! memory is written down.

mod admin;
mod collector;
mod descriptors;
mod keys;
mod reload;
mod started;
mod traces;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use thiserror::Error;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use self::collector::{CertificateCollector, NodeCollector};
pub use self::keys::{KeysError, authority};
pub use self::started::{News, Started};
use crate::auth::Authority;
use crate::config::{ClusterSecret, JoinTarget, Settings};
use crate::http::{self, Api, App, Front, Limits, Metrics, Origin, OriginError, Rates, StreamPlaces};
use crate::node::{
    self, CheckpointOptions, ClusterView, Connections, Fault, Meeting, Member, NewTopics, Node, NodeError, Role, Seed,
    StartError, Timing,
};
pub use crate::node::{
    Contents, DisasterError, Expelled, RefoundError, Refounded, backup_contents, force_new_cluster, restore_backup,
};
use crate::peer;
use crate::rpc::{Secret, SecretError};
use crate::state::{KeyWindow, Quotas};
use crate::storage::DataDirError;
use crate::tls::{Acceptor, Mutual, MutualFiles, TlsError};
use crate::trace::Tracer;

/// Why a server could not start or go on.
#[derive(Debug, Error)]
pub enum ServerError {
    /// An address can't be listened on.
    #[error("can't listen on {address} for {port}{}", hint(source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What for.
        port: Port,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Operators can't be listened for.
    #[error("can't listen for operators (--admin-socket) at {}{}", path.display(), socket_hint(source))]
    Admin {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The cluster secret can't be used.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// What TLS is made of can't be used.
    #[error("TLS can't be served ({setting})")]
    Tls {
        /// The setting that names the certificate.
        setting: &'static str,
        /// Why.
        #[source]
        source: TlsError,
    },
    /// The keys that prove tokens can't be used.
    #[error("the keys that prove tokens can't be used")]
    Keys(#[from] KeysError),
    /// An origin that may use the API can't be one.
    #[error(transparent)]
    Origin(#[from] OriginError),
    /// The data directory can't be used.
    #[error("can't use the data directory (--data-dir)")]
    DataDir(#[from] DataDirError),
    /// The data directory belongs to another cluster than the one that is to be joined.
    #[error(transparent)]
    OtherCluster(NodeError),
    /// The node did not start.
    #[error(transparent)]
    Node(NodeError),
    /// Whoever has started the node could not be told about it.
    #[error("can't tell how the node is")]
    Tell(#[source] io::Error),
    /// There is no client for the collector of traces.
    #[error("traces can't be sent (--otlp-endpoint)")]
    Traces(#[source] reqwest::Error),
    /// The cluster wants no more of this node.
    #[error(transparent)]
    Expelled(Expelled),
    /// A disk or the engine failed. Nothing acknowledged is lost.
    #[error("the node had to stop; once the cause is gone, start it again")]
    Fault(#[source] Option<Fault>),
}

impl From<NodeError> for ServerError {
    fn from(error: NodeError) -> Self {
        match error {
            NodeError::DataDir(error) => Self::DataDir(error),
            NodeError::Start(StartError::Expelled(reason)) => Self::Expelled(reason),
            error @ NodeError::OtherCluster { .. } => Self::OtherCluster(error),
            error => Self::Node(error),
        }
    }
}

/// Who connects to a port. In words that lead to its setting: the peers' is mostly one that nobody has named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// Clients.
    Clients,
    /// Other nodes.
    Peers,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Clients => "clients (--listen)",
            Self::Peers => "other nodes (--peer-listen, by default the port after --listen)",
        })
    }
}

/// A step of stopping that takes longer is worth a line: somebody may be waiting at a terminal.
const WONDER_AFTER: Duration = Duration::from_millis(500);

/// For everything to end after the engine has stopped: the last checkpoint, mostly.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// How often whoever has started the node is told how it is.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Connections that wait to be accepted; the kernel allows no more than `net.core.somaxconn`. When a node dies, its
/// subscribers come to the others all at once, and whoever finds no room tries again after 1, 3, 7 … seconds.
const BACKLOG: u32 = u16::MAX as u32;

/// Runs a node until `stop`. Tells `tell` what there is to know. Looks at files that may change whenever `reload` is
/// notified, and now and then unasked.
///
/// Streams run on `fan_out`, the threads of another runtime: a publish goes through half a dozen tasks, and on the same
/// threads each of them would wait until thousands of streams have written.
///
/// # Errors
/// See [`ServerError`].
pub async fn run(
    settings: Settings,
    secret: Option<ClusterSecret>,
    fan_out: Handle,
    tell: impl FnMut(News<'_>) -> io::Result<()>,
    stop: impl Future<Output = ()>,
    reload: Arc<Notify>,
) -> Result<(), ServerError> {
    let secret = secret.map(|secret| Secret::new(secret.as_bytes())).transpose()?;
    let data_dir = std::path::absolute(&settings.data_dir).map_err(|source| DataDirError::Io {
        doing: "cannot find",
        path: settings.data_dir.clone(),
        source,
    })?;
    let tls = client_tls(&settings)?;
    let (clients, listen) = bind(settings.listen, Port::Clients)?;
    let (peers, peer_listen) = bind(settings.peer_listen_address(), Port::Peers)?;
    let member = Member {
        peer: settings.peer_address(peer_listen),
        client: settings.client_url(listen),
        reads_along: settings.learner,
    };

    let peer_tls = peer_tls(&settings, peer_listen)?;

    let (tasks, stopping) = (TaskTracker::new(), CancellationToken::new());
    let mut registry = Registry::with_prefix("repl");
    let (metrics, peer_metrics) = (Metrics::register(&mut registry), peer::Metrics::register(&mut registry));
    let (auth, keys) = keys::load(&settings).await?.unzip();
    let options = http_options(&settings, auth.clone(), listen)?;
    let limits = Limits {
        connections_max: count(descriptors::connections(settings.max_connections)),
        connections_per_address_max: count(settings.max_connections_per_address),
        connection_rate_max: rate(settings.max_connection_rate),
        ..Limits::default()
    };
    let front = Front::new(&options);
    let serving = tokio::spawn(http::serve(
        clients,
        tls.clone(),
        front.clone(),
        metrics.clone(),
        limits,
        stopping.clone(),
        fan_out.clone(),
    ));
    let (tracer, exporter) = traces::prepare(&settings, &mut registry).map_err(ServerError::Traces)?;
    registry.register_collector(Box::new(CertificateCollector::new(tls.clone(), peer_tls.clone())));
    let reload_files = {
        let peer_tls = peer_tls.clone();
        move || {
            tls.iter().for_each(Acceptor::reload);
            peer_tls.iter().for_each(Mutual::reload);
        }
    };
    let keep_current = reload::keep_current(settings.reload_interval, Arc::clone(&reload), reload_files);
    tasks.spawn(stopping.clone().run_until_cancelled_owned(keep_current));
    if let (Some(auth), Some(keys)) = (&auth, keys) {
        let watch = keys.watch(Arc::clone(auth), settings.reload_interval, reload);
        tasks.spawn(stopping.clone().run_until_cancelled_owned(watch));
    }

    let mut stop = pin!(stop);
    let node_settings = node::Settings {
        tracer,
        ..node_settings(&settings, data_dir.clone(), member.clone(), secret, peer_tls, &metrics, fan_out)
    };
    let meeting = Meeting::new(&node_settings);
    // Whoever is connected when the node belongs to a cluster has to connect again.
    let met = stopping.child_token();
    let stranger = node_settings.stranger(tasks.clone(), met.clone());
    let starting = Node::start(node_settings, meeting.clone(), tasks.clone(), stopping.clone());
    let node = tokio::select! {
        node = starting => node,
        never = peer::meet(&peers, &meeting, &stranger) => match never {},
        () = &mut stop => Err(NodeError::Stopped),
    };
    met.cancel();
    let mut exporting = None;
    // The data directory stays locked until the last task has written what it has to write.
    let (node, outcome) = match node {
        Ok(node) => {
            registry.register_collector(Box::new(NodeCollector::new(node.clone())));
            exporting = exporter.map(|exporter| exporter.start(&node.cluster()));
            let app = App { node: node.clone(), options, metrics, registry, stop: stopping.clone() };
            tasks.spawn(peer::serve(peers, node.clone(), node.endpoint().clone(), peer_metrics));
            let api = Api::new(app);
            front.open(api.clone());
            let outcome = async {
                let path = settings.admin_socket_path();
                let listening = admin::listen(&path).map_err(|source| ServerError::Admin { path, source });
                let (operators, _file) = listening?;
                tasks.spawn(http::serve_admin(operators, api, stopping.clone()));
                let (serves_tls, asks_for_tokens) = (settings.tls_cert.is_some(), auth.is_some());
                let told = Told { listen, peer_listen, member, data_dir, serves_tls, asks_for_tokens };
                told.serve(&node, tell, stop, &stopping).await?;
                waiting_for("clients to go to other nodes", node.drain()).await;
                Ok(())
            }
            .await;
            stopping.cancel();
            waiting_for("consensus to end", node.shut_down()).await;
            (Some(node), outcome)
        }
        Err(error) => (None, Err(error.into())),
    };
    stopping.cancel();
    tasks.close();
    let tasks_end = timeout(STOP_TIMEOUT, tasks.wait());
    if waiting_for("what is in memory to be written down", tasks_end).await.is_err() {
        warn!("some tasks have not ended; leaving all the same");
    }
    let _ = waiting_for("the requests in flight", serving).await;
    if let Some(exporting) = exporting {
        waiting_for("the last traces to be sent", exporting.finish()).await;
    }
    // One that never started has said why.
    if node.is_some() {
        info!("stopped");
    }
    outcome
}

/// Reads what a start would read before it listens: certificates, keys, origins. Asks nobody else.
///
/// # Errors
/// What [`run`] would refuse.
pub fn check(settings: &Settings, secret: Option<&ClusterSecret>) -> Result<(), ServerError> {
    secret.map(|secret| Secret::new(secret.as_bytes())).transpose()?;
    client_tls(settings)?;
    peer_tls(settings, settings.peer_listen_address())?;
    keys::check(settings)?;
    http_options(settings, None, settings.listen)?;
    Ok(())
}

/// Waits, and says for what if it takes a while.
async fn waiting_for<T>(what: &str, end: impl Future<Output = T>) -> T {
    let mut end = pin!(end);
    match timeout(WONDER_AFTER, &mut end).await {
        Ok(ended) => ended,
        Err(_) => {
            info!("stopping: waiting for {what}");
            end.await
        }
    }
}

/// What else to say of an address that can't be listened on.
fn hint(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::AddrInUse { ": is a broker running there already?" } else { "" }
}

/// What else to say of a path that can't be listened at.
fn socket_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => ": another process listens there",
        io::ErrorKind::AlreadyExists => ": something is there that is no socket",
        _ => "",
    }
}

fn bind(address: SocketAddr, port: Port) -> Result<(TcpListener, SocketAddr), ServerError> {
    let error = |source| ServerError::Listen { address, port, source };
    let listener = listener(address).map_err(error)?;
    let bound = listener.local_addr().map_err(error)?;
    Ok((listener, bound))
}

fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
    // A restart doesn't wait for the connections of the process before it.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Reads what TLS with clients is made of, if it is asked for.
fn client_tls(settings: &Settings) -> Result<Option<Acceptor>, ServerError> {
    let (Some(certificate), Some(key)) = (&settings.tls_cert, &settings.tls_key) else { return Ok(None) };
    let acceptor = Acceptor::new(certificate.clone(), key.clone());
    let error = |source| ServerError::Tls { setting: "--tls-cert, --tls-key", source };
    acceptor.map(Some).map_err(error)
}

/// Reads what TLS with other nodes is made of, if it is asked for.
fn peer_tls(settings: &Settings, bound: SocketAddr) -> Result<Option<Mutual>, ServerError> {
    let Settings { peer_tls_cert, peer_tls_key, peer_tls_ca, .. } = settings;
    let (Some(certificate), Some(key), Some(authority)) = (peer_tls_cert, peer_tls_key, peer_tls_ca) else {
        return Ok(None);
    };
    let files = MutualFiles { certificate: certificate.clone(), key: key.clone(), authority: authority.clone() };
    let mutual = Mutual::new(files, settings.peer_host(bound));
    let setting = "--peer-tls-cert, --peer-tls-key, --peer-tls-ca";
    mutual.map(Some).map_err(|source| ServerError::Tls { setting, source })
}

fn http_options(
    settings: &Settings,
    auth: Option<Arc<Authority>>,
    listen: SocketAddr,
) -> Result<http::Options, ServerError> {
    Ok(http::Options {
        loopback_only: listen.ip().to_canonical().is_loopback(),
        cors_origins: settings
            .cors_origin
            .iter()
            .map(|origin| Origin::parse(origin.as_str()))
            .collect::<Result<_, _>>()?,
        auth,
        message_bytes_max: usize::try_from(settings.message_bytes_max.bytes()).unwrap_or(usize::MAX),
        publish_rates: settings.max_publish_rate.map(|max| Rates::of_publishes(rate(max))).unwrap_or_default(),
        creation_rates: Rates::of_creations(rate(settings.max_creation_rate)),
        stream_places: StreamPlaces::new(count(settings.max_streams_per_subject)),
        replay_bytes_max: settings.replay_bytes_max.bytes(),
        write_timeout: settings.publish_timeout,
    })
}

fn count(max: u64) -> usize {
    usize::try_from(max).unwrap_or(usize::MAX)
}

fn rate(max: u64) -> u32 {
    u32::try_from(max).unwrap_or(u32::MAX)
}

fn node_settings(
    settings: &Settings,
    data_dir: PathBuf,
    member: Member,
    secret: Option<Secret>,
    tls: Option<Mutual>,
    metrics: &Metrics,
    fan_out: Handle,
) -> node::Settings {
    let metrics = metrics.clone();
    node::Settings {
        data_dir,
        member,
        join: settings.join.iter().map(seed).collect(),
        expected: settings.bootstrap_expect.map(count),
        secret,
        tls,
        timing: Timing {
            heartbeat: settings.heartbeat,
            // What is waited before an election is the second, and then at random between the two: far apart, so that two
            // nodes seldom stand at once, and no longer than a cluster has to be without a leader.
            election_min: settings.election_timeout * 3 / 5,
            election_max: settings.election_timeout * 8 / 5,
        },
        key_window: KeyWindow {
            max_age_ms: u64::try_from(settings.key_max_age.as_millis()).unwrap_or(u64::MAX),
            max_keys: settings.key_max_count,
        },
        quotas: Quotas { topics: settings.max_topics, subject_tickets: settings.max_tickets_per_subject },
        checkpoint: CheckpointOptions {
            bytes: settings.checkpoint_bytes.bytes(),
            interval: settings.checkpoint_interval,
            ..CheckpointOptions::default()
        },
        new_topics: NewTopics {
            retention: settings.retention(),
            presence: settings.presence.clone(),
            auto_create: settings.auto_create,
            inboxes: settings.inboxes,
        },
        presence_grace: settings.presence_grace,
        keep_alive: settings.keep_alive,
        move_window: settings.drain_window,
        connections: Connections::new(move || metrics.connections()),
        fan_out,
        tracer: Tracer::default(),
    }
}

fn seed(target: &JoinTarget) -> Seed {
    match target {
        JoinTarget::Peer(peer) => Seed::Address(peer.with_port(Settings::PEER_PORT)),
        JoinTarget::Service(name) => Seed::Service(name.clone()),
    }
}

/// What to tell of a node once it serves.
struct Told {
    listen: SocketAddr,
    peer_listen: SocketAddr,
    member: Member,
    data_dir: PathBuf,
    serves_tls: bool,
    asks_for_tokens: bool,
}

impl Told {
    /// Tells how the node is, and when it serves, until it is to stop or stops by itself.
    async fn serve(
        self,
        node: &Node,
        mut tell: impl FnMut(News<'_>) -> io::Result<()>,
        mut stop: Pin<&mut impl Future<Output = ()>>,
        stopping: &CancellationToken,
    ) -> Result<(), ServerError> {
        let (mut looks, mut serves) = (interval(LOOK_EVERY), false);
        loop {
            let told = tokio::select! {
                served = node.served(), if !serves => {
                    serves = served;
                    if served { tell(News::Serves(&self.started(node))) } else { Ok(()) }
                }
                _ = looks.tick() => tell(News::Condition(condition(node))),
                () = &mut stop => break,
                () = node.told_to_stop() => break,
                () = stopping.cancelled() => return Err(stopped_by_itself(node)),
            };
            told.map_err(ServerError::Tell)?;
        }
        tell(News::Stops).map_err(ServerError::Tell)
    }

    fn started(&self, node: &Node) -> Started {
        let view = node.cluster();
        Started {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            cluster: view.cluster.to_string(),
            node: view.node,
            listen: self.listen,
            url: self.member.client.clone(),
            peer_listen: self.peer_listen,
            peer: self.member.peer.clone(),
            data_dir: self.data_dir.clone(),
            serves_tls: self.serves_tls,
            asks_for_tokens: self.asks_for_tokens,
        }
    }
}

/// How a node is, in a line.
fn condition(node: &Node) -> String {
    let ClusterView { node: id, nodes, .. } = node.cluster();
    let role = nodes.iter().find(|view| view.id == id).map_or("not yet a member", |view| match view.role {
        Role::Leader => "leader",
        Role::Follower => "follower",
        Role::Learner => "learner",
    });
    let readiness = node.readiness().map_or_else(|reason| format!("not ready: {reason}"), |()| "ready".to_owned());
    format!("node {id}, {role}, {readiness}")
}

/// Why a node has stopped that nobody told to.
fn stopped_by_itself(node: &Node) -> ServerError {
    node.expelled().cloned().map_or_else(|| ServerError::Fault(node.fault()), ServerError::Expelled)
}
