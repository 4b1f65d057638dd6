//! `purser key`: makes, lists and revokes API keys, through a running server or on the database itself.
//!
//! An embedded database belongs to one process, which is asked where it runs. A server database is shared: the command works
//! on it beside the nodes, as one more writer for as long as it takes, and they notice.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use purser_app::App;
use purser_app::boot::BootError;
use purser_app::database;

use super::{CommandError, Context};
use crate::admin::{self, Answer, Ask, KeyOut};
use crate::config::{Config, admin_socket};

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Makes a key and prints it, once, alone on standard output.
    Create {
        /// What it is for.
        #[arg(long)]
        name: String,
        /// What it may do.
        #[arg(long, value_enum, default_value_t = ScopeArgument::Write)]
        scope: ScopeArgument,
        /// The tenant whose key it is; without one it is a key of the platform.
        #[arg(long, value_name = "KEY")]
        tenant: Option<String>,
    },
    /// Lists keys, without their secrets.
    List,
    /// Revokes a key; it is refused from then on.
    Revoke {
        /// Its public part: psk_ and 12 characters, as `list` shows it.
        prefix: String,
    },
}

/// What a key may do.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ScopeArgument {
    /// Read.
    Read,
    /// Read, move credits, change the catalogue.
    Write,
    /// Ask at the gate and nothing else, as a proxy does.
    Gate,
}

/// How often a server that is just starting or stopping is asked again.
const TRIES_MAX: usize = 20;
/// How long to wait in between.
const PAUSE: Duration = Duration::from_millis(250);

/// Does it and prints the answer.
pub async fn run(context: Context, command: KeyCommand) -> Result<ExitCode, CommandError> {
    let answer = reach(&context.config, || ask_of(&command)).await?;
    match (answer, command) {
        (Answer::Key(key), KeyCommand::Create { name, .. }) => {
            context.print(&serde_json::json!({ "key": key, "name": name }), |_| key.clone())?;
        }
        (Answer::Keys(keys), _) => context.print(&keys, |keys| table(keys))?,
        (Answer::Done, _) => context.print(&serde_json::json!({ "done": true }), |_| "Done.".to_string())?,
        (Answer::Refused(why), _) => return Err(why.into()),
        (other, _) => return Err(format!("an unexpected answer: {other:?}").into()),
    }
    Ok(ExitCode::SUCCESS)
}

fn ask_of(command: &KeyCommand) -> Ask {
    match command {
        KeyCommand::Create { name, scope, tenant } => {
            let scope = match scope {
                ScopeArgument::Read => "read",
                ScopeArgument::Write => "write",
                ScopeArgument::Gate => "gate",
            };
            Ask::KeyCreate { name: name.clone(), scope: scope.to_string(), tenant: tenant.clone() }
        }
        KeyCommand::List => Ask::KeyList,
        KeyCommand::Revoke { prefix } => Ask::KeyRevoke { prefix: prefix.clone() },
    }
}

/// Does it on a server database. Lists are only read; a change leases one slot and gives it back.
async fn on_server(config: &Config, ask: Ask) -> Result<Answer, CommandError> {
    let mut settings = config.app.clone();
    if matches!(ask, Ask::KeyList) {
        let keys = tokio::task::spawn_blocking(move || database::api_keys(&settings)).await??;
        return Ok(Answer::Keys(keys.into_iter().map(KeyOut::from).collect()));
    }
    // A key is no reason to change the schema, which running nodes may not know yet.
    settings.owner_url = None;
    // Who asks once has nothing to share with other nodes.
    settings.redis_url = None;
    (settings.writers, settings.readers) = (1, 1);
    let app = App::open(settings).await?;
    let answer = admin::perform(&app, ask).await;
    app.shutdown().await;
    Ok(answer)
}

/// Asks the running server, or opens the database where none runs. A server may start or stop in between, so
/// both are tried more than once before giving up.
pub async fn reach(config: &Config, ask: impl Fn() -> Ask) -> Result<Answer, CommandError> {
    if config.app.sqlite_path().is_none() {
        return on_server(config, ask()).await;
    }
    let socket = admin_socket(&config.app);
    let mut settings = config.app.clone();
    if !matches!(ask(), Ask::Readiness) {
        // Who asks once has nothing to share with other nodes, and need not complain that it could not.
        settings.redis_url = None;
    }
    let mut tries = 0;
    loop {
        if let Some(path) = &socket
            && let Some(answer) = admin::ask(path, &ask()).await?
        {
            return Ok(answer);
        }
        tries += 1;
        match App::open(settings.clone()).await {
            Ok(app) => {
                let answer = admin::perform(&app, ask()).await;
                app.shutdown().await;
                return Ok(answer);
            }
            Err(error) if tries == TRIES_MAX || !is_locked(&error) => return Err(error.into()),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Whether another process has the database.
fn is_locked(error: &BootError) -> bool {
    matches!(error, BootError::Database { locked: true, .. })
}

fn table(keys: &[KeyOut]) -> String {
    let mut lines = vec![format!("{:<18} {:<6} {:<20} {:<28} {}", "KEY", "SCOPE", "TENANT", "MADE", "NAME")];
    for key in keys {
        let tenant = key.tenant.as_deref().unwrap_or("(platform)");
        let revoked = if key.revoked_at.is_some() { " (revoked)" } else { "" };
        lines.push(format!(
            "{:<18} {:<6} {tenant:<20} {:<28} {}{revoked}",
            key.prefix, key.scope, key.created_at, key.name
        ));
    }
    lines.join("\n")
}
