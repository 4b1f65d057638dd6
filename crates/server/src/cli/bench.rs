//! `purser bench`: what the benchmark needs of this program besides `serve`.

use std::process::ExitCode;

use clap::Subcommand;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::{CommandError, Context};
use crate::http::{listen, noop};

/// Which part.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Answers debits with nothing behind, to measure what the HTTP side alone costs.
    Noop,
}

/// Serves until a signal asks to stop.
pub async fn run(context: Context, command: BenchCommand) -> Result<ExitCode, CommandError> {
    let BenchCommand::Noop = command;
    let listener = TcpListener::bind(context.config.listen).await?;
    let url = format!("http://{}", listener.local_addr()?);
    context.print(&serde_json::json!({ "url": url, "key": noop::KEY }), |_| {
        format!("Nothing but HTTP on {url}; the key is {}", noop::KEY)
    })?;
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    listen::serve(listener, noop::routes(), context.config.connections_max, stop).await;
    Ok(ExitCode::SUCCESS)
}
