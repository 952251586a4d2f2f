//! Logs on stderr: for people on a terminal, or one JSON object a line for machines.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Where logs go and how much is said. Every long-running binary has these flags.
#[derive(Clone, Debug, clap::Args)]
pub struct LogArgs {
    /// How log lines look
    #[arg(long, value_enum, default_value_t = LogFormat::Text, env = "LOG_FORMAT")]
    pub log_format: LogFormat,

    /// What is logged, as for RUST_LOG: a level, or module=level pairs
    #[arg(long, default_value = "info", env = "RUST_LOG")]
    pub log: String,
}

/// Starts logging.
///
/// # Errors
/// When the filter can't be parsed, or logging was started before.
pub fn init(args: &LogArgs) -> anyhow::Result<()> {
    // kube logs answers that it can't read as they are, and they may hold a token; its watcher logs
    // refusals with all of their fields, and who watches says the same in one line.
    let quiet = "kube_client::client=error,kube_runtime::watcher=error";
    let filter = EnvFilter::try_new(format!("{},{quiet}", args.log))
        .map_err(|error| anyhow::anyhow!("--log {:?} (or RUST_LOG) is no log filter: {error}", args.log))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match args.log_format {
        LogFormat::Text => builder.with_ansi(false).finish().try_init()?,
        LogFormat::Json => builder.json().flatten_event(true).with_span_list(false).finish().try_init()?,
    }
    Ok(())
}
