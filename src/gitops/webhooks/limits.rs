//! How many webhooks are taken: from an address that sends wrong ones, and for an application.

use crate::base::limits::Limits;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};

/// 30 at once, and one a second in the long run.
pub(super) fn of_webhooks<K: Eq + Hash>() -> Limits<K> {
    Limits::new(30.0, 1.0)
}

/// Who has one address of an IPv6 network has them all.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(six) => six.to_ipv4_mapped().map_or_else(
            || {
                let [a, b, c, d, ..] = six.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            },
            IpAddr::V4,
        ),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn networks_are_one() {
        let of = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(of("10.1.2.3"), "10.1.2.3");
        assert_eq!(of("::ffff:10.1.2.3"), "10.1.2.3");
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }
}
