//! `bootstrap` of all sources at once, beside one source after the other.

use std::time::Duration;

use crate::scene::Scene;
use crate::table::{Aim, Row, Section};
use crate::words::seconds;

const LIMIT: Duration = Duration::from_secs(3);

pub struct Many {
    sources: usize,
    together: Duration,
    again: Duration,
    one_by_one: Duration,
}

/// Links all sources at once, twice, and then one by one.
pub async fn measure(scene: &Scene) -> anyhow::Result<Many> {
    let names: Vec<_> = scene.sources.iter().map(|source| source.name().to_owned()).collect();
    let contexts = names.iter().flat_map(|name| ["--source-context", name.as_str()]);
    let together: Vec<_> = ["bootstrap", "--target-context", "c1"].into_iter().chain(contexts).collect();
    let (first, again) = (scene.time(&together)?, scene.time(&together)?);
    let mut one_by_one = Duration::ZERO;
    for name in &names {
        let both = ["--target-context", "c1", "--source-context", name];
        scene.forget(name)?;
        one_by_one += scene.time(&[&["bootstrap"], &both[..]].concat())?;
    }
    Ok(Many { sources: names.len(), together: first, again, one_by_one })
}

impl Many {
    pub fn section(&self) -> Section {
        let ratio = self.together.as_secs_f64() / self.one_by_one.as_secs_f64();
        let beside = format!("{} one by one", seconds(self.one_by_one));
        Section {
            title: "All sources at once",
            rows: vec![
                Row::new("bootstrap, from nothing", seconds(self.together), beside),
                Row::new("ratio", format!("{ratio:.2}"), "1.00"),
                Row::new("bootstrap again", seconds(self.again), ""),
            ],
        }
    }

    pub fn aim(&self) -> Aim {
        let what = format!("bootstrap of {} sources below 3 s", self.sources);
        Aim { what, figure: seconds(self.together), is_met: self.together < LIMIT }
    }
}
