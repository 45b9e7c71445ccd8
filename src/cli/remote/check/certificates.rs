//! Certificates that have expired, or soon will.

use std::fmt::Display;

use jiff::Timestamp;

use super::verdict::{Finding, Level};
use crate::client::{Certificates, Server};

const DAY_SECONDS: i64 = 86_400;

/// What is wrong with the certificates of a server, if they are to be valid for so many days.
pub(super) fn judge(server: &Server, shown: Certificates, days_min: u64, now: Timestamp) -> Vec<Finding> {
    let of_peers = format!("the nodes' port of {server}");
    let certificates = [(server as &dyn Display, shown.of_clients), (&of_peers, shown.of_peers)];
    let judge = |(whose, expires): (&dyn Display, Option<Timestamp>)| {
        let expires = expires?;
        match u64::try_from(days_left(expires, now)) {
            Err(_) => Some(expired(whose)),
            Ok(days) if days < days_min => {
                Some(Finding::new(Level::Warning, format!("the certificate of {whose} expires at {expires}")))
            }
            Ok(_) => None,
        }
    };
    certificates.into_iter().filter_map(judge).collect()
}

pub(super) fn expired(whose: &dyn Display) -> Finding {
    Finding::new(Level::Critical, format!("the certificate of {whose} has expired"))
}

/// Days until the first certificate expires, negative once it has. `None`: there are none.
pub(super) fn days<'a>(shown: impl IntoIterator<Item = &'a Certificates>, now: Timestamp) -> Option<i64> {
    let certificates = shown.into_iter().flat_map(|shown| [shown.of_clients, shown.of_peers]);
    certificates.flatten().map(|expires| days_left(expires, now)).min()
}

fn days_left(expires: Timestamp, now: Timestamp) -> i64 {
    (expires.as_second() - now.as_second()).div_euclid(DAY_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_worth_a_warning_before_it_expires_and_an_alarm_then() {
        let at = |hours: i64| Timestamp::from_second(1_000_000_000 + hours * 3_600).expect("a time");
        let server = Server::parse("https://a").expect("an address");
        let check = |hours: [Option<i64>; 2], expected: &[(Level, &str)]| {
            let [of_clients, of_peers] = hours.map(|hours| hours.map(at));
            let found = judge(&server, Certificates { of_clients, of_peers }, 2, at(0));
            let found: Vec<_> = found.iter().map(|finding| (finding.level, &*finding.text)).collect();
            assert_eq!(found, expected);
        };
        check([None, None], &[]);
        check([Some(48), Some(1_000)], &[]);
        let soon = "the certificate of https://a expires at 2001-09-11T00:46:40Z";
        check([Some(47), None], &[(Level::Warning, soon)]);
        let over = "the certificate of the nodes' port of https://a has expired";
        check([Some(48), Some(-1)], &[(Level::Critical, over)]);

        let certificates = |hours: i64| Certificates { of_clients: Some(at(100)), of_peers: Some(at(hours)) };
        assert_eq!(days(&[certificates(50), certificates(25)], at(0)), Some(1));
        assert_eq!(days(&[certificates(-1)], at(0)), Some(-1));
        assert_eq!(days(&[Certificates::default()], at(0)), None);
    }
}
