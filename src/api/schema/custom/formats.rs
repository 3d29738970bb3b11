//! Formats of strings that validation knows; others mean nothing.

use crate::api::kinds::names;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::net::IpAddr;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Byte,
    Cidr,
    Date,
    DateTime,
    Duration,
    Email,
    HexColor,
    Hostname,
    Ipv4,
    Ipv6,
    LongName,
    Mac,
    ShortName,
    Uri,
    Uuid(Option<char>),
}

/// By their names without dashes.
const NAMES: [(&str, Format); 19] = [
    ("byte", Format::Byte),
    ("cidr", Format::Cidr),
    ("date", Format::Date),
    ("datetime", Format::DateTime),
    ("duration", Format::Duration),
    ("email", Format::Email),
    ("hexcolor", Format::HexColor),
    ("hostname", Format::Hostname),
    ("ipv4", Format::Ipv4),
    ("ipv6", Format::Ipv6),
    ("k8slongname", Format::LongName),
    ("k8sshortname", Format::ShortName),
    ("mac", Format::Mac),
    ("uri", Format::Uri),
    ("uuid", Format::Uuid(None)),
    ("uuid3", Format::Uuid(Some('3'))),
    ("uuid4", Format::Uuid(Some('4'))),
    ("uuid5", Format::Uuid(Some('5'))),
    ("bytes", Format::Byte),
];

impl Format {
    /// As messages name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::DateTime => "date-time",
            _ => NAMES.iter().find(|(_, format)| *format == self).map_or("", |(name, _)| name),
        }
    }

    pub fn of(name: &str) -> Option<Self> {
        let plain = name.replace('-', "");
        NAMES.iter().find(|(known, _)| *known == plain).map(|(_, format)| *format)
    }

    pub fn takes(self, text: &str) -> bool {
        match self {
            Self::Byte => STANDARD.decode(text).is_ok(),
            Self::Cidr => is_cidr(text),
            Self::Date => text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok(),
            Self::DateTime => is_date_time(text),
            Self::Duration => is_duration(text),
            Self::Email => is_email(text),
            Self::HexColor => {
                let digits = text.strip_prefix('#').unwrap_or(text);
                matches!(digits.len(), 3 | 6) && digits.bytes().all(|b| b.is_ascii_hexdigit())
            }
            Self::Hostname => is_hostname(text),
            Self::Ipv4 => matches!(text.parse(), Ok(IpAddr::V4(_))),
            Self::Ipv6 => matches!(text.parse(), Ok(IpAddr::V6(_))),
            Self::LongName => names::subdomain(text).is_empty(),
            Self::ShortName => names::label(text).is_empty(),
            Self::Mac => is_mac(text),
            Self::Uri => is_uri(text),
            Self::Uuid(version) => is_uuid(text, version),
        }
    }
}

fn is_cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    match (address.parse::<IpAddr>(), bits.parse::<u8>()) {
        (Ok(IpAddr::V4(_)), Ok(bits)) => bits <= 32,
        (Ok(IpAddr::V6(_)), Ok(bits)) => bits <= 128,
        _ => false,
    }
}

fn is_date_time(text: &str) -> bool {
    let separated = text.as_bytes().get(10).is_some_and(|b| matches!(b, b'T' | b't' | b' '));
    separated && text.parse::<jiff::Timestamp>().is_ok()
}

/// Go's durations, or a number and a unit in words.
fn is_duration(text: &str) -> bool {
    const UNITS: [&str; 26] = [
        "nanos",
        "nanosecond",
        "nanoseconds",
        "nano",
        "ns",
        "micros",
        "micro",
        "us",
        "µs",
        "microsecond",
        "microseconds",
        "millis",
        "milli",
        "ms",
        "millisecond",
        "milliseconds",
        "second",
        "seconds",
        "sec",
        "s",
        "minute",
        "minutes",
        "min",
        "m",
        "hour",
        "h",
    ];
    if crate::api::cel::duration::parse(text).is_some() {
        return true;
    }
    let digits = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let unit = digits.trim();
    let days = matches!(unit, "hours" | "d" | "day" | "days" | "w" | "wk" | "week" | "weeks");
    digits.len() < text.len() && (days || UNITS.contains(&unit))
}

fn is_email(text: &str) -> bool {
    let address = match text.rsplit_once('<') {
        Some((_, rest)) => rest.strip_suffix('>').unwrap_or_default(),
        None => text,
    };
    let Some((local, domain)) = address.rsplit_once('@') else { return false };
    let plain =
        |part: &str| !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || "@<>,;:\\\"".contains(c));
    plain(local) && plain(domain)
}

fn is_hostname(text: &str) -> bool {
    let label = |label: &str| {
        let bytes = label.as_bytes();
        matches!((bytes.first(), bytes.last()), (Some(a), Some(z)) if a.is_ascii_alphanumeric() && z.is_ascii_alphanumeric())
            && label.len() <= 63
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
    };
    text.len() <= 255 && text.strip_suffix('.').unwrap_or(text).split('.').all(label)
}

fn is_mac(text: &str) -> bool {
    let groups = |separator: char, width: usize| {
        let parts: Vec<&str> = text.split(separator).collect();
        let count = parts.len() * width / 2;
        matches!(count, 6 | 8 | 20)
            && parts.iter().all(|part| part.len() == width && part.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    groups(':', 2) || groups('-', 2) || groups('.', 4)
}

fn is_uri(text: &str) -> bool {
    if text.is_empty() || text.contains(|c: char| c.is_ascii_control() || c == ' ') {
        return false;
    }
    let scheme = text.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
    });
    text.starts_with('/') || scheme
}

fn is_uuid(text: &str, version: Option<char>) -> bool {
    let plain: String = text.chars().filter(|c| *c != '-').collect();
    plain.len() == 32
        && plain.bytes().all(|b| b.is_ascii_hexdigit())
        && version.is_none_or(|version| plain.chars().nth(12) == Some(version))
}
