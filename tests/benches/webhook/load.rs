//! Sends requests at a fixed rate, or a fixed number at the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::results::Sample;

/// Sends each request when it is due, even if earlier ones have no response yet, and measures from the time when it was
/// due. So delays of the server and of the bench itself count.
///
/// A separate thread keeps the time, because tokio's timers have a resolution of one millisecond, which is about the
/// duration of a request.
pub async fn at_rate<F>(
    rate: f64,
    window: Duration,
    request: impl Fn(usize) -> F + Send + 'static,
) -> anyhow::Result<Vec<Sample>>
where
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    let count = (window.as_secs_f64() * rate) as usize;
    let (sender, mut samples) = mpsc::unbounded_channel();
    let runtime = Handle::current();
    let pace = move || {
        let started = Instant::now();
        for index in 0..count {
            let due = started + Duration::from_secs_f64(index as f64 / rate);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let (request, sender) = (request(index), sender.clone());
            runtime.spawn(async move {
                let error = request.await.err();
                drop(sender.send(Sample { index, latency: due.elapsed(), error }));
            });
        }
    };
    let pacing = tokio::task::spawn_blocking(pace);
    let mut all = Vec::with_capacity(count);
    while let Some(sample) = samples.recv().await {
        all.push(sample);
    }
    pacing.await?;
    Ok(all)
}

/// Sends requests for the duration of the window, each as soon as a previous one has its response.
pub async fn concurrently<F>(
    concurrency: usize,
    window: Duration,
    request: impl Fn(usize) -> F + Send + Sync + 'static,
) -> anyhow::Result<Vec<Sample>>
where
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    let (request, next) = (Arc::new(request), Arc::new(AtomicUsize::new(0)));
    let end = Instant::now() + window;
    let one_by_one = (0..concurrency).map(|_| {
        let (request, next) = (request.clone(), next.clone());
        tokio::spawn(async move {
            let mut samples = Vec::new();
            while Instant::now() < end {
                let (index, started) = (next.fetch_add(1, Ordering::Relaxed), Instant::now());
                let error = request(index).await.err();
                samples.push(Sample { index, latency: started.elapsed(), error });
            }
            samples
        })
    });
    let samples = join_all(one_by_one).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(samples.into_iter().flatten().collect())
}
