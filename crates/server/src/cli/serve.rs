//! `purser serve`: opens the database, listens, and stops without losing what it acknowledged.

use std::process::ExitCode;

use clap::Args;
use purser_app::App;
use purser_app::usecase::api_key;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{CommandError, Context};
use crate::admin::Door;
use crate::config::{Config, admin_socket};
use crate::http::{self, metrics};

/// Arguments of `serve`; they win over file and variables.
#[derive(Debug, Args)]
pub struct ServeArguments {
    /// Address and port.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// The database.
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
}

impl ServeArguments {
    /// Those that were given, as settings.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let given = [("listen", &self.listen), ("database_url", &self.database_url)];
        given.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect()
    }
}

/// Serves until a signal asks to stop.
pub async fn run(context: Context) -> Result<ExitCode, CommandError> {
    let config = &context.config;
    for name in &config.unknown_variables {
        tracing::warn!("{name} is not a setting of Purser; `purser doctor` lists them");
    }
    // Before the database: whoever stops us while it recovers is heard afterwards.
    let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let folding = tokio::spawn(metrics::fold(metrics::install()));
    let app = App::open(config.app.clone()).await?;
    let served = serve(&context, &app, terminate, interrupt).await;
    // What was accepted is finished and written even when serving ended with an error.
    app.shutdown().await;
    folding.abort();
    served.map(|()| ExitCode::SUCCESS)
}

async fn serve(
    context: &Context,
    app: &App,
    mut terminate: Signal,
    mut interrupt: Signal,
) -> Result<(), CommandError> {
    let config = &context.config;
    let listener = TcpListener::bind(config.listen).await;
    let listener = listener.map_err(|error| format!("listening on {}: {error}", config.listen))?;
    let door = door(config).map(|door| tokio::spawn(door.attend(app.clone())));
    let address = listener.local_addr()?;
    let keyless = api_key::list(app).await?.is_empty();
    let url = format!("http://{address}");
    context.print(&serde_json::json!({ "url": url }), |_| {
        let hint = "\nThere is no key yet. Make one with: purser key create --name NAME";
        format!("Purser serves {url} (API at {url}/docs){}", if keyless { hint } else { "" })
    })?;
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: no new requests, finishing those under way");
    };
    http::serve(app.clone(), listener, config.connections_max, stop).await;
    if let Some(door) = door {
        door.abort();
        // Waited for, so that the socket is gone before the database is free for the next server.
        let _ = door.await;
    }
    Ok(())
}

/// The door for local commands. A server without one still serves.
fn door(config: &Config) -> Option<Door> {
    let (path, database) = (admin_socket(&config.app)?, config.app.sqlite_path()?);
    match Door::open(&path, &database) {
        Ok(door) => Some(door),
        Err(error) => {
            tracing::warn!(%error, path = %path.display(), "`purser key` will not work while this server runs");
            None
        }
    }
}
