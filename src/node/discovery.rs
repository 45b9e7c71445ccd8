//! Where other nodes may be, before the members' list says so: the names that an operator gave, looked up each time anew.

use std::collections::BTreeSet;

use hickory_resolver::TokioResolver;
use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::RData;
use tokio::net::lookup_host;
use tracing::warn;

/// Addresses of one name. A cluster has a handful of nodes; DNS may say anything.
const ADDRESSES_MAX: usize = 64;

/// Where to look for nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seed {
    /// `HOST:PORT`; if the host has several addresses, a node may be at each.
    Address(String),
    /// The hosts and ports that the SRV records of this name lead to.
    Service(String),
}

/// The peer addresses that these stand for now. What can't be looked up is told, and passed over.
pub(super) async fn find(seeds: &[Seed]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for seed in seeds {
        match seed {
            Seed::Address(address) => found.extend(addresses(address).await),
            Seed::Service(name) => match services(name).await {
                Ok(services) => found.extend(services),
                Err(error) => warn!(error = &error as &dyn std::error::Error, "can't look up srv:{name}"),
            },
        }
    }
    found
}

/// A name that stands for one address stays a name, which a certificate may be for; so does one that can't be looked up:
/// whoever calls it says why.
async fn addresses(name: &str) -> Vec<String> {
    let found: Vec<_> = lookup_host(name).await.into_iter().flatten().take(ADDRESSES_MAX).collect();
    match found.as_slice() {
        [] | [_] => vec![name.to_owned()],
        several => several.iter().map(ToString::to_string).collect(),
    }
}

/// All of them, whatever their priority: each is asked anyway.
async fn services(name: &str) -> Result<Vec<String>, NetError> {
    let mut builder = TokioResolver::builder_tokio()?;
    // What is not there yet may be in a moment.
    builder.options_mut().cache_size = 0;
    look_up(&builder.build()?, name).await
}

async fn look_up(resolver: &TokioResolver, name: &str) -> Result<Vec<String>, NetError> {
    let found = resolver.srv_lookup(name).await?;
    let records = found.answers().iter().filter_map(|record| match &record.data {
        RData::SRV(srv) => Some(format!("{}:{}", srv.target.to_utf8().trim_end_matches('.'), srv.port)),
        _ => None,
    });
    Ok(records.take(ADDRESSES_MAX).collect())
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use hickory_resolver::config::{NameServerConfig, ResolverConfig};
    use hickory_resolver::net::runtime::TokioRuntimeProvider;
    use hickory_resolver::proto::op::Message;
    use hickory_resolver::proto::rr::rdata::SRV;
    use hickory_resolver::proto::rr::{Name, Record};
    use tokio::net::UdpSocket;

    use super::*;

    /// A name server that has two records for each name it is asked for. Answers where it is.
    async fn name_server() -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let address = socket.local_addr().expect("an address");
        tokio::spawn(async move {
            let mut buffer = [0; 512];
            loop {
                let (length, caller) = socket.recv_from(&mut buffer).await.expect("it is open");
                let asked = Message::from_vec(&buffer[..length]).expect("a question");
                let mut answer = asked.clone().into_response();
                for (host, port) in [("node-1.example.", 7376), ("node-2.example.", 9000)] {
                    let target = Name::from_utf8(host).expect("a name");
                    let name = asked.queries[0].name().clone();
                    answer.add_answer(Record::from_rdata(name, 60, RData::SRV(SRV::new(0, 0, port, target))));
                }
                socket.send_to(&answer.to_vec().expect("small"), caller).await.expect("sent");
            }
        });
        address
    }

    #[tokio::test]
    async fn srv_records_lead_to_hosts_and_ports() {
        let address = name_server().await;
        let mut server = NameServerConfig::udp(Ipv4Addr::LOCALHOST.into());
        server.connections[0].port = address.port();
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
        let resolver = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).build();
        let found = look_up(&resolver.expect("a resolver"), "_repl._tcp.example").await.expect("an answer");
        assert_eq!(found, ["node-1.example:7376", "node-2.example:9000"]);
    }

    #[tokio::test]
    async fn an_address_and_what_is_not_known_stay_as_they_are() {
        let seeds = ["127.0.0.1:7376", "nowhere.invalid:7376"].map(|seed| Seed::Address(seed.to_owned()));
        let found = find(&seeds).await;
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["127.0.0.1:7376", "nowhere.invalid:7376"]);
    }
}
