//! `purser catalogue`: the catalogue of a running server as a file that can live in git.
//!
//! `export` writes it, `apply` brings the server to what the file says, `import-litellm` makes one of a price list of AI models.
//! A file is TOML, or JSON where its name ends with `.json`; both say the same. `text.rs` reads and writes TOML, `shown.rs`
//! tells people what differs.

mod shown;
mod text;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use purser_app::elsewhere::{CatalogueElsewhere, ElsewhereError};
use purser_app::litellm::{self, Exact, Imported, Terms};
use serde_json::{Value, json};

use super::{CommandError, Context};
use crate::config::API_KEY;

/// The longest file that is read, in bytes.
const FILE_MAX: u64 = 64 << 20;
/// The exit code of `--check` when something differs.
const DIFFERS: u8 = 2;

/// What to do with the catalogue.
#[derive(Debug, Subcommand)]
pub enum CatalogueCommand {
    /// Writes the server's catalogue.
    Export(ExportArguments),
    /// Brings the server's catalogue to what a file says, whole or not at all.
    Apply(ApplyArguments),
    /// Makes actions of a price list in LiteLLM's JSON format.
    ImportLitellm(ImportArguments),
}

/// Which server.
#[derive(Debug, Args)]
pub struct ServerArguments {
    /// The server.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: String,
    /// An API key of the platform.
    #[arg(long, env = API_KEY, hide_env_values = true)]
    key: Option<String>,
}

impl ServerArguments {
    fn catalogue(&self) -> Result<CatalogueElsewhere, CommandError> {
        let key = self.key.as_deref().ok_or_else(|| format!("--key or {API_KEY} is needed"))?;
        Ok(CatalogueElsewhere::new(&self.url, key)?)
    }
}

/// How a catalogue is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Toml,
    Json,
}

/// Arguments of `catalogue export`.
#[derive(Debug, Args)]
pub struct ExportArguments {
    #[command(flatten)]
    server: ServerArguments,
    /// How it is written.
    #[arg(long, value_enum, default_value = "toml")]
    format: Format,
}

/// What is done with a difference.
#[derive(Debug, Args)]
struct HowArguments {
    /// Only shows what would change.
    #[arg(long)]
    dry_run: bool,
    /// Only shows what would change, and ends with 2 if anything would.
    #[arg(long)]
    check: bool,
    /// With --dry-run or --check: shows what the usage of so many last days would have cost at the new prices, too.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=31))]
    days: Option<u32>,
}

/// Arguments of `catalogue apply`.
#[derive(Debug, Args)]
pub struct ApplyArguments {
    /// The file.
    file: PathBuf,
    #[command(flatten)]
    server: ServerArguments,
    #[command(flatten)]
    how: HowArguments,
    /// Switches off the actions that the file does not name.
    #[arg(long)]
    prune: bool,
}

/// Arguments of `catalogue import-litellm`.
#[derive(Debug, Args)]
pub struct ImportArguments {
    /// The price list.
    file: PathBuf,
    #[command(flatten)]
    server: ServerArguments,
    #[command(flatten)]
    how: HowArguments,
    /// Writes a catalogue file instead of asking a server.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["dry_run", "check"])]
    output: Option<PathBuf>,
    /// What the prices are multiplied with.
    #[arg(long, default_value = "1", value_parser = factor)]
    markup: Exact,
    /// Credits for a dollar.
    #[arg(long, value_parser = factor)]
    credits_per_dollar: Exact,
    /// What the keys of the actions begin with.
    #[arg(long, value_name = "PREFIX", default_value = "")]
    action_prefix: String,
    /// Only models that fit this pattern, in which * stands for anything.
    #[arg(long, value_name = "PATTERN")]
    only: Option<String>,
    /// What captures may take beyond the hold.
    #[arg(long, value_parser = ["refuse", "debt"], default_value = "refuse")]
    overage: String,
}

fn factor(text: &str) -> Result<Exact, String> {
    let factor = Exact::parse(text).filter(|factor| factor.is_positive());
    factor.ok_or_else(|| "a decimal above zero is expected, such as 1.3".to_string())
}

/// Runs the command.
pub async fn run(context: Context, command: CatalogueCommand) -> Result<ExitCode, CommandError> {
    match command {
        CatalogueCommand::Export(arguments) => export(&context, arguments).await,
        CatalogueCommand::Apply(arguments) => {
            let mut file = read(&arguments.file)?;
            if arguments.prune {
                file["prune"] = json!(true);
            }
            apply(&context, &arguments.server, &arguments.how, &file).await
        }
        CatalogueCommand::ImportLitellm(arguments) => import(&context, arguments).await,
    }
}

async fn export(context: &Context, arguments: ExportArguments) -> Result<ExitCode, CommandError> {
    let catalogue = arguments.server.catalogue()?.read().await?;
    let written = match arguments.format {
        Format::Toml => text::to_toml(&catalogue),
        Format::Json => serde_json::to_string_pretty(&catalogue)?,
    };
    context.print(&catalogue, |_| written.trim_end().to_string())?;
    Ok(ExitCode::SUCCESS)
}

async fn apply(
    context: &Context,
    server: &ServerArguments,
    how: &HowArguments,
    file: &Value,
) -> Result<ExitCode, CommandError> {
    let only_shown = how.dry_run || how.check;
    if how.days.is_some() && !only_shown {
        return Err("--days goes with --dry-run or --check".into());
    }
    let diff = server.catalogue()?.apply(file, only_shown, how.days).await;
    let diff = diff.map_err(|error| explained(&error, file))?;
    context.print(&diff, shown::diff)?;
    let differs = diff["differs"] == json!(true);
    Ok(if how.check && differs { ExitCode::from(DIFFERS) } else { ExitCode::SUCCESS })
}

/// A refusal with the places that are wrong, and the keys of the actions that they are in.
fn explained(error: &ElsewhereError, file: &Value) -> CommandError {
    let mut told = error.to_string();
    if let ElsewhereError::Refused(problem) = error {
        for wrong in &problem.errors {
            let index = wrong.pointer.strip_prefix("/actions/").and_then(|rest| rest.split('/').next());
            let key =
                index.and_then(|index| file["actions"].get(index.parse::<usize>().ok()?)?["key"].as_str());
            let of = key.map(|key| format!(" (action {key})")).unwrap_or_default();
            told.push_str(&format!("\n  {}{of}: {}: {}", wrong.pointer, wrong.code, wrong.detail));
        }
    }
    told.into()
}

async fn import(context: &Context, arguments: ImportArguments) -> Result<ExitCode, CommandError> {
    let overage = if arguments.overage == "debt" { "debt" } else { "refuse" };
    let terms = Terms {
        markup: arguments.markup,
        credits_per_dollar: arguments.credits_per_dollar,
        prefix: arguments.action_prefix,
        only: arguments.only,
        overage,
    };
    let list = read_text(&arguments.file)?;
    let imported = litellm::import(&list, &terms);
    let imported = imported.map_err(|error| format!("{}: {error}", arguments.file.display()))?;
    tell(&imported);
    let file = json!({"actions": imported.actions});
    let Some(output) = arguments.output else {
        return apply(context, &arguments.server, &arguments.how, &file).await;
    };
    let text = if is_json(&output) { serde_json::to_string_pretty(&file)? } else { text::to_toml(&file) };
    std::fs::write(&output, text).map_err(|error| format!("{}: {error}", output.display()))?;
    let counts = json!({
        "models": imported.models, "priced": imported.actions.len(), "unpriced": imported.unpriced.len(),
        "unasked": imported.unasked, "prices_left_out": imported.left_out.len(),
    });
    context.print(&counts, |_| format!("{} actions in {}", imported.actions.len(), output.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// What became of each model that is not priced whole, on standard error.
fn tell(imported: &Imported) {
    use std::io::Write;
    let mut told = String::new();
    for (model, reason) in &imported.unpriced {
        told.push_str(&format!("not priced: {model}: {reason}\n"));
    }
    for (model, field, reason) in &imported.left_out {
        told.push_str(&format!("left out of {model}: {field} {reason}\n"));
    }
    told.push_str(&format!(
        "{} models: {} priced, {} not priced, {} not asked for; {} prices left out\n",
        imported.models,
        imported.actions.len(),
        imported.unpriced.len(),
        imported.unasked,
        imported.left_out.len()
    ));
    // Whoever closed standard error does not want to know.
    let _ = std::io::stderr().lock().write_all(told.as_bytes());
}

fn is_json(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
}

fn read_text(path: &Path) -> Result<String, CommandError> {
    let told = |error: std::io::Error| format!("{}: {error}", path.display());
    if std::fs::metadata(path).map_err(told)?.len() > FILE_MAX {
        return Err(format!("{}: longer than {} MiB", path.display(), FILE_MAX >> 20).into());
    }
    Ok(std::fs::read_to_string(path).map_err(told)?)
}

fn read(path: &Path) -> Result<Value, CommandError> {
    let text = read_text(path)?;
    let told = |error: String| format!("{}: {error}", path.display());
    let file: Value = if is_json(path) {
        serde_json::from_str(&text).map_err(|error| told(error.to_string()))?
    } else {
        text::from_toml(&text).map_err(told)?
    };
    if file.is_object() { Ok(file) } else { Err(told("a catalogue is an object".to_string()).into()) }
}
