//! Addresses, networks, URLs and versions, as Kubernetes' extensions of CEL know them.

use std::cmp::Ordering;
use std::net::IpAddr;

/// A URL in its parts.
#[derive(Debug, PartialEq, Eq)]
pub struct Url {
    pub text: String,
    pub scheme: String,
    /// With the port.
    pub host: String,
    pub path: String,
    pub query: String,
}

impl Url {
    /// An absolute URL, or a path from the root.
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text.chars().any(|c| c.is_control() || c == ' ') {
            return None;
        }
        let (scheme, rest) = match text.split_once(':').filter(|(scheme, _)| is_scheme(scheme)) {
            Some((scheme, rest)) => (scheme, rest),
            None if text.starts_with('/') => ("", text),
            None => return None,
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (host, path) = match rest.strip_prefix("//") {
            Some(rest) => {
                let at = rest.find('/').unwrap_or(rest.len());
                (rest[..at].rsplit('@').next().unwrap_or_default(), &rest[at..])
            }
            None => ("", rest),
        };
        let bracketed = host.starts_with('[');
        if bracketed && !host.contains(']') {
            return None;
        }
        let port = if bracketed { host.rsplit_once("]:") } else { host.rsplit_once(':') };
        if port.is_some_and(|(_, port)| !port.bytes().all(|b| b.is_ascii_digit())) {
            return None;
        }
        Some(Self {
            text: text.into(),
            scheme: scheme.to_lowercase(),
            host: host.into(),
            path: path.into(),
            query: query.into(),
        })
    }

    /// The host without port and brackets.
    pub fn hostname(&self) -> &str {
        match self.host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => self.host.split(':').next().unwrap_or_default(),
        }
    }

    pub fn port(&self) -> &str {
        let after = match self.host.rfind(']') {
            Some(at) => &self.host[at..],
            None => &self.host,
        };
        after.rsplit_once(':').map_or("", |(_, port)| port)
    }
}

fn is_scheme(scheme: &str) -> bool {
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

/// An address, not an IPv4 one written as IPv6.
pub fn ip(text: &str) -> Option<IpAddr> {
    let found: IpAddr = text.parse().ok()?;
    match found {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => None,
        _ => Some(found),
    }
}

pub fn cidr(text: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = text.split_once('/')?;
    let (address, bits) = (ip(address)?, bits.parse::<u8>().ok()?);
    (bits <= width(address)).then_some((address, bits))
}

pub fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The address with all bits after the first `bits` zero.
pub fn masked(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            IpAddr::V4((u32::from(v4) & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            IpAddr::V6((u128::from(v6) & mask).into())
        }
    }
}

pub fn contains(network: (IpAddr, u8), other: (IpAddr, u8)) -> bool {
    let same_family = network.0.is_ipv4() == other.0.is_ipv4();
    same_family && other.1 >= network.1 && masked(network.0, network.1) == masked(other.0, network.1)
}

/// A semantic version.
#[derive(Debug)]
pub struct Semver {
    pub text: String,
    pub numbers: [u64; 3],
    pre: Vec<String>,
}

impl Semver {
    pub fn parse(text: &str) -> Option<Self> {
        let (version, build) = text.split_once('+').map_or((text, None), |(version, build)| (version, Some(build)));
        let (core, pre) = version.split_once('-').map_or((version, None), |(core, pre)| (core, Some(pre)));
        let numbers: Vec<u64> = core.split('.').map(number).collect::<Option<_>>()?;
        let names = |text: &str| text.split('.').map(str::to_string).collect::<Vec<_>>();
        let plain = |name: &String| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let pre = pre.map(names).unwrap_or_default();
        if !pre.iter().all(plain) || !build.map(names).unwrap_or_default().iter().all(plain) {
            return None;
        }
        Some(Self { text: text.into(), numbers: numbers.try_into().ok()?, pre })
    }

    pub fn compare(&self, other: &Self) -> Ordering {
        let by_pre = || match (self.pre.is_empty(), other.pre.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => {
                let parts = self.pre.iter().zip(&other.pre).map(|(a, b)| match (a.parse::<u64>(), b.parse::<u64>()) {
                    (Ok(a), Ok(b)) => a.cmp(&b),
                    (Ok(_), Err(_)) => Ordering::Less,
                    (Err(_), Ok(_)) => Ordering::Greater,
                    _ => a.cmp(b),
                });
                parts.into_iter().find(|order| order.is_ne()).unwrap_or(self.pre.len().cmp(&other.pre.len()))
            }
        };
        self.numbers.cmp(&other.numbers).then_with(by_pre)
    }
}

fn number(text: &str) -> Option<u64> {
    let fine = text.bytes().all(|b| b.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
    if fine { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn urls_come_apart() {
        let url = Url::parse("https://user@[::1]:8443/a/b?c=d#e").unwrap();
        assert_eq!((url.scheme.as_str(), url.hostname(), url.port()), ("https", "::1", "8443"));
        assert_eq!((url.path.as_str(), url.query.as_str(), url.host.as_str()), ("/a/b", "c=d", "[::1]:8443"));
        assert!(Url::parse("/path").is_some() && Url::parse("nope").is_none() && Url::parse("http://a b").is_none());
    }

    #[test]
    fn networks_contain_addresses() {
        let net = cidr("10.1.0.0/16").unwrap();
        assert!(contains(net, (ip("10.1.2.3").unwrap(), 32)) && !contains(net, (ip("10.2.0.0").unwrap(), 32)));
        assert!(contains(net, cidr("10.1.128.0/17").unwrap()) && !contains(net, cidr("10.0.0.0/8").unwrap()));
        assert!(contains(cidr("0.0.0.0/0").unwrap(), net) && cidr("10.0.0.0/33").is_none());
    }

    #[test]
    fn versions_have_an_order() {
        let order = |a: &str, b: &str| Semver::parse(a).unwrap().compare(&Semver::parse(b).unwrap());
        assert_eq!(order("1.2.3", "1.10.0"), Ordering::Less);
        assert_eq!(order("1.0.0-rc.1", "1.0.0"), Ordering::Less);
        assert_eq!(order("1.0.0-rc.2", "1.0.0-rc.10"), Ordering::Less);
        assert!(Semver::parse("1.2").is_none() && Semver::parse("v1.2.3").is_none());
    }
}
