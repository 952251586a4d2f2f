//! Wrong usage that clap's declarations can't express; [`super::args`] reports it as clap reports its own.

#[derive(Debug, thiserror::Error)]
#[error("{problem}")]
pub(crate) struct Usage {
    pub(crate) command: &'static str,
    pub(crate) problem: String,
}
