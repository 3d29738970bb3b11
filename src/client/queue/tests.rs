//! Queues and workers under the paused clock.
#![allow(clippy::unwrap_used)]
use super::*;
use crate::base::wait::{self, Pace};
use std::sync::atomic::{AtomicUsize, Ordering};

#[tokio::test(start_paused = true)]
async fn merges_while_queued_and_hands_out_again_after_processing() {
    let queue = WorkQueue::new();
    queue.add("a");
    queue.add("a");
    queue.add("b");
    assert_eq!(queue.len(), 2);
    assert_eq!(queue.get().await, Some("a"));
    queue.add("a");
    assert_eq!(queue.get().await, Some("b"), "a is being worked on");
    assert_eq!(queue.len(), 0);
    queue.done(&"a");
    assert_eq!(queue.get().await, Some("a"));
}

#[tokio::test(start_paused = true)]
async fn delays_keep_the_earliest_time() {
    let queue = WorkQueue::new();
    let start = Instant::now();
    queue.add_after("late", Duration::from_secs(60));
    queue.add_after("late", Duration::from_secs(5));
    queue.add_after("late", Duration::from_secs(30));
    assert_eq!(queue.get().await, Some("late"));
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    queue.done(&"late");
    assert!(queue.is_idle());
}

#[tokio::test(start_paused = true)]
async fn failures_back_off_and_success_resets() {
    let queue = WorkQueue::new();
    let (calls, start) = (Arc::new(AtomicUsize::new(0)), Instant::now());
    let workers = tokio::spawn(run_workers(queue.clone(), 2, {
        let calls = calls.clone();
        move |_key: &str| {
            let call = calls.fetch_add(1, Ordering::SeqCst);
            async move {
                match call {
                    0 | 1 => Err("no"),
                    2 => panic!("a bug"),
                    _ => Ok(None),
                }
            }
        }
    }));
    queue.add("x");
    wait::until("the fourth call has ended", Pace::default(), async || {
        let calls = calls.load(Ordering::SeqCst);
        if calls < 4 || !queue.is_idle() { Err(calls) } else { Ok(()) }
    })
    .await;
    assert!(start.elapsed() >= Duration::from_millis(5 + 10 + 20));
    assert_eq!(queue.failures(&"x"), 0);
    queue.shutdown();
    workers.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn many_workers_share_what_becomes_due_together() {
    let queue = WorkQueue::new();
    let running = Arc::new(AtomicUsize::new(0));
    let peak = Arc::new(AtomicUsize::new(0));
    let workers = tokio::spawn(run_workers(queue.clone(), 4, {
        let (running, peak) = (running.clone(), peak.clone());
        move |_key: u32| {
            let (running, peak) = (running.clone(), peak.clone());
            async move {
                peak.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_secs(1)).await;
                running.fetch_sub(1, Ordering::SeqCst);
                Ok::<_, String>(None)
            }
        }
    }));
    (0..8).for_each(|key| queue.add_after(key, Duration::from_secs(3)));
    let start = Instant::now();
    wait::until("all is done", Pace::default(), async || {
        if queue.is_idle() { Ok(()) } else { Err(format!("{} under way", running.load(Ordering::SeqCst))) }
    })
    .await;
    assert_eq!(peak.load(Ordering::SeqCst), 4);
    assert!(start.elapsed() < Duration::from_secs(6), "two rounds of four");
    queue.shutdown();
    workers.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn shutdown_wakes_waiting_workers() {
    let queue: WorkQueue<u8> = WorkQueue::new();
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            tokio::spawn({
                let queue = queue.clone();
                async move { queue.get().await }
            })
        })
        .collect();
    tokio::task::yield_now().await;
    queue.shutdown();
    for task in waiting {
        assert_eq!(task.await.unwrap(), None);
    }
}
