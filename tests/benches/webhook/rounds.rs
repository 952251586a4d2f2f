//! Runs rounds of the same load, which alternate between webhook and baseline, so that other load on the machine
//! affects both. The table shows the median of the rounds. The best round is closest to an otherwise idle machine.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::comparison::Comparison;
use crate::load;
use crate::results::{Results, Sample};
use crate::reviews::{ExpectedResponse, Reviews};
use crate::server::Server;
use crate::service::Service;
use crate::usage::cpu;

/// A server under load.
pub struct Subject {
    pub server: Server,
    /// The connections to the server.
    pub service: Arc<Service>,
}

#[derive(Clone, Copy, Debug)]
pub enum Load {
    /// Reviews per second.
    Rate(f64),
    /// Concurrent reviews.
    Concurrent(usize),
}

/// One round of one server.
#[derive(Clone, Debug)]
pub struct Round {
    pub results: Results,
    duration: Duration,
    cpu: Duration,
}

/// All rounds of one server.
#[derive(Clone, Debug, Default)]
pub struct Rounds(Vec<Round>);

impl Subject {
    /// Creates connections to a server, each used no longer than `max_age`.
    pub fn new(connections: u32, server: Server, expected: ExpectedResponse, max_age: Duration) -> Self {
        let service = Service::new(connections, server.addresses.reviews, server.trust.clone(), expected);
        Self { service: Arc::new(service.with_max_age(max_age)), server }
    }

    pub async fn round(&self, load: Load, reviews: &Arc<Reviews>, window: Duration) -> anyhow::Result<Round> {
        self.service.connect().await?;
        let before = cpu(self.server.id())?;
        let started = Instant::now();
        let samples = send_reviews(&self.service, load, reviews, window).await?;
        let duration = started.elapsed();
        let cpu = cpu(self.server.id())?.saturating_sub(before);
        Ok(Round { results: samples.into_iter().collect(), duration, cpu })
    }
}

/// Sends reviews in order, and starts over after the last.
pub async fn send_reviews(
    service: &Arc<Service>,
    load: Load,
    reviews: &Arc<Reviews>,
    window: Duration,
) -> anyhow::Result<Vec<Sample>> {
    let (service, reviews) = (service.clone(), reviews.clone());
    let request = move |index| {
        let (service, reviews) = (service.clone(), reviews.clone());
        async move {
            match reviews.get(index) {
                Some(review) => service.send(review).await,
                None => Err("there is no review".to_owned()),
            }
        }
    };
    match load {
        Load::Rate(rate) => load::at_rate(rate, window, request).await,
        Load::Concurrent(count) => load::concurrently(count, window, request).await,
    }
}

/// Runs `count` rounds of each.
pub async fn run_alternating(
    subjects: &Comparison<Subject>,
    load: Load,
    reviews: &Arc<Reviews>,
    window: Duration,
    count: u32,
) -> anyhow::Result<Comparison<Rounds>> {
    let mut rounds = Comparison::<Rounds>::default();
    for _ in 0..count {
        rounds.webhook.0.push(subjects.webhook.round(load, reviews, window).await?);
        rounds.baseline.0.push(subjects.baseline.round(load, reviews, window).await?);
    }
    Ok(rounds)
}

impl Rounds {
    /// A percentile of the requests' durations. The median of the rounds.
    pub fn percentile(&self, percent: f64) -> Duration {
        self.median(|round| round.results.percentile(percent).as_secs_f64(), Duration::from_secs_f64)
    }

    /// A percentile of the requests' durations in the best round, which other load affected least.
    pub fn best(&self, percent: f64) -> Duration {
        self.0.iter().map(|round| round.results.percentile(percent)).min().unwrap_or_default()
    }

    /// The duration of the slowest request of all rounds.
    pub fn slowest(&self) -> Duration {
        self.0.iter().map(|round| round.results.percentile(100.0)).max().unwrap_or_default()
    }

    /// Number of requests.
    pub fn count(&self) -> usize {
        self.0.iter().map(|round| round.results.count()).sum()
    }

    /// Number of failed requests.
    pub fn errors(&self) -> usize {
        self.0.iter().map(|round| round.results.errors()).sum()
    }

    /// The errors.
    pub fn reasons(&self) -> impl Iterator<Item = String> {
        self.0.iter().flat_map(|round| round.results.reasons())
    }

    /// Requests per second. The median of the rounds.
    pub fn rate(&self) -> f64 {
        self.median(|round| round.results.count() as f64 / round.duration.as_secs_f64(), |rate| rate)
    }

    /// The server's processor time per 1,000 requests, in seconds, over all rounds, since the kernel counts
    /// hundredths of a second.
    pub fn cpu(&self) -> f64 {
        let cpu: Duration = self.0.iter().map(|round| round.cpu).sum();
        cpu.as_secs_f64() * 1000.0 / self.count().max(1) as f64
    }

    fn median<T>(&self, figure: impl Fn(&Round) -> f64, make: impl Fn(f64) -> T) -> T {
        let mut figures: Vec<_> = self.0.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        make(figures.get(figures.len() / 2).copied().unwrap_or_default())
    }
}
