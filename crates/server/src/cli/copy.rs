//! `purser copy`: moves a deployment to another database. Killed at any moment, the same command goes on where it was.
//!
//! The exit code is 0 only when the target was rebuilt from its entries and is the same as the source. What is done in which order
//! is in `purser_app::usecase::copy`.

use std::process::ExitCode;

use clap::Args;
use purser_app::boot::database::shown;
use purser_app::clock::{Clock, SystemClock};
use purser_app::usecase::copy::{Copied, Secret, Stage, copy};

use super::progress::{self, Steps};
use super::{CommandError, Context};

/// Arguments of `copy`.
#[derive(Debug, Args)]
pub struct CopyArguments {
    /// The database to copy; stop what serves it first. Its user must be allowed to read every table, as the schema's owner is.
    #[arg(long, value_name = "URL")]
    from: String,
    /// The database to copy into: a new one, or one with the beginning of the same copy. Its user must be allowed to change
    /// the schema, as the schema's owner is.
    #[arg(long, value_name = "URL")]
    to: String,
}

/// Copies, and says what came of it.
pub async fn run(context: Context, arguments: CopyArguments) -> Result<ExitCode, CommandError> {
    let clock = SystemClock::default();
    let (from, to) = (arguments.from.clone(), arguments.to.clone());
    let copied = tokio::task::spawn_blocking(move || {
        let mut bars = Bars::default();
        let copied = copy(&from, &to, |stage, done, total| bars.set(stage, done, total));
        bars.finish();
        copied
    });
    let copied = copied.await??;
    let seconds = clock.monotonic().unsigned_abs() / 1_000_000;
    context.print(&answer(&copied, &arguments, seconds), |_| sentence(&copied, &arguments, seconds))?;
    Ok(ExitCode::SUCCESS)
}

/// One bar after the other; lines of the log where nobody watches a terminal.
#[derive(Default)]
struct Bars {
    current: Option<(Stage, Steps)>,
    /// Tenths of the stage that the log has heard of.
    told: u64,
}

impl Bars {
    fn set(&mut self, stage: Stage, done: u64, total: u64) {
        let what = match stage {
            Stage::Copying => "Copying",
            Stage::Verifying => "Verifying",
            Stage::Comparing => "Comparing",
        };
        if self.current.as_ref().is_none_or(|(at, _)| *at != stage) {
            self.finish();
            self.current = Some((stage, progress::bar(what, total)));
            self.told = 0;
        }
        let Some((_, bar)) = &self.current else { return };
        bar.set(done, total);
        let tenths = done.saturating_mul(10).checked_div(total).unwrap_or(10);
        if !bar.is_shown() && tenths > self.told {
            self.told = tenths;
            tracing::info!(done, total, "{what}");
        }
    }

    fn finish(&mut self) {
        if let Some((_, bar)) = self.current.take() {
            bar.finish();
        }
    }
}

fn answer(copied: &Copied, arguments: &CopyArguments, seconds: u64) -> serde_json::Value {
    let rows: serde_json::Map<String, serde_json::Value> =
        copied.rows.iter().map(|(table, count)| ((*table).to_string(), (*count).into())).collect();
    let secret_file = match &copied.secret {
        Secret::Beside(path) => Some(path.display().to_string()),
        Secret::AsBefore => None,
    };
    serde_json::json!({
        "holds": true,
        "from": shown(&arguments.from),
        "to": shown(&arguments.to),
        "entries": copied.entries,
        "wallets": copied.wallets,
        "rows": rows,
        "heads": hexadecimal(&copied.heads),
        "resumed": copied.resumed,
        "seconds": seconds,
        "secret_file": secret_file,
    })
}

fn sentence(copied: &Copied, arguments: &CopyArguments, seconds: u64) -> String {
    let of = |name: &str| copied.rows.iter().find(|(table, _)| *table == name).map_or(0, |(_, count)| *count);
    let secret = match &copied.secret {
        Secret::Beside(path) => {
            format!("with the text of {} as PURSER_SECRET_KEY", path.display())
        }
        Secret::AsBefore => "with the same PURSER_SECRET_KEY as before".to_string(),
    };
    format!(
        "Copied {} to {} in {} s{}: {} entries of {} wallets, {} tenants, {} answers to keys.\n\
         The copy holds: every entry was replayed, every wallet is the same. Digest of all chain heads:\n{}\n\
         Serve it {secret}; the old database was left as it is.",
        shown(&arguments.from),
        shown(&arguments.to),
        progress::grouped(seconds),
        if copied.resumed { ", going on where it was" } else { "" },
        progress::grouped(copied.entries),
        progress::grouped(copied.wallets),
        progress::grouped(of("tenant")),
        progress::grouped(of("answer")),
        hexadecimal(&copied.heads),
    )
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
