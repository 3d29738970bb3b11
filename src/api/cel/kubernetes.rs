//! Kubernetes' own types in expressions: quantities, URLs, addresses, versions.

use super::eval::Engine;
use super::net::{self, Semver, Url};
use super::value::{Outcome, Val, error, no_overload};
use crate::api::quantity::Quantity;
use std::cmp::Ordering;
use std::net::IpAddr;
use std::rc::Rc;

/// Functions without a target.
pub fn global<'a>(engine: &Engine, name: &str, args: &[Val<'a>]) -> Outcome<'a> {
    let [Val::Text(text)] = args else {
        return match (name, args) {
            ("string", [value]) => value.print().map_or_else(no_overload, |text| Ok(Val::text(text))),
            ("url" | "quantity" | "ip" | "cidr" | "semver", [_]) => no_overload(),
            _ if is_known(name) => no_overload(),
            _ => error(format!("undeclared reference to '{name}' (in container '')")),
        };
    };
    engine.spend(text.len() / 10 + 1)?;
    let quantity = || text.parse::<Quantity>().ok();
    match name {
        "isQuantity" => Ok(Val::Bool(quantity().is_some())),
        "quantity" => match text.parse::<Quantity>() {
            Ok(quantity) => Ok(Val::Quantity(quantity)),
            Err(why) => error(why.to_string()),
        },
        "isURL" => Ok(Val::Bool(Url::parse(text).is_some())),
        "url" => match Url::parse(text) {
            Some(url) => Ok(Val::Url(Rc::new(url))),
            None => {
                error(format!("URL parse error during conversion from string: parse {text:?}: invalid URI for request"))
            }
        },
        "isIP" => Ok(Val::Bool(net::ip(text).is_some())),
        "ip" => match net::ip(text) {
            Some(ip) => Ok(Val::Ip(ip)),
            None => error(format!("IP Address {text:?} parse error during conversion from string")),
        },
        "ip.isCanonical" => match net::ip(text) {
            Some(ip) => Ok(Val::Bool(ip.to_string() == **text)),
            None => error(format!("IP Address {text:?} parse error during conversion from string")),
        },
        "isCIDR" => Ok(Val::Bool(net::cidr(text).is_some())),
        "cidr" => match net::cidr(text) {
            Some((ip, bits)) => Ok(Val::Cidr(ip, bits)),
            None => error("network address parse error during conversion from string"),
        },
        "isSemver" => Ok(Val::Bool(Semver::parse(text).is_some())),
        "semver" => match Semver::parse(text) {
            Some(version) => Ok(Val::Semver(Rc::new(version))),
            None => error(format!("invalid semver {text:?}")),
        },
        _ if is_known(name) => no_overload(),
        _ => error(format!("undeclared reference to '{name}' (in container '')")),
    }
}

/// Functions without a target that exist, operators aside.
pub fn is_known(name: &str) -> bool {
    const NAMES: [&str; 28] = [
        "size",
        "dyn",
        "type",
        "bool",
        "int",
        "uint",
        "double",
        "string",
        "bytes",
        "duration",
        "timestamp",
        "has",
        "isQuantity",
        "quantity",
        "isURL",
        "url",
        "isIP",
        "ip",
        "ip.isCanonical",
        "isCIDR",
        "cidr",
        "isSemver",
        "semver",
        "sets.contains",
        "sets.intersects",
        "sets.equivalent",
        "optional.of",
        "optional.none",
    ];
    NAMES.contains(&name) || name == "optional.ofNonZeroValue" || name.contains('_') || name.starts_with('@')
}

/// Functions of a value of one of these types.
pub fn member<'a>(name: &str, target: &Val<'a>, args: &[Val<'a>]) -> Outcome<'a> {
    match target {
        Val::Quantity(own) => quantity(name, *own, args),
        Val::Url(url) => {
            let part = match (name, args) {
                ("getScheme", []) => &url.scheme,
                ("getHost", []) => &url.host,
                ("getHostname", []) => url.hostname(),
                ("getPort", []) => url.port(),
                ("getEscapedPath", []) => &url.path,
                ("getQuery", []) => return Ok(query(&url.query)),
                _ => return no_overload(),
            };
            Ok(Val::text(part))
        }
        Val::Ip(ip) => address(name, *ip, args),
        Val::Cidr(ip, bits) => network(name, (*ip, *bits), args),
        Val::Semver(version) => semver(name, version, args),
        _ => no_overload(),
    }
}

fn quantity<'a>(name: &str, own: Quantity, args: &[Val<'a>]) -> Outcome<'a> {
    let whole = |number: i64| own == Quantity::units(number, own.format());
    match (name, args) {
        ("sign", []) => Ok(Val::Int(if own.is_negative() { -1 } else { i64::from(!own.is_zero()) })),
        ("isInteger", []) => Ok(Val::Bool(whole(own.value()))),
        ("asInteger", []) if whole(own.value()) => Ok(Val::Int(own.value())),
        ("asInteger", []) => error("cannot convert value to integer"),
        ("asApproximateFloat", []) => Ok(Val::Double(own.milli_value() as f64 / 1000.0)),
        ("add", [Val::Quantity(other)]) => Ok(Val::Quantity(own.plus(*other))),
        ("add", [Val::Int(other)]) => Ok(Val::Quantity(own.plus(Quantity::units(*other, own.format())))),
        ("sub", [Val::Quantity(other)]) => Ok(Val::Quantity(own.minus(*other))),
        ("sub", [Val::Int(other)]) => Ok(Val::Quantity(own.minus(Quantity::units(*other, own.format())))),
        (_, [Val::Quantity(other)]) => compared(name, own.cmp(other)),
        _ => no_overload(),
    }
}

fn compared<'a>(name: &str, order: Ordering) -> Outcome<'a> {
    match name {
        "isLessThan" => Ok(Val::Bool(order.is_lt())),
        "isGreaterThan" => Ok(Val::Bool(order.is_gt())),
        "compareTo" => Ok(Val::Int(order as i64)),
        _ => no_overload(),
    }
}

fn query<'a>(query: &str) -> Val<'a> {
    let mut entries: Vec<(String, Vec<Val<'a>>)> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        match entries.iter_mut().find(|(known, _)| known == key) {
            Some((_, values)) => values.push(Val::text(value)),
            None => entries.push((key.into(), vec![Val::text(value)])),
        }
    }
    Val::Map(Rc::new(entries.into_iter().map(|(key, values)| (Val::text(key), Val::list(values))).collect()))
}

fn address<'a>(name: &str, ip: IpAddr, args: &[Val<'a>]) -> Outcome<'a> {
    if !args.is_empty() {
        return no_overload();
    }
    let link_local = match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    let link_local_multicast = match ip {
        IpAddr::V4(v4) => v4.octets()[..3] == [224, 0, 0],
        IpAddr::V6(v6) => v6.segments()[0] & 0xff0f == 0xff02,
    };
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    Ok(match name {
        "family" => Val::Int(if ip.is_ipv4() { 4 } else { 6 }),
        "isUnspecified" => Val::Bool(ip.is_unspecified()),
        "isLoopback" => Val::Bool(ip.is_loopback()),
        "isLinkLocalMulticast" => Val::Bool(link_local_multicast),
        "isLinkLocalUnicast" => Val::Bool(link_local),
        "isGlobalUnicast" => {
            let special = ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || link_local || broadcast;
            Val::Bool(!special)
        }
        _ => return no_overload(),
    })
}

fn network<'a>(name: &str, own: (IpAddr, u8), args: &[Val<'a>]) -> Outcome<'a> {
    let other = |text: &str| match name {
        "containsIP" => net::ip(text).map(|ip| (ip, net::width(ip))),
        _ => net::cidr(text),
    };
    match (name, args) {
        ("ip", []) => Ok(Val::Ip(own.0)),
        ("prefixLength", []) => Ok(Val::Int(i64::from(own.1))),
        ("masked", []) => Ok(Val::Cidr(net::masked(own.0, own.1), own.1)),
        ("containsIP", [Val::Ip(ip)]) => Ok(Val::Bool(net::contains(own, (*ip, net::width(*ip))))),
        ("containsCIDR", [Val::Cidr(ip, bits)]) => Ok(Val::Bool(net::contains(own, (*ip, *bits)))),
        ("containsIP" | "containsCIDR", [Val::Text(text)]) => match other(text) {
            Some(other) => Ok(Val::Bool(net::contains(own, other))),
            None => error("network address parse error during conversion from string"),
        },
        _ => no_overload(),
    }
}

fn semver<'a>(name: &str, own: &Semver, args: &[Val<'a>]) -> Outcome<'a> {
    let number = |at: usize| Ok(Val::Int(i64::try_from(own.numbers[at]).unwrap_or(i64::MAX)));
    match (name, args) {
        ("major", []) => number(0),
        ("minor", []) => number(1),
        ("patch", []) => number(2),
        (_, [Val::Semver(other)]) => compared(name, own.compare(other)),
        _ => no_overload(),
    }
}
