//! `purser gate replay`: makes good what the gate did not know when requests passed, from the log of the proxy.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use purser_app::gate_log::{Done, ElsewhereError, GateElsewhere, outcome_of};
use serde_json::json;

use super::{CommandError, Context};
use crate::config::API_KEY;

/// The longest line that is read, in bytes.
const LINE_MAX: u64 = 64 << 10;
/// Lines with trouble that are told one by one; the others are only counted.
const TOLD_MAX: u64 = 10;

/// What to do at the gate.
#[derive(Debug, Subcommand)]
pub enum GateCommand {
    /// Gives back what failed behind the gate and charges what passed unpaid, from the proxy's log. Again changes nothing.
    Replay(ReplayArguments),
}

/// Arguments of `gate replay`.
#[derive(Debug, Args)]
pub struct ReplayArguments {
    /// The log, as deploy/nginx/purser.conf has it written.
    file: PathBuf,
    /// The server.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: String,
    /// The proxy's key, with which its requests were charged.
    #[arg(long, env = API_KEY, hide_env_values = true)]
    key: String,
}

/// Does it and prints what was done.
pub async fn run(context: Context, command: GateCommand) -> Result<ExitCode, CommandError> {
    let GateCommand::Replay(arguments) = command;
    let gate = GateElsewhere::new(&arguments.url, &arguments.key)?;
    let named = |error: std::io::Error| format!("{}: {error}", arguments.file.display());
    let mut file = BufReader::new(File::open(&arguments.file).map_err(named)?);
    let (mut lines, mut trouble, mut done) = (0_u64, 0_u64, Done::default());
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = file.by_ref().take(LINE_MAX).read_until(b'\n', &mut line).map_err(named)?;
        if read == 0 {
            break;
        }
        lines += 1;
        if let Err(error) = one(&gate, &line, &mut done).await {
            // A server that does not answer one does not answer the next.
            if let Some(ElsewhereError::Remote(_)) = error.downcast_ref() {
                return Err(
                    format!("line {lines}: {error}; replay the log again, nothing is done twice").into()
                );
            }
            trouble += 1;
            if trouble <= TOLD_MAX {
                eprintln!("purser: {} line {lines}: {error}", arguments.file.display());
            }
        }
    }
    let Done { refunded, settled, nothing } = done;
    let answer = json!({
        "lines": lines, "refunded": refunded, "settled": settled, "nothing": nothing, "trouble": trouble,
    });
    context.print(&answer, |_| {
        format!("{lines} lines: {refunded} given back, {settled} charged after all, {trouble} with trouble")
    })?;
    Ok(if trouble == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn one(gate: &GateElsewhere, line: &[u8], done: &mut Done) -> Result<(), CommandError> {
    let text = String::from_utf8_lossy(line);
    if let Some(outcome) = outcome_of(&text).map_err(|error| format!("not a line of this log: {error}"))? {
        gate.tell(&outcome, done).await?;
    }
    Ok(())
}
