//! The sizes of a terminal, as its window is made larger and smaller.

use std::time::Duration;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, sleep, timeout};

/// Columns and rows.
type Size = (u16, u16);

/// How often a size that is not taken is given, and how long after each time: it may be too early for that.
const TRIES: usize = 5;
const AGAIN: Duration = Duration::from_millis(200);
/// How long after a size another one is given once more, each from the time before. Podman passes them to the
/// container's monitor through a pipe and does not hear what becomes of them; of two that lie there together the first
/// can be the one that stays. `kubectl attach` tells two at once, so that programs draw anew.
const REPEATS: [Duration; 3] = [Duration::from_millis(300), Duration::from_secs(1), Duration::from_secs(3)];
const TOGETHER: Duration = Duration::from_secs(5);

/// Gives a terminal the sizes that come. A window that cannot be resized is still a window.
pub async fn give(mut sizes: Receiver<Size>, to: impl AsyncFn(Size) -> bool) {
    let mut before: Option<Instant> = None;
    let mut next = sizes.recv().await;
    while let Some(mut size) = next {
        let mut tries = 0;
        while !to(size).await && tries < TRIES {
            tries += 1;
            sleep(AGAIN).await;
            while let Ok(newer) = sizes.try_recv() {
                (size, tries) = (newer, 0);
            }
        }
        let follows = before.replace(Instant::now()).is_some_and(|before| before.elapsed() < TOGETHER);
        next = if follows { repeat(&mut sizes, size, &to).await } else { sizes.recv().await };
    }
}

/// The next size; a few times the one before, until that comes.
async fn repeat(sizes: &mut Receiver<Size>, size: Size, to: &impl AsyncFn(Size) -> bool) -> Option<Size> {
    for after in REPEATS {
        match timeout(after, sizes.recv()).await {
            Ok(next) => return next,
            // Who has that size already does not notice.
            Err(_) => _ = to(size).await,
        }
    }
    sizes.recv().await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::cell::{Cell, RefCell};
    use tokio::sync::mpsc;

    #[tokio::test(start_paused = true)]
    async fn the_last_of_several_is_given_again() {
        let (send, sizes) = mpsc::channel(1);
        let given = RefCell::new(Vec::new());
        let giving = give(sizes, async |size| {
            given.borrow_mut().push(size);
            true
        });
        let telling = async {
            send.send((80, 24)).await.unwrap();
            sleep(TOGETHER).await;
            assert_eq!(given.take(), [(80, 24)], "one that is alone arrives");
            send.send((81, 25)).await.unwrap();
            send.send((80, 24)).await.unwrap();
            sleep(Duration::from_secs(1)).await;
            assert_eq!(given.take(), [(81, 25), (80, 24), (80, 24)]);
            send.send((70, 20)).await.unwrap();
            sleep(Duration::from_secs(60)).await;
            assert_eq!(given.take(), [(70, 20); 4], "what is newer counts");
            drop(send);
        };
        tokio::join!(giving, telling);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_not_taken_is_given_again() {
        let (send, sizes) = mpsc::channel(2);
        let (given, ready) = (RefCell::new(Vec::new()), Cell::new(false));
        let giving = give(sizes, async |size| {
            given.borrow_mut().push(size);
            ready.get()
        });
        let telling = async {
            send.send((81, 25)).await.unwrap();
            sleep(AGAIN / 2).await;
            send.send((80, 24)).await.unwrap();
            sleep(AGAIN).await;
            ready.set(true);
            sleep(AGAIN).await;
            assert_eq!(given.take(), [(81, 25), (80, 24), (80, 24)]);
            drop(send);
        };
        tokio::join!(giving, telling);
    }
}
