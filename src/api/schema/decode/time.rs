//! Times as Go's `time.RFC3339` reads them, with its messages.

use jiff::Timestamp;
use jiff::tz::Offset;

const LAYOUT: &str = "2006-01-02T15:04:05Z07:00";

/// RFC 3339 in UTC, whole seconds.
pub fn seconds(text: &str) -> Result<String, String> {
    let time = parse(text)?;
    // Already what it would be printed as: nearly every time a client sends back.
    if text.len() == 20 {
        return Ok(text.to_string());
    }
    Ok(time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// RFC 3339 in UTC with microseconds.
pub fn micros(text: &str) -> Result<String, String> {
    parse(text).map(|time| time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string())
}

/// Reads the parts of the layout one by one, so that the message can name the part that failed.
fn parse(text: &str) -> Result<Timestamp, String> {
    let mut reader = Reader { text, rest: text };
    let year = reader.number(4, "2006")?;
    reader.literal("-")?;
    let month = reader.number(2, "01")?;
    reader.literal("-")?;
    let day = reader.number(2, "02")?;
    reader.literal("T")?;
    let hour = reader.number(2, "15")?;
    reader.literal(":")?;
    let minute = reader.number(2, "04")?;
    reader.literal(":")?;
    let second = reader.number(2, "05")?;
    let nanos = reader.fraction();
    let offset = reader.offset()?;
    if !reader.rest.is_empty() {
        return Err(format!("parsing time {text:?}: extra text: {:?}", reader.rest));
    }
    let out_of_range = |part| format!("parsing time {text:?}: {part} out of range");
    for (value, low, high, part) in [
        (month, 1, 12, "month"),
        (day, 1, 31, "day"),
        (hour, 0, 23, "hour"),
        (minute, 0, 59, "minute"),
        (second, 0, 59, "second"),
    ] {
        if !(low..=high).contains(&value) {
            return Err(out_of_range(part));
        }
    }
    let small = |value: i32| i8::try_from(value).unwrap_or(0);
    let year = i16::try_from(year).unwrap_or(0);
    let date =
        jiff::civil::DateTime::new(year, small(month), small(day), small(hour), small(minute), small(second), nanos)
            .map_err(|_| out_of_range("day"))?;
    offset.to_timestamp(date).map_err(|_| out_of_range("year"))
}

struct Reader<'a> {
    text: &'a str,
    rest: &'a str,
}

impl Reader<'_> {
    fn fail(&self, part: &str) -> String {
        format!("parsing time {:?} as {LAYOUT:?}: cannot parse {:?} as {part:?}", self.text, self.rest)
    }

    fn number(&mut self, digits: usize, part: &str) -> Result<i32, String> {
        let head = self.rest.get(..digits).filter(|head| head.bytes().all(|byte| byte.is_ascii_digit()));
        let value = head.and_then(|head| head.parse().ok()).ok_or_else(|| self.fail(part))?;
        self.rest = &self.rest[digits..];
        Ok(value)
    }

    fn literal(&mut self, part: &str) -> Result<(), String> {
        self.rest = self.rest.strip_prefix(part).ok_or_else(|| self.fail(part))?;
        Ok(())
    }

    /// Nanoseconds; digits beyond the ninth are cut off.
    fn fraction(&mut self) -> i32 {
        let Some(after) = self.rest.strip_prefix(['.', ',']) else { return 0 };
        let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        if end == 0 {
            return 0;
        }
        self.rest = &after[end..];
        after
            .bytes()
            .take(end)
            .chain(std::iter::repeat(b'0'))
            .take(9)
            .fold(0, |n, digit| n * 10 + i32::from(digit - b'0'))
    }

    fn offset(&mut self) -> Result<Offset, String> {
        if let Some(rest) = self.rest.strip_prefix('Z') {
            self.rest = rest;
            return Ok(Offset::UTC);
        }
        let whole = self.rest;
        let sign = match whole.bytes().next() {
            Some(b'+') => 1,
            Some(b'-') => -1,
            _ => return Err(self.fail("Z07:00")),
        };
        let fail = format!("parsing time {:?} as {LAYOUT:?}: cannot parse {whole:?} as \"Z07:00\"", self.text);
        self.rest = &whole[1..];
        let hours = self.number(2, "").map_err(|_| fail.clone())?;
        self.literal(":").map_err(|_| fail.clone())?;
        let minutes = self.number(2, "").map_err(|_| fail.clone())?;
        if hours > 23 || minutes > 59 {
            return Err(format!("parsing time {:?}: time zone offset out of range", self.text));
        }
        Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).map_err(|_| fail)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn times_become_utc() {
        assert_eq!(seconds("2026-01-02T03:04:05Z").unwrap(), "2026-01-02T03:04:05Z");
        assert_eq!(seconds("2026-01-02T03:04:05.9+01:30").unwrap(), "2026-01-02T01:34:05Z");
        assert_eq!(micros("2026-01-02T03:04:05Z").unwrap(), "2026-01-02T03:04:05.000000Z");
        assert_eq!(micros("2026-01-02T03:04:05.1234567Z").unwrap(), "2026-01-02T03:04:05.123456Z");
    }

    #[test]
    fn what_is_no_time_is_explained() {
        for (text, why) in [
            ("x", "parsing time \"x\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"x\" as \"2006\""),
            ("", "parsing time \"\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"\" as \"2006\""),
            (
                "2026-01-02 03:04:05Z",
                "parsing time \"2026-01-02 03:04:05Z\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \" 03:04:05Z\" as \"T\"",
            ),
            ("2026-13-02T03:04:05Z", "parsing time \"2026-13-02T03:04:05Z\": month out of range"),
            ("2026-02-30T03:04:05Z", "parsing time \"2026-02-30T03:04:05Z\": day out of range"),
            (
                "2026-01-02T03:04:05",
                "parsing time \"2026-01-02T03:04:05\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"\" as \"Z07:00\"",
            ),
            ("2026-01-02T03:04:05Zq", "parsing time \"2026-01-02T03:04:05Zq\": extra text: \"q\""),
        ] {
            assert_eq!(seconds(text).unwrap_err(), why);
        }
    }
}
