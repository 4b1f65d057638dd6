//! The local door: a unix socket beside the database file, through which the command line asks a running server.
//!
//! Only one process may have the database open, so `purser key create` cannot open it while a server runs. The socket
//! takes one JSON object a line and answers with one; only the user who owns the database may use it (mode 0600, and
//! the caller's user is checked). It moves no credits. `perform` is also what the command line does itself
//! when no server runs, so both ways give the same answer.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use purser_app::caller::Scope;
use purser_app::error::{AppError, FieldError};
use purser_app::usecase::api_key::{self, KeyView};
use purser_app::{App, Readiness};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use crate::http::outgoing::TimeOut;

/// The longest line either side sends.
const LINE_MAX: u64 = 4 << 20;
/// How long a caller may take to say what it wants.
const ASK_MAX: Duration = Duration::from_secs(10);

/// What may be asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// Makes an API key.
    KeyCreate {
        /// What it is called.
        name: String,
        /// `read`, `write` or `gate`.
        scope: String,
        /// The tenant whose key it is.
        tenant: Option<String>,
    },
    /// Lists all API keys.
    KeyList,
    /// Revokes an API key.
    KeyRevoke {
        /// Its public part.
        prefix: String,
    },
    /// Asks how the node is.
    Readiness,
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The text of a new key: shown now and never again.
    Key(String),
    /// All keys.
    Keys(Vec<KeyOut>),
    /// It is done.
    Done,
    /// How the node is.
    Checks {
        /// Each check's name, and what is wrong with it.
        checks: Vec<(String, Option<String>)>,
        /// What is worth knowing, and not wrong.
        #[serde(default)]
        notes: Vec<(String, String)>,
    },
    /// It was refused or failed; one sentence.
    Refused(String),
}

/// A key as it is listed.
#[derive(Debug, Serialize, Deserialize)]
pub struct KeyOut {
    /// Its public part.
    pub prefix: String,
    /// What it is called.
    pub name: String,
    /// What it may do.
    pub scope: String,
    /// The tenant whose it is.
    pub tenant: Option<String>,
    /// When it was made.
    pub created_at: String,
    /// When it was revoked.
    pub revoked_at: Option<String>,
}

impl From<KeyView> for KeyOut {
    fn from(view: KeyView) -> KeyOut {
        KeyOut {
            prefix: view.prefix,
            name: view.name,
            scope: view.scope.name().to_string(),
            tenant: view.tenant,
            created_at: TimeOut(view.created_at).text(),
            revoked_at: view.revoked_at.map(|time| TimeOut(time).text()),
        }
    }
}

/// Does what is asked.
pub async fn perform(app: &App, ask: Ask) -> Answer {
    let answer = match ask {
        Ask::KeyCreate { name, scope, tenant } => match Scope::parse(&scope) {
            Some(scope) => api_key::create(app, &name, scope, tenant.as_deref()).await.map(Answer::Key),
            None => return Answer::Refused(format!("there is no scope `{scope}`: read or write")),
        },
        Ask::KeyList => {
            api_key::list(app).await.map(|keys| Answer::Keys(keys.into_iter().map(KeyOut::from).collect()))
        }
        Ask::KeyRevoke { prefix } => api_key::revoke(app, &prefix).await.map(|()| Answer::Done),
        Ask::Readiness => {
            let Readiness { checks, notes, .. } = app.readiness().await;
            let checks = checks.into_iter().map(|(name, wrong)| (name.to_string(), wrong)).collect();
            let notes = notes.into_iter().map(|(name, note)| (name.to_string(), note)).collect();
            Ok(Answer::Checks { checks, notes })
        }
    };
    answer.unwrap_or_else(|error| Answer::Refused(sentence(&error)))
}

/// An error in words, with the fields that are wrong.
fn sentence(error: &AppError) -> String {
    match error {
        AppError::Invalid(fields) => {
            // Each field came as an argument of the same name.
            let argument = |field: &FieldError| field.pointer.replacen('/', "--", 1);
            let fields = fields.iter().map(|field| format!("{}: {}", argument(field), field.detail));
            fields.collect::<Vec<_>>().join("; ")
        }
        AppError::NotFound { what } => format!("there is no such {}", what.replace('_', " ")),
        other => other.to_string(),
    }
}

/// The open door of a running server; closed and gone when dropped.
pub struct Door {
    listener: UnixListener,
    path: PathBuf,
    owner: u32,
}

impl Drop for Door {
    fn drop(&mut self) {
        // Somebody may have removed it before; then there is nothing to remove.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Door {
    /// Opens the door at `path` for the owner of `database`. The caller holds the lock of the database, so a socket
    /// that is there already belongs to a server that is gone.
    pub fn open(path: &Path, database: &Path) -> std::io::Result<Door> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let owner = std::fs::metadata(database)?.uid();
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Door { listener, path: path.to_path_buf(), owner })
    }

    /// Answers who comes, one after another, until it is dropped.
    pub async fn attend(self, app: App) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) if self.may(&stream) => {
                    if let Err(error) = converse(stream, &app).await {
                        tracing::debug!(%error, "a local command broke off");
                    }
                }
                Ok(_) => tracing::warn!("a local command of another user was turned away"),
                Err(error) => {
                    tracing::warn!(%error, "a local command could not be taken");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    /// The mode of the socket is set just after it is made; this holds in between, too.
    fn may(&self, stream: &UnixStream) -> bool {
        stream.peer_cred().is_ok_and(|peer| peer.uid() == self.owner || peer.uid() == 0)
    }
}

async fn converse(stream: UnixStream, app: &App) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let line = tokio::time::timeout(ASK_MAX, read_line(&mut stream)).await??;
    let answer = match serde_json::from_str::<Ask>(&line) {
        Ok(ask) => perform(app, ask).await,
        Err(error) => Answer::Refused(format!("the running server does not know this command: {error}")),
    };
    write_line(stream.get_mut(), &answer).await
}

/// Asks the server at `path`; `None` when none listens there.
pub async fn ask(path: &Path, ask: &Ask) -> std::io::Result<Option<Answer>> {
    let stream = match UnixStream::connect(path).await {
        Ok(stream) => stream,
        Err(error)
            if [std::io::ErrorKind::NotFound, std::io::ErrorKind::ConnectionRefused]
                .contains(&error.kind()) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let mut stream = BufReader::new(stream);
    write_line(stream.get_mut(), ask).await?;
    let line = read_line(&mut stream).await?;
    Ok(Some(serde_json::from_str(&line)?))
}

async fn read_line(stream: &mut BufReader<UnixStream>) -> std::io::Result<String> {
    let mut line = String::new();
    stream.take(LINE_MAX).read_line(&mut line).await?;
    Ok(line)
}

async fn write_line(stream: &mut UnixStream, message: &impl Serialize) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    stream.write_all(&line).await
}
