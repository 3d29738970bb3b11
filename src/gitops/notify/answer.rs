//! What a server's answer means for what was sent. Pure.

use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use std::time::Duration;

/// What becomes of something that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Delivered,
    /// It may get through later, not before `after`.
    Later {
        why: String,
        after: Duration,
    },
    /// It will not get through as it is.
    Refused {
        why: String,
    },
}

/// As much as is shown of what a server says.
const SHOWN: usize = 200;
/// A server that wants to be left alone for longer is asked again all the same.
const LONGEST: Duration = Duration::from_secs(3600);

/// The verdict on an answer with this body.
pub fn judge(status: StatusCode, headers: &HeaderMap, body: &str, now: Timestamp) -> Verdict {
    if status.is_success() || is_unchanged(status, body) {
        return Verdict::Delivered;
    }
    let why = match status.is_redirection() {
        true => format!("{status}: redirects are not followed; set the URL that it leads to"),
        false => said(status, body),
    };
    let after = wait(headers, now);
    let limited = status == StatusCode::FORBIDDEN && after.is_some();
    let passes = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY);
    if passes || limited || status.is_server_error() {
        return Verdict::Later { why, after: after.unwrap_or_default() };
    }
    Verdict::Refused { why }
}

/// GitLab refuses to set the state that a commit has already.
fn is_unchanged(status: StatusCode, body: &str) -> bool {
    status == StatusCode::BAD_REQUEST && body.contains("Cannot transition status via")
}

/// How long to wait: `Retry-After` in seconds or as a date, or what GitHub says of its limits.
fn wait(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let until = |time: Timestamp| Duration::try_from(time.duration_since(now)).unwrap_or_default();
    let told = text(header::RETRY_AFTER.as_str()).and_then(|given| match given.trim().parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => Some(until(jiff::fmt::rfc2822::parse(given.trim()).ok()?.timestamp())),
    });
    let exhausted = text("x-ratelimit-remaining") == Some("0");
    let reset = || {
        let seconds = text("x-ratelimit-reset")?.parse().ok()?;
        Some(until(Timestamp::from_second(seconds).ok()?))
    };
    told.or_else(|| if exhausted { reset() } else { None }).map(|wait| wait.min(LONGEST))
}

/// The status, and the beginning of what the server says, in one line.
fn said(status: StatusCode, body: &str) -> String {
    let line = body.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.get(..line.floor_char_boundary(SHOWN)) {
        None | Some("") => status.to_string(),
        Some(start) => format!("{status}: {start}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn of(status: u16, headers: &[(&'static str, &str)], body: &str) -> Verdict {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        judge(StatusCode::from_u16(status).unwrap(), &headers, body, "2026-01-01T00:00:00Z".parse().unwrap())
    }

    fn after(status: u16, headers: &[(&'static str, &str)]) -> Option<u64> {
        if let Verdict::Later { after, .. } = of(status, headers, "") { Some(after.as_secs()) } else { None }
    }

    #[test]
    fn what_may_pass_is_tried_again_when_the_server_says() {
        assert_eq!(of(204, &[], ""), Verdict::Delivered);
        assert_eq!(after(503, &[]), Some(0));
        assert_eq!(after(429, &[("retry-after", "7")]), Some(7));
        assert_eq!(after(503, &[("retry-after", "Thu, 01 Jan 2026 00:02:00 GMT")]), Some(120));
        assert_eq!(after(503, &[("retry-after", "Wed, 31 Dec 2025 00:00:00 GMT")]), Some(0));
        assert_eq!(after(429, &[("retry-after", "999999999")]), Some(3600));
        assert_eq!(after(503, &[("retry-after", "soon")]), Some(0));
        let limits = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1767225660")];
        assert_eq!(after(403, &limits), Some(60));
    }

    #[test]
    fn what_is_refused_is_explained_in_a_line() {
        assert_eq!(
            of(404, &[], "{\n \"message\": \"Not  Found\"}"),
            Verdict::Refused { why: "404 Not Found: { \"message\": \"Not Found\"}".into() }
        );
        assert_eq!(of(403, &[], ""), Verdict::Refused { why: "403 Forbidden".into() });
        let Verdict::Refused { why } = of(302, &[("location", "https://elsewhere")], "") else { panic!() };
        assert!(why.contains("not followed") && !why.contains("elsewhere"), "{why}");
        let Verdict::Refused { why } = of(400, &[], &"ä".repeat(1000)) else { panic!() };
        assert!(why.len() < 300);
        let unchanged = "{\"message\":{\"base\":[\"Cannot transition status via :enqueue from :pending\"]}}";
        assert_eq!(of(400, &[], unchanged), Verdict::Delivered);
    }
}
