//! Ports for servers that have to be told theirs before they listen.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below those that systems give to whoever wants any: between being found and being listened on, none of
/// these is given to somebody else.
const FIRST: u16 = 12_000;
const COUNT: u16 = 18_000;

/// A TCP port of this machine that nobody listens on, another one each time.
pub fn free() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Other test runs begin elsewhere.
    let own = (std::process::id() % 600) as u16 * 30;
    let candidates = std::iter::repeat_with(|| FIRST + own.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT);
    let mut free = candidates.take(usize::from(COUNT)).filter(|port| TcpListener::bind(("0.0.0.0", *port)).is_ok());
    free.next().expect("a free port")
}
