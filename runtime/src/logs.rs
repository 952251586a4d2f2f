//! Logs on stderr, as text or JSON.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// Format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Human-readable text.
    Text,
    /// One JSON object per line.
    Json,
}

/// Log flags of every long-running binary.
#[derive(Clone, Debug, clap::Args)]
pub struct LogArgs {
    /// Write log lines in this format
    #[arg(long, value_enum, default_value_t = LogFormat::Text, env = "LOG_FORMAT")]
    pub log_format: LogFormat,

    /// Log what this filter selects, as RUST_LOG does: a level, or module=level pairs
    #[arg(long, default_value = "info", env = "RUST_LOG")]
    pub log: String,
}

/// Starts logging.
///
/// # Errors
/// If the filter is invalid, or logging has already started.
pub fn init(args: &LogArgs) -> anyhow::Result<()> {
    // kube logs invalid responses in full, and they may contain a token. Its watcher logs errors with all their
    // fields; our callers log the same error in one line.
    let quiet = "kube_client::client=error,kube_runtime::watcher=error";
    let filter = EnvFilter::try_new(format!("{},{quiet}", args.log)).map_err(|error| {
        anyhow::anyhow!("--log {:?} (or RUST_LOG) is not a valid log filter: {error}", args.log)
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match args.log_format {
        LogFormat::Text => builder.with_ansi(false).finish().try_init()?,
        LogFormat::Json => builder.json().flatten_event(true).with_span_list(false).finish().try_init()?,
    }
    Ok(())
}
