//! `purser bench`: what the benchmark needs of this program besides `serve`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use purser_app::App;
use purser_app::bench::{self, EngineBench};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::{CommandError, Context};
use crate::http::{listen, noop};

/// Which part.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Answers debits with nothing behind, to measure what the HTTP side alone costs.
    Noop,
    /// Books debits without HTTP, to measure what the engine alone does; the ledger stays and can be served.
    Engine(EngineArguments),
}

/// Arguments of `bench engine`.
#[derive(Debug, Args)]
pub struct EngineArguments {
    /// How many debits.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    debits: u64,
    /// How many of them a transaction takes; as many wait meanwhile.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    batch: u32,
    /// Over how many wallets they are spread.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    wallets: u64,
}

/// Runs one part.
pub async fn run(context: Context, command: BenchCommand) -> Result<ExitCode, CommandError> {
    match command {
        BenchCommand::Noop => noop(&context).await,
        BenchCommand::Engine(arguments) => engine(&context, &arguments).await,
    }
}

/// Serves until a signal asks to stop.
async fn noop(context: &Context) -> Result<ExitCode, CommandError> {
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

async fn engine(context: &Context, arguments: &EngineArguments) -> Result<ExitCode, CommandError> {
    let batch = usize::try_from(arguments.batch)?;
    let mut settings = context.config.app.clone();
    // One batch is booked while the next one waits, and neither is ever refused for lack of room.
    settings.batch_max = batch;
    settings.queue_max = settings.queue_max.max(4 * batch);
    let app = App::open(settings).await?;
    let measured =
        bench::engine(&app, EngineBench { debits: arguments.debits, batch, wallets: arguments.wallets });
    let measured = measured.await;
    // The ledger is closed in order even when the bench failed.
    app.shutdown().await;
    let figures = measured?;
    let answer = serde_json::json!({
        "debits_per_second": figures.debits_per_second,
        "debits": figures.debits,
        "batch": arguments.batch,
        "wallets": arguments.wallets,
        "microseconds": figures.took,
    });
    context.print(&answer, |_| format!("{} debits a second", figures.debits_per_second))?;
    Ok(ExitCode::SUCCESS)
}
