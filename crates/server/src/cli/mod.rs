//! The commands of `purser`, one file each: arguments, `run`, and an exit code.
//!
//! A new command is a file here, a variant of [`Command`] and an arm of [`run`]. Answers for programs go to standard
//! output, everything else to standard error; `--json` makes the former JSON. Errors end with code 1, a check
//! that does not hold with 1, wrong arguments with 2.

pub mod bench;
pub mod catalogue;
pub mod copy;
pub mod demo;
pub mod doctor;
pub mod gate;
pub mod key;
pub mod migrate;
pub mod openapi;
pub mod progress;
pub mod replay;
pub mod serve;
pub mod trace;
pub mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{Config, Surroundings};

/// Any error of a command: it ends the command and is printed as one sentence.
pub type CommandError = Box<dyn std::error::Error + Send + Sync>;

/// Prepaid credits and token billing, self-hosted.
#[derive(Debug, Parser)]
#[command(name = "purser", version, about, max_term_width = 100)]
pub struct Arguments {
    /// The settings file; `purser.toml` in the working directory unless said, if it is there.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Answers as JSON on standard output.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Command {
    /// Serves the HTTP API.
    Serve(serve::ServeArguments),
    /// Charges real AI usage on a temporary ledger, or on the database that is set, and serves it.
    Demo(demo::DemoArguments),
    /// Charges a trace of LLM requests against a running server.
    Replay(replay::ReplayArguments),
    /// Recomputes every balance, lot, hold and hash chain from the entries alone.
    Verify(verify::VerifyArguments),
    /// Keeps the catalogue of a running server in a file.
    #[command(subcommand)]
    Catalogue(catalogue::CatalogueCommand),
    /// Brings the database up to this program's schema.
    Migrate(migrate::MigrateArguments),
    /// Moves everything to another database, and verifies it there.
    Copy(copy::CopyArguments),
    /// Makes good what the gate did not know.
    #[command(subcommand)]
    Gate(gate::GateCommand),
    /// Makes, lists and revokes API keys.
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Explains every setting in force and looks for trouble.
    Doctor,
    /// Prints the OpenAPI document.
    Openapi,
    /// Parts of the benchmark.
    #[command(subcommand, hide = true)]
    Bench(bench::BenchCommand),
}

/// What every command gets.
pub struct Context {
    /// The settings in force.
    pub config: Config,
    /// Whether answers are JSON.
    pub json: bool,
}

impl Context {
    /// Prints an answer: JSON if that is wanted, else what `text` makes of it.
    pub fn print<T: serde::Serialize>(
        &self,
        answer: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), CommandError> {
        use std::io::Write;
        let line = if self.json { serde_json::to_string(answer)? } else { text(answer) };
        // A reader that has seen enough and closes the pipe is no trouble of ours.
        match writeln!(std::io::stdout().lock(), "{line}") {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// Runs the command that the arguments name.
pub fn run(arguments: Arguments) -> Result<ExitCode, CommandError> {
    let given = match &arguments.command {
        Command::Serve(serve) => serve.settings(),
        Command::Verify(verify) => verify.settings(),
        Command::Demo(_) | Command::Replay(_) | Command::Migrate(_) | Command::Copy(_) => Vec::new(),
        Command::Gate(_)
        | Command::Catalogue(_)
        | Command::Key(_)
        | Command::Doctor
        | Command::Openapi
        | Command::Bench(_) => Vec::new(),
    };
    let config = Config::read(&Surroundings::of_process(arguments.config, given))?;
    crate::logging::start(&config);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(config.workers).enable_all().build()?;
    let context = Context { config, json: arguments.json };
    runtime.block_on(async {
        match arguments.command {
            Command::Serve(_) => serve::run(context).await,
            Command::Demo(arguments) => demo::run(context, arguments).await,
            Command::Replay(arguments) => replay::run(context, arguments).await,
            Command::Verify(arguments) => verify::run(context, arguments).await,
            Command::Catalogue(command) => catalogue::run(context, command).await,
            Command::Migrate(arguments) => migrate::run(context, arguments).await,
            Command::Copy(arguments) => copy::run(context, arguments).await,
            Command::Gate(command) => gate::run(context, command).await,
            Command::Key(command) => key::run(context, command).await,
            Command::Doctor => doctor::run(context).await,
            Command::Openapi => openapi::run(context).await,
            Command::Bench(command) => bench::run(context, command).await,
        }
    })
}
