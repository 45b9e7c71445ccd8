//! Certificates on both sides.

use tempfile::TempDir;

use super::*;
use crate::tls::tests::authority::{Authority, Files};
use crate::tls::{Mutual, MutualFiles};

/// An authority and where its files are.
struct Cluster {
    dir: TempDir,
    authority: Authority,
}

impl Cluster {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a directory"), authority: Authority::new() }
    }

    /// A node with a certificate for a host.
    fn node(&self, number: u64, host: &str) -> Endpoint {
        let authority = self.authority.publish(self.dir.path(), "authority");
        let Files { certificate, key } = self.authority.issue(self.dir.path(), &number.to_string(), &[host]);
        let mutual = Mutual::new(MutualFiles { certificate, key, authority }, host.to_owned());
        Endpoint { tls: Some(mutual.expect("files of use")), ..node(number, None) }
    }
}

/// What becomes of a call: whether it is answered, and else both sides' reasons.
async fn call(caller: Endpoint, called: Endpoint, lane: Lane) -> Result<PeerHello, [String; 2]> {
    let (address, mut connections) = listen(called).await;
    let to = Target { lane, ..target(&address) };
    let peer = Peer::new(caller, to);
    let asked = tokio::spawn(async move { peer.call(1, payload("?"), PATIENCE).await });
    match soon(connections.recv()).await.expect("listening") {
        Ok(mut connection) => {
            let request = request(&mut connection).await;
            request.replier.answer(payload("!")).expect("small");
            assert_eq!(asked.await.expect("no panic").expect("an answer"), payload("!"));
            Ok(*connection.hello())
        }
        Err(error) => {
            let asked = asked.await.expect("no panic").expect_err("no connection");
            Err([chain(&asked), chain(&error)])
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[tokio::test]
async fn nodes_with_certificates_of_one_authority_need_no_secret_and_may_have_one() {
    let cluster = Cluster::new();
    for secret in [None, Some(SECRET)] {
        let [caller, called] =
            [1, 2].map(|number| Endpoint { secret: node(1, secret).secret, ..cluster.node(number, "127.0.0.1") });
        let hello = call(caller, called, Lane::Append).await.expect("admitted");
        assert_eq!((hello.from, hello.is_at_home), (Some(NodeId::new(1)), true));
    }
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused_by_either_side() {
    let (ours, theirs) = (Cluster::new(), Cluster::new());
    let refused = call(theirs.node(1, "127.0.0.1"), ours.node(2, "127.0.0.1"), Lane::Join).await;
    // Whoever calls is the first to see the other's.
    let [caller, called] = refused.expect_err("strangers");
    assert!(caller.contains("of the same authority") && caller.contains("invalid peer certificate"), "{caller}");
    assert!(called.contains("of the same authority"), "{called}");

    // A caller that believes our authority, with a certificate of another.
    let [authority, stranger] = [ours.dir.path(), theirs.dir.path()];
    let Files { certificate, key } = theirs.authority.issue(stranger, "stranger", &["127.0.0.1"]);
    let pem = [std::fs::read(stranger.join("authority.pem")), std::fs::read(authority.join("authority.pem"))];
    let both = stranger.join("both.pem");
    std::fs::write(&both, pem.map(|pem| pem.expect("read")).concat()).expect("written");
    let mutual = Mutual::new(MutualFiles { certificate, key, authority: both }, "127.0.0.1".to_owned());
    let caller = Endpoint { tls: Some(mutual.expect("files of use")), ..node(1, None) };
    let [caller, called] = call(caller, ours.node(2, "127.0.0.1"), Lane::Join).await.expect_err("a stranger");
    assert!(caller.contains("of the same authority") && caller.contains("fatal alert"), "{caller}");
    assert!(called.contains("of the same authority") && called.contains("invalid peer certificate"), "{called}");
}

#[tokio::test]
async fn who_speaks_tls_and_who_does_not_are_told_what_to_do() {
    let cluster = Cluster::new();
    let [caller, called] = call(node(1, None), cluster.node(2, "127.0.0.1"), Lane::Join).await.expect_err("no TLS");
    assert!(caller.contains("--peer-tls-cert") && called.contains("--peer-tls-ca"), "{caller}, {called}");
    let [caller, called] = call(cluster.node(1, "127.0.0.1"), node(2, None), Lane::Join).await.expect_err("no TLS");
    assert!(caller.contains("--peer-tls-ca") && called.contains("--peer-tls-cert"), "{caller}, {called}");
}

#[tokio::test]
async fn the_called_node_must_have_a_certificate_for_the_address_that_is_called() {
    let cluster = Cluster::new();
    let [caller, _] =
        call(cluster.node(1, "127.0.0.1"), cluster.node(2, "127.0.0.2"), Lane::Join).await.expect_err("other");
    assert!(caller.contains("invalid peer certificate") && caller.contains("127.0.0.1"), "{caller}");
}

#[tokio::test]
async fn who_says_that_it_is_a_member_must_have_a_certificate_for_where_that_is() {
    let cluster = Cluster::new();
    let called = || cluster.node(2, "127.0.0.1");
    for lane in [Lane::Append, Lane::Control, Lane::Snapshot, Lane::Forward] {
        let refused = call(cluster.node(1, "127.0.0.2"), called(), lane).await.expect_err("not node 1");
        let expected = Refusal::Certificate.to_string();
        assert!(refused.iter().all(|reason| reason.contains(&expected)), "{refused:?}");
    }
    // Where it could announce that it has moved.
    let hello = call(cluster.node(1, "127.0.0.2"), called(), Lane::Status).await.expect("admitted");
    assert!(!hello.is_at_home);
    let hello = call(cluster.node(3, "127.0.0.2"), called(), Lane::Append).await.expect("a new node");
    assert!(hello.is_at_home);
}
