//! The table of settings, and what follows from them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::Fallback::{Unset, Value};
use super::setting::settings;
use super::{
    Advertised, ClusterSecret, CollectorUrl, ConfigError, CorsOrigin, Given, JoinTarget, JwksUrl, LogFormat,
    PeerAddress, Setting, Size,
};
use crate::domain::{Pattern, Retention};

/// Names the file that holds the other settings, which is why it can't stand in there.
pub static CONFIG: Setting = Setting::new::<Option<PathBuf>>(
    "config",
    "A TOML file of settings, such as `data-dir = \"/var/lib/repl\"`.",
    "Running",
    Unset("none"),
    None,
    None,
);

settings! {
    /// The values of all settings. The fields are what the operator said; the methods are what follows from it.
    pub struct Settings;

    "Addresses" => {
        /// Where clients connect, for REST and streams. Port 0 picks a free one.
        listen: SocketAddr = Value("127.0.0.1:7375");
        /// Where the other nodes connect. Beyond loopback only with a cluster secret or --peer-tls-cert.
        peer_listen: Option<SocketAddr> = Unset("the port after --listen; its host if nodes prove who they are, else loopback");
        /// Where clients reach this node, if that is not where it listens (behind a proxy or a NAT).
        advertise: Option<Advertised> = Unset("the address of --listen");
        /// Where other nodes reach this node, if that is not where it listens.
        advertise_peer: Option<PeerAddress> = Unset("the address of --peer-listen");
        /// The certificate that clients are shown, and those that lead from it to its authority, in PEM. Clients are then
        /// served over TLS only.
        tls_cert: Option<PathBuf> = Unset("none: no TLS");
        /// The key of --tls-cert, in PEM. Both files are read again when they change, and on SIGHUP.
        tls_key: Option<PathBuf> = Unset("none");
        /// Lets pages of this origin use the API from a browser; `*` admits all.
        cors_origin: Vec<CorsOrigin> = Unset("pages served from localhost");
        /// Listen beyond loopback although nobody is asked who they are.
        insecure: bool = Unset("off");
    }
    "Access" => {
        /// A public key that proves tokens (JWT), in PEM, or several as JWK or JWKS; for EdDSA, ES256 and RS256. Read anew when it
        /// changes.
        token_key_file: Vec<PathBuf> = Unset("none; with neither keys nor rights for everybody, all may do everything");
        /// A secret of at least 32 bytes that proves tokens, for HS256. Read anew when it changes.
        token_secret_file: Vec<PathBuf> = Unset("none");
        /// Where an issuer publishes its keys (JWKS). Fetched every minute.
        token_jwks_url: Option<JwksUrl> = Unset("none");
        /// What the `aud` of a token must name.
        token_audience: Option<String> = Unset("not looked at");
        /// What the `iss` of a token must be.
        token_issuer: Option<String> = Unset("not looked at");
        /// How far away the end of a token may be.
        token_life_max: Duration = Value("1d"), from "1s";
        /// Topics that whoever sends no token may read, as patterns.
        anonymous_subscribe: Vec<Pattern> = Unset("none");
        /// Topics that whoever sends no token may publish to, as patterns.
        anonymous_publish: Vec<Pattern> = Unset("none");
    }
    "Cluster" => {
        /// Found a cluster that other nodes can join. No effect once the data directory belongs to one.
        bootstrap: bool = Unset("off");
        /// Found a cluster together with others: so many nodes that are started with the same --join. They wait until all of
        /// them see each other, and then begin as its voters; who finds a cluster joins it. No effect once the data directory
        /// belongs to one.
        bootstrap_expect: Option<u64> = Unset("off"), from "2", to "5";
        /// Join the cluster that the node at this peer address belongs to (port 7376 unless given). Of a name with several
        /// addresses all are asked; `srv:_NAME._tcp.DOMAIN` stands for the hosts and ports that DNS names there. No effect once
        /// the data directory belongs to that cluster; if it belongs to another one, the node does not start.
        join: Vec<JoinTarget> = Unset("a stand-alone node");
        /// Join to read along: a copy near its readers, without a vote until `repl cluster promote` gives it one.
        learner: bool = Unset("off");
        /// What nodes prove to each other that they know: a file of at least 16 bytes, the same on every node.
        cluster_secret_file: Option<PathBuf> = Unset("none: peers on loopback only");
        /// The certificate that this node shows to the others, in PEM, for the address that they are told. With it, nodes
        /// speak TLS to each other, and need no secret.
        peer_tls_cert: Option<PathBuf> = Unset("none: no TLS between nodes");
        /// The key of --peer-tls-cert, in PEM.
        peer_tls_key: Option<PathBuf> = Unset("none");
        /// The cluster's own certificate authority, in PEM. Whoever has a certificate of it is a node, so it must be nobody
        /// else's.
        peer_tls_ca: Option<PathBuf> = Unset("none");
    }
    "Data" => {
        // In the working directory, as etcd and Prometheus have it: whoever tries it sees where the data is and can
        // delete it, and two directories are two brokers. A service file names a path anyway.
        /// Where this node keeps its data. Made if it isn't there.
        data_dir: PathBuf = Value("./repl-data");
        /// Save the state, and drop the log before it, once the log has grown by this much. Saving takes up to fifteen times as
        /// much memory.
        checkpoint_bytes: Size = Value("16MiB"), from "1KiB";
        /// Save the state after this time even if the log has grown by less.
        checkpoint_interval: Duration = Value("1m"), from "100ms";
    }
    "Topics" => {
        /// Let a publish create the topic that it names.
        auto_create: bool = Unset("off");
        /// Give everybody an inbox: `inbox:USER`, which that user alone reads, to which whoever is signed in publishes, and which is
        /// there once either does.
        inboxes: bool = Unset("off");
        /// Messages that a topic keeps unless it says otherwise. 0 keeps none.
        max_messages: u64 = Value("1000");
        /// Bytes of messages that a topic keeps unless it says otherwise.
        max_bytes: Size = Value("16MiB");
        /// How long a topic keeps a message unless it says otherwise.
        max_age: Duration = Value("1d"), from "1s";
        /// Topics that have presence when they are created, unless their creator says otherwise, as patterns: the cluster knows who reads
        /// them.
        presence: Vec<Pattern> = Unset("none");
        /// How long a reader who is gone, or whose node is, counts as present.
        presence_grace: Duration = Value("10s"), from "100ms";
        /// How long an idempotency key is remembered.
        key_max_age: Duration = Value("10m"), from "1s";
        /// How many idempotency keys are remembered for each topic.
        key_max_count: u64 = Value("100000"), from "1";
    }
    "Limits" => {
        /// The largest message: the body of a publish, or a line of a batch.
        message_bytes_max: Size = Value("64KiB"), from "1B", to "1MiB";
        /// How long a publish waits for a majority of the nodes before it answers that the outcome is unknown.
        publish_timeout: Duration = Value("5s"), from "10ms";
        /// How long a stream is silent before a sign of life is sent.
        keep_alive: Duration = Value("15s"), from "100ms";
        /// Connections of clients, streams included.
        max_connections: u64 = Value("10000"), from "1";
        /// Connections of one address (of IPv6, of a /64). What comes from this machine, a proxy mostly, is not counted; behind
        /// one on another machine give it as much as --max-connections.
        max_connections_per_address: u64 = Value("1000"), from "1";
        /// New connections a second of one address; those of ten seconds may come at once.
        max_connection_rate: u64 = Value("100"), from "1", to "1000000";
        /// Messages a second of one token's subject, or of one address where there is no token; those of ten seconds may come
        /// at once.
        max_publish_rate: Option<u64> = Unset("no limit"), from "1", to "1000000";
        /// New topics and tickets a minute of one token's subject, or of one address where there is no token; those of a
        /// minute may come at once.
        max_creation_rate: u64 = Value("1000"), from "1", to "1000000";
        /// Topics of the cluster, by the setting of the node that leads.
        max_topics: u64 = Value("100000"), from "1";
        /// Tickets of one token's subject, by the setting of the node that leads.
        max_tickets_per_subject: u64 = Value("1000"), from "1";
        /// Streams on this node of one token's subject, or of one address where there is no token.
        max_streams_per_subject: u64 = Value("1000"), from "1";
        /// History that a stream brings at a stretch. Then it ends, and its client comes again for more.
        replay_bytes_max: Size = Value("256MiB"), from "64KiB";
    }
    "Running" => {
        /// Where `repl cluster` reaches this node: a socket that only its owner may open.
        admin_socket: Option<PathBuf> = Unset("admin.sock in the data directory");
        /// How long streams that a node sends to other nodes have to move: before it stops, or to share them out. A stop
        /// doesn't wait if the node is alone, or has none.
        drain_window: Duration = Value("10s");
        /// Written once the node serves: JSON with its addresses and ids.
        ready_file: Option<PathBuf> = Unset("none");
        /// How the log on standard error looks. `auto` is text on a terminal, else JSON.
        log_format: LogFormat = Value("auto");
        /// What is logged: error, warn, info, debug or trace, or filter directives such as `info,openraft=debug`.
        log_level: String = Value("info");
        /// The collector that spans of traces are sent to, by OTLP over HTTP.
        otlp_endpoint: Option<CollectorUrl> = Unset("none: nothing is recorded");
        /// Of requests whose callers say nothing of a trace, the share that is recorded. Otherwise callers decide.
        trace_ratio: f64 = Value("1"), from "0", to "1";
    }
    Setting::HIDDEN => {
        /// How often a leader tells the others that it is there.
        heartbeat: Duration = Value("60ms"), from "10ms";
        /// How often files that may change, such as certificates, are looked at.
        reload_interval: Duration = Value("10s"), from "10ms";
        /// A node that hears from no leader for about twice to three times as long calls an election.
        election_timeout: Duration = Value("200ms"), from "30ms";
    }
}

impl Default for Settings {
    /// What a start without flags, variables and a file uses.
    fn default() -> Self {
        Self::read(&Given::default(), &mut Vec::new()).expect("the defaults in the table are valid")
    }
}

impl Settings {
    /// Where a node that is to be joined listens for peers, unless said.
    pub const PEER_PORT: u16 = 7376;

    /// Where to listen for other nodes.
    ///
    /// Unless said, that is the port after the clients' (a free one if there is none or the clients' is picked), and on
    /// loopback as long as nothing tells peers from strangers: a node whose clients are let in from everywhere must
    /// not open its log to everyone by that.
    #[must_use]
    pub fn peer_listen_address(&self) -> SocketAddr {
        self.peer_listen.unwrap_or_else(|| {
            let same_host = self.peers_prove_themselves() || is_loopback(self.listen.ip());
            let host = if same_host { self.listen.ip() } else { Ipv4Addr::LOCALHOST.into() };
            let port = if self.listen.port() == 0 { 0 } else { self.listen.port().wrapping_add(1) };
            SocketAddr::new(host, port)
        })
    }

    /// The URL at which clients reach this node, which listens at `bound`.
    #[must_use]
    pub fn client_url(&self, bound: SocketAddr) -> String {
        let scheme = if self.tls_cert.is_some() { "https" } else { "http" };
        match &self.advertise {
            Some(advertised) => advertised.url(scheme, bound.port()),
            None => format!("{scheme}://{}", reachable(bound)),
        }
    }

    /// `host:port` at which other nodes reach this node, which listens at `bound`.
    #[must_use]
    pub fn peer_address(&self, bound: SocketAddr) -> String {
        match &self.advertise_peer {
            Some(advertised) => advertised.with_port(bound.port()),
            None => reachable(bound).to_string(),
        }
    }

    /// The host of [`Self::peer_address`], without brackets.
    #[must_use]
    pub fn peer_host(&self, bound: SocketAddr) -> String {
        match &self.advertise_peer {
            Some(advertised) => advertised.host().to_owned(),
            None => reachable(bound).ip().to_string(),
        }
    }

    /// Where operators reach this node.
    #[must_use]
    pub fn admin_socket_path(&self) -> PathBuf {
        self.admin_socket.clone().unwrap_or_else(|| self.data_dir.join("admin.sock"))
    }

    /// What a topic keeps unless it says otherwise.
    #[must_use]
    pub fn retention(&self) -> Retention {
        Retention {
            max_messages: self.max_messages,
            max_bytes: self.max_bytes.bytes(),
            // Rounded up: a message is kept at least as long as was asked.
            max_age_seconds: self.max_age.as_secs().saturating_add(u64::from(self.max_age.subsec_nanos() > 0)),
        }
    }

    /// Whether this start speaks of other nodes.
    #[must_use]
    pub fn expects_peers(&self) -> bool {
        self.bootstrap || !self.join.is_empty() || self.peers_prove_themselves()
    }

    /// Whether other nodes have to prove that they are nodes.
    #[must_use]
    pub fn peers_prove_themselves(&self) -> bool {
        self.cluster_secret_file.is_some() || self.peer_tls_cert.is_some()
    }

    /// Whether anybody is asked who they are.
    #[must_use]
    pub fn asks_for_tokens(&self) -> bool {
        !self.token_key_file.is_empty()
            || !self.token_secret_file.is_empty()
            || self.token_jwks_url.is_some()
            || !self.anonymous_subscribe.is_empty()
            || !self.anonymous_publish.is_empty()
    }

    /// Reads the cluster secret, if there is one.
    ///
    /// # Errors
    /// The file can't be read, or its secret is too short.
    pub fn cluster_secret(&self) -> Result<Option<ClusterSecret>, ConfigError> {
        Ok(self.cluster_secret_file.as_deref().map(ClusterSecret::read).transpose()?)
    }
}

/// Whether only this machine reaches the address.
pub(super) fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// An address to connect to for one to listen on: a node that listens everywhere is at least reached from its own
/// machine. Others are told that only by a node that expects no others ([`super::check`] sees to it).
#[must_use]
pub fn reachable(bound: SocketAddr) -> SocketAddr {
    let ip = match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, bound.port())
}
