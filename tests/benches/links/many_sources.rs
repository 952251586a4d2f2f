//! `bootstrap` of all sources at once, compared with one source after the other.

use std::time::Duration;

use crate::fixture::Fixture;
use crate::table::{Goal, Row, Section};
use crate::units::seconds;

const LIMIT: Duration = Duration::from_secs(3);

pub struct ManySources {
    sources: usize,
    at_once: Duration,
    again: Duration,
    one_by_one: Duration,
}

/// Links all sources at once, twice, and then one by one.
pub async fn measure(fixture: &Fixture) -> anyhow::Result<ManySources> {
    let names: Vec<_> = fixture.sources.iter().map(|source| source.name().to_owned()).collect();
    let contexts = names.iter().flat_map(|name| ["--source-context", name.as_str()]);
    let at_once: Vec<_> = ["bootstrap", "--target-context", "c1"].into_iter().chain(contexts).collect();
    let (first, again) = (fixture.time(&at_once)?, fixture.time(&at_once)?);
    let mut one_by_one = Duration::ZERO;
    for name in &names {
        let contexts = ["--target-context", "c1", "--source-context", name];
        fixture.unlink(name)?;
        one_by_one += fixture.time(&[&["bootstrap"], &contexts[..]].concat())?;
    }
    Ok(ManySources { sources: names.len(), at_once: first, again, one_by_one })
}

impl ManySources {
    pub fn section(&self) -> Section {
        let ratio = self.at_once.as_secs_f64() / self.one_by_one.as_secs_f64();
        let reference = format!("{} one by one", seconds(self.one_by_one));
        Section {
            title: "All sources at once",
            rows: vec![
                Row::new("bootstrap, no link exists yet", seconds(self.at_once), reference),
                Row::new("ratio", format!("{ratio:.2}"), "1.00"),
                Row::new("bootstrap again", seconds(self.again), ""),
            ],
        }
    }

    pub fn goal(&self) -> Goal {
        let what = format!("bootstrap of {} sources below 3 s", self.sources);
        Goal { what, figure: seconds(self.at_once), is_met: self.at_once < LIMIT }
    }
}
