//! `purser replay`: charges a trace of LLM requests against a running server, as an AI product would.
//!
//! Each row is held for what is expected and captured for what it was, at full speed. The run's name is part of every
//! idempotency key, so starting the same run again goes on where it stopped. The work is in `purser_app::replay`.

use std::fs::File;
use std::io::BufReader;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use purser_app::clock::{Clock, SystemClock};
use purser_app::replay::{Plan, Report, Row, Target};
use serde_json::json;
use tokio::sync::mpsc;

use super::progress::{self, Steps, grouped, milliseconds};
use super::{CommandError, Context, trace};
use crate::config::API_KEY;

/// Rows read ahead of the requests.
const AHEAD: usize = 256;
/// Bad rows that are told one by one; the others are only counted.
const TOLD_MAX: u64 = 10;
/// What is reserved for output before it is known, unless said: a usual `max_tokens`.
pub const OUTPUT_TOKENS_HELD: u64 = 1_024;

/// Arguments of `replay`.
#[derive(Debug, Args)]
pub struct ReplayArguments {
    /// The trace: CSV with the columns TIMESTAMP,ContextTokens,GeneratedTokens.
    file: PathBuf,
    /// The server.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: String,
    /// An API key of the platform that may write.
    #[arg(long, env = API_KEY, hide_env_values = true)]
    key: String,
    /// The actions to charge; all that are priced by input_tokens and output_tokens unless said.
    #[arg(long = "model", value_name = "ACTION", num_args = 1..)]
    models: Vec<String>,
    /// Over how many users the rows are spread; they are called replay-1, replay-2 …
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    users: u32,
    /// Gives each user so many credits first, once a run.
    #[arg(long, value_name = "CREDITS")]
    grant: Option<String>,
    /// How many requests are under way at the same time.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024))]
    connections: u16,
    /// What is reserved for output before it is known.
    #[arg(long, value_name = "TOKENS", default_value_t = OUTPUT_TOKENS_HELD)]
    hold_output_tokens: u64,
    /// Names the run; the same name charges nothing twice. A new one unless said.
    #[arg(long, value_parser = run_name)]
    run: Option<String>,
}

/// A name that fits into a key with room for the rest.
fn run_name(text: &str) -> Result<String, String> {
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if plain && (1..=64).contains(&text.len()) {
        Ok(text.to_string())
    } else {
        Err("a name of 1 to 64 letters, digits, dashes, dots and underscores is expected".to_string())
    }
}

/// Replays and reports.
pub async fn run(context: Context, arguments: ReplayArguments) -> Result<ExitCode, CommandError> {
    let survey = survey(&arguments.file).await?;
    let target = Target::new(&arguments.url, &arguments.key, usize::from(arguments.connections))?;
    let actions = if arguments.models.is_empty() { target.models().await? } else { arguments.models };
    if actions.is_empty() {
        let what = "the server has no action that is priced by input_tokens and output_tokens";
        return Err(format!("{what}: publish one, or name others with --model").into());
    }
    let run = arguments.run.unwrap_or_else(|| format!("{:x}", SystemClock::default().wall().0));
    let users: Vec<String> = (1..=arguments.users).map(|number| format!("replay-{number}")).collect();
    if let Some(amount) = &arguments.grant {
        let grants: Vec<_> = users.iter().map(|user| (user.clone(), amount.clone())).collect();
        target.grant(&grants, &format!("replay-{run}")).await?;
    }
    let plan = Plan {
        run: run.clone(),
        digest: survey.digest,
        users,
        actions,
        output_tokens_held: arguments.hold_output_tokens,
    };
    let bar = progress::bar("Replaying", survey.rows);
    let (sender, receiver) = mpsc::channel(AHEAD);
    let (file, shown) = (arguments.file.clone(), bar.clone());
    let reading = tokio::task::spawn_blocking(move || feed(&file, &sender, &shown));
    let report = target.replay(plan, receiver, told(&bar)).await;
    let bad_rows = reading.await?;
    bar.finish();
    let report = report.map_err(|error| {
        format!("{error}\nNothing is charged twice when it is started again with --run {run}")
    })?;
    let bad_rows = bad_rows.map_err(|error| format!("{}: {error}", arguments.file.display()))?;
    let mut answer = object(&report);
    answer["run"] = json!(run);
    answer["bad_rows"] = json!(bad_rows);
    context.print(&answer, |_| {
        let mut text = lines(&report);
        if bad_rows > 0 {
            text.push_str(&format!("\nRows that could not be read    {:>12}", grouped(bad_rows)));
        }
        format!("{text}\nRun                            {run:>12}")
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn survey(path: &Path) -> Result<trace::Survey, CommandError> {
    let opened = path.to_path_buf();
    let surveyed =
        tokio::task::spawn_blocking(move || trace::survey(BufReader::new(File::open(opened)?))).await?;
    surveyed.map_err(|error| format!("{}: {error}", path.display()).into())
}

/// Reads the file into the queue and answers how many rows could not be read.
fn feed(path: &Path, sender: &mpsc::Sender<Row>, bar: &Steps) -> std::io::Result<u64> {
    let mut bad_rows = 0;
    trace::rows(BufReader::new(File::open(path)?), |row| match row {
        // Nobody takes rows any more when the replay stopped.
        Ok(row) if sender.blocking_send(row).is_err() => ControlFlow::Break(()),
        Ok(_) => ControlFlow::Continue(()),
        Err(bad) => {
            bad_rows += 1;
            if bad_rows <= TOLD_MAX {
                bar.line(&format!("purser: {}: {bad}", path.display()));
            }
            ControlFlow::Continue(())
        }
    })?;
    Ok(bad_rows)
}

/// Moves a bar with the count of a replay.
pub fn told(bar: &Steps) -> impl Fn(&purser_app::replay::Count) + Send + Sync + 'static {
    let bar = bar.clone();
    move |count| bar.advance(count.rows(), || format!("{} refused", grouped(count.refused)))
}

/// A report for programs.
pub fn object(report: &Report) -> serde_json::Value {
    let moved: serde_json::Map<_, _> =
        report.moved.iter().map(|(unit, sum)| (unit.clone(), json!(sum))).collect();
    json!({
        "rows": report.count.rows(),
        "charged": report.count.charged,
        "charged_before": report.count.charged_before,
        "refused": report.count.refused,
        "exceeded": report.count.exceeded,
        "moved": moved,
        "requests": report.requests,
        "requests_per_second": report.requests_per_second,
        "p50_microseconds": report.latency.percentile(50),
        "p99_microseconds": report.latency.percentile(99),
    })
}

/// A report for people.
pub fn lines(report: &Report) -> String {
    let count = &report.count;
    let line = |what: &str, value: String| format!("{what:<31}{value:>12}");
    let mut lines = vec![
        line("Charged", grouped(count.charged)),
        line("Refused for lack of credit", grouped(count.refused)),
    ];
    if count.charged_before > 0 {
        lines.push(line("Charged before, in this run", grouped(count.charged_before)));
    }
    if count.exceeded > 0 {
        lines.push(line("Released: cost more than held", grouped(count.exceeded)));
    }
    for (unit, sum) in &report.moved {
        lines.push(line(&format!("Moved, in {unit}"), sum.clone()));
    }
    let of = |percent| milliseconds(report.latency.percentile(percent));
    lines.push(line("HTTP requests a second", grouped(report.requests_per_second)));
    lines.push(line("p50 of a request", of(50)));
    lines.push(line("p99 of a request", of(99)));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_runs_fit_into_keys() {
        assert_eq!(run_name("friday_2.a-b"), Ok("friday_2.a-b".to_string()));
        for bad in ["", "a b", "é", "a/b", &"x".repeat(65)] {
            assert!(run_name(bad).is_err(), "{bad}");
        }
    }
}
