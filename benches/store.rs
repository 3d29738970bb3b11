//! The redb store against what the disk itself can do: `cargo bench --bench store`.
//!
//! Prints durable commits per second with 1 and 16 writers next to a loop that writes and
//! fdatasyncs the same bytes, gets per second, watch fan-out, and how fast 27,000 objects open,
//! cleanly and after a crash.

use bytes::Bytes;
use selkie::api::meta::Envelope;
use selkie::store::memory::Memory;
use selkie::store::redb::Redb;
use selkie::store::{Extract, Store, Txn, Write};
use std::io::{Seek, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const VALUE: usize = 1024;
const SPAN: Duration = Duration::from_secs(2);
const OBJECTS: usize = 27_000;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    // The target directory is on the machine's disk; the temporary one may be in memory.
    let dir = tempfile::tempdir_in(std::env::var_os("SELKIE_BENCH_DIR").unwrap_or_else(|| ".".into()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;

    let raw = baseline(&dir.path().join("raw"))?;
    println!("baseline: write + fdatasync of {VALUE} bytes   {raw:>9.0} /s");
    for writers in [1, 16] {
        let store = Redb::open(dir.path().join(format!("commit-{writers}")), extract())?;
        let (rate, p50, p99) = runtime.block_on(commits(store, writers));
        let ratio = rate / raw;
        println!(
            "durable commits, {writers:>2} writers  {rate:>9.0} /s  p50 {p50:?} p99 {p99:?}  {ratio:.2} x baseline"
        );
    }
    let (rate, ..) = runtime.block_on(commits(Memory::new(), 1));
    println!("memory commits,   1 writer   {rate:>9.0} /s");

    let path = dir.path().join("objects");
    let store = Redb::open(&path, extract())?;
    let before = resident();
    runtime.block_on(fill(&*store));
    println!("memory for {OBJECTS} objects of {VALUE} bytes: {} MiB", (resident() - before) >> 20);
    for threads in [1, 2] {
        println!("gets, {threads} threads   {:>9.0} /s", gets(&*store, threads));
    }
    let started = Instant::now();
    let listed = store.range("/configmaps./", None, None, 0)?.records.len();
    println!("range of {listed}   {:?}", started.elapsed());
    println!("watch fan-out, 100 watchers   {:>9.0} events/s", runtime.block_on(fan_out(store.clone())));

    // What a kill -9 leaves: the bytes on disk while the store is open.
    let crashed = dir.path().join("crashed");
    std::fs::copy(&path, &crashed)?;
    drop(store);
    for (name, path) in [("clean", &path), ("crashed", &crashed)] {
        let started = Instant::now();
        let store = Redb::open(path, extract())?;
        let took = started.elapsed();
        println!("open {name:<8} {} objects, file {} MiB   {took:?}", store.count(""), path.metadata()?.len() >> 20);
    }
    Ok(())
}

fn extract() -> Extract {
    #[derive(serde::Deserialize, Default)]
    struct Object {
        metadata: Envelope,
    }
    Arc::new(|_, value| serde_json::from_slice::<Object>(value).unwrap_or_default().metadata)
}

fn object(name: &str) -> Write {
    let head = format!(
        r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}","namespace":"default","uid":"5b2f0a50-0000-4000-8000-000000000000","labels":{{"app":"bench"}},"creationTimestamp":"2026-01-01T00:00:00Z","resourceVersion":""#
    );
    let pad = "x".repeat(VALUE.saturating_sub(head.len() + 24));
    let value = Bytes::from(format!(r#"{head}"}},"data":{{"key":"{pad}"}}}}"#));
    let envelope = Arc::new(extract()("", &value));
    Write::Put { key: format!("/configmaps./default/{name}").into(), value, splice: Some(head.len()), envelope }
}

fn baseline(path: &Path) -> Result<f64, Failure> {
    let mut file = std::fs::File::create(path)?;
    file.rewind()?;
    let bytes = vec![b'x'; VALUE];
    let (started, mut done) = (Instant::now(), 0);
    while started.elapsed() < SPAN {
        file.write_all(&bytes)?;
        file.sync_data()?;
        done += 1;
    }
    Ok(f64::from(done) / started.elapsed().as_secs_f64())
}

/// Commits per second, median and 99th percentile latency.
async fn commits(store: Arc<dyn Store>, writers: usize) -> (f64, Duration, Duration) {
    let started = Instant::now();
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut took = Vec::new();
                while started.elapsed() < SPAN {
                    let write = object(&format!("w{writer}-{}", took.len()));
                    let at = Instant::now();
                    let txn = Txn { preconditions: Vec::new(), writes: vec![write] };
                    if let Err(error) = store.commit(txn).await {
                        eprintln!("{error}");
                        break;
                    }
                    took.push(at.elapsed());
                }
                took
            })
        })
        .collect();
    let mut took = Vec::new();
    for task in tasks {
        took.extend(task.await.unwrap_or_default());
    }
    let rate = took.len() as f64 / started.elapsed().as_secs_f64();
    took.sort_unstable();
    let at = |share: f64| took.get((took.len() as f64 * share) as usize).copied().unwrap_or_default();
    (rate, at(0.5), at(0.99))
}

async fn fill(store: &dyn Store) {
    for chunk in 0..OBJECTS / 500 {
        let writes = (0..500).map(|n| object(&format!("c{:06}", chunk * 500 + n))).collect();
        if let Err(error) = store.commit(Txn { preconditions: Vec::new(), writes }).await {
            eprintln!("{error}");
        }
    }
}

fn gets(store: &dyn Store, threads: usize) -> f64 {
    let keys: Vec<String> = (0..OBJECTS).step_by(7).map(|n| format!("/configmaps./default/c{n:06}")).collect();
    let (started, done) = (Instant::now(), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while started.elapsed() < SPAN / 2 {
                    let found = keys.iter().filter_map(|key| store.get(key)).count();
                    done.fetch_add(found as u64, Ordering::Relaxed);
                }
            });
        }
    });
    done.into_inner() as f64 / started.elapsed().as_secs_f64()
}

/// Events delivered per second to 100 watchers while 16 writers commit.
async fn fan_out(store: Arc<dyn Store>) -> f64 {
    let delivered = Arc::new(AtomicU64::new(0));
    let watchers: Vec<_> = (0..100)
        .filter_map(|_| store.watch("/configmaps./", store.revision()).ok())
        .map(|mut watch| {
            let delivered = delivered.clone();
            tokio::spawn(async move {
                while let Ok(batch) = watch.next().await {
                    delivered.fetch_add(batch.len() as u64, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let started = Instant::now();
    commits(store, 16).await;
    let rate = delivered.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64();
    watchers.iter().for_each(|watcher| watcher.abort());
    rate
}

/// Bytes of memory this process holds.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}
