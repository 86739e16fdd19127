//! Log lines on standard error, for people or as one JSON object a line. `RUST_LOG` narrows or widens what is
//! told (`RUST_LOG=lb_agent=debug`); without it the level is `info`.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::cli::LogFormat;

/// What is told unless somebody asks for more. Of the API server we say ourselves what matters, once.
const DEFAULT_FILTER: &str = "info,kube_client=off";

/// Sets up logging for the whole process; a second call changes nothing.
pub fn init(format: LogFormat) {
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false);
    let _ = match format {
        LogFormat::Text => builder
            .with_ansi(std::io::stderr().is_terminal())
            .try_init(),
        LogFormat::Json => builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .try_init(),
    };
}
