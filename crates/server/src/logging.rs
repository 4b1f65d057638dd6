//! Logs: structured, to standard error, as text for people or JSON for machines.
//!
//! Requests leave no line; faults, bugs and changes of the process's state do. Keys, bodies and settings that are
//! secrets are never passed to a log macro.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{Config, LogFormat};

/// What is wrong with directives of the log, if anything is.
pub fn wrong_with(directives: &str) -> Option<String> {
    EnvFilter::try_new(directives).err().map(|error| error.to_string())
}

/// Starts logging; a second start in the same process changes nothing.
pub fn start(config: &Config) {
    let filter = EnvFilter::try_from_default_env().or_else(|_| EnvFilter::try_new(&config.log));
    let filter = filter.unwrap_or_else(|error| {
        eprintln!("purser: the setting `log` is not understood ({error}); logging at info");
        EnvFilter::new("info")
    });
    let base = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A line that cannot be written, as the disk of the log is full, is lost. To complain about it on the same stderr would
    // panic, and take the thread that logged with it.
    let base = base.log_internal_errors(false);
    let started = match config.log_format {
        LogFormat::Text => base.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => base.json().flatten_event(true).try_init(),
    };
    // Only tests start it twice in one process.
    drop(started);
}
