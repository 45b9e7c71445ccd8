//! Where clients come from, and how many connections may come from there.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use super::allowance::Allowances;
use super::metrics::Closed;

/// Seconds of new connections that may come at once: the clients of an office whose line was down.
const BURST_SECONDS: u32 = 10;

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

/// The networks that have connections, and how many each has.
#[derive(Debug)]
pub(super) struct Networks {
    connections_max: usize,
    open: Mutex<HashMap<Network, usize>>,
    new: Allowances<Network>,
}

/// A connection that counts as one of its network, until it is dropped.
#[derive(Debug)]
pub(super) struct Counted(Option<(Arc<Networks>, Network)>);

impl Networks {
    pub(super) fn new(connections_max: usize, per_second: u32) -> Self {
        Self { connections_max, open: Mutex::default(), new: Allowances::new(per_second, BURST_SECONDS) }
    }

    /// Counts one more connection of a network, if it is of one.
    ///
    /// # Errors
    /// The network has too many, or they come too fast.
    pub(super) fn admit(self: &Arc<Self>, network: Option<Network>) -> Result<Counted, Closed> {
        let Some(network) = network else { return Ok(Counted(None)) };
        if !self.new.take(network, 1) {
            return Err(Closed::TooFast);
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(network).or_default();
        if *count >= self.connections_max {
            return Err(Closed::AddressFull);
        }
        *count += 1;
        Ok(Counted(Some((Arc::clone(self), network))))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let Some((networks, network)) = self.0.take() else { return };
        let mut open = networks.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                open.remove(&network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(address: &str) -> Option<Network> {
        Some(Network::of(address.parse().expect("an address")))
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
        let networks = Arc::new(Networks::new(3, 1));
        let open: Vec<_> = (0..3).map(|_| networks.admit(network("10.0.0.1")).expect("room")).collect();
        assert_eq!(networks.admit(network("10.0.0.1")).expect_err("full"), Closed::AddressFull);
        networks.admit(network("10.0.0.2")).expect("another network");
        networks.admit(None).expect("what doesn't count");
        drop(open);
        for _ in 0..6 {
            networks.admit(network("10.0.0.1")).expect("room again");
        }
        assert_eq!(networks.admit(network("10.0.0.1")).expect_err("too fast"), Closed::TooFast);
        assert!(networks.open.lock().expect("no panic").is_empty(), "what is closed is forgotten");
    }
}
