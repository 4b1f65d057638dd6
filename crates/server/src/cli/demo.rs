//! `purser demo`: the whole service on a temporary database, charging real AI usage through its HTTP API.
//!
//! It is the server of `serve` with a client beside it: catalogue, credits and requests all go over HTTP, and the ledger
//! is verified while it is served. Everything lies in one temporary folder and goes with it, unless a database is set: then
//! it is there, as often as the demo is run, if nobody else uses it. What is replayed and at which prices is in
//! `crates/server/data`.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Args;
use purser_app::App;
use purser_app::boot::Settings;
use purser_app::boot::database::shown;
use purser_app::caller::Scope;
use purser_app::replay::{ModelPrice, Plan, Report, Row, Target};
use purser_app::usecase::api_key;
use purser_app::usecase::verify::{Verified, VerifyError};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::progress::{self, grouped};
use super::{CommandError, Context, replay, trace, verify};
use crate::http::{self, metrics};

/// What is replayed.
const TRACE: &str = include_str!("../../data/azure-llm-trace-code-2023-excerpt.csv");
/// What models cost their users' provider.
const MODELS: &str = include_str!("../../data/models.csv");
/// Credits for a US dollar that the provider asks: a credit is a tenth of a cent, marked up by a quarter.
const CREDITS_PER_USD: i64 = 1_250;
/// What the demo's API keys are called.
const KEY_NAME: &str = "demo";
/// Who consumes.
const USERS: u32 = 300;
/// Requests that are under way at the same time.
const CONNECTIONS: usize = 32;

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub struct DemoArguments {
    /// Ends when everything is shown, instead of serving on.
    #[arg(long)]
    exit: bool,
    /// Address and port; a free port of the loopback interface unless said.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

/// What was shown.
struct Shown {
    url: String,
    key: String,
    /// The user, wallet and action of the ready-made calls.
    example: Example,
    report: Report,
    verified: Result<Verified, VerifyError>,
}

struct Example {
    user: String,
    wallet: String,
    action: String,
}

/// Runs the demo until it is over or interrupted.
pub async fn run(context: Context, arguments: DemoArguments) -> Result<ExitCode, CommandError> {
    let mut stop = Stop::listen()?;
    let (ledger, settings) = ledger(&context)?;
    let folding = tokio::spawn(metrics::fold(metrics::install()));
    let app = App::open(settings).await?;
    let server = Server::start(&context, &app, arguments.listen).await;
    let outcome = match &server {
        Ok(server) => tokio::select! {
            shown = show(&context, &app, server.address, &ledger) => shown.map(Some),
            () = stop.asked() => Ok(None),
        },
        Err(error) => Err(error.to_string().into()),
    };
    let code = match outcome {
        Ok(None) => Ok(ExitCode::SUCCESS),
        Ok(Some(shown)) => {
            let told = tell(&context, &shown, !arguments.exit);
            if told.is_ok() && !arguments.exit {
                stop.asked().await;
            }
            let holds = shown.verified.is_ok();
            told.map(|()| if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Err(error) => Err(error),
    };
    if let Ok(server) = server {
        server.stop().await;
    }
    app.shutdown().await;
    folding.abort();
    if let Ledger::Temporary(folder) = ledger {
        folder.close()?;
    }
    code
}

/// Where the demo's ledger is.
enum Ledger {
    /// In a folder that goes with it.
    Temporary(tempfile::TempDir),
    /// In the database of the settings.
    Set,
}

/// Where the ledger is to be, and the settings for it.
fn ledger(context: &Context) -> Result<(Ledger, Settings), CommandError> {
    let mut settings = context.config.app.clone();
    // A limit is for others, and the demo's load would break it; Redis holds what others share.
    (settings.rate_limit, settings.redis_url) = (None, None);
    if !context.config.is_default("database_url") {
        // One URL is enough for a demo: it migrates, too.
        settings.owner_url.get_or_insert_with(|| settings.database_url.clone());
        if settings.sqlite_path().is_some() {
            settings.owner_url = None;
        } else {
            settings.passing_secret = true;
        }
        return Ok((Ledger::Set, settings));
    }
    let folder = tempfile::Builder::new().prefix("purser-demo-").tempdir()?;
    settings.database_url = format!("sqlite:{}", folder.path().join("purser.db").display());
    settings.owner_url = None;
    // The demo's secret goes with its folder: whatever key this shell has is for another ledger.
    settings.secret_keys.clear();
    Ok((Ledger::Temporary(folder), settings))
}

/// Refuses a database that somebody uses: whoever does has a key, and it is not the demo's.
async fn refuse_used(app: &App) -> Result<(), CommandError> {
    let keys = api_key::list(app).await?;
    match keys.iter().find(|key| key.name != KEY_NAME) {
        None => Ok(()),
        Some(key) => {
            let used = format!("it has an API key called {:?}, which is not the demo's", key.name);
            Err(format!("the demo wants a database of its own, and this one is used: {used}").into())
        }
    }
}

/// The signals that end it.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn listen() -> std::io::Result<Stop> {
        Ok(Stop { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The HTTP side, under way.
struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Server {
    async fn start(context: &Context, app: &App, listen: SocketAddr) -> Result<Server, CommandError> {
        let listener = TcpListener::bind(listen).await;
        let listener = listener.map_err(|error| format!("listening on {listen}: {error}"))?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let (app, connections_max) = (app.clone(), context.config.connections_max);
        let serving = tokio::spawn(async move {
            // Asked to stop, or nobody left who could ask.
            http::serve(app, listener, connections_max, async { drop(stopped.await) }).await;
        });
        Ok(Server { address, stop, serving })
    }

    async fn stop(self) {
        drop(self.stop);
        if let Err(error) = self.serving.await {
            tracing::error!(%error, "serving did not end in order");
        }
    }
}

/// Sets up, replays and verifies.
async fn show(
    context: &Context,
    app: &App,
    address: SocketAddr,
    ledger: &Ledger,
) -> Result<Shown, CommandError> {
    let url = format!("http://{address}");
    refuse_used(app).await?;
    let key = api_key::create(app, KEY_NAME, Scope::Write, None).await?;
    // The public part of the key tells this run from those before it on the same database.
    let run = format!("demo-{}", key.split('_').nth(1).unwrap_or_default());
    let target = Target::new(&url, &key, CONNECTIONS)?;
    let models = models()?;
    let survey = trace::survey(TRACE.as_bytes())?;
    if !context.json {
        introduce(app, ledger, &url, models.len(), survey.rows);
    }
    target.publish(&models).await?;
    let grants: Vec<(String, String)> = (1..=USERS).map(grant).collect();
    let wallet = target.grant(&grants, &run).await?;
    let actions: Vec<String> = models.iter().map(|model| model.model.clone()).collect();
    let users: Vec<String> = grants.into_iter().map(|(user, _)| user).collect();
    let example = Example { user: users[0].clone(), wallet, action: actions[0].clone() };
    let plan =
        Plan { run, digest: survey.digest, users, actions, output_tokens_held: replay::OUTPUT_TOKENS_HELD };
    let bar = progress::bar("Charging", survey.rows);
    let report = target.replay(plan, rows()?, replay::told(&bar)).await;
    bar.finish();
    let database_url = app.settings().database_url.clone();
    let (report, verified) = (report?, verify::ledger(database_url, true).await);
    Ok(Shown { url, key, example, report, verified })
}

fn introduce(app: &App, ledger: &Ledger, url: &str, models: usize, requests: u64) {
    match ledger {
        Ledger::Temporary(_) => eprintln!("Purser on {url}, with a ledger in a temporary folder."),
        Ledger::Set => {
            eprintln!("Purser on {url}, with its ledger in {}.", shown(&app.settings().database_url))
        }
    }
    eprintln!("{models} models priced per token at what they cost, plus 25 %; a credit is 0.001 USD.");
    eprintln!(
        "{USERS} users with 10 to 100 credits each send {} requests of a production",
        grouped(requests)
    );
    eprintln!("LLM service (Azure, 2023): each is held before, and captured after its tokens\nare known.\n");
}

fn models() -> Result<Vec<ModelPrice>, CommandError> {
    let mut reader = csv::Reader::from_reader(MODELS.as_bytes());
    let mut models = Vec::new();
    for record in reader.records() {
        let record = record?;
        let price = |column| record.get(column).unwrap_or_default();
        let model = ModelPrice::from_money(price(0), price(1), price(2), CREDITS_PER_USD);
        models.push(model.ok_or_else(|| format!("models.csv has no prices for {:?}", price(0)))?);
    }
    Ok(models)
}

/// A user and its credits: few for some, so that they run out.
fn grant(number: u32) -> (String, String) {
    // The first one is for the ready-made calls and has plenty.
    let amount = if number == 1 { 1_000 } else { 10 + number * 37 % 91 };
    (format!("user-{number}"), amount.to_string())
}

/// The rows of the excerpt, all of them waiting.
fn rows() -> Result<mpsc::Receiver<Row>, CommandError> {
    let mut all = Vec::new();
    trace::rows(TRACE.as_bytes(), |row| {
        all.push(row);
        std::ops::ControlFlow::Continue(())
    })?;
    let (sender, receiver) = mpsc::channel(all.len().max(1));
    for row in all {
        let row = row.map_err(|bad| bad.to_string())?;
        sender.try_send(row).expect("there is room for every row");
    }
    Ok(receiver)
}

fn tell(context: &Context, shown: &Shown, serving: bool) -> Result<(), CommandError> {
    let mut answer = replay::object(&shown.report);
    answer["url"] = json!(shown.url);
    answer["key"] = json!(shown.key);
    answer["verified"] = match &shown.verified {
        Ok(verified) => json!({ "entries": verified.entries, "wallets": verified.wallets, "holds": true }),
        Err(error) => json!({ "holds": false, "why": error.to_string() }),
    };
    context.print(&answer, |_| {
        let verdict = match &shown.verified {
            Ok(verified) => verify::sentence(verified),
            Err(error) => format!("The ledger DOES NOT HOLD: {error}"),
        };
        let figures = replay::lines(&shown.report);
        let calls = if serving { format!("\n\n{}", calls(shown)) } else { String::new() };
        format!("{figures}\n\n{verdict}{calls}")
    })
}

/// Ready-made calls, to be pasted into a shell.
fn calls(Shown { url, key, example, .. }: &Shown) -> String {
    let Example { user, wallet, action } = example;
    format!(
        r#"Serving until Ctrl-C; the API is explained at {url}/docs
Paste these into another terminal:

URL={url}
KEY={key}
JSON="Content-Type: application/json"

# What would it cost, and may the user do it?
curl -s $URL/v1/preflight -H "Authorization: Bearer $KEY" -H "$JSON" -d \
  '{{"user":"{user}","action":"{action}",
    "dimensions":{{"input_tokens":4808,"output_tokens":10}}}}'

# Charge it; sent again with the same key it charges nothing.
curl -s $URL/v1/debits -H "Authorization: Bearer $KEY" \
  -H "Idempotency-Key: my-first-debit" -H "$JSON" -d \
  '{{"user":"{user}","action":"{action}",
    "dimensions":{{"input_tokens":4808,"output_tokens":10}}}}'

# The statement of the wallet that paid.
curl -s -H "Authorization: Bearer $KEY" \
  "$URL/v1/wallets/{wallet}/entries?limit=3""#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_models_of_the_repository_are_priced_with_the_markup() {
        let models = models().unwrap();
        assert_eq!(models.len(), 12);
        let mini = models.iter().find(|model| model.model == "gpt-4o-mini").unwrap();
        // 0.15 and 0.60 USD for a million tokens.
        assert_eq!((mini.input.as_str(), mini.output.as_str()), ("187.5", "750"));
    }

    #[test]
    fn users_have_between_10_and_100_credits_but_for_the_first() {
        let amounts: Vec<u32> = (2..=USERS).map(|number| grant(number).1.parse().unwrap()).collect();
        assert_eq!((amounts.iter().min(), amounts.iter().max()), (Some(&10), Some(&100)));
        assert_eq!(grant(1).1, "1000");
    }

    #[test]
    fn the_ready_made_calls_fit_into_80_columns_but_for_the_api_key() {
        let example = Example { user: "user-1".into(), wallet: "w".repeat(43), action: "gpt-4o-mini".into() };
        let verified = Ok(Verified::default());
        let (url, key) = ("http://127.0.0.1:65535".to_string(), "k".repeat(81));
        let report = Report {
            count: Default::default(),
            moved: Vec::new(),
            requests: 0,
            took: 0,
            requests_per_second: 0,
            latency: Default::default(),
        };
        let calls = calls(&Shown { url, key, example, report, verified });
        let wide: Vec<&str> = calls.lines().filter(|line| line.len() > 80).collect();
        assert!(wide.len() == 1 && wide[0].starts_with("KEY="), "{wide:#?}");
    }
}
