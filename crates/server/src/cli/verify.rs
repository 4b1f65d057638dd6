//! `purser verify`: rebuilds every wallet from its entries and compares; writes nothing, works beside a running server.
//!
//! The exit code is the answer: 0 it holds, 1 it does not (the first wrong entry is named), 2 it could not be read.
//! What is checked is in `purser_app::usecase::verify`.

use std::process::ExitCode;

use clap::Args;
use purser_app::boot::database;
use purser_app::usecase::verify::{Verified, VerifyError, verify};

use super::progress::{self, Steps};
use super::{CommandError, Context};

/// Exit code for a ledger that could not be read.
const UNREADABLE: u8 = 2;

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub struct VerifyArguments {
    /// The database; the one in the settings unless said.
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// No progress, and nothing on standard output but what is wrong.
    #[arg(long)]
    quiet: bool,
}

impl VerifyArguments {
    /// Those that were given, as settings.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        self.database_url.iter().map(|url| ("database_url", url.clone())).collect()
    }
}

/// Verifies and says what came of it.
pub async fn run(context: Context, arguments: VerifyArguments) -> Result<ExitCode, CommandError> {
    let url = context.config.app.database_url.clone();
    match ledger(url.clone(), !arguments.quiet).await {
        Ok(verified) => {
            if !arguments.quiet || context.json {
                context.print(&answer(&verified), |_| sentence(&verified))?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(VerifyError::Broken { wallet, seq, what }) => {
            let broken = serde_json::json!({ "holds": false, "wallet": wallet, "seq": seq, "what": what });
            context.print(&broken, |_| {
                format!(
                    "The ledger does not hold. The first thing wrong: wallet {wallet}, entry {seq}: {what}"
                )
            })?;
            Ok(ExitCode::FAILURE)
        }
        Err(error @ VerifyError::Row { .. }) => {
            let broken = serde_json::json!({ "holds": false, "what": error.to_string() });
            context.print(&broken, |_| format!("The ledger does not hold. A row is wrong: {error}"))?;
            Ok(ExitCode::FAILURE)
        }
        Err(error @ VerifyError::Store(_)) => {
            eprintln!("purser: {}: the ledger could not be read: {error}", database::shown(&url));
            Ok(ExitCode::from(UNREADABLE))
        }
    }
}

/// Verifies the ledger of the database at this URL, with a progress bar where somebody watches.
pub async fn ledger(database_url: String, shown: bool) -> Result<Verified, VerifyError> {
    let bar = if shown { progress::bar("Verifying", 0) } else { Steps::hidden() };
    let heard = bar.clone();
    let verified =
        tokio::task::spawn_blocking(move || verify(&database_url, |done, total| heard.set(done, total)))
            .await;
    bar.finish();
    verified.expect("verification reports what is wrong and does not panic")
}

fn answer(verified: &Verified) -> serde_json::Value {
    serde_json::json!({ "entries": verified.entries, "wallets": verified.wallets, "holds": true })
}

/// What was found, for people.
pub fn sentence(verified: &Verified) -> String {
    let count = |number: u64, one: &str, more: &str| {
        format!("{} {}", progress::grouped(number), if number == 1 { one } else { more })
    };
    let (entries, wallets) =
        (count(verified.entries, "entry", "entries"), count(verified.wallets, "wallet", "wallets"));
    format!("The ledger holds: {entries} and {wallets} agree, chain and sums.")
}
