//! Rounds of the same load, in which webhook and limit take turns, so that noise affects both. The table shows the
//! median of the rounds. The best round is closest to an otherwise idle machine.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::both::Both;
use crate::load;
use crate::reviews::{Answer, Reviews};
use crate::server::Server;
use crate::service::Service;
use crate::tally::{Sample, Tally};
use crate::usage::cpu;

/// A server under load.
pub struct Side {
    pub server: Server,
    /// The connections to the server.
    pub service: Arc<Service>,
}

#[derive(Clone, Copy, Debug)]
pub enum Load {
    /// Reviews per second.
    Rate(f64),
    /// Concurrent reviews.
    AtATime(usize),
}

/// One round of one server.
#[derive(Clone, Debug)]
pub struct Round {
    pub tally: Tally,
    took: Duration,
    cpu: Duration,
}

/// All rounds of one server.
#[derive(Clone, Debug, Default)]
pub struct Rounds(Vec<Round>);

impl Side {
    /// A server and connections to it, each used no longer than `longest`.
    pub fn new(connections: u32, server: Server, answer: Answer, longest: Duration) -> Self {
        let service = Service::new(connections, server.place.address, server.trust.clone(), answer);
        Self { service: Arc::new(service.renewing(longest)), server }
    }

    pub async fn round(&self, load: Load, reviews: &Arc<Reviews>, window: Duration) -> anyhow::Result<Round> {
        self.service.connect().await?;
        let before = cpu(self.server.id())?;
        let started = Instant::now();
        let samples = ask(&self.service, load, reviews, window).await?;
        let took = started.elapsed();
        let cpu = cpu(self.server.id())?.saturating_sub(before);
        Ok(Round { tally: samples.into_iter().collect(), took, cpu })
    }
}

/// Sends the reviews in turn.
pub async fn ask(
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
                Some(review) => service.ask(review).await,
                None => Err("there is no review".to_owned()),
            }
        }
    };
    match load {
        Load::Rate(rate) => load::at_rate(rate, window, request).await,
        Load::AtATime(count) => load::at_a_time(count, window, request).await,
    }
}

/// Runs `count` rounds of both.
pub async fn take_turns(
    sides: &Both<Side>,
    load: Load,
    reviews: &Arc<Reviews>,
    window: Duration,
    count: u32,
) -> anyhow::Result<Both<Rounds>> {
    let mut rounds = Both::<Rounds>::default();
    for _ in 0..count {
        rounds.webhook.0.push(sides.webhook.round(load, reviews, window).await?);
        rounds.limit.0.push(sides.limit.round(load, reviews, window).await?);
    }
    Ok(rounds)
}

impl Rounds {
    /// A percentile of the requests' durations. The median of the rounds.
    pub fn percentile(&self, percent: f64) -> Duration {
        self.median(|round| round.tally.percentile(percent).as_secs_f64(), Duration::from_secs_f64)
    }

    /// A percentile of the requests' durations in the best round, which has the least noise.
    pub fn best(&self, percent: f64) -> Duration {
        self.0.iter().map(|round| round.tally.percentile(percent)).min().unwrap_or_default()
    }

    /// The duration of the slowest request of all rounds.
    pub fn slowest(&self) -> Duration {
        self.0.iter().map(|round| round.tally.percentile(100.0)).max().unwrap_or_default()
    }

    /// Number of requests.
    pub fn count(&self) -> usize {
        self.0.iter().map(|round| round.tally.count()).sum()
    }

    /// Number of failed requests.
    pub fn errors(&self) -> usize {
        self.0.iter().map(|round| round.tally.errors()).sum()
    }

    /// The errors.
    pub fn reasons(&self) -> impl Iterator<Item = String> {
        self.0.iter().flat_map(|round| round.tally.reasons())
    }

    /// Requests per second. The median of the rounds.
    pub fn rate(&self) -> f64 {
        self.median(|round| round.tally.count() as f64 / round.took.as_secs_f64(), |rate| rate)
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
