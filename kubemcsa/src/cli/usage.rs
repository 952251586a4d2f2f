//! Wrong usage that clap's declarations can't express; [`super::args`] reports it as clap reports its own.

#[derive(Debug, thiserror::Error)]
#[error("{problem}")]
pub struct Usage {
    pub command: &'static str,
    pub problem: &'static str,
}
