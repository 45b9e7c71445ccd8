//! Where clients come from, and how many connections may come from there.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use super::allowance::Allowances;
use super::metrics::Closed;
use super::places::{Place, Places};

/// Seconds of new connections that may come at once: the clients of an office whose line was down.
const BURST_SECONDS: f64 = 10.0;

/// The other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Remote {
    /// Where it is.
    pub(super) address: SocketAddr,
    /// Whose address that is, if it is counted.
    pub(super) network: Option<Network>,
}

/// Who has an address, as far as it tells: an IPv4 address, or the /64 of an IPv6 address, all of which a customer is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Network(IpAddr);

impl Network {
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into())
            }
            address @ IpAddr::V4(_) => Self(address),
        }
    }
}

/// How many connections each network may have, and how fast.
#[derive(Debug)]
pub(super) struct Networks {
    open: Arc<Places<Network>>,
    new: Allowances<Network>,
}

impl Networks {
    pub(super) fn new(connections_max: usize, per_second: u32) -> Self {
        let per_second = f64::from(per_second);
        Self { open: Places::new(connections_max), new: Allowances::new(per_second, per_second * BURST_SECONDS) }
    }

    /// Counts one more connection of a network, until what this returns is dropped.
    ///
    /// # Errors
    /// The network has too many, or they come too fast.
    pub(super) fn admit(&self, network: Network) -> Result<Place<Network>, Closed> {
        if !self.new.take(network, 1) {
            return Err(Closed::TooFast);
        }
        self.open.take(network).ok_or(Closed::AddressFull)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(address: &str) -> Network {
        Network::of(address.parse().expect("an address"))
    }

    #[test]
    fn neighbours_of_ipv6_count_as_one() {
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff::9"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_ne!(network("10.0.0.1"), network("10.0.0.2"));
        assert_eq!(network("::ffff:10.0.0.1"), network("10.0.0.1"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_has_a_bound_and_a_pace_and_the_others_have_their_own() {
        let networks = Networks::new(3, 1);
        let open: Vec<_> = (0..3).map(|_| networks.admit(network("10.0.0.1")).expect("room")).collect();
        assert_eq!(networks.admit(network("10.0.0.1")).expect_err("full"), Closed::AddressFull);
        networks.admit(network("10.0.0.2")).expect("another network");
        drop(open);
        for _ in 0..6 {
            networks.admit(network("10.0.0.1")).expect("room again");
        }
        assert_eq!(networks.admit(network("10.0.0.1")).expect_err("too fast"), Closed::TooFast);
    }
}
