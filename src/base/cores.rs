//! Work that is nothing but computing, on all cores.

use std::panic::resume_unwind;
use std::thread::{Builder, available_parallelism, scope};
use tokio::runtime::Handle;

/// What `each` makes of the items, in their order. `worth`: of how many shares the work is worth a thread each;
/// there is one per core at most. The system may refuse a thread: then this one does its share.
pub fn map<T: Sync, R: Send>(items: &[T], worth: usize, each: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let shares = available_parallelism().map_or(1, usize::from).min(worth).min(items.len());
    if shares < 2 {
        return items.iter().map(each).collect();
    }
    // Neighbours are alike: each share has some of all.
    let share = |from: usize| items.iter().skip(from).step_by(shares).map(&each).collect::<Vec<_>>();
    // A clock that is virtual is the runtime's.
    let runtime = Handle::try_current().ok();
    let mut done: Vec<_> = scope(|scope| {
        let (share, runtime) = (&share, &runtime);
        let start = |from: usize| {
            let work = move || {
                let _entered = runtime.as_ref().map(Handle::enter);
                share(from)
            };
            (from, Builder::new().name("selkie-cores".into()).spawn_scoped(scope, work))
        };
        let others: Vec<_> = (1..shares).map(start).collect();
        let first = share(0);
        let others = others.into_iter().map(|(from, thread)| match thread {
            Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Err(_) => share(from),
        });
        std::iter::once(first).chain(others).map(Vec::into_iter).collect()
    });
    (0..items.len()).filter_map(|at| done[at % shares].next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_number_stay() {
        for (count, worth) in [(0, 8), (1, 8), (2, 8), (7, 2), (7, 0), (1001, 64)] {
            let items: Vec<usize> = (0..count).collect();
            let expected: Vec<usize> = items.iter().map(|item| item * 3).collect();
            assert_eq!(map(&items, worth, |item| item * 3), expected, "{count} {worth}");
        }
    }
}
