//! Work that is nothing but computing, on all cores.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{Builder, available_parallelism, scope};
use tokio::runtime::Handle;

/// Items that a thread takes at once: many enough that taking costs nothing, few enough that all threads end
/// together.
const TAKEN: usize = 4;

/// What `each` makes of the items, in their order. `worth`: of how many shares the work is worth a thread each;
/// there is one per core at most. The system may refuse a thread: then the others do its share.
pub fn map<T: Sync, R: Send>(items: &[T], worth: usize, each: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = available_parallelism().map_or(1, usize::from).min(worth).min(items.len());
    if threads < 2 {
        return items.iter().map(each).collect();
    }
    // Items differ in what they cost, often in turns: whoever is done takes the next.
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::with_capacity(items.len() / threads / TAKEN + 1);
        loop {
            let from = next.fetch_add(TAKEN, Ordering::Relaxed);
            let Some(taken) = items.get(from..).filter(|left| !left.is_empty()) else { return done };
            done.push((from, taken.iter().take(TAKEN).map(&each).collect::<Vec<_>>()));
        }
    };
    // A clock that is virtual is the runtime's.
    let runtime = Handle::try_current().ok();
    let mut done = scope(|scope| {
        let (work, runtime) = (&work, &runtime);
        let start = |_| {
            let work = move || {
                let _entered = runtime.as_ref().map(Handle::enter);
                work()
            };
            Builder::new().name("selkie-cores".into()).spawn_scoped(scope, work).ok()
        };
        let others: Vec<_> = (1..threads).filter_map(start).collect();
        let mut done = work();
        for thread in others {
            done.extend(thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        done
    });
    done.sort_unstable_by_key(|(from, _)| *from);
    done.into_iter().flat_map(|(_, made)| made).collect()
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
